"""Quickstart over several seeds: MetaBIN against BN on the same base batches.

  python experiments/quickstart/run.py --out=runs/quickstart_seeds \
    --seeds 2020 2021 2022

Runs that are finished are not repeated; the table is made from what is there.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

ARMS = {"metabin": "configs/quickstart.py", "bn": "configs/quickstart.py:bn"}
METRICS = ("rank-1", "rank-5", "rank-10", "mAP")


def main() -> int:
  """Trains what is missing and writes summary.json and a Markdown table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument(
    "--seeds", type=int, nargs="+", default=[2020, 2021, 2022]
  )
  args = parser.parse_args()
  scores: dict[str, list[dict]] = {arm: [] for arm in ARMS}
  for seed in args.seeds:
    for arm, config in ARMS.items():
      workdir = args.out / f"seed{seed}" / arm
      if not (workdir / "result.json").exists():
        command = [
          *(sys.executable, "-m", "metabin_jax", "train"),
          f"--config={config}",
          f"--config.train.seed={seed}",
          f"--workdir={workdir}",
        ]
        subprocess.run(command, check=True)
      result = json.loads((workdir / "result.json").read_text())
      scores[arm].append({row["target"]: row for row in result["results"]})
  summary = summarize(scores, args.seeds)
  args.out.mkdir(parents=True, exist_ok=True)
  text = json.dumps(summary, indent=2)
  (args.out / "summary.json").write_text(text + "\n")
  print(to_markdown(summary))
  return 0


def summarize(scores: dict, seeds: list[int]) -> dict:
  """Mean and sample deviation over seeds, per target and over targets."""
  targets = list(scores["bn"][0])
  table: dict = {}
  for arm, runs in scores.items():
    table[arm] = {}
    for target in [*targets, "average"]:
      cells = {}
      for metric in METRICS:
        values = [
          100
          * statistics.fmean(
            run[t][metric]
            for t in (targets if target == "average" else [target])
          )
          for run in runs
        ]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells[metric] = {"values": values, "std": spread}
        cells[metric]["mean"] = statistics.fmean(values)
      table[arm][target] = cells
  gain = [
    ours - base
    for ours, base in zip(
      table["metabin"]["average"]["rank-1"]["values"],
      table["bn"]["average"]["rank-1"]["values"],
      strict=True,
    )
  ]
  return {
    "seeds": seeds,
    "unit": "percent",
    "table": table,
    "rank-1 gain of MetaBIN by seed": gain,
    "rank-1 gain of MetaBIN, mean": statistics.fmean(gain),
  }


def to_markdown(summary: dict) -> str:
  """The table, mean +- sample deviation over seeds."""
  lines = [
    "| target | arm | " + " | ".join(METRICS) + " |",
    "|---|---|" + "---|" * len(METRICS),
  ]
  for target in summary["table"]["bn"]:
    for arm in summary["table"]:
      cells = summary["table"][arm][target]
      shown = [
        f"{cells[m]['mean']:.1f} ± {cells[m]['std']:.1f}" for m in METRICS
      ]
      lines.append(f"| {target} | {arm} | " + " | ".join(shown) + " |")
  return "\n".join(lines)


if __name__ == "__main__":
  sys.exit(main())
