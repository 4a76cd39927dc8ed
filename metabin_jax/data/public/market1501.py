"""Market-1501: six cameras, persons beside distractors and bad detections."""

from __future__ import annotations

import re
from collections.abc import Mapping

from metabin_jax.data.public import three_folders
from metabin_jax.data.public.definition import (
  DISTRACTOR,
  JUNK,
  PERSON,
  Count,
  Listing,
  PublicSet,
)

# Camera, sequence, frame, box. 24 names of the archive end in ".jpg.jpg".
GRAMMAR = re.compile(
  r"(?P<pid>-1|\d{4})_c(?P<cam>[1-6])s[1-6]_\d{6}_\d{2}\.jpg(?:\.jpg)?"
)

EXPECTED = {
  "train": Count(12936, 751),
  "query": Count(3368, 750),
  "gallery": Count(13115, 750),
  "gallery distractor": Count(2798, 1),
  "gallery junk": Count(3819, 1),
}

_LAYOUT = (
  "bounding_box_train/, query/ and bounding_box_test/ with images named "
  "0002_c1s1_000451_03.jpg"
)
# Person as written -> role.
_ROLES = {"-1": JUNK, "0000": DISTRACTOR}


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the three folders; person 0000 is a distractor and -1 junk.

  Args:
    root: folder of the data set.
    options: none.

  Returns:
    The listing.

  Raises:
    UserError: if one of the folders is missing.
  """
  del options
  items, unknown = three_folders.list_parts(
    root, GRAMMAR, _label, layout=_LAYOUT
  )
  return Listing(root, items, EXPECTED, unknown=unknown)


def _label(part: str, fields: Mapping[str, str]) -> three_folders.Label:
  del part
  pid = fields["pid"]
  return three_folders.Label(pid, int(fields["cam"]), _ROLES.get(pid, PERSON))


MARKET1501 = PublicSet(
  name="market1501",
  title="Market-1501",
  roots=(
    "Market-1501-v15.09.15",
    "market1501/Market-1501-v15.09.15",
    "market1501",
    "Market1501",
    "Market-1501",
  ),
  layout=_LAYOUT,
  request="the authors' project page names the places it can be fetched from",
  terms="For research; no formal licence text is known to us.",
  citation=(
    "L. Zheng, L. Shen, L. Tian, S. Wang, J. Wang, Q. Tian: Scalable Person "
    "Re-identification: A Benchmark. ICCV 2015."
  ),
  list_items=list_items,
)
