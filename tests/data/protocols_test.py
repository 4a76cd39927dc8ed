"""The published experiments name what the papers name."""

from __future__ import annotations

import pytest

from metabin_jax import default_config
from metabin_jax.data import protocols, readers
from metabin_jax.data.doctor import find_sets
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


# Persons of all parts: those of the test part are in one group or another.
PERSON_GROUPS = {
  "cuhk02": ("train", "query"),
  "cuhk03": ("train", "gallery"),
  "market1501": ("train", "gallery"),
  "dukemtmc": ("train", "gallery"),
  "cuhk_sysu": ("train",),
}


@pytest.mark.parametrize(
  ("name", "persons", "images"),
  [("metabin", 18_530, 121_765), ("metabin-no-duke", 16_718, 85_354)],
)
def test_metabin_counts_are_those_of_the_paper(name, persons, images):
  found_persons = found_images = 0
  for source in protocols.PROTOCOLS[name].sources:
    expected = find_sets.expected_counts(PUBLIC_SETS[source])
    found_images += sum(
      count.images
      for group, count in expected.items()
      if not group.endswith(("distractor", "junk"))
    )
    found_persons += sum(expected[g].pids for g in PERSON_GROUPS[source])
  assert (found_persons, found_images) == (persons, images)


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
