"""What an export is asked for. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Annotated, Literal

from unsaf_async.distill.data.kinds import ROW_KINDS
from unsaf_async.errors import UserError
from unsaf_async.help import OUTPUT, Help

Form = Literal["trl", "sharegpt", "openai"]

Mix = tuple[float, float, float, float, float]
"""Percent of rows, in the order of `ROW_KINDS`."""

DEFAULT: Mix = (15, 15, 30, 20, 20)
"""A judgement: no source is known that sweeps the share of unanswerable questions for question writing."""

SAME_QUESTION = 20
"""Images of one label that a question may be about, in the same words: one that stands everywhere is learned as a habit."""

ROWS = "Rows"
LEFT_OUT = "What is left out"
PREFERENCES = "Preferences"


def read_mix(text: str) -> Mix:
    """The percentages that a text such as `15/15/30/20/20` spells.

    Args:
        text: Five percentages with slashes between, in the order of `ROW_KINDS`.

    Returns:
        Five percentages that make 100, each >= 0.

    Raises:
        UserError: The text is anything else.
    """
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) != 5 or not all(isfinite(part) and part >= 0 for part in parts) or abs(sum(parts) - 100) > 1e-6:
        kinds = "/".join(ROW_KINDS)
        raise UserError(
            f"{text}: are not five percentages that make 100; give {kinds}, such as 15/15/30/20/20", field="mix"
        )
    return parts[0], parts[1], parts[2], parts[3], parts[4]


def _read_splits(text: str) -> tuple[int, int, int]:
    from unsaf_async.distill.data.clusters import read_splits

    return read_splits(text)


@dataclass(frozen=True, slots=True)
class Filters:
    """What is asked of a question beyond its type."""

    confirmed_by: Annotated[
        str | None,
        Help(
            "Take only questions whose label this auditor, or every one, confirms.",
            metavar="AUDITOR|all",
            panel=LEFT_OUT,
        ),
    ] = None
    """The auditor who must have confirmed the label, or "all"; None: nobody must."""
    unanimous: Annotated[
        bool, Help("Take only responses on which the whole panel of judges agreed.", panel=LEFT_OUT)
    ] = False
    """Whether the panel of judges must have been of one mind, where the rules left a response open."""
    supported: Annotated[bool, Help("Take only answers that the grounded judge saw borne out.", panel=LEFT_OUT)] = False
    """Whether an answer must be borne out by the image, in the eyes of a judge that saw it."""
    min_consistency: Annotated[
        float | None,
        Help(
            "Take only answers of which this share of the further draws means the same (run --samples).",
            metavar="SHARE",
            panel=LEFT_OUT,
        ),
    ] = None
    """In (0, 1]; the figure is `signals.self_consistency`. None: any, and none."""
    min_confidence: Annotated[
        float | None,
        Help(
            "Take only answers that the teacher says it is so sure of (run --confidence).",
            metavar="SHARE",
            panel=LEFT_OUT,
        ),
    ] = None
    """In (0, 1]; the figure is `signals.stated`. None: any, and none."""
    agree: Annotated[
        int | None,
        Help(
            "With --agreed-by: how many models must have done as the label has it, the teacher included. Default: all.",
            metavar="N",
            panel=LEFT_OUT,
        ),
    ] = None
    """2 or more; None: all that have a response to the question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is exported, and how."""

    form: Annotated[
        Form,
        Help(
            "trl: parquet with images. sharegpt: for LLaMA-Factory and ms-swift. openai: chat JSONL with data URLs.",
            metavar="trl|sharegpt|openai",
            panel=OUTPUT,
            spelling=("--format",),
        ),
    ] = "trl"
    mix: Annotated[
        Mix,
        Help(
            "Percent of rows: write answerable, write unanswerable, answer, decline, replay.",
            metavar="A/B/C/D/E",
            panel=ROWS,
            parse=read_mix,
            default="15/15/30/20/20",
        ),
    ] = DEFAULT
    """In the order of `ROW_KINDS`."""
    writing: Annotated[
        bool,
        Help(
            "Leave the rows of question writing out, at the supervised tokens of the full mix.",
            panel=ROWS,
            spelling=("--no-question-writing",),
        ),
    ] = True
    """Whether rows teach question writing; False is the ablation."""
    bare_questions: Annotated[
        float,
        Help(
            "Share of the rows that answer or decline whose prompt is the question alone.", metavar="SHARE", panel=ROWS
        ),
    ] = 0.0
    """In [0, 1]. The others have the run's own instruction to answer, which may say what to do about what cannot be seen."""
    student_replay: Annotated[
        Path | None,
        Help("A run of the student: its own answers, so that it forgets less.", metavar="RUN_DIR", panel=ROWS),
    ] = None
    """The student's own run, with the answers that it is to keep."""
    accept_terms: Annotated[
        bool,
        Help(
            "State that you may use the outputs of a commercial teacher for this: several providers forbid it.",
            panel=OUTPUT,
            spelling=("--accept-teacher-terms",),
        ),
    ] = False
    filters: Filters = field(default_factory=Filters)
    splits: Annotated[
        tuple[int, int, int],
        Help(
            "Percent of different pictures for train, validation and test.",
            metavar="A/B/C",
            panel=ROWS,
            parse=_read_splits,
            default="90/5/5",
        ),
    ] = (90, 5, 5)
    """Percent of the clusters."""
    splits_of: Annotated[
        tuple[Path, ...],
        Help(
            "An earlier export: its pictures, and near copies of them, stay in their split, whatever --splits and --seed. "
            "May be given several times.",
            metavar="DIR",
            panel=ROWS,
        ),
    ] = ()
    """See `earlier.clustered`."""
    seed: Annotated[int, Help("Of the splits and of what is taken.", metavar="N", panel=ROWS)] = 0
    same_question: Annotated[int, Help("Most images that the same question is about.", metavar="N", panel=LEFT_OUT)] = (
        SAME_QUESTION
    )
    """Of one label: see `cleaned.capped`."""
    exclude_images: Annotated[
        tuple[Path, ...],
        Help(
            "Images of an evaluation: what is near to one is left out. May be given several times.",
            metavar="DIR",
            panel=LEFT_OUT,
        ),
    ] = ()
    tokenizer: Annotated[
        Path | None,
        Help("The student's tokenizer, to count tokens by. Default: bytes / 4.", metavar="DIR", panel=ROWS),
    ] = None
    """A folder with tokenizer.json; None: tokens are estimated."""
    agreed_by: Annotated[
        tuple[Path, ...],
        Help(
            "Take only questions that other models answered or declined as the teacher did: the folder of a `cross`, or a "
            "run on the teacher's questions. May be given several times.",
            metavar="DIR",
            panel=LEFT_OUT,
        ),
    ] = ()
    """See `agreement.agreement_of`."""
    preferences: Annotated[
        tuple[Path, ...],
        Help(
            "A run of the student on a teacher's questions (run --questions-from): pairs for DPO. May be given several "
            "times.",
            metavar="RUN_DIR",
            panel=PREFERENCES,
        ),
    ] = ()
    even_preferences: Annotated[
        bool,
        Help("Take all pairs, not as many of either kind.", panel=PREFERENCES, spelling=("--uneven-preferences",)),
    ] = True
    """Whether as many pairs of either kind are taken."""
    most_of_kind: Annotated[
        float | None,
        Help(
            "Most of the training rows of unanswerable questions that one kind of these may have. Default: any.",
            metavar="PERCENT",
            panel=LEFT_OUT,
        ),
    ] = None
    exclude_questions: Annotated[
        tuple[Path, ...],
        Help(
            "Questions of an evaluation, a labelled set or one a line of text: what equals one, or shares eight words in a "
            "row with it, is left out. May be given several times.",
            metavar="FILE",
            panel=LEFT_OUT,
        ),
    ] = ()
    """See `cleaned.read_excluded_questions`."""
