"""MAR's arms: the published recipe at full scale, a start that fits it."""

from __future__ import annotations

import pathlib
import runpy

import pytest

from metabin_jax.errors import UserError
from metabin_jax.repro import jobs, preparation, scales
from metabin_jax.repro.arms import ARMS
from metabin_jax.repro.catalogue import CATALOGUE
from metabin_jax.repro.mar_arms import MAR_ARMS
from metabin_jax.repro.mar_tables import MAR_STUDIES
from metabin_jax.runtime import resolve

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def resolved(name, scale, setting="site"):
  config = scales.get_config(scale, setting)
  changes = scales.overrides(ARMS[name], setting, scale)
  config.update_from_flattened_dict(changes)
  return resolve.resolve(config)


@pytest.mark.parametrize(
  ("arm", "variant"), [("mar", "market1501"), ("mar_start", "pretrain")]
)
def test_the_full_scale_is_the_configuration_file_s(arm, variant):
  file = runpy.run_path(str(CONFIGS / "mar_resnet50.py"))
  published = resolve.resolve(file["get_config"](variant)).to_dict()
  found = resolved(arm, "full").to_dict()
  for data in (published, found):
    for key in ("checkpoint_every_steps", "keep_checkpoints"):
      data["train"].pop(key)
    # Neither has a meta step; MAR's iterations take one update anyway.
    first = data.pop("meta")["first_base_updates"]
    assert first == 1 or arm == "mar"
  # Both are scored at the site; and other arms need its cameras as domains.
  published["data"]["targets"] = found["data"]["targets"]
  (source,) = published["data"]["sources"]
  assert found["data"]["sources"] == (f"{source}&domain=camera",)
  published["data"]["sources"] = found["data"]["sources"]
  assert found == published


@pytest.mark.parametrize("scale", ["quick", "full"])
def test_the_start_is_of_the_same_network_and_persons(scale):
  start, mar = resolved("mar_start", scale), resolved("mar", scale)
  assert start.model.to_dict() | {"pretrained_classifier": True} == (
    mar.model.to_dict()
  )
  assert start.data.sources == mar.data.sources
  assert start.data.unlabelled == ()
  assert mar.data.unlabelled == mar.data.targets


def test_elsewhere_there_is_no_site():
  assert resolved("mar", "quick", "dg").data.unlabelled == ()


def test_a_user_s_targets_are_the_site():
  choice = jobs.Choice("quick", (1,), ("mar",), {"data.targets": ("folder:a",)})
  (study,) = [study for study in MAR_STUDIES if study.name == "mar_needs"]
  start, job = jobs.list_jobs([study], choice, CATALOGUE)
  assert job.overrides["data.unlabelled"] == ["folder:a"]
  assert "data.unlabelled" not in start.overrides
  assert start.overrides["data.targets"] == ["folder:a"]


def test_other_images_than_the_targets_can_be_learned_from():
  changes = {"data.targets": ("folder:a",), "data.unlabelled": ("folder:b",)}
  found = scales.overrides(ARMS["mar"], "site", "quick", changes)
  assert found["data.unlabelled"] == ("folder:b",)


def test_what_is_said_of_all_data_is_said_of_the_site_s():
  """`--allow-partial` reaches what the arm adds to the setting's data."""
  choice = jobs.Choice("full", (1,), ("mar",))
  (study,) = [study for study in MAR_STUDIES if study.name == "mar_needs"]
  listed = jobs.list_jobs([study], choice, CATALOGUE)
  tasks = preparation.make_tasks(
    listed, CATALOGUE, lambda specs: [f"{spec}!" for spec in specs]
  )
  data = tasks[-1].config.data
  assert tasks[-1].job.arm == "mar"
  assert data.unlabelled == data.targets
  for spec in (*data.sources, *data.unlabelled, *data.targets):
    assert spec.endswith("!")
    assert not spec.endswith("!!")


def test_every_run_of_mar_starts_from_that_of_its_seed():
  choice = jobs.Choice("quick", (1, 2), None, {"optim.momentum": 0.8})
  listed = jobs.list_jobs(MAR_STUDIES, choice, CATALOGUE)
  places = {job.name: place for place, job in enumerate(listed)}
  begun = [job for job in listed if job.start]
  assert {job.arm for job in begun} == {"mar"}
  assert len({job.name for job in begun if job.seed == 1}) == len(begun) / 2
  for job in begun:
    assert places[job.start.name] < places[job.name]
    assert (job.start.arm, job.start.seed) == ("mar_start", job.seed)
    # What is set for every run, and nothing that the row changes.
    assert job.start.overrides["optim.momentum"] == 0.8
    assert not any(key.startswith("mar.") for key in job.start.overrides)


def test_what_mar_is_cannot_be_set():
  choice = jobs.Choice("quick", (1,), None, {"model.neck": "batch_norm"})
  with pytest.raises(UserError, match=r"model.neck cannot be set"):
    jobs.list_jobs(MAR_STUDIES, choice, CATALOGUE)


def test_there_are_no_others():
  assert [arm.name for arm in MAR_ARMS] == ["mar_start", "mar"]
