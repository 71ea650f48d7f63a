"""Pages for the browser on this machine: a server on 127.0.0.1 that other hosts, and other sites' pages, get nothing from.

Only this machine can reach it, and only under its own name: a request for another host is turned away, so that no website can
make a browser read it by pointing a name of its own here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from aiohttp import web

from unsaf_async.errors import UserError
from unsaf_async.report.page import policy, script_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

HOSTS = frozenset({"127.0.0.1", "localhost"})
"""Names under which it may be asked for."""

OWN_POLICY = "connect-src 'self'; form-action 'self'"
"""What such a page may do beyond a report: ask the server that it comes from."""


class LocalPages:
    """An application that listens on 127.0.0.1 while the context is open.

    Args:
        app: Its routes. `guarded` must be among its middlewares.
        port: To listen on; 0 picks a free one.

    Raises:
        UserError: On entering: the port is taken.
    """

    def __init__(self, app: web.Application, port: int = 0) -> None:
        self._app, self._port = app, port
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens: "http://127.0.0.1:40123/"."""
        return f"http://127.0.0.1:{self._port}/"

    async def __aenter__(self) -> Self:
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise UserError(
                f"port {self._port}: cannot listen there ({error.strerror}); choose another, or 0 for any free one"
            ) from None
        self._port = runner.addresses[0][1]
        self._runner = runner
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def page(text: str, script: str, *, further: str = OWN_POLICY) -> web.Response:
    """A page as an answer, with its content security policy.

    Args:
        text: Of the page.
        script: The name of its static script, without its ending.
        further: More directives.

    Returns:
        The answer.
    """
    allowed = f"{policy(script_of(script), further=further)}; frame-ancestors 'none'"
    return web.Response(
        body=text.encode(), content_type="text/html", charset="utf-8", headers={"Content-Security-Policy": allowed}
    )


@web.middleware
async def guarded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turns other hosts' requests away, and puts the headers on that every answer has.

    Args:
        request: The request.
        handler: Of its route.

    Returns:
        The answer.
    """
    response: web.StreamResponse
    if request.host.rpartition(":")[0] not in HOSTS and request.host not in HOSTS:
        response = web.Response(status=403, text="This host is not served here.\n")
    else:
        try:
            response = await handler(request)
        except web.HTTPException as answer:
            response = web.Response(status=answer.status, text=answer.text, headers=_kept(answer.headers))
    headers = response.headers
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cache-Control"] = "no-store"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in ("Location", "Allow") if name in headers}
