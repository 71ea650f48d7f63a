"""How often a judge is wrong, measured on responses that people have labelled, and UnF1 corrected for it.

A judge that takes some answers for abstentions, or the other way round, shifts UnF1, and no number of images helps. Its error
rates come from labelled responses (`confusions`); with them the abstention rate of each side is corrected by

    p = (r + sp - 1) / (se + sp - 1)

where r is the observed rate, se = P(judged abstained | abstained), and sp = P(judged answered | answered): W. J. Rogan and
B. Gladen, "Estimating prevalence from the results of a screening test", American Journal of Epidemiology 107 (1978), 71-76.
se and sp are estimates themselves, so the interval needs both sources of error, that of the images and that of the labelled
sample: Z. Lang and J. Reiczigel, "Confidence limits for prevalence of disease adjusted for estimated sensitivity and
specificity", Preventive Veterinary Medicine 113 (2014), 13-22.

The correction takes for granted that the judge errs on a run's responses as often as on the labelled ones, whatever the intended
label. Pure arithmetic, but for reading and writing the two files.
"""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from unsaf_async.errors import UserError
from unsaf_async.records import Act, Decider, Examination, Label, Record
from unsaf_async.score.agreement import cohens_kappa
from unsaf_async.score.bootstrap import CONFIDENCE, RESAMPLES, UNDEFINED_LIMIT
from unsaf_async.score.intervals import Interval, ratio_interval, smooth_interval
from unsaf_async.score.judged_together import TogetherCheck
from unsaf_async.score.ratios import quotients, ratio
from unsaf_async.score.unf1 import BOUNDS_ALONE, cell, latest_by_id
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

HumanLabel = Literal["answered", "abstained"]
"""What people say that a response did."""

GROUPS = ("tier", "source")
"""Columns of the labelled file by which the verdicts are also counted separately."""


# --- labelled responses -------------------------------------------------------------------------------------------


class Judged(Record):
    """A response with people's label of what it did."""

    question: str
    response: str
    label: HumanLabel
    image: str | None = None
    groups: dict[str, str] = Field(default_factory=dict)
    """Its tier and source, where the file has them."""


