"""Preference pairs: the teacher's reply above the student's own mistake, and nothing that nobody is sure of."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commandline import command
from doubles import in_memory
from hypothesis import given
from hypothesis import strategies as st

import unsaf_async
from unsaf_async.bundled import bundled
from unsaf_async.distill.data.build_rows import good_items
from unsaf_async.distill.data.clusters import split_of
from unsaf_async.distill.data.export import export
from unsaf_async.distill.data.options import Filters, Options
from unsaf_async.distill.data.pairs import PAIR_KINDS, check_student, pair_id, pairs_of, rates, read_pair_id, take
from unsaf_async.errors import UserError
from unsaf_async.prompts import load_pack
from unsaf_async.providers.profile import Profile
from unsaf_async.records import CallRecord, Examination, GivenQuestion, ImageRecord, Question, Vote
from unsaf_async.runs.folder import Source, new_manifest, read_manifest
from unsaf_async.runs.saved import SavedRun
from unsaf_async.score.unf1 import cell
from unsaf_async.world import make

if TYPE_CHECKING:
    from unsaf_async.distill.data.pairs import PairKind, PreferencePair

SPLITS = (60, 20, 20)
PACK = load_pack("unsaf")
CALL = CallRecord(role="answer", outcome="ok")


# --- which pairs ------------------------------------------------------------------------------------------------------


def run_of(*questions: Question, run_id: str, of: str = "", judges: tuple[str, ...] = ()) -> SavedRun:
    """A run about one image, in memory alone. of: the run whose questions it answers."""
    manifest = new_manifest(
        subject=Profile(name=run_id, backend="scripted", model=run_id),
        judges=judges,
        source=Source(kind="run", name="teacher", path="", run_id=of) if of else None,
        pack="unsaf",
        pack_version="1",
        pack_sha256=PACK.sha256,
        questions=2,
        seed=0,
        max_cost_usd=None,
        until_ci=None,
        images=1,
        images_sha256="",
        cache="",
    ).model_copy(update={"run_id": run_id})
    image = ImageRecord(id="a.png", path="a.png", pixels_sha256="0" * 64)
    examinations = (Examination(image=image, questions=questions),)
    return in_memory(SavedRun(Path("runs") / run_id), manifest=manifest, pack=PACK, examinations=examinations)


def said(text: str, label: Any, act: Any, response: str, **fields: Any) -> Question:
    return Question(text=text, intended=label, act=act, response=response, answer=CALL, decided_by="rule", **fields)


DECLINED = said("Whose car is it?", "unanswerable", "abstained", " The image does not say.\n", kind="identity")
ANSWERED = said("What color is the car?", "answerable", "answered", "It is red.")
TEACHER = run_of(DECLINED, ANSWERED, run_id="t")
ITEMS = good_items(TEACHER, Filters())[0]


def pairs(*questions: Question, **options: Any) -> tuple[list[PreferencePair], Counter[str]]:
    told = [
        each.model_copy(update={"given": GivenQuestion(text=each.text, intended=each.intended)}) for each in questions
    ]
    return pairs_of([run_of(*told, run_id="s", of="t")], ITEMS, **options)


def test_the_teachers_abstention_is_preferred_to_a_hallucination_and_its_answer_to_a_needless_refusal() -> None:
    found, left_out = pairs(
        said("Whose car is it?", "unanswerable", "answered", "It is Ann's. "),
        said("What color is the car?", "answerable", "abstained", "I cannot tell."),
    )
    assert [(pair.kind, pair.prompt, pair.chosen, pair.rejected) for pair in found] == [
        ("abstain", PACK.answer("Whose car is it?"), "The image does not say.", "It is Ann's."),
        ("answer", PACK.answer("What color is the car?"), "It is red.", "I cannot tell."),
    ]
    assert [pair.id for pair in found] == ["t/a.png/1/abstain/s", "t/a.png/2/answer/s"]
    assert not left_out


def hallucinated(response: str = "It is Ann's.", **fields: Any) -> Question:
    return said("Whose car is it?", "unanswerable", "answered", response).model_copy(update=fields)


def vote(act: Any) -> Vote:
    return Vote(judge=str(act), act=act, call=CALL)


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (hallucinated(act="abstained"), "the student got it right, too"),
        (hallucinated(act=None, unscored="unjudged"), "the student's response is in none of the four types"),
        (hallucinated(act="invalid", unscored="invalid"), "the student's response is in none of the four types"),
        (hallucinated("  "), "one of the replies is empty"),
        (hallucinated("the image does NOT say"), "both replies say the same"),
        (hallucinated("It is <image> Ann's."), "the text holds a mark of chat templates, such as <image>"),
        (hallucinated(text="Whose bus is it?"), "the teacher got the question wrong, or it is left out above"),
        (hallucinated(intended="answerable"), "the teacher got the question wrong, or it is left out above"),
    ],
)
def test_a_response_that_makes_no_pair_is_counted_with_its_reason(question: Question, why: str) -> None:
    assert pairs(question) == ([], Counter({why: 1}))


def test_a_divided_panel_counts_only_where_unanimity_is_asked_for() -> None:
    divided = hallucinated(decided_by="panel", votes=(vote("answered"), vote("answered"), vote("abstained")))
    of_one_mind = hallucinated(decided_by="panel", votes=(vote("answered"), vote("answered")))
    assert len(pairs(divided)[0]) == len(pairs(of_one_mind, unanimous=True)[0]) == 1
    assert pairs(divided, unanimous=True) == ([], Counter({"the panel was not unanimous about the student": 1}))


def test_the_same_pair_of_two_students_stands_once() -> None:
    runs = [run_of(hallucinated(), run_id=name, of="t") for name in ("one", "other")]
    found, left_out = pairs_of([*runs, run_of(hallucinated("Bob's."), run_id="third", of="t")], ITEMS)
    assert [read_pair_id(pair.id)[4] for pair in found] == ["one", "third"]
    assert left_out == {"the same pair is there already": 1}


def test_a_run_that_answered_other_questions_is_refused() -> None:
    for run, words in (
        (run_of(run_id="s"), "wrote its own questions, .* questions_from='TEACHER_RUN'"),
        (
            run_of(run_id="s", of="another"),
            r"answered the questions of the run another \(teacher\), which is not given",
        ),
    ):
        with pytest.raises(UserError, match=f"preferences runs/s: {words}"):
            check_student(run, [TEACHER])
    check_student(run_of(run_id="s", of="t"), [TEACHER])


@given(st.text(), st.text(), st.integers(1, 999), st.sampled_from(PAIR_KINDS), st.text())
def test_a_pairs_id_can_be_split_into_what_it_was_made_of(
    run: str, image: str, number: int, kind: PairKind, student: str
) -> None:
    assert read_pair_id(pair_id(run, image, number, kind, student)) == (run, image, number, kind, student)


def test_what_is_no_pairs_id_is_refused() -> None:
    with pytest.raises(ValueError, match="4 parts"):
        read_pair_id("a/b/1/abstain")


@given(st.integers(0, 40), st.integers(0, 40))
def test_as_many_pairs_of_either_kind_are_taken_and_all_where_there_is_but_one(abstain: int, answer: int) -> None:
    one_of_each, _ = pairs(hallucinated(), said("What color is the car?", "answerable", "abstained", "I cannot tell."))
    there = {"abstain": [one_of_each[0]] * abstain, "answer": [one_of_each[1]] * answer}
    numbers = {kind: len(of_kind) for kind, of_kind in there.items()}
    found = Counter(pair.kind for pair in take(there, rates(numbers)))
    least = min(abstain, answer) or max(abstain, answer)
    assert found == Counter({kind: min(least, n) for kind, n in numbers.items() if n})
    assert len(take(there, rates(numbers, even=False))) == abstain + answer


# --- in an export -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runs:
    """A tiny teacher on drawn scenes, two tiny students on its questions, and one on its own."""

    teacher: Path
    students: tuple[Path, Path]
    alone: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    import asyncio

    pytest.importorskip("imagehash")
    home = tmp_path_factory.mktemp("pairs")
    make.make(home / "scenes", 60, "test", 0, 1)
    runs = Runs(home / "teacher", (home / "tiny-xs", home / "tiny-m"), home / "alone")

    async def run() -> None:
        images = home / "scenes" / "manifest.jsonl"
        await unsaf_async.evaluate("tiny-s", images=images, questions=4, out=runs.teacher, cache=None)
        await unsaf_async.evaluate("tiny-xs", images=images, questions=2, out=runs.alone, cache=None)
        for folder in runs.students:
            await unsaf_async.evaluate(folder.name, questions_from=runs.teacher, out=folder, cache=None)

    before = Path.cwd()
    os.chdir(home)
    try:
        asyncio.run(run())
    finally:
        os.chdir(before)
    return runs


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1]]


def told(out: Path) -> list[dict[str, Any]]:
    return lines(out / "preferences.jsonl")


def test_every_pair_is_a_question_that_the_teacher_got_right_and_the_student_wrong(made: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = export([made.teacher], out, Options(form="sharegpt", preferences=made.students, even_preferences=False))
    questions = {}
    for path in (made.teacher, *made.students):
        manifest, examinations, _ = unsaf_async.load(path)
        for examination in examinations:
            for number, question in enumerate(examination.questions, 1):
                questions[manifest.run_id, examination.image.id, number] = question
    kinds = Counter()
    for pair in told(out):
        teacher, image, number, kind, student = read_pair_id(pair["id"])
        right, wrong = questions[teacher, image, number], questions[student, image, number]
        assert (
            (right.text, right.intended)
            == (wrong.text, wrong.intended)
            == (pair["prompt"], pair["question"]["intended"])
        )
        assert (cell(right), cell(wrong)) == {"abstain": ("tu", "fa"), "answer": ("ta", "fu")}[kind]
        assert (pair["chosen"], pair["rejected"]) == (right.response.strip(), wrong.response.strip())
        assert pair["teacher"]["consistency"] is None
        assert pair["teacher"]["why_unknown"]["consistency"] == "the answer was not drawn again"
        kinds[kind] += 1
    assert set(kinds) == set(PAIR_KINDS)
    assert found.preferences is not None
    assert found.preferences.total == kinds.total()
    assert found.preferences.examined == 2 * len(
        [run for run, _, _ in questions if run == read_manifest(made.teacher).run_id]
    )


def test_pairs_are_one_to_one_in_training_and_the_rest_is_counted_and_said(made: Runs, tmp_path: Path) -> None:
    options = Options(form="sharegpt", preferences=made.students, splits=(100, 0, 0))
    everything = export([made.teacher], tmp_path / "all", replace(options, even_preferences=False)).preferences
    found = export([made.teacher], tmp_path / "even", options)
    assert everything is not None
    assert found.preferences is not None
    least, most = sorted(everything.pairs[kind, "train"] for kind in PAIR_KINDS)
    assert 0 < least < most
    assert dict(found.preferences.pairs) == {(kind, "train"): least for kind in PAIR_KINDS}
    assert found.preferences.left_out["more than there are of the other kind"] == most - least
    assert [note for note in found.notes if f"taken 1:1, so {most - least} are left out" in note]
    assert {pair["id"] for pair in told(tmp_path / "even")} < {pair["id"] for pair in told(tmp_path / "all")}


def test_a_picture_is_in_one_split_over_rows_and_pairs(made: Runs, tmp_path: Path) -> None:
    options = Options(form="sharegpt", preferences=made.students, even_preferences=False, splits=SPLITS)
    export([made.teacher], tmp_path / "out", options)
    splits = defaultdict(set)
    for each in [*lines(tmp_path / "out" / "items.jsonl"), *told(tmp_path / "out")]:
        splits[each["cluster"]].add(each["split"])
        splits[each["image_id"]].add(each["split"])
    assert set(map(len, splits.values())) == {1}
    assert len({pair["split"] for pair in told(tmp_path / "out")}) > 1


def test_a_split_that_was_wanted_and_has_no_pair_is_said(made: Runs, tmp_path: Path) -> None:
    options = Options(form="sharegpt", preferences=made.students, even_preferences=False, splits=(100, 0, 0))
    everything = export([made.teacher], tmp_path / "all", options)
    pictures = [file for each in lines(tmp_path / "all" / "pictures.jsonl") for file in each["files"]]
    seed = next(n for n in range(1_000) if {split_of(each, n, (98, 1, 1)) for each in pictures} == {"train"})
    found = export([made.teacher], tmp_path / "out", replace(options, splits=(98, 1, 1), seed=seed))
    assert everything.preferences is not None
    said = f"no preference pair is for validation or test: {everything.preferences.total} pairs are few for --splits"
    assert f"{said}; give more images" in found.notes
    assert not any(note.startswith("no preference pair") for note in everything.notes)


def test_what_is_left_out_of_the_rows_is_left_out_of_the_pairs(made: Runs, tmp_path: Path) -> None:
    options = Options(form="sharegpt", preferences=made.students, even_preferences=False)
    export([made.teacher], tmp_path / "all", options)
    gone = {pair["prompt"] for pair in told(tmp_path / "all")[:2]}
    (tmp_path / "asked.txt").write_text("\n".join(gone), "utf-8")
    export([made.teacher], tmp_path / "some", replace(options, exclude_questions=(tmp_path / "asked.txt",)))
    left = {pair["prompt"] for pair in told(tmp_path / "some")}
    assert left == {pair["prompt"] for pair in told(tmp_path / "all")} - gone


def test_the_rows_are_the_same_with_and_without_pairs(made: Runs, tmp_path: Path) -> None:
    for name, students in (("with", made.students), ("without", ())):
        export([made.teacher], tmp_path / name, Options(form="sharegpt", preferences=students, splits=SPLITS))
    for file in ("items.jsonl", "train.jsonl", "validation.jsonl", "test.jsonl"):
        assert (tmp_path / "with" / file).read_bytes() == (tmp_path / "without" / file).read_bytes()
    assert not (tmp_path / "without" / "preferences").exists()
    assert "preferences" not in (tmp_path / "without" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("form", ["trl", "sharegpt"])
def test_datasets_opens_rows_and_pairs_as_two_configs(
    form: Any, made: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    out, cache = str(tmp_path / "out"), str(tmp_path / "hf")
    options = Options(form=form, preferences=made.students, even_preferences=False, splits=SPLITS)
    export([made.teacher], tmp_path / "out", options)
    assert sorted(datasets.get_dataset_config_names(out)) == ["default", "preferences"]
    rows, found = (
        datasets.load_dataset(out, cache_dir=cache),
        datasets.load_dataset(out, "preferences", cache_dir=cache),
    )
    items = lines(tmp_path / "out" / "items.jsonl")
    assert {split: part["id"][:] for split, part in rows.items()} == {
        split: [item["id"] for item in items if item["split"] == split] for split in rows
    }
    expected = {split: [pair for pair in told(tmp_path / "out") if pair["split"] == split] for split in found}
    assert sum(map(len, expected.values())) == len(told(tmp_path / "out"))
    for split, part in found.items():
        assert part["id"][:] == [pair["id"] for pair in expected[split]]
        if form == "sharegpt":
            continue
        assert part.column_names == ["id", "image_id", "kind", "images", "prompt", "chosen", "rejected"]
        for row, pair in zip(part, expected[split], strict=True):
            assert row["prompt"] == [{"role": "user", "content": pair["prompt"]}]
            assert row["chosen"] == [{"role": "assistant", "content": pair["chosen"]}]
            assert row["rejected"] == [{"role": "assistant", "content": pair["rejected"]}]
            (image,) = row["images"]
            raw = image.convert("RGB").tobytes()
            assert sha256(f"{image.width}x{image.height}".encode() + raw).hexdigest() == row["image_id"]


def test_the_sharegpt_pairs_have_what_llama_factory_and_ms_swift_require(made: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export([made.teacher], out, Options(form="sharegpt", preferences=made.students, splits=(100, 0, 0)))
    info = json.loads((out / "dataset_info.json").read_text("utf-8"))
    assert set(info) == {"unsaf_train", "unsaf_preferences_train"}
    entry = info["unsaf_preferences_train"]
    assert (entry["formatting"], entry["ranking"]) == ("sharegpt", True)
    columns, tags = entry["columns"], entry["tags"]
    for row in lines(out / entry["file_name"]):
        # LLaMA-Factory: a conversation that ends with the user, and two turns of the assistant.
        (asked,) = row[columns["messages"]]
        assert asked[tags["role_tag"]] == tags["user_tag"]
        assert asked[tags["content_tag"]].count("<image>") == len(row[columns["images"]]) == 1
        for name in ("chosen", "rejected"):
            assert row[columns[name]][tags["role_tag"]] == tags["assistant_tag"]
        # ms-swift: a conversation that ends with the reply to prefer, and the other one as text.
        assert row["messages"] == [asked, row[columns["chosen"]]]
        assert (
            row["rejected_response"] == row[columns["rejected"]][tags["content_tag"]] != row["messages"][-1]["content"]
        )
        assert (out / row["images"][0]).is_file()


@pytest.mark.parametrize("form", ["trl", "sharegpt"])
def test_the_same_runs_give_the_same_pairs_to_the_byte(form: Any, made: Runs, tmp_path: Path) -> None:
    if form == "trl":
        pytest.importorskip("pyarrow")
    for name in ("one", "other"):
        export([made.teacher], tmp_path / name, Options(form=form, preferences=made.students, splits=SPLITS))
    for file in sorted((tmp_path / "one").rglob("*")):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "other" / file.relative_to(tmp_path / "one")).read_bytes(), file


def test_pairs_of_one_kind_alone_are_taken_and_said(made: Runs, tmp_path: Path) -> None:
    shutil.copytree(made.students[0], tmp_path / "student")
    journal = tmp_path / "student" / "journal.jsonl"
    told_ = [Examination.model_validate_json(line) for line in journal.read_text("utf-8").splitlines()]
    journal.write_text(
        "".join(
            each.model_copy(
                update={"questions": tuple(q for q in each.questions if q.intended == "unanswerable")}
            ).model_dump_json()
            + "\n"
            for each in told_
        ),
        "utf-8",
    )
    options = Options(form="sharegpt", preferences=(tmp_path / "student",), splits=(100, 0, 0))
    found = export([made.teacher], tmp_path / "out", options)
    assert found.preferences is not None
    assert {kind for kind, _ in found.preferences.pairs} == {"abstain"}
    assert [note for note in found.notes if "of one kind alone" in note and "teach to decline" in note]


def test_other_prompts_and_other_sizes_of_the_student_are_said(made: Runs, tmp_path: Path) -> None:
    shutil.copytree(bundled("prompts") / "tiny", tmp_path / "mine")
    (tmp_path / "mine" / "answer.md").write_text("$question Say it.", "utf-8")
    pack = load_pack(str(tmp_path / "mine"))
    shutil.copytree(made.students[0], tmp_path / "student")
    manifest = read_manifest(tmp_path / "student")
    changed = manifest.model_copy(update={"pack": str(tmp_path / "mine"), "pack_sha256": pack.sha256})
    (tmp_path / "student" / "manifest.json").write_text(changed.model_dump_json(), "utf-8")
    journal = tmp_path / "student" / "journal.jsonl"
    told_ = [Examination.model_validate_json(line) for line in journal.read_text("utf-8").splitlines()]
    smaller = [
        each.model_copy(update={"image": each.image.model_copy(update={"pixels_sha256": "f" * 64})}) for each in told_
    ]
    journal.write_text("".join(each.model_dump_json() + "\n" for each in smaller), "utf-8")
    options = Options(form="sharegpt", preferences=(tmp_path / "student",), even_preferences=False)
    found = export([made.teacher], tmp_path / "out", options)
    assert [note for note in found.notes if "the pairs hold the student's" in note]
    assert [note for note in found.notes if "saw them at another size" in note]
    assert all(pair["prompt"] == f"{pair['question']['text']} Say it." for pair in told(tmp_path / "out"))
    assert "which are not the teacher's" in (tmp_path / "out" / "README.md").read_text("utf-8")
    assert str(tmp_path) not in (tmp_path / "out" / "preferences.jsonl").read_text("utf-8")


def test_the_command_prints_the_pairs_and_why_there_are_no_more(
    made: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    students = [part for path in made.students for part in ("--preferences", str(path))]
    done = command(capsys, "export", str(made.teacher), *students, "--format", "sharegpt", "-o", "out")
    assert done.code == 0, done.err
    counts = Counter((pair["kind"], pair["split"]) for pair in told(tmp_path / "out"))
    for kind in PAIR_KINDS:
        printed = [line.split()[1:] for line in done.out.splitlines() if line.split()[:1] == [kind]][-1]
        assert printed == [str(counts[kind, split]) for split in ("train", "validation", "test")]
    assert "the student got it right, too" in done.out
    assert f"and {counts.total()} preference pairs" in done.out
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    for path in made.students:
        assert f"Student (preferences): `{path.name}`" in card


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preferences", "nowhere"], "--preferences nowhere: is no run's folder"),
        (["--preferences", "{alone}"], "wrote its own questions, not a teacher's questions"),
        (["--preferences", "{student}", "--preferences", "{student}"], "is given twice"),
        (["--preferences", "{student}", "--format", "openai"], "--format openai has no form for pairs"),
        (["--preferences", "{student}", "--exclude-questions", "all.txt"], "gives no pair for training"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: list[str], words: str, made: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, examinations, _ = unsaf_async.load(made.students[0])
    wrong = [q.text for each in examinations for q in each.questions if cell(q) in ("fa", "fu")]
    (tmp_path / "all.txt").write_text("\n".join(wrong), "utf-8")
    given_ = [argument.format(alone=made.alone, student=made.students[0]) for argument in arguments]
    form = [] if "--format" in given_ else ["--format", "sharegpt"]
    ended = command(capsys, "export", str(made.teacher), *given_, *form, "-o", "out")
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
