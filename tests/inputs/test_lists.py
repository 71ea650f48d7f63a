"""Lists of images as people have them: each kind is read by `run`, `estimate` and `labelled` alike, or refused in plain words."""

from __future__ import annotations

import io
import json
import tarfile
import unicodedata
from base64 import b64encode
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commandline import command
from PIL import Image

from unsaf_async.cli.spelling import spelled
from unsaf_async.errors import UserError
from unsaf_async.inputs.datasets import read_labelled
from unsaf_async.inputs.lists.pictures import FURTHER
from unsaf_async.inputs.opening import sent_size
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImageError, ImagePolicy
from unsaf_async.inputs.sources import ImageSource, find_images, merged_rows
from unsaf_async.records import ImageRecord
from unsaf_async.report.thumbnails import thumbnail
from unsaf_async.runs.authority import check_images
from unsaf_async.runs.folder import _image_lines, _image_of

SHARED = Path(__file__).parents[3] / "shared" / "data" / "manifests"
POLICY = ImagePolicy()


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40 + shade, 30), (shade * 40, 9, 200)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [png(number) for number in range(4)]
BASE64 = [b64encode(each).decode() for each in PICTURES]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with img/a.png, img/b.png, img/e,f.png and img/größe.png."""
    (tmp_path / "img").mkdir()
    for name, data in zip(("a", "b", "e,f", "größe"), PICTURES, strict=True):
        (tmp_path / "img" / f"{name}.png").write_bytes(data)
    return tmp_path


def written(folder: Path, name: str, data: bytes | str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return file


def sizes(sources: list[ImageSource]) -> list[int]:
    """The widths of the pictures, which tell them apart; each is read twice, as a run does."""
    widths = [sent_size(source.place, POLICY)[0] for source in sources]
    assert widths == [encode(source.place, POLICY)[0].width for source in sources]
    return widths


def further(source: ImageSource) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", source.metadata[FURTHER])


def complaint(*arguments: str | Path) -> str:
    with pytest.raises(UserError) as caught:
        find_images(arguments)
    said = caught.value.spelled(spelled)
    assert "\n" not in said
    return said


def table(file: Path, *rows: dict[str, Any], **more: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), file, **more)
    return file


def archive(file: Path, *members: tuple[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(file, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file


# --- text, as it is saved ---------------------------------------------------------------------------------------------

READ: dict[str, tuple[str, str | bytes, list[str]]] = {
    "comma": ("m.csv", 'image\n"img/e,f.png"\n', ["img/e,f.png"]),
    "semicolon": ("m.csv", "image;note\nimg/a.png;x, y\nimg/b.png;z\n", ["img/a.png", "img/b.png"]),
    "tab": ("m.csv", "image\tnote\nimg/a.png\tx\n", ["img/a.png"]),
    "tsv": ("m.tsv", "image\tnote\nimg/a.png\tx\n", ["img/a.png"]),
    "pipe": ("m.csv", "image|note\nimg/a.png|x\n", ["img/a.png"]),
    "sep=": ("m.csv", "sep=;\r\nimage;note\r\nimg/a.png;x\r\n", ["img/a.png"]),
    "byte order mark": ("m.csv", b"\xef\xbb\xbfimage,note\nimg/a.png,x\n", ["img/a.png"]),
    "CRLF": ("m.csv", "image,note\r\nimg/a.png,x\r\n", ["img/a.png"]),
    "CR": ("m.csv", "image,note\rimg/a.png,x\rimg/b.png,y\r", ["img/a.png", "img/b.png"]),
    "UTF-16 LE": ("m.csv", "\ufeffimage,note\nimg/größe.png,x\n".encode("utf-16-le"), ["img/größe.png"]),
    "UTF-16 BE": ("m.csv", "\ufeffimage,note\nimg/a.png,ü\n".encode("utf-16-be"), ["img/a.png"]),
    "UTF-16 without a mark": ("m.csv", "image,note\nimg/a.png,x\n".encode("utf-16-le"), ["img/a.png"]),
    "UTF-16 JSON lines": ("m.jsonl", '{"image": "img/a.png"}\n'.encode("utf-16"), ["img/a.png"]),
    "Latin-1": ("m.csv", "image\nimg/größe.png\n".encode("latin-1"), ["img/größe.png"]),
    "Latin-1 JSON lines": ("m.jsonl", '{"image": "img/größe.png"}'.encode("latin-1"), ["img/größe.png"]),
    "composed letters": ("m.csv", "image\nimg/größe.png\n", ["img/größe.png"]),
    "decomposed letters": ("m.csv", unicodedata.normalize("NFD", "image\nimg/größe.png\n"), ["img/größe.png"]),
    "quoted line break": ("m.csv", 'image,note\nimg/a.png,"one\n""two"""\nimg/b.png,x\n', ["img/a.png", "img/b.png"]),
    "spaces": ("m.csv", 'image, note\nimg/a.png , "x, y"\n', ["img/a.png"]),
    "capitals": ("m.csv", "Image,Note\nimg/a.png,x\n", ["img/a.png"]),
    "trailing commas": ("m.csv", "image,note,\nimg/a.png,x,\nimg/b.png,y,,,\n", ["img/a.png", "img/b.png"]),
    "pandas' index": ("m.csv", ",image\n0,img/a.png\n1,img/b.png\n", ["img/a.png", "img/b.png"]),
    "pandas' floats": ("m.csv", "image,id\nimg/a.png,7.0\nimg/b.png,\n", ["7", "img/b.png"]),
    "pandas' list": ("m.csv", "image\n\"['img/a.png']\"\n", ["img/a.png"]),
    "rows without a cell": ("m.csv", "image,note\nimg/a.png,x\n\n,\n", ["img/a.png"]),
    "Windows' separators": ("m.csv", "image,note\nimg\\a.png,x\n", ["img/a.png"]),
    "one column without a name": ("m.csv", "img/a.png\nimg/b.png\n", ["img/a.png", "img/b.png"]),
    "paths": ("m.txt", "img/a.png\r\n\r\nimg\\b.png\r\n", ["img/a.png", "img/b.png"]),
    "a float for an id": ("m.jsonl", '{"image": "img/a.png", "id": 1.0}', ["1"]),
    "an array": ("m.json", '[{"image": "img/a.png"}, {"image": "img/b.png", "id": 4}]', ["img/a.png", "4"]),
    "an array called .jsonl": ("m.jsonl", '[\n {\n  "image": "img/a.png"\n }\n]', ["img/a.png"]),
    "an array of paths": ("m.json", '["img/a.png", "img/b.png"]', ["img/a.png", "img/b.png"]),
    "one object": ("m.json", '{\n "image": "img/a.png",\n "id": 3\n}', ["3"]),
    "objects under a name": ("m.json", '{"data": [{"image": "img/a.png"}]}', ["img/a.png"]),
    "the hub's viewer": ("m.json", '{"rows": [{"row_idx": 0, "row": {"image": "img/a.png"}}]}', ["img/a.png"]),
    "LLaVA": ("m.json", '[{"id": "x", "image": "img/a.png", "conversations": [{"from": "human"}]}]', ["x"]),
    "messages": ("m.jsonl", '{"images": ["img/a.png"], "messages": []}', ["img/a.png"]),
    "paths with labels": ("m.txt", "# cats\nimg/a.png 0\nimg/b.png\tone cat\n", ["img/a.png", "img/b.png"]),
    "pandas' columns": ("m.json", '{"image": {"0": "img/a.png", "1": "img/b.png"}}', ["img/a.png", "img/b.png"]),
    "rows by id": ("m.json", '{"x": {"image": "img/a.png"}, "y": {"image": "img/b.png"}}', ["x", "y"]),
    "NaN": ("m.jsonl", '{"image": "img/a.png", "score": NaN}\n', ["img/a.png"]),
    "sep= and a tab": ("m.csv", "sep=\t\nimage\tt\nimg/a.png\t1\n", ["img/a.png"]),
    "comments above": ("m.csv", "# made by me\n\n#\nid,image\n1,img/a.png\n", ["1"]),
    "a hash before the header": ("m.csv", "#image;t\nimg/a.png;1\n", ["img/a.png"]),
    "a URL's escapes": ("m.csv", "id,image\n1,img/e%2Cf.png\n", ["1"]),
    "paths in quotes": ("m.txt", "'img/a.png'\n\"img/b.png\"\n", ["img/a.png", "img/b.png"]),
    "a long cell": ("m.csv", f"id,image,note\n1,img/a.png,{'x' * 200_000}\n", ["1"]),
    "a path as Windows copies it": ("m.csv", "id,image\n1,\u202aimg/a.png\n", ["1"]),
    "an object in a cell": ("m.csv", "id,image\n1,\"{'bytes': None, 'path': 'img/a.png'}\"\n", ["1"]),
    "UTF-32": ("m.csv", "id,image\n1,img/größe.png\n".encode("utf-32"), ["1"]),
    "Latin-1 with a letter alone": (
        "m.txt",
        "img/a.png à\nimg/größe.png\n".encode("latin-1"),
        ["img/a.png", "img/größe.png"],
    ),
    "Windows' quotes beside letters": ("m.csv", "id,image,t\n1,img/a.png,“déjà” – 5 €\n".encode("cp1252"), ["1"]),
    "Chinese of old": ("m.csv", "id,image,标题\n1,img/a.png,一只猫在桌子上睡觉\n".encode("gb18030"), ["1"]),
    "sep= in quotes": ("m.csv", '"sep=;"\r\nimage;t\r\nimg/a.png;1,2\r\n', ["img/a.png"]),
    "UTF-16 with Chinese cells": (
        "m.csv",
        "image,标签\nimg/a.png,一二三四五六七八九十\n".encode("utf-16-le"),
        ["img/a.png"],
    ),
    "a path that is a comment": ("m.txt", "img/a.png\n#img/b.png\n", ["img/a.png"]),
    "labels behind commas": ("m.txt", "img/a.png,3\nimg/e,f.png;4,5\n", ["img/a.png", "img/e,f.png"]),
    "COCO in an object": ("m.json", '{"data": {"images": [{"id": 7, "file_name": "img/a.png"}]}}', ["7"]),
    "paths with a split": (
        "m.json",
        '{"images": ["img/a.png", "img/b.png"], "split": "x"}',
        ["img/a.png", "img/b.png"],
    ),
    "an id of many digits": (
        "m.jsonl",
        '{"image": "img/a.png", "id": 12345678901234567890123}',
        ["12345678901234567890123"],
    ),
    "columns of lists": (
        "m.json",
        '{"image": ["img/a.png", "img/b.png"], "label": [1, 2]}',
        ["img/a.png", "img/b.png"],
    ),
    "cells below columns": (
        "m.json",
        '{"columns": ["id", "image"], "data": [[1, "img/a.png"], [2, "img/b.png"]]}',
        ["1", "2"],
    ),
    "splits": (
        "m.json",
        '{"train": [{"image": "img/a.png"}], "test": [{"image": "img/b.png"}]}',
        ["img/a.png", "img/b.png"],
    ),
    "rows deep within": ("m.json", '{"version": 1, "set": {"pictures": [{"image": "img/a.png"}]}}', ["img/a.png"]),
    "what is said of each path": (
        "m.json",
        '{"img/a.png": "a cat", "img/b.png": {"label": 2}}',
        ["img/a.png", "img/b.png"],
    ),
    "Label Studio": ("m.json", '[{"id": 4, "data": {"image": "img/a.png"}, "annotations": []}]', ["4"]),
    "a conversation without a picture": (
        "m.json",
        '[{"conversations": [{"from": "human", "value": "hi"}]}, {"image": "img/a.png", "conversations": []}]',
        ["img/a.png"],
    ),
    "a cell of parts": ("m.jsonl", '{"image": {"path": "img/a.png", "bytes": null}}', ["img/a.png"]),
}


