"""`unsaf-async serve` and `run --spawn` with a real vLLM: adapters by name, whole runs, and nothing left behind.

A random adapter is always served. Where the libraries to train with are installed (the extra `distill`, torch and trl), one that
the program has just trained is served, too.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from commandline import process
from real_vllm.adapter import write_adapter
from real_vllm.questions import request_about
from real_vllm.server import ENVIRONMENT, VENV

from unsaf_async.calls.backends.http import HttpBackend
from unsaf_async.calls.backends.openai_wire import OpenAIWire
from unsaf_async.calls.backends.tiny import TinyBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_vllm.questions import Asked

FLAGS = ("--dtype=float32", "--enforce-eager", "--kv-cache-memory-bytes=67108864")
"""For a CPU; the first so that log-probabilities mean the same everywhere."""
ONE_PROCESS = "--distributed-executor-backend=uni"
"""Starts faster; an environment variable belongs to it."""
START_TIMEOUT_S = "600"
STEPS = 60
"""Of the training: enough to change what a tiny model says, and few seconds."""


def environment(*, engine_apart: bool = False) -> dict[str, str]:
    return {
        **os.environ,
        **ENVIRONMENT,
        "UNSAF_VLLM": str(VENV / "bin/vllm"),
        "VLLM_ENABLE_V1_MULTIPROCESSING": str(int(engine_apart)),
    }


@pytest.fixture(scope="session")
def random_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random") / "adapter"
    write_adapter(folder)
    return folder


@pytest.fixture(scope="session")
def trained_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """An adapter for tiny-s, trained on what tiny-m got right; None where the libraries to train with are missing."""
    wanted = ("torch", "trl", "peft", "accelerate", "datasets", "imagehash", "pyarrow")
    if any(importlib.util.find_spec(name) is None for name in wanted):
        return None
    home = tmp_path_factory.mktemp("trained")
    told = {**os.environ, "OMP_NUM_THREADS": "1"}
    for words in (
        "world make --scenes 40 --split train --out scenes",
        "run --provider tiny-m --images scenes/manifest.jsonl --questions 4 --no-cache --no-report -q --out teacher",
        "export teacher --format trl --splits 80/20/0 --out data",
    ):
        command = [sys.executable, "-m", "unsaf_async", *words.split()]
        subprocess.run(command, cwd=home, env=told, check=True, stdout=subprocess.DEVNULL)
    script = (
        "from pathlib import Path\n"
        "from unsaf_async.distill.train.recipe import Recipe\n"
        "from unsaf_async.distill.train.train import train\n"
        f"recipe = Recipe(Path('data'), 'tiny-s', Path('out'), max_steps={STEPS}, learning_rate=3e-3, device='cpu', threads=1)\n"
        "print(train(recipe).adapter)\n"
    )
    # In a process of its own: torch's threads and warnings are no business of these tests.
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=home, env=told, check=True, stdout=subprocess.PIPE, text=True
    )
    return home / done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def adapters(random_adapter: Path, trained_adapter: Path | None) -> dict[str, Path]:
    """Folders by name."""
    return {"random": random_adapter} | ({"trained": trained_adapter} if trained_adapter else {})


@dataclass(frozen=True)
class Serving:
    """A running `unsaf-async serve`. shown: what it said; group: vLLM's processes."""

    process: subprocess.Popen[str]
    url: str
    shown: str
    group: int


@contextmanager
def serving(folder: Path, adapters: dict[str, Path], *flags: str, engine_apart: bool = False) -> Iterator[Serving]:
    """`unsaf-async serve tiny-s` with `adapters`, on a free port. On leaving it must end by Ctrl-C, and nothing may be left."""
    loras = [word for name, place in adapters.items() for word in ("--lora", f"{name}={place}")]
    command = [sys.executable, "-m", "unsaf_async", "serve", "tiny-s", *loras, "--port", "0", "--log", "vllm.log"]
    running = subprocess.Popen(
        [*command, "--start-timeout", START_TIMEOUT_S, "-q", "--", *FLAGS, *flags],
        cwd=folder,
        env=environment(engine_apart=engine_apart),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    group = 0
    try:
        lines = [running.stdout.readline() for _ in range(3 + len(adapters))]
        assert " served at http://127.0.0.1:" in lines[0], (folder / "vllm.log").read_text()[-4000:]
        (group,) = children(running.pid)
        yield Serving(running, lines[0].split(" served at ")[1].split()[0], "".join(lines), group)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=60)
        assert (running.returncode, out) == (0, "ended\n")
        assert not members(group)
    finally:
        if group:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        running.kill()
        running.communicate()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def members(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of = file.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state not in "ZX":
                found.append(int(file.parent.name))
    return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, adapters: dict[str, Path]) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("served"), adapters, ONE_PROCESS) as server:
        yield server


def journal(folder: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in (folder / "journal.jsonl").read_bytes().splitlines()]


