"""A folder of pictures, and how the tiny run embeds it."""

from __future__ import annotations

import pathlib

import tiny_run

from metabin_jax.runtime.extractor import Extractor

COUNT = 11


def write(folder: pathlib.Path) -> pathlib.Path:
  """Writes 00.png, 01.png, ...; returns the folder."""
  for number in range(COUNT):
    tiny_run.write_image(folder / f"{number:02d}.png", seed=100 + number)
  return folder


def extractor() -> Extractor:
  """Of the tiny run, as `command` has it."""
  return Extractor.from_checkpoint(tiny_run.finished(), batch_size=8)


def command(folder, out, *more) -> list[str]:
  """The words of `metabin extract` for a folder."""
  words = ["extract", str(tiny_run.finished()), str(folder), f"--out={out}"]
  return [*words, "--batch-size=8", *more]
