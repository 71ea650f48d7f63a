"""Gemini's files and batches, as long-running operations.

Sources: ai.google.dev/api/batch-api, /api/files, /gemini-api/docs/batch-api. Field names may come in camel case or in
snake case.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from aiohttp import web

from unsaf_async.simulate.batches.desk import ID, MEGABYTE, Desk, StoredFile, body_of, new_id, parsed
from unsaf_async.simulate.batches.jobs import Batch, Row, lines
from unsaf_async.simulate.gemini import Gemini
from unsaf_async.simulate.wire import Answer, Body, Call, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.simulate.batches.desk import Provider, Route

LARGEST_INLINE = 20 * MEGABYTE
"""Bytes of a creation with its requests in it."""

LARGEST_FILE = 2048 * MEGABYTE
"""Bytes of a file."""

FILE_S = 48 * 3600.0
"""Seconds that a file is kept."""

_TYPES = "type.googleapis.com/google.ai.generativelanguage.v1main"
_STATES = {
    "validating": "BATCH_STATE_PENDING",
    "in_progress": "BATCH_STATE_RUNNING",
    "finalizing": "BATCH_STATE_RUNNING",
    "cancelling": "BATCH_STATE_RUNNING",
    "completed": "BATCH_STATE_SUCCEEDED",
    "failed": "BATCH_STATE_FAILED",
    "cancelled": "BATCH_STATE_CANCELLED",
    "expired": "BATCH_STATE_EXPIRED",
}
_ERRORS = {
    "failed": (13, "Internal error encountered."),
    "cancelled": (1, "The operation was cancelled."),
    "expired": (4, "The batch expired before it could be completed."),
}
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 429: 8, 500: 13, 503: 14}
"""Codes of google.rpc.Code by HTTP status."""


class GeminiBatches:
    """POST /v1beta/models/MODEL:batchGenerateContent, /upload/v1beta/files, and what belongs to them.

    Args:
        provider: What answers behind it.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._desk = Desk(provider, Gemini())
        self._uploads: dict[str, tuple[Body, bytearray]] = {}

    def routes(self) -> Iterator[Route]:
        """Method, path and handler of each route."""
        for version in ("v1beta", "v1"):
            yield ("POST", f"/upload/{version}/files", self.upload)
            yield ("POST", f"/{version}/models/{{model:[^/:]+}}:batchGenerateContent", self.create)
            yield ("GET", f"/{version}/batches", self.list_batches)
            yield ("GET", f"/{version}/batches/{ID}", self.batch)
            yield ("POST", f"/{version}/batches/{ID}:cancel", self.cancel)
            yield ("DELETE", f"/{version}/batches/{ID}", self.delete)
            for path in (f"/{version}/files", f"/download/{version}/files"):
                yield ("GET", f"{path}/{ID}:download", self.download)
            yield ("GET", f"/{version}/files", self.list_files)
            yield ("GET", f"/{version}/files/{ID}", self.file)
            yield ("DELETE", f"/{version}/files/{ID}", self.delete_file)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Keep a file, by the resumable protocol: `start`, then `upload` as often as it takes, the last with `finalize`.

        Args:
            request: With the command in `X-Goog-Upload-Command`.

        Returns:
            Where to send the file, whether more is expected, or the file; or an error.
        """
        desk, commands = self._desk, request.headers.get("X-Goog-Upload-Command", "").split(", ")
        if "start" in commands:
            if (refused := desk.refused(request)) is not None:
                return refused
            body = parsed(await request.read() or b"{}") or {}
            id_ = new_id()
            about = body.get("file") if isinstance(body.get("file"), dict) else {}
            about = {**(about or {}), "mimeType": request.headers.get("X-Goog-Upload-Header-Content-Type")}
            self._uploads[id_] = about, bytearray()
            address = f"{request.scheme}://{request.host}{request.path}?upload_id={id_}&upload_protocol=resumable"
            headers = {"X-Goog-Upload-URL": address, "X-Goog-Upload-Status": "active"}
            return desk.answer(Answer(200, {}, headers))
        upload = self._uploads.get(request.query.get("upload_id", ""))
        if upload is None:
            return _error(desk, 400, "The upload is not known.")
        about, data = upload
        if request.headers.get("X-Goog-Upload-Offset") != str(len(data)):
            return _error(desk, 400, f"The upload stands at {len(data)} bytes.")
        more = await body_of(request, LARGEST_FILE - len(data))
        if more is None:
            return desk.trouble(Trouble("large"))
        data += more
        if "finalize" not in commands:
            return desk.answer(Answer(200, {}, {"X-Goog-Upload-Status": "active"}))
        del self._uploads[request.query["upload_id"]]
        name = str(about.get("name") or f"files/{new_id()[:12]}").removeprefix("files/")
        file = desk.store(name, str(_either(about, "displayName", "display_name") or ""), "upload", bytes(data))
        file.expires_at = file.created_at + FILE_S
        shown = {**_file(file, request), "mimeType": about["mimeType"] or "application/octet-stream"}
        return desk.answer(Answer(200, {"file": shown}, {"X-Goog-Upload-Status": "final"}))

    async def list_files(self, request: web.Request) -> web.StreamResponse:
        """The uploaded files.

        Args:
            request: With `pageSize` and `pageToken` in the query.

        Returns:
            A page of files, or an error.
        """
        if (refused := self._desk.refused(request)) is not None:
            return refused
        shown = [_file(file, request) for file in reversed(self._desk.files.values())]
        return self._desk.ok(_page("files", shown, request, 10))

    async def file(self, request: web.Request) -> web.StreamResponse:
        """One file.

        Args:
            request: With its id in the path.

        Returns:
            The file, or an error.
        """
        found = self._find_file(request)
        return found if isinstance(found, web.Response) else self._desk.ok(_file(found, request))

    async def delete_file(self, request: web.Request) -> web.StreamResponse:
        """Delete a file.

        Args:
            request: With its id in the path.

        Returns:
            Nothing, or an error.
        """
        found = self._find_file(request)
        if isinstance(found, web.Response):
            return found
        del self._desk.files[found.id]
        return self._desk.ok({})

    async def download(self, request: web.Request) -> web.StreamResponse:
        """The content of a file of results.

        Args:
            request: With its id in the path and `alt=media` in the query.

        Returns:
            The bytes, or an error.
        """
        desk, batches, found = self._desk, self._provider.batches, self._find_file(request)
        if isinstance(found, web.Response):
            return found
        if found.batch_id is None:
            return _error(desk, 400, "Only files that were generated can be downloaded.")
        batch = batches.find("gemini", found.batch_id)
        match batches.spoilt(batch) if batch else None:
            case "results_404":
                return _hidden(desk, found.id)
            case "results_500":
                return desk.trouble(Trouble("500"))
        headers = self._provider.headers(desk.wire, self._provider.stamp())
        return web.Response(body=found.data, headers=headers, content_type="application/jsonl")

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Take a batch.

        Args:
            request: With the model in the path, and `batch` in its body.

        Returns:
            The operation, or an error.
        """
        desk, batches, model = self._desk, self._provider.batches, request.match_info["model"]
        if (refused := desk.refused(request)) is not None:
            return refused
        limit = self._provider.simulation.batches.max_bytes or LARGEST_INLINE
        data = await body_of(request, limit)
        if data is None:
            return desk.trouble(Trouble("large"))
        batch = (parsed(data) or {}).get("batch")
        source = _either(batch, "inputConfig", "input_config") if isinstance(batch, dict) else None
        if not isinstance(batch, dict) or not isinstance(source, dict):
            return _error(desk, 400, "* BatchGenerateContentRequest.batch.input_config: input_config is not specified")
        if not self._provider.admission.known("gemini", model):
            return desk.trouble(Trouble("model", model=model))
        asked = self._asked(source)
        if isinstance(asked, web.Response):
            return asked
        rows = [Row(key, desk.read(_bare(each), request.headers, model)) for key, each in asked]
        if batches.struck("create_500"):
            return desk.trouble(Trouble("500"))
        if batches.crowded("gemini") or self._full(model, rows):
            return desk.trouble(Trouble("rate", model=model, retry_after_s=self._provider.simulation.retry_after_s))
        name = _either(batch, "displayName", "display_name")
        about = {"model": model, "name": name, "inline": "fileName" not in source and "file_name" not in source}
        about["metadata"] = [each.get("metadata") for _, each in asked]
        errors = [] if rows else [{"code": 3, "message": "The input has no requests, or a line that is no request."}]
        made = batches.accept(desk.wire, new_id(), rows, about, errors)
        if batches.struck("lost_reply", made.number):
            return self._provider.cut(request)
        return desk.ok(self._shown(made))

    async def list_batches(self, request: web.Request) -> web.StreamResponse:
        """The batches, the newest first.

        Args:
            request: With `pageSize` and `pageToken` in the query.

        Returns:
            A page of operations, or an error.
        """
        if (refused := self._desk.refused(request)) is not None:
            return refused
        shown = [self._shown(batch) for batch in self._provider.batches.listed("gemini")]
        return self._desk.ok(_page("operations", shown, request, 50))

    async def batch(self, request: web.Request) -> web.StreamResponse:
        """One batch.

        Args:
            request: With its id in the path.

        Returns:
            The operation, or an error.
        """
        found = self._find(request)
        if isinstance(found, web.Response):
            return found
        if self._provider.batches.struck("poll_500"):
            return self._desk.trouble(Trouble("500"))
        return self._desk.ok(self._shown(found))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Cancel a batch.

        Args:
            request: With its id in the path.

        Returns:
            Nothing, or an error.
        """
        found = self._find(request)
        if isinstance(found, web.Response):
            return found
        self._provider.batches.cancel(found)
        return self._desk.ok({})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete a batch; rows that are not done are not begun.

        Args:
            request: With its id in the path.

        Returns:
            Nothing, or an error.
        """
        found = self._find(request)
        if isinstance(found, web.Response):
            return found
        self._provider.batches.cancel(found)
        self._provider.batches.forget(found)
        return self._desk.ok({})

    def _asked(self, source: dict[str, Any]) -> list[tuple[str, Body]] | web.Response:
        """The rows of a batch, by key: (key, {"request": ..., "metadata": ...}); none, if one is no row."""
        name = _either(source, "fileName", "file_name")
        if name is None:
            inlined = source.get("requests")
            found = inlined.get("requests") if isinstance(inlined, dict) else None
            if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
                return self._desk.trouble(
                    Trouble("bad", "* BatchGenerateContentRequest.batch.input_config: no requests")
                )
            return [(_key(each.get("metadata")), each) for each in found]
        file = self._desk.files.get(str(name).removeprefix("files/"))
        if file is None:
            return _hidden(self._desk, str(name))
        rows = [parsed(line) for line in file.data.splitlines() if line.strip()]
        if any(row is None or not isinstance(row.get("request"), dict) for row in rows):
            return []
        return [(str(row.get("key", "")), row) for row in rows if row is not None]

    def _full(self, model: str, rows: list[Row]) -> bool:
        limit = self._provider.simulation.batches.enqueued_tokens
        tokens = sum(row.asks.input_tokens for row in rows if isinstance(row.asks, Call))
        return limit is not None and self._provider.batches.enqueued_tokens("gemini", model) + tokens > limit

    def _find(self, request: web.Request) -> Batch | web.Response:
        if (refused := self._desk.refused(request)) is not None:
            return refused
        found = self._provider.batches.find("gemini", request.match_info["id"])
        return found or _error(self._desk, 404, "Requested entity was not found.")

    def _find_file(self, request: web.Request) -> StoredFile | web.Response:
        if (refused := self._desk.refused(request)) is not None:
            return refused
        id_ = request.match_info["id"]
        return self._desk.files.get(id_) or _hidden(self._desk, id_)

    def _shown(self, batch: Batch) -> Body:
        """The batch as an operation."""
        counts = {
            "requestCount": len(batch.rows),
            "pendingRequestCount": batch.count("open"),
            "successfulRequestCount": batch.count("succeeded"),
            "failedRequestCount": batch.count("errored", "expired", "canceled"),
        }
        ended = not batch.open
        metadata: Body = {
            "@type": f"{_TYPES}.GenerateContentBatch",
            "name": f"batches/{batch.id}",
            "model": f"models/{batch.model}",
            "displayName": batch.about["name"],
            "createTime": _moment(batch.created_at),
            "updateTime": _moment(max(batch.at.values())),
            "batchStats": {name: str(count) for name, count in counts.items() if count},
            "state": _STATES[batch.status],
        }
        shown: Body = {"name": metadata["name"], "metadata": metadata}
        if ended:
            shown["done"] = True
            metadata["endTime"] = _moment(batch.at[batch.status])
        if batch.status == "completed":
            output = self._output(batch)
            metadata["output"] = output
            shown["response"] = {"@type": f"{_TYPES}.GenerateContentBatchOutput", **output}
        elif ended:
            code, message = _ERRORS[batch.status]
            shown["error"] = batch.errors[0] if batch.errors else {"code": code, "message": message}
        return shown

    def _output(self, batch: Batch) -> Body:
        """The results: in the operation itself, or the name of a file, which is written once."""
        if batch.about["inline"]:
            answers = [
                {**_result(row), **({"metadata": metadata} if metadata else {})}
                for row, metadata in zip(batch.rows, batch.about["metadata"], strict=True)
            ]
            return {"inlinedResponses": {"inlinedResponses": answers}}
        name = f"batch-{batch.id}"
        if "results" not in batch.about:
            data = lines({"key": row.key, **_result(row)} for row in batch.rows)
            self._desk.store(name, f"Batch job responses {batch.id}", "results", data, batch.id)
            batch.about["results"] = name
        return {"responsesFile": f"files/{name}"}


