"""Do controls tell the truth? Tiny models asked their own questions again without the picture, held against an oracle.

    python benchmarks/controls.py [--models DIR ...] [--scenes 500] [--seed 0] [--out docs/validity/controls.json]

Every model folder (default: the shipped ladder) is measured on the test scenes of `validity.py`, by `run --controls blank,other
--controls-per-image 3`: every answerable question is asked once more. The oracle says of each which of the two pictures answers
it. So beside Youden's J, which needs no label, stand the F1 by the oracle's labels, and the J of a perfect answerer of the same
questions. Every two models are compared by UnF1, by J and by the oracle's F1, each with the interval of the paired difference.

Then all models are asked the same questions, those of the last one (`--questions-from`): what a model writes is not in the
comparison.

Planted: models whose truth is known beforehand. The scripted one declines by the wording alone and never looks; one always
declines, one never does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from by_oracle import measured, relabelled, scored, true_label

import unsaf_async
from unsaf_async.compare.pairing import paired_difference
from unsaf_async.records import CONTROL_KINDS
from unsaf_async.score.controls import why_unscored
from unsaf_async.score.intervals import difference_interval, smooth_interval
from unsaf_async.score.rank_correlation import rank_correlation
from unsaf_async.tiny.folders import shipped
from unsaf_async.world.make import make
from unsaf_async.world.oracle import oracle
from unsaf_async.world.scene import CELLS, Scene

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from unsaf_async.records import Control, ControlKind, Examination
    from unsaf_async.runs.findings import Findings
    from unsaf_async.score.intervals import Interval

EMPTY = Scene((None,) * len(CELLS))
"""What a blank picture shows."""

PLANTED: dict[str, dict[str, float]] = {
    "declines by the wording alone": {},
    "always declines": {"abstain_unanswerable": 1.0, "over_refuse": 1.0, "hedge": 0.0},
    "never declines": {"abstain_unanswerable": 0.0, "over_refuse": 0.0},
}
"""Simulated models by what they do: fields of `simulate.model.Awareness`."""


def ends(interval: Interval) -> list[float] | None:
    """An interval as JSON has it."""
    return None if interval.ends is None else list(interval.ends)


def shown_scene(control: Control, scenes: Mapping[str, Scene]) -> Scene:
    """What the picture of a control shows."""
    return EMPTY if control.kind == "blank" else scenes[control.image]


def sums(examinations: Sequence[Examination], kind: ControlKind) -> NDArray[np.int64]:
    """[images, 3]: declined on the control, declined on the image, pairs; in the order of the images' ids."""
    rows = []
    for examination in sorted(examinations, key=lambda each: each.image.id):
        pairs = [
            each
            for each in examination.questions
            if each.control and each.control.kind == kind and not why_unscored(each)
        ]
        again = [each.control.act == "abstained" for each in pairs if each.control]
        rows.append([sum(again), sum(each.act == "abstained" for each in pairs), len(pairs)])
    return np.array(rows, dtype=np.int64)


def by_the_oracle(examinations: Sequence[Examination], kind: ControlKind) -> dict[str, Any]:
    """What is true of the questions that were asked again, and what the model did where.

    perfect_j: Youden's J of who declines what has no answer, and nothing else. gone_j: the model's own over the questions that
    the image answers and the control's picture does not.
    """
    scenes = {each.image.id: Scene.read(each.image.metadata["scene"]) for each in examinations}
    answered_there, false, gone, pairs = 0, 0, [], 0
    for examination in examinations:
        row = [0, 0, 0]
        for question in examination.questions:
            if question.control is None or question.control.kind != kind or why_unscored(question):
                continue
            own = oracle(scenes[examination.image.id], question.text)
            there = oracle(shown_scene(question.control, scenes), question.text)
            if own is None or there is None:
                continue
            pairs += 1
            answered_there += there.answerable
            false += not own.answerable
            if own.answerable and not there.answerable:
                row = [
                    row[0] + (question.control.act == "abstained"),
                    row[1] + (question.act == "abstained"),
                    row[2] + 1,
                ]
        gone.append(row)
    table = np.array(gone)
    declined, kept, n = map(int, table.sum(axis=0))
    return {
        "pairs": pairs,
        "answered_there": answered_there / pairs,
        "false_labels": false / pairs,
        "perfect_j": (pairs - answered_there - false) / pairs,
        "gone_n": n,
        "gone_j": (declined - kept) / n,
        "gone_j_ci": ends(difference_interval(table[:, [0, 2, 1, 2]])),
    }


