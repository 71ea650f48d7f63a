"""The report: one file that can do no harm, says what the run says, and reads well; and the viewer that serves such reports."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import aiohttp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from icc import adobe_rgb
from PIL import Image
from reporting import (
    CALL,
    HOSTILE,
    checked,
    examinations,
    given_examinations,
    labelled_run,
    picture,
    question,
    report_run,
    write_ledger,
)
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from unsaf_async.calls.batches.register import Register, Row
from unsaf_async.calls.ledger import read_account
from unsaf_async.cli.report import report as report_command
from unsaf_async.cli.report import view as view_command
from unsaf_async.compare.cross_matrix import matrix
from unsaf_async.compare.pairing import paired_difference
from unsaf_async.errors import UserError
from unsaf_async.providers.profile import Limits
from unsaf_async.records import Audit, Examination, ImageRecord, Question
from unsaf_async.report import plots, svg
from unsaf_async.report import thumbnails as thumbnails_module
from unsaf_async.report.confidence_curves import calibration_curves, correct, labelled_curves, roc, signal_values
from unsaf_async.report.confidence_section import calibration, signs
from unsaf_async.report.data import labels, load_run
from unsaf_async.report.explorer import explorer
from unsaf_async.report.leaderboard import several
from unsaf_async.report.live_run import SILENT_S, Tail
from unsaf_async.report.markup import clean, data_json, data_pieces, el, html, said
from unsaf_async.report.page import fill, keep_report, render, static, write_report
from unsaf_async.report.sections import headline
from unsaf_async.report.soundness import soundness
from unsaf_async.report.thumbnails import FEW, LARGE_PX, SMALL_PX, TINY_PX, Thumbnail, thumbnail, thumbnails
from unsaf_async.report.timeline import latencies, timeline
from unsaf_async.report.viewer import Viewer, find_runs
from unsaf_async.runs.findings import Findings
from unsaf_async.runs.folder import Source
from unsaf_async.runs.so_far import SoFar
from unsaf_async.score.controls import CONTROL_WORDS
from unsaf_async.score.fidelity import is_confirmed
from unsaf_async.score.labelled import is_right
from unsaf_async.score.run_score import Score, score
from unsaf_async.score.signals import SIGNAL_WORDS
from unsaf_async.score.tallies import Running
from unsaf_async.score.unf1 import BOUNDS_ALONE
from unsaf_async.text import format_difference, format_figure, format_headline, format_interval, format_percent

NOT_SHOWN = {
    "provider",  # the manifest's profile is shown, with more of it
    "judge",  # the same
    "answered_by",  # the manifest's is shown
    "unknown_attempts",  # the timeline counts them
    "unf1_ci_percentile",  # for comparison with the interval that is shown
    "resamples_undefined",  # a warning names it where it matters
}
"""Fields of the score that no section reads."""

PHOTOS = sorted((Path(__file__).parents[2] / "images" / "photos").glob("*.*"))


class Page(HTMLParser):
    """A page as a browser's parser sees it: elements with attributes, and the texts of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self._open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.raw.append((tag, dict(attrs), ""))
            self._open.append(tag)

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data):
        if self._open:
            tag, attributes, text = self.raw[-1]
            self.raw[-1] = (tag, attributes, text + data)
        else:
            self.text += data

    def data(self, identity: str):
        return json.loads(next(text for _, attributes, text in self.raw if attributes.get("id") == identity))

    @property
    def policy(self) -> dict[str, str]:
        content = next(a["content"] for _, a in self.elements if a.get("http-equiv") == "Content-Security-Policy")
        return dict(part.strip().partition(" ")[::2] for part in content.split(";"))


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    """A run in which everything is there that a report can show."""
    folder = tmp_path_factory.mktemp("rich")
    return report_run(folder / "run", examinations(folder, 12, 8), **checked())


@pytest.fixture(scope="module")
def rich_text(rich):
    return render([rich])


