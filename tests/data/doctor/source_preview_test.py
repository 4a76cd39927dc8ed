from __future__ import annotations

import numpy as np
import pytest

from metabin_jax.data import checks, sampling
from metabin_jax.data.doctor.source_preview import preview_sources
from metabin_jax.data.pool import create_pool
from metabin_jax.errors import UserError

SETTINGS = {"batch_size": 80, "instances": 4, "num_mtrain": 3}


@pytest.fixture
def make_source(rec, dataset):
  def make(name, persons, images):
    return dataset(
      name, [rec(f"{name}/{p}", i) for p in range(persons) for i in images]
    )

  return make


def kinds(findings):
  return [(f.severity, f.kind) for f in findings]


def test_what_fits(make_source):
  sources = [
    make_source(name, 10 + i, range(6)) for i, name in enumerate("abcd")
  ]
  preview, findings = preview_sources(sources, **SETTINGS)
  assert findings == []
  assert preview.names == ("a", "b", "c", "d")
  assert preview.domains == checks.check_sources(sources).domains
  assert (preview.images, preview.persons) == (46 * 6, 46)
  assert tuple(preview.base_sizes) == (4, 8, 184)
  assert tuple(preview.meta_sizes) == (16, 32, 160)
  assert preview.batch_size == 80
  # Six images fill eight places: (368 - 368 mod 80 - 80) / 80.
  assert preview.epoch_places == 46 * 8
  assert preview.repeated == 46 * 2
  assert preview.epoch_iterations == 3
  assert preview.left_over == 368 - 240


@pytest.mark.parametrize("images", [1, 3, 4, 9])
def test_the_epoch_is_that_of_the_sampler(make_source, images):
  sources = [make_source(n, 12, range(images)) for n in "abcd"]
  preview, _ = preview_sources(sources, **SETTINGS)
  pool = create_pool([r for source in sources for r in source.train])
  size = preview.batch_size
  assert preview.epoch_iterations == sampling.epoch_length(pool, size, 4)
  plan = sampling.make_base_plan(pool, batch_size=size, instances=4, seed=0)
  # A pass gives every person as many places as are counted.
  dealt = np.concatenate([plan(i) for i in range(preview.epoch_iterations)])
  assert len(dealt) == preview.epoch_places - preview.left_over
  assert preview.repeated == preview.epoch_places - preview.images


def test_the_nearest_size_and_the_words_of_the_run(make_source):
  sources = [make_source("a", 9, range(4)), make_source("b", 30, range(4))]
  preview, findings = preview_sources(sources, **SETTINGS)
  assert preview.batch_size == 72
  assert kinds(findings) == [("note", "num_mtrain"), ("note", "batch_size")]
  assert findings[0].text.endswith("there are 2 domains; set it to 1")
  pool = create_pool([r for source in sources for r in source.train])
  with pytest.raises(UserError) as error:
    sampling.make_meta_plan(
      pool, batch_size=80, instances=4, num_mtrain=1, seed=0
    )
  assert findings[1].text == (
    f"with data.batch_size 80 a run ends with: {error.value} 72 fits."
  )


def test_too_many_meta_train_domains(make_source):
  sources = [make_source(name, 20, range(4)) for name in "abc"]
  _, findings = preview_sources(sources, **SETTINGS)
  assert kinds(findings)[0] == ("note", "num_mtrain")
  assert findings[0].text.endswith("set it to 1 to 2")
  _, findings = preview_sources(sources, **(SETTINGS | {"num_mtrain": 2}))
  assert "num_mtrain" not in [kind for _, kind in kinds(findings)]


def test_no_size_fits(make_source):
  sources = [make_source("a", 1, range(4)), make_source("b", 30, range(4))]
  preview, findings = preview_sources(sources, **SETTINGS)
  assert preview.batch_size is None
  assert (preview.epoch_iterations, preview.left_over) == (0, 0)
  (problem,) = [f for f in findings if f.severity == "problem"]
  assert problem.kind == "no_batch_size"
  assert "domain 'a' has 1 person" in problem.text


def test_one_domain_is_for_baselines(make_source):
  preview, findings = preview_sources([make_source("a", 30, [1])], **SETTINGS)
  assert preview.meta_sizes is None
  assert preview.batch_size == 80
  assert kinds(findings) == [("note", "sources"), ("note", "single_domain")]
  assert findings[0].text.startswith("domain 'a': 30 of 30 persons")
  assert "a meta step needs at least 2" in findings[1].text


def test_sources_that_a_run_refuses(make_source):
  source = make_source("a", 5, range(4))
  preview, findings = preview_sources([source, source], **SETTINGS)
  assert preview is None
  assert kinds(findings) == [("problem", "refused_sources")]
  assert "2 data sets are named 'a'" in findings[0].text


def test_data_sets_to_test_on_are_no_sources(make_source, rec, dataset):
  test = dataset("t", (), ([rec("t/1")], [rec("t/1", 2)]))
  assert preview_sources([test], **SETTINGS) == (None, [])
  preview, _ = preview_sources([test, make_source("a", 5, [1, 2])], **SETTINGS)
  assert preview.names == ("a",)
