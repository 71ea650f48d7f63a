"""How many images a comparison takes, planned from finished runs or from assumed rates.

From two runs: the standard deviation of one image's contribution to their difference, on the images that both hold. From
one run, or from rates: the standard deviation s of one image's contribution to one model's UnF1, and sqrt(2 (1 - c)) s for
the difference of two such models whose contributions have the correlation c. What s is by rates, `score/spread.py` says.
"""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from unsaf_async.compare import sample_size
from unsaf_async.compare.comparison import load_runs, run_names
from unsaf_async.compare.pairing import contributions, examined, match, pair_of, paired_difference
from unsaf_async.compare.power_settings import Rates
from unsaf_async.compare.sample_size import ALPHA, POWER
from unsaf_async.errors import UserError
from unsaf_async.records import Record
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.stopping import WIDEST, StopWhenNarrow
from unsaf_async.score.ratios import ratio
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unsaf_async.compare.power_settings import Aim
    from unsaf_async.runs.stopping import Rule

ASSUMED_CORRELATION = 0.3
"""Between two models on the same images, where nothing is known: two tiny models had .27 with own questions, .55 on a bank."""


class ModelPlan(Record):
    """One model: how narrow its interval is, and how many images the wanted width takes."""

    name: str
    """Of the run; "assumed" without one."""
    unf1: float
    sd: float
    """Standard deviation of one image's contribution to UnF1; its standard error is sd / sqrt(images)."""
    images: int | None
    """With which `half_width` goes; None if none were given."""
    half_width: float | None
    """Of the 95 % interval with so many images."""
    images_needed: int
    """For the wanted half-width of an interval at a number of images that is fixed beforehand."""
    images_until_ci: int | None = None
    """Examined until the rule that stops a run at the wanted half-width (`until_ci`) is satisfied."""
    images_anytime: int | None = None
    """The same by the rule whose interval holds at any number of images (`anytime`)."""


class PowerPlan(Record):
    """How many images a difference of two models takes. What is None has its reason in `undefined`."""

    basis: Literal["two runs", "one run", "rates"]
    models: list[ModelPlan]
    difference: float
    """The one that is to be found."""
    half_width: float
    """The one that is wanted of a model's interval."""
    alpha: float = ALPHA
    """Level of the paired test, two-sided."""
    correlation: float | None
    """Between the two models, of what an image contributes: as the runs have it, or as assumed."""
    sd: float
    """Standard deviation of one image's contribution to the difference."""
    images_needed: dict[str, int]
    """To find the difference, by power: "0.8" and "0.9"."""
    images: int | None
    """With which `power` and `detectable` go: those given, or those that the runs share."""
    power: float | None = None
    """With so many images, of finding the difference."""
    detectable: float | None = None
    """The least difference that is found with a power of .8 with so many images."""
    assumptions: list[str] = Field(default_factory=list)
    """What the plan takes for granted, a sentence each."""
    undefined: dict[str, str] = Field(default_factory=dict)


def plan(aim: Aim, runs: Sequence[str | Path] = (), rates: Rates | None = None) -> PowerPlan:
    """How many images a comparison takes.

    Args:
        aim: What is to be found.
        runs: Folders of finished runs: two, whose difference is paired; one, of which another model like it is assumed; or
            none.
        rates: Without runs, the model that is assumed; None: the defaults.

    Returns:
        The plan.

    Raises:
        UserError: More than two runs are given, one is no run, or they do not tell how images differ.
    """
    if len(runs) > 2:
        raise UserError(f"has {len(runs)} folders; give one or two", "runs")
    if len(runs) == 2:
        return _from_two(aim, load_runs(runs))
    if runs:
        run = SavedRun(Path(runs[0]))
        model = _of_run(aim, run, run_names([run])[0])
        return _alike(aim, "one run", model, f"another model is like {model.name}", *_origins({model.name: run}))
    assumed = rates or Rates()
    spread = assumed.spread
    stops = {field: rule.expected_images(spread) for field, rule in _rules(aim).items()}
    model = _model(aim, "assumed", assumed.unf1, spread.sd, None, stops)
    share = (
        f"{100 * spread.recall:.0f} % of the unanswerable questions and {100 * spread.refusal:.0f} % of the answerable"
    )
    return _alike(
        aim,
        "rates",
        model,
        f"both models decline {share} ones; {assumed.questions} questions of each label an image",
        f"responses about one image have the correlation {assumed.image_correlation:g}",
        "how hard an image is for one label tells nothing of the other; if the same images are hard for both, up to "
        f"{(spread.sd_if_shared / spread.sd) ** 2 if spread.sd else 1.0:.2g} times as many images are needed",
    )


