"""The texts of errors: settings are spelled by the surface that shows them."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import unsaf_async
from unsaf_async.cli.spelling import spelled
from unsaf_async.errors import BudgetExhausted, Rejected, UnsafError, UserError, as_option, naming, renaming, setting

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(unsaf_async.__file__).parent

SPELLING = (
    "cli/",
    "serve/",
    "tiny/",
    "errors.py",
    "help.py",
    "runs/settings.py",
    "distill/evaluate/settings.py",
    "world/make.py",
    "distill/train/student_card.py",
    "distill/data/options.py",
    "distill/train/recipe.py",
)
"""Where options are spelled: the command line and its help, the rule, vLLM, a script that trains, cards that show commands."""


def test_the_surface_spells_the_field() -> None:
    error = UserError("is 0; give an amount in USD above 0", field="max_cost")
    assert str(error) == "max_cost is 0; give an amount in USD above 0"
    assert error.spelled(spelled) == "--max-cost is 0; give an amount in USD above 0"
    assert error.field == "max_cost"


def test_a_text_that_begins_with_a_colon_stands_right_behind_the_field() -> None:
    assert str(UserError(": is missing; give a folder", field="images")) == "images: is missing; give a folder"


def test_settings_in_the_middle_of_a_sentence_are_spelled_too() -> None:
    error = BudgetExhausted(
        f"{setting('max_cost')} 5: is spent; raise {setting('max_cost')} or lower {setting('limit')}"
    )
    assert str(error) == "max_cost 5: is spent; raise max_cost or lower limit"
    assert error.spelled(spelled) == "--max-cost 5: is spent; raise --max-cost or lower --limit"


@pytest.mark.parametrize(
    ("marked", "python", "option"),
    [
        (setting("cache", None), "cache=None", "--no-cache"),
        (setting("merge", False), "merge=False", "--no-merge"),
        (setting("grounded", True), "grounded=True", "--grounded"),
        (setting("judge", "rules"), "judge='rules'", "--judge rules"),
        (setting("seed", 3), "seed=3", "--seed 3"),
        (setting("data_format"), "data_format", "--format"),
        (setting("form", "trl"), "form='trl'", "--format trl"),
        (setting("before.model"), "before.model", "--before-model"),
        (setting("MODEL"), "MODEL", "MODEL"),
    ],
    ids=[
        "cache",
        "merge",
        "grounded",
        "judge",
        "seed",
        "data_format",
        "form",
        "before.model",
        "MODEL",
    ],  # a mark is random
)
def test_a_setting_with_a_value_is_spelled_as_it_is_given(marked: str, python: str, option: str) -> None:
    error = UnsafError(f"give {marked}")
    assert str(error) == f"give {python}"
    assert error.spelled(spelled) == f"give {option}"


def test_an_error_can_be_about_other_settings() -> None:
    error = UserError(
        f"x: is unknown; name another {setting('provider')}, or give {setting('cache', None)}", "provider"
    )
    renamed = error.renamed({"provider": "judge", "cache": "store"})
    assert str(renamed) == "judge x: is unknown; name another judge, or give store=None"
    assert renamed.field == "judge"


def test_no_mark_reaches_a_reader() -> None:
    error = UserError(f"is 0; give {setting('seed')}", field="limit")
    copy = pickle.loads(pickle.dumps(error))
    for text in (
        str(error),
        repr(error),
        f"{error}",
        error.spelled(as_option),
        str(copy),
        str(Rejected(setting("seed"))),
    ):
        assert text.isascii(), text
    assert copy.field == "limit"
    assert str(UserError("plain")) == "plain"
    assert str(UnsafError()) == ""


@pytest.mark.parametrize(
    "path", ["photos/\ue0f0seed\ue0f1.png", "\ue0f0limit=3\ue0f1", "\ue0f0", "\ue0f1\ue0f0:seed\ue0f1"]
)
def test_a_path_that_holds_the_marks_characters_is_shown_as_it_is(path: str) -> None:
    error = UserError(f"{path}: does not exist; check {setting('images')} and {path}", "data")
    assert error.spelled(spelled) == f"--data {path}: does not exist; check --images and {path}"
    assert str(error.renamed({"seed": "questions", "limit": "questions"})) == (
        f"data {path}: does not exist; check images and {path}"
    )
    assert str(UserError(setting("cache", path))) == f"cache={path!r}"


def test_an_error_about_a_value_that_another_function_refused() -> None:
    assert (
        str(UserError("runs/a: is no run; give one").about("preferences")) == "preferences runs/a: is no run; give one"
    )
    assert str(UserError("x: is unknown", "provider").about("judge")) == "judge x: is unknown"
    with pytest.raises(UserError, match=r"^preferences runs/a: is no run$") as caught, naming("preferences"):
        raise UserError("runs/a: is no run")
    assert caught.value.field == "preferences"
    with pytest.raises(UserError, match=r"^audit x: give another audit$"), renaming({"provider": "audit"}):
        raise UserError(f"x: give another {setting('provider')}", "provider")


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    """The texts in a module that are no docstrings."""
    tree = ast.parse(file.read_text("utf-8"))
    lone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in lone:
            yield node.lineno, node.value


def test_the_engine_spells_no_option() -> None:
    spelled_out = [
        f"{file.relative_to(PACKAGE)}:{line}: {option}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if not file.relative_to(PACKAGE).as_posix().startswith(SPELLING)
        for line, text in _texts(file)
        # a whole command, in backticks, is not meant
        for option in re.findall(r"(?<!-)--[a-z][a-z-]*", re.sub(r"`\w[^`]*`", "", text))
    ]
    assert not spelled_out, "\n".join(spelled_out)
