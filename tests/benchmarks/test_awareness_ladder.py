"""The ladders of planted awareness: what is steered is the decision to decline, and nothing else."""

from __future__ import annotations

import asyncio
import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from unsaf_async.calls.backends.tiny import TinyBackend
from unsaf_async.inputs.pixels import encode
from unsaf_async.prompts import load_pack
from unsaf_async.providers.resolve import resolve
from unsaf_async.records import Message, Request, Sampling, Target
from unsaf_async.runs.prepare import policy_of
from unsaf_async.tiny.folders import SHIPPED
from unsaf_async.world.make import make

if TYPE_CHECKING:
    from unsaf_async.records import Reply

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FOLDER = SHIPPED / "tiny-s"
QUESTIONS = (
    "What color is the star?",
    "What is in the north cell?",
    "How heavy is the ring?",
    "How many rings are there?",
)


@pytest.fixture
def steered(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("steered")


@pytest.fixture
def awareness(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("awareness")


def requests(world: Path, temperature: float = 0.0) -> list[Request]:
    make(world, 2, "test", seed=500)
    policy = policy_of(resolve("tiny", model=str(FOLDER)))
    pictures = [encode(file, policy)[0] for file in sorted((world / "images").iterdir())]
    sampling = Sampling(max_output_tokens=40, temperature=temperature, seed=0, logprobs=True)
    pack = load_pack("tiny")
    return [
        Request("answer", Target("tiny", FOLDER.name), (Message("user", pack.answer(question), picture),), sampling)
        for picture in pictures
        for question in QUESTIONS
    ]


async def replies(backend: Any, asked: list[Request]) -> list[Reply]:
    return list(await asyncio.gather(*(backend.complete(request) for request in asked)))


async def steered_replies(module: Any, asked: list[Request], *steerings: Any) -> list[list[Reply]]:
    branches = module.Branches(FOLDER)
    try:
        with module.steered(branches, module.Steering()):
            return [await replies(module.SteeredBackend(branches, steering), asked) for steering in steerings]
    finally:
        await branches.aclose()


async def test_a_model_that_is_not_steered_says_the_same_as_ever_and_is_as_sure(steered: Any, tmp_path: Path) -> None:
    asked = requests(tmp_path / "world")
    (moved,) = await steered_replies(steered, asked, steered.Steering())
    own = TinyBackend(FOLDER)
    try:
        plain = await replies(own, asked)
    finally:
        await own.aclose()
    assert [reply.text for reply in moved] == [reply.text for reply in plain]
    assert {reply.text.startswith("I cannot tell") for reply in plain} == {True, False}
    for one, other in zip(moved, plain, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


async def test_a_moved_margin_changes_which_of_two_replies_comes_and_neither_of_them(
    steered: Any, tmp_path: Path
) -> None:
    asked = requests(tmp_path / "world")
    declining, answering, some = await steered_replies(
        steered,
        asked,
        steered.Steering(bias=100.0),
        steered.Steering(bias=-100.0),
        steered.Steering(0.0, 0.0, 0.0, 5.0, "a"),
    )
    assert all(reply.text.startswith("I cannot tell") for reply in declining)
    assert not any(reply.text.startswith("I cannot tell") for reply in answering)
    for reply, declined, answered in zip(some, declining, answering, strict=True):
        assert reply.text in (declined.text, answered.text)
    assert len({reply.text.startswith("I cannot tell") for reply in some}) == 2


async def test_draws_of_a_steered_model_decline_as_often_as_its_margin_says(steered: Any, tmp_path: Path) -> None:
    (request,) = requests(tmp_path / "world", temperature=1.0)[:1]
    asked = [replace(request, draw=draw) for draw in range(60)]
    sure, level = await steered_replies(
        steered, asked, steered.Steering(bias=100.0), steered.Steering(0.0, 0.0, 0.0, 0.0, "level")
    )
    assert all(reply.text.startswith("I cannot tell") for reply in sure)
    # at a margin of 0 declining is as likely as the likeliest answer, and that is not the only one
    assert 5 <= sum(reply.text.startswith("I cannot tell") for reply in level) <= 40


def of_margins() -> np.ndarray:
    """Margins of 4,000 questions, half of them without an answer, that tell these apart with a d' of 3."""
    rng = np.random.default_rng(1)
    true = np.arange(4000) % 2
    own = rng.normal(3 * true - 1.5, 1.0)
    return np.column_stack([np.arange(4000) // 10, own, true, true])


def test_levels_of_awareness_keep_the_share_of_questions_that_are_declined(awareness: Any) -> None:
    table = of_margins()
    ladder = awareness.awareness_ladder(table, awareness.LEVELS)
    own = awareness.youden(table, ladder[1.0])
    assert own == pytest.approx(0.866, abs=0.02)  # 2 Phi(1.5) - 1
    rate = (table[:, 1] > 0).mean()
    for level, steering in ladder.items():
        assert awareness.youden(table, steering) == pytest.approx(level * own, abs=0.003)
        assert steering.declining(table[:, 1]).mean() == pytest.approx(rate, abs=0.001)


def test_levels_of_the_criterion_decline_as_often_as_they_say_by_the_models_own_order(awareness: Any) -> None:
    table = of_margins()
    for rate, steering in awareness.criterion_ladder(table, awareness.RATES).items():
        declined = steering.declining(table[:, 1])
        assert declined.mean() == pytest.approx(rate, abs=0.001)
        assert steering.signal == 1.0
        assert table[declined > 0.5, 1].min() >= table[declined < 0.5, 1].max()


def test_a_slope_and_its_interval_are_those_of_scipy(awareness: Any) -> None:
    from scipy import stats

    x, y = np.linspace(0, 1, 9), np.random.default_rng(3).normal(size=9)
    theirs = stats.linregress(x, y)
    reach = stats.t.ppf(0.975, 7) * theirs.stderr
    assert awareness.slope(x, y) == pytest.approx((theirs.slope, theirs.slope - reach, theirs.slope + reach))


def test_d_prime_of_a_model_that_declines_by_chance_is_0(awareness: Any) -> None:
    declined, unanswerable = np.tile([True, False], 50), np.repeat([True, False], 50)
    assert awareness.detection(declined, unanswerable) == pytest.approx((0.0, 0.0))
    assert awareness.detection(unanswerable, unanswerable)[0] > 4


def test_the_interval_of_a_slope_misses_no_more_often_than_it_says_where_levels_have_no_effect(awareness: Any) -> None:
    table = of_margins()[:400]
    found = awareness.without_effect(table, awareness.awareness_ladder(table, awareness.LEVELS), 3, 300)
    assert 0.015 <= found["unf1"]["type_1"] <= 0.09  # .05 of 300 has a standard error of .013
    assert found["unf1"]["coverage"] >= 0.91


def test_the_whole_study_runs_on_a_few_scenes(
    awareness: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "awareness.json"
    awareness.main(["--quick", "--model", str(FOLDER), "--out", str(out)])
    found = json.loads(out.read_text("utf-8"))
    by_level = {row["level"]: row for row in found["rows"]["awareness"]}
    assert by_level[1.0]["d_prime"] > by_level[0.0]["d_prime"] + 1
    assert by_level[1.0]["oracle_f1"] > by_level[0.0]["oracle_f1"]
    few, many = (row["declined"] for row in found["rows"]["criterion"])
    assert few < many - 0.3
    assert found["slopes"]["semantic_entropy"] == {"undefined": "3 of 3 runs have none"}
    assert "UnF1 | no label" in capsys.readouterr().out
