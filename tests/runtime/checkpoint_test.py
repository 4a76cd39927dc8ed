from __future__ import annotations

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct

from metabin_jax.errors import UserError
from metabin_jax.runtime.checkpoint import CheckpointStore


@struct.dataclass
class State:
  step: jax.Array
  params: Any
  batch_stats: Any
  opt_params: Any
  key: jax.Array
  extra: Any = None


def make_state(seed: int = 0) -> State:
  rng = np.random.Generator(np.random.Philox(key=[seed, 0]))

  def draw(*shape):
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)

  params = {"conv": {"kernel": draw(40, 30), "bias": None}, "bn": draw(7)}
  tx = optax.chain(optax.trace(0.9), optax.scale_by_schedule(lambda n: n))
  return State(
    step=jnp.int32(seed),
    params=params,
    batch_stats={"mean": draw(5)},
    opt_params=tx.init(params),
    key=jax.random.key(seed),
    extra={"counts": jnp.arange(3, dtype=jnp.uint8), "none": None},
  )


def bits(leaf) -> tuple[str, tuple[int, ...], bytes]:
  kind = str(getattr(leaf, "dtype", type(leaf).__name__))
  if kind.startswith("key<"):
    leaf = jax.random.key_data(leaf)
  return kind, np.shape(leaf), np.asarray(leaf).tobytes()


def assert_same_bits(got, want):
  assert jax.tree.structure(got) == jax.tree.structure(want)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    assert bits(a) == bits(b)


@pytest.fixture
def lines():
  return []


@pytest.fixture
def store(tmp_path, lines):
  return CheckpointStore(tmp_path / "ckpt", keep_last=3, warn=lines.append)


def largest_file(store: CheckpointStore, step: int) -> pathlib.Path:
  files = (store.directory / str(step)).rglob("*")
  return max(files, key=lambda path: path.is_file() and path.stat().st_size)


class TestRoundTrip:
  def test_state_step_and_metadata(self, store, lines):
    state = make_state(3)
    metadata = {"config": {"lr": 0.1, "steps": [1, 2]}, "argv": ["train"]}
    store.save(20, state, metadata)
    abstract = jax.eval_shape(lambda: make_state(0))
    step, got, got_metadata = store.restore(abstract)
    assert step == 20
    assert got_metadata == metadata
    assert_same_bits(got, state)
    device = jax.local_devices()[0]
    assert all(leaf.devices() == {device} for leaf in jax.tree.leaves(got))
    assert not lines

  def test_every_kind_of_number_keeps_its_bits(self, store):
    nan = np.frombuffer(b"\x01\x00\xc0\x7f", np.float32)  # NaN with payload
    state = {
      "bfloat16": jnp.asarray([1.0, -0.0, 3.0e38], jnp.bfloat16),
      "float16": jnp.asarray([6e-8], jnp.float16),
      "nan": nan,
      "float64": np.array([1 / 3, 5e-324]),
      "int64": np.array([-(2**63)]),
      "bool": jnp.asarray([True, False]),
      "scalar": np.float64(0.1),
      "empty": np.zeros((0, 3), np.float32),
      "int": 2**40,
      "float": 0.1,
      "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
      "keys": jax.random.split(jax.random.key(1, impl="rbg"), 2),
      "old_key": jax.random.PRNGKey(7),
    }
    store.save(0, state)
    _, got, _ = store.restore(state)
    assert_same_bits(got, state)
    assert type(got["int"]) is int
    assert type(got["float64"]) is np.ndarray
    want = jax.random.normal(state["keys"][1])
    assert jax.random.normal(got["keys"][1]) == want

  def test_a_restored_state_trains_on_as_the_saved_one(self, store):
    state = make_state()
    store.save(1, state)
    _, got, _ = store.restore(state)

    @jax.jit
    def advance(state):
      noise = jax.random.normal(jax.random.fold_in(state.key, 1), (7,))
      params = state.params | {"bn": state.params["bn"] + noise}
      return state.replace(params=params, step=state.step + 1)

    step = jax.jit(advance, donate_argnums=0)
    assert_same_bits(step(got), advance(state))

  def test_an_array_spread_over_devices_comes_back_whole(self, store):
    mesh = jax.sharding.Mesh(jax.devices(), ("data",))
    rows = 3 * len(jax.devices())
    value = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    spec = jax.sharding.PartitionSpec("data")
    spread = jax.device_put(value, jax.sharding.NamedSharding(mesh, spec))
    store.save(1, {"w": spread})
    _, got, _ = store.restore({"w": jax.ShapeDtypeStruct((rows, 2), "float32")})
    assert got["w"].devices() == {jax.local_devices()[0]}
    np.testing.assert_array_equal(got["w"], value)

  def test_raw_needs_no_model(self, store):
    state = make_state(4)
    store.save(7, state, {"model": "tiny"})
    step, got, metadata = store.restore_raw()
    assert (step, metadata) == (7, {"model": "tiny"})
    assert set(got) >= {"params", "batch_stats", "opt_params"}
    kernel = got["params"]["conv"]["kernel"]
    assert isinstance(kernel, np.ndarray)
    np.testing.assert_array_equal(kernel, state.params["conv"]["kernel"])
    trace = got["opt_params"]["0"]["trace"]["bn"]
    np.testing.assert_array_equal(trace, np.zeros(7, np.float32))

  def test_saving_a_step_again_replaces_it(self, store):
    store.save(5, make_state(1))
    store.save(5, make_state(2))
    assert store.steps() == (5,)
    assert_same_bits(store.restore(make_state())[1], make_state(2))

  def test_orbax_alone_reads_it_too(self, store):
    ocp = pytest.importorskip("orbax.checkpoint")
    store.save(5, make_state(1), {"a": 1})
    with ocp.CheckpointManager(store.directory) as manager:
      assert manager.latest_step() == 5
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
      got = reader.restore(store.directory / "5" / "state")
    np.testing.assert_array_equal(
      got["params"]["bn"], make_state(1).params["bn"]
    )


