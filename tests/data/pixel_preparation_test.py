"""Filling the cache: stopped, killed, crowded, on a full disk."""

from __future__ import annotations

import collections
import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

from metabin_jax.data import images, pixel_cache_folder, pixel_preparation
from metabin_jax.data.pixel_cache_file import PixelFile, file_bytes
from metabin_jax.data.records import DataSet, Record
from metabin_jax.errors import UserError

HEIGHT, WIDTH = 16, 8
COUNT = 27


@pytest.fixture(name="shop")
def shop_fixture(make_records):
  """A data set of 27 images."""
  return DataSet("shop", tuple(make_records(suffix="jpg")))


@pytest.fixture(name="prepare")
def prepare_fixture(tmp_path, shop, monkeypatch):
  """prepare(...) -> cache; in chunks of five images, by one thread."""
  monkeypatch.setattr(pixel_preparation, "CHUNK", 5)

  def prepare(datasets=None, said=None, **options):
    words = {
      "height": HEIGHT,
      "width": WIDTH,
      "root": tmp_path / "cache",
      "workers": 1,
      "say": [].append if said is None else said.append,
    }
    return pixel_preparation.prepare(datasets or [shop], **words | options)

  return prepare


@pytest.fixture(name="decoded")
def decoded_fixture(monkeypatch):
  """The files that are decoded."""
  paths = []
  real = images.load_image
  monkeypatch.setattr(
    images, "load_image", lambda *a: paths.append(a[0]) or real(*a)
  )
  return paths


def sorted_paths(dataset):
  return sorted(record.path for record in dataset.train)


def assert_right(cache, dataset):
  for path in sorted_paths(dataset):
    want = images.load_image(path, HEIGHT, WIDTH)
    np.testing.assert_array_equal(cache.load(path), want)


def finished(root):
  """How many images the only cache below a folder holds."""
  (file,) = root.glob("pixels/*/images.bin")
  return PixelFile(file, COUNT, HEIGHT, WIDTH).finished.sum()


def test_everything_is_decoded_once(prepare, shop, decoded):
  first = prepare()
  assert sorted(decoded) == sorted_paths(shop)
  decoded.clear()
  second = prepare()
  assert not decoded
  assert first.parts[0].folder == second.parts[0].folder
  assert first.parts[0].paths == tuple(sorted_paths(shop))
  assert first.parts[0].file.size == file_bytes(COUNT, HEIGHT, WIDTH)
  assert_right(second, shop)


def test_what_lies_in_the_folder(prepare, tmp_path):
  cache = prepare()
  (folder,) = (tmp_path / "cache" / "pixels").iterdir()
  assert folder == cache.parts[0].folder
  names = {path.name for path in folder.iterdir()}
  assert names == {"images.bin", "about.json", "lock"}
  about = json.loads((folder / "about.json").read_text())
  assert (about["data_set"], about["images"]) == ("shop", COUNT)


def test_lines_for_every_tenth(prepare):
  said = []
  prepare(said=said)
  # 5, 10, 15, 20, 25 and 27 of 27 images; each passes a tenth.
  assert len(said) == 7
  assert said[0].startswith("preparing shop: 5 of 27 images, ")
  assert said[0].endswith(" images/s")
  assert said[5].startswith("preparing shop: 27 of 27 images")
  assert said[6].startswith("27 images of shop are prepared in ")
  said.clear()
  prepare(said=said)
  assert len(said) == 1
  assert "are prepared in" in said[0]


def test_lines_are_few_where_chunks_are(prepare, monkeypatch):
  monkeypatch.setattr(pixel_preparation, "CHUNK", 1)
  said = []
  prepare(said=said)
  assert len(said) == 11


def test_data_sets_are_shared_among_experiments(prepare, shop, decoded):
  half, rest = shop.train[:9], shop.train[9:]
  one, other = DataSet("one", half), DataSet("other", rest)
  prepare([one])
  decoded.clear()
  cache = prepare([other, one])
  assert sorted(decoded) == sorted_paths(other)
  decoded.clear()
  # Another order, other labels, a file named twice: the same files.
  turned = tuple(
    Record(r.path, f"x/{r.pid}", 7, "x") for r in (*half[::-1], half[0])
  )
  again = prepare([DataSet("turned", turned)])
  assert not decoded
  assert again.parts[0].folder == cache.parts[1].folder


