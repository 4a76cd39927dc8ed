"""`metabin calibrate`, and `metabin compare` with its threshold."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_run

from metabin_jax.cli.main import main
from metabin_jax.evaluation import calibration, embedding_file
from metabin_jax.runtime.extractor import Extractor

CARD = {
  "model": {"run": "own", "step": 3, "sha256": "0" * 64},
  "embedding": {"dim": 8, "flip": False},
}


@pytest.fixture(scope="module", name="file")
def file_fixture(tmp_path_factory):
  """Embeddings as the tiny run might have made them, of 40 persons."""
  path = tmp_path_factory.mktemp("labelled") / "e.npz"
  random = np.random.default_rng(0)
  centres = random.normal(size=(40, 64))
  person = np.repeat(np.arange(40), 4)
  vectors = centres[person] + 0.5 * random.normal(size=(160, 64))
  embedding_file.save(
    path,
    embedding_file.Embeddings(
      tuple(f"{i}.jpg" for i in range(160)),
      (3 * vectors).astype(np.float32),
      tuple(f"p{i}" for i in person),
      np.tile(np.arange(4), 40),
      Extractor.from_checkpoint(tiny_run.finished()).card,
    ),
  )
  return path


def test_thresholds_are_printed_and_written(file, tmp_path, capsys):
  report = tmp_path / "t.json"
  words = ["calibrate", str(file), "--fmr", "0.01", "0.001"]
  assert main([*words, f"--json={report}"]) == 0
  printed = capsys.readouterr()
  lines = printed.out.splitlines()
  assert lines[0] == (
    "160 images of 40 persons: 240 pairs of one person, 12,480 of two"
  )
  assert lines[1] == "wanted FMR  threshold  FMR (95%)  FNMR (95%)"
  assert "warning: 0.001 is less than 3 in 780 pairs of persons" in printed.err
  assert "0.01 is less" not in printed.err
  found = json.loads(report.read_text())
  assert [t["wanted"] for t in found["thresholds"]] == [0.01, 0.001]
  data = embedding_file.load(file)
  rows = embedding_file.unit_rows(data, 64)
  want = calibration.calibrate(rows, np.array(data.pids), data.camids, 0.01)
  first = found["thresholds"][0]
  assert first["threshold"] == want.threshold
  assert first["fnmr"] == want.fnmr._asdict()
  assert lines[2].split()[:2] == ["0.01", f"{want.threshold:.4f}"]
  assert found["card"] == data.card


def test_compare_takes_the_threshold(file, tmp_path, capsys):
  report = tmp_path / "t.json"
  assert main(["calibrate", str(file), f"--json={report}"]) == 0
  threshold = json.loads(report.read_text())["thresholds"][0]["threshold"]
  tiny_run.write_image(tmp_path / "a.png", seed=1)
  run, image = str(tiny_run.finished()), str(tmp_path / "a.png")
  words = ["compare", run, image, image, f"--calibration={report}"]
  capsys.readouterr()
  assert main(words) == 0
  said = capsys.readouterr().out
  assert f"at least the threshold {threshold:g}: the same person" in said
  assert main([*words, "--threshold=0.5"]) == 2
  assert "not allowed with argument" in capsys.readouterr().err
  # Mirrored images are another embedding, with another scale.
  assert main([*words, "--flip"]) == 2
  printed = capsys.readouterr()
  assert "(flip False against True)" in printed.err
  assert "cosine" not in printed.out


def test_compare_reads_the_threshold_before_the_network(tmp_path, capsys):
  tiny_run.write_image(tmp_path / "a.png", seed=1)
  image, report = str(tmp_path / "a.png"), tmp_path / "t.json"
  words = ["compare", str(tmp_path / "no-run"), image, image]
  words.append(f"--calibration={report}")
  assert main(words) == 2
  assert "t.json does not exist; write it with" in capsys.readouterr().err
  for text in ("{}", '{"thresholds": [{"threshold": 0.5}], "card": 3}'):
    report.write_text(text)
    assert main(words) == 2
    assert "is not a file of `metabin calibrate" in capsys.readouterr().err


def test_labelled_images_by_a_run(capsys, tmp_path):
  spec = f"manifest:{tiny_run.root()}/test.csv"
  words = ["calibrate", spec, f"--run={tiny_run.finished()}", "--fmr=0.1"]
  assert main(words) == 0
  assert "15 images of 5 persons: 15 pairs of one" in capsys.readouterr().out
  for number in range(3):
    tiny_run.write_image(tmp_path / f"{number}.png", seed=number)
  assert main(["calibrate", str(tmp_path), *words[2:]]) == 2
  assert "no image has a person" in capsys.readouterr().err


def labelled(path, persons):
  """A list of two images a person, none of which exists."""
  lines = [
    f"{person}-{camera}.png,p{person},{camera}"
    for person in range(persons)
    for camera in range(2)
  ]
  path.write_text("\n".join(["path,pid,camid", *lines]) + "\n")
  return str(path)


def test_default_rates_are_those_that_the_set_supports(tmp_path, capsys):
  place = tmp_path / "some.npz"
  random = np.random.default_rng(1)
  embedding_file.save(
    place,
    embedding_file.Embeddings(
      tuple(f"{i}.jpg" for i in range(60)),
      random.normal(size=(60, 8)).astype(np.float32),
      tuple(f"p{i // 2}" for i in range(60)),
      np.tile(np.arange(2), 30),
      CARD,
    ),
  )
  report = tmp_path / "t.json"
  assert main(["calibrate", str(place), f"--json={report}"]) == 0
  printed = capsys.readouterr()
  assert len(printed.out.splitlines()) == 3
  assert (
    "note: a false match rate of 0.001 is left out: 1,740 pairs of different "
    "persons support none below 1.7e-03 (3 / pairs)"
  ) in printed.err
  (only,) = json.loads(report.read_text())["thresholds"]
  assert only["wanted"] == 0.01
  # What is asked for by name is not left out.
  assert main(["calibrate", str(place), "--fmr", "0.01", "0.001"]) == 2
  printed = capsys.readouterr()
  assert "say nothing about a false match rate of 0.001" in printed.err
  assert not printed.out


@pytest.mark.parametrize(
  ("persons", "options", "message"),
  [
    (30, ("--fmr=0.001",), "1,740 pairs of different persons say nothing"),
    (5, (), "40 pairs of different persons say nothing about a false match "),
    (1, (), "the images show one person"),
  ],
)
def test_small_sets_are_refused_before_they_are_embedded(
  tmp_path, capsys, persons, options, message
):
  place = labelled(tmp_path / "list.csv", persons)
  # Neither the run nor the images exist, which is found out later.
  words = ["calibrate", place, f"--run={tmp_path / 'no-run'}", *options]
  assert main(words) == 2
  assert message in capsys.readouterr().err


def test_mistakes(file, capsys):
  def mistake(*words):
    assert main(["calibrate", str(file), *words]) == 2
    return capsys.readouterr().err

  assert "--fmr is 2; write a number between" in mistake("--fmr=2")
  assert "--confidence is 1; write" in mistake("--confidence=1")
  assert "--seed: -1 is no such number; write a whole" in mistake("--seed=-1")
  said = mistake("--fmr=1e-6")
  assert "12,480 pairs of different persons say nothing about" in said
  assert "the smallest they support is 2.4e-04" in said
