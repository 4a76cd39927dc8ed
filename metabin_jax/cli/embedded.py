"""What commands compare: embeddings from a file, or of images by a run."""

from __future__ import annotations

import argparse
import collections
import functools
import os
import pathlib
import sys
from collections.abc import Sequence

from metabin_jax.cli import data_options
from metabin_jax.data import image_lists, listing
from metabin_jax.errors import UserError
from metabin_jax.evaluation import embedding_file
from metabin_jax.evaluation.embedding_file import Embeddings
from metabin_jax.runtime import extraction
from metabin_jax.runtime.extractor import Extractor


def is_file(place: str) -> bool:
  """Whether a place is a file of `metabin extract`."""
  return pathlib.Path(place).suffix.lower() in embedding_file.SUFFIXES


class Reader:
  """Embeds what is not embedded yet; loads its network when first needed."""

  def __init__(self, args: argparse.Namespace):
    """Takes the flags of `arguments.add_embedding`, and `run`."""
    self._args = args

  @functools.cached_property
  def extractor(self) -> Extractor:
    """The network that --run names."""
    return load_extractor(self._args)

  def read(self, what: str, places: Sequence[str]) -> Embeddings:
    """Embeddings of places.

    Args:
      what: the flag that names them, for messages.
      places: one file of `metabin extract`, or images as it takes them.

    Returns:
      The embeddings.

    Raises:
      UserError: if images are named and no run, or something cannot be read.
    """
    if any(is_file(place) for place in places):
      if len(places) > 1:
        raise UserError(f"{what} names several places; name one file alone.")
      return embedding_file.load(pathlib.Path(places[0]))
    if not self._args.run:
      raise UserError(
        f"{what} names images; say by --run which network shall embed them, or "
        "name a file of `metabin extract`."
      )
    entries = list_images(self._args, places)
    vectors = self.extractor([entry.path for entry in entries])
    return extraction.join(entries, vectors, self.extractor.card)


def list_images(
  args: argparse.Namespace, places: Sequence[str]
) -> list[image_lists.Entry]:
  """The images of places, with the flags of `data_options.add_arguments`."""

  def allowed(place: str) -> str:
    if not image_lists.is_description(place):
      return place
    (description,) = data_options.apply(
      [place],
      allow_partial=args.allow_partial,
      licensed_copy=args.licensed_copy,
    )
    return description

  def note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr)

  entries = image_lists.list_images([allowed(place) for place in places], note)
  others = _not_taken(places)
  if others:
    kinds = ", ".join(f"{end} {count}" for end, count in others.most_common(8))
    more = ", ..." if len(others) > 8 else ""
    note(
      f"{others.total():,} files of the folders have other endings than images "
      f"and were not taken ({kinds}{more}); pictures among them can be named "
      "one by one, or in a .txt file."
    )
  return entries


def _not_taken(places: Sequence[str]) -> collections.Counter[str]:
  """Endings of the visible files that folders hold beside images."""
  ends: collections.Counter[str] = collections.Counter()
  for place in places:
    for _, folders, names in os.walk(place, followlinks=True):
      folders[:] = [name for name in folders if not name.startswith(".")]
      ends.update(
        os.path.splitext(name)[1].lower() or "no ending"
        for name in names
        if not name.startswith(".") and not listing.is_image_name(name)
      )
  return ends


def load_extractor(args: argparse.Namespace) -> Extractor:
  """The network of `args.run`, with the flags of `arguments.add_embedding`.

  Raises:
    UserError: if there is no such run, or there are not as many devices.
  """
  import jax

  from metabin_jax.runtime import compilation_cache

  count = jax.local_device_count()
  if not 0 <= args.devices <= count:
    raise UserError(
      f"--devices={args.devices}, and this machine has {count}; give a number "
      f"from 1 to {count}, or 0 for all."
    )
  compilation_cache.enable()
  return Extractor.from_checkpoint(
    args.run,
    step=args.step,
    batch_size=args.batch_size,
    flip=args.flip,
    devices=jax.local_devices()[: args.devices or None],
  )
