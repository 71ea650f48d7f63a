"""benchmarks/und_measures.py: one pass tells what decoding would say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from unsaf_async.tiny.folders import SHIPPED
from unsaf_async.tiny.speaker import Job, Speaker
from unsaf_async.tiny.train import Encoder
from unsaf_async.world.scene import UNUSUAL

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from und_measures import Exam, described, figures, png, read

sys.path.pop(0)


def test_one_pass_tells_what_greedy_decoding_says_and_how_sure_it_is() -> None:
    folder = SHIPPED / "tiny-s"
    exam = Exam.draw(6, 1, UNUSUAL)
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    reading = read(model, Encoder(PreTrainedTokenizerFast.from_pretrained(folder)), exam, str)
    questions = [(n, *question) for n, row in enumerate(exam.rows) for question in row]
    jobs = [
        Job(text, png(exam.pictures[n]), str(n), 60, 0.0, 1.0, np.random.default_rng(0)) for n, _, text, _ in questions
    ]
    Speaker(folder).speak(jobs)
    assert reading.sorts == [sort for _, sort, _, _ in questions]
    assert reading.right.tolist() == [job.text == reply for job, (_, _, _, reply) in zip(jobs, questions, strict=True)]
    declined = [job.text.startswith("I cannot tell") for job in jobs]
    assert reading.declined.tolist() == declined
    first = np.exp([job.logprobs[0] for job in jobs])
    odds = np.log(first / (1 - first))
    assert reading.odds[declined] == pytest.approx(odds[declined], abs=0.01)

    found = figures(reading, {"all": ("hidden", "mental")})
    answered = [sort == "answer" for sort in reading.sorts]
    assert found["over_refusal"] == np.mean(np.array(declined)[answered])
    shares = [np.mean(np.array(declined)[reading.of(kind)]) for kind in ("hidden", "mental")]
    recall = float(np.mean(shares))
    assert found["recall_all"] == recall
    assert found["f1_all"] == 2 * recall / (1 + recall + found["over_refusal"])


def test_objects_that_are_named_and_not_there_are_counted() -> None:
    exam = Exam.draw(8, 1, UNUSUAL)
    found = described(SHIPPED / "tiny-xs", exam)
    jobs = [
        Job("Describe the image.", png(picture), str(n), 120, 0.0, 1.0, np.random.default_rng(0))
        for n, picture in enumerate(exam.pictures)
    ]
    Speaker(SHIPPED / "tiny-xs").speak(jobs)
    named, wrong = 0, []
    for job, scene in zip(jobs, exam.scenes, strict=True):
        there = {(thing.color, thing.shape) for thing in scene.things.values()}
        parts = [part.split() for part in job.text.rstrip(".").split(", ")]
        objects = [(part[2], part[3]) for part in parts if len(part) == 4]
        named += len(objects)
        wrong.append(sum(each not in there for each in objects))
    assert sum(wrong) > 0
    assert found == {
        "objects": named / 8,
        "made_up": sum(wrong) / 8,
        "chair_i": sum(wrong) / named,
        "chair_s": sum(map(bool, wrong)) / 8,
    }
