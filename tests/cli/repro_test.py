"""`metabin repro`: from flags to tables. Most jobs only pretend."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tiny_run
import tiny_study

from metabin_jax.cli import repro
from metabin_jax.cli.main import main
from metabin_jax.report import kinds
from metabin_jax.report import runs as report_runs
from metabin_jax.repro import catalogue, job_folder

# `metabin repro` on the stand-in study, in a process of its own.
COMMAND = """
import sys
sys.path.insert(0, "tests")
import tiny_study
from metabin_jax.repro import catalogue
catalogue.CATALOGUE = tiny_study.CATALOGUE
from metabin_jax.cli.main import main
sys.exit(main(["repro", *sys.argv[1:]]))
"""


@pytest.fixture(name="pretend")
def pretend_fixture(monkeypatch):
  tiny_study.pretend(monkeypatch)
  monkeypatch.setattr(catalogue, "CATALOGUE", tiny_study.CATALOGUE)


def call(out, *words) -> int:
  return main(["repro", *words, f"--out={out}"])


def tables(out) -> list[str]:
  return sorted(p.name for p in (out / "quick").glob("*"))


def job_folders(out) -> list[pathlib.Path]:
  return sorted((out / "jobs" / "quick" / "dg").glob("*"))


def test_a_study_is_run_and_its_table_written(tmp_path, pretend, capsys):
  file = tmp_path / "more" / "copy.json"
  assert call(tmp_path, "pair", "--seeds=2", f"--json={file}") == 0
  said = capsys.readouterr()
  assert "[4 of 4] rho seed 2021 (dg):" in said.err
  assert tables(tmp_path) == ["pair.json", "pair.md"]
  data = json.loads((tmp_path / "quick" / "pair.json").read_text())
  assert json.loads(file.read_text()) == data
  assert data["rows"][0]["ours"]["average"]["rank-1"]["values"] == [20, 21]
  assert (tmp_path / "quick" / "pair.md").read_text() in said.out
  # Tables of changed runs have names of their own; nothing is trained anew.
  assert call(tmp_path, "all", "--collect", "--set", "optim.lr=0.5") == 0
  assert len(job_folders(tmp_path)) == 4
  assert len(tables(tmp_path)) == 4
  assert "not run" in capsys.readouterr().out


def test_parts_write_no_table_and_collect_writes_it(tmp_path, pretend):
  assert call(tmp_path, "pair", "--part=0/2") == 0
  assert [path.name[:2] for path in job_folders(tmp_path)] == ["bn"]
  assert call(tmp_path, "pair", "--part=1/2") == 0
  assert [path.name[:2] for path in job_folders(tmp_path)] == ["bn", "rh"]
  assert tables(tmp_path) == []
  assert call(tmp_path, "pair", "--collect") == 0
  assert tables(tmp_path) == ["pair.json", "pair.md"]
  data = json.loads((tmp_path / "quick" / "pair.json").read_text())
  assert [row["seeds"] for row in data["rows"]] == [[2020], [2020], []]


def test_a_failed_job_gives_1_and_a_table_without_it(tmp_path, pretend, capsys):
  (tmp_path / "fail").touch()
  assert call(tmp_path, "pair") == 1
  said = capsys.readouterr()
  assert "the loss is nan" in said.err
  assert "| MetaBIN | rho | 0 | not run |" in said.out
  assert "| BN baseline | bn | 1 | 20.0 |" in said.out


def test_arms_own_arms_and_settings_reach_the_jobs(tmp_path, pretend):
  file = tmp_path / "mine.py"
  file.write_text(
    "import tiny_study\n"
    "def get_config(scale):\n"
    "  config = tiny_study.base(scale, 'dg')\n"
    "  config.optim.lr = 0.25\n"
    "  return config\n"
  )
  words = ("--arms=bn", f"--add-arm={file}", "--set", "loss.margin=0.2")
  assert call(tmp_path, "pair", *words, "--part=0/1") == 0
  found = [job_folder.JobFolder(p).load_job() for p in job_folders(tmp_path)]
  assert [task["job"]["overrides"] for task in found] == [
    {"loss.margin": 0.2, "method": "joint", "model.norm": "bn"},
    {"loss.margin": 0.2, "optim.lr": 0.25},
  ]


def test_settings_keep_their_rows_alone(tmp_path, monkeypatch, capsys):
  tiny_study.pretend(monkeypatch)
  both = dataclasses.replace(tiny_study.STUDY, settings=("dg", "single-a"))
  known = {"pair": both, "other": tiny_study.STUDY}
  monkeypatch.setattr(
    catalogue, "CATALOGUE", tiny_study.CATALOGUE._replace(studies=known)
  )
  assert call(tmp_path, "all", "--settings=single-a") == 0
  jobs = sorted((tmp_path / "jobs" / "quick").glob("*/*"))
  assert [path.parent.name for path in jobs] == ["single-a"] * 2
  assert tables(tmp_path) == ["pair.json", "pair.md"]
  data = json.loads((tmp_path / "quick" / "pair.json").read_text())
  assert {row["setting"] for row in data["rows"]} == {"single-a"}
  assert call(tmp_path, "other", "--settings=single-a") == 2
  assert "no rows for the setting single-a" in capsys.readouterr().err
  assert call(tmp_path, "pair", "--settings=dg,single") == 2
  assert "no setting 'single'; use some of dg," in capsys.readouterr().err


def test_figures_of_the_table_and_of_the_first_seed(
  tmp_path, pretend, monkeypatch, capsys
):
  assert call(tmp_path, "pair", "--seeds=2") == 0
  # Real runs in place of the pretended ones'.
  for path in job_folders(tmp_path):
    arm = path.name.split("-")[0]
    run = tiny_run.finished(*(tiny_run.BASELINE if arm == "bn" else ()))
    (path / "run").symlink_to(run)
  made = {}

  def make_all(found, studies, options, output, say):
    made[output.folder.name] = [(run.name, run.workdir) for run in found]
    assert options == report_runs.Options()

  monkeypatch.setattr(kinds, "make_all", make_all)
  assert call(tmp_path, "pair", "--seeds=2", "--collect", "--figures") == 0
  folder = tmp_path / "quick" / "pair-figures"
  assert (folder / "bars.png").is_file()
  assert (folder / "bars.csv").is_file()
  first = [p for p in job_folders(tmp_path) if "seed2020" in p.name]
  labels = ("BN baseline", "MetaBIN")
  want = [(name, p / "run") for name, p in zip(labels, first, strict=True)]
  assert made == {"dg": want}


def test_studies_without_a_result_do_not_keep_others_from_being_drawn(
  tmp_path, pretend, monkeypatch, capsys
):
  study = tiny_study.STUDY
  other = dataclasses.replace(
    study,
    name="none",
    entries=(
      dataclasses.replace(study.entries[0], changes={"loss.margin": 1}),
    ),
  )
  studies = {"none": other, "pair": study}
  with_two = tiny_study.CATALOGUE._replace(studies=studies)
  assert call(tmp_path, "pair") == 0
  monkeypatch.setattr(catalogue, "CATALOGUE", with_two)
  drawn = []
  monkeypatch.setattr(kinds, "make_bars", lambda files, *_: drawn.extend(files))
  monkeypatch.setattr(repro, "_draw_runs", lambda *unused: None)
  file = tmp_path / "all.json"
  words = ("--collect", "--figures", f"--json={file}")
  assert call(tmp_path, "all", *words) == 0
  assert "none: no row has been run, nothing to draw" in capsys.readouterr().err
  assert [path.name for path in drawn] == ["pair.json"]
  assert [d["study"] for d in json.loads(file.read_text())] == ["none", "pair"]


def test_more_targets_reach_the_jobs(tmp_path, pretend):
  spec = tiny_run.write_manifest(
    tmp_path / "more.csv", tiny_run.target_rows("y", persons=3)
  )
  words = ("--arms=bn", "--part=0/1", f"--add-target={spec}")
  assert call(tmp_path, "pair", *words) == 0
  (path,) = job_folders(tmp_path)
  assert job_folder.JobFolder(path).load_job()["more_targets"] == [spec]
  assert call(tmp_path, "pair", "--add-target=folder:/nowhere") == 2


def test_lists(tmp_path, pretend, capsys):
  assert call(tmp_path, "--list") == 0
  listed = capsys.readouterr().out.splitlines()
  assert listed[0].split(maxsplit=1) == ["pair", "Two arms"]
  assert [line.split()[0] for line in listed[1:]] == ["specification", "all"]
  assert call(tmp_path, "pair", "--list", "--seeds=2", "--part=1/2") == 0
  listed = capsys.readouterr().out.splitlines()
  assert [line.split()[:3] for line in listed] == [["to", "do", "quick"]] * 2
  assert all(" rho-seed202" in line for line in listed)
  assert not (tmp_path / "jobs").exists()


def test_the_real_studies_can_be_listed(tmp_path, capsys):
  for scale in ("quick", "full"):
    assert call(tmp_path, "all", "--list", f"--scale={scale}") == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(set(listed)) > 20


def test_table_s1_is_specified_once(tmp_path, pretend, monkeypatch, capsys):
  from metabin_jax.repro import specification

  asked = []

  def measure(names, **words):
    asked.append((names, words))
    return [{"backbone": "x"}]

  monkeypatch.setattr(specification, "measure", measure)
  monkeypatch.setattr(specification, "to_markdown", lambda rows: "| x |\n")
  monkeypatch.setattr(repro, "_SPECIFIED", "pair")
  assert call(tmp_path, "pair", "--collect") == 0
  assert not asked
  assert call(tmp_path, "pair") == 0
  assert call(tmp_path, "pair") == 0
  assert len(asked) == 1
  assert asked[0][0] == [*specification.BACKBONES]
  assert asked[0][1] == {"batch": 8, "repeats": 3}
  assert call(tmp_path, "specification", "--scale=full") == 0
  assert asked[1][1] == {}
  folder = tmp_path / "full"
  assert (folder / "specification.md").read_text() == "| x |\n"
  assert json.loads((folder / "specification.json").read_text()) == [
    {"backbone": "x"}
  ]
  assert "| x |" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("words", "said"),
  [
    ((), "name a study"),
    (("pairr",), "no study 'pairr' (did you mean 'pair'?)"),
    (("pair", "--part=2/2"), "2/2 is no part"),
    (("pair", "--part=1"), "1 is no part"),
    (("pair", "--jobs=0"), "0 is no number of processes"),
    (("pair", "--seeds=x"), "--seeds=x"),
    (("pair", "--arms=b"), "no arm 'b'"),
    (("pair", "--set", "optim.lrr=1"), "did you mean optim.lr?"),
    (("pair", "--scale=huge"), "--scale"),
    (("pair", "--part=0/2", "--json=x"), "--part makes no table"),
    (("pair", "--add-arm=/nowhere.py"), "--add-arm=/nowhere.py"),
  ],
)
def test_mistakes(tmp_path, pretend, capsys, words, said):
  assert call(tmp_path, *words) == 2
  assert said in capsys.readouterr().err
  assert not (tmp_path / "jobs").exists()


def test_help(capsys):
  assert main(["repro", "--help"]) == 0
  text = capsys.readouterr().out
  for flag in ("--scale", "--seeds", "--part", "--collect", "--add-arm"):
    assert flag in text


def start(out, *words) -> subprocess.Popen[str]:
  return subprocess.Popen(
    [sys.executable, "-c", COMMAND, "pair", f"--out={out}", *words],
    cwd=tiny_run.REPOSITORY,
    env=os.environ | {"JAX_PLATFORMS": "cpu"},
    stderr=subprocess.PIPE,
    stdout=subprocess.DEVNULL,
    text=True,
  )


def numbers(out) -> dict:
  """Everything in the results that must not depend on interruptions."""
  found = {}
  for path in job_folders(out):
    result = json.loads((path / "result.json").read_text())
    for key in ("cost", "date"):
      del result[key]
    found[path.name] = result
  return found


def wait_for(condition) -> None:
  deadline = time.monotonic() + 300
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.05)


@pytest.mark.slow
def test_stopped_and_continued_equals_two_parts_at_once(tmp_path):
  """Real trainings; in one folder stopped by SIGTERM, in the other shared."""
  stopped, shared = tmp_path / "stopped", tmp_path / "shared"
  # Long enough to be met at work, and the data of this process.
  data = tiny_study.base("quick", "dg").data
  settings = (
    "train.steps=40",
    f"data.sources={data.sources}",
    f"data.targets={data.targets}",
  )
  more = [word for setting in settings for word in ("--set", setting)]
  with start(stopped, *more) as runner:
    wait_for(lambda: [*stopped.glob("jobs/*/*/*/run/checkpoints/*")])
    runner.send_signal(signal.SIGTERM)
    _, said = runner.communicate()
  assert runner.returncode == 143, said
  assert "stopped, the same command continues" in said
  (path,) = job_folders(stopped)
  assert not (path / "result.json").exists()
  assert not (stopped / "quick").exists()
  with start(stopped, *more) as runner:
    _, said = runner.communicate()
  assert runner.returncode == 0, said
  assert "continuing at iteration" in (path / "log.txt").read_text()
  cost = json.loads((path / "result.json").read_text())["cost"]
  assert cost["sessions"] == 2
  assert cost["complete"]

  with start(shared, "--part=0/2", *more) as first:
    with start(shared, "--part=1/2", *more) as second:
      for runner in (first, second):
        _, said = runner.communicate()
        assert runner.returncode == 0, said
  assert len(job_folders(shared)) == 2
  assert numbers(shared) == numbers(stopped)


def test_an_arm_of_no_row_is_refused(tmp_path, pretend, capsys):
  assert call(tmp_path, "pair", "--arms=bn,rates") == 2
  said = capsys.readouterr().err
  assert "pair: no row has the arm rates; its arms are bn, rho." in said
  assert not (tmp_path / "jobs").exists()


def test_a_specification_has_no_list(tmp_path, capsys):
  assert call(tmp_path, "specification", "--list") == 2
  assert "leave out --list" in capsys.readouterr().err
