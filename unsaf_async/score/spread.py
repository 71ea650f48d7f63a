"""How far images differ in what they contribute to UnF1, for a model whose rates are assumed.

An image has K questions of each label; TU of the unanswerable ones are declined, each with probability r, and FU of the
answerable ones, each with probability f. With u = UnF1 = 2 r / (1 + r + f), an image contributes

    e = (2 TU - u (2 TU + FU + FA)) / (K (1 + r + f)) = ((2 - u) TU - u FU - u K) / (K (1 + r + f))
    s^2 = ((2 - u)^2 r (1 - r) + u^2 f (1 - f)) (1 + (K - 1) i) / (K (1 + r + f)^2)

where i is the correlation of two responses to questions of one label about one image: 1 + (K - 1) i is the design effect
of Kish, Survey Sampling (1965), section 5.4. Without a rate of over-refusal as many answerable questions are taken to be
declined as unanswerable ones answered: f = 1 - r, so r = u.

TU and FU are taken to be independent. If the same images are hard for both labels, s^2 is larger, by at most
2 u (2 - u) i sqrt(r (1 - r) f (1 - f)) / (1 + r + f)^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

UNF1 = 0.7
IMAGE_CORRELATION = 0.1
"""What is assumed of a model of which nothing is known."""


@dataclass(frozen=True)
class Spread:
    """A model as it is assumed to be."""

    questions: int
    """K, of each label about an image, >= 1."""
    unf1: float = UNF1
    """u, in (0, 1)."""
    over_refusal: float | None = None
    """f, in [0, 1); None: 1 - u."""
    image_correlation: float = IMAGE_CORRELATION
    """i, in [0, 1]."""

    @property
    def refusal(self) -> float:
        """f, the share of the answerable questions that are declined."""
        return 1 - self.unf1 if self.over_refusal is None else self.over_refusal

    @property
    def recall(self) -> float:
        """r, the share of the unanswerable questions that are declined; above 1 where no model has such rates."""
        return self.unf1 * (1 + self.refusal) / (2 - self.unf1)

    @property
    def sd(self) -> float:
        """s, the standard deviation of one image's contribution to UnF1."""
        u, r, f, k = self.unf1, self.recall, self.refusal, self.questions
        independent = ((2 - u) ** 2 * r * (1 - r) + u**2 * f * (1 - f)) / (k * (1 + r + f) ** 2)
        return sqrt(independent * (1 + (k - 1) * self.image_correlation))

    @property
    def sd_if_shared(self) -> float:
        """As `sd`, where an image that is hard for one label is as hard for the other: the most that it can be."""
        u, r, f = self.unf1, self.recall, self.refusal
        shared = 2 * u * (2 - u) * self.image_correlation * sqrt(r * (1 - r) * f * (1 - f)) / (1 + r + f) ** 2
        return sqrt(self.sd**2 + shared)

    @property
    def extreme(self) -> float:
        """The largest contribution that an image can have: all of it right, or all of it wrong (`Running.extreme_influence`)."""
        return 2 * max(self.unf1, 1 - self.unf1) / (1 + self.recall + self.refusal)
