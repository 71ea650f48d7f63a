"""The package as Python code uses it: its names, `evaluate` and `load`."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from truths import scripted_model

import unsaf_async
from unsaf_async import (
    Examination,
    Findings,
    Manifest,
    RunStopped,
    Settings,
    UnsafError,
    UserError,
    evaluate,
    evaluate_sync,
    load,
    rejudge,
    rejudge_sync,
)
from unsaf_async.cli import main
from unsaf_async.events import Event, ImageKept
from unsaf_async.runs.question_table import COLUMNS
from unsaf_async.runs.settings import Rejudging


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with three photos."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "photos").mkdir()
    for index in range(3):
        Image.new("RGB", (40, 30), (index, 90, 90)).save(tmp_path / "photos" / f"{index}.png")
    return tmp_path


def test_the_public_names_are_sorted_and_every_one_can_be_had() -> None:
    assert unsaf_async.__all__ == sorted(unsaf_async.__all__)
    assert dir(unsaf_async) == unsaf_async.__all__
    for name in unsaf_async.__all__:
        assert getattr(unsaf_async, name).__name__.rpartition(".")[2] == name


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'module_of_dreams'"):
        unsaf_async.module_of_dreams  # noqa: B018


def test_every_error_of_the_package_is_one_of_its_own() -> None:
    for name in ("UserError", "RunStopped", "BudgetExhausted", "ProviderDown"):
        assert issubclass(getattr(unsaf_async, name), UnsafError)
    assert not issubclass(UserError, RunStopped)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, unsaf_async; print(sorted({'litellm', 'numpy', 'PIL', 'rich', 'aiohttp', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_evaluate_takes_every_setting_with_the_same_default() -> None:
    parameters = inspect.signature(evaluate).parameters
    settings = {field.name: field for field in fields(Settings)}
    assert set(parameters) - {"on_event", "progress", "yes"} == set(settings)
    for name, field in settings.items():
        default = parameters[name].default
        assert default == (inspect.Parameter.empty if name == "provider" else field.default), name
    assert parameters["images"].annotation == str | Path | Sequence[str | Path], "as documentation tools show it"
    assert {each.kind for name, each in parameters.items() if name != "provider"} == {inspect.Parameter.KEYWORD_ONLY}


async def test_evaluate_returns_the_score_that_load_reads_back(folder: Path) -> None:
    score = await evaluate("scripted", images="photos", questions=4, out="run")
    manifest, examinations, again = load("run")
    assert isinstance(score, Findings)
    assert isinstance(manifest, Manifest)
    assert all(isinstance(examination, Examination) for examination in examinations)
    assert score.questions.asked == sum(len(examination.questions) for examination in examinations) == 24
    assert manifest.images == score.images.done == len(examinations) == 3
    assert score == Findings.model_validate_json((folder / "run" / "score.json").read_bytes())
    assert _timeless(again) == _timeless(score)


async def test_evaluate_uses_the_shipped_photos_and_a_fresh_folder_when_nothing_is_said(folder: Path) -> None:
    score = await evaluate("scripted", questions=1, cache=None)
    (run,) = (folder / "runs").iterdir()
    assert score.images.done == 10
    assert _timeless(load(run)[2]) == _timeless(score)
    assert not (folder / "cache").exists()


async def test_evaluate_goes_on_with_a_run_that_is_there(folder: Path) -> None:
    first = await evaluate("scripted", images=[Path("photos")], out=folder / "run")
    second = await evaluate("scripted", images=[Path("photos")], out=folder / "run")
    assert second.counts == first.counts
    assert second.calls == first.calls, "nothing was called again"


async def test_a_run_in_a_folder_of_a_prompt_packs_name_does_not_hide_the_pack_from_the_next_run(folder: Path) -> None:
    await evaluate("scripted", images="photos", questions=1, out="unsaf")
    await evaluate("scripted", images="photos", questions=1, out="other")
    assert load("other")[0].pack == "unsaf"


async def test_evaluate_lets_a_listener_hear_the_events(folder: Path) -> None:
    heard: list[Event] = []
    await evaluate("scripted", images="photos/0.png", on_event=heard.append)
    assert [event.examination.image.id for event in heard if isinstance(event, ImageKept)] == ["0.png"]


async def test_a_run_that_costs_money_needs_a_cap_or_a_yes_as_on_the_command_line(folder: Path) -> None:
    given: dict[str, Any] = {"images": "photos", "questions": 1, "out": "run", "price": "1,2"}
    with pytest.raises(
        UserError, match=r"costs money \(\$.* at most\); give max_cost, or yes=True to begin without a cap"
    ):
        await evaluate("scripted", **given)
    assert not (folder / "run").exists()
    assert (await evaluate("scripted", yes=True, **given)).images.done == 3
    assert (await evaluate("scripted", max_cost=5.0, **given)).images.done == 3


# --- in a notebook ------------------------------------------------------------------------------------------------


def test_evaluate_sync_is_evaluate_where_no_loop_runs(folder: Path) -> None:
    score = evaluate_sync("scripted", images="photos", questions=1, out="run")
    assert isinstance(score, Findings)
    assert _timeless(load("run").findings) == _timeless(score)
    assert inspect.signature(evaluate_sync).parameters == inspect.signature(evaluate).parameters


async def test_evaluate_sync_in_a_notebook_names_what_works_there_and_begins_nothing(folder: Path) -> None:
    with pytest.raises(UserError, match=r"an event loop runs here already.*`await evaluate\(\.\.\.\)`"):
        evaluate_sync("scripted", images="photos", questions=1, out="run")
    assert not (folder / "run").exists()


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_questions_and_score_are_frames_of_the_library_that_is_there(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip(name)
    monkeypatch.setitem(sys.modules, {"pandas": "polars", "polars": "pandas"}[name], None)  # as if not installed
    evaluate_sync("scripted", images="photos", questions=1, out="run")
    run = load("run")
    questions, figures = run.questions, run.findings.to_frame()
    assert isinstance(questions, library.DataFrame)
    assert list(questions.columns) == [column.name for column in COLUMNS]
    assert questions["question"].to_list() == [each.text for one in run.examinations for each in one.questions]
    kinds = {"pandas": ("Int64", "float64", "boolean"), "polars": ("Int64", "Float64", "Boolean")}[name]
    assert tuple(str(questions[column].dtype) for column in ("number", "stated", "cached")) == kinds, "even if absent"
    absent = questions["confirmed"].isna() if name == "pandas" else questions["confirmed"].is_null()
    assert absent.all()
    assert list(figures.columns) == ["path", "value", "low", "high", "why_none"]
    assert figures["value"][figures["path"].to_list().index("counts.ta")] == run.findings.counts.ta


def test_without_pandas_and_polars_one_line_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate_sync("scripted", images="photos/0.png", questions=1, out="run")
    for name in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    run = load("run")
    for wanted in (run.findings.to_frame, lambda: run.questions):
        with pytest.raises(UserError, match=r"^a DataFrame needs pandas or polars, and neither .*`pip install pandas`"):
            wanted()


def test_a_loaded_run_is_shown_by_its_score_and_a_simulated_one_says_so(folder: Path) -> None:
    evaluate_sync("scripted", images="photos/0.png", questions=1, out="run")
    run = load("run")
    assert run._repr_html_().endswith(run.findings._repr_html_())
    assert "A simulated model was measured" in run._repr_html_()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a word for a number": ({"questions": "six"}, "questions is 'six'; give a whole number"),
    "a fraction of a question": ({"questions": 2.5}, "questions is 2.5; give a whole number"),
    "a truth for a number": ({"limit": True}, "limit is True; give a whole number, or None"),
    "too many questions": ({"questions": 51}, "questions is 51; give a whole number from 1 to 50"),
    "no limit at all": ({"limit": 0}, "limit is 0; give a whole number above 0"),
    "a negative cap": ({"max_cost": -1}, "max_cost is -1; give an amount in USD above 0"),
    "a cap that is no number": ({"max_cost": float("nan")}, "max_cost is nan"),
    "a cap as text": ({"max_cost": "5"}, "max_cost is '5'; give a number, or None"),
    "a pair for a price": ({"price": (2.5, 10)}, 'price is (2.5, 10); give text such as "2.5,10"'),
    "half a price": (
        {"price": "2.5"},
        "price '2.5': holds 1 number; give USD per million tokens as INPUT,OUTPUT, such as price 2.5,10",
    ),
    "a number for a folder": ({"out": 3}, "out is 3; give a path, or None"),
    "a number for images": ({"images": 3}, "give a path, or a list of paths"),
    "numbers among the images": ({"images": ["photos", 3]}, "give a path, or a list of paths"),
    "images that are not there": ({"images": "pictures"}, "images: pictures does not exist"),
    "an unknown judge": ({"judge": "nobody-we-know"}, "judge 'nobody-we-know': is unknown"),
    "an unknown prompt pack": (
        {"prompts": "sonnets"},
        "prompts 'sonnets': no such folder or shipped pack; shipped: tiny, unsaf",
    ),
    "prompts that lack a file": (
        {"prompts": "photos"},
        "prompts photos/pack.toml: cannot be read (No such file or directory); a pack needs a pack.toml",
    ),
    "questions of a run that is not there": (
        {"questions_from": "gone"},
        "questions_from gone: is no run's folder (it has no manifest.json); give the folder that `run` named",
    ),
    "a calibration that is not there": (
        {"judge_calibration": "gone.json"},
        "judge_calibration gone.json: is no calibration of a judge (No such file or directory)",
    ),
    "two sources of questions": (
        {"data": "a.jsonl", "questions_from": "runs/a"},
        "data and questions_from contradict each other; give one of them",
    ),
    "grounded without a judge": (
        {"grounded": True, "judge": "rules"},
        "grounded: nobody judges but the rules, which see no image; name a model with judge",
    ),
    "a seed out of range": ({"seed": -1}, "seed is -1"),
    "an interval as wide as the scale": ({"until_ci": 0.5}, "until_ci is 0.5"),
}


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
async def test_a_value_of_no_fitting_type_is_a_user_error_whatever_the_option(name: str, folder: Path) -> None:
    options: dict[str, Any] = {"provider": "scripted", name: {"a": 1}}
    with pytest.raises(UserError, match=f"^{name} is {{'a': 1}}; give ") as caught:
        await evaluate(**options)
    assert caught.value.field == name


async def test_a_judge_may_be_a_name_or_several(folder: Path) -> None:
    for judge in (3, ["rules", 3]):
        with pytest.raises(UserError, match=r"; give a name, or a list of names, or None$"):
            await evaluate("scripted", judge=judge)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^audit is 'tiny'; give a list of names$"):
        await evaluate("scripted", audit="tiny")


async def test_an_unknown_option_is_a_type_error_that_names_it() -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'qestions'"):
        await evaluate("scripted", qestions=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"positional"):
        await evaluate("scripted", "photos")  # type: ignore[call-arg]


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_option_is_a_user_error_of_one_line_and_nothing_is_written(case: str, folder: Path) -> None:
    options, said = WRONG[case]
    with pytest.raises(UserError) as caught:
        await evaluate("scripted", **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)
    assert os.listdir(folder) == ["photos"]  # noqa: PTH208 - the pathlib way is refused in async tests


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("gpt-4p", "gpt-4"),
        ("gpt-5.4-mini", "OPENAI_API_KEY is not set"),
        (None, "provider is None; give text"),
        ("", "provider"),
    ],
)
async def test_a_wrong_provider_is_a_user_error(provider: Any, said: str, folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        await evaluate(provider, images="photos")
    assert said in str(caught.value)


def test_the_command_line_spells_the_same_errors_with_its_options(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (["--questions", "0"], "--questions is 0; give a whole number from 1 to 50"),
        (
            ["--grounded", "--judge", "rules"],
            "--grounded: nobody judges but the rules, which see no image; name a model with --judge",
        ),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["run", "--provider", "scripted", "--images", "photos", *arguments])
        assert capsys.readouterr().err == f"unsaf-async: {said}\n"


def test_loading_what_is_no_run_is_a_user_error(folder: Path) -> None:
    with pytest.raises(UserError, match="photos: is no run's folder"):
        load("photos")


def _timeless(score: Findings) -> Findings:
    """`score` without its wall time, which counts up to the moment of reading."""
    return score.model_copy(update={"wall_s": None})


async def test_an_unknown_keyword_is_named_alone() -> None:
    with pytest.raises(TypeError, match=r"^got an unexpected keyword argument 'nosuch'$"):
        await evaluate("scripted", nosuch=1)  # type: ignore[call-arg]


# --- answers judged anew ----------------------------------------------------------------------------------------------


def test_rejudge_takes_every_setting_with_the_same_default() -> None:
    parameters = inspect.signature(rejudge).parameters
    settings = {field.name: field for field in fields(Rejudging)}
    assert next(iter(parameters)) == "run_dir"
    assert set(parameters) - {"run_dir", "on_event", "yes", "progress"} == set(settings)
    assert all(parameters[name].default == field.default for name, field in settings.items())
    assert {each.kind for name, each in parameters.items() if name != "run_dir"} == {inspect.Parameter.KEYWORD_ONLY}
    assert inspect.signature(rejudge_sync).parameters == parameters


async def test_rejudge_scores_the_same_answers_anew_beside_the_run(folder: Path) -> None:
    own = await evaluate("scripted", images="photos", questions=4, out="run")
    heard: list[Event] = []
    new = await rejudge("run", judge="rules", on_event=heard.append)
    manifest, examinations, findings = load(folder / "run" / "judged" / "rules")
    assert (new, manifest.judges) == (findings, ())
    assert new.judge == "rules"
    assert sum(isinstance(event, ImageKept) for event in heard) == own.images.done == new.images.done
    answers = [each.response for examination in load("run").examinations for each in examination.questions]
    assert sorted(each.response for examination in examinations for each in examination.questions) == sorted(answers)
    assert load("run").findings == own
    assert await rejudge(run_dir=folder / "run", judge=["rules"]) == new


async def test_judging_anew_that_costs_money_needs_a_cap_or_leave(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    scripted_model("hedges", hedge=1.0)
    await evaluate("hedges", images="photos", questions=4, judge="rules", out="run")
    with pytest.raises(UserError, match=r"this costs money \(\$.*; give max_cost, or yes=True to begin without a cap"):
        await rejudge("run", judge="gpt-5.4-mini")
    with pytest.raises(UserError, match="none could begin"):
        await rejudge("run", judge="gpt-5.4-mini", max_cost=1e-9)
    assert not (folder / "run" / "judged").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "the same verdicts would come; give judge='NAME', or rubric='FILE'"),
        ({"judge": 3}, "judge is 3; give a name, or a list of names, or None"),
        ({"judge": "rules", "max_cost": "1"}, "max_cost"),
        ({"judge": "rules", "name": "../x"}, "name"),
    ],
)
def test_what_rejudge_cannot_use_is_one_line(folder: Path, settings: dict[str, Any], words: str) -> None:
    evaluate_sync("scripted", images="photos/0.png", questions=1, out="run")
    with pytest.raises(UserError) as raised:
        rejudge_sync("run", **settings)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(TypeError, match="jugde"):
        rejudge_sync("run", jugde="rules")  # type: ignore[call-arg]
    assert not (folder / "run" / "judged").exists()


async def test_rejudge_sync_in_a_notebook_names_what_works_there(folder: Path) -> None:
    with pytest.raises(UserError, match=r"rejudge_sync: an event loop runs here.*`await rejudge\(\.\.\.\)`"):
        rejudge_sync(folder / "run", judge="rules")
