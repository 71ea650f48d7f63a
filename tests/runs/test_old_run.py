"""Runs that an earlier version began or finished are read, shown and resumed: tests/data/old_run tells how they were made."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from commandline import command

from unsaf_async.bundled import bundled
from unsaf_async.runs.folder import read_manifest
from unsaf_async.runs.saved import SavedRun

OLD = Path(__file__).parent.parent / "data" / "old_run"
RUNS = ("scripted", "tiny")


def placed(name: str) -> Path:
    """A copy of an old run in the working folder, about the images of this checkout. Our own code has no part in it."""
    folder = Path(name)
    folder.mkdir()
    for file in (OLD / name).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    rows = [json.loads(line) for line in (folder / "images.jsonl").read_bytes().splitlines()]
    for row in rows:
        row["path"] = row["path"].replace("IMAGES", str(bundled("images") / "world"))
    text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
    (folder / "images.jsonl").write_text(text)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    changed = (
        (folder / "manifest.json").read_text().replace(manifest["images_sha256"], sha256(text.encode()).hexdigest())
    )
    (folder / "manifest.json").write_text(changed)
    return folder


def as_then(now: Any, then: Any) -> Any:
    """`now` without the fields that `then` does not have, wherever they stand: those of later versions.

    Later versions compute intervals in other ways, and have some where there were none: `then`'s stand for them.
    """
    if isinstance(now, dict) and isinstance(then, dict):
        return {
            name: then[name] if name.endswith("_ci") else as_then(value, then[name])
            for name, value in now.items()
            if name in then
        }
    if isinstance(now, list) and isinstance(then, list):
        return [as_then(*pair) for pair in zip(now, then, strict=True)]
    return now


def untimed(score: str | bytes) -> dict[str, Any]:
    """A score from its JSON, without the time that the run took.

    Rounded to 12 decimals: earlier versions added the images' figures up in the order in which the images finished.
    """
    fields = json.loads(score, parse_float=lambda number: round(float(number), 12))
    for signal in fields["signals"].values():  # that there is a reason counts, and not its words
        signal["why_undefined"] = bool(signal["why_undefined"])
    # Earlier versions resampled, and warned of that below 20 images; now another interval stands there.
    fields["unf1_ci_method"] = bool(fields["unf1_ci_method"])
    fields["warnings"] = [each for each in fields["warnings"] if not each.startswith("the interval rests on")]
    return {name: value for name, value in fields.items() if name != "wall_s"}


def test_the_stated_hash_is_the_list_of_images_as_this_version_hashes_it() -> None:
    for name in RUNS:
        assert len(SavedRun(placed(name)).images) == len((OLD / name / "images.jsonl").read_bytes().splitlines())


@pytest.mark.parametrize("name", RUNS)
def test_reading_an_old_manifest_keeps_every_field(name: str) -> None:
    written = json.loads((OLD / name / "manifest.json").read_bytes())
    assert as_then(read_manifest(OLD / name).model_dump(mode="json"), written) == written
    with_more = json.loads(read_manifest(OLD / name).model_dump_json())
    assert list(as_then(with_more, written)) == list(written), "fields keep their order in the file"


@pytest.mark.parametrize("name", RUNS)
def test_reading_an_old_journal_keeps_every_field(name: str) -> None:
    lines = (OLD / name / "journal.jsonl").read_bytes().splitlines()
    for each, line in zip(SavedRun(OLD / name).examinations, lines, strict=True):
        written = json.loads(line)
        assert json.dumps(as_then(json.loads(each.model_dump_json()), written)) == json.dumps(written)


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_has_the_score_that_it_had(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "show", "--json", str(placed(name)))
    assert (ended.code, ended.err) == (0, "")
    written = untimed((OLD / name / "score.json").read_bytes())
    assert as_then(untimed(ended.out), written) == written


def test_an_old_run_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(capsys, "show", str(placed("scripted")))
    (line,) = ended.err.splitlines()  # it was made on another machine
    assert (ended.code, "scripted: not known as a run of yours" in line) == (0, True)
    assert "UnF1 0.727" in ended.out
    assert "3 of 6 images are not done: `unsaf-async resume scripted` goes on" in ended.out


def test_an_old_run_is_resumed_to_what_the_old_version_made_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    folder = placed("scripted")
    before = (folder / "journal.jsonl").read_bytes().splitlines()
    ended = command(capsys, "resume", str(folder), "--max-cost", "5", "--quiet", "--no-report")
    assert ended.code == 0, ended.err
    after = (folder / "journal.jsonl").read_bytes().splitlines()
    assert (len(before), len(after)) == (3, 6)
    assert after[:3] == before, "what was done stays, byte for byte"
    score = (folder / "score.json").read_bytes()
    written = untimed((OLD / "scripted-resumed-score.json").read_bytes())
    assert as_then(untimed(score), written) == written
    assert read_manifest(folder).run_id == read_manifest(OLD / "scripted").run_id
