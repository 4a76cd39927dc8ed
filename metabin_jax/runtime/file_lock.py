"""A file that one process at a time can hold."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import socket
from collections.abc import Iterator

try:
  import fcntl
except ImportError:  # not on Windows
  fcntl = None  # type: ignore[assignment]

# What file systems say that have no locks: nothing can be held there.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def hold(path: pathlib.Path) -> Iterator[bool]:
  """Holds a file for this process; yields False if another one does.

  The system lets go of the lock when the process ends, however it ends; the
  file stays. It says who has held it last. Where there are no locks, everyone
  gets what they ask for.

  Args:
    path: of the file; it and its folder are made.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open("a+", encoding="utf-8") as file:
    try:
      if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      yield False
      return
    except OSError as error:
      if error.errno not in _NO_LOCKS:
        raise
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    yield True


def holder(path: pathlib.Path) -> str:
  """Who has held a file last, "process 123 on host"."""
  try:
    return path.read_text(encoding="utf-8").strip() or "another process"
  except OSError:
    return "another process"
