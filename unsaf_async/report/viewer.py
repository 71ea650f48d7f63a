"""The viewer: a folder of runs as pages on this machine. It reads, and changes nothing.

    /                  the runs with their headline figures; the page asks /state for what is new
    /run/NAME          a run's report, made when it is asked for, and kept until its journal changes
    /run/NAME/judged/N the same of its answers judged anew; /live/ has the like
    /compare?run=...   one report of several runs
    /live/NAME         a run that is going on; the page asks /live/NAME/state for what is new

Only this machine can reach it (`local_pages`). A run is looked up in the list of runs by its name, never
by a path, so no request leads out of the folder.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
from aiohttp import web
from pydantic import ValidationError

from unsaf_async.compare.judged import judged_scores
from unsaf_async.errors import UnsafError, UserError
from unsaf_async.files import whole_lines
from unsaf_async.providers.addresses import mark
from unsaf_async.records import Examination
from unsaf_async.report.data import load_run
from unsaf_async.report.live_run import Tail
from unsaf_async.report.local_pages import OWN_POLICY, LocalPages, guarded, page
from unsaf_async.report.markup import clean, el, html, said
from unsaf_async.report.page import fill, render
from unsaf_async.report.pieces import badges_in_words, table
from unsaf_async.runs.findings import Findings
from unsaf_async.runs.folder import RunFiles, read_manifest
from unsaf_async.runs.listing import exists, newest_first, runs_in
from unsaf_async.runs.result import PILOT
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.so_far import SoFar
from unsaf_async.text import (
    format_bracketed,
    format_count,
    format_difference,
    format_figure,
    format_headline,
    format_interval,
    format_usd,
    shorten,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from unsaf_async.compare.judged import JudgedScore
    from unsaf_async.runs.folder import Manifest

_NOT_LABELLED = "n/a: no labelled set"
_NO_ACCURACY = ("", "n/a", _NOT_LABELLED)
"""What stands for a run's accuracy where there is none."""

PAGES_KEPT = 8
"""Reports that are kept in memory."""


class Viewer(LocalPages):
    """The viewer, listening on 127.0.0.1 while the context is open.

        async with Viewer(Path("runs")) as viewer:
            viewer.url

    Args:
        folder: It holds the runs.
        port: To listen on; 0 picks a free one.

    Raises:
        UserError: The folder is none, or the port is taken.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder}: is no folder; give the one that holds the runs, such as runs/")
        super().__init__(_Pages(folder).application(), port)


async def serve(folder: Path, port: int = 0, ready: Callable[[Viewer], None] | None = None) -> None:
    """Listen until cancelled.

    Args:
        folder: It holds the runs.
        port: To listen on; 0 picks a free one.
        ready: Called once, when it listens.

    Raises:
        UserError: The folder is none, or the port is taken.
    """
    async with Viewer(folder, port) as viewer:
        if ready is not None:
            ready(viewer)
        await asyncio.get_running_loop().create_future()


def find_runs(folder: Path) -> dict[str, Path]:
    """The runs in a folder by name.

    Args:
        folder: It holds runs, or is one itself.

    Returns:
        Folders by name, the newest first, each followed by its answers judged anew, "NAME/judged/N"; {} if there are none.
    """
    runs = {clean(folder.resolve().name): folder} if exists(folder) else {}
    if not runs:
        runs = {clean(entry.name): entry for entry in newest_first(runs_in(folder))}
    found = {}
    for name, run in runs.items():
        found[name] = run
        found |= {f"{name}/judged/{clean(each.folder.name)}": each.folder for each in SavedRun(run).judged}
    return found


def _name(request: web.Request) -> str:
    """The name of the run that a request is about, as `find_runs` has it."""
    name, judged = request.match_info["name"], request.match_info.get("judged")
    return name if judged is None else f"{name}/judged/{judged}"


def _address(name: str) -> str:
    return "/".join(quote(part, safe="") for part in name.split("/"))


def _stamp_with_judged(run: Path) -> tuple[object, ...]:
    """As `_stamp`, with those of its answers judged anew."""
    return (_stamp(run), *((each.folder.name, _stamp(each.folder)) for each in SavedRun(run).judged))


def _stamp(run: Path) -> tuple[tuple[int, int], ...]:
    """(time, size) of each of the run's files that its report is made of; it differs if one of them has changed."""
    stamps = []
    files = RunFiles(run)
    for file in (files.journal, files.manifest, files.labels, files.score):
        try:
            stat = file.stat()
            stamps.append((stat.st_mtime_ns, stat.st_size))
        except OSError:
            stamps.append((0, 0))
    return tuple(stamps)