def _of_run(aim: Aim, run: SavedRun, name: str) -> ModelPlan:
    held = examined(run.examinations)
    pairs = np.array([pair_of(each) for each in held], dtype=np.int64).reshape(-1, 2)
    pairs = Units.of(each.image for each in held).sums(pairs)
    unf1 = ratio(*map(int, pairs.sum(axis=0)))
    if unf1 is None or len(pairs) < 2:
        raise UserError(f"{run.folder}: has too few scored images to plan from; give a run with 20 or more")
    sd = float(np.std(contributions(pairs), ddof=1))
    if sd < 1e-12:
        raise UserError(f"{run.folder}: all its images score alike, so it does not tell how they differ; give another")
    rules = _rules(aim)
    for rule in rules.values():
        for each in held:
            rule.add(each)
    stops = {name: needed for name, rule in rules.items() if (needed := rule.images_needed) is not None}
    return _model(aim, name, unf1, sd, len(pairs), stops)


def _rules(aim: Aim) -> dict[str, StopWhenNarrow]:
    """The rules that stop a run, by the field of `ModelPlan`; {} for a half-width that no run can be given."""
    if aim.half_width >= WIDEST:
        return {}
    rules: dict[str, Rule] = {"images_until_ci": "fixed-width", "images_anytime": "anytime"}
    return {field: StopWhenNarrow(aim.half_width, rule=rule) for field, rule in rules.items()}


def _model(aim: Aim, name: str, unf1: float, sd: float, images: int | None, stops: Mapping[str, int]) -> ModelPlan:
    """stops: after how many images each rule stops a run, by the field."""
    images = aim.images or images
    return ModelPlan(
        name=name,
        unf1=unf1,
        sd=sd,
        images=images,
        half_width=None if images is None else sample_size.half_width(sd, images),
        images_needed=sample_size.images_for_half_width(aim.half_width, sd),
        **stops,
    )


def _from_two(aim: Aim, loaded: Sequence[SavedRun]) -> PowerPlan:
    if aim.correlation is not None:
        raise UserError("is measured on two runs; leave it out, or give one run", "correlation")
    models = [_of_run(aim, run, name) for run, name in zip(loaded, run_names(loaded), strict=True)]
    paired = paired_difference(loaded[0].examinations, loaded[1].examinations, resamples=1)
    if not paired.sd:
        why = paired.undefined.get("sd", "every image contributes the same to their difference")
        raise UserError(f"{loaded[0].folder} and {loaded[1].folder}: {why}, so nothing can be planned from them")
    matched = match(*(examined(run.examinations) for run in loaded))
    rows = np.array([(*pair_of(one), *pair_of(other)) for one, other in matched], dtype=np.int64)
    rows = Units.of(one.image for one, _ in matched).sums(rows)
    correlation = float(np.corrcoef(contributions(rows[:, :2]), contributions(rows[:, 2:]))[0, 1])
    return _plan(
        aim,
        "two runs",
        models,
        paired.sd,
        aim.images or len(rows),
        correlation,
        [
            "images, questions and models are of the sort that the two runs had",
            *_origins(dict(zip(run_names(loaded), loaded, strict=True))),
        ],
    )


def _origins(runs: Mapping[str, SavedRun]) -> list[str]:
    """What is said of runs that are not known as the user's own."""
    return [f"{name}: {run.origin}" for name, run in runs.items() if run.origin]


def _alike(aim: Aim, basis: Literal["one run", "rates"], model: ModelPlan, *assumptions: str) -> PowerPlan:
    """The plan for two models of which one is known."""
    correlation = ASSUMED_CORRELATION if aim.correlation is None else aim.correlation
    return _plan(
        aim,
        basis,
        [model],
        model.sd * sqrt(2 * (1 - correlation)),
        model.images,
        correlation,
        [*assumptions, f"what an image contributes to the two models' UnF1 has the correlation {correlation:g}"],
    )


def _plan(
    aim: Aim,
    basis: Literal["two runs", "one run", "rates"],
    models: list[ModelPlan],
    sd: float,
    images: int | None,
    correlation: float,
    assumptions: list[str],
) -> PowerPlan:
    undefined = {}
    found = None if images is None else sample_size.detectable(sd, images)
    if images is None:
        undefined = dict.fromkeys(("images", "power", "detectable"), "no number of images was given")
    elif found is None:
        undefined["detectable"] = f"with fewer than {sample_size.FEWEST_IMAGES} images no difference is significant"
    undefined |= {
        f"models.{n}.{name}": "no number of images was given"
        for n, model in enumerate(models)
        for name in ("images", "half_width")
        if model.images is None
    }
    undefined |= {
        f"models.{n}.{name}": f"a run stops at a half-width below {WIDEST:g}"
        for n, model in enumerate(models)
        for name in ("images_until_ci", "images_anytime")
        if getattr(model, name) is None
    }
    return PowerPlan(
        basis=basis,
        models=models,
        difference=aim.difference,
        half_width=aim.half_width,
        correlation=correlation,
        sd=sd,
        images_needed={f"{power:g}": sample_size.images_for_power(aim.difference, sd, power) for power in (POWER, 0.9)},
        images=images,
        power=None if images is None else sample_size.power_of(aim.difference, sd, images),
        detectable=found,
        assumptions=assumptions,
        undefined=undefined,
    )
