"""How embeddings are made into scores, and one line that says it."""

from __future__ import annotations

from typing import Any, NamedTuple

_ADAPTED_TO = {"gallery": "the gallery", "all": "queries and gallery"}

# What is mentioned only where it is otherwise.
_USUAL = {
  "batch_pairs": 32,
  "match_weight": 1.0,
  "margin": 0.3,
  "reduction": "mean",
  "symmetric": False,
  "position_parts": "all",
  "statistics": "average",
  "forward": "batch",
  "momentum": 0.1,
  "neck": True,
}


class Settings(NamedTuple):
  """The keys of the configuration's section `eval`, but for the batch size.

  Attributes:
    ranks: k of the rank-k entries.
    metric: "cosine" or "euclidean".
    cross_camera: remove gallery images of the query's person and camera.
    ap: average precision, one of `average_precision.AP_CONVENTIONS`.
    fprs: false positive rates in (0, 1) at which to give the true positive
      rate.
    flip: embeddings are those of `extract.make_embedder(..., flip=True)`.
    adapt_bn: whose batch norm statistics the embeddings are made with, one of
      `adabn.IMAGES`.
    adapt: what the network was adapted by, "none" or "bnta".
    bnta: section `eval.bnta` of the configuration; None unless `adapt` is
      "bnta".
    rerank: re-rank, see `rerank.make_reranked_distances`.
    rerank_k1: its k1.
    rerank_k2: its k2.
    rerank_lambda: its share of the original distance.
    query_expansion: neighbours of `query_expansion.expand_queries`; 0 = off.
    place: "host", "device" or "auto", see `evaluate.rank`.
  """

  ranks: tuple[int, ...] = (1, 5, 10)
  metric: str = "cosine"
  cross_camera: bool = True
  ap: str = "interpolation-free"
  fprs: tuple[float, ...] = (1e-4, 1e-3, 1e-2)
  flip: bool = False
  adapt_bn: str = "none"
  adapt: str = "none"
  bnta: Any = None
  rerank: bool = False
  rerank_k1: int = 20
  rerank_k2: int = 6
  rerank_lambda: float = 0.3
  query_expansion: int = 0
  place: str = "auto"


def from_config(section: Any) -> Settings:
  """Takes the settings from the section `eval` of a resolved configuration."""
  found = Settings(*(getattr(section, name) for name in Settings._fields))
  return found if found.adapt == "bnta" else found._replace(bnta=None)


def describe(settings: Settings) -> str:
  """Names everything that changes the meaning of a score.

  Args:
    settings: how it was made.

  Returns:
    E.g. "cosine, AP interpolation-free, re-ranked k1=20 k2=6 lambda=0.3". What
    the command does unless told otherwise, apart from metric and AP, is not
    mentioned.
  """
  parts = [settings.metric, f"AP {settings.ap}"]
  if not settings.cross_camera:
    parts.append("matches by the same camera count")
  if settings.flip:
    parts.append("image and mirror image")
  if settings.adapt_bn != "none":
    parts.append(f"batch norm adapted to {_ADAPTED_TO[settings.adapt_bn]}")
  if settings.adapt == "bnta":
    parts.append(describe_bnta(settings.bnta))
  if settings.query_expansion:
    parts.append(f"queries expanded by {settings.query_expansion}")
  if settings.rerank:
    parts.append(
      f"re-ranked k1={settings.rerank_k1} k2={settings.rerank_k2} "
      f"lambda={settings.rerank_lambda:g}"
    )
  return ", ".join(parts)


def describe_bnta(section: Any) -> str:
  """What was adapted on what, and whatever is not as published.

  Args:
    section: the section `eval.bnta` of a resolved configuration.

  Returns:
    E.g. "BNTA on the gallery moved bn (mean+var+scale+bias) by position+match,
    adam 0.0005, 1 x 128 pairs at most, seed 0".
  """
  some = f"at most {section.images} images of " if section.images else ""
  text = (
    f"BNTA on {some}{_ADAPTED_TO[section.images_of]} moved "
    f"{'+'.join(section.groups) or 'nothing'}"
  )
  if "bn" in section.groups:
    text += f" ({'+'.join(section.bn_arrays) or 'nothing'})"
  text += (
    f" by {'+'.join(section.losses)}, {section.optimizer} {section.lr:g}, "
    f"{section.epochs} x {section.pairs} pairs at most, seed {section.seed}"
  )
  special = [
    f"{key}={section[key]}"
    for key, usual in _USUAL.items()
    if section[key] != usual
  ]
  return ", ".join([text, *special])
