"""A vLLM server as a child process: planned, started, waited for, stopped with all that it started.

    plan ──> claimed port ──> process group ──> /health ──> use ──> SIGTERM, a grace period, SIGKILL

Its output passes through here on its way to the log's file: secrets are blotted out, and the last telling line is kept. vLLM is
only ever called by its command line; nothing of it is imported.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import orjson
from filelock import FileLock, Timeout

from unsaf_async.errors import UserError
from unsaf_async.keys import redactor
from unsaf_async.tiny.folders import shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO, Self

PORT = 8000
"""vLLM's own default, and that of the shipped profile `vllm`."""
VARIABLE = "UNSAF_VLLM"
"""The environment variable with vLLM's executable, where it is in an environment of its own."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for --max-lora-rank."""
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

OURS = {
    "--api-key": "put the key into the environment variable VLLM_API_KEY",
    "--host": "give --host before the --",
    "--lora-modules": "name each adapter by an option of its own",
    "--model": "give it as MODEL",
    "--port": "give --port before the --",
    "--served-model-name": "give --name before the --",
    "--ssl-certfile": "HTTPS is not for a server on this machine",
    "--ssl-keyfile": "HTTPS is not for a server on this machine",
    "--uds": "a run needs a port",
}
"""vLLM's flags that are set here, or would break what is built on the server; and what to do instead."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
"""How the environment variables end that hold secrets."""

# vLLM is to end with this process even if that is killed: PR_SET_PDEATHSIG, where there is one (Linux), stays with a process
# that execs. Not by preexec_fn, which is unsafe beside threads.
_TIED = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None)
if hasattr(libc, "prctl"):
    libc.prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("whoever started this is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter in PEFT's format. name: by which it is asked for. rank: the largest of any of its modules."""

    name: str
    folder: Path
    rank: int


@dataclass(frozen=True)
class Plan:
    """What is served, and how.

    executable: vLLM's. model: a folder's absolute path or a hub id. name: by which the model is asked for. flags: further ones of
    `vllm serve`; they come last, so that they hold against those that are set here.
    """

    executable: Path
    model: str
    name: str
    adapters: tuple[Adapter, ...] = ()
    host: str = "127.0.0.1"
    port: int = PORT
    max_model_len: int | None = None
    gpu_memory: float | None = None
    """Share of a GPU's memory, in (0, 1]."""
    flags: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What can be asked for: the adapters in their order, then the model."""
        return (*(adapter.name for adapter in self.adapters), self.name)

    @property
    def root(self) -> str:
        """`http://HOST:PORT`, as this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL of its API, for --api-base."""
        return f"{self.root}/v1"

    @property
    def command(self) -> list[str]:
        """The command line. No secret is in it."""
        words = [str(self.executable), "serve", self.model, "--served-model-name", self.name]
        words += ["--host", self.host, "--port", str(self.port)]
        # No call has two images; and memory that is planned for videos is missing elsewhere.
        words += ["--limit-mm-per-prompt", '{"image": 1, "video": 0, "audio": 0}']
        words += ["--disable-uvicorn-access-log"]  # a line for each of thousands of calls
        if self.max_model_len is not None:
            words += ["--max-model-len", str(self.max_model_len)]
        if self.gpu_memory is not None:
            words += ["--gpu-memory-utilization", f"{self.gpu_memory:g}"]
        if self.adapters:
            rank = max(adapter.rank for adapter in self.adapters)
            words += ["--enable-lora", "--max-lora-rank", str(next(allowed for allowed in RANKS if allowed >= rank))]
            # As JSON: in NAME=PATH a path with a comma or a second "=" is another thing.
            modules = [{"name": adapter.name, "path": str(adapter.folder)} for adapter in self.adapters]
            words += ["--lora-modules", *map(json.dumps, modules)]
        return [*words, *self.flags]


def plan(
    model: str,
    *,
    executable: Path | None = None,
    loras: Sequence[str] = (),
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = PORT,
    max_model_len: int | None = None,
    gpu_memory: float | None = None,
    flags: Sequence[str] = (),
    options: tuple[str, str] = ("MODEL", "--lora"),
) -> Plan:
    """What `model` and the options come to.

    model: a model's folder, a shipped tiny model's name, or a hub id. executable: None looks for it (`find_vllm`). loras:
    "NAME=PATH" each. name: None takes the folder's, the tiny model's, or the hub id. options: what the user calls `model` and
    `loras`. Raises UserError for whatever can be known to be wrong before anything is started.
    """
    found, own_name = _model(model, options[0])
    adapters = tuple(_adapter(text, options[1]) for text in loras)
    made = Plan(
        executable or Path("vllm"),
        found,
        own_name if name is None else name,
        adapters,
        host,
        port,
        max_model_len,
        gpu_memory,
        tuple(flags),
    )
    for each in made.names:
        if not each.strip():
            raise UserError(f"{options[0]} {model}: its name is empty; give one")
        if made.names.count(each) > 1:
            raise UserError(f"{options[1]} {each}: the name is given twice; give model and adapters one each")
    if gpu_memory is not None and not 0 < gpu_memory <= 1:
        raise UserError(f"--gpu-memory is {gpu_memory:g}; give a share of the GPU's memory above 0, up to 1")
    if max_model_len is not None and max_model_len < 1:
        raise UserError(f"--max-model-len is {max_model_len}; give a number of tokens above 0")
    for flag in flags:
        name_of_it = flag.partition("=")[0].replace("_", "-")
        if name_of_it in OURS:
            raise UserError(f"{name_of_it}: cannot be passed on to vLLM; {OURS[name_of_it]}")
    return made if executable else replace(made, executable=find_vllm())


def find_vllm(given: str | None = None) -> Path:
    """vLLM's executable: `given`, else $UNSAF_VLLM, else beside this Python, else on PATH. Raises UserError if there is none."""
    for where, text in (("--vllm", given), (VARIABLE, os.environ.get(VARIABLE))):
        if text:
            found = shutil.which(Path(text).expanduser())
            if found is None:
                raise UserError(f"{where} {text}: is no executable file; give the path of `vllm`")
            return Path(found).absolute()
    beside = Path(sys.executable).parent
    if found := shutil.which("vllm", path=f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}"):
        return Path(found).absolute()
    raise UserError(
        f"there is no vLLM here; pip install 'unsaf-async[vllm]', or name its executable elsewhere (--vllm, or {VARIABLE})"
    )


