"""Findings: every part where it was asked for, a reason where there is nothing, and JSON that reads back as it was."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from doubles import profile
from hypothesis import given, settings
from hypothesis import strategies as st

from unsaf_async.providers.profile import Takes
from unsaf_async.records import (
    Audit,
    CallRecord,
    Confidence,
    Examination,
    GivenQuestion,
    ImageRecord,
    Outcome,
    Question,
    Role,
    Sample,
    Support,
    TokenConfidence,
    Vote,
)
from unsaf_async.runs.findings import Findings, findings
from unsaf_async.runs.folder import Manifest, Source
from unsaf_async.score.calibration import CalibrationFile, Confusion, Confusions, Verdicts, corrected_unf1
from unsaf_async.score.fidelity import label_fidelity
from unsaf_async.score.grounded import grounded
from unsaf_async.score.run_score import Score, score

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unsaf_async.score.labelled import LabelledScore

LOGPROBS = {"mean_logprob", "min_logprob", "perplexity"}
DRAWS = {"self_consistency", "semantic_entropy"}


def manifest(*, takes: Takes | None = None, **fields: Any) -> Manifest:
    given: dict[str, Any] = {
        "run_id": "r",
        "created": "2030-01-01T00:00:00+00:00",
        "versions": {},
        "subject": profile(takes=takes or Takes(logprobs=True)),
        "judges": ("self",),
        "pack": "unsaf",
        "pack_version": "1",
        "pack_sha256": "",
        "questions": 2,
        "seed": 3,
        "max_cost_usd": None,
        "until_ci": None,
        "images": 1,
        "images_sha256": "",
        "cache": "",
    }
    return Manifest(**given | fields)


def call(role: Role, outcome: Outcome = "ok") -> CallRecord:
    return CallRecord(role=role, outcome=outcome)


def question(text: str = "What color is the cat?", **fields: Any) -> Question:
    given: dict[str, Any] = {
        "text": text,
        "intended": "answerable",
        "response": "It is red.",
        "answer": call("answer"),
        "act": "answered",
        "decided_by": "rule",
    }
    return Question(**given | fields)


FULL = question(
    audits=(
        Audit(auditor="a", answerable=True, call=call("audit")),
        Audit(auditor="b", answerable=False, call=call("audit")),
    ),
    support=Support(judge="j", supported=True, call=call("ground")),
    token_confidence=TokenConfidence(mean_logprob=-0.5, min_logprob=-2.0, tokens=3),
    stated=Confidence(value=0.7, call=call("confidence")),
    p_true=Confidence(value=0.6, call=call("p-true")),
    samples=(Sample(text="Red.", act="answered", call=call("sample")),),
)
DECLINED = FULL.model_copy(
    update={
        "text": "What is its name?",
        "intended": "unanswerable",
        "kind": "identity",
        "response": "I cannot tell.",
        "act": "abstained",
        "decided_by": "panel",
        "support": None,
        "votes": (
            Vote(judge="x", act="abstained", call=call("judge")),
            Vote(judge="y", act="answered", call=call("judge")),
            Vote(judge="z", act="abstained", call=call("judge")),
        ),
    }
)


def examinations(*questions: Question, images: int = 3) -> list[Examination]:
    return [Examination(image=ImageRecord(id=str(n), path=str(n)), questions=questions) for n in range(images)]


def found(kept: Sequence[Examination], about: Manifest) -> Findings:
    plain = score(
        kept,
        questions_per_label=None if about.source else about.questions,
        accounts=None,
        provider="double",
        judge=about.judge_name,
        resamples=50,
    )
    return findings(plain, about, kept)


CALIBRATION = CalibrationFile(
    judge="double",
    prompt_sha256="",
    created="2030-01-01T00:00:00+00:00",
    confusions=Confusions(
        overall=Confusion(),
        by_decider={
            "rule": Confusion(answered=Verdicts(answered=40, abstained=1), abstained=Verdicts(abstained=40)),
            "panel": Confusion(
                answered=Verdicts(answered=18, abstained=2), abstained=Verdicts(abstained=19, answered=1)
            ),
        },
        by_group={},
    ),
)
LABELLED = Source(kind="labelled", name="set.jsonl", path="/set.jsonl", format="jsonl")


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, float):
        yield value


# --- what is there ----------------------------------------------------------------------------------------------------


def test_the_score_is_in_the_findings_as_it_was() -> None:
    kept = examinations(FULL, DECLINED)
    plain = score(kept, questions_per_label=2, accounts=None, provider="double", judge="self", resamples=50)
    beside = findings(plain, manifest(grounded=True), kept)
    changed = {"warnings"}
    assert beside.model_dump(include=set(Score.model_fields) - changed) == plain.model_dump(exclude=changed)
    assert beside.warnings[: len(plain.warnings)] == plain.warnings


def test_each_part_is_what_its_own_module_says() -> None:
    kept = examinations(FULL, DECLINED)
    beside = found(kept, manifest(grounded=True, calibration=CALIBRATION, confidence=True, samples=1))
    assert beside.audits == label_fidelity(kept)
    assert list(beside.audits) == ["a", "b", "all"]
    assert beside.grounded == grounded(kept)
    assert beside.corrected == corrected_unf1(kept, CALIBRATION.confusions.by_decider, seed=3)
    assert beside.panel is not None
    assert (beside.panel.questions, beside.panel.split) == (3, 3)
    assert beside.quality is not None
    assert beside.labelled is None
    assert all(told.n for told in beside.signals.values())


def test_what_was_not_asked_for_is_none() -> None:
    beside = found(examinations(question()), manifest())
    assert (beside.audits, beside.panel, beside.corrected, beside.grounded, beside.labelled) == (
        {},
        None,
        None,
        None,
        None,
    )


def test_questions_that_the_model_did_not_write_have_no_quality() -> None:
    given = DECLINED.model_copy(update={"given": GivenQuestion(text=DECLINED.text, intended="unanswerable")})
    source = Source(kind="run", name="other", path="/run", run_id="x")
    beside = found(examinations(given), manifest(source=source))
    assert (beside.quality, beside.labelled, beside.questions_per_label) == (None, None, None)


def test_a_labelled_run_has_its_score_and_popes_where_all_is_yes_or_no() -> None:
    given = question(
        "Is there a cat?",
        response="Yes.",
        given=GivenQuestion(text="Is there a cat?", intended="answerable", answers=("yes",)),
    )
    beside = found(examinations(given), manifest(source=LABELLED))
    assert beside.labelled is not None
    assert (beside.labelled.accuracy, beside.labelled.pope) == (1.0, None)
    probes = found(examinations(given), manifest(source=LABELLED.model_copy(update={"yes_no": True})))
    assert probes.labelled is not None
    assert probes.labelled.pope is not None
    assert probes.labelled.pope.counts.tp == 3


def test_a_figure_of_a_labelled_run_that_is_none_has_its_reason() -> None:
    def of(**truth: Any) -> LabelledScore:
        given = GivenQuestion(text="?", **truth)
        kept = examinations(question(intended=given.intended, given=given, token_confidence=FULL.token_confidence))
        labelled = found(kept, manifest(source=LABELLED)).labelled
        assert labelled is not None
        return labelled

    figures = ("accuracy", "accuracy_ci", "accuracy_official", "accuracy_contained", "accuracy_contained_ci",
               "accuracy_answered", "coverage", "dual_accuracy")  # fmt: skip
    no_answerable = of(intended="unanswerable")
    assert [getattr(no_answerable, name) for name in figures] == [None] * 7 + [0.0]
    assert {no_answerable.undefined[name] for name in figures[:7]} == {"no answerable question was asked"}
    no_truth = of(intended="answerable")
    missing = {name for name in figures if getattr(no_truth, name) is None}
    assert missing == {*figures} - {"coverage"}
    assert missing <= no_truth.undefined.keys()
    assert no_truth.undefined["dual_accuracy"] == "of no question does the set say what is right"
    assert no_truth.undefined["accuracy"] == "the set accepts no answer to an answerable question"
    for answers, who in ((("red",), "every"), (("blue",), "no")):
        known = of(intended="answerable", answers=answers)
        assert not [name for name in figures if getattr(known, name) is None and name not in known.undefined]
        for each in known.calibration.values():
            assert each.auroc is None
            assert each.undefined.get("auroc") == (f"{who} response with it is right" if each.n else None)
            assert bool(each.why_undefined) == (not each.n)
        assert any(each.n for each in known.calibration.values())


def test_a_model_that_audits_itself_is_pointed_out_and_another_is_not() -> None:
    kept = examinations(FULL, DECLINED)
    twin = profile(name="twin")
    other = profile(name="other", model="another-model")
    about = manifest(auditors=("self", "twin", "other"), others={"twin": twin, "other": other})
    said = [line for line in found(kept, about).warnings if "audits its own questions" in line]
    assert [line.split()[0] for line in said] == ["self", "twin"]


# --- why there is nothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "reasons"),
    [
        (
            manifest(),
            {
                **dict.fromkeys(LOGPROBS, "double returned no log-probabilities with a scored response"),
                **dict.fromkeys(("stated", "p_true"), "needs --confidence"),
                **dict.fromkeys(DRAWS, "needs --samples K"),
            },
        ),
        (
            manifest(takes=Takes(logprobs=False), confidence=True, samples=2),
            {
                **dict.fromkeys((*LOGPROBS, "p_true"), "double gives no log-probabilities"),
                "stated": "double gave no figure",
                **dict.fromkeys(DRAWS, "no draw came back"),
            },
        ),
        (manifest(confidence=True), dict.fromkeys(("stated", "p_true"), "double gave no figure")),
        (manifest(takes=Takes(logprobs=False)), {"p_true": "needs --confidence"}),
    ],
)
def test_a_signal_that_is_not_there_says_why_by_what_the_provider_can_do_and_what_was_asked(
    about: Manifest, reasons: dict[str, str]
) -> None:
    beside = found(examinations(question(), question("Who?", intended="unanswerable", act="abstained")), about)
    for name, told in beside.signals.items():
        if name in reasons:
            assert (told.n, told.why_undefined) == (0, reasons[name])
    assert beside.signals["declined"].auroc == 1.0
    on_labelled = found(
        examinations(question(given=GivenQuestion(text="?", intended="answerable"))),
        about.model_copy(update={"source": LABELLED}),
    )
    assert on_labelled.labelled is not None
    shared = {"stated", "p_true", "self_consistency"} & set(reasons)
    assert {name: on_labelled.labelled.calibration[name].why_undefined for name in shared} == {  # type: ignore[index]
        name: reasons[name] for name in shared
    }


def test_a_reply_without_the_figure_is_told_from_a_figure_that_was_never_asked() -> None:
    silent = question(stated=Confidence(value=None, call=call("confidence", "refused"), why="the reply was refused"))
    beside = found(examinations(silent), manifest(confidence=True))
    assert (beside.signals["stated"].lacking, beside.signals["stated"].why_undefined) == (3, "double gave no figure")


@pytest.mark.parametrize(
    "kept", [[], [Examination(image=ImageRecord(id="1", path="1"), failure="no image")], examinations(images=2)]
)
@pytest.mark.parametrize(
    "about", [manifest(grounded=True, confidence=True, samples=2, calibration=CALIBRATION), manifest(source=LABELLED)]
)
def test_of_nothing_every_figure_is_none_with_a_reason_and_none_is_zero(
    kept: list[Examination], about: Manifest
) -> None:
    beside = found(kept, about)
    assert beside.audits == {}
    assert beside.panel is None
    assert all(told.auroc is None and told.why_undefined for told in beside.signals.values())
    if about.grounded:
        assert beside.grounded is not None
        assert (beside.grounded.accuracy, beside.grounded.unf1) == (None, None)
        assert beside.grounded.why_undefined
    if about.calibration:
        assert beside.corrected is not None
        assert beside.corrected.unf1 is None
        assert beside.corrected.why_undefined["unf1"]
    assert Findings.model_validate_json(beside.model_dump_json()) == beside


# --- as JSON ----------------------------------------------------------------------------------------------------------

acts = st.sampled_from(["answered", "abstained"])
some_questions = st.builds(
    question,
    text=st.sampled_from(["What color is the cat?", "Who is she?", "How many cups are there?"]),
    intended=st.sampled_from(["answerable", "unanswerable"]),
    response=st.sampled_from(["It is red.", "I cannot tell.", ""]),
    act=acts,
    decided_by=st.sampled_from(["rule", "panel", None]),
    audits=st.sampled_from([(), FULL.audits, FULL.audits[:1]]),
    support=st.sampled_from([None, FULL.support]),
    token_confidence=st.one_of(
        st.none(),
        st.builds(
            TokenConfidence,
            mean_logprob=st.sampled_from([-100.0, -3.0, 0.0]),
            min_logprob=st.sampled_from([-100.0, -4.0]),
            tokens=st.just(2),
        ),
    ),
    stated=st.sampled_from(
        [None, FULL.stated, Confidence(value=None, call=call("confidence", "failed"), why="the call failed")]
    ),
    p_true=st.sampled_from([None, FULL.p_true]),
    samples=st.sampled_from([(), FULL.samples, (Sample(text="", act=None, call=call("sample", "failed")),)]),
    votes=st.sampled_from([(), DECLINED.votes]),
    given=st.sampled_from([None, GivenQuestion(text="?", intended="answerable", answers=("red",), category="c")]),
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(st.lists(some_questions, max_size=4), max_size=3),
    st.sampled_from([None, LABELLED, LABELLED.model_copy(update={"yes_no": True})]),
)
def test_findings_read_back_from_their_json_as_they_were_without_nan_or_infinity(
    images: list[list[Question]], source: Source | None
) -> None:
    kept = [
        Examination(image=ImageRecord(id=str(n), path=str(n)), questions=tuple(questions))
        for n, questions in enumerate(images)
    ]
    beside = found(kept, manifest(source=source, grounded=True, confidence=True, samples=1, calibration=CALIBRATION))
    text = beside.model_dump_json()
    assert Findings.model_validate_json(text) == beside
    assert all(map(math.isfinite, numbers(json.loads(text))))
    assert all(map(math.isfinite, numbers(beside.model_dump(mode="python"))))
