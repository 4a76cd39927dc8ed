"""A test set made into a site: nobody is both learned from and looked for."""

from __future__ import annotations

import importlib
import sys

import pytest
import tiny_run
from miniatures import pku_reid

from metabin_jax.data import readers

sys.path.append(str(tiny_run.REPOSITORY / "experiments/mar"))
halve_persons = importlib.import_module("halve_persons")


@pytest.fixture(name="spec")
def spec_fixture(tmp_path):
  root = pku_reid.build(tmp_path / "set")
  return f"pku_reid:{root}?partial=allow"


def halve(monkeypatch, spec, out, seed=2020):
  words = ["halve_persons.py", spec, f"--out={out}", f"--seed={seed}"]
  monkeypatch.setattr(sys, "argv", words)
  halve_persons.main()
  return readers.open_dataset(f"manifest:{out}?name=site")


def people(records):
  return {record.pid.partition("/")[2] for record in records}


def test_every_image_once_and_no_person_twice(tmp_path, monkeypatch, spec):
  (whole,) = readers.open_dataset(spec).folds
  found = halve(monkeypatch, spec, tmp_path / "new" / "site.csv")
  (fold,) = found.folds
  everyone = people(whole.query)
  learned, asked = people(found.train), people(fold.query)
  assert learned | asked == everyone
  assert not learned & asked
  assert len(learned) == (len(everyone) + 1) // 2
  assert people(fold.gallery) == asked
  parts = (*found.train, *fold.query, *fold.gallery)
  paths = [record.path for record in parts]
  want = {r.path: r.camid for r in (*whole.query, *whole.gallery)}
  assert len(paths) == len(want)
  assert {record.path: record.camid for record in parts} == want


def test_the_seed_draws(tmp_path, monkeypatch, spec):
  drawn = {
    frozenset(
      people(halve(monkeypatch, spec, tmp_path / f"{seed}.csv", seed).train)
    )
    for seed in range(20)
  }
  assert len(drawn) > 1
  halve(monkeypatch, spec, tmp_path / "again.csv", 0)
  again = (tmp_path / "again.csv").read_text()
  assert again == (tmp_path / "0.csv").read_text()


def test_a_file_is_not_written_over(tmp_path, monkeypatch, capsys, spec):
  (tmp_path / "site.csv").write_text("mine")
  with pytest.raises(SystemExit) as stopped:
    halve(monkeypatch, spec, tmp_path / "site.csv")
  assert stopped.value.code == 2
  assert "exists" in capsys.readouterr().err
  assert (tmp_path / "site.csv").read_text() == "mine"


def test_a_data_set_without_a_test_is_refused(tmp_path, monkeypatch, capsys):
  file = tmp_path / "all.csv"
  (tmp_path / "a.png").write_bytes(b"")
  file.write_text("path,pid,camid,domain,split\na.png,a,1,,train\n")
  with pytest.raises(SystemExit) as stopped:
    halve(monkeypatch, f"manifest:{file}", tmp_path / "site.csv")
  assert stopped.value.code == 2
  assert "no query" in capsys.readouterr().err
  assert not (tmp_path / "site.csv").exists()
