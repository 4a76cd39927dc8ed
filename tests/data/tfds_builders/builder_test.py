from __future__ import annotations

import dataclasses
import pathlib
import socket
import tempfile

import prepared_sets
import pytest
import toy_set

from metabin_jax.data import pool
from metabin_jax.data.public import reading
from metabin_jax.data.public.definition import Count
from metabin_jax.errors import UserError

tfds = pytest.importorskip("tensorflow_datasets")

from metabin_jax.data.tfds_builders import builder as builders  # noqa: E402

WITHDRAWN = "Toy was withdrawn by its authors."


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  return toy_set.build(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def toy(root, tmp_path_factory):
  """The toy set, prepared, and the folder above."""
  data_dir = tmp_path_factory.mktemp("tfds")
  return prepared_sets.prepare(
    prepared_sets.builder_of("TOY"), root.parent, data_dir
  )


@pytest.fixture
def changed(monkeypatch):
  """changed(**words) -> the builder of a toy set that differs in these."""

  def change(**words):
    cls = prepared_sets.builder_of("TOY")
    monkeypatch.setattr(cls, "PUBLIC", dataclasses.replace(cls.PUBLIC, **words))
    return cls

  return change


def examples(builder, split):
  encoded = {"image": tfds.decode.SkipDecoding()}
  return list(tfds.as_numpy(builder.as_dataset(split=split, decoders=encoded)))


class ToyTest(tfds.testing.DatasetBuilderTestCase):
  DATASET_CLASS = prepared_sets.builder_of("TOY")
  SPLITS = {"train": 5, "query": 3, "gallery": 3}  # noqa: RUF012
  SKIP_CHECKSUMS = True

  @classmethod
  def setUpClass(cls):
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    toy_set.build(pathlib.Path(folder.name))
    cls.EXAMPLE_DIR = folder.name
    super().setUpClass()


def test_one_example_for_each_file_in_the_order_of_names(toy, root):
  found = reading.list_items(toy_set.TOY, str(root), {})
  assert set(toy.info.splits) == {"train", "query", "gallery"}
  for part in toy.info.splits:
    items = [item for item in found.items if item.part == part]
    rows = examples(toy, part)
    assert len(rows) == len(items) > 0
    for row, item in zip(rows, items, strict=True):
      assert row["image"] == pathlib.Path(item.path).read_bytes()
      assert row["filename"].decode() == item.name
      assert row["pid"].decode() == item.pid
      assert row["camid"] == item.camid
      assert row["part"].decode() == part
      assert row["role"].decode() == item.role
      assert row["domain"] == b"toy_reid"


def test_junk_and_distractors_stay(toy):
  roles = [
    row["role"].decode()
    for part in ("gallery", "query", "train")
    for row in examples(toy, part)
  ]
  assert sorted(roles) == ["distractor", "junk", "junk"] + ["person"] * 8


def test_labels_are_the_classes_of_training(toy, root):
  labels = {
    row["filename"].decode(): int(row["label"])
    for part in toy.info.splits
    for row in examples(toy, part)
  }
  trained = reading.read_public(
    toy_set.TOY, str(root), name="toy_reid", options={}
  ).train
  classes = pool.create_pool(trained).pid
  for record, number in zip(trained, classes, strict=True):
    name = "/".join(pathlib.Path(record.path).parts[-2:])
    assert labels.pop(name) == number
  assert sorted(set(classes)) == [0, 1, 2]
  assert set(labels.values()) == {-1}


def test_labels_of_a_set_that_is_all_training_data(changed, root, tmp_path):
  builder = prepared_sets.prepare(changed(uses=("all",)), root, tmp_path)
  label_of = {
    row["pid"].decode(): int(row["label"])
    for part in builder.info.splits
    for row in examples(builder, part)
  }
  # Sorted as text.
  assert label_of == {
    "10": 0, "11": 1, "12": 2, "3": 3, "7": 4, "-1": -1, "0": -1,
  }  # fmt: skip


def test_every_value_of_the_first_option_has_a_configuration(root, tmp_path):
  cls = prepared_sets.builder_of("TOY")
  assert list(cls.builder_configs) == ["detected", "labeled"]
  assert cls(data_dir=tmp_path).builder_config.name == "detected"
  builder = prepared_sets.prepare(cls, root, tmp_path, config="labeled")
  row = examples(builder, "train")[0]
  path = root / "labeled" / row["filename"].decode()
  assert row["image"] == path.read_bytes()
  assert builder.info.metadata["variant"] == "labeled"


def test_set_without_options_has_no_configuration():
  plain = dataclasses.replace(toy_set.TOY, name="plain_toy", options={})
  cls = builders.make_builder(plain)
  assert cls.__name__ == "PlainToy"
  assert not cls.BUILDER_CONFIGS


def test_yes_and_no_are_no_names_of_configurations():
  options = {"val": ("yes", "no"), "other": ("1", "2")}
  toy = dataclasses.replace(toy_set.TOY, name="yes_toy", options=options)
  configs = builders.make_builder(toy).builder_configs
  assert list(configs) == ["val_yes", "val_no"]
  assert configs["val_no"].options == {"val": "no"}


def test_configuration_of_the_user(root, tmp_path):
  mine = builders.ReidConfig(name="mine", options={"type": "labeled"})
  cls = prepared_sets.builder_of("TOY")
  builder = prepared_sets.prepare(cls, root, tmp_path, config=mine)
  assert builder.data_path == tmp_path / "toy_reid" / "mine" / "1.0.0"
  assert builder.info.metadata["variant"] == "labeled"
  wrong = builders.ReidConfig(name="wrong", options={"type": "other"})
  with pytest.raises(UserError, match="type=other is unknown"):
    prepared_sets.prepare(cls, root, tmp_path, config=wrong)


def test_name_that_begins_with_a_digit(root, tmp_path):
  toy = dataclasses.replace(toy_set.TOY, name="3toys")
  cls = builders.make_builder(toy)
  prepared_sets.prepare(cls, root, tmp_path)
  builder = tfds.builder("reid_3toys", data_dir=tmp_path)
  assert type(builder) is cls
  assert examples(builder, "query")[0]["domain"] == b"3toys"
  assert builder.info.metadata["public"] == "3toys"


def test_found_by_name(toy):
  builder = tfds.builder("toy_reid", data_dir=toy.data_dir_root)
  assert type(builder) is prepared_sets.builder_of("TOY")
  assert builder.is_prepared()


def test_images_decode(toy):
  sizes = {row["image"].shape for row in tfds.as_numpy(toy.as_dataset("query"))}
  assert sizes == {(12, 6, 3)}


def test_preparing_twice_writes_the_same(toy, root, tmp_path):
  again = prepared_sets.prepare(type(toy), root, tmp_path)
  first = prepared_sets.files_below(toy.data_path)
  second = prepared_sets.files_below(again.data_path)
  # The description of the data set has no place for its paths or its date.
  assert first == second


def test_user_folder_is_left_alone_and_nothing_is_fetched(
  root, tmp_path, monkeypatch
):
  def refuse(*args, **words):
    raise AssertionError(f"network: {args} {words}")

  monkeypatch.setattr(socket.socket, "connect", refuse)
  monkeypatch.setattr(socket, "getaddrinfo", refuse)
  before = prepared_sets.files_below(root)
  prepared_sets.prepare(prepared_sets.builder_of("TOY"), root, tmp_path)
  assert prepared_sets.files_below(root) == before


def test_wrong_counts_leave_nothing_behind(root, tmp_path, monkeypatch):
  wrong = {**toy_set.EXPECTED, "train": Count(5, 4)}
  monkeypatch.setattr(toy_set, "EXPECTED", wrong)
  cls = prepared_sets.builder_of("TOY")
  with pytest.raises(UserError, match="train: expected 5 images of 4 persons,"):
    prepared_sets.prepare(cls, root, tmp_path)
  assert not cls(data_dir=tmp_path).is_prepared()


def test_partial_data_do_not_pass_for_the_published_set(
  root, tmp_path, monkeypatch
):
  wrong = {**toy_set.EXPECTED, "train": Count(5, 4)}
  monkeypatch.setattr(toy_set, "EXPECTED", wrong)
  cls = prepared_sets.builder_of("TOY")
  partial = prepared_sets.prepare(cls, root, tmp_path, allow_partial=True)
  assert partial.info.splits["train"].num_examples == 5
  assert partial.builder_config.name == "detected_partial"
  assert not cls(data_dir=tmp_path).is_prepared()
  named = cls(data_dir=tmp_path, allow_partial=True, config="labeled")
  assert named.builder_config.name == "labeled_partial"
  assert named.builder_config.options == {"type": "labeled"}
  with pytest.raises(UserError, match="choose one of detected, labeled"):
    cls(data_dir=tmp_path, allow_partial=True, config="other")


def test_partial_without_options(tmp_path):
  plain = dataclasses.replace(toy_set.TOY, name="partial_toy", options={})
  builder = builders.make_builder(plain)(data_dir=tmp_path, allow_partial=True)
  assert builder.data_path == tmp_path / "partial_toy" / "partial" / "1.0.0"


def test_withdrawn_set_needs_a_licence(changed, root, tmp_path):
  cls = changed(withdrawn=WITHDRAWN)
  with pytest.raises(UserError, match=f"{WITHDRAWN} .*licensed_copy=True"):
    prepared_sets.prepare(cls, root, tmp_path)
  builder = prepared_sets.prepare(cls, root, tmp_path, licensed_copy=True)
  assert builder.info.description == f"Toy. {WITHDRAWN} {toy_set.NOTE}"


def test_missing_folder_gives_the_instructions(tmp_path):
  with pytest.raises(AssertionError) as caught:
    prepared_sets.prepare(
      prepared_sets.builder_of("TOY"), tmp_path / "none", tmp_path
    )
  for text in (
    "holds it as Toy or toy.",
    "Layout: detected/ and labeled/.",
    "Request: the toy shop.",
    "Terms: Play fair.",
  ):
    assert text in str(caught.value)


def test_instructions_say_that_the_set_was_withdrawn():
  toy = dataclasses.replace(toy_set.TOY, name="gone", withdrawn=WITHDRAWN)
  assert WITHDRAWN in builders.make_builder(toy).MANUAL_DOWNLOAD_INSTRUCTIONS


def test_description_citation_and_terms(toy):
  assert toy.info.description == f"Toy. {toy_set.NOTE}"
  assert toy.info.citation == "Nobody, Toys, 2026"
  assert toy.info.redistribution_info.license == "Play fair."
