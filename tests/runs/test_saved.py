"""A run read back: each part when it is asked for, and prompts that have changed since are refused in one sentence."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from driving import draw_images
from truths import measured, scripted_model

from unsaf_async.api import load
from unsaf_async.bundled import bundled
from unsaf_async.cli import main
from unsaf_async.errors import UserError
from unsaf_async.report.data import load_run
from unsaf_async.runs.estimate import estimate_more
from unsaf_async.runs.folder import reopen
from unsaf_async.runs.question_table import write_table
from unsaf_async.runs.saved import SavedRun


@pytest.fixture
def run() -> Path:
    """The folder of a finished run over four images."""
    scripted_model("ada")
    measured("ada", draw_images(Path("images"), 4), Path("run"))
    return Path("run")


def cut(run: Path, images: int) -> None:
    """Leave the first `images` lines of the journal."""
    journal = run / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:images]))


def test_a_finished_run_is_read_back_whole(run: Path) -> None:
    saved = SavedRun(run)
    manifest, examinations, findings = load(run)
    assert (saved.manifest, list(saved.in_order()), saved.findings) == (manifest, examinations, findings)
    written = json.loads((run / "score.json").read_bytes())
    assert {**saved.findings.model_dump(mode="json"), "wall_s": None} == {**written, "wall_s": None}
    listed = [json.loads(line)["id"] for line in (run / "images.jsonl").read_bytes().splitlines()]
    assert [image.id for image in saved.images] == listed
    assert saved.pack.sha256 == manifest.pack_sha256
    assert (saved.pending, saved.unfinished, saved.incomplete, saved.remaining) == (0, 0, False, ())


def test_tables_come_in_the_order_of_the_images_however_the_run_went(run: Path) -> None:
    journal = run / "journal.jsonl"
    lines = sorted(journal.read_bytes().splitlines(keepends=True))
    listed = [image.id for image in SavedRun(run).images]
    tables = []
    for finished in (lines, lines[::-1]):
        journal.write_bytes(b"".join(finished))
        loaded = load(run)
        assert [each.image.id for each in loaded.examinations] == listed
        write_table([run], Path("table.csv"), "csv")
        tables.append(Path("table.csv").read_bytes())
        with Path("table.csv").open(newline="", encoding="utf-8") as file:
            assert list(dict.fromkeys(row["image_id"] for row in csv.DictReader(file))) == listed
    assert tables[0] == tables[1]
    journal.write_bytes(b"".join(lines[:2]))
    done = {json.loads(line)["image"]["id"] for line in lines[:2]}
    assert [each.image.id for each in load(run).examinations] == [name for name in listed if name in done]


def test_a_run_that_is_not_signed_by_the_user_says_so_wherever_its_figures_are_shown(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        assert ended.value.code == 0
        return "".join(capsys.readouterr())

    shutil.copytree(run, "received")
    manifest = Path("received", "manifest.json")
    stranger = json.loads(manifest.read_bytes()) | {"run_id": "another", "signature": ""}
    manifest.write_text(json.dumps(stranger), "utf-8")
    words = "not known as a run of yours"
    assert (SavedRun(run).origin, SavedRun(Path("received")).origin.partition(":")[0]) == ("", words)
    assert words not in said("show", "run")
    assert words in said("show", "received")
    assert f"(received): {words}" in said("compare", "run", "received")
    assert f"(received): {words}" in said("cross", "run", "received", "--out", "cells", "--dry-run", "--trust-folder")
    assert words in said("power", "--runs", "received")
    assert load_run(Path("received")).origin.startswith(words)


def test_images_that_are_not_examined_or_failed_remain(run: Path) -> None:
    cut(run, 3)
    journal = run / "journal.jsonl"
    *lines, last = map(json.loads, journal.read_bytes().splitlines())
    last["failure"] = "it cannot be read"
    journal.write_text("".join(json.dumps(line) + "\n" for line in (*lines, last)))
    saved = SavedRun(run)
    assert (saved.pending, saved.unfinished, saved.incomplete) == (1, 1, True)
    done = {line["image"]["id"] for line in lines}
    assert saved.finished == done
    assert {image.id for image in saved.remaining} == {image.id for image in saved.images} - done


def test_a_part_that_is_not_asked_for_is_not_read(run: Path) -> None:
    for name in ("journal.jsonl", "ledger.jsonl", "images.jsonl"):
        (run / name).write_text("no such line\n")
    saved = SavedRun(run)
    assert saved.manifest.images == 4
    assert saved.pack.name == "unsaf"
    for part in ("examinations", "account", "images", "findings"):
        with pytest.raises(UserError):
            getattr(saved, part)


def test_each_part_is_read_once(run: Path) -> None:
    saved = SavedRun(run)
    first = saved.manifest, saved.examinations, saved.account
    shutil.rmtree(run)
    assert (saved.manifest, saved.examinations, saved.account) == first


def test_a_folder_without_a_run_has_no_examinations_and_has_cost_nothing(tmp_path: Path) -> None:
    saved = SavedRun(tmp_path / "none")
    assert (saved.examinations, saved.finished, saved.account.cost_usd) == ((), frozenset(), 0.0)
    with pytest.raises(UserError, match="is no run's folder"):
        _ = saved.manifest
    with pytest.raises(UserError, match="is no run's folder"):
        _ = saved.findings


def change_prompts(run: Path) -> None:
    """Let the run's prompts be a pack of one's own that has changed since the run began."""
    shutil.copytree(bundled("prompts") / "unsaf", "mine")
    manifest = json.loads((run / "manifest.json").read_bytes())
    (run / "manifest.json").write_text(json.dumps({**manifest, "pack": str(Path("mine").absolute())}))
    assert SavedRun(run).pack.sha256 == manifest["pack_sha256"]
    with (Path("mine") / "answer.md").open("a") as file:
        file.write("Be brief.\n")


def test_prompts_that_have_changed_since_are_refused_with_folder_and_pack(run: Path) -> None:
    change_prompts(run)
    with pytest.raises(UserError) as error:
        _ = SavedRun(run).pack
    (line,) = str(error.value).splitlines()
    assert line.startswith("run: its prompts, ")
    assert "mine, have changed since the run began; restore them" in line


def test_asking_more_with_changed_prompts_is_refused_before_its_cost_is_estimated(run: Path) -> None:
    change_prompts(run)
    with reopen(run) as folder, pytest.raises(UserError, match="have changed since the run began; restore them"):
        estimate_more(folder, folder.manifest.model_copy(update={"grounded": True}))


def test_the_kept_score_is_taken_as_long_as_nothing_that_it_was_computed_from_has_changed(run: Path) -> None:
    first = SavedRun(run)
    assert first.score == first.findings
    assert "kept" not in first.__dict__, "no examination was looked for"


@pytest.mark.parametrize("name", ["journal.jsonl", "ledger.jsonl", "score.json", "manifest.json"])
def test_a_score_is_computed_anew_where_a_file_has_changed(run: Path, name: str) -> None:
    before = SavedRun(run).findings
    file = run / name
    if name.endswith(".jsonl"):
        file.write_bytes(file.read_bytes()[:-1])  # its last line is now half a line
    else:
        file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))
    saved = SavedRun(run)
    assert saved.score is None
    assert saved.findings.seed == (1 if name == "manifest.json" else 0)
    assert (saved.findings.images.done < before.images.done) == (name == "journal.jsonl")


def test_a_score_of_another_version_of_the_program_is_computed_anew(run: Path) -> None:
    basis = json.loads((run / "basis.json").read_text())
    (run / "basis.json").write_text(json.dumps(basis | {"version": "0.0.1"}))
    assert SavedRun(run).score is None


def test_a_journal_is_read_line_by_line_and_not_held(run: Path) -> None:
    saved = SavedRun(run)
    name = next(iter(saved.kept))
    assert dict(saved.kept) == {each.image.id: each for each in saved.examinations}
    assert saved.kept[name] is not saved.kept[name]
    with pytest.raises(KeyError):
        saved.kept["none"]