def split_flags(text: str, option: str) -> tuple[str, ...]:
    """vLLM's flags in one text, as a shell would split it. Raises UserError for a quote that is not closed."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"{option} {text!r}: cannot be split into words ({error}); close the quotes") from None


def weights_sha256(made: Plan, name: str) -> str | None:
    """The digest of what answers to `name`: the model's files, and the adapter's. None for a hub's model without an adapter.

    Hidden files, those in subfolders and Markdown do not count. Reads every byte: some seconds for each ten gigabytes.
    """
    folders = [adapter.folder for adapter in made.adapters if adapter.name == name]
    local = Path(made.model)
    if local.is_dir():
        folders.insert(0, local)
    if not folders:
        return None
    digest = sha256(b"" if local.is_dir() else made.model.encode())
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.is_file() and not file.name.startswith(".") and file.suffix != ".md":
                with file.open("rb") as data:
                    digest.update(f"{file.name} {file_digest(data, 'sha256').hexdigest()}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()


@contextmanager
def claimed(host: str, port: int, *, else_any: bool = False) -> Iterator[int]:
    """The port, which no other server that is started here gets while the context lasts. port: 0 takes any free one.

    vLLM shares a port with another vLLM of the same user without a word (SO_REUSEPORT), so a bind of its own would not tell; and
    it binds only after seconds of imports. else_any: a port that is taken is exchanged for a free one. Raises UserError if it is
    taken otherwise.
    """
    candidates = [port, *([0] * 20 if else_any else ())] if port else [0] * 20
    why = ""
    for candidate in candidates:
        number = candidate
        try:
            number = _free(host, candidate)
            lock = FileLock(Path(tempfile.gettempdir()) / f"unsaf-async-{os.getuid()}-{number}.lock")
            lock.acquire(blocking=False)
        except Timeout:  # an OSError, too
            why = "another unsaf-async serves there"
        except OSError as error:
            why = error.strerror or str(error)
        else:
            try:
                yield number
            finally:
                lock.release()
            return
    raise UserError(f"port {port} on {host}: cannot be listened on ({why}); end what is there, or choose another port")


def _free(host: str, port: int) -> int:
    """`port`, or any free one for 0. Raises OSError if something listens there, or nothing can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: connections that linger after their end do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen()
        return int(probe.getsockname()[1])