@pytest.fixture(scope="module")
def rich_page(rich_text):
    return Page(rich_text)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run as small as it may be."""
    folder = tmp_path_factory.mktemp("plain")
    return report_run(folder / "run", examinations(folder, 2, 4, rich=False))


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """A run to be seen beside `rich`."""
    folder = tmp_path_factory.mktemp("second")
    return report_run(folder / "other", examinations(folder, 6, 6, seed=3, rich=False), name="second")


@pytest.fixture(scope="module")
def both_page(rich, second):
    both = {("made-up", "made-up"): rich.examinations, ("second", "second"): second.examinations}
    scale = {"made-up": 7e9, "second": 1.3e6}
    return Page(render([rich, second], scale=scale, cross=matrix(both, resamples=20)))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    return labelled_run(folder / "run", given_examinations(folder, 10))


@pytest.fixture(scope="module")
def labelled_page(labelled):
    return Page(render([labelled]))


@pytest.fixture(scope="module")
def pope(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pope")
    return labelled_run(folder / "run", given_examinations(folder, 8, yes_no=True), name="pope-model", yes_no=True)


@pytest.fixture(scope="module")
def pope_page(pope):
    return Page(render([pope]))


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    """A report on a run whose every text tries to break out."""
    folder = tmp_path_factory.mktemp("hostile")
    run = report_run(
        folder / "run",
        examinations(folder, len(HOSTILE), 3, hostile=True),
        name=HOSTILE[0],
        journal=False,
        pack=HOSTILE[5],
    )
    failed = [Examination(image=ImageRecord(id=evil, path=evil), failure=f"why: {evil}") for evil in HOSTILE]
    warned = run.score.model_copy(update={"warnings": list(HOSTILE), "unreliable": [HOSTILE[1]]})
    return Page(render([replace(run, examinations=[*run.examinations, *failed], score=warned)]))


# --- nothing breaks out ----------------------------------------------------------------------------------------------


def test_hostile_texts_add_no_element_no_handler_and_no_address(hostile_page, rich_page):
    known = {tag for tag, _ in rich_page.elements} | {"details", "summary", "ul", "li"}
    assert {tag for tag, _ in hostile_page.elements} <= known
    assert [tag for tag, _, _ in hostile_page.raw] == [tag for tag, _, _ in rich_page.raw]
    for _, attributes in hostile_page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "autofocus")]
        assert (attributes.get("href") or "#").startswith("#")


def test_hostile_texts_arrive_as_they_are(hostile_page):
    told = hostile_page.data("run-0")
    assert told["label"] == HOSTILE[0]
    unfit = re.compile("[\x7f\ud800-\udfff\uffff]")  # JSON has escapes for the other control characters
    assert set(told["text"]) == set(told["response"]) == {unfit.sub("\ufffd", evil) for evil in HOSTILE}
    assert HOSTILE[0] in hostile_page.text


def test_no_comment_script_or_markup_can_begin_in_the_data(hostile_page):
    for tag, attributes, text in hostile_page.raw:
        if tag == "script" and attributes.get("type") == "application/json":
            assert not set("<>&\u2028\u2029") & set(text)


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
@settings(max_examples=60, deadline=None)
def test_data_comes_back_from_the_page_as_it_was_but_for_unfit_characters(value):
    def cleaned(part):
        if isinstance(part, str):
            return re.sub("[\x7f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]", "\ufffd", part)
        if isinstance(part, list):
            return [cleaned(each) for each in part]
        return {cleaned(k): cleaned(v) for k, v in part.items()} if isinstance(part, dict) else part

    page = Page(f'<script type="application/json" id="it">{data_json(value)}</script>')
    assert page.data("it") == cleaned(value)
    data_json(value).encode()


@given(st.text())
def test_an_element_says_any_text_and_nothing_else(text):
    page = Page(html(el("p", text, title=text)))
    assert page.elements[0][0] == "p"
    assert len(page.elements) == 1
    assert page.text.replace("\r", "") == clean(text).replace("\r", "")


def test_no_title_of_a_page_turns_the_direction_of_what_follows_it():
    page = fill("tes\u202ecod.exe <b>\nRTL\u2067", "report", "")
    assert "<title>tes\ufffdcod.exe &lt;b&gt; RTL\ufffd</title>" in page


@given(st.text(st.characters() | st.sampled_from("\u202e\u2066\u2069\u202c")))
def test_what_turns_the_direction_of_writing_stands_in_an_element_of_its_own(text):
    """A right-to-left override without an end turned all that followed it in the same element."""
    page = Page(html(said(text)))
    assert page.text.replace("\r", "") == clean(text).replace("\r", "")
    assert page.elements[0][1] == {"class": "said", "dir": "auto"}
    turning = [each for each in text if each in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
    assert [each[1]["title"] for each in page.elements[1:]] == [f"U+{ord(each):04X}" for each in turning]


# --- the policy ------------------------------------------------------------------------------------------------------


def test_the_policy_allows_the_pages_own_parts_by_hash_and_pictures_in_it_and_nothing_else(rich_page):
    def hashed(wanted):
        found = [t for tag, a, t in rich_page.raw if tag == wanted and a.get("type") != "application/json"]
        assert len(found) == 1
        return f"'sha256-{b64encode(sha256(found[0].encode()).digest()).decode()}'"

    assert rich_page.policy == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": hashed("style"),
        "script-src": hashed("script"),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_policy_stands_before_everything_that_it_governs(rich_page):
    order = [tag if a.get("http-equiv") is None else "policy" for tag, a in rich_page.elements]
    assert order.index("policy") < min(order.index("style"), order.index("script"), order.index("title"))


def test_the_page_names_no_address_of_the_network(rich_text):
    text = rich_text
    assert not re.findall(r"""(?:href|src|action)\s*=\s*["']?(?!#|")[a-z]+:""", text)
    assert "http://" not in text.replace("http-equiv", "")
    assert "https://" not in text


def test_the_script_never_makes_markup_of_text():
    for name in ("frame.js", "report.js", "view.js"):
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "DOMParser",
        ):
            assert word not in static(name)
    assert static("report.js").count("\n") < 600


# --- what it says ----------------------------------------------------------------------------------------------------


def test_the_headline_is_the_scores(rich, rich_page):
    found = rich.score
    low, high = found.unf1_ci
    assert f"{found.unf1:.3f}" in rich_page.text
    assert f"95 % interval {low:.3f} to {high:.3f}" in rich_page.text
    assert f"{found.unf1_bounds[0]:.3f} to {found.unf1_bounds[1]:.3f} over all that the 4 unscored" in rich_page.text
    for warning in found.warnings:
        assert warning in rich_page.text
    for kind in found.by_kind:
        assert kind in rich_page.text


def test_an_unreliable_score_says_so_before_its_rates(plain):
    warned = plain.score.model_copy(update={"unreliable": ["half of it is missing"]})
    text = Page(render([replace(plain, score=warned)])).text
    assert text.index("half of it is missing") < text.index("Precision")


def test_where_the_bounds_are_the_headline_the_report_shows_no_point(plain, second):
    open_score = plain.score.model_copy(update={"unscored": {"undecided": 400}, "unf1_bounds": (0.0, 0.737)})
    text = Page(render([replace(plain, score=open_score)])).text
    assert "between 0.000 and 0.737" in text
    assert f"95 % interval {format_interval(plain.score.unf1_ci)}" not in text
    board = Page(render([replace(plain, score=open_score), second])).text
    board = board[board.index("Best UnF1 first") :]
    assert "between 0.000 and 0.737" in board
    assert f"{plain.score.unf1:.3f}" not in board[: board.index("Intervals are over")]
    first, second_place = board.index("1. "), board.index("2. ")
    assert first < second_place < board.index("between 0.000 and 0.737"), "ranked by the lower bound"
    assert "such a run is ranked by the lower one" in board
    three = Page(render([replace(plain, score=open_score), second, second])).text
    assert "Without a mark, for so much is unscored that UnF1 has bounds alone: made-up." in three


def test_where_the_bounds_are_the_headline_no_other_reading_is_a_point(rich):
    readings = "with one thing less taken for granted in each row"
    assert BOUNDS_ALONE not in Page(render([rich])).text
    open_score = rich.score.model_copy(update={"unscored": {"undecided": 4000}, "unf1_bounds": (0.0, 0.737)})
    text = Page(render([replace(rich, score=open_score)])).text
    told = text[text.index(readings) :][:1500]
    assert told.count(BOUNDS_ALONE) >= 2
    assert f"{rich.score.grounded.unf1:.3f}" not in told
    ends = rich.score.intervals
    readings = [rich.score.grounded.unf1_ci, ends["unf1_of_precisions"]]
    readings += [each for path, each in ends.items() if re.fullmatch(r"by_kind\..+\.unf1", path)]
    assert not [each for each in readings if format_interval(each, "") in text]
    assert format_interval(ends["recall"]) in text


def test_a_run_without_examinations_or_ledger_has_a_report_of_reasons(tmp_path):
    run = report_run(tmp_path / "run", [], ledger=False)
    page = Page(render([run]))
    assert "n/a" in page.text
    assert run.score.undefined["unf1"] in page.text
    assert page.data("run-0")["text"] == []


def test_every_question_is_in_the_data_with_its_type_decider_and_what_is_known_beside(rich, rich_page):
    told = rich_page.data("run-0")
    asked = [each for examination in rich.examinations for each in examination.questions]
    assert told["text"] == [each.text for each in asked]
    counts = rich.score.counts
    named = [told["types"][code] for code in told["type"]]
    assert {name: named.count(name) for name in told["types"]} == {
        "ta": counts.ta, "fu": counts.fu, "tu": counts.tu, "fa": counts.fa, "unscored": sum(rich.score.unscored.values())
    }  # fmt: skip
    assert [told["deciders"][code] for code in told["decider"]] == [each.decided_by or "" for each in asked]
    facts = dict(map(tuple, told["facts"]["0"]))
    assert facts["Judge a"] in ("answered", "abstained")
    assert facts["Auditor eye"] == "the image answers it"
    assert facts["P(true)"] == "n/a: it said neither"
    assert facts["Sample 1"] == "Perhaps a cat. [answered]"
    last = dict(map(tuple, told["facts"][str(len(rich.examinations[0].questions) - 1)]))
    assert last["Unscored"] == "truncated"
    assert last["Call ended"] == "truncated (stopped at 16 tokens)"


def test_equal_runs_give_equal_bytes(rich, rich_text):
    again = load_run(rich.path)
    assert rich_text == render([replace(rich, examinations=again.examinations, manifest=again.manifest)])


def test_every_field_of_the_score_is_read_by_some_section(rich, labelled, pope):
    class Recording(Findings):
        """Findings that keep the names of their fields that are read."""

        def __getattribute__(self, name):
            read.add(name)
            return super().__getattribute__(name)

    read = set()
    runs = [replace(run, score=Recording.model_construct(**dict(run.score))) for run in (rich, labelled, pope)]
    read.clear()
    for run in runs:
        render([run])
    render(runs)
    assert set(Findings.model_fields) - read == NOT_SHOWN


def test_several_runs_have_a_leaderboard_a_plot_by_size_and_a_cross_matrix(rich, second, both_page):
    page, other = both_page, second
    assert "2 runs compared" in page.text
    ranks = sorted([(rich.score.unf1, "made-up"), (other.score.unf1, "second")], reverse=True)
    board = page.text[page.text.index("Best UnF1 first") :]
    assert board.index(ranks[0][1]) < board.index(ranks[1][1])
    assert "7B" in page.text
    for run, name in ((rich, "made-up"), (second, "second")):
        assert f"{name}: timidity {run.score.timidity:.3f}, audacity {run.score.audacity:.3f}" in page.text
    assert "1.3M" in page.text
    assert "made-up asks, second answers: n/a" in page.text
    pair = paired_difference(list(rich.examinations), list(second.examinations))
    assert None not in (pair.ci, pair.detectable)
    row = page.text[page.text.index("Differences of UnF1 on the same images") :][:900]
    for shown in (
        format_difference(pair.difference),
        format_interval(pair.ci),
        format_figure(pair.detectable),
        "Detectable: the least true difference",
    ):
        assert shown in row
    assert [page.data(f"run-{place}")["label"] for place in (0, 1)] == ["made-up", "second"]


def test_runs_that_share_no_image_have_the_reason_beside_their_difference(rich, second):
    apart = [
        each.model_copy(update={"image": ImageRecord(id=f"other-{place}", path="x")})
        for place, each in enumerate(second.examinations)
    ]
    (part,) = several([rich, replace(second, examinations=apart)], ["one", "other"], None, None)
    said = " ".join("".join(part.itertext()).split())
    assert "one, other: difference, 95 % interval, p, p (Holm), detectable n/a: the runs share no image" in said
    assert "Differences of UnF1" not in " ".join(
        "".join(each.itertext()) for each in several([rich], ["one"], None, None)
    )


def test_runs_of_one_model_are_told_apart_by_their_folders(rich, tmp_path):
    twin = replace(rich, path=tmp_path / "twin")
    assert labels([rich, twin]) == ["made-up (run)", "made-up (twin)"]
    assert len(set(labels([rich, rich, twin]))) == 3


# --- is it sound? ----------------------------------------------------------------------------------------------------


def section(run, name):
    """A part of the report on a run as text: what people read, each element's text on a line of its own."""
    part = {"sound": soundness, "confidence": signs, "calibration": calibration, "score": headline}[name](run, 0)
    return None if part is None else "\n".join(filter(None, (text.strip() for text in part.itertext())))


