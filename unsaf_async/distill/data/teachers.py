"""The runs that an export is made of: the teachers', and the student's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.distill.data import pairs
from unsaf_async.distill.data.rows import TakenRun, check_filters, model_name
from unsaf_async.distill.data.terms import TERMS, is_commercial
from unsaf_async.errors import UserError
from unsaf_async.prompts import load_pack
from unsaf_async.runs.folder import read_manifest
from unsaf_async.runs.journal import read_journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from unsaf_async.distill.data.options import Options


def read_runs(run_dirs: Sequence[Path], options: Options) -> list[TakenRun]:
    """The teachers' runs, and last the student's own, whose answers are replayed, where one is given.

    Args:
        run_dirs: The teachers' folders.
        options: What is asked for.

    Returns:
        The runs in the order given.

    Raises:
        UserError: No run is given, or one twice; a folder is no run; a run holds nothing that a filter could go by.
    """
    if not run_dirs:
        raise UserError("no run is given; name the folder of one")
    runs = [_read_run(path) for path in run_dirs]
    seen: dict[str, Path] = {}
    for run, path in zip(runs, run_dirs, strict=True):
        if run.manifest.run_id in seen:
            raise UserError(f"{path}: is the run in {seen[run.manifest.run_id]}; name each run once")
        seen[run.manifest.run_id] = path
        check_filters(run, options.filters, path)
    if options.student_replay is not None:
        try:
            runs.append(_read_run(options.student_replay, replay=True))
        except UserError as error:
            raise UserError(f"--student-replay {error}") from None
    return runs


def read_students(runs: Sequence[TakenRun], options: Options) -> list[TakenRun]:
    """The student's runs that preference pairs are made of.

    Args:
        runs: What `read_runs` returned.
        options: What is asked for.

    Returns:
        The runs in the order given; [] if no pairs are asked for.

    Raises:
        UserError: A folder is no run, is given twice, or did not answer the questions of a teacher.
    """
    students: list[TakenRun] = []
    for path in options.preferences:
        try:
            student = _read_run(path)
        except UserError as error:
            raise UserError(f"--preferences {error}") from None
        pairs.check_student(student, [run for run in runs if not run.replay], path)
        if any(student.manifest.run_id == other.manifest.run_id for other in students):
            raise UserError(f"--preferences {path}: is given twice; name each run once")
        students.append(student)
    return students


def _read_run(path: Path, *, replay: bool = False) -> TakenRun:
    manifest = read_manifest(path)
    pack = load_pack(manifest.pack)
    if pack.sha256 != manifest.pack_sha256:
        raise UserError(
            f"{path}: its prompt pack {manifest.pack} has changed since the run; restore it, since rows hold its words"
        )
    return TakenRun(manifest, pack, list(read_journal(path / "journal.jsonl").values()), replay)


def check_terms(runs: Iterable[TakenRun], *, accepted: bool) -> bool:
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
        raise UserError(f"{', '.join(names)}: {TERMS}; if it is, add --accept-teacher-terms")
    return bool(names)


def run_notes(run: TakenRun, *, teaches: bool = True) -> Iterator[str]:
    """What a user should know of a run that is exported, a line each.

    Args:
        run: The run.
        teaches: Whether rows are made of it; False of a student's run that pairs are made of.

    Yields:
        Why it is incomplete, simulated, or without rows of some kind.
    """
    manifest, name = run.manifest, model_name(run.manifest.subject)
    if len(run.examinations) < manifest.images:
        yield f"the run of {name} is not complete: {len(run.examinations)} of {manifest.images} images"
    if manifest.subject.backend == "scripted":
        yield f"{name} is a simulated model: its texts show that the pipeline works, and teach nothing"
    if run.replay and not (manifest.auditors or (manifest.source and manifest.source.kind == "labelled")):
        yield (
            f"replay: nobody has said which of {name}'s answers are right, and wrong ones teach it to answer where it "
            "should decline; audit its run, or give one on a labelled set"
        )
    if manifest.source is not None and teaches and not run.replay:
        yield f"the questions of the run of {name} are not its own: it gives no rows of question writing"
