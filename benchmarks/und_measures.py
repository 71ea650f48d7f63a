"""What benchmarks/und.py measures of a student: whether it declines, how sure it is of that, what it sees and what it makes up.

Every reply that declines begins with the same word, and no other does. So one pass over question and right reply tells whether
greedy decoding declines (the first word), whether it is right (every word), and the log-odds of declining, without decoding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from by_oracle import detection
from PIL import Image

from unsaf_async.score.metrics import auroc
from unsaf_async.tiny.speaker import Job, Speaker
from unsaf_async.tiny.train import Encoder, forward
from unsaf_async.world.describe import DESCRIBE
from unsaf_async.world.lessons import Lesson
from unsaf_async.world.questions import UNANSWERABLE, answerable, probe, unanswerable
from unsaf_async.world.scene import COLORS, SHAPES, SIZES, scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from transformers import LlavaForConditionalGeneration

    from unsaf_async.world.scene import Drawing, Scene

ANSWERABLE = 4
"""Questions that the picture answers, of each scene; one of each kind that it does not, and two probes of either sort."""
AT_A_TIME = 25
"""Scenes in a pass."""


@dataclass(frozen=True)
class Reading:
    """What a model does with each of some questions."""

    sorts: list[str]
    """`answer`, `seen` and `unseen` (probes of what is there and of what is not), or the kind."""
    declined: np.ndarray
    right: np.ndarray
    odds: np.ndarray
    """The natural log-odds that the reply begins as one that declines."""

    def of(self, sort: str) -> np.ndarray:
        """Which questions are of a sort."""
        return np.array([each == sort for each in self.sorts])


@dataclass(frozen=True)
class Exam:
    """Scenes of the test split, and questions about each with the right reply."""

    scenes: list[Scene]
    pictures: np.ndarray
    rows: list[list[tuple[str, str, str]]]
    """(sort, question, right reply) of each scene."""

    @staticmethod
    def draw(count: int, seed: int, drawing: Drawing) -> Exam:
        """An exam of so many scenes."""
        drawn = list(scenes("test", count, seed, drawing))
        rng = Random(f"und {seed}")
        rows = []
        for scene, _ in drawn:
            posed = [("answer", answerable(scene, rng)) for _ in range(ANSWERABLE)]
            posed += [(sort, probe(scene, rng, present=sort == "seen")) for sort in ("seen", "unseen") * 2]
            posed += [(kind, one) for kind in UNANSWERABLE if (one := unanswerable(scene, rng, kind))]
            rows.append([(sort, one.text, one.reply) for sort, one in posed])
        return Exam([scene for scene, _ in drawn], np.stack([picture for _, picture in drawn]), rows)


def read(model: LlavaForConditionalGeneration, encoder: Encoder, exam: Exam, ask: Callable[[str], str]) -> Reading:
    """A model's reading of an exam's questions, each put as `ask` words it."""
    decline_id = encoder.ids(["I cannot tell"])[0][0]
    sorts: list[str] = []
    declined, right, odds = [], [], []
    model.eval()
    with torch.no_grad():
        for at in range(0, len(exam.pictures), AT_A_TIME):
            rows = exam.rows[at : at + AT_A_TIME]
            lessons = [[Lesson("answer", ask(text), reply) for _, text, reply in row] for row in rows]
            batch = encoder.batch(lessons, exam.pictures[at : at + AT_A_TIME], {})
            logits = forward(model, batch)[0]
            learned = batch.targets != -100
            for number, row in enumerate(rows):
                of = batch.owner[number][learned[number]]
                chosen, wanted = logits[number][learned[number]], batch.targets[number][learned[number]]
                same = chosen.argmax(-1) == wanted
                for lesson, (sort, _, _) in enumerate(row, 1):
                    here = of == lesson
                    first = torch.log_softmax(chosen[here][0].double(), -1)
                    sorts.append(sort)
                    declined.append(int(first.argmax()) == decline_id)
                    right.append(bool(same[here].all()))
                    odds.append(float(first[decline_id] - torch.log1p(-first[decline_id].exp())))
    return Reading(sorts, np.array(declined), np.array(right), np.array(odds))


def figures(reading: Reading, groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The figures of a reading. groups: kinds of unanswerable questions by the name of their group.

    Of a group: `recall` (the mean over its kinds of the share declined), `f1` (of declining, both labels weighing the same),
    `auroc` of the log-odds, kinds weighing as they come, `d_prime` and `criterion` of all its questions.
    """
    answered = reading.of("answer")
    refused = float(reading.declined[answered].mean())
    probes = {sort: reading.right[reading.of(sort)] for sort in ("seen", "unseen")}
    found: dict[str, Any] = {
        "accuracy": float(reading.right[answered].mean()),
        "over_refusal": refused,
        "pope": float(np.mean([each.mean() for each in probes.values()])),
        "pope_seen": float(probes["seen"].mean()),
        "pope_unseen": float(probes["unseen"].mean()),
        "kinds": {kind: float(reading.declined[reading.of(kind)].mean()) for kind in UNANSWERABLE},
    }
    for name, kinds in groups.items():
        unanswerable_ = np.any([reading.of(kind) for kind in kinds], axis=0)
        both = answered | unanswerable_
        recall = float(np.mean([found["kinds"][kind] for kind in kinds]))
        d_prime, criterion = detection(reading.declined[both], unanswerable_[both])
        found |= {
            f"recall_{name}": recall,
            f"f1_{name}": 2 * recall / (1 + recall + refused),
            f"auroc_{name}": auroc(reading.odds[both].tolist(), unanswerable_[both].tolist()),
            f"d_prime_{name}": d_prime,
            f"criterion_{name}": criterion,
        }
    return found


# --- what it makes up ---------------------------------------------------------------------------------------------------

_THING = re.compile(rf"\b(?:{'|'.join(SIZES)}) ({'|'.join(COLORS)}) ({'|'.join(SHAPES)})\b")


def described(folder: Path, exam: Exam) -> dict[str, float | None]:
    """Objects named in descriptions that are not there, as CHAIR counts them: an object is a color and a shape.

    A. Rohrbach et al., "Object Hallucination in Image Captioning", EMNLP 2018: the share of objects named that are not there (i),
    and of descriptions that name one (s). Beside them the number per description.
    """
    jobs = [
        Job(DESCRIBE, png(picture), str(number), 120, 0.0, 1.0, np.random.default_rng(0))
        for number, picture in enumerate(exam.pictures)
    ]
    Speaker(folder).speak(jobs)
    named, made_up, with_one = 0, 0, 0
    for scene, job in zip(exam.scenes, jobs, strict=True):
        there = {(thing.color, thing.shape) for thing in scene.things.values()}
        objects = _THING.findall(job.text)
        wrong = sum(each not in there for each in objects)
        named, made_up, with_one = named + len(objects), made_up + wrong, with_one + bool(wrong)
    return {
        "objects": named / len(jobs),
        "made_up": made_up / len(jobs),
        "chair_i": made_up / named if named else None,
        "chair_s": with_one / len(jobs),
    }


def png(picture: np.ndarray) -> bytes:
    """A picture as a file."""
    to = BytesIO()
    Image.fromarray(picture).save(to, "PNG")
    return to.getvalue()
