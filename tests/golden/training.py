"""Replays the reference's training iterations and measures the differences."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from golden import convolution as golden_convolution
from golden import rules

from metabin_jax import models
from metabin_jax.interop import official
from metabin_jax.methods import (
  joint,
  meta_gradient,
  metabin,
  objectives,
  optim,
)
from metabin_jax.methods import state as train_state
from metabin_jax.ops import convolution

# Compiles in half the time; numbers change by rounding only.
QUICK = {
  "xla_backend_optimization_level": 0,
  "xla_llvm_disable_expensive_passes": True,
}
DECAY = 5e-4
_ce_triplet = ("ce", "triplet")
# Losses of base, meta-train and meta-test, by the reference's config.
DG = (_ce_triplet, ("scatter", "shuffle", "triplet"), ("triplet",))
M_RESNET = (_ce_triplet, ("scatter", "ce", "shuffle", "triplet"), _ce_triplet)


def backbone(network: str) -> str:
  return network.split("_")[0]


def width(network: str) -> float:
  return float(network.split("_")[1]) if "_" in network else 1.0


def create(
  network: str,
  norm: str = "bin",
  classes: int = 20,
  dtype: Any = jnp.float64,
):
  """The network that the golden arrays were made with."""
  return models.create(
    backbone(network),
    norm=norm,
    num_classes=classes,
    width=width(network),
    dtype=dtype,
  )


def variables(
  network: str, norm: str = "bin", gates: str = "uniform", classes: int = 20
):
  """Golden weights as our trees, float64."""
  state = rules.state_dict(network, norm, gates, classes)
  return official.from_official(
    state, backbone(network), norm, width=width(network)
  )


def fast_convolutions():
  """Context in which networks are traced with matrix products."""
  return mock.patch.object(
    convolution, "conv", golden_convolution.conv_by_products
  )


@functools.cache
def base_step(
  network: str, norm: str, losses, classes: int = 20, dtype=jnp.float64
):
  """Jitted (state, batch, rate) -> (state, metrics)."""
  net = create(network, norm, classes, dtype)
  objective = objectives.make_objective(losses)

  def step(state, batch, rate):
    tx = optim.make_params_tx(weight_decay=DECAY)
    with fast_convolutions():
      made = joint.make_base_step(net, objective, tx, lambda _: rate)
      return made(state, batch)

  return jax.jit(step, compiler_options=QUICK)


@functools.cache
def meta_step(
  network: str,
  norm: str,
  losses,
  order: int,
  classes: int = 20,
  dtype=jnp.float64,
):
  """Jitted (state, mtrain, mtest, beta, rate) -> (state, metrics, trees).

  `trees` holds the inner gradient, the moved rho and the outer gradient.
  """
  net = create(network, norm, classes, dtype)
  make = objectives.make_objective
  original = meta_gradient.meta_gradient

  def step(state, mtrain, mtest, beta, rate):
    trees = {}

    def record(*args, **options):
      outer, details = original(*args, **options)
      trees.update(
        inner_grad=details["inner_gradient"],
        gates_inner=details["moved"],
        mtest_gate_grad=outer,
      )
      return outer, details

    patch = mock.patch.object(meta_gradient, "meta_gradient", record)
    with fast_convolutions(), patch:
      made = metabin.make_meta_step(
        net,
        make(losses[1]),
        make(losses[2]),
        optax.sgd(rate),
        lambda _: beta,
        second_order=order == 2,
      )
      state, metrics = made(state, mtrain, mtest)
    return state, metrics, trees

  return jax.jit(step, compiler_options=QUICK)


def flat_rho(balance, keys, norm: str) -> np.ndarray:
  """All rho in the reference's order."""
  state = official.to_official({"balance": balance}, norm)
  return np.concatenate([state[key] for key in keys])


def summary_errors(got, names, summaries, floor: float = 0.0) -> float:
  """Worst relative error of [mean, L2, first 2] over the named tensors.

  A tensor below `floor` times the largest of all is compared with that: some
  gradients are zero but for rounding, as of a bias that the next batch
  normalization takes out again.
  """
  worst = 0.0
  least = floor * np.max(np.abs(summaries))
  for name, want in zip(names, summaries, strict=True):
    if name.startswith("pixel_") or name.endswith("num_batches_tracked"):
      continue
    difference = np.abs(rules.summary(got[str(name)]) - want)
    scale = max(np.max(np.abs(want)), least)
    worst = max(worst, float(np.max(difference) / scale))
  return worst


def loss_errors(metrics, phase: str, losses, want) -> float:
  """Worst relative error of the parts and of the total."""
  got = [float(metrics[f"{phase}/{name}"]) for name in (*losses, "total")]
  return float(np.max(np.abs(np.array(got) / want - 1)))


