"""MetaBIN in JAX: re-identification that generalizes to unseen cameras."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
# Late: `import metabin_jax` alone should not load JAX.
_LATE = {
  "Extractor": "metabin_jax.runtime.extractor",
  "adapt": "metabin_jax.runtime.adapt_extractor",
}


def __getattr__(name: str) -> Any:
  """Loads what the package offers at its top when it is first asked for."""
  if name not in _LATE:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  return getattr(importlib.import_module(_LATE[name]), name)
