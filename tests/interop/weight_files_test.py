from __future__ import annotations

import hashlib
import json
import sys
import types
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from metabin_jax.errors import UserError
from metabin_jax.interop import sources, weight_files

ARRAYS = {
  "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
  "bn.bias": np.array([0.5, -1.0], np.float32),
  "bn.num_batches_tracked": np.array(3, np.int64),
}


def same(found, want=ARRAYS):
  assert found.keys() == want.keys()
  for key, array in want.items():
    assert found[key].dtype == array.dtype, key
    np.testing.assert_array_equal(found[key], array, err_msg=key)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_what_is_written_is_read(tmp_path, suffix):
  path = tmp_path / "new" / f"weights{suffix}"
  weight_files.save(path, ARRAYS)
  found = weight_files.load(path)
  same(found.arrays)
  assert found.origin == str(path)
  assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
  assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_content_says_the_format_and_not_the_name(tmp_path):
  path = tmp_path / "weights.npz"
  weight_files.save(path, ARRAYS)
  renamed = path.rename(tmp_path / "weights.pth")
  same(weight_files.load(renamed).arrays)


def test_half_precision_becomes_single(tmp_path):
  small = {
    "a": np.array([1.5, 2.0], np.float16),
    "b": np.array([1.5, 3.0], ml_dtypes.bfloat16),
  }
  path = tmp_path / "half.safetensors"
  safetensors.numpy.save_file(small, path)
  want = {key: array.astype(np.float32) for key, array in small.items()}
  same(weight_files.load(path).arrays, want)


