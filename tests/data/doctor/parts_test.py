from __future__ import annotations

from metabin_jax.data.doctor import parts
from metabin_jax.data.doctor.files import FileFacts


def test_counts_of_train(rec, dataset):
  records = [
    rec("d/a", 10),
    rec("d/a", 2),
    rec("d/b", -1),
    rec("d/c", 2, "/none/other.jpg"),
  ]
  (part,) = parts.count_parts(dataset("d", records), None)
  assert part == parts.PartReport(
    part="train",
    fold="",
    images=4,
    persons=3,
    single=2,
    cameras={"2": 2, "10": 1, "unknown": 1},
    pixels=None,
  )
  assert list(part.cameras) == ["2", "10", "unknown"]


def test_folds_and_their_union(rec, dataset):
  q1, q2, g1, g2 = rec("d/1"), rec("d/2"), rec("d/1", 2), rec("d/2", 2)
  data = dataset("d", (), ([q1], [g1, g2]), ([q1, q2], [g1]))
  found = {(p.part, p.fold): p.images for p in parts.count_parts(data, None)}
  assert found == {
    ("query", "0"): 1,
    ("gallery", "0"): 2,
    ("query", "1"): 2,
    ("gallery", "1"): 1,
    ("query", parts.ALL_FOLDS): 2,
    ("gallery", parts.ALL_FOLDS): 2,
  }
  one = parts.count_parts(dataset("d", (), ([q1], [g1])), None)
  assert [p.fold for p in one] == ["0", "0"]


def test_sizes_and_formats(rec, dataset):
  records = [rec(f"d/{i}") for i in range(5)]
  sizes = [(30, 90), (10, 70), (20, 80), (40, 60)]
  facts = {
    record.path: FileFacts(str(i), *size, "PNG" if i else "JPEG", "")
    for i, (record, size) in enumerate(zip(records, sizes, strict=False))
  }
  facts[records[4].path] = FileFacts("", 0, 0, "", "broken")
  (part,) = parts.count_parts(dataset("d", records), facts)
  assert part.images == 5
  assert part.pixels == parts.Pixels(
    width=parts.Spread(10, 20, 40),
    height=parts.Spread(60, 70, 90),
    formats={"JPEG": 1, "PNG": 3},
    unreadable=1,
  )


def test_nothing_readable(rec, dataset):
  record = rec("d/1")
  facts = {record.path: FileFacts("", 0, 0, "", "broken")}
  (part,) = parts.count_parts(dataset("d", [record]), facts)
  assert part.pixels == parts.Pixels(None, None, {}, 1)
