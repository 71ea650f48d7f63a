"""What was held out of one round of training is held out of the next: pictures keep the split of earlier exports."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from commandline import command
from PIL import Image

import unsaf_async
from unsaf_async.bundled import bundled
from unsaf_async.distill.data.build_rows import Item
from unsaf_async.distill.data.clusters import split_of
from unsaf_async.distill.data.earlier import FILE, EarlierPicture, clustered, read_earlier
from unsaf_async.distill.data.export import export
from unsaf_async.distill.data.options import Options
from unsaf_async.distill.data.pictures import Picture
from unsaf_async.errors import UserError
from unsaf_async.records import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

pytest.importorskip("imagehash")


@dataclass(frozen=True)
class Runs:
    """Two models' runs on the same photos, which the second is sent smaller. home: where the photos lie."""

    home: Path
    large: Path
    small: Path


def photo(number: int, size: tuple[int, int] = (200, 150)) -> Image.Image:
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(size)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    home = tmp_path_factory.mktemp("rounds")
    (home / "photos").mkdir()
    for number in range(16):
        photo(number).save(home / "photos" / f"{number}.png")
    profile = (bundled("providers") / "scripted.toml").read_text("utf-8")
    (home / "providers").mkdir()
    (home / "providers" / "small.toml").write_text(profile.replace("max_side_px = 1024", "max_side_px = 64"), "utf-8")
    before = Path.cwd()
    os.chdir(home)

    async def run() -> None:
        for name, folder in (("scripted", "large"), ("small", "small")):
            await unsaf_async.evaluate(name, images=home / "photos", questions=2, out=home / folder, cache=None)

    try:
        asyncio.run(run())
    finally:
        os.chdir(before)
    return Runs(home, home / "large", home / "small")


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def split_by_photo(out: Path) -> dict[str, str]:
    """The split of every photo of an export, by its name."""
    found: dict[str, set[str]] = {}
    for item in lines(out / "items.jsonl"):
        found.setdefault(item["id"].split("/")[1], set()).add(item["split"])
    assert all(len(splits) == 1 for splits in found.values())
    return {name: splits.pop() for name, splits in found.items()}


HALVES = (40, 30, 30)


def test_a_picture_is_in_the_same_split_at_whatever_size_a_model_was_sent_it(made: Runs, tmp_path: Path) -> None:
    for run in (made.large, made.small):
        export([run], tmp_path / run.name, Options(form="openai", splits=HALVES))
    large, small = (split_by_photo(tmp_path / name) for name in ("large", "small"))
    both = large.keys() & small.keys()
    assert len({large[name] for name in both}) > 1
    assert {name: large[name] for name in both} == {name: small[name] for name in both}
    ids = [{line["image_id"] for line in lines(tmp_path / name / FILE)} for name in ("large", "small")]
    assert not ids[0] & ids[1], "the two were sent other pixels"


def test_the_next_round_keeps_the_splits_whatever_its_seed_and_shares(made: Runs, tmp_path: Path) -> None:
    first = export([made.large], tmp_path / "first", Options(form="openai", splits=HALVES))
    assert first.kept_splits == 0
    other = Options(form="openai", splits=(100, 0, 0), seed=3)
    second = export([made.large, made.small], tmp_path / "second", replace(other, splits_of=(tmp_path / "first",)))
    before, after = split_by_photo(tmp_path / "first"), split_by_photo(tmp_path / "second")
    assert {name: after[name] for name in before if name in after} == {n: s for n, s in before.items() if n in after}
    assert {"train"} < set(after.values())
    assert second.kept_splits > 0
    assert f"{second.kept_splits} of the pictures are in earlier exports" in (
        tmp_path / "second" / "README.md"
    ).read_text("utf-8")
    # the chain needs the last export alone
    third = replace(other, splits_of=(tmp_path / "second",), seed=4)
    export([made.small], tmp_path / "third", third)
    assert {n: s for n, s in split_by_photo(tmp_path / "third").items() if n in before} == {
        n: s for n, s in before.items() if n in split_by_photo(tmp_path / "third")
    }
    assert {line["image_id"] for line in lines(tmp_path / "first" / FILE)} <= {
        line["image_id"] for line in lines(tmp_path / "third" / FILE)
    }


