"""DukeMTMC-reID: eight cameras; withdrawn by its authors."""

from __future__ import annotations

import re
from collections.abc import Mapping

from metabin_jax.data.public import three_folders
from metabin_jax.data.public.definition import Count, Listing, PublicSet

# Person, camera, frame.
GRAMMAR = re.compile(r"(?P<pid>\d{4})_c(?P<cam>[1-8])_f\d{7}\.jpg")

# 408 persons of the gallery are asked for by no query.
EXPECTED = {
  "train": Count(16522, 702),
  "query": Count(2228, 702),
  "gallery": Count(17661, 1110),
}

_LAYOUT = (
  "bounding_box_train/, query/ and bounding_box_test/ with images named "
  "0001_c2_f0046182.jpg"
)


def list_items(root: str, options: Mapping[str, str]) -> Listing:
  """Lists the three folders; every image shows a person.

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
  return three_folders.Label(fields["pid"], int(fields["cam"]))


DUKEMTMC = PublicSet(
  name="dukemtmc",
  title="DukeMTMC-reID",
  roots=(
    "DukeMTMC-reID",
    "dukemtmc-reid/DukeMTMC-reID",
    "dukemtmc-reid",
    "dukemtmcreid",
    "dukemtmc",
  ),
  layout=_LAYOUT,
  request="it is no longer given out",
  terms=(
    "Was released under CC BY-NC-SA 4.0 before it was withdrawn; use it only "
    "if you hold a licensed copy and your institution allows it."
  ),
  citation=(
    "E. Ristani, F. Solera, R. Zou, R. Cucchiara, C. Tomasi: Performance "
    "Measures and a Data Set for Multi-Target, Multi-Camera Tracking. ECCV "
    "2016 Workshops. Z. Zheng, L. Zheng, Y. Yang: Unlabeled Samples Generated "
    "by GAN Improve the Person Re-identification Baseline in vitro. ICCV 2017."
  ),
  list_items=list_items,
  withdrawn=(
    "DukeMTMC-reID was withdrawn by its authors: its site was taken down on 25 "
    "April 2019 since the collection deviated from the approved protocol."
  ),
)
