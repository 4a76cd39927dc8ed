from __future__ import annotations

import pytest

from metabin_jax.data import manifest
from metabin_jax.data.records import UNKNOWN_CAMERA, Record
from metabin_jax.errors import UserError

HEADER = "path,pid,camid,domain,split"


@pytest.fixture
def read(touch):
  def run(*lines, header=HEADER, encoding="utf-8", **options):
    root = touch("a.jpg", "b.jpg", "c.jpg", "sub/d.png")
    path = f"{root}/m.csv"
    with open(path, "w", encoding=encoding) as file:
      file.write("\n".join([header, *lines]) + "\n")
    return manifest.read_manifest(path, name="m", **options)

  return run


def test_reads_every_column(read, tmp_path):
  dataset = read(
    "a.jpg,007,,street,train",
    "b.jpg,1,unknown,,train",
    " sub/d.png , 1 ,3,street,query",
    f"{tmp_path}/c.jpg,1,04,street,gallery",
  )
  assert dataset.train == (
    Record(f"{tmp_path}/a.jpg", "m/007", UNKNOWN_CAMERA, "street"),
    Record(f"{tmp_path}/b.jpg", "m/1", UNKNOWN_CAMERA, "m"),
  )
  (fold,) = dataset.folds
  assert fold.name == "test"
  assert fold.query == (Record(f"{tmp_path}/sub/d.png", "m/1", 3, "street"),)
  assert fold.gallery == (Record(f"{tmp_path}/c.jpg", "m/1", 4, "street"),)


def test_folds_and_lines_common_to_all(read):
  dataset = read(
    "a.jpg,1,1,d,query,one",
    "b.jpg,1,2,d,gallery,one",
    "b.jpg,1,2,d,query,two",
    "a.jpg,1,1,d,gallery,two",
    "c.jpg,9,1,d,gallery,",
    header=HEADER + ",fold",
  )
  assert [fold.name for fold in dataset.folds] == ["one", "two"]
  assert [[r.pid for r in fold.gallery] for fold in dataset.folds] == [
    ["m/1", "m/9"],
    ["m/1", "m/9"],
  ]


def test_spreadsheet_byte_order_mark_and_extra_columns(read):
  dataset = read(
    'a.jpg,1,1,d,train,"blue, torn"',
    header=HEADER + ",note",
    encoding="utf-8-sig",
  )
  assert dataset.train[0].pid == "m/1"


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("a.jpg,1,1,d,test", r"line 2: split 'test' is unknown; use one of train,"),
    ("a.jpg,1,x,d,train", r"line 2: camid 'x' is not a camera number; use a"),
    ("a.jpg,1,-1,d,train", r"line 2: camid '-1' is not a camera number"),
    ("a.jpg,1,²,d,train", r"line 2: camid '²' is not a camera number"),
    (
      f"a.jpg,1,{2**31},d,train",
      r"line 2: camid 2147483648 is too large; use a whole number from 0 to",
    ),
    (f"a.jpg,1,1{5000 * '0'},d,train", r"line 2: camid 10+ is too large"),
    ("a.jpg,,1,d,train", r"line 2: pid is empty"),
    (",1,1,d,train", r"line 2: path is empty"),
    ("a.jpg,1,1,d", r"line 2: the number of cells differs"),
    ("a.jpg,1,1,d,train,x", r"line 2: the number of cells differs"),
    ("no.jpg,1,1,d,train", r"1 of 1 image files do not exist, first .*/no.jpg"),
    ("a.jpg,1,1,d,query", r"fold 'test' has no gallery line"),
    ("a.jpg,1,1,d,gallery", r"fold 'test' has no query line"),
    ('"a.jpg,1,1,d,train', r"not a UTF-8 CSV file \(unexpected end of data\)"),
  ],
)
def test_bad_line(read, line, message):
  with pytest.raises(UserError, match=message):
    read(line)


def test_bad_line_number_counts_from_the_header(read):
  with pytest.raises(UserError, match=r"m.csv, line 4: camid 'x'"):
    read("a.jpg,1,1,d,train", "b.jpg,1,1,d,train", "c.jpg,1,x,d,train")


def test_repeated_line(read):
  with pytest.raises(
    UserError, match=r"line 3: .*already a train image in line 2"
  ):
    read("a.jpg,1,1,d,train", "a.jpg,2,1,d,train")


def test_fold_on_a_train_line(read):
  with pytest.raises(UserError, match=r"line 2: a train line has fold '1'"):
    read("a.jpg,1,1,d,train,1", header=HEADER + ",fold")


def test_missing_columns(read):
  with pytest.raises(UserError, match=r"lacks the columns camid, domain; its"):
    read("a.jpg,1,train", header="path,pid,split")


def test_semicolons_are_recognized(read):
  with pytest.raises(UserError, match=r"must be separated by commas"):
    read("a.jpg;1", header=HEADER.replace(",", ";"))


def test_header_only(read):
  with pytest.raises(UserError, match=r"has no line below its header"):
    read()


def test_counts_missing_files(read):
  with pytest.raises(UserError, match=r"2 of 3 image files .*x.jpg \(line 3\)"):
    read("a.jpg,1,1,d,train", "x.jpg,1,1,d,train", "y.jpg,1,1,d,train")


def test_not_utf8(read):
  with pytest.raises(UserError, match="not a UTF-8 CSV file"):
    read("é.jpg,1,1,d,train", encoding="latin-1")