def test_where_earlier_exports_hold_everything_out_nothing_is_left_and_the_line_says_so(
    made: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    export([made.small], tmp_path / "first", Options(form="openai"))
    file = tmp_path / "first" / FILE
    file.write_text(file.read_text("utf-8").replace('"train"', '"test"'), "utf-8")
    ended = command(capsys, "export", str(made.small), "--splits-of", "first", "--format", "openai", "-o", "second")
    assert ended.code == 2
    assert "no row fell into the training split (" in ended.err
    assert "with the split of an earlier export: 0 for validation and" in ended.err
    assert ended.err.count("\n") == 1


# --- near copies ------------------------------------------------------------------------------------------------------


def picture(phash: int) -> Picture:
    return Picture("p.png", "0" * 64, phash)


def about(pixels: str, *files: str) -> list[Item]:
    return [
        Item(None, ImageRecord(id=file, path="", bytes_sha256=file, pixels_sha256=pixels), 1, None)  # type: ignore[arg-type]
        for file in files
    ]


def earlier(pixels: str, split: str, phash: int, *files: str) -> EarlierPicture:
    return EarlierPicture(image_id=pixels, files=files, phash=f"{phash:016x}", split=split)  # type: ignore[arg-type]


def name(letter: str) -> str:
    return letter * 64


@pytest.mark.parametrize(
    ("known", "split", "torn"),
    [
        ([], None, False),
        ([("a", "test", 0b11)], "test", False),
        ([("a", "test", 0b11), ("b", "test", 0b1100)], "test", False),
        ([("a", "test", 0b11), ("b", "train", 0b1100)], None, True),
        ([("c", "test", 0b0), ("b", "train", 0b11)], "test", False),
        ([("a", "test", (1 << 40) - 1)], None, False),
    ],
)
def test_a_new_picture_goes_where_the_earlier_ones_are_that_it_is_near_to(
    known: list[tuple[str, str, int]], split: str | None, torn: bool
) -> None:
    before: Mapping[str, EarlierPicture] = {name(one): earlier(name(one), where, bits) for one, where, bits in known}
    found = clustered({name("c"): picture(0)}, about(name("c"), name("d")), before)
    assert found.splits.get(name("c")) == split
    assert (name("c") in found.torn) is torn


def test_an_equal_file_keeps_its_split_however_other_its_pixels_look() -> None:
    before = {name("a"): earlier(name("a"), "validation", (1 << 60) - 1, name("f"))}
    found = clustered({name("b"): picture(0)}, about(name("b"), name("f")), before)
    assert found.splits == {name("b"): "validation"}


def test_pictures_that_share_a_file_are_one_cluster_named_by_the_least_file() -> None:
    pictures = {name("a"): picture(0), name("b"): picture((1 << 60) - 1), name("c"): picture((1 << 30) - 1)}
    items = [*about(name("a"), name("2"), name("3")), *about(name("b"), name("3")), *about(name("c"), name("4"))]
    found = clustered(pictures, items, {})
    assert found.cluster_of == {name("a"): name("2"), name("b"): name("2"), name("c"): name("4")}


# --- what is given ----------------------------------------------------------------------------------------------------


def written(folder: Path, *pictures: EarlierPicture) -> Path:
    folder.mkdir()
    (folder / FILE).write_text("".join(f"{each.model_dump_json()}\n" for each in pictures), "utf-8")
    return folder


def test_several_exports_are_one_list_and_may_not_contradict_each_other(tmp_path: Path) -> None:
    one = written(tmp_path / "one", earlier(name("a"), "train", 1, name("1")))
    two = written(tmp_path / "two", earlier(name("a"), "train", 1, name("2")), earlier(name("b"), "test", 2, name("3")))
    assert read_earlier([one, two]) == {
        name("a"): earlier(name("a"), "train", 1, name("1"), name("2")),
        name("b"): earlier(name("b"), "test", 2, name("3")),
    }
    for n, other in enumerate((earlier(name("a"), "test", 1), earlier(name("e"), "test", 1, name("1")))):
        with pytest.raises(UserError, match=r"^splits_of .*: has a picture for test that is for train in .*/one; give"):
            read_earlier([one, written(tmp_path / f"other-{n}", other)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "has no pictures.jsonl, which every export of training data has"),
        ("nonsense\n", "pictures.jsonl:1: is no picture"),
        ('{"image_id": "x"}\n', "pictures.jsonl:1: is no picture"),
        (f"{earlier(name('a'), 'train', 1).model_dump_json().replace('train', 'trial')}\n", "split: Input should be"),
        ("\x00", "pictures.jsonl:1: is no picture"),
    ],
)
def test_what_is_no_export_is_told_in_one_line(
    text: str | None, words: str, made: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "earlier").mkdir()
    if text is not None:
        (tmp_path / "earlier" / FILE).write_text(text, "utf-8")
    given = ("--splits-of", "earlier", "--format", "openai", "-o", "out")
    ended = command(capsys, "export", str(made.large), *given)
    assert ended.code == 2
    assert "--splits-of earlier" in ended.err
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_where_every_split_is_an_earlier_exports_the_note_counts_the_rows_pictures_and_advises_no_other_split(
    made: Runs, tmp_path: Path
) -> None:
    export([made.small], tmp_path / "first", Options(form="openai", splits=(100, 0, 0)))
    (tmp_path / "held-out").mkdir()
    for name in ("0.png", "1.png"):
        shutil.copy(made.home / "photos" / name, tmp_path / "held-out")
    options = Options(form="openai", splits=(40, 30, 30), splits_of=(tmp_path / "first",))
    found = export([made.small], tmp_path / "second", replace(options, exclude_images=(tmp_path / "held-out",)))
    assert found.hits, "pictures that are in no row are not counted"
    (said,) = [note for note in found.notes if note.startswith("no row is for")]
    assert said == (
        "no row is for validation or test, and training has no validation loss: "
        f"all {found.clusters} different pictures have the split of an earlier export; give more images"
    )


def test_where_some_splits_are_an_earlier_exports_the_note_says_how_many(made: Runs, tmp_path: Path) -> None:
    export([made.small], tmp_path / "first", Options(form="openai", splits=(100, 0, 0)))
    file = tmp_path / "first" / FILE
    files = [each for line in lines(file) for each in line["files"]]
    file.write_text("".join(file.read_text("utf-8").splitlines(keepends=True)[:2]), "utf-8")
    seed = next(n for n in range(1_000) if {split_of(each, n, (99, 1, 0)) for each in files} == {"train"})
    options = Options(form="openai", splits=(99, 1, 0), seed=seed, splits_of=(tmp_path / "first",))
    found = export([made.small], tmp_path / "second", options)
    (said,) = [note for note in found.notes if note.startswith("no row is for validation")]
    assert said.endswith(
        f"{found.clusters} different pictures are few for --splits 99/1/0, and 2 have the split of an earlier export; "
        "give more images or another split"
    )
