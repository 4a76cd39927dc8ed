"""Arms from a user's file."""

from __future__ import annotations

import pytest
import tiny_study

from metabin_jax.errors import UserError
from metabin_jax.repro import jobs, own_arms

GOOD = """
import tiny_study

def get_config(scale):
  config = tiny_study.base(scale, "dg")
  config.model.norm = "in"
  config.loss.base = ("ce",)
  config.train.seed = 7
  config.optim.lr = 0.5 if scale == "full" else 0.25
  return config
"""


def load(tmp_path, text, name="mine", scale="quick"):
  path = tmp_path / f"{name}.py"
  path.write_text(text)
  return own_arms.load(path, scale, tiny_study.CATALOGUE)


def test_an_arm_is_what_the_file_changes(tmp_path):
  arm = load(tmp_path, GOOD)
  assert arm.name == arm.title == "mine"
  assert arm.changes == {
    "model.norm": "in",
    "loss.base": ("ce",),
    "optim.lr": 0.25,
  }
  assert load(tmp_path, GOOD, scale="full").changes["optim.lr"] == 0.5


def test_it_becomes_a_row_of_each_study(tmp_path):
  arm = load(tmp_path, GOOD)
  studies, catalogue = own_arms.add(
    [arm], [tiny_study.STUDY, tiny_study.STUDY], tiny_study.CATALOGUE
  )
  listed = jobs.list_jobs(studies, jobs.Choice("quick"), catalogue)
  assert [job.arm for job in listed] == ["bn", "rho", "mine"]
  assert studies[1].entries[-1].arm == "mine"
  assert len(tiny_study.STUDY.entries) == 3
  assert "mine" not in tiny_study.ARMS


@pytest.mark.parametrize(
  ("text", "name", "words"),
  [
    (GOOD, "rho", "an arm 'rho' already"),
    (GOOD, "my arm", "named after its file"),
    ("1 / 0", "mine", "ZeroDivisionError"),
    ("x = 1", "mine", "get_config"),
    ("def get_config(scale): return 3", "mine", "returns int"),
    ("def get_config(scale: (", "mine", "SyntaxError"),
  ],
)
def test_what_cannot_be_used_is_refused(tmp_path, text, name, words):
  with pytest.raises(UserError, match=words):
    load(tmp_path, text, name)


def test_a_missing_file_is_refused(tmp_path):
  for name in ("gone.py", "gone"):
    with pytest.raises(UserError, match="cannot be used"):
      own_arms.load(tmp_path / name, "quick", tiny_study.CATALOGUE)
