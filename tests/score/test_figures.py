"""A score as rows and as HTML: every figure with its interval or the reason, and no text that is taken for markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np

from unsaf_async.records import CallRecord, Examination, ImageRecord, Question
from unsaf_async.runs.findings import Findings
from unsaf_async.score.agreement import kappa_with_interval
from unsaf_async.score.figures import Figure, figures_of
from unsaf_async.score.forms import Forms
from unsaf_async.score.quality import question_quality
from unsaf_async.score.run_score import Score, score
from unsaf_async.score.shown import without_other_readings
from unsaf_async.score.signals import Signal
from unsaf_async.score.unf1 import BOUNDS_ALONE

CALL = CallRecord(role="answer", outcome="ok")


def examinations(*acts: tuple[str, str], images: int) -> list[Examination]:
    """Equal images. acts: (intended, act) of each question of an image; act "" is unscored."""
    asked = tuple(
        Question(
            text=f"What {n}?",
            intended=intended,
            kind="hidden" if intended == "unanswerable" else None,
            answer=CALL,
            act=act or None,
            unscored=None if act else "undecided",
        )
        for n, (intended, act) in enumerate(acts)
    )
    return [Examination(image=ImageRecord(id=f"{n}", path=f"{n}"), questions=asked) for n in range(images)]


def scored(*acts: tuple[str, str], images: int = 3, provider: str = "ada") -> Score:
    """The score of equal images, as `examinations` has them."""
    asked = examinations(*acts, images=images)
    return score(asked, questions_per_label=1, accounts=None, provider=provider, judge="j", resamples=50)


WHOLE = (("unanswerable", "abstained"), ("unanswerable", "answered"), ("answerable", "answered"))


def by_path(score: Score) -> dict[str, Figure]:
    figures = list(figures_of(score))
    paths = {each.path: each for each in figures}
    assert len(paths) == len(figures)
    return paths


def test_a_figure_has_its_path_its_value_and_its_interval() -> None:
    of = scored(*WHOLE)
    rows = by_path(of)
    assert rows["unf1"] == Figure("unf1", of.unf1, of.unf1_ci, None)
    assert rows["recall"] == Figure("recall", of.recall, of.intervals["recall"], None)
    assert rows["counts.tu"] == Figure("counts.tu", 3, None, None)
    assert rows["unf1_bounds"] == Figure("unf1_bounds", None, of.unf1_bounds, None)
    assert rows["by_kind.hidden.recall"].value == of.by_kind["hidden"].recall == 0.5
    assert not {"unf1_ci", "provider", "warnings", "undefined", "intervals"} & {path.split(".")[0] for path in rows}


def test_where_bounds_are_the_headline_unf1_is_no_figure_of_a_table() -> None:
    of = scored(*WHOLE, ("unanswerable", ""), ("unanswerable", ""), ("answerable", ""))
    assert of.unf1 is not None
    assert of.unf1_between is not None
    rows = by_path(of)
    assert rows["unf1"] == Figure("unf1", None, None, BOUNDS_ALONE)
    assert rows["unf1_bounds"].ends == of.unf1_bounds
    assert rows["recall"].value == of.recall
    for path in ("unf1_ci_percentile", "unf1_of_precisions", "by_kind.hidden.unf1"):
        assert rows[path] == Figure(path, None, None, BOUNDS_ALONE)
    shown = without_other_readings(of)
    assert (shown.unf1_of_precisions, shown.by_kind["hidden"].unf1) == (None, None)
    assert shown.undefined["unf1_of_precisions"] == shown.undefined["by_kind.hidden.unf1"] == BOUNDS_ALONE
    assert "recall" in shown.intervals
    assert not {"unf1_of_precisions", "by_kind.hidden.unf1"} & shown.intervals.keys()
    closed = scored(*WHOLE)
    assert without_other_readings(closed) is closed


def test_unf1_by_option_is_no_figure_where_its_own_bounds_are_the_headline() -> None:
    closed, of = scored(*WHOLE), scored(*WHOLE, ("unanswerable", ""), ("unanswerable", ""), ("answerable", ""))
    alike = kappa_with_interval(np.zeros((0, 2, 2), dtype=np.int64))
    forms = Forms(choice=of, agreement=alike, difference=None, difference_ci=None, why_undefined={})
    rows = by_path(Findings(**dict(closed), forms=forms))
    assert rows["unf1"].value == closed.unf1
    assert rows["forms.choice.unf1"] == Figure("forms.choice.unf1", None, None, BOUNDS_ALONE)
    assert rows["forms.choice.recall"].ends == of.intervals["recall"]


def test_every_interval_and_every_reason_of_a_part_of_the_score_stands_with_its_figure() -> None:
    asked = examinations(*WHOLE, ("unanswerable", "abstained"), images=6)
    of = Findings(**dict(scored(*WHOLE, ("unanswerable", "abstained"), images=6)), quality=question_quality(asked))
    assert of.quality is not None
    rows = by_path(of)
    assert {"kinds.hidden", "near_duplicate_share"} <= of.quality.intervals.keys() | of.quality.why_no_interval.keys()
    for name, ends in of.quality.intervals.items():
        assert rows[f"quality.{name}"].ends == ends, name
    for name, why in of.quality.why_no_interval.items():
        assert rows[f"quality.{name}"].why_none == why, name
    assert rows["timidity"] == replace(rows["precision"], path="timidity")
    assert rows["audacity"] == replace(rows["recall"], path="audacity")
    assert rows["recall"].ends
    share = "by_kind.hidden.share"
    assert rows[share] == replace(rows["quality.kinds.hidden"], path=share)
    assert by_path(scored(*WHOLE))[share].why_none
    bare = [each.path for each in rows.values() if isinstance(each.value, float) and not (each.ends or each.why_none)]
    assert bare == []


def test_what_is_undefined_is_there_with_its_reason_and_what_was_not_measured_is_not() -> None:
    rows = by_path(scored(("answerable", "answered"), images=1))
    assert rows["unf1"] == Figure("unf1", None, None, "no question that was intended unanswerable was scored")
    assert rows["over_refusal_rate"].value == 0
    assert "needs at least 2 images" in (rows["over_refusal_rate"].why_none or "")
    assert not {"cost_usd", "quality"} & {each.path for each in rows.values() if each.why_none is None}


def test_reasons_that_a_part_gives_itself_are_found() -> None:
    none: dict[str, Any] = dict.fromkeys(("mean_answerable", "mean_unanswerable", "auroc", "auroc_ci"))
    part = Signal(n=0, lacking=4, why_undefined="no draw", undefined={"mean_answerable": "no answer"}, **none)
    tight = Signal(**{**part.model_dump(), "auroc": 0.5, "why_undefined": "", "why_no_interval": "one image"})
    of = Findings(**dict(scored(*WHOLE)), signals={"stated": part, "p_true": tight})
    rows = by_path(of)
    assert rows["signals.stated.auroc"].why_none == "no draw"
    assert rows["signals.stated.mean_answerable"].why_none == "no answer"
    assert (rows["signals.p_true.auroc"].value, rows["signals.p_true.auroc"].why_none) == (0.5, "one image")
    assert rows["signals.p_true.n"].why_none is None


# --- in a notebook ------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """The cells and the texts of a page; it must close what it opens."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {name for name, _ in attrs} - {"scope"}, "no address, no style, no handler"
        self.tags.add(tag)
        self.open += [] if tag == "br" else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells += [data] if self.open[-1:] in (["td"], ["th"]) else []


