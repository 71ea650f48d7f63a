"""From a backend to its vendor's batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unsaf_async.calls.backends.http import HttpBackend
    from unsaf_async.calls.batches.api import BatchApi


def api_of(backend_name: str, backend: HttpBackend) -> BatchApi:
    """The batch API of the vendor whose protocol a backend speaks.

    Args:
        backend_name: The profile's, one of `VENDORS`.
        backend: The connections that single calls go over.

    Returns:
        The API.
    """
    match backend_name:
        case "openai":
            from unsaf_async.calls.batches.openai_batches import OpenAIBatches

            return OpenAIBatches(backend)
        case "anthropic":
            from unsaf_async.calls.batches.anthropic_batches import AnthropicBatches

            return AnthropicBatches(backend)
        case _:
            from unsaf_async.calls.batches.gemini_batches import GeminiBatches

            return GeminiBatches(backend)
