"""Teacher data from real runs: what trainers can open, what is in it, and what must not be."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commandline import command
from PIL import Image

import unsaf_async
from unsaf_async.bundled import bundled
from unsaf_async.distill.data.build_rows import read_row_id
from unsaf_async.distill.data.clusters import split_of
from unsaf_async.distill.data.export import export
from unsaf_async.distill.data.kinds import ROW_KINDS, WRITING
from unsaf_async.distill.data.options import Filters, Options
from unsaf_async.distill.data.terms import is_commercial
from unsaf_async.errors import UserError
from unsaf_async.normalize import normal_form
from unsaf_async.providers.profile import Profile
from unsaf_async.providers.resolve import resolve
from unsaf_async.runs.folder import read_manifest
from unsaf_async.world import make

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("imagehash")

ALL_TRAIN = (100, 0, 0)


@dataclass(frozen=True)
class Runs:
    """Finished runs: a tiny teacher and a tinier student on drawn scenes, a simulated teacher on photos. home: their folder."""

    home: Path
    teacher: Path
    student: Path
    simulated: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    import asyncio

    home = tmp_path_factory.mktemp("export")
    before = Path.cwd()
    os.chdir(home)
    try:
        asyncio.run(_make(home))
    finally:
        os.chdir(before)
    return Runs(home, home / "teacher", home / "student", home / "simulated")


async def _make(home: Path) -> None:
    make.make(home / "scenes", 40, "test", 0, 1)
    # What tells of the machine: a folder of weights, a folder of prompts, and ids that are absolute paths.
    models = Path(unsaf_async.__file__).parent / "tiny" / "models"
    shutil.copytree(models / "tiny-s", home / "weights")
    shutil.copytree(bundled("prompts") / "tiny", home / "prompts")
    images = [json.loads(line)["image"] for line in (home / "scenes" / "manifest.jsonl").read_text().splitlines()]
    lines = [json.dumps({"image": str(home / "scenes" / image)}) + "\n" for image in images]
    (home / "absolute.jsonl").write_text("".join(lines))
    tiny = {"questions": 4, "cache": None}
    await unsaf_async.evaluate(
        "tiny",
        model=str(home / "weights"),
        prompts=str(home / "prompts"),
        images=home / "absolute.jsonl",
        out=home / "teacher",
        **tiny,
    )
    await unsaf_async.evaluate("tiny-xs", images=home / "scenes" / "manifest.jsonl", out=home / "student", **tiny)
    await unsaf_async.evaluate(
        "scripted",
        images=bundled("images") / "photos",
        questions=6,
        out=home / "simulated",
        cache=None,
        audit=["scripted"],
        judge=["self", "scripted"],
        grounded=True,
    )


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1]]


def items(out: Path) -> list[dict[str, Any]]:
    return lines(out / "items.jsonl")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def strings(value: object) -> Iterator[bytes]:
    if isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)
    elif isinstance(value, bytes):
        yield value
    else:
        yield str(value).encode()


def all_bytes(out: Path) -> bytes:
    """Everything that an export says, unpacked: names, files, and what lies compressed in parquet or base64."""
    found = []
    for name, data in files(out).items():
        found += [name.encode(), data]
        if name.endswith(".parquet"):
            import pyarrow.parquet as pq

            table = pq.read_table(out / name)
            found += [str(table.schema.metadata).encode(), *strings(table.to_pylist())]
        found += [base64.b64decode(url) for url in re.findall(rb"base64,([A-Za-z0-9+/=]+)", data)]
    return b"\n".join(found)


def pixels(data: bytes) -> str:
    """The name that the engine gives to an image's pixels. Exact for PNG, which small pictures are sent as."""
    with Image.open(BytesIO(data)) as image:
        return sha256(f"{image.width}x{image.height}".encode() + image.convert("RGB").tobytes()).hexdigest()


# --- what is in it ----------------------------------------------------------------------------------------------------


