"""The Hugging Face Hub as huggingface_hub 1.33 speaks to it when a folder is pushed: on a socket, in this process.

Repositories are created, asked about and listed; files come in by preupload, Git LFS (basic transfer) and commit. Storage by
xet, which huggingface_hub prefers for large files where hf_xet is installed, is another server's wire and not spoken:
`hub` turns it off.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from huggingface_hub import close_session, constants

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345"

_REPO = re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/(.*))?")
_BATCH = re.compile(r"/(?:datasets/)?[^/]+/[^/]+\.git/info/lfs/objects/batch")
_LARGE = (".safetensors", ".parquet", ".jpg", ".png")
"""What the hub's .gitattributes gives to LFS; of other files those above 10 MiB, which no test has."""


@dataclass
class Repository:
    """A repository: its files at the newest commit, and how many commits there were."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"*.safetensors filter=lfs\n"})
    messages: list[str] = field(default_factory=lambda: ["initial commit"])

    @property
    def sha(self) -> str:
        """Of the newest commit."""
        return sha1(f"{len(self.messages)} {sorted(self.files.items())}".encode()).hexdigest()


@dataclass
class Hub:
    """What the double holds, and what it was asked. refusals: (status, message) by the end of a path."""

    url: str = ""
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    """By (type, OWNER/NAME)."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """What was uploaded by LFS, by its hash."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(method, path) of every request."""
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        """(status, JSON), after the hub's own API."""
        self.asked.append((method, path))
        for end, (status, message) in self.refusals.items():
            if path.endswith(end):
                return status, {"error": message}
        if path.startswith("/storage/"):  # signed by its address, as S3 is: no token
            self.objects[path.rpartition("/")[2]] = body
            return 200, {}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials in Authorization header"}
        if (method, path) == ("POST", "/api/repos/create"):
            return self._create(json.loads(body))
        if (method, path) == ("POST", "/api/validate-yaml"):
            return 200, {"errors": [], "warnings": []}
        if method == "POST" and _BATCH.fullmatch(path):
            return 200, {"transfer": "basic", "objects": [self._placed(each) for each in json.loads(body)["objects"]]}
        if (found := _REPO.fullmatch(path)) is None:
            return 404, {"error": "Not found"}
        kind, name, rest = found.groups()
        if (repository := self.repositories.get((kind, name))) is None:
            return 404, {"error": "Repository not found"}
        return self._of(repository, kind, name, method, rest or "", body)

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        kind, name = asked.get("type", "model"), f"{asked['organization']}/{asked['name']}"
        url = f"{self.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if (kind, name) in self.repositories:
            return 409, {"error": f"You already created this {kind} repo: {name}", "url": url}
        self.repositories[kind, name] = Repository(private=asked.get("visibility") == "private")
        return 200, {"url": url, "name": name}

    def _placed(self, each: dict[str, Any]) -> dict[str, Any]:
        if each["oid"] in self.objects:
            return each
        return each | {"actions": {"upload": {"href": f"{self.url}/storage/{each['oid']}?X-Amz-Signature=5ec4e7"}}}

    def _of(self, repository: Repository, kind: str, name: str, method: str, rest: str, body: bytes) -> tuple[int, Any]:
        if method == "GET" and rest in ("", "revision/main"):
            return 200, {"id": name, "private": repository.private, "sha": repository.sha, "tags": [], "siblings": []}
        if method == "GET" and rest == "tree/main":
            return 200, [
                {"type": "file", "path": path, "size": len(data), "oid": _blob(data)}
                for path, data in sorted(repository.files.items())
            ]
        if (method, rest) == ("POST", "preupload/main"):
            return 200, {"files": [_told(repository, each["path"]) for each in json.loads(body)["files"]]}
        if (method, rest) == ("POST", "commit/main"):
            return self._commit(repository, kind, name, [json.loads(line) for line in body.splitlines()])
        return 404, {"error": "Not found"}

    def _commit(self, repository: Repository, kind: str, name: str, lines: list[dict[str, Any]]) -> tuple[int, Any]:
        files = dict(repository.files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    return 400, {"error": f"LFS pointer pointed to a file that does not exist: {value['path']}"}
                files[value["path"]] = self.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                return 400, {"error": f"unknown operation {line['key']}"}
        repository.files = files
        repository.messages.append(lines[0]["value"]["summary"])
        at = f"{self.url}/{'datasets/' if kind == 'dataset' else ''}{name}/commit/{repository.sha}"
        return 200, {"success": True, "commitOid": repository.sha, "commitUrl": at}


def _blob(data: bytes) -> str:
    """Git's hash of a file."""
    return sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _told(repository: Repository, path: str) -> dict[str, Any]:
    """What preupload says of a file: how it is to come, and what is there by its name."""
    large = path.endswith(_LARGE)
    known = repository.files.get(path)
    oid = None if known is None else sha256(known).hexdigest() if large else _blob(known)
    return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}


@contextmanager
def hub(patch: pytest.MonkeyPatch, *, token: str | None = TOKEN) -> Iterator[Hub]:
    """A hub on a socket of this machine, which huggingface_hub takes for the real one while this lasts."""
    double = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            with double.lock:
                asked = self.command, self.path.partition("?")[0], self.headers.get("authorization", "")
                status, said = double.answer(*asked, body)
            text = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = handle_one  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    patch.setattr(constants, "ENDPOINT", double.url)
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent")  # whoever runs this may be logged in
    if token is None:
        patch.delenv("HF_TOKEN", raising=False)
    else:
        patch.setenv("HF_TOKEN", token)
    try:
        yield double
    finally:
        close_session()  # or its connection is still served, and the next test's hub is this one
        server.shutdown()
        thread.join()
        server.server_close()
