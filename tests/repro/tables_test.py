"""Tests of the studies: their rows, and the published numbers they quote."""

from __future__ import annotations

import pathlib
import re

import pytest

from metabin_jax.data import readers
from metabin_jax.evaluation import settings
from metabin_jax.repro import jobs, published, scales
from metabin_jax.repro.arms import ARMS
from metabin_jax.repro.tables import STUDIES
from metabin_jax.repro.types import SCALES, SETTINGS, scoring_name
from metabin_jax.runtime import scoring

CATALOGUE = jobs.Catalogue(STUDIES, ARMS, scales.get_config, scales.overrides)
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "repro.md"
ENTRIES = [
  (study, entry) for study in STUDIES.values() for entry in study.entries
]


def list_jobs(name, scale="quick"):
  return jobs.list_jobs([STUDIES[name]], jobs.Choice(scale), CATALOGUE)


def target_names(setting):
  config = scales.get_config("full", setting)
  specs = [readers.parse_spec(spec) for spec in config.data.targets]
  return {spec.options.get("name", spec.reader) for spec in specs}


def row_of(study, label):
  (entry,) = [e for e in STUDIES[study].entries if e.label == label]
  return entry


def test_every_published_table_and_sweep_has_a_study():
  assert list(STUDIES) == [
    "table1",
    "table2",
    "table3",
    "table4",
    "single-source",
    "fig2",
    "s1",
    "s3",
    "s4",
    "table-s1",
    "comparators",
    "readings",
    "bnta_table3",
    "bnta_table4",
    "bnta_table5",
    "bnta_fig4",
    "bnta_steps",
    "bnta_beyond",
    "mar",
    "mar_ratio",
    "mar_beta",
    "mar_needs",
  ]
  assert all(name == study.name for name, study in STUDIES.items())


def test_rows_name_arms_and_every_arm_is_in_a_study():
  named = {entry.arm for _, entry in ENTRIES} - {None}
  assert named == set(ARMS)


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_labels_differ_and_settings_exist(study):
  labels = [entry.label for entry in study.entries]
  assert len(set(labels)) == len(labels)
  assert set(study.settings) <= set(SETTINGS)
  assert study.question.endswith("?")


@pytest.mark.parametrize(
  ("study", "entry"), ENTRIES, ids=[f"{s.name}:{e.label}" for s, e in ENTRIES]
)
def test_published_scores_fit_their_study(study, entry):
  # A quoted row without numbers would be empty, a number without a source
  # could not be checked.
  assert entry.arm is not None or entry.published
  assert bool(entry.published) == bool(entry.source)
  for setting, targets in entry.published.items():
    assert setting in study.settings
    assert set(targets) <= {*target_names(setting), "average"}
    for scores in targets.values():
      assert set(scores) <= set(study.metrics)
      values = list(scores.values())
      assert all(0 < value < 100 for value in values)
      ranks = [
        scores[k] for k in ("rank-1", "rank-5", "rank-10") if k in scores
      ]
      assert ranks == sorted(ranks)


def test_published_averages_are_those_of_their_targets():
  checked = 0
  for _, entry in ENTRIES:
    targets = dict(entry.published.get("dg", {}))
    average = targets.pop("average", {})
    if len(targets) < 4:
      continue
    for metric, value in average.items():
      mean = sum(scores[metric] for scores in targets.values()) / 4
      assert value == pytest.approx(mean, abs=0.06), (entry.label, metric)
      checked += 1
  assert checked == 17


def test_headline_numbers():
  metabin = row_of("table1", "MetaBIN").published["dg"]
  assert metabin["average"] == {"rank-1": 64.7, "mAP": 72.3}
  assert metabin["grid"]["rank-5"] == 67.6
  assert metabin["ilids"] == {
    "rank-1": 79.7,
    "rank-5": 93.3,
    "rank-10": 97.3,
    "mAP": 85.5,
  }
  for study in ("table2", "table3", "table4", "table-s1"):
    (row,) = [
      entry.published["dg"]["average"]
      for entry in STUDIES[study].entries
      if entry.arm in ("metabin", "metabin_mobilenetv2_1_4")
    ]
    assert row == metabin["average"]
  supervised = row_of("table4", "MetaBIN").published["supervised"]
  assert supervised["market1501"] == {"rank-1": 87.9, "mAP": 68.5}
  assert supervised["average"] == supervised["market1501"]
  single = row_of("single-source", "MetaBIN (ResNet-50)").published
  assert single["single-a"]["dukemtmc"]["mAP"] == 33.1
  assert single["single-b"]["market1501"]["rank-1"] == 69.2


