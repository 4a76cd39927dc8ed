"""Compares what was found on disk with what the published set has."""

from __future__ import annotations

from metabin_jax.data.public.definition import Count, Listing, PublicSet, tally
from metabin_jax.errors import UserError

_NUM_NAMES = 3


def check_counts(
  public: PublicSet, listing: Listing, *, allow_partial: bool
) -> tuple[str, ...]:
  """Refuses a data set that is not the published one.

  Args:
    public: the set.
    listing: what was found.
    allow_partial: read what is there, and say so.

  Returns:
    Sentences for every result; empty if all counts are right.

  Raises:
    UserError: says what was expected, what was found, and the first missing
      and unknown names; always if there is no image at all.
  """
  found = tally(listing.items)
  groups = [*listing.expected, *(g for g in found if g not in listing.expected)]
  wrong = []
  for group in groups:
    have, want = found.get(group), listing.expected.get(group)
    if have != want:
      wrong.append(f"{group}: expected {_words(want)}, found {_words(have)}")
  which = f"{public.name}{f' ({listing.variant})' if listing.variant else ''}"
  if not listing.items:
    raise UserError(
      f"{which} in {listing.root} has no image{_names(listing)}; want "
      f"{public.layout}."
    )
  if not wrong and not listing.missing and not listing.unknown:
    return ()
  differences = "; ".join(wrong) or "all counts as published"
  if allow_partial:
    return (f"{which} is partial: {differences}{_names(listing)}",)
  raise UserError(
    f"{which} in {listing.root} is not the published data set: "
    f"{differences}{_names(listing)}. Complete the folder, or add "
    "partial=allow (--allow-partial) to read what is there."
  )


def _words(count: Count | None) -> str:
  if count is None:
    return "nothing"
  persons = "person" if count.pids == 1 else "persons"
  return f"{count.images:,} images of {count.pids:,} {persons}"


def _names(listing: Listing) -> str:
  text = ""
  for word, names in (
    ("missing", listing.missing),
    ("unknown", listing.unknown),
  ):
    if names:
      shown = ", ".join(names[:_NUM_NAMES])
      more = ", ..." if len(names) > _NUM_NAMES else ""
      text += f"; {len(names):,} {word}: {shown}{more}"
  return text
