from __future__ import annotations

import pytest
import tiny_run

from metabin_jax.data.image_lists import Entry, list_images
from metabin_jax.errors import UserError


@pytest.fixture(name="folder")
def folder_fixture(tmp_path):
  for name in ("b.png", "a.png", "deep/er/c.png", "deep/d.png", ".hidden.png"):
    tiny_run.write_image(tmp_path / "pictures" / name, seed=1)
  (tmp_path / "pictures" / "notes.md").write_text("no image")
  return tmp_path / "pictures"


def names(*places):
  return [entry.name for entry in list_images([str(p) for p in places])]


def test_folder(folder):
  assert names(folder) == ["a.png", "b.png", "deep/d.png", "deep/er/c.png"]
  first, *_ = list_images([str(folder)])
  assert first == Entry("a.png", str(folder / "a.png"), "", -1)


def test_single_images_and_lists(folder):
  (folder.parent / "list.txt").write_text(
    "\ufeffpictures/b.png\n\n  pictures/deep/d.png\n", encoding="utf-8"
  )
  assert names(folder / "a.png", folder.parent / "list.txt") == [
    "a.png",
    "pictures/b.png",
    "pictures/deep/d.png",
  ]


def test_table_with_and_without_labels(folder):
  table = folder / "table.csv"
  table.write_text("pid,path,camid\nanna,a.png,2\n,b.png,\n")
  found = list_images([str(table)])
  assert [(e.pid, e.camid) for e in found] == [("anna", 2), ("", -1)]
  table.write_text("path\na.png\n")
  assert list_images([str(table)])[0].path == str(folder / "a.png")
  table.write_text("file\na.png\n")
  with pytest.raises(UserError, match="no column 'path'; its header is file"):
    list_images([str(table)])
  table.write_text("path,camid\na.png,left\n")
  with pytest.raises(UserError, match="line 2: camid 'left' is not a camera"):
    list_images([str(table)])
  for camid in (2**31, 10**23, "1" + 5000 * "0"):
    table.write_text(f"path,camid\nb.png,1\na.png,{camid}\n")
    with pytest.raises(UserError, match=r"line 3: camid \d+ is too large; use"):
      list_images([str(table)])
  table.write_text(f"path,camid\na.png,{2**31 - 1}\n")
  assert list_images([str(table)])[0].camid == 2**31 - 1
  table.write_text("path,camid\n,1\n")
  with pytest.raises(UserError, match="a line without a path"):
    list_images([str(table)])
  table.write_bytes(b"path\n\xff\xfe.png\n")
  with pytest.raises(UserError, match="not a UTF-8 CSV file"):
    list_images([str(table)])


@pytest.mark.parametrize(
  ("labels", "message"),
  [
    (("anna,1", "otto,1"), r"a\.png shows person anna \(.*csv, line 2\) and "),
    (("anna,1", "anna,2"), r"camera 1 \(.*, line 2\) and camera 2 \(.*line 3"),
  ],
)
@pytest.mark.parametrize("path", ["a.png", "./deep/../a.png"])
def test_two_labels_of_one_image_are_refused(folder, path, labels, message):
  table = folder / "table.csv"
  table.write_text(f"path,pid,camid\na.png,{labels[0]}\n{path},{labels[1]}\n")
  with pytest.raises(UserError, match=message):
    list_images([str(table)])


def test_labels_of_one_image_from_several_lines_and_places(folder):
  table = folder / "table.csv"
  table.write_text("path,pid,camid\na.png,anna,\na.png,anna,3\na.png,,\n")
  for places in ([table, folder], [folder, table], [table, table]):
    first, *_ = list_images([str(place) for place in places])
    assert first == Entry("a.png", str(folder / "a.png"), "anna", 3)
  other = folder / "other.csv"
  other.write_text("path,pid\na.png,otto\n")
  with pytest.raises(UserError, match=r"table.csv, line 2.*other.csv, line 2"):
    list_images([str(table), str(other)])
  other.write_text(
    "path,pid,camid,domain,split\na.png,1,1,d,query\na.png,2,1,d,gallery\n"
  )
  with pytest.raises(UserError, match=r"person other/1 .* person other/2"):
    list_images([f"manifest:{other}"])


def test_data_set():
  found = list_images([f"manifest:{tiny_run.root()}/test.csv"])
  assert len(found) == 15
  assert found[0].name == "0.png"
  assert found[0].path == str(tiny_run.root() / "test" / "0.png")
  assert {entry.camid for entry in found} == {0, 1, 2}
  assert found[0].pid.endswith("/x0")


def test_the_same_image_twice_counts_once_and_two_of_a_name_are_refused(folder):
  assert names(folder, folder / "a.png").count("a.png") == 1
  tiny_run.write_image(folder.parent / "other" / "a.png", seed=2)
  with pytest.raises(UserError, match=r"the same name 'a\.png'; name a folder"):
    list_images([str(folder), str(folder.parent / "other")])


def test_places_without_images(folder, tmp_path):
  with pytest.raises(UserError, match="does not exist"):
    list_images([str(folder / "none")])
  (tmp_path / "empty").mkdir()
  with pytest.raises(UserError, match="holds no image"):
    list_images([str(tmp_path / "empty")])