def read_judged(path: Path) -> list[Judged]:
    """The rows of a JSONL file {question, response (or text), label, [image, tier, source]}.

    Args:
        path: The file. `label` is "answered" or "abstained"; further columns and blank lines are ignored.

    Returns:
        At least one row, in the file's order.

    Raises:
        UserError: For a file that cannot be read or has no row, and, with the line's number, for a line that is no row.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a JSONL file of labelled responses") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no UTF-8 text; give a JSONL file of labelled responses") from None
    rows = [_judged(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UserError(f"{path}: holds no row; give one JSON object a line, with question, response and label")
    return rows


def _judged(line: str, where: str) -> Judged:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise UserError(f"{where}: is no JSON object; give question, response and label")
    named = {"response" if "response" in row else "text": "response", "question": "question"}
    texts = {}
    for column, name in named.items():
        if not isinstance(row.get(column), str):
            problem = f"{column} is {row[column]!r:.60}" if column in row else f"has no {name}"
            raise UserError(f"{where}: {problem}; give text")
        texts[name] = row[column]
    if not row.get("label"):
        raise UserError(f'{where}: has no label yet; give "answered" or "abstained", or leave the row out')
    if row["label"] not in ("answered", "abstained"):
        raise UserError(f'{where}: label is {row.get("label")!r:.60}; give "answered" or "abstained"')
    image = row.get("image")
    return Judged(
        **texts,
        label=row["label"],
        image=None if image is None else str(image),
        groups={name: str(row[name]) for name in GROUPS if row.get(name) is not None},
    )


# --- how often the judge is wrong ---------------------------------------------------------------------------------


class Verdicts(Record):
    """Verdicts on responses of one human label."""

    answered: int = 0
    abstained: int = 0
    invalid: int = 0
    refused: int = 0
    no_image: int = 0
    none: int = 0
    """Nothing was decided: the rules left it open, or the judge failed."""

    @property
    def neither(self) -> int:
        """Decided, and in no cell of a score: invalid, refused, no image."""
        return self.invalid + self.refused + self.no_image


class Confusion(Record):
    """A judge's verdicts against people's labels.

    `abstained` is the positive class. "invalid", "refused" and "no_image" agree with neither label, and so count
    against accuracy, F1 and kappa. `none` is outside of all figures but `decided`. A ratio with an empty denominator is None.
    """

    answered: Verdicts = Verdicts()
    """Of responses that people call answered."""
    abstained: Verdicts = Verdicts()
    """Of responses that people call abstained."""

    @property
    def rows(self) -> int:
        """Labelled responses."""
        return self.n + self.answered.none + self.abstained.none

    @property
    def n(self) -> int:
        """Those on which something was decided."""
        return sum(v.answered + v.abstained + v.neither for v in (self.answered, self.abstained))

    @property
    def decided(self) -> float | None:
        """n / rows."""
        return ratio(self.n, self.rows)

    @property
    def accuracy(self) -> float | None:
        """Of n, the share whose verdict is the label."""
        return ratio(self.answered.answered + self.abstained.abstained, self.n)

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN), abstained being positive."""
        hits, false_alarms = self.abstained.abstained, self.answered.abstained
        return ratio(2 * hits, 2 * hits + false_alarms + self.abstained.answered + self.abstained.neither)

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa of label and verdict."""
        rows = [[v.answered, v.abstained, v.neither] for v in (self.answered, self.abstained)]
        return cohens_kappa(np.array([*rows, [0, 0, 0]]))

    @property
    def sensitivity(self) -> float | None:
        """Of the abstentions that were called answered or abstained, the share that was called abstained.

        Other acts are excluded here and in `specificity`, since such a response is in no cell of a score either.
        """
        return ratio(self.abstained.abstained, self.abstained.answered + self.abstained.abstained)

    @property
    def specificity(self) -> float | None:
        """Of the answers that were called answered or abstained, the share that was called answered."""
        return ratio(self.answered.answered, self.answered.answered + self.answered.abstained)


class Confusions(Record):
    """A judge's verdicts on a labelled file, as a whole and in parts."""

    overall: Confusion
    by_decider: dict[Decider, Confusion]
    """By who decided; responses on which nothing was decided are in none."""
    by_group: dict[str, dict[str, Confusion]]
    """By column and value: {"tier": {"A": ..., "B": ...}}, whoever decided."""


def confusions(rows: Sequence[Judged], verdicts: Sequence[tuple[Act | None, Decider | None]]) -> Confusions:
    """The verdicts against the labels.

    Args:
        rows: Labelled responses.
        verdicts: One a row, in the same order: what the response did (None: nothing was decided), and who decided.

    Returns:
        The tables; empty ones without rows.

    Raises:
        ValueError: If there are not as many verdicts as rows.
    """
    if len(rows) != len(verdicts):
        raise ValueError(f"{len(verdicts)} verdicts for {len(rows)} rows; give one a row")
    overall: Counter[tuple[HumanLabel, Act | None]] = Counter()
    deciders: dict[Decider, Counter[tuple[HumanLabel, Act | None]]] = {}
    groups: dict[str, dict[str, Counter[tuple[HumanLabel, Act | None]]]] = {}
    for row, (act, decider) in zip(rows, verdicts, strict=True):
        counted = [overall]
        if act is not None and decider is not None:
            counted.append(deciders.setdefault(decider, Counter()))
        counted += [groups.setdefault(name, {}).setdefault(value, Counter()) for name, value in row.groups.items()]
        for table in counted:
            table[row.label, act] += 1
    return Confusions(
        overall=_confusion(overall),
        by_decider={name: _confusion(table) for name, table in sorted(deciders.items())},
        by_group={
            name: {value: _confusion(table) for value, table in sorted(values.items())}
            for name, values in sorted(groups.items())
        },
    )


def _confusion(table: Counter[tuple[HumanLabel, Act | None]]) -> Confusion:
    def of(label: HumanLabel) -> Verdicts:
        return Verdicts(
            answered=table[label, "answered"],
            abstained=table[label, "abstained"],
            invalid=table[label, "invalid"],
            refused=table[label, "refused"],
            no_image=table[label, "no_image"],
            none=table[label, None],
        )

    return Confusion(answered=of("answered"), abstained=of("abstained"))


