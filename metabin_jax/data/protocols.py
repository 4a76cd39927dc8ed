"""The published experiments as data set descriptions.

Where the files are expected: below $METABIN_DATA, or below the folder `data`.
"""

from __future__ import annotations

import os
from typing import Any

DG_SOURCES = ("cuhk02", "cuhk03", "market1501", "dukemtmc", "cuhk_sysu")
DG_TARGETS = ("viper", "prid", "grid", "ilids")
# Folders as the data sets' authors name them.
SINGLE_SOURCES = {
  "market1501": "Market-1501-v15.09.15",
  "dukemtmc": "DukeMTMC-reID",
}


def data_root() -> str:
  """Returns $METABIN_DATA if set, else "data"."""
  return os.environ.get("METABIN_DATA") or "data"


def use_dg_benchmark(config: Any, variant: str) -> None:
  """Points a configuration at the multi-source benchmark.

  Args:
    config: from `default_config.get_config`, changed in place.
    variant: "paper" takes that preset, anything else the released one;
      "no_duke" leaves DukeMTMC out of the sources.
  """
  root = data_root()
  without = ("dukemtmc",) if variant == "no_duke" else ()
  config.preset = "paper" if variant == "paper" else "released"
  config.data.sources = dg_sources(root, without=without)
  config.data.targets = dg_targets(root)


def dg_sources(root: str, *, without: tuple[str, ...] = ()) -> tuple[str, ...]:
  """Describes the sources of the multi-source benchmark.

  Each is a manifest `<root>/manifests/<name>.csv` in which every image of the
  data set, those of its test part too, is a train line.

  Args:
    root: folder of the data.
    without: names to leave out.

  Returns:
    Descriptions for `readers.open_dataset`, in the published order.

  Source: MetaBIN, Sec. 4.1 (18,530 persons, 121,765 images).
  """
  return tuple(_manifest(root, n) for n in DG_SOURCES if n not in without)


def dg_targets(root: str) -> tuple[str, ...]:
  """Describes the targets of the multi-source benchmark.

  Each is a manifest `<root>/manifests/<name>.csv` with query and gallery lines,
  one fold for each of the ten random splits.

  Args:
    root: folder of the data.

  Returns:
    Descriptions for `readers.open_dataset`.

  Source: MetaBIN, Sec. 4.1.
  """
  return tuple(_manifest(root, name) for name in DG_TARGETS)


def single_source(root: str, name: str) -> str:
  """Describes a source whose cameras are the domains.

  Args:
    root: folder of the data.
    name: a key of `SINGLE_SOURCES`.

  Returns:
    A description for `readers.open_dataset`.

  Source: MetaBIN, supplement (single-source domain generalization).
  """
  return f"{single_target(root, name)}&domain=camera"


def single_target(root: str, name: str) -> str:
  """Describes the same data set with query and gallery, as a target."""
  return f"market:{root}/{SINGLE_SOURCES[name]}?name={name}"


def _manifest(root: str, name: str) -> str:
  return f"manifest:{root}/manifests/{name}.csv"
