"""How far judges agree with each other beyond chance: Cohen's kappa, Krippendorff's alpha, and a panel's votes.

Pure arithmetic. Both coefficients are functions of tables that add up over images, so leaving out each image in turn gives a
standard error with the image as the unit; the interval is that of a share of agreement (`intervals.smooth_interval`), for few
images, images nearly all alike, and unequal numbers of items (docs/intervals.md). What cannot be computed is None, with its
reason in words.

Sources: J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20 (1960), 37-46.
K. Krippendorff, Content Analysis (4th ed., 2018), chapter 12; nominal data, any number of judges, missing votes allowed.
"""

from __future__ import annotations

from array import array
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from unsaf_async.records import ACTS, Act, Examination, Record
from unsaf_async.score.intervals import ratio_interval, smooth_interval
from unsaf_async.score.ratios import quotients
from unsaf_async.score.unf1 import latest_by_id
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray


# --- what is written down -----------------------------------------------------------------------------------------


class Agreement(Record):
    """How far two raters agree."""

    n: int
    """What both have rated."""
    share: float | None
    """Of n, the share on which they agree, in [0, 1]."""
    share_ci: tuple[float, float] | None
    """95 % interval with images as the unit."""
    kappa: float | None
    """Cohen's, in [-1, 1]: 0 is what chance gives, 1 is full agreement."""
    kappa_ci: tuple[float, float] | None
    """95 % interval with images as the unit."""
    why_undefined: dict[str, str]
    """Reason for each figure that is None."""


class Alpha(Record):
    """How far several judges agree."""

    items: int
    """What was put to them."""
    pairable: int
    """Items with at least two votes: only these say anything of agreement."""
    alpha: float | None
    """Krippendorff's, nominal, at most 1: 0 is what chance gives, 1 is full agreement."""
    alpha_ci: tuple[float, float] | None
    """95 % interval with images as the unit."""
    why_undefined: dict[str, str]
    """Reason for each figure that is None."""


class JudgeVotes(Record):
    """How one judge of the panel voted."""

    judge: str
    """Its name."""
    acts: dict[Act, int]
    """Votes by act; all acts are there."""
    failed: int
    """Questions on which it failed or gave no readable verdict."""


class Pair(Record):
    """Two judges of the panel, on the questions on which both voted."""

    first: str
    """A judge's name."""
    second: str
    """The other's."""
    agreement: Agreement
    """Of the two."""


class PanelScore(Record):
    """How a panel of judges voted."""

    questions: int
    """That were put to the panel: what no rule had decided."""
    unanimous: int
    """At least two votes, all equal."""
    split: int
    """At least two votes that are not all equal, ties among them."""
    tied: int
    """Left unscored, since as many judges said one thing as another."""
    judges: list[JudgeVotes]
    """In the order in which they first voted."""
    pairs: list[Pair]
    """Every two judges."""
    alpha: Alpha
    """Of all judges together."""


# --- Cohen's kappa ------------------------------------------------------------------------------------------------


def cohens_kappa(table: NDArray[np.int64]) -> float | None:
    """Cohen's kappa, (p_o - p_e) / (1 - p_e).

    Args:
        table: Counts, shape [k, k]: the row is one rater's category, the column the other's.

    Returns:
        In [-1, 1]; None where it is undefined (`why_no_kappa`).
    """
    value = float(_kappas(np.asarray(table)))
    return None if np.isnan(value) else value


def why_no_kappa(table: NDArray[np.int64]) -> str:
    """Why `cohens_kappa` is None.

    Args:
        table: As for `cohens_kappa`.

    Returns:
        The reason; "" if kappa is defined.
    """
    if not np.sum(table):
        return "nothing was rated by both"
    return (
        ""
        if cohens_kappa(table) is not None
        else "both gave one and the same verdict throughout: chance agrees as well"
    )


def kappa_with_interval(tables: NDArray[np.int64]) -> Agreement:
    """How far two raters agree, with intervals over images.

    Args:
        tables: Counts, shape [images, k, k], one table an image, all zero where nothing was rated.

    Returns:
        The agreement. If nothing was rated, every figure is None with its reason.
    """
    total = tables.sum(axis=0)
    n = int(total.sum())
    kappa = cohens_kappa(total)
    why = {}
    if not n:
        why["share"] = why["share_ci"] = "nothing was rated by both"
    if kappa is None:
        why["kappa"] = why["kappa_ci"] = why_no_kappa(total)
    share_ci = kappa_ci = None
    if n:
        rated = tables.sum(axis=(-2, -1))
        share = ratio_interval(np.stack([np.trace(tables, axis1=-2, axis2=-1), rated], axis=1))
        share_ci = share.ends
        why |= {} if share.ends else {"share_ci": share.why_undefined}
        if kappa is not None:
            by_chance = float(total.sum(axis=0) @ total.sum(axis=1)) / n**2
            kappa_ci, why_not = _coefficient_interval(tables, _kappas, 1 - by_chance)
            why |= {"kappa_ci": why_not} if why_not else {}
    return Agreement(
        n=n,
        share=int(np.trace(total)) / n if n else None,
        share_ci=share_ci,
        kappa=kappa,
        kappa_ci=kappa_ci,
        why_undefined=why,
    )