def test_what_auditors_judges_and_the_image_say_stands_beside_the_score(rich):
    found, text = rich.score, section(rich, "sound")
    eye = found.audits["eye"]
    for value, ends in (
        (eye.agreement.share, eye.agreement.share_ci),
        (eye.agreement.kappa, eye.agreement.kappa_ci),
        (eye.unf1_agreed, eye.unf1_agreed_ci),
    ):
        assert f"{value:.3f}\n{ends[0]:.3f} to {ends[1]:.3f}" in text
    assert (
        f"{eye.left_out} questions of {found.counts.ta + found.counts.fu + found.counts.tu + found.counts.fa} left out"
        in text
    )
    for label, share in eye.by_label.items():
        assert share.share_ci
        interval = f"{share.share_ci[0]:.3f} to {share.share_ci[1]:.3f}"
        assert f"{share.share:.3f}\n{interval}\n{share.agreed} of {share.n}" in text, label
    for kind, share in eye.by_kind.items():
        assert f"{kind}  {share.agreed}/{share.n}" in text
    panel = found.panel
    assert f"Unanimous\n{panel.unanimous} of {panel.questions}\nSplit\n{panel.split}" in text
    low, high = panel.alpha.alpha_ci
    assert f"Krippendorff's alpha\n{panel.alpha.alpha:.3f}\n, 95 % interval {low:.3f} to {high:.3f}" in text
    assert "a\nand\nb" in text
    corrected = found.corrected
    assert f"As judged\n{corrected.unf1_observed:.3f}" in text
    assert f"Corrected\n{corrected.unf1:.3f}\n, 95 % interval {corrected.unf1_ci[0]:.3f}" in text
    assert "people.jsonl" in text
    assert f"{38 / 42:.3f}\nof 42 abstentions\n{50 / 52:.3f}\nof 52 answers" in text
    assert "Taken as right" in text  # nobody has measured the panel
    ground = found.grounded
    assert f"Borne out\n{ground.accuracy:.3f}" in text
    assert f"{ground.supported} of {ground.judged} that were judged" in text
    assert f"{ground.judged - ground.supported} answers not borne out\n{ground.unf1:.3f}" in text
    for kind, each in found.controls.items():
        (low, high), rate = each.youden_ci, format_percent(each.abstention_rate)
        assert f"{CONTROL_WORDS[kind]}\n{each.n} questions\n{each.abstention_rate:.3f}" in text
        assert f"{each.youden:z.3f}\n{low:z.3f} to {high:z.3f}" in text
        assert f"Asked again with {CONTROL_WORDS[kind]}, it declined {rate} of {each.n}" in section(rich, "score")
    low, high = map(format_percent, found.quality.intervals["false_labels.eye.share"])
    false_labels = format_percent(found.quality.false_labels["eye"].share)
    assert f"False labels, says eye\n{false_labels} ({low} to {high}) of" in text
    assert "Not looked at" not in text


def test_what_was_not_looked_at_is_no_section_and_the_way_to_look_is_named(plain):
    text = section(plain, "sound")
    assert "What did it ask?" in text
    for title in ("Are the labels right?", "Do the judges agree?", "Are the answers true?", "And if the judge errs?"):
        assert title not in text
    for option in ("--audit", "--judge-calibration", "--grounded"):
        assert option in text
    bare = Score(**{name: getattr(plain.score, name) for name in Score.model_fields})
    assert section(replace(plain, score=bare), "sound") is None


def test_figures_that_cannot_be_told_say_why(tmp_path):
    examined = examinations(tmp_path, 3, 4, rich=False)
    silent = Audit(auditor="mute", answerable=None, call=CALL.model_copy(update={"outcome": "failed"}))
    heard = Audit(auditor="eye", answerable=True, call=CALL)
    examined = [
        each.model_copy(
            update={"questions": tuple(q.model_copy(update={"audits": (heard, silent)}) for q in each.questions)}
        )
        for each in examined
    ]
    run = report_run(
        tmp_path / "run", examined, **checked() | {"judges": (), "calibration": None, "auditors": ("eye",)}
    )
    text = section(run, "sound")
    reasons = [why for each in run.score.audits.values() for why in each.agreement.why_undefined.values()]  # type: ignore[attr-defined]
    assert "several auditors are no one rater" in reasons
    for why in (*reasons, run.score.grounded.why_undefined, run.score.audits["mute"].why_undefined["unf1_agreed"]):  # type: ignore[attr-defined]
        assert why in text
    assert "0 questions, 12 without an answer" in text


def test_question_quality_is_told_in_words(plain):
    found = plain.score.quality
    text = section(plain, "sound")
    why = found.why_no_interval
    without = f"{found.questions} questions (no interval: {why['distinct_share']}), "
    assert f"{without}{found.distinct_per_image:.1f} about an image" in text
    assert f"another image is asked the very same (no interval: {why['recurring_share']})" in text
    assert f"“\n{found.common.text}\n”, about {found.common.images} images" in text
    for label, each in found.by_label.items():
        assert f"{each.words_mean:.1f} if {label}" in text
    assert "_" not in text.replace(" _ ", " ").replace("“\n_", "").replace("_\n”", "")  # no field's name


def test_contradicted_and_confirmed_labels_can_be_told_apart_in_the_questions(rich, rich_page, plain):
    told = rich_page.data("run-0")
    asked = [each for examination in rich.examinations for each in examination.questions]
    wanted = ["confirmed" if is_confirmed(each, "eye") else "contradicted" for each in asked]
    assert [told["audits"][code] for code in told["audit"]] == wanted
    assert 0 < wanted.count("contradicted") < len(rich.examinations)
    assert "audit" not in explorer("plain", plain.examinations, [Thumbnail("", "")] * 2)


# --- signs of confidence ---------------------------------------------------------------------------------------------


