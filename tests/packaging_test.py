"""What is installed, what importing it costs, and who may import whom."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import pathlib
import re
import runpy
import subprocess
import sys
import tomllib

import pytest

import metabin_jax

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "metabin_jax"
TENSORFLOW = ("tensorflow", "tensorflow_datasets", "keras", "tensorboard")
# Module -> what it may import of these.
TENSORFLOW_IN = {
  "metabin_jax.data.pipeline": ("tensorflow",),
  "metabin_jax.data.tfds_reader": ("tensorflow_datasets",),
  "metabin_jax.data.tfds_builders.builder": ("tensorflow_datasets",),
}
# Importing this registers data sets with TFDS, which must be there.
BUILDERS = "metabin_jax.data.tfds_builders"
# Imported inside functions only -> the extra that installs it, or the core
# package that needs it itself.
LATE = {
  "faiss": "faiss",
  "h5py": "data",
  "matplotlib": "plots",
  "onnx": "onnx",
  "onnxruntime": "onnx",
  "scipy": "jax",
  "sklearn": "plots",
  "threadpoolctl": "scikit-learn",
}
# Imported name -> name that installs it, where they differ.
INSTALLED_AS = {
  "absl": "absl-py",
  "faiss": "faiss-cpu",
  "orbax": "orbax-checkpoint",
  "PIL": "pillow",
  "sklearn": "scikit-learn",
}

# Room -> rooms it may import, besides itself, errors and version.
ARROWS = {
  "ops": (),
  "models": ("ops",),
  "methods": ("models", "ops"),
  "data": (),
  "evaluation": ("models", "ops", "data.records"),
  "interop": ("models",),
  "runtime": (
    "methods",
    "models",
    "ops",
    "evaluation",
    "data",
    "interop",
    "default_config",
  ),
  "report": ("runtime", "methods", "models", "evaluation", "data"),
  "repro": (
    "data",
    "default_config",
    "evaluation",
    "methods",
    "models",
    "runtime",
  ),
  "cli": (
    "data",
    "default_config",
    "evaluation",
    "interop",
    "methods",
    "models",
    "ops",
    "report",
    "repro",
    "runtime",
  ),
  "default_config": (),
  "errors": (),
  "__init__": (),
  "__main__": ("cli",),
  "train": ("cli",),
}
# Room -> other packages it may import, besides the standard library.
PACKAGES = {
  "ops": {"jax"},
  "models": {"jax", "flax"},
  "methods": {"jax", "flax", "optax"},
  "data": {"numpy", "PIL", "tqdm", *LATE},
}


def module_name(path: pathlib.Path) -> str:
  parts = path.relative_to(ROOT).with_suffix("").parts
  return ".".join(parts)


def room_of(module: str) -> str:
  return module.split(".")[1] if "." in module else "__init__"


def imports(path: pathlib.Path, *, late: bool = True) -> list[str]:
  """Full names of everything a file imports; `late`: inside functions too."""
  found = []
  tree = ast.parse(path.read_text(encoding="utf-8"))
  for node in ast.walk(tree) if late else tree.body:
    if isinstance(node, ast.Import):
      found += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: write imports in full"
      assert node.module is not None
      found += [f"{node.module}.{alias.name}" for alias in node.names]
  return found


FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [
  module_name(path).removesuffix(".__init__")
  for path in FILES
  if path.name != "__main__.py"
]


def run_python(code: str) -> str:
  done = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def load_setup(monkeypatch) -> dict:
  setuptools = pytest.importorskip("setuptools")
  given: dict = {}
  monkeypatch.setattr(setuptools, "setup", lambda **words: given.update(words))
  monkeypatch.chdir(ROOT)
  runpy.run_path(str(ROOT / "setup.py"))
  return given


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_arrows_point_one_way(path):
  module = module_name(path)
  room = room_of(module)
  assert room in ARROWS, f"new room {room}: say in ARROWS what it may import"
  for name in imports(path):
    if name.split(".")[0] != "metabin_jax":
      continue
    inside = name.removeprefix("metabin_jax").removeprefix(".")
    if inside.split(".")[0] in (room, "errors", "__version__", ""):
      continue
    allowed = any(
      inside == other or inside.startswith(f"{other}.")
      for other in ARROWS[room]
    )
    assert allowed, f"{module} imports {name}; {room} may import {ARROWS[room]}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_other_packages_stay_in_their_rooms(path):
  module = module_name(path)
  room = room_of(module)
  for name in imports(path):
    top = name.split(".")[0]
    if top in ("metabin_jax", "__future__") or top in sys.stdlib_module_names:
      continue
    if top in TENSORFLOW:
      assert top in TENSORFLOW_IN.get(module, ()), f"{module} imports {name}"
    elif room in PACKAGES:
      assert top in PACKAGES[room], f"{module} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_slow_packages_are_imported_late(path):
  tops = {name.split(".")[0] for name in imports(path, late=False)}
  assert not tops & set(LATE)


def test_no_module_imports_tensorflow():
  listed = [name for name in MODULES if not name.startswith(BUILDERS)]
  assert len(listed) < len(MODULES)
  code = f"""