class TestNothingThere:
  def test_restore_gives_none_and_makes_no_folder(self, store):
    assert store.restore(make_state()) is None
    assert store.steps() == ()
    assert not store.directory.exists()

  def test_raw_is_a_user_error(self, store):
    with pytest.raises(UserError, match="no checkpoint in"):
      store.restore_raw()

  def test_unknown_step_lists_the_known(self, store):
    store.save(3, make_state())
    with pytest.raises(UserError, match=r"no checkpoint step 4 .* steps 3"):
      store.restore_raw(4)


class TestDamage:
  @pytest.fixture(autouse=True)
  def two_checkpoints(self, store):
    store.save(10, make_state(1))
    store.save(20, make_state(2))

  def assert_falls_back(self, store, lines, reason):
    step, got, _ = store.restore(make_state())
    assert step == 10
    assert_same_bits(got, make_state(1))
    assert len(lines) == 1
    assert lines[0].startswith("checkpoint step 20 is damaged (")
    assert lines[0].endswith("): using step 10")
    assert reason in lines[0]

  @pytest.mark.parametrize("place", [0.0, 0.1, 0.35, 0.5, 0.75, 0.999])
  def test_one_flipped_bit_in_the_largest_file(self, store, lines, place):
    path = largest_file(store, 20)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0x10
    path.write_bytes(data)
    self.assert_falls_back(store, lines, "differs")

  def test_one_flipped_bit_in_each_file(self, store, lines):
    for path in sorted((store.directory / "20").rglob("*")):
      if path.is_file():
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        lines.clear()
        self.assert_falls_back(store, lines, "")
        path.write_bytes(data)
    assert store.restore(make_state())[0] == 20

  @pytest.mark.parametrize("size", [0, 100])
  def test_truncated_file(self, store, lines, size):
    os.truncate(largest_file(store, 20), size)
    self.assert_falls_back(store, lines, "differs")

  @pytest.mark.parametrize(
    "name", ["metadata", "state", "metadata/metadata", "metadata/files.json"]
  )
  def test_missing_part(self, store, lines, name):
    path = store.directory / "20" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    self.assert_falls_back(store, lines, "missing")

  def test_changed_leaves_behind_right_file_digests(
    self, store, lines, monkeypatch
  ):
    # What Orbax hands out must be what was in memory, not only the files.
    from metabin_jax.runtime import checkpoint_folder

    monkeypatch.setattr(checkpoint_folder, "_check_files", lambda folder: None)
    metadata = store.directory / "20" / "metadata" / "metadata"
    text = metadata.read_text()
    start = text.index('"digest": "') + len('"digest": "')
    other = "0" if text[start] != "0" else "1"
    metadata.write_text(text[:start] + other + text[start + 1 :])
    self.assert_falls_back(store, lines, "digest differs")

  def test_renamed_folder(self, store, lines):
    os.rename(store.directory / "20", store.directory / "30")
    assert store.restore(make_state())[0] == 10
    assert "step 30 is damaged (digest differs)" in lines[0]

  def test_all_damaged_is_a_user_error_naming_the_folder(self, store):
    for step in (10, 20):
      os.truncate(largest_file(store, step), 1)
    for restore in (lambda: store.restore(make_state()), store.restore_raw):
      with pytest.raises(UserError, match="can be used") as caught:
        restore()
      assert str(store.directory) in str(caught.value)
      assert "step 20: " in str(caught.value)

  def test_asking_for_the_damaged_step_is_a_user_error(self, store):
    os.truncate(largest_file(store, 20), 1)
    with pytest.raises(UserError, match=r"step 20 .* is damaged"):
      store.restore_raw(20)

  def test_the_run_saves_the_damaged_step_again(self, store, lines):
    os.truncate(largest_file(store, 20), 1)
    self.assert_falls_back(store, lines, "differs")
    store.save(20, make_state(5))
    assert_same_bits(store.restore(make_state())[1], make_state(5))

  def test_a_damaged_step_does_not_push_out_a_good_one(self, store, lines):
    store = CheckpointStore(store.directory, keep_last=2, warn=lines.append)
    os.truncate(largest_file(store, 20), 1)
    self.assert_falls_back(store, lines, "differs")
    store.save(15, make_state(5))
    assert store.steps() == (10, 15, 20)
    store.save(25, make_state(6))
    assert store.steps() == (15, 25)

  def test_without_a_callback_it_is_logged(self, store, caplog):
    os.truncate(largest_file(store, 20), 1)
    with caplog.at_level("WARNING", logger="absl"):
      CheckpointStore(store.directory).restore(make_state())
    assert "checkpoint step 20 is damaged" in caplog.text


