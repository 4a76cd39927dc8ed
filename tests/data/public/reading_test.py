"""From listings of a made-up public set to records and folds."""

from __future__ import annotations

import dataclasses

import pytest

from metabin_jax.data.public import reading
from metabin_jax.data.public.definition import (
  DISTRACTOR,
  JUNK,
  Count,
  FoldNames,
  Item,
  Listing,
  PublicSet,
  Splits,
  tally,
)
from metabin_jax.errors import UserError


def item(name, pid, part, role="person", camid=1):
  return Item(f"/data/{name}", name, pid, camid, part, role)


ITEMS = (
  item("g1", "1", "gallery", camid=2),
  item("g2", "0", "gallery", DISTRACTOR),
  item("g3", "-1", "gallery", JUNK),
  item("q1", "1", "query"),
  item("t1", "2", "train"),
  item("t2", "2", "train", camid=3),
)


def make(items=ITEMS, **changes):
  """A set whose listing is `items`, whatever lies on the disk."""

  def list_items(root, options):
    seen.append((root, dict(options)))
    return Listing(root, items, tally(ITEMS), **listing_words)

  seen: list = []
  listing_words = changes.pop("listing", {})
  public = PublicSet(
    name="toy",
    title="Toy",
    roots=("Toy-v1", "toy/Toy-v1", "toy"),
    layout="train/<pid>.png",
    request="",
    terms="",
    citation="",
    list_items=list_items,
  )
  return dataclasses.replace(public, **changes), seen


@pytest.fixture
def read(tmp_path):
  def run(public, **options):
    return reading.read_public(public, str(tmp_path), name="n", options=options)

  return run


def names(records):
  return [record.path.removeprefix("/data/") for record in records]


def test_standard_use(read):
  dataset = read(make()[0])
  assert dataset.name == "n"
  assert names(dataset.train) == ["t1", "t2"]
  (record, _) = dataset.train
  assert (record.pid, record.camid, record.domain) == ("n/2", 1, "n")
  (fold,) = dataset.folds
  assert fold.name == "test"
  assert names(fold.query) == ["q1"]
  # Junk is gone, the distractor stays.
  assert names(fold.gallery) == ["g1", "g2"]
  provenance = dataset.provenance
  assert (provenance.public, provenance.protocol) == ("toy", "standard")
  assert provenance.origin == "the data set's own parts"
  assert provenance.notes == ()


def test_all_takes_every_image_of_a_person(read):
  dataset = read(make()[0], use="all")
  assert names(dataset.train) == ["g1", "q1", "t1", "t2"]
  assert dataset.folds == ()
  assert dataset.provenance.protocol == ""


def test_train_takes_the_train_part_alone(read):
  dataset = read(make()[0], use="train")
  assert names(dataset.train) == ["t1", "t2"]
  assert dataset.folds == ()


@pytest.mark.parametrize(
  ("use", "expected"),
  [("all", ["g1", "q1", "t1", "t2"]), ("train", ["t1", "t2"])],
)
def test_trained_items_show_persons(use, expected):
  items = (*ITEMS, item("t3", "0", "train", DISTRACTOR))
  trained = reading.trained_items(Listing("", items, {}), use)
  assert [i.name for i in trained] == expected


def test_roles_decide_and_not_the_part(read):
  items = tuple(
    i._replace(role=DISTRACTOR) if i.name in ("t1", "q1") else i for i in ITEMS
  )
  dataset = read(make(items)[0], partial="allow")
  assert names(dataset.train) == ["t2"]
  assert names(read(make(items)[0], partial="allow", use="all").train) == [
    "g1",
    "t2",
  ]
  assert dataset.folds[0].query == ()


@pytest.mark.parametrize(
  ("use", "items", "missing"),
  [
    ("train", ITEMS[:4], "no train part, so use=train"),
    ("standard", ITEMS[:3], "no train part, and no query and gallery, so"),
    ("standard", ITEMS[3:4], "no train part, and no query and gallery, so"),
  ],
)
def test_use_without_images(read, use, items, missing):
  with pytest.raises(UserError, match=missing) as caught:
    read(make(items)[0], use=use, partial="allow")
  assert "want train/<pid>.png; or add use=all" in str(caught.value)
  assert read(make(items)[0], use="all", partial="allow").train


def test_use_all_is_not_offered_where_it_is_not_known(read):
  public, _ = make(ITEMS[:4], uses=("train",))
  with pytest.raises(UserError) as caught:
    read(public, partial="allow")
  assert "use=all" not in str(caught.value)


def test_test_part_alone_is_a_target(read):
  dataset = read(make(ITEMS[:4])[0], partial="allow")
  assert dataset.train == ()
  assert len(dataset.folds) == 1


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (
      {"use": "some"},
      "use=some is unknown for toy; choose one of standard, al",
    ),
    (
      {"partial": "yes"},
      "partial=yes is unknown for toy; choose one of no, al",
    ),
    ({"kind": "c"}, "kind=c is unknown for toy; choose one of a, b."),
    ({"protocol": "p"}, "protocol=p is unknown for toy; choose one of q."),
  ],
)
def test_unknown_values(read, options, message):
  public, _ = make(options={"kind": ("a", "b")}, protocols=("q",))
  with pytest.raises(UserError, match=message):
    read(public, **options)


