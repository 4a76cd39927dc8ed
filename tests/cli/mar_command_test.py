"""Method "mar" from the command line: a tiny backbone, pictures of noise."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import pytest
import tiny_run

from metabin_jax.cli.main import main
from metabin_jax.models import registry
from metabin_jax.runtime import loop

BACKBONE = """
from flax import linen as nn
from metabin_jax.models import layers, registry

class One(nn.Module):
  norm: str
  width: float = 1.0
  last_stride: int = 1
  dtype: object = None

  @nn.compact
  def __call__(self, x, mode):
    x = layers.Conv(8, 3, 2, dtype=self.dtype, name="conv")(x)
    site = registry.Site("norm", "resnet", 0)
    return registry.norm_at(self.norm, site, "bn")(x, mode)

registry.register_backbone("one_layer", One)
"""
SHARED = (
  "--config.model.backbone=one_layer",
  "--config.model.norm=bn",
  "--config.model.neck=none",
  "--config.data.sampler=shuffle",
  "--config.loss.base=('ce',)",
  "--config.loss.smoothing=0.0",
  "--config.optim.warmup_epochs=0.0",
  "--config.meta.first_base_updates=1",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  """Folder with a plug-in, a site of 18 images of 3 cameras, a first run."""
  known = dict(registry._backbones), set(registry._OWN)
  folder = tmp_path_factory.mktemp("mar")
  (folder / "one.py").write_text(BACKBONE)
  rows = [(f"s{p}", c, "site", "train") for p in range(6) for c in range(3)]
  tiny_run.write_manifest(folder / "site.csv", rows)
  words = (*SHARED, f"--config.model.plugins=('{folder / 'one.py'}',)")
  status = tiny_run.train(folder / "pre", *words, "--config.method=joint")
  assert status == 0
  yield folder, words
  registry._backbones.clear()
  registry._backbones.update(known[0])


def mar(place, *options):
  """The words of a run; of two for one key the later one."""
  folder, words = place
  usual = (
    *words,
    "--config.method=mar",
    f"--config.data.unlabelled=('manifest:{folder / 'site.csv'}',)",
    "--config.mar.batch_size=12",
    "--config.mar.ratio=0.2",
    "--config.mar.first_mining_epochs=0.5",
    "--config.optim.lr=0.0002",
    "--config.optim.decay_norms=False",
    f"--config.model.pretrained={folder / 'pre'}",
    "--config.model.pretrained_classifier=True",
  )
  given = {word.partition("=")[0]: word for word in (*usual, *options)}
  return tuple(given.values())


@pytest.fixture(scope="module")
def finished(place):
  workdir = place[0] / "whole"
  assert tiny_run.train(workdir, *mar(place)) == 0
  return workdir


def test_a_run_logs_and_remembers(place, finished):
  run = json.loads((finished / "run.json").read_text())
  assert [
    (source["name"], source["images"], source.get("labels"))
    for source in run["sources"]
  ] == [("train", 36, None), ("site", 18, "not used")]
  assert run["unlabelled_sha256"] != run["data_sha256"]
  assert run["pretrained"]["taken"]["classifier"] == 1
  lines = [
    json.loads(line)
    for line in (finished / "metrics.jsonl").read_text().splitlines()
  ]
  losses = {f"loss/{n}" for n in ("mdl", "cml", "al", "rj", "total")}
  counts = ("pairs", "positives", "true_pairs", "true_positives", "threshold")
  assert losses | {f"mining/{n}" for n in counts} <= lines[-1].keys()
  # Half an epoch of four iterations before anything is mined.
  assert lines[0]["loss/mdl"] == 0 < lines[-1]["loss/mdl"]
  assert lines[0]["mining/pairs"] == lines[0]["mining/true_pairs"] == 0
  pairs, positives, true, both, _ = (lines[-1][f"mining/{n}"] for n in counts)
  assert both <= min(positives, true)
  assert max(positives, true) <= pairs > 0
  state = tiny_run.leaves(finished)
  assert state["memory/multilabels"].shape == (64, 12)
  assert not state["memory/seen"][18:].any()
  seen = state["memory/seen"]
  np.testing.assert_allclose(
    state["memory/multilabels"].sum(1), seen.astype(float), atol=1e-5
  )
  assert 12 <= seen.sum() <= 18


def test_the_agents_are_the_classifier_of_the_first_run(place, tmp_path):
  """At a rate that moves nothing, and without the key."""
  before = tiny_run.leaves(place[0] / "pre")["params/classifier"]
  for taken in (True, False):
    words = mar(
      place,
      "--config.optim.lr=1e-30",
      "--config.train.steps=1",
      f"--config.model.pretrained_classifier={taken}",
    )
    assert tiny_run.train(tmp_path / f"{taken}", *words) == 0
    after = tiny_run.leaves(tmp_path / f"{taken}")["params/classifier"]
    assert np.array_equal(before, after) == taken


def test_its_multilabels_are_drawn(finished, tmp_path, capsys):
  words = ("figures", "multilabels", str(finished), f"--out={tmp_path}")
  assert main([*words]) == 0
  lines = (tmp_path / "multilabels.csv").read_text().splitlines()
  assert lines[0] == "run,step,view,from,to,share,normal"
  assert len(lines) == 1 + 3 * 40
  assert (tmp_path / "multilabels.png").is_file()


def test_a_run_that_was_cut_ends_the_same(place, finished, tmp_path):
  workdir = tmp_path / "run"
  assert tiny_run.train(workdir, *mar(place), "--config.train.steps=4") == 0
  assert tiny_run.train(workdir, *mar(place)) == 0
  tiny_run.assert_same_run(finished, workdir)


def test_a_run_that_was_stopped_before_it_looked_ends_the_same(
  place, finished, tmp_path, monkeypatch, capsys
):
  workdir = tmp_path / "run"
  prepare = loop._prepare_pixels

  def signal_and_prepare(*args):
    os.kill(os.getpid(), signal.SIGTERM)
    return prepare(*args)

  with monkeypatch.context() as patched:
    patched.setattr(loop, "_prepare_pixels", signal_and_prepare)
    assert tiny_run.train(workdir, *mar(place)) == 128 + signal.SIGTERM
  assert "looking at every image" not in capsys.readouterr().err
  assert tiny_run.train(workdir, *mar(place)) == 0
  assert capsys.readouterr().err.count("looking at every image") == 1
  tiny_run.assert_same_run(finished, workdir)


def test_renamed_images_do_not_continue_a_run(
  place, finished, tmp_path, capsys
):
  """Their labels alone would not tell, as all of a site may be the same."""
  workdir = tmp_path / "run"
  shutil.copytree(finished, workdir)
  shutil.copytree(place[0] / "site", tmp_path / "site")
  (tmp_path / "site" / "0.png").rename(tmp_path / "site" / "new.png")
  lines = (place[0] / "site.csv").read_text().replace("/0.png", "/new.png")
  (tmp_path / "site.csv").write_text(lines)
  file = tmp_path / "site.csv"
  words = mar(place, f"--config.data.unlabelled=('manifest:{file}',)")
  assert tiny_run.train(workdir, *words) == 2
  assert "the images of data.unlabelled" in capsys.readouterr().err


def test_other_images_do_not_continue_a_run(place, finished, tmp_path, capsys):
  workdir = tmp_path / "run"
  shutil.copytree(finished, workdir)
  rows = [(f"s{p}", c, "site", "train") for p in range(6) for c in range(2)]
  other = tiny_run.write_manifest(tmp_path / "site.csv", rows)
  words = mar(place, f"--config.data.unlabelled=('{other}',)")
  assert tiny_run.train(workdir, *words) == 2
  assert "the images of data.unlabelled" in capsys.readouterr().err


def test_mistakes(place, tmp_path, capsys):
  folder, _ = place
  train = f"manifest:{tiny_run.root() / 'train.csv'}"
  test = f"manifest:{tiny_run.root() / 'test.csv'}"
  for options, message in (
    (("--config.data.unlabelled=()",), "data.unlabelled names none"),
    (
      (f"--config.data.unlabelled=('{test}',)",),
      "'test' of data.unlabelled has no training image",
    ),
    (
      (f"--config.model.pretrained={tiny_run.finished(*tiny_run.BASELINE)}",),
      "do not fit this network",
    ),
    (
      (
        f"--config.data.sources=('manifest:{folder / 'site.csv'}?name=other',)",
        f"--config.data.unlabelled=('{train}',)",
        "--config.mar.view_weight=0.0",
      ),
      "no run that was trained on the persons",
    ),
  ):
    assert tiny_run.train(tmp_path / "run", *mar(place, *options)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
