"""Norm arms and backbones by name: the place where new ones plug in.

A norm arm says which layer stands at which site of a network. Most arms put
one layer at every site; others depend on the site: instance norm in shallow
stages, a further layer after a residual sum. Backbones ask `layer_at` at each
of their sites and need not know any arm.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from flax import linen as nn

KINDS = ("norm", "sum", "stage")


class Site(NamedTuple):
  """Where in a network a layer stands, or may stand.

  Attributes:
    kind: "norm", after a convolution: an arm must put a layer there. "sum",
      after a block's residual sum (or, where a block adds nothing, its last
      norm), before the activation, if there is one: a further layer or none.
      "stage", after a stage's last activation: a further layer or none.
    family: "resnet", "mobilenetv2", "osnet", or a new backbone's name.
    stage: 0 is the stem, 1 the first stage, and so on; the convolution after
      the last stage counts as a stage of its own.
    block: from 0 within the stage.
    position: kind "norm": from 1 within the block, in the order of the forward
      pass; 0 is the shortcut's norm.
    last_position: kind "norm": `position` of the block's last norm; else 0.
    last_block: whether this is the last block of its stage.
  """

  kind: str
  family: str
  stage: int
  block: int = 0
  position: int = 1
  last_position: int = 1
  last_block: bool = True


Place = Callable[[Site], type[nn.Module] | None]


class Norm(NamedTuple):
  """A norm arm.

  Attributes:
    place: site -> class of the layer, called as `layer(x, mode)`; None for no
      layer, where the site allows that.
    balanced: whether its layers have balancing parameters (rho, collection
      "balance") for a meta step to learn.
  """

  place: Place
  balanced: bool


class MakeBackbone(Protocol):
  """Creates a backbone, called as `backbone(x, mode)`: images to a map."""

  def __call__(
    self, *, norm: str, width: float, last_stride: int, dtype: Any
  ) -> nn.Module:
    """See `models.create` for the arguments."""
    ...


_norms: dict[str, Norm] = {}
_backbones: dict[str, MakeBackbone] = {}


def register_norm(
  name: str,
  layer: type[nn.Module] | None = None,
  *,
  place: Place | None = None,
  balanced: bool = False,
) -> None:
  """Adds a norm arm; a name registered again is replaced.

  Args:
    name: value of `model.norm`.
    layer: class put at every site of kind "norm" and at no other; created as
      `layer(name=...)`, called as `layer(x, mode)` with x [B, H, W, C] and a
      mode of ops/normalization.py.
    place: in place of `layer`, for arms that depend on the site.
    balanced: whether the layers keep rho in the collection "balance".

  Raises:
    ValueError: unless exactly one of `layer` and `place` is given.
  """
  if (layer is None) == (place is None):
    raise ValueError(f"norm {name!r}: give either a layer or a place.")
  if place is None:

    def place(site: Site) -> type[nn.Module] | None:
      return layer if site.kind == "norm" else None

  _norms[name] = Norm(place, balanced)


def register_backbone(name: str, make: MakeBackbone) -> None:
  """Adds a backbone; a name registered again is replaced.

  Args:
    name: value of `model.backbone`.
    make: makes the module.
  """
  _backbones[name] = make


def norms() -> tuple[str, ...]:
  """Names of all norm arms, in the order of their registration."""
  _load_own()
  return tuple(_norms)


def backbones() -> tuple[str, ...]:
  """Names of all backbones, sorted: their order must not depend on which of
  their files a program imports first."""
  _load_own()
  return tuple(sorted(_backbones))


def balanced_norms() -> tuple[str, ...]:
  """Names of the norm arms that have rho."""
  _load_own()
  return tuple(name for name, norm in _norms.items() if norm.balanced)


def check_norm(name: str) -> None:
  """Raises ValueError unless `name` is a norm arm."""
  if name not in norms():
    raise ValueError(f"norm is {name!r}, want one of {sorted(_norms)}.")


def layer_at(norm: str, site: Site, name: str) -> nn.Module | None:
  """Creates the layer of an arm at a site, inside a compact module.

  Args:
    norm: name of the arm.
    site: where.
    name: name of the module.

  Returns:
    The layer, or None: nothing stands at this site. Never None at a site of
    kind "norm".

  Raises:
    ValueError: for an unknown arm, or one that leaves a norm site empty.
  """
  check_norm(norm)
  layer = _norms[norm].place(site)
  if layer is None:
    if site.kind == "norm":
      raise ValueError(f"norm {norm!r} has no layer for {site}.")
    return None
  return layer(name=name)


def norm_at(norm: str, site: Site, name: str) -> nn.Module:
  """`layer_at` for sites of kind "norm", where there always is a layer."""
  layer = layer_at(norm, site, name)
  assert layer is not None  # layer_at has raised
  return layer


def apply_at(norm: str, site: Site, name: str, x: Any, mode: str) -> Any:
  """Applies what an arm puts at a site; x itself if that is nothing."""
  layer = layer_at(norm, site, name)
  return x if layer is None else layer(x, mode)


def make_backbone(
  name: str, *, norm: str, width: float, last_stride: int, dtype: Any
) -> nn.Module:
  """Creates a backbone by name.

  Args:
    name: of `backbones()`.
    norm: of `norms()`.
    width: channel multiplier.
    last_stride: stride of the last down-sampling stage, 1 or 2.
    dtype: computation type.

  Returns:
    The module.

  Raises:
    ValueError: for an unknown name.
  """
  if name not in backbones():
    raise ValueError(f"backbone is {name!r}, want one of {list(backbones())}.")
  return _backbones[name](
    norm=norm, width=width, last_stride=last_stride, dtype=dtype
  )


# Files of ours that register; here and not on top, since they import this one.
_OWN = (
  "metabin_jax.models.norms",
  "metabin_jax.models.mobilenet_v2",
  "metabin_jax.models.osnet",
  "metabin_jax.models.resnet",
)


def _load_own() -> None:
  for module in _OWN:
    importlib.import_module(module)