def test_options_reach_the_parser_with_defaults(read):
  public, seen = make(options={"kind": ("a", "b"), "other": ("x", "y")})
  read(public, other="y", use="all")
  assert seen[0][1] == {"kind": "a", "other": "y"}


def test_keys():
  assert reading.keys(make()[0]) == ("use", "partial")
  public, _ = make(options={"kind": ("a",)}, protocols=("p",), withdrawn="W.")
  assert reading.keys(public) == (
    "use",
    "kind",
    "partial",
    "protocol",
    "splits",
    "licensed_copy",
  )


def test_withdrawn_set_needs_the_key(read):
  public, seen = make(withdrawn="It was withdrawn.")
  with pytest.raises(
    UserError,
    match=r"^It was withdrawn\. If you hold .* licensed_copy=yes \(--i-have-a",
  ):
    read(public)
  assert seen == []
  dataset = read(public, licensed_copy="yes")
  assert dataset.provenance.notes == ("It was withdrawn.",)


def test_notes_follow_one_another(read):
  public, _ = make(ITEMS[:5], notes=("First.",), withdrawn="Second.")
  notes = read(public, licensed_copy="yes", partial="allow").provenance.notes
  assert notes[:2] == ("First.", "Second.")
  assert notes[2].startswith("toy is partial: train: expected 2 images")


def test_counts_are_judged(read):
  with pytest.raises(UserError, match=r"toy in .* is not the published"):
    read(make(ITEMS[:5])[0])


def test_variant_goes_into_the_provenance(read):
  public, _ = make(listing={"variant": "v2"})
  assert read(public).provenance.variant == "v2"


@pytest.mark.parametrize(
  ("present", "expected"),
  [
    ([], ""),
    (["toy"], "toy"),
    (["toy/Toy-v1"], "toy/Toy-v1"),
    (["toy/Toy-v1", "Toy-v1"], "Toy-v1"),
    (["other"], ""),
  ],
)
def test_root_under_an_accepted_name(tmp_path, read, present, expected):
  for folder in present:
    (tmp_path / folder).mkdir(parents=True)
  public, seen = make()
  read(public)
  assert seen[0][0] == str(tmp_path / expected)
  assert reading.find_root(public, str(tmp_path)) == str(tmp_path / expected)


def test_location_that_is_no_folder(tmp_path):
  public, _ = make()
  (tmp_path / "toy").touch()
  with pytest.raises(UserError, match=r"missing.* does not exist"):
    reading.find_root(public, str(tmp_path / "missing"))
  with pytest.raises(UserError, match="is not a folder"):
    reading.find_root(public, str(tmp_path / "toy"))
  # A file of an accepted name is no root.
  assert reading.find_root(public, str(tmp_path)) == str(tmp_path)


@pytest.mark.parametrize("items", [ITEMS[::-1], (*ITEMS, ITEMS[-1])])
def test_parser_must_sort_and_name_once(read, items):
  with pytest.raises(ValueError, match="items of toy are not sorted and"):
    read(make(items)[0])


def split_maker(seen, *folds):
  def make_splits(listing, protocol, place):
    seen.append((listing, protocol, place))
    return Splits(protocol, "made up", folds)

  return make_splits


def test_split_lists(read, monkeypatch):
  monkeypatch.setenv("HOME", "/home/nobody")
  seen: list = []
  folds = (
    FoldNames("one", ("q1",), ("g2", "g1")),
    FoldNames("two", ("g1",), ("q1", "g3")),
  )
  public, _ = make(protocols=("p", "q"), make_splits=split_maker(seen, *folds))
  dataset = read(public, splits="~/lists.json", protocol="q")
  ((listing, protocol, place),) = seen
  assert listing.items == ITEMS
  assert (protocol, place) == ("q", "/home/nobody/lists.json")
  assert [fold.name for fold in dataset.folds] == ["one", "two"]
  assert names(dataset.folds[0].gallery) == ["g2", "g1"]
  # Junk is left out even if a list names it.
  assert names(dataset.folds[1].gallery) == ["q1"]
  assert (dataset.provenance.protocol, dataset.provenance.origin) == (
    "q",
    "made up",
  )
  read(public)
  assert seen[1][1:] == ("p", "")


def test_split_lists_are_made_for_tests_only(read):
  seen: list = []
  public, _ = make(protocols=("p",), make_splits=split_maker(seen))
  read(public, use="all")
  read(public, use="train")
  assert seen == []


def test_split_lists_name_images_that_are_not_there(read):
  fold = FoldNames("one", ("q1", "q2"), ("g1", "g0", "q2"))
  public, _ = make(protocols=("p",), make_splits=split_maker([], fold))
  with pytest.raises(
    UserError,
    match=r"split lists of n \(made up\) name 2 images that are not in .*, "
    r"first g0; complete .* partial=allow",
  ):
    read(public)
  dataset = read(public, partial="allow")
  assert names(dataset.folds[0].query) == ["q1"]
  assert names(dataset.folds[0].gallery) == ["g1"]
  assert dataset.provenance.notes == (
    "n is partial: 2 images of its split lists are missing",
  )


def test_published_count_of_another_group(read):
  public, _ = make()
  found = Listing("/r", ITEMS, {"train": Count(9, 9)})
  with pytest.raises(UserError, match="train: expected 9 images of 9 persons"):
    reading.dataset_from_listing(public, found, name="n", options={})
