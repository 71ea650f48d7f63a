"""What does size do to each figure? Slopes over the ladder of sizes, beside those over planted awareness.

    python benchmarks/ladder.py [--results FILE] [--charts FILE] [--out docs/validity/ladder.json]

Nothing is measured here: the figures are those that `validity.py` and `awareness.py` stored. Each figure is laid on log10 of the
number of parameters. The size is the unit: the models of one size, which differ by their training seed, are averaged first, and
the interval of the slope is Student's t of two fewer than there are sizes. With as many seeds for each size that is also what a
mixed model with the size as a random effect gives for the slope. How often that interval excludes 0 where size does nothing is
simulated, beside intervals that take every model as a unit.

Which way a figure should go is what planted awareness did to it, so a step of sizes is in order if it goes that way.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from awareness import NEEDS, WORDS, slope
from controls import rows as markdown
from scipy.stats import rankdata

from unsaf_async.score.distributions import t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

Study = dict[str, Any]

VALUE: dict[str, Callable[[Study], float | None]] = {
    "oracle_f1": lambda one: one["oracle"]["f1"],
    "unf1": lambda one: one["unf1"]["f1"],
    "audited_unf1": lambda one: one["audited"]["f1"],
    "corrected_unf1": lambda one: one["corrected"]["f1"],
    "blank_j": lambda one: one["controls"]["blank"]["youden"],
    "other_j": lambda one: one["controls"]["other"]["youden"],
    "ece": lambda one: one["labelled"]["token_probability"]["ece"],
    "token_confidence": lambda one: one["confidence_auroc"]["mean_logprob"]["intended"],
    "token_confidence_oracle": lambda one: one["confidence_auroc"]["mean_logprob"]["oracle"],
    "semantic_entropy": lambda one: one["confidence_auroc"]["semantic_entropy"]["intended"],
    "semantic_entropy_oracle": lambda one: one["confidence_auroc"]["semantic_entropy"]["oracle"],
    "declining_token": lambda one: one["declining_auroc"]["token_probability"],
    "declining_draws": lambda one: one["declining_auroc"]["draws"],
}
"""A figure of one model's study."""

REPLICATIONS = 20_000

SHARES = (0.0, 0.5, 1.0)
"""Of the scatter between models of one size, what sizes may differ by on top of it, in the simulation."""


def value(name: str, one: Study) -> float | None:
    """A figure, None where this study does not have it."""
    try:
        return VALUE[name](one)
    except KeyError:
        return None


def by_size(name: str, studies: Sequence[Study]) -> dict[int, list[float]]:
    """The figure of each model that has it, by size."""
    found: dict[int, list[float]] = defaultdict(list)
    for one in sorted(studies, key=lambda each: (each["parameters"], each["training_seed"])):
        figure = value(name, one)
        if figure is not None:
            found[one["parameters"]].append(figure)
    return dict(found)


def flat(figures: Mapping[int, list[float]]) -> list[float]:
    """The figures of all models, by size and seed."""
    return [each for group in figures.values() for each in group]


def pairs_in_order(figures: Sequence[float], true: Sequence[float], sign: float) -> tuple[int, int]:
    """Of all pairs, how many the figure orders as the truth does, where it should go the way of `sign`; and all pairs."""
    both = list(combinations(range(len(true)), 2))
    return sum(sign * (figures[b] - figures[a]) * (true[b] - true[a]) > 0 for a, b in both), len(both)


