from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tiny_run

from metabin_jax.errors import UserError
from metabin_jax.evaluation.embedding_file import Embeddings
from metabin_jax.runtime import file_lock, gallery_index
from metabin_jax.runtime.gallery import Gallery
from metabin_jax.runtime.gallery_index import GalleryIndex

DIM = 6
CARD = {
  "model": {"run": "a", "step": 3, "sha256": "00", "last_stride": 1},
  "input": {"height_px": 64, "width_px": 32, "mean": [1.0, 2.0, 3.0]},
  "embedding": {"dim": DIM, "metric": "cosine", "flip": False},
}


def embeddings(names, seed=0, card=CARD):
  random = np.random.default_rng(seed)
  vectors = random.normal(size=(len(names), DIM)).astype(np.float32)
  return Embeddings(
    tuple(names),
    vectors,
    tuple(f"p{i}" for i in range(len(names))),
    np.arange(len(names)),
    card,
  )


def cosines(one, other):
  one, other = (
    v / np.linalg.norm(v, axis=1, keepdims=True) for v in (one, other)
  )
  return one @ other.T


@pytest.fixture(name="folder")
def folder_fixture(tmp_path):
  return tmp_path / "index"


def names_of(hits):
  return [hit.name for hit in hits]


def test_finds_what_sorting_finds(folder):
  index = GalleryIndex.create(folder, CARD)
  first = embeddings([f"a{i}" for i in range(20)], 1)
  second = embeddings([f"b{i}" for i in range(7)], 2)
  index.append(first)
  index.append(second)
  assert len(index) == 27
  queries = embeddings(["q0", "q1", "q2"], 3)
  found = GalleryIndex(folder).search(queries, 5)
  every = (*first.names, *second.names)
  scores = cosines(
    queries.vectors, np.concatenate([first.vectors, second.vectors])
  )
  for hits, row in zip(found, scores, strict=True):
    order = np.argsort(-row)[:5]
    assert names_of(hits) == [every[i] for i in order]
    np.testing.assert_allclose(
      [hit.score for hit in hits], row[order], rtol=1e-5
    )
  hit = index.search(Embeddings(*second)._replace(names=tuple("ABCDEFG")), 1)[4]
  assert (hit[0].name, hit[0].pid, hit[0].camid) == ("b4", "p4", 4)
  assert hit[0].score == pytest.approx(1, abs=1e-6)


def test_half_precision_takes_half_the_space(folder, tmp_path):
  sizes = {}
  for dtype in gallery_index.DTYPES:
    index = GalleryIndex.create(tmp_path / dtype, CARD, dtype=dtype)
    found = embeddings([f"a{i}" for i in range(30)], 1)
    index.append(found)
    sizes[dtype] = (tmp_path / dtype / "000000.vectors").stat().st_size
    (hits,) = index.search(embeddings(["q"], 9), 30)
    want = cosines(embeddings(["q"], 9).vectors, found.vectors)[0]
    got = {hit.name: hit.score for hit in hits}
    np.testing.assert_allclose(
      [got[name] for name in found.names],
      want,
      atol=2e-3 if dtype == "float16" else 1e-6,
    )
  assert sizes == {"float32": 30 * DIM * 4, "float16": 30 * DIM * 2}


def test_appending_writes_nothing_again(folder):
  index = GalleryIndex.create(folder, CARD)
  index.append(embeddings([f"a{i}" for i in range(9)]))
  before = {p.name: p.stat() for p in folder.iterdir()}
  index.append(embeddings(["b"], 5))
  after = {p.name: p.stat() for p in folder.iterdir()}
  new = set(after) - set(before)
  assert new == {"000001.vectors", "000001.json"}
  for name in ("000000.vectors", "000000.json"):
    assert after[name].st_mtime_ns == before[name].st_mtime_ns
    assert after[name].st_ino == before[name].st_ino


def test_removed_images_are_not_found_and_can_come_again(folder):
  index = GalleryIndex.create(folder, CARD)
  index.append(embeddings(["a", "b", "c"], 1))
  index.remove(["b"])
  assert index.names == ["a", "c"]
  assert names_of(index.search(embeddings(["q"]), 9)[0]).count("b") == 0
  with pytest.raises(UserError, match=r"1 names are not in .* \(b\); nothing"):
    index.remove(["a", "b"])
  assert index.names == ["a", "c"]
  index.append(embeddings(["b"], 7))
  index.remove(["a"])
  again = GalleryIndex(folder)
  assert again.names == ["c", "b"]
  hits = again.search(embeddings(["q"], 7)._replace(names=("q",)), 1)[0]
  assert (hits[0].name, round(hits[0].score, 6)) == ("b", 1)


