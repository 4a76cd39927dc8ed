"""A trained network adapted to a place, for a program's own use (BNTA)."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from metabin_jax.data import pixels
from metabin_jax.errors import UserError
from metabin_jax.evaluation import settings
from metabin_jax.runtime import adaptation, digest, leaves, scoring
from metabin_jax.runtime.extractor import Extractor

# The caller says whose images they are by giving them.
_NOT_HERE = ("images_of",)


def adapt(
  model: Extractor, gallery_images: Any, *, order: str = "RGB", **choices: Any
) -> Extractor:
  """Adapts a network to the images of a place, without labels.

  `adapt(Extractor.from_checkpoint("runs/a"), photos)` gives an extractor for
  this place. Embeddings of the two have different cards and are not compared:
  embed the gallery and the queries by the adapted one.

  Args:
    model: of a checkpoint, any network: BNTA's, MetaBIN's, ... It stays as it
      is. One that is adapted already is refused: each place begins from the
      weights of the training.
    gallery_images: at least two different images, as `model` takes them.
      Their order means nothing, nor does a path, an array or a picture that is
      there twice.
    order: of the channels of arrays, as for `model`.
    **choices: keys of the configuration's section `eval.bnta`, e.g.
      groups=("bn", "in", "rho"), lr=0.001; others are as the run has them. A
      network without part heads is adapted by losses=("match",).

  Returns:
    An extractor with the adapted weights; its card has a new "sha256" and says
    under "adapted" by what and on how many images.

  Raises:
    UserError: for fewer than two images, images that cannot be read, a choice
      that does not exist or does not fit, or another model.

  Source: BNTA (AAAI 2022), Algorithm 1.
  """
  if not isinstance(model, Extractor):
    raise UserError(
      f"the model is of type {type(model).__name__}; give adapt an Extractor, "
      "e.g. Extractor.from_checkpoint(WORKDIR), and then the images."
    )
  if "adapted" in model.card:
    before = model.card["adapted"]["by"]
    raise UserError(
      f"the model is adapted already ({before}); adapt the Extractor of the "
      "checkpoint, with the images of both places if need be."
    )
  run = model.run
  if run.config.model.heads == "none":
    choices = {"losses": ("match",), **choices}
  known = [key for key in run.config.eval.bnta if key not in _NOT_HERE]
  for key in choices:
    if key not in known:
      near = difflib.get_close_matches(key, known, 1)
      hint = f" (did you mean {near[0]!r}?)" if near else ""
      raise UserError(
        f"adapt has no choice {key!r}{hint}; it takes {', '.join(known)}."
      )
  config = scoring.override_eval(
    run.config,
    {
      "adapt": "bnta",
      "adapt_bn": "none",
      "bnta": {**choices, "images_of": "gallery"},
    },
  )
  rules, plan = adaptation.from_config(config.eval.bnta)
  given = pixels.split_batch(gallery_images)
  images = _name(given, model.height, model.width)
  if len(images) < 2 <= len(given):
    raise UserError(
      f"{len(given)} images to adapt to were given, and all are the same; BNTA "
      "compares pairs of images: give it at least 2 different ones."
    )

  def load(names: Sequence[str]) -> np.ndarray:
    return np.stack(
      [
        pixels.to_pixels(images[name], model.height, model.width, order=order)
        for name in names
      ]
    )

  adapted = adaptation.adapt(
    run.network,
    run.variables,
    load,
    [*images],
    rules=rules,
    plan=plan,
    batch_size=model.batch_size,
  )
  record = {
    "by": settings.describe_bnta(config.eval.bnta),
    **adapted.counts(),
  }
  weights = digest.digest_leaves(leaves.unnest(adapted.variables), None)
  card = {
    **run.card,
    "model": {**run.card["model"], "sha256": weights},
    "adapted": record,
  }
  return model.with_run(run._replace(variables=adapted.variables, card=card))


def _name(images: Sequence[Any], height: int, width: int) -> dict[str, Any]:
  """Images by a name that hangs on nothing but themselves."""
  named = {}
  for image in images:
    if isinstance(image, (str, os.PathLike)):
      named[os.fspath(image)] = image
    else:
      content = np.asarray(image)
      if isinstance(image, Image.Image):  # numbers of colours are no colours
        content = pixels.to_pixels(image, height, width)
      text = f"{content.shape} {content.dtype} ".encode() + content.tobytes()
      named[f"sha256:{hashlib.sha256(text).hexdigest()}"] = image
  return named
