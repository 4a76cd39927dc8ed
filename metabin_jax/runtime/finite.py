"""Stops a run whose numbers are no longer numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class NonFiniteError(RuntimeError):
  """A loss, gradient or parameter became NaN or infinite."""


def check_metrics(step: int, metrics: Mapping[str, Any], state: Any) -> None:
  """Refuses metrics that are not finite.

  Args:
    step: the iteration (from 0) that gave them.
    metrics: scalars by name, on the host.
    state: the newest state, searched for the tensors at fault.

  Raises:
    NonFiniteError: names the step, the metrics and the first bad tensors.
  """
  bad = [name for name, value in metrics.items() if not np.isfinite(value)]
  if not bad:
    return
  tensors = nonfinite_leaves(state)
  where = ", ".join(tensors[:5]) if tensors else "none: the loss came first"
  shown = ", ".join(f"{name} = {float(metrics[name])}" for name in bad)
  raise NonFiniteError(
    f"iteration {step}: {shown}. Tensors of the state that are not finite: "
    f"{where}. The last checkpoint is from before; lower optim.lr or "
    "optim.rho_lr, or look at the images of this iteration."
  )


def check_state(step: int, state: Any) -> None:
  """Refuses to go on with, or to save, a state that is not finite.

  Args:
    step: completed iterations.
    state: any pytree.

  Raises:
    NonFiniteError: names the step and the first bad tensors.
  """
  bad = nonfinite_leaves(state)
  if bad:
    raise NonFiniteError(
      f"after iteration {step - 1} these tensors are not finite: "
      f"{', '.join(bad[:5])}. The state was not saved; the last checkpoint is "
      "from before. Lower optim.lr or optim.rho_lr."
    )


def nonfinite_leaves(tree: Any) -> list[str]:
  """Paths of the floating leaves that hold a NaN or an infinity."""
  return [
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    # Not NumPy's issubdtype: it does not count bfloat16 among the floats.
    if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    and not np.isfinite(np.asarray(leaf, np.float64)).all()
  ]