@pytest.mark.parametrize("kind", READ)
def test_a_list_is_read_however_it_was_saved(here: Path, kind: str) -> None:
    name, data, ids = READ[kind]
    found = find_images([written(here, name, data)])
    assert [source.id for source in found] == ids
    sizes(found)
    assert all("" not in source.metadata for source in found)


@pytest.mark.parametrize("column", ["image", "images", "file_name", "filename", "image_path", "path", "Image Path"])
def test_the_column_of_images_has_many_names(here: Path, column: str) -> None:
    assert [each.id for each in find_images([written(here, "m.csv", f"text,{column}\nx,img/a.png\n")])] == ["img/a.png"]
    line = json.dumps({column: "img/a.png", "text": "x"})
    assert find_images([written(here, "m.jsonl", line)])[0].metadata == {"text": "x"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collected lists are not beside this checkout")
def test_the_collected_lists_are_read_or_told() -> None:
    told = {"missing1.csv", "nul.jsonl", "ragged.csv", "winabs.csv"}
    for file in sorted(each for each in SHARED.iterdir() if each.is_file()):
        if file.name in told:
            assert complaint(file).startswith(f"{file}:{3 if file.name == 'missing1.csv' else 2}: ")
        else:
            sizes(find_images([file]))


# --- images in the list -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.jsonl", "".join(json.dumps({"image": each}) + "\n" for each in BASE64[:2])),
        ("m.jsonl", "".join(json.dumps({"image": f"data:image/png;base64,{each}"}) + "\n" for each in BASE64[:2])),
        ("m.jsonl", "".join(json.dumps({"image": each}).replace("/", "\\/") + "\n" for each in BASE64[:2])),
        ("m.jsonl", "".join(json.dumps({"image": e}).replace("=", "\\u003d") + "\n" for e in BASE64[:2])),
        ("m.json", json.dumps([{"image": each} for each in BASE64[:2]])),
        ("m.csv", "image,note\n" + "".join(f"{each},x\n" for each in BASE64[:2])),
        ("m.csv", "image\n" + "".join(f'"{each[:76]}\n{each[76:]}"\n' for each in BASE64[:2])),
        ("m.jsonl", b"\xef\xbb\xbf" + "".join(json.dumps({"image": each}) + "\r\n" for each in BASE64[:2]).encode()),
    ],
)
def test_base64_in_a_list_is_an_image(tmp_path: Path, name: str, data: str | bytes) -> None:
    found = find_images([written(tmp_path, name, data)])
    assert [source.id for source in found] == ["m#1", "m#2"]
    assert sizes(found) == [40, 41]
    assert BASE64[0] not in repr(found)


