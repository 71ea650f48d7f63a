"""The command line as the tests use it: in this process, or in one of its own, and a simulator beside it on a thread."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.cli import _run
from unsaf_async.simulate.server import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from unsaf_async.simulate.settings import Simulation


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What it wrote to stderr besides the line that says which model is called where."""
        return re.sub(r"^unsaf-async: [^:\s]+ at https?://.*\n", "", self.err, count=1)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    """`unsaf-async` with `arguments`, in this process."""
    capsys.readouterr()
    code = _run(list(arguments))
    captured = capsys.readouterr()
    return Ended(code, captured.out, captured.err)


def process(*arguments: str, cwd: Path | None = None, timeout_s: float = 60.0, **environment: str) -> Ended:
    """`unsaf-async` with `arguments`, in a process of its own, without a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "unsaf_async", *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **environment},
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def example_of(page: str) -> list[list[str]]:
    """The arguments of each `unsaf-async` in a page's first fenced block."""
    text = (Path(__file__).parents[1] / "docs" / page).read_text("utf-8")
    block = re.search(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block
    commands = [shlex.split(line) for line in block[1].replace("\\\n", " ").splitlines()]
    assert all(words[0] == "unsaf-async" for words in commands), "there is more to it"
    return [words[1:] for words in commands]


@contextmanager
def serving(simulation: Simulation | None = None) -> Iterator[Simulator]:
    """A simulator that listens on a thread of its own, beside commands that run event loops of theirs."""
    started: list[Simulator] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def serve() -> None:
        async with Simulator(simulation) as simulator:
            over = asyncio.Event()
            started.append(simulator)
            loops.append((asyncio.get_running_loop(), over))
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="simulator")
    thread.start()
    if not ready.wait(10):
        raise TimeoutError("the simulator did not start")
    try:
        yield started[0]
    finally:
        loop, over = loops[0]
        loop.call_soon_threadsafe(over.set)
        thread.join()
