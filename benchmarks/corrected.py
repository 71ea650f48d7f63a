"""Does UnF1 corrected by trusted labels meet the truth? Tiny models on drawn scenes, with the oracle as the labeller.

    python benchmarks/corrected.py [--models DIR ...] [--scenes 500] [--replications 200] [--keep FOLDER] [--out docs/validity]

Each model is measured once, by the whole engine. In every replication as many scenes are drawn from these, with replacement,
as there are, each an image of its own; the oracle labels the first 100, 200 and 400 questions in the random order of
`unsaf-async label`, and "cannot say" where it does not understand a question. The truth is the F1 by the oracle's labels over
all questions of all scenes that it understands. Beside the corrected figure stands the F1 of as many labelled questions
alone, drawn at random.

Writes corrected.json to --out. With --keep the runs stay in that folder, and are taken from there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from by_oracle import measured, relabelled, scored, true_label, verdicts

from unsaf_async import load
from unsaf_async.score.intervals import ratio_interval
from unsaf_async.score.label_errors import LabelTally, TrustedLabel
from unsaf_async.score.label_sample import CELLS, label_order, question_key
from unsaf_async.score.unf1 import cell
from unsaf_async.tiny.folders import shipped
from unsaf_async.world.make import make

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.records import Examination

LABELS = (100, 200, 400)

ABSTAINED = np.array([name in ("fu", "tu") for name in CELLS])


def examined(folder: Path, keep: Path, scenes: int) -> list[Examination]:
    """The examinations of the model in `folder`, from `keep` if they are there."""
    world, work = keep / "world", keep / folder.name
    if not world.exists():
        make(world, scenes, "test", seed=0)
    if not work.exists():
        measured(folder, work, images=[world / "manifest.jsonl"])
    _, examinations, _ = load(work)
    return list(examinations)


def as_image(examination: Examination, number: int) -> Examination:
    """The examination as that of a further image."""
    of = {"id": f"{number:05}", "pixels_sha256": f"{number:064x}"}
    return examination.model_copy(update={"image": examination.image.model_copy(update=of)})


def listed(drawn: Sequence[Examination], said: Sequence[list[str | None]]) -> np.ndarray:
    """[questions, 3]: of each scored question its image, its cell, and its label (-1: cannot say)."""
    return np.array(
        [
            (image, CELLS.index(where), -1 if label is None else label == "unanswerable")
            for image, (examination, labels) in enumerate(zip(drawn, said, strict=True))
            for question, label in zip(examination.questions, labels, strict=True)
            if (where := cell(question))
        ]
    )


def plain(rows: np.ndarray, labelled: np.ndarray) -> tuple[float, float]:
    """The same estimate from labels drawn at random from all questions, with a plain interval: delta method, 1.96 errors."""
    decided = labelled[labelled[:, 2] >= 0]
    n, unanswerable = np.bincount(decided[:, 1], minlength=4), np.bincount(decided[:, 1], decided[:, 2], 4)
    share, size = unanswerable / np.maximum(n, 1), np.bincount(rows[:, 1], minlength=4)
    tu, below = (size * share)[ABSTAINED].sum(), size[ABSTAINED].sum() + (size * share).sum()
    value = 2 * tu / below
    slope = np.where(ABSTAINED, 2 - value, -value) * size / below
    error = np.sqrt((slope**2 * share * (1 - share) / np.maximum(n, 1)).sum())
    return float(value - 1.96 * error), float(value + 1.96 * error)


def alone(labelled: np.ndarray) -> tuple[float, float]:
    """The interval of the F1 of the labelled questions alone."""
    pairs = np.zeros((labelled[:, 0].max() + 1, 2))
    for image, of, label in labelled[labelled[:, 2] >= 0]:
        right = 2 * (ABSTAINED[of] and label == 1)
        pairs[image] += (right, right or ABSTAINED[of] or label)
    return ratio_interval(pairs).ends or (0.0, 1.0)


def study(name: str, examinations: Sequence[Examination], replications: int) -> dict[str, Any]:
    """Bias, width and coverage of one model's corrected UnF1, by the number of labels."""
    said = [verdicts(examination) for examination in examinations]
    truth = scored(relabelled(examinations, true_label))["f1"]
    naive = scored(examinations)
    found: dict[int, list[tuple[float, ...]]] = {number: [] for number in LABELS}
    for seed in range(replications):
        chosen = np.random.default_rng(seed).integers(0, len(examinations), len(examinations))
        drawn = [as_image(examinations[each], number) for number, each in enumerate(chosen)]
        labels_of = [said[each] for each in chosen]
        by_key = {
            question_key(examination.image, question.text): TrustedLabel(label or "cannot-say")
            for examination, labels in zip(drawn, labels_of, strict=True)
            for question, label in zip(examination.questions, labels, strict=True)
        }
        rows, order = listed(drawn, labels_of), label_order(drawn, seed)
        for number in LABELS:
            tally = LabelTally({each.key: by_key[each.key] for each in order[:number]}, seed)
            for examination in drawn:
                tally.add(examination)
            corrected = tally.corrected()
            assert corrected.unf1 is not None
            assert corrected.unf1_ci is not None
            labelled = np.random.default_rng([seed, number]).permutation(rows)[:number]
            ends = (*corrected.unf1_ci, *plain(rows, labelled), *alone(labelled))
            found[number].append((corrected.unf1, *ends))
    return {
        "model": name,
        "questions": sum(cell(question) is not None for each in examinations for question in each.questions),
        "unf1": naive["f1"],
        "unf1_ci": naive["ci"],
        "oracle_f1": truth,
        "replications": replications,
        "by_labels": {str(number): figures(np.array(rows), truth) for number, rows in found.items()},
    }


def figures(rows: np.ndarray, truth: float) -> dict[str, float]:
    """rows: the figure, and the ends of the three intervals, of each replication."""
    value, *ends = rows.T
    low, high = ends[:2]
    told = {
        "bias": value.mean() - truth,
        "sd": value.std(ddof=1),
        "below": (high < truth).mean(),
        "above": (low > truth).mean(),
    }
    for name, (least, most) in zip(("", "_plain", "_alone"), (ends[:2], ends[2:4], ends[4:]), strict=True):
        told[f"width{name}"] = (most - least).mean()
        told[f"coverage{name}"] = ((least <= truth) & (truth <= most)).mean()
    return {name: float(each) for name, each in told.items()}


def table(found: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| model | UnF1 | oracle F1 | labels | bias | width | coverage | too low / high | plain: coverage | alone: width |",
        "| --- " * 10 + "|",
    ]
    for one in found["studies"]:
        for number, each in one["by_labels"].items():
            cells = [
                one["model"],
                f"{one['unf1']:.3f}",
                f"{one['oracle_f1']:.3f}",
                number,
                f"{round(each['bias'], 3) + 0.0:+.3f}",
            ]
            cells += [f"{each[name]:.3f}" for name in ("width", "coverage")]
            cells += [f"{each['below']:.3f} / {each['above']:.3f}"]
            cells += [f"{each[name]:.3f}" for name in ("coverage_plain", "width_alone")]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, nargs="+", default=list(shipped()))
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("docs/validity"))
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder, and take those that are there")
    given = parser.parse_args()
    with TemporaryDirectory() as work:
        keep = given.keep or Path(work)
        keep.mkdir(parents=True, exist_ok=True)
        studies = [
            study(folder.name, examined(folder, keep, given.scenes), given.replications) for folder in given.models
        ]
    results = {"scenes": given.scenes, "studies": studies}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "corrected.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
