"""The vendors' batch APIs: files and batches of requests, worked off by the clock at a share of the price."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from unsaf_async.simulate.batches.desk import Provider


def routes_of(provider: Provider) -> Iterator[web.RouteDef]:
    """The routes of all vendors' batches and files.

    Args:
        provider: What answers behind them.

    Returns:
        The routes.
    """
    from unsaf_async.simulate.batches.openai import OpenAIBatches

    yield from OpenAIBatches(provider).routes()