def test_compacting_changes_no_answer(folder):
  index = GalleryIndex.create(folder, CARD, dtype="float16")
  for part in range(3):
    index.append(embeddings([f"{part}-{i}" for i in range(10)], part))
  index.remove([f"1-{i}" for i in range(10)])
  index.remove(["0-3", "2-9"])
  queries = embeddings(["q0", "q1"], 40)
  before = index.search(queries, 12)
  index.compact()
  assert GalleryIndex(folder).search(queries, 12) == before
  assert len(index) == 18
  found = sorted(entry.name for entry in folder.iterdir())
  assert len([name for name in found if name.endswith(".vectors")]) == 1
  assert not [name for name in found if name.startswith("removed")]


def test_what_does_not_belong_together_is_refused(folder):
  index = GalleryIndex.create(folder, CARD)
  index.append(embeddings(["a", "b"]))
  with pytest.raises(UserError, match=r"2 names are in .* already \(a, b\)"):
    index.append(embeddings(["a", "b", "c"]))
  other = {**CARD, "model": {"run": "b", "step": 9, "sha256": "11"}}
  # A card of before `last_stride` was in it.
  older = {**CARD, "model": {"run": "a", "step": 3, "sha256": "00"}}
  assert index.search(embeddings(["a"], card=older), 1)[0][0].name == "a"
  for change in (index.append, index.search):
    with pytest.raises(UserError, match=r"of run b at step 9 .* two networks"):
      change(embeddings(["x"], card=other))
  for section, key, value in (
    ("embedding", "flip", True),
    ("input", "height_px", 256),
    ("model", "last_stride", 2),
  ):
    changed = {**CARD, section: {**CARD[section], key: value}}
    said = rf"\({key} {CARD[section][key]} against {value}\)"
    for change in (index.append, index.search):
      with pytest.raises(UserError, match=said):
        change(embeddings(["x"], card=changed))
    with pytest.raises(UserError, match=said):
      Gallery(embeddings(["a"])).search(embeddings(["x"], card=changed))
  with pytest.raises(UserError, match="two embeddings have one name"):
    index.append(embeddings(["x", "x"]))
  zero = embeddings(["x", "y"])
  zero.vectors[1] = 0
  with pytest.raises(
    UserError, match=r"the embedding of y is zero or not finite"
  ):
    index.append(zero)
  assert GalleryIndex(folder).names == ["a", "b"]
  assert len(list(folder.glob("*.vectors"))) == 1
  with pytest.raises(UserError, match="is not empty; name a new folder"):
    GalleryIndex.create(folder, CARD)
  with pytest.raises(UserError, match="dtype is 'int8'"):
    GalleryIndex.create(folder.parent / "new", CARD, dtype="int8")
  with pytest.raises(UserError, match="is no index; make one"):
    GalleryIndex(folder.parent)


@pytest.mark.parametrize("field", ["names", "pids", "camids"])
def test_labels_of_another_number_are_refused(folder, field):
  index = GalleryIndex.create(folder, CARD)
  index.append(embeddings(["a", "b"]))
  short = embeddings(["x", "y", "z"])
  short = short._replace(**{field: getattr(short, field)[:2]})
  with pytest.raises(UserError, match="3 embeddings come with"):
    index.append(short)
  with pytest.raises(UserError, match="3 embeddings come with"):
    Gallery(short)
  assert GalleryIndex(folder).names == ["a", "b"]


def test_files_of_others_stay(folder):
  index = GalleryIndex.create(folder, CARD)
  (folder / "tuesday.npz").write_text("mine")
  (folder / "notes").mkdir()
  (folder / "000009.vectors").write_text("left by a process that was killed")
  index.append(embeddings(["a", "b"]))
  index.remove(["a"])
  index.compact()
  assert (folder / "tuesday.npz").read_text() == "mine"
  assert (folder / "notes").is_dir()
  assert not (folder / "000009.vectors").exists()


def test_a_change_is_made_whole_or_not_at_all(folder):
  index = GalleryIndex.create(folder, CARD)
  index.append(embeddings(["a", "b", "c"]))
  with pytest.raises(UserError, match="1 names are in"):
    index.change(add=embeddings(["x", "b"]), remove=["a"])
  with pytest.raises(UserError, match="1 names are not in"):
    index.change(add=embeddings(["x"]), remove=["a", "y"])
  assert GalleryIndex(folder).names == ["a", "b", "c"]
  index.change(add=embeddings(["x", "a"], 4), remove=["a", "b"])
  assert GalleryIndex(folder).names == ["c", "x", "a"]