class Log:
    """A server's output, line by line: into `file` without `redact`'s secrets, and read for what it tells.

    A progress bar's frames, which end in a carriage return, are told but not kept.
    """

    def __init__(self, file: BinaryIO, redact: Callable[[str], str]) -> None:
        self._file = file
        self._redact = redact
        self._rest = b""
        self._lines: deque[str] = deque(maxlen=1000)
        self._told = ""
        self.problem = ""
        """Why the file could not be written to the end; "" if it could."""

    def write(self, text: str) -> None:
        """A line of ours."""
        self._keep(f"{self._redact(text)}\n".encode())

    def feed(self, data: bytes) -> None:
        """Takes in what the server wrote."""
        *lines, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            self._take(line.rpartition(b"\r")[2])
        # A frame is whole once its carriage return came. It may be the first half of "\r\n", so it is not dropped yet.
        if frames := [frame for frame in self._rest.split(b"\r")[:-1] if frame.strip()]:
            self._tell(self._clean(frames[-1]))
        if len(self._rest) > 1_000_000:
            self._take(self._rest)
            self._rest = b""

    def end(self) -> None:
        """Takes what is left for a line."""
        if self._rest.strip():
            self._take(self._rest.strip(b"\r").rpartition(b"\r")[2])
        self._rest = b""

    def _take(self, line: bytes) -> None:
        text = self._redact(line.decode("utf-8", "replace"))
        self._keep(f"{text}\n".encode())
        cleaned = _cleaned(text)
        self._lines.append(cleaned)
        self._tell(cleaned)

    def _keep(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:  # a full disk does not end the server
            self.problem = error.strerror or str(error)

    def _clean(self, line: bytes) -> str:
        return _cleaned(self._redact(line.decode("utf-8", "replace")))

    def _tell(self, cleaned: str) -> None:
        # Not the banner, not the inside of a traceback.
        if re.match(r"\w.*\w", cleaned) and not re.search("[▀-▟]", cleaned):
            self._told = cleaned

    @property
    def telling(self) -> str:
        """The last line that tells what the server is doing, in at most 300 characters; "" before there is one."""
        return _short(self._told)

    @property
    def error(self) -> str:
        """Why it ended, as far as its last lines tell, in at most 300 characters; "" if it said nothing.

        Of several exceptions the last that is not merely about another one: an engine's are followed by its parents'.
        """
        lines = list(self._lines)
        found = ""
        for place, line in enumerate(lines):
            if not _EXCEPTION.match(line) or "root cause" in line:
                continue
            found = line
            if re.search(r"\d validation errors? for ", line) and place + 1 < len(
                lines
            ):  # pydantic: what follows tells
                found = re.sub(r"^Value error, | \[type=.*$", "", lines[place + 1].strip())
        return _short(found) or self.telling


_EXCEPTION = re.compile(r"(?:[A-Za-z_][\w.]*\.)?\w*(?:Error|Exception)\b: \S|[\w -]+: error: \S")
"""A traceback's last line, or an option parser's."""


def _cleaned(line: str) -> str:
    """`line` without colors, the process's name, the level and the place in vLLM's code."""
    line = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip()
    line = re.sub(r"^(?:\([^()]*pid=\d+\) )?(?:[DIWEF]\d{4} [\d:.]+ +\d+ [^]]*\] )?", "", line)
    return re.sub(r"^(?:DEBUG|INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]*\] ?", "", line)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:299]}…"