def test_the_rows_are_the_teachers_right_ones_at_the_mix_that_was_asked_for(made: Runs, tmp_path: Path) -> None:
    options = Options(form="sharegpt", student_replay=made.student, splits=ALL_TRAIN)
    found = export([made.teacher], tmp_path / "out", options)
    _, examinations, _ = unsaf_async.load(made.teacher)
    questions = {
        (examination.image.pixels_sha256, question.text): question
        for examination in examinations
        for question in examination.questions
    }
    told = items(tmp_path / "out")
    assert len(told) == found.total == sum(found.rows.values())
    for item in told:
        assert item["completion"].strip()
        if item["teacher"]["is_student"]:
            assert (item["kind"], item["cell"]) == ("replay", "ta")
            continue
        question = questions[item["image_id"], item["question"]["text"]]
        assert question.act == ("answered" if question.intended == "answerable" else "abstained")
        assert (
            item["kind"]
            in {
                "answerable": ("write-answerable", "answer"),
                "unanswerable": ("write-unanswerable", "decline"),
            }[question.intended]
        )
        if item["kind"] in ("answer", "decline"):
            assert (item["prompt"], item["completion"]) == (question.text, question.response.strip())
    counts = Counter(item["kind"] for item in told)
    for kind, percent in zip(ROW_KINDS, (15, 15, 30, 20, 20), strict=True):
        assert abs(counts[kind] - percent / 100 * len(told)) <= 1.5, kind


def test_ids_lead_back_to_the_question(made: Runs, tmp_path: Path) -> None:
    export([made.simulated], tmp_path / "out", Options(form="openai"))
    manifest, examinations, _ = unsaf_async.load(made.simulated)
    by_id = {examination.image.id: examination for examination in examinations}
    told = items(tmp_path / "out")
    assert len({item["id"] for item in told}) == len(told)
    for item in told:
        run, image, number, kind, copy = read_row_id(item["id"])
        assert (run, kind, copy) == (manifest.run_id, item["kind"], 1)
        assert by_id[image].questions[number - 1].text == item["question"]["text"]


def test_no_question_stands_twice_about_an_image_and_none_with_both_labels(made: Runs, tmp_path: Path) -> None:
    export([made.teacher, made.simulated], tmp_path / "out", Options(form="openai", student_replay=made.student))
    labels = defaultdict(set)
    seen = set()
    for item in items(tmp_path / "out"):
        text = normal_form(item["question"]["text"])
        labels[item["cluster"], text].add(item["question"]["intended"])
        key = (item["image_id"], text, item["kind"])
        assert key not in seen
        seen.add(key)
    assert max(map(len, labels.values())) == 1


@pytest.mark.parametrize(("splits", "told"), [((99, 1, 0), True), ((100, 0, 0), False)])
def test_an_export_without_the_validation_rows_that_were_wanted_says_so(
    splits: tuple[int, int, int], told: bool, made: Runs, tmp_path: Path
) -> None:
    export([made.teacher], tmp_path / "all", Options(form="openai", splits=ALL_TRAIN))
    pictures = [file for each in lines(tmp_path / "all" / "pictures.jsonl") for file in each["files"]]
    seed = next(n for n in range(1_000) if {split_of(each, n, (99, 1, 0)) for each in pictures} == {"train"})
    found = export([made.teacher], tmp_path / "out", Options(form="openai", splits=splits, seed=seed))
    said = [note for note in found.notes if note.startswith("no row is for validation")]
    assert bool(said) is told
    assert all("--splits 99/1/0" in note and "give more images" in note for note in said)


def test_no_picture_is_in_two_splits(made: Runs, tmp_path: Path) -> None:
    options = Options(form="openai", student_replay=made.student, splits=(50, 25, 25))
    found = export([made.teacher], tmp_path / "out", options)
    splits = defaultdict(set)
    for item in items(tmp_path / "out"):
        splits[item["cluster"]].add(item["split"])
        splits[item["image_id"]].add(item["split"])
    assert {frozenset(each) for each in splits.values()} == {frozenset([s]) for s in ("train", "validation", "test")}
    assert [note.partition(":")[0] for note in found.notes] == ["replay"]
    assert "nobody has said which" in found.notes[0]


def test_the_ablation_without_question_writing_has_the_same_supervised_tokens(made: Runs, tmp_path: Path) -> None:
    common = {"form": "openai", "student_replay": made.student, "splits": (80, 10, 10)}
    full = export([made.teacher], tmp_path / "full", Options(**common))
    ablation = export([made.teacher], tmp_path / "ablation", Options(**common, writing=False))
    assert ablation.taken.budget == sum(full.tokens.values())
    assert sum(ablation.tokens.values()) == pytest.approx(sum(full.tokens.values()), rel=0.02)
    told = {name: items(tmp_path / name) for name in ("full", "ablation")}
    assert not {item["kind"] for item in told["ablation"]} & set(WRITING)
    assert sum(i["tokens"] for i in told["ablation"] if i["split"] == "train") == sum(ablation.tokens.values())
    assert len({item["id"] for item in told["ablation"]}) == len(told["ablation"])
    held = {name: {i["id"] for i in told[name] if i["split"] != "train" and i["kind"] not in WRITING} for name in told}
    assert held["full"] == held["ablation"]


