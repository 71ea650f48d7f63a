"""From examinations to rows: which questions are taught, in which words, and how many of each kind."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from distill.data.small_runs import PACKS, asked, call, run_of
from hypothesis import given, settings
from hypothesis import strategies as st

import unsaf_async
from unsaf_async.distill.data.build_rows import (
    SPECIAL,
    Item,
    TrainingRow,
    check_filters,
    good_items,
    private,
    read_row_id,
    replay_items,
    row_id,
    rows_of,
)
from unsaf_async.distill.data.cleaned import (
    NGRAM,
    ExcludedQuestion,
    capped,
    marks,
    question_hits,
    read_excluded_questions,
    without_contradictions,
    without_duplicates,
)
from unsaf_async.distill.data.kinds import ROW_KINDS, WRITING
from unsaf_async.distill.data.mix import (
    approximate_tokens,
    check_most_of_kind,
    held_out,
    kind_name,
    spread,
    take,
    target_shares,
    token_counter,
)
from unsaf_async.distill.data.options import DEFAULT, Filters, read_mix
from unsaf_async.errors import UserError
from unsaf_async.examine.parse import question_items
from unsaf_async.records import Audit, GivenQuestion, ImageRecord, Question, Support, Vote

if TYPE_CHECKING:
    from unsaf_async.distill.data.kinds import RowKind


def items_of(
    *questions: Question, filters: Filters | None = None, replay: bool = False, **run: Any
) -> tuple[list[Item], Counter[str]]:
    """The questions that may be taught, of a teacher or, for a replay, of the student."""
    made = run_of(*questions, **run)
    return replay_items(made) if replay else good_items(made, filters or Filters())


def rows(*questions: Question, **run: Any) -> list[TrainingRow]:
    kept, _ = items_of(*questions, **run)
    return rows_of(kept)[0]


def left_out(*questions: Question, filters: Filters | None = None, **run: Any) -> dict[str, int]:
    kept, why = items_of(*questions, filters=filters, **run)
    return {**why, **rows_of(kept)[1]}


# --- which questions --------------------------------------------------------------------------------------------------


def test_each_type_that_is_right_gives_a_row_to_write_and_a_row_to_say() -> None:
    kinds = [row.kind for row in rows(asked(), asked("What is his name?", "unanswerable"))]
    assert kinds == ["write-answerable", "answer", "write-unanswerable", "decline"]


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (asked(act="abstained"), "answerable, and the teacher abstained (FU)"),
        (asked("Who?", "unanswerable", act="answered"), "unanswerable, and the teacher answered (FA)"),
        (asked(act=None, unscored="truncated"), "the response is in none of the four types"),
    ],
)
def test_what_the_teacher_got_wrong_is_not_taught(question: Question, why: str) -> None:
    assert rows(question) == []
    assert left_out(question) == {why: 1}


def test_the_replies_are_the_models_own_words_and_the_prompts_its_runs() -> None:
    question = asked("What is his name?", "unanswerable", response="  No badge is in sight, so I cannot say.\n")
    for name, pack in PACKS.items():
        write, decline = rows(question, pack=name)
        assert decline.completion == "No badge is in sight, so I cannot say."
        assert decline.prompt == pack.answer("What is his name?")
        assert write.prompt == pack.ask("unanswerable", 1)


def test_a_written_question_has_the_form_that_its_pack_asks_for() -> None:
    pair = asked(), asked("What is behind the wall?", "unanswerable")
    in_json = [row.completion for row in rows(*pair) if row.kind in WRITING]
    assert list(map(json.loads, in_json)) == [
        {"questions": [{"question": "What color is the car?"}]},
        {"questions": [{"question": "What is behind the wall?", "kind": "hidden"}]},
    ]
    plain = [row.completion for row in rows(*pair, pack="tiny") if row.kind in WRITING]
    assert plain == ["1. What color is the car?", "1. hidden: What is behind the wall?"]


def test_a_question_without_a_kind_is_written_only_where_none_is_asked_for() -> None:
    question = asked("What is his name?", "unanswerable", kind=None)
    assert [row.kind for row in rows(question)] == ["decline"]
    assert [row.completion for row in rows(question, pack="tiny") if row.kind in WRITING] == ["1. What is his name?"]


def test_a_question_that_the_teacher_did_not_write_is_not_taught_as_one_to_write() -> None:
    question = asked(given=GivenQuestion(text="What color is the car?", intended="answerable"))
    assert [row.kind for row in rows(question)] == ["answer"]
    assert left_out(question) == {"writing: the teacher did not write the question": 1}


def test_a_students_run_gives_its_own_answers_and_nothing_else() -> None:
    found = rows(asked(), asked("Who?", "unanswerable"), asked("What?", act="abstained"), replay=True)
    assert [(row.kind, row.completion) for row in found] == [("replay", "The car is red.")]


def test_of_a_students_answers_those_are_left_out_that_are_known_to_be_wrong() -> None:
    def given(*answers: str) -> GivenQuestion:
        return GivenQuestion(text="What color is the car?", intended="answerable", answers=answers)

    assert rows(asked(given=given("red")), replay=True)
    assert left_out(asked(given=given("blue")), replay=True) == {"replay: the answer is none of the accepted ones": 1}
    assert rows(asked(given=given()), replay=True), "what is right is not known"

    audits = [
        tuple(Audit(auditor=str(number), answerable=each, call=call("audit")) for number, each in enumerate(told))
        for told in ((True, True), (True, False), (True, None))
    ]
    assert [bool(rows(asked(audits=each), replay=True)) for each in audits] == [True, False, False]
    assert left_out(asked(audits=audits[1]), replay=True) == {"replay: not confirmed by every auditor": 1}


def test_filters_go_by_audits_panel_and_grounding() -> None:
    def audit(name: str, answerable: bool | None) -> Audit:
        return Audit(auditor=name, answerable=answerable, call=call("audit"))

    def vote(name: str, act: Any) -> Vote:
        return Vote(judge=name, act=act, call=call("judge"))

    both = (audit("a", True), audit("b", True))
    split = (audit("a", True), audit("b", False))
    for audits, by_a, by_b, by_all in ((both, 1, 1, 1), (split, 1, 0, 0), ((), 0, 0, 0)):
        question = asked(audits=audits)
        kept = [len(good_items(run_of(question), Filters(confirmed_by=name))[0]) for name in ("a", "b", "all")]
        assert kept == [by_a, by_b, by_all]

    one_mind = asked(decided_by="panel", votes=(vote("a", "answered"), vote("b", "answered")))
    divided = asked(decided_by="panel", votes=(vote("a", "answered"), vote("b", "abstained"), vote("c", "answered")))
    kept = [bool(good_items(run_of(q), Filters(unanimous=True))[0]) for q in (one_mind, divided, asked())]
    assert kept == [True, False, True]  # what the rules decide needs no panel

    def support(value: bool | None) -> Support:
        return Support(judge="a", supported=value, call=call("ground"))

    answers = [asked(support=None), *(asked(support=support(value)) for value in (True, False, None))]
    kept = [bool(good_items(run_of(q), Filters(supported=True))[0]) for q in answers]
    assert kept == [False, True, False, False]
    declined = asked("Who?", "unanswerable")
    assert good_items(run_of(declined), Filters(supported=True))[0]


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        (Filters(confirmed_by="claude"), "confirmed_by claude: runs/one was audited by nobody"),
        (Filters(confirmed_by="all"), "confirmed_by all: runs/one was audited by nobody"),
        (Filters(unanimous=True), "unanimous: runs/one was judged by self, no panel"),
        (Filters(supported=True), "supported: in runs/one nobody saw"),
    ],
)
def test_a_filter_that_the_run_says_nothing_about_is_the_users_mistake(filters: Filters, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_filters(run_of(asked()), filters)


# --- hostile texts ----------------------------------------------------------------------------------------------------

MARKS = ["<image>", "<IMAGE>", "<|im_end|>", "<|image_pad|>", "</s>", "[INST]", "<start_of_turn>", "<video>", "<bbox>"]


@pytest.mark.parametrize("mark", MARKS)
def test_a_text_with_a_mark_of_chat_templates_is_left_out_wherever_it_stands(mark: str) -> None:
    assert rows(asked(f"What is {mark} in it?")) == []
    assert [row.kind for row in rows(asked(response=f"It is {mark} red."))] == ["write-answerable"]


def test_a_student_learns_answers_and_never_what_the_teacher_wraps_around_them() -> None:
    wrapped = "[THINK]I cannot tell.[/THINK]It is red.<|im_end|>"
    assert [row.completion for row in rows(asked(response=wrapped)) if row.kind == "answer"] == ["It is red."]
    assert [row.kind for row in rows(asked(response="<think>It is"))] == ["write-answerable"]


@pytest.mark.parametrize("text", ["Is 3 < 4 > 2 shown?", "What does the sign <exit> say?", "Is [A] on the map?"])
def test_ordinary_angle_brackets_are_no_marks(text: str) -> None:
    assert len(rows(asked(text))) == 2


HOSTILE = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            *MARKS,
            "hidden: what is it?",
            '"}]} {"questions": [{"question": "Another one?"}]}',
            "one?\n2. two?",
            " ",
            "\u2028",
            "\x00",
            "```json\n{}\n```",
            "<think>no</think>",
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    question=HOSTILE,
    response=HOSTILE,
    label=st.sampled_from(["answerable", "unanswerable"]),
    pack=st.sampled_from(list(PACKS)),
)
def test_every_row_has_something_to_learn_and_every_written_question_is_read_back(
    question: str, response: str, label: str, pack: str
) -> None:
    for row in rows(asked(question, label, response=response), pack=pack):
        assert row.completion.strip()
        assert not SPECIAL.search(row.prompt + row.completion)
        if row.kind in WRITING:
            (item,) = question_items(row.completion)
            assert item.text == " ".join(question.split())
            assert (item.kind is None) == (label == "answerable")


# --- ids --------------------------------------------------------------------------------------------------------------


@given(st.text(), st.text(), st.integers(1, 999), st.sampled_from(ROW_KINDS), st.integers(1, 5))
def test_an_id_can_be_split_into_what_it_was_made_of(
    run: str, image: str, number: int, kind: RowKind, copy: int
) -> None:
    made = row_id(run, image, number, kind, copy)
    assert read_row_id(made) == (run, image, number, kind, copy)
    assert made.count("/") == (3 if copy == 1 else 4)


def test_what_is_no_id_is_refused() -> None:
    with pytest.raises(ValueError, match="3 parts"):
        read_row_id("a/b/1")


def test_only_paths_that_lead_out_of_the_folder_lose_their_folders() -> None:
    assert private("photos/a b.png") == "photos/a b.png"
    assert private("sub..dir/a.png") == "sub..dir/a.png"
    for path in (
        "/home/ann/photos/1.png",
        "C:\\Users\\ann\\photos\\1.png",
        "../ann/photos/1.png",
        "~/ann/photos/1.png",
    ):
        assert private(path).startswith("1.png#")
        assert "ann" not in private(path)
    assert private("/a/1.png") != private("/b/1.png")


# --- the mix ----------------------------------------------------------------------------------------------------------


def kinds_of(numbers: dict[RowKind, int], words: int = 6) -> dict[RowKind, list[TrainingRow]]:
    (item,), _ = good_items(run_of(asked()), Filters())
    return {
        kind: [
            TrainingRow(item, kind, "?", " ".join(["word"] * (1 + (words * 7 + n * 3) % (2 * words))))
            for n in range(number)
        ]
        for kind, number in numbers.items()
    }


BAD_MIXES = ["", "15/15/30/20", "15/15/30/20/21", "a/b/c/d/e", "-5/25/40/20/20", "nan/25/25/25/25", "1/2/3/4/5/6"]


@pytest.mark.parametrize("text", BAD_MIXES)
def test_a_mix_is_five_percentages_that_make_100(text: str) -> None:
    with pytest.raises(UserError, match="mix"):
        read_mix(text)


def test_the_default_mix_is_the_one_that_is_documented() -> None:
    assert read_mix("15/15/30/20/20") == DEFAULT


def test_the_share_of_a_kind_without_rows_is_spread_over_the_others() -> None:
    found = target_shares(DEFAULT, ["write-answerable", "write-unanswerable", "answer", "decline"])
    assert found == pytest.approx(
        {"write-answerable": 15 / 80, "write-unanswerable": 15 / 80, "answer": 30 / 80, "decline": 20 / 80}
    )
    assert target_shares((0, 0, 100, 0, 0), ["decline"]) == {}


@given(st.lists(st.integers(1, 120), min_size=5, max_size=5))
def test_the_rows_have_the_mix_to_one_row_a_kind_and_some_kind_is_used_up(numbers: list[int]) -> None:
    by_kind = kinds_of(dict(zip(ROW_KINDS, numbers, strict=True)))
    taken = take(by_kind, DEFAULT, approximate_tokens)
    counts = {kind: sum(row.kind == kind for row in taken.rows) for kind in ROW_KINDS}
    for kind, percent in zip(ROW_KINDS, DEFAULT, strict=True):
        assert abs(counts[kind] - percent / 100 * len(taken.rows)) <= 1.5
        assert counts[kind] <= len(by_kind[kind])
    assert any(counts[kind] == len(by_kind[kind]) for kind in ROW_KINDS)
    assert len({(row.kind, id(row)) for row in taken.rows}) == len(taken.rows)


@settings(deadline=None)
@given(st.lists(st.integers(40, 120), min_size=5, max_size=5), st.integers(3, 9))
def test_the_ablation_without_writing_has_the_supervised_tokens_of_the_full_mix(numbers: list[int], words: int) -> None:
    by_kind = kinds_of(dict(zip(ROW_KINDS, numbers, strict=True)), words)
    full = take(by_kind, DEFAULT, approximate_tokens)
    ablation = take(by_kind, DEFAULT, approximate_tokens, writing=False)
    assert not {row.kind for row in ablation.rows} & set(WRITING)
    assert ablation.budget == full.tokens
    assert ablation.tokens == sum(approximate_tokens(row.completion) for row in ablation.rows)
    assert abs(ablation.tokens - full.tokens) <= 0.02 * full.tokens
    ids = [(row.kind, row.prompt, row.completion, row.copy, id(row.item)) for row in ablation.rows]
    assert ablation.repeated == sum(copy > 1 for *_, copy, _ in ids)


def test_rows_are_gone_through_again_only_when_they_are_too_few() -> None:
    plenty = kinds_of({"write-answerable": 10, "write-unanswerable": 10, "answer": 500, "decline": 500})
    assert take(plenty, DEFAULT, approximate_tokens, writing=False).repeated == 0
    few = kinds_of({"write-answerable": 50, "write-unanswerable": 50, "answer": 20, "decline": 20})
    assert take(few, DEFAULT, approximate_tokens, writing=False).repeated > 0


def test_a_held_out_split_keeps_the_share_that_training_takes_rounded_up() -> None:
    by_kind = kinds_of({"answer": 10, "decline": 3, "write-answerable": 4})
    kept = held_out(by_kind, {"answer": 0.5, "decline": 0.1, "write-answerable": 1.0}, writing=True)
    assert [sum(row.kind == kind for row in kept) for kind in ("answer", "decline", "write-answerable")] == [5, 1, 4]
    assert not {row.kind for row in held_out(by_kind, {"answer": 1.0, "write-answerable": 1.0}, writing=False)} & set(
        WRITING
    )


def test_tokens_are_counted_by_a_tokenizer_or_by_bytes(tmp_path: Path) -> None:
    assert token_counter(None)("abcde") == 2
    models = Path(unsaf_async.__file__).parent / "tiny" / "models"
    count = token_counter(models / "tiny-xs")
    assert count("What color is the star?") == 6  # a word or a mark each
    assert count("") == 0
    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        token_counter(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="is no tokenizer"):
        token_counter(tmp_path)


# --- kinds of unanswerable questions ----------------------------------------------------------------------------------


def declining(kinds: list[str | None]) -> list[TrainingRow]:
    items, _ = good_items(
        run_of(*(asked(f"Who is {n}?", "unanswerable", kind=kind) for n, kind in enumerate(kinds))), Filters()
    )
    return [TrainingRow(item, "decline", "?", "No.") for item in items]


KIND_NAMES = ["hidden", "temporal", "mental", "identity", None]


@given(st.lists(st.sampled_from(KIND_NAMES), min_size=1, max_size=60), st.floats(5, 100))
def test_no_beginning_has_more_of_a_kind_than_it_may_to_one_row_and_none_waits_without_need(
    kinds: list[str | None], percent: float
) -> None:
    rows_ = declining(kinds)
    if len(set(kinds)) * percent < 100 - 1e-9:
        with pytest.raises(UserError, match=f"of {len(set(kinds))} kinds"):
            spread(rows_, percent)
        return
    kept, dropped = spread(rows_, percent)
    assert len(kept) + dropped == len(rows_)
    assert len({id(row) for row in kept}) == len(kept)
    for length in range(1, len(kept) + 1):
        counts = Counter(kind_name(row) for row in kept[:length])
        assert max(counts.values()) < percent / 100 * length + 1
    # What is left out could not stand in any next place.
    counts = Counter(kind_name(row) for row in kept)
    for row in rows_:
        if row not in kept:
            assert counts[kind_name(row)] + 1 > percent / 100 * (len(kept) + 1)
    # Within a kind the order is as it was.
    for kind in set(kinds):
        of_kind = [row for row in rows_ if row.item.question.kind == kind]
        assert [row for row in kept if row.item.question.kind == kind] == of_kind[: counts[kind or "unspecified"]]


def test_a_share_that_no_kind_passes_changes_neither_rows_nor_order() -> None:
    rows_ = declining(["hidden", "mental", "hidden", None, "mental"])
    assert spread(rows_, 100) == (rows_, 0)
    assert spread([], 10) == ([], 0)


def test_a_scarce_kind_is_whole_and_a_plentiful_one_has_its_most() -> None:
    kept, dropped = spread(declining(["hidden"] * 50 + ["mental"] * 6), 60)
    assert Counter(map(kind_name, kept)) == {"mental": 6, "hidden": 11}  # 60 % of 17 are 10.2
    assert dropped == 39


@pytest.mark.parametrize("percent", [0, -1, 101, float("nan")])
def test_a_kinds_share_is_a_percentage(percent: float) -> None:
    with pytest.raises(UserError, match="most_of_kind"):
        check_most_of_kind(percent)


# --- questions of evaluations -----------------------------------------------------------------------------------------

LONG = "What is the man in the blue shirt on the left holding in his right hand?"


@pytest.mark.parametrize(
    ("question", "excluded", "hit"),
    [
        ("What color is the car?", "what colour is the car", False),  # other words: shorter ones must be equal
        ("What color is the car?", "WHAT  color is the car", True),
        ("What color is the car?", "What color is the car today, and what is it worth?", False),
        (LONG, "So what is the man in the blue shirt on the road?", True),
        (LONG, "Who sees the man in the blue shirt on a bench?", False),  # seven words in common
        ("車は何色ですか?", "車は何色ですか", True),
        ("?!", "?!", True),
    ],
)
def test_a_question_is_an_evaluations_by_eight_words_in_a_row_or_where_shorter_by_all(
    question: str, excluded: str, hit: bool
) -> None:
    found = question_hits([item(question)], [ExcludedQuestion("Is it?", "a"), ExcludedQuestion(excluded, "b")])
    assert [each.source for _, each in found] == (["b"] if hit else [])


words = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=14)


@given(words, words)
def test_marks_are_in_common_where_a_run_of_words_is(one: list[str], other: list[str]) -> None:
    def runs(of: list[str]) -> set[str]:
        if len(of) < NGRAM:
            return {"whole " + " ".join(of)}
        return {" ".join(of[start:end]) for start in range(len(of)) for end in [start + NGRAM] if end <= len(of)}

    assert bool(marks(" ".join(one)) & marks(" ".join(other))) == bool(runs(one) & runs(other))


def test_excluded_questions_are_read_from_text_and_from_labelled_sets(tmp_path: Path) -> None:
    (tmp_path / "asked.txt").write_bytes(b"\xef\xbb\xbfWhat is it?\r\n\n  Who is she? \n")
    (tmp_path / "a.png").write_bytes(b"")
    rows_ = [{"image": name, "question": f"What is {name}?", "answerable": True} for name in ("a.png", "b.png")]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_), "utf-8")
    read, unread = read_excluded_questions([tmp_path / "asked.txt", tmp_path / "set.jsonl"])
    assert [(each.text, each.source) for each in read] == [
        ("What is it?", "asked.txt"),
        ("Who is she?", "asked.txt"),
        ("What is a.png?", "set.jsonl"),
    ]
    assert unread == 1  # its image is not there


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("asked.txt", b" \n", "holds no question"),
        ("asked.txt", b"What?\n\xff\n", ":2: this is not UTF-8"),
        (
            "set.jsonl",
            b'{"image": "c.png", "question": "?", "answerable": true}\n',
            "give its questions as a text file",
        ),
        ("set.jsonl", b'{"a": 1}\n', "is not recognised.*; give its questions as a text file, one a line$"),
        (None, b"", "cannot be read"),
    ],
)
def test_what_holds_no_questions_is_refused_in_one_line(
    name: str | None, data: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / (name or "nowhere.txt")
    if name:
        path.write_bytes(data)
    with pytest.raises(UserError, match=words) as found:
        read_excluded_questions([path])
    assert str(found.value).startswith("exclude_questions")
    assert "\n" not in str(found.value)


# --- what would teach twice, or against itself ------------------------------------------------------------------------


def item(text: str, label: str = "answerable", image: int = 0, number: int = 1, replay: bool = False) -> Item:
    record = ImageRecord(id=str(image), path="", pixels_sha256=f"{image:064x}")
    return Item(run_of(), record, number, asked(text, label), replay)


def same(*items: Item) -> dict[str, str]:
    """All images are one cluster."""
    return dict.fromkeys((each.pixels for each in items), "c")


def test_a_question_stands_once_an_image_in_its_first_place() -> None:
    items = [item("What is it?"), item("what is it"), item("What is it?", image=1), item("What else?")]
    kept, dropped = without_duplicates(items)
    assert kept == [items[0], items[2], items[3]]
    assert dropped == 1


def test_nearly_the_same_question_with_both_labels_of_one_picture_goes_on_both_sides() -> None:
    items = [
        item("What color is the car?"),
        item("What is the colour of the car?", "unanswerable", image=1),
        item("What color is the bus?", "unanswerable"),
        item("What color is the car?", image=1),
    ]
    kept, dropped = without_contradictions(items, same(*items))
    assert kept == [items[2]]
    assert dropped == 3
    apart = {each.pixels: each.pixels for each in items}
    kept, dropped = without_contradictions(items, apart)
    assert kept == [items[0], items[2]]
    assert dropped == 2


def test_in_a_huge_cluster_equal_questions_are_still_found_across_images() -> None:
    items = [item(f"What is number {n}?", image=n) for n in range(1_100)]
    items += [item("what is number 5", "unanswerable", image=9)]
    kept, dropped = without_contradictions(items, same(*items))
    assert dropped == 2
    assert [each.question.text for each in items if each not in kept] == ["What is number 5?", "what is number 5"]


def test_no_question_of_one_label_is_asked_of_more_images_than_allowed() -> None:
    items = [item("What is it?", image=n) for n in range(9)] + [item("What is it?", "unanswerable", image=20)]
    kept, dropped = capped(items, 4, seed=1)
    assert (len(kept), dropped) == (5, 5)
    assert kept == [each for each in items if each in kept]
    assert {each.pixels for each in kept} != {each.pixels for each in capped(items, 4, seed=2)[0]}
