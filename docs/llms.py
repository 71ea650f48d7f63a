"""llms.txt: the site's pages for language models, with a sentence on each, in the form of https://llmstxt.org.

It is made from the site's nav and from the pages' own first paragraphs, so that nothing in it is said twice. Links lead to the
pages' Markdown, which the site has beside its HTML (mkdocs_hooks.py).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]

MOST_CHARACTERS = 200
"""Of what is said of a page: whole sentences up to so many, and the first one in any case."""


def nav() -> list[tuple[str, list[tuple[str, str]]]]:
    """The sections of the site's nav: (heading, its pages as (title, file below docs/)); those of sections in sections, too.

    Returns:
        The sections in the nav's order; pages without a section come first, under "".
    """
    entries = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    first = [page for entry in entries if isinstance(next(iter(entry.values())), str) for page in entry.items()]
    sections = [
        (title, list(_pages(inside)))
        for entry in entries
        for title, inside in entry.items()
        if isinstance(inside, list)
    ]
    return [("", first), *sections]


def _pages(entries: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        for title, inside in entry.items():
            if isinstance(inside, str):
                yield title, inside
            else:
                yield from _pages(inside)


def text(made: Mapping[Path, str | bytes] | None = None) -> str:
    """llms.txt.

    Args:
        made: What files hold that are generated, too, by their paths; None: what is there counts.

    Returns:
        A heading, what the project is, and a list of pages a section.
    """
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    parts = [f"# {settings['site_name']}\n\n> {about('index.md')}\n"]
    parts.append(
        "An evaluator for multimodal models: a Python package and a command line, `unsaf-async`. Everything on one page: "
        "[llms-full.txt](llms-full.txt).\n"
    )
    for section, pages in nav():
        lines = [f"- [{title}]({file}): {about(file, made)}" for title, file in pages]
        parts.append("\n".join([f"## {section or settings['site_name']}\n", *lines, ""]))
    return "\n".join(parts)


def about(file: str, made: Mapping[Path, str | bytes] | None = None) -> str:
    """What a page's first paragraph says.

    Args:
        file: Of the page, below docs/; `index.md` is README.md, and `notebook.md` the notebook.
        made: As for `text`.

    Returns:
        Its first sentences, without markup.
    """
    paragraphs = [" ".join(each.split()) for each in _markdown(file, made or {}).split("\n\n")]
    first = next(each for each in paragraphs if each and not each.startswith(("#", "!", "<", "```", "*Written")))
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", first).replace("**", "")
    sentences = re.split(r"(?<=[.?!:])\s+(?=[A-Z`\[])", plain)
    said = sentences[0]
    for sentence in sentences[1:]:
        if len(said) + len(sentence) >= MOST_CHARACTERS or sentence.endswith(":"):  # it leads to an example
            break
        said = f"{said} {sentence}"
    return said.rstrip(":")


def _markdown(file: str, made: Mapping[Path, str | bytes]) -> str:
    if file == "index.md":
        return (ROOT / "README.md").read_text("utf-8")
    if file == "notebook.md":
        cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text("utf-8"))["cells"]
        return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    path = ROOT / "docs" / file
    return str(made.get(path) or path.read_text("utf-8"))
