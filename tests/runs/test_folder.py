"""A run's folder: made once, locked while it is open, and read back or refused with a reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from doubles import disk_of, profile

from unsaf_async.cli.spelling import spelled
from unsaf_async.errors import UserError
from unsaf_async.inputs.sources import ImageSource
from unsaf_async.runs.begin import default_folder
from unsaf_async.runs.folder import create, images_sha256, new_manifest, read_manifest, reopen
from unsaf_async.runs.listing import exists

IMAGES = [
    ImageSource("b.jpg", Path("/photos/b.jpg"), {"year": 1999, "place": "Åland"}),
    ImageSource("a\u2028\n.jpg", Path("/photos/a\u2028\n.jpg")),
    ImageSource("half-\ud800.jpg", Path("/photos/half-\ud800.jpg")),
]


def manifest(**fields):
    given = {
        "subject": profile(),
        "judges": (),
        "pack": "unsaf",
        "pack_version": "1",
        "pack_sha256": "0" * 64,
        "questions": 6,
        "seed": 0,
        "max_cost_usd": None,
        "until_ci": None,
        "images": len(IMAGES),
        "images_sha256": images_sha256(IMAGES),
        "cache": "",
    }
    return new_manifest(**given | fields)


def line_of(work) -> str:
    with pytest.raises(UserError) as error:
        work()
    assert len(str(error.value).splitlines()) == 1
    return error.value.spelled(spelled)


def test_a_run_is_read_back_as_it_was_begun(tmp_path):
    begun = manifest()
    with create(tmp_path / "runs" / "one", begun, IMAGES):
        pass
    with reopen(tmp_path / "runs" / "one") as folder:
        assert folder.manifest == begun
        assert list(folder.images) == IMAGES
    assert read_manifest(tmp_path / "runs" / "one") == begun
    assert exists(tmp_path / "runs" / "one")
    assert not list((tmp_path / "runs" / "one").glob("*.part"))


def test_the_list_of_images_has_a_hash_of_ids_paths_metadata_and_order():
    hashes = {
        images_sha256(images)
        for images in (
            IMAGES,
            IMAGES[::-1],
            IMAGES[:-1],
            [ImageSource("c.jpg", IMAGES[0].path, IMAGES[0].metadata), *IMAGES[1:]],
            [ImageSource("b.jpg", Path("/elsewhere/b.jpg"), IMAGES[0].metadata), *IMAGES[1:]],
            [ImageSource("b.jpg", IMAGES[0].path, {}), *IMAGES[1:]],
        )
    }
    assert len(hashes) == 6


def test_two_runs_have_different_ids():
    assert manifest().run_id != manifest().run_id


def test_the_manifest_may_change_and_is_replaced_whole(tmp_path):
    with create(tmp_path / "run", manifest(), IMAGES) as folder:
        folder.keep_manifest(folder.manifest.model_copy(update={"max_cost_usd": 5.0}))
        assert read_manifest(tmp_path / "run").max_cost_usd == 5.0
        before = (tmp_path / "run" / "manifest.json").read_bytes()
        with disk_of(10):
            assert "cannot be written" in line_of(lambda: folder.keep_manifest(manifest()))
        assert (tmp_path / "run" / "manifest.json").read_bytes() == before


def test_a_second_process_is_turned_away_and_may_come_when_the_first_one_is_done(tmp_path):
    folder = create(tmp_path / "run", manifest(), IMAGES)
    script = (
        f"from pathlib import Path; from unsaf_async.runs.folder import reopen; reopen(Path({str(tmp_path / 'run')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "another process is working on this run" in done.stderr
    folder.close()
    reopen(tmp_path / "run").close()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    mine = tmp_path / "data" / "images.jsonl"  # a user's own list, say
    mine.write_text("mine")
    assert "is not empty" in line_of(lambda: create(tmp_path / "data", manifest(), IMAGES))
    assert mine.read_text() == "mine"
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["images.jsonl"]


@pytest.mark.parametrize(
    "left",
    [
        [],
        ["lock"],
        ["lock", "images.jsonl.part"],
        ["lock", "images.jsonl"],
        ["lock", "images.jsonl", "manifest.json.part"],
        ["lock", ".images.jsonl.x1y2z3.part"],
        ["lock", "images.jsonl", ".manifest.json.x1y2z3.part"],
    ],
)
def test_what_a_process_left_that_was_killed_while_it_began_is_no_run_and_no_obstacle(tmp_path, left):
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).write_text("half")
    assert not exists(tmp_path / "run")
    create(tmp_path / "run", manifest(), IMAGES).close()
    reopen(tmp_path / "run").close()


def test_what_killed_processes_left_half_written_goes_when_the_run_is_opened(tmp_path):
    create(tmp_path / "run", manifest(), IMAGES).close()
    before = {file.name for file in (tmp_path / "run").iterdir()}
    for name in (".score.json.abc.part", ".manifest.json.abc.part", "images.jsonl.part"):
        (tmp_path / "run" / name).write_text("half")
    reopen(tmp_path / "run").close()
    assert {file.name for file in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("bits", [0o000, 0o777])
def test_a_runs_folder_is_its_owners_alone_whatever_the_umask(tmp_path, bits):
    before = os.umask(bits)
    try:
        create(tmp_path / "runs" / "one", manifest(), IMAGES).close()
    finally:
        os.umask(before)
    assert (tmp_path / "runs" / "one").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "runs" / "one").iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["lock", "journal.jsonl", "ledger.jsonl", "received.jsonl", "replies"])
def test_a_run_with_a_link_in_it_is_not_opened_and_what_it_leads_to_stays(tmp_path, name):
    create(tmp_path / "run", manifest(), IMAGES).close()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "run" / name).unlink(missing_ok=True)
    (tmp_path / "run" / name).symlink_to(victim)
    assert "link" in line_of(lambda: reopen(tmp_path / "run"))
    if name != "replies":
        (tmp_path / "run" / name).unlink()
        (tmp_path / "run" / name).hardlink_to(victim)
        assert "link" in line_of(lambda: reopen(tmp_path / "run"))
    assert victim.read_text() == "mine"


def test_a_runs_folder_may_be_a_link_itself(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    create(tmp_path / "run", manifest(), IMAGES).close()
    reopen(tmp_path / "run").close()
    assert (tmp_path / "elsewhere" / "manifest.json").is_file()


def test_a_place_where_no_folder_can_be_is_the_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        assert not exists(place)
        assert "--out" in line_of(lambda place=place: create(place, manifest(), IMAGES))
        assert "is no run's folder" in line_of(lambda place=place: reopen(place))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").mkdir()
    assert "cannot be written" in line_of(lambda: create(tmp_path / "run", manifest(), IMAGES))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no manifest"),
        (b"{}", "is no manifest (run_id"),
        (b"[]", "is no manifest"),
        (b"\xff", "is no manifest"),
        (b'{"format": 2}', "is no manifest"),
        (None, "is no run's folder"),
    ],
)
def test_a_broken_manifest_is_said(tmp_path, content, says):
    create(tmp_path / "run", manifest(), IMAGES).close()
    file = tmp_path / "run" / "manifest.json"
    file.unlink() if content is None else file.write_bytes(content)
    assert says in line_of(lambda: reopen(tmp_path / "run"))


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"nonsense\n",
        b"7\n",
        b"[]\n",
        b"null\n",
        b'{"id": "a"}\n',
        b'{"id": "a", "path": 7, "metadata": {}}\n',
        b"\xff\n",
    ],
)
def test_a_broken_list_of_images_is_said_and_the_lock_is_given_back(tmp_path, content):
    create(tmp_path / "run", manifest(), IMAGES).close()
    file = tmp_path / "run" / "images.jsonl"
    before = file.read_bytes()
    file.unlink() if content is None else file.write_bytes(content)
    assert "images.jsonl: " in line_of(lambda: reopen(tmp_path / "run"))
    file.write_bytes(before)
    reopen(tmp_path / "run").close()


def test_no_key_is_in_a_manifest(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "sk-secret-secret")
    create(tmp_path / "run", manifest(subject=profile(api_key_env="MY_API_KEY")), IMAGES).close()
    text = (tmp_path / "run" / "manifest.json").read_text()
    assert "sk-secret" not in text
    assert json.loads(text)["subject"]["api_key_env"] == "MY_API_KEY"


def test_a_folder_is_named_after_the_time_and_the_model_and_is_always_new(tmp_path):
    now = datetime(2026, 11, 23, 14, 5, 9)  # noqa: DTZ001 - the local time, as people read it
    names = []
    for _ in range(3):
        folder = default_folder("openai/gpt-4o: ü..", now)
        folder.mkdir(parents=True)
        names.append(folder.as_posix())
    assert names == [f"runs/20261123-140509-openai-gpt-4o{tail}" for tail in ("", "-2", "-3")]
    assert default_folder("../..", now).parent == Path("runs")
    assert default_folder("ü", now).name == "20261123-140509-model"


@pytest.mark.parametrize("name", ["manifest.json", "journal.jsonl", "score.json", "ledger.jsonl", "images.jsonl"])
@pytest.mark.parametrize("special", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_read_and_is_told(name: str, special: str, tmp_path: Path) -> None:
    create(tmp_path / "run", manifest(), IMAGES).close()
    file = tmp_path / "run" / name
    file.unlink(missing_ok=True)
    if special == "pipe":
        os.mkfifo(file)
    elif special == "device":
        file.symlink_to("/dev/zero")
    else:
        file.mkdir()
    with pytest.raises(UserError, match=f"{name}: is no file; restore it, or start a new run"):
        read_manifest(tmp_path / "run")