def test_the_same_arm_has_one_published_average():
  # MetaBIN's own tables agree with one another. DualNorm's flag is quoted in
  # Table 4 with the numbers of DualNorm's paper.
  found = {}
  for name in ("table2", "table3", "table4"):
    for entry in STUDIES[name].entries:
      average = entry.published["dg"]["average"]
      assert found.setdefault(entry.arm, average) == average


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
  ("study", "number"),
  [
    ("table2", 7),
    ("table3", 12),
    ("table4", 6 + 6),
    ("single-source", 2 * 8),
    # Default and the new ones.
    ("fig2", 1 + 3 + 3),
    ("s1", 1 + 6),
    ("s3", 1 + 4),
    ("s4", 1 + 4),
    # Rows that are only scored otherwise share their run.
    ("bnta_table3", 6),
    ("bnta_table4", 1),
    ("bnta_table5", 1),
    ("bnta_fig4", 1),
    ("bnta_steps", 1),
    ("bnta_beyond", 4),
  ],
)
def test_number_of_runs(study, number, scale):
  assert len(list_jobs(study, scale)) == number


def test_sweeps_change_one_key_and_share_the_default_run():
  (default,) = [j for j in list_jobs("table2") if j.arm == "metabin"]
  for name in ("fig2", "s1", "s3", "s4"):
    found = list_jobs(name)
    assert default in found
    for job in found:
      assert len(job.overrides) == (job != default)


@pytest.mark.parametrize(
  ("study", "values"),
  [
    # The defaults of the quick scale, 3 and 40, are the run of `metabin`.
    (
      "fig2",
      {
        ("meta.num_mtrain", 1),
        ("meta.num_mtrain", 2),
        ("meta.num_mtrain", 4),
        ("data.batch_size", 60),
        ("data.batch_size", 80),
        ("data.batch_size", 120),
      },
    ),
    (
      "s1",
      {
        (f"loss.weights.{name}", weight)
        for name in ("scatter", "shuffle", "triplet")
        for weight in (0.1, 2.0)
      },
    ),
    (
      "s3",
      {("meta.beta_period_epochs", v) for v in (1.0, 2.5, 10.0, 20.0)},
    ),
    ("s4", {("optim.rho_lr", v) for v in (0.01, 0.05, 0.2, 0.5)}),
  ],
)
def test_swept_values(study, values):
  found = {pair for job in list_jobs(study) for pair in job.overrides.items()}
  assert found == values


@pytest.mark.parametrize("name", STUDIES)
def test_ways_to_score_can_be_used_and_differ(name):
  """A misspelt key, or a loss without its head, would be refused."""
  study, choice = STUDIES[name], jobs.Choice("quick")
  ways = jobs.list_scorings([study], choice, CATALOGUE)
  named = [(e.arm, scoring_name(e.scoring)) for e in study.entries if e.scoring]
  assert len(set(named)) == len(named)
  assert sum(len(found) for found in ways.values()) == len(named)
  some = name.startswith("bnta") or name in ("mar", "mar_needs")
  assert (len(named) > 0) == some
  for job in list_jobs(name):
    config = jobs.make_config(job, scales.get_config("quick", job.setting))
    for changes in ways.get(job.name, {}).values():
      changed = scoring.override_eval(config, changes)
      said = settings.describe(settings.from_config(changed.eval))
      if name == "mar":
        assert said == "cosine, AP mar"
      else:
        assert re.search(r"(adapted to|BNTA on|images of) the gallery", said)


@pytest.mark.parametrize(
  ("study", "key", "values"),
  [
    (
      "bnta_table4",
      "groups",
      [
        ("conv",),
        ("in",),
        ("conv", "in"),
        ("bn",),
        ("bn", "conv"),
        ("bn", "in"),
        ("bn", "conv", "in"),
      ],
    ),
    (
      "bnta_table5",
      "bn_arrays",
      [
        ("mean",),
        ("var",),
        ("mean", "var"),
        ("scale",),
        ("bias",),
        ("scale", "bias"),
        ("mean", "var", "scale", "bias"),
      ],
    ),
  ],
)
def test_rows_of_bnta_s_ablations(study, key, values):
  rows = [e.scoring for e in STUDIES[study].entries]
  assert rows[0] == {}
  assert rows[1:] == [{"adapt": "bnta", "bnta": {key: v}} for v in values]


def test_bnta_adapts_by_losses_that_it_was_trained_with():
  for entry in STUDIES["bnta_table3"].entries:
    trained = ARMS[entry.arm].changes["loss.base"]
    adapted = entry.scoring.get("bnta", {}).get("losses", ())
    assert set(adapted) <= set(trained)
    assert entry.label.endswith(f"by {' + '.join(adapted) or 'none'}")


def test_a_published_row_refuses_unknown_targets():
  with pytest.raises(ValueError, match="vipr"):
    published.dg(vipr=(1.0,))


def test_docs_list_every_study_as_it_is():
  rows = {}
  for line in PAGE.read_text("utf-8").splitlines():
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    if len(cells) == 4 and cells[0].startswith("`"):
      rows[cells[0].strip("`")] = cells[1:]
  assert rows == {
    name: [study.title, ", ".join(study.settings), str(len(list_jobs(name)))]
    for name, study in STUDIES.items()
  }
