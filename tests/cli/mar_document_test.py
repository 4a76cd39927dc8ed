"""docs/mar.md names what there is, with its defaults."""

from __future__ import annotations

import pathlib
import re

from metabin_jax import default_config

REPOSITORY = pathlib.Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs/mar.md").read_text(encoding="utf-8")


def test_every_key_is_explained_with_its_default():
  section = default_config.get_config().mar
  table = TEXT.partition("| key | default |")[2].partition("\n\n")[0]
  named = {}
  for line in table.splitlines()[2:]:
    _, keys, values, *_ = line.split("|")
    named |= dict(
      zip(
        re.findall(r"`(\w+)`", keys), values.strip(" ").split(", "), strict=True
      )
    )
  assert named.keys() == set(section)
  for key, text in named.items():
    value = section[key]
    if isinstance(value, str):
      assert text == f"`{value}`"
    elif value is None:
      assert text == "none"
    else:
      assert float(text) == value


def test_files_exist():
  named = re.findall(r"`((?:methods|ops)/\w+\.py)`", TEXT)
  assert len(set(named)) == 4
  for path in named:
    assert (REPOSITORY / "metabin_jax" / path).is_file()
  for path in re.findall(r"(?:configs|tests)/[\w/]+\.py", TEXT):
    assert (REPOSITORY / path).is_file()
