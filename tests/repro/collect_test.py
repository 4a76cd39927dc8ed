"""From results to the numbers of a study, and to its text."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import tiny_study
from ml_collections import config_dict

from metabin_jax.repro import collect, job_folder, jobs, origins, render
from metabin_jax.repro.types import scoring_name
from metabin_jax.runtime import resolve

COST: Any = tiny_study.FACTS["cost"]


def snapshot(step, rank_1, **targets):
  scores = {
    name: {"rank-1": value, "mAP": 0.5} for name, value in targets.items()
  }
  average = {"rank-1": rank_1, "mAP": 0.5}
  return {"step": step, "average": average, "scores": scores}


def write(out, task, rank_1, best=None, **changes):
  """A finished job with one target, and the average of its own."""
  job, config, _ = task
  folder = job_folder.find(out, job)
  folder.save_job(job, resolve.to_dict(config), ())
  final = snapshot(6, rank_1, x=rank_1)
  folder.save_result(
    folder.load_job()
    | {"final": final, "best_on_target": best or final}
    | tiny_study.FACTS
    | changes
  )


def collect_all(out, seeds=(2020, 2021), scale="quick", **overrides):
  choice = jobs.Choice(scale, seeds, None, overrides)
  cells = jobs.list_cells(tiny_study.STUDY, choice, tiny_study.CATALOGUE)
  configs = {
    job.name: jobs.make_config(job, tiny_study.base(job.scale, job.setting))
    for cell in cells
    for job in cell.jobs
  }
  return collect.collect(tiny_study.STUDY, choice, cells, configs, out)


def test_mean_and_sample_deviation_over_the_seeds(tmp_path):
  bn, _, bn2, _ = tiny_study.make_tasks((2020, 2021))
  write(tmp_path, bn, 0.3, best=snapshot(4, 0.6))
  cost = {key: 2 * value for key, value in COST.items() if type(value) is float}
  cost |= {"peak_resident_bytes": 9_000_000, "complete": False}
  write(tmp_path, bn2, 0.4, cost=COST | cost)
  data = collect_all(tmp_path)
  row, other, quoted = data["rows"]
  assert (row["label"], row["arm"], row["setting"]) == (
    "BN baseline",
    "bn",
    "dg",
  )
  assert row["seeds"] == [2020, 2021]
  for target in ("average", "x"):
    found = row["ours"][target]["rank-1"]
    assert found["mean"] == pytest.approx(35.0)
    assert found["std"] == pytest.approx(7.0710678)
    assert found["values"] == pytest.approx([30.0, 40.0])
  assert row["best_on_target"]["average"]["rank-1"]["mean"] == pytest.approx(50)
  assert row["best_steps"] == [4, 6]
  assert row["published"] == {"average": {"rank-1": 50.0}}
  assert "difference" not in row
  # Minutes: the mean; memory: the largest; complete: if all are.
  assert row["cost"]["train_processor_minutes"] == 3
  assert row["cost"]["score_wall_minutes"] == 0.75
  assert row["cost"]["peak_resident_megabytes"] == 9
  assert not row["cost"]["complete"]
  assert row["cost"]["peak_device_megabytes"] is None
  assert other["ours"] == {}
  assert other["missing"] == {"2020": "not run", "2021": "not run"}
  assert quoted["arm"] is None
  assert quoted["missing"] == {}
  json.dumps(data, allow_nan=False)


def test_one_seed_has_no_deviation(tmp_path):
  (bn, _) = tiny_study.make_tasks()
  write(tmp_path, bn, 0.3)
  row = collect_all(tmp_path, seeds=(2020,))["rows"][0]
  assert row["ours"]["average"]["rank-1"]["std"] is None


def test_a_job_that_failed_is_not_one_that_was_not_run(tmp_path):
  (bn, _) = tiny_study.make_tasks()
  folder = job_folder.find(tmp_path, bn.job)
  folder.save_job(bn.job, resolve.to_dict(bn.config), ())
  folder.error.write_text("the loss is nan")
  row, other, _ = collect_all(tmp_path, seeds=(2020,))["rows"]
  assert row["missing"] == {"2020": "failed"}
  assert other["missing"] == {"2020": "not run"}


def test_a_stale_result_does_not_count(tmp_path):
  (bn, _) = tiny_study.make_tasks()
  config = resolve.to_dict(bn.config)
  config["optim"]["lr"] = 0.5
  write(tmp_path, bn, 0.3, config=config)
  row = collect_all(tmp_path, seeds=(2020,))["rows"][0]
  assert row["ours"] == {}
  assert row["missing"] == {"2020": "stale"}


def test_differences_are_for_the_full_scale_on_its_own_data(tmp_path):
  choice = jobs.Choice("full")
  listed = jobs.list_jobs([tiny_study.STUDY], choice, tiny_study.CATALOGUE)
  job = listed[0]
  config = jobs.make_config(job, tiny_study.base("full", "dg"))
  write(tmp_path, tiny_study.runner.Task(job, config), 0.3)
  data = collect_all(tmp_path, seeds=(2020,), scale="full")
  assert data["comparable"]
  (difference,) = data["rows"][0]["difference"].values()
  assert difference == {"rank-1": pytest.approx(-20.0)}
  assert data["rows"][1]["difference"] == {}
  assert "| 30.0 | 50.0 | 50.0 | - | -20.0 | - |" in render.to_markdown(data)
  for overrides, comparable in (
    ({"data.batch_size": 6}, False),
    ({"train.steps": 2}, False),
    ({"train.log_every_steps": 2}, True),
  ):
    other = collect_all(tmp_path, seeds=(2020,), scale="full", **overrides)
    assert other["comparable"] == comparable, overrides


def test_no_difference_of_what_another_rule_computes(tmp_path):
  bn = tiny_study.STUDY.entries[0]
  both = {"dg": {"average": {"rank-1": 50.0, "mAP": 60.0}}}
  bn = dataclasses.replace(bn, published=both, incomparable={"dg": ("mAP",)})
  study = dataclasses.replace(tiny_study.STUDY, entries=(bn,))
  choice = jobs.Choice("full")
  (cell,) = jobs.list_cells(study, choice, tiny_study.CATALOGUE)
  (job,) = cell.jobs
  config = jobs.make_config(job, tiny_study.base("full", "dg"))
  write(tmp_path, tiny_study.runner.Task(job, config), 0.3)
  configs = {job.name: config}
  data = collect.collect(study, choice, [cell], configs, tmp_path)
  assert data["rows"][0]["difference"] == {
    "average": {"rank-1": pytest.approx(-20.0)}
  }
  bn = dataclasses.replace(bn, incomparable={"supervised": ("mAP",)})
  cell = cell._replace(entry=bn)
  data = collect.collect(study, choice, [cell], configs, tmp_path)
  assert data["rows"][0]["difference"]["average"]["mAP"] == pytest.approx(-10.0)


def test_rows_scored_otherwise_share_their_run(tmp_path):
  bn = tiny_study.STUDY.entries[0]
  flip = {"flip": True}
  rows = (
    bn,
    dataclasses.replace(bn, label="flipped", scoring=flip),
    dataclasses.replace(bn, label="expanded", scoring={"query_expansion": 1}),
  )
  study = dataclasses.replace(tiny_study.STUDY, entries=rows)
  choice = jobs.Choice("quick")
  cells = jobs.list_cells(study, choice, tiny_study.CATALOGUE)
  (task,) = tiny_study.make_tasks()[:1]
  assert [cell.jobs for cell in cells] == [(task.job,)] * 3
  name = scoring_name(flip)
  assert list(
    jobs.list_scorings([study], choice, tiny_study.CATALOGUE)[task.job.name]
  ) == [name, scoring_name({"query_expansion": 1})]
  way = {"evaluation": "cosine, image and mirror image"}
  way |= snapshot(6, 0.4, x=0.4)
  write(tmp_path, task, 0.3, scorings={name: way})
  configs = {task.job.name: task.config}
  data = collect.collect(study, choice, cells, configs, tmp_path)
  means = [row["ours"]["average"]["rank-1"]["mean"] for row in data["rows"][:2]]
  assert means == pytest.approx([30.0, 40.0])
  plain, flipped, expanded = data["rows"]
  assert (plain["evaluation"], plain["best_steps"]) == ([], [6])
  assert flipped["evaluation"] == [way["evaluation"]]
  assert (flipped["best_on_target"], flipped["best_steps"]) == ({}, [])
  assert expanded["missing"] == {"2020": "not run"}
  text = render.to_markdown(data)
  assert "| flipped | bn | 1 | 40.0 | 50.0 |" in text
  assert "* flipped: cosine, image and mirror image\n" in text
  assert "* expanded (dg), seed 2020: not run" in text
  # One line of costs, and one best snapshot, for the one training.
  assert text.count("| BN baseline | bn | 2.00 |") == 1
  assert "| flipped | bn | 2.00" not in text
  assert "| flipped | bn | 40.0 | 50.0 | " not in text


def test_partial_data_cannot_be_compared():
  for word, partial in (("allow", True), ("no", False)):
    specs = ("viper:/a", f"grid:/a?partial={word}")
    keys = ("sources", "unlabelled", "targets")
    for key in keys:
      config = config_dict.create(data=dict.fromkeys(keys, ("viper:/a",)))
      config.data[key] = specs
      found = job_folder.is_partial(config_dict.FrozenConfigDict(config))
      assert found == partial


def test_what_is_mixed_is_said(tmp_path):
  bn, rho = tiny_study.make_tasks()
  write(tmp_path, bn, 0.3)
  commits = [*COST["commits"], {"revision": "b" * 40, "changed": True}]
  write(tmp_path, rho, 0.4, device="H200", cost=COST | {"commits": commits})
  found = collect_all(tmp_path, seeds=(2020,))["provenance"]
  assert found["jobs"] == 2
  assert found["mixed"] == ["commit", "device"]
  assert found["facts"]["device"] == {"H200": 1, "cpu": 1}
  assert found["facts"]["commit"] == {
    "a" * 12: 1,
    f"{'a' * 12}, then {'b' * 12} with changes": 1,
  }
  (data,) = found["data"]["dg"]
  assert data == (
    "trained on s (7 images, sha256=dddddddddddd); x: protocol=own folds=1 "
    "sha256=ffffffffffff; a note"
  )
  other = {"protocol": "own", "folds": 1, "sha256": "e" * 64, "notes": []}
  write(tmp_path, rho, 0.4, targets={"x": other})
  found = collect_all(tmp_path, seeds=(2020,))["provenance"]
  assert found["mixed"] == ["data of dg"]


def test_nothing_was_run(tmp_path):
  data = collect_all(tmp_path)
  assert data["provenance"] == origins.describe({})
  text = render.to_markdown(data)
  assert "No job has been run." in text
  assert "| MetaBIN | rho | 0 | not run | not run | - | - |" in text


def test_the_text_has_the_numbers_of_the_data(tmp_path):
  bn, rho, bn2, _ = tiny_study.make_tasks((2020, 2021))
  write(tmp_path, bn, 0.3, best=snapshot(4, 0.6))
  write(tmp_path, bn2, 0.4)
  write(tmp_path, rho, 0.5, cost=COST | {"complete": False})
  data = collect_all(tmp_path)
  text = render.to_markdown(data)
  assert "Seeds: 2020, 2021." in text
  row = "| BN baseline | bn | 2 | 35.0 ± 7.1 | 50.0 ± 0.0 | 50.0 | - |"
  assert row in text
  assert "| MetaBIN | rho | 1 | 50.0 | 50.0 | - | - |" in text
  assert "| BN baseline | bn | 50.0 ± 14.1 | 50.0 ± 0.0 | 4, 6 |" in text
  assert "on these very targets" in text
  assert "| 2.00 | 1.00 | 0.10 | 0.50 | 5 | - | 1,234,567 | 89 |" in text
  assert "| ≥ 2.00 | ≥ 1.00 |" in text
  assert "cannot be compared with published ones" in text
  assert "* MetaBIN (dg), seed 2021: not run" in text
  assert "difference" not in text
  # The quoted row has nothing on the average; x is part of the average.
  assert "quoted |" not in text
  assert "\nx:\n" not in text
  data["per_target"] = True
  text = render.to_markdown(data)
  assert "\nx:\n" in text
  assert "\nviper:\n" in text
  assert "| quoted | - | 40.0 | - |" in text


def test_targets_of_the_user_have_tables_of_their_own(tmp_path):
  (bn, _) = tiny_study.make_tasks()
  final = snapshot(6, 0.3, x=0.3, mine=0.9)
  write(tmp_path, bn, 0.3, final=final)
  text = render.to_markdown(collect_all(tmp_path, seeds=(2020,)))
  mine = text.split("\nmine:\n")[1].split("\n\n")[0]
  assert "| BN baseline | bn | 1 | 90.0 | 50.0 |" in mine
  assert "| MetaBIN | rho | 0 | not run | not run |" in mine


def test_files_are_whole_or_not_there(tmp_path, monkeypatch):
  data = collect_all(tmp_path)
  render.save(data, tmp_path / "tables", "pair")
  file = tmp_path / "tables" / "pair.md"
  assert json.loads(file.with_suffix(".json").read_text()) == data
  before = file.read_text()

  def fail(*unused):
    raise OSError("no space")

  monkeypatch.setattr(render.os, "replace", fail)
  with pytest.raises(OSError, match="no space"):
    render.save_text(file, "other")
  assert file.read_text() == before
  assert len([*file.parent.iterdir()]) == 2
