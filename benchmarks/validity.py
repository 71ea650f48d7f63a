"""Does UnF1 tell the truth? Tiny models of several sizes, measured label-free and by an oracle that knows the truth.

    python benchmarks/validity.py [--models DIR ...] [--scenes 500] [--seed 0] [--out docs/validity]

Every model folder (default: the shipped ladder) is measured on the same test scenes by the whole engine, as `unsaf-async run`
does. The oracle then says of each question that the model wrote whether the scene answers it, and each figure is computed twice:
with the instruction as the label (UnF1), and with the truth (oracle F1). Also measured: accuracy, abstention F1 and calibration
on labelled questions that the model did not write, POPE-like probes, and signs of confidence as detectors of unanswerable
questions (AUROC). All of it by the engine's own `run` and `labelled`.

Writes `results.json` to --out, and for models of the first world plots, too. Models of one size that differ by their training
seed lie in folders that end alike ("seed-0/tiny-s", "seed-1/tiny-s"). `ladder.py` then says what size does to each figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, replace
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
    fidelity,
    kinds,
    measured,
    propensity,
    relabelled,
    scored,
    true_label,
)

from unsaf_async.calls.backends.tiny import TinyBackend
from unsaf_async.calls.request import ModelClient, RequestBuilder
from unsaf_async.examine.examiner import Examiner
from unsaf_async.examine.judge import Judge
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.sources import find_images
from unsaf_async.prompts import load_pack
from unsaf_async.providers.resolve import resolve
from unsaf_async.records import CONTROL_KINDS, ImageRecord
from unsaf_async.runs.prepare import policy_of
from unsaf_async.score.quality import question_quality, warnings
from unsaf_async.score.run_score import score
from unsaf_async.tiny.folders import shipped
from unsaf_async.world.make import make
from unsaf_async.world.worlds import SHAPES, WORLDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unsaf_async.calls.provider import Provider
    from unsaf_async.records import Reply, Request
    from unsaf_async.world.worlds import World

PACK = load_pack("tiny")

SAMPLES = 3
"""Further draws of each answer, for semantic entropy."""


def labelled(folder: Path, world: Path, work: Path) -> dict[str, Any]:
    """On questions that the model did not write: accuracy, abstention F1, declining by kind, calibration, the probes."""
    _, findings = measured(folder, work / "labelled", data=world / "labelled.jsonl")
    _, pope_findings = measured(folder, work / "pope", data=world / "pope.jsonl")
    assert findings.labelled is not None
    assert pope_findings.labelled is not None
    assert pope_findings.labelled.pope is not None
    sure = findings.labelled.calibration["token_probability"]
    return {
        "accuracy": findings.labelled.accuracy,
        "dual_accuracy": findings.labelled.dual_accuracy,
        "abstention_f1": findings.unf1,
        "accuracy_by_form": findings.labelled.by_category,
        "declined_by_kind": {kind: row.recall for kind, row in findings.by_kind.items()},
        "token_probability": {name: getattr(sure, name) for name in ("ece", "brier", "nll", "auroc", "aurc", "e_aurc")},
        "pope_accuracy": pope_findings.labelled.pope.accuracy,
        "pope_yes_share": pope_findings.labelled.pope.yes_ratio,
    }


def world_of(folder: Path) -> World[Any]:
    """What the model in `folder` was taught. Models that name no world are of the first."""
    return WORLDS[json.loads((folder / "training.json").read_text("utf-8")).get("world", SHAPES.name)]


def study(folder: Path, world: Path, seed: int) -> dict[str, Any]:
    """All figures of one model."""
    trained = json.loads((folder / "training.json").read_text("utf-8"))
    with TemporaryDirectory() as name:
        work = Path(name)
        examinations, result = measured(
            folder,
            work / "own",
            images=[world / "manifest.jsonl"],
            seed=seed,
            samples=SAMPLES,
            controls=CONTROL_KINDS,
            controls_per_image=3,
        )
        others = labelled(folder, world, work)
    told = corrected(examinations, seed)
    declined, unanswerable = np.array(
        [(question.act == "abstained", true == "unanswerable") for _, _, question, true in asked(examinations)]
    ).T
    return {
        "model": folder.name,
        "world": world_of(folder).name,
        "training_seed": trained["recipe"]["seed"],
        "parameters": trained["parameters"],
        "training_cpu_s": trained["log"][-1]["cpu_s"],
        "steps": trained["log"][-1]["step"],
        "unf1": {"f1": result.unf1, "ci": result.unf1_ci, "counts": result.counts.model_dump()},
        "over_refusal_rate": result.over_refusal_rate,
        "over_answer_rate": result.over_answer_rate,
        "questions": result.questions.model_dump(),
        "unscored": result.unscored,
        "unreliable": result.unreliable,
        "warnings": result.warnings,
        "oracle": scored(relabelled(examinations, true_label)),
        "audited": scored(relabelled(examinations, audited)),
        "corrected": {"f1": told.unf1, "ci": told.unf1_ci, "labels": TRUSTED},
        "controls": {
            kind: {"youden": result.controls[kind].youden, "ci": result.controls[kind].youden_ci}
            for kind in CONTROL_KINDS
        },
        "declined": float(declined.mean()),
        "d_prime": detection(declined, unanswerable)[0],
        "declining_auroc": {name: propensity(examinations, name) for name in ("token_probability", "draws")},
        "fidelity": fidelity(examinations),
        "kinds": kinds(examinations),
        "confidence_auroc": confidence(examinations, result),
        "labelled": others,
    }


def kept(keep: Path | None, folder: Path, world: Path, seed: int) -> dict[str, Any]:
    """The study of one model, from `keep` if it is there."""
    if keep is None:
        return study(folder, world, seed)
    file = keep / f"{folder.parent.name}-{folder.name}.json"
    if not file.exists():
        keep.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(study(folder, world, seed), indent=1) + "\n", "utf-8")
    figures: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return figures


@dataclass(frozen=True)
class Planted:
    """A provider that answers as `real` does, and writes what is planted in place of its questions.

    When asked for answerable questions it writes its own if all that is planted has a kind.
    """

    real: Provider
    lines: tuple[str, ...]

    async def complete(self, request: Request) -> Reply:
        """The real reply; for a question-writing call with the planted list as its text."""
        reply = await self.real.complete(request)
        own = all(line.startswith("non-visual: ") for line in self.lines) and "cannot" not in request.messages[0].text
        if request.role != "ask" or own:
            return reply
        return replace(reply, text="\n".join(f"{number}. {line}" for number, line in enumerate(self.lines, 1)))


PLANTED = {
    "abstentions in place of questions": ("I cannot tell: the image does not show that.",) * 6,
    "one question over and over": ("What is in the north cell?",) * 6,
    "easy unanswerable questions only": tuple(
        f"non-visual: {question}"
        for question in (
            "What does the star smell like?", "How heavy is the ring?", "How warm is the cross?",
            "What sound does the heart make?", "How much did the star cost?", "How heavy is the square?",
        )
    ),
}  # fmt: skip


async def planted(folder: Path, manifest: Path, lines: tuple[str, ...], images: int = 40) -> dict[str, Any]:
    """UnF1 of a model whose unanswerable and answerable lists are `lines`, and what the gates say of it."""
    profile = resolve("tiny", model=str(folder))
    backend = TinyBackend(folder)
    subject = ModelClient(RequestBuilder(profile, 6, 0), Planted(backend, lines))
    examiner = Examiner(subject, Judge(PACK), PACK, 6)
    try:
        sources = find_images([manifest])[:images]
        pictures = [encode(source.path, policy_of(profile))[0] for source in sources]
        examinations = [
            await examiner.examine(ImageRecord(id=source.id, path=str(source.path)), picture)
            for source, picture in zip(sources, pictures, strict=True)
        ]
    finally:
        await backend.aclose()
    result = score(examinations, questions_per_label=6, accounts=None, provider="tiny", judge="rules")
    noticed = [*result.warnings, *warnings(question_quality(examinations))]
    return {"unf1": result.unf1, "unreliable": result.unreliable, "warnings": noticed}


def table(studies: Sequence[dict[str, Any]]) -> str:
    """The figures as a Markdown table."""
    head = (
        "| model | seed | parameters | UnF1 | oracle F1 | audited UnF1 | false labels (a / u) | labelled accuracy | "
        "abstention F1 | POPE | ECE | AUROC of token confidence | AUROC of semantic entropy |\n" + "| --- " * 13 + "|\n"
    )

    def value(figure: dict[str, Any]) -> str:
        if figure["f1"] is None:
            return "n/a"
        low, high = figure["ci"] or (None, None)
        return f"{figure['f1']:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None else "")

    rows = []
    for one in studies:
        false = " / ".join(f"{one['fidelity'][label].get('false', 0):.3f}" for label in ("answerable", "unanswerable"))
        labelled_figures = one["labelled"]
        cells = [one["model"], str(one["training_seed"]), f"{one['parameters']:,}"]
        cells += [value(one["unf1"]), value(one["oracle"]), value(one["audited"]), false]
        areas = (one["confidence_auroc"][name]["oracle"] for name in ("mean_logprob", "semantic_entropy"))
        ece = labelled_figures["token_probability"]["ece"]
        figures = (
            labelled_figures["accuracy"],
            labelled_figures["abstention_f1"],
            labelled_figures["pope_accuracy"],
            ece,
            *areas,
        )
        cells += ["n/a" if figure is None else f"{figure:.3f}" for figure in figures]
        rows.append(f"| {' | '.join(cells)} |")
    return head + "\n".join(rows)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(
        [f"| {' | '.join(head)} |", "| --- " * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
    )


def of_size(studies: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The studies of each size, whatever their training seeds."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in studies:
        found[one["model"]].append(one)
    return dict(found)


def kind_table(studies: Sequence[dict[str, Any]]) -> str:
    """The share of the self-written questions of each true kind that was declined, with their number, over all seeds."""
    names = sorted({kind for one in studies for kind in one["kinds"]} - {"answerable"})

    def cell(group: Sequence[dict[str, Any]], kind: str) -> str:
        found = [one["kinds"][kind] for one in group if kind in one["kinds"]]
        n = sum(one["n"] for one in found)
        return f"{sum(one['n'] * one['declined'] for one in found) / n:.2f} ({n:,})" if n else "n/a"

    rows = [
        [name, str(len(group)), *(cell(group, kind) for kind in ("answerable", *names))]
        for name, group in of_size(studies).items()
    ]
    return _rows(["model", "seeds", "answerable", *names], rows)


def form_table(studies: Sequence[dict[str, Any]]) -> str:
    """Accuracy on labelled questions by form, the mean over the seeds."""
    sizes = of_size(studies)
    names = sorted({form for one in studies for form in one["labelled"]["accuracy_by_form"]})

    def cell(group: Sequence[dict[str, Any]], form: str) -> str:
        found = [
            one["labelled"]["accuracy_by_form"][form] for one in group if form in one["labelled"]["accuracy_by_form"]
        ]
        return f"{np.mean(found):.2f}" if found else "n/a"

    rows = [[f"`{name}`", *(cell(group, name) for group in sizes.values())] for name in names]
    return _rows(["form", *sizes], rows)


def gate_table(results: dict[str, Any]) -> str:
    """What the gates say of planted models."""
    rows = [
        [
            name,
            "n/a" if result["unf1"] is None else f"{result['unf1']:.3f}",
            "; ".join([*result["unreliable"], *result["warnings"]]) or "nothing",
        ]
        for name, result in results.items()
    ]
    return _rows(["the model writes", "UnF1", "what the report says"], rows)


def plots(studies: Sequence[dict[str, Any]], folder: Path) -> None:
    """`size.svg`: each figure against the number of parameters. `truth.svg`: UnF1 against the F1 by the oracle's labels."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "validity"  # the same figures, the same file
    from matplotlib import pyplot as plt

    lines: dict[str, Callable[[dict[str, Any]], float | None]] = {
        "UnF1 (label-free)": lambda one: one["unf1"]["f1"],
        "F1 by the oracle's labels": lambda one: one["oracle"]["f1"],
        "accuracy on labelled questions": lambda one: one["labelled"]["accuracy"],
        "AUROC of token confidence": lambda one: one["confidence_auroc"]["mean_logprob"]["oracle"],
    }
    sizes = sorted({one["parameters"] for one in studies})
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, value in lines.items():
        means = [
            np.mean([np.nan if value(one) is None else value(one) for one in studies if one["parameters"] == size])
            for size in sizes
        ]
        (drawn,) = axes.plot(sizes, means, label=name)
        axes.plot(
            [one["parameters"] for one in studies], [value(one) for one in studies], "o", color=drawn.get_color(), ms=4
        )
    axes.set(xscale="log", xlabel="parameters", ylim=(0, 1))
    axes.legend(fontsize=8)
    figure.savefig(folder / "size.svg", metadata={"Date": None})

    figure, axes = plt.subplots(figsize=(4.2, 4.2), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.8", lw=1)
    for model in dict.fromkeys(one["model"] for one in studies):
        of = [one for one in studies if one["model"] == model and one["unf1"]["ci"] and one["oracle"]["ci"]]
        points = [np.array([one[name]["f1"] for one in of]) for name in ("oracle", "unf1")]
        reach = [
            [abs(np.array([one[name]["ci"][side] for one in of]) - point) for side in (0, 1)]
            for name, point in zip(("oracle", "unf1"), points, strict=True)
        ]
        axes.errorbar(*points, xerr=reach[0], yerr=reach[1], fmt="o", ms=4, lw=1, label=model)
    axes.set(xlabel="F1 by the oracle's labels", ylabel="UnF1 (label-free)", xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=8)
    figure.savefig(folder / "truth.svg", metadata={"Date": None})


def merged(studies: Sequence[dict[str, Any]], earlier: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Studies with those of `earlier` whose model and training seed they lack, by seed and size."""

    def key(one: dict[str, Any]) -> tuple[int, int]:
        return one["training_seed"], one["parameters"]

    by_model = {key(one): one for one in (*earlier, *studies)}
    return [by_model[each] for each in sorted(by_model)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, nargs="+", default=list(shipped()))
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/validity"))
    parser.add_argument(
        "--keep", type=Path, help="keep each model's figures in this folder, and take those that are there"
    )
    parser.add_argument(
        "--earlier", type=Path, help="a results.json: what it has of models that are not measured now is kept"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    earlier = json.loads(given.earlier.read_text("utf-8"))["studies"] if given.earlier else []
    (of,) = {world_of(folder).name: world_of(folder) for folder in given.models}.values()
    with TemporaryDirectory() as work:
        world = Path(work) / "world"
        make(world, given.scenes, "test", seed=given.seed + 500, world=of)
        studies = []
        for folder in given.models:
            studies.append(kept(given.keep, folder, world, given.seed))
            print(table(studies[-1:]).splitlines()[-1], flush=True)
        gates = {
            name: asyncio.run(planted(given.models[-1], world / "manifest.jsonl", lines))
            for name, lines in (PLANTED.items() if of is SHAPES else ())
        }
    results = {
        "world": of.name,
        "scenes": given.scenes,
        "studies": merged(studies, earlier),
        "planted": gates,
    }
    (given.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    if of is SHAPES:
        plots(results["studies"], given.out)
    print(table(results["studies"]))


if __name__ == "__main__":
    main()
