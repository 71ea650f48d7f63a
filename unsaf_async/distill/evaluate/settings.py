"""What a user asks for of a comparison before and after training. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from unsaf_async.errors import UserError
from unsaf_async.help import MEASURED, MONEY, OUTPUT, Help
from unsaf_async.runs.settings import (
    DEFAULT_CACHE,
    ApiBase,
    Cache,
    Judge,
    JudgeApiBase,
    Prompts,
    Questions,
    Seed,
    TrustFolder,
)

GATES = "Gates"


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The two models, named as `run` names one."""

    before: Annotated[
        str, Help("The model before training: a provider, as `run` takes it.", metavar="NAME", panel=MEASURED)
    ]
    after: Annotated[str, Help("The model after training.", metavar="NAME", panel=MEASURED)]
    before_model: Annotated[
        str | None, Help("Model id at the endpoint, or the folder of a tiny model.", metavar="ID", panel=MEASURED)
    ] = None
    after_model: Annotated[str | None, Help("The same of the after-model.", metavar="ID", panel=MEASURED)] = None
    api_base: ApiBase = None


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """On what two models are compared. Images, labelled and POPE sets must be none that the after-model was trained on."""

    out: Annotated[
        Path,
        Help("Where the runs and distill-eval.json go.", metavar="DIR", panel=OUTPUT, spelling=("--out", "-o")),
    ]
    images: Annotated[
        Sequence[str | Path],
        Help("Held-out images, which the after-model was not trained on.", metavar="PATH ...", panel=MEASURED),
    ] = ()
    """Needed for own questions."""
    bank_run: Annotated[
        Path | None,
        Help(
            "Both answer the questions of that run, as far as they are about --images. Default: the before-model's own.",
            metavar="RUN_DIR",
            panel=MEASURED,
            spelling=("--bank",),
        ),
    ] = None
    labelled: Annotated[
        Path | None,
        Help("A labelled set: accuracy, and over-refusal by its truth.", metavar="FILE", panel=MEASURED),
    ] = None
    labelled_format: Annotated[
        str | None,
        Help("Of the labelled set, as `labelled` takes it. Default: recognised.", metavar="NAME", panel=MEASURED),
    ] = None
    labelled_images: Annotated[
        Path | None, Help("Where its images lie. Default: where the file is.", metavar="DIR", panel=MEASURED)
    ] = None
    pope: Annotated[
        Path | None,
        Help("POPE: a file, or a folder whose files are pooled.", metavar="DIR_OR_FILE", panel=MEASURED),
    ] = None
    pope_images: Annotated[
        Path | None, Help("Where its images lie. Default: where the files are.", metavar="DIR", panel=MEASURED)
    ] = None
    judge: Judge = None
    """Of both models; None: as their profiles say."""
    judge_api_base: JudgeApiBase = None
    prompts: Prompts = None
    """Of both models; None: as their profiles say."""
    questions: Questions = 6
    limit: Annotated[
        int | None, Help("Most images of each part, a random sample by --seed.", metavar="N", panel=MEASURED)
    ] = None
    seed: Seed = 0
    max_cost: Annotated[
        float | None, Help("Never spend more than this on all runs together, in USD.", metavar="USD", panel=MONEY)
    ] = None
    cache: Cache = DEFAULT_CACHE
    trust_folder: TrustFolder = False


@dataclass(frozen=True, kw_only=True)
class GateLimits:
    """What the gates ask for, in points (hundredths). Raises UserError for points that no difference can have."""

    min_own_gain: Annotated[
        float, Help("UnF1 with own questions: the interval lies above this.", metavar="POINTS", panel=GATES)
    ] = 0.0
    min_bank_gain: Annotated[
        float, Help("UnF1 on the bank: the interval lies above this.", metavar="POINTS", panel=GATES)
    ] = 0.0
    max_accuracy_drop: Annotated[
        float, Help("Labelled accuracy: the interval shows a fall of this at most.", metavar="POINTS", panel=GATES)
    ] = 1.0
    max_over_refusal_rise: Annotated[
        float, Help("Over-refusal: the interval shows a rise of this at most.", metavar="POINTS", panel=GATES)
    ] = 2.0
    max_pope_drop: Annotated[
        float,
        Help("POPE's accuracy: the interval shows a fall of this at most.", metavar="POINTS", panel=GATES),
    ] = 2.0

    def __post_init__(self) -> None:
        for name, least in (
            ("min_own_gain", -100),
            ("min_bank_gain", -100),
            ("max_accuracy_drop", 0),
            ("max_over_refusal_rise", 0),
            ("max_pope_drop", 0),
        ):
            value = getattr(self, name)
            if not least <= value <= 100:
                raise UserError(f"is {value:g}; give points from {least} to 100", name)
