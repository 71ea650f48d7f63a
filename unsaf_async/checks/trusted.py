"""`label`: trusted labels of a run's questions, given on a page, in a sheet, or by an auditor.

Whoever labels sees the image and the question, and neither what the question was meant to be nor what the model replied.
"""

from __future__ import annotations

import csv
import io
import re
from functools import cached_property
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.inputs.lists.delimited import told_delimiter
from unsaf_async.runs.basis import Basis, keep_basis, saved_score
from unsaf_async.runs.result import RunTally
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.table_files import csv_cell
from unsaf_async.runs.trusted_labels import BY_HAND, LabelFile
from unsaf_async.score.label_errors import AUDITOR
from unsaf_async.score.label_sample import Sampled, label_order, question_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from unsaf_async.records import ImageRecord, Question
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import RunFolder
    from unsaf_async.score.label_errors import TrustedLabel, Verdict

COLUMNS = ("image", "path", "question", "label", "key")
"""Of a sheet. `label` is filled in; `key` says which question a row is about, wherever the row comes to stand."""

WORDS: dict[str, Verdict] = {
    **dict.fromkeys(("answerable", "a", "1", "yes", "y"), "answerable"),
    **dict.fromkeys(("unanswerable", "u", "2", "no", "n"), "unanswerable"),
    **dict.fromkeys(("cannot-say", "cannot say", "?", "3"), "cannot-say"),
}
"""What may stand in a sheet for a label, in small letters."""

_KEY = re.compile("[0-9a-f]{32}")
"""What `question_key` gives."""

MOST_BAD_ROWS = 20
"""How many bad rows of a sheet are told, a line each."""


