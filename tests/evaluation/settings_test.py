from __future__ import annotations

import pytest

from metabin_jax import default_config
from metabin_jax.evaluation import settings
from metabin_jax.evaluation.settings import Settings
from metabin_jax.runtime import resolve


def test_defaults_are_those_of_the_configuration():
  config = resolve.resolve(default_config.get_config())
  assert settings.from_config(config.eval) == Settings()
  assert {*Settings._fields, "batch_size"} == set(config.eval)


@pytest.mark.parametrize("name", sorted({*Settings._fields} - {"bnta"}))
def test_every_key_is_taken_over(name):
  section = default_config.get_config().eval
  with section.ignore_type():
    section[name] = "other"
  assert settings.from_config(section) == Settings()._replace(**{name: "other"})


def test_bnta_is_described_as_it_is_configured():
  config = default_config.get_config()
  config.eval.adapt = "bnta"
  config.model.heads = "bnta"
  config.loss.base = ("ce", "position", "match")
  head = "cosine, AP interpolation-free, BNTA on "
  said = settings.describe(settings.from_config(resolve.resolve(config).eval))
  assert said == (
    f"{head}the gallery moved bn (mean+var+scale+bias) by position+match, adam "
    "0.0005, 1 x 128 pairs at most, seed 0"
  )
  changed = {
    "images_of": "all",
    "images": 50,
    "groups": ("in", "rho"),
    "losses": ("match",),
    "optimizer": "sgd",
    "lr": 0.25,
    "epochs": 3,
    "pairs": 7,
    "seed": 4,
    "symmetric": True,
    "momentum": 0.5,
  }
  for key, value in changed.items():
    config.eval.bnta[key] = value
  said = settings.describe(settings.from_config(resolve.resolve(config).eval))
  assert said == (
    f"{head}at most 50 images of queries and gallery moved in+rho by match, "
    "sgd 0.25, 3 x 7 pairs at most, seed 4, symmetric=True, momentum=0.5"
  )


def test_what_is_mentioned_only_if_unusual_has_the_usual_value():
  section = default_config.get_config().eval.bnta
  assert {key: section[key] for key in settings._USUAL} == settings._USUAL


@pytest.mark.parametrize(
  ("changes", "want"),
  [
    ({}, "cosine, AP interpolation-free"),
    ({"metric": "euclidean", "ap": "mar"}, "euclidean, AP mar"),
    (
      {"rerank": True},
      "cosine, AP interpolation-free, re-ranked k1=20 k2=6 lambda=0.3",
    ),
    (
      {
        "cross_camera": False,
        "flip": True,
        "query_expansion": 5,
        "rerank": True,
        "rerank_k1": 7,
        "rerank_k2": 2,
        "rerank_lambda": 1.0,
      },
      "cosine, AP interpolation-free, matches by the same camera count, image "
      "and mirror image, queries expanded by 5, re-ranked k1=7 k2=2 lambda=1",
    ),
    (
      {"adapt_bn": "gallery"},
      "cosine, AP interpolation-free, batch norm adapted to the gallery",
    ),
    (
      {"adapt_bn": "all", "flip": True, "query_expansion": 1},
      "cosine, AP interpolation-free, image and mirror image, batch norm "
      "adapted to queries and gallery, queries expanded by 1",
    ),
    # What changes no number is not mentioned.
    (
      {"rerank_k1": 7, "place": "host", "ranks": (1,), "fprs": ()},
      "cosine, AP interpolation-free",
    ),
  ],
)
def test_description(changes, want):
  assert settings.describe(Settings(**changes)) == want
