"""`metabin evaluate`: runs side by side, on their targets and on others."""

from __future__ import annotations

import json
import pathlib
import shutil

import numpy as np
import pytest
import tiny_run

from metabin_jax.cli.main import main
from metabin_jax.runtime import scoring


@pytest.fixture(name="runs", scope="module")
def runs_fixture():
  return [
    str(tiny_run.finished()),
    str(tiny_run.finished(*tiny_run.BASELINE)),
  ]


def evaluate(capsys, *words):
  capsys.readouterr()
  assert main(["evaluate", *words]) == 0
  return capsys.readouterr()


def table(out):
  """Rows as {(target, method): cells}."""
  lines = [line.split() for line in out.splitlines()]
  rows = [cells for cells in lines[2:] if cells[0] in ("test", "one", "other")]
  return {(cells[0], cells[1]): cells[2:] for cells in rows}


def test_runs_side_by_side_with_the_numbers_of_training(runs, capsys, tmp_path):
  file = tmp_path / "new" / "scores.json"
  out, said = evaluate(capsys, *runs, f"--json={file}")
  rows = table(out)
  assert list(rows) == [("test", "metabin"), ("test", "bn")]
  scores = json.loads(file.read_text())
  for run, row in zip(runs, scores["results"], strict=True):
    with open(f"{run}/result.json") as trained:
      assert json.load(trained)["results"] == [row]
    shares = [row[k] for k in ("rank-1", "rank-5", "rank-10", "mAP", "mINP")]
    cells = rows["test", row["method"]]
    assert cells[:5] == [f"{100 * share:.1f}" for share in shares]
    assert cells[-2:] == [f"{row['num_valid']}/{row['num_query']}", "1"]
  assert f"{runs[0]}: checkpoint of step 6" in said


def test_another_target_or_one_more(runs, capsys, tmp_path):
  other = tiny_run.write_manifest(
    tmp_path / "other.csv", tiny_run.target_rows("y", 3)
  )
  out, _ = evaluate(capsys, runs[0], f"--target={other}")
  assert list(table(out)) == [("other", "metabin")]
  out, _ = evaluate(capsys, runs[0], f"--add-target={other}")
  assert [k for k in table(out) if k[0] in ("test", "other")] == [
    ("test", "metabin"),
    ("other", "metabin"),
  ]
  assert "average" in out


def test_an_earlier_checkpoint(runs, capsys):
  _, said = evaluate(capsys, runs[0], "--step=4")
  assert "checkpoint of step 4" in said


def test_cameras_can_be_ignored(runs, capsys, tmp_path):
  rows = [
    ("p", 0, "x", "query"),
    ("p", 0, "x", "gallery"),
    ("q", 0, "x", "query"),
    ("q", 1, "x", "gallery"),
  ]
  spec = tiny_run.write_manifest(tmp_path / "one.csv", rows)
  out, said = evaluate(capsys, runs[0], f"--target={spec}")
  assert table(out)["one", "metabin"][-2] == "1/2"
  assert said.count("1 of 2 queries cannot be scored") == 1
  assert "one/p" in said
  out, said = evaluate(
    capsys, runs[0], f"--target={spec}", "--cross-camera=off"
  )
  assert table(out)["one", "metabin"][-2] == "2/2"
  assert "cannot be scored" not in said


def test_notes_are_said_once_for_all_runs(runs, capsys, tmp_path):
  rows = [*tiny_run.target_rows(), ("alone", 0, "x", "query")]
  spec = tiny_run.write_manifest(tmp_path / "part.csv", rows)
  _, said = evaluate(capsys, *runs, f"--target={spec}")
  assert said.count("1 of 6 queries cannot be scored") == 1


def test_sources_that_are_gone_are_said_and_no_obstacle(runs, capsys):
  source = tiny_run.root() / "train.csv"
  aside = source.with_name("aside.csv")
  before, _ = evaluate(capsys, *runs)
  assert "not checked" not in before
  source.rename(aside)
  try:
    out, _ = evaluate(capsys, *runs)
  finally:
    aside.rename(source)
  # Whoever reads the scores must read it too.
  scores, last = out.rstrip().rsplit("\n", 1)
  assert scores == before.rstrip()
  assert last.startswith(
    "warning: metabin, bn: not checked for persons that were trained on: "
  )
  assert str(source) in last


def test_damage_is_said_and_the_checkpoint_before_used(runs, capsys, tmp_path):
  workdir = tmp_path / "copy"
  shutil.copytree(runs[0], workdir)
  tiny_run.flip_byte(workdir, 6)
  _, said = evaluate(capsys, str(workdir))
  assert "checkpoint step 6 is damaged" in said
  assert "checkpoint of step 4" in said


def test_runs_of_one_name_are_told_apart(runs, capsys, tmp_path):
  workdir = tmp_path / "metabin"
  shutil.copytree(runs[0], workdir)
  out, _ = evaluate(capsys, runs[0], str(workdir))
  assert list(table(out)) == [("test", runs[0]), ("test", str(workdir))]


def plain(out):
  """How the numbers were made."""
  return [line for line in out.splitlines() if line.startswith("evaluation")]


