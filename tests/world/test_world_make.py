"""`world make`: folders of the drawn world that say what is true, and that runs, benchmarks and people can read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from commandline import command
from PIL import Image

from unsaf_async.errors import UserError
from unsaf_async.examine.parse.gate import is_question
from unsaf_async.inputs.sources import find_images
from unsaf_async.world.make import FIELDS, MOST_QUESTIONS, PROBES, distinct, distinct_scenes, make, split_named
from unsaf_async.world.oracle import Finding, oracle
from unsaf_async.world.questions import UNANSWERABLE
from unsaf_async.world.scene import Scene, scenes

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = {"README.md", "manifest.jsonl", "labelled.jsonl", "pope.jsonl"}


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 scenes of the test split."""
    folder = tmp_path_factory.mktemp("made") / "scenes"
    make(folder, 120, "test", seed=5)
    return folder


@pytest.fixture(scope="module")
def scene_of(folder: Path) -> dict[str, Scene]:
    """The scenes, by their pictures."""
    return {row["image"]: Scene.read(row["scene"]) for row in rows(folder / "manifest.jsonl")}


def found(scene: Scene, question: str) -> Finding:
    finding = oracle(scene, question)
    assert finding is not None, question
    return finding


# --- what is there ----------------------------------------------------------------------------------------------------


def test_the_command_writes_the_folder_and_says_what_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "world", "make", "--scenes", "3", "--split", "validation", "--seed", "9", "-o", "a/b")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "a/b: 3 scenes (validation), 12 answerable and 12 unanswerable questions, 18 yes/no probes\n"
    pictures = {f"images/validation-9-0000{number}.png" for number in (1, 2, 3)}
    assert set(contents(Path("a/b"))) == FILES | pictures


def test_a_run_reads_the_manifest(folder: Path) -> None:
    images = find_images([folder / "manifest.jsonl"])
    assert len(images) == 120
    assert [image.id for image in images] == [f"test-5-{number:05d}" for number in range(1, 121)]
    assert all(set(image.metadata) == {"world", "scene", "split", "seed"} for image in images)
    assert all(Scene.read(str(image.metadata["scene"])).split == image.metadata["split"] == "test" for image in images)


def test_a_run_of_the_folder_keeps_the_scenes_in_its_journal(capsys: pytest.CaptureFixture[str]) -> None:
    make(Path("scenes"), 2)
    options = ("--provider", "scripted", "--images", "scenes/manifest.jsonl", "--questions", "2", "--out", "run")
    assert command(capsys, "run", *options).code == 0
    journal = {entry["image"]["id"]: entry["image"]["metadata"] for entry in rows(Path("run/journal.jsonl"))}
    assert journal == {
        row["id"]: {name: row[name] for name in ("world", "scene", "split", "seed")}
        for row in rows(Path("scenes/manifest.jsonl"))
    }


def test_the_pictures_are_those_of_the_scenes(folder: Path, scene_of: dict[str, Scene]) -> None:
    for (scene, picture), (name, written) in zip(distinct_scenes("test", 120, 5), scene_of.items(), strict=True):
        assert scene == written
        with Image.open(folder / name) as image:
            assert (image.format, image.mode, image.info) == ("PNG", "RGB", {})
            assert np.array_equal(np.asarray(image), picture)


def test_the_first_scenes_are_those_that_the_seed_draws() -> None:
    plain = [scene for scene, _ in scenes("train", 50, 7)]
    assert [scene for scene, _ in distinct_scenes("train", 50, 7)] == plain


def test_a_scene_that_is_drawn_again_is_left_out() -> None:
    first, second, third = scenes("test", 3, 0)
    other_picture = (first[0], second[1])
    drawn = [first, second, other_picture, first, third, second]
    assert [scene for scene, _ in distinct(drawn)] == [first[0], second[0], third[0]]
    assert next(distinct(drawn))[1] is first[1]


def test_the_fields_are_those_that_the_card_explains(folder: Path) -> None:
    for file, fields in FIELDS.items():
        assert {tuple(row) for row in rows(folder / file)} == {tuple(fields)}


# --- what is true -----------------------------------------------------------------------------------------------------


