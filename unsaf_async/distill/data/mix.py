"""How many rows of which kind: the stated mix, and its ablation with answers alone at equal supervised tokens."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from unsaf_async.distill.data.kinds import ROW_KINDS, WRITING, RowKind
from unsaf_async.errors import UserError
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from unsaf_async.distill.data.build_rows import TrainingRow
    from unsaf_async.distill.data.options import Mix


def target_shares(mix: Mix, there: Sequence[RowKind]) -> dict[RowKind, float]:
    """Each kind's share of the rows: the mix, with the share of missing kinds spread over the others in proportion.

    Args:
        mix: Percent of rows, in the order of `ROW_KINDS`.
        there: The kinds that have rows.

    Returns:
        Shares in (0, 1] that sum to 1; {} if none of these kinds has a share in the mix.
    """
    asked = {kind: percent for kind, percent in zip(ROW_KINDS, mix, strict=True) if kind in there and percent > 0}
    whole = sum(asked.values())
    return {kind: percent / whole for kind, percent in asked.items()}


@dataclass(frozen=True)
class Selection:
    """The rows that are taken for training."""

    rows: tuple[TrainingRow, ...]
    """In the order of taking."""
    shares: Mapping[RowKind, float]
    """The share of each kind that was aimed at, in (0, 1]."""
    tokens: int
    """Supervised, of these rows."""
    budget: int | None
    """The tokens of the full mix, which the ablation was to meet; None of the full mix itself."""
    rates: Mapping[RowKind, float]
    """For each kind, the share of its rows that the full mix takes, in [0, 1]."""

    @property
    def repeated(self) -> int:
        """Rows that are a further copy of another one."""
        return sum(row.copy > 1 for row in self.rows)


def take(
    by_kind: Mapping[RowKind, Sequence[TrainingRow]], mix: Mix, tokens: Callable[[str], int], *, writing: bool = True
) -> Selection:
    """The largest selection that has the mix, to one row a kind; each kind's rows from the first on.

    Args:
        by_kind: The rows for training; kinds without rows give their share to the others.
        mix: Percent of rows, in the order of `ROW_KINDS`.
        tokens: Counts a completion's tokens.
        writing: False takes no question-writing rows, and of the others as many as make the supervised tokens of the
            full mix, to half a row. Where there are too few, they are gone through again, as further copies.

    Returns:
        The rows and their figures; no rows if none of the kinds with rows has a share.
    """
    there = [kind for kind in ROW_KINDS if by_kind.get(kind)]
    full = target_shares(mix, there)
    rows = list(_mixed(by_kind, full, again=False))
    counts = Counter(row.kind for row in rows)
    rates = {kind: counts[kind] / len(by_kind[kind]) for kind in there}
    total = sum(tokens(row.completion) for row in rows)
    if writing:
        return Selection(tuple(rows), full, total, None, rates)
    spoken = target_shares(mix, [kind for kind in there if kind not in WRITING])
    kept, sum_ = [], 0
    for row in _mixed(by_kind, spoken, again=True):
        size = tokens(row.completion)
        if 2 * (total - sum_) <= size:  # nearer without it
            break
        kept.append(row)
        sum_ += size
    return Selection(tuple(kept), spoken, sum_, total, rates)


def _mixed(
    by_kind: Mapping[RowKind, Sequence[TrainingRow]], aimed: Mapping[RowKind, float], *, again: bool
) -> Iterator[TrainingRow]:
    """Rows one by one, so that every beginning has the mix as nearly as can be, until a kind that is due has no more."""
    taken = dict.fromkeys(aimed, 0)
    number = 0
    while aimed:
        number += 1
        due = max(aimed, key=lambda kind: aimed[kind] * number - taken[kind])
        rows = by_kind[due]
        copy, place = divmod(taken[due], len(rows))
        if copy and not again:
            return
        taken[due] += 1
        yield rows[place].copied(copy + 1) if copy else rows[place]


def held_out(
    by_kind: Mapping[RowKind, Sequence[TrainingRow]], rates: Mapping[RowKind, float], *, writing: bool
) -> list[TrainingRow]:
    """The rows of a split that is not trained on: of each kind the share that training takes, rounded up.

    Args:
        by_kind: The split's rows.
        rates: For each kind, the share of its rows that training takes, in [0, 1].
        writing: Whether question-writing rows are taken.

    Returns:
        The first rows of each kind, in the order of `ROW_KINDS`.
    """
    kinds = [kind for kind in ROW_KINDS if by_kind.get(kind) and (writing or kind not in WRITING)]
    return [row for kind in kinds for row in by_kind[kind][: ceil(rates.get(kind, 0) * len(by_kind[kind]) - 1e-9)]]


# --- kinds of unanswerable questions ----------------------------------------------------------------------------------


def kind_name(row: TrainingRow) -> str:
    """Why a row's question has no answer.

    Args:
        row: A row about an unanswerable question.

    Returns:
        The question's kind; "unspecified" where the teacher named none.
    """
    return row.item.question.kind or "unspecified"


def check_most_of_kind(percent: float | None) -> None:
    """Checks the most that one kind of unanswerable question may have.

    Args:
        percent: Of the rows; None: any share.

    Raises:
        UserError: It is not above 0 and up to 100.
    """
    if percent is not None and not 0 < percent <= 100:
        raise UserError(f"is {percent:g}; give a percentage above 0 and up to 100", field="most_of_kind")


def spread(rows: Sequence[TrainingRow], percent: float) -> tuple[list[TrainingRow], int]:
    """The rows in such an order that in every beginning at most `percent` are of one kind, to one row.

    A row that would be too many waits until others have come; where none come, it is left out. So the kinds that are
    scarce are whole, and the others have the most that they may.

    Args:
        rows: Rows about unanswerable questions.
        percent: The most of one kind, in (0, 100].

    Returns:
        (the rows that can stand, how many others there are).

    Raises:
        UserError: There are too few kinds for it.
    """
    kinds = {kind_name(row) for row in rows}
    if rows and len(kinds) * percent < 100 - 1e-9:
        raise UserError(
            f"{percent:g}: the training rows are of {len(kinds)} kinds ({', '.join(sorted(kinds))}), so one of "
            f"them has {100 / len(kinds):.0f} % at least; give more",
            field="most_of_kind",
        )
    waiting: dict[str, deque[tuple[int, TrainingRow]]] = {}
    for place, row in enumerate(rows):
        waiting.setdefault(kind_name(row), deque()).append((place, row))
    counts: Counter[str] = Counter()
    kept: list[TrainingRow] = []
    while True:
        most = ceil(percent / 100 * (len(kept) + 1) - 1e-9)
        free = [kind for kind, queue in waiting.items() if queue and counts[kind] < most]
        if not free:
            return kept, len(rows) - len(kept)
        kind = min(free, key=lambda kind: waiting[kind][0][0])
        kept.append(waiting[kind].popleft()[1])
        counts[kind] += 1


# --- tokens -----------------------------------------------------------------------------------------------------------

APPROXIMATION = "UTF-8 bytes / 4, rounded up"
"""How tokens are counted without a tokenizer."""


def approximate_tokens(text: str) -> int:
    """About how many tokens a text has: near for English, too many or too few for other scripts.

    Args:
        text: Any text.

    Returns:
        Its UTF-8 bytes / 4, rounded up.
    """
    return ceil(len(text.encode("utf-8", "replace")) / 4)


def token_counter(path: Path | None) -> Callable[[str], int]:
    """A function that counts the tokens of a text.

    Args:
        path: A tokenizer.json, or its folder; special tokens are left out. None: `approximate_tokens`.

    Returns:
        The function.

    Raises:
        UserError: There is no such tokenizer.
    """
    if path is None:
        return approximate_tokens
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{path}: has no tokenizer.json; give the folder of the student's tokenizer", field="tokenizer")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises a bare Exception
        reason = one_line(str(error))
        raise UserError(
            f"{file}: is no tokenizer ({reason}); give the student's tokenizer.json", field="tokenizer"
        ) from None

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return count
