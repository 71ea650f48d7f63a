"""A run's results as a folder for the Hugging Face Hub: its card, its figures, its questions, and the report.

The card says what was measured by an allow-list, that of the trackers: no address, header or path is in it. Pictures are in the
report alone, and only where they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.files import write_whole
from unsaf_async.report.page import write_report
from unsaf_async.runs.question_table import write_table
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.score_table import write_scores
from unsaf_async.text import format_figure, format_headline, format_interval, one_line
from unsaf_async.trackers import told_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unsaf_async.score.figures import Figure

SCORES = "scores.csv"
"""By it a repository is told to be one of a run's results."""

FILES = ("README.md", SCORES, "questions.csv", "report.html")
"""What the folder holds."""

HEADLINES = ("precision", "recall", "over_refusal_rate", "over_answer_rate", "cost_usd")
"""Figures of the card, beside UnF1."""

_PLACES = ("folder", "report")
"""Settings that say where the run lies on this machine."""


def publish(run_dir: Path, *, with_images: bool = False) -> Path:
    """Writes a run's results into the folder `hub` of the run. What is there from before is replaced.

    Args:
        run_dir: The run's folder; the run may be unfinished, and the card says so.
        with_images: Whether the report has the pictures beside their questions.

    Returns:
        The folder, with `FILES`.

    Raises:
        UserError: The folder holds no run, or cannot be written to.
    """
    run = SavedRun(run_dir)
    out = run_dir / "hub"
    try:
        out.mkdir(mode=0o700, exist_ok=True)
        write_whole(out / "README.md", "\n".join(_card(run, with_images=with_images)) + "\n")
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); free some room, or its path") from None
    write_scores([run_dir], out / SCORES, "csv")
    write_table([run_dir], out / "questions.csv", "csv", leave_out=("image_path",))
    write_report([run_dir], out / "report.html", pictures=with_images)
    return out


def _card(run: SavedRun, *, with_images: bool) -> Iterator[str]:
    told, score = told_of(run), run.findings
    yield "---\ntags:\n- unsaf-async\n- evaluation\n- abstention\n- unanswerable-questions\nconfigs:"
    for name, file in (("scores", SCORES), ("questions", "questions.csv")):
        yield f"- config_name: {name}\n  data_files: {file}"
    yield "---\n"
    yield f"# UnSAF of {_code(told.settings.get('model') or told.name)}\n"
    headline = format_headline(score.unf1, score.unf1_between)
    ends = "" if score.unf1_between else f" (95 % interval {format_interval(score.unf1_ci)})"
    version = told.settings.get("version", "of an unknown version")
    yield f"**{score.f1_name} {headline}**{ends}, over {run.manifest.images} images, by unsaf-async {version}.\n"
    if told.settings.get("simulated"):
        yield "The model is simulated: the figures say nothing of any model.\n"
    if missing := run.manifest.images - len(run.kept):
        yield f"{missing} of the images have no result: the run is not finished, or they failed.\n"
    yield "| figure | value | 95 % interval |\n| --- | --- | --- |"
    for figure in _headlines(run):
        shown = format_figure(figure.value, 4) if figure.value is not None else f"n/a: {_plain(figure.why_none or '')}"
        yield f"| `{figure.path}` | {shown} | {format_interval(figure.ends) if figure.ends else ''} |"
    yield "\n| setting | value |\n| --- | --- |"
    for name, value in told.settings.items():
        if name not in _PLACES:
            yield f"| {name} | {_code(value)} |"
    yield f"\n- `{SCORES}`: every figure with its interval, or why it is undefined.\n- `questions.csv`: every question with"
    yield "  its response and its verdict; models wrote them."
    pictures = "with" if with_images else "without"
    yield f"- `report.html`: the report, {pictures} the pictures. It needs no network.\n"
    yield "Labels are those that the asking model meant a question to have, unless a column says otherwise. Questions and"
    yield "responses come from the models named above, whose terms may bind whoever uses them."
    if with_images:
        yield "\nThe pictures keep the terms of their source, which is not known here."


def _headlines(run: SavedRun) -> Iterator[Figure]:
    from unsaf_async.score.figures import figures_of

    return (figure for figure in figures_of(run.findings) if figure.path in HEADLINES)


def _plain(text: str) -> str:
    return one_line(text).replace("|", "/")


def _code(value: object) -> str:
    return f"`{_plain(str(value)).replace('`', chr(39))}`"