def test_an_image_in_a_cell_of_parts_is_called_as_the_cell_says(tmp_path: Path) -> None:
    cell = {"path": "x.png", "bytes": BASE64[1]}
    found = find_images([written(tmp_path, "m.jsonl", json.dumps({"image": cell}))])
    assert ([source.id for source in found], sizes(found)) == (["x.png"], [41])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_taken_as_it_is_written_before_other_forms_of_its_letters(tmp_path: Path, form: str) -> None:
    for number, each in enumerate(("NFC", "NFD")):
        written(tmp_path, unicodedata.normalize(each, "café.png"), PICTURES[number])
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system takes both forms for one name")
    named = unicodedata.normalize(form, "café.png")
    found = find_images([written(tmp_path, "m.csv", f"image\n{named}\n")])
    assert ([source.id for source in found], sizes(found)) == ([named], [40 + (form == "NFD")])


def test_vlmevalkits_rows_share_an_image_by_its_rows_index(tmp_path: Path) -> None:
    head = "index\timage\tquestion\tA\tanswer\n"
    file = written(tmp_path, "m.tsv", f"{head}0\t{BASE64[0]}\tq0\tx\tA\n1\t{BASE64[1]}\tq1\tx\tA\n2\t0\tq2\tx\tA\n")
    first, second = find_images([file])
    assert (first.id, second.id) == ("0", "1")
    assert first.metadata["question"] == "q0"
    assert [row["question"] for row in further(first)] == ["q2"]
    assert sizes([first, second]) == [40, 41]


def test_an_index_has_any_case_and_may_be_a_float(tmp_path: Path) -> None:
    file = written(tmp_path, "m.tsv", f"Index\timage\tquestion\n1.0\t{BASE64[0]}\tq0\n2.0\t1.0\tq1\n")
    (image,) = find_images([file])
    assert image.id == "1"
    assert [row["question"] for row in further(image)] == ["q1"]


def test_a_data_url_of_any_type_may_hold_a_picture(tmp_path: Path) -> None:
    for kind in ("", "application/octet-stream", "image/png;charset=utf-8"):
        (image,) = find_images([written(tmp_path, "m.jsonl", json.dumps({"image": f"data:{kind};base64,{BASE64[2]}"}))])
        assert sizes([image]) == [42]


def test_paths_may_be_urls_of_files_or_from_the_home_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    url = f"file://{here}/img/a.png"
    text = f"{url}\nfile://localhost{here}/img/e%2Cf.png\n~/img/b.png\n"
    assert sizes(find_images([written(here / "lists", "m.txt", text)])) == [40, 42, 41]
    assert sizes(find_images([url])) == [40]
    assert "is a URL" in complaint(written(here, "m.csv", "image\nfile://server/img/a.png\n"))


