"""MAR's losses, gradients, mining and centres against its official code."""

from __future__ import annotations

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.ops import (
  cross_view,
  joint_embedding,
  mining,
  soft_multilabels,
)

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "mar.npz")
LIMIT = 1e-9


def same(found, wanted):
  """Relative to the largest entry: gradients have zeros that are sums."""
  wanted = np.asarray(wanted)
  np.testing.assert_allclose(
    found, wanted, rtol=LIMIT, atol=LIMIT * np.abs(wanted).max(initial=0)
  )


def test_project(float64):
  x, g = GOLDEN["project/x"], GOLDEN["project/g"]
  y, vjp = jax.vjp(soft_multilabels.project, jnp.asarray(x))
  same(y, GOLDEN["project/y"])
  same(vjp(jnp.asarray(g))[0], GOLDEN["project/grad"])


@pytest.mark.parametrize("case", ["rj_hard", "rj_easy"])
def test_joint_embedding(case, float64):
  f_s, f_t, agents, labels, cosines, margin = (
    jnp.asarray(GOLDEN[f"{case}/{key}"])
    for key in ("f_s", "f_t", "agents", "labels", "sim_t", "margin")
  )
  same(soft_multilabels.similarity(f_t, agents), cosines)

  def loss_of(f_s, f_t, agents):
    return joint_embedding.joint_embedding(
      f_s, labels, f_t, agents, margin=float(margin)
    )

  loss, grads = jax.value_and_grad(loss_of, argnums=(0, 1, 2))(f_s, f_t, agents)
  same(loss, GOLDEN[f"{case}/loss"])
  same(grads[0], GOLDEN[f"{case}/grad_f_s"])
  same(grads[1], GOLDEN[f"{case}/grad_f_t"])
  assert not grads[2].any()


def test_consistency_over_three_batches(float64):
  views = GOLDEN["cml/init_views"]
  num_views = int(views.max()) + 1
  centers = cross_view.initial_centers(
    jnp.asarray(GOLDEN["cml/init_logy"]), views, num_views
  )
  same(centers.mean, GOLDEN["cml/mean0"])
  same(centers.std, GOLDEN["cml/std0"])
  for step in range(3):
    logy, views = GOLDEN[f"cml/logy{step}"], GOLDEN[f"cml/views{step}"]
    loss_of = jax.value_and_grad(cross_view.consistency, has_aux=True)
    (loss, centers), grad = loss_of(
      jnp.asarray(logy),
      views,
      centers,
      num_views=num_views,
      momentum=float(GOLDEN["cml/momentum"]),
    )
    same(loss, GOLDEN[f"cml/loss{step}"])
    same(grad, GOLDEN[f"cml/grad{step}"])
    same(centers.mean, GOLDEN[f"cml/mean_after{step}"])
    same(centers.std, GOLDEN[f"cml/std_after{step}"])


@pytest.mark.parametrize("regime", range(4))
def test_mining(regime, float64):
  f, y, threshold = (
    jnp.asarray(GOLDEN[f"mdl/{key}{regime}"]) for key in ("f", "y", "thr_in")
  )
  ratio = float(GOLDEN["mdl/ratio"])
  mined = mining.mine(f, y, threshold, ratio=ratio)
  for wanted, chosen in (("pos", mined.positive), ("neg", ~mined.positive)):
    found = jnp.stack([mined.first, mined.second], axis=1)[chosen]
    pairs = {tuple(pair) for pair in found.tolist()}
    assert pairs == {
      tuple(pair) for pair in GOLDEN[f"mdl/{wanted}{regime}"].tolist()
    }
  same(mined.threshold, GOLDEN[f"mdl/thr_after{regime}"])
  loss, grad = jax.value_and_grad(mining.discriminative)(f, mined)
  same(loss, GOLDEN[f"mdl/loss{regime}"])
  same(grad, GOLDEN[f"mdl/grad{regime}"])