class TestOtherModel:
  """Not damage: a clear error, and no fall back to an older step."""

  @pytest.mark.parametrize(
    ("change", "message"),
    [
      (
        lambda s: s.replace(batch_stats={"mean": jnp.zeros(6)}),
        r"batch_stats/mean is float32\[5\] there and float32\[6\] here",
      ),
      (
        lambda s: s.replace(batch_stats={"mean": jnp.zeros(5, jnp.bfloat16)}),
        r"float32\[5\] there and bfloat16\[5\] here",
      ),
      (
        lambda s: s.replace(batch_stats={"var": jnp.zeros(5)}),
        "batch_stats/var is not in it; batch_stats/mean is in it but not",
      ),
      (
        lambda s: s.replace(key=jax.random.key(0, impl="rbg")),
        r"key is key<fry>\[\] there and key<rbg>\[\] here",
      ),
    ],
  )
  def test_says_what_differs(self, store, lines, change, message):
    store.save(10, make_state(1))
    store.save(20, make_state(2))
    with pytest.raises(UserError, match=message) as caught:
      store.restore(change(make_state()))
    assert "step 20" in str(caught.value)
    assert not lines

  def test_a_long_list_is_cut(self, store):
    store.save(1, {"a": {str(i): jnp.zeros(1) for i in range(9)}})
    with pytest.raises(UserError, match="and 7 more"):
      store.restore({"b": jnp.zeros(1)})

  def test_float64_needs_x64(self, store):
    store.save(1, {"w": np.zeros(3)})
    abstract = {"w": jax.ShapeDtypeStruct((3,), np.float64)}
    with pytest.raises(UserError, match="JAX_ENABLE_X64"):
      store.restore(abstract)


