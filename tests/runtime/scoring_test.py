"""Trained networks brought back and scored."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
import tiny_run

from metabin_jax.data import readers
from metabin_jax.errors import UserError
from metabin_jax.runtime import scoring


@pytest.fixture(name="workdir", scope="module")
def workdir_fixture():
  return tiny_run.finished(*tiny_run.BASELINE)


def test_load_run_gives_weights_and_configuration(workdir):
  loaded = scoring.load_run(workdir)
  assert loaded.step == 6
  assert loaded.config.model.norm == "bn"
  assert loaded.config.meta.first_base_updates == 2
  assert loaded.network.num_classes == 12
  assert loaded.variables["balance"] == {}  # batch norm has no rho
  stored = tiny_run.leaves(workdir)
  np.testing.assert_array_equal(
    loaded.variables["params"]["classifier"], stored["params/classifier"]
  )
  earlier = scoring.load_run(workdir, step=4)
  assert earlier.step == 4
  changed = jax.tree.map(
    lambda a, b: bool((a != b).any()), loaded.variables, earlier.variables
  )
  assert changed["params"]["classifier"]


def test_load_run_refuses_what_is_none(workdir, tmp_path):
  with pytest.raises(UserError, match="holds no run; give the --workdir"):
    scoring.load_run(tmp_path)
  (tmp_path / "checkpoints").mkdir()
  with pytest.raises(UserError, match="there is no checkpoint in"):
    scoring.load_run(tmp_path)
  with pytest.raises(UserError, match="it has steps 4, 6"):
    scoring.load_run(workdir, step=5)


def test_score_repeats_the_numbers_of_the_run(workdir):
  loaded = scoring.load_run(workdir)
  target = readers.open_dataset(f"manifest:{tiny_run.root()}/test.csv")
  scores = scoring.score(
    loaded.config, loaded.network, loaded.variables, [target]
  )
  (row,) = json.loads((workdir / "result.json").read_text())["results"]
  assert list(scores) == ["test"]
  for name, value in scores["test"].items():
    assert row[name] == value


def test_no_target_no_score(workdir):
  loaded = scoring.load_run(workdir)
  args = (loaded.config, loaded.network, loaded.variables)
  assert scoring.score(*args, []) == {}
