"""`python -m metabin_jax.train` is `metabin train`."""

import sys

from metabin_jax.cli.main import call

if __name__ == "__main__":
  sys.exit(call("train", sys.argv[1:]))
