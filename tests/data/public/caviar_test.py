from __future__ import annotations

import shutil

import pytest

from metabin_jax.data.public import caviar, reading
from metabin_jax.data.public.caviar import CAVIAR, GRAMMAR
from metabin_jax.errors import UserError


@pytest.fixture
def root(miniature):
  return miniature("caviar")


def read(root, **options):
  return reading.read_public(CAVIAR, str(root), name="cv", options=options)


@pytest.mark.parametrize(
  ("name", "pid"),
  [
    ("0001001.jpg", "0001"),
    ("0072020.jpg", "0072"),
    ("001001.jpg", None),
    ("00010011.jpg", None),
    ("0001001.png", None),
  ],
)
def test_grammar(name, pid):
  found = GRAMMAR.fullmatch(name)
  assert (found["pid"] if found else None) == pid


@pytest.mark.parametrize("use", CAVIAR.uses)
def test_all_is_training_data(root, monkeypatch, counts_of, use):
  monkeypatch.setattr(caviar, "EXPECTED", counts_of(CAVIAR, root))
  dataset = read(root, use=use)
  assert len(dataset.train) == 20
  assert dataset.folds == ()
  assert {r.pid for r in dataset.train} == {
    f"cv/000{person}" for person in (1, 2, 3, 5, 6, 8)
  }
  assert {r.camid for r in dataset.train} == {-1}
  assert dataset.train[0].path == str(root / "0001001.jpg")
  assert dataset.provenance.notes == ()


def test_the_published_set(tmp_path, monkeypatch):
  (tmp_path / "CAVIAR4REID" / "CAVIARa").mkdir(parents=True)
  images = {person: 20 if person <= 50 else 10 for person in range(1, 73)}
  names = [
    f"{p:04d}{i:03d}.jpg" for p in images for i in range(1, images[p] + 1)
  ]

  def list_folder(folder):
    return (names if folder.endswith("CAVIARa") else []), [], 0

  monkeypatch.setattr(caviar, "list_folder", list_folder)
  assert len(read(tmp_path).train) == 1220
  assert len(read(tmp_path / "CAVIAR4REID").train) == 1220


def test_wrong_counts_and_names(root, tmp_path):
  copy = shutil.copytree(root, tmp_path / "CAVIARa")
  (copy / "0001.jpg").touch()
  message = (
    "expected 1,220 images of 72 persons, found 20 images of 6 persons; 1 "
    r"unknown: 0001\.jpg"
  )
  with pytest.raises(UserError, match=message):
    read(copy)
  assert len(read(copy, partial="allow").train) == 20
