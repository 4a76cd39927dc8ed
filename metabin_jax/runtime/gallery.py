"""Galleries in memory, and what all galleries have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from metabin_jax.errors import UserError
from metabin_jax.evaluation import top_k
from metabin_jax.evaluation.embedding_file import Embeddings, unit_rows
from metabin_jax.runtime import gallery_files

# Rows are read and multiplied in blocks of this many bytes of float32.
BLOCK_BYTES = 2**27
# What two cards of one network may differ in: where it lay, how it is compared.
_NAMES_ONLY = ("run", "step", "metric")


class Hit(NamedTuple):
  """A gallery image that a query is like.

  Attributes:
    name: of the image.
    score: cosine of the two embeddings, in [-1, 1]; what rounding puts beyond
      is cut off.
    pid: person, "" if unknown.
    camid: camera, -1 if unknown.
  """

  name: str
  score: float
  pid: str
  camid: int


class Gallery:
  """Embeddings in memory, searched like an index."""

  def __init__(self, embeddings: Embeddings):
    """Takes embeddings [N, D].

    Raises:
      UserError: as `unit_rows` and `gallery_files.labels_of` do.
    """
    self.card = embeddings.card
    self._rows = unit_rows(embeddings, embeddings.card["embedding"]["dim"])
    self._labels = gallery_files.labels_of(embeddings)

  def __len__(self) -> int:
    """Images that can be found."""
    return len(self._rows)

  def search(
    self, embeddings: Embeddings, k: int = 10, *, place: str = "auto"
  ) -> list[list[Hit]]:
    """As `gallery_index.GalleryIndex.search`."""
    check_model("the gallery", self.card, embeddings.card)
    queries = unit_rows(embeddings, self._rows.shape[1])
    most = max(1, BLOCK_BYTES // (4 * self._rows.shape[1]))
    blocks = (
      top_k.Block(start, self._rows[start : start + most])
      for start in range(0, len(self._rows), most)
    )
    k = count_hits(k, len(self))
    return name_hits(top_k.find(queries, blocks, k, place=place), self._labels)


def check_model(
  place: str, card: Mapping[str, Any], other: Mapping[str, Any]
) -> None:
  """Refuses to compare embeddings of two networks.

  Args:
    place: what holds the embeddings of `card`, for the message.
    card: of the one network.
    other: of the other.

  Raises:
    UserError: names both.
  """
  ours, theirs = card["model"], other["model"]
  differ = [
    f"{key} {value} against {other[section][key]}"
    for section in ("model", "input", "embedding")
    # Cards of before a key was written know nothing of it.
    for key, value in card.get(section, {}).items()
    if key not in _NAMES_ONLY
    and other.get(section, {}).get(key, value) != value
  ]
  if differ:
    raise UserError(
      f"{place} holds embeddings of run {ours['run']} at step {ours['step']}, "
      f"these are of run {theirs['run']} at step {theirs['step']} "
      f"({', '.join(differ)}); embeddings of two networks, or of images that "
      "were prepared in two ways, cannot be compared."
    )


def count_hits(k: int, images: int) -> int:
  """No more hits than images, but at least 1, as `top_k.find` wants it."""
  return max(1, min(k, images))


def name_hits(
  best: top_k.Best, labels: gallery_files.Labels
) -> list[list[Hit]]:
  """Rows of a gallery as images, for each query."""
  names, pids, camids = labels
  return [
    [
      Hit(names[row], max(-1.0, min(1.0, float(score))), pids[row], camids[row])
      for score, row in zip(scores, rows, strict=True)
      if row >= 0
    ]
    for scores, rows in zip(best.scores, best.rows, strict=True)
  ]
