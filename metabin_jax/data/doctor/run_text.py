"""Sets what a run would do as text."""

from __future__ import annotations

import collections

from metabin_jax.data.doctor.batch_sizes import BatchSizes
from metabin_jax.data.doctor.layout import extent, number_of, set_table, wrap
from metabin_jax.data.doctor.source_preview import SourcePreview
from metabin_jax.data.doctor.target_preview import TargetPreview

_DIGITS = 12


def source_lines(preview: SourcePreview) -> list[str]:
  """What training on the data sets together would be like."""
  rows = [["domain", "images", "persons", "single", "cameras"]]
  for domain in preview.domains:
    counts = (
      domain.num_images,
      domain.num_pids,
      domain.num_single,
      domain.num_cameras,
    )
    rows.append([domain.domain, *map(str, counts)])
  lines = [f"AS SOURCES of one run: {', '.join(preview.names)}"]
  lines += set_table(rows)
  lines += wrap(
    f"in all {number_of(preview.images, 'image')} of "
    f"{number_of(preview.persons, 'person')}; batches take "
    f"{preview.instances} images of each person"
  )
  lines += wrap(f"batch sizes of a baseline: {_sizes(preview.base_sizes)}")
  if preview.meta_sizes is not None:
    lines += wrap(f"batch sizes of MetaBIN: {_sizes(preview.meta_sizes)}")
  if preview.batch_size is not None:
    lines += wrap(
      f"at batch size {preview.batch_size}, one pass over all persons has "
      f"{preview.epoch_places} places, {preview.repeated} of them filled by "
      f"repeating an image; an epoch is "
      f"{number_of(preview.epoch_iterations, 'iteration')}, which leaves "
      f"{preview.left_over} places to the next shuffle"
    )
  return lines


def _sizes(sizes: BatchSizes) -> str:
  if sizes.most < sizes.least:
    return (
      f"none (at least {sizes.least}, but persons suffice for {sizes.most})"
    )
  return f"multiples of {sizes.step} from {sizes.least} to {sizes.most}"


def target_lines(preview: TargetPreview) -> list[str]:
  """What a test on one data set would be like."""
  folds = list(preview.folds.values())
  origin = f", {preview.origin}" if preview.origin else ""
  lines = [f"AS TARGET: {preview.name}"]
  lines += wrap(
    f"protocol {preview.protocol}, {number_of(len(folds), 'fold')}, sha256 "
    f"{preview.split_digest[:_DIGITS]}{origin}"
  )
  valid = [f.report.num_valid if f.report else 0 for f in folds]
  lines += wrap(
    f"{extent(f.queries for f in folds)} queries, {extent(valid)} of them with "
    f"a match; {extent(f.gallery for f in folds)} gallery images, "
    f"{extent(f.distractors for f in folds)} of them of persons who are not "
    f"asked for; {extent(f.left_out for f in folds)} pairs of the same person "
    "and camera are left out"
  )
  reasons: collections.Counter[str] = collections.Counter()
  for fold in folds:
    reasons.update(fold.report.invalid if fold.report else {})
  for reason, count in sorted(reasons.items()):
    lines += wrap(f"queries without a match ({reason}): {count}")
  return lines
