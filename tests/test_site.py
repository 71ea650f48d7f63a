"""What the site's hooks make of README.md and of the notebook."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hooks, as if a nav of two pages had been read."""
    pytest.importorskip("mkdocs")
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    import mkdocs_hooks

    pages = [("tutorial.md", "From nothing"), ("notebook.md", "In a notebook")]
    nav = [SimpleNamespace(file=SimpleNamespace(src_uri=file), title=title) for file, title in pages]
    mkdocs_hooks.on_nav(SimpleNamespace(pages=nav))
    return mkdocs_hooks


def test_links_of_the_first_page_say_what_the_sites_pages_are_called(hooks: Any) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="index.md"))
    config = SimpleNamespace(extra={"repository": "https://example.com/r"})
    text = "[docs/tutorial.md](docs/tutorial.md), [docs/notebook.ipynb](docs/notebook.ipynb), [how](docs/tutorial.md#x)"
    found = hooks.on_page_markdown(text, page, config)
    assert found == "[From nothing](tutorial.md), [In a notebook](notebook.md), [how](tutorial.md#x)"


def test_tables_of_the_notebook_have_no_class_so_that_the_theme_gives_them_a_frame_that_scrolls(hooks: Any) -> None:
    cell = {
        "cell_type": "code",
        "source": ["f"],
        "outputs": [{"data": {"text/html": ['<table border="1" class="dataframe">']}}],
    }
    text, _ = hooks.notebook_page({"cells": [cell]})
    assert re.findall(r"<table[^>]*>", text) == ["<table>"]
