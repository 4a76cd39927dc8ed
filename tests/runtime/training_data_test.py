"""What a run learns from: opened once, checked as its method asks."""

from __future__ import annotations

import pytest

from metabin_jax import default_config
from metabin_jax.data.records import UNKNOWN_CAMERA, DataSet, Record
from metabin_jax.errors import UserError
from metabin_jax.runtime import resolve
from metabin_jax.runtime.training_data import open_training_data


def data_set(name, camid, domain=""):
  records = tuple(
    Record(f"/{name}/{pid}_{copy}.png", f"{name}/{pid}", camid, domain or name)
    for pid in "ab"
    for copy in range(2)
  )
  return DataSet(name, records, ())


SETS = {
  "one": data_set("one", 1),
  "two": data_set("two", 2),
  "site": data_set("site", 3),
  "annex": data_set("annex", 1, "one"),
  "nowhere": data_set("nowhere", UNKNOWN_CAMERA),
}


def config(method, unlabelled=(), sources=("one", "two"), **mar):
  made = default_config.get_config()
  made.method = method
  made.data.sources = sources
  made.data.unlabelled = unlabelled
  if method != "metabin":
    made.model.norm = "bn"
  if method == "mar":
    made.model.neck = "none"
    made.loss.base = ("ce",)
  made.mar.update(mar)
  return resolve.resolve(made)


def test_sources_and_a_site_are_opened_in_order():
  asked = []

  def open_dataset(spec):
    asked.append(spec)
    return SETS[spec]

  found = open_training_data(config("mar", ("site",)), open_dataset)
  assert asked == ["one", "two", "site"]
  assert found.sources == [SETS["one"], SETS["two"]]
  assert found.unlabelled == [SETS["site"]]
  assert found.report.num_pids == 4
  assert found.unlabelled_report.num_images == 4


def test_without_a_site_nothing_is_counted_of_it():
  found = open_training_data(config("joint"), SETS.__getitem__)
  assert found.unlabelled == []
  assert found.unlabelled_report is None


def test_one_domain_is_too_few_for_a_meta_step_alone():
  sources = ("one", "annex")
  with pytest.raises(UserError, match="domain"):
    open_training_data(config("metabin", sources=sources), SETS.__getitem__)
  found = open_training_data(config("joint", sources=sources), SETS.__getitem__)
  assert len(found.report.domains) == 1


def test_cameras_are_needed_where_views_are_compared():
  with pytest.raises(UserError, match="camera"):
    open_training_data(config("mar", ("nowhere",)), SETS.__getitem__)
  found = open_training_data(
    config("mar", ("nowhere",), view_weight=0.0), SETS.__getitem__
  )
  assert found.unlabelled_report.num_images == 4
