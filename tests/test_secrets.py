"""A hostile server sends the key back in every form and every field: it is in nothing that is kept or shown."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
import sqlite3
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
import pytest
from aiohttp import ClientSession, web
from commandline import command
from driving import PRICE, draw_images
from serving import serve_requests

from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    # Connections that clients or servers left open are closed by the collector, in whichever test it runs: what is looked for
    # here is a key. Which test leaves them is not known; seen twice on a busy machine, as failures of any test here.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:litellm"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]

KEY = "sk-proj-7Qm2_Xr9tVbK-4hLpZw8NcJ0aYgSdFe61RuTiOyEk3"
PIECE = 15


def escaped(pattern: str) -> str:
    return "".join(pattern.format(ord(each)) for each in KEY)


FORMS = (
    KEY,
    KEY.upper(),
    quote(KEY.replace("-", "%2D"), safe="%"),
    escaped("%{:02X}"),
    base64.b64encode(KEY.encode()).decode(),
    base64.urlsafe_b64encode(f"x{KEY}".encode()).decode().rstrip("="),
    base64.b64encode(f"Bearer {KEY}.".encode()).decode(),
    KEY.encode().hex(),
    KEY.encode().hex(":").upper(),
    escaped("&#{};"),
    html.escape(escaped("&#x{:x};")),
    escaped("\\u{:04x}"),
    json.dumps(escaped("\\u{:04x}")),
    " ".join(KEY),
    "\u200b".join(KEY),
    f"{KEY[:20]}<think>{KEY[3:9]}</think>{KEY[20:]}",
    KEY[: len(KEY) // 2],
    KEY[len(KEY) // 2 :],
)


@dataclass
class Hostile:
    """Passes requests on to the simulator, and answers with the key that they carried wherever a text can stand."""

    simulator: Simulator
    status: int = 200
    """Of all answers."""
    padding: str = ""
    """Behind the messages of errors."""
    asked: int = 0
    planted: set[str] = field(default_factory=set)
    url: str = ""

    def form(self) -> str:
        """The next form of the key."""
        self.asked += 1
        form = FORMS[self.asked % len(FORMS)]
        self.planted.add(form)
        return form

    async def handle(self, asked: web.Request) -> web.Response:
        """The upstream's answer, with the key in it."""
        sent = " ".join(asked.headers.get(name, "") for name in ("authorization", "x-api-key", "x-goog-api-key"))
        assert KEY in sent
        headers = {"x-request-id": self.form().encode("ascii", "ignore").decode().replace("\n", ""), "retry-after": "0"}
        if self.status != 200:
            headers["location"] = f"/{'x' * 180}{KEY}"
            message = f"{'Incorrect key. ' * 19}{self.form()} {KEY}{self.padding}"  # where lines are cut
            error = {"error": {"message": message, "type": self.form(), "param": self.form(), "code": self.form()}}
            return web.Response(status=self.status, body=orjson.dumps(error), headers=headers)
        passed = {name: asked.headers[name] for name in asked.headers if name.lower() in PASSED}
        content = await asked.read()
        url = f"http://{self.simulator.url.split('//')[1].split('/')[0]}{asked.path_qs}"
        async with ClientSession() as session, session.request(asked.method, url, data=content, headers=passed) as got:
            status, body = got.status, await got.json(content_type=None)
        return web.Response(
            status=status, body=orjson.dumps(self.plant(body) if status == 200 else body), headers=headers
        )

    def plant(self, value: Any, name: str = "") -> Any:
        """`value` with the key behind every text that no protocol needs as it is."""
        if isinstance(value, dict):
            planted = {each: self.plant(inner, each) for each, inner in value.items()}
            return planted | ({self.form(): self.form()} if name in ("", "message", "usage") else {})
        if isinstance(value, list):
            return [self.plant(each, name) for each in value]
        if not isinstance(value, str) or name in FIXED:
            return value
        if name in ("text", "content"):
            with_key = _in_json(value, lambda text: f"{text[:-1]} {self.form()}?" if "the" in text else text)
            return with_key if with_key is not None else f"{value} {self.form()} {self.form()}"
        return f"{value}{self.form()}"


PASSED = ("authorization", "x-api-key", "x-goog-api-key", "content-type", "anthropic-version")
FIXED = ("type", "role", "object", "finish_reason", "finishReason", "stop_reason", "service_tier", "modality")


