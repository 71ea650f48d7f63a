"""Which rows and preference pairs an export holds: their splits, the mix of their kinds, and their order."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING

from unsaf_async.distill.data import clusters, mix, pairs
from unsaf_async.distill.data.build_rows import model_name, with_bare_questions
from unsaf_async.distill.data.clusters import SPLITS
from unsaf_async.distill.data.kinds import ROW_KINDS, WRITING
from unsaf_async.distill.data.pairs import PAIR_KINDS
from unsaf_async.distill.data.teachers import run_notes
from unsaf_async.errors import UserError, as_option, setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from unsaf_async.distill.data.build_rows import Item, TrainingRow
    from unsaf_async.distill.data.clusters import Split
    from unsaf_async.distill.data.kinds import RowKind
    from unsaf_async.distill.data.options import Options
    from unsaf_async.distill.data.pairs import PairKind, PreferencePair
    from unsaf_async.distill.data.teachers import ExportedRuns
    from unsaf_async.runs.saved import SavedRun


@dataclass(frozen=True, slots=True)
class Layout:
    """Which split a picture goes to, and in which order rows and pairs stand: by hashes, so nothing else matters."""

    cluster_of: Mapping[str, str]
    """The cluster of each picture, by its pixels' sha256."""
    splits: tuple[int, int, int]
    """Percent of the clusters: train, validation, test."""
    seed: int
    kept: Mapping[str, Split] = field(default_factory=dict)
    """The split of pictures that have one already, by their pixels' sha256."""

    def split(self, item: Item) -> Split:
        """The split of a question's picture.

        Args:
            item: A question about a picture in `cluster_of`.

        Returns:
            The one that it has already, or else its cluster's.
        """
        return self.split_of(item.pixels)

    def split_of(self, pixels: str) -> Split:
        """The split of a picture.

        Args:
            pixels: The sha256 of its pixels, in `cluster_of`.

        Returns:
            The one that it has already, or else its cluster's.
        """
        return self.kept.get(pixels) or clusters.split_of(self.cluster_of[pixels], self.seed, self.splits)

    def rank(self, row: TrainingRow | PreferencePair) -> bytes:
        """The key by which rows or pairs come in random order: those that the mix takes are the first.

        Args:
            row: A row or a pair.

        Returns:
            A sha256 of its id and the seed.
        """
        return sha256(f"{self.seed}:{row.id}".encode("utf-8", "replace")).digest()

    def place(self, row: TrainingRow | PreferencePair) -> tuple[bytes, int, str]:
        """The key by which rows or pairs are written: those of a picture lie together, pictures in random order.

        Args:
            row: A row or a pair.

        Returns:
            (a sha256 of the picture and the seed, the question's number, the row's id).
        """
        return sha256(f"{self.seed}:{row.item.pixels}".encode()).digest(), row.item.number, row.id


# --- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SelectedRows:
    """The rows of an export."""

    by_split: dict[Split, list[TrainingRow]]
    """In the order in which they are written; a split without rows is not there."""
    training: mix.Selection
    """How the training rows were taken."""
    left_out: Counter[str]
    """Rows that are not taken, by reason."""
    notes: list[str]
    """What a user should know, a line each."""


def select_rows(
    rows: Iterable[TrainingRow], options: Options, layout: Layout, tokens: Callable[[str], int]
) -> SelectedRows:
    """The rows of each split by the mix that is asked for.

    Args:
        rows: All rows that could be taken, in any order.
        options: What is asked for.
        layout: Where rows go.
        tokens: Counts a text's tokens.

    Returns:
        The selected rows; those of the training split are never empty.

    Raises:
        UserError: No row fell into the training split, or none of the kinds with rows has a share in the mix.
    """
    by_split: dict[Split, dict[RowKind, list[TrainingRow]]] = {split: defaultdict(list) for split in SPLITS}
    for row in sorted(rows, key=layout.rank):
        by_split[layout.split(row.item)][row.kind].append(row)
    train = by_split["train"]
    if not train:
        raise _nothing_to_train_on(by_split, options, layout)
    left_out: Counter[str] = Counter()
    if options.most_of_kind is not None:
        left_out += _cap_kinds(train, options.most_of_kind)
    selection = mix.take(train, options.mix, tokens, writing=options.writing)
    if not selection.rows:
        raise UserError(
            f"nothing is left to teach: the kinds that have rows have no share in {setting('mix')}; give them one"
        )
    chosen: dict[Split, list[TrainingRow]] = {"train": list(selection.rows)}
    for split in SPLITS[1:]:
        chosen[split] = mix.held_out(by_split[split], selection.rates, writing=options.writing)
    for split, of_split in chosen.items():
        left_out += _not_taken(by_split[split], of_split, writing=options.writing)
    return SelectedRows(
        by_split={
            split: sorted(with_bare_questions(of_split, options.bare_questions, options.seed), key=layout.place)
            for split, of_split in chosen.items()
            if of_split
        },
        training=selection,
        left_out=left_out,
        notes=[
            *_mix_notes(train, options),
            *_budget_notes(selection),
            *_split_notes(chosen, layout, options),
            *_bare_notes(train, options),
        ],
    )


