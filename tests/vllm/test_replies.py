"""What the served model says is what it says elsewhere: in this process in numpy, and in transformers. Greedy, so that it can be.

The weights are the same files; only who computes with them differs.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from adapter import write_merged
from conftest import MOST_TOKENS, QUESTIONS, Asked, request_about
from vllm_server import MODEL, TINY, VENV

from unsaf_async.calls.backends.tiny import TinyBackend
from unsaf_async.calls.request import ModelClient, RequestBuilder
from unsaf_async.examine.examiner import Examiner
from unsaf_async.examine.judge import Judge
from unsaf_async.prompts import load_pack
from unsaf_async.providers.profile import OutputTokens, Profile, Takes
from unsaf_async.records import CallRecord, Examination, ImageRecord, Question
from unsaf_async.score.unf1 import score
from unsaf_async.tiny.speaker import Job, Speaker

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Shown
    from vllm_server import VllmServer

    from unsaf_async.calls.backends.openai_http import OpenAIBackend
    from unsaf_async.calls.provider import Provider
    from unsaf_async.records import Reply, Request
    from unsaf_async.score.unf1 import Score

CLOSE = 1e-3
"""How far log-probabilities may differ: the same float32 sums in another order."""


@dataclass(frozen=True)
class Said:
    """A reply's text, and the log-probability of each of its tokens."""

    text: str
    logprobs: tuple[float, ...]


async def by_vllm(backend: Provider, asked: list[Asked], model: str = MODEL) -> list[Said]:
    requests = [request_about(question.shown, question.text, model=model) for question in asked]
    replies = await asyncio.gather(*map(backend.complete, requests))
    return [Said(reply.text.strip(), reply.logprobs or ()) for reply in replies]


def by_numpy(folder: Path, asked: list[Asked]) -> list[Said]:
    speaker = Speaker(folder, rows=len(asked))
    unused = np.random.default_rng()
    jobs = [
        Job(question.text, question.shown.image.data, str(question.shown.file), MOST_TOKENS, 0.0, 1.0, unused)
        for question in asked
    ]
    speaker.join(jobs)
    while not speaker.idle:
        speaker.step()
    return [Said(job.text, tuple(job.logprobs)) for job in jobs]