class _Pages:
    """The state behind the routes. Files are read, and reports made, in a thread of its own, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="report")
        self.reports: dict[tuple[str, ...], tuple[object, str]] = {}
        self.tails: dict[Path, Tail] = {}
        self.judged: dict[Path, tuple[object, dict[str, JudgedScore]]] = {}

    def application(self) -> web.Application:
        app = web.Application(middlewares=[guarded], client_max_size=1024)
        app.router.add_get("/", self.index)
        app.router.add_get("/state", self.list_state)
        app.router.add_get("/compare", self.compare)
        for run in ("{name}", "{name}/judged/{judged}"):
            app.router.add_get(f"/run/{run}", self.report)
            app.router.add_get(f"/live/{run}", self.live)
            app.router.add_get(f"/live/{run}/state", self.state)
        app.on_cleanup.append(self.close)
        return app

    async def close(self, app: web.Application) -> None:  # noqa: ARG002 - a handler's signature
        self.thread.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *arguments)

    # --- the routes

    async def index(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return page(await self.in_thread(self.make_index), "view")

    async def list_state(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return web.Response(
            body=orjson.dumps(await self.in_thread(self.make_list_state)), content_type="application/json"
        )

    async def report(self, request: web.Request) -> web.Response:
        return page(await self.in_thread(self.make_report, [_name(request)]), "report", further="")

    async def compare(self, request: web.Request) -> web.Response:
        names = list(dict.fromkeys(request.query.getall("run", [])))
        if not names:
            raise web.HTTPFound("/")
        return page(await self.in_thread(self.make_report, names), "report", further="")

    async def live(self, request: web.Request) -> web.Response:
        return page(await self.in_thread(self.make_live, _name(request)), "view")

    async def state(self, request: web.Request) -> web.Response:
        figures = await self.in_thread(self.look, _name(request))
        if figures["version"] == request.query.get("since"):
            return web.Response(status=204)
        return web.Response(body=orjson.dumps(figures), content_type="application/json")

    # --- in the thread

    def run(self, name: str) -> Path:
        """The run of this name. Raises the answer that there is none."""
        folder = find_runs(self.folder).get(name)
        if folder is None:
            raise web.HTTPNotFound(text="There is no such run here.\n")
        return folder

    def look(self, name: str) -> dict[str, Any]:
        return self.tail(self.run(name)).look()

    def tail(self, run: Path) -> Tail:
        return self.tails.setdefault(run, Tail(run))

    def make_report(self, names: Sequence[str]) -> str:
        """The report of these runs: the one made before, if no journal has changed."""
        folders = [self.run(name) for name in names]
        key, stamp = tuple(names), tuple(map(_stamp_with_judged, folders))
        if key in self.reports and self.reports[key][0] == stamp:
            return self.reports[key][1]
        try:
            text = render([load_run(run) for run in folders])
        except UnsafError as error:
            raise web.HTTPUnprocessableEntity(text=f"{error}\n") from None
        self.reports.pop(key, None)
        self.reports[key] = (stamp, text)
        while len(self.reports) > PAGES_KEPT:
            del self.reports[next(iter(self.reports))]
        return text

    def make_index(self) -> str:
        heads, by_name = self.rows()
        rows = list(by_name.values())
        listing: list[Element] = [
            el("p", "No run is here yet. `unsaf-async run` makes one; then load this page again.", class_="muted")
        ]
        if rows:
            search = el("input", type="search", id="find", autocomplete="off", spellcheck="false")
            found = el("span", format_count(len(rows), "run"), id="found", role="status")
            compare = el("p", el("button", "Compare the chosen runs", type="submit", id="compare"), class_="gap")
            form = el(
                "form",
                table("The newest first", heads, rows, range(2, heads.index("begun")), linked=False),
                action="/compare",
                method="get",
            )
            if len(rows) > 1:
                form.append(compare)
            box = el("label", "Search in runs, models and how they ended", search, class_="grow")
            listing = [
                el("div", box, class_="filters", role="search"),
                el("div", found, class_="status"),
                form,
            ]
        return _frame("Runs", str(self.folder), [el("section", listing, aria_label="Runs", id="runs")])

    def make_list_state(self) -> list[dict[str, Any]]:
        """What the list says of each run that can be read, cell by cell, for a page that keeps up."""
        runs = []
        for name, row in self.rows()[1].items():
            cells = [_as_data(cell) for cell in row[1:]]
            runs.append({"name": name, "cells": cells, "going": bool(cells[-1]["href"])})
        return runs

    def rows(self) -> tuple[list[str], dict[str, list[Any]]]:
        """The list's heads, and its rows by their runs' names. Without a labelled set there is no column for its accuracy."""
        heads = ["run", "model", "UnF1", "95 % interval", "accuracy", "images", "cost", "begun", "how it ended"]
        rows = {name: self.row(name, run) for name, run in find_runs(self.folder).items()}
        accuracy = heads.index("accuracy")
        if all(row[accuracy] in _NO_ACCURACY for row in rows.values()):
            for each in (heads, *rows.values()):
                del each[accuracy]
        return heads, rows

    def row(self, name: str, run: Path) -> list[Any]:
        address = _address(name)
        choice = el("input", type="checkbox", name="run", value=name, aria_label=f"Compare {name}")
        link = said(name, "a", href=f"/run/{address}")
        under = None
        try:
            manifest = read_manifest(run)
        except UserError as error:
            why = el("span", "cannot be read: ", said(str(error)))
            return [el("span", el("input", type="hidden", value=name), said(name)), "", "", "", "", "", "", "", why]
        figures = self.figures(run)
        state = figures["state"]
        words = _how_it_ended(manifest, state, missing=figures["done"] + figures["failed"] < manifest.images)
        if manifest.pilot:
            words = f"pilot, {words}" if words else "pilot: to quote a run, not a result"
        if manifest.judged_anew:
            under = el("small", said(f"judged by {manifest.judge_words}"))
            words = "; ".join(filter(None, (words, self.against_its_run(run))))
        note: Element | str = el("a", words, href=f"/live/{address}") if state == "running" else words or "complete"
        if figures["failed"] and state != "running":
            note = el("span", f"{words}; " if words else "", *self.failures(run, figures["failed"]))
        marked = f" ({word})" if (word := mark(manifest.subject)) else ""
        return [
            el("span", choice, " ", link, under),
            manifest.subject.name + marked,
            *self.headline(manifest, figures),
            f"{figures['done']:,} of {manifest.images:,}",
            el("td", format_usd(figures["cost_usd"]), class_="num", data_key=figures["cost_usd"] or 0.0),
            manifest.created[:16].replace("T", " "),
            note,
        ]

    def against_its_run(self, judged: Path) -> str:
        """A judging's difference to its run's own score, in words. Worked out anew when one of that run's files has changed."""
        run = judged.parent.parent
        stamp = _stamp_with_judged(run)
        if run not in self.judged or self.judged[run][0] != stamp:
            try:
                scores = {each.name: each for each in judged_scores(SavedRun(run))}
            except UserError:
                scores = {}
            self.judged[run] = (stamp, scores)
        score = self.judged[run][1].get(judged.name)
        if score is None or score.difference is None:
            return f"no difference to the run's own: {score.undefined.get('difference', '')}" if score else ""
        return f"{format_difference(score.difference)}{format_bracketed(score.difference_ci)} to the run's own"

    def failures(self, run: Path, count: int) -> list[Element | str]:
        """How many images failed, and why the first did."""
        for line in whole_lines(RunFiles(run).journal):
            if b'"failure":null' not in line:
                try:
                    reason = Examination.model_validate_json(line).failure
                except ValidationError:
                    continue
                if reason:
                    which = "why" if count == 1 else "the first"
                    return [f"{format_count(count, 'image')} failed, {which}: ", said(shorten(reason, 120, " … "))]
        return [f"{format_count(count, 'image')} failed"]

    def headline(self, manifest: Manifest, figures: Mapping[str, Any]) -> tuple[str, Element | str, str]:
        """UnF1, its interval and the accuracy; for a labelled set's questions the F1 of abstaining is none of ours."""
        if manifest.source and manifest.source.kind == "labelled":
            return "n/a: a labelled set", "n/a", format_figure(figures.get("accuracy"))
        between, interval = figures.get("between"), figures["interval"]
        ends: Element | str = "bounds alone" if between else format_interval(interval, "")
        if not ends:
            why = f"n/a: {reason}" if (reason := figures.get("no_interval")) else "n/a"
            ends = el("td", why, class_="num why", data_key="n/a")
        return format_headline(figures["unf1"], between), ends, _NOT_LABELLED

    def figures(self, run: Path) -> Mapping[str, Any]:
        """The headline figures: of score.json, if it is as new as the journal, else by the running tally."""
        try:
            if RunFiles(run).score.stat().st_mtime_ns >= _stamp(run)[0][0]:
                score = Findings.model_validate_json(RunFiles(run).score.read_bytes())
                labelled = score.labelled
                return {
                    "state": "ended",
                    "unf1": score.unf1,
                    "interval": score.unf1_ci,
                    "no_interval": score.undefined.get("unf1_ci"),
                    "between": score.unf1_between,
                    "accuracy": (labelled.pope.accuracy if labelled.pope else labelled.accuracy) if labelled else None,
                    "done": score.images.done,
                    "failed": score.images.failed,
                    "cost_usd": score.cost_usd,
                }
        except (OSError, ValidationError):
            pass
        return self.tail(run).look()

    def make_live(self, name: str) -> str:
        run = self.run(name)
        try:
            manifest = read_manifest(run)
        except UserError as error:
            raise web.HTTPUnprocessableEntity(text=f"{error}\n") from None
        return _frame(name, manifest.subject.name, _live_sections(name, manifest), live=_address(name))


