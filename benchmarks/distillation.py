"""What does a student that declines already gain? The whole loop on the drawn world, by the engine: teacher, students, controls.

    python benchmarks/distillation.py [--teacher tiny-m] [--student tiny-xs] [--seeds 5] ...

A teacher is run on drawn scenes, its run is exported, a smaller student is trained on the export (LoRA, TRL), and the student and
what became of it are measured on held-out scenes, all by the engine, as `unsaf-async run`, `export`, `distill` and `distill-eval`
do. Compared with that arm, at equal supervised tokens: the ablation without question writing, and three controls:

    full       what `export` takes of the teacher's run: questions to write, to answer, to decline
    answers    the same without question writing (`--no-question-writing`)
    gold       the rows of `full` with the world's truth for the teacher's replies; questions whose label is false are declined or
               answered as the truth has it, and not taught to be written
    self       `full` with the student as its own teacher
    lessons    more of what the student was trained on at first (descriptions, answers, lists of questions)

Two further arms, only with --arms: `full` with the student's own answers for a fifth of the rows, from its own run (`replay`) or,
right ones alone, from the labelled questions (`checked`).

Every seed has scenes of its own to be measured on, and its own selection, order and initial adapter for training; the scenes to
train on are the same. So an interval over seeds covers all of these, and not what another teacher or another student would give.

Prints the tables; --out FILE keeps the figures. --keep DIR keeps every run and student, and goes on where an earlier call
stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from by_oracle import fidelity, relabelled, scored, true_label
from scipy.stats import t as student_t

import unsaf_async
from unsaf_async.distill.data import write_rows as formats
from unsaf_async.distill.data.build_rows import read_row_id
from unsaf_async.distill.data.export import export
from unsaf_async.distill.data.options import Options
from unsaf_async.distill.data.write_rows import WrittenRow
from unsaf_async.distill.evaluate.comparison import Folders, compare_folders
from unsaf_async.distill.evaluate.figures import unavailable
from unsaf_async.distill.evaluate.gates import PARTS, judge
from unsaf_async.distill.train.recipe import Recipe
from unsaf_async.prompts import load_pack
from unsaf_async.tiny.folders import SHIPPED
from unsaf_async.world.lessons import lessons
from unsaf_async.world.make import make
from unsaf_async.world.oracle import oracle
from unsaf_async.world.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ARMS = ("full", "answers", "gold", "self", "lessons")
FURTHER = ("replay", "checked")

WORLD_SEED = 7
"""Of the scenes to train on: not the seed of those that the shipped models were trained on."""

FIGURES = {
    "unf1_own": "UnF1, own questions",
    "unf1_fixed_mix": "UnF1, own, before's kinds",
    "oracle_f1_own": "oracle F1, own questions",
    "obtained": "own questions obtained, of those asked for",
    "false_answerable_own": "own “answerable” that are not",
    "unf1_bank": "UnF1, teacher's questions",
    "abstention_f1": "abstention F1, true labels",
    "accuracy": "accuracy",
    "over_refusal": "over-refusal",
    "abstention_recall": "abstention recall",
    "pope_accuracy": "POPE accuracy",
}
"""What is compared, before and after, in [0, 1]."""

OWN = ("unf1_own", "unf1_fixed_mix", "oracle_f1_own", "false_answerable_own")
"""Say nothing of a student that hardly writes questions any more."""


@dataclass(frozen=True)
class Study:
    """What is asked for. teacher, student: shipped names or folders. scenes: to train on; held_out: to measure on, a seed."""

    teacher: str
    student: str
    seeds: int
    scenes: int
    held_out: int
    epochs: float
    learning_rate: float
    arms: tuple[str, ...]
    work: Path

    @property
    def train(self) -> Path:
        """The scenes to train on."""
        return self.work / "train"

    def held_out_scenes(self, seed: int) -> Path:
        """The scenes to measure on."""
        return self.work / f"held-out-{seed}"

    def recipe(self, data: Path, out: Path, seed: int) -> Recipe:
        """How every arm is trained."""
        return Recipe(
            data=data,
            student=self.student,
            out=out,
            epochs=self.epochs,
            batch=32,
            learning_rate=self.learning_rate,
            lora_dropout=0.0,
            seed=seed,
            device="cpu",
            threads=1,
            allow_near_copies=True,  # scenes may differ by one thing: a near copy in pixels is another scene
        )


# --- measuring --------------------------------------------------------------------------------------------------------


def measured(model: str, out: Path, **options: Any) -> Path:
    """The folder of a finished run of `model`, made if it is not there."""
    if not (out / "score.json").exists():
        name, folder = ("tiny", model) if Path(model).is_dir() else (model, None)
        asyncio.run(unsaf_async.evaluate(name, model=folder, out=out, cache=None, **options))
    return out


def folders(model: str, study: Study, seed: int, out: Path) -> Folders:
    """A model's runs on the held-out scenes of `seed`: its own questions, the teacher's, the labelled ones, the probes."""
    scenes = study.held_out_scenes(seed)
    teacher = study.work / f"teacher-{seed}"
    return Folders(
        own=measured(model, out / "own", images=[scenes / "manifest.jsonl"], seed=seed),
        bank=measured(model, out / "bank", questions_from=teacher, seed=seed),
        labelled=measured(model, out / "labelled", data=scenes / "labelled.jsonl", seed=seed),
        pope=(measured(model, out / "pope", data=scenes / "pope.jsonl", seed=seed),),
    )


def truth(runs: Folders) -> dict[str, Any]:
    """What the world knows of a model's runs and the engine does not: figures by the oracle's labels, and by kind."""
    assert runs.own is not None
    assert runs.labelled is not None
    _, own, own_findings = unsaf_async.load(runs.own)
    _, _, labelled_findings = unsaf_async.load(runs.labelled)
    wrong = fidelity(own)
    assert own_findings.images.total is not None
    assert own_findings.questions_per_label is not None
    requested = own_findings.images.total * 2 * own_findings.questions_per_label
    return {
        "oracle_f1_own": scored(relabelled(own, true_label))["f1"],
        "obtained": own_findings.questions.asked / requested,
        "unreliable": own_findings.unreliable,
        "false_answerable_own": wrong["answerable"].get("false", 0.0) if "answerable" in wrong else None,
        "false_unanswerable_own": wrong["unanswerable"].get("false", 0.0) if "unanswerable" in wrong else None,
        "abstention_f1": labelled_findings.unf1,
        "declined_by_kind": {
            kind: row.recall for kind, row in labelled_findings.by_kind.items() if row.recall is not None
        },
        "accuracy_by_form": labelled_findings.labelled.by_category if labelled_findings.labelled else {},
        "own_kinds": dict(Counter(question.kind for each in own for question in each.questions if question.kind)),
    }


# --- what each arm is trained on --------------------------------------------------------------------------------------


def data_of(arm: str, study: Study, seed: int, out: Path) -> tuple[int, int]:
    """Write the arm's data to `out`, as `export` does. Returns its training rows and their supervised tokens."""
    tokenizer = SHIPPED / study.student if (SHIPPED / study.student).is_dir() else Path(study.student)
    # The world's sentences are short and all alike: the same question about many scenes is no sign of a template here.
    own = {"replay": study.work / "student-train", "checked": study.work / "labelled-train"}
    options = Options(
        seed=seed,
        tokenizer=tokenizer,
        same_question=10_000,
        writing=arm != "answers",
        splits=(95, 5, 0),
        student_replay=own.get(arm),
    )
    teacher = [study.work / ("student-train" if arm == "self" else "teacher-train")]
    made = export(teacher, out, options)
    tokens = sum(made.tokens.values())
    rows = sum(count for (_, split), count in made.rows.items() if split == "train")
    if arm in ("full", "answers"):
        return rows, tokens
    budget = budget_of(study, seed)
    makers = {"gold": gold, "lessons": taught}
    chosen = makers.get(arm, as_exported)(Making(study, seed, out))
    Random(f"{arm} {seed}").shuffle(chosen)
    count = tokens_of(tokenizer)
    return rewrite(out, study, list(to_budget(chosen, budget, count)), count)


