"""llms.txt names every page of the site, in the form of https://llmstxt.org, and says of each what the page itself says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
GENERATED = {"index.md", "notebook.md"}
"""Pages that are made when the site is built."""


def test_it_is_fresh_and_names_every_page_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yaml")
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    import llms

    text = (DOCS / "llms.txt").read_text("utf-8")
    assert text == llms.text(), "run `make docs`"
    heading, summary = text.split("\n\n")[:2]
    assert re.fullmatch(r"# .+", heading)
    assert re.fullmatch(r"> .+", summary)
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections[1:] == ["Tutorial", "How-to", "Reference", "Explanation"]
    listed = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): (.{20,})$", text, re.MULTILINE)
    assert len(listed) == text.count("\n- "), "each line is a link, a colon and what the page says"
    files = [file for file, _ in listed]
    assert sorted(files) == sorted({file.name for file in DOCS.glob("*.md")} | GENERATED)
    for file, said in listed:
        page = DOCS.parent / "README.md" if file == "index.md" else DOCS / file.replace("notebook.md", "notebook.ipynb")
        assert " ".join(said.split()[:4]) in re.sub(r"\]\([^)]*\)|[\[*]", "", page.read_text("utf-8")), file