def test_every_scene_has_four_answerable_and_four_unanswerable_questions_that_differ(folder: Path) -> None:
    labelled = rows(folder / "labelled.jsonl")
    by_image = Counter((row["image"], row["answerable"]) for row in labelled)
    assert len(by_image) == 240
    assert set(by_image.values()) == {4}
    assert len({(row["image"], row["question"]) for row in labelled}) == len({row["id"] for row in labelled}) == 960


def test_the_labels_are_the_oracles(folder: Path, scene_of: dict[str, Scene]) -> None:
    for row in rows(folder / "labelled.jsonl"):
        finding = found(scene_of[row["image"]], row["question"])
        assert row["answers"] == ([finding.answer] if finding.answerable else [])
        assert (row["answerable"], row["kind"], row["form"]) == (finding.answerable, finding.kind, finding.form)
        assert is_question(row["question"])
        assert row["image"] == f"images/{row['id'].rpartition('-')[0]}.png"


def test_the_kinds_take_turns(folder: Path) -> None:
    kinds = Counter(row["kind"] for row in rows(folder / "labelled.jsonl") if not row["answerable"])
    assert set(kinds) == set(UNANSWERABLE)
    assert max(kinds.values()) - min(kinds.values()) < 10


def test_two_scenes_are_enough_for_every_kind_that_they_have() -> None:
    made = make(Path("two"), 2, seed=1)
    assert {row.kind for row in made.labelled if row.kind} == set(UNANSWERABLE)


def test_probes_are_balanced_for_every_picture_and_true(folder: Path, scene_of: dict[str, Scene]) -> None:
    probes = rows(folder / "pope.jsonl")
    assert [row["question_id"] for row in probes] == list(range(1, 120 * 2 * PROBES + 1))
    assert set(Counter((row["image"], row["label"]) for row in probes).values()) == {PROBES}
    assert {row["image"] for row in probes} == set(scene_of)
    assert len({(row["image"], row["text"]) for row in probes}) == len(probes)
    for row in probes:
        finding = found(scene_of[row["image"]], row["text"])
        assert (finding.form, finding.answer) == ("see", f"{row['label'].capitalize()}.")


def test_scenes_with_little_in_them_bear_the_most_questions() -> None:
    made = make(Path("many"), 12, "train", seed=2, questions=MOST_QUESTIONS)
    assert made.answerable == made.unanswerable == 12 * MOST_QUESTIONS


# --- again ------------------------------------------------------------------------------------------------------------


