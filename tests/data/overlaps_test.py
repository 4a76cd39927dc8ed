"""Persons in common of public data sets."""

from __future__ import annotations

import pytest

from metabin_jax.data import checks, overlaps
from metabin_jax.data.records import DataSet, Fold, Provenance, Record
from metabin_jax.errors import UserError


def rec(pid, camid):
  return Record(f"/none/{pid}_{camid}", pid, camid, "d")


def public(name, known, pids=("1", "2"), tested=(), variant=""):
  """A copy of the public set `known` under a name of its own."""
  query, gallery = (
    tuple(rec(f"{name}/{pid}", camid) for pid in tested) for camid in (1, 2)
  )
  return DataSet(
    name,
    tuple(rec(f"{name}/{p}", c) for p in pids for c in (1, 2)),
    (Fold("test", query, gallery),) if tested else (),
    Provenance(public=known, variant=variant),
  )


@pytest.mark.parametrize(
  "names",
  [
    # CUHK01 is the first pair of CUHK02.
    ("cuhk01", "cuhk02"),
    ("cuhk02", "cuhk01"),
    ("cuhk03", "cuhk03"),
  ],
)
def test_sources_that_show_the_same_persons_are_refused(names):
  sources = [public(f"my-{i}", name) for i, name in enumerate(names)]
  with pytest.raises(UserError, match="known to show the same persons"):
    checks.check_sources(sources)


def test_sources_of_other_persons_are_not():
  overlaps.reject_among_sources([public("a", "cuhk02"), public("b", "cuhk03")])
  overlaps.reject_among_sources([public("a", ""), public("b", "")])


def test_a_target_with_persons_of_a_source_is_refused():
  target = public("c1", "cuhk01", tested=("1",))
  with pytest.raises(UserError, match="'c1' and source 'c2' are known to show"):
    checks.check_targets([public("c2", "cuhk02")], [target])
  checks.check_targets([public("c2", "market1501")], [target])


def test_one_public_set_under_two_names_is_compared_by_its_own_numbers():
  source = public("src", "market1501", pids=("0001", "0002"))
  with pytest.raises(UserError, match="'m' shares 1 persons with the source"):
    checks.check_targets(
      [source], [public("m", "market1501", (), tested=("0002", "0003"))]
    )
  fine = public("m", "market1501", (), tested=("0003",))
  checks.check_targets([source], [fine])


def test_packagings_cannot_be_compared():
  source = public("a", "cuhk03", pids=("1_001",), variant="detected, images")
  target = public(
    "b", "cuhk03", (), tested=("test_0003",), variant="detected, np"
  )
  with pytest.raises(UserError, match="two packagings of cuhk03"):
    checks.check_targets([source], [target])


def test_a_run_whose_data_are_gone_is_compared_by_name():
  target = public("c1", "cuhk01", tested=("1",))
  with pytest.raises(UserError, match="source cuhk02 that was trained on"):
    overlaps.reject_trained("cuhk02", target)
  for name in ("", "market1501", "not known here"):
    overlaps.reject_trained(name, target)
