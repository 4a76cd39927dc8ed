"""The three ways to start a command, help, and how errors become statuses."""

from __future__ import annotations

import runpy
import subprocess
import sys

import pytest
import tiny_run

import metabin_jax
from metabin_jax.cli import main as cli
from metabin_jax.cli import train as train_command
from metabin_jax.runtime.finite import NonFiniteError


def test_no_arguments_print_the_usage_and_fail(capsys):
  assert cli.main([]) == 2
  said = capsys.readouterr().err
  assert "usage: metabin COMMAND" in said
  assert "train" in said
  assert "evaluate" in said


@pytest.mark.parametrize("word", ["-h", "--help", "help"])
def test_help(capsys, word):
  assert cli.main([word]) == 0
  out, err = capsys.readouterr()
  assert "usage: metabin COMMAND" in out
  assert err == ""


@pytest.mark.parametrize(
  ("command", "words"),
  [
    ("train", ["--config=FILE", "--workdir=DIR", "--json=FILE"]),
    ("evaluate", ["RUN", "--target", "--add-target", "--json", "--cross-cam"]),
  ],
)
def test_help_of_commands(capsys, command, words):
  assert cli.main([command, "--help"]) == 0
  out, _ = capsys.readouterr()
  assert out.startswith(f"usage: metabin {command}")
  for word in words:
    assert word in out


def test_version(capsys):
  assert cli.main(["--version"]) == 0
  assert capsys.readouterr().out.strip() == metabin_jax.__version__


def test_unknown_command(capsys):
  assert cli.main(["trian"]) == 2
  assert "unknown command 'trian'" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("module", "words"),
  [
    ("metabin_jax", ["train"]),
    ("metabin_jax.train", []),
  ],
)
@pytest.mark.parametrize("flag", ["--help", "--config.modle.width=1"])
def test_modules_are_the_command(capsys, monkeypatch, module, words, flag):
  status = cli.main(["train", flag])
  expected = capsys.readouterr()
  monkeypatch.setattr(sys, "argv", [module, *words, flag])
  monkeypatch.delitem(sys.modules, module if words == [] else "", False)
  with pytest.raises(SystemExit) as left:
    runpy.run_module(module, run_name="__main__")
  assert left.value.code == status == (0 if flag == "--help" else 2)
  assert capsys.readouterr() == expected


def test_mistakes_in_flags_do_not_wait_for_jax():
  program = (
    "import sys\n"
    "from metabin_jax.cli.main import main\n"
    "for words in sys.argv[1].split('|'):\n"
    "  assert main(words.split()) == 2, words\n"
    "slow = {'jax', 'tensorflow', 'PIL', 'orbax'} & set(sys.modules)\n"
    "assert not slow, slow\n"
  )
  config = "--config=configs/quickstart.py"
  words = "|".join(
    [
      f"train {config} --workdir=runs/a --config.modle.width=1",
      f"train {config} --workdir=runs/a --config.model.width=wide",
      f"train {config}",
      "train --config=configs/nowhere.py --workdir=runs/a",
      "evaluate",
      "evaluate a --fast",
    ]
  )
  done = subprocess.run(
    [sys.executable, "-c", program, words],
    cwd=tiny_run.REPOSITORY,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr


def test_statuses_of_runs_that_fail(capsys, monkeypatch):
  def run_with(error):
    def run(argv):
      raise error

    monkeypatch.setattr(train_command, "run", run)
    return cli.main(["train"])

  assert run_with(NonFiniteError("iteration 3: loss is nan")) == 1
  assert capsys.readouterr().err == "metabin train: iteration 3: loss is nan\n"
  assert run_with(KeyboardInterrupt()) == 130
  assert "interrupted" in capsys.readouterr().err
  # A mistake of ours keeps its traceback.
  with pytest.raises(RuntimeError, match="ours"):
    run_with(RuntimeError("ours"))


@pytest.mark.parametrize(
  ("words", "status", "at_once"),
  [
    (["extract"], 130, True),
    (["train"], 130, False),
    (["extract"], 0, False),
    (["extract"], 2, False),
  ],
)
def test_an_interrupted_program_ends_at_once(
  monkeypatch, words, status, at_once
):
  """Without Python's shutdown, which threads of JAX may crash."""

  class EndedError(Exception):
    """The process would be over."""

  def end(code):
    raise EndedError(code)

  monkeypatch.setattr(cli, "main", lambda: status)
  monkeypatch.setattr(cli.os, "_exit", end)
  monkeypatch.setattr(sys, "argv", ["metabin", *words])
  with pytest.raises(EndedError if at_once else SystemExit) as ended:
    cli.run_program()
  assert ended.value.args == (status,)
