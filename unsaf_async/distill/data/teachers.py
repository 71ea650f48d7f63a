"""The runs that an export is made of: the teachers', and the student's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unsaf_async.distill.data.agreement import askers, run_folders
from unsaf_async.distill.data.build_rows import check_filters, model_name
from unsaf_async.distill.data.pairs import check_student
from unsaf_async.distill.data.screening import check_measured
from unsaf_async.distill.data.terms import TERMS, is_commercial
from unsaf_async.errors import UserError, naming, setting
from unsaf_async.runs.saved import SavedRun, check_given_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from unsaf_async.distill.data.options import Options


@dataclass(frozen=True, slots=True)
class ExportedRuns:
    """The runs that an export is made of."""

    teachers: tuple[SavedRun, ...]
    replay: SavedRun | None
    """The student's own, with the answers that it is to keep; None if there is none."""
    students: tuple[SavedRun, ...]
    """The student's on the teachers' questions, for preference pairs."""
    agreeing: tuple[SavedRun, ...] = ()
    """Other models' on the teachers' questions, which nothing is taught of."""

    @property
    def all(self) -> tuple[SavedRun, ...]:
        """Teachers, others that agree, replay, students."""
        return (*self.teachers, *self.agreeing, *([self.replay] if self.replay else []), *self.students)


def read_runs(run_dirs: Sequence[Path], options: Options) -> ExportedRuns:
    """The runs that an export is made of.

    Args:
        run_dirs: The teachers' folders.
        options: Name the student's folders, and those of other models.

    Returns:
        The runs, each kind in the order given; one teacher at least.

    Raises:
        UserError: No teacher's run is given, or a run twice; a folder is no run, or its prompts have changed; a
            teacher's run holds nothing that a filter could go by; a student's run, or another model's, is a teacher's, too,
            or did not answer the questions of one.
    """
    if not run_dirs:
        raise UserError("no run is given; name the folder of one")
    teachers = [_read_run(path) for path in run_dirs]
    check_given_once(teachers)
    seen: dict[str, Path] = {}
    for run in teachers:
        if (other := seen.setdefault(run.manifest.answering_run_id, run.folder)) is not run.folder:
            raise UserError(f"{run.folder}: holds the same answers as {other}, judged by others; give one of them")
        check_filters(run, options.filters)
        check_measured(run, options.filters)
    replay = _read_other_run(options.student_replay, "student_replay", seen) if options.student_replay else None
    students = _read_once(options.preferences, "preferences", seen)
    for student in students:
        check_student(student, teachers)
    agreeing = _read_agreeing(options.agreed_by, teachers, seen)
    theirs = {run.manifest.answering_run_id for run in (*students, *([replay] if replay else []))}
    for run in agreeing:
        if run.manifest.answering_run_id in theirs:
            raise UserError(
                f"{run.folder}: is the student's run, too; give a run of another teacher", field="agreed_by"
            )
    return ExportedRuns(tuple(teachers), replay, students, agreeing)


def _read_other_run(path: Path, field: str, teachers: Mapping[str, Path]) -> SavedRun:
    """A run that is no teacher's; `teachers` has the folders of theirs, by the id of the run that answered."""
    with naming(field):
        run = _read_run(path)
        if (teacher := teachers.get(run.manifest.answering_run_id)) is not None:
            whose = "another model" if field == "agreed_by" else "the student"
            raise UserError(f"{path}: is the teacher's run in {teacher}; give a run of {whose}")
    return run


def _read_once(paths: Iterable[Path], field: str, teachers: Mapping[str, Path]) -> tuple[SavedRun, ...]:
    """Runs that are no teacher's, each given once."""
    runs: dict[str, SavedRun] = {}
    for path in paths:
        run = _read_other_run(path, field, teachers)
        if runs.setdefault(run.manifest.answering_run_id, run) is not run:
            raise UserError(f"{path}: is given twice; name each run once", field=field)
    return tuple(runs.values())


def _read_agreeing(
    paths: Iterable[Path], teachers: Sequence[SavedRun], seen: Mapping[str, Path]
) -> tuple[SavedRun, ...]:
    """The other models' runs. Of a cross-examination those on the questions of runs that are exported, but the exported ones."""
    wanted: list[Path] = []
    for path in paths:
        folders = run_folders(path)
        if folders == [path]:
            wanted.append(path)
            continue
        cells = {folder: SavedRun(folder) for folder in folders}
        asker_of = askers([*teachers, *cells.values()])
        asked = {asker_of[run.manifest.run_id] for run in teachers}
        theirs = [
            folder
            for folder, cell in cells.items()
            if asker_of[cell.manifest.run_id] in asked and cell.manifest.answering_run_id not in seen
        ]
        if not theirs:
            raise UserError(
                f"{path}: has no cell on the questions of a run that is exported; give the runs that were crossed",
                field="agreed_by",
            )
        wanted += theirs
    return _read_once(wanted, "agreed_by", seen)


def _read_run(path: Path) -> SavedRun:
    """The run with its parts read, so that what is wrong with one of them is known at once."""
    run = SavedRun(path)
    if run.manifest.form != "open":
        raise UserError(
            f"{path}: its questions have options, and training data are of answers in free words; give a run with "
            f"{setting('question_form', 'open')}"
        )
    _ = run.manifest, run.pack, run.examinations
    return run


def check_terms(runs: Iterable[SavedRun], *, accepted: bool) -> bool:
    """Whether the terms of a commercial model had to be accepted, and were.

    Args:
        runs: All runs that are exported.
        accepted: Whether the user accepts them.

    Returns:
        False if no model is commercial.

    Raises:
        UserError: They had to be accepted, and were not.
    """
    subjects = [run.manifest.subject for run in runs]
    names = list(dict.fromkeys(model_name(subject) for subject in subjects if is_commercial(subject)))
    if names and not accepted:
        raise UserError(f"{', '.join(names)}: {TERMS}; if it is, add {setting('accept_terms')}")
    return bool(names)


Role = Literal["teacher", "agreeing", "replay", "student"]
"""What a run is exported for: see `ExportedRuns`."""


def run_notes(run: SavedRun, role: Role) -> Iterator[str]:
    """What a user should know of a run that is exported, a line each.

    Args:
        run: The run.
        role: What it is exported for.

    Yields:
        Why it is incomplete, simulated, not to be relied on, or without rows of question writing.
    """
    manifest, name = run.manifest, model_name(run.manifest.subject)
    if len(run.examinations) < manifest.images:
        yield f"the run of {name} is not complete: {len(run.examinations)} of {manifest.images} images"
    if manifest.subject.backend == "scripted":
        yield f"{name} is a simulated model: its texts show that the pipeline works, and teach nothing"
    if role == "replay" and not (manifest.auditors or (manifest.source and manifest.source.kind == "labelled")):
        yield (
            f"replay: nobody has said which of {name}'s answers are right, and wrong ones teach it to answer where it "
            "should decline; audit its run, or give one on a labelled set"
        )
    if role == "teacher" and manifest.source is not None:
        yield f"the questions of the run of {name} are not its own: it gives no rows of question writing"
