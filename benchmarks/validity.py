"""Does UnF1 tell the truth? Tiny models of several sizes, measured label-free and by an oracle that knows the truth.

    python benchmarks/validity.py [--models DIR ...] [--scenes 500] [--seed 0] [--out docs/validity]

Every model folder (default: the shipped ladder) is measured on the same test scenes by the whole engine, as `unsaf-async run`
does. The oracle then says of each question that the model wrote whether the scene answers it, and each figure is computed twice:
with the instruction as the label (UnF1), and with the truth (oracle F1). Also measured: accuracy, abstention F1 and calibration
on labelled questions that the model did not write, POPE-like probes, and signs of confidence as detectors of unanswerable
questions (AUROC). All of it by the engine's own `run` and `labelled`.

Writes `results.json` and plots to --out. Models of one size that differ by their training seed lie in folders that end alike
("seed-0/tiny-s", "seed-1/tiny-s").
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

import unsaf_async
from unsaf_async.calls.backends.tiny import TinyBackend
from unsaf_async.calls.request import ModelClient, RequestBuilder
from unsaf_async.examine.examiner import Examiner
from unsaf_async.examine.judge import Judge
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.sources import find_images
from unsaf_async.prompts import load_pack
from unsaf_async.providers.resolve import resolve
from unsaf_async.records import ImageRecord
from unsaf_async.runs.prepare import policy_of
from unsaf_async.score.metrics import auroc, rank_correlation
from unsaf_async.score.quality import question_quality, warnings
from unsaf_async.score.run_score import score
from unsaf_async.score.signals import CONFIDENCE_OF
from unsaf_async.tiny.folders import shipped
from unsaf_async.world.make import make
from unsaf_async.world.oracle import oracle
from unsaf_async.world.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unsaf_async.calls.provider import Provider
    from unsaf_async.records import Examination, Question, Reply, Request
    from unsaf_async.runs.findings import Findings

PACK = load_pack("tiny")

SAMPLES = 3
"""Further draws of each answer, for semantic entropy."""


def measured(folder: Path, work: Path, **options: Any) -> tuple[list[Examination], Findings]:
    """A run of the model in `folder`: its examinations and its findings."""
    asyncio.run(unsaf_async.evaluate("tiny", model=str(folder), out=work, cache=None, **options))
    _, examinations, result = unsaf_async.load(work)
    return examinations, result


def relabelled(
    examinations: Sequence[Examination], label_of: Callable[[Scene, Question], str | None]
) -> list[Examination]:
    """The examinations with other labels; a question whose label is None is left out."""
    results = []
    for examination in examinations:
        scene = Scene.read(examination.image.metadata["scene"])
        labelled = [(question, label_of(scene, question)) for question in examination.questions]
        kept = tuple(question.model_copy(update={"intended": label}) for question, label in labelled if label)
        results.append(examination.model_copy(update={"questions": kept}))
    return results


def true_label(scene: Scene, question: Question) -> str | None:
    """What the oracle says of a question: "answerable", "unanswerable", or None if it does not understand it."""
    finding = oracle(scene, question.text)
    return None if finding is None else "answerable" if finding.answerable else "unanswerable"


def audited(scene: Scene, question: Question) -> str | None:
    """The intended label where the oracle agrees with it, else None: what an audit would keep."""
    return question.intended if true_label(scene, question) == question.intended else None


def scored(examinations: Sequence[Examination]) -> dict[str, Any]:
    """UnF1 and its interval over `examinations`."""
    result = score(examinations, questions_per_label=6, accounts=None, provider="tiny", judge="rules")
    return {"f1": result.unf1, "ci": result.unf1_ci, "counts": result.counts.model_dump()}


def fidelity(examinations: Sequence[Examination]) -> dict[str, Any]:
    """By intended label: the share that the oracle agrees with, that it contradicts, and that it does not understand."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for examination in examinations:
        scene = Scene.read(examination.image.metadata["scene"])
        for question in examination.questions:
            true = true_label(scene, question)
            counts[question.intended][
                "unreadable" if true is None else "true" if true == question.intended else "false"
            ] += 1
    return {
        label: {name: count / of_label.total() for name, count in of_label.items()}
        for label, of_label in counts.items()
    }


def kinds(examinations: Sequence[Examination]) -> dict[str, Any]:
    """By the true kind of the self-written questions: how many, and the share that was declined."""
    declined: dict[str, list[bool]] = defaultdict(list)
    for examination in examinations:
        scene = Scene.read(examination.image.metadata["scene"])
        for question in examination.questions:
            finding = oracle(scene, question.text)
            if finding is not None and question.act in ("answered", "abstained"):
                declined[finding.kind or "answerable"].append(question.act == "abstained")
    return {kind: {"n": len(acts), "declined": float(np.mean(acts))} for kind, acts in sorted(declined.items())}


