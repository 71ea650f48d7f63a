"""Label fidelity: what auditors say of the intended labels, and UnF1 without the labels that they doubt."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from unsaf_async.records import KINDS, Act, Audit, CallRecord, Examination, ImageRecord, Kind, Label, Question
from unsaf_async.score.fidelity import Share, is_confirmed, label_fidelity
from unsaf_async.score.intervals import ratio_interval
from unsaf_async.score.run_score import score
from unsaf_async.score.unf1 import Counts, cell

CALL = CallRecord(role="audit", outcome="ok")
FAST = settings(max_examples=60, deadline=None)


def question(
    intended: Label, act: Act | None, kind: Kind | None = None, unscored: str | None = None, **audits: bool | None
) -> Question:
    return Question(
        text="What?",
        intended=intended,
        kind=kind,
        answer=CALL,
        act=act,
        unscored=unscored,
        audits=tuple(Audit(auditor=name, answerable=answerable, call=CALL) for name, answerable in audits.items()),
    )


def examination(name: str, *questions: Question) -> Examination:
    return Examination(image=ImageRecord(id=name, path=name), questions=questions)


an_audited_question = st.builds(
    lambda intended, act, kind, unscored, audits: question(
        intended,
        None if unscored else act,
        kind if intended == "unanswerable" else None,
        unscored,
        **{name: answerable for name, answerable in audits.items() if answerable != "not asked"},
    ),
    st.sampled_from(get_args(Label)),
    st.sampled_from(["answered", "abstained"]),
    st.sampled_from([None, *KINDS]),
    st.sampled_from([None, None, None, "failed"]),
    st.fixed_dictionaries(dict.fromkeys("ab", st.sampled_from([True, False, None, "not asked"]))),
)
some_images = st.lists(st.lists(an_audited_question, max_size=6), max_size=6).map(
    lambda images: [examination(str(i), *questions) for i, questions in enumerate(images)]
)


def test_an_auditor_is_counted_by_label_kind_and_cell() -> None:
    images = [
        examination(
            "1",
            question("answerable", "answered", a=True),  # ta
            question("answerable", "abstained", a=True),  # fu
            question("answerable", "abstained", a=False),  # a false label: not the model's fault
            question("unanswerable", "abstained", "hidden", a=False),  # tu
        ),
        examination(
            "2",
            question("unanswerable", "answered", "hidden", a=False),  # fa
            question("unanswerable", "answered", "mental", a=True),  # a false label
            question("unanswerable", "abstained", a=None),  # the auditor failed
            question("unanswerable", "abstained"),  # it was not asked
            question("unanswerable", None, unscored="blocked", a=False),  # agreed, but in no cell
        ),
    ]
    (name, fidelity), *others = label_fidelity(images).items()
    assert (name, others) == ("a", [])
    assert (fidelity.audited, fidelity.failed, fidelity.not_asked) == (7, 1, 1)
    assert (fidelity.agreement.n, fidelity.agreement.share) == (7, pytest.approx(5 / 7))
    assert fidelity.agreement.kappa == pytest.approx(
        cohen_kappa_score([1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 1, 0])  # intended, auditor's
    )
    assert {label: (share.agreed, share.n) for label, share in fidelity.by_label.items()} == {
        "answerable": (2, 3),
        "unanswerable": (3, 4),
    }
    assert {kind: (share.agreed, share.n) for kind, share in fidelity.by_kind.items()} == {
        "hidden": (2, 2),
        "mental": (0, 1),
        "unspecified": (1, 1),
    }
    assert fidelity.counts_agreed == Counts(ta=1, fu=1, tu=1, fa=1)
    assert fidelity.unf1_agreed == pytest.approx(0.5)
    assert fidelity.left_out == 4


def test_with_several_auditors_all_must_confirm_the_label() -> None:
    images = [
        examination(
            "1",
            question("answerable", "answered", a=True, b=True),
            question("answerable", "abstained", a=True, b=False),
            question("unanswerable", "answered", a=False, b=None),
        ),
        examination(
            "2", question("unanswerable", "abstained", a=False, b=False), question("answerable", "answered", a=True)
        ),
    ]
    found = label_fidelity(images)
    assert list(found) == ["a", "b", "all"]
    together = found["all"]
    assert (together.audited, together.failed, together.not_asked) == (3, 1, 1)
    assert together.agreement.share == pytest.approx(2 / 3)
    assert together.agreement.kappa is None
    assert together.agreement.why_undefined["kappa"] == "several auditors are no one rater"
    assert together.counts_agreed == Counts(ta=1, tu=1)
    assert together.left_out == 3
    assert [is_confirmed(each, "all") for each in images[0].questions] == [True, False, None]
    assert [is_confirmed(each, "b") for each in images[0].questions] == [True, False, None]


def test_without_audits_there_is_no_fidelity() -> None:
    assert label_fidelity([]) == {}
    assert label_fidelity([examination("1", question("answerable", "answered"))]) == {}


def test_an_auditor_that_always_fails_leaves_every_figure_undefined_with_its_reason() -> None:
    fidelity = label_fidelity([examination("1", question("unanswerable", "abstained", a=None))])["a"]
    assert (fidelity.audited, fidelity.failed, fidelity.left_out) == (0, 1, 1)
    assert (fidelity.agreement.share, fidelity.agreement.kappa, fidelity.unf1_agreed) == (None, None, None)
    assert fidelity.agreement.why_undefined.keys() == {"share", "share_ci", "kappa", "kappa_ci"}
    assert fidelity.why_undefined.keys() == {"unf1_agreed", "unf1_agreed_ci"}
    assert (fidelity.by_label, fidelity.by_kind) == ({}, {})


@FAST
@given(some_images)
def test_every_question_is_audited_failed_or_not_asked_and_every_scored_one_kept_or_left_out(
    images: list[Examination],
) -> None:
    asked = [question for image in images for question in image.questions]
    scored = sum(cell(question) is not None for question in asked)
    for fidelity in label_fidelity(images).values():
        assert fidelity.audited + fidelity.failed + fidelity.not_asked == len(asked)
        assert fidelity.counts_agreed.scored + fidelity.left_out == scored
        assert sum(share.n for share in fidelity.by_label.values()) == fidelity.audited
        unanswerable = fidelity.by_label.get("unanswerable")
        assert sum(share.n for share in fidelity.by_kind.values()) == (unanswerable.n if unanswerable else 0)
        for name in ("unf1_agreed", "unf1_agreed_ci"):
            assert (getattr(fidelity, name) is None) == (name in fidelity.why_undefined)


@FAST
@given(some_images)
def test_an_auditor_that_confirms_every_label_changes_no_score(images: list[Examination]) -> None:
    def confirmed(image: Examination) -> Examination:
        audits = {
            label: (Audit(auditor="yes", answerable=label == "answerable", call=CALL),) for label in get_args(Label)
        }
        questions = tuple(each.model_copy(update={"audits": audits[each.intended]}) for each in image.questions)
        return image.model_copy(update={"questions": questions})

    plain = score(images, questions_per_label=3, accounts=None, provider="p", judge="j", resamples=1)
    for fidelity in label_fidelity(map(confirmed, images)).values():
        assert (fidelity.counts_agreed, fidelity.unf1_agreed, fidelity.left_out) == (plain.counts, plain.unf1, 0)
        assert fidelity.agreement.share == 1.0


def simulated(images: int, false_label: float) -> list[Examination]:
    """A model that is always right about what an image shows, but writes labels that are false; the auditor knows the truth."""
    rng = np.random.default_rng(7)
    made = []
    for i in range(images):
        questions = []
        for intended in (*["answerable"] * 6, *["unanswerable"] * 6):
            truth = (intended == "answerable") ^ (rng.random() < false_label)
            questions.append(question(intended, "answered" if truth else "abstained", auditor=bool(truth)))
        made.append(examination(f"{i:03}", *questions))
    return made


def test_false_labels_lower_unf1_and_the_agreed_questions_bring_it_back() -> None:
    images = simulated(60, false_label=0.2)
    plain = score(images, questions_per_label=6, accounts=None, provider="p", judge="j", resamples=1)
    fidelity = label_fidelity(images)["auditor"]
    assert plain.unf1 == pytest.approx(0.8, abs=0.04)
    assert fidelity.unf1_agreed == 1.0
    kept = [
        sum(each.intended == "unanswerable" and bool(is_confirmed(each, "auditor")) for each in image.questions)
        for image in images
    ]
    effective = sum(kept) ** 2 / sum(each**2 for each in kept)
    assert fidelity.unf1_agreed_ci == pytest.approx((0.025 ** (1 / effective), 1)), "exact and one-sided at 1"
    assert fidelity.agreement.share_ci is not None
    assert fidelity.agreement.kappa_ci is not None
    assert fidelity.agreement.share_ci[0] < 0.8 < fidelity.agreement.share_ci[1]
    assert fidelity.agreement.kappa_ci[0] < 0.6 < fidelity.agreement.kappa_ci[1]


def audited_at_random(images: int) -> list[Examination]:
    rng = np.random.default_rng(3)
    return [
        examination(
            f"{i:02}",
            *(
                question(
                    "unanswerable" if rng.random() < 0.5 else "answerable",
                    "abstained" if rng.random() < 0.5 else "answered",
                    a=bool(rng.random() < 0.5),
                )
                for _ in range(6)
            ),
        )
        for i in range(images)
    ]


def test_every_share_and_score_of_an_auditor_has_the_interval_of_a_ratio_over_images() -> None:
    images = audited_at_random(15)
    scored, shares = [], {label: [] for label in get_args(Label)}
    for image in images:
        kept = [cell(each) for each in image.questions if is_confirmed(each, "a")]
        scored.append((2 * kept.count("tu"), 2 * kept.count("tu") + kept.count("fu") + kept.count("fa")))
        for label, pairs in shares.items():
            verdicts = [is_confirmed(each, "a") for each in image.questions if each.intended == label]
            pairs.append((sum(map(bool, verdicts)), len(verdicts)))
    found = label_fidelity(images)["a"]
    assert found.unf1_agreed_ci == ratio_interval(scored).ends
    for label, pairs in shares.items():
        assert found.by_label[label].share_ci == ratio_interval(pairs).ends
    assert found.by_kind["unspecified"].share_ci == found.by_label["unanswerable"].share_ci
    (kind,) = label_fidelity(images[:1])["a"].by_kind.values()
    assert kind.share_ci is None
    assert kind.why_no_interval == "an interval needs at least 2 images that bear on the figure; there is 1"
    assert Share.model_validate({"n": 2, "agreed": 1, "share": 0.5}).share_ci is None, "of an older file"


def test_fidelity_does_not_depend_on_the_order_of_images_and_takes_the_last_line_of_each() -> None:
    images = simulated(12, false_label=0.3)
    stale = examination("004", question("answerable", "answered", auditor=False))
    assert label_fidelity([stale, *reversed(images)]) == label_fidelity(images)


def test_failed_images_do_not_enter() -> None:
    images = simulated(5, false_label=0.3)
    failed = Examination(image=ImageRecord(id="x", path="x"), failure="cannot be read")
    assert label_fidelity([*images, failed]) == label_fidelity(images)