def test_an_image_in_chat_messages_is_found(tmp_path: Path) -> None:
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BASE64[2]}"}}
    row = {"messages": [{"role": "user", "content": [url, {"type": "text", "text": "what?"}]}]}
    found = find_images([written(tmp_path, "m.jsonl", json.dumps(row))])
    assert sizes(found) == [42]


def test_parquet_holds_bytes_paths_and_lists(here: Path) -> None:
    cells = [{"bytes": PICTURES[0], "path": "x/1.png"}, {"bytes": PICTURES[1], "path": None}]
    file = table(here / "m.parquet", *({"image": cell, "n": n} for n, cell in enumerate(cells)), row_group_size=1)
    found = find_images([file])
    assert [(source.id, source.metadata) for source in found] == [("x/1.png", {"n": 0}), ("m#2", {"n": 1})]
    assert sizes(found) == [40, 41]
    raw = table(here / "raw.parquet", {"image": PICTURES[0]}, {"image": PICTURES[1]})
    listed = table(here / "list.parquet", {"images": [cells[0]]}, {"images": [cells[1]]})
    text = table(here / "text.parquet", {"image": BASE64[0]}, {"image": f"data:image/png;base64,{BASE64[1]}"})
    paths = table(here / "paths.parquet", *({"image": {"bytes": None, "path": f"img/{name}.png"}} for name in "ab"))
    for each in (raw, listed, text, paths):
        assert sizes(find_images([each])) == [40, 41], each


def test_a_large_row_group_is_read_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unsaf_async.inputs.parts.MAX_GROUP_BYTES", 10)
    assert sizes(find_images([table(tmp_path / "m.parquet", *({"image": each} for each in PICTURES))])) == [
        40,
        41,
        42,
        43,
    ]


def test_a_data_set_that_was_saved_to_disk_is_read_with_its_splits(tmp_path: Path) -> None:
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("text", pa.string())])
    for split, number in (("train", 0), ("test", 1)):
        folder = tmp_path / "saved" / split
        rows = [{"image": {"bytes": PICTURES[number], "path": f"{number}.png"}, "text": split}]
        written(folder, "dataset_info.json", "{}")
        written(folder, "state.json", json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
        with (
            pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, schema) as writer,
        ):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    written(tmp_path / "saved", "dataset_dict.json", '{"splits": ["train", "test", "../escape"]}')
    found = find_images([tmp_path / "saved"])
    assert [(source.id, source.metadata["text"]) for source in found] == [("0.png", "train"), ("1.png", "test")]
    assert sizes(found) == [40, 41]
    assert sizes(find_images([tmp_path / "saved" / "test"])) == [41]


def test_webdataset_gives_each_image_its_samples_fields_and_unpacks_nothing(tmp_path: Path) -> None:
    members = (
        ("0001.png", PICTURES[0]),
        ("0001.json", b'{"caption": "one"}'),
        ("d/2.txt", b"two\n"),
        ("d/2.left.png", PICTURES[1]),
        ("d/2.right.png", PICTURES[2]),
        ("../../etc/x.png", PICTURES[3]),
    )
    found = find_images([archive(tmp_path / "s.tar", *members)])
    assert [(source.id, dict(source.metadata)) for source in found] == [
        ("0001.png", {"caption": "one"}),
        ("d/2.left.png", {"txt": "two"}),
        ("d/2.right.png", {"txt": "two"}),
        ("../../etc/x.png", {}),
    ]
    assert sizes(found) == [40, 41, 42, 43]
    assert [each.name for each in tmp_path.iterdir()] == ["s.tar"]


def test_links_in_an_archive_are_the_image_before_them_or_told(tmp_path: Path) -> None:
    def linked(kind: bytes, target: str) -> Path:
        with tarfile.open(archive(tmp_path / "s.tar", ("d/1.png", PICTURES[1])), "a") as tar:
            member = tarfile.TarInfo("d/2.png")
            member.type, member.linkname = kind, target
            tar.addfile(member)
        return tmp_path / "s.tar"

    for kind, target in ((tarfile.LNKTYPE, "d/1.png"), (tarfile.SYMTYPE, "1.png")):
        (found,) = find_images([linked(kind, target)])
        assert (found.id, [row["id"] for row in further(found)], sizes([found])) == ("d/1.png", ["d/2.png"], [41])
    assert "'d/2.png' is a link to '/etc/passwd', no image before it" in complaint(
        linked(tarfile.SYMTYPE, "/etc/passwd")
    )


def test_what_a_mac_adds_to_an_archive_is_no_image_and_a_broken_json_file_is_told(tmp_path: Path) -> None:
    odd = (("._1.png", b"\0\5\x16\7"), ("1.png", PICTURES[0]), ("__MACOSX/._1.png", b"\0\5"))
    assert [source.id for source in find_images([archive(tmp_path / "s.tar", *odd)])] == ["1.png"]
    broken = archive(tmp_path / "b.tar", ("1.json", b"{bad"), ("1.png", PICTURES[0]))
    assert f"{broken}: '1.json': no valid JSON" in complaint(broken)


def test_a_table_is_told_by_its_beginning_its_feature_of_images_and_columns_that_occur_twice(here: Path) -> None:
    assert sizes(find_images([table(here / "p.csv", {"image": PICTURES[2]})])) == [42]
    features = {"info": {"features": {"picture": {"_type": "Image"}, "label": {"_type": "Value"}}}}
    known = pa.table({"picture": [{"bytes": PICTURES[3], "path": "x.png"}], "label": [1]})
    pq.write_table(known.replace_schema_metadata({"huggingface": json.dumps(features)}), here / "m.parquet")
    (found,) = find_images([here / "m.parquet"])
    assert (found.id, found.metadata, sizes([found])) == ("x.png", {"label": 1}, [43])
    twice = pa.Table.from_arrays([pa.array(["img/a.png"]), pa.array(["img/b.png"])], names=["image", "image"])
    pq.write_table(twice, here / "twice.parquet")
    assert "twice.parquet: the column 'image' occurs twice" in complaint(here / "twice.parquet")