def size_slopes(studies: Sequence[Study], planted: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """By figure, what size does to it, and how far it orders sizes and models as the oracle's F1 does."""
    results: dict[str, Any] = {}
    for name in VALUE:
        sign = float(np.sign(planted[name]["slope"]))
        having = [one for one in studies if value(name, one) is not None]
        figures, true = by_size(name, having), by_size("oracle_f1", having)
        if len(figures) < 3:
            results[name] = {"undefined": f"{len(figures)} of the sizes have it"}
            continue
        sizes = np.log10(np.array(list(figures)))
        means = np.array([np.mean(each) for each in figures.values()])
        true_means = [float(np.mean(each)) for each in true.values()]
        found, low, high = slope(sizes, means)
        variances = [float(np.var(each, ddof=1)) for each in figures.values() if len(each) > 1]
        ordered, of = pairs_in_order(means.tolist(), true_means, sign)
        true_models = flat(true)
        models, of_models = pairs_in_order(flat(figures), true_models, sign)
        results[name] = {
            "sizes": len(figures),
            "models": [len(each) for each in figures.values()],
            "means": means.tolist(),
            "slope": found,
            "slope_ci": [low, high],
            "steps": len(sizes) - 1,
            "steps_in_order": int((sign * np.diff(means) > 0).sum()),
            "scatter": float(np.sqrt(np.mean(variances))) if variances else None,
            "pairs_of_sizes": [ordered, of],
            "pairs_of_models": [models, of_models],
            "pairs_by_unf1": pairs_in_order(flat(by_size("unf1", having)), true_models, 1.0)[0],
        }
    return results


def level_pairs(rows: Sequence[Mapping[str, Any]], name: str, sign: float) -> tuple[int, int]:
    """Of all pairs of planted levels, how many the figure's means order as those of the oracle's F1 do."""
    levels = sorted({row["level"] for row in rows})

    def means(of: str) -> list[float]:
        return [float(np.mean([row[of] for row in rows if row["level"] == level])) for level in levels]

    return pairs_in_order(means(name), means("oracle_f1"), sign)


# --- how often intervals exclude 0 where size does nothing --------------------------------------------------------------


def without_effect(
    sizes: NDArray[np.float64], models: Sequence[int], spreads: Sequence[float], replications: int = REPLICATIONS
) -> list[dict[str, float]]:
    """The type I error of three intervals over ladders on which size does nothing.

    Models of one size scatter by their `spreads` about what their size has in common. That scatters, too, by a share of it: two
    sizes differ in more than the number of parameters (depth, learning rate, how soon they pass a gate), and do so for all
    seeds.

    Args:
        sizes: log10 of the numbers of parameters.
        models: How many models there are of each size.
        spreads: The standard deviation between the models of each size.
        replications: Ladders.

    Returns:
        For each share in `SHARES` the share of ladders whose interval excludes 0: with sizes as units, with models as units,
        and of Spearman's rho over models (Bonett and Wright, 2000; none counts as one that does).
    """
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(len(sizes)), models)
    mean = (of == np.arange(len(sizes))[:, None]) / np.array(models)[:, None]
    found = []
    for share in SHARES:
        common = rng.normal(0, share * float(np.mean(spreads)), (replications, len(sizes)))
        points = common[:, of] + rng.normal(0, 1, (replications, len(of))) * np.array(spreads)[of]
        found.append(
            {
                "share": share,
                "sizes": excludes_0(sizes, points @ mean.T),
                "models": excludes_0(sizes[of], points),
                "ranks": ranks_exclude_0(sizes[of], points),
            }
        )
    return found


def excludes_0(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The share of rows of y whose slope on x has a 95 % interval that leaves out 0, each point a unit."""
    off, n = x - x.mean(), len(x)
    value = y @ off / (off @ off)
    left = y - y.mean(axis=1, keepdims=True) - value[:, None] * off
    error = np.sqrt((left**2).sum(axis=1) / (n - 2) / (off @ off))
    return float((np.abs(value) > t_quantile(n - 2, 0.975) * error).mean())


def ranks_exclude_0(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The share of rows of y whose Spearman's rho with x has a 95 % interval that leaves out 0 (Bonett and Wright, 2000).

    As `rank_correlation` has it for one row. Where the orders agree or disagree entirely there is none, which counts here.
    """
    ranks = rankdata(y, axis=1) - (len(x) + 1) / 2
    off = rankdata(x) - (len(x) + 1) / 2
    rho = ranks @ off / np.sqrt((off @ off) * (ranks**2).sum(axis=1))
    with np.errstate(divide="ignore"):
        return float((np.abs(np.arctanh(np.clip(rho, -1, 1))) > 1.96 * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))).mean())


# --- as tables ----------------------------------------------------------------------------------------------------------


def _slope(one: Mapping[str, Any]) -> str:
    low, high = one["slope_ci"]
    return f"{one['slope']:+.3f} [{low:+.3f}, {high:+.3f}]"


