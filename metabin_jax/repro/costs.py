"""What a job costs, summed over the processes that have worked on it."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import metabin_jax
from metabin_jax.evaluation.table import save_json

_PHASES = ("train", "score")


class Costs:
  """Wall and processor seconds of each phase, in a file that is kept.

  One session is one process. A killed process cannot write what it has used
  since the last phase; the sum then says that it is not complete.
  """

  def __init__(self, file: pathlib.Path):
    """Reads what earlier sessions have written and begins one."""
    self._file = file
    self._sessions: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError):
      self._sessions = json.loads(file.read_bytes())["sessions"]
    self._session: dict[str, Any] = {
      "complete": True,
      "commit": commit(),
      "seconds": {phase: {"wall": 0.0, "processor": 0.0} for phase in _PHASES},
    }
    self._sessions.append(self._session)
    self._save()

  @property
  def earlier_sessions(self) -> int:
    """Number of processes that have worked on the job before this one."""
    return len(self._sessions) - 1

  @contextlib.contextmanager
  def phase(self, name: str) -> Iterator[None]:
    """Counts what is done inside, "train" or "score", also if it fails."""
    wall, processor = time.perf_counter(), time.process_time()
    self._session["complete"] = False
    self._save()
    try:
      yield
    finally:
      spent = self._session["seconds"][name]
      spent["wall"] += time.perf_counter() - wall
      spent["processor"] += time.process_time() - processor
      self._session["peak_resident_bytes"] = peak_resident_bytes()
      self._session["peak_device_bytes"] = peak_device_bytes()
      self._session["complete"] = True
      self._save()

  def total(self) -> dict[str, Any]:
    """The sum over all sessions, as JSON data.

    Returns:
      "<phase>_wall_seconds", "<phase>_processor_seconds" (all threads),
      "peak_resident_bytes", "peak_device_bytes" (null where the device does
      not tell), "sessions", "complete" (whether no session was killed) and
      "commits" (of the sessions, each once).
    """
    data: dict[str, Any] = {}
    for phase in _PHASES:
      for kind in ("wall", "processor"):
        data[f"{phase}_{kind}_seconds"] = round(
          sum(s["seconds"][phase][kind] for s in self._sessions), 3
        )
    for key in ("peak_resident_bytes", "peak_device_bytes"):
      known = [s[key] for s in self._sessions if s.get(key) is not None]
      data[key] = max(known, default=None)
    commits = [s["commit"] for s in self._sessions]
    return data | {
      "sessions": len(self._sessions),
      "complete": all(s["complete"] for s in self._sessions),
      "commits": [c for i, c in enumerate(commits) if c not in commits[:i]],
    }

  def _save(self) -> None:
    save_json(self._file, {"sessions": self._sessions})


def peak_resident_bytes() -> int:
  """Largest resident memory of this process so far."""
  # Not getrusage, where there is another: after a fork that counts the parent.
  with contextlib.suppress(OSError):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
      if line.startswith("VmHWM:"):
        return int(line.split()[1]) * 1024
  used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return used if sys.platform == "darwin" else used * 1024


def peak_device_bytes() -> int | None:
  """Largest memory in use on the first device; None if it does not tell."""
  import jax

  return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def commit() -> dict[str, Any]:
  """Git revision of the source tree, and whether its package was changed.

  Returns:
    {"revision": text, or None for an installed package, "changed": whether the
    package's files differ from it}.
  """
  folder = pathlib.Path(metabin_jax.__file__).parent
  # Above a package in site-packages may lie a repository of something else.
  if not (folder.parent / ".git").exists():
    return {"revision": None, "changed": None}
  revision = _git(folder, "rev-parse", "HEAD")
  status = _git(folder, "status", "--porcelain", "--", str(folder))
  changed = None if status is None else bool(status)
  return {"revision": revision or None, "changed": changed}


def _git(folder: pathlib.Path, *words: str) -> str | None:
  try:
    done = subprocess.run(
      ["git", "-C", os.fspath(folder), *words],
      capture_output=True,
      text=True,
      timeout=30,
      check=True,
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip()
