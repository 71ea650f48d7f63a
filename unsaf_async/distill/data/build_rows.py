"""From examinations to training rows: one question a row, in the prompts of its run. Pure: reads no image, writes no file.

Only what the teacher got right is taught: a question of type TA is taught as one to write and to answer, a question of
type TU as one to write and to decline. Texts stay the model's own.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from unsaf_async.distill.data.kinds import WRITING
from unsaf_async.errors import UserError, setting
from unsaf_async.examine.parse import question_items
from unsaf_async.score.fidelity import ALL, is_confirmed
from unsaf_async.score.labelled import is_right
from unsaf_async.score.unf1 import cell, latest
from unsaf_async.wrappers import final_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from unsaf_async.distill.data.clusters import Split
    from unsaf_async.distill.data.kinds import RowKind
    from unsaf_async.distill.data.options import Filters
    from unsaf_async.prompts import Pack
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import ImageRecord, Label, Question
    from unsaf_async.runs.saved import SavedRun


SPECIAL = re.compile(
    r"<\|[^\s<>|]{1,60}\|>|<｜[^<>]{1,60}｜>|<<SYS>>"
    r"|</?(?:s|bos|eos|pad|unk|mask|sep|cls|im_start|im_end|(?:start|end)_of_(?:turn|image)|image_soft_token|unused\d+"
    r"|image|img|video|audio|object|ref|box|quad|bbox|ref-object|cls-label|fake_token_around_image|row_\d+_col_\d+)>"
    r"|\[/?(?:INST|IMG|IMG_BREAK|IMG_END|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\]",
    re.IGNORECASE,
)
"""What chat templates and trainers read as a mark of their own, an image's place above all. In a text it would add an image that
is not there, or end a turn: LLaMA-Factory and ms-swift count `<image>` wherever it stands, in answers too."""


@dataclass(frozen=True)
class Item:
    """One question that may be taught."""

    run: SavedRun
    image: ImageRecord
    number: int
    """Its place in the examination, from 1."""
    question: Question
    replay: bool = False
    """Whether it is of the student's own run, and the answer is there to be kept."""

    @property
    def pixels(self) -> str:
        """The image, by its pixels as sent."""
        return self.image.pixels_sha256 or ""

    @property
    def label(self) -> Label:
        """The question's label."""
        return self.question.intended


@dataclass(frozen=True)
class TrainingRow:
    """What a student is shown and what it is to reply."""

    item: Item
    kind: RowKind
    prompt: str
    completion: str
    copy: int = 1
    """From 1; above where a row stands more than once."""
    bare: bool = False
    """Whether the prompt is the question alone, without the run's instruction to answer."""

    @property
    def id(self) -> str:
        """Where the row is from: see `row_id`."""
        of = self.item
        return row_id(of.run.manifest.run_id, private(of.image.id), of.number, self.kind, self.copy)

    def copied(self, copy: int) -> TrainingRow:
        """The same row, once more.

        Args:
            copy: Its number among the copies, from 2.

        Returns:
            The further copy.
        """
        return replace(self, copy=copy)


# --- ids --------------------------------------------------------------------------------------------------------------


def row_id(run_id: str, image_id: str, number: int, kind: RowKind, copy: int = 1) -> str:
    """Where a row is from, as one text.

    Args:
        run_id: The run.
        image_id: The image's id in it.
        number: The question's place in the examination, from 1.
        kind: The row's kind.
        copy: From 2 for further copies of a row.

    Returns:
        `<run id>/<image id>/<question number>/<kind>`, each percent-encoded; a fifth part, from 2, numbers further
        copies.
    """
    parts = [run_id, image_id, str(number), kind, *([str(copy)] if copy > 1 else [])]
    return "/".join(quote(part, safe="") for part in parts)


def read_row_id(text: str) -> tuple[str, str, int, str, int]:
    """The parts of a row's id.

    Args:
        text: What `row_id` returned.

    Returns:
        (run id, image id, question number, kind, copy).

    Raises:
        ValueError: The text is anything else.
    """
    parts = [unquote(part) for part in text.split("/")]
    if len(parts) not in (4, 5):
        raise ValueError(f"{text!r} has {len(parts)} parts, and an id has 4 or 5")
    run_id, image_id, number, kind = parts[:4]
    return run_id, image_id, int(number), kind, int(parts[4]) if len(parts) == 5 else 1


_ABSOLUTE = re.compile(r"^(?:[/\\~]|[A-Za-z]:)|(?:^|[/\\])\.\.(?:[/\\]|$)")


def private(name: str) -> str:
    """A name without the folders of the machine that the run was made on: exports are passed on.

    Args:
        name: A name or a path.

    Returns:
        The name itself; of a path that leads out of the given folder the last part alone, with a hash that keeps it
        unique.
    """
    if not _ABSOLUTE.search(name):
        return name
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    return f"{last}#{sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def model_name(profile: Profile) -> str:
    """A model as an export names it.

    Args:
        profile: The model's profile.

    Returns:
        Its id on the wire; of a folder of weights only the last part.
    """
    return private(profile.model or profile.name)


# --- which questions --------------------------------------------------------------------------------------------------


