"""Which model answered, over a socket: counted, told of, and with `strict_model` the end of the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from aiohttp import ClientSession, web
from commandline import command, serving
from driving import ROUTES, draw_images
from serving import serve_requests

from unsaf_async.records import CallRecord, Examination, ImageRecord, JudgedTogether, Question
from unsaf_async.runs.answered_by import ServicesTally
from unsaf_async.runs.begin import begin
from unsaf_async.runs.folder import read_manifest
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from unsaf_async.runs.findings import Findings

OLD_RUN = Path(__file__).parents[1] / "data/old_run/scripted"


async def run_behind_a_router(folder: Path, routed_to: str, *, strict_model: bool) -> tuple[Findings, Runner]:
    """A run of gpt-4o at a service that says of each reply that `routed_to` wrote it."""

    async with Simulator(Simulation()) as simulator:

        async def handle(asked: web.Request) -> web.Response:
            upstream = getattr(simulator, ROUTES["openai"][1]) + asked.path[3:]
            headers = {"authorization": asked.headers.get("authorization", "")}
            async with (
                ClientSession() as session,
                session.post(upstream, data=await asked.read(), headers=headers) as answer,
            ):
                body = await answer.json()
            return web.Response(body=orjson.dumps(body | {"model": routed_to}), content_type="application/json")

        async with serve_requests(handle) as url:
            settings = Settings(
                "gpt-4o", images=draw_images(folder / "images", 3), questions=2, out=folder / "run",
                cache=folder / "cache", api_base=f"{url}/v1", price="0,0", strict_model=strict_model,
            )  # fmt: skip
            with begin(await prepare(settings)) as run_folder:
                runner = Runner(run_folder)
                return await runner.run(), runner


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


async def test_the_models_that_answered_are_counted_in_score_and_manifest(tmp_path: Path) -> None:
    score, runner = await run_behind_a_router(tmp_path, "gpt-4o-2024-11-20", strict_model=True)
    assert runner.why_stopped is None
    calls = sum(len(each.calls) for each in SavedRun(tmp_path / "run").examinations)
    assert score.answered_by == {"self": {"gpt-4o-2024-11-20": calls}}
    assert read_manifest(tmp_path / "run").answered_by == score.answered_by
    assert not [line for line in score.warnings if "was asked" in line]


async def test_another_model_in_its_place_is_a_warning(tmp_path: Path) -> None:
    score, runner = await run_behind_a_router(tmp_path, "gpt-4.1-mini", strict_model=False)
    assert runner.why_stopped is None
    (warning,) = (line for line in score.warnings if "was asked" in line)
    assert warning.startswith("gpt-4o was asked for gpt-4o, and gpt-4.1-mini gave ")


async def test_another_model_in_its_place_stops_a_strict_run_and_scores_nothing_of_it(tmp_path: Path) -> None:
    score, runner = await run_behind_a_router(tmp_path, "gpt-4.1-mini", strict_model=True)
    assert runner.why_stopped == "gpt-4o: gpt-4o was asked, and gpt-4.1-mini answered"
    assert score.counts.scored == 0


@pytest.mark.parametrize(
    ("simulation", "options", "then"),
    [
        (
            Simulation(any_model=True, substitute={"gpt-5.4": "gpt-5.4-mini"}),
            ["--strict-model"],
            "gpt-5.4: gpt-5.4 was asked, and gpt-5.4-mini answered; begin a run of another model, or one without --strict-model;",
        ),
        (Simulation(expire={"gpt-5.4": 6}), [], "; begin a run of another model; what is finished is kept"),
    ],
    ids=["substituted", "retired"],
)
def test_where_resuming_would_end_in_the_same_way_nobody_is_sent_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], simulation: Simulation, options: list[str], then: str
) -> None:
    draw_images(tmp_path / "images", 4)
    with serving(simulation) as simulator:
        ended = command(
            capsys, "run", "--provider", "gpt-5.4", "--api-base", simulator.openai_base, "--price", "0,0", "--questions", "1",
            "--images", str(tmp_path / "images"), "--concurrency", "1", "--out", str(tmp_path / "run"),
            "--cache", str(tmp_path / "cache"), *options,
        )  # fmt: skip
    assert ended.code == 3
    last = ended.err.splitlines()[-1]
    assert then in last
    assert "resume" not in last


def test_answers_among_the_thoughts_and_interrupted_ones_are_told_of() -> None:
    thought = CallRecord(role="answer", outcome="unreadable", detail="what it wrote stands in reasoning_content")
    ended = CallRecord(role="answer", outcome="interrupted", finish_reason="abort")
    questions = [Question(text="Q?", intended="answerable", answer=call) for call in (thought, ended, ended)]
    examination = Examination(image=ImageRecord(id="a", path="a"), questions=tuple(questions))
    tally = ServicesTally(SavedRun(OLD_RUN).manifest)
    tally.add(examination)
    first, second = tally.about()
    assert first.startswith("1 replies hold no text but in reasoning_content")
    assert second == "2 replies were interrupted, by finish reason (abort 2): none of them is scored"


def test_a_judge_that_often_gave_no_verdict_is_told_of_with_an_example() -> None:
    answer = CallRecord(role="answer", outcome="ok")
    unread = CallRecord(role="judge", outcome="ok", detail='no verdict in the reply: "Well, well."')
    tally = ServicesTally(SavedRun(OLD_RUN).manifest)
    for number, judge in enumerate([unread] * 2 + [CallRecord(role="judge", outcome="ok")] * 3 + [unread]):
        assert list(tally.about()) == []
        question = Question(text="Q?", intended="answerable", answer=answer, judge=judge, unscored="unjudged")
        tally.add(Examination(image=ImageRecord(id=str(number), path="a"), questions=(question,)))
    (told,) = tally.about()
    assert told.startswith("3 of 6 replies of ")
    assert told.endswith(
        'as judge hold no verdict that can be read, such as "Well, well.": what it judged so is unscored'
    )


def test_replies_about_several_responses_leave_none_unscored_and_are_no_warning_of_that() -> None:
    answer, alone = (CallRecord(role=role, outcome="ok") for role in ("answer", "judge"))
    question = Question(
        text="Q?", intended="answerable", answer=answer, judge=alone, act="answered", decided_by="judge"
    )
    unread = CallRecord(role="judge", outcome="ok", detail='no verdict in the reply: "Well, well."')
    together = JudgedTogether(judge="self", responses=2, asked_alone=2, call=unread)
    tally = ServicesTally(SavedRun(OLD_RUN).manifest)
    for number in range(9):
        image = ImageRecord(id=str(number), path="a")
        tally.add(Examination(image=image, questions=(question, question), judged_together=(together,)))
    assert list(tally.about()) == []
