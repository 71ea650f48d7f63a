"""`serve`: a local model on vLLM until Ctrl-C, and `run --spawn`: for the time of a run."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.interrupts import cancel_on
from unsaf_async.cli.streams import tell
from unsaf_async.errors import UserError, renaming, setting
from unsaf_async.help import LOCAL_SERVER, Help

if TYPE_CHECKING:
    from unsaf_async.runs.folder import RunFolder
    from unsaf_async.runs.prepare import Prepared
    from unsaf_async.runs.settings import Settings
    from unsaf_async.serve.plan import ServePlan
    from unsaf_async.serve.server import Server

SPAWN_LOG = "vllm.log"
"""Of a spawned server, in the run's folder."""

PLAIN_EVERY_S = 10.0
"""How often a plain line about a start is written."""


@dataclass(frozen=True)
class ServeOptions:
    """How a model is served."""

    lora: Annotated[
        tuple[str, ...],
        Help("A LoRA adapter's folder, served by this name. May be given several times.", metavar="NAME=PATH"),
    ] = ()
    name: Annotated[
        str | None, Help("Name that the model is served by. Default: its folder's, or MODEL.", metavar="NAME")
    ] = None
    replicas: Annotated[
        int,
        Help(
            "Start so many servers of the model, each with GPUs of its own, at ports from --port on.",
            metavar="N",
        ),
    ] = 1
    port: Annotated[int, Help("Port to listen on; 0 picks a free one.", metavar="N")] = 8000
    host: Annotated[str, Help("Address to listen on.", metavar="ADDRESS")] = "127.0.0.1"
    max_model_len: Annotated[
        int | None, Help("Most tokens of prompt and reply. Default: the model's own limit.", metavar="N")
    ] = None
    gpu_memory: Annotated[
        float | None, Help("Share of the GPU's memory to take. Default: vLLM's.", metavar="SHARE")
    ] = None
    vllm: Annotated[
        str | None,
        Help("vLLM's executable. Default: $UNSAF_VLLM, else `vllm` beside this Python or on PATH.", metavar="PATH"),
    ] = None
    log: Annotated[Path | None, Help("Where vLLM's output goes. Default: vllm-PORT.log.", metavar="FILE")] = None
    start_timeout: Annotated[float, Help("Seconds to wait until it serves.", metavar="S")] = 3600.0

    def __post_init__(self) -> None:
        o.check_port(self.port)
        if not 0 < self.start_timeout < float("inf"):
            raise UserError(f"is {self.start_timeout:g}; give seconds above 0", "start_timeout")


@from_fields()
def serve(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model's folder, a hub id, or a shipped tiny model's name.")
    ],
    options: ServeOptions,
    flags: Annotated[
        list[str] | None, typer.Argument(metavar="-- FLAGS", help="After --: further flags of `vllm serve`.")
    ] = None,
    quiet: o.Quiet = False,
) -> int:
    """Serve a local model on vLLM until Ctrl-C. Says how to measure it. Needs the extra vllm of a checkout, or `--vllm`."""
    import asyncio

    from unsaf_async.serve.plan import find_vllm, plan
    from unsaf_async.serve.port import claimed
    from unsaf_async.serve.replicas import replicas, visible_gpus
    from unsaf_async.serve.server import Server

    if flags and not flags[0].startswith("-"):
        raise UserError(f"{flags[0]!r} is one argument too many; give one MODEL, and vLLM's flags after --")
    with renaming({"model": "MODEL", "loras": "lora"}):
        made = plan(
            model,
            executable=find_vllm(options.vllm) if options.vllm else None,
            loras=options.lora,
            name=options.name,
            host=options.host,
            max_model_len=options.max_model_len,
            gpu_memory=options.gpu_memory,
            flags=flags or (),
        )
    count = options.replicas
    plans = replicas(made, count, visible_gpus() if count > 1 else ())

    with ExitStack() as ports:
        servers = []
        for place, each in enumerate(plans):
            wanted = options.port + place if options.port else 0
            o.check_port(wanted)
            number = ports.enter_context(claimed(options.host, wanted))
            log = options.log or Path("vllm.log")
            if count > 1 or options.log is None:
                log = log.with_stem(f"{log.stem}-{number}")
            servers.append(
                Server(
                    replace(each, port=number),
                    log,
                    api_key=os.environ.get("VLLM_API_KEY") or None,
                    start_timeout_s=options.start_timeout,
                )
            )
        return asyncio.run(_serve(servers, quiet=quiet))


