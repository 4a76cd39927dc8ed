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


class Hit(NamedTuple):
  """A gallery image that a query is like.

  Attributes:
    name: of the image.
    score: cosine of the two embeddings, in [-1, 1].
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
      UserError: as `unit_rows` does.
    """
    self.card = embeddings.card
    self._rows = unit_rows(embeddings, embeddings.card["embedding"]["dim"])
    self._labels = gallery_files.Labels(
      list(embeddings.names),
      list(embeddings.pids),
      embeddings.camids.tolist(),
    )

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
  ours, theirs = ({**c["model"], **c["embedding"]} for c in (card, other))
  keys = ("sha256", "dim", "flip")
  if any(ours.get(key) != theirs.get(key) for key in keys):
    raise UserError(
      f"{place} holds embeddings of run {ours['run']} at step {ours['step']} "
      f"(flip {ours['flip']}), these are of run {theirs['run']} at step "
      f"{theirs['step']} (flip {theirs['flip']}); embeddings of two networks "
      "cannot be compared."
    )


def name_hits(
  best: top_k.Best, labels: gallery_files.Labels
) -> list[list[Hit]]:
  """Rows of a gallery as images, for each query."""
  names, pids, camids = labels
  return [
    [
      Hit(names[row], float(score), pids[row], camids[row])
      for score, row in zip(scores, rows, strict=True)
      if row >= 0
    ]
    for scores, rows in zip(best.scores, best.rows, strict=True)
  ]