class SourceCheck(Record):
    """A source whose labels look shifted against its texts."""

    rows: int
    """Its rows; none of them enters the calibration."""
    decided: int
    """Of these, rows whose response the rules take for an answer or an abstention."""
    contradicted: int
    """Of these, rows whose label says the opposite."""
    decided_abstained: int = 0
    """Of `decided`, rows whose response the rules take for an abstention."""
    contradicted_abstained: int = 0
    """Of these, rows whose label is "answered"."""


class LabelCheck(Record):
    """What became of the rows of a labelled file, and which labels contradict their texts."""

    rows: int = 0
    """In the file."""
    entered: int = 0
    """Rows that the calibration is made of."""
    contradicted: list[int] = Field(default_factory=list)
    """Numbers of the rows, from 1 on, whose label is the opposite of what the rules are certain of."""
    shifted: dict[str, SourceCheck] = Field(default_factory=dict)
    """Sources that were left out, by name ("" without a name), since many of their labels contradict their texts."""


class CalibrationFile(Record):
    """What `judge calibrate` writes down: how often one judge, with one judging prompt, is wrong."""

    format: Literal[1] = 1
    """Of this file."""
    judge: str
    """Its name."""
    prompt_sha256: str
    """Of the judging prompt, or prompts."""
    judge_together: Annotated[int, Field(ge=1, le=1000)] = 1
    """About how many responses of an image the judge was asked in one call, at most."""
    created: str
    """ISO 8601, UTC."""
    data: str = ""
    """The labelled file's name."""
    data_sha256: str = ""
    """Of its bytes."""
    labels: LabelCheck = LabelCheck()
    """Which rows entered, and which labels look wrong; all 0 in files of older versions."""
    confusions: Confusions
    """Of the verdicts as a run with the same `judge_together` reaches them."""
    together: TogetherCheck | None = None
    """What judging several responses in one call changes; None where each was judged alone."""


def write_calibration(path: Path, calibration: CalibrationFile) -> None:
    """Write a calibration to a file, in place of what is there.

    Args:
        path: The file.
        calibration: What to write.

    Raises:
        UserError: If the file cannot be written.
    """
    try:
        path.write_text(calibration.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); give another place") from None


def read_calibration(path: Path) -> CalibrationFile:
    """What `write_calibration` wrote.

    Args:
        path: The file.

    Returns:
        The calibration.

    Raises:
        UserError: For a file that is missing or is no calibration.
    """
    try:
        return CalibrationFile.model_validate_json(path.read_bytes())
    except OSError as error:
        reason = error.strerror
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(str(part) for part in first['loc']) or 'file'}: {first['msg']}"
    raise UserError(f"{path}: is no calibration of a judge ({reason}); give a file that `judge calibrate` wrote")


# --- UnF1 without the judge's errors ------------------------------------------------------------------------------


class DeciderRates(Record):
    """One decider's error rates, and how much it decided in the run."""

    responses: int
    """Of the run, scored."""
    sensitivity: float | None
    """P(judged abstained | abstained) on the labelled responses; None: unknown, and its verdicts are taken as they are."""
    specificity: float | None
    """P(judged answered | answered); None as above."""
    labelled_abstained: int
    """Labelled abstentions on which the sensitivity rests."""
    labelled_answered: int
    """Labelled answers on which the specificity rests."""


class Side(Record):
    """The abstention rate on the questions of one intended label."""

    n: int
    """Scored."""
    observed: float | None
    """Share that was judged abstained; None if n is 0."""
    corrected: float | None
    """Share that abstained, the deciders' errors reckoned out, in [0, 1]."""
    clipped: bool
    """Whether the formula went below 0 or above 1 and was cut: by chance, or since se and sp do not fit this run."""
    observed_ci: tuple[float, float] | None = None
    """95 % interval with images as the unit."""
    corrected_ci: tuple[float, float] | None = None
    """95 % interval, as that of the corrected UnF1."""


