"""Images in an object store, read by pyarrow's client from a small S3 of ours on a socket."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import aiohttp
import pytest

from unsaf_async import evaluate, load
from unsaf_async.checks.trusted import Labelling
from unsaf_async.errors import UntrustedFolder, UserError
from unsaf_async.inputs import objects
from unsaf_async.inputs.opening import sent_size
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImageError, ImagePolicy
from unsaf_async.inputs.sources import find_images
from unsaf_async.records import ImageRecord
from unsaf_async.report.label_page import LabelPage, serve
from unsaf_async.report.thumbnails import thumbnail
from unsaf_async.runs.authority import authorise, check_images
from unsaf_async.runs.folder import reopen
from unsaf_async.runs.prepare import questions_of
from unsaf_async.text import shorten_at_word

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("pyarrow")

PHOTOS = Path(__file__).parents[2] / "images" / "photos"
SECRET = "the-secret-of-this-test"


class Store(ThreadingHTTPServer):
    """The part of S3's protocol that reading takes: HeadObject, GetObject with a range, ListObjectsV2 in pages."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.asked: list[str] = []
        self.sent_bytes = 0
        self.denied = False
        self.contents_denied = False
        self.lists_twice = False

    def put(self, key: str, data: bytes, when: str = "2026-05-01T10:00:00") -> None:
        self.objects[key] = (data, datetime.fromisoformat(when).replace(tzinfo=UTC))


class _Handler(BaseHTTPRequestHandler):
    server: Store
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._object()

    def do_GET(self) -> None:
        if parse_qs(urlsplit(self.path).query).get("list-type") == ["2"]:
            self._list()
        else:
            self._object()

    def _object(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        bucket, _, key = unquote(urlsplit(self.path).path).removeprefix("/").partition("/")
        if self.server.denied or (self.server.contents_denied and self.command == "GET"):
            self._answer(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
        elif bucket == "shots" and not key:
            self._answer(200, b"")
        elif bucket != "shots" or key not in self.server.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            data, when = self.server.objects[key]
            span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            part = data[int(span[1]) : int(span[2]) + 1] if span else data
            self._answer(206 if span else 200, part, when.strftime("%a, %d %b %Y %H:%M:%S GMT"))

    def _list(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if self.server.denied:
            self._answer(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
            return
        prefix, most = query.get("prefix", [""])[0], min(3, int(query["max-keys"][0]))  # small pages: more than one
        after = query.get("continuation-token", [""])[0]
        keys = [key for key in sorted(self.server.objects) if key.startswith(prefix) and key > after]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[key][0])}</Size>"
            f"<LastModified>{self.server.objects[key][1]:%Y-%m-%dT%H:%M:%S}.000Z</LastModified></Contents>"
            for key in keys[:most] * (1 + self.server.lists_twice)
        )
        more = len(keys) > most
        token = f"<NextContinuationToken>{escape(keys[most - 1])}</NextContinuationToken>" if more else ""
        self._answer(
            200,
            f'<?xml version="1.0"?><ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}'
            f"<KeyCount>{len(keys[:most])}</KeyCount>{rows}</ListBucketResult>".encode(),
        )

    def _answer(self, status: int, body: bytes, modified: str = "") -> None:
        assert SECRET not in str(self.headers)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if modified:
            self.send_header("Last-Modified", modified)
        self.end_headers()
        if self.command != "HEAD":
            self.server.sent_bytes += len(body)
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with Store() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        objects._store.cache_clear()
        yield server
        server.shutdown()
    objects._store.cache_clear()


def test_a_folder_of_a_store_gives_its_images_sorted_with_those_of_its_subfolders(store: Store) -> None:
    for key in (
        "a/z.jpg",
        "a/b c/é%20&.PNG",
        "a/notes.txt",
        "a/.hidden/x.jpg",
        "a/b c/y.webp",
        "ab/other.jpg",
        "top.jpg",
    ):
        store.put(key, b"x")
    for address in ("s3://shots/a", "s3://shots/a/"):
        found = find_images([address])
        assert [image.id for image in found] == ["b c/y.webp", "b c/é%20&.PNG", "z.jpg"]
        assert [image.address for image in found] == [f"s3://shots/a/{image.id}" for image in found]
    assert [image.id for image in find_images(["s3://shots"])] == [
        "a/b c/y.webp", "a/b c/é%20&.PNG", "a/z.jpg", "ab/other.jpg", "top.jpg",
    ]  # fmt: skip
    assert [image.id for image in find_images(["s3://shots/top.jpg", "s3://shots/top.jpg"])] == ["top.jpg"]


def test_an_object_is_sent_as_the_same_file_would_be(store: Store) -> None:
    photo = PHOTOS / "coffee.jpg"
    store.put("coffee.jpg", photo.read_bytes())
    (image,) = find_images(["s3://shots/coffee.jpg"])
    assert encode(image.place, ImagePolicy()) == encode(photo, ImagePolicy())
    assert sent_size(image.place, ImagePolicy()) == sent_size(photo, ImagePolicy())


def test_of_a_large_object_only_the_header_is_fetched_for_its_size(store: Store) -> None:
    store.put("large.jpg", (PHOTOS / "coffee.jpg").read_bytes() + bytes(5_000_000))
    (image,) = find_images(["s3://shots/large.jpg"])
    store.sent_bytes = 0
    assert sent_size(image.place, ImagePolicy()) == (600, 400)
    assert store.sent_bytes <= 2 * 65536


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://shots/none", "does not exist; check the bucket and the name"),
        ("s3://nobody/a", "does not exist; check the bucket and the name"),
        ("s3://shots/texts", "holds one object, but no image"),
        ("s3://Shots/a", "is no address of objects; give s3://BUCKET/FOLDER"),
        ("s3://me:secret@shots/a", "is no address of objects"),
        ("s3://shots?secret_key=x", "is no address of objects"),
        ("gs://shots/a", "is a URL; download the image first"),
    ],
)
def test_what_cannot_be_listed_is_one_line(store: Store, address: str, said: str) -> None:
    store.put("texts/list.csv", b"image\n")
    with pytest.raises(UserError, match=re.escape(said)) as raised:
        find_images([address])
    assert "\n" not in str(raised.value)


