"""Cross-examination: every model answers every model's questions, which separates skill in asking from skill in answering.

UnF1 of a run of one's own mixes two skills: writing questions that are clearly answerable or clearly not, and answering the
ones and declining the others. Where model j answers the questions of model i, for all i and j, the two can be separated: the
rows of the matrix differ by who asked, its columns by who answered.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from unsaf_async.compare.cross_rasch import ItemResponse, item_response
from unsaf_async.compare.cross_responses import responses
from unsaf_async.compare.pairing import examined, match, pair_of, resampled_sums
from unsaf_async.compare.tables import csv_of
from unsaf_async.records import Examination, Record
from unsaf_async.score.bootstrap import CONFIDENCE, expanded, interval
from unsaf_async.score.intervals import ratio_interval
from unsaf_async.score.ratios import quotients
from unsaf_async.score.run_score import FEW_IMAGES, ScoreTally, why_open
from unsaf_async.score.unf1 import unf1_bounds
from unsaf_async.score.units import Units
from unsaf_async.text import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

FEW_SHARED = 8
"""Below this many images the intervals of the fit are told to be too narrow (docs/intervals.md, "Skills")."""

RESAMPLES = 2_000
"""Draws for the intervals of a matrix."""


class CrossCell(Record):
    """How one model fared on the questions of one."""

    asker: str
    answerer: str
    unf1: float | None
    """On the images that all cells share."""
    ci: tuple[float, float] | None
    """95 % interval over images."""
    images: int
    """With questions, in this cell; the matrix uses those that all cells share."""
    questions: int
    """In one of the four types, on the shared images."""
    why: str = ""
    """Why there is no UnF1; or else, why there is no interval; "" if there are both."""
    unf1_between: tuple[float, float] | None = None
    """The bounds of UnF1, where so much is unscored that they are the headline; None where `unf1` is."""


class Effect(Record):
    """How far a model lies above the mean of the models, in UnF1."""

    name: str
    value: float | None
    ci: tuple[float, float] | None


class CrossFit(Record):
    """The additive fit: UnF1 of a cell = mean + asking of its asker + answering of its answerer + residual.

    By least squares on the cells that have an UnF1, on the scale of UnF1 itself (not its logit), so that an effect reads in
    points of the score and a cell of 0 or 1 has its place; each sort of effect sums to 0. Near 0 and 1 the scale has less room,
    and skills that multiply rather than add show in the residual. A high asking effect says that a model's questions are easy
    to get right, because they are clear-cut or because they are trivial: the fit does not say which.
    """

    mean: float | None
    asking: list[Effect]
    answering: list[Effect]
    cells: int
    """That have an UnF1."""
    parameters: int
    """That are fitted to them; with as many as cells, the fit is exact and its residual says nothing."""
    residual_rms: float | None
    """Root of the mean squared residual over the cells, in UnF1. It includes the chance of the images, and has no interval."""
    variance_explained: float | None
    """1 - residual sum of squares / sum of squares about the mean, in [0, 1]; None if all cells are equal. It has no interval."""
    own_advantage: float | None
    """How much higher UnF1 is where a model answers its own questions than asking and answering predict: the coefficient of
    "asker is answerer", fitted together with both effects. In a full matrix of N models the mean residual of the diagonal is
    (1 - 1/N) of it."""
    own_advantage_ci: tuple[float, float] | None
    undefined: dict[str, str]
    """Reason for each figure that is None: "mean", "asking.NAME", "asking.NAME.ci", ..."""
    mean_ci: tuple[float, float] | None = None
    """95 % interval of `mean`, as those of the effects."""


class CrossMatrix(Record):
    """The matrix and its fit."""

    askers: list[str]
    answerers: list[str]
    cells: list[CrossCell]
    """Row by row: every asker with every answerer, also where there is no run."""
    images: int
    """That all cells share: what every UnF1 here rests on."""
    fit: CrossFit
    notes: list[str] = Field(default_factory=list)
    """What a reader should know before using the figures, a sentence each."""
    seed: int
    resamples: int
    item_response: ItemResponse | None = None
    """Abilities and difficulties on the shared images; None in files of older versions."""

    def cell(self, asker: str, answerer: str) -> CrossCell:
        """The cell of these two.

        Args:
            asker: One of `askers`.
            answerer: One of `answerers`.

        Returns:
            The cell, also where there is no run.

        Raises:
            KeyError: There is no such asker or answerer.
        """
        if asker not in self.askers or answerer not in self.answerers:
            raise KeyError((asker, answerer))
        return self.cells[self.askers.index(asker) * len(self.answerers) + self.answerers.index(answerer)]


def matrix(
    cells: Mapping[tuple[str, str], Sequence[Examination]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    notes: Sequence[str] = (),
) -> CrossMatrix:
    """UnF1 of every answerer on every asker's questions, and the two skills that explain it.

    Pairs without a run, and those without any question, have no UnF1 and a reason. All other cells are computed on the images
    that every one of them has (the same image in the sense of `pairing.match`), so that they differ by the models alone.

    Intervals: a cell has that of `intervals.ratio_interval`. For the fit the shared images are drawn with replacement, for all
    cells jointly; every draw is fitted anew, and an interval is the expanded percentile interval (`bootstrap.expanded`), without
    draws in which a cell has no UnF1.

    Args:
        cells: By (asker, answerer), the examinations in which the answerer answers the asker's questions; (a, a) is a's own run.
        resamples: Draws for the intervals, >= 1.
        seed: Of the draws, >= 0.
        notes: What a reader should know of the runs; what follows from the number of images is added.

    Returns:
        The matrix and its fit; a figure that is None has its reason in it.

    Raises:
        ValueError: resamples < 1.
    """
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; give at least 1")
    askers, answerers = _names(cells)
    by_cell = {key: examined(examinations) for key, examinations in cells.items()}
    filled, shared = on_shared_images(cells)
    pictures = Units.of(row[0].image for row in shared).count
    values, resampled = _unf1(shared, len(filled), resamples, seed)
    places = {key: place for place, key in enumerate(filled)}
    defined = [n for n in range(len(filled)) if not np.isnan(values[n])]
    return CrossMatrix(
        askers=askers,
        answerers=answerers,
        cells=[_cell(*key, by_cell.get(key), places.get(key), values, shared) for key in product(askers, answerers)],
        images=len(shared),
        fit=_fit(
            askers,
            answerers,
            [filled[n] for n in defined],
            values[defined],
            resampled[:, defined] if pictures > 1 else np.empty((0, len(defined))),
            expanded(pictures) if pictures > 1 else CONFIDENCE,
        ),
        notes=[*notes, *_too_few(pictures)],
        seed=seed,
        resamples=resamples,
        item_response=item_response(responses(filled, shared)),
    )


def _too_few(images: int) -> Iterator[str]:
    """What so few different pictures mean for the intervals."""
    pictures = format_count(images, "picture")
    if 1 < images < FEW_IMAGES:
        yield f"the cells' intervals rest on {pictures}; with fewer than {FEW_IMAGES} they may leave half of the range open"
    if 1 < images < FEW_SHARED:
        yield f"the intervals of the additive fit rest on {pictures}; with fewer than {FEW_SHARED} they are too narrow"


def _names(cells: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """(askers, answerers), each once. Answerers are in the askers' order, so that the diagonal lies on the diagonal."""
    pairs = list(cells)
    askers = list(dict.fromkeys(asker for asker, _ in pairs))
    answering = list(dict.fromkeys(answerer for _, answerer in pairs))
    return askers, [
        *(name for name in askers if name in answering),
        *(name for name in answering if name not in askers),
    ]


