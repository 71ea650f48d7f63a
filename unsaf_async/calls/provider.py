"""The seam of the engine: one method. The backends, and every layer around them, have this shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from unsaf_async.records import Reply, Request


class Provider(Protocol):
    """Whatever turns a request into a reply."""

    async def complete(self, request: Request) -> Reply:
        """The reply to a request.

        A reply with any outcome but `failed` is a value: a whole answer of the provider that was served, and billed as its usage
        says. All else is raised.

        Args:
            request: The call.

        Returns:
            The reply.

        Raises:
            CallError: No whole answer came. Its `fate_unknown` says whether the call may have been billed all the same.
        """
        ...


class Backend(Provider, Protocol):
    """A provider that holds connections. `aclose` gives them back; calling it twice is harmless."""

    async def aclose(self) -> None:
        """Close what is open."""
        ...
