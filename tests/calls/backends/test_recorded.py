"""Answers and errors that were really recorded, where the folder with them is at hand: each is read as its vendor documents it.

The bodies are not part of this project. `$UNSAF_RECORDED` names their folder; without it, the one beside a checkout.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from doubles import request
from serving import serve_bytes

from unsaf_async.calls.backends.http import HttpBackend
from unsaf_async.calls.backends.openai_wire import OpenAIWire
from unsaf_async.errors import CallError, Fatal, RateLimited, Transient

if TYPE_CHECKING:
    from unsaf_async.calls.backends.wire import Wire

FOLDER = Path(os.environ.get("UNSAF_RECORDED", Path(__file__).parents[4] / "shared/data/recorded"))

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the recorded answers are not at hand")


def wire_of(kind: str) -> Wire:
    if kind == "openai":
        return OpenAIWire()
    from unsaf_async.calls.backends.anthropic_wire import AnthropicWire
    from unsaf_async.calls.backends.gemini_wire import GeminiWire

    return {"anthropic": AnthropicWire, "gemini": GeminiWire}[kind]()


def rows(name: str) -> list[Any]:
    file = FOLDER / name
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.is_file() else []


async def meaning(row: dict[str, Any]) -> tuple[str, CallError | None]:
    """What the program makes of a row, over a real socket: an outcome, or an error's class with its kind."""
    headers = {k: v for k, v in row["headers"].items() if not k.lower().startswith(("content-", "transfer-"))}
    body = row["body"] if isinstance(row["body"], str) else json.dumps(row["body"])
    async with serve_bytes(body.encode(), row["status"], {"content-type": "application/json", **headers}) as url:
        backend = HttpBackend(wire_of(row["kind"]), url)
        try:
            return (await backend.complete(request())).outcome, None
        except CallError as error:
            name = type(error).__name__
            return f"{name}:{error.kind}" if isinstance(error, Fatal) else name, error
        finally:
            await backend.aclose()


@pytest.mark.parametrize("row", rows("errors.jsonl"), ids=lambda row: row["id"])
async def test_an_error_means_what_its_source_says(row: dict[str, Any]) -> None:
    taken, error = await meaning(row)
    assert taken in row["expect"]
    if "patience" in row:
        assert isinstance(error, RateLimited | Transient)
        assert error.retry_after_s == pytest.approx(row["patience"])


@pytest.mark.parametrize(
    "row", [row for row in rows("answers.jsonl") if row["status"] != 200], ids=lambda row: row["id"]
)
async def test_a_recorded_error_is_no_reply_and_one_line(row: dict[str, Any]) -> None:
    taken, error = await meaning(row)
    assert error is not None or taken == "blocked"
    assert "\n" not in str(error)
    assert taken != "Transient", "a 4xx of the vendor is no fault that passes"