def test_a_tokenizer_counts_the_tokens_where_one_is_given(made: Runs, tmp_path: Path) -> None:
    found = export([made.teacher], tmp_path / "out", Options(form="openai", tokenizer=made.home / "weights"))
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(made.home / "weights" / "tokenizer.json"))
    for item in items(tmp_path / "out"):
        assert item["tokens"] == len(tokenizer.encode(item["completion"], add_special_tokens=False).ids)
    assert sha256((made.home / "weights" / "tokenizer.json").read_bytes()).hexdigest() in found.token_count


def test_filters_take_a_part_of_the_rows_and_the_card_names_them(made: Runs, tmp_path: Path) -> None:
    everything = export([made.simulated], tmp_path / "all", Options(form="openai", splits=ALL_TRAIN))
    filters = Filters(confirmed_by="all", unanimous=True, supported=True)
    found = export([made.simulated], tmp_path / "some", Options(form="openai", splits=ALL_TRAIN, filters=filters))
    assert 0 < found.total < everything.total
    card = (tmp_path / "some" / "README.md").read_text("utf-8")
    for words in ("confirmed by every auditor", "the whole panel of judges agreed", "borne out by the image"):
        assert words in card
        assert words not in (tmp_path / "all" / "README.md").read_text("utf-8")
    for item in items(tmp_path / "some"):
        assert all(audit["answerable"] == (item["question"]["intended"] == "answerable") for audit in item["audits"])
        assert item["supported"] in ((True,) if item["cell"] == "ta" else (None,))


# --- what trainers can open -------------------------------------------------------------------------------------------


def test_datasets_opens_the_trl_form_and_its_images_are_the_pixels_that_the_teacher_saw(
    made: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    options = Options(student_replay=made.student, splits=(60, 20, 20))
    export([made.teacher], tmp_path / "out", options)
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "hf"))
    told = items(tmp_path / "out")
    assert list(found) == ["train", "validation", "test"]
    for split, rows in found.items():
        expected = [item for item in told if item["split"] == split]
        assert rows["id"][:] == [item["id"] for item in expected]
        for row, item in zip(rows, expected, strict=True):
            assert row["kind"] == item["kind"]
            # Text, never a list of parts: Arrow would give the parts of text an empty image.
            assert row["prompt"] == [{"role": "user", "content": item["prompt"]}]
            assert row["completion"] == [{"role": "assistant", "content": item["completion"]}]
            (image,) = row["images"]
            raw = image.convert("RGB").tobytes()
            assert sha256(f"{image.width}x{image.height}".encode() + raw).hexdigest() == row["image_id"]
    assert found["train"].features["images"].feature == datasets.Image()


LLAMA_FACTORY = {
    "file_name": "which file of the folder to read",
    "formatting": "sharegpt: turns with roles; the default, alpaca, would look for instruction and output",
    "columns": "which fields hold the turns and the images; without images the model would be trained blind",
    "tags": "the names of role and content, and of the two speakers: the defaults are from, value, human and gpt",
}
"""What a data set's entry in dataset_info.json needs, and why."""
TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


