"""Several processes, one a host, as one machine.

All of them run the same program on the same data; each reads its part of every
batch, and one of them, the writer, writes. Whatever decides what comes next
(to stop, where to continue) must be the same on all of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from metabin_jax.data.batches import Part
from metabin_jax.errors import UserError
from metabin_jax.runtime.parallel import Runner
from metabin_jax.runtime.stopping import StopRequest

# A host that has not been heard of for so long is dead to the others.
HEARTBEAT_TIMEOUT_S = 60
# Words of the messages of a runtime that misses a host.
_LOST = (
  "gloo",
  "nccl",
  "coordination",
  "heartbeat",
  "peer",
  "connection",
  "deadline_exceeded",
  "unavailable",
)
# JAX aborts the process at its own limit: ours comes first.
_LIBRARY_GRACE_S = 60


@dataclasses.dataclass(frozen=True)
class Hosts:
  """Who takes part.

  Attributes:
    coordinator: "ADDRESS:PORT" of host 0; None asks the environment (Slurm,
      Open MPI, TPU pods, Kubernetes) for all three.
    count: number of processes, or None.
    index: this process's number, from 0, or None.
  """

  coordinator: str | None = None
  count: int | None = None
  index: int | None = None


def join(
  hosts: Hosts,
  *,
  timeout_s: int,
  give_up: Callable[[str], None],
) -> None:
  """Waits for all processes; to be called before JAX is first used.

  Args:
    hosts: who takes part.
    timeout_s: how long to wait for the others.
    give_up: gets a sentence, from another thread, if they do not come; it ends
      the process. An exception could not: JAX waits inside its library, which
      aborts when its own time is up.

  Raises:
    UserError: if there is nothing to find out about the hosts, the port is
      taken, or they have different numbers of devices.
  """
  if hosts.coordinator is not None and hosts.index == 0:
    # JAX may crash on a port in use.
    _check_port(hosts.coordinator)
  # Its handler would swallow SIGTERM wherever ours is not installed.
  jax.config.update("jax_enable_preemption_service", False)
  told = hosts.coordinator is not None
  missing = threading.Timer(
    timeout_s,
    give_up,
    [
      f"not all hosts came within {timeout_s} s; start the same command on "
      "each of them, each with its own --host_index and all with the same "
      "coordinator, which they must reach."
    ],
  )
  missing.daemon = True
  missing.start()
  try:
    jax.distributed.initialize(
      hosts.coordinator,
      hosts.count,
      hosts.index,
      initialization_timeout=timeout_s + _LIBRARY_GRACE_S,
      heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
      cluster_detection_method="deactivate" if told else None,
      # By default JAX listens to the whole network.
      coordinator_bind_address=(
        hosts.coordinator if _is_loopback(hosts.coordinator) else None
      ),
    )
    # Now, while all are here: JAX gives the hosts two minutes between the
    # first and the last to ask for devices.
    devices = jax.devices()
  except ValueError as error:
    raise UserError(
      "the environment does not say which hosts take part; give "
      "--coordinator=ADDRESS:PORT, --hosts=N and --host_index=I."
    ) from error
  except RuntimeError as error:
    raise UserError(
      f"the hosts cannot be joined ({str(error).splitlines()[0]}); make sure "
      "that all of them reach the coordinator, and that its port is free."
    ) from error
  finally:
    missing.cancel()
  counts = Counter(device.process_index for device in devices)
  if len(set(counts.values())) > 1:
    raise UserError(
      f"the hosts have {[counts[host] for host in sorted(counts)]} devices; "
      "give each the same number."
    )


def is_lost_host(error: BaseException) -> bool:
  """Whether an error is JAX's word for another host that does not answer."""
  if not isinstance(error, jax.errors.JaxRuntimeError):
    return False
  text = str(error).lower()
  return any(word in text for word in _LOST)


def part() -> Part:
  """Which part of each batch this process reads."""
  return Part(jax.process_index(), jax.process_count())


def is_writer() -> bool:
  """Whether this process writes files and speaks."""
  return jax.process_index() == 0


