"""A real vLLM that is starting, refuses the key, has too much to do, dies.

Its engine runs in a process of its own, as by default.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest
from commandline import process
from real_vllm.questions import request_about
from real_vllm.server import VllmServer

from unsaf_async.calls.backends.http import HttpBackend
from unsaf_async.calls.backends.openai_wire import OpenAIWire
from unsaf_async.calls.retried import Retried, RetryPolicy
from unsaf_async.errors import CallError, Fatal, Transient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from real_vllm.questions import Shown

KEY = "sk-local-0123456789"
QUEUE = 8
"""Most requests that wait; what comes on top is turned away. By default vLLM turns nobody away."""
QUESTION = "What color is the star?"


@pytest.fixture(scope="module")
def _limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    server = VllmServer(
        tmp_path_factory.mktemp("limited") / "log.txt",
        *(f"--api-key={KEY}", "--max-num-seqs=2", f"--max-num-queued-reqs={QUEUE}"),
        engine_apart=True,
    )
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def limited(_limited: VllmServer) -> VllmServer:
    """A server with a key, and with little room; started anew if the test before brought it down."""
    if _limited.is_gone:
        _limited.start()
    _limited.wait_until_ready()
    return _limited


@pytest.fixture
async def client(limited: VllmServer) -> AsyncIterator[HttpBackend]:
    """The engine's client, with the key."""
    backend = HttpBackend(OpenAIWire(), limited.url, KEY)
    try:
        yield backend
    finally:
        await backend.aclose()


@pytest.mark.parametrize("key", [None, "sk-another-0123456789"])
async def test_a_wrong_key_ends_the_run(limited: VllmServer, world: list[Shown], key: str | None) -> None:
    backend = HttpBackend(OpenAIWire(), limited.url, key)
    try:
        for call in (backend.complete(request_about(world[0], QUESTION)), backend.models()):
            with pytest.raises(Fatal, match="401 Unauthorized") as caught:
                await call
            assert (caught.value.kind, caught.value.status) == ("key", 401)
    finally:
        await backend.aclose()


def test_a_wrong_key_is_the_users_mistake_and_stands_nowhere(
    limited: VllmServer, profile: str, manifest: Path, tmp_path: Path
) -> None:
    ended = process(
        *("run", "--provider", profile, "--api-base", limited.url, "--images", str(manifest), "-q"),
        VLLM_API_KEY="sk-another-0123456789",
    )
    assert ended.code == 2
    assert "401" in ended.err
    assert "sk-another" not in ended.out + ended.err
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"sk-another" in file.read_bytes()]


async def test_a_server_with_too_much_to_do_turns_away_what_can_come_again(
    client: HttpBackend, world: list[Shown]
) -> None:
    long = request_about(world[0], QUESTION, logprobs=False)
    long = replace(
        long,
        sampling=replace(long.sampling, max_output_tokens=300),
        target=replace(long.target, extra={"ignore_eos": True}),
    )
    ended = await asyncio.gather(*(client.complete(long) for _ in range(4 * QUEUE)), return_exceptions=True)
    turned_away = [each for each in ended if isinstance(each, Transient)]
    assert turned_away
    assert {(error.status, error.overloaded, error.fate_unknown) for error in turned_away} == {(503, True, False)}
    assert {error.retry_after_s for error in turned_away} == {None}
    assert len(turned_away) + sum(not isinstance(each, BaseException) for each in ended) == len(ended)


def test_a_run_gets_over_a_server_with_too_much_to_do(
    limited: VllmServer, profile: str, manifest: Path, world: list[Shown], tmp_path: Path
) -> None:
    ended = process(
        *("run", "--provider", profile, "--api-base", limited.url, "--images", str(manifest), "--concurrency", "64"),
        *("--questions", "4", "--json", "-q"),
        timeout_s=300,
        VLLM_API_KEY=KEY,
    )
    assert ended.code == 0, ended.err
    score = orjson.loads(ended.out)
    assert score["calls"]["retried"] > 0, "nothing was turned away: the test shows nothing"
    assert score["images"] == {"done": len(world), "failed": 0, "total": len(world)}
    assert "failed" not in score["unscored"] or score["unscored"]["failed"] == 0


async def test_a_run_whose_server_dies_is_finished_once_the_server_is_back(
    limited: VllmServer, client: HttpBackend, profile: str, manifest: Path, world: list[Shown], tmp_path: Path
) -> None:
    run = ("run", "--provider", profile, "--api-base", limited.url, "--images", str(manifest), "--questions", "4", "-q")
    undisturbed = await asyncio.to_thread(process, *run, "--out", "whole", "--no-cache", "--json", VLLM_API_KEY=KEY)
    assert undisturbed.code == 0, undisturbed.err

    question = request_about(world[0], QUESTION)
    assert (await client.complete(question)).outcome == "ok"
    journal = tmp_path / "out/journal.jsonl"
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "unsaf_async", *run, "--out", "out", "--no-cache", "--concurrency", "2"),
        env={**os.environ, "VLLM_API_KEY": KEY},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):  # noqa: ASYNC110  # another process writes it
                await asyncio.sleep(0.02)
        limited.kill_engine()
    finally:
        _, err = await running.communicate()
    assert running.returncode == 3, err
    assert b"resume" in err
    limited.wait_until_gone()
    error = await _error(client, question)
    assert (error.status, error.fate_unknown) == (None, False)
    assert "connection refused" in str(error)

    limited.start()
    error = await _error(client, question)
    assert "connection refused" in str(error), "it is not ready within milliseconds"
    patient = RetryPolicy(attempts=10_000, wait_s=0.1, max_wait_s=1.0)
    async with asyncio.TaskGroup() as group:  # so that a server that does not come back ends the waiting
        group.create_task(asyncio.to_thread(limited.wait_until_ready))
        waiting = group.create_task(Retried(client, client, patient, lambda *_: None).complete(question))
    assert waiting.result().outcome == "ok"
    resumed = await asyncio.to_thread(process, "resume", "out", "--json", "-q", timeout_s=300, VLLM_API_KEY=KEY)
    assert resumed.code == 0, resumed.err
    before, after = orjson.loads(undisturbed.out), orjson.loads(resumed.out)
    for field in ("images", "questions", "counts", "unscored", "unf1"):
        assert after[field] == before[field], field


async def test_a_call_to_a_server_whose_engine_just_died_may_be_tried_again(
    limited: VllmServer, client: HttpBackend, world: list[Shown]
) -> None:
    question = request_about(world[0], QUESTION)
    assert (await client.complete(question)).outcome == "ok"
    limited.kill_engine()
    errors = [await _error(client, question) for _ in range(3)]
    # The first is answered by the API's process that lost its engine; what follows meets a closing door, or none.
    assert errors[0].status == 500
    assert {error.overloaded for error in errors} == {False}
    assert {error.status for error in errors} <= {500, 503, None}


async def _error(backend: HttpBackend, request: object) -> Transient:
    with pytest.raises(CallError) as caught:
        await backend.complete(request)  # type: ignore[arg-type]
    assert isinstance(caught.value, Transient), repr(caught.value)
    return caught.value
