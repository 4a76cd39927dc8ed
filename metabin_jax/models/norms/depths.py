"""How far "early" and "shallow" reach in each family of backbones."""

from __future__ import annotations

from typing import NamedTuple

from metabin_jax.models.registry import Site


class Depth(NamedTuple):
  """Last stages, counted from 1."""

  # Maps of an eighth of the image or larger: ResNet's layers 1 and 2.
  early: int
  # ResNet's layers 1 to 3; in MobileNetV2 the stages that DualNorm's authors
  # chose; in OSNet, our choice, all but the last.
  shallow: int


DEPTHS = {
  "resnet": Depth(2, 3),
  "mobilenetv2": Depth(3, 5),
  "osnet": Depth(2, 2),
}


def depth_of(site: Site, norm: str) -> Depth:
  """The depths of the family of a site.

  Args:
    site: where the question arises.
    norm: the arm that asks, for the message.

  Returns:
    Its row of `DEPTHS`.

  Raises:
    ValueError: for a family that the arms here have no places for.
  """
  if site.family not in DEPTHS:
    raise ValueError(
      f"norm {norm!r} does not know where its layers stand in backbones of the "
      f"family {site.family!r}, only in those of {', '.join(sorted(DEPTHS))}."
    )
  return DEPTHS[site.family]
