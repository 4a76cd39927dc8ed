"""Figure: where runs place the images of data sets they have not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from metabin_jax.data import readers
from metabin_jax.data.images import load_image
from metabin_jax.data.records import Fold, Record
from metabin_jax.errors import UserError
from metabin_jax.evaluation import extract
from metabin_jax.report import runs, style
from metabin_jax.runtime import scoring

HEADER = ("run", "step", "target", "role", "pid", "x", "y")
ROLES = ("query", "gallery")
# Of one target; t-SNE takes longer than linear, and crowds hide each other.
MAX_IMAGES = 500
_PERPLEXITY = 30.0
_SEED = 0


class Point(NamedTuple):
  """One image on the map."""

  target: str
  role: str
  pid: str
  x: float
  y: float


class EmbeddingMap(NamedTuple):
  """The images of one run's targets."""

  step: int
  points: Sequence[Point]


def load(run: runs.Run, options: runs.Options) -> EmbeddingMap:
  """Embeds the targets and lays the embeddings out in the plane.

  Args:
    run: the run.
    options: `step` and `targets` count.

  Returns:
    One point for each query and gallery image of the first fold of every
    target; of a large one a part, see `choose`.

  Raises:
    UserError: if there is no target or no such checkpoint, an image cannot be
      read, or the points cannot be laid out.
  """
  check_installed()
  loaded = scoring.load_run(run.workdir, options.step)
  specs = options.targets or tuple(loaded.config.data.targets)
  if not specs:
    raise UserError(f"{run.workdir} has no targets of its own; pass --target.")
  chosen: list[tuple[str, str, Record]] = []
  for spec in specs:
    target = readers.open_dataset(spec)
    if not target.folds:
      raise UserError(f"{spec} has no query and gallery; name other --target.")
    fold = choose(target.folds[0], MAX_IMAGES)
    for role, records in zip(ROLES, (fold.query, fold.gallery), strict=True):
      chosen += [(target.name, role, record) for record in records]
  embeddings = _embed(loaded, [record.path for _, _, record in chosen])
  labels = [(target, role, record.pid) for target, role, record in chosen]
  return make_map(loaded.step, labels, embeddings, loaded.config.eval.metric)


def make_map(
  step: int,
  labels: Sequence[tuple[str, str, str]],
  embeddings: np.ndarray,
  metric: str,
) -> EmbeddingMap:
  """Lays embeddings out in the plane.

  Args:
    step: of the checkpoint.
    labels: target, role and person of each.
    embeddings: [N, D].
    metric: "cosine" scales each to length 1 first.

  Returns:
    The map.

  Raises:
    UserError: as `lay_out` does.
  """
  if metric == "cosine":
    norm = np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings = embeddings / np.maximum(norm, 1e-12)
  places = lay_out(embeddings)
  return EmbeddingMap(
    step,
    [
      Point(*label, float(x), float(y))
      for label, (x, y) in zip(labels, places, strict=True)
    ],
  )


def choose(fold: Fold, limit: int) -> Fold:
  """Thins a fold to whole persons.

  Args:
    fold: query and gallery.
    limit: number of images that may stay.

  Returns:
    The fold itself if it is small enough; else all images of persons that are
    drawn at random, by a fixed seed, among those with a query, as many as
    fit and at least one.
  """
  if len(fold.query) + len(fold.gallery) <= limit:
    return fold
  counts: dict[str, int] = {}
  for record in (*fold.query, *fold.gallery):
    counts[record.pid] = counts.get(record.pid, 0) + 1
  persons = sorted({record.pid for record in fold.query})
  kept: set[str] = set()
  total = 0
  for index in np.random.default_rng(_SEED).permutation(len(persons)):
    person = persons[index]
    if not kept or total + counts[person] <= limit:
      kept.add(person)
      total += counts[person]
  query, gallery = (
    tuple(record for record in part if record.pid in kept)
    for part in (fold.query, fold.gallery)
  )
  return Fold(fold.name, query, gallery)


