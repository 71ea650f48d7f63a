"""What an export is asked for (`Options`), and what it holds (`Export`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unsaf_async.distill.data import mix
from unsaf_async.distill.data.cleaned import SAME_QUESTION
from unsaf_async.distill.data.rows import Filters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from unsaf_async.distill.data.clusters import Split
    from unsaf_async.distill.data.formats import Form
    from unsaf_async.distill.data.pairs import PreferenceSummary
    from unsaf_async.distill.data.rows import RowKind
    from unsaf_async.distill.data.teachers import ExportedRuns


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is exported, and how."""

    form: Form = "trl"
    mix: mix.Mix = mix.DEFAULT
    """Percent of the rows, in the order of `ROW_KINDS`."""
    writing: bool = True
    """Whether rows teach question writing; False is the ablation."""
    student_replay: Path | None = None
    """The student's own run, with the answers that it is to keep."""
    accept_terms: bool = False
    """Whether the user states that a commercial teacher's outputs may be used."""
    filters: Filters = field(default_factory=Filters)
    splits: tuple[int, int, int] = (90, 5, 5)
    """Percent of the clusters: train, validation, test."""
    seed: int = 0
    same_question: int = SAME_QUESTION
    """Images of one label that one question may be about: see `cleaned.capped`."""
    exclude_images: tuple[Path, ...] = ()
    """Folders of an evaluation's images."""
    tokenizer: Path | None = None
    """A folder with tokenizer.json; None: tokens are estimated."""
    preferences: tuple[Path, ...] = ()
    """Runs of the student on the teachers' questions."""
    even_preferences: bool = True
    """Whether as many pairs of either kind are taken."""
    most_of_kind: float | None = None
    """Percent of the training rows of unanswerable questions that one kind of these may have; None: any."""
    exclude_questions: tuple[Path, ...] = ()
    """Evaluations' questions: see `cleaned.read_excluded_questions`."""


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
    largest_cluster: int
    """Images of the largest cluster, of all that were in the runs."""
    taken: mix.Selection
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
    notes: Sequence[str] = field(default_factory=tuple)
    """What a user should know, a line each."""
    kinds: Mapping[tuple[RowKind, str], int] = field(default_factory=dict)
    """Training rows of unanswerable questions, by row kind and `mix.kind_name`."""
    excluded_questions: int = 0
    """Questions of evaluations that were compared."""
    excluded_questions_unread: int = 0
    """Questions of evaluations that were not compared, since their image is missing."""
    question_hits: int = 0
    """Questions that are left out since they are one of them or share words with one."""
    preferences: PreferenceSummary | None = None
    """The preference pairs; None unless they were asked for."""

    @property
    def total(self) -> int:
        """Rows of all splits."""
        return sum(self.rows.values())
