"""Every file in configs/ loads, resolves and fits the data it names."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

from metabin_jax.cli import main as cli
from metabin_jax.data import protocols, readers
from metabin_jax.errors import UserError
from metabin_jax.runtime import resolve

FOLDER = pathlib.Path(__file__).parents[1] / "configs"
FILES = sorted(FOLDER.glob("*.py"))
# What the Makefile asks of quickstart.py.
QUICKSTART = ("metabin", "bn", "short", "bn_short")


def load(path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


CASES = [
  (path, variant)
  for path in FILES
  for variant in getattr(load(path), "VARIANTS", QUICKSTART)
]


def get(name, variant="released"):
  return resolve.resolve(load(FOLDER / f"{name}.py").get_config(variant))


def num_domains(config):
  if "domain=camera" in config.data.sources[0]:
    return 6 if "market1501" in config.data.sources[0] else 8
  if config.data.sources[0].startswith("synthetic:"):
    return 5
  return len(config.data.sources)


@pytest.mark.parametrize(
  ("path", "variant"), CASES, ids=[f"{p.stem}:{v}" for p, v in CASES]
)
def test_loads_and_resolves(path, variant):
  module = load(path)
  config = resolve.resolve(module.get_config(variant))
  for spec in (*config.data.sources, *config.data.targets):
    readers.parse_spec(spec)
  assert resolve.to_dict(config) == resolve.to_dict(
    resolve.resolve(resolve.from_dict(resolve.to_dict(config)))
  )
  # Shuffled batches of single images divide by nothing.
  if config.data.sources and config.data.sampler != "shuffle":
    domains = num_domains(config)
    share, rest = divmod(
      config.data.batch_size, domains * config.data.instances
    )
    assert rest == 0
    assert share >= 2
    assert 1 <= config.meta.num_mtrain < domains


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_docstring_gives_the_command(path):
  assert f"--config=configs/{path.name} --workdir=" in load(path).__doc__


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_default_is_the_first_variant(path):
  module = load(path)
  first = getattr(module, "VARIANTS", ("metabin",))[0]
  assert module.get_config().to_dict() == module.get_config(first).to_dict()


@pytest.mark.parametrize(
  "path",
  [path for path in FILES if hasattr(load(path), "VARIANTS")],
  ids=lambda path: path.stem,
)
def test_unknown_variant_names_those_that_exist(path):
  module = load(path)
  with pytest.raises(UserError, match="'papre' is unknown") as error:
    module.get_config("papre")
  for variant in module.VARIANTS:
    assert variant in str(error.value)


def test_command_line_reports_an_unknown_variant(tmp_path, capsys):
  config = FOLDER / "baseline_bn.py"
  workdir = tmp_path / "run"
  status = cli.main(
    ["train", f"--config={config}:papre", f"--workdir={workdir}"]
  )
  assert status == 2
  assert "'papre' is unknown; use one of" in capsys.readouterr().err
  assert not workdir.exists()


@pytest.mark.parametrize("variant", QUICKSTART)
def test_quickstart_has_what_make_asks_for(variant):
  config = get("quickstart", variant)
  assert config.method == ("joint" if "bn" in variant else "metabin")
  assert config.model.norm == ("bn" if "bn" in variant else "bin")
  if "short" in variant:
    assert 0 < config.train.steps <= 50


def test_released_and_paper_differ_in_the_documented_keys():
  released = get("metabin_mobilenetv2")
  paper = get("metabin_mobilenetv2", "paper")
  assert released.meta.beta_times_rho_lr
  assert not paper.meta.beta_times_rho_lr
  assert (released.data.sampler, paper.data.sampler) == ("identity", "balanced")
  assert (released.optim.warmup_factor, paper.optim.warmup_factor) == (
    0.01,
    0.1,
  )


@pytest.mark.parametrize(
  ("name", "method", "norm", "joint_rho"),
  [
    ("metabin_mobilenetv2", "metabin", "bin", False),
    ("baseline_bn", "joint", "bn", False),
    ("baseline_in", "joint", "in", False),
    ("baseline_half", "joint", "bin_half", False),
    ("baseline_bin", "joint", "bin_shared", True),
  ],
)
def test_arms_of_table_4(name, method, norm, joint_rho):
  config = get(name)
  assert config.method == method
  assert config.model.norm == norm
  assert config.optim.joint_rho == joint_rho
  # The arms differ in nothing else.
  metabin = get("metabin_mobilenetv2").to_dict()
  rest = config.to_dict()
  for given in (metabin, rest):
    del given["method"], given["model"]["norm"], given["optim"]["joint_rho"]
  assert rest == metabin


def test_resnet50_has_its_own_width():
  config = get("metabin_resnet50")
  assert (config.model.backbone, config.model.width) == ("resnet50", 1.0)


@pytest.mark.parametrize(
  ("name", "num_mtrain", "rho_lr"), [("market", 3, 0.2), ("duke", 4, 0.5)]
)
def test_single_source(name, num_mtrain, rho_lr):
  config = get(f"single_source_{name}")
  assert config.data.batch_size == 96
  assert config.data.jitter
  assert config.meta.num_mtrain == num_mtrain
  assert config.optim.rho_lr == rho_lr
  assert config.optim.milestones_epochs == (50.0, 90.0)
  assert config.train.epochs == 120.0
  assert "ce" in config.loss.mtrain
  assert "ce" in config.loss.mtest


def test_no_duke_leaves_duke_out():
  specs = get("metabin_mobilenetv2", "no_duke").data.sources
  assert len(specs) == 4
  assert not any("duke" in spec for spec in specs)


def test_data_root_follows_the_environment(monkeypatch):
  monkeypatch.delenv("METABIN_DATA", raising=False)
  assert protocols.data_root() == "data"
  monkeypatch.setenv("METABIN_DATA", "/disk/reid")
  assert get("baseline_bn").data.sources[0] == ("cuhk02:/disk/reid?use=all")
