"""`label`: a sheet is drawn, filled in and read back, an auditor is taken at its word, and the corrected score is shown."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest
from commandline import command
from driving import draw_images
from truths import measured, scripted_model

from unsaf_async.checks.trusted import COLUMNS, Labelling
from unsaf_async.errors import UserError
from unsaf_async.records import Audit, CallRecord
from unsaf_async.report.data import load_run
from unsaf_async.report.page import render
from unsaf_async.runs.folder import reopen
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.trusted_labels import LabelFile, read_labels
from unsaf_async.score.label_errors import TrustedLabel

RUN = Path("run")
LABELS = RUN / "labels.jsonl"


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished run over eight images in the working directory."""
    monkeypatch.chdir(tmp_path)
    scripted_model("ada")
    measured("ada", draw_images(Path("images"), 8), RUN, questions=6)


def rows(sheet: str = "sheet.csv") -> list[dict[str, str]]:
    with Path(sheet).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write(filled: list[dict[str, str]], sheet: str = "sheet.csv", delimiter: str = ",") -> None:
    with Path(sheet).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, filled[0].keys(), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(filled)


def fill(labels: str = "aaau", sheet: str = "sheet.csv") -> list[dict[str, str]]:
    """The sheet's rows with these labels in turn."""
    return [row | {"label": labels[number % len(labels)]} for number, row in enumerate(rows(sheet))]


def test_a_sheet_is_blind_is_read_back_in_any_order_and_the_score_is_corrected(capsys) -> None:
    made = command(capsys, "label", "run", "--sheet", "sheet.csv", "--labels", "60")
    assert (made.code, made.out.partition(";")[0]) == (0, "sheet.csv: 60 questions")
    assert tuple(rows()[0]) == COLUMNS
    assert {row["label"] for row in rows()} == {""}
    filled = fill()
    write(filled[::-1], delimiter=";")
    sheet = Path("sheet.csv")
    sheet.write_bytes(b"sep=;\r\n" + sheet.read_bytes())  # as some spreadsheets begin
    taken = command(capsys, "label", "run", "--read", "sheet.csv", "--labeller", "Ann")
    assert (taken.code, taken.out.splitlines()[0]) == (0, "60 new labels")
    labels = read_labels(LABELS)
    assert {labels[row["key"]].label[0] for row in filled} == {"a", "u"}
    assert all(labels[row["key"]].label[0] == row["label"] for row in filled)
    found = SavedRun(RUN)
    assert found.score is not None, "score.json is that of the labels, and need not be computed anew"
    corrected = found.score.label_corrected
    assert (corrected.labels, corrected.sources, corrected.out_of_turn) == (60, {"Ann": 60}, 0)
    assert corrected.unf1 is not None
    assert found.score.unf1 == corrected.unf1_intended
    shown = command(capsys, "show", "run").out
    assert f"UnF1 corrected for false labels: {corrected.unf1:.3f} ({corrected.unf1_ci[0]:.3f} to" in shown
    assert f"with the intended ones {corrected.unf1_intended:.3f}" in shown
    assert "(60 by Ann)" in shown
    more = command(capsys, "label", "run", "--sheet", "more.csv", "--labels", "10")
    assert more.code == 0
    assert not {row["key"] for row in rows("more.csv")} & labels.keys()
    again = command(capsys, "label", "run", "--read", "sheet.csv")
    assert again.out.startswith("0 new labels\n")
    assert len(LABELS.read_text("utf-8").splitlines()) == 60
    filled[0]["label"], filled[1]["label"] = "?", "?"
    write(filled)
    assert command(capsys, "label", "run", "--read", "sheet.csv").out.startswith("0 new labels; 2 labels changed\n")


def test_labels_correct_nothing_where_bounds_are_the_headline(capsys) -> None:
    command(capsys, "label", "run", "--sheet", "sheet.csv", "--labels", "90")
    write(fill())
    assert command(capsys, "label", "run", "--read", "sheet.csv").code == 0
    journal = RUN / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    for line in lines:
        for question in line["questions"][::3]:
            question |= {"act": None, "unscored": "undecided", "decided_by": None}
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    found = SavedRun(RUN).findings
    assert found.unf1_between is not None
    corrected = found.label_corrected
    assert (corrected.unf1, corrected.unf1_ci, corrected.unf1_intended) == (None, None, None)
    why = "so much is unscored that bounds are the headline"
    assert corrected.why_undefined["unf1"] == corrected.why_undefined["unf1_intended"] == why
    assert f"corrected for false labels: n/a ({why}); with the intended ones n/a" in command(capsys, "show", "run").out


