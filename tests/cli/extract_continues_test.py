"""`metabin extract` goes on where it was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import picture_folder
import pytest
import tiny_run
from picture_folder import COUNT, command

from metabin_jax.cli.main import main
from metabin_jax.data import image_lists
from metabin_jax.errors import UserError
from metabin_jax.evaluation import embedding_file
from metabin_jax.runtime import extraction
from metabin_jax.runtime.extractor import Extractor


@pytest.fixture(scope="module", name="folder")
def folder_fixture(tmp_path_factory):
  return picture_folder.write(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module", name="extractor")
def extractor_fixture():
  return picture_folder.extractor()


# Ends itself in the second chunk, when its file is written but not in place.
KILLED = """
import os, signal, sys
from metabin_jax.runtime import extraction
extraction.CHUNK = 4
replace = os.replace
def replace_or_die(source, target):
  if any(target.parent.glob("chunk-*.npz")):
    os.kill(os.getpid(), signal.SIGKILL)
  replace(source, target)
extraction.os.replace = replace_or_die
from metabin_jax.cli.main import main
from metabin_jax.data import image_lists
sys.exit(main(sys.argv[1:]))
"""


def test_killed_and_continued_equals_never_stopped(
  folder, tmp_path, capsys, monkeypatch
):
  out = tmp_path / "e.npz"
  killed = subprocess.run(
    [sys.executable, "-c", KILLED, *command(folder, out)],
    cwd=tiny_run.REPOSITORY,
    capture_output=True,
    check=False,
  )
  assert killed.returncode == -signal.SIGKILL, killed.stderr
  assert not out.exists()
  monkeypatch.setattr(extraction, "CHUNK", 4)
  asked = []
  embed_files = Extractor.embed_files

  def count(self, paths, skip=False):
    asked.extend(paths)
    return embed_files(self, paths, skip)

  monkeypatch.setattr(Extractor, "embed_files", count)
  assert main(command(folder, out)) == 0
  assert "continuing: 1 of 3 chunks are done" in capsys.readouterr().err
  assert len(asked) == COUNT - 4
  whole = tmp_path / "whole.npz"
  assert main(command(folder, whole)) == 0
  np.testing.assert_array_equal(
    embedding_file.load(out).vectors, embedding_file.load(whole).vectors
  )
  assert sorted(os.listdir(tmp_path)) == ["e.npz", "whole.npz"]


@pytest.fixture(name="chunks")
def chunks_fixture(folder, extractor, tmp_path, monkeypatch):
  """extract(images, ...) in chunks of 4; (names asked for, lines said)."""
  monkeypatch.setattr(extraction, "CHUNK", 4)
  embed_files = Extractor.embed_files
  asked = []

  def count(self, paths, skip=False):
    asked.append([os.path.basename(path) for path in paths])
    return embed_files(self, paths, skip)

  monkeypatch.setattr(Extractor, "embed_files", count)
  shutil.copytree(folder, tmp_path / "pictures")

  def run(network=extractor, **options):
    asked.clear()
    said = []
    entries = image_lists.list_images([str(tmp_path / "pictures")])
    try:
      extraction.extract(
        network, entries, tmp_path / "parts", say=said.append, **options
      )
    except UserError as error:
      said.append(str(error))
    return [names[0] for names in asked], " ".join(said)

  return run


def test_chunks_before_an_unreadable_image_are_used_again(chunks, tmp_path):
  bad = tmp_path / "pictures" / "05.png"
  whole = bad.read_bytes()
  bad.write_bytes(b"no image")
  assert chunks()[0] == ["00.png", "04.png"]
  assert "1 finished chunk of images wait in" in extraction.waiting(
    tmp_path / "parts"
  )
  # As it is: the others of its chunk, and what was not reached.
  asked, said = chunks(skip=True)
  assert asked == ["04.png", "08.png"]
  assert said == "continuing: 1 of 3 chunks are done"
  assert chunks(skip=True)[0] == []
  # Without --skip-unreadable it is an error again.
  asked, said = chunks()
  assert asked == ["04.png"]
  assert "05.png cannot be read" in said
  # Mended, and removed: what does not hold it stays.
  bad.write_bytes(whole)
  asked, said = chunks()
  assert asked == ["04.png"]
  assert "1 finished chunk in" in said
  assert "not used: their images were changed, or are others" in said
  bad.unlink()
  assert chunks()[0] == ["04.png", "09.png"]


def test_chunks_of_another_batch_size_are_used_of_another_flip_not(chunks):
  run = tiny_run.finished()
  assert len(chunks()[0]) == 3
  asked, said = chunks(Extractor.from_checkpoint(run, batch_size=3))
  assert (asked, said) == ([], "continuing: 3 of 3 chunks are done")
  flipped = Extractor.from_checkpoint(run, batch_size=8, flip=True)
  asked, said = chunks(flipped)
  assert len(asked) == 3
  assert said.endswith("not used: of another network or another --flip")
  assert chunks()[0] == []


def test_one_command_at_a_time_writes_a_file(folder, tmp_path, capsys):
  out = tmp_path / "e.npz"
  with extraction.claim("--out", out) as parts:
    (parts / "chunk-of-the-first.npz").write_bytes(b"")
    assert main(command(folder, out)) == 2
    said = capsys.readouterr().err
    assert f"is being written by process {os.getpid()} on" in said
    assert os.listdir(tmp_path) == ["e.npz.parts"]
    assert (parts / "chunk-of-the-first.npz").exists()
  # What the first has not removed is there for the next.
  assert main(command(folder, out)) == 0
  assert os.listdir(tmp_path) == ["e.npz"]


def test_whoever_ends_early_says_what_is_finished(
  folder, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(extraction, "CHUNK", 4)
  out = tmp_path / "e.npz"
  embed_files = Extractor.embed_files

  def once(self, paths, skip=False):
    if not paths[0].endswith("00.png"):
      raise KeyboardInterrupt
    return embed_files(self, paths, skip)

  with monkeypatch.context() as stopped:
    stopped.setattr(Extractor, "embed_files", once)
    assert main(command(folder, out)) == 130
  said = capsys.readouterr().err
  assert f"1 finished chunk of images wait in {out}.parts; the same" in said
  assert said.endswith("metabin extract: interrupted\n")
  # Files that the user keeps there are not ours to delete.
  (tmp_path / "e.npz.parts" / "mine.txt").write_text("x")
  assert main(command(folder, out)) == 0
  assert os.listdir(tmp_path / "e.npz.parts") == ["mine.txt"]