def check_filters(run: SavedRun, filters: Filters) -> None:
    """Checks that a run holds what the filters go by.

    Args:
        run: A teacher's run.
        filters: What is asked for.

    Raises:
        UserError: It was not audited so, had no panel of judges, or nobody saw whether answers are borne out.
    """
    manifest = run.manifest
    audited = {audit.auditor for each in run.examinations for question in each.questions for audit in question.audits}
    wanted = filters.confirmed_by
    if wanted is not None and (not audited if wanted == ALL else wanted not in audited):
        auditors = ", ".join(sorted(audited)) or "nobody"
        raise UserError(
            f"{wanted}: {run.folder} was audited by {auditors}; run `unsaf-async audit` on it first",
            field="confirmed_by",
        )
    if filters.unanimous and len(manifest.judges) < 2:
        raise UserError(
            f": {run.folder} was judged by {manifest.judge_name}, no panel; leave it out, or run with several {setting('judge')}",
            field="unanimous",
        )
    if filters.supported and not manifest.grounded:
        raise UserError(
            f": in {run.folder} nobody saw whether answers are borne out; resume it with {setting('grounded')} first",
            field="supported",
        )


def good_items(run: SavedRun, filters: Filters) -> tuple[list[Item], Counter[str]]:
    """The questions of a teacher's run that may be taught.

    Args:
        run: The run.
        filters: What is asked of a question beyond its type.

    Returns:
        (the questions in the journal's order, how many others there are by reason).
    """
    return _items(run, lambda question: _why_not(question, filters), replay=False)


def replay_items(run: SavedRun) -> tuple[list[Item], Counter[str]]:
    """The questions of a student's run with the answers that it is to keep. The filters do not concern them.

    They are those that it answered as it should (TA) and, where that is known, rightly: on a labelled set by the
    accepted answers, and in an audited run by every auditor's word that the image answers the question.

    Args:
        run: The run.

    Returns:
        (the questions in the journal's order, how many others there are by reason).
    """
    return _items(run, _why_not_replayed, replay=True)


def _items(
    run: SavedRun, why_not: Callable[[Question], str | None], *, replay: bool
) -> tuple[list[Item], Counter[str]]:
    kept: list[Item] = []
    left_out: Counter[str] = Counter()
    for examination in latest(run.examinations):
        for number, question in enumerate(examination.questions, 1):
            why = why_not(question)
            if why is None and not examination.image.pixels_sha256:
                why = "the image was not decoded"
            if why is None:
                kept.append(Item(run, examination.image, number, question, replay))
            else:
                left_out[why] += 1
    return kept, left_out


def _why_not_replayed(question: Question) -> str | None:
    if cell(question) != "ta":
        return "replay: no answered answerable question"
    if is_right(question) is False:
        return "replay: the answer is none of the accepted ones"
    if question.audits and not is_confirmed(question, ALL):
        return "replay: not confirmed by every auditor"
    return None


def _why_not(question: Question, filters: Filters) -> str | None:
    match cell(question):
        case None:
            return "the response is in none of the four types"
        case "fu":
            return "answerable, and the teacher abstained (FU)"
        case "fa":
            return "unanswerable, and the teacher answered (FA)"
    if filters.confirmed_by is not None and not is_confirmed(question, filters.confirmed_by):
        return f"not confirmed by {filters.confirmed_by}"
    # What the rules decide is certain by their making, and no panel is asked about it.
    if (
        filters.unanimous
        and question.decided_by != "rule"
        and not (question.votes and all(vote.act == question.act for vote in question.votes))
    ):
        return "the panel was not unanimous"
    if filters.supported and question.act == "answered" and not (question.support and question.support.supported):
        return "the image was not seen to bear the answer out"
    return None


# --- from questions to rows -------------------------------------------------------------------------------------------


def rows_of(items: Iterable[Item]) -> tuple[list[TrainingRow], Counter[str]]:
    """The rows that the questions make.

    A question gives a row that writes it and a row that answers or declines it; one that the model did not write
    itself, and one of the student's own run, only the latter. A writing row asks for exactly one question, by the run's
    own pack, and its reply has the form that this pack asks for; it is left out if the program's own reader would not
    read the question back.

    Args:
        items: Questions that may be taught.

    Returns:
        (the rows in the questions' order, how many others are left out by reason).
    """
    rows: list[TrainingRow] = []
    left_out: Counter[str] = Counter()
    for item in items:
        for row, why in _rows(item):
            why = why or _why_not_a_row(row)
            if why is None:
                rows.append(row)
            else:
                left_out[why] += 1
    return rows, left_out


def _rows(item: Item) -> Iterable[tuple[TrainingRow, str | None]]:
    question, pack = item.question, item.run.pack
    response = final_text(question.response).answer
    spoken: RowKind = "replay" if item.replay else "answer" if item.label == "answerable" else "decline"
    if not item.replay:
        kind: RowKind = "write-answerable" if item.label == "answerable" else "write-unanswerable"
        reply = written(question, json_lists=pack.json_lists)
        row = TrainingRow(item, kind, pack.ask(item.label, 1), reply)
        yield row, _why_not_written(question, reply, pack)
    yield TrainingRow(item, spoken, pack.answer(question.text), response), None


