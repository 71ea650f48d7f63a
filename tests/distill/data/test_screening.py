"""Which questions are taken of those that the teacher got right: by its consistency, its confidence, and other models."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commandline import command
from distill.data.small_runs import asked, call, run_of

import unsaf_async
from unsaf_async.distill.data.agreement import agreement_of
from unsaf_async.distill.data.build_rows import good_items, read_row_id, replay_items
from unsaf_async.distill.data.export import export
from unsaf_async.distill.data.options import Filters, Options
from unsaf_async.distill.data.screening import check_measured, check_shares, figures_dict, notes, screened
from unsaf_async.errors import UserError
from unsaf_async.providers.profile import Profile
from unsaf_async.records import Confidence, Question, Sample
from unsaf_async.runs.folder import JudgedAnew, Source, read_manifest
from unsaf_async.score.signals import self_consistency, stated
from unsaf_async.score.unf1 import cell
from unsaf_async.world import make

if TYPE_CHECKING:
    from unsaf_async.runs.saved import SavedRun


def drawn(question: Question, *texts: str | None) -> Question:
    """The question with these further draws of its answer; None: one whose call failed."""
    failed = call("sample").model_copy(update={"outcome": "failed"})
    samples = tuple(
        Sample(text="", act=None, call=failed)
        if text is None
        else Sample(text=text, act="abstained" if "not show" in text else "answered", call=call("sample"))
        for text in texts
    )
    return question.model_copy(update={"samples": samples})


def sure(question: Question, value: float | None, why: str = "") -> Question:
    return question.model_copy(update={"stated": Confidence(value=value, call=call("confidence"), why=why)})


def kept_and_why(filters: Filters, *questions: Question) -> tuple[list[str], dict[str, int]]:
    """The texts of the questions that are kept, and how many others there are, by reason."""
    good, _ = good_items(run_of(*questions), filters)
    kept, left_out, _ = screened(good, filters, None)
    return [item.question.text for item in kept], dict(left_out)


RED, BLUE, HIDDEN = "The car is red.", "The car is blue.", "The image does not show it."
DECLINED = asked("Whose car is it?", "unanswerable")


# --- consistency and confidence ---------------------------------------------------------------------------------------


def test_consistency_is_the_share_of_draws_that_mean_the_same_and_a_decline_is_one_meaning() -> None:
    two, three = drawn(asked("Which color?"), RED, RED, BLUE), drawn(asked("What color?"), RED, RED, RED)
    declined = drawn(DECLINED, HIDDEN, HIDDEN, RED)
    kept, why = kept_and_why(Filters(min_consistency=0.8), two, three, declined)
    assert (kept, why) == (["What color?"], {"consistency: below 0.8": 2})
    kept, why = kept_and_why(Filters(min_consistency=2 / 3), two, three, declined)
    assert (len(kept), why) == (3, {})


def test_confidence_is_what_the_model_stated() -> None:
    kept, why = kept_and_why(Filters(min_confidence=0.7), sure(asked("A?"), 0.7), sure(asked("B?"), 0.69))
    assert (kept, why) == (["A?"], {"confidence: below 0.7": 1})


@pytest.mark.parametrize(
    ("question", "filters", "why"),
    [
        (asked(), Filters(min_consistency=0.1), "consistency: not known, the answer was not drawn again"),
        (
            drawn(asked(), None, None),
            Filters(min_consistency=0.1),
            "consistency: not known, no further draw of the answer came back",
        ),
        (asked(), Filters(min_confidence=0.1), "confidence: not known, the model was not asked for it"),
        (
            sure(asked(), None, "the reply was truncated"),
            Filters(min_confidence=0.1),
            "confidence: not known, the reply was truncated",
        ),
    ],
)
def test_without_the_figure_a_question_is_left_out_with_a_reason_of_its_own(
    question: Question, filters: Filters, why: str
) -> None:
    assert kept_and_why(filters, question) == ([], {why: 1})


def test_a_draw_that_failed_is_none_of_those_that_are_counted() -> None:
    kept, _ = kept_and_why(Filters(min_consistency=1.0), drawn(asked(), RED, None, RED))
    assert len(kept) == 1


@pytest.mark.parametrize(
    ("draws", "least", "told"),
    [
        (3, 0.67, "2 of 3 draws are a share of 0.6667, which is below --min-consistency 0.67; give 0.66 to take them"),
        (6, 0.17, "1 of 6 draws are a share of 0.1667, which is below --min-consistency 0.17; give 0.16 to take them"),
        (3, 0.66, None),
        (3, 2 / 3, None),
        (3, 0.8, None),
        (3, 1.0, None),
        (3, None, None),
        (0, 0.67, None),
    ],
)
def test_a_least_share_that_is_rounded_up_is_told_with_the_one_that_takes_those_draws(
    draws: int, least: float | None, told: str | None
) -> None:
    run = run_of(drawn(asked("A?"), *[RED] * draws), drawn(asked("B?"), *[RED] * (draws - 1)))
    assert list(notes(run, Filters(min_consistency=least))) == ([told] if told else [])


def test_what_is_left_out_is_counted_by_label_and_the_shift_is_said() -> None:
    filters = Filters(min_confidence=0.5)
    questions = [sure(asked("A?"), 0.9), sure(asked("B?"), 0.8), sure(DECLINED, 0.2), asked("What?", "unanswerable")]
    good, _ = good_items(run_of(*questions), filters)
    _, left_out, found = screened(good, filters, None)
    assert found is not None
    assert list(found.rows()) == [
        ("confidence: below 0.5", 0, 1),
        ("confidence: not known, the model was not asked for it", 0, 1),
        ("pass these filters", 2, 0),
    ]
    assert sum(left_out.values()) == 2
    assert found.in_words() == "Unanswerable questions: 50.0 % of 4 before these filters, 0.0 % of 2 after."


def test_without_such_a_filter_nothing_is_screened() -> None:
    good, _ = good_items(run_of(asked()), Filters())
    assert screened(good, Filters(), None) == (good, {}, None)


@pytest.mark.parametrize("value", [0.0, -0.1, 1.01, 80.0, float("nan")])
@pytest.mark.parametrize("name", ["min_consistency", "min_confidence"])
def test_a_least_share_is_above_0_and_up_to_1(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"^{name} is {value:g}; give a share above 0 and up to 1"):
        check_shares(Filters(**{name: value}))


@pytest.mark.parametrize(
    ("filters", "option"), [(Filters(min_consistency=0.8), "samples 5"), (Filters(min_confidence=0.8), "confidence")]
)
def test_a_run_without_any_such_figure_is_the_users_mistake_and_the_line_says_what_makes_it(
    filters: Filters, option: str
) -> None:
    with pytest.raises(UserError, match=rf"in runs/one .*; resume it with {option} first$"):
        check_measured(run_of(asked()), filters)
    judged_anew = run_of(asked(), judged_anew=JudgedAnew(run_id="first"))
    with pytest.raises(UserError, match=rf"judge anew a run that was made with {option} first$"):
        check_measured(judged_anew, filters)


# --- several models ---------------------------------------------------------------------------------------------------


def by(model: str, *questions: Question, run_id: str = "", asker: str = "", **manifest: Any) -> SavedRun:
    """A model's run, on another run's questions where `asker` is given."""
    source = Source(kind="run", name="asker", path="", run_id=asker) if asker else None
    profile = Profile(name=model, backend="scripted", model=model)
    return run_of(*questions, subject=profile, run_id=run_id or model, source=source, **manifest)


def agreed(least: int | None, teacher: SavedRun, *others: SavedRun) -> list[str | None]:
    """Why each of the teacher's questions is not agreed on, in order."""
    agreement = agreement_of([teacher], others, least)
    return [agreement.why_not(item) for item in good_items(teacher, Filters())[0]]


