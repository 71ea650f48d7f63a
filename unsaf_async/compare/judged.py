"""What other judges made of a run's answers: the scores in its judged/, each beside the run's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from unsaf_async.compare.comparison import paired_runs
from unsaf_async.compare.pairing import lean
from unsaf_async.errors import UserError
from unsaf_async.records import Record

if TYPE_CHECKING:
    from unsaf_async.runs.saved import SavedRun


class JudgedScore(Record):
    """One judge's score of a run's answers."""

    folder: str
    name: str
    """The folder's last part."""
    judge: str = ""
    """Who judges, and by which rubric if it has one of its own."""
    created: str = ""
    """ISO 8601, UTC."""
    unf1: float | None = None
    unf1_ci: tuple[float, float] | None = None
    unf1_between: tuple[float, float] | None = None
    """The bounds of UnF1, where so much is unscored that they are the headline."""
    images: int = 0
    difference: float | None = None
    """Its UnF1 minus the run's own, on the images that both have."""
    difference_ci: tuple[float, float] | None = None
    """95 % interval with images as the unit."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each figure that is None."""


def judged_scores(run: SavedRun) -> list[JudgedScore]:
    """What other judges made of a run's answers.

    Args:
        run: That asked and answered.

    Returns:
        A score a judging, the oldest first; [] where nobody else has judged them. One that cannot be read, or is not finished,
        has no figures, and why.
    """
    return [_read(run, judged) for judged in run.judged]


def _read(run: SavedRun, judged: SavedRun) -> JudgedScore:
    row = JudgedScore(folder=str(judged.folder), name=judged.folder.name)
    figures = ("unf1", "unf1_ci", "difference", "difference_ci")
    try:
        manifest, score = judged.manifest, judged.score
        row = row.model_copy(update={"judge": manifest.judge_words, "created": manifest.created})
        if manifest.judged_anew is None or manifest.judged_anew.run_id != run.manifest.run_id:
            return _without(row, figures, "it judges the answers of another run")
        if score is None:
            return _without(row, figures, "it is not finished, or was changed since")
        (pair,) = paired_runs(
            [
                (name, lean(each.kept.in_order(each.kept)), each.findings)
                for name, each in (("it", judged), ("the run", run))
            ],
            resamples=1,
        )
    except UserError as error:
        return _without(row, figures, str(error))
    undefined = {"difference_ci" if name == "ci" else name: why for name, why in pair.undefined.items()}
    undefined |= score.undefined
    row = row.model_copy(
        update={
            "unf1": None if score.unf1_between else score.unf1,
            "unf1_ci": None if score.unf1_between else score.unf1_ci,
            "unf1_between": score.unf1_between,
            "images": score.images.done,
            "difference": pair.difference,
            "difference_ci": pair.ci,
        }
    )
    missing = [name for name in figures if getattr(row, name) is None]
    bounds = dict.fromkeys(("unf1", "unf1_ci"), "so much is unscored that its bounds are the headline")
    why = undefined | (bounds if score.unf1_between else {})
    return row.model_copy(update={"undefined": {name: why.get(name, "unknown") for name in missing}})


def _without(row: JudgedScore, figures: tuple[str, ...], why: str) -> JudgedScore:
    return row.model_copy(update={"undefined": dict.fromkeys(figures, why)})
