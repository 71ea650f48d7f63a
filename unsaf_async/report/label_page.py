"""The page on which a run's questions are labelled: an image, a question, three keys.

    /TOKEN/         the page
    /TOKEN/next     the question that waits, as JSON
    /TOKEN/label    takes a label, and answers with the next question

Whoever labels is blind: neither the intended label nor the response leaves this process, nor what the labels come to so far.
A label is on disk before the next question comes. The token is in no link and in no referrer, and a label is taken only with
a header that no other site's page can set: so nobody but who started it can label.
"""

from __future__ import annotations

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import orjson
from aiohttp import web

from unsaf_async.errors import UserError, setting
from unsaf_async.report.local_pages import OWN_POLICY, LocalPages, guarded, page
from unsaf_async.report.markup import el, html, said
from unsaf_async.report.page import fill
from unsaf_async.report.thumbnails import whole_picture
from unsaf_async.runs.prepare import policy_of
from unsaf_async.score.label_errors import FEWEST_LABELS, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.checks.trusted import Labelling
    from unsaf_async.runs.saved import SavedRun
    from unsaf_async.score.label_errors import Verdict
    from unsaf_async.score.label_sample import Sampled

MARK = "X-Unsaf-Async"
"""A header that a page of another site cannot send without asking this server first, which says no."""

_CHOICES: tuple[tuple[Verdict, str, str], ...] = (
    ("answerable", "1", "The image answers it"),
    ("unanswerable", "2", "It does not"),
    ("cannot-say", "3", "Cannot say"),
)


class LabelPage(LocalPages):
    """The page, listening on 127.0.0.1 while the context is open.

    Args:
        labelling: Of the run; the caller closes it.
        aim: How many labels the page's progress goes up to.
        port: To listen on; 0 picks a free one.

    Raises:
        UserError: On entering: the port is taken.
    """

    def __init__(self, labelling: Labelling, aim: int, port: int = 0) -> None:
        self._token = secrets.token_urlsafe(16)
        super().__init__(_Labels(labelling, aim, self._token).application(), port)

    @property
    def url(self) -> str:
        """Where it listens, with the token: "http://127.0.0.1:40123/Zm9v.../"."""
        return f"{super().url}{self._token}/"


async def serve(
    labelling: Labelling, aim: int, port: int = 0, ready: Callable[[LabelPage], None] | None = None
) -> None:
    """Listen until cancelled.

    Args:
        labelling: Of the run.
        aim: As for `LabelPage`.
        port: As for `LabelPage`.
        ready: Called once, when it listens.

    Raises:
        UserError: The port is taken, or the images lie where they cannot be fetched from.
    """
    await asyncio.to_thread(_check_objects, labelling)
    async with LabelPage(labelling, aim, port) as label_page:
        if ready is not None:
            ready(label_page)
        await asyncio.get_running_loop().create_future()


def _check_objects(labelling: Labelling) -> None:
    """Checks that images in an object store can be shown, before anybody is asked about one. Raises UserError."""
    run = labelling.run
    if not _in_a_store(run):
        return
    if not run.own:
        raise UserError(
            f"{run.folder}: its images lie in an object store, and it is not known as a run of yours, so none is fetched; "
            f"`unsaf-async resume {run.folder} {setting('trust_folder', True)}` makes it yours, or fill in a sheet "
            f"({setting('sheet', 'FILE')})"
        )
    if (waiting := labelling.next()) is not None:
        image, _ = labelling.look_up(waiting)
        picture = whole_picture(image, policy_of(run.manifest.subject), run.objects)
        if not picture.url:
            raise UserError(f"{image.path}: cannot be shown: {picture.why}; nothing was asked")


def _in_a_store(run: SavedRun) -> bool:
    """Whether images of a run lie in an object store."""
    try:
        return any(image.is_object for image in run.images)
    except UserError:  # its list is gone or has changed: no object of it is known
        return False


