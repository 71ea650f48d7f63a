"""The tables of docs/distilled.md, from the cells that benchmarks/und.py has written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from distillation import markdown
from und import ARMS, CLAIMS, HELD_OUT, LATER_CLAIMS, PREFERRED, TRAINED, Cell, interval, seen_with_power, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from und import Claim

FIGURES = {
    "auroc_trained": "decline AUROC, taught kinds",
    "auroc_held": "decline AUROC, other kinds",
    "f1_trained": "abstention F1, taught kinds",
    "f1_held": "abstention F1, other kinds",
    "d_prime_trained": "d', taught kinds",
    "criterion_trained": "criterion, taught kinds",
    "over_refusal": "over-refusal",
    "accuracy": "accuracy",
    "pope": "POPE accuracy",
    "unusual_auroc_trained": "decline AUROC, unusual scenes",
    "unusual_f1_trained": "abstention F1, unusual scenes",
    "unusual_accuracy": "accuracy, unusual scenes",
    "made_up": "objects made up a description",
    "unusual_made_up": "the same, unusual scenes",
    "unf1_own": "UnF1, own questions",
    "oracle_f1_own": "the same by true labels",
    "obtained": "own questions obtained",
    "unf1_bank": "UnF1, the teacher's questions",
    "oracle_f1_bank": "the same by true labels",
}

Cells = dict[Cell, dict[str, Any]]


def cells_of(results: Mapping[str, Any]) -> Cells:
    """The cells' figures."""
    names = Cell.__dataclass_fields__
    return {Cell(**{name: each[name] for name in names}): each["figures"] for each in results["cells"]}


def before(cell: Cell) -> Cell:
    """The same student, untrained."""
    return Cell(cell.seed, "before", student=cell.student)


def differences(cells: Cells, arm: str, against: str, figure: str, **of: Any) -> list[float]:
    """Of each seed that has both, arm minus `against`; where a score is withheld the seed is left out."""
    found = []
    for seed in sorted({cell.seed for cell in cells}):
        pair = [
            before(Cell(seed, name, **of)) if name == "before" else Cell(seed, name, **of) for name in (arm, against)
        ]
        values = [cells[cell].get(figure) if cell in cells else None for cell in pair]
        if values[0] is not None and values[1] is not None:
            found.append(values[0] - values[1])
    return found


def spelled(values: Sequence[float], of: int) -> str:
    """`+0.041 [+0.030, +0.052]`, and of how many seeds, where some have none."""
    missing = f" ({len(values)} of {of} seeds)" if len(values) < of else ""
    if not values:
        return "n/a"
    if len(values) < 3:
        return f"{np.mean(values):+.3f}{missing}"
    low, middle, high = interval(values)
    return f"{middle:+.3f} [{low:+.3f}, {high:+.3f}]{missing}"


def claims_table(results: Mapping[str, Any], claims: Sequence[Claim] = CLAIMS) -> str:
    """Every claim with its margin, what was found, what so many seeds can show, and the verdict."""
    cells = cells_of(results)
    rows = []
    for claim in claims:
        values = differences(cells, claim.arm, claim.against, claim.figure)
        what = f"{claim.arm} - {claim.against}, {claim.figure}"
        if len(values) < 3:
            rows.append([claim.words, what, f"{claim.margin:+.2f}", spelled(values, 3), "n/a", "undecided"])
            continue
        told = spelled(values, len(values)), f"{seen_with_power(values):.3f}", verdict(values, claim.margin)
        rows.append([claim.words, f"`{what}`", f"{claim.margin:+.2f}", *told])
    return markdown(["claim", "difference", "margin", "found", "seen with a power of .8", "verdict"], rows)


def change_table(results: Mapping[str, Any]) -> str:
    """After minus before, by arm."""
    cells = cells_of(results)
    started = [figures for cell, figures in cells.items() if cell == Cell(cell.seed, "before")]
    rows = []
    for name, words in FIGURES.items():
        known = [each[name] for each in started if each.get(name) is not None]
        row = [words, f"{np.mean(known):.3f}" if known else "n/a"]
        row += [spelled(differences(cells, arm, "before", name), len(started)) for arm in arms_of(cells)]
        rows.append(row)
    return markdown(["", "before", *arms_of(cells)], rows)


def arms_of(cells: Cells) -> list[str]:
    """The arms that some seed has, in their order."""
    return [arm for arm in ARMS if any(cell == Cell(cell.seed, arm) for cell in cells)]


def kind_table(results: Mapping[str, Any]) -> str:
    """The share declined by kind: means over the seeds; kinds that were not taught last."""
    cells = cells_of(results)
    arms = ["before", *arms_of(cells)]
    rows = []
    for kind in (*TRAINED, *HELD_OUT):
        row = [f"`{kind}`", "yes" if kind in TRAINED else "no"]
        for arm in arms:
            of = [figures["kinds"][kind] for cell, figures in cells.items() if cell == Cell(cell.seed, arm)]
            row.append(f"{np.mean(of):.2f}")
        rows.append(row)
    return markdown(["kind", "taught", *arms], rows)


_VARIED = ("auroc_trained", "f1_trained", "auroc_held", "f1_held", "accuracy", "over_refusal")


def varied_table(results: Mapping[str, Any]) -> str:
    """Other teachers, doses and ranks: means after training over the seeds that have them, each beside the default."""
    cells = cells_of(results)
    variants: dict[tuple[str, str, float, int], list[dict[str, Any]]] = {}
    for cell, figures in cells.items():
        if cell.student == "unaware" and cell.arm in ("qa", "iq", "joint"):
            variants.setdefault((cell.arm, cell.teacher, cell.dose, cell.rank), []).append(figures)
    rows = []
    for (arm, teacher, dose, rank), of in sorted(variants.items()):
        means = [f"{np.mean([each[name] for each in of]):.3f}" for name in _VARIED]
        rows.append([arm, teacher, f"{dose:.2g}", str(rank), str(len(of)), *means])
    return markdown(["arm", "teacher", "dose", "rank", "seeds", *(FIGURES[name] for name in _VARIED)], rows)


