"""What a sum of money buys: how many images, with which judge, and how narrow UnF1's interval will be.

What an image costs is expected by the price map and the images' sizes; or, better, it is what the images of a pilot or of a
finished run of the same model cost, carried over to the sizes of all images (the ratio of `score/rest_total.py`). How far
images differ is measured on that run, too; else assumed (`score/spread.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from unsaf_async.calls.budget import NANO
from unsaf_async.compare.pairing import contributions, examined, pair_of
from unsaf_async.compare.sample_size import half_width
from unsaf_async.errors import UserError
from unsaf_async.records import Record
from unsaf_async.runs.estimate import quote_images
from unsaf_async.runs.folder import called_by_model
from unsaf_async.runs.quote import EXPECTED_JUDGED_SHARE
from unsaf_async.score.spread import Spread
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.records import Examination, Question
    from unsaf_async.runs.estimate import Quotes
    from unsaf_async.runs.prepare import Prepared
    from unsaf_async.runs.saved import SavedRun

NOBODY = frozenset({"undecided", "unjudged", "tied"})
"""Why a question is unscored that the rules left open."""


class Choice(Record):
    """One way to spend the money. What is None has its reason in `undefined`."""

    judge: str
    """Who judges what the rules leave open; "rules": nobody."""
    batch: bool = False
    """Whether calls go in batches, to vendors that sell them. The first image's calls go alone."""
    image_usd: float
    """What one image is expected to cost."""
    image_worst_usd: float
    """What one image can cost at worst: an image begins only while that fits under what is left."""
    affordable: int
    """As many images as the money lets begin."""
    images: int
    """No more than there are."""
    cost_usd: float
    """What these are expected to cost."""
    half_width: float | None
    """Of UnF1's 95 % interval with so many images."""
    open_share: float
    """Of the responses, how many the rules leave open and nobody judges: these are scored by nobody, and UnF1 has bounds."""


class BudgetPlan(Record):
    """What a sum of money buys."""

    budget_usd: float
    images: int
    """That can be used."""
    choices: list[Choice]
    basis: str
    """Where the figures are from, in words."""
    assumptions: list[str] = Field(default_factory=list)
    undefined: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class _Basis:
    """What an image costs, and how far images differ, with the rules alone and with a judge."""

    rules_usd: float
    judged_usd: float
    rules_sd: float
    judged_sd: float
    open_share: float
    words: str
    assumptions: tuple[str, ...]


