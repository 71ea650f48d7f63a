"""How many images a difference or an interval takes, and what so many images can show: the paired t-test's arithmetic.

With n images whose contributions to a figure have the standard deviation sd, the figure's standard error is sd / sqrt(n), and
t = difference / standard error has a noncentral t distribution with n - 1 degrees of freedom. The permutation test of
`compare/pairing.py`, which swaps the two runs on some of the images, has the same power but for few images, where its
least p-value counts. Source: Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), chapter 2.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING

from unsaf_async.score.distributions import noncentral_t_below, root, t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHA = 0.05
"""The level of a test, two-sided."""

POWER = 0.8
"""The usual power: the probability that a difference that is there is found."""

FEWEST_IMAGES = 6
"""With fewer images the swap test has no p-value below `ALPHA`: 2 / 2^5 = .0625."""

MOST_IMAGES = 1_000_000_000
"""No more are looked for."""


def least_p(images: int, resamples: int) -> float:
    """The least p-value that the swap test can have.

    Args:
        images: On how many images the two runs differ. A swap of the others changes nothing.
        resamples: The most arrangements that are tried, >= 1.

    Returns:
        2 / 2^images, since an arrangement and its mirror image differ equally, and no less than the share of one arrangement.
    """
    return max(min(1.0, 2.0 ** (1 - images)), 1 / (1 + resamples))


def power_of(difference: float, sd: float, images: int, alpha: float = ALPHA) -> float:
    """The probability that a difference is found significant.

    Args:
        difference: The true one.
        sd: Standard deviation of one image's contribution to it, >= 0.
        images: How many images both runs hold.
        alpha: The test's level, two-sided.

    Returns:
        In [0, 1]; 0 below `FEWEST_IMAGES`, and alpha for a difference of 0.
    """
    if images < FEWEST_IMAGES:
        return 0.0
    if sd == 0:
        return 1.0 if difference else 0.0
    bar = t_quantile(images - 1, 1 - alpha / 2)
    shift = abs(difference) / sd * sqrt(images)
    if shift > bar + 10:  # the power is 1 in every digit
        return 1.0
    # The other tail, in which the wrong sign is significant, counts only where there is next to no difference.
    wrong = noncentral_t_below(-bar, images - 1, shift) if shift < 3 else 0.0
    return min(1.0, 1 - noncentral_t_below(bar, images - 1, shift) + wrong)


def images_for_power(difference: float, sd: float, power: float = POWER, alpha: float = ALPHA) -> int:
    """The least number of images with which a difference is found with that power.

    Args:
        difference: The true one, not 0.
        sd: As for `power_of`.
        power: The probability that it is found, in (alpha, 1).
        alpha: The test's level, two-sided.

    Returns:
        `FEWEST_IMAGES` or more.
    """
    return least_number(lambda images: power_of(difference, sd, images, alpha) >= power, FEWEST_IMAGES)


def detectable(sd: float, images: int, power: float = POWER, alpha: float = ALPHA) -> float | None:
    """The least true difference that is found with that power.

    Args:
        sd: As for `power_of`.
        images: How many images both runs hold.
        power: In (alpha, 1).
        alpha: The test's level, two-sided.

    Returns:
        Above 0; None with fewer than `FEWEST_IMAGES`, where no difference is, and where sd is 0.
    """
    if images < FEWEST_IMAGES or sd == 0:
        return None
    high = 10 * sd
    while power_of(high, sd, images, alpha) < power:
        high *= 2
    return root(lambda difference: power_of(difference, sd, images, alpha) - power, 0.0, high, share=1e-12)


def half_width(sd: float, images: int, alpha: float = ALPHA) -> float:
    """Half of the width of a figure's interval.

    Args:
        sd: Standard deviation of one image's contribution to the figure.
        images: How many there are.
        alpha: One minus the interval's confidence.

    Returns:
        Student's t times the standard error; infinite for fewer than 2 images.
    """
    return t_quantile(images - 1, 1 - alpha / 2) * sd / sqrt(images) if images > 1 else inf


def images_for_half_width(wanted: float, sd: float, alpha: float = ALPHA) -> int:
    """The least number of images with which a figure's interval is so narrow.

    Args:
        wanted: Half of its width, above 0.
        sd: As for `half_width`.
        alpha: One minus the interval's confidence.

    Returns:
        2 or more.
    """
    return least_number(lambda images: half_width(sd, images, alpha) <= wanted, 2)


def least_number(enough: Callable[[int], bool], fewest: int) -> int:
    """The least number of images that is enough.

    Args:
        enough: Whether a number is; where one is, all larger ones are.
        fewest: The least number that is looked at, >= 1.

    Returns:
        `fewest` or more; `MOST_IMAGES` or more if none is enough.
    """
    high = fewest
    while high < MOST_IMAGES and not enough(high):
        high *= 2
    low = max(fewest - 1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