def test_how_the_numbers_were_made_is_said(runs, capsys, tmp_path):
  file = tmp_path / "scores.json"
  out, _ = evaluate(capsys, *runs, f"--json={file}")
  want = "cosine, AP interpolation-free"
  assert plain(out) == [f"evaluation: {want}"]
  scores = json.loads(file.read_text())
  assert scores["evaluation"] == {"metabin": want, "bn": want}
  assert set(scores) >= {"results", "average"}


def test_flags_change_the_evaluation(runs, capsys, tmp_path, monkeypatch):
  file = tmp_path / "scores.json"
  seen = []
  score = scoring.score

  def watched(config, *args, **options):
    seen.append(config.eval)
    return score(config, *args, **options)

  monkeypatch.setattr(scoring, "score", watched)
  flags = (
    "--flip",
    "--query-expansion=2",
    "--ap=trapezoid",
    "--cross-camera=off",
    "--adapt-bn=gallery",
    f"--json={file}",
  )
  out, _ = evaluate(capsys, *runs, *flags)
  want = (
    "cosine, AP trapezoid, matches by the same camera count, image and mirror "
    "image, batch norm adapted to the gallery, queries expanded by 2"
  )
  assert plain(out) == [f"evaluation: {want}"]
  assert json.loads(file.read_text())["evaluation"]["bn"] == want
  for section in seen:
    assert (section.flip, section.query_expansion) == (True, 2)
    assert (section.ap, section.cross_camera) == ("trapezoid", False)
    assert section.adapt_bn == "gallery"
    assert not section.rerank


def test_adapting_to_each_gallery(runs, capsys, tmp_path):
  """The run stays as it is, and the numbers say how they were made."""
  file = tmp_path / "scores.json"
  before = tiny_run.leaves(pathlib.Path(runs[1]))
  plain_scores, _ = evaluate(capsys, runs[1])
  flags = ("--adapt=bnta", "--bnta=losses=match", "--bnta", "lr=0.5")
  out, _ = evaluate(capsys, runs[1], *flags, f"--json={file}")
  want = (
    "cosine, AP interpolation-free, BNTA on the gallery moved bn "
    "(mean+var+scale+bias) by match, adam 0.5, 1 x 128 pairs at most, seed 0"
  )
  assert plain(out) == [f"evaluation: {want}"]
  assert "\nbn adapted to test: images 10, pairs 5, steps 1\n" in out
  written = json.loads(file.read_text())
  assert written["evaluation"] == {"bn": want}
  counts = {"images": 10, "pairs": 5, "steps": 1}
  assert written["adapted"] == {"bn": {"test": {"test": counts}}}
  after = tiny_run.leaves(pathlib.Path(runs[1]))
  for name, value in before.items():
    np.testing.assert_array_equal(value, after[name])
  again, _ = evaluate(capsys, runs[1])
  assert again == plain_scores


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (("--adapt=bnta",), "part heads"),
    (("--bnta=losses=match",), "nothing is adapted, as eval.adapt is 'none'"),
    (("--adapt=tent",), "'tent'"),
    (("--adapt=bnta", "--bnta=loss=match"), "sets no key of eval.bnta"),
    (("--adapt=bnta", "--bnta=lr=high"), "another type than the default"),
    (("--adapt=bnta", "--bnta=losses=match", "--adapt-bn=all"), "one of them"),
  ],
)
def test_adapting_in_ways_that_do_not_exist(runs, capsys, flags, message):
  assert main(["evaluate", runs[1], *flags]) == 2
  assert message in capsys.readouterr().err


def test_flags_win_over_the_run(runs, capsys, tmp_path):
  """A run that was scored with re-ranking, and one without."""
  workdir = tmp_path / "reranked"
  shutil.copytree(runs[0], workdir)
  options = ("--config.eval.rerank=True", "--config.eval.rerank_k1=3")
  # More iterations, so that there is a checkpoint with the new settings.
  assert tiny_run.train(workdir, *options, "--config.train.steps=8") == 0
  re_ranked = "re-ranked k1=3 k2=6 lambda=0.3"
  out, _ = evaluate(capsys, str(workdir), runs[1])
  assert plain(out) == [
    f"evaluation of reranked: cosine, AP interpolation-free, {re_ranked}",
    "evaluation of bn: cosine, AP interpolation-free",
  ]
  out, _ = evaluate(capsys, str(workdir), runs[1], "--no-rerank")
  assert plain(out) == ["evaluation: cosine, AP interpolation-free"]
  assert main(["evaluate", runs[1], "--rerank"]) == 2
  said = capsys.readouterr().err
  assert "needs more than 20 images" in said
  assert "have 15 together" in said


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("--ap=voc", "eval.ap is 'voc'; choose one of interpolation-free"),
    ("--adapt-bn=query", "eval.adapt_bn is 'query'; choose one of none"),
    ("--query-expansion=-1", "eval.query_expansion is -1"),
    ("--query-expansion=x", "invalid int value: 'x'"),
    ("--query-expansion=11", "which has 10; lower eval.query_expansion"),
  ],
)
def test_mistakes_in_flags(runs, capsys, flag, message):
  assert main(["evaluate", runs[0], flag]) == 2
  assert message in capsys.readouterr().err