def test_the_same_arguments_write_the_same_bytes_in_any_process(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("world", "make", "--scenes", "8", "--split", "train", "--seed", "3", "--questions", "2", "--out")
    assert command(capsys, *arguments, "one").code == 0
    for folder, hash_seed in (("two", "1"), ("three", "2")):
        subprocess.run(
            [sys.executable, "-m", "unsaf_async", *arguments, folder],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": hash_seed},
        )
        assert contents(Path(folder)) == contents(Path("one"))


def test_another_seed_another_split_or_another_number_writes_other_questions() -> None:
    first = make(Path("a"), 2, "test", seed=0)
    for name, other in {
        "seed": make(Path("b"), 2, "test", seed=1),
        "split": make(Path("c"), 2, "train", seed=0),
    }.items():
        assert not {row.scene for row in first.manifest} & {row.scene for row in other.manifest}, name
    fewer = make(Path("d"), 2, "test", seed=0, questions=3)
    assert [row.scene for row in fewer.manifest] == [row.scene for row in first.manifest]
    assert len(fewer.labelled) == 12


def test_a_larger_folder_begins_with_the_smaller_one(folder: Path) -> None:
    make(Path("small"), 10, "test", seed=5)
    for name, data in contents(Path("small")).items():
        if name != "README.md":
            assert (folder / name).read_bytes().startswith(data), name


# --- the card ---------------------------------------------------------------------------------------------------------


def test_the_card_tells_how_the_folder_was_made_and_what_it_holds(folder: Path) -> None:
    card = (folder / "README.md").read_text("utf-8")
    assert "unsaf-async world make --scenes 120 --split test --seed 5 --questions 4 --out DIR" in card
    assert re.search(r"with unsaf-async \S+, numpy \S+, pillow \S+, Python \S+\.", card)
    for line in ("120 pictures of 48 x 48", "480 questions that their picture answers and 480", "720 yes/no probes"):
        assert line in card
    labelled = rows(folder / "labelled.jsonl")
    for name, number in (Counter(row["kind"] or row["form"] for row in labelled)).items():
        assert f"| {name} | {number} |" in card
    for fields in FIELDS.values():
        assert all(f"| `{name}` | {meaning} |" in card for name, meaning in fields.items())
    assert str(folder) not in card


# --- mistakes ---------------------------------------------------------------------------------------------------------


def a_file() -> None:
    Path("there").write_text("something")


def a_full_folder() -> None:
    Path("there").mkdir()
    Path("there", ".hidden").touch()


MISTAKES: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[], object]]] = {
    "no folder": ((), ("Missing option", "--out"), bool),
    "an empty folder name": (("-o", ""), ("--out", "empty"), bool),
    "no scenes": (("-o", "new", "--scenes", "0"), ("--scenes is 0", "from 1 to 99999"), bool),
    "fewer than none": (("-o", "new", "--scenes", "-1"), ("--scenes is -1",), bool),
    "too many scenes": (("-o", "new", "--scenes", "100000"), ("--scenes is 100000",), bool),
    "half a scene": (("-o", "new", "--scenes", "1.5"), ("--scenes", "'1.5'", "whole number"), bool),
    "no such split": (("-o", "new", "--split", "dev"), ("--split is 'dev'", "train, validation or test"), bool),
    "no such world": (("-o", "new", "--world", "photos"), ("--world is 'photos'", "shapes or charts"), bool),
    "a negative seed": (("-o", "new", "--seed", "-1"), ("--seed is -1", "2147483647"), bool),
    "a seed too large": (("-o", "new", "--seed", "2147483648"), ("--seed is 2147483648",), bool),
    "no questions": (("-o", "new", "--questions", "0"), ("--questions is 0", "from 1 to 50"), bool),
    "too many questions": (("-o", "new", "--questions", "51"), ("--questions is 51",), bool),
    "a file in the way": (("-o", "there"), ("--out there", "File exists", "another folder"), a_file),
    "a file above": (("-o", "there/new"), ("--out there/new", "Not a directory"), a_file),
    "a full folder": (("-o", "there"), ("--out there", "not empty"), a_full_folder),
    "a name too long": (("-o", "x" * 300), ("--out", "too long"), bool),
    "a word too many": (("-o", "new", "more"), ("more",), bool),
    "no such command": (("maek",), ("'maek'", "'make'"), bool),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line_and_code_2_and_writes_nothing(
    mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words, spoil = MISTAKES[mistake]
    spoil()
    before = contents(Path())
    command_words = ("world",) if "maek" in arguments else ("world", "make")
    ended = command(capsys, *command_words, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("unsaf-async")
    assert ended.err.count("\n") == 1
    assert all(word in ended.err for word in words), ended.err
    assert contents(Path()) == before
    assert not Path("new").exists()


def test_an_empty_folder_is_written_to() -> None:
    Path("empty").mkdir()
    assert len(make(Path("empty"), 1).manifest) == 1


def test_a_folder_that_cannot_be_finished_has_no_manifest() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))  # a picture fits, the questions of 20 scenes do not
    try:
        with pytest.raises(UserError, match=r"out full: cannot be written \(File too large\)"):
            make(Path("full"), 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(list(Path("full/images").iterdir())) == 20
    assert not Path("full/manifest.jsonl").exists()


def test_a_split_is_found_by_its_name() -> None:
    assert [split_named(name) for name in ("train", "validation", "test")] == ["train", "validation", "test"]
    with pytest.raises(UserError):
        split_named("Test")


# --- what is imported -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["world", "--help"], ["world", "make", "--help"], ["world", "make", "--seed", "x"]]
)
def test_help_and_a_wrong_option_import_nothing_heavy(arguments: list[str]) -> None:
    script = f"import sys; from unsaf_async.cli import _run; _run({arguments!r}); print('\\nLOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert loaded.isdisjoint({"numpy", "PIL", "scipy", "litellm", "torch", "unsaf_async.world.questions"})


def test_asking_the_oracle_needs_no_pictures() -> None:
    script = "import sys, unsaf_async.world.oracle, unsaf_async.world.lessons; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"numpy", "PIL", "torch"}.isdisjoint(done.stdout.split())
