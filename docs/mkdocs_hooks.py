"""MkDocs hooks: README.md is the first page, links out of docs/ lead to the repository, no page loads from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

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
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, **_: Any) -> str:
    """A page's text with its links as the site has them."""
    repository = f"{config.extra['repository']}/blob/main"
    at_root = page.file.src_uri == "index.md"

    def led(match: re.Match[str]) -> str:
        before, target = match.groups()
        if at_root and target.startswith("docs/"):
            return f"{before}{target.removeprefix('docs/')})"
        if at_root or target.startswith("../"):
            outside = target.removeprefix("../")
            page_of_readme = outside.partition("#")
            if page_of_readme[0] == "README.md":
                return f"{before}index.md{page_of_readme[1]}{page_of_readme[2]})"
            return f"{before}{repository}/{outside})"
        if target.partition("#")[0].endswith((".json", "/")):
            return f"{before}{repository}/docs/{target})"
        return match[0]

    return re.sub(r"(\]\()(?!https?://|#|mailto:)([^)\s]+)\)", led, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Fails if a page or a style sheet would make a browser fetch anything from elsewhere."""
    site = Path(config.site_dir)
    fetched = [
        f"{file.relative_to(site)}: {next(filter(None, match.groups()))}"
        for pattern, suffix in ((LOADED, "*.html"), (IN_STYLES, "*.html"), (IN_STYLES, "*.css"))
        for file in sorted(site.rglob(suffix))
        for match in pattern.finditer(file.read_text("utf-8"))
    ]
    if fetched:
        raise PluginError("these pages would fetch from elsewhere:\n" + "\n".join(fetched))
