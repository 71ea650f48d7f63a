"""Ctrl-Z, a closed terminal or pipe, a full disk behind stdout, too little memory or open files: no work is lost by them."""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
import sys
from errno import ENOSPC
from typing import TYPE_CHECKING

import orjson
import pytest
from driving import draw_images
from PIL import Image

from unsaf_async.calls.ledger import read_account
from unsaf_async.cli import _explained
from unsaf_async.cli.descriptors import open_more
from unsaf_async.runs.saved import SavedRun
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROFILE = """
backend = "openai"
model = "simulated"
timeout_s = 3
deadline_s = 60
retry_wait_s = 0.05
[price]
input_usd_per_mtok = 2.5
output_usd_per_mtok = 10
[limits]
concurrency = 4
"""


def desk(folder: Path, images: int) -> None:
    """A working directory with a provider and images."""
    (folder / "providers").mkdir()
    (folder / "providers" / "sim.toml").write_text(PROFILE, "utf-8")
    draw_images(folder / "images", images)


async def start(folder: Path, *arguments: str, nohup: bool = False) -> asyncio.subprocess.Process:
    """A command in a process of its own."""
    before: Callable[[], object] | None = (lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) if nohup else None
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "unsaf_async", *arguments,
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, preexec_fn=before,
    )  # fmt: skip


def a_run(simulator: Simulator, *more: str) -> list[str]:
    """The arguments of a run at a simulator."""
    given = ["run", "--provider", "sim", "--api-base", simulator.openai_base, "--images", "images", "--questions", "2"]
    return [*given, "--judge", "rules", "--out", "run", "--no-cache", "--max-cost", "100", *more]


async def until_asked(simulator: Simulator, requests: int, process: asyncio.subprocess.Process) -> None:
    """Until the server has seen so many requests."""
    async with asyncio.timeout(60):
        while simulator.ledger.requests < requests:
            assert process.returncode is None
            await asyncio.sleep(0.01)


async def test_a_ctrl_z_longer_than_a_timeout_loses_no_reply_that_has_come(tmp_path: Path) -> None:
    desk(tmp_path, 2)
    async with Simulator(Simulation(latency=1.0)) as simulator:
        process = await start(tmp_path, *a_run(simulator))
        await until_asked(simulator, 3, process)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(5)  # the replies of all calls under way come, and their time is over
        assert simulator.ledger.in_flight == 0
        process.send_signal(signal.SIGCONT)
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    account = read_account(tmp_path / "run" / "ledger.jsonl")
    assert (account.unknown, account.retried) == (0, 0)
    assert sum(account.made.values()) == simulator.ledger.requests


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_run_whose_terminal_is_closed_finishes_its_calls_keeps_them_and_goes_on_later(
    number: signal.Signals, tmp_path: Path
) -> None:
    desk(tmp_path, 6)
    async with Simulator(Simulation(latency=0.3)) as simulator:
        process = await start(tmp_path, *a_run(simulator))
        await until_asked(simulator, 5, process)
        for stream in (process.stdout, process.stderr):  # the terminal is gone, and nobody reads what is written
            assert stream is not None
            stream._transport.close()  # type: ignore[attr-defined]
        process.send_signal(number)
        assert await process.wait() == 130
        account = read_account(tmp_path / "run" / "ledger.jsonl")
        assert (account.unknown, account.retried) == (0, 0)
        assert sum(account.made.values()) == simulator.ledger.requests
        process = await start(tmp_path, "resume", "run")
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        account = read_account(tmp_path / "run" / "ledger.jsonl")
        assert account.unknown == 0
        assert sum(account.made.values()) == simulator.ledger.requests
    assert len(SavedRun(tmp_path / "run").examinations) == 6


async def test_under_nohup_a_closed_terminal_stops_nothing(tmp_path: Path) -> None:
    desk(tmp_path, 2)
    async with Simulator(Simulation(latency=0.2)) as simulator:
        process = await start(tmp_path, *a_run(simulator), nohup=True)
        await until_asked(simulator, 2, process)
        process.send_signal(signal.SIGHUP)
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