def test_a_name_that_is_no_text_is_kept_as_far_as_it_is_one(capsys) -> None:
    command(capsys, "label", "run", "--sheet", "sheet.csv", "--labels", "4")
    write(fill())
    assert command(capsys, "label", "run", "--read", "sheet.csv", "--labeller", "Ren\udce9").code == 0
    assert {each.source for each in read_labels(LABELS).values()} == {"Ren?"}


def test_a_report_shows_the_corrected_score_beside_the_headline(capsys) -> None:
    command(capsys, "label", "run", "--sheet", "sheet.csv", "--labels", "80")
    write(fill("aau?"))
    with reopen(RUN) as folder, Labelling(folder) as labelling:
        assert labelling.read_sheet(Path("sheet.csv")) == (80, 0, 0, [])
        corrected = labelling.keep_score().label_corrected
    page = render([load_run(RUN)])
    assert "corrected for false labels" in page
    assert "And with true labels?" in page
    assert f"<b>{corrected.unf1:.3f}</b>" in page
    assert "20 of them decide nothing" in page
    assert "whether the labels are right" not in page


def test_bad_rows_are_told_a_line_each_and_nothing_is_taken(capsys) -> None:
    command(capsys, "label", "run", "--sheet", "sheet.csv", "--labels", "6")
    filled = fill("a")
    filled[0]["label"] = "perhaps"
    filled[1]["key"] = "0" * 32
    filled[2]["question"], filled[3]["question"] = filled[3]["question"], filled[2]["question"]
    filled.append(filled[4] | {"label": "u"})
    write(filled)
    ended = command(capsys, "label", "run", "--read", "sheet.csv")
    assert ended.code == 2
    lines = ended.err.splitlines()
    for line, problem in zip(
        lines,
        (
            "sheet.csv:2: label is 'perhaps'; give answerable, unanswerable or cannot-say",
            "sheet.csv:3: key is '00000000000000000000000000000000', of no scored question of this run",
            "sheet.csv:4: question is ",
            "sheet.csv:5: question is ",
            "sheet.csv:8: the question has two labels, answerable and unanswerable; leave one",
            "sheet.csv: 5 bad rows; nothing was taken",
        ),
        strict=True,
    ):
        assert problem in line
    assert read_labels(LABELS) == {}


@pytest.mark.parametrize("filled", ["a", ""])
def test_the_sheet_of_another_run_is_told_to_be_one_in_one_line(filled: str, capsys) -> None:
    scripted_model("other", seed=5)
    measured("other", [RUN / "../images/0000.png"], Path("another"), questions=3)
    assert command(capsys, "label", "another", "--sheet", "sheet.csv", "--labels", "6").code == 0
    write(fill(filled) if filled else rows())
    ended = command(capsys, "label", "run", "--read", "sheet.csv")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert re.search(
        r"--read is sheet\.csv, a sheet of another run: none of its questions \(\d\) is a scored one of run; give",
        ended.err,
    )
    assert read_labels(LABELS) == {}


