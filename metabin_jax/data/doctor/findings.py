"""What is wrong or worth knowing about data sets."""

from __future__ import annotations

import dataclasses
from typing import Any

PROBLEM = "problem"
NOTE = "note"


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing that was found.

  Attributes:
    severity: `PROBLEM` or `NOTE`.
    kind: what it is, one word for machines, such as "unreadable".
    dataset: name of the data set; "" if it concerns several.
    text: one sentence.
    cases: every case, as the files or persons that make it up.
  """

  severity: str
  kind: str
  dataset: str
  text: str
  cases: tuple[tuple[str, ...], ...] = ()

  def to_json(self) -> dict[str, Any]:
    """As plain data, for `json`."""
    return {
      "severity": self.severity,
      "kind": self.kind,
      "dataset": self.dataset,
      "text": self.text,
      "cases": [list(case) for case in self.cases],
    }
