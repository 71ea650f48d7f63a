"""MkDocs hooks: README.md is the first page, the notebook is a page, links out of docs/ lead to the repository.

No page loads from elsewhere. For language models the site has each page's Markdown beside its HTML, and all of it in
llms-full.txt, in the nav's order (https://llmstxt.org).
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.nav import Navigation

ROOT = Path(__file__).parents[1]
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|icon|preconnect|modulepreload))[^>]*?\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
)
"""What a browser fetches by itself when it shows a page. The page's own address (rel=canonical) and links are not fetched."""
IN_STYLES = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"'\s)]+)""")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages, with README.md as `index.md`."""
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text("utf-8")))
    text, pictures = notebook_page(json.loads((ROOT / "docs" / "notebook.ipynb").read_text("utf-8")))
    files.append(File.generated(config, "notebook.md", content=text))
    for name, content in pictures.items():
        files.append(File.generated(config, name, content=content))
    return files


def notebook_page(notebook: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """A notebook as (Markdown, its pictures by file name): the cells, and what each showed when it was run."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"notebook-{len(pictures)}.png"
                pictures[name] = b64decode(data["image/png"])
                width = output["metadata"]["image/png"]["width"]
                parts.append(f'![What the cell above shows]({name}){{ width="{width}" }}')
            elif "text/html" in data:
                shown = re.sub(r"<style.*?</style>\s*", "", "".join(data["text/html"]), flags=re.DOTALL)
                parts.append(re.sub(r"<table [^>]*>", "<table>", shown))  # without a class it gets a frame that scrolls
            elif "text/plain" in data:
                parts.append(f"```text\n{''.join(data['text/plain'])}\n```")
    parts.append("This page is [a notebook](notebook.ipynb) to run yourself.")
    return "\n\n".join(parts), pictures


TITLES: dict[str, str] = {}
"""The pages in the nav's order, with their titles there."""
WRITTEN: dict[str, str] = {}
"""Each page's Markdown as the site has it."""


def on_nav(nav: Navigation, **_: Any) -> None:
    """Takes the order of the pages, and their titles."""
    TITLES.clear()
    TITLES.update((page.file.src_uri, page.title) for page in nav.pages)


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, **_: Any) -> str:
    """A page's text with its links as the site has them."""
    repository = f"{config.extra['repository']}/blob/main"
    at_root = page.file.src_uri == "index.md"

    def led(match: re.Match[str]) -> str:
        before, target = match.groups()
        if at_root and target.startswith("docs/"):
            return f"{before}{target.removeprefix('docs/').replace('notebook.ipynb', 'notebook.md')})"
        if at_root or target.startswith("../"):
            outside = target.removeprefix("../")
            page_of_readme = outside.partition("#")
            if page_of_readme[0] == "README.md":
                return f"{before}index.md{page_of_readme[1]}{page_of_readme[2]})"
            return f"{before}{repository}/{outside})"
        if target == "notebook.ipynb" and page.file.src_uri != "notebook.md":
            return f"{before}notebook.md)"
        if target.partition("#")[0].endswith((".json", "/")):
            return f"{before}{repository}/docs/{target})"
        return match[0]

    if at_root:
        markdown = re.sub(
            r"\[docs/([\w-]+)\.(?:md|ipynb)\](?=\()", lambda match: f"[{TITLES[f'{match[1]}.md']}]", markdown
        )
    WRITTEN[page.file.src_uri] = text = re.sub(r"(\]\()(?!https?://|#|mailto:)([^)\s]+)\)", led, markdown)
    return text


def on_post_build(config: MkDocsConfig) -> None:
    """Writes the pages' Markdown; fails if a page or a style sheet would make a browser fetch anything from elsewhere."""
    site = Path(config.site_dir)
    for name, text in WRITTEN.items():
        (site / name).write_text(text, "utf-8")
    whole = "\n\n".join(f"<!-- {name} -->\n\n{WRITTEN[name].strip()}" for name in TITLES)
    (site / "llms-full.txt").write_text(f"{whole}\n", "utf-8")
    fetched = [
        f"{file.relative_to(site)}: {next(filter(None, match.groups()))}"
        for pattern, suffix in ((LOADED, "*.html"), (IN_STYLES, "*.html"), (IN_STYLES, "*.css"))
        for file in sorted(site.rglob(suffix))
        for match in pattern.finditer(file.read_text("utf-8"))
    ]
    if fetched:
        raise PluginError("these pages would fetch from elsewhere:\n" + "\n".join(fetched))
