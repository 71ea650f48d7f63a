"""What models, servers and files say is shown on a terminal, which obeys none of it."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.table import Table

from unsaf_async.cli.console import Plain, print_fitting, safe
from unsaf_async.cli.render import print_failures
from unsaf_async.cli.streams import tell
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTILE = "gpt\x1b[2J\x1b]0;title\x07\x9b31m\u202e[bold]\u2066"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def table(out: Plain) -> None:
    rows = Table(safe(HOSTILE), "n", box=None)
    rows.add_row(safe(HOSTILE), "1")
    out.print(rows)


@pytest.mark.parametrize(
    "show",
    [
        table,
        lambda out: out.print(f"[red]Note:[/red] {safe(HOSTILE)}"),
        lambda out: print_fitting(out, ["name", HOSTILE], [[HOSTILE, "1"]]),
    ],
)
def test_no_table_and_no_line_holds_what_a_terminal_obeys(show: Callable[[Plain], None]) -> None:
    file = io.StringIO()
    show(Plain(file))
    assert "gpt\ufffd[2J" in file.getvalue()
    assert not OBEYED.search(file.getvalue())


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\r", "\x0b", "\x85", "\u2028"])
def test_what_others_say_makes_no_line_of_its_own(break_: str) -> None:
    forged = f"e{break_}UnF1 1.000"
    file = io.StringIO()
    print_failures([(forged, forged)], Plain(file))
    assert file.getvalue() == "  e UnF1 1.000: e UnF1 1.000\n"
    file = io.StringIO()
    print_fitting(Plain(file), ["name", "n"], [[forged, "1"]])
    assert file.getvalue().splitlines()[1:] == ["e UnF1 1.000  1"]


def test_no_line_on_stderr_holds_what_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    tell(str(UserError(f"{HOSTILE}: is no model\nwith a second line")))
    said = capsys.readouterr().err
    assert said.startswith("unsaf-async: gpt\ufffd[2J")
    assert said.count("\n") == 1
    assert not OBEYED.search(said)


def test_no_line_on_stderr_holds_a_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "sk-proj-7Qm2_Xr9tVbK-4hLpZw8")
    tell("--api-base sk-proj-7Qm2_Xr9tVbK-4hLpZw8: is no address")
    assert capsys.readouterr().err == "unsaf-async: --api-base [key]: is no address\n"


def test_columns_stand_below_each_other_whatever_script_their_cells_are_in() -> None:
    file = io.StringIO()
    print_fitting(
        Plain(file), ["模型", "n"], [["Qwen", "1"], ["通义千问 日本語", "2"], ["한국어", "3"], ["e\u0301té ไทย", "4"]]
    )
    lines = file.getvalue().splitlines()
    assert len({cell_len(line[:-1]) for line in lines}) == 1
    assert [line[-1] for line in lines] == ["n", "1", "2", "3", "4"]


def test_a_name_that_its_titles_leave_no_room_for_stands_whole_above_them() -> None:
    names = [f"tiny-xs (20261128-094500-tiny-xs-and-what-is-special-about-it-{end})" for end in "ab"]
    file = io.StringIO()
    out = Plain(file)
    out.width = 80
    print_fitting(out, ["run", "paid", "for a 1-point interval"], [[name, "$1", "$2"] for name in names])
    lines = [line for line in file.getvalue().splitlines() if line]
    assert lines == [
        line for name in names for line in (name, "paid                    $1", "for a 1-point interval  $2")
    ]


def test_names_that_are_alike_are_told_apart_at_80_columns() -> None:
    names = [f"a-provider-with-a-name-that-is-longer-than-a-terminal-of-eighty-columns-is-wide-{end}" for end in "ab"]
    rows = [[name, "0.832", "0.720 to 0.905", "10", "120"] for name in names]
    file = io.StringIO()
    out = Plain(file)
    out.width = 80
    print_fitting(out, ["run", "UnF1", "95 % interval", "images", "questions"], rows)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    right = "".join(line[15:].strip() for line in lines)
    assert all(name in right for name in names)
