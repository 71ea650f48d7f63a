"""The Rasch model of who gets which question right: logit P(right) = ability of the model - difficulty of the question.

Abilities are fitted by conditional maximum likelihood: given how many models got a question right, which ones did depends on
the abilities alone. So no distribution of difficulties is presumed, and questions that all models got right, or all wrong, say
nothing. This is conditional logistic regression with questions as strata and the models as covariates, computed on patterns in
place of questions: with patterns (who was scored, how many were right) and their counts,

    log L = sum over models of (right answers in informative questions) x ability - sum over patterns of count x log gamma

where gamma is the elementary symmetric function of exp(ability) whose order is the number of right answers.

Questions of one image resemble each other, so standard errors are those of a sandwich over pictures: every picture's part of
the score, through the inverse information. Intervals take Student's t with one degree of freedom less than pictures.

Sources: Andersen, Asymptotic properties of conditional maximum-likelihood estimators (1970),
https://doi.org/10.1111/j.2517-6161.1970.tb00842.x; Fischer, On the existence and uniqueness of maximum-likelihood estimates
in the Rasch model (1981), https://doi.org/10.1007/BF02293919; Andersen, A goodness of fit test for the Rasch model (1973),
https://doi.org/10.1007/BF02291180.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from unsaf_async.score.bootstrap import CONFIDENCE
from unsaf_async.score.distributions import f_upper_tail, t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

MISSING = -1
"""In an array of responses: none that is scored. 1 is right, 0 wrong."""

STEPS = 100
"""Newton steps at most; a dozen are usual."""

FARTHEST = 15.0
"""Logits from which on an estimate is held to have no end."""

_TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class RaschFit:
    """Abilities with what their uncertainty is made of.

    abilities: [models], in logits, with the mean 0. influence: [pictures, models], how much each picture moves them; 0 for one
    without an informative question. log_likelihood: conditional, at the maximum. expected: [questions, models], the
    probability of a right answer given how many were right; NaN where none is scored, and in questions that say nothing.
    informative: questions with a right and a wrong answer. own: how much better a model is at its own questions, in logits,
    and `own_influence`: [pictures]; None if it was not fitted.
    """

    abilities: NDArray[np.float64]
    influence: NDArray[np.float64]
    log_likelihood: float
    expected: NDArray[np.float64]
    informative: int
    own: float | None = None
    own_influence: NDArray[np.float64] | None = None

    @property
    def pictures(self) -> int:
        """With an informative question: what the intervals rest on."""
        return int(self.influence.any(axis=1).sum())


def fit(
    responses: NDArray[np.int8],
    pictures: NDArray[np.int64],
    askers: NDArray[np.int64] | None = None,
    *,
    size: int | None = None,
) -> RaschFit | str:
    """The abilities by conditional maximum likelihood.

    Args:
        responses: [questions, models]: 1 right, 0 wrong, `MISSING`.
        pictures: [questions]: the number of the question's picture, from 0.
        askers: [questions]: the column of the model that wrote it, -1 for none of them, to fit with the abilities how much
            better models are at their own questions. None: not fitted.
        size: How many pictures there are, where others have no question here. None: as many as `pictures` names.

    Returns:
        The fit, or the reason why there is none.
    """
    models = responses.shape[1]
    scored = responses != MISSING
    right = responses == 1
    totals = right.sum(axis=1)
    informative = (totals > 0) & (totals < scored.sum(axis=1))
    if not informative.any():
        return "every question is right for all models, or wrong for all"
    if apart := _apart(right, scored):
        return apart
    keys = [scored[informative], totals[informative, None]]
    if askers is not None:
        keys.append(askers[informative, None])
    patterns, which, counts = np.unique(
        np.hstack(keys).astype(np.int64), axis=0, return_inverse=True, return_counts=True
    )
    which = which.reshape(-1)
    mask, scores = patterns[:, :models].astype(np.float64), patterns[:, models]
    design = np.broadcast_to(np.eye(models), (len(patterns), models, models))
    if askers is not None:
        own = (patterns[:, -1, None] == np.arange(models)).astype(np.float64)
        design = np.concatenate([design, own[:, :, None]], axis=2)
    answered = np.zeros((len(patterns), models))
    np.add.at(answered, which, right[informative].astype(np.float64))
    found = _maximum(design, mask, scores, counts, answered)
    if isinstance(found, str):
        return found
    estimate, information, likelihood, chances = found
    residual = right[informative] - chances[which]  # 0 where nothing is scored: there both are 0
    parts = np.einsum("qm,qmp->qp", residual, design[which])
    influence = np.zeros((size or int(pictures.max()) + 1, design.shape[2]))
    np.add.at(influence, pictures[informative], parts @ np.linalg.inv(information))
    expected = np.full(responses.shape, np.nan)
    expected[informative] = np.where(scored[informative], chances[which], np.nan)
    return RaschFit(
        abilities=estimate[:models],
        influence=influence[:, :models],
        log_likelihood=likelihood,
        expected=expected,
        informative=int(informative.sum()),
        own=None if askers is None else float(estimate[-1]),
        own_influence=None if askers is None else influence[:, -1],
    )


def _apart(right: NDArray[np.bool_], scored: NDArray[np.bool_]) -> str:
    """Why the abilities have no end; "" if they have one.

    They have one if from every model one comes to every other, each better than the next on some question (Fischer 1981).
    """
    wins = (right.T.astype(np.int64) @ (scored & ~right).astype(np.int64)) > 0
    reach = wins | np.eye(len(wins), dtype=bool)
    for _ in range(len(wins).bit_length()):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    if reach.all():
        return ""
    return (
        "some models are never right where some others are wrong: these are behind, but how far cannot be told, since any "
        "longer distance would fit such responses even better; more questions would tell it"
    )


def _maximum(
    design: NDArray[np.float64],
    mask: NDArray[np.float64],
    scores: NDArray[np.int64],
    counts: NDArray[np.int64],
    answered: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, NDArray[np.float64]] | str:
    """(estimate, information, log-likelihood, [patterns, models] chances) by Newton's method, or why there is none.

    design: [patterns, models, parameters]. answered: [patterns, models], right answers. The likelihood is concave, and flat
    along a shift of all abilities: the information gets a ridge along it, which moves nothing, as the gradient has no such part.
    """
    models, parameters = design.shape[1:]
    flat = np.outer(*([np.arange(parameters) < models] * 2)).astype(np.float64)
    estimate = np.zeros(parameters)
    least_step = 1e-10
    likelihood, gradient, information, chances = _terms(design, mask, scores, counts, answered, estimate)
    for _ in range(STEPS):
        information = information + flat
        if np.linalg.cond(information) > 1e12:
            break
        step = np.linalg.solve(information, gradient)
        for _ in range(40):
            tried = _terms(design, mask, scores, counts, answered, estimate + step)
            if tried[0] >= likelihood - 1e-9 * abs(likelihood):
                break
            step = step / 2
        estimate = estimate + step
        likelihood, gradient, information, chances = tried
        if np.abs(estimate).max() > FARTHEST:
            break
        if np.abs(step).max() < least_step:
            return estimate, information + flat, likelihood, chances
    return (
        "the abilities cannot be told: a part of the responses is all right or all wrong, and any longer distance would fit "
        "that even better"
    )


def _terms(
    design: NDArray[np.float64],
    mask: NDArray[np.float64],
    scores: NDArray[np.int64],
    counts: NDArray[np.int64],
    answered: NDArray[np.float64],
    estimate: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(log-likelihood, its gradient, the information, the chances) at an estimate."""
    logits = np.einsum("pmk,k->pm", design, estimate)
    log_gamma, chances, both = _given_score(np.exp(logits) * mask, scores)
    likelihood = float((answered * logits).sum() - counts @ log_gamma)
    gradient = np.einsum("pm,pmk->k", answered - counts[:, None] * chances, design)
    covariance = (both - chances[:, :, None] * chances[:, None, :]) * counts[:, None, None]
    information = np.einsum("pmk,pmn,pnl->kl", design, covariance, design, optimize=True)
    return likelihood, gradient, information, chances


