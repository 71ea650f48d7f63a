"""Anthropic's message batches.

Sources: platform.claude.com/docs/en/api/messages/batches and /docs/en/build-with-claude/batch-processing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from unsaf_async.simulate.anthropic import Anthropic
from unsaf_async.simulate.batches.desk import ID, MEGABYTE, Desk, body_of, new_id, parsed
from unsaf_async.simulate.batches.jobs import Batch, Row, lines
from unsaf_async.simulate.wire import Answer, Body, Call, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.simulate.batches.desk import Provider, Route

LARGEST_BATCH = 256 * MEGABYTE
"""Bytes of a batch's creation."""

MOST_ROWS = 100_000
"""Requests of a batch."""

_KEY = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OPEN = {
    "validating": "in_progress",
    "in_progress": "in_progress",
    "finalizing": "in_progress",
    "cancelling": "canceling",
}


class AnthropicBatches:
    """POST /v1/messages/batches, and what belongs to it.

    Args:
        provider: What answers behind it.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._desk = Desk(provider, Anthropic())

    def routes(self) -> Iterator[Route]:
        """Method, path and handler of each route."""
        path = "/v1/messages/batches"
        yield ("POST", path, self.create)
        yield ("GET", path, self.list_batches)
        yield ("GET", f"{path}/{ID}", self.batch)
        yield ("GET", f"{path}/{ID}/results", self.results)
        yield ("POST", f"{path}/{ID}/cancel", self.cancel)
        yield ("DELETE", f"{path}/{ID}", self.delete)

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Take a batch. Its rows' parameters are looked at when they are worked off.

        Args:
            request: With `requests` in its body.

        Returns:
            The batch object, or an error.
        """
        desk, batches, rules = self._desk, self._provider.batches, self._provider.simulation.batches
        if (refused := desk.refused(request)) is not None:
            return refused
        if "anthropic-version" not in request.headers:
            return _bad(desk, "anthropic-version: header is required")
        data = await body_of(request, rules.max_bytes or LARGEST_BATCH)
        if data is None:
            return desk.trouble(Trouble("large"))
        body = parsed(data)
        if body is None:
            return _bad(desk, "The request body is not valid JSON.")
        if (wrong := _wrong(body.get("requests"), rules.max_rows or MOST_ROWS)) is not None:
            return _bad(desk, wrong)
        if batches.struck("create_500"):
            return desk.trouble(Trouble("500"))
        waiting = sum(batch.count("open") for batch in batches.listed("anthropic"))
        limit = rules.enqueued_requests
        if batches.crowded("anthropic") or (limit is not None and waiting + len(body["requests"]) > limit):
            return desk.trouble(Trouble("rate", retry_after_s=self._provider.simulation.retry_after_s))
        rows = [Row(each["custom_id"], self._asks(each["params"], request)) for each in body["requests"]]
        model = body["requests"][0]["params"].get("model")
        about = {"model": model if isinstance(model, str) else ""}
        batch = batches.accept(desk.wire, f"msgbatch_{new_id()[:24]}", rows, about)
        if batches.struck("lost_reply", batch.number):
            return self._provider.cut(request)
        return desk.ok(_shown(batch, request))

    async def list_batches(self, request: web.Request) -> web.StreamResponse:
        """The batches, the newest first.

        Args:
            request: With `limit` and `before_id` or `after_id` in the query.

        Returns:
            A page of batch objects, or an error.
        """
        desk, query = self._desk, request.query
        if (refused := desk.refused(request)) is not None:
            return refused
        all_ = self._provider.batches.listed("anthropic")
        ids = [batch.id for batch in all_]
        size = query.get("limit", "")
        limit = max(1, min(int(size), 1000)) if size.isdecimal() else 20
        if (before := query.get("before_id")) in ids:
            end = ids.index(before)
            start = max(0, end - limit)
            more = start > 0
        else:
            after = query.get("after_id")
            start = ids.index(after) + 1 if after in ids else 0
            end = start + limit
            more = end < len(all_)
        data = [_shown(batch, request) for batch in all_[start:end]]
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return desk.ok({"data": data, "has_more": more, "first_id": first, "last_id": last})

    async def batch(self, request: web.Request) -> web.StreamResponse:
        """One batch.

        Args:
            request: With its id in the path.

        Returns:
            The batch object, or an error.
        """
        found = self._find(request)
        if isinstance(found, web.Response):
            return found
        if self._provider.batches.struck("poll_500"):
            return self._desk.trouble(Trouble("500"))
        return self._desk.ok(_shown(found, request))

    async def results(self, request: web.Request) -> web.StreamResponse:
        """The results of a batch that has ended.

        Args:
            request: With its id in the path.

        Returns:
            Lines of JSON, or an error.
        """
        desk, found = self._desk, self._find(request)
        if isinstance(found, web.Response):
            return found
        if found.open:
            return _bad(desk, f"Batch {found.id} has no available results.")
        match self._provider.batches.spoilt(found):
            case "results_404":
                return _missing(desk, found.id)
            case "results_500":
                return desk.trouble(Trouble("500"))
        rows = found.order if self._provider.simulation.batches.shuffled else found.rows
        headers = self._provider.headers(desk.wire, self._provider.stamp())
        body = lines({"custom_id": row.key, "result": _result(row)} for row in rows)
        return web.Response(body=body, headers=headers, content_type="application/x-jsonl")

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Cancel a batch.

        Args:
            request: With its id in the path.

        Returns:
            The batch object, or an error.
        """
        found = self._find(request)
        if isinstance(found, web.Response):
            return found
        if not found.open:
            return _bad(self._desk, f"Batch {found.id} cannot be canceled because it has already ended.")
        self._provider.batches.cancel(found)
        return self._desk.ok(_shown(found, request))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete a batch that has ended.

        Args:
            request: With its id in the path.

        Returns:
            What was deleted, or an error.
        """
        found = self._find(request)
        if isinstance(found, web.Response):
            return found
        if found.open:
            return _bad(self._desk, f"Batch {found.id} cannot be deleted because it is in progress. Cancel it first.")
        self._provider.batches.forget(found)
        return self._desk.ok({"id": found.id, "type": "message_batch_deleted"})

    def _asks(self, params: Body, request: web.Request) -> Call | Trouble:
        if params.get("stream"):
            return Trouble("bad", "stream: streaming is not supported in a message batch")
        return self._desk.read(params, request.headers)

    def _find(self, request: web.Request) -> Batch | web.Response:
        if (refused := self._desk.refused(request)) is not None:
            return refused
        id_ = request.match_info["id"]
        return self._provider.batches.find("anthropic", id_) or _missing(self._desk, id_)