def _coefficient_interval(
    tables: NDArray[Any], coefficient: Callable[[NDArray[Any]], NDArray[np.float64]], expected: float
) -> tuple[tuple[float, float] | None, str]:
    """The 95 % interval of a coefficient of agreement, or None and the reason.

    tables: [images, k, k]; the coefficient of their sum is defined. expected: the share of disagreement that chance gives, above
    0. One image on which all disagree moves the coefficient by 1 / (images x expected). So it goes from 1 - 1 / expected, where
    all disagree, to 1, as the share of agreement goes from 0 to 1, and has the interval of such a share. As chance may differ on
    other images, the range is -1 to 1 at least.
    """
    found = smooth_interval(
        tables.reshape(len(tables), -1),
        lambda sums: coefficient(sums.reshape(*sums.shape[:-1], *tables.shape[1:])),
        low=min(-1.0, 1 - 1 / expected),
        sizes=tables.sum(axis=(-2, -1)),
    )
    return (None if found.ends is None else (max(-1.0, found.ends[0]), found.ends[1])), found.why_undefined


def _kappas(tables: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cohen's kappa of each of [..., k, k] tables; NaN where the table is empty or chance agrees fully.

    With o the diagonal's sum and e = sum of row x column totals: (o n - e) / (n^2 - e). In whole numbers, so that an
    expected agreement of 1 is recognised exactly.
    """
    tables = tables.astype(np.int64)
    n = tables.sum(axis=(-2, -1))
    agreed = np.trace(tables, axis1=-2, axis2=-1)
    by_chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1)
    return quotients(agreed * n - by_chance, n * n - by_chance)


# --- Krippendorff's alpha -----------------------------------------------------------------------------------------


def krippendorff_alpha(
    votes: NDArray[np.float64],
    images: Sequence[int] | NDArray[np.int64] | None = None,
    count: int | None = None,
) -> Alpha:
    """How far judges agree, with an interval over images.

    Args:
        votes: Shape [judges, items]: the category's number, 0, 1, ...; NaN where a judge did not vote.
        images: Shape [items]: the index of each item's image, from 0. None: each item is an image of its own.
        count: How many images there are; images without an item may be among them. None: up to the last with one.

    Returns:
        Krippendorff's alpha; None with its reason if no item has two votes.
    """
    items = votes.shape[1]
    places = np.arange(items) if images is None else np.asarray(images, dtype=np.int64)
    count = int(places.max(initial=-1)) + 1 if count is None else count
    coincidences = coincidence_tables(votes, places, count)
    k = coincidences.shape[-1]
    pairable = int(np.count_nonzero((~np.isnan(votes)).sum(axis=0) >= 2))
    if np.isnan(_alphas(coincidences.sum(axis=0))):
        why = "all votes are equal: chance agrees as well" if pairable else "no item has two votes"
        return Alpha(
            items=items,
            pairable=pairable,
            alpha=None,
            alpha_ci=None,
            why_undefined=dict.fromkeys(("alpha", "alpha_ci"), why),
        )
    import krippendorff

    value = float(krippendorff.alpha(votes, value_domain=list(range(k)), level_of_measurement="nominal"))
    total = coincidences.sum(axis=0)
    by_chance = float((total.sum(axis=0) ** 2).sum()) / float(total.sum()) ** 2
    alpha_ci, why = _coefficient_interval(coincidences, _alphas, 1 - by_chance)
    return Alpha(
        items=items,
        pairable=pairable,
        alpha=value,
        alpha_ci=alpha_ci,
        why_undefined={"alpha_ci": why} if why else {},
    )


def coincidence_tables(votes: NDArray[np.float64], images: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Each image's table of coincidences. The tables add up over images.

    An item with m votes adds to cell (c, d) its ordered pairs of votes c and d by two judges, over m - 1. Items with fewer
    than two votes add nothing.

    Args:
        votes: As for `krippendorff_alpha`.
        images: As for `krippendorff_alpha`.
        count: How many images there are.

    Returns:
        Shape [count, k, k], k being one more than the greatest category.
    """
    cast = ~np.isnan(votes)
    k = int(votes[cast].max(initial=0)) + 1
    by_item = np.stack([(votes == category).sum(axis=0) for category in range(k)], axis=1)  # [items, k]
    pairs = by_item[:, :, None] * by_item[:, None, :] - by_item[:, :, None] * np.eye(k, dtype=np.int64)
    shared = pairs / np.maximum(by_item.sum(axis=1) - 1, 1)[:, None, None]
    tables = np.zeros((count, k, k))
    np.add.at(tables, images, shared)
    return tables


def _alphas(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Krippendorff's alpha of each of [..., k, k] coincidence tables; NaN where no disagreement is expected.

    With n the sum of all cells, o that of the diagonal and n_c the row totals: 1 - (n - 1) (n - o) / (n^2 - sum n_c^2).
    """
    rows = tables.sum(axis=-1)
    n = rows.sum(axis=-1)
    expected = n * n - (rows * rows).sum(axis=-1)
    # Thirds and the like do not add up exactly: what is 0 but for rounding must be 0.
    expected = np.where(expected > 1e-9 * np.maximum(n * n, 1), expected, 0)
    return 1 - quotients((n - 1) * (n - np.trace(tables, axis1=-2, axis2=-1)), expected)


# --- the panel ----------------------------------------------------------------------------------------------------


def panel_agreement(examinations: Iterable[Examination]) -> PanelScore | None:
    """How the judges of a panel voted, and how far they agree.

    Questions that the rules decided have no votes and do not enter: agreement is on the others, which are harder.

    Args:
        examinations: Of several about one image the last counts, else their order is irrelevant.

    Returns:
        None where no question has votes.
    """
    tally = PanelTally()
    for examination in latest_by_id(examinations):
        tally.add(examination)
    return tally.panel()


class PanelTally:
    """The votes of a panel, added up image by image, in the order of the images' ids."""

    def __init__(self) -> None:
        self._tied = 0
        self._units = Units()
        self._names: dict[str, int] = {}
        self._places = array("q")
        """[items]: the index of each item's image."""
        self._votes = array("q")
        """[votes, 3]: item, judge, act by number; -1 where it failed."""

    def add(self, examination: Examination) -> None:
        """Count one image.

        Args:
            examination: Of the image; each image once.
        """
        if not examination.questions:
            return
        for question in examination.questions:
            if not question.votes:
                continue
            for vote in question.votes:
                judge = self._names.setdefault(vote.judge, len(self._names))
                self._votes.extend((len(self._places), judge, -1 if vote.act is None else ACTS.index(vote.act)))
            self._places.append(len(self._units))
            self._tied += question.unscored == "tied"
        self._units.add(examination.image)

    def panel(self) -> PanelScore | None:
        """How the judges voted.

        Returns:
            None where no question has votes.
        """
        if not self._names:
            return None
        names, images = list(self._names), self._units.count
        places = self._units.numbers[np.array(self._places, dtype=np.int64)]
        item, judge, act = np.array(self._votes, dtype=np.int64).reshape(-1, 3).T
        votes = np.full((len(names), len(places)), np.nan)
        cast = act >= 0
        votes[judge[cast], item[cast]] = act[cast]
        failed = np.bincount(judge[~cast], minlength=len(names))
        voters = (~np.isnan(votes)).sum(axis=0)
        distinct = np.stack([(votes == number).any(axis=0) for number in range(len(ACTS))]).sum(axis=0)
        return PanelScore(
            questions=len(places),
            unanimous=int(np.count_nonzero((voters >= 2) & (distinct == 1))),
            split=int(np.count_nonzero(distinct >= 2)),
            tied=self._tied,
            judges=[
                JudgeVotes(
                    judge=name,
                    acts={act: int(np.count_nonzero(votes[row] == number)) for number, act in enumerate(ACTS)},
                    failed=int(failed[row]),
                )
                for row, name in enumerate(names)
            ],
            pairs=[
                Pair(
                    first=names[one],
                    second=names[other],
                    agreement=kappa_with_interval(_pair_tables(votes[one], votes[other], places, images)),
                )
                for one, other in combinations(range(len(names)), 2)
            ],
            alpha=krippendorff_alpha(votes, places, images),
        )


def _pair_tables(
    one: NDArray[np.float64], other: NDArray[np.float64], places: NDArray[np.int64], images: int
) -> NDArray[np.int64]:
    """[images, acts, acts]: how often which two acts met, where both judges voted."""
    both = ~(np.isnan(one) | np.isnan(other))
    tables = np.zeros((images, len(ACTS), len(ACTS)), dtype=np.int64)
    np.add.at(tables, (places[both], one[both].astype(int), other[both].astype(int)), 1)
    return tables
