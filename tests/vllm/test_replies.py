"""The served model replies as it does elsewhere: in this process in numpy, and in transformers. Greedy, so that it can.

The weights are the same files; only who computes with them differs. Promised are the same tokens with the same log-probabilities.
Two exceptions are in the nature of things:

- Tokens that training never met share one row of weights. They are exactly as likely as each other, and which of them is taken is
  up to the arithmetic. They count as one token.
- Some tokens are single bytes, and bytes need not be UTF-8. vLLM decodes token by token and leaves such bytes out; the others put
  U+FFFD. Texts are compared where they are UTF-8.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from real_vllm.adapter import write_merged
from real_vllm.questions import MOST_TOKENS, QUESTIONS, Asked, request_about
from real_vllm.server import MODEL, ROOT, TINY, VENV
from safetensors.numpy import load_file

from unsaf_async.calls.backends.openai_wire import message_of
from unsaf_async.calls.backends.tiny import TinyBackend
from unsaf_async.calls.request import ModelClient, RequestBuilder
from unsaf_async.examine.examiner import Examiner
from unsaf_async.examine.judge import Judge
from unsaf_async.prompts import load_pack
from unsaf_async.providers.profile import OutputTokens, Profile, Takes
from unsaf_async.records import CallRecord, Examination, ImageRecord, Question
from unsaf_async.score.run_score import score
from unsaf_async.tiny.speaker import Job, Speaker

if TYPE_CHECKING:
    from pathlib import Path

    from real_vllm.questions import Shown
    from real_vllm.server import VllmServer

    from unsaf_async.calls.backends.http import HttpBackend
    from unsaf_async.calls.provider import Provider
    from unsaf_async.records import Reply, Request
    from unsaf_async.score.run_score import Score

CLOSE = 1e-3
"""How far log-probabilities may differ: the same float32 sums in another order."""
REPLACED = "\ufffd"
"""What stands in a decoded text for bytes that are no UTF-8."""


@dataclass(frozen=True)
class Spoken:
    """A reply: the ids of its tokens, its text, and the log-probability of each of its tokens."""

    ids: tuple[int, ...]
    text: str
    logprobs: tuple[float, ...]


async def by_vllm(vllm: VllmServer, backend: Provider, asked: list[Asked], model: str = MODEL) -> list[Spoken]:
    """The engine's reply to each question, with the ids that vLLM gives for the same request."""
    requests = [request_about(question.shown, question.text, model=model) for question in asked]
    replies = await asyncio.gather(*map(backend.complete, requests))
    # The engine asks for no ids: these come by a client of our own.
    async with httpx.AsyncClient(base_url=vllm.url, timeout=60) as client:
        ids = await asyncio.gather(*(_ids_by_vllm(client, request) for request in requests))
    return [
        Spoken(tokens, reply.text.strip(), reply.logprobs or ()) for tokens, reply in zip(ids, replies, strict=True)
    ]


async def _ids_by_vllm(client: httpx.AsyncClient, request: Request) -> tuple[int, ...]:
    body = {
        "model": request.target.model,
        "messages": [message_of(message) for message in request.messages],
        "max_tokens": request.sampling.max_output_tokens,
        "temperature": 0,
        "logprobs": True,
        "return_tokens_as_token_ids": True,  # "token_id:168" for the text of a token
    }
    answer = (await client.post("/chat/completions", json=body)).raise_for_status()
    content = answer.json()["choices"][0]["logprobs"]["content"]
    return tuple(int(token["token"].removeprefix("token_id:")) for token in content)


def by_numpy(folder: Path, asked: list[Asked]) -> list[Spoken]:
    speaker = Speaker(folder, rows=len(asked))
    unused = np.random.default_rng()
    jobs = [
        Job(question.text, question.shown.image.data, str(question.shown.file), MOST_TOKENS, 0.0, 1.0, unused)
        for question in asked
    ]
    speaker.join(jobs)
    while not speaker.idle:
        speaker.step()
    return [Spoken(tuple(job.ids), job.text, tuple(job.logprobs)) for job in jobs]


def by_transformers(asked: list[Asked]) -> list[Spoken]:
    done = subprocess.run(
        [VENV / "bin/python", ROOT / "tests/real_vllm/hugging_face.py", TINY, str(MOST_TOKENS)],
        input=json.dumps([[str(question.shown.file), question.text] for question in asked]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Spoken(tuple(ids), text.strip(), tuple(logprobs)) for ids, text, logprobs in json.loads(done.stdout)]


async def scored(asked: list[Asked], replies: list[Spoken]) -> Score:
    """The score of these answers, by the rules alone."""
    judge = Judge(load_pack("tiny"))
    questions: dict[str, list[Question]] = {}
    for question, answer in zip(asked, replies, strict=True):
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


def rows_of_weights() -> list[int]:
    """For each token id, which distinct row of the embedding it has. The tokens that training never met have one in common."""
    embedding = load_file(TINY / "model.safetensors")["language_model.model.embed_tokens.weight"]
    return [int(row) for row in np.unique(embedding, axis=0, return_inverse=True)[1]]


def assert_equal(some: list[Spoken], reference: list[Spoken]) -> None:
    row = rows_of_weights()
    for one, other in zip(some, reference, strict=True):
        assert [row[token] for token in one.ids] == [row[token] for token in other.ids]
        assert one.logprobs == pytest.approx(other.logprobs, abs=CLOSE)
        assert len(one.logprobs) == len(one.ids) > 0
        if one.ids == other.ids and REPLACED not in other.text:
            assert one.text == other.text


async def test_vllm_numpy_and_transformers_say_the_same_with_the_same_log_probabilities_and_so_the_same_unf1(
    vllm: VllmServer, backend: HttpBackend, asked: list[Asked]
) -> None:
    served, computed, reference = await by_vllm(vllm, backend, asked), by_numpy(TINY, asked), by_transformers(asked)
    assert_equal(served, reference)
    assert_equal(computed, reference)
    texts = [[reply.text for reply in replies] for replies in (served, computed, reference)]
    assert texts[0] == texts[1] == texts[2], "the trained model says nothing that is no UTF-8"
    assert len(set(texts[0])) > 5, "the model says nothing much: the test shows nothing"
    scores = [await scored(asked, replies) for replies in (served, computed, reference)]
    assert scores[0].unf1 is not None
    assert scores[0] == scores[1] == scores[2]


async def test_a_lora_adapter_served_by_name_speaks_as_the_model_with_the_adapter_merged_into_its_weights(
    vllm: VllmServer, backend: HttpBackend, asked: list[Asked], tmp_path: Path
) -> None:
    write_merged(tmp_path / "merged")
    student = await by_vllm(vllm, backend, asked, "student")
    assert_equal(student, by_numpy(tmp_path / "merged", asked))
    plain = await by_vllm(vllm, backend, asked)
    assert sum(one.ids != other.ids for one, other in zip(student, plain, strict=True)) > len(asked) / 2


async def test_the_same_seed_draws_the_same_reply_and_another_seed_another(
    backend: HttpBackend, world: list[Shown]
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
    backend: HttpBackend, world: list[Shown]
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
    backend: HttpBackend, vllm: VllmServer, world: list[Shown]
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
