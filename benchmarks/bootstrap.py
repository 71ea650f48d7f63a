"""Time and memory of the score's bootstrap: ours against scipy.stats.bootstrap, on the same images, in one process.

    python benchmarks/bootstrap.py [--images 1000] [--resamples 10000] [--questions 6] [--rounds 3]

Ours is the whole of `score` (every count and ratio, and the intervals) and, for what resampling alone takes, its
difference to a score of 1 resample. Scipy's is the percentile interval of the same ratio, vectorised, 500 resamples a block.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from unsaf_async.records import CallRecord, Examination, ImageRecord, Question
from unsaf_async.score.run_score import Score, score
from unsaf_async.score.unf1 import cell

if TYPE_CHECKING:
    from collections.abc import Callable

CALL = CallRecord(role="answer", outcome="ok")


def simulated(images: int, k: int, rng: np.random.Generator) -> list[Examination]:
    """Images with k questions of each label, whose rates of abstention vary from image to image."""
    rates = zip(rng.beta(6, 2, images), rng.beta(1, 7, images), strict=True)
    return [
        Examination(
            image=ImageRecord(id=f"{i:06}", path=""),
            questions=tuple(
                Question(text="?", intended=label, answer=CALL, act="abstained" if rng.random() < rate else "answered")
                for label, rate in (("unanswerable", recall), ("answerable", refusal))
                for _ in range(k)
            ),
        )
        for i, (recall, refusal) in enumerate(rates)
    ]


def ours(examinations: list[Examination], resamples: int) -> Score:
    return score(examinations, questions_per_label=6, accounts=None, provider="", judge="", seed=0, resamples=resamples)


def scipys(pairs: np.ndarray[Any, np.dtype[np.int64]], resamples: int) -> tuple[float, float]:
    result = stats.bootstrap(
        (pairs[:, 0], pairs[:, 1]),
        lambda a, b, axis=-1: a.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=500,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    return (float(result.confidence_interval.low), float(result.confidence_interval.high))


def best_s(rounds: int, run: Callable[[], object]) -> float:
    """Shortest wall time of some rounds, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mb(run: Callable[[], object]) -> float:
    """Most memory allocated at once while running, in MB."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=6, help="questions per label and image")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    examinations = simulated(options.images, options.questions, np.random.default_rng(0))
    cells = [[cell(question) for question in examination.questions] for examination in examinations]
    pairs = np.array([(2 * c.count("tu"), 2 * c.count("tu") + c.count("fu") + c.count("fa")) for c in cells])

    whole_s = best_s(options.rounds, lambda: ours(examinations, options.resamples))
    single_s = best_s(options.rounds, lambda: ours(examinations, 1))
    scipy_s = best_s(options.rounds, lambda: scipys(pairs, options.resamples))
    result = ours(examinations, options.resamples)
    low, high = result.unf1_ci_percentile or (float("nan"), float("nan"))
    scipy_low, scipy_high = scipys(pairs, options.resamples)

    print(f"{options.resamples} resamples of {options.images} images, {len(np.unique(pairs, axis=0))} distinct pairs")
    print(
        f"  score, whole      {whole_s:7.3f} s  {peak_mb(lambda: ours(examinations, options.resamples)):7.1f} MB peak"
    )
    print(f"  bootstrap alone   {whole_s - single_s:7.3f} s                    [{low:.4f}, {high:.4f}]")
    print(
        f"  scipy             {scipy_s:7.3f} s  {peak_mb(lambda: scipys(pairs, options.resamples)):7.1f} MB peak"
        f"   [{scipy_low:.4f}, {scipy_high:.4f}]"
    )
    bootstrap_s = whole_s - single_s
    print(f"  scipy / ours      {scipy_s / whole_s:7.1f} (whole score), {scipy_s / bootstrap_s:.1f} (bootstrap alone)")


if __name__ == "__main__":
    main()
