"""`suite`: a whole audit from one file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli import run
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.streams import tell
from unsaf_async.errors import UserError, as_option, naming
from unsaf_async.help import MONEY, OUTPUT, Help
from unsaf_async.text import (
    format_figure,
    format_headline,
    format_interval,
    format_usd,
    printable_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from unsaf_async.compare.quality_gates import QualityGate
    from unsaf_async.compare.text_picture import Mark
    from unsaf_async.runs.campaign import CampaignEnd, PlannedRun
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.saved import SavedRun
    from unsaf_async.runs.suite import Suite

GATES = "Gates"
REPORT = "report.html"
MARGIN = 0.02
"""By how much UnF1 may fall, unless it is said."""


@dataclass(frozen=True)
class Steps:
    """What is done with the file; without any of these its runs are made."""

    estimate: Annotated[bool, Help("Say what is left to do and what it would cost; call nobody.", panel=MONEY)] = False
    resume: Annotated[
        bool,
        Help(
            "Go on, and begin nothing anew: refused where no run has begun. Without it, the same command goes on, too."
        ),
    ] = False
    report: Annotated[
        bool, Help("Write the report of what is there, and call nobody. Gates are decided, too.", panel=OUTPUT)
    ] = False
    env_file: Annotated[
        Path | None,
        Help(
            "Read variables from this file, such as keys: lines NAME=VALUE. No such file is read otherwise.",
            metavar="FILE",
        ),
    ] = None

    def __post_init__(self) -> None:
        chosen = [f"--{name}" for name in ("estimate", "resume", "report") if getattr(self, name)]
        if len(chosen) > 1:
            raise UserError(f"{' and '.join(chosen)} contradict each other; give one of them")


@dataclass(frozen=True)
class Gating:
    """What the runs have to show."""

    fail_under: Annotated[
        float | None,
        Help(
            "Exit with 1 unless the lower end of each run's 95 % interval of UnF1 is at least this.",
            metavar="UNF1",
            panel=GATES,
        ),
    ] = None
    max_regression: Annotated[
        Path | None,
        Help(
            "Exit with 1 unless each run is shown to be no worse than this earlier run of its model, or than the run of its name "
            "in this earlier suite's folder: by the lower end of the paired 95 % interval.",
            metavar="RUN_DIR",
            panel=GATES,
        ),
    ] = None
    margin: Annotated[
        float | None,
        Help(
            f"With --max-regression: by how much UnF1 may fall; {MARGIN} unless given.",
            metavar="DIFFERENCE",
            panel=GATES,
        ),
    ] = None
    junit: Annotated[
        Path | None,
        Help("Write the gates into this file, as JUnit's XML: a test a gate.", metavar="FILE.xml", panel=GATES),
    ] = None
    summary: Annotated[
        Path | None,
        Help(
            "Add the runs and the gates to this file's end, as Markdown: $GITHUB_STEP_SUMMARY is such a file.",
            metavar="FILE.md",
            panel=GATES,
        ),
    ] = None

    def __post_init__(self) -> None:
        for name in ("junit", "summary"):
            file: Path | None = getattr(self, name)
            if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
                wrong = "is a folder" if file.is_dir() else f"lies in {file.parent}, which is no folder"
                raise UserError(f"{file} {wrong}; give a file in a folder that is there", name)
        if self.junit is not None and self.fail_under is None and self.max_regression is None:
            ways = f"{as_option('fail_under')} or {as_option('max_regression')}"
            raise UserError(f"is given, and there is no gate to write; give {ways}, too", "junit")
        if self.fail_under is not None and not 0 <= self.fail_under <= 1:
            raise UserError(f"is {self.fail_under:g}; give an UnF1 from 0 to 1", "fail_under")
        if self.margin is not None and self.max_regression is None:
            raise UserError(f"is of {as_option('max_regression')}; give that, too, or leave it out", "margin")
        if self.margin is not None and not 0 <= self.margin < 1:
            raise UserError(f"is {self.margin:g}; give 0 to below 1", "margin")


@from_fields()
def suite(
    file: Annotated[Path, typer.Argument(parser=o.file, metavar="FILE.toml", help="The suite's file.")],
    steps: Steps,
    gating: Gating,
    json: o.Json = False,
    quiet: o.Quiet = False,
    yes: o.Yes = False,
) -> int:
    """Make a whole audit from one file. Models x judges x image sets x options, under one cap."""
    import asyncio

    from unsaf_async.cli.env_file import read_env_file
    from unsaf_async.runs.suite import read_suite

    if steps.env_file is not None:
        tell(f"{steps.env_file}: sets {', '.join(read_env_file(steps.env_file)) or 'nothing that is not set already'}")
    for name in ("junit", "summary"):
        if steps.estimate and getattr(gating, name) is not None:
            raise UserError(f"contradicts {as_option('estimate')}, which makes no run; leave one of them out", name)
    audit = read_suite(file)
    _check_earlier(audit, gating.max_regression)
    if steps.report:
        return _finish(audit, None, gating, json=json)
    planned = asyncio.run(audit.prepare(offline=steps.estimate))
    _check_unchanged(audit, planned)
    if steps.resume and not any(each.saved.files.manifest.is_file() for each in planned):
        raise UserError(f"is given, and no run of {file} has begun in {audit.out}; leave it out", field="resume")
    if steps.estimate:
        return _print_estimate(audit, planned, json=json)
    with audit.locked():
        cap_usd = audit.cap_usd()
        if cap_usd is None and not yes:
            _agree(audit, planned)
        if cap_usd is not None and cap_usd <= 0 and any(each.remaining.images for each in planned):
            raise UserError(
                f"{file}: max_cost {audit.max_cost_usd:g} is spent by runs that the file no longer names; raise it"
            )
        try:
            end = run.work_off_campaign(planned, cap_usd, quiet=quiet, keep_going=True)
        except KeyboardInterrupt:
            from unsaf_async.runs.campaign import CampaignEnd

            end = CampaignEnd("interrupted")
        except UserError as error:
            raise UserError(f"{file}: {error}") from None
        return _finish(audit, end, gating, json=json)


# --- before -----------------------------------------------------------------------------------------------------------


def _check_unchanged(audit: Suite, planned: Sequence[PlannedRun]) -> None:
    """Tells what has changed in the file since the suite began; raises UserError if a begun run cannot go on as it is now."""
    from unsaf_async.compare.settings_diff import changes_in_setting
    from unsaf_async.runs.begin import difference

    begun = [each for each in planned if each.saved.files.manifest.is_file()]
    wrong = []
    for each in begun:
        there = each.saved.manifest
        first, now = difference(there, each.prepared)
        for line in (*changes_in_setting(there, now), *_other_images(each, now)):
            tell(f"{audit.file}: changed since {each.name} began: {line}")
        if first:
            wrong.append(f"{each.name} holds a run with {UserError(first)}")
    if begun and (new := [each.name for each in planned if each not in begun]):
        tell(f"{audit.file}: {len(new)} of {len(planned)} runs have not begun: {', '.join(new)}")
    if others := audit.others():
        named = ", ".join(run.folder.name for run in others)
        tell(f"{audit.out} holds runs that {audit.file} does not name: {named}; what they cost counts against max_cost")
    if wrong:
        raise UserError(
            f"{audit.file}: was changed after it began: {'; '.join(wrong)}; put it back, give the entries other names, or the "
            "suite another out"
        )


def _other_images(planned: PlannedRun, now: Manifest) -> Iterator[str]:
    """In what the images of a begun run differ from those that the file names now, if they do."""
    there = planned.saved.manifest
    if there.images_sha256 == now.images_sha256:
        return
    before = {image.id for image in planned.saved.images}
    same = len(before & {image.id for image in planned.prepared.images})
    yield f"Images differ: {there.images:,} when it began, {now.images:,} now, {same:,} of them the same; see images and limit"


def _agree(audit: Suite, planned: Sequence[PlannedRun]) -> None:
    """Agrees on the cost of what is left to do, where the file gives no cap."""
    from unsaf_async.runs.estimate import estimate

    figures = [estimate(each.remaining) for each in planned]
    expected_usd, worst_usd = sum(each.expected_usd for each in figures), sum(each.worst_usd for each in figures)
    if worst_usd and not sys.stdin.isatty():
        costs = f"${expected_usd:.2f} expected, ${worst_usd:.2f} at most"
        raise UserError(
            f"{audit.file}: max_cost is missing, and this costs money ({costs}); give max_cost in the file, or -y"
        )
    run.agree_on_cost(f"{audit.file}, {len(planned)} runs", expected_usd, worst_usd)


def _print_estimate(audit: Suite, planned: Sequence[PlannedRun], *, json: bool) -> int:
    """What is left to do of each run, and of all."""
    from unsaf_async.runs.estimate import estimate

    rows = [(each, estimate(each.remaining)) for each in planned]
    spent_usd = sum(each.spent_usd for each in planned) + sum(each.spent_usd for each in audit.others())
    totals = {
        "runs": len(rows),
        "calls": sum(each.calls for _, each in rows),
        "expected_usd": sum(each.expected_usd for _, each in rows),
        "worst_usd": sum(each.worst_usd for _, each in rows),
        "spent_usd": spent_usd,
        "max_cost_usd": audit.max_cost_usd,
    }
    if json:
        from dataclasses import asdict

        import orjson

        record = {**totals, "by_run": {each.name: asdict(figures) for each, figures in rows}}
        sys.stdout.write(orjson.dumps(record, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    from unsaf_async.cli.console import console, print_fitting, safe

    heads = ("run", "images", "calls", "expected", "at worst")
    cells = [
        (
            safe(each.name),
            f"{one.images:,}",
            f"{one.calls:,}",
            format_usd(one.expected_usd, 4),
            format_usd(one.worst_usd, 4),
        )
        for each, one in rows
    ]
    usd = (format_usd(sum(getattr(one, name) for _, one in rows), 4) for name in ("expected_usd", "worst_usd"))
    total = ("all", "", f"{totals['calls']:,}", *usd)
    print_fitting(console(), heads, [*cells, total])
    cap = "no max_cost" if audit.max_cost_usd is None else f"max_cost {audit.max_cost_usd:g}"
    sys.stdout.write(f"\nLeft to do, beyond {format_usd(spent_usd, 4)} that is spent; {cap}\n")
    return 0


# --- after ------------------------------------------------------------------------------------------------------------


def _check_earlier(audit: Suite, folder: Path | None) -> None:
    """Raises UserError unless there is something to hold the runs against: before anything is spent."""
    from unsaf_async.runs.folder import read_manifest
    from unsaf_async.runs.listing import exists

    if folder is not None and not any(exists(folder / each.name) for each in audit.runs):
        with naming("max_regression"):
            read_manifest(folder)


def _finish(audit: Suite, end: CampaignEnd | None, gating: Gating, *, json: bool) -> int:
    """Writes the report, prints the board and the gates, and says how it ended; the exit code. end: None if nobody was called."""
    from unsaf_async.report.page import write_report
    from unsaf_async.runs.saved import SavedRun

    saved = {each.name: SavedRun(audit.out / each.name) for each in audit.runs}
    there = {name: each for name, each in saved.items() if each.files.journal.is_file() and each.examinations}
    if not there and end is None:
        raise UserError(f"{audit.file}: no run has examined an image in {audit.out}; run the suite first")
    report = write_report([each.folder for each in there.values()], audit.out / REPORT) if there else None
    gates = _gates(audit, there, gating)
    _print(audit, there, gates, report, json=json)
    failed = end.failed if end is not None else ""
    stopped = (end.stopped or "") if end is not None and end.reason else failed
    _write_for_ci(audit, there, gates, gating, stopped)
    if end is not None and end.reason:
        first = f"raise max_cost in {audit.file}, and " if end.capped else ""
        tell(f"stopped early: {end.stopped}; {first}the same command goes on; what is finished is kept")
        return 130 if end.reason == "interrupted" else 3
    if end is not None and end.unfinished:
        tell(f"{failed}; {end.tried_again}")
        return 3
    return 0 if all(gate.passed for gate in gates) else 1


def _gates(audit: Suite, there: Mapping[str, SavedRun], gating: Gating) -> list[QualityGate]:
    """Every gate that was asked for, of every run of the file."""
    from unsaf_async.compare.quality_gates import fail_under, max_regression, undecided
    from unsaf_async.runs.listing import exists
    from unsaf_async.runs.saved import SavedRun

    gates = []
    if gating.fail_under is not None:
        for each in audit.runs:
            saved = there.get(each.name)
            gates.append(
                fail_under(each.name, saved, gating.fail_under) if saved else undecided(each.name, "fail_under")
            )
    if (folder := gating.max_regression) is None:
        return gates
    single = SavedRun(folder) if exists(folder) else None
    for each in audit.runs:
        saved = there.get(each.name)
        if saved is None:
            gates.append(undecided(each.name, "max_regression"))
        elif single is None or saved.manifest.subject.model == single.manifest.subject.model:
            before = single or SavedRun(folder / each.name)
            if exists(before.folder):
                gates.append(
                    max_regression(each.name, saved, before, MARGIN if gating.margin is None else gating.margin)
                )
            else:
                gates.append(undecided(each.name, "max_regression", f"{folder} holds no run of this name"))
    if single is not None and not any(gate.what == "max_regression" for gate in gates):
        why = f"the suite has no run of {single.manifest.subject.model}, the model of {folder}"
        gates.append(undecided("all", "max_regression", why))
    return gates


def _write_for_ci(
    audit: Suite, there: Mapping[str, SavedRun], gates: Sequence[QualityGate], gating: Gating, stopped: str
) -> None:
    """Writes the files that were asked for. stopped: why runs are not finished."""
    if gating.junit is None and gating.summary is None:
        return
    from unsaf_async.compare.gate_files import junit_of, summary_of
    from unsaf_async.compare.text_picture import drawn
    from unsaf_async.files import writing_whole

    name = audit.file.stem
    if gating.junit is not None:
        with writing_whole(gating.junit, private=False) as file:
            file.write(junit_of(name, gates, stopped))
    if gating.summary is not None:
        ranked = _ranked(there, gating.fail_under)
        kinds = {each.findings.labelled is None for each in there.values()}
        picture = drawn([mark for _, mark in ranked], "UnF1" if kinds == {True} else "UnF1 or accuracy")
        board = [*(cells for cells, _ in ranked), *_unexamined(audit, there)]
        text = summary_of(name, board, gates, _cost(audit, there), stopped, picture)
        with gating.summary.open("a", encoding="utf-8", errors="replace") as summary:
            summary.write(text)


def _print(
    audit: Suite, there: Mapping[str, SavedRun], gates: Sequence[QualityGate], report: Path | None, *, json: bool
) -> None:
    """The runs, best first, and the gates; to stdout."""
    if json:
        import orjson

        runs = {name: orjson.loads(each.findings.model_dump_json()) for name, each in there.items()}
        record = {"cost_usd": _cost_usd(audit, there), "runs": runs, "gates": [gate.model_dump() for gate in gates]}
        sys.stdout.write(printable_json(orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()) + "\n")
        return
    from unsaf_async.cli.console import console, print_fitting, safe

    out = console()
    board = [*(cells for cells, _ in _ranked(there, None)), *_unexamined(audit, there)]
    print_fitting(out, ("run", "", "95 % interval", "images", "cost"), [(safe(name), *cells) for name, *cells in board])
    for gate in gates:
        color = {"pass": "green", "cannot tell": "yellow"}.get(gate.verdict, "red")
        out.print(f"[{color}]{gate.verdict}[/{color}]  {as_option(gate.what)}: {safe(gate.run)}: {safe(gate.why)}")
    sys.stdout.write(f"\nCost: {_cost(audit, there)}\n")
    if report:
        sys.stdout.write(f"Report: {report}\n")


def _cost_usd(audit: Suite, there: Mapping[str, SavedRun]) -> float:
    """Of all runs, those included that have examined nothing, and those that the file names no more."""
    from unsaf_async.runs.saved import SavedRun

    named = (there.get(each.name) or SavedRun(audit.out / each.name) for each in audit.runs)
    return sum(each.spent_usd for each in (*named, *audit.others()))


def _cost(audit: Suite, there: Mapping[str, SavedRun]) -> str:
    """What all runs cost together, and the cap, in words."""
    cap = "" if audit.max_cost_usd is None else f" of max_cost {audit.max_cost_usd:g}"
    return f"{format_usd(_cost_usd(audit, there), 4)}{cap}"


def _unexamined(audit: Suite, there: Mapping[str, SavedRun]) -> Iterator[tuple[str, ...]]:
    """A row for each run of the file that has nothing to show: why it has not stands among what has failed."""
    from unsaf_async.runs.saved import SavedRun

    for each in audit.runs:
        if each.name not in there:
            spent_usd = SavedRun(audit.out / each.name).spent_usd
            yield each.name, "n/a: no image is examined", "n/a", "0", format_usd(spent_usd, 4)


def _ranked(there: Mapping[str, SavedRun], bar: float | None) -> list[tuple[tuple[str, ...], Mark]]:
    """(its row, its mark in a picture) of each run that has examined images. bar: what a gate asks of UnF1.

    Those with UnF1 come first, best first, then those on labelled sets by accuracy.
    """
    from unsaf_async.compare.text_picture import Mark

    rows = []
    for name, saved in there.items():
        found = saved.findings
        labelled, between = found.labelled, found.unf1_between
        if labelled is None:
            value, ends = found.unf1, None if between else found.unf1_ci
            words = f"UnF1 {format_headline(value, between)}"
            mark = Mark(name, "bounds" if between else format_figure(value), value, between or ends, bool(between), bar)
        else:
            value, ends = labelled.accuracy, labelled.accuracy_ci
            words = f"accuracy {format_figure(value)}"
            mark = Mark(name, format_figure(value), value, ends)
        total = saved.manifest.images
        images = f"{found.images.done:,}" + (f" of {total:,}" if found.images.done != total else "")
        interval = "none: bounds, with the unscored either way" if between else format_interval(ends, "")
        cells = (name, words, interval, images, format_usd(found.cost_usd, 4))
        rows.append((labelled is not None, -1.0 if value is None else -value, cells, mark))
    return [(cells, mark) for *_, cells, mark in sorted(rows, key=lambda row: row[:2])]
