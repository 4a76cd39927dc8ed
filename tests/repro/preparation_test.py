"""What is refused before the first job runs."""

from __future__ import annotations

import pytest
import tiny_run
import tiny_study

from metabin_jax.errors import UserError
from metabin_jax.repro import job_folder, preparation
from metabin_jax.runtime import resolve


def test_settings_are_python_values_or_text():
  words = ["a.b=1", "c=x", "d=('p','q')", "e=", "f=None", "g=1=2", "a.b=2.5"]
  assert preparation.parse_settings(words) == {
    "a.b": 2.5,
    "c": "x",
    "d": ("p", "q"),
    "e": "",
    "f": None,
    "g": "1=2",
  }
  for wrong in ("a.b", "=1"):
    with pytest.raises(UserError, match="--set"):
      preparation.parse_settings([wrong])


def test_tasks_have_what_the_user_says_of_data_and_name_mistakes():
  job = tiny_study.job("bn", **{"method": "joint", "model.norm": "bn"})
  (task,) = preparation.make_tasks(
    [job],
    tiny_study.CATALOGUE,
    lambda specs: [f"{spec}?name=t" for spec in specs],
  )
  assert task.job is job
  assert task.config.method == "joint"
  assert all(spec.endswith("?name=t") for spec in task.config.data.sources)
  assert all(spec.endswith("?name=t") for spec in task.config.data.targets)
  wrong = tiny_study.job("bn", **{"optim.lrr": 1})
  with pytest.raises(UserError, match=r"^bn \(dg\): unknown .*optim.lrr"):
    preparation.make_tasks([job, wrong], tiny_study.CATALOGUE, list)


def test_ways_to_score_are_checked_before_anything_runs():
  job = tiny_study.job("bn", **{"method": "joint", "model.norm": "bn"})
  ways = {job.name: {"a": {"flip": True}}, "another": {"b": {"ap": "mar"}}}
  (task,) = preparation.make_tasks([job], tiny_study.CATALOGUE, list, ways)
  assert task.scorings == {"a": {"flip": True}}
  # The positioning loss needs a head that this network does not have.
  ways = {job.name: {"a": {"adapt": "bnta"}}}
  with pytest.raises(UserError, match=r"^bn \(dg\): .*position"):
    preparation.make_tasks([job], tiny_study.CATALOGUE, list, ways)


def test_data_is_opened_and_checked(tmp_path, monkeypatch):
  tasks = tiny_study.make_tasks((1, 2))
  opened = []
  open_dataset = preparation.readers.open_dataset

  def count(spec):
    opened.append(spec)
    return open_dataset(spec)

  monkeypatch.setattr(preparation.readers, "open_dataset", count)
  preparation.open_data(tasks, (), "quick")
  assert len(opened) == len(set(opened)) == 2
  rows = tiny_run.train_rows() + tiny_run.target_rows("a")
  bad = tiny_run.write_manifest(tmp_path / "bad.csv", rows)
  with pytest.raises(UserError, match="shares 4 persons") as caught:
    preparation.open_data(tasks, (f"{bad}?name=train",), "quick")
  assert "METABIN_DATA" not in str(caught.value)


def test_missing_data_of_the_full_scale_names_the_folder(monkeypatch):
  monkeypatch.setenv("METABIN_DATA", "/nowhere")
  changes = {"data.sources": ["market1501:/nowhere"]}
  tasks = tiny_study.make_tasks(**changes)
  with pytest.raises(UserError) as caught:
    preparation.open_data(tasks, (), "full")
  text = str(caught.value)
  assert "$METABIN_DATA (now '/nowhere')" in text
  assert "metabin datasets" in text
  with pytest.raises(UserError) as caught:
    preparation.open_data(tasks, (), "quick")
  assert "METABIN_DATA" not in str(caught.value)


def test_meta_methods_need_two_domains():
  rows = tiny_run.train_rows(domains=("a",))
  spec = tiny_run.write_manifest(tiny_run.root() / "single.csv", rows)
  bn, rho = tiny_study.make_tasks(**{"data.sources": [spec]})
  preparation.open_data([bn], (), "quick")
  with pytest.raises(UserError, match="only one domain"):
    preparation.open_data([rho], (), "quick")


def test_states(tmp_path):
  task, other = tiny_study.make_tasks()
  job = task.job
  folder = job_folder.find(tmp_path, job)
  result = {"config": resolve.to_dict(task.config)}
  old = {"config": resolve.to_dict(other.config)}
  states = []
  for step in (
    lambda: None,
    lambda: folder.run.mkdir(parents=True),
    lambda: folder.error.write_text("the loss is nan"),
    lambda: folder.save_result(result),
    lambda: folder.save_result(old),
  ):
    step()
    states.append(preparation.describe_state(tmp_path, task))
  assert states == [
    f"to do    quick dg {job.name}",
    f"begun    quick dg {job.name}",
    f"failed   quick dg {job.name}",
    f"finished quick dg {job.name}",
    f"stale    quick dg {job.name}",
  ]
  folder.save_result(result)
  asked = task._replace(scorings={"a": {"flip": True}})
  found = preparation.describe_state(tmp_path, asked)
  assert found == f"to score quick dg {job.name}"
