"""A workdir is one folder for all hosts of a run, and of one run at a time."""

from __future__ import annotations

import contextlib
import pathlib
import time
import uuid
from collections.abc import Iterator

from metabin_jax.errors import UserError
from metabin_jax.runtime import distributed, file_lock

_LOCK = "lock"
_TOKEN = "hosts"
# Network file systems remember for up to a minute that a file was not there.
_SEEN_WITHIN_S = 90


@contextlib.contextmanager
def claim(workdir: pathlib.Path) -> Iterator[None]:
  """Holds a workdir for the run of this process and those joined to it.

  Args:
    workdir: made if it is not there.

  Raises:
    UserError: if another process holds it, or the hosts of this run do not see
      the same folder.
  """
  with contextlib.ExitStack() as stack:
    if distributed.is_writer():
      lock = workdir / _LOCK
      if not stack.enter_context(file_lock.hold(lock)):
        raise UserError(
          f"{workdir} is in use by {file_lock.holder(lock)}; wait until it "
          "ends, or use another --workdir. Processes that are to train "
          "together need --hosts."
        )
    check_seen(workdir)
    yield


def check_seen(workdir: pathlib.Path, within_s: float = _SEEN_WITHIN_S) -> None:
  """Makes sure that all hosts see what the writer writes.

  Args:
    workdir: the folder, there on the writer's side.
    within_s: how long a file may need to appear.

  Raises:
    UserError: on every host, if one of them does not see it.
  """
  if distributed.part().count == 1:
    return
  token = distributed.from_writer(uuid.uuid4().bytes).hex()
  file = workdir / _TOKEN
  if distributed.is_writer():
    file.write_text(token, encoding="utf-8")
  distributed.wait("token")
  seen = _comes(file, token, within_s)
  everyone = distributed.all_agree(seen)
  if distributed.is_writer():
    file.unlink()
  if not everyone:
    where = "another host does" if seen else "this host does"
    raise UserError(
      f"{where} not see what host 0 writes to {workdir}; give all of them one "
      "--workdir, on a file system that they share."
    )


def _comes(file: pathlib.Path, text: str, within_s: float) -> bool:
  """Waits for a file with this text."""
  end = time.monotonic() + within_s
  while True:
    # Listing the folder has the file system ask again.
    with contextlib.suppress(OSError):
      list(file.parent.iterdir())
      if file.read_text(encoding="utf-8") == text:
        return True
    if time.monotonic() > end:
      return False
    time.sleep(0.2)