def ladder_table(found: Mapping[str, Any]) -> str:
    """Every figure over planted awareness, over sizes, and over the sizes of the second world."""
    charts = found["charts"]
    head = ["figure", "it takes", "slope on awareness", "levels as the oracle", "slope on size", "sizes as the oracle",
            "models as the oracle (UnF1 on the same)"]  # fmt: skip
    head += ["charts: slope on size", "charts: sizes as the oracle"] if charts else []
    lines = []
    for name, planted in found["awareness"].items():
        cells = [WORDS[name], NEEDS[name], _slope(planted), "{} of {}".format(*planted["pairs"])]
        for ladder, further in ((found["sizes"], True), (charts, False)):
            if not ladder:
                continue
            one = ladder[name]
            if "undefined" in one:
                cells += [one["undefined"], *["n/a"] * (1 + further)]
                continue
            cells += [_slope(one), "{} of {}".format(*one["pairs_of_sizes"])]
            cells += [f"{'{} of {}'.format(*one['pairs_of_models'])} ({one['pairs_by_unf1']})"] if further else []
        lines.append(cells)
    return markdown(head, lines)


def size_table(of_world: Mapping[str, Any], parameters: Sequence[int]) -> str:
    """The means of every size, and the scatter between seeds."""
    lines = []
    for name, one in of_world.items():
        if "undefined" in one:
            continue
        models = ", ".join(map(str, one["models"]))
        scatter = "n/a" if one["scatter"] is None else f"{one['scatter']:.3f}"
        steps = f"{one['steps_in_order']} of {one['steps']}"
        lines.append([WORDS[name], models, *(f"{mean:.3f}" for mean in one["means"]), scatter, steps])
    sizes = [f"{number:,}" for number in parameters]
    return markdown(["figure", "models", *sizes, "scatter of a seed", "steps in order"], lines)


def error_table(found: Sequence[Mapping[str, float]]) -> str:
    """How often intervals exclude 0 where size does nothing."""
    lines = [[f"{one['share']:.1f}", *(f"{one[name]:.3f}" for name in ("sizes", "models", "ranks"))] for one in found]
    head = ["what sizes differ by, in scatters of a seed", "sizes as units", "models as units", "ranks of models"]
    return markdown(head, lines)


# --- the study ----------------------------------------------------------------------------------------------------------


def study(results: Mapping[str, Any], planted: Mapping[str, Any], charts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Both ladders and, where it was measured, that of the second world."""
    slopes = planted["slopes"]
    awareness = {}
    for name in VALUE:
        sign = float(np.sign(slopes[name]["slope"]))
        pairs = level_pairs(planted["rows"]["awareness"], name, sign)
        awareness[name] = {"slope": slopes[name]["slope"], "slope_ci": slopes[name]["slope_ci"], "pairs": list(pairs)}
    models = by_size("unf1", results["studies"])
    sizes = size_slopes(results["studies"], slopes)
    of_charts = charts["studies"] if charts else []
    return {
        "awareness": awareness,
        "parameters": sorted(models),
        "sizes": sizes,
        "charts_parameters": sorted(by_size("unf1", of_charts)),
        "charts": size_slopes(of_charts, slopes) if charts else None,
        "replications": REPLICATIONS,
        "without_effect": without_effect(
            np.log10(np.array(sorted(models))),
            [len(each) for each in models.values()],
            [float(np.std(each, ddof=1)) for each in models.values()],
        ),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path("docs/validity")
    parser.add_argument("--results", type=Path, default=folder / "results.json")
    parser.add_argument("--awareness", type=Path, default=folder / "awareness.json")
    parser.add_argument("--charts", type=Path, default=folder / "charts.json", help="left out where there is none")
    parser.add_argument("--out", type=Path, default=folder / "ladder.json")
    given = parser.parse_args(arguments)
    results, planted = (json.loads(file.read_text("utf-8")) for file in (given.results, given.awareness))
    charts = json.loads(given.charts.read_text("utf-8")) if given.charts.exists() else None
    found = study(results, planted, charts)
    given.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(ladder_table(found))
    print(size_table(found["sizes"], found["parameters"]))
    print(error_table(found["without_effect"]))


if __name__ == "__main__":
    main()
