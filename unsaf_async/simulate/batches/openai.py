"""OpenAI's files and batches.

Sources: developers.openai.com/api/reference (Files, Batches) and /docs/guides/batch; the messages of failed batches as
openai/openai-python#2084 and community.openai.com show them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from unsaf_async.simulate.batches.desk import ID, MEGABYTE, Desk, StoredFile, body_of, new_id, parsed
from unsaf_async.simulate.batches.jobs import Batch, Row, Status, lines
from unsaf_async.simulate.openai import OpenAI
from unsaf_async.simulate.wire import Answer, Body, Call, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.simulate.batches.desk import Provider, Route

ENDPOINT = "/v1/chat/completions"
"""The only endpoint whose requests are answered."""

LARGEST_FILE = 512 * MEGABYTE
"""Bytes of a file, whatever it is for."""

LARGEST_BATCH = 200 * MEGABYTE
"""Bytes of a batch's input file."""

BATCH_FILE_S = 30 * 86_400
"""Seconds that a batch's input file is kept, if it is not said."""

MOST_ROWS = 50_000
"""Requests of a batch."""

ENDPOINTS = (
    "/v1/responses", ENDPOINT, "/v1/embeddings", "/v1/completions", "/v1/moderations", "/v1/images/generations",
    "/v1/images/edits", "/v1/videos",
)  # fmt: skip
_TIMES: tuple[Status, ...] = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_UNDONE = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "canceled": ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}