def test_an_id_that_a_spreadsheet_has_made_a_number_is_known_by_its_path(capsys) -> None:
    command(capsys, "label", "run", "--sheet", "sheet.csv", "--labels", "3")
    filled = [row | {"image": "7"} for row in fill("a")]
    write([{**filled[0], "path": filled[0]["path"] + "s"}, *filled[1:]])
    assert (
        "sheet.csv:2: image is '7', and the key is that of"
        in command(capsys, "label", "run", "--read", "sheet.csv").err
    )
    write(filled)
    assert command(capsys, "label", "run", "--read", "sheet.csv").out.startswith("3 new labels\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--read", "a.csv", "--sheet", "b.csv"), "give one of --sheet FILE, --read FILE and --auditor NAME, or none"),
        (("--port", "99999"), "--port is 99999"),
        (("--read", "none.csv"), "--read is none.csv, which cannot be read"),
        (("--read", "odd.csv"), "--read is odd.csv, which has no column image, label, key"),
        (("--read", "latin.csv"), "--read is latin.csv, which is no UTF-8 text"),
        (("--read", "twice.csv"), "--read is twice.csv, which has label as the name of several columns; leave one"),
        (("--sheet", "odd.csv"), "--sheet odd.csv: exists, and may hold labels"),
        (("--sheet", "new.csv", "--labels", "0"), "--labels is 0; give 1 or more"),
        (
            ("--auditor", "bob"),
            "--auditor is 'bob', and the run has no audit by it; `unsaf-async audit RUN --provider NAME --max-cost USD`",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(capsys, arguments: tuple[str, ...], said: str) -> None:
    Path("odd.csv").write_text("question;answer\nWhat?;red\n", "utf-8")
    Path("twice.csv").write_text("image,question,label,key,Label\n1,What?,a,0,u\n", "utf-8")  # one for each labeller
    Path("latin.csv").write_bytes("image,question,label,key\nü".encode("latin-1"))
    ended = command(capsys, "label", "run", *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


def test_an_auditor_is_taken_at_its_word_and_what_people_said_stays(capsys) -> None:
    call = CallRecord(role="audit", outcome="ok")
    journal = RUN / "journal.jsonl"
    lines = []
    for examination in SavedRun(RUN).examinations:
        questions = tuple(
            each.model_copy(
                update={"audits": (Audit(auditor="eye", answerable=None if not n else n % 2 == 0, call=call),)}
            )
            for n, each in enumerate(examination.questions)
        )
        lines.append(examination.model_copy(update={"questions": questions}).model_dump_json())
    journal.write_text("\n".join(lines) + "\n", "utf-8")
    with reopen(RUN) as folder, Labelling(folder) as labelling:
        mine = labelling.next()
        labelling.put(mine.key, "cannot-say")
        number = len(labelling.by_key)
    ended = command(capsys, "label", "run", "--auditor", "eye")
    assert ended.code == 0
    assert f"{number - 1} new labels by eye; on 8 questions it gave no verdict" in ended.out
    assert "an auditor's own errors are in it" in ended.out
    assert "taken at its word" in ended.err
    labels = read_labels(LABELS)
    assert len(labels) == number
    assert labels[mine.key] == TrustedLabel("cannot-say", "by hand")
    assert {each.source for key, each in labels.items() if key != mine.key} == {"auditor eye"}
    with reopen(RUN) as folder, Labelling(folder) as labelling:
        assert labelling.labelled == 1, "an auditor's word is asked of people, too"
        asked = labelling.next()
        assert asked.key in {each.key for each in labelling.order[:2]} - {mine.key}
        assert labelling.sheet(1).count(asked.key) == 1
        labelling.put(asked.key, "cannot-say")
        assert labelling.next().key != asked.key
        labelling.put(asked.key, None)
        assert read_labels(LABELS)[asked.key] == labels[asked.key], "who takes a label back gives the auditor the word"
        first, second = (each for each in labelling.order[:3] if each.key != mine.key)
        labels_there = read_labels(LABELS)
        image, question = labelling.look_up(first)
        word = labels_there[first.key].label
        write([{"image": image.id, "question": question.text, "label": word, "key": first.key}], "confirmed.csv")
        assert labelling.read_sheet(Path("confirmed.csv")) == (1, 0, 0, [])
    labels = read_labels(LABELS)
    assert labels[first.key] == TrustedLabel(word, "by hand"), "what a person confirms is the person's word"
    assert labels[second.key].source == "auditor eye"


def test_labels_are_kept_line_by_line_the_last_one_counts_and_a_half_written_one_does_not() -> None:
    key, other = "0" * 32, "1" * 32
    with LabelFile(LABELS) as file:
        file.put(key, "a.png", "What?", "answerable")
        file.put(other, "a.png", "Who?", "unanswerable", "Ann")
        file.put(key, "a.png", "What?", "cannot-say")
        assert read_labels(LABELS) == file.labels
    assert LABELS.stat().st_mode & 0o777 == 0o600
    with LABELS.open("ab") as stream:
        stream.write(b'{"key": "22')
    assert read_labels(LABELS) == {key: TrustedLabel("cannot-say"), other: TrustedLabel("unanswerable", "Ann")}
    with LabelFile(LABELS) as file:
        file.put(key, "a.png", "What?", None)
    assert read_labels(LABELS) == {other: TrustedLabel("unanswerable", "Ann")}
    with LABELS.open("ab") as stream:
        stream.write(b"{}\n")
    with pytest.raises(UserError, match=r"labels.jsonl:5: is no label \(key: Field required"):
        read_labels(LABELS)


def test_a_label_is_synced_before_the_next_question_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(LABELS.read_bytes())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with LabelFile(LABELS) as file:
        file.put("0" * 32, "a.png", "What?", "answerable")
    assert len(synced) == 1
    assert b'"label":"answerable"' in synced[0]


def test_a_score_of_before_the_labels_is_not_taken_for_one_with_them(capsys) -> None:
    assert SavedRun(RUN).score is not None
    with reopen(RUN) as folder, Labelling(folder) as labelling:
        labelling.put(labelling.next().key, "answerable")
    assert SavedRun(RUN).score is None
    assert SavedRun(RUN).findings.label_corrected.labels == 1
    assert "a correction needs at least 50 labels" in command(capsys, "show", "run").out


def test_a_resumed_run_keeps_its_labels_in_the_score(capsys) -> None:
    with reopen(RUN) as folder, Labelling(folder) as labelling:
        labelling.put(labelling.next().key, "answerable")
    assert command(capsys, "resume", "run", "-q").code == 0
    assert json.loads((RUN / "score.json").read_bytes())["label_corrected"]["labels"] == 1
