"""The published experiments name what the papers name."""

from __future__ import annotations

import pytest

from metabin_jax import default_config
from metabin_jax.data import protocols, readers
from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.errors import UserError

TARGETS = ("viper", "prid", "grid", "ilids")


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_every_description_is_understood(name):
  sources, targets = protocols.specs(name, "/disk/reid")
  for spec in (*sources, *targets):
    parsed = readers.parse_spec(spec)
    assert parsed.location == "/disk/reid"
    assert parsed.reader in PUBLIC_SETS
    public = PUBLIC_SETS[parsed.reader]
    allowed = {"use": public.uses, "protocol": public.protocols}
    allowed |= public.options
    for key, value in parsed.options.items():
      if key != "domain":
        assert value in allowed[key], f"{spec}: {key}"


def test_metabin():
  sources, targets = protocols.specs("metabin", "R")
  assert sources == (
    "cuhk02:R?use=all",
    "cuhk03:R?type=detected&use=all",
    "market1501:R?use=all",
    "dukemtmc:R?use=all",
    "cuhk_sysu:R?use=all",
  )
  assert targets == tuple(f"{name}:R?protocol=metabin" for name in TARGETS)


def test_metabin_counts_are_those_of_the_paper():
  """18,530 persons and 121,765 images; 16,718 and 85,354 without Duke."""
  images = {
    "cuhk02": (1_816, 7_264),
    "cuhk03": (1_467, 14_097),
    "market1501": (1_501, 29_419),
    "dukemtmc": (1_812, 36_411),
    "cuhk_sysu": (11_934, 34_574),
  }
  for name, want in (
    ("metabin", (18_530, 121_765)),
    ("metabin-no-duke", (16_718, 85_354)),
  ):
    sources = protocols.PROTOCOLS[name].sources
    assert (
      tuple(
        sum(column)
        for column in zip(*(images[s] for s in sources), strict=True)
      )
      == want
    )


def test_without_duke_only_duke_is_missing():
  whole = protocols.PROTOCOLS["metabin"]
  less = protocols.PROTOCOLS["metabin-no-duke"]
  assert set(whole.sources) - set(less.sources) == {"dukemtmc"}
  assert less.test == whole.test


def test_dualnorm_changes_splits_feature_distance_and_average_precision():
  config = default_config.get_config()
  protocols.use_protocol(config, "dualnorm")
  assert all("protocol=dualnorm" in spec for spec in config.data.targets)
  assert (config.eval.flip, config.eval.metric, config.eval.ap) == (
    True,
    "euclidean",
    "trapezoid",
  )


@pytest.mark.parametrize(
  ("name", "source", "target"),
  [
    ("market-to-duke", "market1501", "dukemtmc"),
    ("duke-to-market", "dukemtmc", "market1501"),
    ("market", "market1501", "market1501"),
  ],
)
def test_single_source_takes_train_part_and_cameras(name, source, target):
  assert protocols.specs(name, "R") == (
    (f"{source}:R?use=train&domain=camera",),
    (f"{target}:R",),
  )


@pytest.mark.parametrize("held_out", ["market", "msmt17", "cuhk03"])
def test_leave_one_out(held_out):
  for use in ("train", "all"):
    name = f"leave-out-{held_out}" + ("-all" if use == "all" else "")
    protocol = protocols.PROTOCOLS[name]
    assert len(protocol.train) == 3
    assert protocol.targets[0] not in protocol.sources
    assert protocol.targets[0].startswith(held_out)
    assert "cuhk_sysu" in protocol.sources
    others = [p for p in protocol.train if "cuhk_sysu" not in p]
    assert all(f"use={use}" in part for part in others)


def test_unknown_protocol_lists_the_known_ones():
  with pytest.raises(UserError, match="metabin-no-duke"):
    protocols.specs("metabim", "R")
