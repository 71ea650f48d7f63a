"""Whether several models agree on a question: each has answered or declined that very question, about that very image.

Who was asked what stands in runs on another run's questions, such as the cells of a cross-examination. What is compared
is whether a model answered or declined. That two models answered does not say that they answered the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.compare.cross_runs import cells_in
from unsaf_async.distill.data.build_rows import model_name
from unsaf_async.errors import UserError, setting
from unsaf_async.runs.listing import exists
from unsaf_async.score.unf1 import cell, latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from unsaf_async.distill.data.build_rows import Item
    from unsaf_async.records import Examination, Question
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.saved import SavedRun

FEWEST = 2
"""Models that can agree."""

_Key = tuple[str, str, str, str]
"""A question: the run that wrote it, or the labelled set's file; the image's id, its text and its label."""


def run_folders(path: Path) -> list[Path]:
    """The folders of runs that a user names by one path.

    Args:
        path: A run's folder, or one that a cross-examination went into.

    Returns:
        `path` itself, or the folders of the cells by their names.
    """
    return [path] if exists(path) else sorted(cells_in(path)) or [path]


@dataclass(frozen=True)
class Agreement:
    """How the models of several runs did on the same questions."""

    least: int | None
    """How many models must agree; None: all that did any of it, two at least."""
    models: Mapping[str, int]
    """How many models were asked the same questions, by the run that wrote these, or the labelled set's file."""
    _askers: Mapping[str, str]
    """The run that wrote the questions of a run, or the labelled set's file, by the run's id."""
    _right: Mapping[_Key, Mapping[str, bool]]
    """Whether each model did as the label has it, each time that it was asked; by its name."""

    def notes(self, teachers: Iterable[SavedRun]) -> Iterator[str]:
        """What a user should know, a line each.

        Args:
            teachers: The runs that are exported.

        Yields:
            Whose questions nobody else was asked.
        """
        for run in teachers:
            if self.models[self._askers[run.manifest.run_id]] < FEWEST:
                yield f"no other model was asked the questions of {model_name(run.manifest.subject)}: all are left out"

    def why_not(self, item: Item) -> str | None:
        """Why a question is not agreed on.

        Args:
            item: A question of one of the runs.

        Returns:
            The reason; None if it is agreed on.
        """
        right = self._judged(item)
        least = self.least or FEWEST
        if len(right) < least:
            return f"agreement: fewer than {least} models have a response to it that is of one of the four types"
        if self.least is None:
            return None if all(right.values()) else "agreement: a model did otherwise"
        return None if sum(right.values()) >= least else f"agreement: fewer than {least} models did so"

    def counts(self, item: Item) -> tuple[int, int]:
        """How many models a question's agreement goes by.

        Args:
            item: A question of one of the runs.

        Returns:
            (models with a response to it that is of one of the four types, those of them that did as its label has it); the
            teacher is among them.
        """
        right = self._judged(item)
        return len(right), sum(right.values())

    def _judged(self, item: Item) -> Mapping[str, bool]:
        asker = self._askers[item.run.manifest.run_id]
        return self._right.get(_key(asker, item.image.id, item.question), {})


def agreement_of(teachers: Sequence[SavedRun], others: Sequence[SavedRun], least: int | None) -> Agreement:
    """How the models of several runs did on the questions of the teachers' runs.

    A model that was asked a question several times counts once, and agrees if it always did as the label has it.

    Args:
        teachers: The runs that are exported.
        others: Runs of other models on their questions.
        least: How many models must agree; None: all.

    Returns:
        The models' judgments.

    Raises:
        UserError: A run answered other questions, or the runs are not of so many models on the same questions.
    """
    if least is not None and least < FEWEST:
        raise UserError(f"is {least}; give {FEWEST} or more models, or leave it out for all", field="agree")
    runs = [*teachers, *others]
    asker_of = askers(runs)
    asked = {asker_of[run.manifest.run_id] for run in teachers}
    models: defaultdict[str, set[str]] = defaultdict(set)
    right: defaultdict[_Key, dict[str, bool]] = defaultdict(dict)
    for run in runs:
        asker, name = asker_of[run.manifest.run_id], model_name(run.manifest.subject)
        if asker not in asked:
            raise UserError(
                f"{run.folder}: answered no questions of a run that is exported; make it with "
                f"{setting('questions_from')} TEACHER_RUN, or give that run, too",
                field="agreed_by",
            )
        models[asker].add(name)
        _note(run.examinations, asker, name, right)
    most = max(models.values(), key=len)
    if len(most) < (least or FEWEST):
        raise UserError(
            f"needs {least or FEWEST} models that were asked the same questions, and there "
            f"{'is' if len(most) == 1 else 'are'} {len(most)} ({', '.join(sorted(most))}); `unsaf-async cross` asks them: give "
            f"its folder as {setting('agreed_by')}",
            field="agree",
        )
    return Agreement(least, {asker: len(names) for asker, names in models.items()}, asker_of, right)


def _note(
    examinations: Iterable[Examination], asker: str, name: str, right: defaultdict[_Key, dict[str, bool]]
) -> None:
    """Notes what a model, by its name, did on a run's questions."""
    for examination in latest(examinations):
        for question in examination.questions:
            if (which := cell(question)) is not None:
                of_question = right[_key(asker, examination.image.id, question)]
                of_question[name] = of_question.get(name, True) and which in ("ta", "tu")


def _key(asker: str, image_id: str, question: Question) -> _Key:
    return asker, image_id, question.text, question.intended


def askers(runs: Sequence[SavedRun]) -> dict[str, str]:
    """Which run wrote each run's questions, followed through the runs that are here.

    Args:
        runs: Any runs.

    Returns:
        The id of the run that wrote them, by the run's own id; of a labelled set's questions the set's file.
    """
    by_id = {run_id: run.manifest for run in runs for run_id in (run.manifest.run_id, run.manifest.answering_run_id)}
    return {run.manifest.run_id: _asker(run.manifest, by_id) for run in runs}


def _asker(manifest: Manifest, by_id: Mapping[str, Manifest]) -> str:
    seen: set[str] = set()
    while manifest.source and manifest.source.kind == "run":
        run_id = manifest.source.run_id
        if run_id not in by_id or run_id in seen:
            return run_id
        seen.add(run_id)
        manifest = by_id[run_id]
    return manifest.source.path if manifest.source else manifest.answering_run_id
