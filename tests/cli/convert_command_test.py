"""`metabin convert`, and training from the weights of others."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import tiny_run
from golden import rules

from metabin_jax.cli.main import main
from metabin_jax.evaluation import extract
from metabin_jax.interop import layouts, matching, official, weight_files
from metabin_jax.runtime import distributed, scoring

SIZE = ("--height=32", "--width=16")


@pytest.fixture(scope="module", name="folder")
def folder_fixture(tmp_path_factory):
  return tmp_path_factory.mktemp("weights")


def random_variables(norm, seed, classes=7):
  generator = np.random.default_rng(seed)
  shapes = matching.shapes("resnet18", norm, 0.125, classes)
  return matching.nest(
    {
      path: generator.uniform(0.5, 1.5, shape).astype(np.float32)
      for path, shape in shapes.items()
    }
  )


@pytest.fixture(scope="module", name="checkpoint")
def checkpoint_fixture(folder):
  """A checkpoint as MetaBIN's own code names it; no two arrays are alike."""
  path = folder / "metabin.safetensors"
  variables = random_variables("bin", 1)
  weight_files.save(path, official.to_official(variables, "bin"))
  return path


@pytest.fixture(scope="module", name="imagenet")
def imagenet_fixture(folder):
  """An ordinary ResNet-18, as torchvision names it."""
  path = folder / "imagenet.npz"
  variables = matching.flatten(random_variables("bn", 2))
  key_of = layouts.LAYOUTS["torchvision-resnet"].key_of
  state = {
    key_of(path[2:]): matching.to_torch(array)
    for path, array in variables.items()
    if path[1] == "backbone"
  }
  state["fc.weight"] = np.ones((10, 64), np.float32)
  state["fc.bias"] = np.ones(10, np.float32)
  weight_files.save(path, state)
  return path


@pytest.fixture(scope="module", name="run")
def run_fixture(folder, checkpoint):
  workdir = folder / "run"
  words = ["convert", str(checkpoint), f"--workdir={workdir}", *SIZE]
  assert main([*words, "--trained-on=market1501,cuhk03"]) == 0
  return workdir


def test_a_checkpoint_goes_in_and_comes_back_bit_identical(
  run, checkpoint, tmp_path, capsys
):
  target = tmp_path / "back.safetensors"
  assert main(["convert", str(run), f"--to={target}"]) == 0
  assert "named as MetaBIN's own code" in capsys.readouterr().out
  given = weight_files.load(checkpoint).arrays
  back = weight_files.load(target).arrays
  assert back.keys() == given.keys()
  for key, array in given.items():
    assert back[key].dtype == array.dtype
    np.testing.assert_array_equal(back[key], array, err_msg=key)


def test_the_folder_is_scored_like_a_run(run, capsys, tmp_path):
  words = [
    "evaluate",
    str(run),
    f"--target=manifest:{tiny_run.root()}/test.csv",
  ]
  assert main([*words, f"--json={tmp_path / 'scores.json'}"]) == 0
  scores = json.loads((tmp_path / "scores.json").read_text())
  assert len(scores["results"]) == 1
  sources = scores["training"]["run"]
  assert [source["name"] for source in sources] == ["market1501", "cuhk03"]
  assert all(len(source["terms"]) > 10 for source in sources)


def test_what_was_taken_is_said_and_kept(run, checkpoint):
  description = json.loads((run / "run.json").read_text())
  record = description["converted"]
  assert record["origin"] == str(checkpoint)
  assert record["sha256"] == weight_files.load(checkpoint).sha256
  assert record["layout"] == "metabin"
  assert record["taken"]["rho"] == 20
  assert record["kept"] == {}
  assert description["config"]["model"]["width"] == 0.125
  assert description["num_classes"] == 7


def test_an_ordinary_network_embeds_by_its_pooled_feature(
  imagenet, tmp_path, capsys
):
  workdir = tmp_path / "run"
  report = tmp_path / "report.json"
  words = ["convert", str(imagenet), f"--workdir={workdir}", *SIZE]
  assert main([*words, f"--json={report}"]) == 0
  said = capsys.readouterr().out
  assert "layout torchvision-resnet, resnet18 of width 0.125, norm bn" in said
  assert "keys not used: fc.weight, fc.bias" in said
  assert json.loads(report.read_text())["unused"] == ["fc.weight", "fc.bias"]
  run = scoring.load_run(workdir)
  images = np.random.default_rng(0).integers(0, 256, (3, 32, 16, 3), np.uint8)
  outputs = run.network.apply(run.variables, images, mode="eval")
  np.testing.assert_allclose(outputs.embedding, outputs.pooled, rtol=1e-5)
  assert float(np.abs(outputs.pooled).max()) > 0


# As in tests/models/golden_forward_test.py: times the reference's own error.
FLOAT32 = 6