def _nothing_to_train_on(
    by_split: Mapping[Split, Mapping[RowKind, Sequence[TrainingRow]]], options: Options, layout: Layout
) -> UserError:
    counts = {split: sum(map(len, by_split[split].values())) for split in SPLITS[1:]}
    rows = " and ".join(f"{n} for {split}" for split, n in counts.items())
    if options.splits[0] == 0:
        splits = "/".join(map(str, options.splits))
        return UserError(f"{splits}: leaves nothing to train on ({rows}); give training a share", field="splits")
    candidates = (row for by_kind in by_split.values() for of_kind in by_kind.values() for row in of_kind)
    found, given = _pictures(candidates, layout)
    kept = f", {given} with the split of an earlier export" if given else ""
    advice = f"give more images, another {setting('seed')}, or {setting('splits')} 100/0/0"
    return UserError(
        f"no row fell into the training split ({found} different pictures{kept}: {rows}); "
        f"{advice if given < found else 'give more images'}"
    )


def _pictures(rows: Iterable[TrainingRow], layout: Layout) -> tuple[int, int]:
    """How many different pictures rows are about, and how many of these have the split of an earlier export.

    No other seed and no other shares change the split of those.
    """
    used = {row.item.pixels for row in rows}
    given = {layout.cluster_of[pixels] for pixels in used if pixels in layout.kept}
    return len({layout.cluster_of[pixels] for pixels in used}), len(given)


def _cap_kinds(train: dict[RowKind, list[TrainingRow]], percent: float) -> Counter[str]:
    """Drops rows of `train` so that no kind of unanswerable question has more than `percent`; counts them by reason.

    The held-out splits keep the teacher's kinds: they are there to measure.
    """
    left_out: Counter[str] = Counter()
    for kind in ("write-unanswerable", "decline"):
        if train.get(kind):
            train[kind], dropped = mix.spread(train[kind], percent)
            left_out[f"more than {percent:g} % of one kind of unanswerable question"] += dropped
    return left_out


def _not_taken(
    by_kind: Mapping[RowKind, Sequence[TrainingRow]], chosen: Iterable[TrainingRow], *, writing: bool
) -> Counter[str]:
    taken = {row.id for row in chosen if row.copy == 1}
    return Counter(
        "no question writing" if not writing and row.kind in WRITING else "more than the mix takes"
        for rows in by_kind.values()
        for row in rows
        if row.id not in taken
    )


def _mix_notes(train: Mapping[RowKind, Sequence[TrainingRow]], options: Options) -> Iterator[str]:
    """Which kinds have a share in the mix and no rows."""
    for kind, percent in zip(ROW_KINDS, options.mix, strict=True):
        if percent and not train.get(kind) and (options.writing or kind not in WRITING):
            no_replay = kind == "replay" and options.student_replay is None
            why = f"no {as_option('student_replay')}" if no_replay else "no such row for training"
            yield f"{kind}: {why}; its {percent:g} % are spread over the other kinds"


def _split_notes(chosen: Mapping[Split, Sequence[TrainingRow]], layout: Layout, options: Options) -> Iterator[str]:
    """Whether there is nothing to validate or test with, though a share of the pictures was to be for it."""
    wanted = zip(SPLITS[1:], options.splits[1:], strict=True)
    if missing := [split for split, percent in wanted if percent and not chosen[split]]:
        loss = ", and training has no validation loss" if "validation" in missing else ""
        found, given = _pictures(chain.from_iterable(chosen.values()), layout)
        if given == found:
            why = f"all {found} different pictures have the split of an earlier export; give more images"
        else:
            kept = f", and {given} have the split of an earlier export" if given else ""
            splits = f"{as_option('splits')} {'/'.join(map(str, options.splits))}"
            why = f"{found} different pictures are few for {splits}{kept}; give more images or another split"
        yield f"no row is for {' or '.join(missing)}{loss}: {why}"


def _bare_notes(train: Mapping[RowKind, Sequence[TrainingRow]], options: Options) -> Iterator[str]:
    """Whose prompts are the question alone anyway."""
    if options.bare_questions:
        packs = {row.item.run.pack.sha256: row.item.run.pack for rows in train.values() for row in rows}
        for pack in packs.values():
            if pack.answer("?").strip() == "?":
                yield f"the prompts {pack.name} put the question alone: {as_option('bare_questions')} changes nothing there"


def _budget_notes(selection: mix.Selection) -> Iterator[str]:
    """How the ablation differs from the tokens of the full mix, and how it came to them."""
    budget, repeated = selection.budget, selection.repeated
    if budget is not None and abs(selection.tokens - budget) > 0.02 * budget:
        yield f"{selection.tokens} supervised tokens instead of {budget}: with so few rows it comes no nearer"
    if repeated:
        yield (
            f"{repeated} training rows are copies: the answers are too few for the tokens of the full mix, and are gone "
            "through again"
        )


