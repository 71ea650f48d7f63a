"""Runs at endpoints that do not take a parameter: it is dropped, once, told, remembered, and every answer comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from between import Body, between, refusal, run_at
from doubles import Listener

from unsaf_async.events import ParameterRefused
from unsaf_async.providers.profile import Takes
from unsaf_async.runs.journal import read_journal
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from pathlib import Path

ALL = {"takes": Takes(json_schema=True, temperature=True, seed=True, logprobs=True)}
IMAGES = 3
QUESTIONS = 2

CASES = {
    "seed": ("seed", 400, "Unsupported parameter: 'seed' is not supported with this model."),
    "temperature": ("temperature", 400, "Unsupported value: 'temperature' does not support 0 with this model."),
    "logprobs": ("logprobs", 403, "You are not allowed to request logprobs from this model"),
    "schema": ("response_format", 400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported."),
    "reasoning_effort": ("reasoning_effort", 422, "Unsupported parameter: 'reasoning_effort'"),
}


@pytest.mark.parametrize("parameter", CASES)
async def test_a_refused_parameter_is_dropped_once_told_and_remembered(parameter: str, tmp_path: Path) -> None:
    field, status, message = CASES[parameter]

    def answer(body: Body) -> tuple[int, Any] | None:
        return (status, refusal(message, field)) if field in body else None

    heard = Listener()
    fields = {**ALL, "extra": {"reasoning_effort": "low"} if parameter == "reasoning_effort" else {}}
    async with between(Simulation(), answer) as server:
        ended = await run_at(server.base, tmp_path, images=IMAGES, profile=fields, announce=heard)
        assert (ended.why_stopped, ended.unfinished) == (None, None)
        assert all(each.failure is None for each in read_journal(ended.folder.files.journal).values())
        # Each call under way when the first refusal came went twice, and no other.
        assert 1 <= len(server.refused) <= 2 * IMAGES * QUESTIONS
        assert len({str(body) for body in server.refused}) == len(server.refused)
        told = heard.of(ParameterRefused)
        assert [(each.parameter, each.renamed) for each in told] == [(parameter, "")]
        assert message in told[0].reason
        kept = ended.folder.manifest.adapted
        assert list(kept) == ["self"]
        assert list(kept["self"]) == [parameter]

        # More images of the same run are not there to ask for: more is asked about its answers.
        before = len(server.refused)
        again = await run_at(server.base, tmp_path, images=IMAGES, profile=fields, samples=1, announce=heard)
        assert len(server.refused) == before
        assert again.unfinished is None
        assert again.folder.manifest.adapted == kept
        assert len(heard.of(ParameterRefused)) == 1


async def test_a_schema_that_is_refused_without_a_word_is_tried_without_once_for_the_run(tmp_path: Path) -> None:
    def answer(body: Body) -> tuple[int, Any] | None:
        return (400, refusal("Bad Request")) if "response_format" in body else None

    async with between(Simulation(), answer) as server:
        ended = await run_at(server.base, tmp_path, images=12, concurrency=2, profile=ALL)
    assert ended.unfinished is None
    assert (
        len(server.refused) <= 8
    )  # the lists of the first images, which were under way; 24 are written, and all judged
    assert ended.folder.manifest.adapted == {"self": {"schema": "400 Bad Request"}}


async def test_the_output_limit_is_sent_under_its_other_name(tmp_path: Path) -> None:
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    )

    def answer(body: Body) -> tuple[int, Any] | None:
        return (400, refusal(message, "max_tokens")) if "max_tokens" in body else None

    heard = Listener()
    async with between(Simulation(), answer) as server:
        ended = await run_at(server.base, tmp_path, announce=heard)
    assert ended.unfinished is None
    assert [each.renamed for each in heard.of(ParameterRefused)] == ["max_completion_tokens"]
    assert all("max_tokens" not in body and body["max_completion_tokens"] > 0 for body in server.passed)


async def test_two_parameters_are_dropped_one_after_the_other(tmp_path: Path) -> None:
    def answer(body: Body) -> tuple[int, Any] | None:
        for field in ("seed", "temperature"):
            if field in body:
                return 400, refusal(f"Unsupported parameter: '{field}' is not supported with this model.", field)
        return None

    async with between(Simulation(), answer) as server:
        ended = await run_at(server.base, tmp_path, profile=ALL)
    assert ended.unfinished is None
    assert sorted(ended.folder.manifest.adapted["self"]) == ["seed", "temperature"]
    assert not any(body.keys() & {"seed", "temperature"} for body in server.passed)


async def test_a_model_that_refuses_log_probabilities_is_not_asked_whether_its_answer_is_true(tmp_path: Path) -> None:
    def answer(body: Body) -> tuple[int, Any] | None:
        return (403, refusal("logprobs are not allowed for this model", "logprobs")) if "logprobs" in body else None

    async with between(Simulation(), answer) as server:
        ended = await run_at(server.base, tmp_path, confidence=True, profile=ALL)
    questions = [each for one in read_journal(ended.folder.files.journal).values() for each in one.questions]
    assert all(each.p_true is None and each.stated is not None for each in questions)
    assert not ended.folder.manifest.extras.p_true
    assert ended.unfinished is None