class OpenAIBatches:
    """POST /v1/files, /v1/batches, and what belongs to them.

    Args:
        provider: What answers behind it.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._desk = Desk(provider, OpenAI())

    def routes(self) -> Iterator[Route]:
        """Method, path and handler of each route."""
        yield ("POST", "/v1/files", self.upload)
        yield ("GET", "/v1/files", self.list_files)
        yield ("GET", f"/v1/files/{ID}", self.file)
        yield ("GET", f"/v1/files/{ID}/content", self.content)
        yield ("DELETE", f"/v1/files/{ID}", self.delete_file)
        yield ("POST", "/v1/batches", self.create)
        yield ("GET", "/v1/batches", self.list_batches)
        yield ("GET", f"/v1/batches/{ID}", self.batch)
        yield ("POST", f"/v1/batches/{ID}/cancel", self.cancel)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Keep a file.

        Args:
            request: A form with `file`, `purpose` and, if it is to expire, `expires_after[seconds]`.

        Returns:
            The file object, or an error.
        """
        desk = self._desk
        if (refused := desk.refused(request)) is not None:
            return refused
        if not request.content_type.startswith("multipart/"):
            return _bad(desk, "'file' is a required property", "file")
        fields: dict[str, str] = {}
        name, data = "", None
        async for part in await request.multipart():
            if getattr(part, "name", None) == "file":
                name, data = part.filename or "upload", bytearray()  # type: ignore[union-attr]
                while chunk := await part.read_chunk(MEGABYTE):  # type: ignore[union-attr]
                    data += chunk
                    if len(data) > LARGEST_FILE:
                        return desk.trouble(Trouble("large"))
            else:
                fields[part.name or ""] = await part.text()  # type: ignore[union-attr]
        if data is None:
            return _bad(desk, "'file' is a required property", "file")
        if (purpose := fields.get("purpose", "")) not in _PURPOSES:
            return _bad(desk, f"'{purpose}' is not one of {list(_PURPOSES)} - 'purpose'", "purpose")
        if purpose == "batch" and not name.endswith(".jsonl"):
            return _bad(desk, "Invalid file format for Batch API. Must be .jsonl", "file")
        file = desk.store(f"file-{new_id()[:22]}", name, purpose, bytes(data))
        seconds = fields.get("expires_after[seconds]", "")
        if seconds.isdecimal() or purpose == "batch":
            file.expires_at = file.created_at + (int(seconds) if seconds.isdecimal() else BATCH_FILE_S)
        return desk.ok(_file(file))

    async def list_files(self, request: web.Request) -> web.StreamResponse:
        """The files, the newest first.

        Args:
            request: With `purpose`, `limit`, `after` and `order` in the query.

        Returns:
            A page of file objects, or an error.
        """
        desk, query = self._desk, request.query
        if (refused := desk.refused(request)) is not None:
            return refused
        wanted = [file for file in desk.files.values() if file.purpose == query.get("purpose", file.purpose)]
        if query.get("order", "desc") == "desc":
            wanted.reverse()
        return desk.ok(_page([_file(file) for file in wanted], request, 10_000, 10_000))

    async def file(self, request: web.Request) -> web.StreamResponse:
        """One file.

        Args:
            request: With its id in the path.

        Returns:
            The file object, or an error.
        """
        found = self._find_file(request)
        return found if isinstance(found, web.Response) else self._desk.ok(_file(found))

    async def content(self, request: web.Request) -> web.StreamResponse:
        """A file's content.

        Args:
            request: With its id in the path.

        Returns:
            The bytes, or an error.
        """
        found = self._find_file(request)
        if isinstance(found, web.Response):
            return found
        desk, batches = self._desk, self._provider.batches
        batch = batches.find("openai", found.batch_id) if found.batch_id else None
        match batches.spoilt(batch) if batch else None:
            case "results_404":
                return _missing(desk, "File", found.id)
            case "results_500":
                return desk.trouble(Trouble("500"))
        headers = self._provider.headers(desk.wire, self._provider.stamp())
        return web.Response(body=found.data, headers=headers, content_type="application/octet-stream")

    async def delete_file(self, request: web.Request) -> web.StreamResponse:
        """Delete a file.

        Args:
            request: With its id in the path.

        Returns:
            What was deleted, or an error.
        """
        found = self._find_file(request)
        if isinstance(found, web.Response):
            return found
        del self._desk.files[found.id]
        return self._desk.ok({"id": found.id, "object": "file", "deleted": True})

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Take a batch. What its file holds is looked through afterwards.

        Args:
            request: With `input_file_id`, `endpoint`, `completion_window` and `metadata`.

        Returns:
            The batch object, or an error.
        """
        desk, batches = self._desk, self._provider.batches
        if (refused := desk.refused(request)) is not None:
            return refused
        body = parsed(await body_of(request, MEGABYTE) or b"")
        if body is None:
            return _bad(desk, "We could not parse the JSON body of your request.")
        if (wrong := _wrong_creation(body)) is not None:
            return _bad(desk, *wrong)
        file = desk.files.get(body["input_file_id"])
        if file is None:
            return _missing(desk, "File", body["input_file_id"], "input_file_id")
        if file.purpose != "batch":
            return _bad(desk, f"Invalid input file purpose: {file.purpose}. Expected batch.", "input_file_id")
        if batches.struck("create_500"):
            return desk.trouble(Trouble("500"))
        if batches.crowded("openai"):
            return desk.trouble(Trouble("rate", retry_after_s=self._provider.simulation.retry_after_s))
        rows, errors = self._rows(file, body["endpoint"], request)
        about = {name: body.get(name) for name in ("input_file_id", "endpoint", "completion_window", "metadata")}
        about["model"] = next((row.asks.model for row in rows if isinstance(row.asks, Call)), "")
        batch = batches.accept(desk.wire, f"batch_{new_id()}", rows, about, errors)
        if batches.struck("lost_reply", batch.number):
            return self._provider.cut(request)
        return desk.ok(self._shown(batch))

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
        return self._desk.ok(self._shown(found))

    async def list_batches(self, request: web.Request) -> web.StreamResponse:
        """The batches, the newest first.

        Args:
            request: With `limit` and `after` in the query.

        Returns:
            A page of batch objects, or an error.
        """
        if (refused := self._desk.refused(request)) is not None:
            return refused
        shown = [self._shown(batch) for batch in self._provider.batches.listed("openai")]
        return self._desk.ok(_page(shown, request, 20, 100))

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
            message = f"Cannot cancel a batch with status '{found.status}'."
            return self._desk.answer(_error(409, message))
        self._provider.batches.cancel(found)
        return self._desk.ok(self._shown(found))

    def _rows(self, file: StoredFile, endpoint: str, request: web.Request) -> tuple[list[Row], list[Body]]:
        """The rows of an input file, and what is wrong with it as a whole."""
        rules, rows, errors = self._provider.simulation.batches, [], []
        if len(file.data) > (rules.max_bytes or LARGEST_BATCH):
            limit = rules.max_bytes or LARGEST_BATCH
            message = f"The input file is larger than the maximum of {limit} bytes: {len(file.data)} bytes."
            return [], [_problem("file_too_large", message)]
        texts = [(number, text) for number, text in enumerate(file.data.splitlines(), 1) if text.strip()]
        most = rules.max_rows or MOST_ROWS
        if not texts:
            message = "The input file is empty. Please ensure that the batch contains at least one request."
            return [], [_problem("empty_file", message)]
        if len(texts) > most:
            message = f"The batch input file contains more requests than the maximum of {most:,}: {len(texts):,}."
            return [], [_problem("too_many_tasks", message)]
        keys: set[str] = set()
        model = ""
        for number, text in texts:
            line = parsed(text)
            wrong = _wrong_line(line, endpoint, keys)
            if line is None or wrong is not None:
                errors.append({**(wrong or _problem("invalid_json_line", "")), "line": number})
                continue
            keys.add(line["custom_id"])
            named = line["body"].get("model")
            model = model or named
            if named != model:
                message = (
                    f"The provided model '{named}' does not match the expected model '{model}'. All requests in a batch "
                    "must have the same model."
                )
                errors.append({**_problem("mismatched_model", message, "body.model"), "line": number})
            rows.append(Row(line["custom_id"], self._desk.read(line["body"], request.headers)))
        return rows, errors or self._over(model, rows)

    def _over(self, model: str, rows: list[Row]) -> list[Body]:
        """What the model and the limit of enqueued tokens have against a batch."""
        if not self._provider.admission.known("openai", model):
            message = f"The provided model '{model}' is not supported by the Batch API."
            return [_problem("model_not_found", message, "body.model")]
        limit = self._provider.simulation.batches.enqueued_tokens
        tokens = sum(row.asks.input_tokens for row in rows if isinstance(row.asks, Call))
        if limit is None or self._provider.batches.enqueued_tokens("openai", model) + tokens <= limit:
            return []
        message = (
            f"Enqueued token limit reached for {model} in organization org-simulated. Limit: {limit:,} enqueued tokens. "
            "Please try again once some in_progress batches have been completed."
        )
        return [_problem("token_limit_exceeded", message)]

    def _find(self, request: web.Request) -> Batch | web.Response:
        if (refused := self._desk.refused(request)) is not None:
            return refused
        found = self._provider.batches.find("openai", request.match_info["id"])
        if found is not None:
            return found
        message = f"No batch found with id '{request.match_info['id']}'."
        return self._desk.answer(_error(404, message))

    def _find_file(self, request: web.Request) -> StoredFile | web.Response:
        if (refused := self._desk.refused(request)) is not None:
            return refused
        id_ = request.match_info["id"]
        file = self._desk.files.get(id_)
        if file is None or (file.expires_at is not None and file.expires_at <= time.time()):
            return _missing(self._desk, "File", id_)
        return file

    def _shown(self, batch: Batch) -> Body:
        done = not batch.open and batch.status != "failed"
        errors = batch.errors or [_problem("internal_error", "The batch failed. Please try again.")]
        counts = {"total": 0, "completed": 0, "failed": 0}
        if batch.status not in ("validating", "failed"):
            failed = batch.count("errored", "expired", "canceled") if done else batch.count("errored")
            counts = {"total": len(batch.rows), "completed": batch.count("succeeded"), "failed": failed}
        return {
            "id": batch.id,
            "object": "batch",
            **{name: batch.about[name] for name in ("endpoint", "input_file_id", "completion_window", "metadata")},
            "model": batch.model or None,
            "errors": {"object": "list", "data": errors} if batch.status == "failed" else None,
            "status": batch.status,
            "output_file_id": self._results(batch, "output") if done else None,
            "error_file_id": self._results(batch, "error") if done else None,
            "created_at": int(batch.created_at),
            "expires_at": int(batch.expires_at),
            **{f"{name}_at": _whole(batch.at.get(name)) for name in _TIMES},
            "request_counts": counts,
            "usage": _usage(batch),
        }

    def _results(self, batch: Batch, kind: str) -> str | None:
        """The id of the file of a batch's results or errors, which is written once; None if nothing belongs in it."""
        if (known := batch.about.get(kind)) is not None:
            return str(known) or None
        rows = batch.order if self._provider.simulation.batches.shuffled else batch.rows
        shown = [_row(row) for row in rows if (row.state == "succeeded") == (kind == "output")]
        id_ = f"file-{new_id()[:22]}" if shown else ""
        if shown:
            self._desk.store(id_, f"{batch.id}_{kind}.jsonl", "batch_output", lines(shown), batch.id)
        batch.about[kind] = id_
        return id_ or None


