"""The kinds of training rows: writing questions, answering them, declining them, repeating what the student knows."""

from __future__ import annotations

from typing import Literal, get_args

RowKind = Literal["write-answerable", "write-unanswerable", "answer", "decline", "replay"]
"""What a row teaches: to write a question of either label, to answer, to decline, or to stay as it is (its own answer)."""

ROW_KINDS: tuple[RowKind, ...] = get_args(RowKind)

WRITING: tuple[RowKind, RowKind] = ("write-answerable", "write-unanswerable")