def _in_json(text: str, change: Any) -> str | None:
    """JSON with its questions changed; None if `text` is none."""
    try:
        data = json.loads(text)
    except ValueError:
        return None

    def changed(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {each: changed(inner, each) for each, inner in value.items()}
        if isinstance(value, list):
            return [changed(each, name) for each in value]
        return change(value) if isinstance(value, str) and name == "question" else value

    return json.dumps(changed(data))


@contextmanager
def hostile(**settings: Any) -> Iterator[Hostile]:
    """A hostile server on a thread of its own."""
    started: list[Hostile] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def serve() -> None:
        async with Simulator(Simulation(price=PRICE)) as simulator:
            server = Hostile(simulator, **settings)
            async with serve_requests(server.handle) as server.url:
                over = asyncio.Event()
                started.append(server)
                loops.append((asyncio.get_running_loop(), over))
                ready.set()
                await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="hostile server")
    thread.start()
    assert ready.wait(20)
    try:
        yield started[0]
    finally:
        loop, over = loops[0]
        loop.call_soon_threadsafe(over.set)
        thread.join()


# --- searching -----------------------------------------------------------------------------------------------------


def letters(text: str) -> str:
    return "".join(each for each in text.lower() if each.isascii() and each.isalnum())


PIECES = {letters(KEY)[at : at + PIECE] for at in range(len(letters(KEY)) - PIECE + 1)}
ESCAPE = re.compile(r"%([0-9a-f]{2})|&#x([0-9a-f]+);|\\+u([0-9a-f]{4})|&#(\d+);", re.IGNORECASE)