def on_shared_images(
    cells: Mapping[tuple[str, str], Sequence[Examination]],
) -> tuple[list[tuple[str, str]], list[list[Examination]]]:
    """What the cells with questions say of the images that all of them have.

    Args:
        cells: As `matrix` takes them.

    Returns:
        (the cells with questions, [images][cells] the examinations), as `cross_responses.responses` takes them.
    """
    by_cell = {key: examined(examinations) for key, examinations in cells.items()}
    filled = [key for key, examinations in by_cell.items() if examinations]
    return filled, _shared([by_cell[key] for key in filled])


def _shared(cells: Sequence[Sequence[Examination]]) -> list[list[Examination]]:
    """[images][cells]: the examinations of each image that all cells have."""
    if not cells:
        return []
    first, *others = cells
    rows = {each.image.id: [each] for each in first}
    for other in others:
        for one, same in match(first, other):
            rows[one.image.id].append(same)
    return [row for row in rows.values() if len(row) == len(cells)]


def _unf1(
    shared: Sequence[Sequence[Examination]], cells: int, resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """UnF1 of the cells, and in each draw of images: [cells], [draws, cells]. NaN: undefined. shared: [images][cells]."""
    pairs = np.array([[pair_of(each) for each in row] for row in shared], dtype=np.int64)
    rows = Units.of(row[0].image for row in shared).sums(pairs.reshape(len(shared), 2 * cells))
    sums, drawn = rows.sum(axis=0), resampled_sums(rows, resamples, seed)
    return quotients(sums[::2], sums[1::2]), quotients(drawn[:, ::2], drawn[:, 1::2])


def _cell(
    asker: str,
    answerer: str,
    examinations: Sequence[Examination] | None,
    place: int | None,
    values: NDArray[np.float64],
    shared: Sequence[Sequence[Examination]],
) -> CrossCell:
    unf1, ci, questions = None, None, 0
    if examinations is None:
        why = "nobody put these questions to this model"
    elif place is None:
        why = "no image holds a question"
    elif not shared:
        why = "no image is in all cells"
    else:
        questions = sum(
            question.unscored is None and question.act in ("answered", "abstained")
            for row in shared
            for question in row[place].questions
        )
        unf1 = None if np.isnan(values[place]) else float(values[place])
        pairs = np.array([pair_of(row[place]) for row in shared], dtype=np.int64)
        ci = ratio_interval(Units.of(row[0].image for row in shared).sums(pairs)).ends
        why = (
            "no response on the shared images counts"
            if unf1 is None
            else "one shared image has no interval"
            if len(shared) == 1
            else "fewer than 2 shared images bear on it"
            if ci is None
            else ""
        )
    return CrossCell(
        asker=asker,
        answerer=answerer,
        unf1=unf1,
        ci=ci,
        images=len(examinations or ()),
        questions=questions,
        why=why,
        unf1_between=None if unf1 is None or place is None else _between([row[place] for row in shared]),
    )


def _between(examinations: Sequence[Examination]) -> Interval:
    """As `Score.unf1_between`, of one cell."""
    tally = ScoreTally()
    for examination in examinations:
        tally.add(examination)
    bounds = unf1_bounds(
        tally.counts, unanswerable=tally.unscored_of("unanswerable"), answerable=tally.unscored_of("answerable")
    )
    return bounds if why_open(tally.unscored, tally.questions.asked, bounds) else None


# --- the additive fit -------------------------------------------------------------------------------------------------


NO_INTERVAL_OF_FIT = "the chance of the images is a part of the residual, and drawing them again would add it once more"
"""Why `residual_rms` and `variance_explained` have no interval."""

NO_INTERVAL = "no draw moved it: too few images, or all alike"

Interval = tuple[float, float] | None


def _fit(
    askers: Sequence[str],
    answerers: Sequence[str],
    cells: Sequence[tuple[str, str]],
    values: NDArray[np.float64],
    resampled: NDArray[np.float64],
    level: float,
) -> CrossFit:
    """cells: those with an UnF1. values: [cells]. resampled: [draws, cells], NaN where undefined. level: of the intervals."""
    rows = [name for name in askers if any(asker == name for asker, _ in cells)]
    columns = [name for name in answerers if any(answerer == name for _, answerer in cells)]
    design = _design(rows, columns, cells)
    complete = resampled[~np.isnan(resampled).any(axis=1)]
    estimable = bool(cells) and int(np.linalg.matrix_rank(design)) == design.shape[1]
    why = (
        "the cells fall into groups that share neither asker nor answerer, so that their effects cannot be compared"
        if cells
        else "no cell has an UnF1"
    )
    undefined = {f"asking.{name}": "no cell of its questions has an UnF1" for name in askers if name not in rows}
    undefined |= {
        f"answering.{name}": "no cell of its answers has an UnF1" for name in answerers if name not in columns
    }
    mean, mean_ci, residual_rms, explained = None, None, None, None
    of_rows: dict[str, tuple[float, Interval]] = {}
    of_columns: dict[str, tuple[float, Interval]] = {}
    if estimable:
        inverse = np.linalg.pinv(design)
        coefficients, drawn = inverse @ values, complete @ inverse.T
        mean, mean_ci = float(coefficients[0]), interval(_rounded(drawn[:, 0]), level)
        undefined |= {"mean.ci": NO_INTERVAL} if mean_ci is None else {}
        end = len(rows)  # of the askers' coefficients, of which there are one less, after the mean
        of_rows = dict(zip(rows, _effects(coefficients[1:end], drawn[:, 1:end], level), strict=True))
        of_columns = dict(zip(columns, _effects(coefficients[end:], drawn[:, end:], level), strict=True))
        residual = values - design @ coefficients
        residual_rms = float(np.sqrt(np.mean(residual**2)))
        explained = _variance_explained(values, residual)
        undefined |= dict.fromkeys(("residual_rms.ci", "variance_explained.ci"), NO_INTERVAL_OF_FIT)
        if explained is None:
            undefined["variance_explained"] = undefined["variance_explained.ci"] = "all cells are equal"
    else:
        undefined |= dict.fromkeys(("mean", "mean.ci", "residual_rms", "variance_explained"), why)
    asking = _named_effects("asking", askers, of_rows, why, undefined)
    answering = _named_effects("answering", answerers, of_columns, why, undefined)
    own, own_ci = _own_advantage(design, cells, values, (complete, level), undefined) if estimable else (None, None)
    if own is None:
        undefined |= dict.fromkeys(
            ("own_advantage", "own_advantage_ci"),
            "the advantage on one's own questions cannot be separated from the models: too few other cells have an UnF1",
        )
    return CrossFit(
        mean=mean,
        mean_ci=mean_ci,
        asking=asking,
        answering=answering,
        cells=len(cells),
        parameters=design.shape[1] if cells else 0,
        residual_rms=residual_rms,
        variance_explained=explained,
        own_advantage=own,
        own_advantage_ci=own_ci,
        undefined=undefined,
    )


def _design(rows: Sequence[str], columns: Sequence[str], cells: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    """[cells, 1 + (rows - 1) + (columns - 1)]: the mean's column of ones, then the contrasts of askers and answerers."""
    parameters = 1 + max(0, len(rows) - 1) + max(0, len(columns) - 1)
    return np.array(
        [
            [1.0, *_contrast(rows.index(asker), len(rows)), *_contrast(columns.index(answerer), len(columns))]
            for asker, answerer in cells
        ]
    ).reshape(len(cells), parameters)


def _variance_explained(values: NDArray[np.float64], residual: NDArray[np.float64]) -> float | None:
    """In [0, 1]; None if all values are equal."""
    spread = float(((values - values.mean()) ** 2).sum())
    return min(1.0, max(0.0, 1 - float((residual**2).sum()) / spread)) if spread > 1e-12 else None


def _named_effects(
    sort: str, names: Sequence[str], known: Mapping[str, tuple[float, Interval]], why: str, undefined: dict[str, str]
) -> list[Effect]:
    """An effect a name. why: the reason of those without a value, which is added to `undefined` with those of the intervals."""
    effects = []
    for name in names:
        value, ci = known.get(name, (None, None))
        effects.append(Effect(name=name, value=value, ci=ci))
        if value is None:
            undefined.setdefault(f"{sort}.{name}", why)
        elif ci is None:
            undefined[f"{sort}.{name}.ci"] = NO_INTERVAL
    return effects


def _own_advantage(
    design: NDArray[np.float64],
    cells: Sequence[tuple[str, str]],
    values: NDArray[np.float64],
    draws_at: tuple[NDArray[np.float64], float],
    undefined: dict[str, str],
) -> tuple[float | None, Interval]:
    """(coefficient of "asker is answerer", its interval); (None, None) if the cells do not determine it."""
    diagonal = np.array([float(asker == answerer) for asker, answerer in cells])
    with_own = np.column_stack([design, diagonal])
    if int(np.linalg.matrix_rank(with_own)) < with_own.shape[1]:
        return None, None
    weights = np.linalg.pinv(with_own)[-1]
    draws, level = draws_at
    ci = interval(_rounded(draws @ weights), level)
    if ci is None:
        undefined["own_advantage_ci"] = NO_INTERVAL
    return float(weights @ values), ci


def _contrast(place: int, number: int) -> list[float]:
    """The columns that make `number` effects sum to 0: one each for all but the last, which is minus the others' sum."""
    return [-1.0] * (number - 1) if place == number - 1 else [float(place == other) for other in range(number - 1)]


def _effects(
    fitted: NDArray[np.float64], drawn: NDArray[np.float64], level: float
) -> list[tuple[float, tuple[float, float] | None]]:
    """(value, interval) of every effect, the last one included. fitted: [N - 1]. drawn: [draws, N - 1]."""
    values = np.append(fitted, -fitted.sum())
    draws = np.column_stack([drawn, -drawn.sum(axis=1)])
    if len(values) == 1:  # a single model is the mean
        return [(0.0, None)]
    return [(float(value), interval(_rounded(column), level)) for value, column in zip(values, draws.T, strict=True)]


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without the last digits, in which equal values may differ after a matrix product."""
    return np.round(values, 12)


# --- as text for other programs ---------------------------------------------------------------------------------------


def to_csv(crossed: CrossMatrix) -> str:
    """The cells as CSV, one line each.

    Args:
        crossed: The matrix.

    Returns:
        A header, then the cells row by row, also those without a run. An undefined figure is an empty field, and `why` says why.
    """
    return csv_of(
        ["asker", "answerer", "unf1", "ci_low", "ci_high", "images_shared", "images", "questions", "why"],
        (
            [
                cell.asker,
                cell.answerer,
                cell.unf1,
                *(cell.ci or (None, None)),
                crossed.images,
                cell.images,
                cell.questions,
                cell.why,
            ]
            for cell in crossed.cells
        ),
    )
