"""What do `export`'s filters do to a teacher's data where the truth is known? Labels that are false and answers that are wrong.

    unsaf-async world make --scenes 100 --split train --seed 3 --out scenes
    unsaf-async run --provider tiny-s --images scenes/manifest.jsonl --questions 4 --samples 5 --out runs/teacher
    unsaf-async run --provider tiny-m --questions-from runs/teacher --out runs/other
    python benchmarks/teacher_filters.py runs/teacher runs/other

Half a minute on one core. Of the questions that the teacher got right by the method (TA, TU), and that a filter keeps: the share
that was written as unanswerable, the share whose label is false by the world's oracle, and of the answers the share that does not
hold the oracle's. Questions that the oracle does not understand count in the first figure alone. Intervals: 95 %, with scenes as
the unit.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from by_oracle import truth_of

from unsaf_async.distill.data.agreement import agreement_of
from unsaf_async.distill.data.build_rows import good_items
from unsaf_async.distill.data.options import Filters
from unsaf_async.distill.data.screening import screened
from unsaf_async.records import GivenQuestion
from unsaf_async.runs.saved import SavedRun
from unsaf_async.score.intervals import ratio_interval
from unsaf_async.score.labelled import is_right
from unsaf_async.text import format_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.distill.data.build_rows import Item
    from unsaf_async.records import Question

COLUMNS = ("unanswerable", "false label", "wrong answer")


def table(teacher: SavedRun, other: SavedRun) -> str:
    """The figures of every filter, as Markdown."""
    agreement = agreement_of([teacher], [other], None)
    lines = [f"| filter | questions | {' | '.join(COLUMNS)} |", "|" + " --- |" * (len(COLUMNS) + 2)]
    for name, filters, needs_agreement in (
        ("none", Filters(), False),
        ("`--min-consistency 0.8`", Filters(min_consistency=0.8), False),
        ("`--min-consistency 1`", Filters(min_consistency=1.0), False),
        ("`--agreed-by`, the larger model", Filters(), True),
        ("`--min-consistency 0.8 --agreed-by`", Filters(min_consistency=0.8), True),
    ):
        good, _ = good_items(teacher, filters)
        kept, _, _ = screened(good, filters, agreement if needs_agreement else None)
        lines.append(f"| {name} | {len(kept)} | {' | '.join(shares(teacher, kept))} |")
    return "\n".join(lines)


def shares(teacher: SavedRun, kept: Sequence[Item]) -> list[str]:
    """The figures of the questions that are kept, in the order of `COLUMNS`."""
    truth = {each.image.id: truth_of(each) for each in teacher.examinations}
    found: dict[str, dict[str, list[int]]] = {name: {image: [0, 0] for image in truth} for name in COLUMNS}

    def count(name: str, item: Item, part: bool) -> None:
        pair = found[name][item.image.id]
        pair[0] += part
        pair[1] += 1

    for item in kept:
        count("unanswerable", item, item.label == "unanswerable")
        if (true := truth[item.image.id](item.question.text)) is None:
            continue
        count("false label", item, true.answerable != (item.label == "answerable"))
        if item.label == "answerable":
            count("wrong answer", item, not holds(item.question, true.answer))
    return [in_words([(part, whole) for part, whole in pairs.values()]) for pairs in found.values()]


def holds(question: Question, answer: str | None) -> bool:
    """Whether the response holds the true answer; False where there is none."""
    if answer is None:
        return False
    given = GivenQuestion(text=question.text, intended="answerable", answers=(answer,))
    return bool(is_right(question.model_copy(update={"given": given})))


def in_words(pairs: Sequence[tuple[int, int]]) -> str:
    """A share of (part, whole) an image, with its interval."""
    part, whole = (sum(pair[place] for pair in pairs) for place in (0, 1))
    ends = ratio_interval(pairs).ends
    return f"{format_part(part, whole)} ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})" if ends else "n/a"


if __name__ == "__main__":
    print(table(*(SavedRun(Path(folder)) for folder in sys.argv[1:3])))
