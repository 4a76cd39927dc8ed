"""The map of embeddings: which images, which layout, what is drawn."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tiny_run

from metabin_jax.data import readers
from metabin_jax.data.images import load_image
from metabin_jax.data.records import Fold, Record
from metabin_jax.errors import UserError
from metabin_jax.evaluation import extract
from metabin_jax.report import embedding_map, runs
from metabin_jax.runtime import scoring

pytest.importorskip("sklearn")


@pytest.fixture(name="run", scope="module")
def run_fixture():
  return runs.find_runs([tiny_run.finished()])[0]


def groups(number, each=20):
  """Well-separated groups of rows."""
  random = np.random.default_rng(0)
  centres = 20 * np.eye(number, 8)
  return np.repeat(centres, each, 0) + random.normal(size=(number * each, 8))


def test_groups_stay_together():
  rows = groups(3)
  places = embedding_map.lay_out(rows)
  assert places.shape == (60, 2)
  label = np.repeat(np.arange(3), 20)
  distance = np.linalg.norm(places[:, None] - places, axis=-1)
  np.fill_diagonal(distance, np.inf)
  assert (label[distance.argmin(1)] == label).all()
  np.testing.assert_array_equal(places, embedding_map.lay_out(rows))


def test_few_images_are_laid_out_too():
  assert embedding_map.lay_out(groups(2, 2)).shape == (4, 2)
  with pytest.raises(UserError, match="at least 4 images, the targets have 3"):
    embedding_map.lay_out(groups(3, 1))


def test_a_collapsed_network_is_refused():
  with pytest.raises(UserError, match="same embedding"):
    embedding_map.lay_out(np.ones((20, 8), np.float32))


def make_fold(persons, images=5, distractors=0):
  query = [Record(f"q{p}", f"p{p}", 0, "d") for p in range(persons)]
  gallery = [
    Record(f"g{p}-{i}", f"p{p}", 1, "d")
    for p in range(persons)
    for i in range(images)
  ]
  gallery += [Record(f"d{i}", "nobody", 1, "d") for i in range(distractors)]
  return Fold("f", tuple(query), tuple(gallery))


def test_a_small_fold_stays_whole():
  fold = make_fold(4, distractors=3)
  assert embedding_map.choose(fold, 27) is fold


def test_a_large_fold_is_thinned_to_whole_persons():
  fold = make_fold(10, distractors=40)
  small = embedding_map.choose(fold, 31)
  persons = {record.pid for record in small.query}
  assert len(small.query) == len(persons) == 5
  assert len(small.gallery) == 25
  assert {record.pid for record in small.gallery} == persons
  assert persons != {f"p{p}" for p in range(5)}, "drawn at random"
  assert small == embedding_map.choose(fold, 31)
  # One person stays, however many images there are of it.
  assert len(embedding_map.choose(fold, 3).query) == 1


def test_points_of_a_run(run):
  data = embedding_map.load(run, runs.Options(step=4))
  assert data.step == 4
  assert len(data.points) == 15
  roles = [point.role for point in data.points]
  assert roles == ["query"] * 5 + ["gallery"] * 10
  assert {point.target for point in data.points} == {"test"}
  assert data.points[0].pid.startswith("test/x")
  rows = list(embedding_map.rows("mine", data))
  assert rows[0] == ("mine", 4, *data.points[0])
  assert len(rows[0]) == len(embedding_map.HEADER)


def test_embeddings_are_the_ones_that_are_scored(run, monkeypatch):
  seen = []

  def lay_out(embeddings):
    seen.append(embeddings)
    return np.zeros((len(embeddings), 2))

  monkeypatch.setattr(embedding_map, "lay_out", lay_out)
  data = embedding_map.load(run, runs.Options())
  loaded = scoring.load_run(run.workdir)
  (spec,) = loaded.config.data.targets
  (fold,) = readers.open_dataset(spec).folds
  embed = extract.make_embedder(loaded.network, loaded.variables, 8)
  records = [*fold.query, *fold.gallery]
  assert [point.pid for point in data.points] == [r.pid for r in records]
  want = embed(np.stack([load_image(r.path, 32, 16) for r in records]))
  want /= np.linalg.norm(want, axis=1, keepdims=True)
  np.testing.assert_allclose(seen[0], want, rtol=1e-6)


def test_another_target(run, tmp_path):
  spec = tiny_run.write_manifest(
    tmp_path / "other.csv", tiny_run.target_rows("y", 3)
  )
  data = embedding_map.load(run, runs.Options(targets=(spec,)))
  assert {point.target for point in data.points} == {"other"}
  assert len(data.points) == 9


def test_refusals(run, monkeypatch):
  source = f"manifest:{tiny_run.root()}/train.csv"
  with pytest.raises(UserError, match="no query and gallery"):
    embedding_map.load(run, runs.Options(targets=(source,)))
  monkeypatch.setitem(sys.modules, "sklearn", None)
  with pytest.raises(UserError, match=r"scikit-learn.*\[plots\]"):
    embedding_map.load(run, runs.Options())


def test_what_is_drawn():
  pytest.importorskip("matplotlib")
  from matplotlib.colors import to_hex
  from matplotlib.figure import Figure

  points = [
    embedding_map.Point("snow", "query", "a", 0.0, 1.0),
    embedding_map.Point("snow", "gallery", "a", 2.0, 3.0),
    embedding_map.Point("dusk", "gallery", "b", 4.0, 5.0),
  ]
  data = {
    name: embedding_map.EmbeddingMap(6, points) for name in ("one", "two")
  }
  figure = Figure(embedding_map.size(data))
  embedding_map.draw(figure, data)
  first, second = figure.get_axes()
  assert first.get_title(loc="left") == "one, step 6"
  hollow, filled, other = second.collections
  np.testing.assert_array_equal(filled.get_offsets(), [[0, 1]])
  np.testing.assert_array_equal(hollow.get_offsets(), [[2, 3]])
  assert len(hollow.get_facecolor()) == 0
  colours = [to_hex(c.get_edgecolor()[0]) for c in (hollow, filled, other)]
  assert colours[0] == colours[1] != colours[2]
  shown = [text.get_text() for text in figure.legends[0].get_texts()]
  assert shown == ["snow, gallery", "snow, query", "dusk, gallery"]