def confidence(examinations: Sequence[Examination], findings: Findings) -> dict[str, Any]:
    """By sign of confidence, its AUROC for telling unanswerable questions: by the intended label, and by the oracle's.

    A model that declines confidently defeats such a detector: a declining answer has a high probability, too.
    """
    asked = [
        (true_label(Scene.read(examination.image.metadata["scene"]), question), question)
        for examination in examinations
        for question in examination.questions
    ]
    results: dict[str, Any] = {}
    for name, (value_of, surer) in CONFIDENCE_OF.items():
        known = [(true, value_of(question)) for true, question in asked if true is not None]
        doubts = [(true, -surer * value) for true, value in known if value is not None]
        results[name] = {
            "intended": findings.signals[name].auroc,
            "oracle": auroc([doubt for _, doubt in doubts], [true == "unanswerable" for true, _ in doubts])
            if doubts
            else None,
        }
    return results


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


def study(folder: Path, world: Path, seed: int) -> dict[str, Any]:
    """All figures of one model."""
    trained = json.loads((folder / "training.json").read_text("utf-8"))
    with TemporaryDirectory() as name:
        work = Path(name)
        examinations, result = measured(
            folder, work / "own", images=[world / "manifest.jsonl"], seed=seed, samples=SAMPLES
        )
        others = labelled(folder, world, work)
    return {
        "model": folder.name,
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


def correlations(studies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Spearman's rho of UnF1, and of the oracle's F1, with size and with each other figure, over all models.

    None below three models. Models of one size that differ by their seed count each.
    """
    others: dict[str, Callable[[dict[str, Any]], float | None]] = {
        "parameters": lambda one: one["parameters"],
        "oracle_f1": lambda one: one["oracle"]["f1"],
        "audited_unf1": lambda one: one["audited"]["f1"],
        "accuracy": lambda one: one["labelled"]["accuracy"],
        "dual_accuracy": lambda one: one["labelled"]["dual_accuracy"],
        "abstention_f1": lambda one: one["labelled"]["abstention_f1"],
        "pope_accuracy": lambda one: one["labelled"]["pope_accuracy"],
        "ece": lambda one: one["labelled"]["token_probability"]["ece"],
        "aurc": lambda one: one["labelled"]["token_probability"]["aurc"],
        "token_confidence_auroc": lambda one: one["confidence_auroc"]["mean_logprob"]["oracle"],
        "semantic_entropy_auroc": lambda one: one["confidence_auroc"]["semantic_entropy"]["oracle"],
    }
    results: dict[str, Any] = {}
    for name, value in others.items():
        results[name] = {}
        for of in ("unf1", "oracle"):
            pairs = [(one[of]["f1"], value(one)) for one in studies]
            known = [(one, other) for one, other in pairs if one is not None and other is not None]
            figures = [one for one, _ in known], [other for _, other in known]
            results[name][of] = rank_correlation(*figures, "spearman").model_dump() if known else None
    return results


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


def correlation_table(by_figure: dict[str, Any]) -> str:
    """Spearman's rho of UnF1, and of the oracle's F1, with each other figure."""

    def cell(correlation: dict[str, Any] | None) -> str:
        if correlation is None or correlation["value"] is None:
            return "n/a"
        ends = f" [{correlation['ci'][0]:.2f}, {correlation['ci'][1]:.2f}]" if correlation["ci"] else ""
        return f"{correlation['value']:.2f}{ends}"

    rows = [[name.replace("_", " "), cell(both["unf1"]), cell(both["oracle"])] for name, both in by_figure.items()]
    return _rows(["figure", "rho with UnF1", "rho with oracle F1"], rows)


def kind_table(studies: Sequence[dict[str, Any]]) -> str:
    """The share of the self-written questions of each true kind that was declined, with their number."""
    names = sorted({kind for one in studies for kind in one["kinds"]} - {"answerable"})

    def cell(figures: dict[str, Any] | None) -> str:
        return f"{figures['declined']:.2f} ({figures['n']})" if figures else "n/a"

    rows = [
        [one["model"], str(one["training_seed"]), *(cell(one["kinds"].get(kind)) for kind in ("answerable", *names))]
        for one in studies
    ]
    return _rows(["model", "seed", "answerable", *names], rows)


def form_table(studies: Sequence[dict[str, Any]]) -> str:
    """Accuracy on labelled questions by form."""
    names = sorted({form for one in studies for form in one["labelled"]["accuracy_by_form"]})
    rows = [
        [f"`{name}`", *(f"{one['labelled']['accuracy_by_form'].get(name, float('nan')):.2f}" for one in studies)]
        for name in names
    ]
    return _rows(["form", *(f"{one['model']}, seed {one['training_seed']}" for one in studies)], rows)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, nargs="+", default=list(shipped()))
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/validity"))
    parser.add_argument(
        "--keep", type=Path, help="keep each model's figures in this folder, and take those that are there"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as work:
        world = Path(work) / "world"
        make(world, given.scenes, "test", seed=given.seed + 500)
        studies = []
        for folder in given.models:
            studies.append(kept(given.keep, folder, world, given.seed))
            print(table(studies[-1:]).splitlines()[-1], flush=True)
        gates = {
            name: asyncio.run(planted(given.models[-1], world / "manifest.jsonl", lines))
            for name, lines in PLANTED.items()
        }
    results = {
        "scenes": given.scenes,
        "studies": studies,
        "spearman_with_unf1": correlations(studies),
        "planted": gates,
    }
    (given.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    plots(studies, given.out)
    print(table(studies))
    print(json.dumps(results["spearman_with_unf1"], indent=1))


if __name__ == "__main__":
    main()
