"""Sizes of the embedded benchmark: how many people, cameras and pictures."""

from __future__ import annotations

import dataclasses

from metabin_jax import errors


@dataclasses.dataclass(frozen=True, slots=True)
class Preset:
  """One size of the benchmark; every size draws from the same generators.

  Attributes:
    name: what `ensure` and the `synthetic:` reader are called with.
    seed: fixes every person, camera, pose and noise grain.
    source_ids: identities of each source domain.
    source_cameras: cameras of each source domain.
    source_frames: pictures of an identity in one source camera.
    target_ids: identities of each target domain that have a query.
    distractor_ids: further identities of each target domain, gallery only.
    target_cameras: cameras of each target domain; camera 0 takes the queries,
      the others the gallery.
    target_frames: largest number of pictures of an identity in one target
      camera; odd and even identities take turns at 1 and at this number.
    height: pixels.
    width: pixels.
    jpeg_quality: of the files, 1 to 95.
  """

  name: str
  seed: int = 2021
  source_ids: int = 64
  source_cameras: int = 3
  source_frames: int = 4
  target_ids: int = 60
  distractor_ids: int = 20
  target_cameras: int = 3
  target_frames: int = 2
  height: int = 128
  width: int = 64
  jpeg_quality: int = 90


@dataclasses.dataclass(frozen=True, slots=True)
class CameraPreset(Preset):
  """Domains with many cameras that have a training part and a test part.

  For runs where the cameras of one domain stand in for domains, and for tests
  on the very domain that was trained on. In each domain `source_*` sizes the
  training part and `target_*` the test part; the identities of the test part
  are others, numbered after those of the training part.

  Attributes:
    domains: which domains; the others have no pictures.
  """

  domains: tuple[str, ...] = ()


PRESETS: dict[str, Preset] = {
  preset.name: preset
  for preset in (
    # Rendered in about a second; for tests and for reading the code.
    Preset(
      "tiny",
      source_ids=4,
      source_cameras=2,
      source_frames=2,
      target_ids=3,
      distractor_ids=1,
      target_cameras=2,
    ),
    # Rendered in under a minute on two cores; for the quickstart.
    Preset("quick"),
    # About the number of identities that the published protocol trains on.
    Preset("large", source_ids=640, target_ids=600, distractor_ids=200),
    # Rendered in under a minute; single source and supervised.
    CameraPreset(
      "cameras",
      source_cameras=6,
      target_cameras=6,
      domains=("campus", "station"),
    ),
    # Rendered in half a minute; a site whose labels are not used.
    CameraPreset(
      "site",
      source_cameras=6,
      source_frames=2,
      target_cameras=6,
      domains=("dusk",),
    ),
  )
}


def get_preset(name: str) -> Preset:
  """Returns the preset called `name`.

  Raises:
    UserError: if there is none.
  """
  if name not in PRESETS:
    raise errors.UserError(
      f"There is no synthetic preset {name!r}; use one of "
      f"{', '.join(sorted(PRESETS))}."
    )
  return PRESETS[name]
