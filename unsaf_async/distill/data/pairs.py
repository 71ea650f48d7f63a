"""Preference pairs: of two replies to one prompt, the teacher's and the student's own, the one to be preferred. Pure.

The student has answered the teacher's questions. Where the teacher declined what the student answered, its abstention
is preferred to the student's hallucination; where the teacher answered what the student declined, its answer to the
needless refusal. It is the data of DPO: Rafailov et al., "Direct Preference Optimization" (arXiv 2305.18290).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import quote, unquote

from unsaf_async.distill.data.build_rows import SPECIAL, Item, judging_dict, model_dict, private, prompts_dict
from unsaf_async.errors import UserError, setting
from unsaf_async.normalize import normal_form
from unsaf_async.score.unf1 import cell, latest
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from unsaf_async.distill.data.clusters import Split
    from unsaf_async.records import Label, Question
    from unsaf_async.runs.saved import SavedRun

PairKind = Literal["abstain", "answer"]
"""What is preferred: to abstain rather than to hallucinate, or to answer rather than to refuse without need."""

PAIR_KINDS: tuple[PairKind, ...] = get_args(PairKind)


@dataclass(frozen=True)
class PreferencePair:
    """Two replies about one image."""

    item: Item
    """The teacher's question."""
    student: Item
    """The same question, as the student answered it."""

    @property
    def kind(self) -> PairKind:
        """By the question's label: "abstain" of an unanswerable one."""
        return "abstain" if self.item.label == "unanswerable" else "answer"

    @property
    def prompt(self) -> str:
        """What the student was asked, in the words of its own run."""
        return self.student.run.pack.answer(self.student.question.text)

    @property
    def chosen(self) -> str:
        """The teacher's reply, in its own words, without its thoughts."""
        return final_text(self.item.question.response).answer

    @property
    def rejected(self) -> str:
        """The student's reply, in its own words, without its thoughts."""
        return final_text(self.student.question.response).answer

    @property
    def id(self) -> str:
        """Where the pair is from: see `pair_id`."""
        of = self.item
        run_id, student = of.run.manifest.run_id, self.student.run.manifest.run_id
        return pair_id(run_id, private(of.image.id), of.number, self.kind, student)


@dataclass(frozen=True)
class PreferenceSummary:
    """What came of the students' runs."""

    examined: int
    """The students' responses."""
    pairs: Mapping[tuple[PairKind, Split], int]
    """Pairs by kind and split."""
    left_out: Mapping[str, int]
    """Responses that make no pair, by reason."""
    tokens: Mapping[PairKind, tuple[int, int]]
    """Of the training pairs, by kind: tokens of the chosen and of the rejected replies."""
    other_prompts: bool
    """Whether some student was asked in other words than the teacher."""

    @property
    def total(self) -> int:
        """Pairs of all splits."""
        return sum(self.pairs.values())


# --- ids --------------------------------------------------------------------------------------------------------------


def pair_id(run_id: str, image_id: str, number: int, kind: PairKind, student_run_id: str) -> str:
    """Where a pair is from, as one text.

    Args:
        run_id: The teacher's run.
        image_id: The image's id in it.
        number: The question's place in the examination, from 1.
        kind: The pair's kind.
        student_run_id: The student's run.

    Returns:
        `<teacher's run id>/<image id>/<question number>/<kind>/<student's run id>`, each percent-encoded.
    """
    return "/".join(quote(part, safe="") for part in (run_id, image_id, str(number), kind, student_run_id))


def read_pair_id(text: str) -> tuple[str, str, int, str, str]:
    """The parts of a pair's id.

    Args:
        text: What `pair_id` returned.

    Returns:
        (teacher's run id, image id, question number, kind, student's run id).

    Raises:
        ValueError: The text is anything else.
    """
    parts = [unquote(part) for part in text.split("/")]
    if len(parts) != 5:
        raise ValueError(f"{text!r} has {len(parts)} parts, and a pair's id has 5")
    return parts[0], parts[1], int(parts[2]), parts[3], parts[4]


# --- from runs to pairs -----------------------------------------------------------------------------------------------


def check_student(run: SavedRun, teachers: Iterable[SavedRun]) -> None:
    """Checks that a run answered the questions of a teacher.

    Args:
        run: The student's.
        teachers: The teachers' runs that are exported.

    Raises:
        UserError: It answered others.
    """
    source = run.manifest.source
    if source is None or source.kind != "run":
        what = "wrote its own questions" if source is None else "answered a labelled set"
        raise UserError(
            f"{run.folder}: {what}, not a teacher's questions; make the run with {setting('questions_from', 'TEACHER_RUN')}",
            field="preferences",
        )
    if source.run_id not in {run_id for teacher in teachers for run_id in ids_of(teacher)}:
        raise UserError(
            f"{run.folder}: answered the questions of the run {source.run_id} ({source.name}), which is not given; "
            "give it, too",
            field="preferences",
        )


def ids_of(run: SavedRun) -> tuple[str, str]:
    """The ids under which others may have been asked a run's questions.

    Args:
        run: The run.

    Returns:
        (its own, that of the run that obtained its answers, which is another's where they are judged anew).
    """
    return run.manifest.run_id, run.manifest.answering_run_id