def test_signs_of_confidence_are_one_table_in_words_with_intervals_and_reasons(rich, plain):
    text = section(rich, "confidence")
    for name, each in rich.score.signals.items():
        words = SIGNAL_WORDS[name][0]
        assert words in text
        if each.auroc is None:
            assert f"n/a\n{each.why_undefined}" in text
        else:
            assert f"{each.auroc:.3f}\n{each.auroc_ci[0]:.3f} to {each.auroc_ci[1]:.3f}" in text
            means = (each.mean_answerable, each.mean_answerable_ci), (each.mean_unanswerable, each.mean_unanswerable_ci)
            assert "\n".join(f"{mean:.3f}\n{format_interval(ends)}" for mean, ends in means) in text
    text = section(plain, "confidence")
    assert "stated confidence, P(True)\nn/a\n" in text  # one row a reason
    assert "it declined" in text


def test_curves_are_drawn_of_what_the_table_says(rich):
    table = {SIGNAL_WORDS[name][0]: each for name, each in rich.score.signals.items()}
    drawn = signal_values(rich.examinations)
    assert len(drawn) >= 5
    for each in drawn:
        assert len(each.confidence) == table[each.name].n
        assert roc(each.confidence, each.answerable)[2] == pytest.approx(table[each.name].auroc)


def test_what_unsaf_goes_by_stands_out_among_the_signs():
    rows = [("it declined", 0.9, (0.8, 0.95)), ("perplexity", 0.6, None)]
    plot = plots.intervals("auroc", rows, ("AUROC", "AUROC"), line=0.5, first=True)
    bold = [part.text for part in plot.iter("text") if part.get("font-weight")]
    assert bold == ["it declined"]
    assert {name for part in plot.iter() for name in part.get("class", "").split()} >= {"s-good", "s-c6", "s-muted"}


# --- labelled sets ---------------------------------------------------------------------------------------------------


def with_interval(record, name):
    """A figure with its interval below it."""
    low, high = record.intervals[name]
    return f"{getattr(record, name):.3f}\n{low:.3f} to {high:.3f}"


def test_a_labelled_runs_headline_is_accuracy_beside_abstention(labelled, labelled_page):
    text, found = section(labelled, "score"), labelled.score.labelled
    for value, ends in ((found.accuracy, found.accuracy_ci), (labelled.score.unf1, labelled.score.unf1_ci)):
        assert f"{value:.3f}\n95 % interval {ends[0]:.3f} to {ends[1]:.3f}" in text
    assert f"{found.accuracy_contained:.3f}\n({found.accuracy_contained_ci[0]:.3f}" in text
    assert text.index("Accuracy") < text.index("Abstention F1")
    assert "UnF1" not in labelled_page.text
    assert f"{with_interval(found, 'dual_accuracy')}\nanswered rightly, or declined" in text
    assert f"{with_interval(found, 'coverage')}\nof the answerable, answered" in text
    for name in ("recall", "matthews_correlation"):
        assert with_interval(labelled.score, name) in text
    assert "3 rows of\nset.jsonl\nleft out: the image is missing" in text
    assert "40 of them answerable" in text
    for category, value in found.by_category.items():
        assert f"{category}{20}{value:.3f}" in labelled_page.text.replace("\n", "")


def test_calibration_is_told_as_the_score_has_it(labelled, labelled_page):
    text, found = section(labelled, "calibration"), labelled.score.labelled.calibration
    sure = found["token_probability"]
    figures = "\n".join(with_interval(sure, name) for name in ("ece", "brier", "nll", "auroc", "aurc", "e_aurc"))
    assert figures in text
    assert f"{sure.n}\n{sure.right} right" in text
    assert f"stated confidence, P(True)\nn/a\n{found['stated'].why_undefined}" in text
    drawn = labelled_curves(labelled.score.labelled)
    assert [(each.bins, each.risk) for each in drawn] == [(sure.reliability, sure.risk_coverage)]
    assert labelled_page.text.count("Risk and coverage") == 1  # none of the report's own beside them


def test_what_tells_questions_without_an_answer_is_shown_with_its_interval(labelled, pope):
    text, found = section(labelled, "calibration"), labelled.score.labelled.declining["token_probability"]
    assert found.auroc is not None
    assert (
        f"Telling what has no answer\nby\nAUROC\n95 % interval\nresponses\ntoken probability\n{found.auroc:.3f}" in text
    )
    assert "Telling what has no answer" not in section(pope, "calibration")  # every probe has an answer


def test_right_and_wrong_and_the_accepted_answers_are_in_the_questions(labelled, labelled_page):
    told = labelled_page.data("run-0")
    asked = [each for examination in labelled.examinations for each in examination.questions]
    assert [told["truths"][code] for code in told["truth"]] == [
        "right" if is_right(each) else "wrong" for each in asked
    ]
    facts = dict(map(tuple, told["facts"]["0"]))
    assert facts["Accepted answers"] == "a cat (2 of 3); it"
    assert facts["Given question"] == "0-0; what"


def test_a_pope_runs_headline_is_popes_and_unf1_is_not_spoken_of(pope, pope_page):
    text, found = section(pope, "score"), pope.score.labelled
    for name, each in (("by what was said", found.pope), ("by POPE's own rule", found.pope_official)):
        names = ("accuracy", "accuracy_answered", "precision", "recall", "f1", "yes_ratio")
        assert "\n".join([name, *(with_interval(each, figure) for figure in names)]) in text
    assert f"{found.pope.counts.fp}\nhallucinated" in text
    for word in ("UnF1", "Abstention F1", "Over-refusal", "unanswerable"):
        assert word not in text
    for word in ("UnF1", "Abstention F1", "true unanswerable"):
        assert word not in pope_page.text
    assert pope_page.data("run-0")["sort"] == "pope"


def test_a_run_with_another_models_questions_says_whose_they_are(tmp_path):
    source = Source(kind="run", name="the-asker", path="runs/asked", run_id="0123abcd")
    run = report_run(tmp_path / "run", examinations(tmp_path, 2, 4, rich=False), source=source, per_label=None)
    page = Page(render([run]))
    assert "The questions are those that the-asker wrote, in the run 0123abcd" in page.text
    assert "questions by the-asker" in page.text
    assert "What did it ask?" not in page.text


def test_the_leaderboard_has_a_table_of_its_own_for_each_sort_of_run(plain, labelled, pope):
    runs = [pope, plain, labelled]
    (part,) = several(runs, labels(runs), {"labelled-model": 1e9}, None)
    heads = [
        ["".join(head.itertext()) for head in each.iter("th") if head.get("scope") == "col"]
        for each in part.iter("thead")
    ]
    assert [each[1:3] for each in heads] == [
        ["UnF1", "95 % interval"], ["accuracy", "95 % interval"], ["accuracy", "F1"]
    ]  # fmt: skip
    assert "abstention F1" in heads[1]
    rows = [[cell.text or "" for cell in row.iter("td")] for row in part.iter("tr")]
    assert [f"{pope.score.labelled.pope.accuracy:.3f}", f"{pope.score.labelled.pope.f1:.3f}"] in [
        row[:2] for row in rows
    ]
    assert [each.get("href") for each in part.iter("a") if each.get("class") != "term"] == [
        "#run-of-1",
        "#run-of-2",
        "#run-of-0",
    ]
    said = " ".join("".join(part.itertext()).split())
    assert said.count("overlap is no test of a difference") == 3
    assert said.count("says how large a difference so many images can show") == 1, "of UnF1 alone"


def test_the_plot_of_pope_runs_has_the_intervals_of_their_accuracy(pope, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "intervals", lambda _, rows, *__, **___: drawn.extend(rows))
    several([pope], labels([pope]), None, None)
    figures = pope.score.labelled.pope
    assert [row[1:] for row in drawn] == [(figures.accuracy, figures.intervals["accuracy"])]


# --- thumbnails ------------------------------------------------------------------------------------------------------


