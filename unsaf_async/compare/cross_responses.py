"""Who got which question right, in a cross-examination: the single responses, by the labels of the cells.

Right is answering what was written as answerable, and declining what was written as unanswerable. A response that is in none of
the four types is missing, not wrong.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.score import rasch
from unsaf_async.score.unf1 import cell
from unsaf_async.score.units import Units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unsaf_async.records import Examination, Question


@dataclass(frozen=True)
class Responses:
    """Who got which question right.

    models: who answers. askers: who asks. right: [questions, models], as `rasch.fit` takes it. asker: [questions], its place
    in `askers`. picture: [questions]. questions: (image's id, question) each, as its asker's cell has it.
    """

    models: list[str]
    askers: list[str]
    right: NDArray[np.int8]
    asker: NDArray[np.int64]
    picture: NDArray[np.int64]
    questions: list[tuple[str, Question]]

    @cached_property
    def scored(self) -> NDArray[np.bool_]:
        """[questions, models]."""
        return np.asarray(self.right != rasch.MISSING)

    @cached_property
    def column(self) -> NDArray[np.int64]:
        """[questions]: the place in `models` of who wrote it; -1 for nobody of them."""
        places = {name: place for place, name in enumerate(self.models)}
        return np.array([places.get(name, -1) for name in self.askers], dtype=np.int64)[self.asker]


def responses(cells: Sequence[tuple[str, str]], rows: Sequence[Sequence[Examination]]) -> Responses:
    """Who got which question right, by the labels of the cells.

    Args:
        cells: (asker, answerer) of each column of `rows`.
        rows: [images][cells]: the examinations of each image.

    Returns:
        A row a question. A question that is asked twice of an image is two; one without any response that counts is left out.
    """
    askers = list(dict.fromkeys(asker for asker, _ in cells))
    models = sorted({answerer for _, answerer in cells}, key=[*askers, *(name for _, name in cells)].index)
    numbers = Units.of(row[0].image for row in rows).numbers.tolist()
    found: list[list[int]] = []
    about: list[tuple[int, int, tuple[str, Question]]] = []
    for number, row in zip(numbers, rows, strict=True):
        places: dict[tuple[str, str, str, int], int] = {}
        for (asker, answerer), examination in zip(cells, row, strict=True):
            seen: Counter[tuple[str, str]] = Counter()
            for question in examination.questions:
                key = (question.text, question.intended)
                seen[key] += 1
                place = places.setdefault((asker, *key, seen[key]), len(found))
                if place == len(found):
                    found.append([rasch.MISSING] * len(models))
                    about.append((askers.index(asker), number, (row[0].image.id, question)))
                if (which := cell(question)) is not None:
                    found[place][models.index(answerer)] = int(which in ("ta", "tu"))
    right = np.array(found, dtype=np.int8).reshape(len(found), len(models))
    used = np.flatnonzero((right != rasch.MISSING).any(axis=1))
    return Responses(
        models=models,
        askers=askers,
        right=right[used],
        asker=np.array([about[place][0] for place in used], dtype=np.int64),
        picture=np.array([about[place][1] for place in used], dtype=np.int64),
        questions=[about[place][2] for place in used],
    )