WRONG = asked(act="abstained", response=HIDDEN)
UNSCORED = asked(act=None, unscored="truncated")
FEW = "agreement: fewer than 2 models have a response to it that is of one of the four types"


@pytest.mark.parametrize(
    ("least", "answers", "why"),
    [
        (None, [asked(), asked()], None),
        (None, [asked(), WRONG], "agreement: a model did otherwise"),
        (None, [asked(), UNSCORED], None),
        (None, [UNSCORED, UNSCORED], FEW),
        (2, [asked(), WRONG], None),
        (2, [WRONG, WRONG], "agreement: fewer than 2 models did so"),
        (3, [asked(), WRONG], "agreement: fewer than 3 models did so"),
        (3, [asked(), UNSCORED], FEW.replace("2", "3")),
        (3, [asked(), asked()], None),
    ],
)
def test_so_many_models_must_have_done_as_the_label_has_it(
    least: int | None, answers: list[Question], why: str | None
) -> None:
    others = [by(f"other-{n}", answer, asker="teacher") for n, answer in enumerate(answers)]
    assert agreed(least, by("teacher", asked()), *others) == [why]


def test_a_question_that_nobody_else_was_asked_is_left_out() -> None:
    teacher = by("teacher", asked("A?"), asked("B?"))
    assert agreed(None, teacher, by("other", asked("B?"), asker="teacher")) == [FEW, None]