import importlib, sys
for name in {listed!r}:
  importlib.import_module(name)
print(*(n for n in {TENSORFLOW!r} if n in sys.modules))
"""
  assert run_python(code).split() == []


def test_builders_do_not_import_tensorflow():
  """Those who prepare data as ArrayRecord need not have it."""
  pytest.importorskip("tensorflow_datasets")
  code = f"""
import sys
import {BUILDERS}
print("tensorflow_datasets" in sys.modules, "tensorflow" in sys.modules)
"""
  assert run_python(code).split() == ["True", "False"]


def test_data_does_not_import_jax():
  listed = [name for name in MODULES if name.startswith("metabin_jax.data")]
  if importlib.util.find_spec("tensorflow_datasets") is None:
    listed = [name for name in listed if not name.startswith(BUILDERS)]
  assert len(listed) > 10
  code = f"""
import importlib, sys
for name in {listed!r}:
  importlib.import_module(name)
print(*(n for n in ("jax", "flax", "optax") if n in sys.modules))
"""
  assert run_python(code).split() == []


def test_import_is_quick():
  code = """
import time
start = time.perf_counter()
import metabin_jax
print(time.perf_counter() - start)
"""
  # The better of two: the first may wait for the disk.
  assert min(float(run_python(code)) for _ in range(2)) < 1.5


def test_setup_installs_the_package_and_nothing_beside_it(monkeypatch):
  given = load_setup(monkeypatch)
  assert given["version"] == metabin_jax.__version__
  assert "metabin_jax.data.synthetic" in given["packages"]
  assert all(
    name == "metabin_jax" or name.startswith("metabin_jax.")
    for name in given["packages"]
  )
  with_init = {module_name(path.parent) for path in PACKAGE.rglob("*.py")}
  assert set(given["packages"]) == with_init, "a folder lacks __init__.py"


def test_console_script_exists(monkeypatch):
  (script,) = load_setup(monkeypatch)["entry_points"]["console_scripts"]
  name, _, target = script.partition(" = ")
  module, _, function = target.partition(":")
  assert name == "metabin"
  assert callable(getattr(importlib.import_module(module), function))


def test_core_requires_what_is_imported(monkeypatch):
  given = load_setup(monkeypatch)
  required = {
    re.split(r"[<>=;\[ ]", line)[0] for line in (given["install_requires"])
  }
  used = {name.split(".")[0] for path in FILES for name in imports(path)} - {
    "metabin_jax",
    "__future__",
    *TENSORFLOW,
  }
  used -= {*sys.stdlib_module_names, *LATE}
  assert {INSTALLED_AS.get(name, name) for name in used} == required


def test_packages_that_are_imported_late_are_installed(monkeypatch):
  given = load_setup(monkeypatch)
  used = {name.split(".")[0] for path in FILES for name in imports(path)}
  for name in used & set(LATE):
    source = LATE[name]
    lines = given["extras_require"].get(source)
    if lines is None:
      lines = importlib.metadata.requires(source)
    required = {re.split(r"[<>=;\[ ]", line)[0] for line in lines}
    assert INSTALLED_AS.get(name, name) in required


def test_what_users_are_told_to_install_is_no_name_of_an_index():
  files = [*PACKAGE.rglob("*.py"), *ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
  for file in files:
    text = file.read_text(encoding="utf-8")
    # The package is on none: an extra is one of the folder, ".[extra]".
    assert "metabin_jax[" not in text, file
    assert not re.search(r"pip install \.\[", text), file


def test_constraints_allow_every_requirement(monkeypatch):
  """An exact version below a lower bound would make `make` fail."""
  requirements = pytest.importorskip("packaging.requirements")
  given = load_setup(monkeypatch)
  pinned = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
  )
  pinned = {name.lower().replace("_", "-"): v for name, v in pinned.items()}
  lines = [*given["install_requires"]]
  for extra in ("data", "onnx", "plots", "tensorboard", "test", "torch"):
    lines += given["extras_require"][extra]
  for line in lines:
    wanted = requirements.Requirement(line)
    name = wanted.name.lower().replace("_", "-")
    assert name in pinned, f"{wanted.name} is missing in constraints.txt"
    assert wanted.specifier.contains(pinned[name]), line


def test_ruff_and_python_agree(monkeypatch):
  tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
  assert load_setup(monkeypatch)["python_requires"] == ">=3.11"
  assert tools["ruff"]["target-version"] == "py311"
  assert tools["mypy"]["python_version"] == "3.11"
