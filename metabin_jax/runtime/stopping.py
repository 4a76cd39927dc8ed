"""Turns SIGTERM and Ctrl-C into a request to stop after the iteration."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any


class StopRequest:
  """While entered, the first SIGTERM or SIGINT sets `signal_number`.

  The second one acts as usual, so that a run that hangs can be ended.
  """

  def __init__(self) -> None:
    """No signal yet."""
    self.signal_number: int | None = None
    self._previous: dict[int, Any] = {}

  def __enter__(self) -> StopRequest:
    """Installs the handlers (only the main thread can)."""
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *unused: object) -> None:
    """Puts the former handlers back."""
    self._restore()

  def _handle(self, number: int, frame: FrameType | None) -> None:
    self.signal_number = number
    self._restore()
    # Not print: its buffer may be in use by what the signal has interrupted.
    os.write(2, b"stopping after this iteration; once more stops at once\n")

  def _restore(self) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    self._previous = {}
