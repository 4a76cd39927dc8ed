"""Which gallery images are the right answers to a query, and which count."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.errors import UserError

UNKNOWN_CAMERA = -1


class Reason(enum.IntEnum):
  """Why a query counts, or why it can not."""

  VALID = 0
  NO_MATCH = 1
  """No image of the person in the gallery."""
  SAME_CAMERA = 2
  """Images of the person in the gallery, all from the query's own camera."""


class SamePerson(NamedTuple):
  """The gallery images of a query's person.

  Attributes:
    rows: int64 [S], their places in the gallery, rising.
    kept: bool [S], True for a match, False for junk: an image from the query's
      own camera, which counts neither as right nor as wrong.
  """

  rows: np.ndarray
  kept: np.ndarray


def nan_error(query: int) -> UserError:
  """The error for NaN among the distances of query number `query`."""
  return UserError(
    f"distances of query {query} hold NaN; rank only finite distances (check "
    "the model's weights for NaN)."
  )


class Matches:
  """The matches and the junk of every query, a query at a time.

  Attributes:
    q_pid: [Q] persons of the queries.
    q_camid: int64 [Q] their cameras.
    reason: int8 [Q], a `Reason` for each query.
    num_same: int64 [Q], gallery images of the query's person, junk included.
    num_matches: int64 [Q], those of them that count.
    num_gallery: G.
  """

  def __init__(
    self,
    num_query: int,
    q_pid: Any,
    q_camid: Any,
    g_pid: Any,
    g_camid: Any,
    *,
    cross_camera: bool,
  ):
    """Compares persons and cameras.

    Args:
      num_query: Q.
      q_pid: [Q] persons, integers or strings.
      q_camid: [Q] cameras, `UNKNOWN_CAMERA` where unknown.
      g_pid: [G] persons, of the same kind as `q_pid`.
      g_camid: [G] cameras.
      cross_camera: images of the query's person and camera are junk. An
        unknown camera on either side makes no junk.

    Raises:
      ValueError: if shapes or kinds disagree.
    """
    self.q_pid, g_pid = np.asarray(q_pid), np.asarray(g_pid)
    self.q_camid = np.asarray(q_camid, dtype=np.int64)
    self._g_camid = np.asarray(g_camid, dtype=np.int64)
    self.num_gallery = len(g_pid)
    self._cross_camera = cross_camera
    if (
      self.q_pid.shape != (num_query,)
      or self.q_camid.shape != (num_query,)
      or self._g_camid.shape != g_pid.shape
    ):
      raise ValueError(
        f"{num_query} queries and {self.num_gallery} gallery images need as "
        f"many persons and cameras; got {self.q_pid.shape} and "
        f"{self.q_camid.shape} for queries, {g_pid.shape} and "
        f"{self._g_camid.shape} for the gallery."
      )
    if (self.q_pid.dtype.kind in "US") != (g_pid.dtype.kind in "US"):
      raise ValueError(
        f"query persons are {self.q_pid.dtype} and gallery persons "
        f"{g_pid.dtype}; write both as numbers or both as text."
      )
    self._order = np.argsort(g_pid, kind="stable")
    ordered = g_pid[self._order]
    self._low = np.searchsorted(ordered, self.q_pid, side="left")
    self._high = np.searchsorted(ordered, self.q_pid, side="right")
    self.num_same = self._high - self._low
    self.num_matches = np.array(
      [np.count_nonzero(self.of(index).kept) for index in range(num_query)],
      np.int64,
    )
    self.reason = np.full(num_query, Reason.VALID, np.int8)
    self.reason[self.num_matches == 0] = Reason.SAME_CAMERA
    self.reason[self.num_same == 0] = Reason.NO_MATCH

  def of(self, query: int) -> SamePerson:
    """The gallery images of the person of query number `query`."""
    rows = self._order[self._low[query] : self._high[query]]
    camera = self.q_camid[query]
    if not self._cross_camera or camera == UNKNOWN_CAMERA:
      return SamePerson(rows, np.ones(rows.size, bool))
    return SamePerson(rows, self._g_camid[rows] != camera)