async def test_base_and_adapters_answer_by_name_and_are_not_equally_sure_of_the_first_token(
    served: Serving, adapters: dict[str, Path], asked: list[Asked]
) -> None:
    backend = HttpBackend(OpenAIWire(), served.url)
    names = [*adapters, "tiny-s"]
    try:
        assert set(await backend.models()) == set(names)
        first: dict[str, list[float]] = {}
        for name in names:
            replies = await asyncio.gather(
                *(backend.complete(request_about(one.shown, one.text, model=name)) for one in asked[:20])
            )
            assert {reply.outcome for reply in replies} <= {"ok", "truncated"}
            first[name] = [reply.logprobs[0] for reply in replies if reply.logprobs]
            assert len(first[name]) == 20
    finally:
        await backend.aclose()
    for name in adapters:
        apart = [abs(one - other) for one, other in zip(first[name], first["tiny-s"], strict=True)]
        # The same weights differ by less than 0.001 from one implementation to another (test_replies.py).
        assert max(apart) > 0.01, name


async def test_a_trained_adapter_says_what_the_merged_model_says_in_this_process(
    served: Serving, trained_adapter: Path | None, asked: list[Asked]
) -> None:
    if trained_adapter is None:
        pytest.skip("the libraries to train with are not installed")
    backend, merged = HttpBackend(OpenAIWire(), served.url), TinyBackend(trained_adapter.parent / "merged")
    try:
        for one in asked[:20]:
            there = await backend.complete(request_about(one.shown, one.text, model="trained"))
            here = await merged.complete(request_about(one.shown, one.text))
            assert there.text == here.text
            assert there.logprobs == pytest.approx(here.logprobs, abs=0.003)
    finally:
        await backend.aclose()
        await merged.aclose()


def test_the_command_that_is_shown_measures_each_of_them(
    served: Serving, adapters: dict[str, Path], profile: str, manifest: Path, tmp_path: Path
) -> None:
    """With a profile for a context as small as a tiny model's."""
    shown = [shlex.split(line.partition("measure it")[2]) for line in served.shown.splitlines() if "measure it" in line]
    assert [words[words.index("--model") + 1] for words in shown] == [*adapters, "tiny-s"]
    for words in shown:
        name = words[words.index("--model") + 1]
        command = [profile if word == "vllm" else word for word in words[1 : words.index("--images")]]
        ended = process(
            *command, "--images", str(manifest), "--questions", "4", "--out", name, "--json", "-q", timeout_s=300
        )
        if name == "random":  # it writes no list of questions: the run ends, and says so
            assert ended.code in (0, 3), ended.err
            continue
        assert ended.code == 0, ended.err
        assert orjson.loads(ended.out)["unf1"] is not None
        assert journal(tmp_path / name)


def test_a_run_spawns_measures_and_stops_a_server(
    adapters: dict[str, Path], profile: str, manifest: Path, tmp_path: Path
) -> None:
    name, folder = list(adapters.items())[-1]
    flags = shlex.join([*FLAGS, ONE_PROCESS])
    options = ("run", "--provider", profile, "--spawn", "tiny-s", "--spawn-lora", f"{name}={folder}")
    options += ("--spawn-flags", flags, "--images", str(manifest), "--questions", "4", "--out", "out")
    ended = process(*options, timeout_s=600, **environment())
    log = (tmp_path / "out/vllm.log").read_text()
    assert ended.code == 0 if name == "trained" else ended.code in (0, 3), ended.err + log[-2000:]
    if (
        name == "trained"
    ):  # a random one may write no list of questions: then nothing is measured, and no table is shown
        assert ended.out.startswith("local (trained) (local address), judge: rules\n")
        assert "UnF1 0." in ended.out
        assert "Images: 12 of 12 done" in ended.out
    assert "\nRun folder: out\n" in ended.out
    assert "Application shutdown complete." in log
    of = [file for file in Path("/proc").glob("[0-9]*/environ") if _mentions(file, str(tmp_path).encode())]
    assert not of, "something of the spawned server is left"


def _mentions(file: Path, text: bytes) -> bool:
    try:
        return int(file.parent.name) != os.getpid() and text in file.parent.joinpath("cmdline").read_bytes()
    except OSError:
        return False


def test_an_engine_that_hangs_is_ended_too(tmp_path: Path, random_adapter: Path) -> None:
    with serving(tmp_path, {"random": random_adapter}, engine_apart=True) as server:
        apart = [pid for pid in members(server.group) if "VLLM::" in Path(f"/proc/{pid}/comm").read_text()]
        assert apart, "the engine is no process of its own: the test shows nothing"
        for pid in apart:
            os.kill(pid, signal.SIGSTOP)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 40


def test_what_vllm_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    command = ("serve", "tiny-s", "--port", "0", "--log", "a.log", "--max-model-len", "99999", "-q", "--", *FLAGS)
    ended = process(*command, timeout_s=300, **environment())
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "User-specified max_model_len (99999) is greater than the derived max_model_len" in ended.err
    assert ended.err.endswith("; its log: a.log\n")
    assert "Traceback" in (tmp_path / "a.log").read_text()
