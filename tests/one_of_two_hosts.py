"""Makes the iterations of runtime/parallel_test.py as one of two processes.

Run by distributed_test.py: one_of_two_hosts.py INDEX PORT FOLDER.
"""

from __future__ import annotations

import json
import pathlib
import pickle
import sys

import jax

from metabin_jax.data.batches import Part
from metabin_jax.errors import UserError
from metabin_jax.runtime import claim, distributed

HERE = pathlib.Path(__file__).parent


def refusal(check, *arguments) -> str | None:
  """What a check has to say."""
  try:
    check(*arguments)
  except UserError as error:
    return str(error)
  return None


def main(index: str, port: str, folder: str) -> None:
  """Writes state and metrics of every case, to a file for each process."""
  distributed.join(
    distributed.Hosts(f"127.0.0.1:{port}", 2, int(index)),
    timeout_s=100,
    give_up=sys.exit,
  )
  sys.path.append(str(HERE / "runtime"))
  # Late: it asks for the devices, which are those of both processes now.
  import parallel_test

  said = [
    refusal(claim.check_seen, pathlib.Path(folder), 20),
    refusal(claim.check_seen, pathlib.Path(folder, index), 1),
    refusal(distributed.check_equal, {"a": 1, "b": index}, "mend it."),
    refusal(distributed.check_equal, {"c" + index: 1}, "mend it."),
  ]
  pathlib.Path(folder, f"{index}.json").write_text(json.dumps(said))
  part = distributed.part()
  assert part == Part(int(index), 2)
  found = {
    (kind, order): parallel_test.train(
      parallel_test.metabin_step(order), kind, 8, part=part
    )
    for kind in ("jit", "shard_map")
    for order in ("first", "reverse")
  }
  # Trees as lists of leaves: optax's classes need not be pickled.
  leaves = {case: jax.tree.leaves(result) for case, result in found.items()}
  pathlib.Path(folder, f"{index}.pkl").write_bytes(pickle.dumps(leaves))


if __name__ == "__main__":
  main(*sys.argv[1:])