_MUTE = ("auroc_trained", "f1_trained", "accuracy", "unf1_own", "oracle_f1_own", "unf1_bank", "true_unanswerable")


def mute_table(results: Mapping[str, Any]) -> str:
    """The student that does not write questions without an answer either: means over its seeds."""
    cells = cells_of(results)
    rows = []
    for arm in ("before", "iq", "joint"):
        of = [figures for cell, figures in cells.items() if cell == Cell(cell.seed, arm, student="mute")]
        rows.append([arm, str(len(of)), *(mean([each[name] for each in of]) for name in _MUTE)])
    words = FIGURES | {"true_unanswerable": "own “unanswerable” that are so"}
    return markdown(["", "seeds", *(words[name] for name in _MUTE)], rows)


_PREFERRED = (
    "auroc_trained",
    "f1_trained",
    "f1_held",
    "over_refusal",
    "accuracy",
    "pope",
    "unusual_f1_trained",
    "unusual_made_up",
    "unf1_own",
    "unf1_bank",
)


def dpo_claims_table(results: Mapping[str, Any]) -> str:
    """The claims about a second stage."""
    return claims_table(results, LATER_CLAIMS)


def dpo_table(results: Mapping[str, Any]) -> str:
    """`joint`, and what goes on from it: means, and the differences from `joint` with their intervals."""
    cells = cells_of(results)
    seeds = sorted({cell.seed for cell in cells if cell.arm in PREFERRED})
    rows = []
    for name in _PREFERRED:
        of = {arm: [cells[Cell(seed, arm)].get(name) for seed in seeds] for arm in ("before", "joint")}
        further = [spelled(differences(cells, arm, "joint", name), len(seeds)) for arm in PREFERRED]
        rows.append([FIGURES[name], mean(of["before"]), mean(of["joint"]), *further])
    return markdown(["", "before", "joint", *(f"{arm} - joint" for arm in PREFERRED)], rows)


_NEVER = ("auroc_trained", "f1_trained", "auroc_held", "f1_held", "over_refusal", "accuracy", "pope")


def never_table(results: Mapping[str, Any]) -> str:
    """The student that has never declined: means over the seeds of rows and scenes, and the held-out kinds apart."""
    cells = cells_of(results)
    rows = []
    for arm, dose in (("before", 1.0), ("qa", 1.0), ("iq", 1.0), ("iq", 3.0), ("joint", 1.0), ("joint", 3.0)):
        of = [figures for cell, figures in cells.items() if cell == Cell(cell.seed, arm, dose=dose, student="never")]
        kinds = [mean([each["kinds"][kind] for each in of]) for kind in HELD_OUT]
        shown = "" if arm == "before" else f"{dose:g}"
        rows.append([arm, shown, str(len(of)), *(mean([each[name] for each in of]) for name in _NEVER), *kinds])
    return markdown(
        ["", "dose", "seeds", *(FIGURES[name] for name in _NEVER), *(f"`{kind}`" for kind in HELD_OUT)], rows
    )


def mean(values: Sequence[float | None]) -> str:
    """The mean of the known ones, and of how many, where some are withheld."""
    known = [each for each in values if each is not None]
    missing = f" ({len(known)} of {len(values)} seeds)" if len(known) < len(values) else ""
    return f"{np.mean(known):.3f}{missing}" if known else "n/a"


_ASKED = ("accuracy", "f1_trained", "f1_held", "over_refusal")


def bare_table(results: Mapping[str, Any]) -> str:
    """Rows with an instruction, without, and mixed; measured by both prompts. Means over the seeds that have all."""
    cells = cells_of(results)
    seeds = sorted({cell.seed for cell in cells if cell.arm == "bare-30"})
    words = {
        "before": "before",
        "instructed": "instruction in every row",
        "bare-30": "question alone in .3 of the rows",
        "joint": "question alone in every row",
    }
    rows = []
    for arm, name in words.items():
        of = [cells[Cell(seed, arm)] for seed in seeds]
        means = [mean([each[prefix + figure] for each in of]) for prefix in ("", "instructed_") for figure in _ASKED]
        rows.append([name, *means])
    asked = [f"{FIGURES[figure]}, {how}" for how in ("asked alone", "with instruction") for figure in _ASKED]
    return markdown(["trained on", *asked], rows)


def training_table(results: Mapping[str, Any]) -> str:
    """What each arm was trained on; means over the seeds."""
    rows = []
    for arm in ARMS:
        of = [
            each
            for each in results["cells"]
            if Cell(**{name: each[name] for name in Cell.__dataclass_fields__}) == Cell(each["seed"], arm)
        ]
        if of:
            means = (f"{np.mean([each[name] for each in of]):,.0f}" for name in ("rows", "tokens", "steps", "cpu_s"))
            rows.append([arm, *means])
    return markdown(["arm", "rows", "supervised tokens", "steps", "CPU-s, data to figures"], rows)


TABLES = {
    "claims": claims_table,
    "change": change_table,
    "kinds": kind_table,
    "varied": varied_table,
    "mute": mute_table,
    "dpo-claims": dpo_claims_table,
    "dpo": dpo_table,
    "never": never_table,
    "bare": bare_table,
    "training": training_table,
}