def replay(
  file,
  prefix: str,
  network: str,
  order: int,
  *,
  norm: str = "bin",
  gates: str = "uniform",
  losses=DG,
  batches: dict[str, Any] | None = None,
  base: bool = True,
  classes: int = 20,
) -> Iterator[tuple[str, float]]:
  """Yields (what, relative error) through the iterations of a golden file.

  Args:
    file: the reduced golden file.
    prefix: of the run within it, with its trailing slash.
    network: e.g. "resnet18"; `order`: 1 or 2; `norm`: arm.
    gates: initial rho, "uniform" or "ones".
    losses: names of base, meta-train and meta-test losses.
    batches: options of `rules.training_batch`.
    base: whether there are base updates.
    classes: rows of the classifier.
  """
  golden = {
    key.removeprefix(prefix): file[key]
    for key in file.files
    if key.startswith(prefix)
  }
  every = int(file["rho_every"])
  batches = batches or {}
  arm = prefix.split("/")[0]
  arm = f"{arm}/" if f"{arm}/state_names" in file.files else ""
  start = rules.state_dict(network, norm, gates, classes)
  keys = [key for key in start if key.endswith(".gate")]
  rho_start = np.concatenate([start[key] for key in keys])
  state = train_state.create_state(
    variables(network, norm, gates, classes),
    optim.make_params_tx(weight_decay=DECAY),
    optax.sgd(0.1),
  )
  run_base = base_step(network, norm, losses[0], classes)
  run_meta = meta_step(network, norm, losses, order, classes)
  iterations = len(golden["gates_per_iter"])
  updates = len(golden["loss_base"]) if base else 0
  done = 0
  for i in range(iterations):
    for _ in range(updates - iterations + 1 if i == 0 else 1) if base else ():
      batch = rules.training_batch(f"base{done}", **batches)
      assert rules.checksum(batch) == golden["img_crc_base"][done]
      rate = np.float64(golden["lr_weight"][done])
      state, metrics = run_base(state, batch, rate)
      want = golden["loss_base"][done]
      error = loss_errors(metrics, "loss", losses[0], want)
      yield f"losses, iteration {i + 1}", error
      if done == 0:
        got = _first_gradient(state, start, norm)
        yield (
          "base gradient",
          summary_errors(
            got,
            file[f"{arm}base_grad_names"],
            golden["base_grad_summary_first"],
            floor=1e-6,
          ),
        )
      done += 1
    if i == 0 and base:
      yield (
        "state",
        summary_errors(
          official.to_official(state.variables, norm),
          file[f"{arm}state_names"],
          golden["state_after_base_summary"],
        ),
      )
    batch = rules.training_batch(f"meta{i}", **batches)
    assert rules.checksum(batch) == golden["img_crc_meta"][i]
    inner = np.isin(batch.domain, golden["mtrain_domains"][i])
    state, metrics, trees = run_meta(
      state,
      batch.rows(inner),
      batch.rows(~inner),
      np.float64(golden["inner_step_size"][i]),
      np.float64(golden["gate_lr"][i]),
    )
    for phase, names in zip(("mtrain", "mtest"), losses[1:], strict=True):
      want = golden[f"loss_{phase}"][i]
      error = loss_errors(metrics, phase, names, want)
      yield f"losses, iteration {i + 1}", error
    if i == 0:
      for name, tree in trees.items():
        flat = flat_rho(tree, keys, norm)
        error = rules.relative_error(flat[::every], golden[name][0])
        length = golden[f"{name}_norm"][0]
        error = max(error, abs(np.linalg.norm(flat) / length - 1))
        yield name, error
    rho = flat_rho(state.balance, keys, norm)
    want = golden["gates_per_iter"][i]
    origin = rho_start[::every]
    error = rules.relative_error(rho[::every] - origin, want - origin)
    yield f"rho change, iteration {i + 1}", error
    length = golden["gates_per_iter_norm"][i]
    yield "rho norm", abs(np.linalg.norm(rho) / length - 1)
  yield (
    "state",
    summary_errors(
      official.to_official(state.variables, norm),
      file[f"{arm}state_names"],
      golden["state_final_summary"],
    ),
  )


def _first_gradient(state, start, norm):
  """The gradient behind the momentum buffer of the first update."""
  buffer = next(
    part.trace
    for part in jax.tree.leaves(
      state.opt_params, is_leaf=lambda node: hasattr(node, "trace")
    )
    if hasattr(part, "trace")
  )
  grads = official.to_official({"params": buffer}, norm)
  return {
    key: grad - DECAY * start[key]
    for key, grad in grads.items()
    if key in start and not key.endswith("num_batches_tracked")
  }
