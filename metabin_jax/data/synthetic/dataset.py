"""The benchmark on disk: rendered once, checked by its hash, then read."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL

from metabin_jax import errors
from metabin_jax.data.synthetic import camera_listing, listing, style, workers
from metabin_jax.data.synthetic.presets import CameraPreset, Preset, get_preset

# Raised by hand when the pictures are meant to change. The sources' hash
# catches what was changed without meaning it.
RENDERER_VERSION = 1
# What the pictures depend on, besides NumPy and Pillow.
_SOURCES = (
  "bags.py",
  "colours.py",
  "figure.py",
  "garments.py",
  "head.py",
  "illuminant.py",
  "listing.py",
  "parts.py",
  "people.py",
  "photograph.py",
  "pose.py",
  "render.py",
  "scene_props.py",
  "scene_surfaces.py",
  "scenes.py",
  "style.py",
  "tube.py",
  "../seeding.py",
)
# What those of a preset of many cameras depend on besides.
_CAMERA_SOURCES = ("camera_listing.py",)
_COLUMNS = ("path", "pid", "camid", "domain", "split")
_log = logging.getLogger(__name__)


def ensure(
  preset: str,
  root: str | os.PathLike[str] | None = None,
  *,
  workers: int | None = None,
  progress: bool = True,
) -> Path:
  """Returns the manifest of a rendered benchmark, rendering it if need be.

  A complete data set whose files have the recorded SHA-256 is used as it is.
  Otherwise everything is rendered into a temporary folder beside it, which is
  renamed when complete: a killed run or two runs at once leave no half set.

  Args:
    preset: a name in `presets.PRESETS`.
    root: folder of the data sets; by default `synthetic` below the folder in
      the environment variable METABIN_CACHE, or below ~/.cache/metabin_jax.
    workers: processes to render with; by default one for each core, and none
      beside this one for a small preset. The pictures do not depend on it.
    progress: whether to report on stderr: a bar on a terminal, else a line
      for every tenth.

  Returns:
    Path of `manifest.csv`; its paths are relative to its folder.

  Raises:
    UserError: for an unknown preset, a wrong number of workers, or a folder
      that cannot be written.
  """
  return ensure_preset(
    get_preset(preset), root, workers=workers, progress=progress
  )


def ensure_preset(
  preset: Preset,
  root: str | os.PathLike[str] | None = None,
  *,
  workers: int | None = None,
  progress: bool = True,
) -> Path:
  """As `ensure`, for a preset that need not be in the table."""
  if workers is not None and workers < 1:
    raise errors.UserError(
      f"The number of workers is {workers}; it must be at least 1, or left out "
      "to use all cores."
    )
  root = Path(root) if root is not None else default_root()
  folder = root / f"{preset.name}-{settings_hash(preset)[:12]}"
  if folder.exists():
    fault = find_fault(folder)
    if fault is None:
      return folder / "manifest.csv"
    _log.warning("Rendering %s again: %s.", folder, fault)
  try:
    _render(preset, root, folder, workers, progress)
  except OSError as error:
    raise errors.UserError(
      f"Cannot write the synthetic data set below {root} "
      f"({error.strerror or error}); free some space or name another folder "
      "in the environment variable METABIN_CACHE."
    ) from error
  return folder / "manifest.csv"


def default_root() -> Path:
  """Returns the folder that holds the rendered data sets."""
  cache = os.environ.get("METABIN_CACHE")
  base = Path(cache) if cache else Path.home() / ".cache" / "metabin_jax"
  return base / "synthetic"


def settings_hash(preset: Preset) -> str:
  """SHA-256 over the preset, the styles and the code that draws."""
  here = Path(__file__).parent
  digest = hashlib.sha256()
  digest.update(json.dumps(_settings(preset), sort_keys=True).encode())
  cameras = isinstance(preset, CameraPreset)
  for name in (*_SOURCES, *(_CAMERA_SOURCES if cameras else ())):
    # Line ends may differ between checkouts.
    digest.update((here / name).read_bytes().replace(b"\r\n", b"\n"))
  return digest.hexdigest()


def find_fault(folder: Path) -> str | None:
  """Compares every file with the recorded hashes.

  Returns:
    None for a complete and unchanged data set, else what is wrong with it.
  """
  try:
    record = json.loads((folder / "dataset.json").read_text("utf-8"))
    recorded = record["sha256"]
    manifest = recorded["manifest.csv"]
    if _file_hash(folder / "manifest.csv") != manifest:
      return "manifest.csv was changed"
    for name, digest in _set_hashes(folder).items():
      if recorded.get(name) != digest:
        return f"the pictures in {name} were changed"
  except FileNotFoundError as error:
    return f"{Path(error.filename).name} is missing"
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    return f"its record cannot be read ({error})"
  return None


def _settings(preset: Preset) -> dict:
  return {
    "preset": dataclasses.asdict(preset),
    "renderer_version": RENDERER_VERSION,
    "domains": {
      name: dataclasses.asdict(look) for name, look in style.DOMAINS.items()
    },
  }


def _render(preset, root: Path, folder: Path, count, progress: bool) -> None:
  root.mkdir(parents=True, exist_ok=True)
  unfinished = root / f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}"
  unfinished.mkdir()
  try:
    shots = camera_listing.list_shots(preset)
    count = count or workers.default_workers(len(shots))
    with _progress(f"rendering {preset.name}", len(shots), progress) as report:
      workers.render_all(preset, shots, unfinished, count, report)
    _write_manifest(unfinished, shots)
    _write_record(unfinished, preset, shots)
    _publish(unfinished, folder)
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)


def _publish(unfinished: Path, folder: Path) -> None:
  """Moves the finished folder into place; the first of two processes wins."""
  for _ in range(5):
    try:
      os.rename(unfinished, folder)
    except OSError:
      if not folder.exists():
        raise
    else:
      return
    if find_fault(folder) is None:
      return
    # A broken set stands in the way. Renaming it first keeps the moment
    # without a data set short.
    aside = unfinished.with_name(unfinished.name + ".old")
    try:
      os.rename(folder, aside)
    except FileNotFoundError:
      continue  # another process moved it first
    shutil.rmtree(aside, ignore_errors=True)
  raise OSError(f"another process keeps changing {folder}")


def _write_manifest(folder: Path, shots: list[listing.Shot]) -> None:
  with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for shot in shots:
      writer.writerow(
        (shot.path, shot.identity, shot.camera, shot.domain_name, shot.split)
      )


def _write_record(folder: Path, preset: Preset, shots) -> None:
  counts: dict[str, dict[str, int]] = {}
  for name in style.DOMAINS:
    own = [shot for shot in shots if shot.domain_name == name]
    if not own:
      continue
    counts[name] = {
      "identities": len({shot.identity for shot in own}),
      "cameras": len({shot.camera for shot in own}),
    }
    for split in ("train", "query", "gallery"):
      number = sum(shot.split == split for shot in own)
      if number:
        counts[name][split] = number
  record = {
    "synthetic": True,
    **_settings(preset),
    "settings_sha256": settings_hash(preset),
    "sources": [name for name in counts if "train" in counts[name]],
    "targets": [name for name in counts if "query" in counts[name]],
    "counts": counts,
    "images": len(shots),
    "sha256": {
      "manifest.csv": _file_hash(folder / "manifest.csv"),
      **_set_hashes(folder),
    },
    # Another libjpeg may write other bytes for the same pixels.
    "written_with": {"numpy": np.__version__, "pillow": PIL.__version__},
  }
  text = json.dumps(record, indent=2) + "\n"
  (folder / "dataset.json").write_text(text, "utf-8")


def _set_hashes(folder: Path) -> dict[str, str]:
  """SHA-256 over the names and bytes of each domain's splits."""
  digests: dict[str, hashlib._Hash] = {}
  with open(folder / "manifest.csv", newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file):
      digest = digests.setdefault(
        f"{row['domain']}/{row['split']}", hashlib.sha256()
      )
      data = (folder / row["path"]).read_bytes()
      # Name and length keep bytes from moving between files unseen.
      digest.update(f"{row['path']} {len(data)}\n".encode())
      digest.update(data)
  return {name: digest.hexdigest() for name, digest in digests.items()}


def _file_hash(path: Path) -> str:
  return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _progress(
  label: str, total: int, wanted: bool
) -> Iterator[Callable[[int], None]]:
  """Yields a function that takes the number of pictures just finished."""
  if not wanted:
    yield lambda number: None
  elif sys.stderr.isatty():
    import tqdm

    with tqdm.tqdm(total=total, desc=label, unit="image") as bar:
      yield bar.update
  else:
    done = 0

    def report(number: int) -> None:
      nonlocal done
      before, done = done, done + number
      if 10 * before // total < 10 * done // total:
        share = 10 * (10 * done // total)
        print(f"{label}: {share} % of {total} images", file=sys.stderr)

    yield report
