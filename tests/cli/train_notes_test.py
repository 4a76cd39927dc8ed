"""What `metabin train` says, or refuses, before it trains."""

from __future__ import annotations

import pytest
import tiny_run

from metabin_jax.errors import UserError
from metabin_jax.runtime import compilation_cache, loop

MLDG = ("--config.method=mldg", "--config.model.norm=bn")
ALONE = "the shuffle loss has no other domain"
UNTRAINED = "classifier and neck are not trained; add it to loss.mtest"


@pytest.fixture(name="said")
def said_fixture(monkeypatch, capsys, tmp_path):
  """said(*options) -> standard error of a command that stops at the loop."""

  def stop(*_, **__):
    raise UserError("stopped here.")

  monkeypatch.setattr(loop, "train", stop)
  monkeypatch.setattr(compilation_cache, "enable", lambda: None)

  def say(*options):
    assert tiny_run.train(tmp_path / "run", *options) == 2
    return " ".join(capsys.readouterr().err.split())

  return say


@pytest.mark.parametrize("method", [(), MLDG])
def test_a_meta_step_needs_two_domains(said, tmp_path, method):
  spec = tiny_run.write_manifest(
    tmp_path / "one.csv", tiny_run.train_rows(domains=("a",))
  )
  options = (f"--config.data.sources=('{spec}',)", *method)
  assert "only one domain (a)" in said(*options)
  baseline = said(*options, "--config.method=joint", "--config.model.norm=bn")
  assert "stopped here" in baseline


@pytest.mark.parametrize("method", [(), MLDG])
def test_shuffling_a_single_domain(said, method):
  one = ("--config.meta.num_mtrain=1", *method)
  assert ALONE in said(*one)
  assert ALONE not in said(*one, "--config.loss.mtrain=('triplet',)")
  assert ALONE not in said(*method)


def test_a_classifier_that_nothing_trains(said):
  bare = (*MLDG, "--config.meta.base_step=False")
  mtrain = "--config.loss.mtrain=('ce','triplet')"
  mtest = "--config.loss.mtest=('ce','triplet')"
  held = "--config.meta.combined=False"
  assert f"{UNTRAINED} or loss.mtrain." in said(*bare)
  assert f"{UNTRAINED}. " in said(*bare, held, mtrain)
  for options in ((*bare, mtrain), (*bare, mtest), (*bare, held, mtest), MLDG):
    assert UNTRAINED not in said(*options)