def by_transformers(asked: list[Asked]) -> list[Said]:
    done = subprocess.run(
        [VENV / "bin/python", __file__.replace("test_replies", "hugging_face"), TINY, str(MOST_TOKENS)],
        input=json.dumps([[str(question.shown.file), question.text] for question in asked]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Said(text.strip(), tuple(logprobs)) for text, logprobs in json.loads(done.stdout)]


async def scored(asked: list[Asked], said: list[Said]) -> Score:
    """The score of these answers, by the rules alone."""
    judge = Judge(load_pack("tiny"))
    questions: dict[str, list[Question]] = {}
    for question, answer in zip(asked, said, strict=True):
        judgement = await judge.judge(question.text, answer.text, "stop")
        questions.setdefault(question.shown.file.name, []).append(
            Question(
                text=question.text,
                intended=question.intended,
                response=answer.text,
                answer=CallRecord(role="answer", outcome="ok"),
                act=judgement.act,
                decided_by=judgement.decided_by,
                unscored=judgement.unscored,
            )
        )
    examinations = [
        Examination(image=ImageRecord(id=name, path=name), questions=tuple(of_image))
        for name, of_image in questions.items()
    ]
    return score(examinations, questions_per_label=QUESTIONS, accounts=None, provider="", judge="rules")


def assert_equal(one: list[Said], other: list[Said]) -> None:
    assert [said.text for said in one] == [said.text for said in other]
    for left, right in zip(one, other, strict=True):
        assert left.logprobs == pytest.approx(right.logprobs, abs=CLOSE)
        assert left.logprobs


async def test_vllm_numpy_and_transformers_say_the_same_with_the_same_log_probabilities_and_so_the_same_unf1(
    backend: OpenAIBackend, asked: list[Asked]
) -> None:
    served, computed, reference = await by_vllm(backend, asked), by_numpy(TINY, asked), by_transformers(asked)
    assert_equal(served, reference)
    assert_equal(computed, reference)
    assert len({said.text for said in served}) > 5, "the model says nothing much: the test shows nothing"
    scores = [await scored(asked, said) for said in (served, computed, reference)]
    assert scores[0].unf1 is not None
    assert scores[0] == scores[1] == scores[2]


async def test_a_lora_adapter_served_by_name_speaks_as_the_model_with_the_adapter_merged_into_its_weights(
    backend: OpenAIBackend, asked: list[Asked], tmp_path: Path
) -> None:
    write_merged(tmp_path / "merged")
    student = await by_vllm(backend, asked, "student")
    assert_equal(student, by_numpy(tmp_path / "merged", asked))
    plain = await by_vllm(backend, asked)
    assert sum(one.text != other.text for one, other in zip(student, plain, strict=True)) > len(asked) / 2


async def test_the_same_seed_draws_the_same_reply_and_another_seed_another(
    backend: OpenAIBackend, world: list[Shown]
) -> None:
    asking = request_about(world[0], "Ask 4 questions that the image answers.")

    async def draws(*seeds: int | None) -> list[str]:
        samplings = [replace(asking.sampling, max_output_tokens=80, temperature=1.0, seed=seed) for seed in seeds]
        replies = await asyncio.gather(*(backend.complete(replace(asking, sampling=each)) for each in samplings))
        return [reply.text for reply in replies]

    drawn = await draws(*range(8))
    assert len(set(drawn)) > 1
    assert await draws(*range(8)) == drawn
    assert len(set(await draws(*[None] * 8))) > 1, "draws without a seed are draws, too"


async def test_of_several_draws_in_one_call_the_first_is_the_reply_and_all_are_counted(
    backend: OpenAIBackend, world: list[Shown]
) -> None:
    request = request_about(world[0], "What is in the middle cell?")
    request = replace(request, sampling=replace(request.sampling, temperature=1.0, seed=0))
    one = await backend.complete(request)
    three = await backend.complete(replace(request, target=replace(request.target, extra={"n": 3})))
    assert three.logprobs is not None
    assert three.usage.input_tokens == one.usage.input_tokens
    assert three.usage.output_tokens > len(three.logprobs)


@dataclass(frozen=True)
class Greedy:
    """A provider that asks at temperature 0 where nobody said otherwise, so that whole examinations can be compared."""

    inner: Provider

    async def complete(self, request: Request) -> Reply:
        return await self.inner.complete(replace(request, sampling=replace(request.sampling, temperature=0.0)))


async def test_the_whole_method_at_temperature_0_is_the_same_over_http_and_in_this_process(
    backend: OpenAIBackend, vllm: VllmServer, world: list[Shown]
) -> None:
    limits = OutputTokens(ask=20, ask_per_question=24, answer=24)
    pack = load_pack("tiny")

    async def examined(provider: Provider, model: str) -> list[Examination]:
        profile = Profile(
            name="local", backend="openai", model=model, output_tokens=limits, takes=Takes(json_schema=False)
        )
        subject = ModelClient(RequestBuilder(profile, QUESTIONS, 0), Greedy(provider))
        examiner = Examiner(subject, Judge(pack), pack, QUESTIONS)
        records = [ImageRecord(id=shown.file.name, path=str(shown.file)) for shown in world]
        return await asyncio.gather(
            *(examiner.examine(record, shown.image) for record, shown in zip(records, world, strict=True))
        )

    in_process = TinyBackend(TINY)
    try:
        here = await examined(in_process, "tiny-s")
    finally:
        await in_process.aclose()
    served = await examined(backend, MODEL)
    assert list(map(_content, served)) == list(map(_content, here))
    assert sum(len(examination.questions) for examination in here) > len(world)
    scores = [
        score(examinations, questions_per_label=QUESTIONS, accounts=None, provider="", judge="rules")
        for examinations in (served, here)
    ]
    assert scores[0] == scores[1]


def _content(examination: Examination) -> object:
    """What was asked, said and decided, and what it cost in tokens."""
    questions = [
        (question.text, question.intended, question.response, question.act) for question in examination.questions
    ]
    tokens = [(call.outcome, call.input_tokens, call.output_tokens) for call in examination.calls]
    return questions, examination.dropped, examination.failure, tokens
