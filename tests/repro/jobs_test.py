"""Which runs a study needs, each once and under one name."""

from __future__ import annotations

import dataclasses
import json

import pytest
import tiny_study

from metabin_jax.errors import UserError
from metabin_jax.repro import jobs
from metabin_jax.repro.types import Arm, Entry, Job, load_job


def study(*entries, settings=("dg",)):
  return dataclasses.replace(
    tiny_study.STUDY, entries=entries, settings=settings
  )


def names(listed):
  return [(job.seed, job.setting, job.arm) for job in listed]


def list_jobs(*studies, seeds=(2020,), catalogue=tiny_study.CATALOGUE, **words):
  choice = jobs.Choice("quick", seeds, **words)
  return jobs.list_jobs(studies, choice, catalogue)


def test_the_first_seed_of_all_rows_comes_first():
  listed = list_jobs(
    study(Entry("a", "bn"), Entry("b", "rho"), settings=("dg", "single-a")),
    seeds=(7, 3),
  )
  assert names(listed) == [
    (7, "dg", "bn"),
    (7, "dg", "rho"),
    (7, "single-a", "bn"),
    (7, "single-a", "rho"),
    (3, "dg", "bn"),
    (3, "dg", "rho"),
    (3, "single-a", "bn"),
    (3, "single-a", "rho"),
  ]
  assert len({job.name for job in listed}) == len(listed)


def test_quoted_rows_and_other_settings_are_not_run():
  listed = list_jobs(
    study(
      Entry("quoted", None),
      Entry("only here", "rho", settings=("single-a",)),
      settings=("dg", "single-a"),
    )
  )
  assert names(listed) == [(2020, "single-a", "rho")]


def test_scale_setting_row_and_command_line_change_the_arm_in_this_order():
  row = Entry("a", "rates", changes={"loss.margin": 0.4})
  (job,) = list_jobs(study(row, settings=("single-a",)))
  assert job.overrides == {"loss.margin": 0.4, "optim.lr": 0.02}
  (job,) = list_jobs(
    study(row, settings=("single-a",)), overrides={"optim.momentum": 0.5}
  )
  assert job.overrides == {
    "loss.margin": 0.4,
    "optim.lr": 0.02,
    "optim.momentum": 0.5,
  }
  choice = jobs.Choice("full")
  (job,) = jobs.list_jobs(
    [study(Entry("a", "rates"))], choice, tiny_study.CATALOGUE
  )
  assert job.overrides == {"optim.lr": 0.05}


@pytest.mark.parametrize("key", ["method", "model.norm", "loss.base"])
def test_a_default_that_makes_the_arm_cannot_be_set(key):
  with pytest.raises(UserError, match=f"^{key} cannot be set: .* 'MetaBIN'"):
    list_jobs(study(Entry("MetaBIN", "rho")), overrides={key: "x"})


def test_seeds_are_not_set_twice():
  with pytest.raises(
    UserError, match=r"^train.seed cannot be set: use --seeds"
  ):
    list_jobs(study(Entry("a", "rho")), overrides={"train.seed": 5})


@pytest.mark.parametrize("key", ["loss.margin", "optim.lr"])
def test_what_defines_a_row_cannot_be_set(key):
  """Neither the value that the row sweeps nor what makes the arm.

  A size that the arm has at either scale makes it too.
  """
  row = Entry("margin 0.4", "rates", changes={"loss.margin": 0.4})
  with pytest.raises(UserError, match=f"^{key} .* 'margin 0.4' .arm rates"):
    list_jobs(study(row, Entry("b", "bn")), overrides={key: 0.5})
  choice = jobs.Choice("quick", (2020,), ("bn",), {key: 0.5})
  (job,) = jobs.list_jobs(
    [study(row, Entry("b", "bn"))], choice, tiny_study.CATALOGUE
  )
  assert job.overrides[key] == 0.5


def test_tuples_become_lists_and_defaults_vanish():
  row = Entry("a", "rho", changes={"loss.base": ("ce",), "loss.margin": 0.3})
  (job,) = list_jobs(study(row))
  assert job.overrides == {"loss.base": ["ce"]}


