"""Which pictures a preset has, and where they lie."""

from __future__ import annotations

import dataclasses

from metabin_jax.data.synthetic import style
from metabin_jax.data.synthetic.presets import Preset


@dataclasses.dataclass(frozen=True, slots=True)
class Shot:
  """One picture of the benchmark.

  Attributes:
    domain: index into `style.DOMAINS`.
    pid: number of the identity inside the domain, from 1.
    camera: index of the camera inside the domain, from 0.
    frame: index of the picture in the identity's walk past the camera.
    split: "train", "query" or "gallery".
  """

  domain: int
  pid: int
  camera: int
  frame: int
  split: str

  @property
  def domain_name(self) -> str:
    """The domain as written in the manifest."""
    return list(style.DOMAINS)[self.domain]

  @property
  def identity(self) -> str:
    """The identity as written in the manifest; unique over all domains."""
    return f"{self.domain_name}_{self.pid:04d}"

  @property
  def path(self) -> str:
    """File name in the manner of Market-1501, below the data set's folder."""
    name = f"{self.pid:04d}_c{self.camera + 1}s1_{self.frame + 1:06d}_00.jpg"
    return f"{self.domain_name}/{self.split}/{name}"


def list_shots(preset: Preset) -> list[Shot]:
  """Returns every picture, in the order of the manifest.

  Neighbours share domain and camera, so a worker draws a scene once.
  """
  shots = []
  for domain, name in enumerate(style.DOMAINS):
    shots += (
      _source(preset, domain)
      if name in style.SOURCES
      else _target(preset, domain)
    )
  return shots


def _source(preset: Preset, domain: int) -> list[Shot]:
  return [
    Shot(domain, pid, camera, frame, "train")
    for camera in range(preset.source_cameras)
    for pid in range(1, preset.source_ids + 1)
    for frame in range(preset.source_frames)
  ]


def _target(preset: Preset, domain: int) -> list[Shot]:
  """Camera 0 asks, the others answer; the last identities have no query."""
  shots = []
  for camera in range(preset.target_cameras):
    split = "gallery" if camera else "query"
    ids = preset.target_ids + (preset.distractor_ids if camera else 0)
    for pid in range(1, ids + 1):
      # One picture or the full number, in turn over identities and cameras.
      full = (pid + camera) % 2
      count = preset.target_frames if full else 1
      shots += [Shot(domain, pid, camera, f, split) for f in range(count)]
  return shots
