"""Adapts a trained network to the images of a place, without labels (BNTA)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from metabin_jax.data.seeding import generator
from metabin_jax.errors import UserError
from metabin_jax.evaluation import part_pairs
from metabin_jax.evaluation.part_pairs import Pairs
from metabin_jax.methods import bnta
from metabin_jax.models import ReIDNetwork

# paths -> uint8 [N, H, W, 3]
Load = Callable[[Sequence[str]], np.ndarray]


class Plan(NamedTuple):
  """What to adapt on, and for how long.

  Attributes:
    pairs: most pairs, K.
    batch_pairs: pairs of a step; the last step of an epoch takes the rest.
    epochs: how often each pair is seen.
    images: how many images to look for pairs among, drawn at random; 0: all.
    seed: of the drawing and of the order of the pairs.
  """

  pairs: int = part_pairs.MAX_PAIRS
  batch_pairs: int = 32
  epochs: int = 1
  images: int = 0
  seed: int = 0


_PUBLISHED, _PLAN = bnta.Rules(), Plan()


def from_config(section: Any) -> tuple[bnta.Rules, Plan]:
  """Rules and plan of the section `eval.bnta` of a resolved configuration."""
  return (
    bnta.Rules(*(section[name] for name in bnta.Rules._fields)),
    Plan(*(section[name] for name in Plan._fields)),
  )


class Adapted(NamedTuple):
  """An adapted network, and how it came about.

  Attributes:
    variables: {"params", "balance", "batch_stats"}; the given ones are as they
      were.
    images: number of images among which pairs were looked for.
    pairs: number of pairs.
    losses: of every step, by name.
  """

  variables: dict[str, Any]
  images: int
  pairs: int
  losses: list[dict[str, float]]

  def counts(self) -> dict[str, int]:
    """How many images, pairs and steps, as JSON data."""
    return {
      "images": self.images,
      "pairs": self.pairs,
      "steps": len(self.losses),
    }


def adapt(
  network: ReIDNetwork,
  variables: Mapping[str, Any],
  load: Load,
  paths: Sequence[str],
  *,
  rules: bnta.Rules = _PUBLISHED,
  plan: Plan = _PLAN,
  batch_size: int = 128,
) -> Adapted:
  """Moves what `rules` name on pairs of images that look alike in some part.

  Args:
    network: from `models.create`. Without part heads it is adapted by the
      stripes of its last map, and by the matching loss alone.
    variables: its weights.
    load: paths -> uint8 [N, H, W, 3].
    paths: images of the place. Their order and repetitions mean nothing.
    rules: how a step adapts.
    plan: how many steps on what.
    batch_size: images of a call that looks for pairs.

  Returns:
    The adapted variables, on the host; the same from the same arguments.

  Raises:
    UserError: for fewer than two images, a positioning loss without its head,
      or a loss that is not finite.

  Source: BNTA (AAAI 2022), Algorithm 1.
  Differs: the published order of pairs is random; here it hangs on the seed.
  """
  paths = choose_images(paths, plan)
  if len(paths) < 2:
    there = "is 1 image" if paths else "are 0 images"
    mend = "give it at least 2"
    if plan.images == 1:
      mend = "set eval.bnta.images to at least 2, or to 0 for all"
    raise UserError(
      f"there {there} to adapt to, and BNTA compares pairs of images; {mend}, "
      "or turn adaptation off."
    )
  if network.heads == "none":
    network = network.clone(heads="stripes")
  try:
    step = _compile(network, rules)
  except ValueError as error:
    raise UserError(
      f"the network cannot be adapted: {error} Train it with "
      "--config.model.heads=bnta, or adapt by the loss 'match' alone."
    ) from error
  features = part_features(network, variables, load, paths, batch_size)
  if not np.isfinite(features).all():
    raise UserError(
      "the network's features of the images to adapt to are not finite."
    )
  pairs = part_pairs.pair_images(features, plan.pairs)
  state = bnta.create_state(jax.device_put(dict(variables)), rules)
  history = []
  for chosen in batches(len(pairs.rows), plan):
    state, losses = step(state, _make_batch(pairs, chosen, paths, load))
    history.append({name: float(value) for name, value in losses.items()})
    if not np.isfinite(list(history[-1].values())).all():
      raise UserError(
        f"the loss of adaptation step {len(history)} is not finite "
        f"({history[-1]}); take a smaller step size."
      )
  return Adapted(
    jax.device_get(state.variables), len(paths), len(pairs.rows), history
  )


def choose_images(paths: Sequence[str], plan: Plan) -> list[str]:
  """The images to look for pairs among, sorted, each once."""
  unique = sorted(set(paths))
  if not 0 < plan.images < len(unique):
    return unique
  drawn = generator(plan.seed, "adaptation images").choice(
    len(unique), plan.images, replace=False
  )
  return [unique[row] for row in sorted(drawn)]


def batches(num_pairs: int, plan: Plan) -> Iterator[np.ndarray]:
  """Rows of the pairs of each step, in an order that hangs on the seed.

  Args:
    num_pairs: K.
    plan: see there.

  Yields:
    int arrays of `batch_pairs` rows, the last of an epoch maybe shorter.
  """
  for epoch in range(plan.epochs):
    order = generator(plan.seed, "adaptation", epoch).permutation(num_pairs)
    for start in range(0, num_pairs, plan.batch_pairs):
      yield order[start : start + plan.batch_pairs]


def part_features(
  network: ReIDNetwork,
  variables: Mapping[str, Any],
  load: Load,
  paths: Sequence[str],
  batch_size: int,
) -> np.ndarray:
  """Features of the parts of every image, under running statistics.

  Args:
    network: with heads, or stripes.
    variables: its weights.
    load: paths -> uint8 [N, H, W, 3].
    paths: images.
    batch_size: images of a call; the last is filled up.

  Returns:
    float32 [N, P, C].
  """
  on_device = jax.device_put(dict(variables))
  found = []
  for start in range(0, len(paths), batch_size):
    images = load(paths[start : start + batch_size])
    missing = batch_size - len(images)
    if missing:
      images = np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
    rows = _embed_parts(network, on_device, images)
    found.append(np.asarray(rows, np.float32)[: batch_size - missing])
  return np.concatenate(found)


@functools.partial(jax.jit, static_argnums=0)
def _embed_parts(network, variables, images):
  return network.apply(variables, images, mode="eval").parts.features


@functools.cache
def _compile(network, rules):
  return jax.jit(bnta.make_step(network, rules))


def _make_batch(
  pairs: Pairs, chosen: np.ndarray, paths: Sequence[str], load: Load
) -> bnta.PairBatch:
  """Anchors, then positives, of the chosen pairs."""
  rows = pairs.rows[chosen].T.reshape(-1)
  places = np.arange(len(rows)).reshape(2, -1).T
  return bnta.PairBatch(
    load([paths[row] for row in rows]), places, pairs.parts[chosen]
  )
