"""`metabin datasets`: what is there, what is not, and where to ask for it."""

from __future__ import annotations

import json
import pathlib

import known_sets
import pytest

from metabin_jax.cli.main import main
from metabin_jax.data import protocols, readers, splits
from metabin_jax.data.public.registry import PUBLIC_SETS

SETS = ("market1501", "dukemtmc", "viper")


@pytest.fixture
def root(tmp_path, monkeypatch):
  """A data root with Market-1501 and VIPeR, but without DukeMTMC."""
  known_sets.only(monkeypatch, *SETS)
  folder = tmp_path / "root"
  folder.mkdir()
  known_sets.build(folder, "market1501", "viper")
  return folder


@pytest.fixture
def ask(capsys):
  """ask(*words) -> (status, report, what else was said)."""

  def run(*words):
    capsys.readouterr()
    status = main(["datasets", *map(str, words)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err

  return run


def rows(out):
  """The table as {set: (there, the rest)}."""
  found = {}
  for line in out.splitlines():
    cells = line.split(maxsplit=2)
    if cells and cells[0] in SETS:
      found[cells[0]] = tuple(cells[1:])
  return found


def test_what_is_there(ask, root):
  status, out, said = ask(root)
  assert status == 0
  assert said == ""
  assert rows(out) == {
    "market1501": ("folder", f"{root}/Market-1501-v15.09.15"),
    "dukemtmc": ("no", "DukeMTMC-reID, dukemtmc-reid/DukeMTMC-reID, ..."),
    "viper": ("folder", f"{root}/VIPeR"),
  }
  assert "taken down on 25 April 2019" in " ".join(out.split())


def test_the_default_root(ask, root, monkeypatch):
  monkeypatch.setenv("METABIN_DATA", str(root))
  _, out, _ = ask()
  assert rows(out)["viper"][0] == "folder"
  monkeypatch.delenv("METABIN_DATA")
  monkeypatch.chdir(root)
  status, out, _ = ask()  # the folder "data", which need not be there
  assert status == 0
  assert rows(out)["viper"][0] == "no"


def test_counts(ask, root, monkeypatch):
  known_sets.complete(monkeypatch, root, "viper")
  status, out, _ = ask(root, "--count")
  assert status == 1
  found = rows(out)
  assert [found[name][0] for name in SETS] == ["differs", "no", "complete"]
  assert "train: expected 12,936 images of 751 persons" in " ".join(out.split())
  known_sets.complete(monkeypatch, root, "market1501")
  status, out, _ = ask(root, "--count")
  assert status == 0
  assert rows(out)["market1501"][0] == "complete"


def test_all_about_one_set(ask, root):
  status, out, _ = ask(root, "--about=viper")
  assert status == 0
  public = PUBLIC_SETS["viper"]
  flat = " ".join(out.split())
  for text in (public.layout, public.request, public.terms, public.citation):
    assert text in flat
  assert "cam_a 632 images of 632 persons" in flat
  assert f"folder: {root}/VIPeR" in flat
  assert "Market" not in out
  _, out, _ = ask(root, "--about=dukemtmc")
  assert PUBLIC_SETS["dukemtmc"].withdrawn in " ".join(out.split())
  assert "folder: not found" in out


@pytest.fixture
def protocol(monkeypatch):
  made = protocols.Protocol(
    "tiny",
    "a title",
    ("market1501?use=all",),
    ("viper?protocol=metabin",),
    "a description",
  )
  monkeypatch.setitem(protocols.PROTOCOLS, "tiny", made)
  return made


def test_a_protocol(ask, root, protocol, monkeypatch):
  status, out, _ = ask(root, "--protocol=tiny")
  assert status == 0
  assert list(rows(out)) == ["market1501", "viper"]
  assert "Duke" not in out
  assert f"tiny: all folders are there in {root}; --count looks inside" in out
  assert "can be run" not in out
  status, out, _ = ask(root, "--protocol=tiny", "--count")
  assert status == 1
  assert " ".join(out.split()).count("is not the published data set") == 2
  assert {there for there, _ in rows(out).values()} == {"folder"}
  assert f"tiny cannot be run with the data in {root}" in out
  known_sets.complete(monkeypatch, root, "market1501", "viper")
  status, out, _ = ask(root, "--protocol=tiny", "--count")
  assert status == 0
  assert f"tiny can be run with the data in {root}" in out


def test_a_protocol_with_a_missing_set(ask, root):
  status, out, _ = ask(root, "--protocol=market-to-duke")
  assert status == 1
  flat = " ".join(out.split())
  request = PUBLIC_SETS["dukemtmc"].request
  assert f"dukemtmc is missing; request: {request}" in flat
  assert "needs --i-have-a-licensed-copy: dukemtmc" in flat
  assert "market-to-duke cannot be run" in flat


def test_split_lists_are_saved(ask, root, tmp_path, monkeypatch):
  known_sets.complete(monkeypatch, root, "market1501", "viper")
  before = sorted(root.rglob("*"))
  folder, file = tmp_path / "new" / "splits", tmp_path / "all.json"
  status, out, _ = ask(root, f"--save-splits={folder}", f"--json={file}")
  assert status == 0
  names = {
    "market1501-standard.json",
    *(f"viper-{name}.json" for name in PUBLIC_SETS["viper"].protocols),
  }
  assert {path.name for path in folder.iterdir()} == names
  saved = json.loads(file.read_text())["splits"]
  assert len(saved) == len(names)
  for each in saved:
    lists = json.loads(pathlib.Path(each["file"]).read_text())
    assert lists["sha256"] == each["sha256"]
    assert f"{each['file']}: {len(lists['folds'])} folds, sha256 " in out
    assert each["sha256"] in out
    dataset = readers.open_dataset(each["spec"])
    assert splits.split_digest(dataset) == each["sha256"]
    assert lists == json.loads(json.dumps(splits.to_json(dataset)))
  assert sorted(root.rglob("*")) == before


def test_split_lists_of_a_protocol(ask, root, tmp_path, protocol, monkeypatch):
  known_sets.complete(monkeypatch, root, "market1501", "viper")
  folder = tmp_path / "splits"
  status, _, _ = ask(root, "--protocol=tiny", f"--save-splits={folder}")
  assert status == 0
  assert [p.name for p in folder.iterdir()] == ["viper-metabin.json"]


def test_variants_have_files_of_their_own(ask, tmp_path, monkeypatch):
  known_sets.build(tmp_path, "cuhk03")
  made = protocols.Protocol(
    "tiny",
    "a title",
    (),
    tuple(f"cuhk03?type={t}&partial=allow" for t in ("detected", "labeled")),
    "a description",
  )
  monkeypatch.setitem(protocols.PROTOCOLS, "tiny", made)
  folder = tmp_path / "splits"
  status, _, _ = ask(tmp_path, "--protocol=tiny", f"--save-splits={folder}")
  assert status == 0
  assert {path.name for path in folder.iterdir()} == {
    f"cuhk03-{t}-images-{t}-standard.json" for t in ("detected", "labeled")
  }


def test_split_lists_that_cannot_be_made(ask, root, tmp_path, monkeypatch):
  known_sets.complete(monkeypatch, root, "viper")
  folder, file = tmp_path / "splits", tmp_path / "all.json"
  status, _, said = ask(root, f"--save-splits={folder}", f"--json={file}")
  assert status == 1
  assert "use=standard is not saved: market1501 in" in said
  assert "viper-metabin.json" in {p.name for p in folder.iterdir()}
  faults = [s for s in json.loads(file.read_text())["splits"] if "fault" in s]
  assert len(faults) == 1
  assert "is not the published data set" in faults[0]["fault"]
  # The message names this flag.
  assert "--allow-partial" in faults[0]["fault"]
  assert ask(root, f"--save-splits={folder}", "--allow-partial")[0] == 0
  assert "market1501-standard.json" in {p.name for p in folder.iterdir()}


def test_withdrawn_sets_need_the_flag(ask, root, tmp_path, monkeypatch):
  known_sets.build(root, "dukemtmc")
  known_sets.complete(monkeypatch, root, *SETS)
  status, out, _ = ask(root, "--count")
  assert status == 1
  assert rows(out)["dukemtmc"][0] == "unread"
  status, out, _ = ask(root, "--count", "--i-have-a-licensed-copy")
  assert status == 0
  assert rows(out)["dukemtmc"][0] == "complete"
  folder = tmp_path / "splits"
  words = (f"--save-splits={folder}", "--about=dukemtmc")
  assert ask(root, *words)[0] == 1
  assert ask(root, *words, "--i-have-a-licensed-copy")[0] == 0
  assert [p.name for p in folder.iterdir()] == ["dukemtmc-standard.json"]


def test_json_knows_everything(ask, root, tmp_path, monkeypatch):
  known_sets.complete(monkeypatch, root, "viper")
  file = tmp_path / "new" / "all.json"
  _, out, _ = ask(root, "--count", f"--json={file}")
  data = json.loads(file.read_text())
  assert data["roots"] == [str(root)]
  by_name = {each["name"]: each for each in data["datasets"]}
  assert list(by_name) == list(SETS)
  viper = by_name["viper"]
  assert viper["folder"] == f"{root}/VIPeR"
  assert viper["found"] == viper["expected"]
  assert viper["fault"] == ""
  assert by_name["market1501"]["fault"].split(";")[0] in " ".join(out.split())
  duke = by_name["dukemtmc"]
  assert duke["folder"] is None
  assert duke["found"] is None
  for key in ("title", "layout", "request", "terms", "citation", "withdrawn"):
    assert duke[key] == getattr(PUBLIC_SETS["dukemtmc"], key)


def test_json_of_a_protocol(ask, root, tmp_path):
  file = tmp_path / "all.json"
  ask(root, "--protocol=market-to-duke", f"--json={file}")
  data = json.loads(file.read_text())["protocol"]
  assert (data["runs"], data["opened"]) == (False, False)
  assert data["missing"] == ["dukemtmc"]
  assert data["sources"] == ["market1501"]


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["/no/where"], "folder /no/where does not exist"),
    (["--about=vipr"], "did you mean 'viper'?"),
    (["--protocol=nothing"], "protocol 'nothing' is unknown"),
    (["--protocol=market", "--about=viper"], "not allowed with"),
    (["--fast"], "--fast"),
    (["--json=/"], "is a folder; name a file"),
  ],
)
def test_mistakes(ask, root, words, message):
  status, out, said = ask(*words)
  assert status == 2
  assert out == ""
  assert said.startswith("metabin datasets: ")
  assert message in said


def test_help(ask):
  status, out, _ = ask("--help")
  assert status == 0
  assert out.startswith("usage: metabin datasets")
