"""Which folders are runs, and what figures call them."""

from __future__ import annotations

import json

import pytest

from metabin_jax.errors import UserError
from metabin_jax.report import runs


def write_run(folder):
  folder.mkdir(parents=True)
  description = {"config": {}, "data_sha256": "", "at": str(folder)}
  (folder / "run.json").write_text(json.dumps(description))
  return folder


def test_workdirs_and_jobs(tmp_path):
  workdir = write_run(tmp_path / "mine")
  inside = write_run(tmp_path / "jobs" / "metabin-seed2020-0" / "run")
  first, second = runs.find_runs([workdir, inside.parent])
  assert first == ("mine", workdir, {**first.description, "at": str(workdir)})
  assert second.name == "metabin-seed2020-0"
  assert second.workdir == inside
  assert second.description["at"] == str(inside)


def test_runs_of_one_name_are_told_apart(tmp_path):
  folders = [write_run(tmp_path / place / "metabin") for place in "ab"]
  found = runs.find_runs(folders)
  assert [run.name for run in found] == [str(folder) for folder in folders]


def test_a_run_is_named_once(tmp_path):
  folder = write_run(tmp_path / "mine")
  with pytest.raises(UserError, match="given twice"):
    runs.find_runs([folder, folder / ".." / "mine"])


@pytest.mark.parametrize("text", [None, "", "[]", '{"config": {}}'])
def test_other_folders_are_refused(tmp_path, text):
  if text is not None:
    (tmp_path / "run.json").write_text(text)
  with pytest.raises(UserError, match=r"holds no run .*run\.json"):
    runs.find_runs([tmp_path])