def _how_it_ended(manifest: Manifest, state: str, *, missing: bool) -> str:
    """How a run ended, in words; "" if nothing is to be said. state: as of a live run. missing: whether images are."""
    words = {"running": "running", "silent": "stopped without a word", "ended": ""}[state]
    stopped = manifest.stopped
    if state == "ended" and missing:
        if stopped is not None and not stopped.early:
            return stopped.why
        words = f"stopped early: {shorten(stopped.why, 120, ' … ')}" if stopped is not None else "stopped early"
    return (
        words if not words or state == "running" or manifest.judged_anew else f"{words}; `unsaf-async resume` goes on"
    )


def _as_data(cell: Element | str) -> dict[str, str | None]:
    """A cell's text, the key that it is sorted by, and where it leads."""
    if isinstance(cell, str):
        return {"text": cell, "key": None, "href": None}
    return {"text": "".join(cell.itertext()), "key": cell.get("data-key"), "href": cell.get("href")}


def _live_sections(name: str, manifest: Manifest) -> list[Element]:
    def cell(kind: str, label: str) -> Element:
        return el("td", el("div", el("b", "0", id=f"n-{kind}"), el("span", label), class_=f"cell {kind}"))

    title = SoFar(manifest.source).title
    headline = el(
        "div",
        el("p", f"{title[0].upper()}{title[1:]} so far", class_="name"),
        el("p", "n/a", class_="value", id="unf1"),
        el("p", "", id="interval"),
        el("p", PILOT, class_="muted") if manifest.pilot else None,
        el("progress", max=manifest.images, value=0, id="progress", aria_label="Images done"),
        el("p", "", id="images", role="status"),
        el("p", "", id="took", class_="muted"),
    )
    matrix = el(
        "table",
        el("caption", "What questions were meant to be, and what the model did"),
        el("thead", el("tr", el("td"), el("th", "answered", scope="col"), el("th", "abstained", scope="col"))),
        el(
            "tbody",
            el(
                "tr",
                el("th", "answerable", scope="row"),
                cell("ta", "true answerable"),
                cell("fu", "false unanswerable"),
            ),
            el(
                "tr",
                el("th", "unanswerable", scope="row"),
                cell("fa", "false answerable"),
                cell("tu", "true unanswerable"),
            ),
        ),
        class_="matrix",
    )
    links = el(
        "p",
        el("a", "The report so far", href=f"/run/{_address(name)}", class_="button"),
        el("span", "", id="state", class_="muted"),
        class_="gap links",
    )
    return [
        el("section", el("div", headline, matrix, class_="two headline"), links, aria_label="Score so far"),
        el(
            "section",
            el("h2", "The newest questions"),
            badges_in_words(),
            el("ul", id="latest", class_="latest"),
            id="newest",
        ),
    ]


def _frame(title: str, under: str, sections: list[Element], live: str | None = None) -> str:
    bar = el(
        "header",
        el(
            "div",
            el("strong", "unsaf-async"),
            el("nav", el("a", "All runs", href="/"), aria_label="Pages"),
            el("button", "Theme", id="theme", type="button", title="Light, dark, or as the system has it"),
            class_="wide",
        ),
        class_="bar",
    )
    top = el("header", said(title, "h1"), said(under, "p", "sub said"), class_="top")
    main = el("main", top, sections, class_="wide", id="main", data_live=live)
    foot = el("footer", el("p", "Served from this machine, to this machine."), class_="wide")
    return fill(f"{title} - unsaf-async", "view", "\n".join(map(html, (bar, main, foot))), further=OWN_POLICY)
