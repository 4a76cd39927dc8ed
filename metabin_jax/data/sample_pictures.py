"""A few rendered pictures in memory, for checks that need natural ones."""

from __future__ import annotations

import numpy as np

from metabin_jax.data import images
from metabin_jax.data.synthetic import listing, presets, render


def draw(count: int, height: int, width: int) -> np.ndarray:
  """Renders pictures of several persons, places and cameras.

  Args:
    count: of pictures, at most those of the preset "tiny".
    height: of each, in pixels.
    width: likewise.

  Returns:
    uint8 [count, height, width, 3]; the same for the same arguments.

  Raises:
    ValueError: for none, or for more than there are.
  """
  preset = presets.get_preset("tiny")
  shots = listing.list_shots(preset)
  if not 0 < count <= len(shots):
    raise ValueError(f"there are 1 to {len(shots)} pictures, not {count}")
  shots = shots[:count]
  drawn = (
    render.render_image(preset, shot.domain, shot.pid, shot.camera, shot.frame)
    for shot in shots
  )
  return np.stack([images.resize(one, height, width) for one in drawn])
