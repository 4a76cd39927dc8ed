"""When a finished job still holds."""

from __future__ import annotations

import pytest
import tiny_study

from metabin_jax.data.public import reading
from metabin_jax.errors import UserError
from metabin_jax.repro import job_folder, jobs
from metabin_jax.runtime import resolve


def make_config(**changes):
  job = tiny_study.job(**changes)
  return jobs.make_config(job, tiny_study.base("quick", "dg"))


def differences(before, now, **result):
  stored = {"config": resolve.to_dict(before), **result}
  return job_folder.differences(stored, now)


def test_the_same_configuration_holds():
  assert differences(make_config(), make_config()) == []


@pytest.mark.parametrize(
  ("key", "value", "said"),
  [
    ("optim.lr", 0.5, "optim.lr was 0.01, is 0.5"),
    ("train.steps", 8, "train.steps was 6, is 8"),
    ("train.checkpoint_every_steps", 3, "steps was 2, is 3"),
    ("model.norm", "bin_shared", "model.norm was 'bin', is 'bin_shared'"),
    ("loss.base", ["ce"], 'loss.base was ["ce", "triplet"], is ["ce"]'),
    ("eval.flip", True, "eval.flip was false, is true"),
    ("data.targets", ["folder:/x"], "data.targets was"),
  ],
)
def test_what_changes_a_number_is_said(key, value, said):
  (line,) = differences(make_config(), make_config(**{key: value}))
  assert said in line


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("data.workers", 5),
    ("data.prefetch", 5),
    ("data.cache", "none"),
    ("data.cache_dir", "/x"),
    ("train.log_every_steps", 7),
  ],
)
def test_what_changes_no_number_is_not(key, value):
  assert differences(make_config(), make_config(**{key: value})) == []


def test_where_public_data_lie_does_not_matter_but_which_they_are_does():
  def sources(*specs):
    return make_config(**{"data.sources": list(specs)})

  here = sources("dukemtmc:/a?use=all", "viper:/a")
  assert differences(here, sources("dukemtmc:/b?use=all", "viper:/c")) == []
  said_by_user = sources(
    f"dukemtmc:/a?use=all&{reading.LICENSED}=yes", "viper:/a"
  )
  assert differences(here, said_by_user) == []
  for other in (
    sources("dukemtmc:/a?use=train", "viper:/a"),
    sources("viper:/a", "dukemtmc:/a?use=all"),
    sources("dukemtmc:/a?use=all", "grid:/a"),
    sources("dukemtmc:/a?use=all&partial=allow", "viper:/a"),
  ):
    assert len(differences(here, other)) == 1
  own = sources("manifest:/a/x.csv")
  assert len(differences(own, sources("manifest:/b/x.csv"))) == 1


def test_a_key_of_later_counts_as_its_default():
  stored = resolve.to_dict(make_config())
  del stored["optim"]["nesterov"]
  result = {"config": stored}
  assert job_folder.differences(result, make_config()) == []
  now = make_config(**{"optim.nesterov": True})
  assert job_folder.differences(result, now) == [
    "optim.nesterov was false, is true"
  ]


def test_another_plugin_file_counts(tmp_path):
  plugin = tmp_path / "mine.py"
  plugin.write_text("")
  config = make_config(**{"model.plugins": [str(plugin)]})
  same = {str(plugin): job_folder.plugins.digests([str(plugin)])[str(plugin)]}
  assert differences(config, config, plugins=same) == []
  other = {str(plugin): "0" * 64}
  assert differences(config, config, plugins=other) == [
    "the files of model.plugins"
  ]


def test_jobs_lie_apart_and_come_back(tmp_path):
  job = tiny_study.job(**{"optim.lr": 0.5})
  folder = job_folder.find(tmp_path, job)
  assert folder.path == tmp_path / "jobs" / "quick" / "dg" / job.name
  with pytest.raises(UserError, match="holds no job"):
    folder.load_job()
  config = resolve.to_dict(make_config())
  folder.save_job(job, config, ("a:b",))
  assert folder.load_job() == {
    "job": {
      "scale": "quick",
      "setting": "dg",
      "arm": "rho",
      "seed": 2020,
      "overrides": {"optim.lr": 0.5},
      "start": None,
    },
    "config": config,
    "more_targets": ["a:b"],
    "scorings": {},
  }
  assert folder.load_result() is None
  folder.save_result({"more_targets": ["a:b"]})
  result = folder.load_result()
  assert result is not None
  assert job_folder.missing_targets(result, ["a:b", "c:d"]) == ["c:d"]
