"""Do the figures of `cross`'s item-response fit hold? Planted abilities and difficulties, small crosses, many replications.

python benchmarks/item_response.py [--replications 400]

Every model answers every model's questions. Difficulties are normal about the asker's mean, with a part that the questions of an
image share. `reading`: the standard deviation, in logits, of how well a model reads an image, which makes its responses to one
image alike; the truth is then the fit to 4,000 images.
"""

from __future__ import annotations

import argparse
from itertools import combinations, product
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from unsaf_async.compare.cross_rasch import at_equal_difficulty, splits
from unsaf_async.compare.cross_responses import Responses
from unsaf_async.records import CallRecord, Question
from unsaf_async.score import rasch

if TYPE_CHECKING:
    from collections.abc import Sequence

ABILITIES = np.array([-0.8, -0.3, 0.0, 0.3, 0.8])
EQUAL = np.array([0.5, 0.5, -0.5, 0.0, -0.5])
"""The first two models are equally able."""
HARDNESS = np.array([1.0, -1.0, 0.0, 0.0, 0.0])
"""Mean difficulty of each model's own questions."""
A_KIND = 2
"""Questions of each label that a model asks of an image."""
QUESTIONS = [
    Question(text="?", intended=label, answer=CallRecord(role="answer", outcome="ok"))
    for label in ("answerable", "unanswerable")
]


def crossed(abilities: np.ndarray, images: int, seed: int, *, reading: float = 0.0, timid: float = 0.0) -> Responses:
    """A cross-examination by the Rasch model.

    Args:
        abilities: [models], in logits.
        images: How many.
        seed: Of the chance.
        reading: Standard deviation of what a model and an image have to do with each other, in logits.
        timid: Standard deviation of how readily a model declines, in logits: right on one label, wrong on the other.

    Returns:
        Who got which question right.
    """
    rng = np.random.default_rng(seed)
    models = len(abilities)
    image, asker, label = (
        each.ravel() for each in np.meshgrid(range(images), range(models), np.repeat([0, 1], A_KIND), indexing="ij")
    )
    hard = HARDNESS[asker] + rng.normal(0, 0.7, images)[image] + rng.normal(0, 1, len(image))
    logits = abilities - hard[:, None] + rng.normal(0, reading, (images, models))[image]
    logits += np.where(label[:, None], 1, -1) * (timid * np.linspace(-1, 1, models))
    names = [f"m{place}" for place in range(models)]
    return Responses(
        models=names,
        askers=names,
        right=(rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int8),
        asker=asker,
        picture=image,
        questions=[(str(each), QUESTIONS[which]) for each, which in zip(image, label, strict=True)],
    )


def fitted(given: Responses) -> rasch.RaschFit:
    """The fit; none may be missing here.

    Args:
        given: Who got which question right.

    Returns:
        The fit.

    Raises:
        ValueError: There is none.
    """
    found = rasch.fit(given.right, given.picture)
    if isinstance(found, str):
        raise ValueError(found)
    return found


def _held(ci: tuple[float, float] | None, truth: float) -> bool:
    return ci is not None and bool(ci[0] <= truth <= ci[1])


def _mean(values: Sequence[float]) -> str:
    return f"{mean(values):.3f}" if values else "n/a"


def coverage(replications: int) -> None:
    """Prints how often the intervals of abilities and of their differences hold."""
    print("| images | reading | abilities | width | of two models | width |\n|" + " --- |" * 6)
    far = fitted(crossed(ABILITIES, 4_000, 999, reading=0.7)).abilities
    for images, (reading, truth) in product((8, 12, 20, 40), ((0.0, ABILITIES), (0.7, far))):
        figures: dict[int, list[tuple[bool, float]]] = {1: [], 2: []}
        for seed in range(replications):
            found = fitted(crossed(ABILITIES, images, seed, reading=reading))
            contrasts = [np.eye(len(truth))[model] for model in range(len(truth))]
            contrasts += [one - other for one, other in combinations(contrasts, 2)]
            for contrast in contrasts:
                ci = rasch.interval_of(float(found.abilities @ contrast), found.influence @ contrast)
                if ci is not None:
                    held = _held(ci, float(truth @ contrast))
                    figures[int(np.count_nonzero(contrast))].append((held, ci[1] - ci[0]))
        of_each = (_mean(column) for figure in figures.values() for column in zip(*figure, strict=True))
        print(f"| {images} | {reading:g} | " + " | ".join(of_each) + " |", flush=True)


def false_alarms(replications: int) -> None:
    """Prints how often a difference of two equal models is found, one of which asks far harder questions."""
    print("\n| images | all questions | own questions | own share right | whose are easier |\n|" + " --- |" * 5)
    for images in (8, 12, 20, 40):
        shown: dict[str, list[bool]] = {name: [] for name in ("all_questions", "own_questions", "own_share", "easier")}
        for seed in range(replications):
            given = crossed(EQUAL, images, seed)
            pair = at_equal_difficulty(given, fitted(given), 0, 1)
            for name, found in shown.items():
                found.append(not _held(getattr(pair, f"{name}_ci"), 0))
        print(f"| {images} | " + " | ".join(map(_mean, shown.values())) + " |", flush=True)


def violations(replications: int) -> None:
    """Prints how often p of a split is at most .05: where the model holds, with readings, and with timid models."""
    print("\n| images | reading | timid | by label | by difficulty | by asker |\n|" + " --- |" * 6)
    for images, (reading, timid) in product((20, 40, 80), ((0.0, 0.0), (0.7, 0.0), (0.0, 0.5))):
        ps: dict[str, list[bool]] = {"label": [], "difficulty": [], "asker": []}
        for seed in range(replications):
            given = crossed(ABILITIES, images, seed, reading=reading, timid=timid)
            for split in splits(given, fitted(given)):
                if split.p is not None:
                    ps[split.by].append(split.p <= 0.05)
        print(f"| {images} | {reading:g} | {timid:g} | " + " | ".join(map(_mean, ps.values())) + " |", flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--replications", type=int, default=400)
    replications = parser.parse_args().replications
    coverage(replications)
    false_alarms(replications)
    violations(replications)


if __name__ == "__main__":
    main()
