"""Comparison with the published numbers, and the texts it gives."""

from __future__ import annotations

import pytest

from metabin_jax.data.public import counts
from metabin_jax.data.public.definition import (
  DISTRACTOR,
  JUNK,
  Count,
  Item,
  Listing,
  PublicSet,
  tally,
)
from metabin_jax.errors import UserError

TOY = PublicSet(
  name="toy",
  title="Toy",
  roots=("Toy",),
  layout="train/<pid>.png",
  request="",
  terms="",
  citation="",
  list_items=lambda root, options: Listing(root, (), {}),
)


def item(name, pid, part="train", role="person"):
  return Item(f"/x/{name}", name, pid, 1, part, role)


ITEMS = (
  item("a", "1"),
  item("b", "1"),
  item("c", "2"),
  item("d", "1", "gallery"),
  item("e", "0", "gallery", DISTRACTOR),
  item("f", "-1", "gallery", JUNK),
  item("g", "-1", "gallery", JUNK),
)
EXPECTED = {
  "train": Count(3, 2),
  "gallery": Count(1, 1),
  "gallery distractor": Count(1, 1),
  "gallery junk": Count(2, 1),
}


def check(items=ITEMS, expected=EXPECTED, allow_partial=False, **more):
  listing = Listing("/data/Toy", items, expected, **more)
  return counts.check_counts(TOY, listing, allow_partial=allow_partial)


def error(**words):
  with pytest.raises(UserError) as caught:
    check(**words)
  return str(caught.value)


def test_groups_are_part_and_role():
  assert tally(ITEMS) == EXPECTED
  assert list(tally(ITEMS)) == list(EXPECTED)
  assert tally(()) == {}


@pytest.mark.parametrize("allow_partial", [False, True])
def test_right_counts_need_no_words(allow_partial):
  assert check(allow_partial=allow_partial) == ()


def test_missing_image():
  message = error(items=ITEMS[1:])
  assert message == (
    "toy in /data/Toy is not the published data set: train: expected 3 images "
    "of 2 persons, found 2 images of 2 persons. Complete the folder, or add "
    "partial=allow (--allow-partial) to read what is there."
  )


def test_missing_person_with_the_right_number_of_images():
  items = (ITEMS[0], ITEMS[1], item("c", "1"), *ITEMS[3:])
  assert "train: expected 3 images of 2 persons, found 3 images of 1" in error(
    items=items
  )


def test_groups_that_are_absent_or_not_expected():
  message = error(items=(*ITEMS[:5], item("f", "-1", "query", JUNK)))
  assert "gallery junk: expected 2 images of 1 person, found nothing" in message
  assert "query junk: expected nothing, found 1 images of 1 person" in message
  assert "train" not in message


def test_numbers_have_separators():
  message = error(expected={**EXPECTED, "train": Count(12936, 1501)})
  assert "expected 12,936 images of 1,501 persons" in message


def test_names_of_missing_and_unknown_files():
  message = error(missing=("m1", "m2"), unknown=("u1", "u2", "u3", "u4"))
  assert (
    "published data set: all counts as published; 2 missing: m1, m2; "
    "4 unknown: u1, u2, u3, .... Complete"
  ) in message


@pytest.mark.parametrize("words", [{"missing": ("m",)}, {"unknown": ("u",)}])
def test_names_alone_are_enough_to_refuse(words):
  assert "1 " in error(**words)


def test_variant_is_named():
  assert error(items=ITEMS[1:], variant="v2").startswith("toy (v2) in /data/")


def test_partial_gives_one_note():
  (note,) = check(ITEMS[1:], allow_partial=True, variant="v2", missing=("m",))
  assert note == (
    "toy (v2) is partial: train: expected 3 images of 2 persons, found 2 "
    "images of 2 persons; 1 missing: m"
  )


@pytest.mark.parametrize("allow_partial", [False, True])
def test_nothing_at_all_is_always_refused(allow_partial):
  message = error(items=(), allow_partial=allow_partial, unknown=("u",))
  assert message == (
    "toy in /data/Toy has no image; 1 unknown: u; want train/<pid>.png."
  )
