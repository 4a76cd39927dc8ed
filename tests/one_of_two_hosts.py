"""Makes the iterations of runtime/parallel_test.py as one of two processes.

Run by distributed_test.py: one_of_two_hosts.py INDEX PORT FOLDER.
"""

from __future__ import annotations

import pathlib
import pickle
import sys

import jax

from metabin_jax.data.batches import Part
from metabin_jax.runtime import distributed

HERE = pathlib.Path(__file__).parent


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

  jax.config.update("jax_disable_most_optimizations", True)
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
