"""docs/bnta.md names what there is, and its commands are accepted."""

from __future__ import annotations

import pathlib
import re
import shlex

import pytest

from metabin_jax import default_config
from metabin_jax.cli import main as cli
from metabin_jax.errors import UserError
from metabin_jax.repro.bnta_tables import BNTA_STUDIES
from metabin_jax.runtime import scoring

TEXT = (pathlib.Path(__file__).parents[2] / "docs/bnta.md").read_text(
  encoding="utf-8"
)
COMMANDS = re.findall(r"^metabin (.*)$", TEXT, re.M)


def test_every_key_is_explained_with_its_default():
  section = default_config.get_config().eval.bnta
  table = TEXT.partition("| key | default |")[2].partition("\n\n")[0]
  rows = [line.split("|") for line in table.splitlines()[2:]]
  named = {}
  for row in rows:
    keys = re.findall(r"`(\w+)`", row[1])
    values = [text.strip(" `") for text in row[2].split(", ")]
    named |= (
      dict(zip(keys, values, strict=True))
      if len(keys) > 1
      else {keys[0]: row[2].strip(" `")}
    )
  assert named.keys() == set(section)
  for key, text in named.items():
    value = section[key]
    shown = ",".join(value) if isinstance(value, tuple) else str(value)
    if key == "bn_arrays":
      assert (text, len(value)) == ("all four", 4)
    elif isinstance(value, float):
      assert float(text) == value
    else:
      assert text == shown.lower()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_accepted(command, monkeypatch, capsys):
  def refuse(*unused, **unused_too):
    raise UserError("reached its work")

  name, *words = shlex.split(command)
  if name == "repro":  # its studies are in tests/repro
    assert words[0] in {study.name for study in BNTA_STUDIES}
    return
  monkeypatch.setattr(scoring, "load_run", refuse)
  if name == "train":
    path = words[0].partition("=")[2]
    assert (pathlib.Path(__file__).parents[2] / path).is_file()
    return
  assert cli.main([name, *words]) == 2
  assert "reached its work" in capsys.readouterr().err


def test_studies_are_named():
  assert set(re.findall(r"`(bnta_\w+)`", TEXT)) == {
    study.name for study in BNTA_STUDIES
  }