def test_the_sharegpt_form_has_what_llama_factory_and_ms_swift_require(made: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export([made.teacher], out, Options(form="sharegpt", splits=(60, 20, 20)))
    info = json.loads((out / "dataset_info.json").read_text("utf-8"))
    assert set(info) == {"unsaf_train", "unsaf_validation", "unsaf_test"}
    used = set()
    for entry in info.values():
        assert set(entry) == set(LLAMA_FACTORY)
        assert entry["formatting"] == "sharegpt"
        assert entry["tags"] == TAGS
        rows = lines(out / entry["file_name"])
        assert rows
        for row in rows:
            turns, images = row[entry["columns"]["messages"]], row[entry["columns"]["images"]]
            assert [turn["role"] for turn in turns] == ["user", "assistant"]  # both count only odd-even turns
            assert all(isinstance(turn["content"], str) and turn["content"] for turn in turns)
            # Both stop, or shift images, unless there are as many marks as images, over all turns.
            assert sum(turn["content"].count("<image>") for turn in turns) == len(images) == 1
            assert turns[0]["content"].startswith("<image>")
            assert not Path(images[0]).is_absolute()
            used.add(images[0])
    assert used == {name for name in files(out) if name.startswith("images/")}
    by_name = {name: pixels((out / name).read_bytes()) for name in used}
    assert set(by_name.values()) == {item["image_id"] for item in items(out)}


def test_the_openai_form_is_chat_messages_with_data_urls_line_by_line_as_items(made: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export([made.teacher], out, Options(form="openai", splits=(60, 20, 20)))
    rows = [row for split in ("train", "validation", "test") for row in lines(out / f"{split}.jsonl")]
    for row, item in zip(rows, items(out), strict=True):
        assert set(row) == {"messages"}
        user, assistant = row["messages"]
        assert assistant == {"role": "assistant", "content": item["completion"]}
        image, text = user["content"]
        assert text == {"type": "text", "text": item["prompt"]}
        url = image["image_url"]["url"]
        assert url.startswith("data:image/png;base64,")
        assert pixels(base64.b64decode(url.partition(",")[2])) == item["image_id"]


def test_without_pyarrow_only_the_trl_form_is_refused_in_one_line(
    made: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)  # as Python has it for what cannot be imported
    with pytest.raises(UserError, match=r"pip install '\.\[distill\]'"):
        export([made.teacher], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    export([made.teacher], tmp_path / "out", Options(form="sharegpt"))


def test_without_imagehash_every_form_is_refused_in_one_line(
    made: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(UserError, match=r"imagehash is not installed.*pip install '\.\[distill\]'"):
        export([made.teacher], tmp_path / "out", Options(form="openai"))
    assert list(tmp_path.iterdir()) == []


# --- what must not be in it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["trl", "sharegpt", "openai"])
def test_nothing_exported_tells_of_the_machine(form: Any, made: Runs, tmp_path: Path) -> None:
    if form == "trl":
        pytest.importorskip("pyarrow")
    shutil.copytree(made.home / "scenes" / "images", tmp_path / "evaluation", dirs_exist_ok=True)
    for file in sorted((tmp_path / "evaluation").rglob("*.png"))[5:]:
        file.unlink()
    options = Options(form=form, student_replay=made.student, exclude_images=(tmp_path / "evaluation",))
    found = export([made.teacher, made.simulated], tmp_path / "out", replace(options, tokenizer=made.home / "weights"))
    assert found.hits
    said = all_bytes(tmp_path / "out")
    for folder in (made.home, tmp_path, Path.home(), Path.cwd(), Path(unsaf_async.__file__).parent):
        assert str(folder).encode() not in said, folder
    assert made.home.name.encode() not in said
    assert b"weights" in said  # the model, by the last part of its folder


def test_what_is_near_an_evaluations_images_is_left_out_counted_and_listed(made: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    folder.mkdir()
    with Image.open(bundled("images") / "photos" / "cat.png") as cat:
        cat.convert("RGB").resize((cat.width // 2, cat.height // 2)).save(folder / "cat_small.jpg", quality=70)
    found = export([made.simulated], tmp_path / "out", Options(form="openai", exclude_images=(folder,)))
    assert list(found.hits.values()) == ["cat_small.jpg"]
    (listed,) = lines(tmp_path / "out" / "excluded.jsonl")
    assert listed["near"] == "cat_small.jpg"
    assert found.questions["the picture is near one of --exclude-images"] > 0
    assert not [item for item in items(tmp_path / "out") if read_row_id(item["id"])[1] == "cat.png"]
    assert "1 images of evaluations were compared" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_what_an_evaluation_asks_is_left_out_with_all_its_rows_counted_and_listed(made: Runs, tmp_path: Path) -> None:
    options = Options(form="openai", student_replay=made.student, splits=ALL_TRAIN)
    export([made.teacher], tmp_path / "all", options)
    labelled = made.home / "scenes" / "labelled.jsonl"
    excluded = {normal_form(line["question"]) for line in lines(labelled)[:12]}
    shutil.copytree(made.home / "scenes" / "images", tmp_path / "images")
    (tmp_path / "eval.jsonl").write_text("".join(labelled.read_text("utf-8").splitlines(keepends=True)[:12]), "utf-8")
    found = export([made.teacher], tmp_path / "out", replace(options, exclude_questions=(tmp_path / "eval.jsonl",)))
    asked = {
        name: {normal_form(item["question"]["text"]) for item in items(tmp_path / name)} for name in ("all", "out")
    }
    assert asked["all"] & excluded
    assert not asked["out"] & excluded
    listed = lines(tmp_path / "out" / "excluded.jsonl")
    assert len(listed) == found.question_hits > 0
    assert found.questions["it is one of --exclude-questions, or has words in common with one"] == len(listed)
    for line in listed:
        assert normal_form(line["question"]) == normal_form(line["like"])  # short ones: only equal ones are meant
        assert line["of"] == "eval.jsonl"
    assert "12 questions of evaluations were compared" in (tmp_path / "out" / "README.md").read_text("utf-8")
    assert str(tmp_path).encode() not in all_bytes(tmp_path / "out")


def test_no_kind_of_unanswerable_question_has_more_than_it_may(made: Runs, tmp_path: Path) -> None:
    free = export([made.teacher], tmp_path / "free", Options(form="openai", splits=(80, 10, 10)))
    found = export([made.teacher], tmp_path / "out", Options(form="openai", splits=(80, 10, 10), most_of_kind=15))
    for kind in ("write-unanswerable", "decline"):
        shares = {}
        for name, made_ in (("free", free), ("out", found)):
            train = [item for item in items(tmp_path / name) if (item["kind"], item["split"]) == (kind, "train")]
            counts = Counter(item["question"]["kind"] or "unspecified" for item in train)
            assert counts == {name: n for (of, name), n in made_.kinds.items() if of == kind}
            shares[name] = max(counts.values()) / len(train), 1 / len(train)
        assert shares["free"][0] > 0.15
        assert shares["out"][0] <= 0.15 + shares["out"][1]
    assert found.left_out["more than 15 % of one kind of unanswerable question"] > 0
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "No kind has more than 15 % of either" in card
    for _, name in found.kinds:
        assert f"| {name} |" in card


def test_a_share_of_the_rows_of_each_kind_that_speaks_has_the_question_alone_for_its_prompt(
    made: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    usual = ["export", str(made.simulated), "--format", "openai", "--splits", "60/40/0"]
    assert command(capsys, *usual, "-o", "usual").code == 0
    done = command(capsys, *usual, "-o", "out", "--bare-questions", "0.3")
    assert done.code == 0, done.err
    assert "changes nothing" not in done.out + done.err
    before, after = items(tmp_path / "usual"), items(tmp_path / "out")
    assert [item["id"] for item in before] == [item["id"] for item in after]
    sent = [
        line["messages"][0]["content"]
        for split in ("train", "validation")
        for line in lines(tmp_path / "out" / f"{split}.jsonl")
    ]
    texts = [next(part["text"] for part in content if part["type"] == "text") for content in sent]
    assert sorted(texts) == sorted(item["prompt"] for item in after)
    for old, new in zip(before, after, strict=True):
        assert new["prompt"] == (new["question"]["text"] if new["bare"] else old["prompt"])
        assert not new["bare"] or new["kind"] in ("answer", "decline")
        assert old["prompt"] != old["question"]["text"]
    for split in ("train", "validation"):
        for kind in ("answer", "decline"):
            flags = [item["bare"] for item in after if (item["kind"], item["split"]) == (kind, split)]
            assert sum(flags) == round(0.3 * len(flags))
    spoken = [item for item in after if item["split"] == "train" and not item["kind"].startswith("write")]
    card = " ".join((tmp_path / "out" / "README.md").read_text("utf-8").split())
    assert f"In {sum(item['bare'] for item in spoken)} of the {len(spoken)} training rows" in card
    assert "(`--bare-questions 0.3`;" in card


def test_that_the_prompts_are_bare_anyway_is_said(made: Runs, tmp_path: Path) -> None:
    found = export([made.teacher], tmp_path / "out", Options(form="openai", bare_questions=0.5))
    assert "the prompts tiny put the question alone: --bare-questions changes nothing there" in found.notes


def test_an_image_that_is_gone_or_has_changed_is_left_out_and_counted(tmp_path: Path) -> None:
    import asyncio

    shutil.copytree(bundled("images") / "photos", tmp_path / "photos")
    asyncio.run(unsaf_async.evaluate("scripted", images="photos", questions=3, out="run", cache=None))
    (tmp_path / "photos" / "cat.png").unlink()
    Image.new("RGB", (50, 40), (1, 2, 3)).save(tmp_path / "photos" / "horse.png")
    found = export([Path("run")], Path("out"), Options(form="sharegpt", splits=ALL_TRAIN))
    assert found.questions["the image is gone or cannot be read"] > 0
    assert found.questions["the image has changed since the run"] > 0
    names = {read_row_id(item["id"])[1] for item in items(Path("out"))}
    assert len(names) == 8
    assert not names & {"cat.png", "horse.png"}
    assert any(note.startswith("2 images are gone") for note in found.notes)


HOSTILE = [
    "What is <image> doing?",
    "What does </s> say?",
    "What\u2028is\x85behind it?",
    'Is it "}]}, {"question": "no"?',
    "Is ` | ``` --- # [x](y) a sign?",
    "Was ist das für ein Stück – 猫 🐈?",
]


@pytest.mark.parametrize("form", ["trl", "sharegpt", "openai"])
def test_hostile_texts_and_ids_neither_break_a_file_nor_get_in_as_marks(form: Any, made: Runs, tmp_path: Path) -> None:
    if form == "trl":
        pytest.importorskip("pyarrow")
    shutil.copytree(made.simulated, tmp_path / "run")
    _, examinations, _ = unsaf_async.load(made.simulated)
    bad_ids = ["../../secret/a.png", "a/b c%2F.png", "`|` --- \u2028.png", "C:\\Users\\whoever-it-is\\b.png"]
    told = []
    for place, examination in enumerate(examinations):
        questions = [
            question.model_copy(
                update={"text": HOSTILE[number % len(HOSTILE)], "response": f"Fine.\n---\n|{number}|\x00"}
            )
            for number, question in enumerate(examination.questions)
        ]
        image = examination.image
        image = image.model_copy(update={"id": bad_ids[place] if place < len(bad_ids) else image.id})
        told.append(examination.model_copy(update={"questions": tuple(questions), "image": image}))
    journal = "".join(each.model_dump_json() + "\n" for each in told)
    (tmp_path / "run" / "journal.jsonl").write_text(journal, "utf-8")
    listed = [json.loads(line) for line in (tmp_path / "run" / "images.jsonl").read_text("utf-8").splitlines()]
    renamed = {old.image.id: new.image.id for old, new in zip(examinations, told, strict=True)}
    lines = [json.dumps({**each, "id": renamed.get(each["id"], each["id"])}) + "\n" for each in listed]
    (tmp_path / "run" / "images.jsonl").write_text("".join(lines), "utf-8")
    found = export([tmp_path / "run"], tmp_path / "out", Options(form=form, splits=ALL_TRAIN))
    assert found.left_out["the text holds a mark of chat templates, such as <image>"] > 0
    rows = items(tmp_path / "out")
    assert 0 < len(rows) == found.total
    assert {row["question"]["text"] for row in rows} <= set(HOSTILE[2:])
    for row in rows:
        assert read_row_id(row["id"])[3] == row["kind"]
    said = all_bytes(tmp_path / "out")
    assert b"secret" not in said
    assert b"whoever-it-is" not in said
    if form != "trl":
        assert len((tmp_path / "out" / "train.jsonl").read_text("utf-8").splitlines()) == len(rows)


# --- how it is written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["trl", "sharegpt", "openai"])
def test_the_same_runs_and_options_give_the_same_bytes(form: Any, made: Runs, tmp_path: Path) -> None:
    if form == "trl":
        pytest.importorskip("pyarrow")
    options = Options(form=form, student_replay=made.student, seed=3)
    for name in ("one", "other"):
        export([made.teacher], tmp_path / name, options)
    assert files(tmp_path / "one") == files(tmp_path / "other")
    export([made.teacher], tmp_path / "third", replace(options, seed=4))
    assert files(tmp_path / "third") != files(tmp_path / "one")


def test_a_folder_that_holds_anything_is_refused_and_an_empty_one_is_filled(made: Runs, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export([made.teacher], tmp_path / "out", Options(form="openai"))
    before = files(tmp_path / "out")
    with pytest.raises(UserError, match="is not empty"):
        export([made.teacher], tmp_path / "out", Options(form="openai"))
    assert files(tmp_path / "out") == before


def test_nothing_is_written_when_it_fails(made: Runs, tmp_path: Path) -> None:
    for options, words in (
        (Options(form="openai", mix=(0, 0, 0, 0, 100)), "no share in mix"),
        (Options(form="openai", splits=(0, 50, 50)), "leaves nothing to train on"),
        (Options(form="openai", exclude_images=(made.home / "scenes",)), "nothing is left to teach"),
    ):
        with pytest.raises(UserError, match=words) as found:
            export([made.teacher], tmp_path / "out", options)
        assert "\n" not in str(found.value)
        assert list(tmp_path.iterdir()) == []


def test_a_kind_without_rows_is_said(made: Runs, tmp_path: Path) -> None:
    found = export([made.teacher], tmp_path / "out", Options(form="openai"))
    assert "replay: no --student-replay; its 20 % are spread over the other kinds" in found.notes


def test_the_card_has_its_header_and_says_where_the_rows_are_from(made: Runs, tmp_path: Path) -> None:
    export([made.teacher], tmp_path / "out", Options(form="openai", student_replay=made.student, splits=(60, 20, 20)))
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    yaml = pytest.importorskip("yaml")
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["license"] == "other"
    assert header["configs"][0]["data_files"] == [
        {"split": split, "path": f"{split}.jsonl"} for split in ("train", "validation", "test")
    ]
    teacher, student = (read_manifest(path) for path in (made.teacher, made.student))
    for words in (teacher.run_id, teacher.created, teacher.pack_sha256, student.run_id, "`weights#", "`tiny-xs`"):
        assert words in card


# --- terms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "endpoint", "expected"),
    [
        ("scripted", "", False),
        ("tiny", "", False),
        ("openai", "http://localhost:8000/v1", False),
        ("openai", "http://127.0.0.1:8000/v1", False),
        ("openai", "http://[::1]:8000/v1", False),
        ("litellm", "http://127.0.0.1:4000", False),
        ("litellm", "", True),
        ("openai", "https://api.example.com/v1", True),
        ("openai", "http://localhost.example.com/v1", True),
    ],
)
def test_a_model_elsewhere_is_held_to_be_a_vendors(backend: Any, endpoint: str, expected: bool) -> None:
    assert is_commercial(Profile(name="m", backend=backend, endpoint=endpoint)) is expected


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:4000", "https://gateway.example.com/v1"])
def test_what_a_profile_says_of_its_terms_goes_before_its_address(endpoint: str) -> None:
    profile = Profile(name="m", backend="openai", endpoint=endpoint)
    assert not is_commercial(profile.model_copy(update={"outputs_may_train": True}))
    assert is_commercial(profile.model_copy(update={"outputs_may_train": False}))


def test_leave_to_train_that_is_given_for_one_model_and_address_holds_for_no_other(tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_text(
        'backend = "openai"\nendpoint = "https://gate.example.com/v1"\n[price]\ninput_usd_per_mtok = 0\n'
        'output_usd_per_mtok = 0\n[models."open"]\noutputs_may_train = true\n[models."closed"]\noutputs_may_train = false\n',
        "utf-8",
    )

    def said(name: str, **options: Any) -> bool | None:
        return resolve(name, folders=[tmp_path], **options).outputs_may_train

    assert (said("open"), said("closed")) == (True, False)
    assert said("open", model="another") is None
    assert said("open", api_base="https://another.example.com/v1") is None
    assert said("closed", api_base="http://127.0.0.1:8000/v1") is False


@pytest.mark.parametrize("name", ["gpt-5.4-mini", "claude-sonnet-5-5", "gemini-3.5-flash-lite"])
def test_a_vendors_model_asks_behind_a_local_address_too(name: str) -> None:
    assert is_commercial(resolve(name, api_base="http://127.0.0.1:4000", folders=[]))


def test_a_teacher_whose_terms_are_known_to_allow_it_needs_no_flag_and_the_card_says_who_said_so(
    bought: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(bought)
    cleared = manifest.subject.model_copy(
        update={
            "backend": "openai",
            "model": "qwen",
            "endpoint": "https://gpu.example.com/v1",
            "outputs_may_train": True,
        }
    )
    (bought / "manifest.json").write_text(manifest.model_copy(update={"subject": cleared}).model_dump_json())
    found = export([bought], tmp_path / "out", Options(form="openai"))
    assert not found.accepted
    terms = (tmp_path / "out" / "README.md").read_text("utf-8").partition("## Terms")[2]
    assert "`qwen`" in terms
    assert "`outputs_may_train`" in terms
    assert "accept-teacher-terms" not in terms


@pytest.fixture
def bought(made: Runs, tmp_path: Path) -> Path:
    """The simulated run, as if it had been made at a vendor's endpoint."""
    shutil.copytree(made.simulated, tmp_path / "bought")
    manifest = read_manifest(tmp_path / "bought")
    vendor = Profile(name="gpt-9", backend="litellm", model="openai/gpt-9")
    told = manifest.model_copy(update={"subject": manifest.subject.model_copy(update=dict(vendor))})
    told = told.model_copy(update={"subject": told.subject.model_copy(update={"image": manifest.subject.image})})
    (tmp_path / "bought" / "manifest.json").write_text(told.model_dump_json())
    return tmp_path / "bought"


def test_a_commercial_teacher_needs_its_terms_accepted(
    bought: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    refused = command(capsys, "export", str(bought), "-o", "out", "--format", "openai")
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    for words in ("openai/gpt-9", "forbid", "yours to check", "--accept-teacher-terms"):
        assert words in refused.err
    assert not (tmp_path / "out").exists()
    done = command(capsys, "export", str(bought), "-o", "out", "--format", "openai", "--accept-teacher-terms")
    assert done.code == 0, done.err
    assert "forbid" in done.out
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "stated by `--accept-teacher-terms`" in card
    assert "`openai/gpt-9`" in card


# --- on the command line ----------------------------------------------------------------------------------------------


def test_the_command_prints_rows_by_kind_and_split_and_what_is_left_out(
    made: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    done = command(
        capsys, "export", str(made.teacher), "--student-replay", str(made.student), "-o", "out", "--format", "sharegpt",
        "--mix", "10/10/40/20/20", "--splits", "80/10/10", "--seed", "5",
    )  # fmt: skip
    assert done.code == 0, done.err
    counts = Counter((item["kind"], item["split"]) for item in items(tmp_path / "out"))
    for kind in ROW_KINDS:
        (line,) = [line for line in done.out.splitlines() if line.startswith(f"{kind} ")]
        assert line.split()[1:4] == [str(counts[kind, split]) for split in ("train", "validation", "test")]
    assert "unanswerable, and the teacher answered (FA)" in done.out


def test_the_command_leaves_question_writing_out_where_it_is_told_to(
    made: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    done = command(capsys, "export", str(made.teacher), "-o", "out", "--format", "openai", "--no-question-writing")
    assert done.code == 0, done.err
    assert {item["kind"] for item in items(tmp_path / "out")} == {"answer", "decline"}
    assert "no question writing" in done.out


def test_a_run_is_not_a_teachers_and_a_students_at_once(made: Runs, tmp_path: Path) -> None:
    options = Options(form="sharegpt", preferences=(made.teacher,))
    with pytest.raises(UserError, match=r"^preferences .*: is the teacher's run in .*; give a run of the student$"):
        export([made.teacher], tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: is no run's folder"),
        (["{teacher}", "{teacher}"], "give each run once"),
        (["{teacher}", "--student-replay", "nowhere"], "--student-replay nowhere: is no run's folder"),
        (["{teacher}", "--student-replay", "{teacher}"], "give a run of the student"),
        (["{teacher}", "--mix", "1/2/3"], "--mix 1/2/3"),
        (["{teacher}", "--splits", "1/2/3"], "--splits 1/2/3"),
        (["{teacher}", "--splits", "0/50/50"], "--splits 0/50/50: leaves nothing to train on ("),
        (["{teacher}", "--seed", "-1"], "--seed is -1"),
        (["{teacher}", "--same-question", "0"], "--same-question is 0"),
        (["{teacher}", "--bare-questions", "30"], "--bare-questions is 30; give a share from 0 to 1"),
        (["{teacher}", "--most-of-kind", "0"], "--most-of-kind is 0"),
        (["{teacher}", "--most-of-kind", "2"], "--most-of-kind 2: the training rows are of"),
        (["{teacher}", "--exclude-questions", "nowhere"], "--exclude-questions nowhere: cannot be read"),
        (["{teacher}", "--exclude-questions", "nowhere.jsonl"], "--exclude-questions: 'nowhere.jsonl' does not exist"),
        (["{teacher}", "--format", "xml"], "'xml' is none of trl, sharegpt, openai"),
        (["{teacher}", "--confirmed-by", "me"], "--confirmed-by me"),
        (["{teacher}", "--tokenizer", "nowhere"], "--tokenizer nowhere"),
        (["{teacher}", "--exclude-images", "nowhere"], "--exclude-images: nowhere does not exist"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: list[str], words: str, made: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = [argument.format(teacher=made.teacher) for argument in arguments]
    ended = command(capsys, "export", *given, "-o", "out", *([] if "--format" in given else ["--format", "openai"]))
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
