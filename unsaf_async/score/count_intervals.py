"""Intervals of what follows from the table of four, by how many images have which row of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.records import KINDS
from unsaf_async.score.intervals import (
    Interval,
    effective_images,
    ratio_interval,
    region_of,
    smooth_interval,
    wider,
)
from unsaf_async.score.ratios import quotients
from unsaf_async.score.tallies import counts_of
from unsaf_async.score.unf1 import Counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from unsaf_async.score.intervals import Region
    from unsaf_async.score.tallies import Place
    from unsaf_async.score.unf1 import KindName

Ends = tuple[float, float]


def ends_and_reasons(found: Mapping[str, Interval]) -> tuple[dict[str, Ends], dict[str, str]]:
    """The intervals as records hold them.

    Args:
        found: By the figure's path in the record; only figures that are defined.

    Returns:
        The two ends by path, and for figures without an interval the reason by "intervals.PATH".
    """
    ends = {path: each.ends for path, each in found.items() if each.ends is not None}
    why = {f"intervals.{path}": each.why_undefined for path, each in found.items() if each.ends is None}
    return ends, why


@dataclass
class ImageRows:
    """How many images have which counts: all that the intervals need of the images.

    cells: by (TA, FU, TU, FA) of an image. kinds: by kind, of the images with a scored question of it, by (TU and FA of the
    kind, FU, TU + FA).
    """

    cells: Counter[tuple[int, int, int, int]] = field(default_factory=Counter)
    kinds: dict[KindName, Counter[tuple[int, int, int, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: Iterable[tuple[Counter[Place], int]]) -> ImageRows:
        """The rows of some images.

        Args:
            asked: (questions by place, how many images have just these).

        Returns:
            The rows.
        """
        rows = cls()
        for places, images in asked:
            kinds = dict.fromkeys(place.kind for place in places if place.kind)
            of_kind = ((kind, Counter({p: n for p, n in places.items() if p.kind == kind})) for kind in kinds)
            rows.add(counts_of(places), {kind: counts_of(each) for kind, each in of_kind}, images)
        return rows

    def add(self, whole: Counts, by_kind: Mapping[KindName, Counts], images: int = 1) -> None:
        """Count images that are alike.

        Args:
            whole: The table of four of each.
            by_kind: That of its unanswerable questions, by kind.
            images: How many they are.
        """
        self.cells[whole.ta, whole.fu, whole.tu, whole.fa] += images
        for kind, own in by_kind.items():
            if own.scored:
                row = (own.tu, own.fa, whole.fu, whole.tu + whole.fa)
                self.kinds.setdefault(kind, Counter())[row] += images

    def intervals(self) -> Iterator[tuple[str, Interval]]:
        """The intervals of the ratios, and of each kind's recall and UnF1.

        Yields:
            (path in `Score`, interval) of each figure that is defined but `unf1`.
        """
        rows, times = _table(self.cells)
        ta, fu, tu, fa = rows.T
        counts = Counts(**dict(zip(("ta", "fu", "tu", "fa"), map(int, times @ rows), strict=True)))
        ratios = {
            "precision": (tu, tu + fu),
            "recall": (tu, tu + fa),
            "over_refusal_rate": (fu, ta + fu),
            "over_answer_rate": (fa, tu + fa),
            "f1_answerable": (2 * ta, 2 * ta + fu + fa),
            "abstention_rate": (tu + fu, ta + fu + tu + fa),
            "audacity_of_answers": (ta, ta + fa),
        }
        for name, pair in ratios.items():
            if getattr(counts, name) is not None:
                yield name, ratio_interval(np.stack(pair, axis=1), times)
        smooth = {
            "macro_f1": (_macro_f1, 0.0),
            "balanced_accuracy": (_balanced_accuracy, 0.0),
            "unf1_of_precisions": (_unf1_of_precisions, 0.0),
        }
        region = region_of(np.stack([tu, tu + fa, fu, ta + fu], axis=1), times)
        for name, (figure, low) in (smooth | {"matthews_correlation": (_matthews_correlation, -1.0)}).items():
            if getattr(counts, name) is not None:
                left_out = smooth_interval(rows, figure, low=low, times=times, sizes=rows.sum(axis=1))
                yield name, wider(left_out, _by_rates(region, figure, counts))
        names: tuple[KindName, ...] = (*KINDS, "unspecified")
        for kind in (name for name in names if name in self.kinds):
            of_kind = self.kinds[kind]
            own, own_times = _table(of_kind)
            recall = ratio_interval(np.stack([own[:, 0], own[:, 0] + own[:, 1]], axis=1), own_times)
            yield f"by_kind.{kind}.recall", recall
            yield f"by_kind.{kind}.unf1", self._unf1_of_kind(of_kind, recall)

    def _unf1_of_kind(self, of_kind: Counter[tuple[int, int, int, int]], recall: Interval) -> Interval:
        """Of `KindScore.unf1`. Images without the kind bear on it by their over-refusals alone.

        Where the images that have the kind do not differ, as at a recall of 1, the spread is that of the over-refusals alone. So
        the interval also takes in what the ends of recall's make of the figure.
        """
        without = Counter[tuple[int, int, int, int]]()
        for (_, fu, tu, fa), n in self.cells.items():
            without[0, 0, fu, tu + fa] += n
        for (_, _, fu, unanswerable), n in of_kind.items():
            without[0, 0, fu, unanswerable] -= n
        rows, times = _table(of_kind + without)
        own, own_times = _table(of_kind)
        found = smooth_interval(
            rows, _unf1_of_kind, times=times, rests_on=effective_images(own[:, 0] + own[:, 1], own_times)
        )
        if recall.ends is None:
            return found
        refused, unanswerable = (times @ rows)[2:]
        low, high = (float(2 * end / (1 + end + refused / unanswerable)) for end in recall.ends)
        return wider(found, replace(recall, ends=(low, high)))


def _table(counted: Counter[tuple[int, int, int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(the distinct rows [rows, 4], how many images have each)."""
    return np.array(list(counted), dtype=np.int64).reshape(-1, 4), np.array(list(counted.values()), dtype=np.int64)