# --- preference pairs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SelectedPairs:
    """The preference pairs of an export."""

    by_split: dict[Split, list[PreferencePair]]
    """In the order in which they are written; a split without pairs is not there."""
    left_out: Counter[str]
    """The students' responses that make no pair, or a pair that is not taken, by reason."""
    other_prompts: bool
    """Whether some student was asked in other words than its teacher."""
    notes: list[str]
    """What a user should know, a line each."""


def select_pairs(runs: ExportedRuns, items: Iterable[Item], options: Options, layout: Layout) -> SelectedPairs:
    """The preference pairs of each split, as many of either kind as is asked for.

    Args:
        runs: The runs, with one student's at least.
        items: The teachers' questions that may be taught.
        options: What is asked for.
        layout: Where pairs go.

    Returns:
        The selected pairs; those of the training split are never empty.

    Raises:
        UserError: There is no pair for training.
    """
    candidates, left_out = pairs.pairs_of(runs.students, items, unanimous=options.filters.unanimous)
    by_split: dict[Split, dict[PairKind, list[PreferencePair]]] = {split: defaultdict(list) for split in SPLITS}
    for pair in sorted(candidates, key=layout.rank):
        by_split[layout.split(pair.item)][pair.kind].append(pair)
    available = {kind: len(by_split["train"][kind]) for kind in PAIR_KINDS}
    if not any(available.values()):
        reasons = left_out.most_common(1)
        raise UserError(
            f": gives no pair for training (of {len(candidates) + left_out.total()} responses; most often: "
            f"{reasons[0][0] if reasons else 'it fell into another split'}); leave it out, or give another run",
            field="preferences",
        )
    shares = pairs.rates(available, even=options.even_preferences)
    selected: dict[Split, list[PreferencePair]] = {}
    for split, by_kind in by_split.items():
        chosen = pairs.take(by_kind, shares)
        if surplus := sum(map(len, by_kind.values())) - len(chosen):
            left_out["more than there are of the other kind"] += surplus
        if chosen:
            selected[split] = sorted(chosen, key=layout.place)
    packs = {run_id: run.manifest.pack_sha256 for run in runs.teachers for run_id in pairs.ids_of(run)}
    return SelectedPairs(
        by_split=selected,
        left_out=left_out,
        other_prompts=any(_asked_in_other_words(run, packs) for run in runs.students),
        notes=[
            *_student_notes(runs.students, packs),
            *_size_notes(candidates),
            *_evenness_notes(available, even=options.even_preferences),
            *_pair_split_notes(selected, options),
        ],
    )


def _asked_in_other_words(student: SavedRun, packs: Mapping[str, str]) -> bool:
    source = student.manifest.source
    return packs[source.run_id if source else ""] != student.manifest.pack_sha256


def _student_notes(students: Iterable[SavedRun], packs: Mapping[str, str]) -> Iterator[str]:
    """What a user should know of each student's run. packs: the hashes of the teachers' prompts, by run id."""
    for run in students:
        yield from run_notes(run, "student")
        if _asked_in_other_words(run, packs):
            yield (
                f"{model_name(run.manifest.subject)} answered in the prompts {run.pack.name} {run.manifest.pack_version}, "
                "its teacher in others: the pairs hold the student's"
            )


def _size_notes(candidates: Iterable[PreferencePair]) -> Iterator[str]:
    """How many images the student saw in other pixels than the teacher."""
    if resized := len({pair.item.pixels for pair in candidates if pair.item.pixels != pair.student.pixels}):
        yield f"{resized} images of pairs hold the teacher's pixels: the student saw them at another size"


def _pair_split_notes(selected: Mapping[Split, Sequence[PreferencePair]], options: Options) -> Iterator[str]:
    """Which splits were to have a share of the pictures, and have no pair."""
    wanted = zip(SPLITS[1:], options.splits[1:], strict=True)
    if missing := [split for split, percent in wanted if percent and split not in selected]:
        found = sum(map(len, selected.values()))
        few = f"{found} pairs are few for {as_option('splits')}"
        yield f"no preference pair is for {' or '.join(missing)}: {few}; give more images"


def _evenness_notes(available: Mapping[PairKind, int], *, even: bool) -> Iterator[str]:
    """What unequal numbers of the two kinds of training pairs do."""
    counts = ", ".join(f"{n} {kind}" for kind, n in available.items())
    few, many = sorted(available, key=lambda kind: available[kind])
    if not available[few]:
        taught = "to decline" if many == "abstain" else "to answer"
        yield (
            f"training pairs are of one kind alone ({counts}): they teach {taught}, whatever is asked; measure both sides"
        )
    elif available[few] < available[many] and even:
        yield (
            f"training pairs found: {counts}; taken 1:1, so {available[many] - available[few]} are left out "
            f"({as_option('uneven_preferences')} takes them)"
        )
    elif available[few] < available[many]:
        yield f"training pairs are uneven: {counts}; measure over-refusal and over-answering before and after"