def test_a_notebook_shows_the_headline_the_interval_and_the_table_of_four() -> None:
    of = scored(*WHOLE)
    assert of.unf1_ci
    html = of._repr_html_()
    cells = Tags(html).cells
    assert f"UnF1 0.667, 95 % interval {of.unf1_ci[0]:.3f} to {of.unf1_ci[1]:.3f}" in html
    start = cells.index("answerable")
    assert cells[start : start + 6] == ["answerable", "3", "0", "unanswerable", "3", "3"]
    assert "ada, judged by j; 3 images" in html


def test_a_notebook_shows_what_is_undefined_and_what_is_unscored() -> None:
    html = scored(("answerable", "answered"), ("unanswerable", ""))._repr_html_()
    Tags(html)
    assert "UnF1 n/a: no question that was intended unanswerable was scored" in html or "UnF1 between" in html
    assert re.search(r"Unscored: 3 \(undecided 3\); counted either way, UnF1 lies in \d", html)
    assert "<b>Unreliable:</b>" in html


def test_no_name_is_taken_for_markup() -> None:
    html = scored(*WHOLE, provider="<img src=x onerror=alert(1)>\x1b[31m")._repr_html_()
    assert not Tags(html).tags & {"img", "script"}
    assert "&lt;img src=x" in html
    assert "\x1b" not in html