def test_a_model_counts_once_and_agrees_only_if_it_always_did() -> None:
    twice = [by("other", each, run_id=f"{n}", asker="teacher") for n, each in enumerate((asked(), WRONG))]
    assert agreed(2, by("teacher", asked()), *twice) == ["agreement: fewer than 2 models did so"]
    own = by("teacher", asked(), run_id="again", asker="teacher")
    with pytest.raises(
        UserError, match=r"^agree needs 2 models that were asked the same questions, and there is 1 \(teacher\); "
    ):
        agreed(None, by("teacher", asked()), own)


def test_the_same_words_with_the_other_label_are_another_question() -> None:
    other = by("other", asked(label="unanswerable"), asker="teacher")
    assert agreed(None, by("teacher", asked()), other) == [FEW]


def test_how_many_did_so_is_known_of_each_question_and_of_a_students_own_it_is_none() -> None:
    teacher = by("teacher", asked("A?"), asked("B?"))
    other = by("other", asked("A?", act="abstained", response=HIDDEN), asker="teacher")
    agreement = agreement_of([teacher], [other], None)
    first, second = (figures_dict(item, agreement) for item in good_items(teacher, Filters())[0])
    assert first["agreement"] == {"models": 2, "agreeing": 1}
    assert second["agreement"] == {"models": 1, "agreeing": 1}
    (replayed,) = replay_items(by("student", asked()))[0]
    found = figures_dict(replayed, agreement)
    assert (found["agreement"], found["why_unknown"]["agreement"]) == (None, "it is the student's own")


def test_a_run_on_a_run_on_the_teachers_questions_counts_whoever_judged_them_anew() -> None:
    teacher = by("teacher", asked(), run_id="judged", judged_anew=JudgedAnew(run_id="first"))
    other = by("other", asked(), asker="first")
    third = by("third", WRONG, asker="other")
    assert agreed(2, teacher, other) == [None]
    assert agreed(None, teacher, other, third) == ["agreement: a model did otherwise"]


def test_two_models_on_one_labelled_set_were_asked_the_same_questions() -> None:
    def on(path: str, model: str, question: Question) -> SavedRun:
        source = Source(kind="labelled", name="set", path=path)
        return run_of(
            question, subject=Profile(name=model, backend="scripted", model=model), run_id=model, source=source
        )

    teacher = on("/sets/one.jsonl", "teacher", asked())
    assert agreed(None, teacher, on("/sets/one.jsonl", "other", WRONG)) == ["agreement: a model did otherwise"]
    with pytest.raises(UserError, match="answered no questions of a run that is exported"):
        agreed(None, teacher, on("/sets/two.jsonl", "other", asked()))


@pytest.mark.parametrize("least", [1, 0, -3])
def test_one_model_alone_cannot_agree(least: int) -> None:
    with pytest.raises(UserError, match=rf"^agree is {least}; give 2 or more models, or leave it out for all$"):
        agreement_of([by("teacher", asked())], [], least)


def test_a_run_on_the_questions_of_nobody_that_is_exported_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"^agreed_by runs/one: answered no questions of a run that is exported; "):
        agreement_of([by("teacher", asked())], [by("other", asked(), asker="somebody")], None)
    with pytest.raises(
        UserError, match=r"needs 4 models .* and there are 2 \(other, teacher\); `unsaf-async cross` asks them"
    ):
        agreement_of([by("teacher", asked())], [by("other", asked(), asker="teacher")], 4)


# --- in an export -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runs:
    """Three tiny models on the same drawn scenes, crossed, and a simulated one with draws and confidence."""

    home: Path
    models: tuple[Path, Path, Path]
    crossed: Path
    simulated: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    import asyncio

    pytest.importorskip("imagehash")
    home = tmp_path_factory.mktemp("screening")
    before = Path.cwd()
    os.chdir(home)
    make.make(home / "scenes", 5, "test", 0, 1)
    models = (home / "tiny-s", home / "tiny-m", home / "tiny-xs")

    async def run() -> None:
        for folder in models:
            await unsaf_async.evaluate(
                folder.name, images=home / "scenes" / "manifest.jsonl", questions=2, out=folder, cache=None
            )
        cells = home / "crossed" / "cells"
        for name, asker, answerer in (("1-2", 0, 1), ("1-3", 0, 2), ("2-1", 1, 0)):
            folder = cells / name
            await unsaf_async.evaluate(models[answerer].name, questions_from=models[asker], out=folder, cache=None)
        await unsaf_async.evaluate(
            "scripted", limit=3, questions=3, samples=3, confidence=True, out=home / "simulated", cache=None
        )

    try:
        asyncio.run(run())
    finally:
        os.chdir(before)
    return Runs(home, models, home / "crossed", home / "simulated")


