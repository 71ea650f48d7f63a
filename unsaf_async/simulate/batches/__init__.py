"""The vendors' batch APIs: files and batches of requests, worked off by the clock at a share of the price."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from unsaf_async.simulate.batches.desk import Provider

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes_of(provider: Provider) -> Iterator[web.RouteDef]:
    """The routes of all vendors' batches and files. Where OpenAI and Gemini have the same one, the key's header decides.

    Args:
        provider: What answers behind them.

    Returns:
        The routes.
    """
    from unsaf_async.simulate.batches.anthropic import AnthropicBatches
    from unsaf_async.simulate.batches.gemini import GeminiBatches
    from unsaf_async.simulate.batches.openai import OpenAIBatches

    openai, anthropic = OpenAIBatches(provider).routes(), AnthropicBatches(provider).routes()
    first = {(method, path): handler for method, path, handler in (*openai, *anthropic)}
    gemini = {(method, path): handler for method, path, handler in GeminiBatches(provider).routes()}
    for (method, path), handler in {**gemini, **first}.items():
        if (method, path) in gemini and (method, path) in first:
            yield web.route(method, path, partial(_by_key, openai=handler, gemini=gemini[method, path]))
        else:
            yield web.route(method, path, handler)


async def _by_key(request: web.Request, openai: Handler, gemini: Handler) -> web.StreamResponse:
    return await (gemini if "x-goog-api-key" in request.headers else openai)(request)
