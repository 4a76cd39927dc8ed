from __future__ import annotations

import numpy as np
import pytest
import scipy.io
from miniatures import cuhk_sysu as small

from metabin_jax.data.public import cuhk_sysu_crops
from metabin_jax.errors import UserError


@pytest.fixture(params=["write_mat", "write_mat_73"])
def write(request, tmp_path):
  if request.param == "write_mat_73":
    pytest.importorskip("h5py")

  def written(persons):
    path = tmp_path / "Person.mat"
    getattr(small, request.param)(path, persons)
    return str(path)

  return written


def test_read_crops(write):
  path = write({12: [(7, (5, 6, 70, 80), 1)], 3: [(7, (1, 2, 3, 4), 0)] * 2})
  crops = cuhk_sysu_crops.read_crops(path)
  assert crops == (
    ("p00003_n01_s00007_hard0.png", "p3", "s7.jpg", (1, 2, 3, 4)),
    ("p00003_n02_s00007_hard0.png", "p3", "s7.jpg", (1, 2, 3, 4)),
    ("p00012_n01_s00007_hard1.png", "p12", "s7.jpg", (5, 6, 70, 80)),
  )
  assert all(type(number) is int for crop in crops for number in crop.box)


def test_one_person_with_one_appearance(write):
  path = write({1: [(2, (3, 4, 5, 6), 0)]})
  (crop,) = cuhk_sysu_crops.read_crops(path)
  assert crop == ("p00001_n01_s00002_hard0.png", "p1", "s2.jpg", (3, 4, 5, 6))


def test_a_box_of_part_pixels(write):
  path = write({1: [(2, (3, 4, 5.5, 6), 0)]})
  with pytest.raises(UserError, match=r"box .*5\.5.* is not of whole pixels"):
    cuhk_sysu_crops.read_crops(path)


@pytest.mark.parametrize("scene", ["../1", "1.png"])
def test_a_scene_of_another_name(write, scene):
  # Names from a file never lead out of the folder.
  path = write({1: [(scene, (3, 4, 5, 6), 0)]})
  with pytest.raises(UserError, match="is no known form"):
    cuhk_sysu_crops.read_crops(path)


def table(**fields):
  return np.array([tuple(fields.values())], [(field, "O") for field in fields])


def scene(**fields):
  whole = {"imname": "s1.jpg", "idlocate": [1, 1, 2, 2], "ishard": 0} | fields
  return table(**{k: v for k, v in whole.items() if v is not None})


@pytest.mark.parametrize(
  ("person", "message"),
  [
    (table(idname="p1", nAppear=1), "has no field scene in Person"),
    (table(nAppear=1, scene=scene()), "has no field idname in Person"),
    (
      table(idname="p1", nAppear=1, scene=scene(idlocate=None)),
      "has no field idlocate in Person",
    ),
    (3.0, "has no field idname in Person"),
    (table(idname="p1", nAppear=2, scene=scene()), "fewer scenes than nAppear"),
    (
      table(idname="p1", nAppear=1, scene=scene(idlocate=[1, 1, 2])),
      "cannot be read as the list of persons",
    ),
    (table(idname="x1", nAppear=1, scene=scene()), "'x1' .* no known form"),
    (
      np.repeat(table(idname="p1", nAppear=1, scene=scene()), 2),
      r"p00001_n01_s00001_hard0\.png occurs twice",
    ),
  ],
)
def test_other_content(tmp_path, person, message):
  path = tmp_path / "Person.mat"
  scipy.io.savemat(path, {"Person": person})
  with pytest.raises(UserError, match=message):
    cuhk_sysu_crops.read_crops(str(path))


def test_only_the_counted_appearances_are_taken(tmp_path):
  person = table(
    idname="p1", nAppear=1, scene=np.repeat(scene(), 2)[np.newaxis]
  )
  scipy.io.savemat(tmp_path / "Person.mat", {"Person": person})
  assert len(cuhk_sysu_crops.read_crops(str(tmp_path / "Person.mat"))) == 1