def views(data: bytes) -> Iterator[str]:
    """Everything that `data` may be read as."""
    text = data.decode("utf-8", "replace")
    for _ in range(4):
        yield text
        plain = html.unescape(ESCAPE.sub(lambda m: chr(int(m[4]) if m[4] else int(m[1] or m[2] or m[3], 16)), text))
        if plain == text:
            break
        text = plain
    squeezed = re.sub(r"[\s\u200b:]+", "", data.decode("utf-8", "replace"))
    for run in re.findall(r"(?:[0-9a-fA-F]{2}){10,}", squeezed):
        for at in (0, 1):
            half = run[at : at + (len(run) - at) // 2 * 2]
            yield bytes.fromhex(half).decode("latin-1")
    for run in re.findall(r"[A-Za-z0-9+/_-]{16,}", squeezed):
        if len(run) < 5000:  # no picture
            for at in range(4):
                part = run[at : at + (len(run) - at) // 4 * 4].replace("-", "+").replace("_", "/")
                yield base64.b64decode(part).decode("latin-1")


def found(data: bytes) -> str | None:
    """A piece of the key in `data`, in whatever form; None if there is none."""
    for view in views(data):
        plain = letters(view)
        for piece in PIECES:
            if piece in plain:
                return piece
    return None


def test_the_search_finds_every_form_in_a_file():
    for form in FORMS:
        for data in (
            form.encode(),
            json.dumps({"text": f"a {form} b"}).encode(),
            f"<p>{html.escape(form)}</p>".encode(),
        ):
            assert found(b"before " + data + b" behind"), form
    assert found(b"sk-proj- is how keys begin") is None


def searched(folder: Path) -> list[str]:
    """The names of all files below `folder`; none of them holds a piece of the key, nor a stored value."""
    names = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            names.append(file.name)
            assert found(file.read_bytes()) is None, f"{file}: {found(file.read_bytes())}"
            assert found(str(file).encode()) is None, file
        if file.name == "cache.db":
            with sqlite3.connect(file) as database:
                for key, value in database.execute("SELECT key, value FROM Cache"):
                    assert found(key.encode() + b" " + value) is None
            database.close()
    return names


# --- runs ------------------------------------------------------------------------------------------------------------

ROUTES = {
    "openai": (
        "openai",
        "gpt-5.4-mini",
        "/v1",
        {"max_tokens_field": '"max_completion_tokens"', "takes": "{ logprobs = true }"},
    ),
    "anthropic": ("anthropic", "claude-sonnet-5-5", "", {}),
    "gemini": ("gemini", "gemini-3.5-flash-lite", "/v1beta", {}),
    "litellm": ("litellm", "openai/gpt-4o-mini", "/v1", {"vendor": '"openai"'}),
}


@pytest.fixture
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with images, and the key in a variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLANTED_API_KEY", KEY)
    draw_images(tmp_path / "images", 3)
    return tmp_path


def profile(folder: Path, route: str, server: Hostile) -> None:
    backend, model, path, more = ROUTES[route]
    lines = [
        f'backend = "{backend}"',
        f'model = "{model}"',
        f'endpoint = "{server.url}{path}"',
        'api_key_env = "PLANTED_API_KEY"',
        "api_key_required = true",
        "price = { input_usd_per_mtok = 2.5, output_usd_per_mtok = 10.0 }",
        "retry_wait_s = 0.01",
        "attempts = 2",
        *(f"{name} = {value}" for name, value in more.items()),
    ]
    (folder / "providers").mkdir(exist_ok=True)
    (folder / "providers" / "planted.toml").write_text("\n".join(lines) + "\n")


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """A command's exit code and all that it said, in which no piece of the key is."""
    done = command(capsys, *arguments)
    said = done.out + done.err
    assert found(said.encode()) is None, said
    return done.code, said


RUN = ("run", "--provider", "planted", "--images", "images", "--questions", "2", "--yes", "--out", "run")


@pytest.mark.parametrize("route", ROUTES)
def test_a_key_that_comes_back_in_replies_is_in_nothing_that_is_kept_or_shown(route, at_work, capsys):
    with hostile() as server:
        profile(at_work, route, server)
        code, said = ran(capsys, *RUN, "--cache", "cache")
        assert code in (0, 3), said
        assert len(server.planted) == len(FORMS)
        assert said.count("sent back a key that was sent to it") == 1
        ran(capsys, "doctor", "--provider", "planted", "--yes")
    score = json.loads((at_work / "run" / "score.json").read_text())
    assert score["questions"]["asked"] > 0
    assert [warning for warning in score["warnings"] if "held a key that was sent to it" in warning]
    assert sum(json.loads((at_work / "run" / "manifest.json").read_text())["keys_hidden"].values()) > 10
    for arguments in (
        ("show", "run"),
        ("show", "run", "--json"),
        ("report", "run", "--out", "report.html"),
        ("cache", "info", "--cache", "cache"),
        ("export", "run", "--out", "rows", "--splits", "100/0/0", "--accept-teacher-terms"),
    ):
        code, said = ran(capsys, *arguments)
        assert code == 0, said
    names = searched(at_work)
    assert {"journal.jsonl", "ledger.jsonl", "manifest.json", "score.json", "report.html", "cache.db"} <= set(names)
    assert b"[key]" in (at_work / "run" / "journal.jsonl").read_bytes()


# 429 is waited for, which takes time: it is read by the same code in every wire.
STATUSES = [(route, status) for route in ROUTES for status in (307, 400, 401, 404, 500)] + [("openai", 429)]


@pytest.mark.parametrize(("route", "status"), STATUSES)
def test_a_key_that_comes_back_in_errors_is_in_nothing_that_is_kept_or_shown(route, status, at_work, capsys):
    with hostile(status=status) as server:
        profile(at_work, route, server)
        text = (at_work / "providers" / "planted.toml").read_text()
        (at_work / "providers" / "planted.toml").write_text(text + "timeout_s = 3\ndeadline_s = 3\n")
        code, said = ran(capsys, *RUN, "--cache", "cache")
        assert code in (2, 3), said
        if status != 429:  # which doctor waits for
            ran(capsys, "doctor", "--provider", "planted", "--yes")
        assert server.planted, said
    searched(at_work)


def test_a_key_that_comes_back_in_the_list_of_models_is_in_nothing_that_is_kept_or_shown(at_work, capsys):
    with hostile() as server:
        profile(at_work, "openai", server)
        file = at_work / "providers" / "planted.toml"
        file.write_text(file.read_text().replace('model = "gpt-5.4-mini"\n', ""))
        for number in range(4):
            ran(capsys, *(*RUN[:-1], f"run{number}"), "--cache", "cache")
        assert server.planted
    assert "[key]" in json.loads((at_work / "run3" / "manifest.json").read_text())["subject"]["model"]
    searched(at_work)


def test_an_error_of_megabytes_is_read_in_little_time(at_work, capsys):
    with hostile(status=401, padding=f" {KEY}" * 80_000) as server:
        profile(at_work, "openai", server)
        began = time.process_time()
        code, said = ran(capsys, *RUN, "--cache", "cache")
        assert time.process_time() - began < 20, "it takes minutes where the whole is searched"
        assert code == 2, said
    searched(at_work)


def test_what_was_stored_with_a_key_before_it_was_hidden_is_kept_without_it(at_work, capsys):
    with hostile() as server:
        profile(at_work, "openai", server)
        ran(capsys, *RUN, "--cache", "cache")
        with sqlite3.connect(at_work / "cache" / "cache.db") as database:
            for rowid, value in database.execute("SELECT rowid, value FROM Cache").fetchall():
                old = bytes(value).replace(b"[key]", KEY.encode())
                database.execute("UPDATE Cache SET value = ? WHERE rowid = ?", (old, rowid))
        database.close()
        ran(capsys, *(*RUN[:-1], "again"), "--cache", "cache")
    searched(at_work / "again")
