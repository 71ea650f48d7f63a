"""The runs of a report: each with its records and its score, and the names that tell them apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unsaf_async.compare.judged import judged_scores
from unsaf_async.runs.findings import Findings
from unsaf_async.runs.folder import called_by_folder
from unsaf_async.runs.journal import Examinations
from unsaf_async.runs.saved import NOTHING_HELD, Held, SavedRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from unsaf_async.compare.judged import JudgedScore
    from unsaf_async.records import Examination
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.score.labelled import LabelledScore
    from unsaf_async.score.run_score import Score

Sort = Literal["unsaf", "labelled", "pope"]
"""unsaf: the model, or another one, wrote the questions. labelled: a set with answers. pope: a set of yes/no questions."""


@dataclass(frozen=True)
class ReportRun:
    """A run as the report takes it.

    path: its folder, whose ledger.jsonl has its times and costs. examinations: gone through several times, and never all kept.
    """

    path: Path
    manifest: Manifest
    examinations: Iterable[Examination]
    score: Score
    origin: str = ""
    """What is said of a run that is not known as the user's own; "" of the user's own."""
    held: Held = NOTHING_HELD
    """What of its cost is held for calls in batches that are with vendors."""
    judged: Sequence[JudgedScore] = ()
    """What other judges made of its answers."""

    @property
    def findings(self) -> Findings | None:
        """The score with what is measured besides; None if the run has a score alone."""
        return self.score if isinstance(self.score, Findings) else None

    @property
    def told(self) -> tuple[str, ...]:
        """What is said of it before all else: whose figures they are, and why images are missing that were wanted."""
        stopped = self.findings.stopped if self.findings else None
        images, wanted = self.score.images, self.manifest.images
        missing = f"{wanted - images.done - images.failed} of {wanted} images are not done"
        why = f"{missing}; stopped early: {stopped.why}" if stopped is not None and stopped.early else ""
        return tuple(filter(None, (self.origin, why)))

    @property
    def labelled(self) -> LabelledScore | None:
        """The figures of a labelled set; None for other runs."""
        return self.findings.labelled if self.findings else None

    @property
    def sort(self) -> Sort:
        """What its headline is: UnF1, a labelled set's accuracy, or POPE's figures."""
        if self.labelled is None:
            return "unsaf"
        return "pope" if self.labelled.pope else "labelled"

    @property
    def f1_name(self) -> str:
        """What the F1 of abstaining is called: a labelled set's labels are no instruction, so there it is not UnF1."""
        return self.score.f1_name


def load_run(path: Path) -> ReportRun:
    """The run in a folder.

    Args:
        path: The folder of the run.

    Returns:
        The run with its records, each read when its turn comes, and its score.

    Raises:
        UserError: The folder holds no run, or a damaged one.
    """
    run = SavedRun(path)
    examinations = Examinations(run.kept)
    return ReportRun(path, run.manifest, examinations, run.findings, run.origin, run.held, judged_scores(run))


def labels(runs: Sequence[ReportRun]) -> list[str]:
    """A label for each run that no other one has.

    Args:
        runs: The runs of one report.

    Returns:
        A label a run, in their order: the model's name; with the folder's where several runs are of one model (of a judging, with
        its run's and the judge's), and a number where even that is equal.
    """
    models = [run.manifest.subject.name for run in runs]
    names = [
        model if models.count(model) == 1 else f"{model} ({called_by_folder(run.path, run.manifest)})"
        for model, run in zip(models, runs, strict=True)
    ]
    return [
        name if names.count(name) == 1 else f"{name} {names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def names_of(label: str, run: ReportRun) -> tuple[str, ...]:
    """The names that a user can call a run by.

    Args:
        label: The run's label in the report.
        run: The run.

    Returns:
        Its label, its provider's name, its model's and its folder's.
    """
    return label, run.manifest.subject.name, run.manifest.subject.model or run.path.name, run.path.name