def test_a_tables_column_of_images_is_told_by_its_type(tmp_path: Path) -> None:
    cell = {"bytes": PICTURES[1], "path": "x.png"}
    for row in ({"jpg": PICTURES[1]}, {"image_bytes": PICTURES[1]}, {"photo": cell, "thumbnail": b"none"}):
        assert sizes(find_images([table(tmp_path / "m.parquet", row)])) == [41]
    (image,) = find_images([table(tmp_path / "m.parquet", {"image": "images/1.jpg", "decoded_image": cell})])
    assert (sizes([image]), image.metadata) == ([41], {"image_path": "images/1.jpg"})
    two = table(tmp_path / "m.parquet", {"image_1": cell, "image_2": cell})
    assert "no column 'image' among: image_1, image_2" in complaint(two)
    assert "among: pixels" in complaint(table(tmp_path / "m.parquet", {"pixels": bytes(100)}))
    written(tmp_path, "a.png", PICTURES[2])
    assert sizes(find_images([table(tmp_path / "m.parquet", {"path": "a.png", "mask": cell})])) == [42]


def test_pictures_of_one_name_in_two_archives_are_two(tmp_path: Path) -> None:
    for number in range(2):
        archive(tmp_path / f"{number}.tar", ("0.png", PICTURES[number]))
    found = find_images([tmp_path])
    assert ([each.id for each in found], sizes(found)) == (["0.png", "0.png#2"], [40, 41])


def test_a_folder_of_packed_files_says_to_unpack_them(tmp_path: Path) -> None:
    written(tmp_path, "0.tar.gz", b"\x1f\x8b")
    assert "it holds 0.tar.gz: unpack first" in complaint(tmp_path)


def test_shards_are_found_by_a_glob_and_in_a_folder_without_pictures(tmp_path: Path) -> None:
    for number in range(2):
        archive(tmp_path / f"s-{number}.tar", (f"{number}.png", PICTURES[number]))
    assert sizes(find_images([f"{tmp_path}/*.tar"])) == sizes(find_images([tmp_path])) == [40, 41]


# --- folders with a list ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_a_folder_with_metadata_keeps_its_ids_and_gets_what_the_list_says(here: Path, name: str) -> None:
    rows = [{"file_name": "a.png", "text": "one"}, {"file_name": "b.png", "text": "two"}]
    if name == "metadata.csv":
        written(here / "img", name, "file_name,text\na.png,one\nb.png,two\n")
    elif name == "metadata.jsonl":
        written(here / "img", name, "".join(json.dumps(row) + "\n" for row in rows))
    else:
        table(here / "img" / name, *rows)
    found = {source.id: source.metadata for source in find_images([here / "img"])}
    assert found == {"a.png": {"text": "one"}, "b.png": {"text": "two"}, "e,f.png": {}, "größe.png": {}}


def test_a_folders_metadata_names_files_in_it_alone_and_none_that_is_missing(here: Path) -> None:
    metadata = written(here / "img" / "in", "metadata.csv", "file_name\n../a.png\n")
    written(here / "img" / "in", "c.png", PICTURES[0])
    assert "outside the folder" in complaint(here / "img" / "in")
    metadata.write_text("file_name\nc.png\ngone.png\n")
    assert complaint(here / "img").startswith(f"{metadata}:3: image gone.png does not exist")


def test_a_folder_of_links_as_in_a_cache_keeps_its_metadata(here: Path) -> None:
    (here / "cache").mkdir()
    (here / "cache" / "1.png").symlink_to(here / "img" / "a.png")
    written(here, "cache/metadata.csv", "file_name,text\n1.png,x\n")
    assert [(each.id, each.metadata) for each in find_images([here / "cache"])] == [("1.png", {"text": "x"})]


def test_a_folders_list_that_is_broken_is_told_and_one_of_pairs_of_files_changes_nothing(here: Path) -> None:
    written(here / "img", "metadata.csv", 'file_name,text\na.png,"x\n')
    assert "metadata.csv:2: no valid CSV" in complaint(here / "img")
    written(here / "img", "metadata.csv", "input_file_name,output_file_name\na.png,b.png\n")
    assert len(find_images([here / "img"])) == 4


def test_metadata_that_is_no_list_of_images_changes_nothing(here: Path) -> None:
    written(here / "img", "metadata.csv", "camera,lens\nx,y\n")
    assert len(find_images([here / "img"])) == 4


def test_coco_and_llava_have_their_images_beside_the_list_or_above(here: Path) -> None:
    written(here, "coco/val2017/1.png", PICTURES[0])
    coco = {"info": {}, "images": [{"id": 139, "file_name": "1.png"}], "annotations": [{"id": 5, "image_id": 139}]}
    file = written(here, "coco/annotations/instances_val2017.json", json.dumps(coco))
    assert [source.id for source in find_images([file])] == ["139"]
    written(here, "llava/images/2.png", PICTURES[1])
    file = written(here, "llava/chat.json", '[{"id": "x", "image": "2.png", "conversations": []}]')
    assert sizes(find_images([file])) == [41]


# --- rows about one image ---------------------------------------------------------------------------------------------


def test_rows_about_one_image_are_one_picture_with_all_their_ids(here: Path) -> None:
    rows = "image,id,note\nimg/a.png,x,1\n./img/a.png,y,2\nimg/b.png,z,3\nimg\\a.png,,4\n"
    first, second = find_images([written(here, "m.csv", rows)])
    assert (first.id, second.id) == ("x", "z")
    assert first.metadata == {"note": "1", FURTHER: [{"id": "y", "note": "2"}, {"note": "4"}]}
    assert second.metadata == {"note": "3"}


