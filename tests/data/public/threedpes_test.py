from __future__ import annotations

import shutil

import pytest

from metabin_jax.data.public import reading, threedpes
from metabin_jax.data.public.threedpes import GRAMMAR, THREEDPES
from metabin_jax.errors import UserError


def read(root, **options):
  return reading.read_public(THREEDPES, str(root), name="p3", options=options)


def listed(root):
  return reading.list_items(THREEDPES, str(root), {})


@pytest.mark.parametrize(
  ("name", "pid"),
  [
    ("100_3_FRAME_25_RGB.bmp", "100"),
    ("1_2_.bmp", "1"),
    ("1_2.bmp", None),
    ("a_2_x.bmp", None),
    ("1_2_x.png", None),
  ],
)
def test_grammar(name, pid):
  found = GRAMMAR.fullmatch(name)
  assert (found["pid"] if found else None) == pid


@pytest.mark.parametrize(("variant", "kind"), [("", "folders"), ("RGB", "RGB")])
@pytest.mark.parametrize("use", THREEDPES.uses)
def test_all_is_training_data(
  miniature, monkeypatch, counts_of, variant, kind, use
):
  root = miniature("threedpes", variant)
  monkeypatch.setattr(threedpes, "EXPECTED", counts_of(THREEDPES, root))
  dataset = read(root, use=use)
  assert len(dataset.train) == 18
  assert dataset.folds == ()
  assert {r.pid for r in dataset.train} == {
    f"p3/{person}" for person in (1, 2, 4, 5, 10, 21)
  }
  assert {r.camid for r in dataset.train} == {-1}
  assert dataset.provenance.variant == kind
  assert dataset.provenance.notes == ()


def test_names(miniature):
  by_person = listed(miniature("threedpes"))
  assert by_person.items[0].name == "1/1_1_FRAME_10_RGB.bmp"
  flat = listed(miniature("threedpes", "RGB"))
  assert flat.items[0].name == "RGB/10_1_FRAME_10_RGB.bmp"
  assert flat.items[0].pid == "10"


def test_wrong_counts_and_names(miniature, tmp_path):
  copy = shutil.copytree(miniature("threedpes"), tmp_path / "3DPeS")
  (copy / "1" / "a.jpg").touch()
  (copy / "masks").mkdir()
  (copy / "masks" / "1_1_FRAME_10_mask.bmp").touch()
  message = (
    r"3dpes \(folders\) in .*expected 1,012 images of 193 persons, found 18 "
    r"images of 6 persons; 1 unknown: 1/a\.jpg"
  )
  with pytest.raises(UserError, match=message):
    read(tmp_path)


def test_both_packagings_are_refused(miniature, tmp_path):
  copy = shutil.copytree(miniature("threedpes"), tmp_path / "3DPeS")
  shutil.copytree(miniature("threedpes", "RGB") / "RGB", copy / "RGB")
  with pytest.raises(UserError, match="holds 3DPeS twice"):
    listed(copy)


def test_another_folder(tmp_path):
  (tmp_path / "masks").mkdir()
  with pytest.raises(UserError, match=r"no folder RGB or <person>.*masks"):
    listed(tmp_path)
