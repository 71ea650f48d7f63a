"""`mcp`: a server of the Model Context Protocol, for agents."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from unsaf_async.cli import options as o


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
    from unsaf_async.mcp_server import Allowed, server

    allowed = Allowed(tuple(provider or ("tiny",)), tuple(images or ()), max_cost, runs, cache)
    asyncio.run(server(allowed).run_stdio_async())
    return 0