class _Labels:
    """The state behind the routes. Everything is read and written in a thread of its own, one request at a time.

    given: the keys of the labels that were given on this page, in turn, for taking them back.
    """

    def __init__(self, labelling: Labelling, aim: int, token: str) -> None:
        self.labelling, self.aim, self.token = labelling, aim, token
        self.policy = policy_of(labelling.run.manifest.subject)
        self.objects = labelling.run.objects if _in_a_store(labelling.run) else frozenset[str]()
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="label")
        self.given: list[str] = []

    def application(self) -> web.Application:
        app = web.Application(middlewares=[guarded], client_max_size=1024)
        app.router.add_get(f"/{self.token}/", self.show)
        app.router.add_get(f"/{self.token}/next", self.next)
        app.router.add_post(f"/{self.token}/label", self.label)
        app.on_cleanup.append(self.close)
        return app

    async def close(self, app: web.Application) -> None:  # noqa: ARG002 - a handler's signature
        self.thread.shutdown(wait=True)  # a label that was sent is written

    # --- the routes

    async def show(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return page(_text(self.labelling.run.folder.name, self.aim), "label")

    async def next(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return await self.answer(self.waiting)

    async def label(self, request: web.Request) -> web.Response:
        if request.headers.get(MARK) != "label" or request.content_type != "application/json":
            raise web.HTTPForbidden(text="Labels are taken from this server's own page.\n")
        try:
            sent = orjson.loads(await request.read())
            key, label = sent["key"], sent["label"]
        except (ValueError, KeyError, TypeError):
            raise web.HTTPBadRequest(text="That is no label.\n") from None
        if label is not None and label not in VERDICTS:
            raise web.HTTPBadRequest(text="That is no label.\n")
        return await self.answer(lambda: self.take(key, cast("Verdict | None", label)))

    async def answer(self, work: Callable[[], dict[str, Any]]) -> web.Response:
        """What the work gives, as JSON; where it cannot be done, why."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(self.thread, work)
        except UserError as error:
            raise web.HTTPUnprocessableEntity(text=f"{error}\n") from None
        return web.Response(body=orjson.dumps(found), content_type="application/json")

    # --- in the thread

    def take(self, key: object, label: Verdict | None) -> dict[str, Any]:
        """Writes a label down; None takes the last one that was given here back, whatever the key."""
        if label is None:
            if self.given:
                self.labelling.put(self.given[-1], None)
                self.given.pop()
        else:
            self.labelling.put(str(key), label)
            self.given.append(str(key))
        return self.waiting()

    def waiting(self) -> dict[str, Any]:
        """The question that waits, with its image; without a key if none does."""
        found: Sampled | None = self.labelling.next()
        told: dict[str, Any] = {
            "labelled": self.labelling.labelled,
            "questions": len(self.labelling.by_key),
            "can_undo": bool(self.given),
            "key": None,
        }
        if found is None:
            return told
        image, question = self.labelling.look_up(found)
        picture = whole_picture(image, self.policy, self.objects)
        return told | {"key": found.key, "question": question.text, "picture": picture.url, "why": picture.why}


def _text(name: str, aim: int) -> str:
    choices = [
        el("button", el("kbd", key), f" {words}", type="button", data_label=label, disabled=True)
        for label, key, words in _CHOICES
    ]
    undo = el("button", el("kbd", "Backspace"), " Take the last one back", type="button", id="undo", disabled=True)
    keys = (
        "Keys: 1 or a, the image answers the question; 2 or u, it does not, whatever one might guess; 3 or ?, you cannot say. "
        f"Backspace takes the last label back. Each is kept at once; {FEWEST_LABELS} correct a score, and 100 to 200 do so well. "
        "Pass no question over: a hard one is an answer, too. When you are done, end the command with Ctrl-C."
    )
    main = el(
        "main",
        said(name, "h1", "said small"),
        el("p", "", id="image-why", class_="muted", hidden=True),
        el("img", id="picture", alt="The image that the question is about", class_="asked-about", hidden=True),
        el("p", "", id="question", class_="said asked", dir="auto", aria_live="polite"),
        el("div", choices, undo, class_="choices"),
        el("p", "", id="problem", class_="muted", role="alert"),
        el("progress", max=aim, value=0, id="progress", aria_label="Labels given"),
        el("p", "", id="count", class_="muted small", role="status"),
        el("p", keys, class_="muted small gap"),
        class_="wide labelling",
        id="main",
    )
    return fill(f"{name} - labels", "label", html(main), further=OWN_POLICY)