def pairs_of(
    students: Sequence[SavedRun], items: Iterable[Item], *, unanimous: bool = False
) -> tuple[list[PreferencePair], Counter[str]]:
    """The preference pairs of students' runs. A response that nobody could judge is never used.

    Args:
        students: The students' runs.
        items: The teachers' questions that may be taught; those of a replay make no pairs.
        unanimous: Whether a panel of the student's judges must have been of one mind, too.

    Returns:
        (the pairs in the students' order, how many responses make none by reason).
    """
    taught: dict[tuple[str, str, str, Label], Item] = {}
    for each in items:
        if not each.replay:
            for run_id in ids_of(each.run):
                taught.setdefault((run_id, each.image.id, each.question.text, each.label), each)
    pairs: list[PreferencePair] = []
    left_out: Counter[str] = Counter()
    seen: set[tuple[str, str, str, str]] = set()
    for run in students:
        source = run.manifest.source
        of_run = source.run_id if source else ""
        for examination in latest(run.examinations):
            for number, question in enumerate(examination.questions, 1):
                item = taught.get((of_run, examination.image.id, question.text, question.intended))
                if item is None:
                    left_out["the teacher got the question wrong, or it is left out above"] += 1
                    continue
                pair = PreferencePair(item, Item(run, examination.image, number, question))
                texts = (item.pixels, pair.prompt, pair.chosen, pair.rejected)
                why = _why_not(question, unanimous=unanimous) or _why_not_a_pair(pair)
                why = why or ("the same pair is there already" if texts in seen else None)
                if why is None:
                    seen.add(texts)
                    pairs.append(pair)
                else:
                    left_out[why] += 1
    return pairs, left_out


def _why_not(question: Question, *, unanimous: bool) -> str | None:
    match cell(question):
        case None:
            return "the student's response is in none of the four types"
        case "ta" | "tu":
            return "the student got it right, too"
    if unanimous and question.decided_by != "rule" and any(vote.act != question.act for vote in question.votes):
        return "the panel was not unanimous about the student"
    return None


def _why_not_a_pair(pair: PreferencePair) -> str | None:
    if not (pair.chosen and pair.rejected):
        return "one of the replies is empty"
    if any(SPECIAL.search(text) for text in (pair.prompt, pair.chosen, pair.rejected)):
        return "the text holds a mark of chat templates, such as <image>"
    if (normal_form(pair.chosen) or pair.chosen) == (normal_form(pair.rejected) or pair.rejected):
        return "both replies say the same"
    return None


# --- how many ---------------------------------------------------------------------------------------------------------


def rates(train: Mapping[PairKind, int], *, even: bool = True) -> dict[PairKind, float]:
    """Which share of each kind's pairs is taken, so that of the training pairs as many are of either kind.

    Args:
        train: The number of training pairs by kind.
        even: False takes all pairs, as does a kind without any.

    Returns:
        Shares in (0, 1] of the kinds that have pairs; {} of nothing.
    """
    there: dict[PairKind, int] = {kind: train[kind] for kind in PAIR_KINDS if train.get(kind)}
    least = min(there.values(), default=0)
    return {kind: least / n if even and len(there) > 1 else 1.0 for kind, n in there.items()}


def take(
    by_kind: Mapping[PairKind, Sequence[PreferencePair]], shares: Mapping[PairKind, float]
) -> list[PreferencePair]:
    """The first pairs of each kind, up to its share.

    Args:
        by_kind: A split's pairs.
        shares: For each kind, the share that is taken, rounded up to whole pairs.

    Returns:
        The pairs, kind by kind.
    """
    return [
        pair
        for kind in PAIR_KINDS
        for pair in by_kind.get(kind, ())[: ceil(shares.get(kind, 0) * len(by_kind.get(kind, ())) - 1e-9)]
    ]


# --- for JSON ---------------------------------------------------------------------------------------------------------


def pair_dict(
    pair: PreferencePair, split: Split, cluster: str, tokens: tuple[int, int], figures: dict[str, Any]
) -> dict[str, Any]:
    """All that is known of a pair: its line of preferences.jsonl.

    Args:
        pair: The pair.
        split: Where it is.
        cluster: Its picture's.
        tokens: Of the chosen and of the rejected reply.
        figures: Of the teacher's question, as `screening.figures_dict` returns them.

    Returns:
        Plain data for JSON.
    """
    item, student = pair.item, pair.student
    return {
        "id": pair.id,
        "kind": pair.kind,
        "split": split,
        "cluster": cluster,
        "image_id": item.pixels,
        "student_image_id": student.pixels,
        "tokens": dict(zip(("chosen", "rejected"), tokens, strict=True)),
        "prompts": prompts_dict(student.run),
        "question": {"text": item.question.text, "intended": item.label, "kind": item.question.kind},
        "teacher": {
            **model_dict(item.run),
            "prompts": prompts_dict(item.run),
            "cell": cell(item.question),
            **judging_dict(item),
            **figures,
        },
        "student": {**model_dict(student.run), "cell": cell(student.question), **judging_dict(student)},
        "prompt": pair.prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
    }
