"""Copies a study's numbers beside its README: table, JSON, CSV, bars.

  metabin repro table4 --seeds=3
  python experiments/publish.py table4 [--out=runs/repro] [--name=table4_mine]

Writes experiments/<study, or name>/results.json (all numbers of `metabin
repro`), results.csv (one line a seed and score), bars.png with bars.csv, and
the part of README.md between the two marks; what stands outside them is left
alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import pathlib
import shutil

from metabin_jax.report import kinds
from metabin_jax.repro import render

HERE = pathlib.Path(__file__).parent
BEGIN = "<!-- written by experiments/publish.py -->"
END = "<!-- end -->"
HEADER = ("setting", "label", "arm", "seed", "target", "metric", "percent")


def main() -> None:
  """Publishes the studies that are named."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("studies", nargs="+", metavar="STUDY")
  parser.add_argument("--out", type=pathlib.Path, default="runs/repro")
  parser.add_argument("--scale", default="quick")
  parser.add_argument("--name", help="folder for one study that is not its own")
  args = parser.parse_args()
  if args.name and len(args.studies) > 1:
    parser.error("--name takes one study.")
  for study in args.studies:
    if not (args.out / args.scale / f"{study}.json").exists():
      parser.error(
        f"{args.out / args.scale} has no {study}.json; `metabin repro {study} "
        f"--collect --out={args.out}` writes it."
      )
    source = args.out / args.scale / f"{study}.json"
    publish(source, HERE / (args.name or study))


def publish(source: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes what the module's docstring says into a folder."""
  data = json.loads(source.read_bytes())
  folder.mkdir(exist_ok=True)
  shutil.copyfile(source, folder / "results.json")
  with (folder / "results.csv").open("w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows(data))
  kinds.make_bars([folder / "results.json"], kinds.Output(folder, "png"))
  readme = folder / "README.md"
  text = readme.read_text(encoding="utf-8") if readme.exists() else ""
  before, _, rest = text.partition(BEGIN)
  after = rest.partition(END)[2]
  # The study's own headings are one level below the README's.
  table = render.to_markdown(data).replace("\n## ", "\n### ")
  table = table.partition("\n")[2].strip()
  render.save_text(
    readme,
    f"{before or '# ' + data['title'] + chr(10) * 2}{BEGIN}\n\n{table}\n\n{END}"
    f"{after or chr(10)}",
  )


def rows(data: dict) -> list[tuple]:
  """One row for each seed, target and metric of every row that was run."""
  return [
    (row["setting"], row["label"], row["arm"], seed, target, metric, value)
    for row in data["rows"]
    for target, metrics in row["ours"].items()
    for metric, found in metrics.items()
    for seed, value in zip(row["seeds"], found["values"], strict=True)
  ]


if __name__ == "__main__":
  main()
