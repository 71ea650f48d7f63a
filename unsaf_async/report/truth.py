"""A labelled run's headline: accuracy and the F1 of abstaining, or POPE's figures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unsaf_async.report import plots
from unsaf_async.report.markup import el
from unsaf_async.report.pieces import figure, figure_cell, gauge, quoted, rates, table
from unsaf_async.text import format_bracketed, format_count, format_figure, format_interval, format_percent

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from unsaf_async.report.data import ReportRun
    from unsaf_async.report.markup import Child
    from unsaf_async.report.pieces import Interval
    from unsaf_async.score.labelled import LabelledScore, PopeScore

_MOST_CATEGORIES = 40
"""How many sorts of question are shown, the most frequent ones."""

_NO_ANSWERS = "the set accepts no answer to any of its questions"


def accuracies(labelled: LabelledScore, abstention: Element) -> Element:
    """The headline of a labelled set: its accuracy next to the F1 of abstaining.

    Args:
        labelled: The figures of the set.
        abstention: What stands next to the accuracy.

    Returns:
        Both.
    """
    contained: list[Child] = [
        el("b", format_figure(labelled.accuracy_contained)),
        format_bracketed(labelled.accuracy_contained_ci),
        " if a response only has to contain the answer, as sentences do",
    ]
    asked = labelled.answerable - labelled.without_answers
    return el(
        "div",
        el(
            "div",
            el("p", "Accuracy", class_="name"),
            el("p", format_figure(labelled.accuracy), class_="value"),
            _interval(labelled.accuracy_ci),
            gauge("Accuracy", labelled.accuracy, labelled.accuracy_ci),
            el("p", contained) if labelled.accuracy is not None else el("p", _NO_ANSWERS, class_="muted"),
            el(
                "p",
                f"VQA accuracy over the {format_count(asked, 'question')} with accepted answers, the response as it stands; "
                "declining one is wrong.",
                class_="muted",
            ),
        ),
        abstention,
        class_="two headline",
    )


def labelled_rates(labelled: LabelledScore) -> Element:
    """A labelled set's other rates.

    Args:
        labelled: The figures of the set.

    Returns:
        The rates.
    """
    ends = labelled.intervals
    return rates(
        (
            (
                "Dual accuracy",
                labelled.dual_accuracy,
                ends.get("dual_accuracy"),
                "answered rightly, or declined for want of an answer",
            ),
            ("Coverage", labelled.coverage, ends.get("coverage"), "of the answerable, answered"),
            (
                "Accuracy of answers",
                labelled.accuracy_answered,
                ends.get("accuracy_answered"),
                "containing the answer, of those it answered",
            ),
        )
    )


def _interval(interval: Interval) -> Element:
    if interval is None:
        return el("p", el("b", "no interval"))
    return el(
        "p",
        el("b", f"95 % interval {format_interval(interval)}"),
        el("span", " (images are the unit)", class_="muted"),
    )


def pope(labelled: LabelledScore, mine: PopeScore, official: PopeScore | None) -> list[Element]:
    """The headline of POPE: its figures by the judge and by its own rule, and the table of truths and responses.

    Args:
        labelled: The figures of the set.
        mine: POPE's figures, with responses read by the judge.
        official: POPE's figures by its own rule. None: there are none.

    Returns:
        The parts of the headline, in order.
    """
    ends = mine.intervals
    rows: list[tuple[Child, ...]] = [
        (
            title,
            *(
                figure_cell(
                    getattr(each, name),
                    each.intervals.get(name),
                    each.undefined.get(name) or each.undefined.get(f"intervals.{name}", ""),
                )
                for name in ("accuracy", "accuracy_answered", "precision", "recall", "f1", "yes_ratio")
            ),
            f"{each.counts.neither:,}",
            f"{each.counts.abstained:,}",
        )
        for title, each in (("by what was said", mine), ("by POPE's own rule", official))
        if each
    ]
    heads = ("", "accuracy", "of answers", "precision", "recall", "F1", "share of yes", "neither", "declined")
    caption = f"{format_count(labelled.questions, 'yes/no question')}; the positive answer is yes: the object is there"
    true_yes = format_percent(_share_of_yes(mine))
    return [
        el(
            "div",
            el(
                "div",
                el(
                    "div",
                    _big(
                        "Accuracy",
                        mine.accuracy,
                        mine.intervals.get("accuracy"),
                        "of all questions; what says neither is wrong",
                    ),
                    _big("F1", mine.f1, ends.get("f1"), "of yes, as POPE has it"),
                    class_="pair",
                ),
                el("p", _pope_in_words(mine, true_yes), class_="muted"),
            ),
            _confusion(mine),
            class_="two headline",
        ),
        el("div", el("h2", "Rates", class_="hidden"), table(caption, heads, rows, range(1, 9)), class_="spaced"),
        el(
            "p",
            "By what was said: a response counts as yes or no if it says so, and as declined if the judge found it to decline. "
            "POPE's own rule takes every response without a no or not in its first sentence for a yes; published figures use it.",
            class_="muted small gap",
        ),
    ]


def _big(name: str, value: float | None, ends: Interval, hint: str) -> Element:
    return el(
        "div",
        el("p", name, class_="name"),
        el("p", format_figure(value), class_="value"),
        gauge(name, value, ends, bare=True),
        el("p", f"95 % interval {format_interval(ends)}", class_="small") if ends else None,
        el("p", hint, class_="muted small"),
    )


def _share_of_yes(mine: PopeScore) -> float | None:
    counts = mine.counts
    return (counts.tp + counts.fn) / counts.answered if counts.answered else None


def _pope_in_words(mine: PopeScore, true_yes: str) -> str:
    if mine.yes_ratio is None:
        return "No response says yes or no."
    return (
        f"It says yes to {format_percent(mine.yes_ratio)} of the questions that it answers, and yes is right for {true_yes} of "
        "these: much more than that would mean that it affirms whatever it is asked."
    )


def _confusion(mine: PopeScore) -> Element:
    counts = mine.counts

    def cell(style: str, label: str, count: int) -> Element:
        return el("td", el("div", el("b", f"{count:,}"), el("span", label), class_=f"cell {style}"))

    return el(
        "table",
        el("caption", "What is true, and what the model said"),
        el("thead", el("tr", el("td"), el("th", "said yes", scope="col"), el("th", "said no", scope="col"))),
        el(
            "tbody",
            el(
                "tr",
                el("th", "it is there", scope="row"),
                cell("ta", "right", counts.tp),
                cell("fu", "missed", counts.fn),
            ),
            el(
                "tr",
                el("th", "it is not", scope="row"),
                cell("fa", "hallucinated", counts.fp),
                cell("tu", "right", counts.tn),
            ),
        ),
        class_="matrix",
    )


def show_wrong(place: int) -> Element:
    """A button that shows the questions with a wrong response.

    Args:
        place: Of the run on the page, from 0.

    Returns:
        The button in a paragraph.
    """
    button = el(
        "button", "Show what went wrong", type="button", class_="act", data_filter="truth=wrong", data_run=place
    )
    return el("p", button, class_="gap")


def categories(run: ReportRun, place: int) -> Element | None:
    """Accuracy by the set's own sorts of question.

    Args:
        run: The run.
        place: Of the run on the page, from 0; it makes ids unique.

    Returns:
        The section; None if the set has no sorts.
    """
    labelled = run.labelled
    if labelled is None or not labelled.by_category:
        return None
    asked = Counter(
        question.given.category
        for examination in run.examinations
        for question in examination.questions
        if question.given and question.given.answers and question.intended == "answerable"
    )
    shown = sorted(labelled.by_category, key=lambda name: -asked[name])[:_MOST_CATEGORIES]
    rows = [(name, labelled.by_category[name], labelled.intervals.get(f"by_category.{name}")) for name in sorted(shown)]
    more = len(labelled.by_category) - len(shown)
    words = ("Accuracy by sort of question", "accuracy, the answer being contained")
    return el(
        "section",
        el("h2", "By sort of question"),
        el(
            "div",
            figure(
                plots.intervals(f"categories-{place}", rows, words, line=labelled.accuracy_contained),
                "The dashed line is the accuracy over all of them.",
            ),
            table(
                "The set's own sorts" + (f", the {len(shown)} most frequent ones; {more} more" if more else ""),
                ("sort", "questions", "accuracy"),
                [(quoted(name), f"{asked[name]:,}", figure_cell(value, ends)) for name, value, ends in rows],
                (1, 2),
            ),
            class_="two",
        ),
    )