class TestRetention:
  def test_keeps_the_last(self, tmp_path):
    store = CheckpointStore(tmp_path, keep_last=2)
    for step in (1, 2, 3, 10):
      store.save(step, {"w": np.full(2, step)})
    assert store.steps() == (3, 10)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["10", "3"]

  def test_keeps_every_so_often(self, tmp_path):
    store = CheckpointStore(tmp_path, keep_last=1, keep_every=4)
    for step in range(7):
      store.save(step, {"w": np.zeros(2)})
    assert store.steps() == (0, 4, 6)

  def test_an_older_step_deletes_no_newer_one(self, tmp_path):
    store = CheckpointStore(tmp_path, keep_last=1)
    store.save(20, {"w": np.zeros(2)})
    store.save(5, {"w": np.zeros(2)})
    assert store.steps() == (5, 20)

  def test_refuses_to_keep_nothing(self, tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
      CheckpointStore(tmp_path, keep_last=0)


class TestStrayFiles:
  def test_leftovers_and_strangers(self, store, lines):
    store.save(10, make_state(1))
    folder = store.directory
    (folder / ".saving-20").mkdir()
    (folder / ".saving-20" / "part").write_text("cut")
    (folder / ".saving-20.orbax-checkpoint-tmp").mkdir()
    (folder / ".deleting-5").mkdir()
    (folder / "30").write_text("a file named like a step")
    (folder / "040").mkdir()
    (folder / "notes.txt").write_text("mine")
    assert store.steps() == (10,)
    assert store.restore(make_state())[0] == 10
    assert not lines
    store.save(20, make_state(2))
    assert store.steps() == (10, 20)
    names = sorted(entry.name for entry in folder.iterdir())
    assert names == ["040", "10", "20", "30", "notes.txt"]

  def test_a_bare_folder_is_reported_and_left_alone(self, store, lines):
    store.save(10, make_state(1))
    (store.directory / "12").mkdir()
    assert store.restore(make_state())[0] == 10
    assert "step 12 is damaged" in lines[0]
    for step in (13, 14, 15):
      store.save(step, make_state())
    assert (store.directory / "12").is_dir()

  def test_killed_between_the_two_renames(self, store):
    store.save(10, make_state(1))
    os.rename(store.directory / "10", store.directory / ".replaced-10")
    assert store.restore(make_state())[0] == 10
    shutil.copytree(store.directory / "10", store.directory / ".replaced-10")
    store.save(20, make_state(2))
    assert not list(store.directory.glob(".replaced-*"))

  def test_a_failed_save_leaves_nothing_and_loses_nothing(
    self, store, monkeypatch
  ):
    store.save(10, make_state(1))

    def disk_full(*unused):
      raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
      store.save(10, make_state(2))
    monkeypatch.undo()
    assert [entry.name for entry in store.directory.iterdir()] == ["10"]
    assert_same_bits(store.restore(make_state())[1], make_state(1))


class TestRefuses:
  def test_what_is_no_array(self, store):
    with pytest.raises(ValueError, match="'a' is str, not an array"):
      store.save(1, {"a": "text", "b": np.zeros(1)})
    with pytest.raises(ValueError, match="holds no numbers"):
      store.save(1, {"a": None})
    with pytest.raises(ValueError, match="a name of its own"):
      store.save(1, np.zeros(3))
    with pytest.raises(ValueError, match="a name of its own"):
      store.save(1, {"a.b": np.zeros(1), "a": {"b": np.zeros(1)}})
    assert not store.directory.exists()

  @pytest.mark.parametrize("value", [float("nan"), np.zeros(2), {1, 2}])
  def test_metadata_that_is_no_json(self, store, value):
    with pytest.raises(ValueError, match="metadata cannot be written"):
      store.save(1, make_state(), {"a": value})

  def test_a_negative_step(self, store):
    with pytest.raises(ValueError, match="first step is 0"):
      store.save(-1, make_state())


SAVE_FOR_EVER = """
import sys
import numpy as np
from metabin_jax.runtime.checkpoint import CheckpointStore
store = CheckpointStore(sys.argv[1], keep_last=2)
found = store.restore({"w": np.zeros((64, 4096), np.float32)})
step = 0 if found is None else found.step
print("ready", flush=True)
while True:
  step += 1
  store.save(step, {"w": np.full((64, 4096), step, np.float32)})
  print(step, flush=True)
"""


def test_kill_in_mid_save_loses_at_most_that_save(tmp_path, lines):
  """SIGKILL at random moments; each run goes on from what the last left."""
  delays = random.Random(0)
  store = CheckpointStore(tmp_path, keep_last=2, warn=lines.append)
  for _ in range(3):
    with subprocess.Popen(
      [sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path)],
      stdout=subprocess.PIPE,
      text=True,
      env=os.environ | {"JAX_PLATFORMS": "cpu"},
      cwd=pathlib.Path(__file__).parents[2],
    ) as process:
      # A few whole saves, then somewhere within one.
      seen = [process.stdout.readline() for _ in range(5)]
      time.sleep(delays.uniform(0, 0.1))
      process.send_signal(signal.SIGKILL)
      rest = process.stdout.read().split()
    finished = int(([*seen, *rest])[-1])
    step, state, _ = store.restore({"w": np.zeros((64, 4096), np.float32)})
    assert step in (finished, finished + 1)
    assert (state["w"] == step).all()
    assert not lines
