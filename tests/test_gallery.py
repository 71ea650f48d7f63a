"""The gallery's pictures are those that its script takes, and small enough for a page."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import pytest

DOCS = Path(__file__).parents[1] / "docs"


def test_every_picture_of_the_page_is_taken_by_the_script_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    import gallery

    shown = re.findall(r"!\[[^\]]{10,}\]\(([^)\s]+)\)", gallery.PAGE.read_text("utf-8"))
    assert shown == [f"gallery/{each.name}.webp" for each in gallery.PICTURES]
    linked = re.findall(r"\)\]\((\S+)\)", gallery.PAGE.read_text("utf-8"))
    assert linked == shown, "on a phone a picture is read at its full size"
    assert {file.name for file in (DOCS / "gallery").iterdir()} == {Path(each).name for each in shown}
    for picture, name in zip(gallery.PICTURES, shown, strict=True):
        assert (DOCS / name).stat().st_size < gallery.MOST_BYTES
        with Image.open(DOCS / name) as taken:
            assert taken.size == (picture.width, picture.height)
