"""Every public data set, in miniature, through the test of TFDS itself."""

from __future__ import annotations

import collections
import dataclasses
import importlib
import pathlib
import tempfile
from typing import Any
from unittest import mock

import prepared_sets
import pytest

from metabin_jax.data import tfds_reader
from metabin_jax.data.public import definition, reading
from metabin_jax.data.public.registry import PUBLIC_SETS

tfds = pytest.importorskip("tensorflow_datasets")

from metabin_jax.data.tfds_builders import BUILDERS  # noqa: E402

_MINIATURES = {"3dpes": "threedpes"}
_LICENCE = {reading.LICENSED: "yes"}
# Images inside other files, lists beside the images, and links.
_PACKAGINGS = (
  ("cuhk03", "mat"),
  ("cuhk_sysu", "own"),
  ("grid", "list"),
  ("ilids", "list"),
  ("prid", "list"),
  ("viper", "both"),
)


def build(name: str, folder: pathlib.Path, *variant: str) -> pathlib.Path:
  module = importlib.import_module(f"miniatures.{_MINIATURES.get(name, name)}")
  return module.build(folder, *variant)


def as_published(
  public: definition.PublicSet,
) -> definition.PublicSet:
  """The set with the numbers that are there for the published ones."""

  def list_items(root, options):
    found = public.list_items(root, options)
    return dataclasses.replace(
      found, expected=definition.tally(found.items), missing=(), unknown=()
    )

  return dataclasses.replace(public, list_items=list_items)


class _PublicCase:
  NAME: str
  SPLITS: dict[str, int]
  SKIP_CHECKSUMS = True
  BUILDER_CONFIG_NAMES_TO_TEST: list[str]

  @classmethod
  def setUpClass(cls: Any):
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    root = build(cls.NAME, pathlib.Path(folder.name, "data"))
    cls.EXAMPLE_DIR = str(root.parent)
    cache = {"METABIN_CACHE": f"{folder.name}/cache"}
    builder = BUILDERS[cls.NAME]
    public = as_published(builder.PUBLIC)
    for patch in (
      mock.patch.dict("os.environ", cache),
      mock.patch.object(builder, "PUBLIC", public),
    ):
      patch.start()
      cls.addClassCleanup(patch.stop)
    found = reading.list_items(public, str(root), _LICENCE)
    cls.SPLITS = dict(collections.Counter(item.part for item in found.items))
    super().setUpClass()

  def _make_builder(self: Any, config=None):
    return self.dataset_class(
      data_dir=self.tmp_dir, config=config, licensed_copy=True
    )


def _case(name: str) -> Any:
  builder = BUILDERS[name]
  words = {"NAME": name, "DATASET_CLASS": builder, "__module__": __name__}
  if builder.BUILDER_CONFIGS:
    words["BUILDER_CONFIG_NAMES_TO_TEST"] = [builder.BUILDER_CONFIGS[0].name]
  bases = (_PublicCase, tfds.testing.DatasetBuilderTestCase)
  return type(f"Test_{name}", bases, words)


for _name in sorted(PUBLIC_SETS):
  globals()[f"Test_{_name}"] = _case(_name)


def test_every_public_set_has_a_builder():
  assert set(BUILDERS) == set(PUBLIC_SETS)
  for name, builder in BUILDERS.items():
    assert builder.PUBLIC is PUBLIC_SETS[name]
    assert tfds.builder_cls(builder.name) is builder


@pytest.mark.parametrize(
  ("name", "variant"),
  [*((name, "") for name in sorted(PUBLIC_SETS)), *_PACKAGINGS],
)
def test_read_back_as_the_parser_reads_it(name, variant, tmp_path, monkeypatch):
  monkeypatch.setenv("METABIN_CACHE", str(tmp_path / "cache"))
  public = as_published(PUBLIC_SETS[name])
  monkeypatch.setattr(BUILDERS[name], "PUBLIC", public)
  root = build(name, tmp_path, *filter(None, [variant]))
  before = prepared_sets.files_below(root)
  builder = prepared_sets.prepare(
    BUILDERS[name], tmp_path, tmp_path / "tfds", licensed_copy=True
  )
  for options in ({"use": use} for use in public.uses):
    options |= _LICENCE
    wanted = reading.read_public(
      public, str(root), name="same", options=options
    )
    found = tfds_reader.read_tfds(
      str(builder.data_path), name="same", options=options
    )
    prepared_sets.assert_same(found, wanted)
  assert prepared_sets.files_below(root) == before