def test_golden_weights_give_the_golden_features(tmp_path):
  state = {
    key: np.asarray(array, np.float32)
    for key, array in rules.state_dict("resnet18").items()
  }
  path = tmp_path / "golden.safetensors"
  weight_files.save(path, state)
  words = ["convert", str(path), f"--workdir={tmp_path / 'run'}"]
  assert main([*words, "--height=128", "--width=64"]) == 0
  run = scoring.load_run(tmp_path / "run")
  images = rules.forward_batch().image
  got = extract.make_embedder(run.network, run.variables, len(images))(images)
  with rules.load("c_forward_resnet18.npz") as golden:
    want = golden["uniform/eval/bn"]
    gap = golden["gap/uniform/eval/bn"] / np.max(np.abs(want))
  every = got.shape[1] // want.shape[1]  # the stored columns
  assert rules.relative_error(got[:, ::every], want) < FLOAT32 * gap


def mistake(words, capsys):
  assert main(words) == 2
  return capsys.readouterr().err


def test_mistakes(run, checkpoint, imagenet, tmp_path, capsys):
  workdir = tmp_path / "new"
  convert = ["convert", str(checkpoint), *SIZE]
  into = f"--workdir={workdir}"
  said = mistake([*convert, f"--workdir={run}"], capsys)
  assert "holds a run already" in said
  said = mistake([*convert, into, "--trained-on=market"], capsys)
  assert "'market', which is no public data set here; choose of" in said
  said = mistake([*convert, into, "--norm=in"], capsys)
  assert "of norm 'bin' and start no other arm" in said
  said = mistake([*convert, into, "--norm=layer"], capsys)
  assert "model.norm is 'layer'; choose one of" in said
  said = mistake([*convert, into, "--step=3"], capsys)
  assert "--step is for --to" in said
  said = mistake(["convert", str(run), into], capsys)
  assert "a run needs no conversion: copy its folder, or train on" in said
  said = mistake(convert, capsys)
  assert "one of the arguments --workdir --to is required" in said
  said = mistake(["convert", str(tmp_path), f"--to={tmp_path}/w.npz"], capsys)
  assert "holds no run" in said
  said = mistake(["convert", str(run), f"--to={tmp_path}/w.txt"], capsys)
  assert "says no format" in said
  cut = tmp_path / "cut.safetensors"
  cut.write_bytes(checkpoint.read_bytes()[:-100])
  said = mistake(["convert", str(cut), into], capsys)
  assert "is damaged or incomplete" in said
  assert not workdir.exists()
  # An arm that the reference does not have.
  words = ["convert", str(imagenet), into, "--norm=ibn_a", *SIZE]
  assert main(words) == 0
  capsys.readouterr()
  said = mistake(["convert", str(workdir), f"--to={tmp_path}/w.npz"], capsys)
  assert "no weights for norm 'ibn_a'" in said
  assert not (tmp_path / "w.npz").exists()


@pytest.fixture(name="stopped_at_once")
def stopped_at_once_fixture(monkeypatch):
  """A run in the folder that was asked to stop before its first iteration.

  Its checkpoint is the state that training would have begun with.
  """

  def train(workdir, *options):
    with monkeypatch.context() as patched:
      patched.setattr(distributed.StopVote, "now", lambda vote: True)
      tiny_run.train(workdir, *options)
    assert tiny_run.steps(workdir) == (0,)
    return tiny_run.leaves(workdir)

  return train


def test_training_starts_from_the_weights_and_goes_on_without_them(
  imagenet, tmp_path, capsys, stopped_at_once
):
  copy = tmp_path / "weights.npz"
  shutil.copy(imagenet, copy)
  option = f"--config.model.pretrained={copy}"
  workdir = tmp_path / "run"
  leaves = stopped_at_once(workdir, option, "--config.train.steps=2")
  said = capsys.readouterr().err
  assert re.search(r"arrays taken: .*, 20 kernel, 20 mean, 20 var\n", said)
  record = json.loads((workdir / "run.json").read_text())["pretrained"]
  assert record["sha256"] == weight_files.load(copy).sha256
  assert record["kept"]["rho"] == 20
  given = weight_files.load(copy).arrays["layer3.1.conv2.weight"]
  kernel = leaves["params/backbone/layer3_1/conv2/kernel"]
  np.testing.assert_array_equal(kernel, given.transpose(2, 3, 1, 0))
  copy.unlink()
  assert tiny_run.train(workdir, option, "--config.train.steps=2") == 0
  assert tiny_run.steps(workdir)[-1] == 2
  again = json.loads((workdir / "run.json").read_text())["pretrained"]
  assert again == record


def test_training_from_a_run(tmp_path, capsys, stopped_at_once):
  first = tiny_run.finished()
  option = f"--config.model.pretrained={first}"
  new = stopped_at_once(tmp_path / "run", option)
  assert "layout metabin_jax" in capsys.readouterr().err
  old = tiny_run.leaves(first)
  name = "balance/backbone/layer2_0/bn1/rho"
  assert not (old[name] == 1).all()
  np.testing.assert_array_equal(new[name], old[name])
  # The classifier is for other persons.
  name = "params/classifier"
  assert not (new[name] == old[name]).any()


def test_weights_that_are_not_there_stop_a_run_before_it_begins(
  tmp_path, capsys
):
  option = f"--config.model.pretrained={tmp_path / 'none.npz'}"
  assert tiny_run.train(tmp_path / "run", option) == 2
  assert "cannot be read (No such file" in capsys.readouterr().err
  assert not (tmp_path / "run").exists()
