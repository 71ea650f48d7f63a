"""docs/rounds.md: its commands run, on few scenes, with a real student that is trained for one step a round."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from commandline import Ended, command

from unsaf_async.distill.data.earlier import FILE

PAGE = (Path(__file__).parents[3] / "docs" / "rounds.md").read_text("utf-8")
FEWER = {
    "world": ("--scenes", "6"),
    "distill": ("--max-steps", "1"),
    "run": ("--questions", "2"),
    "labelled": (),
    "export": (),
}
"""Options that are given beside the page's, or in place of its."""


def commands() -> list[list[str]]:
    """Every command of the page, in order."""
    blocks = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_the_pages_commands_lead_through_two_rounds_and_what_is_held_out_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trl")
    monkeypatch.chdir(tmp_path)
    ran: list[str] = []
    ended: list[Ended] = []
    for program, name, *words in commands():
        assert program == "unsaf-async"
        given = [*words, *FEWER.get(name, ())]  # of an option that is given twice the last one counts
        ended.append(command(capsys, name, *given))
        assert ended[-1].code in ((0, 1) if name == "distill-eval" else (0,)), (name, words, ended[-1].err)
        ran.append(name)
    once, first = ["world", "world", "run", "labelled"], ["export", "distill"]
    assert ran == [*once, *first, "run", "run", *first, "distill-eval"]
    before, after = (lines(Path("data", number, FILE)) for number in "12")
    splits = {picture["image_id"]: picture["split"] for picture in after}
    assert before
    assert all(splits[picture["image_id"]] == picture["split"] for picture in before)
    proof = json.loads(Path("runs/proof-2/distill-eval.json").read_bytes())
    assert {"unf1_own", "unf1_bank"} <= {figure["name"] for figure in proof["figures"]}
    taught = {item["teacher"]["model"] for item in lines(Path("data/2/items.jsonl"))}
    assert len(taught) == 1, "nothing that the student said is taught"
    runs = {item["teacher"]["run_id"] for item in lines(Path("data/2/items.jsonl"))}
    assert len(runs) == 2, "both rounds' questions are"
