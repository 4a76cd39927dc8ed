"""`metabin figures`: files, refusals, and what runs do not allow."""

from __future__ import annotations

import csv
import json
import re
import shlex
import sys

import pytest
import tiny_run

from metabin_jax.cli import figures
from metabin_jax.cli.main import main
from metabin_jax.errors import UserError

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

OF_RUNS = [kind for kind in figures.KINDS if kind not in ("bars", "all")]
STUDY = {
  "study": "table2",
  "scale": "quick",
  "rows": [
    {
      "label": "CE",
      "arm": "metabin_ce",
      "setting": "dg",
      "ours": {"average": {"mAP": {"mean": 1.0, "std": None, "values": [1.0]}}},
    }
  ],
}


@pytest.fixture(name="runs", scope="module")
def runs_fixture():
  return [
    str(tiny_run.finished()),
    str(tiny_run.finished(*tiny_run.BASELINE)),
  ]


def call(capsys, *words):
  capsys.readouterr()
  status = main(["figures", *map(str, words)])
  return status, *capsys.readouterr()


def table(path):
  with path.open(newline="") as file:
    return list(csv.DictReader(file))


def test_all_draws_what_the_runs_allow(runs, capsys, tmp_path):
  study = tmp_path / "table2.json"
  study.write_text(json.dumps(STUDY))
  out = tmp_path / "new" / "figures"
  status, printed, said = call(
    capsys, "all", *runs, study, f"--out={out}", "--batches=2"
  )
  assert status == 0, said
  # Neither run has a site.
  kinds = [*(kind for kind in OF_RUNS if kind != "multilabels"), "bars"]
  assert "multilabels without metabin: " in said
  wanted = [out / f"{kind}.{end}" for kind in kinds for end in ("png", "csv")]
  assert printed.split() == [str(path) for path in wanted]
  assert sorted(out.iterdir()) == sorted(wanted)
  for path in wanted[::2]:
    assert path.read_bytes().startswith(b"\x89PNG")
  for kind in ("rho-layers", "rho-training", "rho-gradients"):
    assert f"{kind} without bn: " in said
    assert {row["run"] for row in table(out / f"{kind}.csv")} == {"metabin"}
  assert "losses without" not in said
  for kind in ("losses", "tsne"):
    runs_in_it = {row["run"] for row in table(out / f"{kind}.csv")}
    assert runs_in_it == {"metabin", "bn"}
  gradients = table(out / "rho-gradients.csv")
  assert {row["batches"] for row in gradients} == {"2"}
  assert {row["loss"] for row in gradients} == {"triplet", "scatter", "shuffle"}


def test_one_kind_in_another_format_at_a_step(runs, capsys, tmp_path):
  status, printed, said = call(
    capsys, "rho-layers", runs[0], f"--out={tmp_path}", "--format=svg",
    "--step=4",
  )  # fmt: skip
  assert status == 0, said
  figure, rows = (tmp_path / f"rho-layers.{end}" for end in ("svg", "csv"))
  assert printed.split() == [str(figure), str(rows)]
  assert "metabin, step 4" in figure.read_text()
  assert {row["step"] for row in table(rows)} == {"4"}
  before = figure.read_bytes()
  call(
    capsys, "rho-layers", runs[0], f"--out={tmp_path}", "--format=svg",
    "--step=4",
  )  # fmt: skip
  assert figure.read_bytes() == before


def test_layers_and_losses_can_be_named(runs, capsys, tmp_path):
  status, _, said = call(
    capsys, "rho-training", runs[0], f"--out={tmp_path}", "--format=svg",
    "--layers=layer3_0_bn1,bn1",
  )  # fmt: skip
  assert status == 0, said
  text = (tmp_path / "rho-training.svg").read_text()
  named = re.findall(r">((?:layer\w+_)?bn\d)<", text)
  assert named == ["layer3_0_bn1", "bn1"]
  status, _, said = call(
    capsys, "rho-gradients", runs[0], f"--out={tmp_path}", "--losses=tripel"
  )
  assert status == 2
  assert "no loss 'tripel'" in said


