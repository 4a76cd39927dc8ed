from __future__ import annotations

import json
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.runtime.metric_writer import (
  FILE_NAME,
  MetricWriter,
  load_metrics,
)


def read(folder) -> list[dict]:
  """Strict reading: NaN, which is no JSON, is an error."""

  def refuse(text):
    raise AssertionError(f"{text} is no JSON")

  lines = (folder / FILE_NAME).read_text().splitlines()
  return [json.loads(line, parse_constant=refuse) for line in lines]


def write_steps(folder, steps, start_step=0):
  with MetricWriter(folder, start_step, tensorboard=False) as writer:
    for step in steps:
      writer.write(step, {"loss/ce": 1 / step, "note": "fixed"})


def test_one_object_a_call(tmp_path):
  with MetricWriter(tmp_path / "new", tensorboard=False) as writer:
    writer.write(1, {"loss/ce": 3.25, "images": 80, "best": True})
    writer.write(1, {"eval/viper/mAP": 0.5})
  assert read(tmp_path / "new") == [
    {"step": 1, "loss/ce": 3.25, "images": 80, "best": True},
    {"step": 1, "eval/viper/mAP": 0.5},
  ]


def test_lines_are_there_while_the_run_goes_on(tmp_path):
  writer = MetricWriter(tmp_path, tensorboard=False)
  writer.write(1, {"a": 1})
  assert load_metrics(tmp_path) == [{"step": 1, "a": 1}]
  writer.close()


@pytest.mark.parametrize(
  "value",
  [
    0.5,
    np.float32(0.5),
    np.array([0.5]),
    jnp.float32(0.5),
    jnp.asarray(0.5, jnp.bfloat16),
  ],
)
def test_scalars_of_all_kinds(tmp_path, value):
  with MetricWriter(tmp_path, tensorboard=False) as writer:
    writer.write(1, {"a": value})
  assert read(tmp_path) == [{"step": 1, "a": 0.5}]


def test_integers_stay_integers(tmp_path):
  with MetricWriter(tmp_path, tensorboard=False) as writer:
    writer.write(jnp.int32(4), {"a": jnp.int32(3), "b": np.int64(2**60)})
  text = (tmp_path / FILE_NAME).read_text()
  assert text == '{"step": 4, "a": 3, "b": 1152921504606846976}\n'


def test_non_finite_numbers_are_null_and_named(tmp_path):
  with MetricWriter(tmp_path, tensorboard=False) as writer:
    values = {"a": float("nan"), "b": np.float32("-inf"), "c": 1.0}
    writer.write(2, values)
  assert read(tmp_path) == [
    {
      "step": 2,
      "a": None,
      "b": None,
      "c": 1.0,
      "nonfinite": {"a": "nan", "b": "-inf"},
    }
  ]


def test_a_resumed_run_leaves_the_file_of_an_uninterrupted_one(tmp_path):
  write_steps(tmp_path / "whole", range(1, 11))
  write_steps(tmp_path / "parts", range(1, 8))
  write_steps(tmp_path / "parts", range(5, 11), start_step=4)
  whole = (tmp_path / "whole" / FILE_NAME).read_bytes()
  assert (tmp_path / "parts" / FILE_NAME).read_bytes() == whole
  assert [path.name for path in (tmp_path / "parts").iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("cut", ['{"step": 3, "lo', '{"step": 3}', "\x00\n"])
def test_a_line_cut_by_a_kill_is_dropped(tmp_path, cut):
  write_steps(tmp_path, [1, 2])
  with (tmp_path / FILE_NAME).open("a") as file:
    file.write(cut)
  assert [line["step"] for line in load_metrics(tmp_path)] == [1, 2]
  write_steps(tmp_path, [3], start_step=2)
  assert [line["step"] for line in read(tmp_path)] == [1, 2, 3]


def test_a_new_run_starts_a_new_file(tmp_path):
  write_steps(tmp_path, [1, 2])
  MetricWriter(tmp_path, tensorboard=False).close()
  assert read(tmp_path) == []


def test_nothing_written_reads_as_nothing(tmp_path):
  assert load_metrics(tmp_path) == []


def test_refuses_going_back_reserved_names_and_arrays(tmp_path):
  with MetricWriter(tmp_path, tensorboard=False) as writer:
    writer.write(5, {})
    with pytest.raises(ValueError, match="step 4 comes after step 5"):
      writer.write(4, {})
    with pytest.raises(ValueError, match="reserved"):
      writer.write(6, {"step": 1})
    with pytest.raises(ValueError, match="'a' is ndarray of shape"):
      writer.write(6, {"a": np.zeros(2)})
  assert read(tmp_path) == [{"step": 5}]


class FakeEvents:
  def __init__(self, folder, **options):
    self.folder, self.options = folder, options
    self.scalars, self.closed = [], False
    FakeEvents.last = self

  def add_scalar(self, name, value, step):
    self.scalars.append((name, value, step))

  def close(self):
    self.closed = True


def hide(monkeypatch, *names):
  for name in names:
    monkeypatch.setitem(sys.modules, name, None)


def test_tensorboard_x_gets_the_finite_numbers(tmp_path, monkeypatch):
  module = types.SimpleNamespace(SummaryWriter=FakeEvents)
  monkeypatch.setitem(sys.modules, "tensorboardX", module)
  with MetricWriter(tmp_path, start_step=6) as writer:
    writer.write(7, {"a": 0.5, "b": float("nan"), "c": "text"})
  events = FakeEvents.last
  assert events.scalars == [("a", 0.5, 7)]
  assert events.options == {"purge_step": 7}
  assert events.folder == str(tmp_path / "tensorboard")
  assert events.closed


def test_tensorboard_is_the_second_choice(tmp_path, monkeypatch):
  hide(monkeypatch, "tensorboardX")
  module = types.SimpleNamespace(Writer=FakeEvents)
  monkeypatch.setitem(sys.modules, "tensorboard", types.ModuleType("x"))
  monkeypatch.setitem(sys.modules, "tensorboard.summary", module)
  with MetricWriter(tmp_path) as writer:
    writer.write(1, {"a": 0.5})
  assert FakeEvents.last.scalars == [("a", 0.5, 1)]


def test_works_without_either(tmp_path, monkeypatch):
  hide(monkeypatch, "tensorboardX", "tensorboard", "tensorboard.summary")
  with MetricWriter(tmp_path) as writer:
    writer.write(1, {"a": 0.5})
  assert read(tmp_path) == [{"step": 1, "a": 0.5}]


def test_real_tensorboard_x_writes_an_event_file(tmp_path):
  pytest.importorskip("tensorboardX")
  with MetricWriter(tmp_path) as writer:
    writer.write(1, {"loss/ce": 0.5})
  files = list((tmp_path / "tensorboard").iterdir())
  assert len(files) == 1
  assert b"loss/ce" in files[0].read_bytes()
