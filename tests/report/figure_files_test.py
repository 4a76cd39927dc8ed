"""Files of figures: complete or not there; numbers that read back."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from metabin_jax.report import figure_files


def test_rows_read_back(tmp_path):
  path = tmp_path / "new" / "table.csv"
  value = np.float32(2) / 3
  rows = [("a, b", 3, value, None), ('"', np.int64(4), 1e-30, "x")]
  figure_files.save_rows(path, ("name", "step", "rho", "rest"), iter(rows))
  with path.open(newline="") as file:
    header, *found = csv.reader(file)
  assert header == ["name", "step", "rho", "rest"]
  assert found[0][:2] == ["a, b", "3"]
  assert np.float32(found[0][2]) == value
  assert found[0][3] == ""
  assert found[1] == ['"', "4", "1e-30", "x"]
  assert b"\r" not in path.read_bytes()


@pytest.mark.parametrize("row", [("a",), ("a", "b", "c")])
def test_rows_of_another_length_leave_the_old_file(tmp_path, row):
  path = tmp_path / "table.csv"
  path.write_text("old")
  with pytest.raises(ValueError, match="does not fit"):
    figure_files.save_rows(path, ("one", "two"), [("a", "b"), row])
  assert path.read_text() == "old"
  assert list(tmp_path.iterdir()) == [path]


def test_a_file_appears_only_when_it_is_complete(tmp_path):
  path = tmp_path / "figure.png"
  seen = []

  def write(part):
    seen.append(part)
    part.write_text("half")
    assert not path.exists()
    part.write_text("whole")

  figure_files.replace_file(path, write)
  assert path.read_text() == "whole"
  assert seen[0].parent == tmp_path
  assert list(tmp_path.iterdir()) == [path]
