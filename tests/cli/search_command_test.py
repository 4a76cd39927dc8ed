"""`metabin index`, `metabin search` and `metabin compare`."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest
import tiny_run

from metabin_jax.cli.main import main
from metabin_jax.evaluation import embedding_file

COUNT = 12


@pytest.fixture(scope="module", name="photos")
def photos_fixture(tmp_path_factory):
  folder = tmp_path_factory.mktemp("photos")
  for number in range(COUNT):
    tiny_run.write_image(folder / f"{number:02d}.png", seed=200 + number)
  tiny_run.write_image(folder / "query" / "same.png", seed=205)
  tiny_run.write_image(folder / "query" / "new.png", seed=300)
  return folder


@pytest.fixture(scope="module", name="files")
def files_fixture(photos, tmp_path_factory):
  """Embeddings of the gallery and of the queries."""
  folder = tmp_path_factory.mktemp("files")
  gallery = folder / "gallery"
  gallery.mkdir()
  for number in range(COUNT):
    shutil.copy(photos / f"{number:02d}.png", gallery)
  run = str(tiny_run.finished())
  for name, place in (("gallery", gallery), ("query", photos / "query")):
    words = ["extract", run, str(place), f"--out={folder / name}.npz"]
    assert main(words) == 0
  return folder


def cosines(files):
  """Query name -> [(cosine, name)], best first, by sorting everything."""
  gallery, query = (
    embedding_file.load(files / f"{name}.npz") for name in ("gallery", "query")
  )
  one, other = (
    e.vectors / np.linalg.norm(e.vectors, axis=1, keepdims=True)
    for e in (query, gallery)
  )
  return {
    name: sorted(zip(row, gallery.names, strict=True), reverse=True)
    for name, row in zip(query.names, one @ other.T, strict=True)
  }


def test_search_in_files(files, tmp_path, capsys):
  words = [
    "search",
    f"--query={files}/query.npz",
    f"--gallery={files}/gallery.npz",
  ]
  words += [
    "--top=3",
    f"--csv={tmp_path / 'a.csv'}",
    f"--json={tmp_path / 'a.json'}",
  ]
  assert main(words) == 0
  said = capsys.readouterr().out
  assert re.search(r"same\.png:\n +1 +1\.0000  05\.png\n +2 ", said)
  with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 6
  want = cosines(files)
  for row in rows:
    cosine, name = want[row["query"]][int(row["rank"]) - 1]
    assert row["name"] == name
    assert float(row["cosine"]) == pytest.approx(float(cosine), abs=1e-6)
  hits = json.loads((tmp_path / "a.json").read_text())["hits"]
  assert [hit["name"] for hit in hits] == [row["name"] for row in rows]


def test_search_for_images_in_images(photos, files, capsys):
  words = ["search", f"--query={photos}/query/same.png"]
  words += [f"--gallery={files}/gallery", "--top=1"]
  assert main([*words, f"--run={tiny_run.finished()}"]) == 0
  assert "1   1.0000  05.png" in capsys.readouterr().out
  assert main(words) == 2
  assert "--gallery names images; say by --run" in capsys.readouterr().err


def test_index_grows_and_shrinks(files, photos, tmp_path, capsys):
  index = tmp_path / "index"
  assert main(["index", str(index), f"--add={files}/gallery.npz"]) == 0
  assert f"{index}: 12 images, 64 numbers each" in capsys.readouterr().out
  search = ["search", f"--query={files}/query.npz", f"--gallery={index}"]
  search += ["--top=2"]
  assert main(search) == 0
  assert "1   1.0000  05.png" in capsys.readouterr().out
  words = ["index", str(index), "--remove", "05.png", "04.png", "--compact"]
  assert main(words) == 0
  assert "10 images" in capsys.readouterr().out
  assert main(search) == 0
  assert "05.png" not in capsys.readouterr().out
  run = f"--run={tiny_run.finished()}"
  add = ["index", str(index), f"--add={photos}/05.png", run]
  assert main(add) == 0
  assert "11 images" in capsys.readouterr().out
  assert main(search) == 0
  assert "1   1.0000  05.png" in capsys.readouterr().out
  assert main(["index", str(index)]) == 0
  assert "11 images" in capsys.readouterr().out
  assert main(add) == 2
  assert "1 names are in" in capsys.readouterr().err


def test_an_index_changes_whole_or_not_at_all(files, tmp_path, capsys):
  index = tmp_path / "index"
  gallery = embedding_file.load(files / "gallery.npz")
  zero = gallery._replace(vectors=np.zeros_like(gallery.vectors))
  embedding_file.save(tmp_path / "zero.npz", zero)
  add = ["index", str(index), f"--add={tmp_path}/zero.npz"]
  assert main(add) == 2
  assert "is zero or not finite" in capsys.readouterr().err
  assert not index.exists()
  add = ["index", str(index), f"--add={files}/gallery.npz", "--dtype=float16"]
  assert main(add) == 0
  words = ["index", str(index), "--remove", "03.png"]
  assert main([*words, f"--add={files}/gallery.npz"]) == 2
  assert "11 names are in" in capsys.readouterr().err
  assert main(["index", str(index)]) == 0
  assert "12 images" in capsys.readouterr().out


def test_more_hits_than_images_and_none(files, tmp_path, capsys):
  index = tmp_path / "index"
  assert main(["index", str(index), f"--add={files}/gallery.npz"]) == 0
  search = ["search", f"--query={files}/query.npz", f"--gallery={index}"]
  assert main([*search, "--top=99999999999"]) == 0
  assert " 12 " in capsys.readouterr().out
  names = [f"{number:02d}.png" for number in range(COUNT)]
  assert main(["index", str(index), "--remove", *names]) == 0
  assert "0 images" in capsys.readouterr().out
  assert main(search) == 0
  assert "there is no image in the gallery" in capsys.readouterr().err


def test_compare(photos, files, tmp_path, capsys):
  run, query = str(tiny_run.finished()), photos / "query"
  words = ["compare", run, str(query / "same.png"), str(photos / "05.png")]
  assert main(words) == 0
  assert capsys.readouterr().out == "cosine 1.0000\n"
  report = tmp_path / "report.json"
  words = ["compare", run, str(query / "new.png"), str(photos / "03.png")]
  assert main([*words, "--threshold=0.999", f"--json={report}"]) == 0
  said = capsys.readouterr().out
  want = {name: cosine for cosine, name in cosines(files)["new.png"]}["03.png"]
  assert said.startswith(f"cosine {want:.4f}\n")
  assert "below the threshold 0.999: different persons" in said
  found = json.loads(report.read_text())
  assert found["cosine"] == pytest.approx(float(want), abs=1e-6)
  assert found["same"] is False
  assert main([*words, "--threshold=7"]) == 2
  assert "a cosine lies between" in capsys.readouterr().err
  assert main([*words[:3], str(photos / "none.png")]) == 2
  said = capsys.readouterr().err
  assert "image " + str(photos / "none.png") + " does not exist (the" in said
  assert main([*words[:3], str(photos)]) == 2
  assert f"{photos} is a folder; name an image." in capsys.readouterr().err


def test_mistakes(files, tmp_path, capsys):
  def mistake(*words):
    assert main(list(words)) == 2
    return capsys.readouterr().err

  query = f"--query={files}/query.npz"
  gallery = f"--gallery={files}/gallery.npz"
  index = str(tmp_path / "index")
  assert "--top is 0" in mistake("search", query, gallery, "--top=0")
  assert "no index yet; make one with --add" in mistake("index", index)
  assert "no index yet" in mistake("index", index, "--remove", "a")
  said = mistake("search", query, gallery, f"{files}/query.npz")
  assert "unrecognized arguments" in said or "several places" in said
  assert "several places; name one file alone" in mistake(
    "search", query, "--gallery", f"{files}/gallery.npz", f"{files}/query.npz"
  )
  assert not (tmp_path / "index").exists()
  found = embedding_file.load(files / "query.npz")
  model = {**found.card["model"], "sha256": "0" * 64, "run": "other"}
  other = found._replace(card={**found.card, "model": model})
  embedding_file.save(tmp_path / "other.npz", other)
  said = mistake("search", f"--query={tmp_path}/other.npz", gallery)
  assert "these are of run other at step 6" in said
  (tmp_path / "full").mkdir()
  (tmp_path / "full" / "a.txt").write_text("x")
  said = mistake("index", str(tmp_path / "full"), f"--add={files}/query.npz")
  assert "is no index; make one" in said
  assert main(["index", index, f"--add={files}/query.npz"]) == 0
  said = mistake("index", index, "--dtype=float16")
  assert "--dtype is for a new index" in said