def budget_of(study: Study, seed: int) -> int:
    """The supervised tokens of the arm `full`, which it has written down."""
    return int(json.loads((study.work / f"tokens-{seed}.json").read_text("utf-8")))


def tokens_of(folder: Path) -> Any:
    """Counts a text's tokens."""
    from unsaf_async.distill.data.mix import token_counter

    return token_counter(folder)


def to_budget(rows: Sequence[WrittenRow], budget: int, count: Any) -> Iterable[WrittenRow]:
    """`rows` from the first on, and from the first again, until their completions make `budget` tokens."""
    spent, number = 0, 0
    while rows:
        copy, place = divmod(number, len(rows))
        row = rows[place]
        spent += count(row.completion)
        if spent > budget:
            return
        number += 1
        yield row if not copy else WrittenRow(**{**fields_of(row), "id": f"{row.id}/{copy + 1}"})


def fields_of(row: WrittenRow) -> dict[str, Any]:
    """A row's fields by name."""
    return {name: getattr(row, name) for name in WrittenRow.__dataclass_fields__}


def rewrite(out: Path, study: Study, rows: Sequence[WrittenRow], count: Any) -> tuple[int, int]:
    """Put `rows` for the training rows in `out`. Returns their number and their tokens."""
    for file in (out / "data").glob("train-*.parquet"):
        file.unlink()
    validation = list((out / "data").iterdir())
    aside = out / "aside"
    aside.mkdir()
    for file in validation:
        file.rename(aside / file.name)
    (out / "data").rmdir()
    formats.write("trl", out, {"train": list(rows)}, study.train / "images")
    for file in aside.iterdir():
        file.rename(out / "data" / file.name)
    aside.rmdir()
    return len(rows), sum(count(row.completion) for row in rows)