def plan_budget(prepared: Prepared, budget_usd: float, measured: SavedRun | None = None) -> BudgetPlan:
    """What a sum of money buys. Blocks while it reads the images' headers; calls nobody.

    Args:
        prepared: The run's settings, checked.
        budget_usd: The sum, in USD, above 0.
        measured: A pilot or a finished run of the same model, with as many questions and the same extra measures; None: what an
            image costs and how far images differ is assumed.

    Returns:
        The plan: a choice with the rules alone, and one with the judge.

    Raises:
        UserError: The sum is none, no image can be used, or the run is not of this sort.
    """
    if not 0 < budget_usd < float("inf"):
        raise UserError(f"is {budget_usd:g}; give an amount in USD above 0", "budget")
    prepared = replace(prepared, settings=replace(prepared.settings, batch=False))  # both ways are planned
    # What a model's profile has for a judge, where the rules alone were asked for: "rules" says that it can be none.
    judges = prepared.judges or (() if prepared.subject.judge == "rules" else ("self",))
    judged = quote_images(replace(prepared, judges=judges))
    alone = quote_images(replace(prepared, judges=())) if judges and not prepared.settings.grounded else judged
    if not judged.known:
        raise UserError(": none can be used; `unsaf-async estimate` says why", "images")
    if measured is None:
        basis = _assumed(prepared, alone, judged)
    else:
        _check_alike(prepared, measured)
        basis = _measured(prepared, measured, judges, alone, judged)
    choices, rows = [], []
    if not prepared.settings.grounded:
        rows.append(("rules", basis.rules_usd, basis.rules_sd, basis.open_share, alone))
    if judges:
        rows.append((" + ".join(judges), basis.judged_usd, basis.judged_sd, 0.0, judged))
    undefined = {}
    in_batches = [*rows] if measured is None or not measured.manifest.batch else []
    share = _batch_share(prepared)
    for place, (judge, image_usd, sd, open_share, quotes) in enumerate([*rows, *(in_batches if share else [])]):
        batch = place >= len(rows) or (measured is not None and measured.manifest.batch)
        worst_usd = sum(each.worst_nano_usd for each in quotes.known.values()) / NANO / len(quotes.known)
        if place >= len(rows) and share:  # but for the first image, which goes alone
            first_usd, image_usd = image_usd, image_usd * share
            affordable = _affordable(
                budget_usd - first_usd + image_usd, image_usd, worst_usd * share, len(quotes.known)
            )
            affordable = affordable if budget_usd >= worst_usd else 0
        else:
            affordable = _affordable(budget_usd, image_usd, worst_usd, len(quotes.known))
        images = min(affordable, len(quotes.known))
        width = half_width(sd, images) if images > 1 else None
        if width is None:
            undefined[f"choices.{place}.half_width"] = "an interval needs at least 2 images"
        choices.append(
            Choice(
                judge=judge,
                batch=batch,
                image_usd=image_usd,
                image_worst_usd=worst_usd,
                affordable=affordable,
                images=images,
                cost_usd=images * image_usd,
                half_width=width,
                open_share=open_share,
            )
        )
    return BudgetPlan(
        budget_usd=budget_usd,
        images=len(judged.known),
        choices=choices,
        basis=basis.words,
        assumptions=list(basis.assumptions),
        undefined=undefined,
    )


def _batch_share(prepared: Prepared) -> float | None:
    """What a call costs in a batch, as a share of its price alone, at the measured model; None where its vendor sells none."""
    price = prepared.subject.batch_price if prepared.subject.in_batches else None
    judges = [prepared.profile(name) for name in prepared.judges]
    # A judge that goes alone would make the share another one for each choice: such a plan is not made.
    return price if all(each.in_batches for each in judges) else None


def _affordable(budget_usd: float, image_usd: float, worst_usd: float, there: int) -> int:
    """How many images a cap lets begin: each only while its worst case still fits under what is left. All, if they are free."""
    if budget_usd < worst_usd:
        return 0
    return floor((budget_usd - worst_usd) / image_usd * (1 + 1e-12)) + 1 if image_usd > 0 else there


def _mean_usd(quotes: Quotes) -> float:
    return sum(each.expected_nano_usd for each in quotes.known.values()) / NANO / len(quotes.known)


def _assumed(prepared: Prepared, alone: Quotes, judged: Quotes) -> _Basis:
    given = sum(len(image.given) for image in prepared.images)
    questions = max(1, round(given / 2 / len(prepared.images))) if given else prepared.settings.questions
    spread = Spread(questions)
    settled = replace(spread, questions=max(1, round((1 - EXPECTED_JUDGED_SHARE) * questions)))
    return _Basis(
        rules_usd=_mean_usd(alone),
        judged_usd=_mean_usd(judged),
        rules_sd=settled.sd,
        judged_sd=spread.sd,
        open_share=EXPECTED_JUDGED_SHARE,
        words="the price map, and rates that are assumed; a pilot tells better",
        assumptions=(
            f"UnF1 about {spread.unf1:g}, {questions} questions of each label, correlation {spread.image_correlation:g}",
            f"the rules leave {EXPECTED_JUDGED_SHARE:.0%} of the responses open",
        ),
    )