def _wrong(requests: Any, most: int) -> str | None:
    """What is wrong with the requests of a batch, whatever is in their parameters."""
    if not isinstance(requests, list):
        return "requests: Field required"
    if not requests:
        return "requests: List should have at least 1 item after validation, not 0"
    if len(requests) > most:
        return f"requests: List should have at most {most} items after validation, not {len(requests)}"
    keys: set[str] = set()
    for place, each in enumerate(requests):
        at = f"requests.{place}"
        if not isinstance(each, dict):
            return f"{at}: Input should be an object"
        key = each.get("custom_id")
        if not isinstance(key, str):
            return f"{at}.custom_id: Field required"
        if not _KEY.fullmatch(key):
            return f"{at}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
        if not isinstance(each.get("params"), dict):
            return f"{at}.params: Field required"
        if key in keys:
            return f"{at}.custom_id: custom_id must be unique; '{key}' is a duplicate"
        keys.add(key)
    return None


def _result(row: Row) -> Body:
    match row.state:
        case "canceled" | "expired":
            return {"type": row.state}
        case "succeeded" if row.answer is not None:
            message = row.answer.body
            return {"type": "succeeded", "message": {**message, "usage": {**message["usage"], "service_tier": "batch"}}}
    answer = row.answer or Anthropic().error(row.asks if isinstance(row.asks, Trouble) else Trouble("500"), row.stamp)
    return {"type": "errored", "error": answer.body}


def _shown(batch: Batch, request: web.Request) -> Body:
    ended = not batch.open
    counts = {
        "processing": 0 if ended else len(batch.rows),
        "succeeded": batch.count("succeeded") if ended else 0,
        "errored": batch.count("errored") if ended else 0,
        "canceled": batch.count("canceled") if ended else 0,
        "expired": batch.count("expired") if ended else 0,
    }
    results = f"{request.scheme}://{request.host}/v1/messages/batches/{batch.id}/results"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": _OPEN.get(batch.status, "ended"),
        "request_counts": counts,
        "created_at": _moment(batch.created_at),
        "expires_at": _moment(batch.expires_at),
        "ended_at": _moment(batch.at.get(batch.status)) if ended else None,
        "cancel_initiated_at": _moment(batch.at.get("cancelling")),
        "archived_at": None,
        "results_url": results if ended else None,
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _bad(desk: Desk, message: str) -> web.Response:
    return desk.trouble(Trouble("bad", message))


def _missing(desk: Desk, id_: str) -> web.Response:
    stamp = desk.provider.stamp()
    error = {"type": "not_found_error", "message": f"Not found: no message batch {id_}"}
    return desk.answer(Answer(404, {"type": "error", "error": error, "request_id": f"req_{stamp[:24]}"}))