def refused(capsys, tmp_path, *words):
  status, printed, said = call(capsys, *words, f"--out={tmp_path / 'out'}")
  assert status == 2
  assert printed == ""
  assert not (tmp_path / "out").exists()
  assert said.splitlines()[-1].startswith("metabin figures: ")
  return said


def test_refusals(runs, capsys, tmp_path):
  def said(*words):
    return refused(capsys, tmp_path, *words)

  assert "invalid choice" in said("pie", runs[0])
  assert "no rho" in said("rho-layers", *runs)
  assert "holds no run" in said("losses", tmp_path)
  assert "is none" in said("bars", runs[0])
  assert "is none" in said("losses", "table2.json")
  assert "whole number from 1" in said("tsne", runs[0], "--batches=0")
  assert "step 3" in said("rho-layers", runs[0], "--step=3")


def test_all_of_nothing_is_refused(capsys, tmp_path):
  workdir = tmp_path / "empty"
  workdir.mkdir()
  description = {"config": {}, "data_sha256": ""}
  (workdir / "run.json").write_text(json.dumps(description))
  said = refused(capsys, tmp_path, "all", workdir)
  assert said.count(" without empty: ") == len(OF_RUNS)
  assert "allow no figure" in said.splitlines()[-1]


def test_without_matplotlib_nothing_is_begun(
  runs, capsys, tmp_path, monkeypatch
):
  monkeypatch.setitem(sys.modules, "matplotlib", None)
  assert "[plots]" in refused(capsys, tmp_path, "all", runs[0])


def test_without_scikit_learn_the_others_are_drawn(
  runs, capsys, tmp_path, monkeypatch
):
  monkeypatch.setitem(sys.modules, "sklearn", None)
  assert "[plots]" in refused(capsys, tmp_path, "tsne", runs[1])
  status, printed, said = call(capsys, "all", runs[1], f"--out={tmp_path}")
  assert status == 0
  assert printed.split() == [
    str(tmp_path / "losses.png"),
    str(tmp_path / "losses.csv"),
  ]
  assert "tsne without bn: scikit-learn is not installed" in said


def test_a_target_must_be_a_description(runs, capsys, tmp_path):
  said = refused(capsys, tmp_path, "tsne", runs[0], "--target=here")
  assert "READER:PATH" in said


def test_help_names_the_kinds_there_are(capsys):
  from metabin_jax.report import kinds

  assert [*kinds.OF_RUNS, kinds.BARS, kinds.ALL] == list(figures.KINDS)
  status, printed, _ = call(capsys, "--help")
  assert status == 0
  for kind, text in figures.KINDS.items():
    assert re.search(rf"^  {kind} +{re.escape(text)}$", printed, re.M)


DOCUMENT = tiny_run.REPOSITORY / "docs" / "figures.md"


def test_document_names_kinds_flags_and_columns(capsys):
  from metabin_jax.report import ablation_bars, kinds

  text = DOCUMENT.read_text(encoding="utf-8")
  _, printed, _ = call(capsys, "--help")
  known = set(re.findall(r"--[a-z][a-z-]*", printed))
  named = set(re.findall(r"--[a-z][a-z-]*", text))
  assert named <= known
  assert {"--out", "--step", "--batches", "--losses", "--layers"} <= named
  rows = dict(re.findall(r"^\| `([a-z-]+)` \|.*\| `(.*)` \|$", text, re.M))
  modules = kinds.OF_RUNS | {kinds.BARS: ablation_bars}
  assert rows == {
    kind: ", ".join(module.HEADER) for kind, module in modules.items()
  }


def test_commands_of_the_document_are_accepted(capsys, monkeypatch):
  from metabin_jax.report import runs

  commands = re.findall(
    r"^metabin figures (.*)$", DOCUMENT.read_text(encoding="utf-8"), re.M
  )
  assert len(commands) >= 4

  def reached(folders):
    raise UserError("reached its work")

  monkeypatch.setattr(runs, "find_runs", reached)
  for command in commands:
    status, _, said = call(capsys, *shlex.split(command))
    assert status == 2
    assert "reached its work" in said
