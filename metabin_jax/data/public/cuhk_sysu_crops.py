"""Cuts the persons of CUHK-SYSU out of the full images, without MATLAB.

`annotation/Person.mat` lists each person's appearances, `Image/SSM` has the
images. As Pillow decodes them, single grey levels may differ from a crop made
by MATLAB, whose JPEG decoder is another one.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from metabin_jax.errors import UserError

_PERSON = re.compile(r"p(\d+)")
_SCENE = re.compile(r"s(\d+)\.jpg")
_VARIABLE = "Person"
_FIELDS = ("idname", "nAppear", "scene")
_APPEARANCE = ("imname", "idlocate", "ishard")


class Crop(NamedTuple):
  """One appearance of a person.

  Attributes:
    name: file name of the crop, "p00001_n01_s00001_hard0.png".
    pid: the person as in Person.mat, "p1".
    scene: file name of the full image, "s1.jpg".
    box: x, y of the upper left pixel, counted from 1, then the distance of the
      last column and row from these.
  """

  name: str
  pid: str
  scene: str
  box: tuple[int, int, int, int]


def read_crops(path: str) -> tuple[Crop, ...]:
  """Reads Person.mat.

  Args:
    path: the file, of any MATLAB version; version 7.3 needs h5py.

  Returns:
    The appearances of all persons, sorted by name.

  Raises:
    UserError: if the file is broken, or tells no persons.

  Source: MetaBIN reference datasets/make_cropped_image.m (fields and names).
  """
  crops: dict[str, Crop] = {}
  try:
    for person, appearances in _persons(path):
      for index, (scene, box, hard) in enumerate(appearances, start=1):
        crop = _crop(person, index, scene, box, hard)
        if crop.name in crops:
          raise ValueError(f"{crop.name} occurs twice")
        crops[crop.name] = crop
  except UserError:
    raise
  except Exception as error:
    # SciPy and h5py raise many kinds for a damaged file.
    raise UserError(
      f"{path} cannot be read as the list of persons of CUHK-SYSU "
      f"({str(error) or type(error).__name__}); get the file again."
    ) from error
  return tuple(crops[name] for name in sorted(crops))


def _crop(person: str, index: int, scene: str, box: Any, hard: Any) -> Crop:
  who, where = _PERSON.fullmatch(person), _SCENE.fullmatch(scene)
  if not who or not where:
    raise ValueError(f"person {person!r} in image {scene!r} is no known form")
  numbers = np.ravel(box)
  x, y, width, height = (int(number) for number in numbers)
  if list(numbers) != [x, y, width, height]:
    raise ValueError(f"box {list(numbers)} of {person} is not of whole pixels")
  name = (
    f"p{int(who[1]):05d}_n{index:02d}_s{int(where[1]):05d}_hard{int(hard)}.png"
  )
  return Crop(name, f"p{int(who[1])}", scene, (x, y, width, height))


def cut(image: np.ndarray, box: Sequence[int]) -> np.ndarray:
  """Cuts a box out of an image.

  Args:
    image: uint8 [H, W, 3].
    box: x, y, width, height as in `Crop`; parts outside the image are dropped.

  Returns:
    uint8 [height + 1, width + 1, 3] if the box lies inside: both ends belong to
    it.

  Raises:
    ValueError: if no pixel is left.

  Source: MetaBIN reference datasets/make_cropped_image.m,
    `im(ymin:ymin+height, xmin:xmin+width, :)`, where indices start at 1.
  """
  x, y, width, height = box
  rows = slice(max(y - 1, 0), max(y + height, 0))
  columns = slice(max(x - 1, 0), max(x + width, 0))
  cropped = image[rows, columns]
  if not cropped.size:
    raise ValueError(f"box {tuple(box)} lies outside the image.")
  return cropped


def make_loader(
  crops: Sequence[Crop], folder: str
) -> Callable[[str], np.ndarray]:
  """Makes a function from the name of a crop to its pixels.

  Args:
    crops: from `read_crops`.
    folder: Image/SSM.

  Returns:
    name -> uint8 [H, W, 3] RGB. It keeps the last full image, so ask scene by
    scene. Raises UserError if that image cannot be read.
  """
  by_name = {crop.name: crop for crop in crops}

  @functools.lru_cache(maxsize=1)
  def scene(path: str) -> np.ndarray:
    try:
      with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
      raise UserError(
        f"image {path} cannot be read ({error}); get it again."
      ) from error

  def load(name: str) -> np.ndarray:
    crop = by_name[name]
    path = os.path.join(folder, crop.scene)
    try:
      return cut(scene(path), crop.box)
    except UserError:
      raise
    except ValueError as error:
      raise UserError(
        f"{name} cannot be cut out of {path}: {error} Get Person.mat and the "
        "image again."
      ) from error

  return load


def no_identities(path: str, found: str) -> UserError:
  """Makes the error for an annotation without persons.

  Args:
    path: Person.mat.
    found: what is wrong with it.
  """
  return UserError(
    f"{path} {found}: archives made for the person search benchmark can lack "
    "who is who; ask the authors of CUHK-SYSU for the Person.mat with 11,934 "
    "persons (variable Person with idname, nAppear and scene), or use crops "
    "that others have made (folder cropped_image or cropped_images)."
  )


Person = tuple[str, list[tuple[str, Any, Any]]]


def _persons(path: str) -> Iterator[Person]:
  import scipy.io

  try:
    content = scipy.io.loadmat(
      path,
      squeeze_me=True,
      struct_as_record=False,
      variable_names=[_VARIABLE],
    )
  except NotImplementedError:  # SciPy's word for version 7.3
    yield from _persons_of_hdf5(path)
    return
  if _VARIABLE not in content:
    raise no_identities(path, f"has no variable {_VARIABLE}")
  for entry in np.atleast_1d(content[_VARIABLE]):
    _check_fields(path, getattr(entry, "_fieldnames", ()), _FIELDS)
    scenes = np.atleast_1d(entry.scene)[: int(entry.nAppear)]
    if len(scenes) != int(entry.nAppear):
      raise ValueError(f"{entry.idname} has fewer scenes than nAppear")
    for scene in scenes:
      _check_fields(path, getattr(scene, "_fieldnames", ()), _APPEARANCE)
    rows = [(str(s.imname), s.idlocate, s.ishard) for s in scenes]
    yield str(entry.idname), rows


def _check_fields(path: str, have: Any, want: Sequence[str]) -> None:
  lacking = [field for field in want if field not in have]
  if lacking:
    raise no_identities(path, f"has no field {lacking[0]} in {_VARIABLE}")


def _persons_of_hdf5(path: str) -> Iterator[Person]:
  """MATLAB 7.3: a struct array is a group with a column of references a field.

  A struct array of one element has its values there without references; texts
  are arrays of character codes.
  """
  try:
    import h5py
  except ImportError as error:
    raise UserError(
      f"{path} is a MATLAB 7.3 file, which needs h5py: pip install h5py."
    ) from error

  def values(group: Any, field: str) -> list[Any]:
    data = group[field]
    if isinstance(data, h5py.Dataset) and data.dtype == h5py.ref_dtype:
      return [group.file[reference] for reference in data[()].ravel()]
    return [data]

  def text(data: Any) -> str:
    return "".join(chr(code) for code in data[()].ravel())

  def number(data: Any) -> int:
    return int(data[()].item())

  with h5py.File(path) as file:
    if _VARIABLE not in file:
      raise no_identities(path, f"has no variable {_VARIABLE}")
    group: Mapping[str, Any] = file[_VARIABLE]
    _check_fields(path, group, _FIELDS)
    columns = (values(group, field) for field in _FIELDS)
    for idname, appearances, scene in zip(*columns, strict=True):
      _check_fields(path, scene, _APPEARANCE)
      count = number(appearances)
      parts = [values(scene, field)[:count] for field in _APPEARANCE]
      if any(len(part) != count for part in parts):
        raise ValueError(f"{text(idname)} has fewer scenes than nAppear")
      rows = [
        (text(image), box[()].ravel(), number(hard))
        for image, box, hard in zip(*parts, strict=True)
      ]
      yield text(idname), rows
