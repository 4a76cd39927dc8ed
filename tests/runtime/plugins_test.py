from __future__ import annotations

import hashlib
import sys

import pytest

from metabin_jax import default_config
from metabin_jax.errors import UserError
from metabin_jax.models import registry
from metabin_jax.runtime import plugins, resolve

PLUGIN = """
from metabin_jax.models import registry
from metabin_jax.models.norms.batch import BatchNorm

registry.register_norm({name!r}, BatchNorm, balanced={balanced})
"""


@pytest.fixture(autouse=True)
def _clean_registry(monkeypatch):
  registry.norms()  # ours first, so that they stay
  monkeypatch.setattr(registry, "_norms", dict(registry._norms))


def write(folder, name, balanced=False, file="mine.py"):
  path = folder / file
  path.write_text(PLUGIN.format(name=name, balanced=balanced))
  return str(path)


def config_with(*names, norm):
  config = default_config.get_config()
  config.method = "joint"
  config.model.norm = norm
  config.model.plugins = names
  return config


def test_a_file_adds_an_arm_that_resolve_knows(tmp_path):
  with pytest.raises(UserError, match=r"model\.norm is 'plug_a'"):
    resolve.resolve(config_with(norm="plug_a"))
  path = write(tmp_path, "plug_a")
  resolved = resolve.resolve(config_with(path, norm="plug_a"))
  assert resolved.model.norm == "plug_a"
  assert "plug_a" not in registry.balanced_norms()


def test_a_path_is_taken_from_the_working_directory(tmp_path, monkeypatch):
  write(tmp_path, "plug_b", balanced=True)
  monkeypatch.chdir(tmp_path)
  plugins.load(["mine.py"])
  assert "plug_b" in registry.balanced_norms()


def test_a_module_is_imported(tmp_path, monkeypatch):
  write(tmp_path, "plug_c", file="plug_c_module.py")
  monkeypatch.syspath_prepend(tmp_path)
  plugins.load(["plug_c_module"])
  assert "plug_c" in registry.norms()
  sys.modules.pop("plug_c_module")


def test_a_file_runs_once_and_again_when_it_has_changed(tmp_path):
  path = tmp_path / "counting.py"
  path.write_text("import sys\nsys.plug_count = sys.plug_count + 1\n")
  sys.plug_count = 0
  try:
    plugins.load([str(path)] * 2)
    assert sys.plug_count == 1
    path.write_text(path.read_text() + "\n# edited\n")
    plugins.load([str(path)])
    assert sys.plug_count == 2
  finally:
    del sys.plug_count


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (None, "No such file"),
    ("raise RuntimeError('oh no')", "RuntimeError: oh no"),
    ("def broken(:", "SyntaxError"),
  ],
)
def test_what_cannot_be_loaded_is_named(tmp_path, content, reason):
  path = tmp_path / "bad.py"
  if content is not None:
    path.write_text(content)
  # A second call says the same: nothing half-loaded stays.
  for _ in range(2):
    with pytest.raises(UserError, match=reason) as caught:
      plugins.load([str(path)])
    assert "bad.py" in str(caught.value)


def test_a_missing_module_is_named():
  with pytest.raises(UserError, match="no_such_module_anywhere"):
    plugins.load(["no_such_module_anywhere"])


def test_digests_are_those_of_the_files(tmp_path):
  path = write(tmp_path, "plug_d")
  plugins.load([path])
  with open(path, "rb") as file:
    want = hashlib.sha256(file.read()).hexdigest()
  assert plugins.digests([path]) == {path: want}


def test_names_must_be_text():
  with pytest.raises(UserError, match=r"model\.plugins is \(3,\)"):
    resolve.resolve(config_with(3, norm="bn"))
