"""Finding the images of a run in folders, files, globs and manifests. No file made here is an image: none is opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from unsaf_async.cli.spelling import spelled
from unsaf_async.errors import UserError
from unsaf_async.inputs.sources import bundled_images, find_images

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder as people have them: b.jpg, a.PNG, sub/c.webp, and much that is no image."""
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "notes.txt", ".hidden.jpg", ".thumbnails/t.jpg", "sub/readme.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not decoded")
    return folder


def ids(*arguments: str | Path) -> list[str]:
    return [source.id for source in find_images(arguments)]


def complaint(*arguments: str | Path) -> str:
    with pytest.raises(UserError) as caught:
        find_images(arguments)
    message = caught.value.spelled(spelled)
    assert "\n" not in message
    return message


def manifest(folder: Path, *lines: str, name: str = "m.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# --- folders, files, globs ------------------------------------------------------------------------------------------


def test_no_argument_gives_no_image() -> None:
    assert find_images([]) == []


def test_a_folder_gives_its_images_sorted_with_ids_relative_to_it(photos: Path) -> None:
    sources = find_images([photos])
    assert [source.id for source in sources] == ["a.PNG", "b.jpg", "sub/c.webp"]
    assert sources[2].path == photos / "sub" / "c.webp"
    assert sources[0].metadata == {}


def test_a_hidden_folder_that_is_named_itself_is_read(photos: Path) -> None:
    assert ids(photos / ".thumbnails") == ["t.jpg"]


def test_links_that_loop_end_the_walk_and_links_to_folders_are_followed(photos: Path, tmp_path: Path) -> None:
    (photos / "sub" / "up").symlink_to(photos)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "d.jpg").touch()
    (photos / "linked").symlink_to(elsewhere)
    assert ids(photos) == ["a.PNG", "b.jpg", "linked/d.jpg", "sub/c.webp"]


def test_a_file_is_taken_whatever_its_name(photos: Path) -> None:
    (photos / "notes.txt").write_bytes(b"\x89PNG\r\n\x1a\n not decoded")
    assert ids(photos / "notes.txt", str(photos / "b.jpg")) == ["notes.txt", "b.jpg"]


def test_a_glob_gives_its_images_sorted_with_ids_relative_to_its_fixed_part(photos: Path) -> None:
    assert ids(f"{photos}/*") == ["a.PNG", "b.jpg"]
    assert ids(f"{photos}/**/*.webp") == ["sub/c.webp"]


def test_a_name_with_brackets_that_exists_is_no_glob(photos: Path) -> None:
    (photos / "d[1].jpg").touch()
    assert ids(photos / "d[1].jpg") == ["d[1].jpg"]


def test_the_same_file_is_taken_once_however_it_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(photos / "b.jpg")
    arguments = [photos / "b.jpg", photos, f"{photos}/*.jpg", tmp_path / "link.jpg", photos / "sub" / ".." / "b.jpg"]
    assert ids(*arguments) == ["b.jpg", "a.PNG", "sub/c.webp"]


def test_ids_stay_unique_when_folders_share_names(tmp_path: Path) -> None:
    for folder in ("x", "y", "deep/y"):
        (tmp_path / folder / "in").mkdir(parents=True)
        (tmp_path / folder / "in" / "a.jpg").touch()
    assert ids(tmp_path / "x", tmp_path / "y", tmp_path / "deep" / "y") == ["in/a.jpg", "y/in/a.jpg", "in/a.jpg#2"]


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are UTF-8 there")
def test_an_id_can_be_written_to_json_whatever_the_file_is_called(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / name).touch()
    (source,) = find_images([tmp_path])
    assert source.id == "caf\ufffd.jpg"
    assert source.path.is_file()


def test_listing_imports_no_decoder() -> None:
    code = "import sys, unsaf_async.inputs.sources as i; i.bundled_images(); sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_the_shipped_photos_are_ten_and_small_and_each_is_credited() -> None:
    sources = bundled_images()
    credited = (sources[0].path.parent.parent / "CREDITS.md").read_text(encoding="utf-8")
    assert len(sources) == 10
    assert sum(source.path.stat().st_size for source in sources) < 2_000_000
    assert all(source.path.stat().st_size < 300_000 for source in sources)
    assert all(f"`{source.id}`" in credited for source in sources)


# --- manifests ------------------------------------------------------------------------------------------------------


def test_a_jsonl_manifest_keeps_its_order_its_ids_and_its_further_columns(photos: Path) -> None:
    path = manifest(
        photos,
        '{"image": "sub/c.webp", "id": "third", "place": "Oslo", "year": 2020}',
        "",
        '{"image": "b.jpg", "id": 7}',
        json.dumps({"image": str(photos / "a.PNG")}),
    )
    sources = find_images([path])
    assert [source.id for source in sources] == ["third", "7", (photos / "a.PNG").as_posix()]
    assert [source.path for source in sources] == [photos / "sub" / "c.webp", photos / "b.jpg", photos / "a.PNG"]
    assert sources[0].metadata == {"place": "Oslo", "year": 2020}
    assert sources[1].metadata == {}


def test_a_csv_manifest_says_the_same(photos: Path) -> None:
    path = manifest(photos, "id,image,note", 'x,b.jpg,"one, two"', "", ',"sub/c.webp","two\nlines"', name="m.csv")
    sources = find_images([path])
    assert [(source.id, source.metadata) for source in sources] == [
        ("x", {"note": "one, two"}),
        ("sub/c.webp", {"note": "two\nlines"}),
    ]


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
def test_a_byte_order_mark_and_windows_line_ends_are_accepted(photos: Path, name: str) -> None:
    rows = '{"image": "b.jpg"}\r\n' if name == "m.jsonl" else "image\r\nb.jpg\r\n"
    (photos / name).write_bytes(b"\xef\xbb\xbf" + rows.encode())
    assert ids(photos / name) == ["b.jpg"]


