"""What the students of benchmarks/und.py are trained on: the rows of each arm, at equal supervised tokens."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING

from distillation import to_budget, tokens_of
from unaware_lessons import INSTRUCTED, answering
from und import HELD_OUT

from unsaf_async.distill.data.build_rows import good_items, rows_of, with_bare_questions, written
from unsaf_async.distill.data.kinds import WRITING
from unsaf_async.distill.data.mix import take
from unsaf_async.distill.data.options import Filters
from unsaf_async.distill.data.pairs import pairs_of
from unsaf_async.distill.data.write_rows import WrittenPair, WrittenRow
from unsaf_async.prompts import load_pack
from unsaf_async.runs.saved import SavedRun
from unsaf_async.tiny.folders import SHIPPED
from unsaf_async.world import language as words
from unsaf_async.world.oracle import oracle
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from unsaf_async.distill.data.build_rows import Item, TrainingRow
    from unsaf_async.distill.data.options import Mix
    from unsaf_async.records import Question
    from unsaf_async.world.scene import Scene

PACK = load_pack("tiny")

MIXES: dict[str, Mix] = {"qa": (0, 0, 60, 40, 0), "iq": (50, 50, 0, 0, 0), "joint": (15, 15, 30, 20, 0)}
"""The rows of the paper's arms, by kind: `joint` is the default of `export`, the others its halves."""

BARE = {"instructed": 0.0, "bare-30": 0.3}
"""Arms of `joint` whose questions carry an instruction, but for this share of the rows."""


@dataclass(frozen=True)
class Source:
    """What rows are made from. run: the teacher's on the scenes to train on; of `self` the student's."""

    run: Path
    scenes: dict[str, Scene]
    seed: int


def rows_for(arm: str, source: Source, budget: int) -> list[WrittenRow]:
    """The rows of an arm, in random order, until their replies make `budget` tokens; too few are gone through again."""
    match arm:
        case "lessons":
            rows = list(_lessons(source))
        case "self":
            rows = list(_own(source))
        case "shuffled":
            rows = _shuffled(_taken("iq", source), source.seed)
        case "gold":
            rows = list(_gold(_taken("joint", source), source.scenes))
        case _ if arm in BARE:
            rows = _instructed(_taken("joint", source), BARE[arm], source.seed)
        case _:
            rows = [_row(each) for each in _taken(arm, source)]
    Random(f"{arm} {source.seed}").shuffle(rows)
    return list(to_budget(rows, budget, tokens_of(SHIPPED / "tiny-m")))


def preferred(answers: Path, source: Source) -> list[WrittenPair]:
    """Of a student's run on the teacher's questions: the teacher's right reply over the student's wrong one, all of them."""
    pairs, _ = pairs_of([SavedRun(answers)], _items(source))
    return [
        WrittenPair(pair.id, name, f"{name}.png", pair.kind, pair.prompt, pair.chosen, pair.rejected)
        for pair in sorted(pairs, key=lambda pair: (pair.item.image.id, pair.item.number))
        for name in [pair.item.image.id]
    ]


def with_chosen(rows: Sequence[WrittenRow], pairs: Sequence[WrittenPair], seed: int) -> list[WrittenRow]:
    """Rows with the preferred replies of pairs among them."""
    chosen = [
        WrittenRow(
            pair.id,
            pair.image_id,
            pair.image,
            "decline" if pair.kind == "abstain" else "answer",
            pair.prompt,
            pair.chosen,
        )
        for pair in pairs
    ]
    mixed = [*rows, *chosen]
    Random(f"chosen {seed}").shuffle(mixed)
    return mixed


def teaches_held_out(scene: Scene, question: Question) -> bool:
    """Whether a question is of a kind that is held out, by the word of who wrote it or by the oracle's."""
    finding = oracle(scene, question.text)
    return question.kind in HELD_OUT or (finding is not None and finding.kind in HELD_OUT)


def _items(source: Source) -> list[Item]:
    """The teacher's questions that may be taught."""
    items, _ = good_items(SavedRun(source.run), Filters())
    return [item for item in items if not teaches_held_out(source.scenes[item.image.id], item.question)]


