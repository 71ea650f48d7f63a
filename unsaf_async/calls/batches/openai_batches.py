"""OpenAI's batches: a file of rows is uploaded, a batch works it off, its replies and its errors are two files.

https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import orjson

from unsaf_async.calls.backends.transport import Answer
from unsaf_async.calls.backends.wire import count_of, json_of, list_of, string_of, table_of, word_of
from unsaf_async.calls.batches.api import LISTED, Result, State, id_in, pages
from unsaf_async.errors import CallError, Transient
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from typing import BinaryIO

    from unsaf_async.calls.backends.http import HttpBackend
    from unsaf_async.records import Request

ENDED = ("completed", "failed", "expired", "cancelled")
"""The statuses after which nothing more comes."""

NAME = "unsaf_async"
"""Of the batch's metadata, under which its name stands."""

UPLOAD_S = 1800.0


class OpenAIBatches:
    """The API as OpenAI speaks it, and gateways that speak alike."""

    most_rows = 50_000
    most_bytes = 100_000_000
    """OpenAI takes 200 MB. Half of it keeps an upload short."""
    cancels = True
    between = b"\n"

    def __init__(self, backend: HttpBackend) -> None:
        """The API at a backend's address.

        Args:
            backend: Whose wire is OpenAI's.
        """
        self._backend = backend
        self._boundary = uuid4().hex

    def head(self, model: str, name: str) -> bytes:  # noqa: ARG002 - the rows name the model
        """The parts of a form, up to the file's content.

        Args:
            model: The model's id.
            name: What the batch is called.

        Returns:
            The bytes.
        """
        line = f"--{self._boundary}\r\ncontent-disposition: form-data; "
        purpose = f'{line}name="purpose"\r\n\r\nbatch\r\n'
        return (
            f'{purpose}{line}name="file"; filename="{name}.jsonl"\r\ncontent-type: application/jsonl\r\n\r\n'.encode()
        )

    def tail(self) -> bytes:
        """The end of the form.

        Returns:
            The bytes.
        """
        return f"\n\r\n--{self._boundary}--\r\n".encode()

    def row(self, key: str, request: Request) -> bytes:
        """A line of the file.

        Args:
            key: Its `custom_id`.
            request: The call.

        Returns:
            JSON.
        """
        outgoing = self._backend.wire.outgoing(request)
        body = {name: value for name, value in outgoing.body.items() if name not in ("stream", "stream_options")}
        return orjson.dumps({"custom_id": key, "method": "POST", "url": f"/v1{outgoing.path}", "body": body})

    async def create(self, model: str, name: str, body: BinaryIO) -> str:  # noqa: ARG002
        """Upload the file, and have it worked off.

        Args:
            model: The model's id.
            name: What the batch is called, in its metadata.
            body: The form.

        Returns:
            The batch's id.

        Raises:
            CallError: It was not taken, or that is not known.
        """
        form = f"multipart/form-data; boundary={self._boundary}"
        try:
            file = _id_of(await self._backend.json("POST", "/files", body, form, UPLOAD_S))
        except CallError as error:
            error.fate_unknown = False  # a file costs nothing: it is uploaded again
            raise
        asked = {
            "input_file_id": file,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {NAME: name},
        }
        return _id_of(await self._backend.json("POST", "/batches", orjson.dumps(asked)))

    async def find(self, name: str, keys: Sequence[str], since_s: float) -> str | None:  # noqa: ARG002
        """The batch with a name.

        Args:
            name: As it stands in the metadata.
            keys: Its rows'.
            since_s: When it was handed in.

        Returns:
            Its id; None if none has that name.

        Raises:
            CallError: The vendor does not say.
        """
        async for page in pages(self._backend, f"/batches?limit={LISTED}", _following):
            for batch in map(table_of, list_of(page.get("data"))):
                if table_of(batch.get("metadata")).get(NAME) == name:
                    return _id_of(batch)
        return None

    async def state(self, batch: str) -> State:
        """How far a batch is.

        Args:
            batch: Its id.

        Returns:
            The state.

        Raises:
            CallError: The vendor does not say.
        """
        return state_of(await self._read(batch))

    async def results(self, batch: str, keys: Sequence[str]) -> AsyncIterator[Result]:  # noqa: ARG002
        """The lines of the file of replies, then those of the file of errors.

        Args:
            batch: Its id.
            keys: Its rows', in their order.

        Yields:
            What became of each row.

        Raises:
            CallError: A file cannot be had, or not to its end.
        """
        read = await self._read(batch)
        for field in ("output_file_id", "error_file_id"):
            if file := id_in(read, field):
                async for line in self._backend.lines(f"/files/{quote(file, safe='')}/content"):
                    if (result := result_of(line)) is not None:
                        yield result

    async def cancel(self, batch: str) -> None:
        """Have OpenAI end a batch.

        Args:
            batch: Its id.

        Raises:
            CallError: It does not.
        """
        await self._backend.json("POST", f"/batches/{quote(batch, safe='')}/cancel", b"{}")

    async def clear(self, batch: str) -> None:
        """Delete the file of rows, which holds the pictures. Replies stay as long as OpenAI keeps them.

        Args:
            batch: Its id.

        Raises:
            CallError: It is not deleted.
        """
        if file := id_in(await self._read(batch), "input_file_id"):
            await self._backend.json("DELETE", f"/files/{quote(file, safe='')}")

    async def _read(self, batch: str) -> dict[str, Any]:
        return await self._backend.json("GET", f"/batches/{quote(batch, safe='')}")


