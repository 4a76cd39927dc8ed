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


@pytest.mark.parametrize("name", Settings._fields)
def test_every_key_is_taken_over(name):
  section = default_config.get_config().eval
  with section.ignore_type():
    section[name] = "other"
  assert settings.from_config(section) == Settings()._replace(**{name: "other"})


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