BROKEN = {
    "a full disk behind both": "{} >/dev/full 2>/dev/full",
    "both closed": "{} >&- 2>&-",
    "a full disk behind stderr": "{} 2>/dev/full",
    "pipes that nobody reads": "({} 2>&1; echo $? >code) | true; sleep 0.1; exit $(cat code)",
}


def in_shell(line: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """A command whose streams a shell has broken."""
    command = " ".join([sys.executable, "-m", "unsaf_async", *arguments])
    return subprocess.run(
        ["sh", "-c", line.format(command)], cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )


@pytest.mark.parametrize(
    ("how", "broken", "code"),
    [
        ("a full disk behind both", False, 1),
        ("both closed", True, 3),
        ("a full disk behind stderr", True, 3),
        ("pipes that nobody reads", False, 0),
    ],
)
def test_streams_that_nobody_can_write_to_change_no_result_and_a_full_stdout_alone_the_exit_code(
    how: str, broken: bool, code: int, tmp_path: Path
) -> None:
    draw_images(tmp_path / "images", 3)
    if broken:
        (tmp_path / "images" / "broken.png").write_bytes(b"no image")
    given = ["--provider", "scripted", "--images", "images", "--questions", "2", "--no-cache", "--out", "run"]
    assert in_shell(BROKEN[how], tmp_path, "run", *given).returncode == code
    assert orjson.loads((tmp_path / "run" / "score.json").read_bytes())["images"]["done"] == 3
    assert (tmp_path / "run" / "report.html").exists()
    assert in_shell(BROKEN[how], tmp_path, "show", "nothing").returncode == 2


def test_a_full_disk_behind_the_output_is_one_line_and_the_exit_code_of_other_tools(tmp_path: Path) -> None:
    other = subprocess.run(["sh", "-c", "echo text | cat >/dev/full"], capture_output=True, check=False)
    for arguments in (["providers"], ["providers", "--json"], ["--help"]):
        ended = in_shell("{} >/dev/full", tmp_path, *arguments)
        assert ended.returncode == other.returncode == 1
        *_, line = ended.stderr.decode().splitlines()
        assert line.startswith("unsaf-async: stdout cannot be written (No space left on device); ")
    assert in_shell("({}; echo $? >code) | true; sleep 0.1; exit $(cat code)", tmp_path, "providers").returncode == 0


def test_a_full_disk_behind_a_file_that_is_written_is_no_mistake_of_the_users(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = OSError(ENOSPC, "No space left on device", "runs.csv")
    assert _explained(error) == 1
    said = "runs.csv: No space left on device; check the path, its permissions and the space left"
    assert capsys.readouterr().err.splitlines()[-1] == f"unsaf-async: {said}"


@pytest.mark.parametrize("megabytes", [250, 400])
def test_too_little_memory_is_one_line(megabytes: int, tmp_path: Path) -> None:
    """Where the limit bites depends on the machine: while libraries are loaded, a thread is started or an image is read."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (7900, 7900)).save(tmp_path / "images" / "large.png")
    limit = megabytes * 2**20
    ended = subprocess.run(
        [sys.executable, "-m", "unsaf_async", "run", "--provider", "scripted", "--images", "images", "--out", "run", "--quiet"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert ended.returncode in (0, 2, 3), (ended.returncode, ended.stderr)
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 0 or ended.stderr.count("\n") == 1


@pytest.mark.parametrize("files", [14, 40])
async def test_too_few_open_files_are_one_line_that_says_how_to_allow_more(files: int, tmp_path: Path) -> None:
    """14 do not do for the run's own files; 40 do, and not for 64 calls in flight."""
    desk(tmp_path, 40)
    async with Simulator(Simulation(latency=1.0)) as simulator:
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "unsaf_async", "run", "--provider", "sim", "--api-base", f"{simulator.url}/v1"),
            *("--images", "images", "--out", "run", "--concurrency", "64", "--quiet", "--yes"),
            cwd=tmp_path,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
        )
        _, said = await run.communicate()
    *_, last = lines = said.decode().splitlines()
    assert run.returncode in (2, 3)
    assert "allow more (`ulimit -n 4096`), or give a smaller --concurrency" in last
    assert len(lines) <= 2, "where its calls go, and why it ended"


def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
        open_more()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