def items(out: Path) -> list[dict[str, Any]]:
    """The training rows of an export, as items.jsonl has them."""
    lines = (out / "items.jsonl").read_text("utf-8").splitlines()
    return [item for line in lines if (item := json.loads(line))["split"] == "train"]


def scenes_of(study: Study) -> dict[str, Scene]:
    """The scenes to train on, by the id of the image."""
    lines = (study.train / "manifest.jsonl").read_text("utf-8").splitlines()
    return {row["id"]: Scene.read(row["scene"]) for row in map(json.loads, lines)}


def scene_id(item: Mapping[str, Any]) -> str:
    """The scene that a row is about: an image's id in a run is that, or its path in a labelled set."""
    return Path(read_row_id(item["id"])[1]).stem


def written(item: Mapping[str, Any], **changed: Any) -> WrittenRow:
    """An item as a row of parquet, with the scene's own picture."""
    image = f"{scene_id(item)}.png"
    row = {name: item[name] for name in ("id", "image_id", "kind", "prompt", "completion")} | {"image": image}
    return WrittenRow(**(row | changed))


@dataclass(frozen=True)
class Making:
    """What a control's rows are made from. out: the export whose place they take."""

    study: Study
    seed: int
    out: Path


def as_exported(making: Making) -> list[WrittenRow]:
    """The rows of an export as they are."""
    return list(map(written, items(making.out)))


def gold(making: Making) -> list[WrittenRow]:
    """The rows of an export with the world's truth in them."""
    return list(_gold(making))


def _gold(making: Making) -> Iterator[WrittenRow]:
    scenes = scenes_of(making.study)
    for item in items(making.out):
        finding = oracle(scenes[scene_id(item)], item["question"]["text"])
        if finding is None:
            yield written(item)
        elif item["kind"].startswith("write"):
            if finding.answerable == (item["question"]["intended"] == "answerable"):
                yield written(item)
        else:
            reply = finding.answer or finding.reason or ""
            yield written(item, completion=reply, kind="answer" if finding.answerable else "decline")


def taught(making: Making) -> list[WrittenRow]:
    """What the student was trained on at first, about the same scenes."""
    pack, rng = load_pack("tiny"), Random(f"lessons {making.seed}")
    kinds = {"describe": "replay", "answer": "answer", "decline": "decline", "write": "write-answerable"}
    return [
        WrittenRow(
            id=f"world/{name}/{number}/{lesson.skill}",
            image_id=name,
            image=f"{name}.png",
            kind=kinds[lesson.skill],  # type: ignore[arg-type]
            prompt=lesson.prompt,
            completion=lesson.reply,
        )
        for name, scene in scenes_of(making.study).items()
        for number, lesson in enumerate(lessons(scene, rng, pack), 1)
    ]


