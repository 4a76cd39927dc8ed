"""All benchmarks of training and input, one after the other.

  python experiments/benchmarks/all.py cpu --out=DIR
  python experiments/benchmarks/all.py gpu --out=DIR

Prints each command and its table, and leaves a JSON file for each in DIR. On
two cores "cpu" takes about an hour. Each benchmark has a process of its own;
one that fails is named at the end, and the others go on.
"""

from __future__ import annotations

import argparse
import pathlib
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
BOTH = "--networks=mobilenetv2:1.4,resnet50"
FORMS = "--norms=bn,bin,bin_naive"
ALL_STEPS = (
  "--steps=base,first,reverse,forward,iteration-first,iteration-reverse"
)
ARMS = (
  "--norms=bn,in,bin_half,bin,bin_shared,switchable,ibn_a,ibn_b,dualnorm,snr"
)
# File -> command. A CPU of 24 GB compiles 80 images but cannot run them.
SUITES = {
  "cpu": {
    "steps_cpu_80": f"steps.py {BOTH} {FORMS} --batch=80 --repeats=0 "
    "--steps=base,first,reverse,iteration-first,iteration-reverse",
    "steps_cpu_20": f"steps.py {FORMS} --batch=20 --repeats=3 "
    "--steps=base,first,reverse,forward",
    "steps_cpu_20_resnet50": f"steps.py --networks=resnet50 {FORMS} --batch=20 "
    "--repeats=3 --steps=base,first,reverse,forward",
    "types_cpu_20": "steps.py --dtypes=float32,bfloat16 --batch=20 --repeats=3 "
    "--steps=base,first",
    "arms_cpu_20": f"steps.py --networks=resnet50 {ARMS} --batch=20 "
    "--repeats=3 --steps=base --height=128 --width=64",
    "embed_cpu_64": "steps.py --networks=mobilenetv2:1.4,resnet50 --batch=64 "
    "--repeats=3 --steps=embed",
    "centered_cpu": "centered_forms.py",
    "depthwise_cpu": "depthwise.py",
    "devices_cpu": "devices.py --pretend=8 --network=resnet18:0.25 --batch=40 "
    "--height=64 --width=32 --classes=500",
    "agreement_cpu": "agreement.py --pretend=8",
    "pipeline_cpu": "pipeline.py --repeats=3",
  },
  "gpu": {
    "steps_gpu_80": f"steps.py {BOTH} {FORMS} --dtypes=float32,bfloat16 "
    f"--batch=80 --repeats=20 {ALL_STEPS}",
    "steps_gpu_320": "steps.py --dtypes=bfloat16 --batch=320 --repeats=20 "
    f"{BOTH} {ALL_STEPS}",
    "arms_gpu_80": f"steps.py --networks=resnet50 {ARMS} --dtypes=bfloat16 "
    "--batch=80 --repeats=20 --steps=base",
    "embed_gpu_64": f"steps.py {BOTH} --dtypes=float32,bfloat16 --batch=64 "
    "--repeats=50 --steps=embed",
    "centered_gpu": "centered_forms.py --batch=80 --dtype=bfloat16",
    "depthwise_gpu": "depthwise.py --batch=80 --dtype=bfloat16 --repeats=20",
    "devices_gpu": "devices.py --dtype=bfloat16 --repeats=20",
    "agreement_gpu": "agreement.py",
    "pipeline_gpu": "pipeline.py --repeats=3",
  },
}


def main() -> int:
  """Runs a suite; returns the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("suite", choices=SUITES)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--only", help="names, separated by commas")
  args = parser.parse_args()
  suite = SUITES[args.suite]
  chosen = args.only.split(",") if args.only else list(suite)
  if unknown := [name for name in chosen if name not in suite]:
    parser.error(f"--only: {unknown[0]!r} is unknown; use some of {[*suite]}.")
  args.out.mkdir(parents=True, exist_ok=True)
  failed = []
  for name in chosen:
    script, *options = shlex.split(suite[name])
    command = [str(HERE / script), *options, f"--json={args.out / name}.json"]
    print(f"\n{name}: python {shlex.join(command)}\n", flush=True)
    if subprocess.run([sys.executable, *command]).returncode:
      failed.append(name)
  if failed:
    print(f"failed: {', '.join(failed)}", file=sys.stderr)
  return bool(failed)


if __name__ == "__main__":
  sys.exit(main())