class Corrected(Record):
    """UnF1 as it would be without the errors of those who judged."""

    unf1: float | None
    """Corrected, in [0, 1]."""
    unf1_ci: tuple[float, float] | None
    """95 % interval: over images, and over the error rates that the labelled responses leave open."""
    unf1_observed: float | None
    """As judged."""
    unf1_observed_ci: tuple[float, float] | None
    """95 % interval with images as the unit; it knows nothing of the judge's errors."""
    unanswerable: Side
    """The questions intended as unanswerable."""
    answerable: Side
    """The questions intended as answerable."""
    deciders: dict[str, DeciderRates]
    """Who decided the scored responses; "unknown" where the run does not say."""
    as_they_are: int
    """Scored responses by deciders whose error rates are unknown: their verdicts are taken as true."""
    resamples_undefined: int
    """Draws of the error rates without a corrected UnF1."""
    why_undefined: dict[str, str]
    """Reason for each figure of this record that is None, by its path."""


def corrected_unf1(
    examinations: Iterable[Examination],
    known: Mapping[Decider, Confusion],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Corrected:
    """UnF1 corrected for the deciders' errors.

    Each decider has rates of its own, by which its verdicts are corrected. With p and q the corrected abstention rates of the
    n_u unanswerable and n_a answerable scored questions,

        UnF1 = 2 n_u p / (2 n_u p + n_u (1 - p) + n_a q)

    Corrections add up over deciders before a rate is cut to [0, 1], so that one decider's excess balances another's deficit.
    Where a decider's se + sp <= 1, it does no better than chance, nothing can be corrected, and `unf1` is None.
    Interval: that over images, at the se and sp found, has ends l and u (`intervals.smooth_interval`); that of the error rates,
    at the verdicts found, has L and U: percentiles over draws of each se and sp from the Beta distribution that the labelled
    responses leave with Jeffreys' prior, Beta(hits + 1/2, misses + 1/2), so that no error in 20 is not taken for none at all.
    The two are independent and are combined as distances from the figure x: x - sqrt((x - l)^2 + (x - L)^2) to
    x + sqrt((u - x)^2 + (U - x)^2) (Zou & Donner, Statistics in Medicine 27 (2008), doi:10.1002/sim.3095, eq. 8).

    Args:
        examinations: Of several about one image the last counts, else their order is irrelevant. Unscored questions don't
            enter.
        known: What is known of each decider, from the same judge with the same prompt (`CalibrationFile`). The verdicts of a
            decider that is not there are taken as they are.
        seed: Of the draws of error rates.
        resamples: How many draws.

    Returns:
        The corrected score. Without scored questions every figure is None with its reason.
    """
    tally = DecidedTally()
    for examination in latest_by_id(examinations):
        tally.add(examination)
    return corrected_of(tally, known, seed=seed, resamples=resamples)


class DecidedTally:
    """Scored questions by who decided them, added up image by image, in the order of the images' ids."""

    def __init__(self) -> None:
        self._units = Units()
        self._names: dict[Decider | Literal["unknown"], int] = {}
        self._counts = array("q")
        """[counts, 5]: image, decider, side, whether abstained, how many."""

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        if not examination.questions:
            return
        counts = Counter(
            (question.decided_by or "unknown", _SIDES.index(question.intended), where in ("tu", "fu"))
            for question in examination.questions
            if (where := cell(question))
        )
        for (name, side, abstained), n in counts.items():
            decider = self._names.setdefault(name, len(self._names))
            self._counts.extend((len(self._units), decider, side, abstained, n))
        self._units.add(examination.image)

    def tables(self) -> tuple[list[Decider | Literal["unknown"]], NDArray[np.int64]]:
        """The counts as one table a picture.

        Returns:
            The deciders' names, sorted, and counts of shape [pictures, deciders, sides, (answered, abstained)].
        """
        names = sorted(self._names)
        image, decider, side, abstained, n = np.array(self._counts, dtype=np.int64).reshape(-1, 5).T
        order = np.array([names.index(name) for name in self._names], dtype=np.int64)
        tables = np.zeros((len(self._units), len(names), len(_SIDES), 2), dtype=np.int64)
        tables[image, order[decider], side, abstained] = n
        tables = self._units.sums(tables)
        return names, tables


def corrected_of(
    decided: DecidedTally,
    known: Mapping[Decider, Confusion],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    between: tuple[float, float] | None = None,
) -> Corrected:
    """UnF1 corrected for the deciders' errors: as `corrected_unf1`, of what is tallied.

    Args:
        decided: The scored questions.
        known: What is known of each decider.
        seed: Of the draws of error rates.
        resamples: How many draws.
        between: The bounds of UnF1 where so much is unscored that they are its headline: then there is no corrected UnF1, for
            error rates tell nothing of what is unscored. None where UnF1 is the headline.

    Returns:
        The corrected score.
    """
    names, tables = decided.tables()
    deciders = [KnownDecider(name, None if name == "unknown" else known.get(name)) for name in names]
    total = tables.sum(axis=0)
    observed = _observed(tables)
    corrected = _corrected(deciders, total, observed)
    drawn = _Drawn(deciders, tables, drawn_rates(deciders, resamples, seed))
    if corrected.unf1 is not None:
        corrected = (
            drawn.with_interval(corrected) if drawn.matters else replace(corrected, ci=observed.ci, why=observed.why)
        )
    sides, without = zip(*(_side(row, tables, corrected, drawn) for row in range(len(_SIDES))), strict=True)
    why = _because(observed.why, unf1_observed=observed.unf1, unf1_observed_ci=observed.ci)
    why |= _because(corrected.why, unf1=corrected.unf1, unf1_ci=corrected.ci)
    for name, side, no_interval in zip(_SIDES, sides, without, strict=True):
        reason = corrected.why if side.n else f"no question that was intended {name} was scored"
        why |= _because(reason, **{f"{name}.observed": side.observed, f"{name}.corrected": side.corrected})
        why |= _because(no_interval["observed_ci"] or reason, **{f"{name}.observed_ci": side.observed_ci})
        why |= _because(no_interval["corrected_ci"] or reason, **{f"{name}.corrected_ci": side.corrected_ci})
    rates = {decider.name: decider.rates(int(total[row].sum())) for row, decider in enumerate(deciders)}
    for decider, known_rates in rates.items():
        figures = {"sensitivity": known_rates.sensitivity, "specificity": known_rates.specificity}
        why |= _because(_UNKNOWN, **{f"deciders.{decider}.{rate}": value for rate, value in figures.items()})
    if between is not None:
        observed, corrected = (replace(each, unf1=None, ci=None) for each in (observed, corrected))
        why |= dict.fromkeys(("unf1", "unf1_ci", "unf1_observed", "unf1_observed_ci"), BOUNDS_ALONE)
    return Corrected(
        unf1=corrected.unf1,
        unf1_ci=corrected.ci,
        unf1_observed=observed.unf1,
        unf1_observed_ci=observed.ci,
        unanswerable=sides[0],
        answerable=sides[1],
        deciders=rates,
        as_they_are=sum(int(total[row].sum()) for row, decider in enumerate(deciders) if decider.confusion is None),
        resamples_undefined=corrected.resamples_undefined,
        why_undefined=why,
    )


@dataclass(frozen=True, slots=True)
class _Estimate:
    """UnF1 with its interval. why: the reason for what is None, or "". abstained: [2] abstentions by side, not cut."""

    unf1: float | None = None
    ci: tuple[float, float] | None = None
    why: str = ""
    abstained: NDArray[np.float64] | None = None
    resamples_undefined: int = 0


def _observed(tables: NDArray[np.int64]) -> _Estimate:
    """UnF1 with every verdict taken as it is. tables: [pictures, deciders, sides, acts]."""
    (fa, tu), (_, fu) = (side.T for side in np.moveaxis(tables.sum(axis=1), 1, 0))
    unf1 = ratio(int(2 * tu.sum()), int((2 * tu + fu + fa).sum()))
    if unf1 is None or not (tu + fa).sum():
        return _Estimate(why=_NOTHING_SCORED)
    interval = ratio_interval(np.stack([2 * tu, 2 * tu + fu + fa], axis=1))
    return _Estimate(unf1, interval.ends, interval.why_undefined)


def _corrected(deciders: Sequence[KnownDecider], total: NDArray[np.int64], observed: _Estimate) -> _Estimate:
    """UnF1 with every verdict corrected, yet without an interval."""
    if why := next((decider.why_not for decider in deciders if decider.why_not), ""):
        return _Estimate(why=why)
    abstained, scored = true_abstentions(
        total, np.array([decider.se for decider in deciders]), np.array([decider.sp for decider in deciders])
    )
    if observed.unf1 is None:
        return _Estimate(why=_NOTHING_SCORED, abstained=abstained)
    return _Estimate(_number(f1_of_sides(abstained, scored)), abstained=abstained)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """The error rates as they are and as they may be. tables: of each picture. rates: se and sp, [draws, deciders] each."""

    deciders: Sequence[KnownDecider]
    tables: NDArray[np.int64]
    rates: tuple[NDArray[np.float64], NDArray[np.float64]]

    @property
    def matters(self) -> bool:
        """Whether the errors of any decider are known."""
        return any(decider.confusion for decider in self.deciders)

    def with_interval(self, estimate: _Estimate) -> _Estimate:
        """The corrected UnF1 with its interval."""
        se, sp = self.rates
        hopeless = int(np.count_nonzero((se + sp <= 1).any(axis=1)))
        interval, undefined = self.interval(f1_of_sides)
        if hopeless > UNDEFINED_LIMIT * len(se):
            why = (
                f"in {hopeless} of {len(se)} draws a decider's sensitivity and specificity add up to 1 or less: "
                "too few labelled responses, or a judge near chance"
            )
            return replace(estimate, why=why, resamples_undefined=undefined)
        return replace(estimate, ci=interval.ends, why=interval.why_undefined, resamples_undefined=undefined)

    def interval(
        self, figure: Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]]
    ) -> tuple[Interval, int]:
        """(the interval of a figure that is defined, see `corrected_unf1`, how many draws have no figure).

        figure: of the corrected abstentions and the scored responses by side, [..., 2] each.
        """
        total = self.tables.sum(axis=0)
        se, sp = (np.array([getattr(decider, name) for decider in self.deciders]) for name in ("se", "sp"))
        images = smooth_interval(
            self.tables.reshape(len(self.tables), -1),
            lambda sums: figure(*true_abstentions(sums.reshape(*sums.shape[:-1], *total.shape), se, sp)),
            sizes=self.tables.sum(axis=(1, 2, 3)),
        )
        drawn = figure(*true_abstentions(np.broadcast_to(total, (len(self.rates[0]), *total.shape)), *self.rates))
        defined = drawn[~np.isnan(drawn)]
        undefined = len(drawn) - len(defined)
        if images.ends is None:
            return images, undefined
        if undefined > UNDEFINED_LIMIT * len(drawn):
            return Interval(
                why_undefined=f"{undefined} of {len(drawn)} draws of the error rates have no such figure"
            ), undefined
        value = float(figure(*true_abstentions(total, se, sp)))
        low, high = (float(each) for each in np.quantile(defined, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)))
        down = math.hypot(value - images.ends[0], max(0.0, value - low))
        up = math.hypot(images.ends[1] - value, max(0.0, high - value))
        return Interval((max(0.0, value - down), min(1.0, value + up)), "combined", images.images), undefined


