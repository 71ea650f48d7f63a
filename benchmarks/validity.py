"""Does UnF1 tell the truth? Tiny models of several sizes, measured label-free, beside what an oracle knows of their questions.

    python benchmarks/validity.py [--models DIR ...] [--scenes 500] [--seed 0] [--out docs/validity]

Every model folder (default: the shipped ladder) is measured on the same test scenes by the whole engine, as `unsaf-async run`
does. The oracle then says of each question that the model wrote whether the scene answers it, and each figure is computed twice:
with the instruction as the label (UnF1), and with the truth (oracle F1). Beside them: accuracy and abstention F1 on labelled
questions that the model did not write, POPE-like probes, and token confidence as a detector of unanswerable questions (AUROC).

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
from scipy.stats import rankdata, spearmanr

import unsaf_async
from unsaf_async.backends.tiny import TinyBackend
from unsaf_async.calls import Caller, Channel
from unsaf_async.examine import Examiner
from unsaf_async.images import encode
from unsaf_async.inputs import find_images
from unsaf_async.judge import Judge, rule
from unsaf_async.packs import load_pack
from unsaf_async.profiles import resolve
from unsaf_async.records import ImageRecord
from unsaf_async.score import score
from unsaf_async.settings import policy_of
from unsaf_async.tiny.folders import shipped
from unsaf_async.tiny.speaker import Job, Speaker
from unsaf_async.world.make import make
from unsaf_async.world.oracle import oracle
from unsaf_async.world.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unsaf_async.provider import Provider
    from unsaf_async.records import Examination, Question, Reply, Request

PACK = load_pack("tiny")


def measured(folder: Path, manifest: Path, seed: int, work: Path) -> tuple[list[Examination], dict[str, Any]]:
    """A run of the model in `folder` over the manifest: its examinations, and its score as a dictionary."""
    run = work / "run"
    asyncio.run(unsaf_async.evaluate("tiny", model=str(folder), images=[manifest], seed=seed, out=run, cache=None))
    _, examinations, result = unsaf_async.load(run)
    return examinations, result.model_dump(mode="json")


def relabelled(
    examinations: Sequence[Examination], label_of: Callable[[Scene, Question], str | None]
) -> list[Examination]:
    """The examinations with other labels; a question whose label is None is left out."""
    found = []
    for examination in examinations:
        scene = Scene.read(examination.image.metadata["scene"])
        labelled = [(question, label_of(scene, question)) for question in examination.questions]
        kept = tuple(question.model_copy(update={"intended": label}) for question, label in labelled if label)
        found.append(examination.model_copy(update={"questions": kept}))
    return found


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
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for examination in examinations:
        scene = Scene.read(examination.image.metadata["scene"])
        for question in examination.questions:
            true = true_label(scene, question)
            found[question.intended][
                "unreadable" if true is None else "true" if true == question.intended else "false"
            ] += 1
    return {label: {name: count / told.total() for name, count in told.items()} for label, told in found.items()}


def kinds(examinations: Sequence[Examination]) -> dict[str, Any]:
    """By the true kind of the self-written questions: how many, and the share that was declined."""
    declined: dict[str, list[bool]] = defaultdict(list)
    for examination in examinations:
        scene = Scene.read(examination.image.metadata["scene"])
        for question in examination.questions:
            finding = oracle(scene, question.text)
            if finding is not None and question.act in ("answered", "abstained"):
                declined[finding.kind or "answerable"].append(question.act == "abstained")
    return {kind: {"n": len(told), "declined": float(np.mean(told))} for kind, told in sorted(declined.items())}


def spoken(speaker: Speaker, pairs: Sequence[tuple[Path, str]]) -> list[Job]:
    """The greedy replies to questions about pictures."""
    pictures = {path: path.read_bytes() for path, _ in pairs}
    jobs = [
        Job(PACK.answer(text), pictures[path], str(path), 24, 0.0, 1.0, np.random.default_rng(0))
        for path, text in pairs
    ]
    speaker.speak(jobs)
    return jobs


def auroc(confidence: Sequence[float], unanswerable: Sequence[bool]) -> float | None:
    """The probability that an unanswerable question got a lower confidence than an answerable one (ties count half).

    The Mann-Whitney form of the area under the ROC curve; None where either sort is missing.
    """
    wanted = np.asarray(unanswerable)
    positive, negative = int(wanted.sum()), int((~wanted).sum())
    if not positive or not negative:
        return None
    ranks = rankdata(-np.asarray(confidence))
    return float((ranks[wanted].sum() - positive * (positive + 1) / 2) / (positive * negative))


def token_confidence(speaker: Speaker, examinations: Sequence[Examination]) -> dict[str, Any]:
    """AUROC of the mean and of the least token log-probability of the answers, for telling unanswerable questions.

    By the intended label, and by the oracle's. A model that declines confidently defeats this detector: a declining answer has a
    high probability, too.
    """
    asked = [(examination, question) for examination in examinations for question in examination.questions]
    jobs = spoken(speaker, [(Path(examination.image.path), question.text) for examination, question in asked])
    found: dict[str, Any] = {}
    for name, confidence in (("mean", np.mean), ("least", np.min)):
        told = [float(confidence(job.logprobs)) for job in jobs]
        found[f"{name}_intended"] = auroc(told, [question.intended == "unanswerable" for _, question in asked])
        true = [
            true_label(Scene.read(examination.image.metadata["scene"]), question) for examination, question in asked
        ]
        known = [index for index, label in enumerate(true) if label is not None]
        found[f"{name}_oracle"] = auroc(
            [told[index] for index in known], [true[index] == "unanswerable" for index in known]
        )
    return found


def labelled(speaker: Speaker, world: Path) -> dict[str, Any]:
    """On questions that the model did not write: accuracy, abstention F1, declining by kind, and the POPE-like probes."""
    rows = [json.loads(line) for line in (world / "labelled.jsonl").read_text("utf-8").splitlines()]
    jobs = spoken(speaker, [(world / row["image"], row["question"]) for row in rows])
    declined = [rule(row["question"], job.text, job.finish) == "abstained" for row, job in zip(rows, jobs, strict=True)]
    right = [job.text in row["answers"] for job, row in zip(jobs, rows, strict=True) if row["answerable"]]
    by_form: dict[str, list[bool]] = defaultdict(list)
    by_kind: dict[str, list[bool]] = defaultdict(list)
    for job, row, said in zip(jobs, rows, declined, strict=True):
        if row["answerable"]:
            by_form[row["form"]].append(job.text in row["answers"])
        else:
            by_kind[row["kind"]].append(said)
    hits = sum(said and not row["answerable"] for said, row in zip(declined, rows, strict=True))
    wrong = sum(said == row["answerable"] for said, row in zip(declined, rows, strict=True))
    probes = [json.loads(line) for line in (world / "pope.jsonl").read_text("utf-8").splitlines()]
    replies = [job.text for job in spoken(speaker, [(world / row["image"], row["text"]) for row in probes])]
    return {
        "accuracy": float(np.mean(right)),
        "abstention_f1": 2 * hits / (2 * hits + wrong) if hits or wrong else None,
        "accuracy_by_form": {form: float(np.mean(told)) for form, told in sorted(by_form.items())},
        "declined_by_kind": {kind: float(np.mean(told)) for kind, told in sorted(by_kind.items())},
        "pope_accuracy": float(
            np.mean([reply == f"{row['label'].capitalize()}." for reply, row in zip(replies, probes, strict=True)])
        ),
        "pope_yes_share": float(np.mean([reply == "Yes." for reply in replies])),
    }


def study(folder: Path, world: Path, seed: int) -> dict[str, Any]:
    """All figures of one model."""
    trained = json.loads((folder / "training.json").read_text("utf-8"))
    with TemporaryDirectory() as work:
        examinations, result = measured(folder, world / "manifest.jsonl", seed, Path(work))
    speaker = Speaker(folder)
    return {
        "model": folder.name,
        "training_seed": trained["recipe"]["seed"],
        "parameters": trained["parameters"],
        "training_cpu_s": trained["log"][-1]["cpu_s"],
        "steps": trained["log"][-1]["step"],
        "unf1": {"f1": result["unf1"], "ci": result["unf1_ci"], "counts": result["counts"]},
        "over_refusal_rate": result["over_refusal_rate"],
        "over_answer_rate": result["over_answer_rate"],
        "questions": result["questions"],
        "unscored": result["unscored"],
        "oracle": scored(relabelled(examinations, true_label)),
        "audited": scored(relabelled(examinations, audited)),
        "fidelity": fidelity(examinations),
        "kinds": kinds(examinations),
        "token_confidence_auroc": token_confidence(speaker, examinations),
        "labelled": labelled(speaker, world),
    }


@dataclass(frozen=True)
class Planted:
    """A provider that answers as `real` does, and writes what is planted in place of its questions."""

    real: Provider
    lines: tuple[str, ...]

    async def complete(self, request: Request) -> Reply:
        """The real reply; for a question-writing call with the planted list as its text."""
        reply = await self.real.complete(request)
        if request.role != "ask":
            return reply
        return replace(reply, text="\n".join(f"{number}. {line}" for number, line in enumerate(self.lines, 1)))


PLANTED = {
    "abstentions in place of questions": ("I cannot tell: the image does not show that.",) * 6,
    "one question over and over": ("What is in the north cell?",) * 6,
    "easy questions only": tuple(
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
    subject = Channel(Caller(profile, 6, 0), Planted(backend, lines))
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
    return {"unf1": result.unf1, "unreliable": result.unreliable, "warnings": result.warnings}


def correlations(studies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Spearman's rho of UnF1 with size and with each other figure, over all models; None below three models."""
    others: dict[str, Callable[[dict[str, Any]], float | None]] = {
        "parameters": lambda one: one["parameters"],
        "oracle_f1": lambda one: one["oracle"]["f1"],
        "audited_unf1": lambda one: one["audited"]["f1"],
        "accuracy": lambda one: one["labelled"]["accuracy"],
        "abstention_f1": lambda one: one["labelled"]["abstention_f1"],
        "pope_accuracy": lambda one: one["labelled"]["pope_accuracy"],
        "token_confidence_auroc": lambda one: one["token_confidence_auroc"]["mean_oracle"],
    }
    found: dict[str, Any] = {}
    for name, value in others.items():
        pairs = [(one["unf1"]["f1"], value(one)) for one in studies]
        known = [(unf1, other) for unf1, other in pairs if unf1 is not None and other is not None]
        if len(known) < 3:
            found[name] = None
            continue
        rho = spearmanr(*zip(*known, strict=True))
        found[name] = {"rho": float(rho.statistic), "n": len(known)}
    return found


