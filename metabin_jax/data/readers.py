"""Opens a data set from a one-line description."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterable

from metabin_jax.data import folders, manifest, tfds_reader
from metabin_jax.data.public import reading
from metabin_jax.data.public.registry import PUBLIC_SETS
from metabin_jax.data.records import UNKNOWN_CAMERA, DataSet, Fold, Record
from metabin_jax.errors import UserError

_KEYS: dict[str, tuple[str, ...]] = {
  "manifest": ("name", "domain", "domains"),
  "folder": ("name", "domain"),
  "market": ("name", "domain", "query_cameras", "gallery_cameras"),
  "synthetic": ("name", "domain", "domains"),
  "tfds": ("name", "domain", *tfds_reader.KEYS),
} | {
  name: ("name", "domain", *reading.keys(public))
  for name, public in PUBLIC_SETS.items()
}
READERS = tuple(_KEYS)


@dataclasses.dataclass(frozen=True)
class Spec:
  """A parsed description of a data set: reader, place and options."""

  reader: str
  location: str
  options: dict[str, str]


def parse_spec(text: str) -> Spec:
  """Splits `READER:PATH[?key=value[&key=value...]]`.

  Args:
    text: the description, for example `folder:/data/shop?name=shop`.

  Returns:
    The parts; the path is not looked at.

  Raises:
    UserError: for an unknown reader or key, or a missing part.
  """
  reader, colon, rest = text.partition(":")
  if not colon:
    raise UserError(
      f"{text!r} does not say how to read it; write READER:PATH, for example "
      f"folder:{text}, with READER one of {', '.join(READERS)}."
    )
  if reader not in _KEYS:
    raise UserError(
      f"unknown reader {reader!r} in {text!r}{_did_you_mean(reader, READERS)}; "
      f"use one of {', '.join(READERS)}."
    )
  location, _, tail = rest.partition("?")
  if not location:
    raise UserError(f"{text!r} names no path; write {reader}:PATH.")
  options: dict[str, str] = {}
  for part in filter(None, tail.split("&")):
    key, _, value = part.partition("=")
    if key not in _KEYS[reader]:
      raise UserError(
        f"unknown key {key!r} in {text!r}{_did_you_mean(key, _KEYS[reader])}; "
        f"{reader} takes {', '.join(_KEYS[reader])}."
      )
    if not value:
      raise UserError(f"key {key!r} in {text!r} has no value; write {key}=...")
    if key in options:
      raise UserError(f"key {key!r} occurs twice in {text!r}; keep one.")
    options[key] = value
  return Spec(reader, location, options)


def add_option(spec: str, key: str, value: str) -> str:
  """Adds `key=value` to a description whose reader takes the key.

  Args:
    spec: the description.
    key: for example "partial".
    value: not looked at.

  Returns:
    The description; unchanged if its reader does not know the key, or if the
    key is there already.

  Raises:
    UserError: if the description is none.
  """
  parsed = parse_spec(spec)
  if key not in _KEYS[parsed.reader] or key in parsed.options:
    return spec
  return f"{spec}{'&' if '?' in spec else '?'}{key}={value}"


def open_dataset(spec: str) -> DataSet:
  """Opens a data set.

  `READER:PATH[?key=value[&key=value...]]`, where READER is

  * manifest: PATH is a CSV file (`manifest.read_manifest`); key `domains=a,b`
    keeps only these domains.
  * folder: one sub-folder per person (`folders.read_folder`).
  * market: names such as `0001_c1s1_...jpg` (`folders.read_market`); keys
    `query_cameras=1,2` and `gallery_cameras=3` make a test of a flat folder.
  * synthetic: PATH is a preset of the rendered benchmark; key `domains=a,b`.
  * tfds: PATH is a folder that TFDS has prepared by `tfds_builders`; keys as
    `tfds_reader.KEYS`.
  * the name of a public data set (`public.registry`): PATH is its folder, or a
    folder that holds it under an accepted name; keys as `public.reading` has
    them, among them `use=standard|all|train` and `partial=allow`.

  All take `name=NAME` (else the folder's, preset's or file's name) and
  `domain=camera`, which makes each camera a domain "<domain>/c<camid>".

  Args:
    spec: the description.

  Returns:
    The data set, with files and labels in an order that depends on names only.

  Raises:
    UserError: for any mistake in the description or in what it points to.
  """
  parsed = parse_spec(spec)
  options = parsed.options
  location = parsed.location
  if parsed.reader != "synthetic":
    location = os.path.abspath(os.path.expanduser(location))
  name = options.get("name") or _default_name(parsed.reader, location)
  if "/" in name:
    raise UserError(f"name {name!r} contains a slash; choose one without.")
  by_camera = options.get("domain") is not None
  if by_camera and options["domain"] != "camera":
    raise UserError(
      f"domain={options['domain']} in {spec!r} is unknown; the only choice is "
      "domain=camera."
    )
  dataset = _read(parsed.reader, location, name, options)
  return _camera_domains(dataset) if by_camera else dataset


def _read(
  reader: str, location: str, name: str, options: dict[str, str]
) -> DataSet:
  if reader in PUBLIC_SETS:
    return reading.read_public(
      PUBLIC_SETS[reader], location, name=name, options=options
    )
  if reader == "tfds":
    return tfds_reader.read_tfds(location, name=name, options=options)
  if reader == "folder":
    return folders.read_folder(location, name=name)
  if reader == "market":
    return folders.read_market(
      location,
      name=name,
      query_cameras=_numbers("query_cameras", options),
      gallery_cameras=_numbers("gallery_cameras", options),
    )
  if reader == "synthetic":
    # Here, not above: rendering is only loaded by those who use it.
    from metabin_jax.data import synthetic

    location = str(synthetic.ensure(location))
  domains = options.get("domains")
  return manifest.read_manifest(
    location, name=name, domains=domains.split(",") if domains else None
  )


def _default_name(reader: str, location: str) -> str:
  if reader in PUBLIC_SETS:
    return reader
  if reader == "tfds":
    return ""  # the public set's own, which its metadata tell
  base = os.path.basename(location)
  if reader != "manifest":
    return base or reader
  stem = os.path.splitext(base)[0]
  parent = os.path.basename(os.path.dirname(location))
  return parent if stem == "manifest" and parent else stem


def _numbers(key: str, options: dict[str, str]) -> set[int] | None:
  if key not in options:
    return None
  parts = options[key].split(",")
  if not all(part.isascii() and part.isdigit() for part in parts):
    raise UserError(
      f"{key}={options[key]} is not a list of camera numbers; write for "
      f"example {key}=1,2."
    )
  return {int(part) for part in parts}


def _camera_domains(dataset: DataSet) -> DataSet:
  def relabel(records: tuple[Record, ...]) -> tuple[Record, ...]:
    unknown = [r for r in records if r.camid == UNKNOWN_CAMERA]
    if unknown:
      raise UserError(
        f"domain=camera needs camera numbers, but {len(unknown)} images of "
        f"{dataset.name!r} have none, first {unknown[0].path}; add them or "
        "leave domain=camera out."
      )
    return tuple(
      dataclasses.replace(r, domain=f"{r.domain}/c{r.camid}") for r in records
    )

  return DataSet(
    dataset.name,
    relabel(dataset.train),
    tuple(
      Fold(fold.name, relabel(fold.query), relabel(fold.gallery))
      for fold in dataset.folds
    ),
    dataset.provenance,
  )


def _did_you_mean(word: str, allowed: Iterable[str]) -> str:
  close = difflib.get_close_matches(word, list(allowed), n=1)
  return f" (did you mean {close[0]!r}?)" if close else ""