def lay_out(embeddings: np.ndarray) -> np.ndarray:
  """t-SNE into the plane, the same for the same embeddings.

  Args:
    embeddings: float [N, D], N at least 4.

  Returns:
    float32 [N, 2]. Perplexity is 30, or (N - 1) / 3 if that is less.

  Raises:
    UserError: for too few rows, or if all are alike.

  Source: van der Maaten and Hinton, Visualizing Data using t-SNE (2008), by
    scikit-learn.
  """
  number = len(embeddings)
  if number < 4:
    raise UserError(
      f"t-SNE needs at least 4 images, the targets have {number}; add --target."
    )
  if np.ptp(embeddings, axis=0).max() < 1e-6:
    raise UserError(
      "the network gives all images the same embedding, so there is nothing to "
      "lay out; draw a run that has learned something."
    )
  from sklearn import manifold
  from threadpoolctl import threadpool_limits

  method = manifold.TSNE(
    perplexity=min(_PERPLEXITY, (number - 1) / 3),
    init="pca",
    learning_rate="auto",
    random_state=_SEED,
  )
  # Several threads would add in an order that changes from call to call.
  with threadpool_limits(1):
    return method.fit_transform(np.asarray(embeddings, np.float32))


def check_installed() -> None:
  """Refuses to begin without scikit-learn.

  Raises:
    UserError: says how to install it.
  """
  try:
    import sklearn  # noqa: F401
  except ImportError as error:
    raise style.not_installed("scikit-learn") from error


def rows(name: str, data: EmbeddingMap) -> Iterator[tuple[Any, ...]]:
  """The lines of the CSV file, as `HEADER` has them."""
  for point in data.points:
    yield name, data.step, *point


def size(data: Mapping[str, EmbeddingMap]) -> tuple[float, float]:
  """Width and height in inches."""
  columns = min(3, len(data))
  return 4.2 * columns, 4.2 * -(-len(data) // columns) + 0.6


def draw(figure: Any, data: Mapping[str, EmbeddingMap]) -> None:
  """One panel for each run: marker = target, filled = query.

  Source: MetaBIN, Fig. 3.
  """
  columns = min(3, len(data))
  grid = figure.subplots(
    -(-len(data) // columns), columns, squeeze=False
  ).ravel()
  for axes in grid[len(data) :]:
    axes.remove()
  order = list(
    dict.fromkeys(p.target for found in data.values() for p in found.points)
  )
  handles = {}
  for axes, (name, found) in zip(grid, data.items(), strict=False):
    for index, target in enumerate(order):
      look = style.series(index)
      # Gallery first: the fewer queries stay visible above it.
      for role in reversed(ROLES):
        places = [
          (p.x, p.y)
          for p in found.points
          if p.target == target and p.role == role
        ]
        if places:
          handles[style.label(f"{target}, {role}")] = axes.scatter(
            *zip(*places, strict=True),
            s=16,
            marker=look["marker"],
            facecolor=look["color"] if role == "query" else "none",
            edgecolor=look["color"],
            linewidth=0.7,
          )
    axes.set_title(style.label(f"{name}, step {found.step}"), loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
  figure.legend(handles.values(), handles, loc="outside lower center", ncols=4)


def _embed(loaded: scoring.LoadedRun, paths: list[str]) -> np.ndarray:
  """Embeddings of image files, as they are scored: float32 [N, D]."""
  config = loaded.config
  embed = extract.make_embedder(
    loaded.network,
    loaded.variables,
    config.eval.batch_size,
    flip=config.eval.flip,
  )
  height, width = config.data.height_px, config.data.width_px
  with ThreadPoolExecutor(config.data.workers or None) as pool:

    def load_all(some: Sequence[str]) -> np.ndarray:
      read = pool.map(lambda path: load_image(path, height, width), some)
      return np.stack(list(read))

    return extract.embed_paths(embed, load_all, paths)
