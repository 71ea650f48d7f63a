"""Runs of a few questions, in memory alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from doubles import in_memory

from unsaf_async.prompts import load_pack
from unsaf_async.providers.profile import Profile
from unsaf_async.records import CallRecord, Examination, ImageRecord, Question
from unsaf_async.runs.folder import new_manifest
from unsaf_async.runs.saved import SavedRun

PACKS = {name: load_pack(name) for name in ("unsaf", "tiny")}
TEACHER = Profile(name="teacher", backend="scripted", model="teacher")
MANIFEST = new_manifest(
    subject=TEACHER,
    judges=("self",),
    pack="unsaf",
    pack_version="1",
    pack_sha256=PACKS["unsaf"].sha256,
    questions=2,
    seed=0,
    max_cost_usd=None,
    until_ci=None,
    images=1,
    images_sha256="",
    cache="",
).model_copy(update={"run_id": "0123456789abcdef"})


def call(role: str = "answer") -> CallRecord:
    return CallRecord(role=role, outcome="ok")  # type: ignore[arg-type]


def asked(text: str = "What color is the car?", label: str = "answerable", **fields: Any) -> Question:
    """A question that the model got right, unless `fields` say otherwise."""
    right = {
        "answerable": {"act": "answered", "response": "The car is red."},
        "unanswerable": {"act": "abstained", "response": "The image does not show it.", "kind": "hidden"},
    }[label]
    return Question(**{"text": text, "intended": label, "answer": call(), "decided_by": "rule", **right, **fields})


def run_of(*questions: Question, pack: str = "unsaf", **manifest: Any) -> SavedRun:
    """A run of one image for every two questions, in memory alone."""
    examinations = [
        Examination(
            image=ImageRecord(id=f"{n}.png", path=f"{n}.png", pixels_sha256=f"{n:064x}"), questions=questions[n : n + 2]
        )
        for n in range(0, len(questions), 2)
    ]
    return in_memory(
        SavedRun(Path("runs/one")),
        manifest=MANIFEST.model_copy(update=manifest),
        pack=PACKS[pack],
        examinations=tuple(examinations),
    )
