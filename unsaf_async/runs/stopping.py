"""When a run may stop because its UnF1 is known well enough: the rule of the setting `until_ci`.

Knows the images so far through their `Running` sums; knows nothing of the engine that asks it after every image.

Stopping the first time that an ordinary 95 % interval is narrow stops on accidents: a streak of images that are much
alike makes UnF1 extreme and its interval narrow at once. Two rules may be asked after every image without that fault.

fixed-width: the ordinary width with a guarded variance. As the target goes to 0 it holds with 95 % at this rule's own
    stop, and only there, and takes as many images as if the right n had been known beforehand.
    Chow & Robbins, "On the asymptotic theory of fixed-width sequential confidence intervals for the mean", Annals of
    Mathematical Statistics 36 (1965).
anytime: the width of an asymptotic confidence sequence, intervals that hold *at all n together* with 95 %, hence also
    at whatever n one stops, for whatever reason (a limit, a whim, a look at the score itself).
    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences", Annals of Statistics 52 (2024), arXiv:2103.06476, Theorem 2.2.

Where a rule has stopped a run, the rule's own interval is the score's: an interval made for a number of images fixed
beforehand covers too rarely there (docs/intervals.md).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from unsaf_async.score.intervals import Interval
from unsaf_async.score.tallies import Running
from unsaf_async.score.units import picture_key

if TYPE_CHECKING:
    from unsaf_async.records import Examination
    from unsaf_async.score.spread import Spread

Rule = Literal["anytime", "fixed-width"]
"""Which of the module's two rules."""

WIDEST = 0.5
"""The half-width that a run can be asked to stop at is below."""

TYPICAL_SPREAD = 0.2
"""A middling standard deviation of UnF1's influence values, for which the anytime rule is tuned."""


class StopWhenNarrow:
    """Says whether UnF1 ± `half_width` is reached, and may be asked after every image.

    After n images with influence values d_i (see `Running`) the interval is UnF1 ± w_n,

        anytime      w_n = s_n sqrt(2 (n rho² + 1) / (n² rho²) log(sqrt(n rho² + 1) / alpha))
        fixed-width  w_n = s_n z / sqrt(n),       z the 1 - alpha / 2 quantile of the normal distribution
        both         s_n² = var(d) + g d*² / n,   d* = `Running.extreme_influence`

    rho is fixed beforehand so that w_n is smallest, relative to s_n, at `expected_images`. There the anytime rule needs
    2.4 times the images of an interval at one n fixed beforehand (alpha = .05); being off by a factor of 3 in that n
    costs about a tenth more.

    d*² / n is as if one image more had been seen on which every response went the rarer way. A start of images that are
    all alike would otherwise have width 0, and a rare error not yet met would stop the run. Chow & Robbins add 1 / n
    for the same end; d* gives their 1 the scale of UnF1. It vanishes faster than the width. Where images hold unequal numbers
    of questions few carry most: the image more is as large as that of a random response.

    g = (log(2 / alpha) / z)² such images (3.5 for alpha = .05) are as many as it takes that n images which are all alike have
    the exact width, log(2 / alpha) d* / n: a share of images up to log(2 / alpha) / n may be of a kind that none of them
    showed (Clopper & Pearson). With one, where 2 to 10 % of the images go wholly wrong, the interval covered in .87 to .92 in
    the worst cells at the fixed-width rule's stop, and the anytime rule's missed at some n in .05 to .10 (docs/intervals.md).

    Both guarantees are asymptotic, and for images in random order: shuffle a list that is sorted by anything.
    """

    def __init__(
        self,
        half_width: float,
        *,
        alpha: float = 0.05,
        rule: Rule = "anytime",
        minimum_images: int = 20,
        expected_images: int | None = None,
    ) -> None:
        """A rule that has seen no image.

        Args:
            half_width: The target, in UnF1's units, in (0, 1).
            alpha: 1 - confidence, in (0, 1).
            rule: Which of the module's two rules.
            minimum_images: Before so many images there is no width, >= 2.
            expected_images: Where the anytime rule will probably stop, >= 1; guess it without having seen the data. None: where
                influence values with a standard deviation of `TYPICAL_SPREAD` would stop.

        Raises:
            ValueError: One of them is out of its range.
        """
        if not 0 < half_width < 1:
            raise ValueError(f"half_width is {half_width}; give a number between 0 and 1")
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is {alpha}; give a number between 0 and 1")
        if minimum_images < 2:
            raise ValueError(f"minimum_images is {minimum_images}; give at least 2")
        if expected_images is not None and expected_images < 1:
            raise ValueError(f"expected_images is {expected_images}; give at least 1")
        self._target = half_width
        self._alpha = alpha
        self._rule = rule
        self._minimum_images = minimum_images
        self._guard = (math.log(2 / alpha) / NormalDist().inv_cdf(1 - alpha / 2)) ** 2
        v = _best_intrinsic_time(alpha)
        # At the best n the squared width is s² (v + 1) / n.
        expected = expected_images or max(minimum_images, math.ceil((v + 1) * (TYPICAL_SPREAD / half_width) ** 2))
        self._rho_squared = v / expected
        self._running = Running()
        self._pictures: set[int] = set()

    def add(self, examination: Examination) -> None:
        """Count one image in, in O(1). Failed images, those without a question and copies of a picture change nothing.

        Args:
            examination: The image's; each image once.
        """
        image = examination.image
        if examination.failure is None and examination.questions and (image.pixels_sha256 or image.bytes_sha256):
            picture = picture_key(image)
            if picture in self._pictures:
                return  # it holds no more evidence than the first one
            self._pictures.add(picture)
        self._running.add(examination)

    @property
    def target(self) -> float:
        """The half-width that is to be reached."""
        return self._target

    @property
    def images(self) -> int:
        """Images counted in."""
        return self._running.images

    @property
    def guard(self) -> float:
        """g: how many images on which every response went the rarer way the variance counts in."""
        return self._guard

    @property
    def half_width(self) -> float | None:
        """w_n, in UnF1's units; None before `minimum_images` and while UnF1 is undefined."""
        n, variance, extreme = self._running.images, self._running.influence_variance, self._running.extreme_influence
        if n < self._minimum_images or variance is None or extreme is None:
            return None
        return self._width(n, variance, extreme)

    def _width(self, images: int, variance: float, extreme: float) -> float:
        return math.sqrt(variance + self.guard * extreme**2 / images) * self.unit_half_width(images)

    @property
    def interval(self) -> tuple[float, float] | None:
        """UnF1 ± w_n cut to [0, 1], holding where the rule says it does; None where `half_width` is."""
        value, width = self._running.unf1, self.half_width
        if value is None or width is None:
            return None
        return (max(0.0, value - width), min(1.0, value + width))

    @property
    def reported(self) -> Interval | None:
        """The interval to report beside UnF1: `interval` where its guarantee holds, else None.

        The fixed-width rule's holds where that rule says stop; the anytime rule's at any number of images.
        """
        if self.interval is None or not (self._rule == "anytime" or self.satisfied):
            return None
        return Interval(self.interval, "anytime" if self._rule == "anytime" else "fixed_width_stop", self.images)

    @property
    def satisfied(self) -> bool:
        """Whether the half-width is at most the target, now. Stop at the first True."""
        width = self.half_width
        return width is not None and width <= self._target

    def expected_images(self, spread: Spread) -> int:
        """How many images it will take, about, for a model whose images differ so far.

        Args:
            spread: Of the model, by assumed rates.

        Returns:
            The least number at which the width of such a model is the target's; it may be more than there are.
        """
        return self._least(spread.sd**2, spread.extreme)

    @property
    def images_needed(self) -> int | None:
        """How many images it takes, about, where all differ as those that were counted in; None while UnF1 is undefined.

        The least number at which the width is the target's; it may be less than were counted in.
        """
        variance, extreme = self._running.influence_variance, self._running.extreme_influence
        return None if variance is None or extreme is None else self._least(variance, extreme)

    def _least(self, variance: float, extreme: float) -> int:
        def narrow(images: int) -> bool:
            return self._width(images, variance, extreme) <= self._target

        high = self._minimum_images
        while not narrow(high):
            high *= 2
        return bisect_left(range(high), True, self._minimum_images, key=narrow)

    def unit_half_width(self, images: int) -> float:
        """The half-width after some images, for a guarded standard deviation of 1: w_n / s_n.

        Args:
            images: n, >= 1.

        Returns:
            The half-width, > 0.
        """
        if self._rule == "fixed-width":
            return NormalDist().inv_cdf(1 - self._alpha / 2) / math.sqrt(images)
        v = images * self._rho_squared
        return math.sqrt(2 * (v + 1) / (images * v) * math.log(math.sqrt(v + 1) / self._alpha))