def table(studies: Sequence[dict[str, Any]]) -> str:
    """The figures as a Markdown table."""
    head = (
        "| model | seed | parameters | UnF1 | oracle F1 | audited UnF1 | false labels (a / u) | labelled accuracy | "
        "abstention F1 | POPE | AUROC of confidence |\n" + "| --- " * 11 + "|\n"
    )

    def value(figure: dict[str, Any]) -> str:
        if figure["f1"] is None:
            return "n/a"
        low, high = figure["ci"] or (None, None)
        return f"{figure['f1']:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None else "")

    rows = []
    for one in studies:
        false = " / ".join(f"{one['fidelity'][label].get('false', 0):.3f}" for label in ("answerable", "unanswerable"))
        abstention, area = one["labelled"]["abstention_f1"], one["token_confidence_auroc"]["mean_oracle"]
        cells = [one["model"], str(one["training_seed"]), f"{one['parameters']:,}"]
        cells += [
            value(one["unf1"]),
            value(one["oracle"]),
            value(one["audited"]),
            false,
            f"{one['labelled']['accuracy']:.3f}",
        ]
        cells += ["n/a" if abstention is None else f"{abstention:.3f}", f"{one['labelled']['pope_accuracy']:.3f}"]
        cells += ["n/a" if area is None else f"{area:.3f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return head + "\n".join(rows)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(
        [f"| {' | '.join(head)} |", "| --- " * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
    )


def correlation_table(found: dict[str, Any]) -> str:
    """Spearman's rho of UnF1 with each other figure."""
    rows = [[name.replace("_", " "), "n/a" if rho is None else f"{rho['rho']:.2f}"] for name, rho in found.items()]
    return _rows(["figure", "Spearman's rho with UnF1"], rows)


def kind_table(studies: Sequence[dict[str, Any]]) -> str:
    """The share of the self-written questions of each true kind that was declined, with their number."""
    names = sorted({kind for one in studies for kind in one["kinds"]} - {"answerable"})

    def cell(told: dict[str, Any] | None) -> str:
        return f"{told['declined']:.2f} ({told['n']})" if told else "n/a"

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


def gate_table(found: dict[str, Any]) -> str:
    """What the gates say of planted models."""
    rows = [
        [
            name,
            "n/a" if told["unf1"] is None else f"{told['unf1']:.3f}",
            "; ".join([*told["unreliable"], *told["warnings"]]) or "nothing",
        ]
        for name, told in found.items()
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
        "AUROC of token confidence": lambda one: one["token_confidence_auroc"]["mean_oracle"],
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
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as work:
        world = Path(work) / "world"
        make(world, given.scenes, "test", seed=given.seed + 500)
        studies = []
        for folder in given.models:
            studies.append(study(folder, world, given.seed))
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
