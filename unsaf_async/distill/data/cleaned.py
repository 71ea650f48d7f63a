"""Which questions are dropped: those that would teach twice, against each other, or what an evaluation asks."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError, naming
from unsaf_async.inputs.datasets import read_labelled
from unsaf_async.inputs.datasets.shared import NOT_FOUND, IncompleteSet, decoded
from unsaf_async.normalize import normal_form
from unsaf_async.score.meaning import near_duplicates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from unsaf_async.distill.data.build_rows import Item

MOST_COMPARED = 1_000
"""Different questions of a cluster that are compared each with each. Of more, near ones are looked for within an image, and only
equal ones across the cluster."""


NGRAM = 8
"""Words in a row that a question may not have in common with an evaluation's. 8-grams are what several language models' data were
cleaned by: Chowdhery et al., PaLM (arXiv 2204.02311), section 8, asks for 70 % of them; here one is enough, since questions are
short."""


def without_contradictions(items: Sequence[Item], cluster_of: Mapping[str, str]) -> tuple[list[Item], int]:
    """The questions without those that are asked of one picture with both labels, in the same or nearly the same words.

    Both sides go: which one is right is not known. Refusing everything is learned from such pairs: Zhu et al., CRaFT
    (arXiv 2410.06913), "static conflict".

    Args:
        items: Questions of any runs.
        cluster_of: The cluster of each picture, by its pixels' sha256.

    Returns:
        (the others in their order, how many are dropped).
    """
    by_cluster: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        by_cluster[cluster_of[item.pixels]].append(place)
    bad: set[int] = set()
    for inside in by_cluster.values():
        if len({items[place].label for place in inside}) > 1:
            bad |= _contradictory(items, inside)
    return [item for place, item in enumerate(items) if place not in bad], len(bad)


def _contradictory(items: Sequence[Item], places: Sequence[int]) -> set[int]:
    texts = {items[place].question.text for place in places}
    if len(texts) <= MOST_COMPARED:
        return _opposed(items, places)
    by_image: dict[str, list[int]] = defaultdict(list)
    by_text: dict[str, list[int]] = defaultdict(list)
    for place in places:
        by_image[items[place].pixels].append(place)
        by_text[normal_form(items[place].question.text)].append(place)
    bad: set[int] = set()
    for group in by_image.values():
        bad |= _opposed(items, group)
    for group in by_text.values():
        if len({items[place].label for place in group}) > 1:
            bad |= set(group)
    return bad


def _opposed(items: Sequence[Item], places: Sequence[int]) -> set[int]:
    asked: dict[str, list[int]] = defaultdict(list)
    for place in places:
        asked[items[place].question.text].append(place)
    texts = list(asked)
    pairs = [(i, i) for i in range(len(texts))] + near_duplicates(texts)
    bad: set[int] = set()
    for i, j in pairs:
        both = {*asked[texts[i]], *asked[texts[j]]}
        if len({items[place].label for place in both}) > 1:
            bad |= both
    return bad


def without_duplicates(items: Iterable[Item]) -> tuple[list[Item], int]:
    """The questions with each once an image, the first one. Two are the same if they differ in form alone.

    Args:
        items: Questions of any runs.

    Returns:
        (the questions in their order, how many are dropped).
    """
    seen: set[tuple[str, str]] = set()
    kept: list[Item] = []
    dropped = 0
    for item in items:
        key = (item.pixels, normal_form(item.question.text) or item.question.text)
        if key in seen:
            dropped += 1
            continue
        seen.add(key)
        kept.append(item)
    return kept, dropped


def capped(items: Sequence[Item], most: int, seed: int) -> tuple[list[Item], int]:
    """The questions with none of one label about more than `most` images.

    Of the student's own answers another `most` may stay.

    Args:
        items: Questions of any runs.
        most: Images that one question may be about, >= 1.
        seed: Decides which stay.

    Returns:
        (the questions in their order, how many are dropped).
    """

    def rank(item: Item) -> bytes:
        return sha256(f"{seed}:{item.run.manifest.run_id}:{item.pixels}:{item.number}".encode()).digest()

    counts: Counter[tuple[str, str, bool]] = Counter()
    kept: set[int] = set()
    for place in sorted(range(len(items)), key=lambda place: rank(items[place])):
        item = items[place]
        key = (normal_form(item.question.text) or item.question.text, item.label, item.replay)
        counts[key] += 1
        if counts[key] <= most:
            kept.add(place)
    return [item for place, item in enumerate(items) if place in kept], len(items) - len(kept)


# --- decontamination --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExcludedQuestion:
    """A question of an evaluation."""

    text: str
    source: str
    """The name of the file or folder that it stands in."""


_LABELLED = (".json", ".jsonl", ".tsv", ".parquet")
"""Files that are no lists of questions as text."""


def read_excluded_questions(paths: Sequence[Path]) -> tuple[list[ExcludedQuestion], int]:
    """The questions of evaluations.

    Args:
        paths: Labelled sets, as `datasets.read_labelled` knows them, and text files (by any other suffix), one question
            a line.

    Returns:
        (the questions, how many more could not be read since their image is not there).

    Raises:
        UserError: A path is neither, or holds no question.
    """
    read: list[ExcludedQuestion] = []
    unread = 0
    for path in paths:
        if path.is_dir() or path.suffix.lower() in _LABELLED:
            texts, missing = _labelled_questions(path)
            unread += missing
        else:
            texts = list(_lines(path))
        if not texts:
            raise UserError(f"{path}: holds no question; give one a line", field="exclude_questions")
        read += (ExcludedQuestion(text, path.name) for text in texts)
    return read, unread


def _labelled_questions(path: Path) -> tuple[list[str], int]:
    with naming("exclude_questions"):
        try:
            labelled = read_labelled(path, partial=True)
        except IncompleteSet as error:
            raise error.with_advice("give its questions as a text file, one a line") from None
    texts = [question.text for image in labelled.images for question in image.questions]
    return texts, labelled.skipped.get(NOT_FOUND, 0)


def _lines(path: Path) -> Iterator[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give a labelled set or a text file", field="exclude_questions"
        ) from None
    with naming("exclude_questions"):
        text = decoded(data.removeprefix(b"\xef\xbb\xbf"), str(path))
    return (line.strip() for line in text.split("\n") if line.strip())


def marks(text: str) -> set[tuple[str, ...]]:
    """The word sequences by which a question is recognised.

    Args:
        text: The question.

    Returns:
        All its runs of `NGRAM` words in normal form, or, of a shorter one, the whole of it; never empty.
    """
    words = normal_form(text).split() or [text]
    return {tuple(words[start : start + NGRAM]) for start in range(max(1, len(words) - NGRAM + 1))}


def question_hits(items: Iterable[Item], excluded: Sequence[ExcludedQuestion]) -> list[tuple[Item, ExcludedQuestion]]:
    """The questions that have a mark in common with an evaluation's.

    It goes by words alone: a paraphrase is missed, and the same question about any other image is a hit.

    Args:
        items: Questions of any runs.
        excluded: The evaluations' questions.

    Returns:
        Each hit with the first such evaluation question, in the order of `items`.
    """
    known: dict[tuple[str, ...], int] = {}
    for place, question in enumerate(excluded):
        for mark in marks(question.text):
            known.setdefault(mark, place)
    hits = []
    for item in items:
        places = [known[mark] for mark in marks(item.question.text) if mark in known]
        if places:
            hits.append((item, excluded[min(places)]))
    return hits
