"""Which figures follow awareness, and which the mere readiness to decline? Ladders of planted awareness at fixed perception.

    python benchmarks/awareness.py [--model DIR] [--scenes 100] [--seeds 3] [--keep FOLDER] [--out docs/validity/awareness.json]

One tiny model is steered (`steered.py`): what it sees, asks and answers stays its own, and only whether it declines is changed.

- awareness: noise takes the place of a part of what its margin for declining knows. A level is the share that is left of the
  model's own Youden's J by the oracle; the share of questions that are declined is held.
- criterion: the margin is moved by a constant, so that more or less is declined. It knows as much as before.
- criterion at half: the same where half of the awareness is left.

Signal and constant of each level are worked out on other scenes. Each level is measured by the engine's own `run` in several
seeds, each with scenes, questions and noise of its own; all levels of a seed share scenes and questions. Then every figure's mean
over the seeds is laid on the planted level by least squares: levels are the unit, and the interval is Student's t of two fewer.
How often that interval misses is measured on ladders without effect. Writes --out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from by_oracle import (
    TRUSTED,
    asked,
    audited,
    confidence,
    corrected,
    detection,
    measured,
    propensity,
    relabelled,
    scored,
    true_label,
)
from controls import rows as markdown
from steered import Branches, Steering, steered
from validity import PACK, SAMPLES

from unsaf_async.records import CONTROL_KINDS
from unsaf_async.score.distributions import t_quantile
from unsaf_async.score.metrics import auroc
from unsaf_async.score.rank_correlation import rank_correlation
from unsaf_async.tiny.folders import SHIPPED
from unsaf_async.world.make import make

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from unsaf_async.records import Examination

LEVELS = tuple(np.linspace(0, 1, 9).tolist())
"""Shares of the model's own Youden's J."""

RATES = tuple(np.linspace(0.15, 0.85, 8).tolist())
"""Shares of questions that are declined."""

CRITERIA = ("criterion", "criterion at half")
"""The ladders that move only the criterion."""

NEEDS = {
    "d_prime": "all true labels",
    "margin_auroc": "all true labels, the margin",
    "oracle_f1": "all true labels",
    "unf1": "no label",
    "audited_unf1": "an auditor without errors",
    "corrected_unf1": f"{TRUSTED} true labels",
    "blank_j": "no label",
    "other_j": "no label",
    "ece": "a labelled set",
    "token_confidence": "no label",
    "token_confidence_oracle": "all true labels",
    "semantic_entropy": "no label",
    "semantic_entropy_oracle": "all true labels",
    "declining_token": "no label",
    "declining_draws": "no label",
}
"""Every figure, and what it takes beside the model. The AUROCs without labels take the instruction as the label."""

WORDS = {
    "d_prime": "d' of declining, by the oracle",
    "margin_auroc": "AUROC of the margin, by the oracle",
    "oracle_f1": "oracle F1",
    "unf1": "UnF1",
    "audited_unf1": "audited UnF1",
    "corrected_unf1": "corrected UnF1",
    "blank_j": "J of controls, blank",
    "other_j": "J of controls, other",
    "ece": "ECE",
    "token_confidence": "AUROC of token confidence",
    "token_confidence_oracle": "the same by the oracle",
    "semantic_entropy": "AUROC of semantic entropy",
    "semantic_entropy_oracle": "the same by the oracle",
    "declining_token": "AUROC of declining, token probability",
    "declining_draws": "AUROC of declining, draws",
}

# --- planting -----------------------------------------------------------------------------------------------------------


def margins(examinations: Sequence[Examination], branches: Branches) -> NDArray[np.float64]:
    """[questions, 4]: image, the model's own margin, and whether it has no answer: in truth, and by intention."""
    return np.array(
        [
            (
                image,
                branches.margins[examination.image.pixels_sha256 or "", PACK.answer(question.text)],
                true == "unanswerable",
                question.intended == "unanswerable",
            )
            for image, examination, question, true in asked(examinations)
        ]
    )


def between(low: float, high: float, rises: Callable[[float], float], to: float) -> float:
    """Where a rising function reaches `to`, by bisection."""
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < to else (low, middle)
    return (low + high) / 2


def planted(table: NDArray[np.float64], signal: float, rate: float, key: str) -> Steering:
    """The steering of margins like those of `table` that keeps so much signal and declines such a share."""
    own = table[:, 1]
    mean, spread = float(own.mean()), float(own.std())
    if signal == 1 and rate == (own > 0).mean():
        return Steering(key=key)
    reach = 20 * spread + abs(mean)
    bias = between(-reach, reach, lambda b: float(Steering(signal, b, mean, spread).declining(own).mean()), rate)
    return Steering(signal, bias, mean, spread, key)


