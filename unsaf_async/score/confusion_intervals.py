"""Intervals of a judge's figures against people's labels, from its confusion alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.score.agreement import kappa_with_interval
from unsaf_async.score.intervals import exact_interval, ratio_interval

if TYPE_CHECKING:
    from unsaf_async.score.calibration import Confusion


def confusion_intervals(confusion: Confusion) -> dict[str, tuple[float, float] | None]:
    """95 % intervals of a confusion's figures, with each response as an independent one.

    A confusion does not say which responses belong to one image. Where several do, the truth is wider.

    Args:
        confusion: Of a judge.

    Returns:
        accuracy, f1, kappa, sensitivity, specificity: (low, high); None where the figure is undefined or rests on fewer than
        two responses. Shares have Clopper & Pearson's interval, F1 and kappa those of ratios and coefficients in
        `score.intervals` and `score.agreement`.
    """
    answered, abstained = confusion.answered, confusion.abstained
    hits = abstained.abstained
    misses = answered.abstained + abstained.answered + abstained.neither
    labels = [[each.answered, each.abstained, each.neither] for each in (answered, abstained)]
    tables = np.zeros((confusion.n, 3, 3), dtype=np.int64)
    places = [place for place, n in enumerate(np.ravel(labels)) for _ in range(n)]
    tables.reshape(-1, 9)[np.arange(confusion.n), places] = 1
    return {
        "accuracy": _of_share(confusion.accuracy, confusion.n),
        "f1": ratio_interval([(2, 2), (0, 1)], [hits, misses]).ends,
        "kappa": kappa_with_interval(tables).kappa_ci,
        "sensitivity": _of_share(confusion.sensitivity, abstained.answered + hits),
        "specificity": _of_share(confusion.specificity, answered.answered + answered.abstained),
    }


def _of_share(share: float | None, responses: int) -> tuple[float, float] | None:
    return None if share is None else exact_interval(share, responses).ends
