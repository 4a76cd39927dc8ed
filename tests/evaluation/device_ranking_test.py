"""The same ranking as on the host, on eight pretended devices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation import device_ranking, ranking
from metabin_jax.evaluation.average_precision import AP_CONVENTIONS
from metabin_jax.evaluation.ranking import Reason

FPRS = (0.001, 0.01, 0.1, 0.9)


def labels(rng, num_query=41, num_gallery=57):
  return (
    rng.integers(0, 12, num_query),
    rng.integers(-1, 3, num_query),
    rng.integers(0, 9, num_gallery),
    rng.integers(-1, 3, num_gallery),
  )


def problem(seed, *, ties):
  """Embeddings; with ties all distances are exact in float32, many equal."""
  rng = np.random.Generator(np.random.Philox(key=[seed, 21]))

  def embed(number):
    if not ties:
      return rng.standard_normal((number, 24)).astype(np.float32)
    # Four entries of one size: norms are powers of two.
    rows = np.zeros((number, 8), np.float32)
    for row in rows:
      row[rng.permutation(8)[:4]] = rng.choice([-1, 1], 4)
    return rows * 2.0 ** rng.integers(-2, 3, (number, 1)).astype(np.float32)

  return embed(41), embed(57), *labels(rng)


def assert_same(got, want, *, exact):
  for name in ("first_rank", "ap", "inp", "num_matches", "reason", "pid"):
    np.testing.assert_array_equal(getattr(got, name), getattr(want, name), name)
  assert got.ap_convention == want.ap_convention
  assert got.roc.rates == want.roc.rates
  assert got.roc.num_genuine == want.roc.num_genuine
  assert got.roc.num_impostor == want.roc.num_impostor
  np.testing.assert_array_equal(got.roc.fpr, want.roc.fpr)
  np.testing.assert_array_equal(got.roc.tpr, want.roc.tpr)
  np.testing.assert_allclose(
    got.roc.threshold, want.roc.threshold, atol=0 if exact else 1e-5
  )


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_host(metric, ties, seed):
  options = {
    "metric": metric,
    "ap": AP_CONVENTIONS[seed],
    "cross_camera": seed != 1,
    "fprs": FPRS,
  }
  want = ranking.rank_queries(*problem(seed, ties=ties), **options)
  got = device_ranking.rank_queries(*problem(seed, ties=ties), **options)
  # Square roots are rounded to float32.
  exact = ties and metric == "cosine"
  assert_same(got, want, exact=exact)


def test_the_problems_have_ties_and_invalid_queries():
  query, gallery, *ids = problem(0, ties=True)
  got = ranking.rank_queries(query, gallery, *ids)
  assert 0 < (~got.valid).sum() < 20
  dist = np.round(query @ gallery.T, 6)
  assert all(len(np.unique(row)) < 20 for row in dist)


@pytest.mark.parametrize("block", [2, 64])
def test_one_device_and_eight_give_the_same_bits(block):
  assert len(jax.devices()) == 8
  rankings = [
    device_ranking.rank_queries(
      *problem(5, ties=False), fprs=FPRS, block=block, devices=devices
    )
    for devices in (jax.devices(), jax.devices()[3:4])
  ]
  assert_same(*rankings, exact=True)


def test_embeddings_may_be_on_a_device_and_persons_text():
  query, gallery, q_pid, q_camid, g_pid, g_camid = problem(2, ties=True)
  got = device_ranking.rank_queries(
    jnp.asarray(query),
    jnp.asarray(gallery),
    [f"p{pid:02d}" for pid in q_pid],
    q_camid,
    [f"p{pid:02d}" for pid in g_pid],
    g_camid,
  )
  want = ranking.rank_queries(*problem(2, ties=True))
  np.testing.assert_array_equal(got.first_rank, want.first_rank)
  np.testing.assert_array_equal(got.ap, want.ap)
  assert got.roc is None


def test_no_ranking_without_roc_sorts_a_block():
  """The sort of a block is most of the time: only a ROC may pay for it."""
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), "queries")
  texts = {number: program_text(mesh, number) for number in (0, 16)}
  assert "stablehlo.sort" in texts[16]
  assert "stablehlo.sort" not in texts[0]


def program(mesh, num_nearest, *, rows=64, width=32, columns=4096):
  shape = jax.ShapeDtypeStruct
  number = shape((), jnp.int32)
  return device_ranking._program(mesh, "cosine", num_nearest).lower(
    shape((rows, 16), jnp.float32),
    shape((rows, width), jnp.int32),
    shape((rows,), jnp.int32),
    shape((columns, 16), jnp.float32),
    number,
    number,
  )


def program_text(mesh, num_nearest):
  return program(mesh, num_nearest).as_text()


def test_memory_is_a_few_blocks_however_many_matches():
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), "queries")
  compiled = program(mesh, 16).compile()
  block = 64 * 4096 * 4
  assert compiled.memory_analysis().temp_size_in_bytes < 4.5 * block


def test_folds_of_nearly_one_size_share_a_program():
  device_ranking._program.cache_clear()
  for number in (60, 57, 50):
    query, gallery, q_pid, q_camid, *g_labels = problem(1, ties=True)
    g_labels = (part[:number] for part in g_labels)
    device_ranking.rank_queries(
      query, gallery[:number], q_pid % 9, q_camid, *g_labels, block=8
    )
  mesh = jax.sharding.Mesh(np.array(jax.devices()), "queries")
  assert device_ranking._program(mesh, "cosine", 0)._cache_size() == 1


def test_products_are_not_rounded_to_bfloat16():
  """On accelerators this word decides, so that its absence must show here."""
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), "queries")
  assert "precision = [HIGHEST, HIGHEST]" in program_text(mesh, 0)


def test_nothing_to_rank():
  query, gallery, *_ = problem(0, ties=True)
  got = device_ranking.rank_queries(
    query, gallery, [1] * 41, [0] * 41, [2] * 57, [0] * 57, fprs=(0.1,)
  )
  assert (got.reason == Reason.NO_MATCH).all()
  assert got.roc.rates == ((0.1, None),)
  empty = device_ranking.rank_queries(
    query, gallery[:0], [1] * 41, [0] * 41, np.empty(0, int), []
  )
  assert not empty.valid.any()


def test_a_zero_embedding_is_at_cosine_distance_one():
  query = np.zeros((1, 4), np.float32)
  gallery = np.eye(4, dtype=np.float32) * [[1], [-1], [1], [1]]
  got = device_ranking.rank_queries(
    query, gallery, [0], [0], [0, 1, 2, 3], [1] * 4
  )
  assert got.first_rank[0] == 4


def test_a_gallery_that_needs_no_padding_keeps_its_last_image():
  rng = np.random.Generator(np.random.Philox(key=[8, 21]))
  gallery = rng.standard_normal((256, 8)).astype(np.float32)
  g_pid = np.r_[1, 1, 1, 2, np.arange(3, 255)]  # 3 of a table 4 wide
  query = np.stack([gallery[-1], gallery[3]])
  ids = ([1, 2], [0, 0], g_pid, [1] * 256)
  assert len(g_pid) == device_ranking._round_up(256, 256)
  got = device_ranking.rank_queries(query, gallery, *ids)
  want = ranking.rank_queries(query, gallery, *ids)
  np.testing.assert_array_equal(got.first_rank, want.first_rank)
  assert got.first_rank[0] > 1
  np.testing.assert_array_equal(got.ap, want.ap)


def test_an_image_of_another_person_like_the_query_is_at_distance_zero():
  """|a|^2 + |b|^2 - 2ab rounds below zero for half of such pairs."""
  rng = np.random.Generator(np.random.Philox(key=[9, 21]))
  query = rng.standard_normal((40, 100)).astype(np.float32)
  gallery = np.concatenate([query, query + 1])
  pid = np.arange(40)
  got = device_ranking.rank_queries(
    query,
    gallery,
    pid,
    [0] * 40,
    np.r_[pid + 100, pid],
    [1] * 80,
    metric="euclidean",
  )
  assert (got.first_rank == 2).all()


def test_refuses_what_the_host_refuses():
  query, gallery, *ids = problem(0, ties=False)
  bad = gallery.copy()
  bad[3, 1] = np.nan
  with pytest.raises(UserError, match="gallery image 3 is not finite"):
    device_ranking.rank_queries(query, bad, *ids)
  with pytest.raises(ValueError, match="'cosine' or 'euclidean'"):
    device_ranking.rank_queries(query, gallery, *ids, metric="manhattan")
  with pytest.raises(ValueError, match="both must come from one model"):
    device_ranking.rank_queries(query[:, 1:], gallery, *ids)
  with pytest.raises(ValueError, match="rates lie between"):
    device_ranking.rank_queries(query, gallery, *ids, fprs=(2,))
