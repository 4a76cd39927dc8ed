"""`python -m metabin_jax` is `metabin`."""

import sys

from metabin_jax.cli.main import main

if __name__ == "__main__":
  sys.exit(main())