class Rounds:
    """How many images are to be under way where they come back together and late, as those of a batch do.

    What is begun is paid, and finished. So the first round has a fixed number of images, and once nine tenths of a round are
    back, the next one has as many as are missing to `StopWhenNarrow.images_needed`. For a half-width of .02 to .05 that is 5 to
    6 % more images than the rule takes by itself, in three rounds; with a tenth more in each it is 16 %, in 2.6 rounds.
    """

    def __init__(self, rule: StopWhenNarrow, first: int) -> None:
        """Before the first round.

        Args:
            rule: The run's, into which images are counted as they come back.
            first: Images of the first round, >= 1.
        """
        self._rule = rule
        self._first = self._due = first

    @property
    def wanted(self) -> int:
        """How many images are to be under way now; at least 1."""
        counted = self._rule.images
        if 10 * counted >= 9 * self._due:
            needed = self._rule.images_needed
            self._due = counted + self._first if needed is None else needed
        return max(1, self._due - counted)


def rule_of(until_ci: float | None, *, anytime: bool) -> StopWhenNarrow | None:
    """The rule of a run's settings, which has seen no image; None for a run that takes all its images.

    Args:
        until_ci: The half-width at which the run stops, in (0, 1); None: it does not stop.
        anytime: Whether by the anytime rule.

    Returns:
        The rule.
    """
    return None if until_ci is None else StopWhenNarrow(until_ci, rule="anytime" if anytime else "fixed-width")


def _best_intrinsic_time(alpha: float) -> float:
    """v = n rho² at which the anytime width is smallest for its n; 8.2 for alpha = .05.

    n w² / s² = (1 + 1/v) (log(v + 1) + 2 log(1/alpha)) is least where v = log(v + 1) + 2 log(1/alpha), and is v + 1
    there. The right side rises with slope 1 / (v + 1) < 1, so stepping from any v > 0 converges (the closed form
    needs Lambert's W).
    """
    v = 1.0
    for _ in range(100):
        v = math.log1p(v) - 2 * math.log(alpha)
    return v
