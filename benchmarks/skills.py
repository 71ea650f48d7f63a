"""Do the intervals of the two skills of `cross` hold? Two planted models, 2 x 2 cells of few images, 200 matrices a row.

python benchmarks/skills.py
"""

from __future__ import annotations

from itertools import product
from statistics import mean

import numpy as np

from unsaf_async.compare.cross_matrix import matrix
from unsaf_async.records import CallRecord, Examination, ImageRecord, Question

ASKING = {"a": 0.1, "b": -0.1}
ANSWERING = {"a": -0.05, "b": 0.05}
K = 3
MATRICES = 200
CALL = CallRecord(role="answer", outcome="ok")


def cells(average: float, images: int, seed: int) -> dict[tuple[str, str], list[Examination]]:
    """Cells whose UnF1 is the average with both effects, but for chance: nothing answerable is declined.

    Args:
        average: Of the cells' UnF1.
        images: How many all cells share.
        seed: Of the chance.

    Returns:
        The examinations by (asker, answerer).
    """
    rng = np.random.default_rng(seed)
    found = {}
    for (asker, ask), (answerer, answer) in product(ASKING.items(), ANSWERING.items()):
        unf1 = average + ask + answer
        declined = rng.binomial(K, unf1 / (2 - unf1), images)
        found[asker, answerer] = [_examination(str(image), int(count)) for image, count in enumerate(declined)]
    return found


def _examination(name: str, declined: int) -> Examination:
    answered = Question(text="?", intended="answerable", answer=CALL, act="answered")
    unanswerable = [
        Question(text="?", intended="unanswerable", answer=CALL, act="abstained" if number < declined else "answered")
        for number in range(K)
    ]
    return Examination(image=ImageRecord(id=name, path=name), questions=(*[answered] * K, *unanswerable))


def main() -> None:
    """Prints the table."""
    print("| mean UnF1 | images | coverage | mean width |\n| --- | --- | --- | --- |")
    for average, images in product((0.5, 0.7, 0.85), (5, 8, 12, 20)):
        held, widths = [], []
        for seed in range(MATRICES):
            fit = matrix(cells(average, images, seed)).fit
            for ci, truth in ((fit.asking[0].ci, 0.1), (fit.answering[0].ci, -0.05), (fit.own_advantage_ci, 0.0)):
                held.append(ci is not None and ci[0] <= truth <= ci[1])
                widths += [ci[1] - ci[0]] if ci is not None else []
        print(f"| {average:g} | {images} | {mean(held):.3f} | {mean(widths):.3f} |", flush=True)


if __name__ == "__main__":
    main()