@pytest.mark.parametrize("arguments", [("estimate",), ("run", "--dry-run")])
def test_rows_about_one_image_are_told_once(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    rows = "image,id\nimg/b.png,v\nimg/a.png,x\nimg/a.png,y\nimg/b.png,z\nimg/a.png,w\n"
    file = written(here, "m.csv", rows)
    ended = command(capsys, *arguments, "--provider", "scripted", "--images", str(file))
    assert ended.code == 0
    said = (
        "3 rows are about 2 pictures that an earlier row names (v, z are one picture); each picture is examined once, "
        "the rows' ids are kept"
    )
    assert ended.err.count(said) == 1
    assert merged_rows(find_images([here / "img"])) == ""


def test_the_same_bytes_in_two_rows_are_one_picture(tmp_path: Path) -> None:
    file = table(tmp_path / "m.parquet", *({"id": f"q{n}", "image": PICTURES[n % 2]} for n in range(4)))
    assert [(each.id, [row["id"] for row in further(each)]) for each in find_images([file])] == [
        ("q0", ["q2"]),
        ("q1", ["q3"]),
    ]


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_rows_without_a_picture_among_conversations_are_told(here: Path) -> None:
    rows = [{"image": "img/a.png"}, *({"messages": [{"role": "user", "content": "hi"}]} for _ in range(3))]
    notes: list[str] = []
    find_images([written(here, "m.json", json.dumps(rows))], notes)
    assert notes == [
        f"{here}/m.json: entry 2: 3 rows that are conversations without a picture, this one the first, passed over"
    ]
    mentioned = [*rows, {"conversations": [{"from": "human", "value": "<image> what?"}]}]
    assert "entry 5: no column 'image'" in complaint(written(here, "m.json", json.dumps(mentioned)))
    unknown = {"picture": "img/a.png", "conversations": [{"from": "human", "value": "what?"}]}
    assert "no column 'image' among: picture" in complaint(written(here, "m.json", json.dumps([unknown])))


@pytest.mark.parametrize("name", ["img/7.png", "img/000000000007.jpg", "img/val2014/COCO_val2014_000000000007.jpg"])
def test_questions_that_name_their_image_by_a_number_find_its_file(here: Path, name: str) -> None:
    written(here, name, PICTURES[3])
    questions = [{"image_id": 7, "question": "What?", "question_id": 1}, {"image_id": 7, "question": "Who?"}]
    file = written(here, "img/q.json", json.dumps({"data_subtype": "val2014", "questions": questions}))
    (image,) = find_images([file])
    assert sizes([image]) == [43]
    assert [row["question"] for row in further(image)] == ["Who?"]


def test_missing_images_are_told_at_once_the_first_ten_by_name(here: Path) -> None:
    file = written(here, "m.csv", "image\nimg/a.png\n" + "".join(f"img/n{n}.png\n" for n in range(25)))
    said = complaint(file)
    assert said.startswith(
        f"{file}:3: image img/n0.png does not exist; 25 are missing, the others: img/n1.png (line 4)"
    )
    assert "img/n9.png (line 12) and 15 more" in said
    assert "n10.png" not in said


def test_a_missing_name_that_is_there_in_other_letters_is_told(here: Path) -> None:
    assert "m.csv:2: image img/A.PNG does not exist; a.png does; paths" in complaint(
        written(here, "m.csv", "image\nimg/A.PNG\n")
    )


def test_ragged_rows_are_told_at_once_with_their_lines(here: Path) -> None:
    file = written(here, "m.csv", "image,note\nimg/a.png,x\nimg/b.png\nimg/a.png,x,y\nimg/b.png\n")
    assert complaint(file) == (f"{file}:3: 1 cell for 2 columns (and in lines 4, 5); quote cells that hold commas")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("m.csv", "url,text\nhttp://x/a.png,1\n", "m.csv:1: the column 'url' holds addresses"),
        ("m.csv", "image\nhttps://x/a.png\n", "m.csv:2: 'https://x/a.png' is a URL; download"),
        ("m.csv", "image,text\nC:\\data\\img\\a.png,x\n", "on a Windows machine: write img/a.png, which is there"),
        ("m.csv", "image,text\nD:\\photos\\z.png,x\n", "on a Windows machine: write paths as they are"),
        ("m.csv", "image,text\n,x\n", "m.csv:2: 'image' is ''"),
        ("m.csv", "img/a.png,cat\nimg/b.png,dog\n", "m.csv:1: begins with a row, 'img/a.png,cat'"),
        ("m.csv", "image,id\nimg/a.png,1\nimg/b.png,1\n", "m.csv:3: id '1' was given before"),
        ("m.csv", "path\nm.csv\n", "image m.csv is no picture"),
        ("m.jsonl", '{"image": "img/a.png"}\n\0\0\n', "m.jsonl:2: no valid JSON (it holds NUL bytes)"),
        ("m.jsonl", '{"images": ["img/a.png", "img/b.png"]}', "m.jsonl:1: 2 images in one row"),
        ("m.jsonl", '{"image": "img/a.png", "id": 1e22}', "whole number"),
        ("m.jsonl", '{"image": "' + "A" * 5000 + '"}', "m.jsonl:1: 'image' is 'AAAA"),
        ("m.jsonl", '{"image": "' + BASE64[0][:90] + "!" + BASE64[0][90:] + '"}', "base64 that is damaged"),
        ("m.jsonl", '{"image": "data:image/svg+xml;utf8,<svg/>"}', "holds no picture in base64"),
        ("m.jsonl", '{"image": "data:image/png;base64,AAAAAAAA"}', "holds no picture"),
        (
            "m.jsonl",
            '{"image": "img/a.png", "x": ' + "[" * 900 + "]" * 900 + "}",
            "m.jsonl:1: its values are nested too",
        ),
        ("m.jsonl", '{"image": "img/a.png", "x": NaN, "y": "\\ud800"}', "m.jsonl:1: no valid JSON"),
        ("m.json", '{"images": [], "annotations": []}', "names no image"),
        ("m.json", '[{"messages": [{"role": "user", "content": "hi"}]}]', "names no image"),
        ("m.json", '[{"image_id": 7, "caption": "x"}]', "no column 'image' among: image_id, caption"),
        ("m.jsonl", '{"image": "img/a.png", "x": {"y": 1, "y": 2}}', "the field 'y' occurs twice"),
        ("m.json", '{"image": "img/a.png",', "m.json:1: no valid JSON"),
        ("m.jsonl", '{"image": "img/a.png", "image": "img/b.png"}', "m.jsonl:1: the field 'image' occurs twice"),
        ("m.csv", "image\n<PIL.PngImagePlugin.PngImageFile image mode=RGB>\n", "how Python prints a picture"),
        ("m.csv", "image\n\"{'bytes': b'\\x89PNG', 'path': None}\"\n", "bytes as Python prints them"),
        ("m.csv", "1,img/a.png\n2,img/b.png\n", "m.csv:1: begins with a row, '1,img/a.png'"),
        ("m.tsv", "index\timage\n1\t2\n", "m.tsv:2: image 2 is no file, and no 'index' of a row above it"),
        ("m.tsv", f"index\timage\n1\t['{BASE64[0]}', '{BASE64[1]}']\n", "m.tsv:2: 2 images in one row"),
        ("m.csv", "image\n" + b64encode(b"plain text" * 40).decode(), "base64 of no picture"),
        ("m.parquet", b"PAR1 and so on", "cannot be read as a table"),
        ("m.tar", b"x" * 700, "cannot be read as a tar archive"),
        ("m.tar", b"\0" * 10240, "names no image"),
    ],
)
def test_a_wrong_list_is_told_in_plain_words(here: Path, name: str, data: str | bytes, said: str) -> None:
    message = complaint(written(here, name, data))
    assert said in message
    assert len(message.replace(str(here), "")) < 300


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("a.pdf", b"%PDF-1.4", "a PDF"),
        ("a.zip", b"PK\x03\x04" + bytes(90), "a packed archive"),
        ("a.xlsx", b"PK\x03\x04" + bytes(40) + b"xl/workbook.xml", "an Excel workbook"),
        ("a.csv.gz", b"\x1f\x8b\x08" + bytes(9), "a compressed file"),
        ("a.tar.gz", b"\x1f\x8b\x08" + bytes(9), "a compressed file"),
        ("a.html", "<!DOCTYPE html><html>", "a web page"),
        ("a.md", "# Title\n\nSome words.\n", "a text that begins with '# Title'"),
        ("a.bin", bytes(range(256)), "a file of another kind"),
        ("a.txt", "", "an empty file"),
    ],
)
def test_what_is_no_list_and_no_picture_is_said_to_be_that(
    tmp_path: Path, name: str, data: str | bytes, what: str
) -> None:
    file = written(tmp_path, name, data)
    words = f"is no picture and no list of pictures, but {what}"
    assert words in complaint(file)
    with pytest.raises(UserError, match="no picture and no list") as caught:
        read_labelled(file)
    assert words in str(caught.value)