def test_changed_files_are_read_again(prepare, shop, write_image, decoded):
  before = prepare()
  changed = shop.train[3].path
  write_image(changed, seed=99, quality=50)
  after = prepare()
  assert after.parts[0].folder != before.parts[0].folder
  assert len(decoded) == 2 * COUNT
  assert_right(after, shop)


def test_sizes_have_caches_of_their_own(prepare, shop):
  prepare()
  cache = prepare(height=6, width=5)
  for path in sorted_paths(shop):
    want = images.load_image(path, 6, 5)
    np.testing.assert_array_equal(cache.load(path), want)


def test_data_sets_without_training_images_are_left_out(prepare, tmp_path):
  cache = prepare([DataSet("test")])
  assert cache.parts == ()
  assert not (tmp_path / "cache").exists()


def test_stopped_between_chunks(prepare, shop, tmp_path, decoded):
  answers = iter([False, False, False, True])
  said = []
  assert prepare(said=said, stopped=lambda: next(answers)) is None
  assert len(decoded) == 15
  assert finished(tmp_path / "cache") == 15
  assert not any("are prepared" in line for line in said)
  decoded.clear()
  assert_right(prepare(), shop)
  assert len(decoded) == 12 + COUNT  # the check reads all


def test_an_interruption_keeps_what_is_finished(
  prepare, shop, tmp_path, monkeypatch
):
  real = images.load_image
  stop_at = sorted_paths(shop)[12]

  def load(path, *size):
    if path == stop_at:
      raise KeyboardInterrupt
    return real(path, *size)

  monkeypatch.setattr(images, "load_image", load)
  with pytest.raises(KeyboardInterrupt):
    prepare()
  # Those of its own chunk that came first, and any the thread went on with.
  assert 12 <= finished(tmp_path / "cache") <= 14
  monkeypatch.setattr(images, "load_image", real)
  assert_right(prepare(), shop)


def test_an_error_drops_the_rest_of_its_chunk(
  prepare, shop, tmp_path, monkeypatch
):
  monkeypatch.setattr(pixel_preparation, "CHUNK", COUNT)
  real, wait = images.load_image, pixel_preparation.wait
  begun, dropped = threading.Event(), threading.Event()
  read = []

  def load(path, *size):
    read.append(path)
    if path == sorted_paths(shop)[0]:
      begun.wait(2)
      raise UserError("broken")
    begun.set()
    dropped.wait(2)
    return real(path, *size)

  def wait_for_the_rest(futures):
    dropped.set()
    return wait(futures)

  monkeypatch.setattr(images, "load_image", load)
  monkeypatch.setattr(pixel_preparation, "wait", wait_for_the_rest)
  with pytest.raises(UserError, match="broken"):
    prepare(workers=2)
  # The thread of the broken image may have taken one more.
  assert len(read) <= 3
  assert finished(tmp_path / "cache") == len(read) - 1


def test_a_broken_image_is_named_and_the_others_stay(
  prepare, shop, tmp_path, decoded
):
  bad = pathlib.Path(sorted_paths(shop)[12])
  status, content = bad.stat(), bad.read_bytes()
  bad.write_bytes(b"no image".ljust(len(content)))
  os.utime(bad, ns=(status.st_atime_ns, status.st_mtime_ns))
  with pytest.raises(UserError, match=f"{bad} cannot be read"):
    prepare()
  assert 12 <= finished(tmp_path / "cache") <= 14
  bad.write_bytes(content)
  os.utime(bad, ns=(status.st_atime_ns, status.st_mtime_ns))
  decoded.clear()
  cache = prepare()
  assert len(decoded) <= 15
  assert_right(cache, shop)


def test_a_missing_image_is_named(prepare, shop, tmp_path):
  os.unlink(shop.train[5].path)
  with pytest.raises(UserError, match=f"{shop.train[5].path} cannot be found"):
    prepare()
  assert not (tmp_path / "cache").exists()


CHILD = """
import json, os, signal, sys, time
from metabin_jax.data import images, pixel_preparation
from metabin_jax.data.records import DataSet, Record

paths, root, log, kill_after, go = json.loads(sys.argv[1])
pixel_preparation.CHUNK = 5
real = images.load_image
count = 0

def load(path, height, width):
  global count
  while go and not os.path.exists(go):
    time.sleep(0.01)
  if count == kill_after:
    os.kill(os.getpid(), signal.SIGKILL)
  count += 1
  image = real(path, height, width)
  with open(log, "a") as file:
    file.write(path + "\\n")
  return image

images.load_image = load
records = tuple(Record(path, path, 0, "d") for path in paths)
cache = pixel_preparation.prepare(
  [DataSet("shop", records)], height=16, width=8, root=root, workers=1,
  say=lambda line: print(line, flush=True),
)
assert all(
  (cache.load(path) == real(path, 16, 8)).all() for path in paths
)
"""