def test_a_manifest_may_name_files_outside_its_folder(photos: Path) -> None:
    assert ids(manifest(photos / "sub", '{"image": "../b.jpg"}')) == ["../b.jpg"]


def test_ids_that_a_manifest_gives_are_kept_and_others_make_way(photos: Path) -> None:
    path = manifest(photos, '{"image": "sub/c.webp", "id": "b.jpg"}')
    assert ids(photos / "b.jpg", path) == ["photos/b.jpg", "b.jpg"]


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("{photos}/nothing.jpg", "does not exist"),
        ("{photos}/nothing", "does not exist"),
        ("", "no path"),
        ("a\0b", "no path"),
        ("{photos}/*.tiff", "matches nothing"),
        ("{photos}/*.txt", "no image"),
        ("https://example.org/a.jpg", "download"),
        ("file://server/tmp/a.jpg", "download"),
        ("file:///no/such/a.jpg", "/no/such/a.jpg does not exist"),
        ("data:image/png;base64,AAAA", "download"),
        ("{photos}/" + "x" * 400, "cannot be read"),
    ],
)
def test_an_argument_that_names_no_image_is_the_users_mistake(photos: Path, argument: str, said: str) -> None:
    message = complaint(argument.replace("{photos}", str(photos)))
    assert said in message
    assert message.startswith("--images: ")


def test_a_folder_without_images_says_what_was_looked_for(tmp_path: Path) -> None:
    assert ".jpg .jpeg" in complaint(tmp_path)


def test_a_fifo_is_the_users_mistake(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    assert "neither a file nor a folder" in complaint(tmp_path / "a.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_the_users_mistake(photos: Path) -> None:
    (photos / "sub").chmod(0)
    try:
        assert "cannot be read" in complaint(photos)
    finally:
        (photos / "sub").chmod(0o755)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"image": "b.jpg"', "no valid JSON"),
        ("b.jpg", "no valid JSON"),
        ('["b.jpg"]', "no JSON object"),
        ('"b.jpg"', "no JSON object"),
        ('{"picture": "b.jpg"}', "no column 'image' among: picture"),
        ("{}", "no column 'image'"),
        ('{"image": 3}', "'image' is 3"),
        ('{"image": " "}', "'image' is ' '"),
        ('{"image": null}', "'image' is None"),
        ('{"image": "gone.jpg"}', "gone.jpg does not exist"),
        ('{"image": "sub"}', "sub is no file"),
        ('{"image": "http://example.org/a.jpg"}', "download"),
        ('{"image": "b.jpg", "id": []}', "'id' is []"),
        ('{"image": "b.jpg", "id": true}', "'id' is True"),
        ('{"image": "b.jpg", "id": "one"}', "id 'one' was given before"),
        ('{"image": "a\\u0000.jpg"}', "'image' is"),
    ],
)
def test_a_wrong_row_of_a_jsonl_manifest_is_named_with_its_line(photos: Path, row: str, said: str) -> None:
    message = complaint(manifest(photos, '{"image": "a.PNG", "id": "one"}', "", row))
    assert said in message
    assert message.startswith(f"{photos}/m.jsonl:3: ")


@pytest.mark.parametrize(
    ("rows", "line", "said"),
    [
        (["picture", "b.jpg"], 1, "no column 'image' among: picture"),
        (["picture;id", "b.jpg;1"], 1, "no column 'image' among: picture, id"),
        (["image,id,id", "b.jpg,1,2"], 1, "twice"),
        (["image,id", "b.jpg"], 2, "1 cell for 2 columns"),
        (["image", "b.jpg,extra"], 2, "2 cells for 1 column"),
        (["image,note", '"sub/c.webp","two\nlines"', "gone.jpg,x"], 4, "does not exist"),
        (["image", '"b.jpg'], 2, "no valid CSV"),
        (["image,note", 'b.jpg,"' + "x\n" * 100_000, '"'], 2, "no valid CSV"),
        (["image,id", "b.jpg,1", "a.PNG,1"], 3, "given before"),
    ],
)
def test_a_wrong_row_of_a_csv_manifest_is_named_with_its_line(
    photos: Path, rows: list[str], line: int, said: str
) -> None:
    message = complaint(manifest(photos, *rows, name="m.csv"))
    assert said in message
    assert message.startswith(f"{photos}/m.csv:{line}: ")


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_manifest_is_the_users_mistake(photos: Path, name: str, text: str) -> None:
    (photos / name).write_text(text)
    assert "names no image" in complaint(photos / name)


def test_a_csv_manifest_with_a_header_only_is_the_users_mistake(photos: Path) -> None:
    assert "names no image" in complaint(manifest(photos, "image,id", name="m.csv"))


@pytest.mark.parametrize("encoding", ["cp1253", "cp855"])
def test_a_manifest_in_another_encoding_is_named_with_its_line(photos: Path, encoding: str) -> None:
    (photos / "m.csv").write_bytes(
        "image\nb.jpg\n{}.jpg\n".format("кафе" if encoding == "cp855" else "γάτα").encode(encoding)
    )
    assert "not UTF-8" in complaint(photos / "m.csv")


def test_the_same_id_in_two_manifests_is_the_users_mistake(photos: Path) -> None:
    one = manifest(photos, '{"image": "a.PNG", "id": "x"}', name="one.jsonl")
    two = manifest(photos, '{"image": "b.jpg", "id": "x"}', name="two.jsonl")
    message = complaint(one, two)
    assert message.startswith(f"{two}:1: ")
    assert f"{one}:1" in message
