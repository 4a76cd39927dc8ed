"""Metrics of a run as JSON lines, and for TensorBoard when it is installed."""

from __future__ import annotations

import importlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

FILE_NAME = "metrics.jsonl"
_RESERVED = ("step", "nonfinite")


class MetricWriter:
  """Appends one JSON object per call to `<workdir>/metrics.jsonl`.

  `{"step": 100, "loss/ce": 3.2, ...}`. A number that is not finite is written
  as null and listed under "nonfinite" by its name ("nan", "inf", "-inf"), so
  every line is plain JSON. No time or machine is written: a resumed run leaves
  the same file as one that was never stopped.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    start_step: int = 0,
    tensorboard: bool = True,
  ):
    """Opens the file and forgets what a resumed run will write again.

    Args:
      workdir: folder of the run; made if missing.
      start_step: completed iterations. Lines of later steps, and a last line
        that a kill has cut, are dropped.
      tensorboard: also write event files to `<workdir>/tensorboard`, if
        tensorboardX or tensorboard is installed.
    """
    self.path = pathlib.Path(workdir) / FILE_NAME
    self.path.parent.mkdir(parents=True, exist_ok=True)
    self._last_step = _drop_after(self.path, start_step)
    self._file = self.path.open("a", encoding="utf-8")
    self._events = (
      _open_events(self.path.parent / "tensorboard", start_step)
      if tensorboard
      else None
    )

  def write(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Writes one line and hands it to the operating system at once.

    Args:
      step: completed iterations; never less than in the line before.
      metrics: numbers (Python, NumPy or JAX scalars), text or booleans by
        name; "step" and "nonfinite" are taken.

    Raises:
      ValueError: if the step goes back, a name is taken or a value is no
        scalar.
    """
    step = int(step)
    if step < self._last_step:
      raise ValueError(
        f"step {step} comes after step {self._last_step} in {self.path}; "
        "open the writer with start_step to write steps again."
      )
    line: dict[str, Any] = {"step": step}
    nonfinite: dict[str, str] = {}
    for name, value in metrics.items():
      if name in _RESERVED:
        raise ValueError(f"metric {name!r} has a reserved name; rename it.")
      plain = _plain(name, value)
      if isinstance(plain, float) and not math.isfinite(plain):
        nonfinite[name] = str(plain)
        plain = None
      line[name] = plain
    if nonfinite:
      line["nonfinite"] = nonfinite
    self._file.write(json.dumps(line, allow_nan=False) + "\n")
    self._file.flush()
    self._last_step = step
    if self._events is not None:
      for name, value in line.items():
        if name not in _RESERVED and isinstance(value, int | float):
          self._events.add_scalar(name, value, step)

  def close(self) -> None:
    """Flushes and closes; the writer cannot be used afterwards."""
    self._file.close()
    if self._events is not None:
      self._events.close()

  def __enter__(self) -> MetricWriter:
    """Returns itself."""
    return self

  def __exit__(self, *unused: object) -> None:
    """Closes the files."""
    self.close()


def load_metrics(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """The lines of a run's metrics file, oldest first; a cut last line is left.

  Args:
    workdir: folder of the run.

  Returns:
    One dict for each line; empty if the run has written none.
  """
  path = pathlib.Path(workdir) / FILE_NAME
  if not path.exists():
    return []
  with path.open("rb") as file:
    return [line for line in map(_parse, file) if line is not None]


def _drop_after(path: pathlib.Path, step: int) -> int:
  """Drops later and broken lines; returns the last step that stays."""
  if not path.exists():
    return 0
  with path.open("rb") as file:
    lines = file.readlines()
  kept = []
  last = 0
  for line in lines:
    parsed = _parse(line)
    if parsed is not None and parsed["step"] <= step:
      kept.append(line)
      last = parsed["step"]
  if kept != lines:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
      file.writelines(kept)
      file.flush()
      os.fsync(file.fileno())
    os.replace(part, path)
  return last


def _parse(line: bytes) -> dict[str, Any] | None:
  if not line.endswith(b"\n"):
    return None
  try:
    parsed = json.loads(line)
  except ValueError:
    return None
  if not isinstance(parsed, dict) or not isinstance(parsed.get("step"), int):
    return None
  return parsed


def _plain(name: str, value: Any) -> Any:
  """A Python number, text or bool."""
  if isinstance(value, str | bool):
    return value
  array = np.asarray(value)
  if array.size != 1 or array.dtype.kind in "OUSMmc":
    raise ValueError(
      f"metric {name!r} is {type(value).__name__} of shape {array.shape}; "
      "write one number for each name."
    )
  if array.dtype.kind in "iub":
    return array.reshape(()).item()
  return float(array.reshape(()))  # float also takes bfloat16


def _open_events(folder: pathlib.Path, start_step: int) -> Any:
  """A TensorBoard writer with `add_scalar` and `close`, or None."""
  try:
    tensorboard_x = importlib.import_module("tensorboardX")
  except ImportError:
    pass
  else:
    # Hides what an earlier run has written after the step we start from.
    return tensorboard_x.SummaryWriter(str(folder), purge_step=start_step + 1)
  try:
    summary = importlib.import_module("tensorboard.summary")
  except ImportError:
    return None
  return summary.Writer(str(folder))