def test_a_store_that_refuses_is_told_in_its_words(store: Store) -> None:
    store.put("a/x.jpg", b"x")
    store.denied = True
    with pytest.raises(
        UserError, match=r"s3://shots/a cannot be listed \(.*(ACCESS_DENIED|Forbidden|403).*AWS_ENDPOINT_URL"
    ):
        find_images(["s3://shots/a"])


def test_a_store_that_does_not_answer_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "y"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError) as raised:
        find_images(["s3://nobody-answers/a"])
    assert "s3://nobody-answers/a cannot be listed (nothing answers at the store's address); check" in str(raised.value)


def test_what_a_store_says_is_cut_behind_a_word() -> None:
    said = shorten_at_word("AWS Error " + "details " * 50, 60)
    assert (len(said) <= 60, said.endswith("details ...")) == (True, True)


def test_an_object_that_is_gone_or_has_changed_costs_one_image_and_says_why(store: Store) -> None:
    photo = (PHOTOS / "coffee.jpg").read_bytes()
    store.put("a/gone.jpg", photo)
    store.put("a/later.jpg", photo)
    store.put("a/longer.jpg", photo)
    gone, later, longer = find_images(["s3://shots/a"])
    del store.objects["a/gone.jpg"]
    store.put("a/later.jpg", photo, "2026-05-01T10:00:01")
    store.put("a/longer.jpg", photo + b"x")
    for image, why in (
        (gone, "the object is missing"),
        (later, "the object has changed since it was listed"),
        (longer, "the object has changed since it was listed"),
    ):
        for read in (encode, sent_size):
            with pytest.raises(ImageError, match=why):
                read(image.place, ImagePolicy())


async def test_a_run_records_the_address_and_no_credential_and_goes_on_with_its_objects(
    store: Store, tmp_path: Path
) -> None:
    for name in ("coffee.jpg", "rocket.jpg"):
        store.put(f"a/{name}", (PHOTOS / name).read_bytes())
    score = await evaluate("scripted", images="s3://shots/a", out=tmp_path / "run", max_cost=1.0)
    assert score.images.done == 2
    _, examinations, _ = load(tmp_path / "run")
    assert {each.image.path for each in examinations} == {"s3://shots/a/coffee.jpg", "s3://shots/a/rocket.jpg"}
    images, _ = questions_of(tmp_path / "run")  # of the user's own list
    assert {each.address for each in images} == {"s3://shots/a/coffee.jpg", "s3://shots/a/rocket.jpg"}
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())  # noqa: ASYNC240
    assert SECRET.encode() not in kept
    assert b"somebody" not in kept
    journal = tmp_path / "run" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"s3://shots/a/coffee.jpg", b"s3://theirs/a/coffee.jpg"))
    with pytest.raises(UntrustedFolder, match=r"s3://theirs/a/coffee\.jpg"):
        questions_of(tmp_path / "run")


async def test_more_about_the_finished_objects_of_a_folder_that_was_received_asks_no_store(
    store: Store, tmp_path: Path
) -> None:
    store.put("a/coffee.jpg", (PHOTOS / "coffee.jpg").read_bytes())
    await evaluate("scripted", images="s3://shots/a", questions=1, out=tmp_path / "run", max_cost=1.0)
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"signature": ""}))
    with reopen(tmp_path / "run") as folder:
        with pytest.raises(UntrustedFolder, match=r"s3://shots/a/coffee\.jpg"):
            authorise(folder, trust=False, more=True)
        authorise(folder, trust=False)  # nothing is left to ask


