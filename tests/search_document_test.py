"""The Python of docs/search.md and docs/embeddings.md runs as printed."""

from __future__ import annotations

import pathlib
import re

import pytest
import tiny_run

from metabin_jax.cli.main import main

ROOT = pathlib.Path(__file__).parents[1]


def blocks(document: str) -> list[str]:
  text = (ROOT / document).read_text(encoding="utf-8")
  return re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


@pytest.mark.parametrize("document", ["docs/search.md", "docs/embeddings.md"])
def test_python_runs(document, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "runs").mkdir()
  (tmp_path / "runs" / "own").symlink_to(tiny_run.finished())
  for number, name in enumerate(("a.jpg", "b.jpg")):
    tiny_run.write_image(tmp_path / name, seed=number)
  run = "runs/own"
  assert main(["extract", run, "a.jpg", "b.jpg", "--out=query.npz"]) == 0
  assert main(["index", "galleries/site", "--add", "query.npz"]) == 0
  capsys.readouterr()
  found = blocks(document)
  assert found
  for code in found:
    exec(compile(code, document, "exec"), {})
  if document == "docs/search.md":
    name, score = capsys.readouterr().out.split()
    assert name == "a.jpg"
    assert float(score) == pytest.approx(1, abs=1e-5)
