"""Makes the reduced golden files from a folder of full dumps.

  python tests/golden/reduce.py FOLDER_WITH_DUMPS

What each reduced file keeps is said in README.md. Float32 dumps are kept only
as `gap`: the largest |float32 - float64| of the reference itself, the measure
of what float32 can promise.
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
import zlib

import numpy as np

HERE = pathlib.Path(__file__).parent
NETWORKS = ("mobilenetv2_1.0", "mobilenetv2_1.4", "resnet18", "resnet50")
# Kept columns of wide arrays that are only checked in passing.
EVERY = 4
# Kept entries of flat rho vectors; layer widths are even, so 3 meets them all.
RHO_EVERY = {"resnet18": 3, "mobilenetv2_1.0": 9}
RHO_ARRAYS = ("inner_grad", "gates_inner", "mtest_gate_grad", "gates_per_iter")
JOINT_RUNS = (
  "resnet18/BN",
  "resnet18/IN",
  "resnet18/BIN_half",
  "mobilenetv2_1.0/DualNorm",
)
UNUSED = (
  "doms",
  "pids_base",
  "pids_meta",
  "mtrain_targets",
  "mtest_targets",
  "cyclic_value",
)


def gap(full, key64: str) -> np.ndarray:
  """Largest difference between the float32 and float64 dumps of an array."""
  wide = full[key64]
  narrow = full[key64.replace("f64", "f32", 1)].astype(np.float64)
  return np.asarray(np.max(np.abs(narrow - wide)))


def reduce_norm_layers(full):
  out = {}
  for key in full.files:
    if key.startswith("f32/") or "eval_in_train" in key:
      continue
    if key.startswith("f64/"):
      out["gap/" + key.removeprefix("f64/")] = gap(full, key)
    out[key] = full[key]
  return out


def reduce_losses(full):
  kept = ("triplet", "shuffle", "scatter", "scatter_nonorm", "dist")
  out = {}
  for key in full.files:
    group, *rest = key.split("/")
    name = rest[-1].removesuffix("_summary").removesuffix("_grad")
    wanted = name in (*kept, "eps0.1", "eps0") and rest[0] == "f64"
    if not wanted and len(rest) > 1:
      continue
    out[key] = full[key]
    if wanted:
      out[f"{group}/gap/{rest[-1]}"] = gap(full, key)
  return out


def reduce_forward(full):
  out = {}
  for key in full.files:
    if "/f64/" not in key or "norm_out" in key or "general" in key:
      continue
    value = full[key]
    if key.endswith("/bn") or key.startswith("ones/"):
      value = value if key.endswith("logits") else value[:, ::EVERY]
    out[key.replace("/f64/", "/")] = value
    out["gap/" + key.replace("/f64/", "/")] = gap(full, key)
  running = full["uniform/f64/general/running_names"]
  out["running_names"] = running
  out["running_summary"] = full["uniform/f64/general/running_summary"][:, :4]
  out["images_crc"] = np.asarray(zlib.crc32(full["images_uint8"].tobytes()))
  return out


def reduce_norm_types(full):
  return {
    key: full[key][:, ::EVERY] if key.endswith("pooled") else full[key]
    for key in full.files
    if key.endswith(("pooled", "logits"))
    # The same arrays as in c_forward_<network>.
    and "BIN_gate2" not in key
  }


def reduce_training(full, every, prefixes, narrow=()):
  """Everything small; rho thinned out, summaries cut to 4 numbers."""
  out = {}
  for key in full.files:
    prefix, name = key.rsplit("/", 1) if "/" in key else ("", key)
    if prefix not in prefixes or name.startswith(("images", "gates_init_crc")):
      continue
    value = full[key]
    if name in RHO_ARRAYS:
      out[key + "_norm"] = np.linalg.norm(value, axis=-1)
      value = value[:, ::every]
    elif "summary" in name:
      value = value[:, :4]
    elif name in UNUSED:
      continue
    elif name in ("state_names", "base_grad_names"):
      # The same list in every prefix of one norm arm: stored once.
      arm = prefix.split("/")[0]
      arm = arm if arm in ("BIN_gate1", "Mresnet_yml") else ""
      key = f"{arm}/{name}" if arm else name
      if key in out and not np.array_equal(out[key], value):
        raise ValueError(f"{prefix} has another list of {name}")
    out[key] = value
  for prefix in narrow:
    for name in ("loss_base", "loss_mtrain", "loss_mtest"):
      if f"{prefix}/{name}" in full.files:
        out[f"{prefix}/{name}_gap"] = gap(full, f"{prefix}/{name}")
  out["rho_every"] = np.asarray(every)
  return out


def reduce_schedules(full):
  length = full["lr_weight"].size
  period = int(full["cyclic_total_size"])
  turns = [n * period // 2 for n in range(1, 2 * length // period + 1)]
  turns += [10 * 1849]
  near = [np.arange(t - 3, t + 4) for t in turns]
  kept = np.unique(
    np.concatenate(
      [np.arange(200), *near, np.arange(0, length, 97), [length - 1]]
    )
  )
  kept = kept[kept < length]
  out = {"iterations": kept, "cyclic_total_size": full["cyclic_total_size"]}
  for name in (
    "lr_weight",
    "lr_bias",
    "gate_lr",
    "cyclic_value",
    "inner_step_size",
  ):
    out[name] = full[name][kept]
  out["full_lr_iters"], out["full_lr"] = full["full_lr_iters"], full["full_lr"]
  return out


def reduce_joint(full):
  out = {}
  for key in full.files:
    method, *run, name = key.split("/")
    if method != "joint" or "/".join(run) not in JOINT_RUNS:
      continue
    if name in ("fwd0_loss", "fwd1_loss", "state_names"):
      out[key] = full[key]
    elif name == "state_final_summary":
      out[key] = full[key][:, :4]
  return out


def reduce_mldg(full):
  out = {}
  every = RHO_EVERY["resnet18"]
  for key in full.files:
    group, arm, name = key.rsplit("/", 2) if "/" in key else ("", "", key)
    if group != "mldg":
      continue
    value = full[key]
    if name in ("state_names", "inner_names"):
      # The same lists in every variant of one norm arm: stored once.
      key = f"{arm.split('_')[0]}/{name}"
      if key in out and not np.array_equal(out[key], value):
        raise ValueError(f"{arm} has another list of {name}")
      out[key] = value
    elif name.endswith("_summary"):
      out[key] = value[:, :4]
    elif name == "gates_final":
      out[key] = value[::every]
      out[key + "_norm"] = np.linalg.norm(value)
    elif re.fullmatch(r"fwd\d_loss|fwd1_domains|inner_step_size", name):
      out[key] = value
  out["rho_every"] = np.asarray(every)
  return out


def reduce_keys(folder):
  """{file: [[key, shape], ...]}, as arrays of strings and of shapes."""
  out = {}
  for path in sorted(folder.glob("keys_*.json")):
    name = path.stem.removeprefix("keys_")
    rows = json.loads(path.read_text())
    out[f"{name}/keys"] = np.array([row["key"] for row in rows])
    shapes = [list(row["shape"]) for row in rows]
    # -1 fills up to four axes.
    out[f"{name}/shapes"] = np.array(
      [shape + [-1] * (4 - len(shape)) for shape in shapes], np.int32
    )
  return out


def reduce_table(folder):
  rows = json.loads((folder / "g_table_s1.json").read_text())
  kept = (
    "feature_dim",
    "norm_layers",
    "gates",
    "conv",
    "bn_affine",
    "in_affine",
    "neck",
    "conv_bn_in",
    "norm_layer_channels",
    "paper",
  )
  return {name: {k: row[k] for k in kept} for name, row in rows.items()}


def main(folder: pathlib.Path) -> None:
  def load(name):
    return np.load(folder / name)

  def save(name, arrays):
    np.savez_compressed(HERE / name, **arrays)
    print(f"{name}: {(HERE / name).stat().st_size / 1e3:.0f} kB")

  both = ("order1", "order2")
  save("a_norm_layers.npz", reduce_norm_layers(load("a_norm_layers.npz")))
  save("b_losses.npz", reduce_losses(load("b_losses.npz")))
  for network in NETWORKS:
    name = f"c_forward_{network}.npz"
    save(name, reduce_forward(load(name)))
  name = "c_forward_norm_types.npz"
  save(name, reduce_norm_types(load(name)))
  for network, every in RHO_EVERY.items():
    name = f"d_one_iter_strong_{network}.npz"
    prefixes = [
      f"{run}/{order}/f64"
      for order in both
      for run in ("uniform", "ones", "meta_only/uniform")
    ]
    narrow = ["uniform/order1/f64"]
    save(name, reduce_training(load(name), every, prefixes, narrow))
  every = RHO_EVERY["resnet18"]
  name = "d_one_iter_variants_resnet18.npz"
  prefixes = [
    f"{run}/{order}/f64"
    for order in both
    for run in ("BIN_gate1", "Mresnet_yml")
  ]
  save(name, reduce_training(load(name), every, prefixes))
  name = "d_trajectory_resnet18.npz"
  prefixes = [f"strong/{order}/f64" for order in both]
  prefixes += ["official_ones/order1/f64"]
  save(name, reduce_training(load(name), every, prefixes))
  name = "d_trajectory_mobilenetv2_1.0.npz"
  prefixes = [
    f"gentle_{gates}/{order}/f64"
    for order in both
    for gates in ("uniform", "ones")
  ]
  every = RHO_EVERY["mobilenetv2_1.0"]
  save(name, reduce_training(load(name), every, prefixes))
  save("e_schedules.npz", reduce_schedules(load("e_schedules.npz")))
  save("i_joint.npz", reduce_joint(load("i_joint_and_mldg.npz")))
  save("i_mldg.npz", reduce_mldg(load("i_joint_and_mldg.npz")))
  save("keys.npz", reduce_keys(folder))
  table = json.dumps(reduce_table(folder))
  (HERE / "g_table_s1.json").write_text(table + "\n")


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