# --- one student ------------------------------------------------------------------------------------------------------


def prepared(study: Study, what: str) -> None:
    """One of the runs that all else rests on: who, and on which scenes: "teacher-train", "before-3"."""
    who, where = what.split("-")
    model = study.teacher if who == "teacher" else study.student
    if who == "labelled":
        measured(model, study.work / what, data=study.train / "labelled.jsonl")
    elif where == "train":
        measured(model, study.work / what, images=[study.train / "manifest.jsonl"])
    elif who == "teacher":
        measured(
            model, study.work / what, images=[study.held_out_scenes(int(where)) / "manifest.jsonl"], seed=int(where)
        )
    else:
        folders(model, study, int(where), study.work / what)


def trained(study: Study, arm: str, seed: int) -> dict[str, Any]:
    """One arm and seed, from its data to its figures; read back where it is there already."""
    from unsaf_async.distill.train.train import train

    folder = study.work / f"{arm}-{seed}"
    file = folder / "result.json"
    if file.exists():
        return json.loads(file.read_text("utf-8"))  # type: ignore[no-any-return]
    folder.mkdir(exist_ok=True)
    began_s, cpu_s = time.monotonic(), time.process_time()
    rows, tokens = data_of(arm, study, seed, emptied(folder / "data"))
    made = train(study.recipe(folder / "data", emptied(folder / "student"), seed))
    assert made.merged is not None
    before = folders(study.student, study, seed, study.work / f"before-{seed}")
    after = folders(str(made.merged), study, seed, folder)
    comparison = compare_folders(before, after, resamples=2_000, seed=seed)
    result = {
        "arm": arm,
        "seed": seed,
        "rows": rows,
        "supervised_tokens": tokens,
        "steps": made.steps,
        "losses": [made.sft.eval_losses[0][1], made.sft.eval_losses[-1][1]] if made.sft.eval_losses else None,
        "tokens_per_s": made.sft.tokens_per_s,
        "figures": {
            figure.name: {"before": figure.before, "after": figure.after, "ci": figure.ci}
            for figure in comparison.figures
        },
        "gates": {gate.name: gate.verdict for gate in comparison.gates},
        "before": truth(before),
        "after": truth(after),
        "cpu_s": time.process_time() - cpu_s,
        "wall_s": time.monotonic() - began_s,
    }
    file.write_text(json.dumps(result, indent=1), "utf-8")
    return result