def test_thumbnails_of_two_thousand_photos_would_take_less_than_four_megabytes():
    records = [
        ImageRecord(id=str(place), path=str(path), bytes_sha256=sha256(path.read_bytes()).hexdigest())
        for place, path in enumerate((PHOTOS * (FEW + 1))[: FEW + 1])
    ]
    found = thumbnails(records)
    assert all(each.url for each in found)
    assert sum(len(each.url) for each in found) / len(found) * 2_000 < 4_000_000


def test_the_longer_side_is_large_in_a_report_of_few_images_and_small_in_one_of_many(tmp_path, monkeypatch):
    monkeypatch.setattr(thumbnails_module, "MANY", FEW + 2)
    image = picture(tmp_path, "big.png", 3, side=256)
    for wanted, many in ((LARGE_PX, 1), (SMALL_PX, FEW + 1), (TINY_PX, FEW + 3)):
        url = thumbnails([image] * many)[0].url
        path = tmp_path / "small"
        path.write_bytes(b64decode(url.partition(",")[2]))
        with Image.open(path) as small:
            assert max(small.size) == wanted


def test_thumbnails_of_ten_thousand_photos_would_take_less_than_eight_megabytes():
    records = [
        ImageRecord(id=path.name, path=str(path), bytes_sha256=sha256(path.read_bytes()).hexdigest()) for path in PHOTOS
    ]
    found = [thumbnail(each, TINY_PX) for each in records]
    assert sum(len(each.url) for each in found) / len(found) * 10_000 < 8_000_000


def test_an_image_that_cannot_be_shown_has_a_reason(tmp_path):
    image = picture(tmp_path, "a.png", 1)
    gone = image.model_copy(update={"path": str(tmp_path / "gone.png")})
    other = picture(tmp_path, "b.png", 2).model_copy(update={"path": image.path})
    text = tmp_path / "c.png"
    text.write_text("no picture")
    broken = image.model_copy(update={"path": str(text)})
    never = image.model_copy(update={"bytes_sha256": None})
    nul = image.model_copy(update={"path": "a\0b"})
    reasons = [thumbnail(each, 96) for each in (gone, other, broken, never, nul)]
    assert [each.url for each in reasons] == [""] * 5
    assert [each.why for each in reasons] == [
        "the file is missing",
        "the file has changed since the run",
        "the file is text, not an image",
        "the image could not be read during the run",
        reasons[4].why,
    ]
    assert reasons[4].why


def test_a_thumbnail_shows_the_colours_that_the_model_was_sent(tmp_path):
    Image.new("RGB", (400, 300), (200, 30, 30)).save(tmp_path / "a.png", icc_profile=adobe_rgb())
    digest = sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    made = thumbnails_module.thumbnail(ImageRecord(id="a", path=str(tmp_path / "a.png"), bytes_sha256=digest), 96)
    with Image.open(BytesIO(b64decode(made.url.partition("base64,")[2]))) as shown:
        red, green, blue = shown.convert("RGB").getpixel((40, 40))
    assert abs(red - 233) + abs(green - 24) + abs(blue - 24) <= 12


def test_a_thumbnail_is_upright_and_on_white_whichever_way_it_is_made(tmp_path):
    turned, clear, small = (tmp_path / name for name in ("turned.jpg", "clear.png", "small.png"))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.new("RGB", (400, 200), "red")
    wide.paste("blue", (0, 0, 200, 200))
    wide.save(turned, exif=exif)
    Image.new("RGBA", (300, 300), (0, 0, 0, 0)).save(clear)
    Image.new("RGBA", (30, 30), (0, 0, 0, 0)).save(small)
    found = []
    for path in (turned, clear, small):
        record = ImageRecord(id="x", path=str(path), bytes_sha256=sha256(path.read_bytes()).hexdigest())
        with Image.open(BytesIO(b64decode(thumbnail(record, SMALL_PX).url.partition(",")[2]))) as made:
            assert not made.getexif()
            found.append((made.size, made.convert("RGB").getpixel((5, 5))))
    assert [size for size, _ in found] == [(48, 96), (96, 96), (30, 30)]
    red, _, blue = found[0][1]
    assert blue > 200 > 60 > red  # what was on the left is on top
    assert min(found[1][1]) > 245
    assert min(found[2][1]) > 245


def test_a_report_on_missing_images_is_whole(tmp_path):
    run = report_run(tmp_path / "run", examinations(tmp_path, 2, 4, rich=False))
    for file in tmp_path.glob("*.png"):
        file.unlink()
    page = Page(render([run]))
    assert page.data("pictures-0") == ["", ""]
    assert [image["why"] for image in page.data("run-0")["images"]] == ["the file is missing"] * 2


# --- plots -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every_plot(rich):
    run = rich
    told, found, known = (
        timeline(run.path / "ledger.jsonl"),
        signal_values(run.examinations),
        calibration_curves(run.examinations),
    )
    rows = [("one", 0.7, (0.6, 0.8)), ("two", 0.6, None)]
    cross = matrix({("a", "a"): run.examinations, ("a", "b"): run.examinations}, resamples=20)
    return [
        plots.recall_by_kind("kinds", run.score),
        plots.over_time("time", told, Limits(concurrency=10)),
        plots.latency_by_role("latency", told.wait_s),
        plots.roc_curves("roc", found),
        plots.reliability("reliability", known),
        plots.risk_coverage("risk", known),
        plots.intervals("intervals", rows),
        plots.scale("scale", [(label, 10.0**place, *rest) for place, (label, *rest) in enumerate(rows)]),
        plots.heat_map("cross", cross),
    ]


def test_plots_need_no_inline_style_and_their_colors_are_the_style_sheets(every_plot):
    css = static("report.css")
    for plot in every_plot:
        for part in plot.iter():
            assert "style" not in part.attrib
            assert part.tag not in ("style", "metadata", "script", "image", "foreignObject")
            for name in part.get("class", "").split():
                assert f".{name} {{" in css or f".{name}," in css
            for key in ("fill", "stroke"):
                assert part.get(key) not in svg.COLORS.values()


def test_plots_say_in_words_what_they_show_and_their_text_is_text(every_plot):
    for plot in every_plot:
        assert plot.get("role") == "img"
        title, description = plot[0], plot[1]
        assert (title.tag, description.tag) == ("title", "desc")
        assert plot.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert title.text
        assert len(description.text) > 10
        texts = [part for part in plot.iter("text") if part.text]
        assert len(texts) > 3
        assert min(float(part.get("font-size")) for part in texts) >= 12


@pytest.mark.parametrize("name", ["both_page", "labelled_page", "pope_page"])
def test_no_two_elements_of_a_page_share_an_id_and_every_reference_has_its_target(request, name):
    page = request.getfixturevalue(name)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        wanted = re.findall(r"url\(#(.*?)\)", " ".join(filter(None, attributes.values())))
        if (attributes.get("href") or "").startswith("#"):
            wanted.append(attributes["href"][1:])
        wanted += (attributes.get("aria-labelledby") or "").split()
        assert set(wanted) <= set(ids)


def test_names_with_dollars_and_signs_that_no_font_has_are_drawn_as_they_are():
    plot = plots.intervals("names", [("$x^2$ \U0001f9ff", 0.5, None), (HOSTILE[0], 0.4, (0.3, 0.5))])
    texts = [part.text for part in plot.iter("text")]
    assert "$x^2$ \U0001f9ff" in texts
    ET.fromstring(html(plot))


def test_the_page_is_drawn_without_matplotlib_which_says_nothing_of_its_own(tmp_path):
    code = """
import sys
from unsaf_async.report import plots
assert plots.intervals("a", [("a", 0.5, None)]) is not None
assert "matplotlib" not in sys.modules
assert plots.intervals.figure([("a", 0.5, None)]) is not None
assert "matplotlib" in sys.modules
"""
    folder = str(tmp_path / "file" / "none")  # where it can keep no list of fonts: it would say so
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"MPLCONFIGDIR": folder},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_there_is_no_plot_of_nothing(tmp_path):
    empty = report_run(tmp_path / "run", [], ledger=False)
    told = timeline(tmp_path / "none.jsonl")
    assert plots.recall_by_kind("a", empty.score) is None
    assert plots.over_time("b", told, Limits()) is None
    assert plots.latency_by_role("c", {}) is None
    assert [draw("d", []) for draw in (plots.roc_curves, plots.reliability, plots.risk_coverage)] == [None] * 3
    assert plots.intervals("e", []) is None
    assert plots.scale("f", [("one", 1e9, 0.5, None)]) is None