def youden(table: NDArray[np.float64], steering: Steering) -> float:
    """The expected Youden's J of declining by the truth."""
    declined, unanswerable = steering.declining(table[:, 1]), table[:, 2] == 1
    return float(declined[unanswerable].mean() - declined[~unanswerable].mean())


def awareness_ladder(table: NDArray[np.float64], levels: Sequence[float]) -> dict[float, Steering]:
    """A steering for each share of the model's own Youden's J, all of which decline equally often."""
    rate = float((table[:, 1] > 0).mean())

    def at(signal: float) -> Steering:
        return planted(table, signal, rate, f"awareness {signal:.6f}")

    whole = youden(table, at(1.0))
    return {
        level: at(1.0 if level == 1 else between(0, 1, lambda signal: youden(table, at(signal)), level * whole))
        for level in levels
    }


def criterion_ladder(table: NDArray[np.float64], rates: Sequence[float], signal: float = 1.0) -> dict[float, Steering]:
    """A steering for each share of questions that are declined, all of which know as much."""
    return {rate: planted(table, signal, rate, "" if signal == 1 else f"criterion {rate:.6f}") for rate in rates}


# --- measuring ----------------------------------------------------------------------------------------------------------


def figures(
    folder: Path, branches: Branches, steering: Steering, world: Path, seed: int, samples: int
) -> dict[str, float | None]:
    """All figures of one steered model on the scenes in `world`."""
    with TemporaryDirectory() as name, steered(branches, steering):
        images = [world / "manifest.jsonl"]
        examinations, found = measured(
            folder,
            Path(name) / "own",
            images=images,
            seed=seed,
            samples=samples,
            controls=CONTROL_KINDS,
            controls_per_image=3,
        )
        _, of_set = measured(folder, Path(name) / "labelled", data=world / "labelled.jsonl")
    acts = [(question.act == "abstained", true == "unanswerable") for _, _, question, true in asked(examinations)]
    declined, unanswerable = np.array(acts).T
    d_prime, criterion = detection(declined, unanswerable)
    signs = confidence(examinations, found)
    moved = [
        steering.margin(branches.margins[where], *where)
        for _, examination, question, _ in asked(examinations)
        for where in [(examination.image.pixels_sha256 or "", PACK.answer(question.text))]
    ]
    assert of_set.labelled is not None
    questions = [question for examination in examinations for question in examination.questions]
    return {
        "declined": float(declined.mean()),
        "unscored": sum(question.unscored is not None for question in questions) / len(questions),
        "criterion": criterion,
        "d_prime": d_prime,
        "margin_auroc": auroc(moved, unanswerable),
        "oracle_f1": scored(relabelled(examinations, true_label))["f1"],
        "unf1": found.unf1,
        "audited_unf1": scored(relabelled(examinations, audited))["f1"],
        "corrected_unf1": corrected(examinations, seed).unf1,
        "blank_j": found.controls["blank"].youden,
        "other_j": found.controls["other"].youden,
        "ece": of_set.labelled.calibration["token_probability"].ece,
        "token_confidence": signs["mean_logprob"]["intended"],
        "token_confidence_oracle": signs["mean_logprob"]["oracle"],
        "semantic_entropy": signs["semantic_entropy"]["intended"],
        "semantic_entropy_oracle": signs["semantic_entropy"]["oracle"],
        "declining_token": propensity(examinations, "token_probability"),
        "declining_draws": propensity(examinations, "draws"),
    }


# --- slopes -------------------------------------------------------------------------------------------------------------


def slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """The slope of y on x by least squares and its 95 % interval, each point a unit: Student's t of two fewer."""
    off = x - x.mean()
    value = float(off @ y / (off @ off))
    left = y - y.mean() - value * off
    reach = t_quantile(len(x) - 2, 0.975) * float(np.sqrt(left @ left / (len(x) - 2) / (off @ off)))
    return value, value - reach, value + reach


