"""The description of a run, and what may change when it goes on."""

from __future__ import annotations

import copy
import json
import subprocess

import jax
import pytest

import metabin_jax
from metabin_jax import default_config
from metabin_jax.errors import UserError
from metabin_jax.runtime import resolve, run_folder


@pytest.fixture(name="description")
def description_fixture():
  config = resolve.resolve(default_config.get_config())
  return run_folder.describe(resolve.to_dict(config), 5, "abc")


def changed(description, **changes):
  again = json.loads(json.dumps(description))
  for key, value in changes.items():
    section, _, name = key.partition("__")
    if name:
      again["config"][section][name] = value
    else:
      again[section] = value
  return again


def test_what_is_described(description):
  assert description["num_classes"] == 5
  assert description["data_sha256"] == "abc"
  assert description["config"]["meta"]["first_base_updates"] == 10
  versions = description["versions"]
  assert versions["metabin_jax"] == metabin_jax.__version__
  assert versions["jax"] == jax.__version__
  assert {"python", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"} < (
    versions.keys()
  )
  assert description["command"]
  assert description["device"] == jax.devices()[0].device_kind
  json.dumps(description, allow_nan=False)


def test_saved_and_loaded(description, tmp_path):
  workdir = tmp_path / "new" / "run"
  run_folder.save_description(workdir, description)
  assert run_folder.load_description(workdir) == description
  assert [p.name for p in workdir.iterdir()] == ["run.json"]


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", "\xff"])
def test_what_is_no_description_counts_as_none(tmp_path, text):
  if text is not None:
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
  assert run_folder.load_description(tmp_path) is None


@pytest.mark.parametrize(
  "change",
  [
    {"train__steps": 7},
    {"train__epochs": 7.0},
    {"train__log_every_steps": 7},
    {"train__checkpoint_every_steps": 7},
    {"train__keep_checkpoints": 7},
    {"data__targets": ["x:y"]},
    {"data__workers": 7},
    {"data__prefetch": 7},
    {"data__cache": "disk"},
    {"data__cache_dir": "elsewhere"},
    {"eval__ranks": [1]},
    {"eval__cross_camera": False},
    {"eval__ap": "mar"},
    {"eval__fprs": []},
    {"eval__flip": True},
    {"parallel__runner": "pmap"},
    {"parallel__devices": 4},
    {"model__remat": True},
    {"eval__rerank": True},
    {"eval__query_expansion": 3},
    {"command": "other"},
    {"commit": "other"},
  ],
)
def test_harmless_changes(description, tmp_path, change):
  run_folder.check_same_run(
    description, changed(description, **change), tmp_path
  )


@pytest.mark.parametrize(
  ("change", "said"),
  [
    ({"optim__lr": 0.5}, r"optim.lr was 0.01, is 0.5"),
    ({"train__steps_per_epoch": 7}, r"train.steps_per_epoch was 0, is 7"),
    ({"train__seed": 7}, r"train.seed was 2020, is 7"),
    (
      {"parallel__batch_moments": "device"},
      r"parallel.batch_moments was 'global', is 'device'",
    ),
    ({"meta__beta_fixed": 0.1}, r"meta.beta_fixed was None, is 0.1"),
    ({"data_sha256": "abd"}, "the training images or their labels"),
  ],
)
def test_other_changes_are_refused(description, tmp_path, change, said):
  with pytest.raises(UserError, match=said) as caught:
    run_folder.check_same_run(
      description, changed(description, **change), tmp_path
    )
  assert str(tmp_path) in str(caught.value)


def test_a_key_newer_than_the_run_had_its_default(description, tmp_path):
  older = copy.deepcopy(description)
  del older["config"]["optim"]["optimizer"]
  del older["config"]["data"]["jitter"]
  run_folder.check_same_run(older, description, tmp_path)
  now = changed(description, optim__optimizer="amsgrad")
  with pytest.raises(UserError, match="optimizer was 'sgd', is 'amsgrad'"):
    run_folder.check_same_run(older, now, tmp_path)


def test_epochs_may_not_change_under_a_cosine(description, tmp_path):
  cosine = changed(description, optim__schedule="cosine")
  now = changed(cosine, train__epochs=7.0)
  with pytest.raises(UserError, match=r"train\.epochs was 100\.0, is 7\.0"):
    run_folder.check_same_run(cosine, now, tmp_path)


def test_plugins_may_not_change(description, tmp_path):
  before = {**description, "plugins": {"a.py": "1"}}
  run_folder.check_same_run(before, dict(before), tmp_path)
  with pytest.raises(UserError, match=r"the files of model\.plugins"):
    run_folder.check_same_run(
      before, {**description, "plugins": {"a.py": "2"}}, tmp_path
    )


def test_only_a_source_tree_has_a_commit(monkeypatch, tmp_path):
  package = tmp_path / "venv" / "metabin_jax"
  package.mkdir(parents=True)
  git = ["git", "-C", str(tmp_path)]
  subprocess.run([*git, "init", "-q"], check=True)
  identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
  subprocess.run(
    [*git, *identity, "commit", "-q", "--allow-empty", "-m", "not ours"],
    check=True,
  )
  monkeypatch.setattr(metabin_jax, "__file__", str(package / "__init__.py"))
  assert run_folder._commit() is None
  (tmp_path / "venv").rename(tmp_path / "x")
  package = tmp_path / "metabin_jax"
  (tmp_path / "x" / "metabin_jax").rename(package)
  monkeypatch.setattr(metabin_jax, "__file__", str(package / "__init__.py"))
  commit = run_folder._commit()
  assert commit is not None
  assert len(commit) == 40