def _result(row: Row) -> Body:
    if row.state == "succeeded" and row.answer is not None:
        return {"response": row.answer.body}
    answer = row.answer or Gemini().error(row.asks if isinstance(row.asks, Trouble) else Trouble("500"), row.stamp)
    error = answer.body["error"]
    return {"error": {"code": _CODES.get(answer.status, 2), "message": error["message"]}}


def _bare(row: Body) -> object:
    """A row's request, without the model that may stand in it."""
    asked = row.get("request")
    return {name: value for name, value in asked.items() if name != "model"} if isinstance(asked, dict) else asked


def _key(metadata: object) -> str:
    key = metadata.get("key") if isinstance(metadata, dict) else None
    return key if isinstance(key, str) else ""


def _either(body: Body, camel: str, snake: str) -> Any:
    return body[camel] if camel in body else body.get(snake)


def _file(file: StoredFile, request: web.Request) -> Body:
    address = f"{request.scheme}://{request.host}/v1beta/files/{file.id}"
    shown: Body = {
        "name": f"files/{file.id}",
        "displayName": file.name,
        "mimeType": "application/jsonl",
        "sizeBytes": str(len(file.data)),
        "createTime": _moment(file.created_at),
        "updateTime": _moment(file.created_at),
        "sha256Hash": b64encode(sha256(file.data).hexdigest().encode()).decode(),
        "uri": address,
        "state": "ACTIVE",
        "source": "UPLOADED" if file.batch_id is None else "GENERATED",
    }
    if file.expires_at is not None:
        shown["expirationTime"] = _moment(file.expires_at)
    if file.batch_id is not None:
        shown["downloadUri"] = f"{address}:download?alt=media"
    return shown


def _page(name: str, all_: list[Body], request: web.Request, usual: int) -> Body:
    """A page of a list, after the name that its token is."""
    size, token = request.query.get("pageSize", ""), request.query.get("pageToken")
    names = [each["name"] for each in all_]
    start = names.index(token) + 1 if token in names else 0
    data = all_[start : start + (max(1, min(int(size), 100)) if size.isdecimal() else usual)]
    body: Body = {name: data} if data else {}
    if start + len(data) < len(all_):
        body["nextPageToken"] = data[-1]["name"]
    return body


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _error(desk: Desk, code: int, message: str) -> web.Response:
    status = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}[code]
    return desk.answer(Answer(code, {"error": {"code": code, "message": message, "status": status}}))


def _hidden(desk: Desk, name: str) -> web.Response:
    name = name.removeprefix("files/")
    return _error(desk, 403, f"You do not have permission to access the File {name} or it may not exist.")
