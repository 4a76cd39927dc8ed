"""The published experiments: which data sets train, which test, and how.

Where the files are expected: below $METABIN_DATA, or below the folder `data`,
each data set under one of the folder names that its parser accepts.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from metabin_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Protocol:
  """One published experiment.

  Attributes:
    name: as on the command line.
    title: one line.
    train: "READER?key=value..." of each source, in the published order.
    test: the same of each target.
    description: what a reader of its results must know, with the source.
    evaluation: keys of `config.eval` that differ from the defaults.
  """

  name: str
  title: str
  train: tuple[str, ...]
  test: tuple[str, ...]
  description: str
  evaluation: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def sources(self) -> tuple[str, ...]:
    """Reader names of the sources."""
    return tuple(part.partition("?")[0] for part in self.train)

  @property
  def targets(self) -> tuple[str, ...]:
    """Reader names of the targets."""
    return tuple(part.partition("?")[0] for part in self.test)


_DG_SOURCES = (
  "cuhk02?use=all",
  "cuhk03?type=detected&use=all",
  "market1501?use=all",
  "dukemtmc?use=all",
  "cuhk_sysu?use=all",
)
_NO_DUKE = tuple(part for part in _DG_SOURCES if "dukemtmc" not in part)
_DG_TARGETS = ("viper", "prid", "grid", "ilids")
_LEAVE_ONE_OUT = {
  "market": "market1501",
  "msmt17": "msmt17",
  "cuhk03": "cuhk03?type=detected",
}


def _leave_one_out(held_out: str, use: str) -> Protocol:
  # CUHK-SYSU has no test part of its own and is always a source.
  train = [
    _with(part, f"use={use}")
    for name, part in _LEAVE_ONE_OUT.items()
    if name != held_out
  ]
  parts = "train and test parts" if use == "all" else "train parts alone"
  return Protocol(
    name=f"leave-out-{held_out}" + ("-all" if use == "all" else ""),
    title=f"leave one out: test on {_LEAVE_ONE_OUT[held_out]}",
    train=(*train, "cuhk_sysu?use=all"),
    test=(_LEAVE_ONE_OUT[held_out],),
    description=(
      f"Market-1501, MSMT17, CUHK03 (new protocol) and CUHK-SYSU but for the "
      f"target; of the sources their {parts}. Protocols 2 and 3 of newer "
      "domain generalization papers."
    ),
  )


def _targets(splits: str) -> tuple[str, ...]:
  return tuple(f"{name}?protocol={splits}" for name in _DG_TARGETS)


def _with(part: str, option: str) -> str:
  return f"{part}{'&' if '?' in part else '?'}{option}"


_ALL = (
  Protocol(
    "metabin",
    "five sources with all their images, four targets, ten splits each",
    _DG_SOURCES,
    _targets("metabin"),
    "MetaBIN, Sec. 4.1: 18,530 persons, 121,765 images; mean over ten splits "
    "of each target, then over the targets.",
  ),
  Protocol(
    "metabin-no-duke",
    "the same without DukeMTMC-reID, which was withdrawn",
    _NO_DUKE,
    _targets("metabin"),
    "Four sources, 16,718 persons, 85,354 images; protocol 1 of newer domain "
    "generalization papers (M+C2+C3+CS).",
  ),
  Protocol(
    "dualnorm",
    "DualNorm's splits, feature and average precision",
    _DG_SOURCES,
    _targets("dualnorm"),
    "Jia et al., BMVC 2019: other random splits; image and mirrored image, "
    "Euclidean distance, trapezoid AP. Its 17,685 training persons fit CUHK02 "
    "with its pair P1 alone (cuhk02?pairs=P1), an inference from the counts.",
    {"flip": True, "metric": "euclidean", "ap": "trapezoid"},
  ),
  Protocol(
    "market-to-duke",
    "Market-1501, each camera a domain, to DukeMTMC-reID",
    ("market1501?use=train&domain=camera",),
    ("dukemtmc",),
    "MetaBIN, supplement: single-source domain generalization.",
  ),
  Protocol(
    "duke-to-market",
    "DukeMTMC-reID, each camera a domain, to Market-1501",
    ("dukemtmc?use=train&domain=camera",),
    ("market1501",),
    "MetaBIN, supplement: single-source domain generalization.",
  ),
  Protocol(
    "market",
    "supervised: train and test part of Market-1501",
    ("market1501?use=train&domain=camera",),
    ("market1501",),
    "Zheng et al., ICCV 2015: 751 persons to train on, 3,368 queries of 750 "
    "others.",
  ),
  *(
    _leave_one_out(name, use)
    for use in ("train", "all")
    for name in _LEAVE_ONE_OUT
  ),
)

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def data_root() -> str:
  """Returns $METABIN_DATA if set, else "data"."""
  return os.environ.get("METABIN_DATA") or "data"


def get_protocol(name: str) -> Protocol:
  """Returns a protocol by name; UserError lists the names."""
  if name not in PROTOCOLS:
    raise UserError(
      f"protocol {name!r} is unknown; use one of {', '.join(PROTOCOLS)}."
    )
  return PROTOCOLS[name]


def specs(name: str, root: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Describes the data sets of a protocol.

  Args:
    name: a key of `PROTOCOLS`.
    root: folder of the data.

  Returns:
    (sources, targets): descriptions for `readers.open_dataset`.

  Raises:
    UserError: if there is no such protocol.
  """
  protocol = get_protocol(name)

  def place(part: str) -> str:
    reader, mark, options = part.partition("?")
    return f"{reader}:{root}{mark}{options}"

  return tuple(map(place, protocol.train)), tuple(map(place, protocol.test))


def use_protocol(config: Any, name: str) -> None:
  """Points a configuration at the data of a protocol.

  Args:
    config: from `default_config.get_config`, changed in place: data.sources,
      data.targets and what the protocol says of `eval`.
    name: a key of `PROTOCOLS`.

  Raises:
    UserError: if there is no such protocol.
  """
  config.data.sources, config.data.targets = specs(name, data_root())
  for key, value in get_protocol(name).evaluation.items():
    config.eval[key] = value


def use_dg_benchmark(config: Any, variant: str) -> None:
  """Points a configuration at the multi-source benchmark.

  Args:
    config: from `default_config.get_config`, changed in place.
    variant: "paper" takes that preset, anything else the released one;
      "no_duke" leaves DukeMTMC out of the sources.
  """
  config.preset = "paper" if variant == "paper" else "released"
  use_protocol(config, "metabin-no-duke" if variant == "no_duke" else "metabin")