_SIDES: tuple[Label, ...] = ("unanswerable", "answerable")
_NOTHING_SCORED = "no question that was intended unanswerable was scored"
_UNKNOWN = "it decided no labelled response of this sort"
_ROUNDING = 1e-9
"""Questions by which a corrected count may leave the possible without being called cut."""


@dataclass(frozen=True, slots=True)
class KnownDecider:
    """One who decided responses of the run, and its verdicts on labelled ones; None: its verdicts are taken as they are."""

    name: Decider | Literal["unknown"]
    confusion: Confusion | None

    @property
    def se(self) -> float:
        """The sensitivity; 1 of verdicts that are taken as they are, NaN where it is unknown."""
        value = self.confusion.sensitivity if self.confusion else 1.0
        return math.nan if value is None else value

    @property
    def sp(self) -> float:
        """The specificity, likewise."""
        value = self.confusion.specificity if self.confusion else 1.0
        return math.nan if value is None else value

    @property
    def why_not(self) -> str:
        """Why its verdicts cannot be corrected; "" if they can, or are taken as they are."""
        if math.isnan(self.se):
            return f"{self.name}: it decided no labelled abstention, so its sensitivity is unknown"
        if math.isnan(self.sp):
            return f"{self.name}: it decided no labelled answer, so its specificity is unknown"
        if self.se + self.sp <= 1:
            return f"{self.name}: sensitivity {self.se:.3f} and specificity {self.sp:.3f} add up to 1 or less, as chance does"
        return ""

    def rates(self, responses: int) -> DeciderRates:
        """The same for people.

        Args:
            responses: How many of the run it decided.

        Returns:
            The rates, and what they rest on.
        """
        known = self.confusion or Confusion()
        return DeciderRates(
            responses=responses,
            sensitivity=known.sensitivity,
            specificity=known.specificity,
            labelled_abstained=known.abstained.abstained + known.abstained.answered,
            labelled_answered=known.answered.abstained + known.answered.answered,
        )


