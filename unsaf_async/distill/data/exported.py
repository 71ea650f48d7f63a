"""What an export holds: its rows by kind and split, and everything that was left out, counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unsaf_async.distill.data.clusters import Split
    from unsaf_async.distill.data.cost import DataCost
    from unsaf_async.distill.data.kinds import RowKind
    from unsaf_async.distill.data.mix import Selection
    from unsaf_async.distill.data.options import Options
    from unsaf_async.distill.data.pairs import PreferenceSummary
    from unsaf_async.distill.data.screening import Screening
    from unsaf_async.distill.data.teachers import ExportedRuns


@dataclass(frozen=True)
class Export:
    """What was exported."""

    options: Options
    runs: ExportedRuns
    rows: Mapping[tuple[RowKind, Split], int]
    """Rows by kind and split."""
    tokens: Mapping[RowKind, int]
    """Supervised tokens of the training rows, by kind."""
    examined: int
    """Questions in the runs."""
    questions: Mapping[str, int]
    """Questions that are left out, by reason."""
    left_out: Mapping[str, int]
    """Rows that are left out, by reason."""
    images: int
    """Pictures in it."""
    pictures: Sequence[str]
    """Their pixels' sha256, sorted."""
    clusters: int
    """Clusters of near copies in it."""
    kept_splits: int
    """Pictures in it whose split is that of an earlier export."""
    largest_cluster: int
    """Images of the largest cluster, of all that were in the runs."""
    taken: Selection
    """The training rows."""
    token_count: str
    """How tokens are counted, in words."""
    excluded: int
    """Images of evaluations that were compared."""
    excluded_unread: int
    """Images of evaluations that could not be read."""
    hits: Mapping[str, str]
    """The pictures near an excluded image, with that image's name."""
    abstentions: tuple[int, int, int]
    """Declining rows for training, how many different texts they have, and how often the most frequent one stands."""
    accepted: bool
    """Whether a commercial teacher's terms were accepted."""
    cost: DataCost
    """Of all runs, what was left out included."""
    notes: Sequence[str] = field(default_factory=tuple)
    """What a user should know, a line each."""
    kinds: Mapping[tuple[RowKind, str], int] = field(default_factory=dict)
    """Training rows of unanswerable questions, by row kind and `kind_name`."""
    bare: Mapping[RowKind, int] = field(default_factory=dict)
    """Training rows whose prompt is the question alone, by kind."""
    excluded_questions: int = 0
    """Questions of evaluations that were compared."""
    excluded_questions_unread: int = 0
    """Questions of evaluations that were not compared, since their image is missing."""
    question_hits: int = 0
    """Questions that are left out since they are one of them or share words with one."""
    screening: Screening | None = None
    """What filters by consistency, confidence and agreement did to the labels; None: there are none."""
    preferences: PreferenceSummary | None = None
    """The preference pairs; None unless they were asked for."""

    @property
    def total(self) -> int:
        """Rows of all splits."""
        return sum(self.rows.values())