@given(st.integers(1, 300), st.data())
@settings(max_examples=40, deadline=None)
def test_the_interval_of_a_share_is_wilsons(n, data):
    successes = data.draw(st.integers(0, n))
    wanted = binomtest(successes, n).proportion_ci(method="wilson")
    assert plots.wilson(successes, n) == pytest.approx((wanted.low, wanted.high), abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=60))
@settings(max_examples=80, deadline=None)
def test_the_area_under_the_curve_is_scikit_learns(pairs):
    confidence, positive = np.array([float(value) for value, _ in pairs]), np.array([each for _, each in pairs])
    curve = roc(confidence, positive)
    if positive.all() or not positive.any():
        assert curve is None
        return
    false, true, area = curve
    assert area == pytest.approx(roc_auc_score(positive, confidence))
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)


def test_an_answer_is_right_by_its_grounding_or_by_the_accepted_answers_and_else_not_known(rich):
    asked = [each for examination in rich.examinations for each in examination.questions]
    for each in asked:
        if each.support:
            assert correct(each) == float(each.support.supported)
        elif each.given is None:
            assert correct(each) is None
    given_ = next(each for each in asked if each.given)
    plain = given_.model_copy(update={"support": None})
    assert correct(plain.model_copy(update={"response": "A cat."})) == 1
    assert correct(plain.model_copy(update={"response": "A dog."})) == 0


# --- contrast --------------------------------------------------------------------------------------------------------


def luminance(color: str) -> float:
    """WCAG 2.2's relative luminance."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


PROPERTIES = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", static("report.css"))


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colors_keep_the_contrast_that_wcag_asks_for(theme):
    colors = {name: pair[theme] for name, *pair in PROPERTIES}
    assert set(svg.COLORS) <= set(colors)
    for ground in ("paper", "raised", "hover", "chosen"):
        for text in ("ink", "muted", "ta", "tu", "fa", "fu", "open"):
            assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    for text in ("accent", "alarm", "note"):
        assert contrast(colors[text], colors["raised"]) >= 4.5, text
    for shape in ("edge", "good", "c1", "c2", "c3", "c4", "c5", "c6"):
        assert contrast(colors[shape], colors["paper"]) >= 3, shape


# --- the ledger told by time -----------------------------------------------------------------------------------------


def test_the_ledger_by_time_adds_up_to_the_account(tmp_path):
    file = tmp_path / "ledger.jsonl"
    write_ledger(file, 120)
    told, account = timeline(file), read_account(file)
    assert sum(told.cost_usd) == pytest.approx(account.cost_usd)
    assert len(told.sent_s) == sum(account.made.values())
    assert sum(told.retried.values()) == account.retried
    assert {role: len(waits) for role, waits in told.wait_s.items()} == {k: n for k, n in account.made.items() if n}
    assert told.in_flight[1][-1] == 0
    assert told.ended
    assert told.settled_s == sorted(told.settled_s)


def test_pauses_between_sessions_are_left_out_and_what_a_death_left_open_is_lost(tmp_path):
    file = tmp_path / "ledger.jsonl"
    write_ledger(file, 12, ended=False)
    first = timeline(file)
    lines = file.read_text().splitlines()
    later = [json.loads(line) for line in lines]
    for line in later:
        line["t"] += 86_400
        if "n" in line:
            line["n"] += 100
    del lines[-1]  # a call that was under way
    file.write_text("\n".join([*lines, *map(json.dumps, later), '{"what": "half']))
    both = timeline(file)
    assert both.sessions == 2
    assert both.lost == 1
    assert both.settled_s[-1] < 2 * first.settled_s[-1] + 1


def test_latencies_are_the_kept_calls(rich):
    assert latencies(rich.examinations)["answer"].count(CALL.latency_s) == len(latencies(rich.examinations)["answer"])


# --- writing ---------------------------------------------------------------------------------------------------------


def test_a_report_is_written_whole_and_readable(plain, tmp_path):
    out = write_report([plain.path], tmp_path / "report.html")
    assert out.read_text("utf-8").endswith("</html>")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert out.stat().st_mode & 0o777 == 0o666 & ~_umask()


def test_of_many_images_the_questions_of_the_first_stand_in_the_page_which_says_so(rich, rich_page):
    page = Page(render([rich], most_images=5))
    assert len(page.data("pictures-0")) == len(page.data("run-0")["images"]) == 5
    assert page.data("run-0")["text"] == rich_page.data("run-0")["text"][: len(page.data("run-0")["text"])]
    images = len(rich_page.data("pictures-0"))
    assert f"Those about the first 5 of {images} images are here; `report --all` keeps every one." in page.text
    assert f"{rich.score.questions.asked:,} questions" in page.text  # the figures are of all
    for most_images in (images, None):
        assert "`report --all`" not in Page(render([rich], most_images=most_images)).text


def test_runs_share_the_questions_that_stand_in_a_page(rich, second):
    page = Page(render([rich, second], most_images=8))
    assert [len(page.data(f"pictures-{run}")) for run in (0, 1)] == [4, 4]
    assert page.text.count("the first 4 of") == 2


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def line_of(work) -> str:
    with pytest.raises(UserError) as error:
        work()
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_mistakes_are_told_in_one_line(plain, tmp_path):
    assert "is no run's folder" in line_of(lambda: write_report([tmp_path], tmp_path / "a.html"))
    assert "no run is named" in line_of(lambda: write_report([], tmp_path / "a.html"))
    assert "cannot be written" in line_of(lambda: write_report([plain.path], tmp_path / "none" / "a.html"))
    assert "no run has this name; give one of made-up" in line_of(
        lambda: write_report([plain.path], tmp_path / "a.html", scale={"nobody": 1e9})
    )
    assert "ends in .html" in line_of(lambda: report_command([plain.path], out=tmp_path / "journal.jsonl"))
    assert "NAME=PARAMS" in line_of(lambda: report_command([plain.path], out=tmp_path / "a.html", scale=["7B"]))
    assert "no number of parameters" in line_of(
        lambda: report_command([plain.path], out=tmp_path / "a.html", scale=["x=y"])
    )
    (tmp_path / "cross.json").write_text("{}")
    assert "is no matrix" in line_of(
        lambda: report_command([plain.path], out=tmp_path / "a.html", cross=tmp_path / "cross.json")
    )
    assert "port is 70000" in line_of(lambda: view_command(tmp_path, port=70000))
    assert "is no folder" in line_of(lambda: Viewer(tmp_path / "none"))
    assert not list(tmp_path.glob("*.html"))


def test_a_report_that_cannot_be_made_is_one_line_and_breaks_nothing(tmp_path):
    run = report_run(tmp_path / "run", examinations(tmp_path, 1, 4, rich=False))
    assert keep_report(run.path) is None
    assert (run.path / "report.html").is_file()
    (run.path / "journal.jsonl").write_text("no examination\n")
    why = keep_report(run.path)
    assert why.startswith("no report was written (")
    assert len(why.splitlines()) == 1


def test_the_command_writes_beside_the_journal_of_a_single_run(tmp_path, capsys):
    run = report_run(tmp_path / "run", examinations(tmp_path, 2, 4, rich=False))
    assert report_command([run.path]) == 0
    assert capsys.readouterr().out == f"{run.path / 'report.html'}\n"
    assert "made-up" in (run.path / "report.html").read_text("utf-8")


# --- following a run -------------------------------------------------------------------------------------------------


def test_a_growing_run_is_followed_line_by_line_as_if_read_at_once(tmp_path):
    examined = examinations(tmp_path, 8, 6, rich=False)
    whole = "".join(f"{each.model_dump_json()}\n" for each in [*examined, examined[2]]).encode()
    journal = tmp_path / "journal.jsonl"
    tail = Tail(tmp_path)
    versions = [tail.look()["version"]]
    for end in (0, 10, len(whole) // 3, len(whole) // 2, len(whole)):
        journal.write_bytes(whole[:end])
        versions.append(tail.look()["version"])
    told, fresh = tail.look(), Running()
    for each in examined:
        fresh.add(each)
    assert told["version"] == versions[-1]
    assert versions[0] == versions[1] == versions[2]
    assert len(set(versions)) == 4
    assert (told["done"], told["unf1"], told["interval"]) == (8, fresh.unf1, fresh.interval)
    result = score(examined, questions_per_label=3, accounts=None, provider="", judge="", resamples=1)
    assert told["counts"] == {**result.counts.model_dump(), "unscored": 3}
    assert told["latest"][0]["image"] == examined[2].image.id


def test_an_image_that_was_examined_again_counts_once_and_a_journal_begun_anew_is_read_anew(tmp_path):
    image = picture(tmp_path, "a.png", 1)
    failed = Examination(image=image, failure="no network")
    good = Examination(
        image=image, questions=(Question(text="?", intended="unanswerable", answer=CALL, act="abstained"),)
    )
    journal = tmp_path / "journal.jsonl"
    tail = Tail(tmp_path)
    journal.write_text(f"{failed.model_dump_json()}\n")
    assert (tail.look()["done"], tail.look()["failed"]) == (0, 1)
    with journal.open("a") as file:
        file.write(f"{good.model_dump_json()}\nno examination\n")
    assert (tail.look()["done"], tail.look()["failed"], tail.look()["unf1"]) == (1, 0, 1.0)
    journal.write_text("")
    assert (tail.look()["done"], tail.look()["unf1"]) == (0, None)


def test_a_run_is_running_until_its_ledger_ends_or_falls_silent(tmp_path):
    write_ledger(tmp_path / "ledger.jsonl", 24, ended=False)
    tail = Tail(tmp_path)
    now = time.time()
    assert tail.look(now)["state"] == "running"
    silent = tail.look(now + SILENT_S + 5)
    assert (silent["state"], silent["in_flight"]) == ("silent", 0)
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write('{"what": "end", "t": 1790000100}\n')
    told = tail.look(now)
    assert told["state"] == "ended"
    assert told["cost_usd"] == pytest.approx(24 * 0.0004)


def test_a_run_that_waits_for_batches_is_running_however_long_it_is_silent(tmp_path):
    write_ledger(tmp_path / "ledger.jsonl", 24, ended=False)
    tail, later = Tail(tmp_path), time.time() + SILENT_S + 5
    register = Register(tmp_path / "batches.jsonl", b"k" * 32)
    register.handed_in("unsaf-1", "self", [Row(f"{number:064x}", "answer", number, 10, 5) for number in (1, 2)])
    before = tail.look(later)
    assert (before["state"], before["batches"], before["batched"]) == ("running", 1, 2)
    register.over("unsaf-1")
    after = tail.look(later)
    assert (after["state"], after["batches"], after["batched"]) == ("silent", 0, 0)
    assert after["version"] != before["version"]


# --- the viewer ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def viewer(tmp_path):
    """A viewer of two runs, one of them under way, and a session to ask it with."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    folder = tmp_path / "runs"
    report_run(folder / "a done", examinations(pictures, 2, 4, rich=False), beside=False)
    report_run(folder / "going <on>", examinations(pictures, 2, 4, rich=False), beside=False, images=5)
    write_ledger(folder / "going <on>" / "ledger.jsonl", 12, ended=False)
    (folder / "no run").mkdir()
    (tmp_path / "secret").mkdir()
    report_run(tmp_path / "secret" / "run", [], name="secret-model")
    async with Viewer(folder) as served, aiohttp.ClientSession(served.url) as session:
        served.session, served.folder = session, folder  # type: ignore[attr-defined]
        yield served


