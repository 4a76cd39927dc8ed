"""`python -m metabin_jax` is `metabin`."""

from metabin_jax.cli.main import run_program

if __name__ == "__main__":
  run_program()