async def _serve(servers: Sequence[Server], *, quiet: bool) -> int:
    """Serves until a signal comes; the exit code. Raises RunStopped once every vLLM has ended by itself."""
    import asyncio

    from unsaf_async.errors import RunStopped

    cancel_on()
    serves = False
    try:
        async with started(servers, quiet=quiet):
            serves = True
            _say_how(servers)
            running = {asyncio.ensure_future(server.ended()): server for server in servers}
            while running:
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for server in map(running.pop, done):
                    ended = f"vLLM ended: {server.why_ended}; its log: {server.log_file}"
                    if running:
                        tell(f"{server.plan.url}: {ended}; {len(running)} of {len(servers)} servers go on")
            raise RunStopped(ended)
    except asyncio.CancelledError:
        sys.stdout.write("ended\n")
        return 0 if serves else 130


@asynccontextmanager
async def started(servers: Sequence[Server], *, quiet: bool) -> AsyncIterator[None]:
    """`servers` serve while the context lasts; on stderr it says what they wait for."""
    from unsaf_async.serve.replicas import together

    async with AsyncExitStack() as stack:
        with _waiting(servers, quiet=quiet):
            await stack.enter_async_context(together(servers))
        try:
            yield
        finally:
            if not quiet:
                tell("stopping vLLM")


@contextmanager
def _waiting(servers: Sequence[Server], *, quiet: bool) -> Iterator[None]:
    from unsaf_async.progress.show import is_live

    if quiet:
        yield
    elif is_live():
        with _live(servers):
            yield
    else:
        last_s = time.monotonic()

        def now_and_then() -> None:
            nonlocal last_s
            if time.monotonic() - last_s >= PLAIN_EVERY_S:
                last_s = time.monotonic()
                tell(_line(servers))

        for server in servers:
            server.waiting = now_and_then
        logs = f"its log: {servers[0].log_file}"
        if len(servers) > 1:
            logs = f"{len(servers)} servers; their logs: {', '.join(str(server.log_file) for server in servers)}"
        tell(f"starting vLLM with {servers[0].plan.model}; {logs}")
        yield


@contextmanager
def _live(servers: Sequence[Server]) -> Iterator[None]:
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    spinner = Spinner("dots")

    def line() -> Table:
        row = Table.grid(padding=(0, 1))
        row.add_column()
        row.add_column(no_wrap=True, overflow="ellipsis")
        row.add_row(spinner, Text(_line(servers)))
        return row

    # rich redraws on a thread of its own; it only reads.
    with Live(get_renderable=line, console=Console(stderr=True), refresh_per_second=4, transient=True):
        yield


def _line(servers: Sequence[Server]) -> str:
    late = next((server for server in servers if not server.serves), servers[-1])
    ready = f", {sum(server.serves for server in servers)} of {len(servers)} serve" if len(servers) > 1 else ""
    return f"starting vLLM, {late.elapsed_s:.0f} s{ready}: {late.activity or 'it has said nothing yet'}"


