"""Keeps compiled programs between runs."""

from __future__ import annotations

import os
import pathlib

import jax


def enable() -> pathlib.Path:
  """Turns JAX's persistent compilation cache on.

  Returns:
    Its folder: $JAX_COMPILATION_CACHE_DIR if set, else `xla` below
    $METABIN_CACHE or ~/.cache/metabin_jax.
  """
  chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
  root = os.environ.get("METABIN_CACHE") or "~/.cache/metabin_jax"
  folder = pathlib.Path(chosen or pathlib.Path(root) / "xla").expanduser()
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
  return folder