def state_of(read: Mapping[str, Any]) -> State:
    """The state in a batch object.

    Args:
        read: Parsed JSON.

    Returns:
        The state. What did not pass validation, or was cancelled before a row was answered, has a problem.

    Raises:
        Transient: It is no batch object.
    """
    status, counts = word_of(read.get("status")), table_of(read.get("request_counts"))
    if not status:
        raise Transient("the answer is no batch: it has no status")
    problem, full = "", False
    if status == "failed":
        errors = [table_of(error) for error in list_of(table_of(read.get("errors")).get("data"))]
        said = "; ".join(string_of(error.get("message")) or word_of(error.get("code")) for error in errors[:3])
        problem = one_line(said, 300) or "the vendor does not say why"
        full = any("token_limit" in word_of(error.get("code")) for error in errors) or "enqueued" in said.lower()
    done = count_of(counts.get("completed")) + count_of(counts.get("failed"))
    whole = status == "completed"
    return State(status in ENDED, done, problem, full, answered=count_of(counts.get("completed")), whole=whole)


def result_of(line: bytes) -> Result | None:
    """What became of a row, by its line of a result file.

    Args:
        line: JSON.

    Returns:
        The result; None for a line that names no row.
    """
    try:
        row = table_of(json_of(line))
    except ValueError:
        return None
    key, response, error = string_of(row.get("custom_id")), table_of(row.get("response")), table_of(row.get("error"))
    if not key:
        return None
    status = response.get("status_code")
    if isinstance(status, int) and not isinstance(status, bool) and 100 <= status < 600:
        return Result(key, Answer(status, {}, orjson.dumps(response.get("body"))))
    if reason := string_of(error.get("message")) or word_of(error.get("code")):
        return Result(key, None, reason)
    return Result(key, Answer(200, {}, orjson.dumps(response.get("body"))))  # if that is a reply, it is billed


def _following(page: Mapping[str, Any]) -> str:
    last = string_of(page.get("last_id"))
    return f"&after={quote(last, safe='')}" if page.get("has_more") is True and last else ""


def _id_of(table: Mapping[str, Any]) -> str:
    if not (name := id_in(table)):
        raise Transient("the answer has no id", fate_unknown=True)
    return name
