"""Flags that make one process of several of a command."""

from __future__ import annotations

from typing import Any, NamedTuple

from absl import flags

from metabin_jax.errors import UserError

_DEFAULT_TIMEOUT_S = 300
_LONGEST_TIMEOUT_S = 24 * 3600


class Request(NamedTuple):
  """What the flags ask for; None where the environment is to say it."""

  coordinator: str | None
  num_hosts: int | None
  host_index: int | None
  timeout_s: int


def define(values: flags.FlagValues) -> None:
  """Adds the flags to a set."""
  for name in ("hosts", "host_index", "coordinator", "host_timeout"):
    flags.DEFINE_string(name, None, "", flag_values=values)


def read(values: flags.FlagValues) -> Request | None:
  """What the flags of a parsed set say.

  Returns:
    The request; None for a process of its own.

  Raises:
    UserError: says which flag is wrong or missing.
  """
  given: dict[str, Any] = {
    name: values[name].value
    for name in ("hosts", "host_index", "coordinator", "host_timeout")
  }
  if given["hosts"] is None:
    extra = [f"--{name}" for name, value in given.items() if value is not None]
    if extra:
      raise UserError(
        f"{extra[0]} is for several hosts; add --hosts=N or --hosts=auto."
      )
    return None
  timeout_s = _number("host_timeout", given["host_timeout"], 1)
  timeout_s = _DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s
  if timeout_s > _LONGEST_TIMEOUT_S:
    raise UserError(
      f"--host_timeout is {timeout_s}; a day ({_LONGEST_TIMEOUT_S}) is the "
      "longest."
    )
  index = _number("host_index", given["host_index"], 0)
  coordinator = given["coordinator"]
  if given["hosts"] == "auto":
    if index is not None or coordinator is not None:
      raise UserError(
        "--hosts=auto asks the environment for --host_index and --coordinator; "
        "leave these out, or give the number of hosts."
      )
    return Request(None, None, None, timeout_s)
  count = _number("hosts", given["hosts"], 1)
  if index is None or coordinator is None:
    raise UserError(
      f"--hosts={count} needs --host_index=I and --coordinator=ADDRESS:PORT "
      "too, or write --hosts=auto."
    )
  if count is not None and index >= count:
    raise UserError(
      f"--host_index is {index}; with --hosts={count} it is 0 to {count - 1}."
    )
  address, _, port = coordinator.rpartition(":")
  if not address or not port.isdecimal() or not 0 < int(port) < 2**16:
    raise UserError(
      f"--coordinator is {coordinator!r}; write ADDRESS:PORT of host 0, such "
      "as 10.0.0.1:1234."
    )
  return Request(coordinator, count, index, timeout_s)


def _number(name: str, text: str | None, least: int) -> int | None:
  if text is None:
    return None
  if not (text.isascii() and text.isdigit() and int(text) >= least):
    raise UserError(
      f"--{name} is {text!r}; write a whole number from {least}"
      + (", or auto." if name == "hosts" else ".")
    )
  return int(text)