def _by_rates(region: Region, figure: Callable[[NDArray[np.float64]], NDArray[np.float64]], counts: Counts) -> Interval:
    """Of a figure of (TA, FU, TU, FA), by the region of recall and the over-refusal rate.

    It holds where a model answers or declines nearly everything: there the figure is far from linear, and the spread of a few
    images says little.
    """
    answerable, unanswerable = counts.ta + counts.fu, counts.tu + counts.fa
    return region.interval(
        lambda recall, refusal: figure(
            np.stack(
                (answerable * (1 - refusal), answerable * refusal, unanswerable * recall, unanswerable * (1 - recall)),
                axis=-1,
            )
        )
    )


def _macro_f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    ta, fu, tu, fa = np.moveaxis(sums, -1, 0)
    return np.asarray((quotients(2 * tu, 2 * tu + fu + fa) + quotients(2 * ta, 2 * ta + fu + fa)) / 2)


def _balanced_accuracy(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    ta, fu, tu, fa = np.moveaxis(sums, -1, 0)
    return np.asarray((quotients(tu, tu + fa) + quotients(ta, ta + fu)) / 2)


def _unf1_of_precisions(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    ta, fu, tu, fa = np.moveaxis(sums, -1, 0)
    # 2 / (1 / timidity + 1 / audacity) without a division by a precision of 0.
    declined, answered = tu + fu, ta + fa
    whole = np.where((declined > 0) & (answered > 0), tu * answered + ta * declined, np.nan)
    return np.where(whole == 0, 0.0, 2 * tu * ta / np.where(whole == 0, 1.0, whole))


def _matthews_correlation(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    ta, fu, tu, fa = np.moveaxis(sums, -1, 0)
    return quotients(tu * ta - fa * fu, np.sqrt((tu + fu) * (tu + fa) * (ta + fu) * (ta + fa)))


def _unf1_of_kind(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    tu, fa, fu, unanswerable = np.moveaxis(sums, -1, 0)
    recall = quotients(tu, tu + fa)
    return np.asarray(2 * recall / (1 + recall + quotients(fu, unanswerable)))