def _taken(arm: str, source: Source) -> list[TrainingRow]:
    """The largest selection of the teacher's rows that has the arm's mix."""
    rows, _ = rows_of(_items(source))
    by_kind = defaultdict(list)
    for row in sorted(rows, key=lambda row: sha256(f"{source.seed}:{_place(row.id)}".encode()).digest()):
        by_kind[row.kind].append(row)
    return list(take(by_kind, MIXES[arm], tokens_of(SHIPPED / "tiny-m")).rows)


def _place(row_id: str) -> str:
    """A row's id without that of its run, which is another each time."""
    return row_id.partition("/")[2]


def _row(row: TrainingRow) -> WrittenRow:
    name = row.item.image.id
    return WrittenRow(row.id, name, f"{name}.png", row.kind, row.prompt, row.completion)


def _shuffled(rows: Sequence[TrainingRow], seed: int) -> list[WrittenRow]:
    """Written questions whose labels, and kinds with them, are those of other rows, at random."""
    labels = [(row.item.label, row.item.question.kind) for row in rows]
    Random(f"labels {seed}").shuffle(labels)
    shuffled = []
    for row, (label, kind) in zip(rows, labels, strict=True):
        question = row.item.question.model_copy(update={"intended": label, "kind": kind})
        reply = written(question, json_lists=PACK.json_lists)
        shuffled.append(replace(_row(row), prompt=PACK.ask(label, 1), completion=reply))
    return shuffled


def _gold(rows: Sequence[TrainingRow], scenes: dict[str, Scene]) -> Iterator[WrittenRow]:
    """Rows with the world's truth for the teacher's; a question whose label is false is not taught to be written."""
    for row in rows:
        finding = oracle(scenes[row.item.image.id], row.item.question.text)
        if finding is None:
            yield _row(row)
        elif row.kind in WRITING:
            if finding.answerable == (row.item.label == "answerable"):
                yield _row(row)
        else:
            kind, reply = ("answer", finding.answer) if finding.answerable else ("decline", finding.reason)
            yield replace(_row(row), kind=kind, completion=reply or "")  # type: ignore[arg-type]


def _own(source: Source) -> Iterator[WrittenRow]:
    """The student's own questions, its own label taken for the truth: declined where it meant them to have no answer.

    It declines nothing, so what it got right by the method's count would hold no row that declines.
    """
    for examination in sorted(SavedRun(source.run).examinations, key=lambda each: each.image.id):
        name = examination.image.id
        for number, question in enumerate(examination.questions, 1):
            if teaches_held_out(source.scenes[name], question):
                continue
            answers = question.intended == "answerable"
            replies = {
                "write-answerable" if answers else "write-unanswerable": (
                    PACK.ask(question.intended, 1),
                    written(question, json_lists=PACK.json_lists),
                ),
                "answer" if answers else "decline": (
                    PACK.answer(question.text),
                    final_text(question.response).answer if answers else words.declined(question.kind or "identity"),
                ),
            }
            if answers and question.act != "answered":  # its own label says otherwise
                del replies["answer"]
            for kind, (prompt, reply) in replies.items():
                if reply.strip():
                    yield WrittenRow(f"self/{name}/{number}/{kind}", name, f"{name}.png", kind, prompt, reply)  # type: ignore[arg-type]


def _lessons(source: Source) -> Iterator[WrittenRow]:
    """What the student was trained on before, about the same scenes."""
    rng = Random(f"lessons {source.seed}")
    for name, scene in source.scenes.items():
        for number, lesson in enumerate(answering(scene, rng, PACK), 1):
            kind = {"write": "write-answerable", "describe": "replay"}.get(lesson.skill, "answer")
            yield WrittenRow(f"world/{name}/{number}", name, f"{name}.png", kind, lesson.prompt, lesson.reply)  # type: ignore[arg-type]


def _instructed(rows: Sequence[TrainingRow], bare: float, seed: int) -> list[WrittenRow]:
    """Rows whose questions carry an instruction, but for a share of them."""
    told = [row if row.kind in WRITING else replace(row, prompt=INSTRUCTED.format(question=row.prompt)) for row in rows]
    return [_row(row) for row in with_bare_questions(told, bare, seed)]
