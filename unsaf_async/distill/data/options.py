"""What an export is asked for, and what it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unsaf_async.distill.data import mix
from unsaf_async.distill.data.cleaned import (
    SAME_QUESTION,
)
from unsaf_async.distill.data.rows import (
    Filters,
    RowKind,
    TakenRun,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from unsaf_async.distill.data.clusters import Split
    from unsaf_async.distill.data.formats import Form
    from unsaf_async.distill.data.pairs import Preferences


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is exported, and how. mix: percent of rows, as `ROW_KINDS`. splits: percent of clusters.

    student_replay: the student's own run. same_question: as `cleaned.capped`. tokenizer: a folder with tokenizer.json.
    preferences: runs of the student on the teachers' questions. even_preferences: as many pairs of either kind. most_of_kind:
    percent of the training rows of unanswerable questions that one kind of these may have; None: any. exclude_questions: see
    `cleaned.read_excluded_questions`.
    """

    form: Form = "trl"
    mix: mix.Mix = mix.DEFAULT
    writing: bool = True
    student_replay: Path | None = None
    accept_terms: bool = False
    filters: Filters = field(default_factory=Filters)
    splits: tuple[int, int, int] = (90, 5, 5)
    seed: int = 0
    same_question: int = SAME_QUESTION
    exclude_images: tuple[Path, ...] = ()
    tokenizer: Path | None = None
    preferences: tuple[Path, ...] = ()
    even_preferences: bool = True
    most_of_kind: float | None = None
    exclude_questions: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Export:
    """What came of it.

    rows: by kind and split. tokens: supervised, by kind, of the training rows. questions, left_out: questions, and rows, that are
    not in it, by reason. images: pictures in it. aimed: shares of the training rows by kind. taken: of the training rows.
    hits: pictures near an excluded one, with its name. notes: what a user should know, a line each. accepted: a commercial
    teacher's terms were accepted.
    """

    options: Options
    runs: Sequence[TakenRun]
    rows: Mapping[tuple[RowKind, Split], int]
    tokens: Mapping[RowKind, int]
    examined: int
    questions: Mapping[str, int]
    left_out: Mapping[str, int]
    images: int
    pictures: Sequence[str]
    clusters: int
    largest_cluster: int
    taken: mix.Taken
    token_count: str
    excluded: int
    excluded_unread: int
    hits: Mapping[str, str]
    abstentions: tuple[int, int, int]
    """Declining rows for training, how many different texts they have, and how often the most frequent one stands."""
    accepted: bool
    notes: Sequence[str] = field(default_factory=tuple)
    kinds: Mapping[tuple[RowKind, str], int] = field(default_factory=dict)
    """Training rows of unanswerable questions, by row kind and `mix.kind_name`."""
    excluded_questions: int = 0
    """Questions of evaluations that were compared."""
    excluded_questions_unread: int = 0
    question_hits: int = 0
    """Questions that are left out since they are one of them or share words with one."""
    preferences: Preferences | None = None
    """The preference pairs; None unless they were asked for."""

    @property
    def total(self) -> int:
        """Rows of all splits."""
        return sum(self.rows.values())
