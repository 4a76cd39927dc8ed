from __future__ import annotations

import pathlib
import tracemalloc

import numpy as np
import pytest

from metabin_jax.errors import UserError
from metabin_jax.evaluation import ranking, summary
from metabin_jax.evaluation.ranking import (
  Ranking,
  Reason,
  rank_blocks,
  rank_distances,
  rank_queries,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
CASES = (
  "market_like",
  "market_like_euclid",
  "viper_like",
  "prid_like",
  "ilids_like",
  "small_gallery",
)


def one_query(dist, same, *, camera=0, cameras=None, **options) -> Ranking:
  """Ranks one query; `same` marks the gallery images of its person."""
  g_pid = np.where(same, 1, 2)
  cameras = [9] * len(dist) if cameras is None else cameras
  return rank_distances(
    np.array([dist], float), [1], [camera], g_pid, cameras, **options
  )


def naive_ranking(dist, q_pid, q_camid, g_pid, g_camid):
  """The definitions one by one: sort, drop, walk down the list."""
  results = []
  for row in range(len(q_pid)):
    entries = []
    for column in range(len(g_pid)):
      match = q_pid[row] == g_pid[column]
      known = q_camid[row] != -1 and g_camid[column] != -1
      if match and known and q_camid[row] == g_camid[column]:
        continue
      entries.append((dist[row, column], bool(match)))
    entries.sort()  # at equal distance False, another person, comes first
    hits = [i for i, (_, match) in enumerate(entries, start=1) if match]
    if hits:
      ap = sum((k + 1) / hit for k, hit in enumerate(hits)) / len(hits)
      results.append((hits[0], ap, len(hits) / hits[-1], len(hits)))
    else:
      results.append((0, 0.0, 0.0, 0))
  return [np.array(column) for column in zip(*results, strict=True)]


def random_problem(seed, *, levels=None):
  """Few persons and cameras (some unknown), many ties if `levels` is set."""
  rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
  dist = rng.random((40, 57))
  if levels:
    dist = np.floor(dist * levels)
  return (
    dist,
    rng.integers(0, 12, 40),
    rng.integers(-1, 3, 40),
    rng.integers(0, 9, 57),
    rng.integers(-1, 3, 57),
  )


def assert_same(a: Ranking, b: Ranking):
  for name in ("first_rank", "ap", "inp", "num_matches", "reason"):
    np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)


class TestByHand:
  def test_matches_at_ranks_1_3_4(self):
    got = one_query([0.1, 0.2, 0.3, 0.4, 0.5], [1, 0, 1, 1, 0])
    assert got.first_rank[0] == 1
    assert got.ap[0] == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert got.inp[0] == pytest.approx(3 / 4)
    assert got.num_matches[0] == 3

  def test_one_match_at_rank_5_has_ap_one_fifth(self):
    got = one_query([1, 2, 3, 4, 5], [0, 0, 0, 0, 1])
    assert (got.first_rank[0], got.ap[0], got.inp[0]) == (5, 0.2, 0.2)

  def test_same_person_in_the_same_camera_does_not_count(self):
    # Without them the order is: other, match.
    got = one_query([1, 2, 3, 4], [1, 1, 0, 1], cameras=[0, 0, 0, 9])
    assert (got.first_rank[0], got.ap[0], got.inp[0]) == (2, 0.5, 0.5)

  def test_another_person_in_the_same_camera_stays(self):
    got = one_query([1, 2], [0, 1], cameras=[0, 9])
    assert got.first_rank[0] == 2

  def test_cross_camera_off_drops_nothing(self):
    options = {"cameras": [0, 0, 0, 9]}
    got = one_query([1, 2, 3, 4], [1, 1, 0, 1], cross_camera=False, **options)
    assert got.first_rank[0] == 1
    assert got.inp[0] == pytest.approx(3 / 4)

  @pytest.mark.parametrize(
    ("camera", "cameras"), [(-1, [-1, -1]), (-1, [0, 0]), (0, [-1, -1])]
  )
  def test_unknown_camera_on_either_side_drops_nothing(self, camera, cameras):
    got = one_query([1, 2], [1, 0], camera=camera, cameras=cameras)
    assert got.first_rank[0] == 1


