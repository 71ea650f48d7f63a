"""`mcp`: a server of the Model Context Protocol, for agents."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli.interrupts import interrupts

if TYPE_CHECKING:
    from unsaf_async.mcp_server import Allowed


def mcp(
    provider: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A model that may be called. May be given several times (default: tiny, which is free).",
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(parser=o.folder, metavar="PATH", help="What the models are shown, as for `run`."),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            parser=o.number,
            metavar="USD",
            help="Never spend more, all runs of this server together. Without it, models that cost money are refused.",
        ),
    ] = None,
    runs: Annotated[
        Path, typer.Option(parser=o.folder, metavar="DIR", help="Where runs are kept, and explained from.")
    ] = Path("runs"),
    cache: Annotated[Path, typer.Option(parser=o.folder, metavar="DIR", help="Stored replies.")] = Path("cache"),
) -> int:
    """Serve agents by MCP: they estimate, run and explain."""
    import asyncio
    import math

    from unsaf_async.errors import UserError
    from unsaf_async.text import install_extra

    try:
        there = find_spec("mcp") is not None
    except ValueError:
        there = False
    if not there:
        raise UserError(f"mcp: its SDK is not installed; {install_extra('mcp')}")
    if max_cost is not None and not (math.isfinite(max_cost) and max_cost > 0):
        raise UserError(f"is {max_cost:g}; give an amount above 0", field="max_cost")
    from unsaf_async.mcp_server import Allowed

    asyncio.run(_serve(Allowed(tuple(provider or ("tiny",)), tuple(images or ()), max_cost, runs, cache)))
    return 0


async def _serve(allowed: Allowed) -> None:
    """Serves until the client closes stdin, or a signal ends the process. Raises UserError for what cannot be allowed."""
    import asyncio
    import signal
    from contextlib import suppress

    from unsaf_async.mcp_server import Measurements, server

    def end(number: int) -> None:
        # By the signal itself: the SDK reads stdin on a thread, which waits for a line that may never come.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    async def end_gently(number: int) -> None:
        measurements.stop()
        await measurements.ended()
        end(number)

    def signalled(number: int) -> None:
        if measurements.ending:
            end(number)
        group.create_task(end_gently(number))

    async with asyncio.TaskGroup() as group, Measurements(allowed) as measurements:
        await measurements.check()
        for each in interrupts():
            with suppress(
                NotImplementedError
            ):  # on Windows KeyboardInterrupt ends the process, with the same files kept
                asyncio.get_running_loop().add_signal_handler(each, signalled, each)
        try:
            await server(measurements).run_stdio_async()
        except* BrokenPipeError:  # the client is gone, and whatever was to be told it
            pass
