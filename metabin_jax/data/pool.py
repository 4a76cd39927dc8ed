"""The training images as arrays: what samplers and loaders index into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metabin_jax.data.records import Record
from metabin_jax.errors import UserError


class Pool(NamedTuple):
  """The training images as arrays.

  Attributes:
    pid: int32 [N] class index of the person, by sorted pid.
    domain: int32 [N] domain index, by first appearance.
    camid: int32 [N] camera number, -1 if unknown.
    paths: the N files.
    pids: pid of each class.
    domains: label of each domain.
  """

  pid: np.ndarray
  domain: np.ndarray
  camid: np.ndarray
  paths: tuple[str, ...]
  pids: tuple[str, ...]
  domains: tuple[str, ...]


def create_pool(records: Sequence[Record]) -> Pool:
  """Numbers persons and domains.

  Args:
    records: N images, in an order that is the same in every run.

  Returns:
    The pool, in the order of `records`.

  Raises:
    UserError: if there is no image.
  """
  if not records:
    raise UserError("there is no training image; name a source that has some.")
  pids = tuple(sorted({record.pid for record in records}))
  domains = tuple(dict.fromkeys(record.domain for record in records))
  pid_index = {pid: i for i, pid in enumerate(pids)}
  domain_index = {domain: i for i, domain in enumerate(domains)}
  return Pool(
    pid=np.array([pid_index[r.pid] for r in records], np.int32),
    domain=np.array([domain_index[r.domain] for r in records], np.int32),
    camid=np.array([r.camid for r in records], np.int32),
    paths=tuple(record.path for record in records),
    pids=pids,
    domains=domains,
  )
