"""Files that a run keeps: private whatever the umask, whole or not there, and never written through a link."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
from commandline import command
from driving import draw_images

from unsaf_async.errors import UserError
from unsaf_async.files import LineFile, drafts, make_private_folder, open_to_append, umask, write_whole

UMASKS = (0o000, 0o022, 0o277, 0o777)


@contextmanager
def masked(bits: int):
    before = os.umask(bits)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(file: Path) -> int:
    return file.stat().st_mode & 0o777


@pytest.mark.parametrize("bits", UMASKS)
def test_new_files_and_folders_are_their_owners_alone_whatever_the_umask(tmp_path, bits):
    with masked(bits):
        make_private_folder(tmp_path / "runs" / "one")
        write_whole(tmp_path / "runs" / "one" / "score.json", "{}")
        LineFile(tmp_path / "runs" / "one" / "journal.jsonl").close()
    assert [mode_of(tmp_path / "runs"), mode_of(tmp_path / "runs" / "one")] == [0o700, 0o700]
    assert {mode_of(file) for file in (tmp_path / "runs" / "one").iterdir()} == {0o600}


@pytest.mark.parametrize("bits", UMASKS[:3])
def test_a_file_at_a_place_of_the_users_own_has_the_mode_that_the_umask_gives(tmp_path, bits):
    with masked(bits):
        write_whole(tmp_path / "report.html", "<html>", private=False)
        assert umask() == bits
    assert mode_of(tmp_path / "report.html") == 0o666 & ~bits


def test_a_file_is_private_before_anything_is_in_it(tmp_path, monkeypatch):
    modes = []
    monkeypatch.setattr(Path, "replace", lambda draft, _: modes.append(mode_of(draft)))
    with masked(0):
        write_whole(tmp_path / "score.json", "{}")
    assert modes == [0o600]


def test_a_folder_that_exists_keeps_its_mode_and_may_be_a_link(tmp_path):
    (tmp_path / "team").mkdir()
    (tmp_path / "team").chmod(0o770)
    (tmp_path / "link").symlink_to(tmp_path / "team")
    make_private_folder(tmp_path / "link")
    make_private_folder(tmp_path / "link" / "run")
    assert mode_of(tmp_path / "team") == 0o770
    assert mode_of(tmp_path / "team" / "run") == 0o700


def test_a_replaced_link_is_replaced_itself(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "score.json").symlink_to(victim)
    write_whole(tmp_path / "score.json", "{}")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "score.json").is_symlink()
    assert (tmp_path / "score.json").read_text() == "{}"


def test_a_link_under_the_name_of_a_draft_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("score.json.part", ".score.json.part"):
        (tmp_path / name).symlink_to(victim)
    write_whole(tmp_path / "score.json", "{}")
    assert victim.read_text() == "mine"


def test_no_two_drafts_have_the_same_name(tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr(Path, "replace", lambda draft, _: names.append(draft.name))
    for _ in range(20):
        write_whole(tmp_path / "score.json", "{}")
    assert len(set(names)) == 20
    assert {file.name for file in drafts(tmp_path / "score.json")} == set(names)


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "score.json", "half a pair \ud800")
    with pytest.raises(UserError, match="cannot be written"):
        write_whole(tmp_path / "none" / "score.json", "{}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", ["symlink_to", "hardlink_to"])
def test_a_line_file_that_is_a_link_is_refused_and_what_it_leads_to_stays(tmp_path, make):
    victim = tmp_path / "victim"
    victim.write_text("mine, without an end")
    getattr(tmp_path / "journal.jsonl", make)(victim)
    with pytest.raises(UserError, match=r"cannot be written .*link"):
        LineFile(tmp_path / "journal.jsonl")
    assert victim.read_text() == "mine, without an end"


def test_a_link_to_nothing_makes_no_file_there(tmp_path):
    (tmp_path / "journal.jsonl").symlink_to(tmp_path / "planted")
    with pytest.raises(UserError, match="link"):
        LineFile(tmp_path / "journal.jsonl")
    assert not (tmp_path / "planted").exists()


def test_a_pipe_or_a_folder_in_a_files_place_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UserError, match="it is no file"):
            LineFile(tmp_path / name)


def test_a_file_system_without_modes_is_taken_as_it_is(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    for name in ("fchmod", "chmod"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(Path, "chmod", refuse)
    make_private_folder(tmp_path / "run")
    write_whole(tmp_path / "run" / "score.json", "{}")
    os.close(open_to_append(tmp_path / "run" / "journal.jsonl"))
    assert (tmp_path / "run" / "score.json").read_text() == "{}"


@pytest.mark.parametrize("bits", [0o000, 0o777])
def test_everything_that_a_run_writes_is_its_owners_alone(tmp_path, monkeypatch, capsys, bits):
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images", 2)
    with masked(bits):
        run = ("run", "--provider", "scripted", "--images", "images", "--questions", "1", "--out")
        done = command(capsys, *run, "runs/one", "--cache", "c")
        alone = command(capsys, *run, "runs/two", "--no-cache")
    assert (done.code, alone.code) == (0, 0), done.err + alone.err
    written = [tmp_path / "runs", tmp_path / "c", *(tmp_path / "runs").rglob("*"), *(tmp_path / "c").rglob("*")]
    assert {file.name for file in written} >= {"journal.jsonl", "score.json", "report.html", "cache.db", "replies"}
    wrong = {str(file): oct(mode_of(file)) for file in written if mode_of(file) != (0o700 if file.is_dir() else 0o600)}
    assert not wrong


@pytest.mark.parametrize("name", ["journal.jsonl", "ledger.jsonl", "lock", "received.jsonl"])
def test_a_run_is_not_resumed_through_a_link(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images", 1)
    given = ("run", "--provider", "scripted", "--images", "images", "--questions", "1", "--cache", "c")
    assert command(capsys, *given, "--out", "run").code == 0
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "run" / name).unlink(missing_ok=True)
    (tmp_path / "run" / name).symlink_to(victim)
    done = command(capsys, "resume", "run")
    assert done.code == 2
    assert "link" in done.err
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["manifest.json", "images.jsonl", "score.json", "report.html"])
def test_what_a_run_replaces_is_replaced_itself_where_it_is_a_link(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images", 1)
    given = ("run", "--provider", "scripted", "--images", "images", "--questions", "1", "--cache", "c")
    assert command(capsys, *given, "--out", "run").code == 0
    before = (tmp_path / "run" / name).read_bytes()
    victim = tmp_path / "victim"
    victim.write_bytes(before)
    (tmp_path / "run" / name).unlink()
    (tmp_path / "run" / name).symlink_to(victim)
    assert command(capsys, *given, "--out", "run", "--max-cost", "5").code == 0
    assert command(capsys, "report", "run").code == 0
    assert victim.read_bytes() == before