def test_run_estimate_and_labelled_refuse_with_the_same_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "a.pdf", b"%PDF-1.4")
    words = "is no picture and no list of pictures, but a PDF"
    for arguments in (("run", "--images"), ("estimate", "--images"), ("labelled", "--data")):
        ended = command(capsys, arguments[0], "--provider", "scripted", arguments[1], str(file))
        assert (ended.code, ended.out) == (2, "")
        assert words in ended.complaint


def test_a_table_that_unpacks_to_far_more_than_its_size_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unsaf_async.inputs.lists.tables._ALWAYS_BYTES", 0)
    file = table(tmp_path / "m.parquet", {"image": bytes(2**22)}, compression="zstd", use_dictionary=False)
    assert file.stat().st_size < 2**14
    assert "unpacks to 4 MiB" in complaint(file)


def test_a_cell_that_holds_no_image_is_cut_where_it_is_told(here: Path) -> None:
    file = written(here, "m.csv", "image\n" + "x" * 3000 + "\n")
    assert "x" * 81 not in complaint(file)
    assert "y" * 81 not in complaint(written(here, "m.csv", "y" * 3000 + ",z\n1,2\n"))


# --- from the list to the run -----------------------------------------------------------------------------------------


def parts(tmp_path: Path) -> list[Path]:
    return [
        written(tmp_path, "m.jsonl", json.dumps({"image": BASE64[0]}) + "\n"),
        table(tmp_path / "m.parquet", {"image": PICTURES[1]}),
        archive(tmp_path / "m.tar", ("2.png", PICTURES[2])),
    ]


def test_a_part_of_a_file_survives_in_a_runs_list_of_images(tmp_path: Path) -> None:
    found = find_images(parts(tmp_path))
    again = [_image_of(json.loads(line)) for line in _image_lines(found).splitlines()]
    assert again == found
    assert sizes(again) == [40, 41, 42]
    plain = ImageSource("a.png", tmp_path / "a.png")
    assert b'"part"' not in _image_lines([plain])