def _wrong_creation(body: dict[str, Any]) -> tuple[str, str] | None:
    """What is wrong with the creation of a batch, and where."""
    for name in ("input_file_id", "endpoint", "completion_window"):
        if not isinstance(body.get(name), str):
            return f"Missing required parameter: '{name}'.", name
    if body["endpoint"] not in ENDPOINTS:
        return f"Invalid value: '{body['endpoint']}'. Supported values are: {', '.join(ENDPOINTS)}.", "endpoint"
    if body["endpoint"] != ENDPOINT:
        return f"Only batches of {ENDPOINT} are simulated.", "endpoint"
    if body["completion_window"] != "24h":
        return f"Invalid value: '{body['completion_window']}'. Value must be '24h'.", "completion_window"
    metadata = body.get("metadata")
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or len(metadata) > 16:
        return "Invalid 'metadata': expected an object with at most 16 properties.", "metadata"
    for name, value in metadata.items():
        if len(name) > 64 or not isinstance(value, str) or len(value) > 512:
            return f"Invalid 'metadata.{name}': expected a string of at most 512 characters.", "metadata"
    return None


def _wrong_line(line: dict[str, Any] | None, endpoint: str, keys: set[str]) -> Body | None:
    """What is wrong with a line of an input file."""
    if line is None:
        return _problem("invalid_json_line", "This line is not parseable as valid JSON.")
    for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
        if not isinstance(line.get(name), kind):
            return _problem("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
    if line["method"] != "POST":
        return _problem("invalid_method", f"Invalid value: '{line['method']}'. Value must be 'POST'.", "method")
    if line["url"] != endpoint:
        message = f"The URL provided for this request does not match the batch endpoint: '{line['url']}', expected '{endpoint}'."
        return _problem("invalid_url", message, "url")
    if line["custom_id"] in keys:
        message = (
            f"The custom_id '{line['custom_id']}' for this request is a duplicate of another request. The custom_id "
            "parameter must be unique for each request in a batch."
        )
        return _problem("duplicate_custom_id", message, "custom_id")
    if not isinstance(line["body"].get("model"), str):
        return _problem("missing_required_parameter", "Missing required parameter: 'body.model'.", "body.model")
    return None


def _problem(code: str, message: str, param: str | None = None) -> Body:
    return {"code": code, "message": message, "param": param, "line": None}


def _row(row: Row) -> Body:
    answer, error = row.answer, None
    if row.state in _UNDONE:
        code, message = _UNDONE[row.state]
        error = {"code": code, "message": message}
    elif answer is None and isinstance(row.asks, Trouble):
        answer = OpenAI().error(row.asks, row.stamp)
    response = answer and {"status_code": answer.status, "request_id": row.stamp, "body": answer.body}
    return {"id": f"batch_req_{row.stamp}", "custom_id": row.key, "response": response, "error": error}


def _usage(batch: Batch) -> Body:
    input_tokens = sum(row.entry.input_tokens for row in batch.rows)
    output_tokens = sum(row.entry.output_tokens for row in batch.rows)
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens + output_tokens,
    }


def _file(file: StoredFile) -> Body:
    return {
        "id": file.id,
        "object": "file",
        "bytes": len(file.data),
        "created_at": int(file.created_at),
        "expires_at": _whole(file.expires_at),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def _page(all_: list[Body], request: web.Request, usual: int, most: int) -> Body:
    """A page of a list, after the id that the query names."""
    ids = [each["id"] for each in all_]
    after, size = request.query.get("after"), request.query.get("limit", "")
    start = ids.index(after) + 1 if after in ids else 0
    data = all_[start : start + (max(1, min(int(size), most)) if size.isdecimal() else usual)]
    more = start + len(data) < len(all_)
    ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": ends[0], "last_id": ends[1], "has_more": more}


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _bad(desk: Desk, message: str, parameter: str | None = None) -> web.Response:
    return desk.trouble(Trouble("bad", message, parameter))


def _missing(desk: Desk, kind: str, id_: str, parameter: str = "id") -> web.Response:
    return desk.answer(_error(404, f"No such {kind} object: {id_}", parameter))


def _error(status: int, message: str, parameter: str | None = None) -> Answer:
    error = {"message": message, "type": "invalid_request_error", "param": parameter, "code": None}
    return Answer(status, {"error": error})
