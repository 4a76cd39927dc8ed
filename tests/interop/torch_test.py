"""With PyTorch at hand: its files, its networks, and hostile pickles."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch_networks  # noqa: E402

from metabin_jax.cli.main import main  # noqa: E402
from metabin_jax.errors import UserError  # noqa: E402
from metabin_jax.interop import weight_files  # noqa: E402
from metabin_jax.runtime import scoring  # noqa: E402

NETWORKS = {
  "torchvision-mobilenetv2": torch_networks.torchvision_mobilenet,
  "timm-mobilenetv2": torch_networks.timm_mobilenet,
  "torchreid-mobilenetv2": torch_networks.torchreid_mobilenet,
  "resnet18": lambda: torch_networks.resnet(18),
  "resnet50": lambda: torch_networks.resnet(50),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_features_are_those_of_pytorch(name, tmp_path, capsys):
  network = NETWORKS[name]()
  path = tmp_path / "weights.pth"
  torch.save(network.state_dict(), path)
  words = ["convert", str(path), f"--workdir={tmp_path / 'run'}"]
  words += ["--height=64", "--width=32", "--last-stride=2"]
  assert main(words) == 0
  images = np.random.default_rng(0).integers(0, 256, (4, 64, 32, 3), np.uint8)
  run = scoring.load_run(tmp_path / "run")
  ours = run.network.apply(run.variables, images, mode="eval").pooled
  theirs = network.embed(images)
  assert np.abs(theirs).max() > 0.1
  np.testing.assert_allclose(
    ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max()
  )


ARRAYS = {
  "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
  "a.num_batches_tracked": np.array(2, np.int64),
}


def test_what_is_written_is_read(tmp_path):
  path = tmp_path / "w.pth"
  weight_files.save(path, ARRAYS)
  assert torch.load(path, weights_only=True).keys() == {"model"}
  found = weight_files.load(path).arrays
  assert found.keys() == ARRAYS.keys()
  for key, array in ARRAYS.items():
    assert found[key].dtype == array.dtype
    np.testing.assert_array_equal(found[key], array)


@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_training_programs(tmp_path, legacy):
  tensors = {f"module.{k}": torch.from_numpy(a) for k, a in ARRAYS.items()}
  tensors["module.half"] = torch.ones(3, dtype=torch.bfloat16)
  found = {"iteration": 7, "state_dict": tensors, "optimizer": {"lr": 0.1}}
  path = tmp_path / "checkpoint.tar"
  torch.save(found, path, _use_new_zipfile_serialization=not legacy)
  read = weight_files.load(path).arrays
  assert read.keys() == {*ARRAYS, "half"}
  assert read["half"].dtype == np.float32


class Hostile:
  """Runs a command when it is unpickled."""

  def __init__(self, mark):
    self.mark = mark

  def __reduce__(self):
    return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path, capsys, form):
  mark, path = tmp_path / "mark", tmp_path / "w.pth"
  found = {"model": {"conv.weight": torch.zeros(2)}, "extra": Hostile(mark)}
  if form == "pickle":
    path.write_bytes(pickle.dumps(found, protocol=2))
  else:
    torch.save(found, path, _use_new_zipfile_serialization=form == "zip")
  workdir = tmp_path / "run"
  assert main(["convert", str(path), f"--workdir={workdir}"]) == 2
  said = capsys.readouterr().err
  assert "is refused: it holds more than weights" in said
  assert not mark.exists()
  assert not workdir.exists()
  # The test can fail: opened without care, the file does run its command.
  script = "import sys, torch; torch.load(sys.argv[1], weights_only=False)"
  if form != "pickle":
    subprocess.run([sys.executable, "-c", script, path], check=True)
    assert mark.exists()


def test_truncated_and_other_files(tmp_path):
  path = tmp_path / "w.pth"
  torch.save({"w": torch.zeros(1000)}, path)
  whole = path.read_bytes()
  path.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(UserError, match=r"not a whole one|damaged"):
    weight_files.load(path)
  torch.save({"w": torch.zeros(9)}, path, _use_new_zipfile_serialization=False)
  path.write_bytes(path.read_bytes()[:-7])
  with pytest.raises(UserError, match="damaged or incomplete"):
    weight_files.load(path)
  torch.save(torch.zeros(3), path)
  with pytest.raises(UserError, match="holds a Tensor and no state dict"):
    weight_files.load(path)
  torch.save({"epoch": 3, "lr": 0.1}, path)
  with pytest.raises(UserError, match="'epoch' is a int and no array"):
    weight_files.load(path)