class TestTies:
  """PESSIMISTIC: other persons come before a match at equal distance."""

  def test_a_match_loses_a_tie(self):
    got = one_query([0.5, 0.5], [1, 0])
    assert got.first_rank[0] == 2
    assert one_query([0.5, 0.5], [0, 1]).first_rank[0] == 2

  def test_matches_among_themselves_lose_nothing(self):
    got = one_query([0.5, 0.5, 0.5, 0.7], [1, 1, 0, 0])
    # Order: other, match, match, other.
    assert got.ap[0] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert got.inp[0] == pytest.approx(2 / 3)

  def test_a_dropped_image_takes_no_rank_even_in_a_tie(self):
    got = one_query([0.5, 0.5, 0.9], [1, 1, 0], cameras=[0, 9, 9])
    assert got.first_rank[0] == 1

  def test_one_point_for_all_images_gets_the_worst_score(self):
    embeddings = np.ones((10, 8), np.float32)
    pid = np.arange(10)
    got = rank_queries(embeddings, embeddings, pid, [0] * 10, pid, [1] * 10)
    assert (got.first_rank == 10).all()

  def test_copies_of_an_image_under_two_persons_tie(self):
    rng = np.random.Generator(np.random.Philox(key=[5, 0]))
    images = rng.standard_normal((31, 257)).astype(np.float32)
    gallery = np.concatenate([images, images])
    g_pid = np.concatenate([np.arange(31), np.arange(31) + 100])
    got = rank_queries(
      images, gallery, np.arange(31), [0] * 31, g_pid, [1] * 62
    )
    assert (got.first_rank == 2).all()


class TestAgainstTheNaiveLoop:
  @pytest.mark.parametrize("levels", [None, 3, 12])
  @pytest.mark.parametrize("seed", range(3))
  def test_distances(self, seed, levels):
    problem = random_problem(seed, levels=levels)
    got = rank_distances(*problem)
    first, ap, inp, matches = naive_ranking(*problem)
    np.testing.assert_array_equal(got.first_rank, first)
    np.testing.assert_allclose(got.ap, ap, atol=1e-15)
    np.testing.assert_allclose(got.inp, inp, atol=1e-15)
    np.testing.assert_array_equal(got.num_matches, matches)
    np.testing.assert_array_equal(got.valid, first > 0)

  @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
  def test_embeddings(self, metric):
    _, *ids = random_problem(7)
    rng = np.random.Generator(np.random.Philox(key=[7, 1]))
    query = rng.standard_normal((40, 19))
    gallery = rng.standard_normal((57, 19))
    if metric == "cosine":
      lengths = np.linalg.norm(query, axis=1)[:, None]
      dist = (
        1
        - query
        / lengths
        @ (gallery / np.linalg.norm(gallery, axis=1)[:, None]).T
      )
    else:
      dist = np.linalg.norm(query[:, None] - gallery[None], axis=2)
    first, ap, *_ = naive_ranking(dist, *ids)
    got = rank_queries(query, gallery, *ids, metric=metric)
    np.testing.assert_array_equal(got.first_rank, first)
    np.testing.assert_allclose(got.ap, ap, atol=1e-15)


class TestInvalidQueries:
  def test_reasons(self):
    got = rank_distances(np.ones((3, 2)), [1, 2, 3], [0, 0, 0], [1, 2], [0, 1])
    assert list(got.reason) == [
      Reason.SAME_CAMERA,
      Reason.VALID,
      Reason.NO_MATCH,
    ]
    assert list(got.first_rank) == [0, 2, 0]
    assert list(got.valid) == [False, True, False]
    assert got.ap[0] == got.inp[0] == got.ap[2] == got.inp[2] == 0

  def test_empty_gallery(self):
    got = rank_distances(np.ones((2, 0)), [1, 2], [0, 0], np.empty(0, int), [])
    assert list(got.reason) == [Reason.NO_MATCH] * 2