def drawn_rates(deciders: Sequence[KnownDecider], n: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Error rates as they may be, by what the labelled responses leave open: see `corrected_unf1`.

    Args:
        deciders: Whose.
        n: How many draws.
        seed: Of the draws.

    Returns:
        The sensitivities and the specificities, shape [n, deciders] each.
    """
    rng = np.random.default_rng([seed, 1])  # not the stream that the images are drawn from
    se, sp = np.ones((n, len(deciders))), np.ones((n, len(deciders)))
    for column, decider in enumerate(deciders):
        if decider.confusion is not None:
            yes, no = decider.confusion.abstained, decider.confusion.answered
            se[:, column] = rng.beta(yes.abstained + 0.5, yes.answered + 0.5, n)
            sp[:, column] = rng.beta(no.answered + 0.5, no.abstained + 0.5, n)
    return se, sp


def _side(row: int, tables: NDArray[np.int64], corrected: _Estimate, drawn: _Drawn) -> tuple[Side, dict[str, str]]:
    """The side, and why each of its intervals is None, by name; "" where that is for want of the figure."""
    scored, abstained = tables[:, :, row].sum(axis=(1, 2)), tables[:, :, row, 1].sum(axis=1)
    n = int(scored.sum())
    true = None if corrected.abstained is None else float(corrected.abstained[row])
    as_judged = ratio_interval(np.stack([abstained, scored], axis=1)) if n else Interval()
    as_corrected = as_judged if true is not None else Interval()
    if true is not None and n and drawn.matters:
        as_corrected, _ = drawn.interval(lambda true, of: quotients(np.clip(true, 0, of)[..., row], of[..., row]))
    side = Side(
        n=n,
        observed=ratio(int(abstained.sum()), n),
        corrected=None if true is None or not n else min(max(true / n, 0.0), 1.0),
        clipped=true is not None and not -_ROUNDING <= true <= n + _ROUNDING,
        observed_ci=as_judged.ends,
        corrected_ci=as_corrected.ends,
    )
    return side, {"observed_ci": as_judged.why_undefined, "corrected_ci": as_corrected.why_undefined}


def _because(reason: str, **figures: object) -> dict[str, str]:
    """`reason` for each of the figures that is None."""
    return {name: reason for name, value in figures.items() if value is None}


def _number(value: NDArray[np.float64]) -> float | None:
    return None if np.isnan(value) else float(value)


def true_abstentions(
    tables: NDArray[Any], se: NDArray[np.float64], sp: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Abstentions with the deciders' errors reckoned out.

    Args:
        tables: Responses, shape [..., deciders, (unanswerable, answerable), (answered, abstained)].
        se: Sensitivities, shape [..., deciders].
        sp: Specificities, of that shape.

    Returns:
        Abstentions by side, not cut to the possible, NaN where se + sp <= 1; and scored responses by side. Shape [..., 2] each.
    """
    n = tables.sum(axis=-1)
    better = se + sp - 1
    better = np.where(better > 0, better, np.nan)[..., None]
    true = (tables[..., 1] + n * (sp[..., None] - 1)) / better
    return true.sum(axis=-2), n.sum(axis=-2)


def f1_of_sides(abstained: NDArray[np.float64], scored: NDArray[np.int64]) -> NDArray[np.float64]:
    """2 n_u p / (2 n_u p + n_u (1 - p) + n_a q), of abstentions n_u p and n_a q.

    Args:
        abstained: Abstentions by side (unanswerable, answerable), which are cut to the possible; shape [..., 2].
        scored: Scored responses by side, of that shape.

    Returns:
        Shape [...]; NaN of 0 / 0.
    """
    possible = np.clip(abstained, 0, scored)
    part = 2 * possible[..., 0]
    whole = possible[..., 0] + scored[..., 0] + possible[..., 1]
    return quotients(part, whole)