def test_a_folder_that_was_received_has_no_object_fetched(store: Store, tmp_path: Path) -> None:
    store.put("x.jpg", b"x")
    (image,) = find_images(["s3://shots/x.jpg"])
    store.asked.clear()
    with pytest.raises(UntrustedFolder, match=quote("s3://shots/x.jpg", safe=":/")):
        check_images(tmp_path, [image], trust=False)
    record = ImageRecord(id="x", path=image.address, part=image.part, bytes_sha256="0" * 64)
    assert thumbnail(record, 64).why == "the image lies in an object store, which a report does not ask"
    assert store.asked == []


async def shown_of(run: Path) -> dict[str, str]:
    """What the page for labels shows of the question that waits, of a run that is opened for it."""
    with reopen(run) as folder, Labelling(folder) as labelling:
        ready: asyncio.Future[LabelPage] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group, aiohttp.ClientSession() as session:
            served = group.create_task(serve(labelling, 1, ready=ready.set_result))
            page = await ready
            async with session.get(f"{page.url}next") as reply:
                shown: dict[str, str] = await reply.json()
            served.cancel()
        return shown


async def test_the_page_for_labels_shows_objects_of_ones_own_run_and_asks_nothing_where_it_cannot(
    store: Store, tmp_path: Path
) -> None:
    photo, run = PHOTOS / "coffee.jpg", tmp_path / "run"
    store.put("a/coffee.jpg", photo.read_bytes())
    await evaluate("scripted", images="s3://shots/a", questions=2, out=run, max_cost=1.0)
    shown = await shown_of(run)
    assert (shown["why"], shown["picture"]) == ("", encode(photo, ImagePolicy())[0].data_url)
    del store.objects["a/coffee.jpg"]
    with pytest.raises(ExceptionGroup) as gone:
        await shown_of(run)
    assert "s3://shots/a/coffee.jpg: cannot be shown: the object is missing" in str(gone.value.exceptions[0])
    store.put("a/coffee.jpg", photo.read_bytes())
    manifest = run / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"signature": ""}))
    store.asked.clear()
    with pytest.raises(ExceptionGroup) as foreign:
        await shown_of(run)
    assert re.search(
        r"its images lie in an object store, and it is not known as a run of yours, so none is fetched; `unsaf-async resume",
        str(foreign.value.exceptions[0]),
    )
    assert store.asked == []


async def test_a_folder_that_is_trusted_has_its_objects_labelled(store: Store, tmp_path: Path) -> None:
    run = tmp_path / "run"
    store.put("a/coffee.jpg", (PHOTOS / "coffee.jpg").read_bytes())
    await evaluate("scripted", images="s3://shots/a", questions=2, out=run, max_cost=1.0)
    manifest = run / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"signature": ""}))
    resumed = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "unsaf_async", "resume", str(run), "--trust-folder", "--quiet"
    )
    assert await resumed.wait() == 0
    shown = await shown_of(run)
    assert shown["why"] == ""


def test_an_object_that_may_be_listed_and_not_read_is_one_line(store: Store) -> None:
    store.put("x.jpg", (PHOTOS / "coffee.jpg").read_bytes())
    (image,) = find_images(["s3://shots/x.jpg"])
    store.contents_denied = True
    for read in (encode, sent_size):
        with pytest.raises(ImageError, match=r"cannot be read.*(ACCESS_DENIED|Forbidden|403)") as raised:
            read(image.place, ImagePolicy())
        assert "\n" not in str(raised.value)


def test_a_name_with_a_line_break_is_an_objects_name(store: Store) -> None:
    store.put("a/one\ntwo.jpg", (PHOTOS / "coffee.jpg").read_bytes())
    (image,) = find_images(["s3://shots/a"])
    assert sent_size(image.place, ImagePolicy()) == (600, 400)


def test_without_the_library_an_image_says_how_it_is_installed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("x.jpg", b"x")
    (image,) = find_images(["s3://shots/x.jpg"])
    objects._store.cache_clear()  # as in the process that resumes the run
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    for read in (encode, sent_size):
        with pytest.raises(ImageError, match=r"pyarrow, which reads S3, is not installed.*pip install"):
            read(image.place, ImagePolicy())


def test_an_object_that_is_listed_twice_is_one_image(store: Store) -> None:
    store.put("a/x.jpg", b"x")
    store.lists_twice = True
    assert [image.id for image in find_images(["s3://shots/a"])] == ["x.jpg"]
