"""What a run shows while it runs: a bar on a terminal, lines in a log file."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

_BAR_WIDTH = 20
_REDRAW_SECONDS = 0.1
_SCIENTIFIC = ("lr", "beta")


class Progress:
  """Shows step, speed, time left and losses of a loop.

  On a terminal: one bar, redrawn in place. Anywhere else: nothing but one line
  per interval, so that log files stay short.
  """

  def __init__(
    self,
    total: int,
    *,
    start: int = 0,
    log_every: int = 100,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Starts the clock.

    Args:
      total: number of steps of the whole run.
      start: completed steps, for a resumed run.
      log_every: steps between two lines where there is no terminal.
      stream: where to write; None is standard error.
      clock: seconds, for tests.

    Raises:
      ValueError: if `log_every` is below 1.
    """
    if log_every < 1:
      raise ValueError(f"log_every is {log_every}; it must be at least 1.")
    self._total = total
    self._log_every = log_every
    self._stream = sys.stderr if stream is None else stream
    self._clock = clock
    self._terminal = self._stream.isatty()
    self._start, self._start_time = start, clock()
    self._images = 0
    self._mark_images, self._mark_time = 0, self._start_time
    self._drawn_at = float("-inf")
    self._drawn_length = 0
    self._losses: list[str] = []

  def update(
    self, step: int, images: int = 0, metrics: Mapping[str, Any] | None = None
  ) -> None:
    """Reports that `step` steps are complete.

    Args:
      step: completed steps.
      images: images seen since the last call.
      metrics: numbers to show; the bar on a terminal shows those whose names
        begin with "loss". Reading a JAX array waits for the device: pass
        numbers that are there, e.g. every `log_every` steps.
    """
    self._images += images
    now = self._clock()
    if self._terminal:
      if (
        metrics
        or step >= self._total
        or now - self._drawn_at >= _REDRAW_SECONDS
      ):
        self._draw(step, now, metrics or {})
    elif step % self._log_every == 0 or step >= self._total:
      rate = self._rate(now)
      self._stream.write(
        format_line(step, self._total, metrics or {}, rate) + "\n"
      )
      self._stream.flush()

  def close(self) -> None:
    """Leaves the bar's last state on its own line."""
    if self._terminal and self._drawn_length:
      self._stream.write("\n")
      self._stream.flush()
      self._drawn_length = 0

  def __enter__(self) -> Progress:
    """Returns itself."""
    return self

  def __exit__(self, *unused: object) -> None:
    """Closes the bar."""
    self.close()

  def _rate(self, now: float) -> float | None:
    """Images per second since the last report; None if there were none."""
    images = self._images - self._mark_images
    seconds = now - self._mark_time
    self._mark_images, self._mark_time = self._images, now
    return images / seconds if images and seconds > 0 else None

  def _draw(self, step: int, now: float, metrics: Mapping[str, Any]) -> None:
    share = min(1.0, step / self._total) if self._total > 0 else 1.0
    filled = round(share * _BAR_WIDTH)
    parts = [f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}]"]
    parts.append(f"{step}/{self._total}")
    seconds = now - self._start_time
    if self._images and seconds > 0:
      parts.append(f"{self._images / seconds:.0f} images/s")
    done = step - self._start
    if done > 0:
      left = seconds / done * max(0, self._total - step)
      parts.append(f"{format_seconds(left)} left")
    losses = [
      f"{name} {format_number(name, value)}"
      for name, value in metrics.items()
      if name.startswith("loss")
    ]
    # Losses come every few steps; between them the last ones stay in view.
    self._losses = losses or self._losses
    columns = shutil.get_terminal_size().columns
    text = " ".join(parts + self._losses)[: columns - 1]
    # Spaces wipe what a longer text has left.
    self._stream.write("\r" + text.ljust(self._drawn_length))
    self._stream.flush()
    self._drawn_at, self._drawn_length = now, len(text)


def format_line(
  step: int,
  total: int,
  metrics: Mapping[str, Any],
  images_per_second: float | None = None,
) -> str:
  """One line of a log.

  Args:
    step: completed steps.
    total: steps of the whole run.
    metrics: numbers by name, shown in this order.
    images_per_second: speed; None leaves it out.

  Returns:
    For example "step 100/2000 lr 1.0e-2 loss/ce 3.21 512 images/s".
  """
  parts = [f"step {step}/{total}"]
  parts += [
    f"{name} {format_number(name, value)}" for name, value in metrics.items()
  ]
  if images_per_second is not None:
    parts.append(f"{images_per_second:.0f} images/s")
  return " ".join(parts)


def format_number(name: str, value: Any) -> str:
  """Rates as 1.0e-2, other numbers to three digits, whole numbers in full.

  Args:
    name: metric's name; "lr" and "beta", or groups of them ("lr/norm"), are
      rates.
    value: a number; text is shown as it is.
  """
  if isinstance(value, str | bool):
    return str(value)
  number = float(value)
  if name.split("/")[0] in _SCIENTIFIC:
    mantissa, _, exponent = f"{number:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa
  if number.is_integer() and abs(number) < 1e15:
    return str(int(number))
  return f"{number:.3g}"


def format_seconds(seconds: float) -> str:
  """Seconds as "42s", "3m05s" or "2h07m"."""
  whole = round(seconds)
  if whole < 60:
    return f"{whole}s"
  if whole < 3600:
    return f"{whole // 60}m{whole % 60:02d}s"
  return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
