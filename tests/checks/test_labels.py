"""Labels that contradict their texts: named, and a source of many such labels is left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from commandline import command
from truths import write_lines

from unsaf_async.checks.labels import check_labels
from unsaf_async.score.calibration import Judged, SourceCheck, read_calibration

if TYPE_CHECKING:
    import pytest

ANSWER, DECLINED, OPEN = "Red.", "I cannot determine that.", "Judging by its shape, it is not quite a cup."


def rows(source: str, *given: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"question": "What color is the cup?", "text": text, "label": label, "source": source} for text, label in given
    ]


GOOD = rows("sound", *[(ANSWER, "answered"), (DECLINED, "abstained")] * 20, (OPEN, "answered"))
SHIFTED = rows("slipped", *[(ANSWER, "abstained"), (DECLINED, "answered"), (ANSWER, "answered")] * 2)


def judged(given: list[dict[str, Any]]) -> list[Judged]:
    return [
        Judged(question=row["question"], response=row["text"], label=row["label"], groups={"source": row["source"]})
        for row in given
    ]


def test_labels_that_fit_are_not_named() -> None:
    check = check_labels(judged(GOOD))
    assert (check.rows, check.entered, check.contradicted, check.shifted) == (41, 41, [], {})


def test_a_single_wrong_label_is_named_and_its_row_stays() -> None:
    check = check_labels(judged(GOOD + rows("sound", (ANSWER, "abstained"))))
    assert (check.rows, check.entered, check.contradicted, check.shifted) == (42, 42, [42], {})


def test_a_source_of_many_wrong_labels_is_left_out_whole() -> None:
    check = check_labels(judged(GOOD + SHIFTED))
    assert (check.rows, check.entered, check.contradicted) == (47, 41, [42, 43, 45, 46])
    assert check.shifted == {
        "slipped": SourceCheck(rows=6, decided=6, contradicted=4, decided_abstained=2, contradicted_abstained=2)
    }


def test_the_calibration_is_of_what_enters_and_says_what_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(Path("labelled.jsonl"), GOOD + SHIFTED)
    ended = command(capsys, "judge", "calibrate", "labelled.jsonl")
    assert ended.code == 0
    assert "source 'slipped': 4 of 6 labels that the rules can check contradict their text" in ended.err
    assert "its 6 rows are left out" in ended.err
    assert "4 labels contradict their text (rows 42, 43, 45, 46); 41 of 47 rows enter" in ended.err
    found = read_calibration(Path("judge-rules.json"))
    assert (found.labels.rows, found.labels.entered, list(found.labels.shifted)) == (47, 41, ["slipped"])
    assert (found.confusions.overall.rows, found.confusions.overall.accuracy) == (41, 1.0)


def test_a_file_whose_labels_are_all_shifted_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(Path("labelled.jsonl"), SHIFTED)
    ended = command(capsys, "judge", "calibrate", "labelled.jsonl")
    assert ended.code == 2
    assert "4 of 6 labels that the rules can check contradict their text" in ended.err
    assert "(2 of 2 where the response declines) (rows 1, 2, 4, 5)" in ended.err
    assert not Path("judge-rules.json").exists()


RARE = [(ANSWER, "answered")] * 39 + [(DECLINED, "abstained")]
"""One in forty declines."""


def shifted_by_one(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    labels = [row["label"] for row in given]
    return [{**row, "label": label} for row, label in zip(given, labels[-1:] + labels[:-1], strict=True)]


def test_a_shifted_file_of_few_abstentions_is_refused_though_most_labels_fit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    slipped = [{**row, "source": ""} for row in shifted_by_one(rows("", *RARE * 4))]
    assert check_labels(judged(rows("", *RARE * 4))).entered == 160
    write_lines(
        Path("labelled.jsonl"), [{name: value for name, value in row.items() if name != "source"} for row in slipped]
    )
    ended = command(capsys, "judge", "calibrate", "labelled.jsonl")
    assert ended.code == 2
    assert "8 of 160 labels" in ended.err
    assert "4 of 4 where the response declines" in ended.err


def test_few_contradicted_abstentions_of_many_do_not_speak_for_a_source() -> None:
    given = rows("sound", *RARE * 10, *[(DECLINED, "answered")] * 4)
    assert check_labels(judged(given)).shifted == {}


def test_sources_too_small_to_tell_are_refused_together() -> None:
    given = shifted_by_one([row for number in range(5) for row in rows(f"source {number}", *RARE)])
    check = check_labels(judged(given))
    assert (check.entered, len(check.shifted)) == (0, 5)
    assert check.shifted["source 0"].contradicted == 2