class _Process(asyncio.SubprocessProtocol):
    """Hears of the process: no task reads or waits. closed: nobody who inherited its output has it open any more."""

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

    made: its port should be `claimed`. log: the file that its output is added to. api_key: what it asks of its clients; None: of
    nobody. Entering raises UserError if it ends before it serves, does not serve within `start_timeout_s`, or if another server
    answers in its place. Cancelling while it is being stopped kills it at once.
    """

    def __init__(
        self,
        made: Plan,
        log: Path,
        *,
        api_key: str | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self.plan = made
        self.log_file = log
        self._api_key = api_key
        self.waiting: Callable[[], None] = lambda: None
        """Called again and again until it serves."""
        self.ending: Callable[[], None] = lambda: None
        """Called if it ends by itself."""
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
    def telling(self) -> str:
        """The last line of its log that tells what it is doing; "" before there is one."""
        return self._log.telling if self._log else ""

    @property
    def why_ended(self) -> str | None:
        """What its log says last, if the process has ended by itself; None while it runs."""
        if self._process is None or not self._process.exited.done():
            return None
        return (self._log.error if self._log else "") or f"exit code {self._code}"

    @property
    def _code(self) -> int | None:
        return self._transport.get_returncode() if self._transport else None

    async def ended(self) -> None:
        """Returns when the process has ended, whyever."""
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
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop(self._grace_s)

    async def _start(self) -> None:
        assert self._file is not None
        environment = _environment(self.plan.executable, self._api_key)
        secrets = {value for name, value in environment.items() if _SECRET.search(name)}
        log = self._log = Log(self._file, redactor(secrets))
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
                        f"{self.telling}); its log: {self.log_file}"
                    )
                wait_s = min(1.5 * wait_s, 1.0)
            names = await _names(session, self.plan.url, self._api_key)
        if not set(self.plan.names) <= set(names):
            raise UserError(
                f"{self.plan.url}: answers, but serves {', '.join(names) or 'nothing'} instead of {', '.join(self.plan.names)}; "
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


def _environment(executable: Path, api_key: str | None) -> dict[str, str]:
    """This process's environment, with what vLLM is told by it."""
    environment = {name: value for name, value in os.environ.items() if name != "VLLM_API_KEY"}
    # As in an activated environment: compilers that vLLM calls (ninja) lie beside it.
    environment["PATH"] = f"{executable.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    environment.setdefault("VLLM_NO_USAGE_STATS", "1")  # nothing of a measurement goes to anybody
    environment.setdefault("PYTHONUNBUFFERED", "1")
    if api_key:
        environment["VLLM_API_KEY"] = api_key  # not on the command line, which everybody on the machine can read
    return environment


def _model(text: str, option: str) -> tuple[str, str]:
    """What vLLM is given for `text`, and the name to serve it by."""
    name = "tiny-s" if text == "tiny" else text
    for folder in shipped():
        if folder.name == name:
            return str(folder), name
    path = Path(text).expanduser()
    if path.is_dir():
        if (path / "config.json").is_file():
            return str(path.absolute()), path.resolve().name
        if (path / "adapter_config.json").is_file():
            raise UserError(f"{option} {text}: is an adapter; give its base model, and the adapter as NAME={text}")
        raise UserError(f"{option} {text}: is no model's folder: there is no config.json in it; give one")
    if path.exists():
        raise UserError(f"{option} {text}: is a file; give a model's folder, or a hub id")
    # `runs/student` looks like a hub id, too: it is a path if its first part is a folder here.
    if _HUB_ID.fullmatch(text) and not Path(text).parent.is_dir():
        return text, text
    raise UserError(
        f"{option} {text}: there is no such folder; give a model's folder, a hub id such as Qwen/Qwen3-VL-8B-Instruct, or one of "
        f"{', '.join(folder.name for folder in shipped())}"
    )


def _adapter(text: str, option: str) -> Adapter:
    """The adapter that "NAME=PATH" means."""
    name, equals, place = text.partition("=")
    if not equals or not name.strip() or not place:
        raise UserError(f"{option} is {text!r}; give NAME=PATH, such as student=distilled/adapter")
    folder = Path(place).expanduser()
    file = folder / "adapter_config.json"
    if not folder.is_dir():
        raise UserError(f"{option} {text}: there is no such folder; give that of a LoRA adapter")
    if not file.is_file():
        raise UserError(
            f"{option} {text}: is no adapter: there is no adapter_config.json in it; give an adapter's folder"
        )
    try:
        config = json.loads(file.read_bytes())
        rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"its rank is {rank!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: tells no LoRA rank `r` ({error}); give an adapter in PEFT's format") from None
    if rank > RANKS[-1]:
        raise UserError(
            f"{option} {text}: its rank is {rank}, and vLLM takes {RANKS[-1]} at most; merge it into the model"
        )
    return Adapter(name, folder.absolute(), rank)