class TestBlocks:
  @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
  def test_no_bit_depends_on_the_block(self, metric):
    _, *ids = random_problem(1)
    rng = np.random.Generator(np.random.Philox(key=[1, 1]))
    # Coarse embeddings: ties everywhere, each an accident waiting.
    query = rng.integers(-1, 2, (40, 5)).astype(np.float32)
    gallery = rng.integers(-1, 2, (57, 5)).astype(np.float32)
    whole = rank_queries(query, gallery, *ids, metric=metric)
    for block in (1, 3, 16, 39, 1000):
      got = rank_queries(query, gallery, *ids, metric=metric, block=block)
      assert_same(got, whole)

  def test_blocks_of_a_ready_matrix_and_that_it_is_left_alone(self):
    problem = random_problem(2, levels=9)
    before = problem[0].copy()
    assert_same(rank_distances(*problem, block=7), rank_distances(*problem))
    np.testing.assert_array_equal(problem[0], before)

  def test_memory_is_bounded_by_the_block(self):
    rng = np.random.Generator(np.random.Philox(key=[2, 2]))
    query = rng.standard_normal((2000, 16)).astype(np.float32)
    gallery = rng.standard_normal((3000, 16)).astype(np.float32)
    ids = (
      rng.integers(0, 99, 2000),
      rng.integers(0, 6, 2000),
      rng.integers(0, 99, 3000),
      rng.integers(0, 6, 3000),
    )
    tracemalloc.start()
    rank_queries(query, gallery, *ids, block=50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A block is 1.2 MB, all distances would be 48 MB.
    assert peak < 6e6

  def test_one_block_is_in_memory_at_a_time(self):
    """A view of the last row once kept the block before."""
    tracemalloc.start()
    rank_blocks(
      lambda start, stop: np.ones((stop - start, 30_000)),
      80,
      [1] * 80,
      [0] * 80,
      np.arange(30_000),
      [1] * 30_000,
      fprs=(1e-3,),
      block=20,
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A block is 4.8 MB, labels and the nearest impostors are 2 MB.
    assert peak < 8e6

  def test_chosen_blocks_are_of_one_size_and_cover_all(self):
    asked = []

    def distances(start, stop):
      asked.append((start, stop))
      return np.ones((stop - start, num_gallery), np.float32)

    for num_gallery, number in ((7, 1), (50_000, 2), (100_000, 2)):
      asked.clear()
      ids = np.zeros(num_gallery, int)
      rank_blocks(distances, 500, [5] * 500, [0] * 500, ids, ids)
      assert len(asked) == number
      assert len({stop - start for start, stop in asked}) == 1
      assert [start for start, _ in asked[1:]] == [s for _, s in asked[:-1]]
      assert (asked[0][0], asked[-1][1]) == (0, 500)


class TestOptions:
  def test_ap_convention(self):
    dist = [1, 2, 3, 4, 5]
    got = one_query(dist, [0, 0, 0, 0, 1], ap="mar")
    assert (got.ap[0], got.ap_convention) == (0.6, "mar")
    assert one_query(dist, [0, 0, 0, 0, 1]).ap_convention == (
      "interpolation-free"
    )

  def test_map_is_minp_if_each_query_has_one_match(self):
    rng = np.random.Generator(np.random.Philox(key=[6, 0]))
    got = rank_distances(
      rng.random((50, 50)), np.arange(50), [0] * 50, np.arange(50), [1] * 50
    )
    means = summary.summarize(got)
    assert means["mAP"] == means["mINP"]
    np.testing.assert_array_equal(got.ap, 1 / got.first_rank)

  def test_a_perfect_matcher_gets_one_everywhere(self):
    pid = np.arange(40) % 8
    dist = np.where(pid[:, None] == pid, 0.25, 0.5)
    for convention in ("interpolation-free", "trapezoid", "mar"):
      got = rank_distances(
        dist, pid, [0] * 40, pid, [1] * 40, ap=convention, fprs=(0.001, 0.1)
      )
      means = summary.summarize(got)
      counts = {key: means.pop(key) for key in summary.COUNTS}
      assert set(means.values()) == {1.0}
      assert counts["num_genuine"] == 200

  def test_whole_numbers_and_float32_are_distances(self):
    whole = one_query([3, 1, 2], [1, 0, 0], fprs=(0.5,))
    for dtype in (np.int64, np.uint8, np.float32):
      dist = np.array([[3, 1, 2]], dtype)
      got = rank_distances(dist, [1], [0], [1, 2, 2], [9, 9, 9], fprs=(0.5,))
      assert_same(got, whole)
      assert got.roc.rates == whole.roc.rates

  def test_infinite_distances_rank_last(self):
    got = one_query([np.inf, np.inf, 1, np.inf], [1, 0, 0, 1], fprs=(0.6,))
    assert got.first_rank[0] == 3
    assert got.inp[0] == 2 / 4
    assert got.roc.rates == ((0.6, 0.0),)


class TestPersons:
  def test_text_and_numbers_give_the_same(self):
    dist, q_pid, q_camid, g_pid, g_camid = random_problem(4)
    as_text = rank_distances(
      dist,
      [f"shop/{pid:04d}" for pid in q_pid],
      q_camid,
      [f"shop/{pid:04d}" for pid in g_pid],
      g_camid,
    )
    assert_same(as_text, rank_distances(dist, q_pid, q_camid, g_pid, g_camid))

  def test_longer_names_do_not_match_their_beginning(self):
    got = rank_distances(np.ones((1, 1)), ["a"], [0], ["ab"], [1])
    assert got.reason[0] == Reason.NO_MATCH

  def test_text_against_numbers_is_refused(self):
    with pytest.raises(ValueError, match="both as numbers or both as text"):
      rank_distances(np.ones((1, 1)), ["1"], [0], [1], [1])


def test_refuses_nan_and_wrong_lengths():
  dist = np.ones((4, 2))
  dist[2, 1] = np.nan
  with pytest.raises(UserError, match="query 2 hold NaN"):
    rank_distances(dist, [1] * 4, [0] * 4, [1, 2], [1, 1], block=2)
  with pytest.raises(UserError, match="query 0 hold NaN"):
    rank_distances([[np.nan, 1.0]], [1], [0], [1, 2], [1, 1])
  with pytest.raises(ValueError, match="'mar'"):
    rank_distances(dist, [1] * 4, [0] * 4, [1, 2], [1, 1], ap="voc")
  with pytest.raises(ValueError, match="the least is 1"):
    rank_distances(dist, [1] * 4, [0] * 4, [1, 2], [1, 1], block=0)
  with pytest.raises(ValueError, match=r"have shape \(2, 3\), want \(2, 2\)"):
    rank_blocks(
      lambda start, stop: np.ones((2, 3)), 2, [1, 1], [0, 0], [1, 2], [1, 1]
    )
  with pytest.raises(ValueError, match="want"):
    rank_distances(np.ones((2, 3)), [1, 2], [0, 0], [1, 2], [1, 1])
  with pytest.raises(ValueError, match="as many persons and cameras"):
    rank_distances(np.ones((2, 2)), [1, 2], [0], [1, 2], [1, 1])


@pytest.fixture(scope="module")
def golden():
  with np.load(GOLDEN / "f_evaluation_reduced.npz") as file:
    return dict(file)


class TestOfficialCode:
  """Arrays from the official evaluation; worst errors in golden/README.md."""

  def rankings(self, golden, case):
    ids = [
      golden[f"{case}/{name}"] for name in ("q_pid", "q_cam", "g_pid", "g_cam")
    ]
    metric = "euclidean" if "euclid" in case else "cosine"
    yield rank_queries(
      golden[f"{case}/feat_q"], golden[f"{case}/feat_g"], *ids, metric=metric
    )
    if f"{case}/dist" in golden:
      yield rank_distances(golden[f"{case}/dist"], *ids)

  @pytest.mark.parametrize("case", CASES)
  def test_python_path(self, golden, case):
    for got in self.rankings(golden, case):
      valid = got.valid
      want_cmc = golden[f"{case}/py_cmc"]  # float32
      np.testing.assert_allclose(
        summary.cmc(got, len(want_cmc)), want_cmc, atol=1e-7
      )
      np.testing.assert_allclose(
        got.ap[valid], golden[f"{case}/py_AP"], atol=1e-15
      )
      np.testing.assert_allclose(
        got.inp[valid], golden[f"{case}/py_INP"], atol=1e-15
      )
      means = summary.summarize(got)
      np.testing.assert_allclose(
        [means[k] for k in ("rank-1", "rank-5", "rank-10", "mAP", "mINP")],
        golden[f"{case}/py_rank1_5_10_mAP_mINP"],
        atol=1e-7,
      )

  @pytest.mark.parametrize("case", CASES)
  def test_cython_path_divides_ap_and_inp_by_all_queries(self, golden, case):
    for got in self.rankings(golden, case):
      # Same arrays with zeros for invalid queries, averaged over all of them.
      np.testing.assert_allclose(got.ap, golden[f"{case}/cy_AP"], atol=3e-7)
      np.testing.assert_allclose(got.inp, golden[f"{case}/cy_INP"], atol=3e-7)
      want = golden[f"{case}/cy_rank1_5_10_mAP_mINP"]
      np.testing.assert_allclose(
        [got.ap.mean(), got.inp.mean()], want[3:], atol=3e-7
      )
      np.testing.assert_allclose(
        summary.cmc(got, 10)[[0, 4, 9]], want[:3], atol=1e-7
      )

  def test_counts_the_invalid_queries(self, golden):
    got = next(self.rankings(golden, "market_like"))
    assert int((~got.valid).sum()) == 13
    assert set(got.reason[~got.valid]) == {
      ranking.Reason.NO_MATCH,
      ranking.Reason.SAME_CAMERA,
    }