def items(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "items.jsonl").read_text("utf-8").splitlines()]


def rows_in(out: Path) -> set[str]:
    return {row["question"]["text"] for row in items(out)}


LABELS = ("answerable", "unanswerable")


def test_the_card_and_the_terminal_say_by_label_what_the_filters_left_out(
    made: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ("--min-consistency", "0.5", "--min-confidence", "0.4", "--format", "openai", "--splits", "100/0/0")
    done = command(capsys, "export", str(made.simulated), *given, "-o", "out")
    assert done.code == 0, done.err
    _, examinations, _ = unsaf_async.load(made.simulated)
    questions = [question for each in examinations for question in each.questions]
    right = [question for question in questions if cell(question) in ("ta", "tu")]
    sure_ones = [q for q in right if (self_consistency(q) or 0) >= 0.5 and (stated(q) or 0) >= 0.4]
    assert 0 < len(sure_ones) < len(right)
    assert rows_in(tmp_path / "out") <= {question.text for question in sure_ones}
    passing = [sum(q.intended == label for q in sure_ones) for label in LABELS]
    asked_in = {(row["id"].rpartition("/")[0], row["question"]["intended"]) for row in items(tmp_path / "out")}
    in_rows = [sum(intended == label for _, intended in asked_in) for label in LABELS]
    later = [before - after for before, after in zip(passing, in_rows, strict=True)]
    assert sum(later) > 0, "duplicates, and what the mix does not take"
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    for what, counts in (
        ("pass these filters", passing),
        ("left out later, for other reasons", later),
        ("in the rows", in_rows),
    ):
        assert re.search(rf"^{what} +{counts[0]} +{counts[1]}$", done.out, re.MULTILINE)
        assert f"| {what} | {counts[0]} | {counts[1]} |" in card
    for words in ("`--min-consistency`", "`--min-confidence`", "Such filters shift the mix of labels"):
        assert words in card
    (said,) = re.findall(r"^Unanswerable questions: .*$", done.out, re.MULTILINE)
    assert said in card
    shares = [f"{100 * counts[1] / sum(counts):.1f} % of {sum(counts)}" for counts in (passing, in_rows)]
    assert said.endswith(f"{shares[0]} after, {shares[1]} in the rows.")


def test_every_row_has_the_figures_that_the_filters_go_by(made: Runs, tmp_path: Path) -> None:
    export([made.simulated], tmp_path / "out", Options(form="openai", filters=Filters(min_consistency=0.3)))
    _, examinations, _ = unsaf_async.load(made.simulated)
    questions = {(each.image.id, n): q for each in examinations for n, q in enumerate(each.questions, 1)}
    rows = items(tmp_path / "out")
    for row in rows:
        question = questions[read_row_id(row["id"])[1:3]]
        assert (row["consistency"], row["confidence"]) == (self_consistency(question), stated(question))
        assert row["agreement"] is None
        assert row["why_unknown"]["agreement"] == "no run of another model was given"
    assert all(row["consistency"] >= 0.3 for row in rows)
    assert any(row["confidence"] is not None for row in rows)


def test_of_a_cross_examination_the_questions_stay_that_all_models_agree_on(made: Runs, tmp_path: Path) -> None:
    options = Options(form="openai", splits=(100, 0, 0), agreed_by=(made.crossed,))
    found = export(made.models[:1], tmp_path / "out", options)
    cells: dict[tuple[str, str], list[str | None]] = {}
    for folder in (made.models[0], made.crossed / "cells" / "1-2", made.crossed / "cells" / "1-3"):
        _, examinations, _ = unsaf_async.load(folder)
        for each in examinations:
            for question in each.questions:
                cells.setdefault((each.image.id, question.text), []).append(cell(question))
    right = {key: [*map({"ta", "tu", None}.__contains__, found)] for key, found in cells.items()}
    agreed_on = {key for key, ok in right.items() if cells[key][0] and all(ok) and cells[key].count(None) < 2}
    assert found.screening is not None
    assert found.screening.after.total() == len(agreed_on) > 0
    assert found.screening.before.total() == sum(found[0] in ("ta", "tu") for found in cells.values()) > len(agreed_on)
    assert rows_in(tmp_path / "out") <= {text for _, text in agreed_on}
    for row in items(tmp_path / "out"):
        models = [
            len(found) - found.count(None) for (_, text), found in cells.items() if text == row["question"]["text"]
        ]
        assert row["agreement"]["models"] == row["agreement"]["agreeing"]
        assert row["agreement"]["models"] in models
        assert row["why_unknown"].keys() == {"consistency", "confidence"}
        assert (row["consistency"], row["why_unknown"]["consistency"]) == (None, "the answer was not drawn again")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    for name in ("tiny-m", "tiny-xs"):
        assert f"Asked the same questions (nothing is taught of it): `{name}`" in card
    assert str(made.home) not in card


def test_at_least_so_many_of_several_teachers_agree_and_those_that_nobody_else_was_asked_are_said(
    made: Runs, tmp_path: Path
) -> None:
    options = Options(form="openai", agreed_by=(made.crossed,), filters=Filters(agree=2))
    found = export(made.models, tmp_path / "out", options)
    teachers = {read_manifest(folder).run_id for folder in made.models[:2]}
    ids = re.findall(r'^\{"id": "([^/"]+)/', (tmp_path / "out" / "items.jsonl").read_text("utf-8"), re.MULTILINE)
    assert set(ids) == teachers
    assert "no other model was asked the questions of tiny-xs: all are left out" in found.notes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{s}", "--min-consistency", "80"], "--min-consistency is 80; give a share above 0"),
        (["{s}", "--min-consistency", "0.8"], "--min-consistency: in"),
        (["{s}", "--min-consistency", "0.8"], "no answer was drawn again; resume it with --samples 5 first"),
        (["{s}", "--min-confidence", "0.8"], "not asked how sure it is; resume it with --confidence first"),
        (["{s}", "--agree", "2"], "--agree needs 2 models that were asked the same questions, and there is 1 (tiny-s)"),
        (["{s}", "--agree", "1"], "--agree is 1; give 2 or more"),
        (["{s}", "--agree", "4", "--agreed-by", "{crossed}"], "--agree needs 4 models"),
        (["{s}", "--agreed-by", "nowhere"], "--agreed-by nowhere: is no run's folder"),
        (["{s}", "--agreed-by", "{s}"], "is the teacher's run in"),
        (["{s}", "--agreed-by", "{m}"], "answered no questions of a run that is exported"),
        (["{xs}", "--agreed-by", "{crossed}"], "has no cell on the questions of a run that is exported"),
        (["{s}", "--agreed-by", "{cell}", "--agreed-by", "{cell}"], "is given twice"),
        (["{s}", "--agreed-by", "{cell}", "--preferences", "{cell}"], "is the student's run, too"),
        (["{s}", "--agreed-by", "{cell}", "--student-replay", "{cell}"], "is the student's run, too"),
        (["{simulated}", "--min-consistency", "1", "--min-confidence", "1"], "nothing is left to teach"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: list[str], words: str, made: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = dict(zip(("s", "m", "xs"), made.models, strict=True))
    names |= {"crossed": made.crossed, "cell": made.crossed / "cells" / "1-2", "simulated": made.simulated}
    given = [argument.format(**names) for argument in arguments]
    ended = command(capsys, "export", *given, "-o", "out", "--format", "sharegpt")
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_same_answers_judged_by_others_are_no_second_run_and_no_students(
    made: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    teacher = made.models[0]
    judged = tmp_path / "judged" / "by-others"
    shutil.copytree(teacher, judged)
    manifest = read_manifest(teacher)
    anew = manifest.model_copy(update={"run_id": "another", "judged_anew": JudgedAnew(run_id=manifest.run_id)})
    (judged / "manifest.json").write_text(anew.model_dump_json(), "utf-8")
    for given, words in (
        ([str(judged)], f"holds the same answers as {teacher}, judged by others; give one of them"),
        (["--student-replay", str(judged)], "; give a run of the student"),
        (["--preferences", str(judged)], "; give a run of the student"),
        (["--agreed-by", str(judged)], "; give a run of another model"),
    ):
        ended = command(capsys, "export", str(teacher), *given, "-o", "out", "--format", "sharegpt")
        assert ended.code == 2
        assert words in ended.err
        assert ended.err.count("\n") == 1
