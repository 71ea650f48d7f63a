"""Does teaching to write questions make a student aware? The paper's arms on the drawn world, at equal supervised tokens.

    make distill-demo                                            main arms; a quarter of an hour on one core
    python benchmarks/und.py --grid --keep DIR --out docs/distilled/und.json       all that docs/distilled.md rests on

Student (`unaware.py`): tiny-m, all of its weights trained on to answer everything, in each seed anew. It sees and is not aware,
but it has declined once. Teachers: tiny-l, and tiny-m. A second student, `mute`, has unlearned to write questions without an
answer, too; it was added when the first seed had been seen, and no claim rests on it. A third, `never`, was trained from
scratch on the same lessons, and has never declined: one student (30 CPU-minutes), to which the seeds give rows and scenes.
No row of distillation is about a question of the kinds `ambiguous`, `hidden` or `mental`.

Arms (`und_rows.py`), the first three by the paper's names:

    qa        UnD-QA: answers and abstentions alone
    iq        UnD-IQ: question writing alone, the instruction being the label
    joint     UnD-Joint: both, in export's default mix
    shuffled  iq with the labels of its questions swapped at random: writing without what it is to teach
    gold      joint with the world's truth for the teacher's word
    self      the student's own questions, answered or declined by its own label: consistency with itself and nothing else
    lessons   more of what the student was trained on before

Two go on from `joint`. The student answers the teacher's questions about the training scenes; where it is wrong and the teacher
was right, the teacher's reply is preferred to its own:

    joint-dpo     a second stage of DPO on these pairs
    joint-chosen  joint, with the preferred replies among its rows: the same replies, imitated

Stated before any result of this grid was seen: the figures (`CLAIMS`), their margins, and how a verdict is reached (`verdict`).
Each seed has a student, scenes, rows, order and adapter of its own; the 200 scenes to train on are the same. Intervals are
Student's t over seeds, of differences paired by seed. The claims are not corrected for their number.

Every cell (arm, teacher, dose, rank, student, seed) is a file in DIR/cells as soon as it is done; the same call goes on there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student_t

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from unsaf_async.distill.data.write_rows import WrittenPair, WrittenRow

TRAINED = ("absent-object", "temporal", "identity", "non-visual")
HELD_OUT = ("ambiguous", "hidden", "mental")
"""Kinds that are in no row of distillation, by the teacher's word or by the oracle's."""

# --- stated beforehand --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """One claim, as a difference of one figure between two arms (or `before`), and the least that counts.

    A positive margin is a gain that is asserted; 0 or a negative one bounds a harm that is denied.
    """

    name: str
    words: str
    arm: str
    against: str
    figure: str
    margin: float


CLAIMS = (
    Claim("iq-knows", "UnD-IQ: the student tells better what has no answer", "iq", "before", "auroc_trained", 0.03),
    Claim("iq-declines", "UnD-IQ: it declines more rightly", "iq", "before", "f1_trained", 0.10),
    Claim("joint-knows", "UnD-Joint: it tells better", "joint", "before", "auroc_trained", 0.03),
    Claim("joint-declines", "UnD-Joint: it declines more rightly", "joint", "before", "f1_trained", 0.10),
    Claim("iq-over-qa", "UnD-IQ does more than UnD-QA", "iq", "qa", "f1_trained", 0.05),
    Claim("joint-over-qa", "UnD-Joint does more than UnD-QA", "joint", "qa", "f1_trained", 0.02),
    Claim("qa-little", "UnD-QA does not gain 5 points or more", "before", "qa", "f1_trained", -0.05),
    Claim("iq-new-kinds", "UnD-IQ: kinds that were not taught, too", "iq", "before", "f1_held", 0.10),
    Claim("joint-new-kinds", "UnD-Joint: kinds that were not taught, too", "joint", "before", "f1_held", 0.10),
    Claim("writing-generalizes", "Writing generalizes further than answers", "joint", "qa", "auroc_held", 0.02),
    Claim("joint-new-scenes", "UnD-Joint: scenes of another sort, too", "joint", "before", "unusual_f1_trained", 0.10),
    Claim("not-self", "More than consistency with itself", "joint", "self", "f1_trained", 0.10),
    Claim("not-format", "Writing: more than its form", "iq", "shuffled", "auroc_trained", 0.03),
    Claim("joint-accuracy", "UnD-Joint: no loss of accuracy beyond 2 points", "joint", "before", "accuracy", -0.02),
    Claim("iq-accuracy", "UnD-IQ: no loss of accuracy beyond 2 points", "iq", "before", "accuracy", -0.02),
    Claim("joint-refusal", "UnD-Joint: no over-refusal beyond 5 points", "before", "joint", "over_refusal", -0.05),
    Claim("joint-pope", "UnD-Joint: POPE 1 point up", "joint", "before", "pope", 0.01),
    Claim(
        "joint-chair", "UnD-Joint: .05 fewer objects made up a description", "before", "joint", "unusual_made_up", 0.05
    ),
    Claim("joint-own-unf1", "UnD-Joint: UnF1 on own questions", "joint", "before", "unf1_own", 0.10),
    Claim("joint-bank-unf1", "UnD-Joint: UnF1 on the teacher's questions", "joint", "before", "unf1_bank", 0.10),
)
"""`auroc`: of the log-odds of the declining word, which no threshold decides. `f1`: of declining by true labels, both of which
weigh the same. `trained`, `held`: kinds in the rows of distillation, and kinds that are not. Taught by tiny-l."""

LATER_CLAIMS = (
    Claim("dpo-declines", "DPO on top: it declines more rightly", "joint-dpo", "joint", "f1_trained", 0.02),
    Claim("dpo-new-kinds", "DPO on top: kinds that were not taught, too", "joint-dpo", "joint", "f1_held", 0.05),
    Claim("dpo-knows", "DPO on top: it tells better", "joint-dpo", "joint", "auroc_trained", 0.005),
    Claim("dpo-not-data", "More than the same replies imitated", "joint-dpo", "joint-chosen", "f1_trained", 0.01),
    Claim("dpo-refusal", "DPO: no over-refusal beyond 2 points more", "joint", "joint-dpo", "over_refusal", -0.02),
    Claim("dpo-accuracy", "DPO: no loss of accuracy beyond 2 points more", "joint-dpo", "joint", "accuracy", -0.02),
    Claim("dpo-chair", "DPO: .05 fewer objects made up a description", "joint", "joint-dpo", "unusual_made_up", 0.05),
)
"""Stated when the grid above was known, before any student was trained by DPO."""


def verdict(values: Sequence[float], margin: float) -> str:
    """supported: the interval shows a difference (0, or the margin where that is below) and its middle reaches the margin.

    not supported: no part of the interval reaches it. Else undecided.
    """
    low, middle, high = interval(values)
    if low >= min(margin, 0.0) and middle >= margin:
        return "supported"
    return "not supported" if high < margin else "undecided"


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(low, mean, high) of Student's 95 % interval over seeds."""
    mean = float(np.mean(values))
    half = float(student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return mean - half, mean, mean + half


def seen_with_power(values: Sequence[float], power: float = 0.8) -> float:
    """About what difference so many seeds show with a power of .8, the scatter being what it was."""
    quantiles = student_t.ppf([0.975, power], len(values) - 1)
    return float(quantiles.sum() * np.std(values, ddof=1) / np.sqrt(len(values)))


# --- the grid -----------------------------------------------------------------------------------------------------------

ARMS = ("qa", "iq", "joint", "shuffled", "gold", "self", "lessons")
MAIN = ("joint", "qa", "iq", "self", "shuffled")
"""Of the demo, and of every seed."""
TOKENS = 12_000
"""Supervised, the default dose: three times that of a pilot (seed 90, qa, iq and joint) in which hardly anything was declined."""
SCENES, TEST_SCENES, ENGINE_SCENES = 200, 100, 30
"""To train on; to measure on, usual and unusual ones each; of these, those that the engine's own run asks about."""
WORLD_SEED = 11
RATE = 2e-3
DPO_RATE, DPO_EPOCHS, DPO_BETA = 5e-4, 3.0, 0.1
"""Of the second stage."""
PREFERRED = ("joint-dpo", "joint-chosen")


@dataclass(frozen=True, order=True)
class Cell:
    """One student. `arm` is "before" of one that was not trained on."""

    seed: int
    arm: str
    teacher: str = "tiny-l"
    dose: float = 1.0
    rank: int = 16
    student: str = "unaware"
    """Or "mute": see `unaware_lessons`; or "never": see `unaware`."""

    @property
    def name(self) -> str:
        """Of its files."""
        student = "" if self.student == "unaware" else f"{self.student}-"
        return f"{student}{self.arm}-{self.teacher}-{self.dose:.2g}-{self.rank}-{self.seed}"


def grid(seeds: int) -> Iterator[Cell]:
    """All cells, the most telling first."""
    few = range(min(seeds, 3))
    for seed in range(seeds):
        yield from (Cell(seed, arm) for arm in ("before", *MAIN))
    yield from (Cell(seed, arm, student="mute") for seed in few for arm in ("before", "iq", "joint"))
    yield from (Cell(seed, arm) for seed in few for arm in ("instructed", "bare-30"))
    yield from (Cell(seed, "gold") for seed in few)
    yield from (Cell(seed, "joint", dose=dose) for dose in (1 / 3, 3.0) for seed in few)
    yield from (Cell(seed, arm, teacher="tiny-m") for seed in few for arm in ("iq", "joint"))
    yield from (Cell(seed, "iq", dose=3.0) for seed in few)
    yield from (Cell(seed, "lessons") for seed in few)
    yield from (Cell(seed, "joint", rank=rank) for seed in few for rank in (4, 64))
    yield from (Cell(seed, arm) for seed in range(seeds) for arm in PREFERRED)
    yield from (Cell(seed, arm, student="never") for seed in few for arm in ("before", "qa", "iq", "joint"))
    yield from (Cell(seed, arm, dose=3.0, student="never") for seed in few for arm in ("iq", "joint"))


@dataclass(frozen=True)
class Study:
    """Where everything lies."""

    work: Path

    @property
    def train(self) -> Path:
        """The scenes to train on."""
        return self.work / "train"

    def student(self, cell: Cell) -> Path:
        """The student before distillation."""
        return self.work / ("never-0" if cell.student == "never" else f"{cell.student}-{cell.seed}")

    def held_out(self, seed: int) -> Path:
        """The scenes that the engine's runs ask about."""
        return self.work / f"held-out-{seed}"


def made(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, made whole or not at all."""
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        make(part)
        part.rename(folder)
    return folder


def run_of(model: str, out: Path, **options: Any) -> Path:
    """The folder of a finished run of a shipped model or of a folder's."""
    import unsaf_async

    def measure(part: Path) -> None:
        name, folder = ("tiny", model) if Path(model).is_dir() else (model, None)
        asyncio.run(unsaf_async.evaluate(name, model=folder, out=part, cache=None, **options))

    return made(out, measure)


def trained(study: Study, cell: Cell) -> tuple[Path, dict[str, Any]]:
    """The student after distillation, and how it was trained."""
    from und_rows import Source, preferred, rows_for, with_chosen

    from unsaf_async.world.scene import Scene

    student = study.student(cell)
    if cell.arm == "self":
        own = study.work / f"own-{student.name}"
        run = run_of(str(student), own, images=[study.train / "manifest.jsonl"], limit=SCENES // 2)
    else:
        run = run_of(cell.teacher, study.work / f"run-{cell.teacher}", images=[study.train / "manifest.jsonl"])
    lines = (study.train / "manifest.jsonl").read_text("utf-8").splitlines()
    scenes = {row["id"]: Scene.read(row["scene"]) for row in map(json.loads, lines)}
    source = Source(run, scenes, cell.seed)
    rows = rows_for("joint" if cell.arm in PREFERRED else cell.arm, source, round(TOKENS * cell.dose))
    folder = study.work / "students" / cell.name
    shutil.rmtree(folder, ignore_errors=True)
    if cell.arm not in PREFERRED:
        return distilled(study, cell, folder, rows)
    first, _ = distilled(study, cell, folder / "first", rows)
    pairs = preferred(run_of(str(first), folder / "answers", questions_from=run, seed=cell.seed), source)
    if cell.arm == "joint-dpo":
        model, told = distilled(study, cell, folder / "second", rows, pairs)
    else:
        rows = with_chosen(rows, pairs, cell.seed)
        model, told = distilled(study, cell, folder / "second", rows)
    return model, told | {"pairs": Counter(pair.kind for pair in pairs)}


def distilled(
    study: Study, cell: Cell, folder: Path, rows: list[WrittenRow], pairs: Sequence[WrittenPair] = ()
) -> tuple[Path, dict[str, Any]]:
    """A student trained on rows, and by DPO on pairs where there are any: its folder, and how it was trained."""
    from distillation import tokens_of

    from unsaf_async.distill.data import write_rows as formats
    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.train import train
    from unsaf_async.tiny.folders import SHIPPED

    (folder / "data").mkdir(parents=True)
    formats.write("trl", folder / "data", {"train": rows}, study.train / "images")
    if pairs:
        formats.write_pairs("trl", folder / "data", {"train": list(pairs)}, study.train / "images")
    done = train(
        Recipe(
            data=folder / "data",
            student=str(study.student(cell)),
            out=folder / "student",
            batch=32,
            learning_rate=RATE,
            lora_r=cell.rank,
            lora_alpha=2 * cell.rank,
            lora_dropout=0.0,
            seed=cell.seed,
            device="cpu",
            threads=1,
            dpo=bool(pairs),
            dpo_beta=DPO_BETA,
            dpo_learning_rate=DPO_RATE,
            dpo_epochs=DPO_EPOCHS,
            allow_near_copies=True,  # scenes may differ by one thing: a near copy in pixels is another scene
        )
    )
    count = tokens_of(SHIPPED / "tiny-m")
    assert done.merged is not None
    return done.merged, {"rows": len(rows), "tokens": sum(count(row.completion) for row in rows), "steps": done.steps}


def figures_of(study: Study, cell: Cell, model: Path) -> dict[str, Any]:
    """All figures of a model."""
    import torch
    from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast
    from unaware_lessons import INSTRUCTED
    from und_measures import Exam, described, figures, read
    from und_rows import BARE

    from unsaf_async.tiny.folders import SHIPPED
    from unsaf_async.tiny.train import Encoder
    from unsaf_async.world.scene import UNUSUAL, USUAL

    torch.set_num_threads(1)
    loaded = LlavaForConditionalGeneration.from_pretrained(model, dtype=torch.float32)
    encoder = Encoder(PreTrainedTokenizerFast.from_pretrained(SHIPPED / "tiny-m"))  # a trained one pads
    groups = {"trained": TRAINED, "held": HELD_OUT}
    found: dict[str, Any] = {}
    for prefix, drawing in (("", USUAL), ("unusual_", UNUSUAL)):
        exam = Exam.draw(TEST_SCENES, 100 + cell.seed, drawing)
        of = figures(read(loaded, encoder, exam, str), groups) | described(model, exam)
        found |= {f"{prefix}{name}": value for name, value in of.items()}
        if not prefix and cell.arm in ("before", "joint", *BARE):
            told = read(loaded, encoder, exam, lambda question: INSTRUCTED.format(question=question))
            found |= {f"instructed_{name}": value for name, value in figures(told, groups).items()}
    if cell == Cell(cell.seed, cell.arm, student=cell.student) and cell.arm in ("before", *MAIN, *PREFERRED):
        found |= engine_figures(study, cell, model)
    return found


def engine_figures(study: Study, cell: Cell, model: Path) -> dict[str, Any]:
    """By the engine's own runs: UnF1 on own questions and on the teacher's, and what the oracle says of them."""
    from by_oracle import fidelity, relabelled, scored, true_label

    import unsaf_async
    from unsaf_async.world.make import make

    scenes = made(study.held_out(cell.seed), lambda part: make(part, ENGINE_SCENES, "test", 200 + cell.seed))
    images = [scenes / "manifest.jsonl"]
    bank = run_of("tiny-l", study.work / f"bank-{cell.seed}", images=images, seed=cell.seed)
    with TemporaryDirectory() as name:
        runs = {
            "own": run_of(str(model), Path(name) / "own", images=images, seed=cell.seed),
            "bank": run_of(str(model), Path(name) / "bank", questions_from=bank, seed=cell.seed),
        }
        _, own, of_own = unsaf_async.load(runs["own"])
        _, on_bank, of_bank = unsaf_async.load(runs["bank"])
    assert of_own.questions_per_label is not None
    return {
        "unf1_own": None if of_own.unreliable else of_own.unf1,
        "unf1_bank": of_bank.unf1,
        "oracle_f1_own": None if of_own.unreliable else scored(relabelled(own, true_label))["f1"],
        "oracle_f1_bank": scored(relabelled(on_bank, true_label))["f1"],
        "true_unanswerable": fidelity(own).get("unanswerable", {}).get("true"),
        "obtained": of_own.questions.asked / (ENGINE_SCENES * 2 * of_own.questions_per_label),
    }


def done(study: Study, cell: Cell) -> dict[str, Any]:
    """A cell's record, from its file where it is there."""
    file = study.work / "cells" / f"{cell.name}.json"
    if file.exists():
        known: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return asdict(cell) | known
    from unaware import make_never, make_unaware

    from unsaf_async.world.make import make

    began_s = time.process_time()
    made(study.train, lambda part: make(part, SCENES, "train", WORLD_SEED))

    def make_student(part: Path) -> None:
        if cell.student == "never":
            make_never(part, 0)
        else:
            make_unaware(part, cell.seed, mute=cell.student == "mute")

    model = made(study.student(cell), make_student)
    told: dict[str, Any] = {}
    if cell.arm != "before":
        model, told = trained(study, cell)
    record = {**asdict(cell), **told, "figures": figures_of(study, cell, model)}
    record["cpu_s"] = time.process_time() - began_s
    shutil.rmtree(study.work / "students" / cell.name, ignore_errors=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1), "utf-8")
    part.rename(file)
    return record


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Does teaching to write questions make a student aware?")
    parser.add_argument("--grid", action="store_true", help="all cells, not the main arms alone; 70 CPU-minutes")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell after so many")
    parser.add_argument("--keep", type=Path, help="a folder for students, runs and cells; default: a temporary one")
    parser.add_argument("--out", type=Path, help="a file for the figures, as JSON; default: nowhere")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    cells = (
        list(grid(given.seeds))
        if given.grid
        else [Cell(seed, arm) for seed in range(given.seeds) for arm in ("before", *MAIN)]
    )
    began_s, records = time.monotonic(), []
    with TemporaryDirectory() if given.keep is None else nullcontext(given.keep) as work:
        study = Study(Path(work).absolute())
        for cell in cells:
            spent_s = time.monotonic() - began_s
            if spent_s > 60 * given.minutes:
                break
            records.append(done(study, cell))
            sys.stderr.write(f"{time.monotonic() - began_s:6.0f} s  {cell.name}\n")
    results = {"claims": [asdict(claim) for claim in (*CLAIMS, *LATER_CLAIMS)], "cells": records}
    if given.out is not None:
        given.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    from und_tables import TABLES

    for name, table in TABLES.items():
        sys.stdout.write(f"\n{name}\n\n{table(results)}\n")


if __name__ == "__main__":
    main()
