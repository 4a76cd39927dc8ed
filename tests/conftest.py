"""Settings of every test, made before jax is first used."""

from __future__ import annotations

import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
_FLAG = "--xla_force_host_platform_device_count=8"
if _FLAG not in os.environ.get("XLA_FLAGS", ""):
  os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}".strip()
# Compiled programs, of the commands that tests start too. A folder of the
# user's choice serves several clones, as this folder's path is then no part of
# a program's key.
os.environ.setdefault(
  "JAX_COMPILATION_CACHE_DIR",
  str(pathlib.Path(__file__).parents[1] / ".cache" / "xla-tests"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "none")

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture
def float64():
  """The test computes in float64; numbers made outside it stay float32."""
  with jax.enable_x64(True):
    yield


@pytest.fixture(autouse=True, scope="module")
def _quick_compile(request):
  """Saves a third of the time of compiling, in processes of a test's own too.

  Not in golden_*: their float32 numbers must be those of ordinary programs. In
  all others alike, since runs of one file are compared with those of another,
  bit by bit; and for whole files, as their fixtures compile too.
  """
  if request.path.name.startswith("golden_"):
    yield
    return
  with pytest.MonkeyPatch.context() as patched:
    patched.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


# Worst error and its limit of every comparison with golden arrays.
_ROWS = pytest.StashKey[dict]()


def pytest_addoption(parser):
  parser.addoption(
    "--golden-table",
    action="store_true",
    help="print the worst error against the golden arrays, by item",
  )


def pytest_configure(config):
  config.stash[_ROWS] = {}


@pytest.fixture
def agree(request):
  """agree(item, error, limit) asserts error <= limit and keeps the worst."""
  rows = request.config.stash[_ROWS]

  def check(item: str, error: float, limit: float) -> None:
    share = error / limit
    worst, highest = rows.get(item, (0.0, 0.0))
    rows[item] = (max(worst, error), max(highest, share))
    assert error <= limit, f"{item}: error {error:.2e}, limit {limit:.2e}"

  return check


def pytest_terminal_summary(terminalreporter, config):
  if config.getoption("--golden-table"):
    terminalreporter.write_line("| item | worst error | share of its limit |")
    terminalreporter.write_line("|---|---|---|")
    for item, (error, share) in sorted(config.stash[_ROWS].items()):
      terminalreporter.write_line(f"| {item} | {error:.1e} | {share:.2f} |")
