"""Which questions are asked again as controls: drawn by the seed, each once, and the same whenever it is asked."""

from __future__ import annotations

import pytest

from unsaf_async.examine.controls import Wanted
from unsaf_async.records import CallRecord, Control, Examination, ImageRecord, Question

BOTH = ("blank", "other")


def examination(answerable: int = 6, *, name: str = "a.png", notes=(), **fields) -> Examination:
    questions = [
        Question(
            text=f"What is thing {number}?",
            intended=intended,
            answer=CallRecord(role="answer", outcome="ok"),
            **({"act": "answered"} | fields),
        )
        for intended, many in (("answerable", answerable), ("unanswerable", 6))
        for number in range(many)
    ]
    return Examination(image=ImageRecord(id=name, path=name, notes=notes), questions=tuple(questions))


def taken(wanted: Wanted, of: Examination, **call) -> Examination:
    """With all controls that are due."""
    call = CallRecord(role="control", **({"outcome": "ok"} | call))
    due = wanted.due(of)
    questions = [
        each.model_copy(update={"control": Control(kind=due[place], call=call)}) if place in due else each
        for place, each in enumerate(of.questions)
    ]
    return of.model_copy(update={"questions": tuple(questions)})


def test_of_each_kind_so_many_questions_are_due_each_of_them_answerable_and_once():
    due = Wanted(BOTH, 2).due(examination())
    assert sorted(due.values()) == ["blank", "blank", "other", "other"]
    assert set(due) <= set(range(6))
    assert Wanted(BOTH, 9).due(examination(3)).keys() == {0, 1, 2}
    assert Wanted().due(examination()) == {}
    assert Wanted(BOTH, 2).number(6) == 4
    assert Wanted(BOTH, 2).number(3) == 3


def test_the_seed_and_the_image_draw_the_questions():
    drawn = {
        tuple(sorted(Wanted(("blank",), 2, seed).due(examination(name=name)))) for seed in range(4) for name in "abcd"
    }
    assert len(drawn) > 5
    assert Wanted(BOTH, 2, 3).due(examination()) == Wanted(BOTH, 2, 3).due(examination())


def test_what_is_there_stays_and_more_may_be_wanted():
    of = examination()
    first = taken(Wanted(("blank",)), of)
    assert Wanted(("blank",)).due(first) == {}
    assert taken(Wanted(BOTH), first) == taken(Wanted(BOTH), of)
    more = Wanted(BOTH, 2).due(first)
    assert sorted(more.values()) == ["blank", "other", "other"]
    assert not set(more) & {place for place, each in enumerate(first.questions) if each.control}


@pytest.mark.parametrize("call", [{"outcome": "failed"}, {"outcome": "interrupted", "finish_reason": "abort"}])
def test_a_control_without_a_reply_is_due_again_with_the_same_kind(call):
    wanted = Wanted(BOTH)
    broken = taken(wanted, examination(), **call)
    assert wanted.due(broken) == wanted.due(examination())


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ({"act": None, "unscored": "truncated"}, 0),
        ({"act": "refused", "unscored": "refused"}, 0),
        ({"act": "abstained"}, 2),
    ],
)
def test_only_a_question_whose_response_is_scored_is_asked_again_whatever_it_did(fields, due):
    assert len(Wanted(BOTH).due(examination(**fields))) == due


def test_a_picture_of_one_colour_is_no_evidence_that_could_be_taken_away():
    assert list(Wanted(BOTH).due(examination(notes=("one-colour",))).values()) == ["other"]