def _check_alike(prepared: Prepared, measured: SavedRun) -> None:
    """Raises UserError unless the run was made as the one that is planned, but for its judge and its images."""
    there, settings = measured.manifest, prepared.settings
    of, wanted = called_by_model(there.subject), called_by_model(prepared.subject)
    if of != wanted:
        raise UserError(f": {measured.folder} is a run of {of}; give one of {wanted}", "from_run")
    if (there.questions, there.source is None) != (settings.questions, prepared.source is None):
        raise UserError(
            f": {measured.folder} has other questions ({there.questions} of each label); plan for as many", "from_run"
        )
    if there.extras != prepared.extras:
        raise UserError(f": {measured.folder} has other extra measures; ask for the same", "from_run")


def _measured(prepared: Prepared, measured: SavedRun, judges: Sequence[str], alone: Quotes, judged: Quotes) -> _Basis:
    held = examined(measured.examinations)
    known = [each for each in held if each.image.id in alone.known]
    if len(held) < 2:
        raise UserError(f"{measured.folder}: has too few scored images to plan from; give a run with 20 or more")
    own = [sum(call.cost_usd for call in each.calls if call.role != "judge") for each in held]
    of_judge = [sum(call.cost_usd for call in each.calls if call.role == "judge") for each in held]
    # Images of other sizes than the run's cost in proportion to what the price map expects.
    sizes = [alone.known[each.image.id].expected_nano_usd / NANO for each in known]
    scale = _mean_usd(alone) * len(sizes) / total if (total := sum(sizes)) and len(known) == len(held) else 1.0
    rules_usd = scale * sum(own) / len(held)
    asked = [question for each in held for question in each.questions]
    open_share = sum(map(_left_open, asked)) / len(asked)
    same_judge = measured.manifest.judges == tuple(judges)
    more_usd = (_mean_usd(judged) - _mean_usd(alone)) * open_share / EXPECTED_JUDGED_SHARE
    judged_usd = rules_usd + (sum(of_judge) / len(held) if same_judge else more_usd)
    fallback = Spread(prepared.settings.questions).sd
    rules_sd = _sd([_by_rules(each) for each in held])
    judged_sd = _sd(held) if measured.manifest.judges else rules_sd
    assumptions = [f"images are of the sort that {measured.folder} had"]
    if measured.manifest.batch:
        assumptions.append("calls go in batches, as that run's did")
    if not same_judge:
        who = "had no judge" if not measured.manifest.judges else "had another judge"
        assumptions.append(f"what {' + '.join(judges) or 'a judge'} costs is the price map's: that run {who}")
    if not measured.manifest.judges:
        assumptions.append("with a judge the interval is no wider than with the rules alone")
    if rules_sd is None or judged_sd is None:
        assumptions.append("how far images differ: its images score alike, and do not tell")
    return _Basis(
        rules_usd,
        judged_usd,
        fallback if rules_sd is None else rules_sd,
        fallback if judged_sd is None else judged_sd,
        open_share,
        f"{len(held)} images of {measured.folder}",
        tuple(assumptions),
    )


def _left_open(question: Question) -> bool:
    """Whether the rules left it to a judge."""
    return question.decided_by in ("judge", "panel") or question.unscored in NOBODY


def _by_rules(examination: Examination) -> Examination:
    """The examination as it would be had nobody judged what the rules leave open."""
    questions = tuple(
        each.model_copy(update={"act": None, "unscored": "undecided"}) if _left_open(each) else each
        for each in examination.questions
    )
    return examination.model_copy(update={"questions": questions})


def _sd(held: Sequence[Examination]) -> float | None:
    """Standard deviation of one image's contribution to UnF1; None if the images do not tell it."""
    pairs = np.array([pair_of(each) for each in held], dtype=np.int64).reshape(-1, 2)
    pairs = Units.of(each.image for each in held).sums(pairs)
    if len(pairs) < 2 or not pairs[:, 1].sum():
        return None
    sd = float(np.std(contributions(pairs), ddof=1))
    return sd if sd > 1e-12 else None