@pytest.mark.parametrize("dtype", gallery_index.DTYPES)
def test_cosines_stay_in_their_range(folder, dtype):
  """Rows of half precision are up to 1e-3 too long."""
  index = GalleryIndex.create(folder, CARD, dtype=dtype)
  found = embeddings([f"a{i}" for i in range(200)], 1)
  index.append(found)
  for gallery in (index, Gallery(found)):
    best = [hits[0].score for hits in gallery.search(found, 1)]
    assert max(best) <= 1
    assert min(best) > 1 - 2e-3
    opposite = found._replace(vectors=-found.vectors)
    worst = [hits[-1].score for hits in gallery.search(opposite, 200)]
    assert min(worst) >= -1


def test_more_hits_than_images(folder):
  index = GalleryIndex.create(folder, CARD)
  assert index.search(embeddings(["q"]), 5) == [[]]
  index.append(embeddings(["a", "b", "c"]))
  index.remove(["a"])
  for gallery in (index, Gallery(embeddings(["b", "c"]))):
    assert len(gallery.search(embeddings(["q"]), 10**11)[0]) == 2


# Dies when vectors and labels are written and the index does not name them yet.
KILLED = """
import os, signal, sys
sys.path[:0] = [sys.argv[2]]
import gallery_index_test as test
from metabin_jax.runtime import gallery_index
index = gallery_index.GalleryIndex(sys.argv[1])
def die(*unused):
  os.kill(os.getpid(), signal.SIGKILL)
gallery_index.save_json = die
index.append(test.embeddings(["x", "y"], 5))
"""


def test_a_killed_append_leaves_the_index_as_it_was(folder):
  index = GalleryIndex.create(folder, CARD)
  index.append(embeddings(["a", "b"]))
  queries = embeddings(["q"], 3)
  before = index.search(queries, 5)
  tests = str(tiny_run.REPOSITORY / "tests")
  killed = subprocess.run(
    [sys.executable, "-c", KILLED, str(folder), f"{tests}/runtime"],
    cwd=tiny_run.REPOSITORY,
    env={**os.environ, "PYTHONPATH": os.pathsep.join([".", tests])},
    capture_output=True,
    check=False,
  )
  assert killed.returncode == -signal.SIGKILL, killed.stderr
  assert (folder / "000001.vectors").exists()
  again = GalleryIndex(folder)
  assert again.search(queries, 5) == before
  again.append(embeddings(["x"], 6))
  assert GalleryIndex(folder).names == ["a", "b", "x"]
  assert len(list(folder.glob("*.vectors"))) == 2


def test_one_process_at_a_time_changes_an_index(folder):
  index = GalleryIndex.create(folder, CARD)
  with file_lock.hold(folder / "lock"):
    with pytest.raises(UserError, match="is being changed by process"):
      index.append(embeddings(["a"]))
  index.append(embeddings(["a"]))
  # A second reader sees what the first has added before it adds its own.
  one, two = GalleryIndex(folder), GalleryIndex(folder)
  one.append(embeddings(["b"], 2))
  two.append(embeddings(["c"], 3))
  assert GalleryIndex(folder).names == ["a", "b", "c"]


def test_damage_is_said(folder):
  index = GalleryIndex.create(folder, CARD)
  index.append(embeddings(["a", "b"]))
  vectors = folder / "000000.vectors"
  vectors.write_bytes(vectors.read_bytes()[:-1])
  with pytest.raises(
    UserError, match=r"damaged \(000000\.vectors is too short"
  ):
    index.search(embeddings(["q"]))
  vectors.unlink()
  with pytest.raises(
    UserError, match=r"000000\.vectors is missing; if another"
  ):
    index.search(embeddings(["q"]))
  labels = folder / "000000.json"
  found = json.loads(labels.read_text())
  labels.write_text(json.dumps({**found, "names": ["a"]}))
  with pytest.raises(UserError, match="has another number of images"):
    GalleryIndex(folder)
  labels.unlink()
  with pytest.raises(UserError, match=r"000000\.json is missing"):
    GalleryIndex(folder)
  (folder / "index.json").write_text("{")
  with pytest.raises(UserError, match="is damaged"):
    GalleryIndex(folder)
