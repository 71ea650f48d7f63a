"""An image that a server fails at is a failed image; a server that cannot be reached is told at once."""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING, Any

from between import Body, between, run_at
from commandline import process
from doubles import Listener
from driving import draw_images
from PIL import Image

from unsaf_async.calls import rate_limit
from unsaf_async.calls.ledger import read_account
from unsaf_async.events import CallRetried
from unsaf_async.runs.saved import SavedRun
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

POISON = 9


def poisonous(body: Body) -> tuple[int, Any] | None:
    """500 for the first images, by their colour."""
    from io import BytesIO

    for part in body["messages"][0]["content"]:
        if isinstance(part, dict) and part["type"] == "image_url":
            data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
            red = Image.open(BytesIO(data)).convert("RGB").getpixel((5, 5))
            if isinstance(red, tuple) and red[0] < POISON:
                return 500, {"error": {"message": "image too small", "type": "server_error"}}
    return None


async def test_images_that_a_server_fails_at_fail_alone_and_resuming_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "BREAKER_S", 0.0)  # time is the least of what tells the two apart
    async with between(Simulation(), poisonous) as server:
        ended = await run_at(server.base, tmp_path, images=30, concurrency=4, profile={"attempts": 3})
        assert ended.why_stopped is None
        assert ended.unfinished is not None
        assert "images failed" in ended.unfinished
        refused = len(server.refused)
        assert refused == 9 * 2 * 2 * 3  # two lists of each image, each asked for twice, three attempts
        again = await run_at(server.base, tmp_path, images=30, concurrency=4, profile={"attempts": 3})
        assert again.why_stopped is None
        assert again.unfinished == ended.unfinished
        assert len(server.refused) == 2 * refused


async def test_a_server_that_was_never_there_ends_the_run_at_once_with_its_address(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    heard = Listener()
    ended = await run_at(f"http://127.0.0.1:{port}/v1", tmp_path, images=20, announce=heard)
    assert ended.mistake == "unreachable"
    assert ended.why_stopped == f"vllm: 127.0.0.1:{port}: no connection (connection refused)"
    assert heard.of(CallRetried) == []
    assert read_account(ended.folder.files.ledger).spent_nano_usd == 0
    signals = SavedRun(ended.folder.path).findings.signals
    assert {signal.why_undefined for signal in signals.values()} == {"no response came"}


def test_the_line_about_a_server_that_is_not_there_says_what_to_check(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    image = str(draw_images(tmp_path / "images", 1)[0])
    ended = process(
        "run", "--provider", "vllm", "--model", "m", "--api-base", base, "--images", image, "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert ended.code == 2
    assert "no connection (connection refused); check the server, --api-base" in ended.err.strip().splitlines()[-1]
