"""Who says what a vendor's wire means: litellm, over a socket of this machine, and replies that were really recorded.

The recorded bodies are not part of this project. `$UNSAF_RECORDED` names their folder; without it, the one beside a checkout.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from doubles import IMAGE
from serving import serve_requests

from unsaf_async.calls.backends.litellm import LitellmBackend
from unsaf_async.records import Message, Request, Sampling, Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import Reply, Schema

FOLDER = Path(os.environ.get("UNSAF_RECORDED", Path(__file__).parents[2] / "shared/data/recorded"))


def recorded(kind: str) -> list[dict[str, Any]]:
    """The recorded answers with status 200 of one kind: "openai", "anthropic" or "gemini"; [] where they are not at hand."""
    file = FOLDER / "answers.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []
    return [row for row in rows if row["kind"] == kind and row["status"] == 200]


class Oracle:
    """litellm before a server that answers with `body` and notes what it was sent."""

    def __init__(self, endpoint: str, backend: LitellmBackend) -> None:
        self.endpoint = endpoint
        self.body: object = {}
        self.sent: dict[str, Any] = {}
        self.path = ""
        self.headers: dict[str, str] = {}
        self._backend = backend

    async def read(self, request: Request, body: object) -> Reply:
        """What litellm reads in a body with status 200; `sent`, `path` and `headers` are what it asked with."""
        self.body = body
        return await self._backend.complete(request)


@asynccontextmanager
async def oracle(path: str = "") -> AsyncIterator[Oracle]:
    """litellm, with its own server at `path` as endpoint."""

    async def answer(request: web.Request) -> web.Response:
        found.sent, found.path, found.headers = await request.json(), request.path_qs, dict(request.headers)
        return web.json_response(found.body)

    async with serve_requests(answer) as url:
        endpoint = f"{url}{path}"
        backend = await LitellmBackend.open(endpoint, "a-key")
        found = Oracle(endpoint, backend)
        try:
            yield found
        finally:
            await backend.aclose()


def conversation(profile: Profile, endpoint: str, schema: Schema | None = None) -> Request:
    """A request with everything in it that the engine sends to a model, and every role."""
    takes = profile.takes
    return Request(
        role="answer",
        target=Target(profile.name, profile.model, endpoint, profile.extra),
        messages=(
            Message("system", "Be brief."),
            Message("user", "What is this?", IMAGE),
            Message("assistant", "A cat."),
            Message("user", "What colour is it?"),
        ),
        sampling=Sampling(
            max_output_tokens=4321,
            temperature=0.0 if takes.temperature else None,
            seed=7 if takes.seed else None,
            logprobs=takes.logprobs,
        ),
        schema=schema,
    )


def flat(value: object, path: str = "") -> dict[str, object]:
    """Every value in JSON data, by its path; names in camel case, for Google takes both."""
    if isinstance(value, dict):
        return {
            place: found
            for name, inner in value.items()
            for place, found in flat(inner, f"{path}.{camel(name)}".removeprefix(".")).items()
        }
    if isinstance(value, list):
        return {place: found for n, inner in enumerate(value) for place, found in flat(inner, f"{path}[{n}]").items()}
    return {path: value}


def camel(name: str) -> str:
    """A name in camel case."""
    return re.sub(r"(?<=[a-z])_([a-z])", lambda letter: letter[1].upper(), name)


def differences(theirs: object, ours: object) -> dict[str, tuple[object, object]]:
    """Where two bodies differ: {path: (theirs, ours)}, None for nothing."""
    left, right = flat(theirs), flat(ours)
    return {path: (left.get(path), right.get(path)) for path in left | right if left.get(path) != right.get(path)}
