"""The look of figures: the same bytes, told apart in grey."""

from __future__ import annotations

import itertools
import sys

import pytest

matplotlib = pytest.importorskip("matplotlib")

from metabin_jax.errors import UserError  # noqa: E402
from metabin_jax.report import style  # noqa: E402


def draw(figure):
  axes = figure.subplots()
  for index in range(3):
    axes.plot([0, 1, index], label=str(index), **style.series(index))
  axes.bar([0, 1], [1, 2], hatch=style.HATCHES[1])
  axes.legend()


@pytest.mark.parametrize("suffix", style.FORMATS)
def test_the_same_drawing_gives_the_same_bytes(tmp_path, suffix, monkeypatch):
  files = [tmp_path / f"{name}.{suffix}" for name in "ab"]
  style.save_figure(files[0], draw, (3, 2))
  # Neither the clock nor the user's settings may show.
  monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
  with matplotlib.rc_context({"axes.facecolor": "red", "xtick.labelsize": 20}):
    style.save_figure(files[1], draw, (3, 2))
  first, second = (file.read_bytes() for file in files)
  assert first == second
  start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
  assert first.startswith(start)
  assert len(first) > 1000
  assert b"Date" not in first


def test_settings_of_the_user_are_left_alone(tmp_path):
  def settings():
    # To ask for the backend would choose one.
    names = [name for name in matplotlib.rcParams if name != "backend"]
    return {name: matplotlib.rcParams[name] for name in names}

  before = settings()
  style.save_figure(tmp_path / "a.png", draw, (3, 2))
  assert settings() == before


def test_size_and_resolution(tmp_path):
  from PIL import Image

  style.save_figure(tmp_path / "a.png", draw, (3, 2))
  with Image.open(tmp_path / "a.png") as image:
    assert image.size == (450, 300)


def test_an_unfinished_figure_is_not_written(tmp_path):
  def broken(figure):
    raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError):
    style.save_figure(tmp_path / "a.png", broken, (3, 2))
  assert not list(tmp_path.iterdir())


def lightness(colour: str) -> float:
  red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
  return 0.299 * red + 0.587 * green + 0.114 * blue


def test_colours_differ_in_grey():
  greys = [lightness(colour) for colour in style.COLOURS]
  assert all(b - a > 0.07 for a, b in itertools.pairwise(greys))


def test_many_series_are_distinct():
  looks = [tuple(map(str, style.series(i).values())) for i in range(25)]
  assert len(set(looks)) == 25
  # The first ones differ in every respect.
  for part in zip(*looks[:5], strict=True):
    assert len(set(part)) == 5


def test_a_missing_package_says_how_to_install_it(monkeypatch):
  style.check_installed()
  monkeypatch.setitem(sys.modules, "matplotlib", None)
  with pytest.raises(UserError, match=r"pip install -e '\.\[plots\]'"):
    style.check_installed()


@pytest.mark.parametrize(("layers", "shown"), [(3, 3), (20, 10), (53, 18)])
def test_labels_of_layers_do_not_crowd(layers, shown):
  from matplotlib.figure import Figure

  axes = Figure().subplots()
  names = [f"layer{i}" for i in range(layers)]
  style.mark_layers(axes, names)
  labels = [label.get_text() for label in axes.get_xticklabels()]
  assert len(labels) == shown
  assert [names[round(x)] for x in axes.get_xticks()] == labels
