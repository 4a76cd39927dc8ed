"""A run that takes seconds: three domains of noise, a narrow ResNet-18."""

from __future__ import annotations

import atexit
import functools
import json
import os
import pathlib
import shutil
import tempfile

import numpy as np
from PIL import Image

from metabin_jax.cli.main import main
from metabin_jax.runtime.checkpoint import CheckpointStore

REPOSITORY = pathlib.Path(__file__).parents[1]
os.environ["METABIN_CACHE"] = str(REPOSITORY / ".cache" / "tests")

STEPS = 6
CONFIG = """
from metabin_jax import default_config

def get_config():
  config = default_config.get_config()
  config.model.backbone = "resnet18"
  config.model.width = 0.125
  config.data.sources = ("manifest:{root}/train.csv",)
  config.data.targets = ("manifest:{root}/test.csv",)
  config.data.height_px = 32
  config.data.width_px = 16
  config.data.pad_px = 2
  config.data.batch_size = 12
  config.data.instances = 2
  config.data.workers = 2
  config.meta.num_mtrain = 2
  config.meta.first_base_updates = 2
  config.train.steps = {steps}
  config.train.steps_per_epoch = 4
  config.train.log_every_steps = 2
  config.train.checkpoint_every_steps = 2
  config.eval.batch_size = 8
  return config
"""


def write_image(path: pathlib.Path, seed: int, mode: str = "RGB", **save):
  """Writes a 32 x 16 picture of noise."""
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = np.random.default_rng(seed).integers(0, 256, (32, 16, 3), np.uint8)
  Image.fromarray(pixels).convert(mode).save(path, **save)


def write_manifest(path: pathlib.Path, rows) -> str:
  """Writes (pid, camid, domain, split) rows, one picture each, as PNG."""
  lines = ["path,pid,camid,domain,split"]
  for number, (pid, camid, domain, split) in enumerate(rows):
    name = f"{path.stem}/{number}.png"
    write_image(path.parent / name, seed=number)
    lines.append(f"{name},{pid},{camid},{domain},{split}")
  path.write_text("\n".join(lines) + "\n")
  return f"manifest:{path}"


def train_rows(domains=("a", "b", "c"), persons=4, images=3):
  """Persons of each domain, every image from another camera."""
  return [
    (f"{domain}{person}", image, domain, "train")
    for domain in domains
    for person in range(persons)
    for image in range(images)
  ]


def target_rows(domain="x", persons=5):
  """A query from camera 0 and two gallery images from others."""
  return [
    (f"{domain}{person}", camera, domain, "gallery" if camera else "query")
    for person in range(persons)
    for camera in range(3)
  ]


@functools.cache
def root() -> pathlib.Path:
  """The folder with config.py, train.csv and test.csv; made once."""
  folder = pathlib.Path(tempfile.mkdtemp(prefix="metabin-tests-"))
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
  write_manifest(folder / "train.csv", train_rows())
  write_manifest(folder / "test.csv", target_rows())
  text = CONFIG.format(root=folder, steps=STEPS)
  (folder / "config.py").write_text(text)
  return folder


def argv(workdir, *options: str) -> list[str]:
  """The words of `metabin train` for the tiny run."""
  config = f"--config={root() / 'config.py'}"
  return ["train", config, f"--workdir={workdir}", *options]


def train(workdir, *options: str) -> int:
  """Trains in this process; returns the exit status."""
  return main(argv(workdir, *options))


BASELINE = ("--config.method=joint", "--config.model.norm=bn")


@functools.cache
def finished(*options: str) -> pathlib.Path:
  """The folder of a run that was never stopped, trained once."""
  workdir = root() / ("bn" if options else "metabin")
  assert train(workdir, *options) == 0
  return workdir


def leaves(workdir, step: int | None = None) -> dict[str, np.ndarray]:
  """The arrays of a checkpoint by path."""
  found = {}

  def walk(tree, prefix):
    for name, value in tree.items():
      if isinstance(value, dict):
        walk(value, f"{prefix}{name}/")
      else:
        found[prefix + name] = value

  walk(CheckpointStore(workdir / "checkpoints").restore_raw(step).state, "")
  return found


def steps(workdir) -> tuple[int, ...]:
  """Steps of the checkpoints."""
  return CheckpointStore(workdir / "checkpoints").steps()


def assert_same_run(first, second) -> None:
  """Bit-identical last checkpoints, the same metrics and scores."""
  one, other = leaves(first), leaves(second)
  assert one.keys() == other.keys()
  assert len(one) > 12
  for name, value in one.items():
    assert value.dtype == other[name].dtype, name
    assert value.tobytes() == other[name].tobytes(), name
  name = "metrics.jsonl"
  assert (first / name).read_bytes() == (second / name).read_bytes()
  scores = [
    json.loads((w / "result.json").read_text()) for w in (first, second)
  ]
  for score in scores:  # what stands below the folder's name
    for row in score["results"]:
      del row["method"]
    for key in ("evaluation", "training", "steps"):
      (score[key],) = score[key].values()
  assert scores[0] == scores[1]


def flip_byte(workdir, step: int) -> None:
  """Changes one byte in the middle of the largest file of a checkpoint."""
  files = (workdir / "checkpoints" / str(step)).rglob("*")
  file = max((f for f in files if f.is_file()), key=lambda f: f.stat().st_size)
  data = bytearray(file.read_bytes())
  data[len(data) // 2] ^= 1
  file.write_bytes(data)