def wait(name: str) -> None:
  """Waits until all processes are here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def check_equal(values: dict[str, Any], mend: str) -> None:
  """Makes sure that all processes have the same.

  Args:
    values: what to compare, by a name for the message.
    mend: what to do about a difference.

  Raises:
    UserError: on every process, names the first differences.
  """
  if jax.process_count() == 1:
    return
  # The names first: arrays to compare must be of one shape.
  for checked in ({"what they are to compare": sorted(values)}, values):
    digests = np.stack([_digest(value) for value in checked.values()])
    seen = np.asarray(multihost_utils.process_allgather(digests))
    differ = (seen != digests).any(axis=(0, 2))
    found = [
      name + _here(value)
      for (name, value), other in zip(checked.items(), differ, strict=True)
      if other
    ]
    if found:
      raise UserError(f"the hosts differ in {', '.join(found[:4])}; {mend}")


def from_writer(data: bytes) -> bytes:
  """The writer's bytes on every process; the others' must be as long."""
  if jax.process_count() == 1:
    return data
  array = np.frombuffer(data, np.uint8)
  return np.asarray(multihost_utils.broadcast_one_to_all(array)).tobytes()


def all_agree(flag: bool) -> bool:
  """Whether the flag is set on every process."""
  if jax.process_count() == 1:
    return flag
  return bool(np.all(multihost_utils.process_allgather(np.array(flag))))


def embed_shares(
  embed: Callable[[Sequence[str]], np.ndarray], paths: Sequence[str]
) -> np.ndarray:
  """Splits images among the processes and puts their rows together.

  Args:
    embed: paths -> rows [N, D].
    paths: the same on all processes, at least one.

  Returns:
    [len(paths), D] on every process, in the order of `paths`.
  """
  if jax.process_count() == 1:
    return embed(paths)
  rows = embed(share(paths, part()))
  every = multihost_utils.process_allgather(rows, tiled=True)
  return np.asarray(every)[: len(paths)]


def share(paths: Sequence[str], part: Part) -> list[str]:
  """One process's share, as long as every other's.

  Args:
    paths: all of them, at least one.
    part: which share.

  Returns:
    Consecutive paths. The shares of all processes one behind the other begin
    with `paths`; behind them the first path is repeated.
  """
  size = -(-len(paths) // part.count)
  mine = list(paths)[part.index * size :][:size]
  return mine + [paths[0]] * (size - len(mine))


class StopVote:
  """Whether any process wants to stop, known to all at the same iteration."""

  def __init__(self, runner: Runner, stop: StopRequest):
    """Takes part in the votes of all processes that share `runner`'s devices.

    Args:
      runner: of the run.
      stop: this process's wish.
    """
    self._stop = stop
    self._ask = runner.any_flag() if jax.process_count() > 1 else None
    self._pending: jax.Array | None = None
    self._decided = False

  def wanted(self) -> bool:
    """Casts a vote, once an iteration.

    Returns:
      The outcome of the vote before, so that no one waits for it; without
      other processes this one's wish.
    """
    if self._ask is None:
      return self._stop.signal_number is not None
    before, self._pending = self._pending, self._cast(self._ask)
    self._decided = before is not None and bool(before)
    return self._decided

  def now(self) -> bool:
    """Casts a vote and waits for its outcome."""
    if self._ask is None:
      return self._stop.signal_number is not None
    self._decided = bool(self._cast(self._ask))
    return self._decided

  @property
  def signal_number(self) -> int | None:
    """The signal to stop for, if any: another process's counts as SIGTERM."""
    if self._ask is None:
      return self._stop.signal_number
    if not self._decided:
      return None
    return self._stop.signal_number or signal.SIGTERM

  def _cast(self, ask):
    return ask(self._stop.signal_number is not None)


def _digest(value: Any) -> np.ndarray:
  return np.frombuffer(hashlib.sha256(repr(value).encode()).digest(), np.uint8)


def _here(value: Any) -> str:
  """A value that is short enough for a message."""
  plain = isinstance(value, str | int | float | bool | None)
  return f" (here {value!r})" if plain and len(repr(value)) < 60 else ""


def _check_port(coordinator: str) -> None:
  host, _, port = coordinator.rpartition(":")
  # As JAX does: on all interfaces, unless the address is a loopback one.
  address = host.strip("[]") if _is_loopback(coordinator) else ""
  try:
    socket.create_server((address, int(port))).close()
  except OSError as error:
    raise UserError(
      f"port {port} of the coordinator cannot be used on this host "
      f"({error.strerror}); choose a free one for all hosts."
    ) from error


def _is_loopback(coordinator: str | None) -> bool:
  if coordinator is None:
    return False
  host = coordinator.rpartition(":")[0].strip("[]")
  try:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback
  except ValueError:
    return False