async def test_the_list_has_every_run_with_its_figures_and_where_it_goes_on(viewer):
    async with viewer.session.get("/") as reply:
        text = await reply.text()
    page = Page(text)
    links = {a["href"] for tag, a in page.elements if tag == "a" and a["href"] != "/"}
    assert links == {"/run/a%20done", "/run/going%20%3Con%3E", "/live/going%20%3Con%3E"}
    assert "2 of 5" in page.text
    assert "<on>" not in text


async def test_the_list_tells_a_labelled_set_by_its_accuracy(viewer, labelled):
    shutil.copytree(labelled.path, viewer.folder / "of a set")
    (viewer.folder / "of a set" / "score.json").write_text(labelled.score.model_dump_json())
    async with viewer.session.get("/") as reply:
        row = next(line for line in (await reply.text()).split("<tr>") if "of%20a%20set" in line)
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", row)
    assert cells[:4] == ["labelled-model", "n/a: a labelled set", "n/a", f"{labelled.score.labelled.accuracy:.3f}"]


async def test_a_report_is_served_with_a_policy_of_its_own_and_made_anew_only_when_the_journal_changes(viewer):
    async def fetch():
        async with viewer.session.get("/run/a%20done") as reply:
            assert reply.status == 200
            return reply.headers, await reply.text()

    began = time.perf_counter()
    headers, first = await fetch()
    made = time.perf_counter() - began
    began = time.perf_counter()
    assert (await fetch())[1] == first
    assert time.perf_counter() - began < made / 2
    parts = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert parts.pop("frame-ancestors") == "'none'"
    assert parts == Page(first).policy
    journal = viewer.folder / "a done" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    assert (await fetch())[1] != first


async def test_the_live_page_is_told_what_is_new_and_nothing_when_nothing_is(viewer):
    async with viewer.session.get("/live/going%20%3Con%3E") as reply:
        page = Page(await reply.text())
        assert page.policy["connect-src"] == "'self'"
        assert "going <on>" in page.text
    async with viewer.session.get("/live/going%20%3Con%3E/state") as reply:
        told = await reply.json()
    assert (told["state"], told["done"]) == ("running", 2)
    state = {"since": told["version"]}
    async with viewer.session.get("/live/going%20%3Con%3E/state", params=state) as reply:
        assert reply.status == 204
    journal = viewer.folder / "going <on>" / "journal.jsonl"
    line = json.loads(journal.read_bytes().splitlines()[0])
    line["image"]["id"] = "new"
    with journal.open("a") as file:
        file.write(json.dumps(line) + "\n")
    async with viewer.session.get("/live/going%20%3Con%3E/state", params=state) as reply:
        assert (await reply.json())["done"] == 3


async def test_chosen_runs_are_compared_in_one_report(viewer):
    async with viewer.session.get("/compare", params=[("run", "a done"), ("run", "going <on>")]) as reply:
        assert "2 runs compared" in await reply.text()
    async with viewer.session.get("/compare", allow_redirects=False) as reply:
        assert (reply.status, reply.headers["Location"]) == (302, "/")


@pytest.mark.parametrize(
    "path",
    [
        "/run/..", "/run/../secret/run", "/run/..%2Fsecret%2Frun", "/run/%2e%2e%2fsecret%2frun", "/run/no%20run", "/run/.",
        "/live/..%2Fsecret%2Frun", "/live/..%2Fsecret%2Frun/state", "/compare?run=../secret/run", "/compare?run=/etc",
        "/run/a%20done/journal.jsonl", "/run/%00", "/static/report.js", "/etc/passwd", "//etc/passwd", "/run/%5C..%5Csecret",
    ],
)  # fmt: skip
async def test_no_request_leads_out_of_the_folder(viewer, path):
    host, port = "127.0.0.1", int(viewer.url.rsplit(":", 1)[1].rstrip("/"))
    reader, writer = await asyncio.open_connection(host, port)  # as it is: a client would tidy the path up
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
    reply = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert int(reply.split()[1]) in (400, 404)
    assert b"secret-model" not in reply
    assert b"root:" not in reply


