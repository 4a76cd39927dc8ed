"""docs/evaluation.md names what there is, and its commands are accepted."""

from __future__ import annotations

import pathlib
import re
import shlex

import pytest

from metabin_jax import default_config
from metabin_jax.cli.main import main
from metabin_jax.errors import UserError
from metabin_jax.runtime import scoring

TEXT = (pathlib.Path(__file__).parents[2] / "docs/evaluation.md").read_text(
  encoding="utf-8"
)
COMMANDS = re.findall(r"^metabin (.*)$", TEXT, re.M)


def test_every_key_is_explained():
  table = [line for line in TEXT.splitlines() if line.startswith("| `eval.")]
  named = {key for line in table for key in re.findall(r"`eval\.(\w+)`", line)}
  assert named == set(default_config.get_config().eval)


def test_flags_are_those_of_the_command(capsys):
  assert main(["evaluate", "--help"]) == 0
  known = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
  named = set(re.findall(r"--[a-z][a-z-]*", TEXT))
  assert named <= known
  assert {"--rerank", "--flip", "--query-expansion", "--ap"} <= named


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_accepted(command, capsys, monkeypatch):
  def load_run(*unused, **unused_too):
    raise UserError("reached its work")

  monkeypatch.setattr(scoring, "load_run", load_run)
  assert main(shlex.split(command)) == 2
  assert "reached its work" in capsys.readouterr().err


def test_there_are_commands():
  assert len(COMMANDS) >= 4