def with_bare_questions(rows: Sequence[TrainingRow], share: float, seed: int) -> list[TrainingRow]:
    """The rows, with the question alone for a prompt in a share of those that answer, decline or replay.

    Evaluations such as POPE, VQA and MM-UPD put a question without an instruction to say what cannot be known. Each kind of
    row has the share, to half a row, so that what is bare tells nothing of the reply.

    Args:
        rows: Any rows.
        share: In [0, 1].
        seed: Decides which rows, with their ids.

    Returns:
        As many rows, in the same order.
    """
    spoken: dict[RowKind, list[str]] = defaultdict(list)
    for row in rows:
        if row.kind not in WRITING:
            spoken[row.kind].append(row.id)

    def rank(id_: str) -> bytes:
        return sha256(f"bare {seed}:{id_}".encode("utf-8", "replace")).digest()

    bare = {id_ for ids in spoken.values() for id_ in sorted(ids, key=rank)[: round(share * len(ids))]}
    return [replace(row, prompt=row.item.question.text, bare=True) if row.id in bare else row for row in rows]


def written(question: Question, *, json_lists: bool) -> str:
    """A list of one question, as the model would write it.

    Args:
        question: The question.
        json_lists: Whether the pack asks for lists in JSON.

    Returns:
        JSON, or a numbered line; an unanswerable question with its kind, if it has one.
    """
    kind = question.kind if question.intended == "unanswerable" else None
    if json_lists:
        entry: dict[str, Any] = {"question": question.text, **({"kind": kind} if kind else {})}
        return json.dumps({"questions": [entry]}, ensure_ascii=False)
    return f"1. {f'{kind}: ' if kind else ''}{' '.join(question.text.split())}"


def _why_not_written(question: Question, reply: str, pack: Pack) -> str | None:
    if question.given is not None:
        return "writing: the teacher did not write the question"
    kind = question.kind if question.intended == "unanswerable" else None
    if pack.json_lists and question.intended == "unanswerable" and kind is None:
        return "writing: the teacher named no kind, and the prompt asks for one"
    read = question_items(reply)
    if len(read) != 1 or (read[0].text, read[0].kind) != (" ".join(question.text.split()), kind):
        return "writing: the question is not read back from its list"
    return None


def _why_not_a_row(row: TrainingRow) -> str | None:
    if not row.completion.strip():
        return "nothing would be learned: the reply is empty"
    if SPECIAL.search(row.prompt) or SPECIAL.search(row.completion):
        return "the text holds a mark of chat templates, such as <image>"
    return None


# --- for JSON ---------------------------------------------------------------------------------------------------------


def row_dict(row: TrainingRow, split: Split, cluster: str, tokens: int, figures: dict[str, Any]) -> dict[str, Any]:
    """All that is known of a row: its line of items.jsonl.

    Args:
        row: The row.
        split: Where it is.
        cluster: Its picture's.
        tokens: Of its completion.
        figures: Of its question, as `screening.figures_dict` returns them.

    Returns:
        Plain data for JSON.
    """
    item, question = row.item, row.item.question
    return {
        "id": row.id,
        "kind": row.kind,
        "split": split,
        "copy": row.copy,
        "cluster": cluster,
        "image_id": item.pixels,
        "tokens": tokens,
        "teacher": {**model_dict(item.run), "is_student": item.replay},
        "prompts": prompts_dict(item.run),
        "question": {
            "text": question.text,
            "intended": question.intended,
            "kind": question.kind,
            "own": question.given is None,
        },
        "cell": cell(question),
        **judging_dict(item),
        **figures,
        "bare": row.bare,
        "prompt": row.prompt,
        "completion": row.completion,
    }


def model_dict(run: SavedRun) -> dict[str, Any]:
    """The run, and the model that it measured.

    Args:
        run: The run.

    Returns:
        Plain data for JSON, without folders of the machine.
    """
    manifest = run.manifest
    return {
        "run_id": manifest.run_id,
        "provider": private(manifest.subject.name),
        "model": model_name(manifest.subject),
        "created": manifest.created,
    }


def prompts_dict(run: SavedRun) -> dict[str, Any]:
    """The prompts of a run.

    Args:
        run: The run.

    Returns:
        Plain data for JSON: name, version and hash of the pack.
    """
    return {"pack": run.pack.name, "version": run.manifest.pack_version, "sha256": run.manifest.pack_sha256}


def judging_dict(item: Item) -> dict[str, Any]:
    """Who judged the response, and who audited the question and the answer against the image.

    Args:
        item: The question.

    Returns:
        Plain data for JSON.
    """
    question = item.question
    return {
        "judge": {
            "names": [private(name) for name in item.run.manifest.judges] or ["rules"],
            "decided_by": question.decided_by,
            "votes": [{"judge": private(vote.judge), "act": vote.act} for vote in question.votes],
        },
        "audits": [{"auditor": private(audit.auditor), "answerable": audit.answerable} for audit in question.audits],
        "supported": question.support.supported if question.support else None,
    }