class Labelling:
    """The labelling of a run that is open and locked: which question comes next, and what is said of each.

        with reopen(folder) as opened, Labelling(opened) as labelling:
            asked = labelling.next()

    Args:
        folder: The run's.
        source: Who labels; "" for nobody by name.

    Raises:
        UserError: The run's labels are no instruction's, it holds no scored question, or a file of it is damaged.
    """

    def __init__(self, folder: RunFolder, source: str = "") -> None:
        self.run = SavedRun(folder.path)
        self.source = source.strip().encode(errors="replace").decode() or BY_HAND  # a terminal's bytes may be no text
        self._folder = folder
        self._basis = saved_score(folder.files, self.run.manifest)
        given = self.run.manifest.source
        if given is not None and given.kind == "labelled":
            raise UserError(
                f"{folder.path}: its labels are those of {given.name}, and no instruction's; they stand as they are"
            )
        if not self.order:
            raise UserError(f"{folder.path}: holds no scored question; give another run")
        self._file = LabelFile(folder.files.labels)
        self._words_replaced: dict[str, TrustedLabel] = {}

    @cached_property
    def order(self) -> list[Sampled]:
        """All scored questions, in the order in which they are to be labelled."""
        return label_order(self.run.kept.in_order(sorted(self.run.kept)), self.run.manifest.seed)

    @cached_property
    def by_key(self) -> dict[str, Sampled]:
        """The scored questions by their keys."""
        return {each.key: each for each in reversed(self.order)}

    @property
    def labelled(self) -> int:
        """How many of the run's scored questions have a label by somebody else than an auditor."""
        return sum(self._has_label(key) for key in self.by_key)

    def look_up(self, sampled: Sampled) -> tuple[ImageRecord, Question]:
        """A question and its image.

        Args:
            sampled: The question.

        Returns:
            The image's record and the question.
        """
        examination = self.run.kept[sampled.image]
        return examination.image, examination.questions[sampled.place]

    def _has_label(self, key: str) -> bool:
        """Whether somebody has labelled a question; an auditor's word leaves it to be asked of people."""
        label = self._file.labels.get(key)
        return label is not None and not label.source.startswith(AUDITOR)

    def unlabelled(self) -> Iterator[Sampled]:
        """The questions that have no label yet, or only an auditor's.

        Yields:
            Each wording about a picture once, in the order in which they are to be labelled.
        """
        for each in self.order:
            if not self._has_label(each.key) and self.by_key[each.key] is each:
                yield each

    def next(self) -> Sampled | None:
        """The question to be labelled next.

        Returns:
            The first without a label; None if there is none.
        """
        return next(self.unlabelled(), None)

    def put(self, key: str, label: Verdict | None) -> None:
        """Write a label down at once.

        Args:
            key: The question's.
            label: What it is; None takes its label back, and an auditor's that it replaced here counts again.

        Raises:
            UserError: There is no such question, or the label cannot be written.
        """
        if key not in self.by_key:
            raise UserError(f"{key:.40}: is the key of no scored question of this run")
        image, question = self.look_up(self.by_key[key])
        source, before = self.source, self._file.labels.get(key)
        if label is None:
            word = self._words_replaced.pop(key, None)
            label, source = (word.label, word.source) if word else (None, source)
        elif before is not None and before.source.startswith(AUDITOR):
            self._words_replaced[key] = before
        self._file.put(key, image.id, question.text, label, source)

    def _put_all(self, labels: dict[str, Verdict], source: str) -> tuple[int, int]:
        """How many of the labels are new, and how many are others than before; they are written down."""
        lines: list[tuple[str, str, str, Verdict | None]] = []
        changed = 0
        for key, label in labels.items():
            before = self._file.labels.get(key)
            # What a person confirms is an auditor's word no longer, which a later one of its might replace.
            confirmed = before is not None and before.source.startswith(AUDITOR) and before.source != source
            if before is None or before.label != label or confirmed:
                image, question = self.look_up(self.by_key[key])
                lines.append((key, image.id, question.text, label))
                changed += before is not None and before.label != label
        self._file.put_all(lines, source)
        return len(lines) - changed, changed

    # --- sheets

    def sheet(self, labels: int) -> str:
        """A sheet of the questions to be labelled next.

        Args:
            labels: How many at most, >= 1.

        Returns:
            CSV, with a line of heads.

        Raises:
            UserError: `labels` is out of its range, or every question has a label by somebody else than an auditor.
        """
        if labels < 1:
            raise UserError(f"is {labels}; give 1 or more", "labels")
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(COLUMNS)
        count = 0
        for sampled in self.unlabelled():
            image, question = self.look_up(sampled)
            rows.writerow([csv_cell(image.id), csv_cell(image.path), csv_cell(question.text), "", sampled.key])
            count += 1
            if count == labels:
                break
        if not count:
            raise UserError(f"{self._folder.path}: every scored question has a label")
        return text.getvalue()

    def read_sheet(self, file: Path) -> tuple[int, int, int, list[str]]:
        """The labels of a sheet that was filled in, written down unless a row of it is wrong.

        Args:
            file: A sheet as `sheet` gives it, in any order of rows and columns.

        Returns:
            How many labels are new, how many are others than before, how many rows have none, and what is wrong, a line a row:
            then nothing was written.

        Raises:
            UserError: The file cannot be read, is no sheet, or is that of another run.
        """
        rows = list(_rows(file))
        if rows and all(_KEY.fullmatch(row["key"]) and row["key"] not in self.by_key for _, row in rows):
            raise UserError(
                f"is {file}, a sheet of another run: none of its questions ({len(rows):,}) is a scored one of "
                f"{self._folder.path}; give the sheet that was made of this run",
                "read",
            )
        found: dict[str, Verdict] = {}
        empty, wrong = 0, []
        for number, row in rows:
            label, problem = self._read(row, found)
            if problem:
                wrong.append(f"{file}:{number}: {problem}")
            elif label is None:
                empty += 1
            else:
                found[row["key"]] = label
        new, changed = (0, 0) if wrong else self._put_all(found, self.source)
        return new, changed, empty, wrong

    def _read(self, row: dict[str, str], found: dict[str, Verdict]) -> tuple[Verdict | None, str]:
        """(the row's label or None, what is wrong with the row or "")."""
        key, word = row["key"], row["label"].lower()
        if not word:
            return None, ""
        if word not in WORDS:
            return None, f"label is {row['label']!r:.60}; give answerable, unanswerable or cannot-say (a, u, ?)"
        sampled = self.by_key.get(key)
        if sampled is None:
            return (
                None,
                f"key is {key!r:.60}, of no scored question of this run; give the sheet that `label --sheet` made",
            )
        image, question = self.look_up(sampled)
        told = {"image": csv_cell(image.id), "question": csv_cell(question.text)}
        if image.part is None and _plain(row.get("path", "")) == _plain(str(csv_cell(image.path))):
            del told["image"]  # a spreadsheet makes a number of an id such as 007, and leaves paths as they are
        for column, text in told.items():
            # What a program makes of odd characters and breaks is no other question; a cell of another row is.
            if _plain(row[column]) != _plain(str(text)) and question_key(image, row[column]) != key:
                return (
                    None,
                    f"{column} is {row[column]!r:.60}, and the key is that of {str(text)!r:.60}: cells have moved",
                )
        if found.get(key, WORDS[word]) != WORDS[word]:
            return None, f"the question has two labels, {found[key]} and {WORDS[word]}; leave one"
        return WORDS[word], ""

    # --- an auditor

    def take_auditor(self, name: str) -> tuple[int, int]:
        """An auditor's verdicts as labels; where it failed or gave none, the question cannot be said.

        A question that has a label by somebody else keeps it.

        Args:
            name: An auditor of the run.

        Returns:
            How many labels are new, and of how many scored questions it gave no verdict.

        Raises:
            UserError: The run has no audit by it.
        """
        source = f"{AUDITOR}{name}"
        found: dict[str, Verdict] = {}
        without = 0
        for examination in self.run.kept.in_order(sorted(self.run.kept)):
            for question in examination.questions:
                key = question_key(examination.image, question.text)
                audit = next((each for each in question.audits if each.auditor == name), None)
                if audit is None or key not in self.by_key:
                    continue
                without += audit.answerable is None
                before = self._file.labels.get(key)
                if before is None or before.source == source:
                    found[key] = (
                        "cannot-say"
                        if audit.answerable is None
                        else "answerable"
                        if audit.answerable
                        else "unanswerable"
                    )
        if not found and name not in self.run.manifest.auditors:
            others = self.run.manifest.auditors
            known = f"; its auditors: {', '.join(others)}" if others else ""
            raise UserError(
                f"is {name!r:.60}, and the run has no audit by it{known}; "
                "`unsaf-async audit RUN --provider NAME --max-cost USD` makes one",
                "auditor",
            )
        return sum(self._put_all(found, source)), without

    # --- the end

    def keep_score(self) -> Findings:
        """The run's findings with its labels; score.json is written anew.

        Returns:
            The findings.
        """
        run = SavedRun(self._folder.path)
        result = RunTally.of(run.manifest, run.kept, self._file.labels).findings(run.account)
        self._folder.keep_score(result)
        before = self._basis[1] if self._basis else None
        done, satisfied = (before.done, before.satisfied) if before else (False, False)
        files = self._folder.files
        keep_basis(files, Basis.of(files, run.manifest, done=done, satisfied=satisfied))
        return result

    def close(self) -> None:
        """Close the file of labels."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a sheet, each with the number of its last line, by the names of their columns."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"is {file}, which cannot be read ({error.strerror}); give a sheet", "read") from None
    except UnicodeDecodeError:
        raise UserError(f"is {file}, which is no UTF-8 text; save it as CSV in UTF-8", "read") from None
    head = text.split("\n", 1)[0]
    told = told_delimiter(head.rstrip("\r"))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=told or max(",;\t", key=head.count))
    try:
        if told:
            next(rows)
        names = [name.strip().lower() for name in next(rows, [])]
        missing = [name for name in COLUMNS if name not in names and name != "path"]
        if missing:
            raise UserError(f"is {file}, which has no column {', '.join(missing)}; give a sheet", "read")
        twice = [name for name in COLUMNS if names.count(name) > 1]
        if twice:
            raise UserError(
                f"is {file}, which has {', '.join(twice)} as the name of several columns; leave one of each", "read"
            )
        for row in rows:
            if any(cell.strip() for cell in row):
                cells = [cell.strip() for cell in (*row, *[""] * len(names))]
                yield rows.line_num, dict(zip(names, cells, strict=False))
    except csv.Error as error:
        raise UserError(f"is {file}, which is no CSV (line {rows.line_num}: {error}); give a sheet", "read") from None


def _plain(text: str) -> str:
    """A text as far as no program changes it."""
    return " ".join(text.split())
