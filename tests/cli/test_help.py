"""What `--help` says: which values an option takes, what its default is, and figures that the pages have, too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commandline import command

DOCS = Path(__file__).parents[2] / "docs"


def helped(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """A command's help, on one line."""
    return " ".join(command(capsys, *words, "--help").out.split())


@pytest.mark.parametrize(
    "words", [("run",), ("show",), ("cross",), ("serve",), ("judge", "calibrate"), ("judge", "sheet")]
)
def test_no_type_of_python_stands_for_a_value(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert not re.search(r"<(?:list|Path|str|int|float)\b", helped(capsys, *words))


def test_an_option_of_fixed_names_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--report-to wandb|mlflow|trackio " in helped(capsys, "run")


def test_calibrate_names_the_default_that_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    said = helped(capsys, "judge", "calibrate")
    assert "--judge NAME|rules " in said
    assert "Default: rules." in said
    assert "self" not in said.partition("--judge ")[2].partition("--judge-api-base")[0]


def test_cross_names_the_runs_judges_since_it_takes_none(capsys: pytest.CaptureFixture[str]) -> None:
    said = helped(capsys, "cross")
    assert "--judge " not in said
    assert "Base URL for all judges that the runs name;" in said


def test_how_many_more_images_anytime_takes_is_what_the_table_of_its_page_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (DOCS / "intervals.md").read_text("utf-8")
    table = page.partition("| W | correlation | right acts | fixed-width: images |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    times = [float(row[6]) / float(row[3]) for row in rows]
    words = f"{min(times):.1f} to {max(times):.1f} times as many"
    guide, method = (" ".join((DOCS / name).read_text("utf-8").split()) for name in ("guide.md", "method.md"))
    assert all(words in text for text in (helped(capsys, "run"), " ".join(page.split()), guide, method))
