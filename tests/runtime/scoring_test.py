"""Trained networks brought back and scored."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
import tiny_run

from metabin_jax.data import images, readers
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError
from metabin_jax.evaluation import adabn, evaluate, extract, settings
from metabin_jax.runtime import adaptation, scoring


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


def test_evaluation_can_be_set_anew(workdir):
  config = scoring.load_run(workdir).config
  changes = {"ap": "trapezoid", "query_expansion": 2}
  changed = scoring.override_eval(config, changes)
  assert changed.eval.ap == "trapezoid"
  assert changed.eval.query_expansion == 2
  assert changed.eval.batch_size == config.eval.batch_size
  assert changed.model == config.model
  assert config.eval.ap == "interpolation-free"
  assert scoring.override_eval(config, {}) == config
  with pytest.raises(UserError, match="ap is 'x'; choose"):
    scoring.override_eval(config, {"ap": "x"})


def test_every_option_at_once(workdir):
  """From the configuration through a real network to the summary."""
  loaded = scoring.load_run(workdir)
  target = readers.open_dataset(f"manifest:{tiny_run.root()}/test.csv")
  args = (loaded.network, loaded.variables, [target])
  changes = {
    "flip": True,
    "query_expansion": 1,
    "rerank": True,
    "rerank_k1": 3,
    "rerank_k2": 2,
  }
  config = scoring.override_eval(loaded.config, changes)
  scores = scoring.score(config, *args)["test"]
  plain = scoring.score(loaded.config, *args)["test"]
  assert scores.keys() == plain.keys()
  assert 0 < scores["mAP"] <= 1
  assert scores["num_valid"] == plain["num_valid"]


def adapt_to(loaded, config, load, paths):
  """The weights of a run, adapted to some images as the configuration says."""
  given = (loaded.network, loaded.variables, load, paths)
  if config.eval.adapt == "none":
    return adabn.adapt(*given, 8)
  rules, plan = adaptation.from_config(config.eval.bnta)
  assert rules.losses == ("match",)
  found = adaptation.adapt(*given, rules=rules, plan=plan, batch_size=8)
  assert found.losses
  return found.variables


@pytest.mark.parametrize(
  ("method", "which"),
  [
    ("adabn", "gallery"),
    ("adabn", "all"),
    ("bnta", "gallery"),
    pytest.param("bnta", "all", marks=pytest.mark.slow),
  ],
)
def test_each_fold_is_adapted_to_apart(workdir, method, which, monkeypatch):
  """Two folds: each is embedded by what its own images alone have moved."""
  loaded = scoring.load_run(workdir)
  target = readers.open_dataset(f"manifest:{tiny_run.root()}/test.csv")
  (fold,) = target.folds

  def half(keep):
    query = [record for record in fold.query if keep(record)]
    gallery = [record for record in fold.gallery if keep(record)]
    return type(fold)("half", tuple(query), tuple(gallery))

  last = max(record.pid for record in fold.query)
  folds = (half(lambda r: r.pid != last), half(lambda r: r.pid > "test/x1"))
  changes = {
    "adabn": {"adapt_bn": which},
    "bnta": {
      "adapt": "bnta",
      "bnta": {"images_of": which, "losses": ("match",)},
    },
  }
  config = scoring.override_eval(loaded.config, changes[method])
  height, width = config.data.height_px, config.data.width_px

  def load(paths):
    return np.stack([images.load_image(p, height, width) for p in paths])

  want = []
  for part in folds:
    paths = adabn.choose_paths(part, which)
    assert len(paths) == len(part.gallery) + len(part.query) * (which == "all")
    variables = adapt_to(loaded, config, load, paths)
    embed = extract.make_embedder(loaded.network, variables, 8)
    want += evaluate.evaluate_folds(
      [part],
      lambda records, embed=embed: embed(load([r.path for r in records])),
      settings.from_config(config.eval),
    )
  seen = []
  make_embedder = extract.make_embedder

  def watched(network, variables, *args, **kwargs):
    seen.append(variables)
    return make_embedder(network, variables, *args, **kwargs)

  monkeypatch.setattr(extract, "make_embedder", watched)
  args = (loaded.network, loaded.variables, [DataSet("x", folds=folds)])
  adapted = {}
  scores = scoring.score(config, *args, adapted=adapted)["x"]
  assert scores["folds"] == 2
  assert bool(adapted) == (method == "bnta")
  if adapted:
    assert adapted["x"]["half"]["images"] == len(
      adabn.choose_paths(folds[1], which)
    )
  for name, value in want[0].items():
    both = [value, want[1][name]]
    if name.startswith("num_"):
      assert scores[name] == sum(both)
    elif value is not None:
      assert scores[name] == pytest.approx(np.mean(both), abs=1e-12)
  means = [v["batch_stats"]["neck"]["mean"] for v in seen]
  assert len(means) == 2
  assert (means[0] != means[1]).any()
  assert (means[0] != loaded.variables["batch_stats"]["neck"]["mean"]).any()
  plain = scoring.score(loaded.config, *args)["x"]
  assert plain.keys() == scores.keys()