def emptied(folder: Path) -> Path:
    """`folder` without what an interrupted call may have left there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


# --- all of them ------------------------------------------------------------------------------------------------------


def run_study(study: Study, jobs: int) -> dict[str, Any]:
    """All runs, trainings and measurements, `jobs` at a time; what came out."""
    began_s = time.monotonic()
    seeds = range(study.seeds)
    if not study.train.exists():
        make(study.train, study.scenes, "train", WORLD_SEED)
    for seed in seeds:
        if not study.held_out_scenes(seed).exists():
            make(study.held_out_scenes(seed), study.held_out, "test", seed)
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:

        def all_of(work: Mapping[str, Any]) -> dict[str, Any]:
            names = {future: name for name, future in work.items()}
            done = {}
            for future in as_completed(names):
                if future.exception():
                    pool.shutdown(cancel_futures=True)
                done[names[future]] = future.result()
                print(f"{time.monotonic() - began_s:6.0f} s  {names[future]}", file=sys.stderr, flush=True)
            return done

        # the teacher's run on the scenes to train on takes as long as all others together: it comes first
        first = ["teacher-train", *(f"teacher-{seed}" for seed in seeds), "student-train"]
        first += ["labelled-train"] if "checked" in study.arms else []
        all_of({what: pool.submit(prepared, study, what) for what in first})
        all_of({what: pool.submit(prepared, study, what) for what in (f"before-{seed}" for seed in seeds)})
        rest = [(arm, seed) for arm in study.arms for seed in seeds]
        full = [each for each in rest if each[0] == "full"]
        results = all_of({f"{arm}, seed {seed}": pool.submit(trained, study, arm, seed) for arm, seed in full})
        for each in results.values():
            (study.work / f"tokens-{each['seed']}.json").write_text(str(each["supervised_tokens"]), "utf-8")
        others = [each for each in rest if each[0] != "full"]
        results |= all_of({f"{arm}, seed {seed}": pool.submit(trained, study, arm, seed) for arm, seed in others})
    students = sorted(results.values(), key=lambda each: (study.arms.index(each["arm"]), each["seed"]))
    return {
        "teacher": Path(study.teacher).name,
        "student": Path(study.student).name,
        "scenes": study.scenes,
        "held_out": study.held_out,
        "seeds": study.seeds,
        "epochs": study.epochs,
        "learning_rate": study.learning_rate,
        "teacher_unf1": [unsaf_async.load(study.work / f"teacher-{seed}")[2].unf1 for seed in seeds],
        "students": students,
        "last_call_s": time.monotonic() - began_s,
        "jobs": jobs,
    }


# --- tables -----------------------------------------------------------------------------------------------------------


def value(student: Mapping[str, Any], name: str, side: str) -> float | None:
    """A figure of a student before or after; None where the engine holds it to be unreliable."""
    if name in OWN and student[side]["unreliable"]:
        return None
    if name in student["figures"]:
        return student["figures"][name][side]  # type: ignore[no-any-return]
    return student[side][name]  # type: ignore[no-any-return]


def over_seeds(values: Sequence[float | None]) -> str:
    """`+0.041 [+0.030, +0.052]`: mean and 95 % t-interval over the seeds; behind it how many are left out, if any."""
    known = [each for each in values if each is not None]
    missing = len(values) - len(known)
    left_out = f" ({missing} of {len(values)} unreliable)" if missing else ""
    if not known:
        return f"n/a{left_out}"
    mean = float(np.mean(known))
    if len(known) < 3:  # two seeds give an interval that says nothing
        return f"{mean:+.3f}{left_out}"
    half = float(student_t.ppf(0.975, len(known) - 1) * np.std(known, ddof=1) / np.sqrt(len(known)))
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]{left_out}"


def by_arm(results: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The students of each arm, in the order of their seeds."""
    arms = {each["arm"]: None for each in results["students"]}
    return {arm: [each for each in results["students"] if each["arm"] == arm] for arm in arms}


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def change_table(results: Mapping[str, Any]) -> str:
    """After minus before, by arm: mean and interval over the seeds."""
    arms = by_arm(results)
    rows = []
    for name, title in FIGURES.items():
        before = [value(each, name, "before") for each in next(iter(arms.values()))]
        known = [each for each in before if each is not None]
        row = [title, f"{np.mean(known):.3f}" if known else "n/a"]
        for students in arms.values():
            pairs = [(value(each, name, "before"), value(each, name, "after")) for each in students]
            row.append(over_seeds([None if a is None or b is None else b - a for a, b in pairs]))
        rows.append(row)
    return markdown(["", "before", *arms], rows)


def against_table(results: Mapping[str, Any]) -> str:
    """The arm `full` minus each other arm, after training, paired by seed."""
    arms = by_arm(results)
    full, others = arms["full"], {arm: students for arm, students in arms.items() if arm != "full"}
    rows = []
    for name, title in FIGURES.items():
        row = [title]
        for students in others.values():
            pairs = [(value(a, name, "after"), value(b, name, "after")) for a, b in zip(full, students, strict=True)]
            row.append(over_seeds([None if a is None or b is None else a - b for a, b in pairs]))
        rows.append(row)
    return markdown(["full minus", *others], rows)


def kind_table(results: Mapping[str, Any]) -> str:
    """Labelled unanswerable questions: the share declined, by kind, mean over the seeds."""
    arms = by_arm(results)
    first = next(iter(arms.values()))
    kinds = sorted({kind for each in first for kind in each["before"]["declined_by_kind"]})

    def mean(students: Sequence[Mapping[str, Any]], side: str, kind: str) -> str:
        values = [share for each in students if (share := each[side]["declined_by_kind"].get(kind)) is not None]
        return f"{np.mean(values):.2f}" if values else "n/a"

    return markdown(
        ["kind", "before", *arms],
        [
            [f"`{kind}`", mean(first, "before", kind), *(mean(students, "after", kind) for students in arms.values())]
            for kind in kinds
        ],
    )


