"""A vLLM server as a child process: planned, started, waited for, stopped with all that it started.

    plan ──> claimed port ──> process group ──> /health ──> use ──> SIGTERM, a grace period, SIGKILL

vLLM is only ever called by its command line; nothing of it is imported.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp
import orjson

from unsaf_async.errors import UserError
from unsaf_async.providers.keys import secrets_of_environment
from unsaf_async.providers.redactor import Redactor
from unsaf_async.serve.log import Log
from unsaf_async.serve.plan import GPUS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO, Self

    from unsaf_async.serve.plan import ServePlan

START_TIMEOUT_S = 3600.0
"""Of the wait for /health; weights may have to be fetched first."""
GRACE_S = 20.0
"""Between SIGTERM and SIGKILL."""
START_GRACE_S = 3.0
"""The same before it serves: vLLM hears no SIGTERM while it loads a model, and has nothing to lose."""
LINGER_S = 3.0
"""How long processes that vLLM started may outlive it."""
PROBE_TIMEOUT_S = 5.0
"""Of one look at /health."""


# vLLM is to end with this process even if that is killed: PR_SET_PDEATHSIG, where there is one (Linux), stays with a process
# that execs. Not by preexec_fn, which is unsafe with threads.
_TIED = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None)
if hasattr(libc, "prctl"):
    libc.prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("whoever started this is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class _Process(asyncio.SubprocessProtocol):
    """Takes the process's output and its end from the event loop: no task reads or waits.

    exited: it has ended. closed: nobody who inherited its output has it open any more.
    """

    def __init__(self, log: Log) -> None:
        loop = asyncio.get_running_loop()
        self._log = log
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002
        self._log.feed(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        self._log.end()
        if not self.closed.done():
            self.closed.set_result(None)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)


class Server:
    """`vllm serve` while the context lasts: it serves when the context is entered, and nothing of it is left afterwards.

        with claimed("127.0.0.1", 0) as port:
            async with Server(plan("tiny-s", port=port), Path("vllm.log")) as server:
                server.plan.url

    Cancelling while it is being stopped kills it at once.

    Args:
        served: What it serves; its port should be `claimed`.
        log: The file that its output is added to.
        api_key: What it asks of its clients. None: nothing.
        start_timeout_s: Seconds until it has to serve.
        grace_s: Seconds between SIGTERM and SIGKILL.

    Raises:
        UserError: On entering: it ends before it serves, does not serve in time, or another server answers in its place.
    """

    def __init__(
        self,
        served: ServePlan,
        log: Path,
        *,
        api_key: str | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self.plan = served
        self.log_file = log
        self._api_key = api_key
        self.waiting: Callable[[], None] = lambda: None
        """Called again and again until it serves."""
        self.ending: Callable[[], None] = lambda: None
        """Called if it ends by itself."""
        self.serves = False
        """Whether it has served; it stays so if it ends by itself."""
        self._start_timeout_s = start_timeout_s
        self._grace_s = grace_s
        self._began_s = time.monotonic()
        self._log: Log | None = None
        self._file: BinaryIO | None = None
        self._process: _Process | None = None
        self._transport: asyncio.SubprocessTransport | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began_s

    @property
    def activity(self) -> str:
        """The last line of its log that says what it is doing; "" before there is one."""
        return self._log.activity if self._log else ""

    @property
    def why_ended(self) -> str | None:
        """What its log says last, if the process has ended by itself; None while it runs."""
        if self._process is None or not self._process.exited.done():
            return None
        said, code = self._log.error if self._log else "", self._code
        if code is not None and code < 0:  # the system's, where memory is short
            return f"killed ({signal.Signals(-code).name}); its last words: {said or 'none'}"
        return said or f"exit code {code}"

    @property
    def _code(self) -> int | None:
        return self._transport.get_returncode() if self._transport else None

    async def ended(self) -> None:
        """Return when the process has ended, for whatever reason."""
        assert self._process is not None
        await asyncio.wait([self._process.exited])

    async def __aenter__(self) -> Self:
        try:
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.log_file.open("ab", buffering=0)
        except OSError as error:
            raise UserError(f"{self.log_file}: cannot be written ({error.strerror}); give another file") from None
        try:
            await self._start()
            await self._until_it_serves()
        except BaseException:
            await self._stop(min(self._grace_s, START_GRACE_S))
            raise
        self.serves = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop(self._grace_s)

    async def _start(self) -> None:
        assert self._file is not None
        environment = _environment(self.plan, self._api_key)
        log = self._log = Log(self._file, Redactor(secrets_of_environment(environment)))
        log.write(f"$ {shlex.join(self.plan.command)}")
        self._began_s = time.monotonic()
        try:
            self._transport, self._process = await asyncio.get_running_loop().subprocess_exec(
                lambda: _Process(log),
                *(sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *self.plan.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                # A group of its own: a terminal's Ctrl-C is ours to pass on, and the group is what is stopped.
                start_new_session=True,
                env=environment,
            )
        except OSError as error:
            raise UserError(f"{self.plan.executable}: cannot be started ({error.strerror}); check it") from None
        self._process.exited.add_done_callback(lambda _: self.ending())

    async def _until_it_serves(self) -> None:
        process = self._process
        assert process is not None
        wait_s = 0.1
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)) as session:
            while not await _is_healthy(session, self.plan.root):
                self.waiting()
                await asyncio.wait([process.exited], timeout=wait_s)
                if process.exited.done():
                    await asyncio.wait([process.closed], timeout=LINGER_S)  # its last words may still be on their way
                    raise UserError(
                        f"{self.plan.model}: vLLM ended before it served it (exit code {self._code}): "
                        f"{self.why_ended}; its log: {self.log_file}"
                    )
                if self.elapsed_s > self._start_timeout_s:
                    raise UserError(
                        f"{self.plan.model}: vLLM does not serve it after {self._start_timeout_s:.0f} s (its last words: "
                        f"{self.activity}); its log: {self.log_file}"
                    )
                wait_s = min(1.5 * wait_s, 1.0)
            names = await _names(session, self.plan.url, self._api_key)
        if not set(self.plan.names) <= set(names):
            served = Redactor([self._api_key])(", ".join(names)) or "nothing"
            raise UserError(
                f"{self.plan.url}: answers, but serves {served} instead of {', '.join(self.plan.names)}; "
                "choose another port"
            )

    async def _stop(self, grace_s: float) -> None:
        """Ends the process and whatever is left of its group. Cancelled, it does so without grace."""
        process, transport = self._process, self._transport
        self.ending = lambda: None
        try:
            if process is not None and transport is not None:
                try:
                    if not process.exited.done():
                        self._signal(signal.SIGTERM)
                        await asyncio.wait([process.exited], timeout=grace_s)
                    # What it started ends a little later; the last of them closes the pipe.
                    if process.exited.done():
                        await asyncio.wait([process.closed], timeout=LINGER_S)
                finally:
                    self._signal(signal.SIGKILL)
                await asyncio.wait([process.exited], timeout=LINGER_S)
        finally:
            if transport is not None:
                transport.close()
            if self._file is not None:
                self._file.close()

    def _signal(self, number: signal.Signals) -> None:
        assert self._transport is not None
        # Gone, or (macOS) all that is left are the dead.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), number)


async def _is_healthy(session: aiohttp.ClientSession, root: str) -> bool:
    try:
        async with session.get(f"{root}/health") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def _names(session: aiohttp.ClientSession, url: str, api_key: str | None) -> list[str]:
    """What the server at `url` says that it serves; [] if it does not say."""
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        async with session.get(f"{url}/models", headers=headers) as answer:
            return [str(model["id"]) for model in orjson.loads(await answer.read())["data"]]
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
        return []


def _environment(plan: ServePlan, api_key: str | None) -> dict[str, str]:
    """This process's environment, with the variables that vLLM reads."""
    environment = {name: value for name, value in os.environ.items() if name != "VLLM_API_KEY"}
    # As in an activated environment: compilers that vLLM calls (ninja) lie in its folder.
    environment["PATH"] = f"{plan.executable.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    environment.setdefault("VLLM_NO_USAGE_STATS", "1")  # nothing of a measurement goes to anybody
    environment.setdefault("PYTHONUNBUFFERED", "1")
    if plan.gpus:
        environment[GPUS] = ",".join(plan.gpus)
    if api_key:
        environment["VLLM_API_KEY"] = api_key  # not on the command line, which everybody on the machine can read
    return environment
