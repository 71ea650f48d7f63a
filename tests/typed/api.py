"""The types of the Python API as a caller's type checker sees them. `make lint` checks this file; nothing runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from matplotlib.figure import Figure

import unsaf_async
from unsaf_async import Examination, Manifest, Settings, plots
from unsaf_async.runs.findings import Findings

if TYPE_CHECKING:
    from pathlib import Path


async def evaluating(photos: Path) -> None:
    score = await unsaf_async.evaluate("scripted", images=photos, max_cost=5.0, out="runs/mine")
    assert_type(score.unf1, float | None)
    assert_type(score.unf1_ci, tuple[float, float] | None)
    assert_type(score.cost_usd, float | None)
    await unsaf_async.evaluate(
        "scripted", images=["photos/", "more/*.png"], questions=3, judge=["gpt-5.4-mini", "rules"]
    )
    await unsaf_async.evaluate("scripted", progress=True)
    await unsaf_async.evaluate(provider="scripted", data=photos / "a.jsonl", cache=None, on_event=lambda event: None)


def loading(folder: Path) -> None:
    manifest, examinations, score = unsaf_async.load(folder)
    assert_type(manifest, Manifest)
    assert_type(examinations, list[Examination])
    assert_type(score, Findings)
    assert_type(unsaf_async.load(folder).findings, Findings)
    assert_type(unsaf_async.evaluate_sync("scripted", images=folder, questions=3), Findings)
    for examination in examinations:
        for question in examination.questions:
            assert_type(question.text, str)
            assert_type(question.response, str)


def plotting(folder: Path) -> None:
    run = unsaf_async.load(folder)
    assert_type(unsaf_async.plots.matrix(run.findings), Figure)
    assert_type(plots.intervals({"mine": run.findings, "theirs": run.findings}), Figure)
    assert_type(plots.roc(run), Figure)
    assert_type(plots.over_time(folder), Figure)
    plots.roc(run.findings)  # type: ignore[arg-type]
    plots.intervals([run.findings])  # type: ignore[arg-type]


async def judging_anew(folder: Path) -> None:
    assert_type(await unsaf_async.rejudge(folder, judge="gpt-5.4-mini", max_cost=1.0), Findings)
    await unsaf_async.rejudge("runs/mine", judge=["gpt-5.4-mini", "self"], rubric="strict.md", name="strict", yes=True)
    await unsaf_async.rejudge(run_dir=folder, judge_together=4, on_event=lambda event: None)
    assert_type(unsaf_async.rejudge_sync(folder, judge="rules"), Findings)


async def mistaken() -> None:
    """What must not pass: mypy complains of each line that needs no `ignore` after all."""
    Settings("scripted", qestions=3)  # type: ignore[call-arg]
    Settings()  # type: ignore[call-arg]
    Settings("scripted", "photos/")  # type: ignore[call-arg]
    unsaf_async.load(3)  # type: ignore[arg-type]
    await unsaf_async.evaluate()  # type: ignore[call-arg]
    await unsaf_async.evaluate("scripted", qestions=3)  # type: ignore[call-arg]
    await unsaf_async.evaluate("scripted", "photos/")  # type: ignore[call-arg]
    await unsaf_async.evaluate("scripted", questions="six")  # type: ignore[arg-type]
    await unsaf_async.evaluate("scripted", out=3)  # type: ignore[arg-type]
    unsaf_async.evaluate_sync("scripted", qestions=3)  # type: ignore[call-arg]
    await unsaf_async.rejudge()  # type: ignore[call-arg]
    await unsaf_async.rejudge("runs/mine", "rules")  # type: ignore[call-arg]
    await unsaf_async.rejudge("runs/mine", judge=3)  # type: ignore[arg-type]
    unsaf_async.rejudge_sync("runs/mine", jugde="rules")  # type: ignore[call-arg]
    await unsaf_async.evaluate("scripted", on_event="print")  # type: ignore[arg-type]