def _say_how(servers: Sequence[Server]) -> None:
    plans = [server.plan for server in servers]
    names, urls = plans[0].names, [plan.url for plan in plans]
    took_s = max(server.elapsed_s for server in servers)
    ends = "ends it" if len(servers) == 1 else "ends them"
    lines = [f"{', '.join(names)} served at {', '.join(urls)} after {took_s:.0f} s (Ctrl-C {ends})"]
    bases = [word for url in urls for word in ("--api-base", url)]
    for name in names:
        words = ["unsaf-async", "run", "--provider", "vllm", *bases, "--model", name]
        lines.append(f"  measure it  {shlex.join(words)} --images photos/")
    for server in servers:
        gpus = f"  (GPU {', '.join(server.plan.gpus)})" if server.plan.gpus else ""
        lines.append(f"  its log     {server.log_file}{gpus}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


# --- a server for one run ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spawned:
    """A server that a run starts for itself."""

    model: str
    loras: tuple[str, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Spawning:
    """What a user asks for of a server that a run starts for itself."""

    spawn: Annotated[
        str | None,
        Help(
            "Start vLLM with this model (a folder, a hub id, a tiny model's name) for the run, and stop it afterwards.",
            metavar="MODEL",
            panel=LOCAL_SERVER,
        ),
    ] = None
    spawn_lora: Annotated[
        tuple[str, ...],
        Help(
            "A LoRA adapter for --spawn; the first is measured, unless --model names another. May be given several times.",
            metavar="NAME=PATH",
            panel=LOCAL_SERVER,
        ),
    ] = ()
    spawn_flags: Annotated[
        str | None,
        Help("Further flags of `vllm serve` for --spawn, as one text in quotes.", metavar="FLAGS", panel=LOCAL_SERVER),
    ] = None

    def checked(self) -> Spawned | None:
        """The server; None if none is to be spawned. Raises UserError for its adapters or flags without a model."""
        if self.spawn is None:
            for field in ("spawn_lora", "spawn_flags"):
                if getattr(self, field):
                    raise UserError(f": starts nothing without {setting('spawn')} MODEL; give that, too", field)
            return None
        from unsaf_async.serve.plan import split_flags

        with renaming({"flags": "spawn_flags"}):
            return Spawned(self.spawn, self.spawn_lora, split_flags(self.spawn_flags or ""))


@contextmanager
def planned(spawning: Spawned, settings: Settings, *, dry_run: bool) -> Iterator[tuple[ServePlan, Settings]]:
    """What is to be spawned for a run, at a port that nobody else gets while the context lasts; the settings with its address.

    dry_run: no port is taken, and vLLM need not be there. Raises UserError.
    """
    from unsaf_async.providers.resolve import resolve
    from unsaf_async.serve.plan import plan
    from unsaf_async.serve.port import claimed

    profile = resolve(settings.provider, address_later=True)
    if profile.backend != "openai" or profile.vendor:  # a vendor's own server is not to be started here
        raise UserError(
            f"--spawn: --provider {settings.provider} calls no server of OpenAI's protocol; give --provider vllm"
        )
    named = (settings.api_base,) if isinstance(settings.api_base, str) else tuple(settings.api_base or ())
    if len(named) > 1:
        raise UserError(f"--api-base: --spawn starts one server, and {len(named)} addresses are given; give one")
    with renaming({"model": "spawn", "loras": "spawn_lora"}):
        made = plan(
            spawning.model,
            executable=Path("vllm") if dry_run else None,
            loras=spawning.loras,
            flags=spawning.flags,
        )
    if settings.model is not None and settings.model not in made.names:
        raise UserError(f"--model {settings.model}: is not spawned; give one of {', '.join(made.names)}")
    settings = replace(settings, model=settings.model or made.names[0])
    if dry_run:
        yield made, replace(settings, api_base=settings.api_base or made.url)
        return
    host, port, base = _place(settings)
    with claimed(host, port, else_any=base is None) as number:
        made = replace(made, host=host, port=number)
        yield made, replace(settings, api_base=base or made.url)


def _place(settings: Settings) -> tuple[str, int, str | None]:
    """Host and port of the server to spawn, and the address by which a run has to know it; None: by any.

    A run that is gone on with has its replies and its manifest from one address, and --api-base names one; else it is vLLM's
    usual port, so that stored replies are found again. Raises UserError for an address where no server can be spawned.
    """
    from urllib.parse import urlsplit

    from unsaf_async.runs.folder import read_manifest
    from unsaf_async.runs.listing import exists
    from unsaf_async.serve.plan import PORT

    base = settings.api_base if isinstance(settings.api_base, str) else next(iter(settings.api_base or ()), None)
    option = "--api-base"
    if base is None and settings.out is not None and exists(Path(settings.out)):
        base, option = (
            read_manifest(Path(settings.out)).subject.endpoint,
            f"--out {settings.out}: its model's address",
        )
    if base is None:
        return "127.0.0.1", PORT, None
    try:
        parts = urlsplit(base)
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        host, port = "", 0
    if host not in ("127.0.0.1", "localhost", "::1") or not port or not base.startswith("http://"):
        raise UserError(f"{option} {base}: no server can be spawned there; give one such as http://127.0.0.1:{PORT}/v1")
    return "::1" if host == "::1" else "127.0.0.1", port, base


def told_apart(prepared: Prepared, plan: ServePlan) -> Prepared:
    """`prepared` with the digest of the spawned weights, so that no reply of other weights by the same name is taken for theirs.

    vLLM ignores fields that it does not know.
    """
    from unsaf_async.serve.plan import weights_sha256

    digest = weights_sha256(plan, prepared.subject.model)
    if digest is None:
        return prepared
    extra = {**prepared.subject.extra, "files_sha256": digest}
    return replace(prepared, subject=prepared.subject.model_copy(update={"extra": extra}))


def server_of(plan: ServePlan, folder: RunFolder, prepared: Prepared) -> Server:
    """The server to spawn for the run in `folder`."""
    from unsaf_async.files import open_to_append
    from unsaf_async.providers.keys import key_of_profile
    from unsaf_async.serve.server import Server

    log = folder.path / SPAWN_LOG
    os.close(open_to_append(log))  # private from its first line on, and no link to another file
    return Server(plan, log, api_key=key_of_profile(prepared.subject))
