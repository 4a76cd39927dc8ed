"""Folded programs as ONNX, run by ONNX Runtime."""

from __future__ import annotations

import collections
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_networks
import tiny_run

from metabin_jax.cli.main import main
from metabin_jax.errors import UserError
from metabin_jax.evaluation import extract
from metabin_jax.interop import onnx_file, onnx_graph
from metabin_jax.runtime.extractor import Extractor

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

EXAMPLE = pathlib.Path("docs", "examples", "embed_onnx.py")


def kinds(model) -> collections.Counter:
  return collections.Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize(
  ("backbone", "norm", "flip"),
  [
    ("resnet18", "bn", False),
    ("resnet18", "bin", True),
    ("resnet18", "bin_half", False),
    ("resnet18", "switchable", False),
    ("resnet18", "snr", False),
    ("mobilenetv2", "bn", False),
    ("osnet", "osnet_ain", False),
  ],
)
def test_networks(backbone, norm, flip, tmp_path):
  network, variables = small_networks.create(backbone, norm)
  folded = small_networks.fold(backbone, norm, flip)
  file = tmp_path / "m.onnx"
  onnx_file.save(file, folded, {"some": "card"})
  images = small_networks.images(7)
  want = extract.make_embedder(network, variables, 7, flip=flip)(images)
  call = onnx_file.load(file)
  got = np.concatenate([call(images[:1]), call(images[1:])])
  assert got.dtype == want.dtype
  length = np.linalg.norm(want, axis=1, keepdims=True)
  assert length.min() > 0.01
  np.testing.assert_allclose(got / length, want / length, rtol=0, atol=2e-5)


def test_a_batch_norm_network_is_plain(tmp_path):
  folded = small_networks.fold("mobilenetv2", "bn")
  model = onnx_graph.build(folded)
  left = kinds(model)
  assert left["Conv"] == 53
  assert left["Sub"] == left["Sqrt"] == left["Gather"] == left["Slice"] == 0
  (given,), (result,) = model.graph.input, model.graph.output
  shape = [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim]
  assert shape == ["n", small_networks.HEIGHT, small_networks.WIDTH, 3]
  assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
  assert result.type.tensor_type.shape.dim[0].dim_param == "n"


KNOWN = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)


@pytest.mark.parametrize(
  "function",
  [
    lambda x: jnp.where(x > 0, jnp.sqrt(jnp.abs(x)), jnp.zeros_like(x)),
    lambda x: jax.nn.relu6(4 * x) + jnp.clip(x, -0.5, 0.5) ** 3,
    lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0)), constant_values=2.0),
    lambda x: jnp.einsum("nhwc,nhwd->ncd", x, x) @ KNOWN,
    lambda x: jnp.max(x, (1, 2)) - jnp.min(x, (1, 2)) + jnp.mean(x, (1, 2)),
    lambda x: jax.nn.softmax(x.reshape(x.shape[0], -1)),
    lambda x: jnp.concatenate([*jnp.split(x, 2, axis=3)][::-1], axis=1),
    lambda x: jnp.concatenate([x, jnp.ones_like(x)], axis=0)[..., 1:3],
    lambda x: jnp.flip(x, (1, 2)).transpose(0, 3, 1, 2)[:, ::2],
    lambda x: jax.lax.reduce_window(
      x, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"
    ),
    lambda x: jax.lax.reduce_window(
      x, -jnp.inf, jax.lax.max, (1, 2, 3, 1), (1, 1, 2, 1), "VALID"
    ),
    lambda x: jax.lax.conv_general_dilated(
      x,
      np.arange(72, dtype=np.float32).reshape(3, 3, 2, 4) / 72,
      (2, 1),
      ((1, 1), (0, 2)),
      rhs_dilation=(1, 2),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
      feature_group_count=2,
    ),
  ],
)
def test_rules(function, tmp_path):
  folded = small_networks.fold_function(function, (6, 5, 4))
  onnx_file.save(tmp_path / "f.onnx", folded, {})
  x = np.random.default_rng(1).normal(size=(3, 6, 5, 4)).astype(np.float32)
  got = onnx_file.load(tmp_path / "f.onnx")(x)
  np.testing.assert_allclose(got, function(x), rtol=1e-5, atol=1e-5)


def test_an_operation_without_a_rule_is_named():
  folded = small_networks.fold_function(lambda x: jnp.cumsum(x, 1), (4,))
  with pytest.raises(UserError, match=r"operation cumsum\(float32\[n,4\]\)"):
    onnx_graph.build(folded)


def test_the_command_and_the_example(tmp_path, capsys):
  run, out = tiny_run.finished(), tmp_path / "m.onnx"
  paths = [tmp_path / f"{number}.png" for number in range(3)]
  for number, path in enumerate(paths):
    tiny_run.write_image(path, seed=number)
  assert main(["export", str(run), f"--out={out}"]) == 0
  assert "on 100 images" in capsys.readouterr().out
  card = json.loads((tmp_path / "m.onnx.json").read_text())
  assert 0 < card["parity"]["relative"] < 1e-4
  (kept,) = onnx.load(out).metadata_props
  assert kept.key == "metabin"
  assert json.loads(kept.value)["model"] == card["model"]
  program = (
    "import runpy, sys, numpy as np\n"
    "for name in ('metabin_jax', 'jax', 'tensorflow'):\n"
    "  sys.modules[name] = None\n"
    "found = runpy.run_path(sys.argv[0])\n"
    "np.save(sys.argv[1] + '.npy', found['embeddings'])\n"
  )
  code = f"import sys; sys.argv[0] = {str(EXAMPLE)!r}\n{program}"
  words = [sys.executable, "-c", code, str(out), *map(str, paths)]
  subprocess.run(words, check=True, cwd=tiny_run.REPOSITORY)
  got = np.load(f"{out}.npy")
  want = Extractor.from_checkpoint(run)(paths)
  np.testing.assert_allclose(got, want, atol=1e-4)
