"""Random numbers that depend on names and counters, never on history.

Every random choice of the library hangs on (seed, stream, counters). A run
that resumes at step 1,000 therefore draws what an uninterrupted run draws at
step 1,000, and the order in which workers finish changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import operator

import numpy as np


def generator(seed: int, stream: str, *counters: int) -> np.random.Generator:
  """Returns the random generator of one named place in one run.

  Each use has its own `stream` name ("sampling/base", "augment/flip"), so that
  a new consumer of random numbers never shifts those of another one.

  Args:
    seed: the run's seed, any integer.
    stream: what the numbers are for; slash-grouped lower case by custom.
    *counters: integers that tell apart the draws of one stream: a step, an
      epoch, an image index. Their number matters: `(1,)` is not `(1, 0)`.

  Returns:
    A fresh generator at the start of its sequence. Same arguments, same bits,
    on any machine; different arguments, statistically independent bits.

  Raises:
    TypeError: if `seed` or a counter is not an integer, or `stream` no string.

  Source: Philox4x64-10 of Salmon et al., "Parallel random numbers: as easy as
    1, 2, 3" (SC 2011), as NumPy has it; the 128-bit key is the head of the
    SHA-256 of the arguments.
  """
  if not isinstance(stream, str):
    raise TypeError(f"stream must be a string, got {stream!r}.")
  # JSON is an injective encoding here: ("a", 1, 11) and ("a", 11, 1) differ.
  place = json.dumps([_as_int(seed), stream, *map(_as_int, counters)])
  digest = hashlib.sha256(place.encode("utf-8")).digest()
  key = [int.from_bytes(digest[i : i + 8], "little") for i in (0, 8)]
  return np.random.Generator(
    np.random.Philox(key=np.array(key, dtype=np.uint64))
  )


def _as_int(number: int) -> int:
  # Accepts NumPy integers, refuses floats: 1.0 and 1 must not be two streams.
  return operator.index(number)
