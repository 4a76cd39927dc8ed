"""One SHA-256 over everything a checkpoint holds.

Orbax restores a file with a flipped byte without a word; the digest is what
tells a damaged checkpoint from a good one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

Path = tuple[str, ...]


def digest_leaves(leaves: Mapping[Path, np.ndarray], notes: Any) -> str:
  """Digest of named arrays and of what is written beside them.

  Args:
    leaves: arrays by their path in the tree; their order does not matter.
    notes: JSON data to cover as well (step, user's metadata).

  Returns:
    64 hexadecimal digits. Any change of a name, a shape, a dtype, one bit of
    an array or the notes gives another digest.
  """
  sha = hashlib.sha256()
  for path in sorted(leaves):
    leaf = leaves[path]
    header = [list(path), list(leaf.shape), str(leaf.dtype)]
    sha.update(canonical_json(header))
    # A view of bytes: bfloat16 and friends have no buffer of their own kind.
    sha.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
  sha.update(canonical_json(notes))
  return sha.hexdigest()


def canonical_json(data: Any) -> bytes:
  """JSON text that is the same for the same data.

  Raises:
    TypeError: if `data` holds what JSON cannot write.
    ValueError: if it holds NaN or infinity.
  """
  text = json.dumps(
    data, sort_keys=True, separators=(",", ":"), allow_nan=False
  )
  return text.encode("utf-8") + b"\n"
