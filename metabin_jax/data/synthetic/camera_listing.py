"""Which pictures a preset has, those with domains of many cameras too."""

from __future__ import annotations

from metabin_jax.data.synthetic import listing, style
from metabin_jax.data.synthetic.listing import Shot
from metabin_jax.data.synthetic.presets import CameraPreset, Preset


def list_shots(preset: Preset) -> list[Shot]:
  """Returns every picture, in the order of the manifest.

  Neighbours share domain and camera, so a worker draws a scene once.
  """
  if not isinstance(preset, CameraPreset):
    return listing.list_shots(preset)
  return [
    shot
    for domain, name in enumerate(style.DOMAINS)
    if name in preset.domains
    for shot in (*_train(preset, domain), *_test(preset, domain))
  ]


def _train(preset: CameraPreset, domain: int) -> list[Shot]:
  return [
    Shot(domain, pid, camera, frame, "train")
    for camera in range(preset.source_cameras)
    for pid in range(1, preset.source_ids + 1)
    for frame in range(preset.source_frames)
  ]


def _test(preset: CameraPreset, domain: int) -> list[Shot]:
  """Camera 0 asks, the others answer; the last identities have no query."""
  shots = []
  for camera in range(preset.target_cameras):
    split = "gallery" if camera else "query"
    ids = preset.target_ids + (preset.distractor_ids if camera else 0)
    for pid in range(preset.source_ids + 1, preset.source_ids + ids + 1):
      # One picture or the full number, in turn over identities and cameras.
      count = preset.target_frames if (pid + camera) % 2 else 1
      shots += [Shot(domain, pid, camera, f, split) for f in range(count)]
  return shots
