"""The report: one HTML file that needs nothing else, and can do nothing else.

Its content security policy allows the page's own style sheet and script, by their hashes, and pictures that are part of it:
no request leaves, and nothing that a model wrote can become markup or code. All figures are plain HTML; only the questions,
one by one, need the script.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import islice
from string import Template
from typing import TYPE_CHECKING, Any

from unsaf_async.errors import UserError
from unsaf_async.files import writing_whole
from unsaf_async.report.data import ReportRun, labels, load_run, names_of
from unsaf_async.report.explorer import explorer
from unsaf_async.report.glossary import glossary
from unsaf_async.report.leaderboard import several
from unsaf_async.report.markup import Grown, data_pieces, el, html, said
from unsaf_async.report.pieces import badges_in_words
from unsaf_async.report.sections import one_run
from unsaf_async.report.thumbnails import Thumbnail, thumbnails
from unsaf_async.runs.folder import RunFiles
from unsaf_async.runs.listing import exists
from unsaf_async.text import error_line, format_count, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from unsaf_async.compare.cross_matrix import CrossMatrix
    from unsaf_async.report.data import Sort

MOST_IMAGES = 1_000
"""The questions of so many images stand in a page, of all its runs together: some 7 MB. Its figures are of all images."""

_DATA = "\0"
"""Stands for the data in a page without it."""

__all__ = ["ReportRun", "keep_report", "policy", "render", "write_report"]


def render(
    runs: Sequence[ReportRun],
    *,
    scale: Mapping[str, float] | None = None,
    cross: CrossMatrix | None = None,
    most_images: int | None = MOST_IMAGES,
) -> str:
    """The report of the runs as HTML. Equal runs and image files give equal text.

    Args:
        runs: The runs, in the order of the page.
        scale: Parameters of a run's model, by the name of a run, model or folder. None: no plot by size.
        cross: The score of each model on each model's questions. None: no such plot.
        most_images: Of so many images the questions stand in the page, the runs' shares alike; the figures are of all. None:
            of every image.

    Returns:
        The whole page.

    Raises:
        ValueError: There is no run.
    """
    return b"".join(_pieces(runs, scale, cross, most_images, pictures=True)).decode()


def _pieces(
    runs: Sequence[ReportRun],
    scale: Mapping[str, float] | None,
    cross: CrossMatrix | None,
    most_images: int | None,
    *,
    pictures: bool,
) -> Iterator[bytes]:
    """The page of `render`, as UTF-8."""
    if not runs:
        raise ValueError("a report needs at least one run")
    names = labels(runs)
    many = len(runs) > 1
    title = f"{len(runs)} runs compared" if many else names[0]
    parts: list[Element] = several(runs, names, scale, cross) if many else []
    for place, run in enumerate(runs):
        sections = one_run(run, place, short=many)
        if many:
            summary = el("summary", said(names[place]))
            parts.append(el("details", summary, sections, class_="run", id=f"run-of-{place}", open=len(runs) <= 2))
        else:
            parts += sections
    most = None if most_images is None else max(1, most_images // len(runs))
    main = el(
        "main", _top(runs, title), parts, _questions(runs, names, most), glossary(parts), class_="wide",
        id="main",
    )  # fmt: skip
    body = [
        el("a", "Skip to the score", href="#main", class_="skip"),
        _bar([str(part.get("id")) for part in parts if part.tag == "section"]),
        main,
        _foot(runs),
        _help(),
    ]
    above, below = fill(f"{title} - unsaf-async", "report", "\n".join(map(html, body)), _DATA).split(_DATA)
    yield above.encode()
    for place, (run, name) in enumerate(zip(runs, names, strict=True)):
        images = [examination.image for examination in islice(run.examinations, most)]
        shown_small = thumbnails(images) if pictures else [Thumbnail("", "it was left out")] * len(images)
        urls = Grown()
        urls.extend([picture.url for picture in shown_small])
        if place:
            yield b"\n"
        yield from _data(f"run-{place}", explorer(name, islice(run.examinations, most), shown_small, run.sort))
        yield b"\n"
        yield from _data(f"pictures-{place}", urls)
    yield below.encode()


def write_report(
    run_dirs: Sequence[Path],
    out: Path,
    *,
    scale: Mapping[str, float] | None = None,
    cross: CrossMatrix | None = None,
    most_images: int | None = MOST_IMAGES,
    pictures: bool = True,
) -> Path:
    """Write the report of runs to a file, whole or not at all.

    Args:
        run_dirs: The folders of the runs, at least one.
        out: The file to write.
        scale: As in `render`.
        cross: As in `render`.
        most_images: As in `render`.
        pictures: Whether the images stand beside their questions.

    Returns:
        `out`.

    Raises:
        UserError: A folder holds no run, a scale names no run, or `out` cannot be written.
    """
    if not run_dirs:
        raise UserError("no run is named; give the folder of one, or of several")
    loaded = [load_run(folder) for folder in run_dirs]
    for name in scale or ():
        if not any(name in names_of(label, run) for label, run in zip(labels(loaded), loaded, strict=True)):
            raise UserError(f"{name}: no run has this name; give one of {', '.join(labels(loaded))}", field="scale")
    pieces = list(_pieces(loaded, scale, cross, most_images, pictures=pictures))
    with writing_whole(out, private=exists(out.parent)) as file:  # in a run's folder it is as private as the run
        file.writelines(pieces)
    return out


def keep_report(folder: Path) -> str | None:
    """Write report.html into a run's folder. It breaks no run: whatever goes wrong comes back as one line.

    Args:
        folder: The folder of the run.

    Returns:
        None, or in one line why there is no report.
    """
    try:
        write_report([folder], RunFiles(folder).report)
    except Exception as error:  # whatever it is: what was measured is safe, and the report can be made later
        return f"no report was written ({error_line(error)}); `unsaf-async report {folder}` tries again"
    return None


# --- the frame -------------------------------------------------------------------------------------------------------


@cache
def static(name: str) -> str:
    """The text of one of the package's static files.

    Args:
        name: Of the file.

    Returns:
        Its text, without line breaks at the end.
    """
    return files("unsaf_async.report").joinpath("static", name).read_text("utf-8").rstrip("\n")


def script_of(name: str) -> str:
    """The text of a page's script.

    Args:
        name: Of the page's static script, without its ending.

    Returns:
        What all pages share, and what is the page's own.
    """
    return f"{static('frame.js')}\n{static(f'{name}.js')}"


def policy(script: str, *, further: str = "") -> str:
    """The content security policy of a page: its own style sheet and script, by their hashes, and pictures in it.

    Args:
        script: The text of the page's script.
        further: More directives.

    Returns:
        The policy.
    """
    parts = [
        "default-src 'none'",
        "img-src data:",
        f"style-src '{_hash(static('report.css'))}'",
        f"script-src '{_hash(script)}'",
        "base-uri 'none'",
        "form-action 'none'" if "form-action" not in further else "",
        further,
    ]
    return "; ".join(filter(None, parts))


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def fill(title: str, script: str, body: str, data: str = "", *, further: str = "") -> str:
    """A whole page.

    Args:
        title: Of the page, not escaped yet. What turns the direction of writing is replaced: a title has no elements.
        script: The name of its static script, without its ending.
        body: HTML.
        data: HTML of the elements that hold data for the script.
        further: More directives of its content security policy.

    Returns:
        The page.
    """
    code = script_of(script)
    return Template(static("report.html")).substitute(
        policy=policy(code, further=further),
        title=html(el("title", shown(title)))[len("<title>") : -len("</title>")],
        css=static("report.css"),
        body=body,
        data=data,
        js=code,
    )


def _data(identity: str, value: dict[str, Any] | Grown) -> Iterator[bytes]:
    yield f'<script type="application/json" id="{identity}">'.encode()
    yield from data_pieces(value)
    yield b"</script>"


_ANCHORS = {
    "leaderboard": "Leaderboard",
    "score": "Score",
    "sorts": "Sorts",
    "kinds": "Kinds",
    "sound": "Is it sound?",
    "calibration": "Calibration",
    "confidence": "Confidence",
    "cost": "Cost and time",
    "measured": "What was measured",
    "questions": "Questions",
    "meanings": "What it means",
}


def _bar(anchors: Sequence[str]) -> Element:
    present = [*anchors, "questions", "meanings"]
    links = [el("a", words, href=f"#{anchor}") for anchor, words in _ANCHORS.items() if anchor in present]
    return el(
        "header",
        el(
            "div",
            el("strong", "unsaf-async"),
            el("nav", links, aria_label="Parts of the report"),
            el("button", "Theme", id="theme", type="button", title="Light, dark, or as the system has it"),
            class_="wide",
        ),
        class_="bar",
    )


_EYEBROWS: dict[Sort, tuple[str, str]] = {
    "unsaf": ("Does it know what it does not know?", "Do they know what they do not know?"),
    "labelled": (
        "Is it right, and does it know when it cannot be?",
        "Are they right, and do they know when they cannot be?",
    ),
    "pope": ("Does it see what is not there?", "Do they see what is not there?"),
}
"""What a report asks, of one model and of several."""


def _top(runs: Sequence[ReportRun], title: str) -> Element:
    first = runs[0]
    if len(runs) == 1:
        judge = {"self": "judged by itself", "rules": "judged by rules alone"}.get(first.manifest.judge_name)
        images = (
            f"{format_count(first.score.images.done, 'image')}, {format_count(first.score.questions.asked, 'question')}"
        )
        when = first.manifest.created[:10]
        source = first.manifest.source
        questions = f"questions {'of' if source.kind == 'labelled' else 'by'} {source.name}" if source else ""
        judged = judge or f"judged by {first.manifest.judge_name}"
        sub = ", ".join(filter(None, (images, questions, judged, when)))
        eyebrow = _EYEBROWS[first.sort][0]
    else:
        sub = ", ".join(sorted({run.manifest.created[:10] for run in runs}))
        sorts = {run.sort for run in runs}
        eyebrow = _EYEBROWS[sorts.pop() if len(sorts) == 1 else "unsaf"][1]
    return el(
        "header",
        el("p", eyebrow, class_="eyebrow"),
        el("h1", said(title)),
        el("p", sub, class_="sub"),
        class_="top",
    )


def _left_out(runs: Sequence[ReportRun], names: Sequence[str], most: int | None) -> list[str]:
    """Which runs have questions that do not stand in the page, in words."""
    told = []
    for run, name in zip(runs, names, strict=True):
        images = run.score.images.done + run.score.images.failed
        if most is not None and images > most:
            of_run = f"Of {name}, those" if len(runs) > 1 else "Those"
            told.append(
                f"{of_run} about the first {most:,} of {images:,} images are here; `report --all` keeps every one."
            )
    return told


def _questions(runs: Sequence[ReportRun], names: Sequence[str], most: int | None) -> Element:
    def choice(label: str, identity: str, *options: Element) -> Element:
        return el("label", label, el("select", options, id=identity))

    run = choice("Run", "f-run", *(el("option", name, value=place) for place, name in enumerate(names)))
    if len(names) == 1:
        run.set("hidden", "")
    return el(
        "section",
        el("h2", "The questions, one by one"),
        [el("p", said(words), class_="muted") for words in _left_out(runs, names, most)],
        el("noscript", el("p", "Reading the questions needs JavaScript; every figure above stands without it.")),
        el("p", "The questions are in the file, and not on paper.", class_="only-print"),
        el(
            "div",
            run,
            choice("Type", "f-type"),
            choice("Right or wrong", "f-truth"),
            choice("Kind", "f-kind"),
            choice("Label", "f-audit"),
            choice("Call ended", "f-outcome"),
            choice("Decided by", "f-decider"),
            el(
                "label",
                "Search in questions, responses and image names",
                el("input", type="search", id="search", autocomplete="off", spellcheck="false"),
                class_="grow",
            ),
            el("button", "Clear", id="clear", type="button"),
            class_="filters",
            role="search",
        ),
        el(
            "div",
            el("span", id="found", role="status"),
            el(
                "span",
                el("button", "Previous", id="previous", type="button"),
                el("button", "Next", id="next", type="button"),
                el("button", "Keys", id="keys", type="button", class_="keys"),
                class_="steps",
            ),
            class_="status",
        ),
        badges_in_words() if any(run.sort != "pope" for run in runs) else None,
        el(
            "div",
            el(
                "div",
                el("div", id="rows", class_="rows", role="presentation"),
                id="list",
                class_="list",
                role="listbox",
                tabindex="0",
                aria_label="Questions",
                data_runs=len(names),
            ),
            el("article", id="detail", class_="detail", aria_label="The chosen question", tabindex="0"),
            class_="explorer",
        ),
        id="questions",
    )


_MEANINGS: dict[Sort, str] = {
    "unsaf": "UnF1 = 2 TU / (2 TU + FU + FA): the F1 score of “this cannot be answered from the image”. A question's label is "
    "what its author was told to write.",
    "labelled": "VQA accuracy: an answer counts by how many annotators gave it, three being enough. Abstention F1 = 2 TU / "
    "(2 TU + FU + FA); labels are the set's.",
    "pope": "POPE: Li et al., “Evaluating Object Hallucination in Large Vision-Language Models” (EMNLP 2023).",
}
"""What the figures of each sort of run are."""


def _foot(runs: Sequence[ReportRun]) -> Element:
    versions = sorted({run.manifest.versions.get("unsaf-async", "") for run in runs})
    sorts = {run.sort for run in runs}
    words = [_MEANINGS[sort] for sort in _MEANINGS if sort in sorts]
    words.append("An interval speaks of the choice of images, not of wrong labels or wrong verdicts.")
    return el("footer", el("p", " ".join(words)), el("p", f"unsaf-async {', '.join(versions)}"), class_="wide")


def _help() -> Element:
    keys = (
        (("j", "k"), "next, previous question"),
        (("↓", "↑"), "the same, in the list"),
        (("/",), "search"),
        (("Esc",), "leave the search, close this"),
        (("?",), "this list"),
    )
    pairs = [
        part
        for names, does in keys
        for part in (el("dt", [piece for name in names for piece in (el("kbd", name), " ")]), el("dd", does))
    ]
    return el(
        "dialog",
        el("h2", "Keys"),
        el("dl", pairs, class_="facts"),
        el("p", el("button", "Close", id="close", type="button"), class_="gap"),
        id="help",
        aria_label="Keys",
    )
