from __future__ import annotations

import pytest

from metabin_jax.data import folders
from metabin_jax.errors import UserError


def labels(records):
  return [(r.path.rsplit("/", 1)[1], r.pid, r.camid) for r in records]


def test_folder_with_splits(touch):
  root = touch(
    "train/1/a.jpg", "query/2/q_c1.jpg", "gallery/2/g_c2.jpg", "val/3/x.jpg"
  )
  dataset = folders.read_folder(root, name="n")
  assert labels(dataset.train) == [("a.jpg", "n/1", -1)]
  (fold,) = dataset.folds
  assert labels(fold.query) == [("q_c1.jpg", "n/2", 1)]
  assert labels(fold.gallery) == [("g_c2.jpg", "n/2", 2)]


@pytest.mark.parametrize(
  ("files", "message"),
  [
    (["Thumbs.db", "a.txt"], r"no image in .* \(2 other files ignored"),
    (["1/Thumbs.db"], r"no image in .* \(1 other files ignored"),
    (["a.jpg"], r"holds 1 images but no folder per person.*market reader"),
    (["train/a.jpg"], r"no image in .*train"),
    (["query/1/a.jpg"], r"has query but not gallery; a test needs both"),
    (["gallery/1/a.jpg", "train/1/b.jpg"], r"has gallery but not query"),
  ],
)
def test_folder_mistakes(touch, files, message):
  with pytest.raises(UserError, match=message):
    folders.read_folder(touch(*files), name="n")


def test_market_layout(touch):
  # The parent folder looks like a name of the grammar: only base names count.
  root = touch(
    "0009_c9/bounding_box_train/0002_c1s1_000451_03.jpg",
    "0009_c9/bounding_box_train/0007_c3s3_077419_03.jpg",
    "0009_c9/bounding_box_train/-1_c3s3_077419_03.jpg",
    "0009_c9/bounding_box_train/0000_c3s3_077419_03.jpg",
    "0009_c9/bounding_box_train/Thumbs.db",
    "0009_c9/query/0005_c2_f0046985.jpg",
    "0009_c9/bounding_box_test/-1_c1s1_000401_03.jpg",
    "0009_c9/bounding_box_test/0000_c1s1_000151_01.jpg",
    "0009_c9/bounding_box_test/0005_c6s1_000151_01.jpg.jpg",
    "0009_c9/gt_query/x.mat",
  )
  dataset = folders.read_market(f"{root}/0009_c9", name="m")
  assert labels(dataset.train) == [
    ("0002_c1s1_000451_03.jpg", "m/0002", 1),
    ("0007_c3s3_077419_03.jpg", "m/0007", 3),
  ]
  (fold,) = dataset.folds
  assert labels(fold.query) == [("0005_c2_f0046985.jpg", "m/0005", 2)]
  assert labels(fold.gallery) == [
    ("0000_c1s1_000151_01.jpg", "m/0000", 1),
    ("0005_c6s1_000151_01.jpg.jpg", "m/0005", 6),
  ]


def test_flat_folder_is_all_train(touch):
  root = touch(
    "001_01_1.png",
    "001_02_1.png",
    "p003_c2_d045.png",
    "0004_12.jpeg",
    "000_1_1.png",
  )
  dataset = folders.read_market(root, name="f")
  assert dataset.folds == ()
  assert labels(dataset.train) == [
    ("0004_12.jpeg", "f/0004", 12),
    ("001_01_1.png", "f/001", 1),
    ("001_02_1.png", "f/001", 2),
    ("p003_c2_d045.png", "f/p003", 2),
  ]


def test_flat_folder_split_by_camera(touch):
  root = touch(
    "001_01_1.png",
    "001_02_1.png",
    "002_03_1.png",
    "000_01_1.png",
    "000_02_1.png",
  )
  dataset = folders.read_market(
    root, name="f", query_cameras={1}, gallery_cameras={2, 3}
  )
  assert dataset.train == ()
  (fold,) = dataset.folds
  assert labels(fold.query) == [("001_01_1.png", "f/001", 1)]
  assert labels(fold.gallery) == [
    ("000_02_1.png", "f/000", 2),
    ("001_02_1.png", "f/001", 2),
    ("002_03_1.png", "f/002", 3),
  ]


@pytest.mark.parametrize(
  ("files", "options", "message"),
  [
    (["a.txt"], {}, r"no image in .* \(1 other files ignored"),
    (
      ["query/a.txt", "bounding_box_test/1_1_1.jpg"],
      {},
      r"no image in .*query",
    ),
    (["0001_c1.jpg", "image_001_1.jpg"], {}, r"1 of 2 images .* first image_0"),
    (["query/1_1_1.jpg"], {}, r"has query but not bounding_box_test"),
    (["-1_c1s1.jpg", "0000_c1s1.jpg"], {}, r"all 2 images .* are junk"),
    (["1_1_a.jpg"], {"query_cameras": {1}}, r"go together; give both"),
    (
      ["1_1_a.jpg", "1_2_a.jpg"],
      {"query_cameras": {1}, "gallery_cameras": {3, 5}},
      r"no image of gallery_cameras=3,5; its cameras are 1,2",
    ),
    (
      ["query/1_1_1.jpg", "bounding_box_test/1_2_1.jpg"],
      {"query_cameras": {1}, "gallery_cameras": {2}},
      r"are for flat folders, but .* has query and bounding_box_test",
    ),
  ],
)
def test_market_mistakes(touch, files, options, message):
  with pytest.raises(UserError, match=message):
    folders.read_market(touch(*files), name="n", **options)