def test_other_content_of_matlab_73(tmp_path):
  h5py = pytest.importorskip("h5py")
  path = tmp_path / "Person.mat"
  small.write_mat_73(path, small.PERSONS)
  with h5py.File(path, "r+") as file:
    scene = file[file["Person/scene"][0, 0]]
    del scene["ishard"]
  with pytest.raises(UserError, match="has no field ishard in Person"):
    cuhk_sysu_crops.read_crops(str(path))
  with h5py.File(path, "r+") as file:
    del file["Person/idname"]
  with pytest.raises(UserError, match="has no field idname in Person"):
    cuhk_sysu_crops.read_crops(str(path))
  with h5py.File(path, "r+") as file:
    del file["Person"]
  with pytest.raises(UserError, match="has no variable Person"):
    cuhk_sysu_crops.read_crops(str(path))


def test_counted_appearances_of_matlab_73(tmp_path):
  h5py = pytest.importorskip("h5py")
  path = tmp_path / "Person.mat"
  small.write_mat_73(path, {1: small.PERSONS[1]})
  with h5py.File(path, "r+") as file:
    file["Person/nAppear"][...] = 1
  assert len(cuhk_sysu_crops.read_crops(str(path))) == 1
  with h5py.File(path, "r+") as file:
    file["Person/nAppear"][...] = 3
  with pytest.raises(UserError, match="p1 has fewer scenes than nAppear"):
    cuhk_sysu_crops.read_crops(str(path))


@pytest.mark.parametrize("content", [b"", b"no MATLAB file", b"MATLAB" * 40])
def test_a_broken_file(tmp_path, content):
  path = tmp_path / "Person.mat"
  path.write_bytes(content)
  with pytest.raises(UserError, match="cannot be read as the list of persons"):
    cuhk_sysu_crops.read_crops(str(path))


def test_a_file_that_ends_early(write):
  path = write(small.PERSONS)
  with open(path, "r+b") as file:
    file.truncate(900)
  with pytest.raises(UserError, match="cannot be read as the list of persons"):
    cuhk_sysu_crops.read_crops(path)


@pytest.mark.parametrize(
  ("box", "rows", "columns"),
  [
    ((1, 1, 0, 0), [0], [0]),
    ((2, 3, 2, 1), [2, 3], [1, 2, 3]),
    ((1, 1, 6, 4), [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6]),
    ((6, 4, 9, 9), [3, 4], [5, 6]),
    ((-1, 0, 3, 2), [0, 1], [0, 1]),
  ],
)
def test_cut(box, rows, columns):
  image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
  want = image[rows][:, columns]
  np.testing.assert_array_equal(cuhk_sysu_crops.cut(image, box), want)


@pytest.mark.parametrize("box", [(8, 1, 3, 3), (1, 6, 3, 3), (-9, -9, 3, 3)])
def test_cut_outside(box):
  image = np.zeros((5, 7, 3), np.uint8)
  with pytest.raises(ValueError, match="lies outside the image"):
    cuhk_sysu_crops.cut(image, box)


def test_loader_reads_a_scene_once(tmp_path, monkeypatch):
  small.build(tmp_path, "own")
  folder = str(tmp_path / "CUHK-SYSU" / "Image" / "SSM")
  path = str(tmp_path / "CUHK-SYSU" / "annotation" / "Person.mat")
  crops = cuhk_sysu_crops.read_crops(path)
  opened = []
  real = cuhk_sysu_crops.Image.open

  def noted(path):
    opened.append(path)
    return real(path)

  monkeypatch.setattr(cuhk_sysu_crops.Image, "open", noted)
  load = cuhk_sysu_crops.make_loader(crops, folder)
  for crop in sorted(crops, key=lambda crop: crop.scene):
    image = load(crop.name)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
  assert len(opened) == len(set(opened)) == 7


def test_loader_names_the_crop_outside(tmp_path):
  root = small.build(tmp_path, "own")
  crops = [cuhk_sysu_crops.Crop("p.png", "p1", "s1.jpg", (99, 1, 2, 2))]
  folder = str(root / "Image" / "SSM")
  load = cuhk_sysu_crops.make_loader(crops, folder)
  with pytest.raises(UserError, match=r"p\.png cannot be cut .*s1\.jpg: box"):
    load("p.png")