def test_a_runs_list_of_images_is_read_back_with_its_parts_and_metadata(tmp_path: Path) -> None:
    rows = written(tmp_path, "n.csv", "image,id,note\nplain.png,p,1\nplain.png,q,2\n")
    written(tmp_path, "plain.png", PICTURES[3])
    found = find_images([*parts(tmp_path), rows])
    file = written(tmp_path, "run/images.jsonl", _image_lines(found))
    assert find_images([file]) == found
    assert sizes(find_images([file])) == [40, 41, 42, 43]
    (tmp_path / "m.tar").write_bytes(b"another")
    assert f"image {tmp_path / 'm.tar'} lies in a list that has changed since that run: give that" in complaint(file)
    lines = [{**json.loads(line), "part": {"kind": "odd"}} for line in file.read_text("utf-8").splitlines()]
    assert "'part' is {'kind': 'odd'}; give" in complaint(written(tmp_path, "odd.jsonl", json.dumps(lines[0])))


def test_a_list_and_its_runs_list_of_images_count_once(tmp_path: Path) -> None:
    file = table(tmp_path / "m.parquet", *({"image": each} for each in PICTURES[:2]))
    lines = _image_lines(find_images([file]))
    run = written(tmp_path / "run", "images.jsonl", lines)
    for arguments in ([file, run], [run, file]):
        assert sizes(find_images(arguments)) == [40, 41]


def test_a_table_that_names_a_list_in_place_of_its_picture_says_what_to_give(tmp_path: Path) -> None:
    held = parts(tmp_path)[1].relative_to(tmp_path)  # an absolute path may be longer than what is echoed
    file = written(tmp_path, "questions.csv", f"image_id,image_path,question\nm#1,{held},a?\nm#1,{held},b?\n")
    said = (
        f"image {held} is no picture but a list, and which picture in it is meant is not said: give that list instead "
        "of this one;"
    )
    assert f"{file}:2: {said} paths are" in complaint(file)


def test_an_image_whose_file_has_changed_since_is_told(tmp_path: Path) -> None:
    files = parts(tmp_path)
    found = find_images(files)
    for file in files:
        file.write_bytes(b"\n" + file.read_bytes())
    for source in found:
        with pytest.raises(ImageError, match="has changed since the list was read"):
            encode(source.place, POLICY)
        source.path.unlink()
        with pytest.raises(ImageError, match="missing"):
            sent_size(source.place, POLICY)


def test_a_part_of_a_file_outside_a_received_folder_is_not_sent(tmp_path: Path) -> None:
    found = find_images(parts(tmp_path))
    (tmp_path / "received").mkdir()
    (tmp_path / "received" / "m.tar").symlink_to(tmp_path / "m.tar")
    linked = [ImageSource(each.id, tmp_path / "received" / "m.tar", part=each.part) for each in found[2:]]
    for images in (found, linked):
        with pytest.raises(UserError, match="outside the folder"):
            check_images(tmp_path / "received", images, trust=False)
    check_images(tmp_path, found, trust=False)


def test_a_run_on_images_in_a_list_resumes_and_shows_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = [word for file in parts(tmp_path) for word in ("--images", file.name)]
    quietly = ("--no-report", "--yes")
    options = ("--provider", "scripted", "--questions", "1", "--no-cache", "--out", "one")
    begun = command(capsys, "run", *options, *named, *quietly)
    assert begun.code == 0, begun.err
    (tmp_path / "m.tar").write_bytes(b"another")
    more = command(capsys, "resume", "one", "--samples", "1", *quietly)
    assert "1 examined image was left as it is" in more.err
    assert "has changed since the list was read" in more.err
    records = [
        json.loads(line)["image"] for line in (tmp_path / "one" / "journal.jsonl").read_text("utf-8").splitlines()
    ]
    shown = {each["id"]: thumbnail(ImageRecord(**each), 48) for each in records}
    assert [bool(shown[name].url) for name in ("m#1", "2.png")] == [True, False]
    assert "has changed" in shown["2.png"].why


# --- labelled ---------------------------------------------------------------------------------------------------------

ROWS = [
    {"image": "img/a.png", "question": "What?", "answerable": True, "answers": ["soup"]},
    {"image": "img/a.png", "question": "Who?", "answerable": False, "answers": []},
]


@pytest.mark.parametrize("kind", ["csv", "semicolon", "json", "parquet", "base64", "utf-16"])
def test_a_labelled_set_is_read_from_every_kind_of_list(here: Path, kind: str) -> None:
    head, cells = "image,question,answerable,answers", ['img/a.png,What?,true,"[""soup""]"', "img/a.png,Who?,0,"]
    files = {
        "csv": lambda: written(here, "m.csv", "\n".join([head, *cells])),
        "semicolon": lambda: written(here, "m.csv", f"{head}\n{cells[0][:-12]}soup\n{cells[1]}".replace(",", ";")),
        "json": lambda: written(here, "m.json", json.dumps(ROWS)),
        "parquet": lambda: table(here / "m.parquet", *({**row, "image": PICTURES[0]} for row in ROWS)),
        "base64": lambda: written(
            here, "m.jsonl", "".join(json.dumps({**row, "image": BASE64[0]}) + "\n" for row in ROWS)
        ),
        "utf-16": lambda: written(here, "m.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS).encode("utf-16")),
    }
    labelled = read_labelled(files[kind]())
    assert labelled.format == "jsonl"
    (image,) = labelled.images
    assert [(each.text, each.intended, each.answers) for each in image.questions] == [
        ("What?", "answerable", ("soup",)),
        ("Who?", "unanswerable", ()),
    ]
    assert (image.part is not None) == (kind in ("parquet", "base64"))
    assert sizes([ImageSource(image.id, image.path, part=image.part)]) == [40]


def test_pictures_of_one_name_in_a_labelled_table_have_ids_of_their_own(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "image": {"bytes": PICTURES[n % 2], "path": "1.png"}} for n in range(4)]
    labelled = read_labelled(table(tmp_path / "m.parquet", *rows))
    assert [(image.id, len(image.questions)) for image in labelled.images] == [("1.png", 2), ("1.png#2", 2)]
