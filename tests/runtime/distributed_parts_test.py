"""What several hosts agree on, without starting any."""

from __future__ import annotations

import socket

import jax
import pytest

from metabin_jax.data.batches import Part
from metabin_jax.errors import UserError
from metabin_jax.runtime import distributed


@pytest.mark.parametrize("number", [1, 2, 5, 8])
@pytest.mark.parametrize("hosts", [1, 2, 3, 7])
def test_shares_of_images(number, hosts):
  paths = [f"{index}.png" for index in range(number)]
  shares = [distributed.share(paths, Part(i, hosts)) for i in range(hosts)]
  assert len({len(share) for share in shares}) == 1
  together = [path for share in shares for path in share]
  assert together[:number] == paths
  assert set(together[number:]) <= {paths[0]}
  assert len(together) < number + hosts


def test_a_port_in_use_is_said_before_jax_is_asked():
  with socket.create_server(("127.0.0.1", 0)) as other:
    port = other.getsockname()[1]
    hosts = distributed.Hosts(f"127.0.0.1:{port}", 2, 0)
    with pytest.raises(
      UserError, match=f"port {port} of the coordinator cannot be used"
    ):
      distributed.join(hosts, timeout_s=1, give_up=pytest.fail)


def test_one_process_is_the_writer_and_agrees_with_itself():
  assert distributed.is_writer()
  assert distributed.part() == Part(0, 1)
  distributed.wait("nobody")
  distributed.check_equal({"this": 1}, "never said")
  assert distributed.embed_shares(list, ["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize(
  ("text", "lost"),
  [
    ("UNKNOWN: Gloo context initialization failed: DEADLINE_EXCEEDED", True),
    ("UNAVAILABLE: failed to connect to all addresses", True),
    ("RESOURCE_EXHAUSTED: Out of memory allocating 80 bytes", False),
  ],
)
def test_a_lost_host_is_told_from_other_errors(text, lost):
  assert distributed.is_lost_host(jax.errors.JaxRuntimeError(text)) == lost
  assert not distributed.is_lost_host(ValueError(text))
