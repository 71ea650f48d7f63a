"""Options made from the fields of dataclasses."""

from __future__ import annotations

import inspect
from collections.abc import Sequence  # noqa: TC003
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from commandline import command
from typer.testing import CliRunner

from unsaf_async.api import evaluate
from unsaf_async.cli import _run
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.sections import Sections
from unsaf_async.errors import UserError
from unsaf_async.help import MONEY, OUTPUT, Help
from unsaf_async.runs.settings import Settings


def halves(text: str) -> tuple[str, str]:
    left, _, right = text.partition("/")
    return left, right


@dataclass(frozen=True)
class Inner:
    depth: Annotated[int, Help("How deep.", metavar="N")] = 3


@dataclass(frozen=True)
class Wanted:
    name: Annotated[str, Help("Who.", metavar="NAME")]
    size: Annotated[float | None, Help("How large.", panel=MONEY)] = None
    paths: Annotated[Sequence[str | Path], Help("Where.", panel=OUTPUT)] = ()
    files: Annotated[tuple[Path, ...], Help("Which.")] = ()
    loud: Annotated[bool, Help("Speak.")] = False
    merged: Annotated[bool, Help("Leave apart.")] = True
    even: Annotated[bool, Help("Take all.", spelling=("--uneven",))] = True
    half: Annotated[bool | None, Help("Half precision.")] = None
    color: Annotated[Literal["red", "blue"], Help("Which one.", spelling=("--paint", "-p"))] = "red"
    parts: Annotated[tuple[str, str], Help("Two.", parse=halves, default="a/b")] = ("a", "b")
    store: Annotated[
        Path | None,
        Help("A folder.", variable="TEST_STORE", without=("--no-store", "None.")),
    ] = Path("store")
    hidden: int = 7
    inner: Inner = field(default_factory=Inner)


def taken(*arguments: str, **chosen: Any) -> Wanted:
    """What the command gets for these arguments."""
    got: list[Wanted] = []

    @from_fields(**chosen)
    def run(wanted: Wanted) -> int:
        got.append(wanted)
        return 0

    app = typer.Typer()
    app.command()(run)
    app(list(arguments), standalone_mode=False)
    return got[0]


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ((), {}),
        (("--size", "0.5"), {"size": 0.5}),
        (("--paths", "a", "--paths", "b"), {"paths": ("a", "b")}),
        (("--files", "a"), {"files": (Path("a"),)}),
        (("--loud", "--no-merged", "--uneven"), {"loud": True, "merged": False, "even": False}),
        (("--half",), {"half": True}),
        (("--no-half",), {"half": False}),
        (("-p", "blue"), {"color": "blue"}),
        (("--parts", "c/d"), {"parts": ("c", "d")}),
        (("--store", "other"), {"store": Path("other")}),
        (("--no-store",), {"store": None}),
        (("--depth", "5"), {"inner": Inner(5)}),
    ],
)
def test_each_kind_of_field_is_read_by_its_type(arguments: tuple[str, ...], values: dict[str, Any]) -> None:
    assert taken("--name", "x", *arguments) == Wanted("x", **values)


def test_a_variable_stands_in_for_an_option_and_a_flag_against_it_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_STORE", "by-variable")
    assert taken("--name", "x").store == Path("by-variable")
    assert taken("--name", "x", "--store", "by-option").store == Path("by-option")
    assert taken("--name", "x", "--no-store").store is None


def test_an_option_and_the_flag_against_it_contradict_each_other() -> None:
    with pytest.raises(UserError, match="store and --no-store contradict each other"):
        taken("--name", "x", "--store", "a", "--no-store")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name"),
        (("--name", "x", "--depth", "deep"), "'deep' is no whole number"),
        (("--name", "x", "--size", "big"), "'big' is no number"),
        (("--name", "x", "--paint", "green"), "'green' is none of red, blue"),
        (("--name", "x", "--hidden", "1"), "--hidden"),
    ],
)
def test_a_wrong_value_is_named(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(Exception, match=words) as error:
        taken(*arguments)
    assert hasattr(error.value, "format_message")


def test_a_command_may_leave_fields_out_require_some_and_have_other_defaults() -> None:
    assert taken("--size", "1", defaults={"name": "y"}) == Wanted("y", size=1)
    with pytest.raises(Exception, match="--depth"):
        taken("--name", "x", "--depth", "1", leave_out=("depth",))
    with pytest.raises(Exception, match="--depth"):
        taken("--name", "x", "--depth", "1", only=("name", "size"))
    with pytest.raises(Exception, match="size"):
        taken("--name", "x", required=("size",))


def test_a_parameter_with_help_is_an_option_too() -> None:
    got: list[tuple[int, bool]] = []

    @from_fields()
    def run(number: Annotated[int, Help("How many.")] = 4, yes: Annotated[bool, typer.Option("-y")] = False) -> int:
        got.append((number, yes))
        return 0

    app = typer.Typer()
    app.command()(run)
    app([], standalone_mode=False)
    app(["--number", "5", "-y"], standalone_mode=False)
    assert got == [(4, False), (5, True)]


def test_help_lists_options_under_their_panels_output_last_of_them() -> None:
    @from_fields()
    def run(wanted: Wanted) -> int:
        """Do it."""
        return 0

    app = typer.Typer(rich_markup_mode=None)
    app.command(cls=Sections)(run)
    text = CliRunner().invoke(app, ["--help"]).output
    assert [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")] == [
        "Money:",
        "Output:",
        "Options:",
    ]
    assert text.index("--size") < text.index("Output:") < text.index("--paths") < text.index("--name")
    assert "[default: a/b]" in text


def test_the_python_api_takes_every_setting_with_its_default() -> None:
    parameters = inspect.signature(evaluate).parameters
    given = {name: each.default for name, each in parameters.items() if name not in ("provider", "on_event")}
    assert given.pop("yes") is False  # agrees to a cost, as -y
    assert given.pop("progress") is False  # what is shown meanwhile, which the command line shows anyway
    assert given == {each.name: each.default for each in fields(Settings) if each.name != "provider"}


def test_every_setting_is_an_option_of_run_or_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    listed = command(capsys, "run", "--help").out + command(capsys, "labelled", "--help").out
    renamed = {"data_format": "--format", "question_form": "--form"}
    for each in fields(Settings):
        assert f"  {renamed.get(each.name, '--' + each.name.replace('_', '-'))} " in listed, each.name


def test_a_blank_variable_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNSAF_CACHE", " ")
    assert _run(["run", "--provider", "scripted", "--dry-run"]) == 2
    assert capsys.readouterr().err.startswith("unsaf-async: UNSAF_CACHE: it is empty")
