"""What a training run would do with some data sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from metabin_jax.data import checks, chunks, sampling
from metabin_jax.data.doctor.batch_sizes import (
  BatchSizes,
  base_batch_sizes,
  meta_batch_sizes,
)
from metabin_jax.data.doctor.findings import NOTE, PROBLEM, Finding
from metabin_jax.data.pool import Pool, create_pool
from metabin_jax.data.records import DataSet
from metabin_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class SourcePreview:
  """A run that trains on all the given data sets together.

  Attributes:
    names: data sets with training images.
    domains: sizes of the domains.
    images: number of training images.
    persons: number of persons.
    instances: K, images a person in a batch.
    base_sizes: batch sizes of baselines.
    meta_sizes: batch sizes of MetaBIN; None with a single domain.
    batch_size: the wanted one, or the nearest that fits; None if none does.
    epoch_iterations: iterations that are called an epoch at `batch_size`.
    epoch_places: image places in one pass over all persons.
    repeated: how many of these repeat an image to fill a group of K.
    left_over: places of a pass that an epoch does not come to; all persons are
      shuffled again then.
  """

  names: tuple[str, ...]
  domains: tuple[checks.DomainCount, ...]
  images: int
  persons: int
  instances: int
  base_sizes: BatchSizes
  meta_sizes: BatchSizes | None
  batch_size: int | None
  epoch_iterations: int
  epoch_places: int
  repeated: int
  left_over: int


def preview_sources(
  datasets: Sequence[DataSet],
  *,
  batch_size: int,
  instances: int,
  num_mtrain: int,
) -> tuple[SourcePreview | None, list[Finding]]:
  """Says what training on all of the data sets together would be like.

  Args:
    datasets: those without training images are passed over.
    batch_size: B, the wanted one.
    instances: K, images a person.
    num_mtrain: the wanted number of meta-train domains.

  Returns:
    The preview, None without training images or if a run refuses the data sets;
    and findings in the words of a run. What only a choice of settings mends is
    a note.
  """
  sources = [dataset for dataset in datasets if dataset.train]
  if not sources:
    return None, []
  try:
    report = checks.check_sources(sources, meta=False)
  except UserError as error:
    text = f"trained on together, a run ends with: {error}"
    return None, [Finding(PROBLEM, "refused_sources", "", text)]
  findings = [Finding(NOTE, "sources", "", note) for note in report.notes]
  pool = create_pool([r for source in sources for r in source.train])
  base_sizes = base_batch_sizes(pool, instances)
  meta_sizes = None
  if len(pool.domains) > 1:
    meta_sizes = meta_batch_sizes(pool, instances)
  size = (meta_sizes or base_sizes).nearest(batch_size)
  findings += _try_domains(sources, num_mtrain)
  findings += _try_batch(pool, batch_size, instances, fits=size)
  iterations = sampling.epoch_length(pool, size, instances) if size else 0
  units = chunks.group(pool.pid, np.arange(len(pool.pid)))
  places = int(chunks.num_chunks(units, instances).sum()) * instances
  preview = SourcePreview(
    names=tuple(source.name for source in sources),
    domains=report.domains,
    images=report.num_images,
    persons=report.num_pids,
    instances=instances,
    base_sizes=base_sizes,
    meta_sizes=meta_sizes,
    batch_size=size,
    epoch_iterations=iterations,
    epoch_places=places,
    repeated=places - report.num_images,
    left_over=places - iterations * size if size else 0,
  )
  return preview, findings


def _try_domains(sources: Sequence[DataSet], num_mtrain: int) -> list[Finding]:
  """What MetaBIN says to the number of domains."""
  try:
    domains = checks.check_sources(sources, meta=True).domains
  except UserError as error:
    text = f"without further sources, method metabin ends with: {error}"
    return [Finding(NOTE, "single_domain", "", text)]
  if num_mtrain < len(domains):
    return []
  text = (
    f"meta.num_mtrain is {num_mtrain} unless it is set, but there are "
    f"{len(domains)} domains; set it to "
    + ("1" if len(domains) == 2 else f"1 to {len(domains) - 1}")
  )
  return [Finding(NOTE, "num_mtrain", "", text)]


def _try_batch(
  pool: Pool, batch_size: int, instances: int, *, fits: int | None
) -> list[Finding]:
  """What the samplers say to the wanted batch size."""
  try:
    sampling.make_base_plan(
      pool, batch_size=batch_size, instances=instances, seed=0
    )
    if len(pool.domains) > 1:
      sampling.make_meta_plan(
        pool,
        batch_size=batch_size,
        instances=instances,
        num_mtrain=1,
        seed=0,
      )
  except UserError as error:
    text = f"with data.batch_size {batch_size} a run ends with: {error}"
    if fits is None:
      return [Finding(PROBLEM, "no_batch_size", "", f"{text} No size fits.")]
    return [Finding(NOTE, "batch_size", "", f"{text} {fits} fits.")]
  return []