def slopes(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """By figure, what awareness does to it, and what the criterion does. rows: one a level and seed, by ladder."""

    def table(ladder: str, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        levels = sorted({row["level"] for row in rows[ladder]})
        values = [[row[name] for row in rows[ladder] if row["level"] == level] for level in levels]
        return np.array(levels), np.array(values, dtype=float)

    results: dict[str, Any] = {}
    for name in NEEDS:
        levels, values = table("awareness", name)
        if np.isnan(values).any():
            results[name] = {"undefined": f"{int(np.isnan(values).sum())} of {values.size} runs have none"}
            continue
        mean = values.mean(axis=1)
        value, low, high = slope(levels, mean)
        seeds = values.shape[1]
        scatter = float(np.sqrt(values.var(axis=1, ddof=1).mean())) if seeds > 1 else None
        spans = {ladder: float(np.ptp(table(ladder, name)[1].mean(axis=1))) for ladder in CRITERIA}
        results[name] = {
            "slope": value,
            "slope_ci": [low, high],
            "steps": len(levels) - 1,
            "steps_of_means": int((np.sign(value) * np.diff(mean) > 0).sum()),
            "steps_of_runs": int((np.sign(value) * np.diff(values, axis=0) > 0).sum()),
            "runs": seeds,
            "scatter": scatter,
            "ranges": {ladder: None if np.isnan(span) else span for ladder, span in spans.items()},
        }
    return results


def without_effect(
    table: NDArray[np.float64], ladder: Mapping[float, Steering], seeds: int, replications: int
) -> dict[str, Any]:
    """How often a slope's interval excludes 0 where all levels are the middle one, and how often it holds the mean slope.

    Scenes are drawn with replacement in each seed, and shared by its levels; the noise is drawn anew for each. Beside it: how
    often the interval of Spearman's rho (Bonett and Wright, 2000) of the same points excludes 0; none counts as one that does.
    """
    rng = np.random.default_rng(0)
    image, own, true, intended = table[:, 0].astype(int), table[:, 1], table[:, 2] == 1, table[:, 3] == 1
    levels = np.array(list(ladder))
    middle = list(ladder.values())[len(ladder) // 2]

    def f1(declined: NDArray[np.bool_], label: NDArray[np.bool_], weight: NDArray[np.float64]) -> NDArray[np.float64]:
        both = declined @ (weight * label)
        return np.asarray(2 * both / (declined @ weight + weight @ label))

    def draw(steerings: Sequence[Steering]) -> dict[str, NDArray[np.float64]]:
        centre = np.array([steering.centre(own) for steering in steerings])
        noise = np.array([[steering.noise] for steering in steerings])
        sums = {name: np.zeros(len(levels)) for name in ("unf1", "oracle_f1", "audited_unf1")}
        for _ in range(seeds):
            weight = np.bincount(rng.integers(0, image.max() + 1, image.max() + 1), minlength=image.max() + 1)[image]
            declined = centre + noise * rng.standard_normal(centre.shape) > 0
            sums["unf1"] += f1(declined, intended, weight)
            sums["oracle_f1"] += f1(declined, true, weight)
            sums["audited_unf1"] += f1(declined, true, weight * (true == intended))
        return {name: total / seeds for name, total in sums.items()}

    results: dict[str, Any] = {"replications": replications, "seeds": seeds, "levels": len(levels)}
    null = [draw([middle] * len(levels)) for _ in range(replications)]
    real = [draw(list(ladder.values())) for _ in range(replications)]
    for name in null[0]:
        found = np.array([slope(levels, each[name]) for each in null])
        planted_slopes = np.array([slope(levels, each[name]) for each in real])
        ranks = [rank_correlation(levels, each[name], "spearman").ci for each in null]
        mean = planted_slopes[:, 0].mean()
        results[name] = {
            "type_1": float(((found[:, 1] > 0) | (found[:, 2] < 0)).mean()),
            "type_1_ranks": float(np.mean([ends is None or ends[0] > 0 or ends[1] < 0 for ends in ranks])),
            "coverage": float(((planted_slopes[:, 1] <= mean) & (mean <= planted_slopes[:, 2])).mean()),
        }
    return results


# --- as tables ----------------------------------------------------------------------------------------------------------


def _told(value: float | None, form: str = ".3f") -> str:
    return "n/a" if value is None or np.isnan(value) else f"{value:z{form}}"


def ladder_table(rows: Sequence[dict[str, Any]], level: str) -> str:
    """The mean over the seeds of every figure, a row each level."""
    names = ["declined", *NEEDS]
    lines = []
    for each in sorted({row["level"] for row in rows}):
        of = [row for row in rows if row["level"] == each]
        means = [None if any(row[name] is None for row in of) else np.mean([row[name] for row in of]) for name in names]
        lines.append([f"{each:.3f}", *(_told(mean) for mean in means)])
    return markdown([level, *(WORDS.get(name, name) for name in names)], lines)


def slope_table(found: Mapping[str, dict[str, Any]]) -> str:
    """What awareness and criterion do to every figure."""
    lines = []
    for name, one in found.items():
        if "undefined" in one:
            lines.append([WORDS[name], NEEDS[name], one["undefined"], *["n/a"] * 5])
            continue
        low, high = one["slope_ci"]
        scatters = None if not one["scatter"] else abs(one["slope"]) / one["scatter"]
        lines.append(
            [
                WORDS[name],
                NEEDS[name],
                f"{one['slope']:+.3f} [{low:+.3f}, {high:+.3f}]",
                f"{one['steps_of_means']} of {one['steps']}",
                f"{one['steps_of_runs']} of {one['steps'] * one['runs']}",
                _told(scatters, ".0f"),
                *(
                    _told(None if span is None or not one["slope"] else span / abs(one["slope"]), ".2f")
                    for span in one["ranges"].values()
                ),
            ]
        )
    head = ["figure", "it takes", "slope on awareness", "steps of the means in order", "of single runs",
            "slope / scatter of a run", "range over the criterion / slope", "the same at half awareness"]  # fmt: skip
    return markdown(head, lines)


def error_table(found: Mapping[str, Any]) -> str:
    """How often intervals of slopes miss."""
    lines = [
        [WORDS[name], *(f"{found[name][column]:.3f}" for column in ("type_1", "coverage", "type_1_ranks"))]
        for name in ("unf1", "oracle_f1", "audited_unf1")
    ]
    return markdown(
        ["figure", "type I error of the slope", "coverage of the slope", "type I error of the ranks"], lines
    )


# --- the study ----------------------------------------------------------------------------------------------------------


def kept(file: Path | None, make_it: Callable[[], dict[str, float | None]]) -> dict[str, float | None]:
    """Figures, from `file` if they are there."""
    if file is None or not file.exists():
        found = make_it()
        if file is not None:
            file.write_text(json.dumps(found), "utf-8")
        return found
    read: dict[str, float | None] = json.loads(file.read_text("utf-8"))
    return read


def study(given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """The ladders, measured."""
    branches = Branches(given.model)
    try:
        make(work / "planting", given.scenes, "test", seed=900)
        with steered(branches, Steering()):
            examinations, _ = measured(
                given.model, work / "own", images=[work / "planting" / "manifest.jsonl"], seed=900
            )
        table = margins(examinations, branches)
    finally:
        asyncio.run(branches.aclose())
    by_awareness = awareness_ladder(table, given.levels)
    ladders = {
        "awareness": by_awareness,
        "criterion": criterion_ladder(table, given.rates),
        "criterion at half": criterion_ladder(table, given.rates, by_awareness[0.5].signal),
    }
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ladders}
    for seed in range(given.seeds):
        branches, world = Branches(given.model), work / f"world-{seed}"
        make(world, given.scenes, "test", seed=500 + seed)
        try:
            for name, ladder in ladders.items():
                for level, steering in ladder.items():
                    file = given.keep / f"{name}-{level:.3f}-{seed}.json" if given.keep else None

                    def run(
                        branches: Branches = branches,
                        steering: Steering = steering,
                        world: Path = world,
                        seed: int = seed,
                    ) -> dict[str, float | None]:
                        return figures(given.model, branches, steering, world, seed, given.samples)

                    row = {"level": level, "seed": seed, **kept(file, run)}
                    rows[name].append(row)
                    print(name, f"{level:.3f}", seed, f"{row['unf1']:.3f} {row['oracle_f1']:.3f}", flush=True)
        finally:
            asyncio.run(branches.aclose())
    return {
        "model": given.model.name,
        "scenes": given.scenes,
        "seeds": given.seeds,
        "samples": given.samples,
        "own_youden": youden(table, Steering()),
        "steering": {
            name: [
                {"level": level, "signal": each.signal, "bias": each.bias, "youden": youden(table, each)}
                for level, each in ladder.items()
            ]
            for name, ladder in ladders.items()
        },
        "rows": rows,
        "slopes": slopes(rows),
        "without_effect": without_effect(table, ladders["awareness"], given.seeds, given.replications),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED / "tiny-m")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--replications", type=int, default=4000)
    parser.add_argument(
        "--keep", type=Path, help="keep each run's figures in this folder, and take those that are there"
    )
    parser.add_argument("--quick", action="store_true", help="a few scenes and levels, to see that it works")
    parser.add_argument("--out", type=Path, default=Path("docs/validity/awareness.json"))
    given = parser.parse_args(arguments)
    given.levels, given.rates = LEVELS, RATES
    if given.quick:
        given.scenes, given.seeds, given.samples, given.replications = 3, 1, 0, 5
        given.levels, given.rates = (0.0, 0.5, 1.0), (0.2, 0.8)
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name:
        found = study(given, Path(name))
    given.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(slope_table(found["slopes"]))
    print(error_table(found["without_effect"]))


if __name__ == "__main__":
    main()