def _symmetric(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The elementary symmetric functions of the last axis, of the orders 0 to its length: [..., models + 1]."""
    found = np.zeros((*odds.shape[:-1], odds.shape[-1] + 1))
    found[..., 0] = 1
    for model in range(odds.shape[-1]):
        found[..., 1:] = found[..., 1:] + odds[..., model, None] * found[..., :-1]
    return found


def _given_score(
    odds: NDArray[np.float64], scores: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(log gamma, chance of each model to be right, chance of every two), given how many are.

    odds: [patterns, models], 0 where none is scored. scores: [patterns], at least 1. By leaving models out and not by
    dividing them out, which loses digits.
    """
    rows, models = np.arange(len(scores)), odds.shape[1]
    whole = _symmetric(odds)[rows, scores]
    chances = np.empty(odds.shape)
    both = np.empty((*odds.shape, models))
    for model in range(models):
        rest = odds.copy()
        rest[:, model] = 0
        chances[:, model] = odds[:, model] * _symmetric(rest)[rows, scores - 1] / whole
        both[:, model, model] = chances[:, model]
    for one, other in combinations(range(models), 2):
        rest = odds.copy()
        rest[:, [one, other]] = 0
        left = np.where(scores >= 2, _symmetric(rest)[rows, scores - 2], 0.0)
        both[:, one, other] = both[:, other, one] = odds[:, one] * odds[:, other] * left / whole
    return np.log(whole), chances, both


# --- uncertainty ------------------------------------------------------------------------------------------------------


def interval_of(value: float, influence: NDArray[np.float64]) -> tuple[float, float] | None:
    """The 95 % interval of a figure over pictures.

    Args:
        value: The figure.
        influence: [pictures]: how much each moves it; a picture that does not move it does not count.

    Returns:
        value -+ t s; None for fewer than two pictures that move it.
    """
    moving = influence[np.abs(influence) > 1e-12]  # what rounding leaves of 0 moves nothing
    if len(moving) < 2:
        return None
    spread = float(np.sqrt(len(moving) / (len(moving) - 1) * (moving**2).sum()))
    half = t_quantile(len(moving) - 1, 1 - _TAIL) * spread
    return float(value - half), float(value + half)


def infit(
    responses: NDArray[np.int8], found: RaschFit, model: int, pictures: NDArray[np.int64]
) -> tuple[float, tuple[float, float] | None]:
    """A model's conditional infit: its squared residuals over what they should come to.

    Source: Mueller, Item fit statistics for Rasch analysis: can we trust them? (2020),
    https://doi.org/10.1186/s40488-020-00108-7.

    Args:
        responses: As they were fitted.
        found: The fit.
        model: Its column.
        pictures: As they were fitted.

    Returns:
        (infit, its interval). 1 where it is as the model has it; above, the model is right on hard questions and wrong on easy
        ones more often than that; below, less often.
    """
    chance = found.expected[:, model]
    used = ~np.isnan(chance)
    size = int(pictures.max()) + 1
    above = np.bincount(pictures[used], (responses[used, model] - chance[used]) ** 2, size)
    below = np.bincount(pictures[used], chance[used] * (1 - chance[used]), size)
    value = float(above.sum() / below.sum())
    ends = interval_of(float(np.log(value)), (above - value * below) / (value * below.sum()))
    return value, None if ends is None else (float(np.exp(ends[0])), float(np.exp(ends[1])))


def ratio_influence(parts: NDArray[Any], wholes: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
    """A quotient of sums over pictures, and how much each picture moves it.

    Args:
        parts: [pictures], the numerators.
        wholes: [pictures], the denominators; not all are 0.

    Returns:
        (the quotient, [pictures]).
    """
    value = float(parts.sum() / wholes.sum())
    return value, (parts - value * wholes) / wholes.sum()


# --- does the model hold? ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SplitTest:
    """Whether abilities are the same in groups of questions.

    lr: Andersen's likelihood ratio. degrees: of freedom, of both tests. p: of the Wald test over pictures (Hotelling's
    T-squared), which unlike the likelihood ratio does not take the questions of an image as independent; None with `why`.
    """

    lr: float
    degrees: int
    p: float | None
    why: str = ""


def split_test(whole: RaschFit, groups: Sequence[RaschFit]) -> SplitTest:
    """Andersen's test that the abilities of groups of questions are one, by likelihood ratio and by a Wald test over pictures.

    Args:
        whole: The fit to all questions.
        groups: The fits to the groups, of the same models and pictures; two or more.

    Returns:
        The test.
    """
    first, *others = groups
    lr = 2 * (sum(group.log_likelihood for group in groups) - whole.log_likelihood)
    difference = np.concatenate([(group.abilities - first.abilities)[:-1] for group in others])
    influence = np.hstack([(group.influence - first.influence)[:, :-1] for group in others])
    degrees, pictures = len(difference), int(influence.any(axis=1).sum())
    if pictures < FEWEST_A_DEGREE * degrees:
        why = f"{pictures} pictures do not tell {degrees} differences; it takes {FEWEST_A_DEGREE * degrees}"
        return SplitTest(lr, degrees, None, why)
    covariance = pictures / (pictures - 1) * influence.T @ influence
    if np.linalg.cond(covariance) > 1e12:
        return SplitTest(lr, degrees, None, "the pictures do not tell the differences apart")
    wald = float(difference @ np.linalg.solve(covariance, difference))
    return SplitTest(lr, degrees, _hotelling(wald, degrees, pictures))


FEWEST_A_DEGREE = 3
"""Pictures for a degree of freedom, below which the covariance is too uncertain for a test."""


def _hotelling(wald: float, degrees: int, pictures: int) -> float:
    """The chance of a statistic as large, if there is no difference: F with (degrees, pictures - degrees)."""
    return f_upper_tail(wald * (pictures - degrees) / (degrees * (pictures - 1)), degrees, pictures - degrees)


# --- difficulty -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difficulty:
    """How hard a question is, in logits on the scale of the abilities.

    value: None where all or none are right: it then has no end on one side. low, high: 95 % interval given the abilities;
    None where it has no end.
    """

    value: float | None
    low: float | None
    high: float | None


def difficulty(abilities: NDArray[np.float64], right: int) -> Difficulty:
    """The difficulty of a question that so many of these models got right.

    The figure is the maximum of the likelihood: as many right answers are expected as there were. The interval holds all
    difficulties at which neither so few nor so many right answers have a probability below .025 (Clopper and Pearson's way); the
    abilities are taken as known.

    Args:
        abilities: [models] of those that are scored on it, at least one.
        right: How many are right, 0 to their number.

    Returns:
        The difficulty.
    """
    models = len(abilities)

    def tail(at: float, counts: slice) -> float:
        return float((_symmetric(np.exp(abilities - at)) / np.prod(1 + np.exp(abilities - at)))[counts].sum())

    def expected(at: float) -> float:
        return float((1 / (1 + np.exp(at - abilities))).sum())

    return Difficulty(
        value=None if right in (0, models) else _root(lambda at: right - expected(at)),
        low=None if right == models else _root(lambda at: tail(at, slice(0, right + 1)) - _TAIL),
        high=None if right == 0 else _root(lambda at: _TAIL - tail(at, slice(right, None))),
    )


def _root(function: Callable[[float], float]) -> float:
    """Where an increasing function is 0, to 1e-9, within the range of difficulties that occur."""
    low, high = -3 * FARTHEST, 3 * FARTHEST
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2