def test_the_prefix_of_parallel_training_is_removed(tmp_path):
  path = tmp_path / "w.npz"
  weight_files.save(path, {f"module.{k}": v for k, v in ARRAYS.items()})
  same(weight_files.load(path).arrays)
  # A module of that name in one place is none.
  mixed = {"module.a": ARRAYS["bn.bias"], "b": ARRAYS["bn.bias"]}
  weight_files.save(path, mixed)
  same(weight_files.load(path).arrays, mixed)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_truncated_files_are_refused(tmp_path, suffix):
  path = tmp_path / f"w{suffix}"
  weight_files.save(path, ARRAYS)
  whole = path.read_bytes()
  for length in (len(whole) - 5, len(whole) // 2, 20, 0):
    path.write_bytes(whole[:length])
    with pytest.raises(
      UserError, match=r"damaged or incomplete|not a whole one"
    ):
      weight_files.load(path)


def test_files_of_no_known_format(tmp_path):
  with pytest.raises(UserError, match=r"cannot be read \(No such file"):
    weight_files.load(tmp_path / "none.npz")
  path = tmp_path / "w.txt"
  path.write_text("conv.weight = 3")
  with pytest.raises(UserError, match="is not a weight file, or not a whole"):
    weight_files.load(path)
  with pytest.raises(UserError, match=r"says no format; choose one of \.safe"):
    weight_files.save(path, ARRAYS)
  weight_files.save(tmp_path / "w.npz", {})
  with pytest.raises(UserError, match="holds no arrays"):
    weight_files.load(tmp_path / "w.npz")


def test_arrays_of_objects_are_refused(tmp_path):
  path = tmp_path / "w.npz"
  np.savez(path, weight=np.array([{"a": 1}], dtype=object))
  with pytest.raises(UserError, match="damaged or incomplete"):
    weight_files.load(path)
  np.savez(path, weight=np.array(["text"]))
  with pytest.raises(UserError, match="'weight' is a ndarray and no array of"):
    weight_files.load(path)


def torch_like(version, load):
  """A module in PyTorch's place."""
  module = types.ModuleType("torch")
  module.__version__ = version
  module.load = load
  return module


def pytorch_file(path):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", b"\x80\x02.")
  return path


def test_pickles_are_opened_by_the_safe_loader_only(tmp_path, monkeypatch):
  calls = []

  def load(path, **options):
    calls.append(options)
    return {"model": ARRAYS, "iteration": 3}

  path = pytorch_file(tmp_path / "w.pth")
  monkeypatch.setitem(sys.modules, "torch", torch_like("2.13.0+cpu", load))
  same(weight_files.load(path).arrays)
  (tmp_path / "old.pth").write_bytes(b"\x80\x02}q\x00.")  # before version 1.6
  same(weight_files.load(tmp_path / "old.pth").arrays)
  assert calls == [{"map_location": "cpu", "weights_only": True}] * 2


def test_pytorch_that_can_be_got_round_is_refused(tmp_path, monkeypatch):
  path = pytorch_file(tmp_path / "w.pth")

  def load(path, **options):
    raise AssertionError("must not be opened")

  monkeypatch.setitem(sys.modules, "torch", torch_like("2.5.1", load))
  with pytest.raises(UserError, match=r"2\.5\.1 can be made to run code"):
    weight_files.load(path)


def test_packages_that_are_not_installed_are_named(tmp_path, monkeypatch):
  path = pytorch_file(tmp_path / "w.pth")
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(
    UserError, match=r"needs the package torch; install .*\[torch"
  ):
    weight_files.load(path)
  monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
  with pytest.raises(UserError, match="needs the package safetensors"):
    weight_files.save(tmp_path / "w.safetensors", ARRAYS)
  assert not list(tmp_path.glob("*.part"))


class Hub:
  """A module in the place of huggingface_hub, over a folder."""

  def __init__(self, folder, error=None):
    self.folder, self.error, self.asked = folder, error, []

  def hf_hub_url(self, name, file, revision=None):
    self.asked.append((name, file, revision))
    return file

  def get_hf_file_metadata(self, url):
    if self.error:
      raise self.error
    if not (self.folder / url).exists():
      raise FileNotFoundError(f"{url} is not there\nsee the documentation")

  def hf_hub_download(self, name, file, revision=None, local_files_only=False):
    # What asks the network again and again must not be without one.
    assert local_files_only == bool(
      self.error or not (self.folder / file).exists()
    )
    path = self.folder / ("cached" if self.error else "") / file
    if not path.exists():
      raise LookupError(f"{file} is not in the cache")
    return str(path)


def test_weights_of_a_hub(tmp_path, monkeypatch):
  weight_files.save(tmp_path / "model.safetensors", ARRAYS)
  hub = Hub(tmp_path)
  monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
  found = sources.open_state("hf:timm/resnet18@v2")
  same(found.arrays)
  assert found.origin == "hf:timm/resnet18@v2"
  assert hub.asked[0] == ("timm/resnet18", "model.safetensors", "v2")
  card = {"pretrained_cfg": {"mean": [0.485, 0.456, 0.406]}}
  (tmp_path / "config.json").write_text(json.dumps(card))
  same(sources.open_state("hf:timm/resnet18").arrays)
  card["pretrained_cfg"]["std"] = [0.5, 0.5, 0.5]
  (tmp_path / "config.json").write_text(json.dumps(card))
  with pytest.raises(UserError, match=r"pixels of std \[0\.5, 0\.5, 0\.5\]"):
    sources.open_state("hf:timm/resnet18")


@pytest.mark.parametrize(
  "name",
  ["timm", "", "timm/", "/resnet18", "a/b/c", "a/b@", "a/b c", "timm@v2"],
)
def test_names_that_no_hub_has(tmp_path, monkeypatch, name):
  hub = Hub(tmp_path)
  monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
  with pytest.raises(UserError, match=r"names no repository; write hf:OWNER/N"):
    sources.open_state(f"hf:{name}")
  assert not hub.asked


def test_a_hub_that_cannot_be_reached(tmp_path, monkeypatch):
  error = ConnectionError("no route\nmore")
  monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(tmp_path, error))
  with pytest.raises(UserError, match=r"cannot be fetched \(no route\); check"):
    sources.open_state("hf:timm/resnet18")
  (tmp_path / "cached").mkdir()
  weight_files.save(tmp_path / "cached" / "model.safetensors", ARRAYS)
  same(sources.open_state("hf:timm/resnet18").arrays)
  monkeypatch.setitem(sys.modules, "huggingface_hub", None)
  with pytest.raises(UserError, match="needs the package huggingface_hub"):
    sources.open_state("hf:timm/resnet18")
