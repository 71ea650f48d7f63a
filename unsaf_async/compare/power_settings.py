"""What a user asks for of a plan of images, and what is assumed where there is no run. Nothing heavy is imported here.

What a model's rates say of how images differ is in `score/spread.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from unsaf_async.compare import sample_size
from unsaf_async.errors import UserError
from unsaf_async.help import Help
from unsaf_async.score.spread import IMAGE_CORRELATION, UNF1, Spread

PLANNED = "What is to be found"
ASSUMED = "Assumed, without runs"


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What is to be found. Raises UserError for what no UnF1 can have."""

    difference: Annotated[
        float, Help("The difference of two UnF1 that is to be found.", metavar="DIFFERENCE", panel=PLANNED)
    ] = 0.03
    half_width: Annotated[
        float, Help("Half the width of one model's 95 % interval.", metavar="WIDTH", panel=PLANNED)
    ] = 0.03
    images: Annotated[
        int | None,
        Help("What so many images can show. Default: as many as the runs have.", metavar="N", panel=PLANNED),
    ] = None
    correlation: Annotated[
        float | None,
        Help(
            "Between two models, of what an image contributes to their UnF1: for one run or none. Default: 0.3.",
            metavar="R",
            panel=PLANNED,
        ),
    ] = None

    def __post_init__(self) -> None:
        for name in ("difference", "half_width"):
            if not 0.001 <= getattr(self, name) <= 1:
                raise UserError(f"is {getattr(self, name):g}; give 0.001 to 1", name)
        if self.images is not None and not 2 <= self.images <= sample_size.MOST_IMAGES:
            raise UserError(f"is {self.images}; give 2 or more", "images")
        if self.correlation is not None and not -1 <= self.correlation < 1:
            raise UserError(f"is {self.correlation:g}; give a correlation from -1 to below 1", "correlation")


@dataclass(frozen=True, kw_only=True)
class Rates:
    """A model as it is assumed to be. Raises UserError for what no model can be."""

    unf1: Annotated[float, Help("The models' UnF1, about.", metavar="UNF1", panel=ASSUMED)] = UNF1
    over_refusal: Annotated[
        float | None,
        Help(
            "Share of the answerable questions that are declined. Default: as many are declined as unanswerable ones are "
            "answered.",
            metavar="RATE",
            panel=ASSUMED,
        ),
    ] = None
    questions: Annotated[int, Help("Questions of each label about an image.", metavar="K", panel=ASSUMED)] = 6
    image_correlation: Annotated[
        float,
        Help("Of two responses to questions of one label about one image.", metavar="R", panel=ASSUMED),
    ] = IMAGE_CORRELATION

    def __post_init__(self) -> None:
        if not 0 < self.unf1 < 1:
            raise UserError(f"is {self.unf1:g}; give a score between 0 and 1", "unf1")
        if self.over_refusal is not None and not 0 <= self.over_refusal < 1:
            raise UserError(f"is {self.over_refusal:g}; give a rate from 0 to below 1", "over_refusal")
        if self.questions < 1:
            raise UserError(f"is {self.questions}; give 1 or more", "questions")
        if not 0 <= self.image_correlation <= 1:
            raise UserError(f"is {self.image_correlation:g}; give a correlation from 0 to 1", "image_correlation")
        if self.spread.recall > 1:
            bound = 2 / (2 + (self.over_refusal or 0))
            raise UserError(
                f"is {self.unf1:g}; with an over-refusal of {self.over_refusal:g} it is {bound:.3f} at most", "unf1"
            )

    @property
    def spread(self) -> Spread:
        """How far images differ for such a model."""
        return Spread(self.questions, self.unf1, self.over_refusal, self.image_correlation)
