"""Ctrl-C ends a command, even if what it has met swallows it."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

# Garbage collection, imports and destructors drop exceptions, JAX has such a
# callback that is called often: soon again, when it is over.
_DROPPED_S = 0.05
# Others may catch it and go on. Longer than cleaning up takes.
_CAUGHT_S = 5.0


class Interrupt:
  """Whether Ctrl-C was pressed.

  Attributes:
    asked: becomes True and stays so.
  """

  def __init__(self) -> None:
    """Not yet."""
    self.asked = False
    self._over = False
    self._lock = threading.Lock()
    self._timer: threading.Timer | None = None

  def handle(self, number: int, frame: FrameType | None) -> None:
    """Acts as Python's own handler does, and once more after a while."""
    self.asked = True
    self.again(_CAUGHT_S)
    raise KeyboardInterrupt

  def again(self, after_s: float) -> None:
    """Sends the signal to the main thread once more, unless `close` comes."""
    if self._timer is not None:
      self._timer.cancel()
    self._timer = threading.Timer(after_s, self._send)
    self._timer.daemon = True
    self._timer.start()

  def close(self) -> None:
    """Sends no more."""
    with self._lock:
      self._over = True
    if self._timer is not None:
      self._timer.cancel()
      # No thread of ours may run while Python shuts down.
      self._timer.join(1.0)

  def _send(self) -> None:
    with self._lock:
      if self._over:
        return
      if hasattr(signal, "pthread_kill"):
        # To this thread, so that it wakes up if it waits.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
      else:
        signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def watch() -> Iterator[Interrupt]:
  """While entered, a KeyboardInterrupt that is swallowed comes again.

  Only where Python's own handler is in place: whoever ignores SIGINT or has a
  handler (a run in training) keeps it.
  """
  interrupt = Interrupt()
  if (
    threading.current_thread() is not threading.main_thread()
    or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
  ):
    yield interrupt
    return
  hook = sys.unraisablehook

  def dropped(what: Any) -> None:
    if issubclass(what.exc_type, KeyboardInterrupt):
      interrupt.again(_DROPPED_S)
    else:
      hook(what)

  sys.unraisablehook = dropped
  signal.signal(signal.SIGINT, interrupt.handle)
  try:
    yield interrupt
  finally:
    interrupt.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = hook