def gate_table(results: Mapping[str, Any]) -> str:
    """In how many seeds each gate of `distill-eval` passes, fails, and cannot tell or be computed, by arm."""
    arms = {
        arm: [verdicts(student, results["held_out"]) for student in students]
        for arm, students in by_arm(results).items()
    }

    def counted(of_seeds: Sequence[str]) -> str:
        passed, failed = of_seeds.count("pass"), of_seeds.count("fail")
        return f"{passed} / {failed} / {len(of_seeds) - passed - failed}"

    rows = [
        [f"`{name}`", *(counted([each[name] for each in seeds]) for seeds in arms.values())]
        for name in results["students"][0]["gates"]
    ]
    whole = (sum(set(each.values()) == {"pass"} for each in seeds) for seeds in arms.values())
    rows.append(["all pass", *(f"{count} of {results['seeds']}" for count in whole)])
    return markdown(["gate", *arms], rows)


def verdicts(student: Mapping[str, Any], held_out: int) -> dict[str, str]:
    """The gates' verdicts by a student's intervals, as a study keeps no exact bounds; "n/a" where it withheld a score."""
    figures = [
        unavailable(name, "").model_copy(
            update={
                **{key: each[key] for key in ("before", "after")},
                "difference": each["after"] - each["before"],
                "ci": each["ci"] and tuple(each["ci"]),
                "images": held_out,
            }
        )
        for name, each in student["figures"].items()
        if None not in (each["before"], each["after"])
    ]
    return {
        gate.name: "n/a" if student["gates"][gate.name] == "n/a" else gate.verdict
        for gate in judge(figures, PARTS)
        if gate.name in student["gates"]
    }


def training_table(results: Mapping[str, Any]) -> str:
    """What each arm was trained on, and for how long; means over the seeds."""

    def mean(students: Sequence[Mapping[str, Any]], name: str) -> str:
        return f"{np.mean([each[name] for each in students]):,.0f}"

    columns = ("rows", "supervised_tokens", "steps", "tokens_per_s", "wall_s")
    return markdown(
        ["arm", "rows", "supervised tokens", "steps", "tokens/s", "wall s, data to figures"],
        [[arm, *(mean(students, name) for name in columns)] for arm, students in by_arm(results).items()],
    )


TABLES = {
    "change": change_table,
    "against": against_table,
    "kinds": kind_table,
    "gates": gate_table,
    "training": training_table,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="The whole loop of distillation on the drawn world.")
    parser.add_argument("--teacher", default="tiny-m", help="a shipped tiny model or a folder (default: tiny-m)")
    parser.add_argument("--student", default="tiny-xs", help="the same, smaller (default: tiny-xs)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenes", type=int, default=1_000, help="to train on (default: 1000)")
    parser.add_argument("--held-out", type=int, default=250, help="to measure on, a seed (default: 250)")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, *FURTHER], default=ARMS, help="`full` comes with all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes, of one thread each")
    parser.add_argument("--keep", type=Path, help="a folder for runs and students; default: a temporary one")
    parser.add_argument("--out", type=Path, help="a file for the figures, as JSON; default: nowhere")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with TemporaryDirectory() if given.keep is None else nullcontext(given.keep) as work:
        folder = Path(work).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        study = Study(
            teacher=given.teacher,
            student=given.student,
            seeds=given.seeds,
            scenes=given.scenes,
            held_out=given.held_out,
            epochs=given.epochs,
            learning_rate=given.learning_rate,
            arms=tuple(arm for arm in (*ARMS, *FURTHER) if arm in {"full", *given.arms}),
            work=folder,
        )
        results = run_study(study, given.jobs)
    if given.out is not None:
        given.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(f"{results['student']} from {results['teacher']}: {results['seeds']} seeds, {results['last_call_s']:.0f} s")
    for name, table in TABLES.items():
        if name != "against" or len(by_arm(results)) > 1:
            print(f"\n{table(results)}")


if __name__ == "__main__":
    main()