def figures(examinations: Sequence[Examination], found: Findings) -> dict[str, Any]:
    """The figures of one run that need no oracle."""
    return {
        "unf1": found.unf1,
        "unf1_ci": found.unf1_ci,
        "controls": {kind: each.model_dump() for kind, each in found.controls.items()},
        "calls": found.calls.by_role if found.calls else None,
        "scenes": len(examinations),
    }


def study(folder: Path, work: Path, **asked: Any) -> tuple[list[Examination], dict[str, Any]]:
    """One model's run and its figures. asked: what about."""
    examinations, found = measured(folder, work, controls=CONTROL_KINDS, controls_per_image=3, **asked)
    trained = json.loads((folder / "training.json").read_text("utf-8"))
    return examinations, {
        "model": folder.name,
        "training_seed": trained["recipe"]["seed"],
        "parameters": trained["parameters"],
        **figures(examinations, found),
        "oracle": scored(relabelled(examinations, true_label)),
        "by_the_oracle": {kind: by_the_oracle(examinations, kind) for kind in CONTROL_KINDS},
    }


def j_difference(one: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[float, Interval]:
    """Youden's J of one model less that of the other on the same images, and its interval."""

    def figure(total: NDArray[Any]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(
                (total[..., 0] - total[..., 1]) / total[..., 2] - (total[..., 3] - total[..., 4]) / total[..., 5]
            )

    rows = np.hstack([one, other])
    return float(figure(rows.sum(axis=0))), smooth_interval(
        rows, figure, low=-2.0, high=2.0, sizes=one[:, 2] + other[:, 2]
    )


def differences(runs: Mapping[str, list[Examination]]) -> list[dict[str, Any]]:
    """Every two models by each figure: the larger one's less the smaller one's."""
    results = []
    for smaller, larger in combinations(runs, 2):
        pair = runs[larger], runs[smaller]
        true = paired_difference(*(relabelled(run, true_label) for run in pair), resamples=200)
        plain = paired_difference(*pair, resamples=200)
        entry: dict[str, Any] = {
            "models": [smaller, larger],
            "oracle": [true.difference, true.ci],
            "unf1": [plain.difference, plain.ci],
        }
        for kind in CONTROL_KINDS:
            value, interval = j_difference(*(sums(run, kind) for run in pair))
            entry[kind] = [value, ends(interval)]
        results.append(entry)
    return results


def planted(world: Path, work: Path) -> dict[str, Any]:
    """The figures of models whose truth is known beforehand."""
    providers = work / "providers"
    providers.mkdir()
    results = {}
    for number, (name, awareness) in enumerate(PLANTED.items()):
        extra = ", ".join(f"{field} = {value}" for field, value in awareness.items())
        (providers / f"planted-{number}.toml").write_text(
            f'backend = "scripted"\nmodel = "planted-{number}"\nextra = {{ {extra} }}\n'
            "price = { input_usd_per_mtok = 0, output_usd_per_mtok = 0 }\n"
            'tokens = { image = { formula = "fixed", constants = { tokens = 258 } } }\n'
        )
        out = work / f"planted-{number}"
        settings: dict[str, Any] = {"controls": CONTROL_KINDS, "controls_per_image": 3, "judge": "self", "cache": None}
        images = [world / "manifest.jsonl"]
        asyncio.run(unsaf_async.evaluate(f"planted-{number}", images=images, out=out, **settings))
        _, examinations, found = unsaf_async.load(out)
        results[name] = figures(examinations, found)
    return results


def all_models(folders: Sequence[Path], work: Path, **asked: Any) -> dict[str, Any]:
    """All models, every two of them compared, and Spearman's rho with the F1 by the oracle's labels. asked: what about."""
    runs, studies = {}, []
    for folder in folders:
        runs[folder.name], one = study(folder, work / folder.name, **asked)
        studies.append(one)
        print(control_table({"studies": [one]}).splitlines()[-1], flush=True)
    by_figure: dict[str, list[float]] = {
        "unf1": [one["unf1"] for one in studies],
        **{kind: [one["controls"][kind]["youden"] for one in studies] for kind in CONTROL_KINDS},
    }
    true = [one["oracle"]["f1"] for one in studies]
    return {
        "studies": studies,
        "differences": differences(runs),
        "spearman_with_oracle": {
            name: rank_correlation(values, true, "spearman").model_dump() for name, values in by_figure.items()
        },
    }


# --- as tables ----------------------------------------------------------------------------------------------------------


def with_ends(value: float | None, interval: Sequence[float] | None, digits: int = 3) -> str:
    """A figure and its interval."""
    if value is None:
        return "n/a"
    return f"{value:z.{digits}f}" + (f" [{interval[0]:z.{digits}f}, {interval[1]:z.{digits}f}]" if interval else "")


def rows(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(
        [f"| {' | '.join(head)} |", "| --- " * len(head) + "|", *(f"| {' | '.join(line)} |" for line in lines)]
    )


def control_table(found: dict[str, Any]) -> str:
    """The models, a row each."""
    lines = []
    for one in found["studies"]:
        blank, other = (one["controls"][kind] for kind in CONTROL_KINDS)
        cells = [
            one["model"],
            with_ends(one["unf1"], one["unf1_ci"]),
            with_ends(one["oracle"]["f1"], one["oracle"]["ci"]),
        ]
        for each in (blank, other):
            cells += [
                with_ends(each["abstention_rate"], None),
                with_ends(each["over_refusal_rate"], None),
                with_ends(each["youden"], each["youden_ci"]),
            ]
        lines.append(cells)
    head = ["model", "UnF1", "oracle F1", "blank: declined there", "on the image", "J", "other: declined there",
            "on the image", "J"]  # fmt: skip
    return rows(head, lines)


def truth_table(found: dict[str, Any]) -> str:
    """What the oracle says of the questions that were asked again."""
    lines = []
    for one in found["studies"]:
        cells = [one["model"]]
        for kind in CONTROL_KINDS:
            each = one["by_the_oracle"][kind]
            cells += [
                f"{each['answered_there']:.3f}",
                f"{each['false_labels']:.3f}",
                f"{each['perfect_j']:.3f}",
                with_ends(each["gone_j"], each["gone_j_ci"]),
            ]
        lines.append(cells)
    names = ("has an answer there", "false label", "J of a perfect answerer", "J where the answer is gone")
    return rows(["model", *(f"{kind}: {name}" for kind in CONTROL_KINDS for name in names)], lines)


def difference_table(found: dict[str, Any]) -> str:
    """Every two models."""
    lines = [
        [" and ".join(each["models"]), *(with_ends(*each[name]) for name in ("oracle", "unf1", *CONTROL_KINDS))]
        for each in found["differences"]
    ]
    return rows(["models", "oracle F1", "UnF1", "J, blank", "J, other"], lines)


def planted_table(found: dict[str, Any]) -> str:
    """The planted models."""
    lines = [
        [name, with_ends(one["unf1"], one["unf1_ci"])]
        + [with_ends(one["controls"][kind]["youden"], one["controls"][kind]["youden_ci"]) for kind in CONTROL_KINDS]
        for name, one in found["planted"].items()
    ]
    return rows(["the model", "UnF1", "J, blank", "J, other"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, nargs="+", default=list(shipped()))
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--bank-scenes", type=int, default=200)
    parser.add_argument("--planted-scenes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/validity/controls.json"))
    given = parser.parse_args()
    out = given.out.absolute()
    folders = [folder.absolute() for folder in given.models]
    with TemporaryDirectory() as name:
        work = Path(name)
        os.chdir(work)  # where ./providers is looked for
        make(work / "world", given.scenes, "test", seed=given.seed + 500)
        make(work / "few", given.planted_scenes, "test", seed=given.seed + 500)
        own = all_models(folders, work / "own", images=[work / "world" / "manifest.jsonl"], seed=given.seed)
        bank = {"questions_from": work / "own" / folders[-1].name, "limit": given.bank_scenes, "seed": given.seed}
        found = {
            "scenes": given.scenes,
            "bank_scenes": given.bank_scenes,
            "planted_scenes": given.planted_scenes,
            "own": own,
            "bank": all_models(folders, work / "bank", **bank),
            "planted": planted(work / "few", work),
        }
    out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    for questions in ("own", "bank"):
        for table in (control_table, truth_table, difference_table):
            print(table(found[questions]), end="\n\n")
        print(json.dumps(found[questions]["spearman_with_oracle"], indent=1))
    print(planted_table(found))


if __name__ == "__main__":
    main()
