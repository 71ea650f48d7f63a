"""Which questions of a run are to be labelled by hand, and in which order: a stratified random sample that can be gone on with.

Every scored question has a random number of its own, made of the run's seed, its picture and its text (a permanent random number:
Ohlsson, "Coordination of samples using permanent random numbers", in Business Survey Methods (1995), chapter 9). The strata are
the four cells of intended label and act. In each, questions are labelled in the order of these numbers, so that those labelled up
to any point are a random sample of the cell, whoever stops when, whatever images come later, and whatever a judge says anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from unsaf_async.score.unf1 import Cell, cell
from unsaf_async.score.units import picture_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unsaf_async.records import Examination, ImageRecord

CELLS: tuple[Cell, ...] = ("ta", "fu", "fa", "tu")
"""The strata: answerable and unanswerable questions by intention, each answered and abstained."""

LEAST_SHARE = 0.05
"""Of the labels that every cell with questions gets at least, however few they are; the others get labels by their size."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A question of the sample: its image's id, its place among the image's questions (from 0), its key, and its cell."""

    image: str
    place: int
    key: str
    cell: Cell


def question_key(image: ImageRecord, question: str) -> str:
    """What a question of a picture is known by, in any file of labels: no other picture or wording shares it.

    Args:
        image: The image.
        question: The question's text, as it was asked.

    Returns:
        32 hexadecimal digits.
    """
    named = f"{picture_name(image)}\n{question}"
    return blake2b(named.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def random_number(key: str, seed: int) -> int:
    """The random number of a question.

    Args:
        key: The question's.
        seed: The run's.

    Returns:
        Uniform on [0, 2^64).
    """
    return int.from_bytes(blake2b(f"{seed} {key}".encode(), digest_size=8).digest())


def label_order(examinations: Iterable[Examination], seed: int) -> list[Sampled]:
    """All scored questions of a run in the order in which they are to be labelled.

    Each cell's questions are in random order, and the cells take turns, so that after any number of labels each has its share.

    Args:
        examinations: One an image, in any order.
        seed: The run's.

    Returns:
        The order; [] without scored questions.
    """
    by_cell: dict[Cell, list[tuple[int, Sampled]]] = {name: [] for name in CELLS}
    for examination in examinations:
        for place, question in enumerate(examination.questions):
            where = cell(question)
            if where is not None:
                key = question_key(examination.image, question.text)
                by_cell[where].append((random_number(key, seed), Sampled(examination.image.id, place, key, where)))
    ordered = [
        [each for _, each in sorted(drawn, key=lambda pair: (pair[0], pair[1].image, pair[1].place))]
        for drawn in by_cell.values()
        if drawn
    ]
    return list(_in_turn(ordered))


def _in_turn(cells: list[list[Sampled]]) -> Iterator[Sampled]:
    """The questions of all cells, always of the one that is farthest behind its share."""
    total = sum(map(len, cells))
    shares = [max(len(each) / total, LEAST_SHARE) for each in cells]
    shares = [share / sum(shares) for share in shares]
    taken = [0] * len(cells)
    for number in range(total):
        behind = [
            share * (number + 1) - done if done < len(each) else float("-inf")
            for share, done, each in zip(shares, taken, cells, strict=True)
        ]
        first = behind.index(max(behind))
        yield cells[first][taken[first]]
        taken[first] += 1