def test_a_swept_default_and_an_equal_arm_are_the_same_run():
  twin = Arm("twin", "MetaBIN again", {"optim.rho_lr": 0.1})
  catalogue = tiny_study.CATALOGUE._replace(
    arms={**tiny_study.ARMS, "twin": twin}
  )
  rows = (
    Entry("gamma 0.1", "rho", changes={"optim.rho_lr": 0.1}),
    Entry("twin", "twin"),
    Entry("gamma 0.2", "rho", changes={"optim.rho_lr": 0.2}),
  )
  listed = list_jobs(study(*rows), study(*rows), catalogue=catalogue)
  assert [(job.arm, job.overrides) for job in listed] == [
    ("rho", {}),
    ("rho", {"optim.rho_lr": 0.2}),
  ]


def test_arms_keep_their_rows_and_unknown_ones_are_refused():
  rows = study(Entry("a", "bn"), Entry("b", "rho"), Entry("c", None))
  assert names(list_jobs(rows, arms=("rho",))) == [(2020, "dg", "rho")]
  with pytest.raises(UserError, match=r"no arm 'rhoo'.*mean 'rho'"):
    list_jobs(rows, arms=("rhoo",))


def test_cells_hold_the_jobs_of_all_seeds():
  choice = jobs.Choice("quick", (1, 2))
  cells = jobs.list_cells(tiny_study.STUDY, choice, tiny_study.CATALOGUE)
  assert [cell.entry.label for cell in cells] == [
    "BN baseline",
    "MetaBIN",
    "quoted",
  ]
  assert [[job.seed for job in cell.jobs] for cell in cells] == [
    [1, 2],
    [1, 2],
    [],
  ]


def test_a_config_has_the_overrides_and_the_seed():
  job = tiny_study.job(seed=5, **{"loss.base": ["ce"], "optim.lr": 1})
  config = jobs.make_config(job, tiny_study.base("quick", "dg"))
  assert config.train.seed == 5
  assert config.loss.base == ("ce",)
  assert config.optim.lr == 1.0
  assert config.data.batch_size == 12  # of the base
  assert config.optim.warmup_factor == 0.01  # of the preset


@pytest.mark.parametrize(
  ("key", "value", "words"),
  [
    ("optim.lrr", 1, "unknown configuration key optim.lrr.*mean optim.lr"),
    ("optimm.lr", 1, "unknown configuration key optimm"),
    ("optim.lr.x", 1, "optim.lr is .*one value"),
    ("optim", 1, "optim is 1; set the keys below it"),
    ("optim.lr", "fast", "optim.lr is 'fast'.*float"),
    ("model.norm", "none", "model.norm is 'none'"),
  ],
)
def test_wrong_overrides_are_refused(key, value, words):
  job = tiny_study.job(**{key: value})
  with pytest.raises(UserError, match=words):
    jobs.make_config(job, tiny_study.base("quick", "dg"))


def test_names_tell_all_that_makes_a_run_apart():
  job = tiny_study.job(**{"optim.lr": 0.1})
  others = [
    dataclasses.replace(job, scale="full"),
    dataclasses.replace(job, setting="single-a"),
    dataclasses.replace(job, seed=1),
    dataclasses.replace(job, overrides={"optim.lr": 0.2}),
  ]
  others.append(dataclasses.replace(job, start=job))
  others.append(dataclasses.replace(job, start=others[0]))
  assert len({job.name, *(other.name for other in others)}) == 7
  assert job.name == Job("quick", "dg", "rho", 2020, {"optim.lr": 0.1}).name


def test_a_job_is_read_back_with_its_start():
  job = tiny_study.job(**{"optim.lr": 0.1})
  for one in (job, dataclasses.replace(job, start=tiny_study.job("bn"))):
    data = json.loads(json.dumps(dataclasses.asdict(one)))
    assert load_job(data) == one
    assert load_job(data).name == one.name
  # As stored before jobs had a start.
  del data["start"]
  assert load_job(data) == job


def test_names_of_runs_without_a_start_are_what_they_were():
  """Published tables name them."""
  job = Job("quick", "dg", "bn", 2020, {"method": "joint", "model.norm": "bn"})
  assert job.name == "bn-seed2020-462c95f2"


def test_seeds():
  assert jobs.parse_seeds("3") == (2020, 2021, 2022)
  assert jobs.parse_seeds("5,2,5") == (5, 2)
  assert jobs.parse_seeds("2020,") == (2020,)
  for wrong in ("", ",", "0", "two", "-1", "1.5"):
    with pytest.raises(UserError, match="--seeds"):
      jobs.parse_seeds(wrong)
  with pytest.raises(UserError, match="--seeds=2020,"):
    jobs.parse_seeds("2020")
