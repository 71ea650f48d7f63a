"""Size does not matter: what a run, and its score, hold in memory for each image."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from unsaf_async.calls.ledger import Account
from unsaf_async.events import silent
from unsaf_async.inputs.sources import ImageSource
from unsaf_async.records import CallRecord, Examination, ImageRecord, Question, TokenConfidence
from unsaf_async.report.confidence_curves import calibration_curves, signal_values
from unsaf_async.report.explorer import explorer
from unsaf_async.report.thumbnails import Thumbnail
from unsaf_async.runs.folder import read_manifest
from unsaf_async.runs.journal import Examinations, Journal, Kept
from unsaf_async.runs.prepare import questions_of
from unsaf_async.runs.result import RunTally
from unsaf_async.runs.work import Survey, Work
from unsaf_async.score.bootstrap import BLOCK_BYTES
from unsaf_async.score.rank_intervals import auroc_interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.runs.folder import Manifest

CALL = CallRecord(role="answer", outcome="ok", finish_reason="stop", input_tokens=300, output_tokens=9, model="m")
LIMIT_BYTES = 15_000
"""An image of 14 questions, on top of whatever a run of none takes."""


def examination(number: int) -> Examination:
    """An image with 14 questions that no other image has."""
    questions = tuple(
        Question(
            text=f"What is the color of the thing number {number} beside the other thing number {place}?",
            intended="answerable" if place % 2 else "unanswerable",
            kind=None if place % 2 else "hidden",
            response=f"The image does not show the color of the thing number {number}, so that I cannot tell.",
            answer=CALL,
            act="abstained" if (place + number) % 3 else "answered",
            decided_by="rule",
            token_confidence=TokenConfidence(mean_logprob=-0.1 * place, min_logprob=-0.3 * number, tokens=9),
        )
        for place in range(14)
    )
    image = ImageRecord(id=f"{number:06}.jpg", path=f"/photos/{number:06}.jpg", width=640, height=480)
    return Examination(image=image, questions=questions, asks=(CALL, CALL))


def held(work: Callable[[], object]) -> tuple[int, int]:
    """How many bytes the result of `work` holds, and how many it took at most on the way."""
    tracemalloc.start()
    try:
        result = work()
        now, peak = tracemalloc.get_traced_memory()
        del result
        return now, peak
    finally:
        tracemalloc.stop()


def journal_of(folder: Path, images: int) -> Path:
    file = folder / f"{images}.jsonl"
    with Journal(file) as journal:
        for number in range(images):
            journal.keep(examination(number))
    return file


def test_a_journal_that_is_written_or_read_holds_where_its_lines_are_and_no_more(tmp_path: Path) -> None:
    def written() -> Journal:
        with Journal(tmp_path / "written.jsonl") as journal:
            for number in range(300):
                journal.keep(examination(number))
        return journal

    assert held(written)[0] / 300 < 1_000
    assert held(lambda: Journal(tmp_path / "written.jsonl"))[0] / 300 < 1_000


@pytest.fixture
def manifest() -> Manifest:
    return read_manifest(Path(__file__).parents[1] / "data" / "old_run" / "scripted")


def test_a_score_takes_little_memory_for_each_further_image(tmp_path: Path, manifest: Manifest) -> None:
    def peak(images: int) -> int:
        file = journal_of(tmp_path, images)
        return held(lambda: RunTally.of(manifest, Journal(file).kept))[1]

    peak(20)  # caches of words, and what is imported at first use
    assert (peak(160) - peak(60)) / 100 < LIMIT_BYTES


def test_the_questions_of_a_report_are_held_as_the_text_that_they_become(tmp_path: Path) -> None:
    def peak(images: int) -> int:
        examinations = Examinations(Kept(journal_of(tmp_path, images)))
        return held(lambda: explorer("a run", examinations, [Thumbnail("", "none")] * images))[1]

    peak(20)
    assert (peak(60) - peak(20)) / 40 < LIMIT_BYTES


def test_the_signs_of_confidence_of_a_report_are_held_as_numbers(tmp_path: Path) -> None:
    def peak(images: int) -> int:
        examinations = Examinations(Kept(journal_of(tmp_path, images)))
        return held(lambda: (signal_values(examinations), calibration_curves(examinations)))[1]

    peak(20)
    assert (peak(60) - peak(20)) / 40 < 2_000


def test_of_another_run_its_questions_are_held_and_no_answers(tmp_path: Path, manifest: Manifest) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_text(manifest.model_dump_json(), "utf-8")

    def peak(images: int) -> int:
        journal_of(tmp_path, images).replace(run / "journal.jsonl")
        return held(lambda: questions_of(run, trust=True))[1]

    peak(20)
    assert (peak(60) - peak(20)) / 40 < LIMIT_BYTES


def test_a_run_that_is_whole_is_tallied_while_it_is_looked_at(tmp_path: Path, manifest: Manifest) -> None:
    asks_no_more = {"auditors": (), "grounded": False, "confidence": False, "samples": 0}
    plain = manifest.model_copy(update={"images": 6, **asks_no_more})
    kept = Kept(journal_of(tmp_path, 6))
    sources = [ImageSource(name, tmp_path / name) for name in kept]

    def work(images: int) -> Work:
        survey = Survey(plain.model_copy(update={"images": images}), kept, silent)
        with Journal(kept, survey.add):
            return survey.work(sources)

    tally = work(6).tally
    assert tally is not None
    assert tally.findings(Account()) == RunTally.of(plain, kept).findings(Account())
    assert work(7).tally is None


def test_resampling_takes_blocks_however_many_images_there_are() -> None:
    images = 4_000  # all draws at once would be 64 MB, and their float copy as much again
    scores, positive = [number % 7 for number in range(images)], [number % 2 for number in range(images)]
    assert held(lambda: auroc_interval(scores, positive, list(range(images))))[1] < 3 * BLOCK_BYTES
