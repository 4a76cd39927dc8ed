"""Gradients as the reference takes them once leaves have moved in place.

With rho it runs backward twice through one graph, and steps the first optimizer
in between; autograd does not notice, and what it has kept by reference is new
in the second pass. Layers with one affine map (`bin_shared`) only.
"""

from __future__ import annotations

import functools
from unittest import mock

import jax
from golden import convolution as golden_convolution
from golden import training

from metabin_jax.ops import convolution, moments, normalization


def with_stale_rho(grads, params, seen):
  """What the reference's graph gives once rho has moved in place.

  y = rho w x_bn + (1 - rho) w x_in + b. The product rho w is taken apart by the
  moved rho; 1 - rho is a tensor of its own, and old.
  """

  def walk(gradient, param, rho_gradient, rho, moved):
    if "rho" in rho:
      slope = rho_gradient["rho"] / param["scale"]  # of rho w, less (1 - rho) w
      of_batch = gradient["scale"] + (1 - rho["rho"]) * slope
      change = (moved["rho"] - rho["rho"]) * of_batch
      return gradient | {"scale": gradient["scale"] + change}
    return gradient | {
      name: walk(
        *(t[name] for t in (gradient, param, rho_gradient, rho, moved))
      )
      for name in rho
    }

  return walk(grads, params, seen["gradient"], seen["rho"], seen["moved"])


def rho_gradient(state, moved_params, batch, objective):
  """The slope of the meta-train loss in rho, weights moved after its forward.

  Values are those of the old weights. Derivatives pass through the new ones
  wherever the reference's graph refers to a weight itself: convolutions, neck,
  classifier, and the product of rho and scale. The product is a tensor of its
  own, so what normalizes by it keeps the old one.
  """
  network = training.create("resnet18", "bin_shared")
  conv, neck = golden_convolution.conv_by_products, normalization.batch_norm

  def mixed(function, kept, moved):
    value = function(moved)
    return value + jax.lax.stop_gradient(function(kept) - value)

  def run(state, params, balance, weights):
    """The network, each weight seen by `weights(it)` -> (old, new)."""

    def apply_conv(x, kernel, **options):
      return mixed(lambda k: conv(x, k, **options), *weights(kernel))

    def apply_neck(x, scale, *rest, mode):
      kept, moved = weights(scale)
      y = mixed(lambda w: neck(x, w, *rest, mode=mode)[0], kept, moved)
      return y, None

    def apply_shared(x, rho, scale, bias, running, *, mode):
      kept, moved = weights(scale)
      still = jax.lax.stop_gradient(rho)
      # Values rho w and (1 - rho) w of the old w; their slopes by the new w.
      of_batch = still * kept + (rho - still) * moved
      of_instance = (1 - still) * kept - (rho - still) * moved
      return normalization._mix(
        x,
        of_batch,
        of_instance,
        weights(bias)[0],
        running,
        mode,
        normalization.EPSILON,
        moments.MOMENTUM,
      )

    with (
      mock.patch.object(convolution, "conv", apply_conv),
      mock.patch.object(normalization, "batch_norm", apply_neck),
      mock.patch.object(normalization, "bin_shared_apply", apply_shared),
    ):
      return network.apply(
        {**state.variables, "params": params, "balance": balance},
        batch.image,
        mode="hold",
      )

  @functools.partial(jax.jit, compiler_options=training.QUICK)
  @jax.grad
  def slope(balance, state, moved_params):
    old = []

    def keep(weight):
      old.append(weight)
      return weight, weight

    run(state, state.params, state.balance, keep)
    queue = iter(old)
    outputs = run(
      state, moved_params, balance, lambda moved: (next(queue), moved)
    )
    logits = mixed(
      lambda kernel: outputs.embedding @ kernel,
      state.params["classifier"],
      moved_params["classifier"],
    )
    return objective(outputs._replace(logits=logits), batch)[0]

  return slope(state.balance, state, moved_params)