@pytest.fixture(name="start")
def start_fixture(tmp_path, shop):
  """start(...) -> a process that prepares the shop and logs what it reads."""
  started = []

  def start(log, kill_after=-1, go=""):
    words = [
      sorted_paths(shop),
      str(tmp_path / "cache"),
      str(tmp_path / log),
      kill_after,
      str(go),
    ]
    child = subprocess.Popen(
      [sys.executable, "-c", CHILD, json.dumps(words)],
      stdout=subprocess.PIPE,
      text=True,
    )
    started.append(child)
    return child

  yield start
  for child in started:
    child.kill()
    child.wait()
    child.stdout.close()


@pytest.mark.parametrize("after", [0, 3, 5, 17, 26])
def test_killed_and_continued(start, prepare, tmp_path, shop, decoded, after):
  child = start("log", kill_after=after)
  child.communicate()
  assert child.returncode == -signal.SIGKILL
  log = tmp_path / "log"
  before = log.read_text().split() if after else []
  assert len(before) == after
  cache = prepare()
  # No more than the chunk that was being worked on.
  assert len(decoded) == COUNT - after // 5 * 5
  assert not {*before[: after // 5 * 5]} & {*decoded}
  assert cache.verify() == 0
  assert_right(cache, shop)


def test_two_at_once_share_the_work(start, tmp_path, shop):
  go = tmp_path / "go"
  first = start("first", go=go)
  # The lock lies there once the first one works.
  while not list(tmp_path.glob("cache/pixels/*/images.bin")):
    assert first.poll() is None
  second = start("second")
  assert second.stdout.readline() == (
    "another process prepares shop; waiting for it to finish\n"
  )
  go.touch()
  assert first.wait() == second.wait() == 0
  read = collections.Counter((tmp_path / "first").read_text().split())
  assert read == collections.Counter(sorted_paths(shop))
  assert not (tmp_path / "second").exists()


def test_the_lock_of_a_killed_process_is_free(start, tmp_path, shop):
  first = start("first", go=tmp_path / "never")
  while not list(tmp_path.glob("cache/pixels/*/images.bin")):
    assert first.poll() is None
  first.kill()
  first.wait()
  second = start("second")
  out, _ = second.communicate()
  assert second.returncode == 0
  assert "waiting" not in out


def test_stopped_while_waiting(start, prepare, tmp_path):
  first = start("first", go=tmp_path / "go")
  while not list(tmp_path.glob("cache/pixels/*/images.bin")):
    assert first.poll() is None
  said = []
  assert prepare(said=said, stopped=lambda: bool(said)) is None
  assert said == ["another process prepares shop; waiting for it to finish"]


def test_stopped_while_waiting_leaves_nothing(prepare, shop, tmp_path):
  folder = pixel_cache_folder.find_folder(
    tmp_path / "cache", sorted_paths(shop), HEIGHT, WIDTH
  )
  nothing = {"on_wait": lambda: None, "stopped": lambda: False}
  with pixel_cache_folder.locked(folder, **nothing):
    assert prepare(stopped=lambda: True) is None
  assert [path.name for path in folder.iterdir()] == ["lock"]


@pytest.mark.parametrize("change", [-1, -4000, 1])
def test_a_file_of_another_length_is_made_anew(
  prepare, shop, caplog, decoded, change
):
  file = prepare().parts[0].folder / "images.bin"
  os.truncate(file, file.stat().st_size + change)
  decoded.clear()
  assert_right(prepare(), shop)
  assert len(decoded) == 2 * COUNT
  (warning,) = caplog.records
  assert "it is made anew" in warning.getMessage()
  assert str(file) in warning.getMessage()


def test_lost_records_cost_only_their_images(prepare, shop, decoded):
  file = prepare().parts[0].folder / "images.bin"
  with open(file, "r+b") as data:
    data.write(bytes(3 * 8) + b"\xff" * 8)
  decoded.clear()
  cache = prepare()
  assert decoded == sorted_paths(shop)[:4]
  assert_right(cache, shop)


def test_too_small_a_disk_is_seen_before_the_work(
  prepare, tmp_path, monkeypatch, decoded
):
  usage = types.SimpleNamespace(free=1000)
  monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
  size = file_bytes(COUNT, HEIGHT, WIDTH)
  with pytest.raises(
    UserError, match=f"needs {size:,} bytes, and 1,000 are free; .*cache_dir"
  ):
    prepare()
  assert not decoded
  assert not (tmp_path / "cache").exists()
  usage.free = size
  prepare()
  usage.free = 0  # what is there needs nothing
  prepare()


def test_the_room_of_all_data_sets_is_counted_once(
  prepare, shop, tmp_path, monkeypatch
):
  parts = [DataSet("a", shop.train[:9]), DataSet("b", shop.train[9:])]
  sizes = [file_bytes(n, HEIGHT, WIDTH) for n in (9, 18)]
  usage = types.SimpleNamespace(free=sum(sizes) - 1)
  monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
  with pytest.raises(UserError, match=f"needs {sum(sizes):,} bytes"):
    prepare(parts)
  usage.free += 1
  assert prepare([*parts, DataSet("c", shop.train[:9])]) is not None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_while_room_is_made(
  prepare, shop, tmp_path, monkeypatch, code
):
  def refuse(*unused):
    raise OSError(code, os.strerror(code))

  with monkeypatch.context() as full:
    full.setattr(os, "posix_fallocate", refuse)
    size = file_bytes(COUNT, HEIGHT, WIDTH)
    with pytest.raises(
      UserError,
      match=rf"needs {size:,} bytes, .* \({os.strerror(code)}; [\d,]+ bytes",
    ):
      prepare()
  files = [p.name for p in tmp_path.glob("cache/pixels/*/*")]
  assert files == ["lock"]
  assert_right(prepare(), shop)


def test_a_real_limit_on_the_length_of_files(start, tmp_path, shop):
  code = CHILD.replace(
    "images.load_image = load",
    "images.load_image = load\n"
    "import resource\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))",
  )
  words = [sorted_paths(shop), str(tmp_path / "cache"), "none", -1, ""]
  done = subprocess.run(
    [sys.executable, "-c", code, json.dumps(words)],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1
  last = done.stderr.strip().splitlines()[-1]
  assert last.startswith("metabin_jax.errors.UserError: the pixel cache ")
  assert "(File too large; " in last
  files = [p.name for p in tmp_path.glob("cache/pixels/*/*")]
  assert files == ["lock"]


@pytest.mark.parametrize("at", range(3))
def test_a_disk_that_fills_while_pixels_are_written(
  prepare, shop, tmp_path, monkeypatch, decoded, at
):
  """Reserved room can run out where changed blocks go elsewhere."""
  real = os.pwrite
  count = 0

  def write(*args):
    nonlocal count
    count += 1
    # Five pixels and five records a chunk.
    if count > 10 * at + 2:
      raise OSError(errno.ENOSPC, "No space left on device")
    return real(*args)

  with monkeypatch.context() as full:
    full.setattr(os, "pwrite", write)
    with pytest.raises(
      UserError, match=r"cannot be written \(No space left .*; free some space"
    ):
      prepare()
  decoded.clear()
  assert finished(tmp_path / "cache") == 5 * at
  assert_right(prepare(), shop)
  assert len(decoded) == COUNT - 5 * at + COUNT


def test_a_place_that_is_a_file(prepare, tmp_path):
  (tmp_path / "cache").touch()
  with pytest.raises(
    UserError, match=r"cannot be written .*name another folder"
  ):
    prepare()


def test_a_complete_cache_is_read_without_leave_to_write(
  prepare, shop, monkeypatch
):
  folder = prepare().parts[0].folder
  before = sorted((p.name, p.stat().st_mtime_ns) for p in folder.iterdir())
  real = os.open

  def refuse(name, flags, *rest, **words):
    if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
      raise OSError(errno.EROFS, "Read-only file system", name)
    return real(name, flags, *rest, **words)

  monkeypatch.setattr(os, "open", refuse)
  assert_right(prepare(), shop)
  monkeypatch.undo()
  after = sorted((p.name, p.stat().st_mtime_ns) for p in folder.iterdir())
  assert after == before


def test_default_place(prepare, tmp_path, monkeypatch):
  monkeypatch.setenv("METABIN_CACHE", str(tmp_path / "other"))
  cache = prepare(root=None)
  assert tmp_path / "other" / "pixels" == cache.parts[0].folder.parent
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  cache = prepare(root="~/here")
  assert tmp_path / "home" / "here" in cache.parts[0].folder.parents
