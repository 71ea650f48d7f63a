"""Takes the pictures of docs/gallery.md: runs the page's own commands in a new folder, and looks at what they made.

python docs/gallery.py [--width PX] [--into DIR]

It needs Chromium, chromedriver and selenium, as `make test-browser` does.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import shlex
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browsing import missing, opened  # noqa: E402 - the path comes first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from browsing import Browser

PAGE = ROOT / "docs" / "gallery.md"
MOST_BYTES = 150_000
"""Of a picture."""


@dataclass(frozen=True)
class Picture:
    """A picture of a page.

    name: of the file. page: the report, below the folder; "" for the list of runs. at: a CSS selector of what stands at the
    picture's top; "" for the page's beginning. click: what is clicked before. width, height: in CSS pixels.
    """

    name: str
    page: str
    at: str = ""
    click: str = ""
    width: int = 1280
    height: int = 900


PICTURES = (
    Picture("one-run", "runs/one/report.html", height=1235),
    Picture("one-run-questions", "runs/one/report.html", at="#questions", click=".cell.fa"),
    Picture("one-run-phone", "runs/one/report.html", width=400, height=1080),
    Picture("several", "runs/gallery/report.html", height=1690),
    Picture("before-and-after", "before-and-after.html", height=1400),
    Picture("list", "", height=560),
)


def make(folder: Path) -> None:
    """Does what the page says, in a folder.

    Args:
        folder: Empty.
    """
    blocks = re.findall(r"^```(toml|sh)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    for language, block in blocks:
        if language == "toml":
            (folder / block.split("\n", 1)[0].removeprefix("# ")).write_text(block, "utf-8")
            continue
        for line in block.replace("\\\n", " ").splitlines():
            program, *arguments = shlex.split(line)
            assert program == "unsaf-async", "the page uses this program alone"
            subprocess.run(
                [sys.executable, "-m", "unsaf_async", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL
            )


@contextmanager
def listed(folder: Path) -> Iterator[str]:
    """The address of the list of runs."""
    command = [sys.executable, "-m", "unsaf_async", "view", "runs", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            yield next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        finally:
            server.terminate()


def take(browser: Browser, picture: Picture, address: str, width: int | None) -> Image.Image:
    """A picture of what the browser shows.

    Args:
        browser: Opened.
        picture: Which.
        address: Of the page.
        width: In place of the picture's own; None for that.

    Returns:
        The pixels.
    """
    browser.show(address, width=width or picture.width, height=picture.height)
    if picture.page:
        browser.ready()
    if picture.click:
        browser.click(picture.click)
    if picture.at:
        browser.driver.execute_script(f"document.querySelector({picture.at!r}).scrollIntoView()")
    taken = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    return Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")


def main() -> None:
    """Writes the pictures."""
    parser = argparse.ArgumentParser(description="Take the pictures of docs/gallery.md.")
    parser.add_argument(
        "--width", type=int, help="of every page, in place of its own, to look at it on a smaller screen"
    )
    parser.add_argument("--into", type=Path, default=PAGE.with_suffix(""), help="the folder of the pictures")
    given = parser.parse_args()
    if why := missing():
        raise SystemExit(why)
    given.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as profile:
        make(Path(made))
        with listed(Path(made)) as runs, opened(Path(profile)) as browser:
            for picture in PICTURES:
                address = (Path(made) / picture.page).as_uri() if picture.page else runs
                file = given.into / f"{picture.name}.webp"
                take(browser, picture, address, given.width).save(file, quality=80, method=6)
                size = file.stat().st_size
                sys.stdout.write(f"{file}: {size:,} bytes\n")
                assert size < MOST_BYTES, "too large for a page of the docs"


if __name__ == "__main__":
    main()