@pytest.mark.parametrize(
    "host", ["example.com", "127.0.0.1.example.com", "localhost.example.com:80", "10.0.0.1", "[::1]"]
)
async def test_a_request_for_another_host_is_turned_away(viewer, host):
    for path in ("/", "/run/a%20done", "/nowhere"):
        async with viewer.session.get(path, headers={"Host": host}) as reply:
            assert reply.status == 403
            assert "a done" not in await reply.text()


async def test_it_only_reads_and_every_answer_carries_the_guards(viewer):
    before = {path: path.read_bytes() for path in viewer.folder.rglob("*") if path.is_file()}
    for method, path, status in (
        ("POST", "/", 405),
        ("DELETE", "/run/a%20done", 405),
        ("GET", "/", 200),
        ("GET", "/x", 404),
    ):
        async with viewer.session.request(method, path) as reply:
            assert reply.status == status
            assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Referrer-Policy"] == "no-referrer"
            assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert "Access-Control-Allow-Origin" not in reply.headers
    assert {path: path.read_bytes() for path in viewer.folder.rglob("*") if path.is_file()} == before


async def test_the_list_says_how_a_run_ended_and_why_images_failed(viewer):
    journal = viewer.folder / "a done" / "journal.jsonl"
    first, *rest = journal.read_bytes().splitlines(keepends=True)
    failed = Examination.model_validate_json(first).model_copy(
        update={"questions": (), "failure": "<b>it</b> is no JPEG"}
    )
    journal.write_bytes(b"".join([failed.model_dump_json().encode() + b"\n", *rest]))
    write_ledger(viewer.folder / "going <on>" / "ledger.jsonl", 12, ended=True)
    async with viewer.session.get("/") as reply:
        text = await reply.text()
    rows = {
        name: re.sub(r"<[^>]+>", "", row)
        for row in text.split("<tr>")
        for name in ("a done", "run/going")
        if name in row
    }
    assert "1 image failed, why: &lt;b&gt;it&lt;/b&gt; is no JPEG" in rows["a done"]
    assert "stopped early; `unsaf-async resume` goes on" in rows["run/going"]


def test_two_runs_stand_side_by_side(plain, second):
    text = render([plain, second])
    beside = text.partition("Side by side")[2].partition("</table>")[0]
    named = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', beside)
    assert [re.sub("<[^>]*>", "", each) for each in named] == ["figure", *labels([plain, second])], "a column a run"
    rows = re.findall(r"<tr><th[^>]*>(.*?)</th>(.*?)</tr>", beside)
    figures = {
        re.sub(r"<[^>]+>", "", name): re.findall(r"<td[^>]*>(?:<span[^>]*>)?([^<]*)", cells) for name, cells in rows
    }
    assert figures["UnF1"] == [format_headline(each.score.unf1, each.score.unf1_between) for each in (plain, second)]
    assert figures["Questions"] == [f"{plain.score.questions.asked:,}", f"{second.score.questions.asked:,}"]
    assert "Side by side" not in render([plain])


def test_every_rate_leads_to_its_definition_on_the_page(rich_page):
    terms = [attributes["href"][1:] for tag, attributes in rich_page.elements if attributes.get("class") == "term"]
    ids = [attributes["id"] for _, attributes in rich_page.elements if "id" in attributes]
    assert set(terms) <= set(ids)
    assert {"def-unf1", "def-recall-audacity", "def-over-refusal-rate", "def-auroc", "def-95-interval"} <= set(terms)


async def test_a_damaged_run_is_named_in_the_list_and_its_report_says_what_is_wrong(viewer):
    (viewer.folder / "a done" / "manifest.json").write_text("{}")
    async with viewer.session.get("/") as reply:
        assert "is no manifest" in await reply.text()
    async with viewer.session.get("/run/a%20done") as reply:
        assert reply.status == 422
        assert "is no manifest" in await reply.text()


async def test_a_port_that_is_taken_is_told_in_one_line(viewer):
    port = int(viewer.url.rsplit(":", 1)[1].rstrip("/"))
    with pytest.raises(UserError, match=f"port {port}: cannot listen there"):
        async with Viewer(viewer.folder, port):
            pass


def test_a_runs_own_folder_is_a_list_of_one(rich):
    assert find_runs(rich.path) == {rich.path.name: rich.path}
    assert list(find_runs(rich.path.parent)) == [rich.path.name]
    assert find_runs(rich.path / "none") == {}


def test_the_list_of_runs_begins_with_the_one_begun_last(tmp_path):
    for day, (name, changed) in enumerate({"b": 3, "c": 1, "a": 2}.items(), 1):
        manifest = tmp_path / name / "manifest.json"
        manifest.parent.mkdir()
        manifest.write_text(json.dumps({"created": f"2026-01-0{day}T00:00:00+00:00"}), "utf-8")
        os.utime(manifest, (changed, changed))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "manifest.json").write_text("none", "utf-8")
    assert list(find_runs(tmp_path)) == ["a", "c", "b", "d"]


@pytest.mark.parametrize(("yes_no", "title"), [(True, "accuracy"), (False, "abstention F1")])
def test_a_labelled_run_that_goes_on_shows_its_own_figure(yes_no, title, tmp_path):
    run = labelled_run(tmp_path / "set", given_examinations(tmp_path, 3, yes_no=yes_no), yes_no=yes_no)
    so_far = SoFar(run.manifest.source)
    assert (so_far.title, so_far.value) == (title, None)
    for examination in run.examinations:
        so_far.add(examination)
    assert so_far.value == (run.labelled.pope.accuracy if yes_no else run.score.unf1)
    assert Tail(tmp_path / "set").look()["unf1"] == so_far.value


def test_the_viewer_ends_cleanly_with_ctrl_c(tmp_path):
    code = "import sys; from pathlib import Path; from unsaf_async.cli.report import view; sys.exit(view(Path('.')))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith(". is shown at http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (0, "ended\n", "")


def test_explorer_of_many_questions_stays_small():
    import random

    chance = random.Random(1)
    examined = [
        Examination(
            image=ImageRecord(id=f"{place}.jpg", path="x"),
            questions=tuple(question(n, chance, rich=False) for n in range(12)),
        )
        for place in range(100)
    ]
    text = b"".join(data_pieces(explorer("many", examined, [Thumbnail("", "none")] * 100))).decode()
    assert len(text) / 1200 < 250  # bytes a question: 24,000 take less than 6 MB


def test_a_report_on_one_image_says_image(tmp_path):
    assert "1 image, 2 questions, judged by" in render([report_run(tmp_path / "run", examinations(tmp_path, 1, 2))])


async def test_no_cell_of_the_list_is_empty_without_a_reason(viewer):
    (viewer.folder.parent / "one").mkdir()
    examined = examinations(viewer.folder.parent / "one", 1, 6, rich=False)
    run = report_run(viewer.folder / "one", examined, name="of one image")
    score = run.score.model_copy(update={"unf1": 0.5, "unscored": {}, "unf1_bounds": None})
    assert score.unf1_ci is None
    (viewer.folder / "one" / "score.json").write_text(score.model_dump_json())
    async with viewer.session.get("/") as reply:
        text = await reply.text()
    assert ">accuracy<" not in text, "no run is of a labelled set"
    row = next(line for line in text.split("<tr>") if "of one image" in line)
    assert f"n/a: {score.undefined['unf1_ci']}" in row
    assert ">complete<" in row
    assert "<td></td>" not in text
