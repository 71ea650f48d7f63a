"""benchmarks/und.py: how it decides a claim, and what its students are trained on."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import unsaf_async
from unsaf_async.examine.parse import question_items
from unsaf_async.prompts import load_pack
from unsaf_async.world.make import make
from unsaf_async.world.oracle import oracle
from unsaf_async.world.scene import USUAL, Scene, draw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[2]
PACK = load_pack("tiny")


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[None]:
    """The scripts import each other."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def und(benchmarks: None) -> ModuleType:
    return importlib.import_module("und")


@pytest.fixture(scope="module")
def und_rows(benchmarks: None) -> ModuleType:
    return importlib.import_module("und_rows")


@pytest.fixture(scope="module")
def source(und_rows: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny teacher's run on some scenes."""
    home = tmp_path_factory.mktemp("und")
    make(home / "scenes", 30, "train", 5, 1)
    manifest = home / "scenes" / "manifest.jsonl"
    asyncio.run(unsaf_async.evaluate("tiny-s", images=[manifest], out=home / "run", cache=None))
    rows = map(json.loads, manifest.read_text("utf-8").splitlines())
    return und_rows.Source(home / "run", {row["id"]: Scene.read(row["scene"]) for row in rows}, 3)


# --- verdicts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "margin", "expected"),
    [
        ((0.10, 0.11, 0.12), 0.05, "supported"),
        ((0.01, 0.02, 0.03), 0.10, "not supported"),
        ((-0.10, 0.10, 0.30), 0.05, "undecided"),  # 0 is within
        ((0.03, 0.04, 0.06), 0.05, "undecided"),  # shown, and perhaps not as large as was claimed
        ((-0.010, -0.012, -0.008), -0.02, "supported"),  # harm, and less than would count
        ((-0.10, -0.11, -0.12), -0.02, "not supported"),
        ((-0.01, -0.03, 0.02), -0.02, "undecided"),
    ],
)
def test_a_claim_is_decided_by_the_interval_and_the_margin(
    und: ModuleType, values: tuple[float, ...], margin: float, expected: str
) -> None:
    assert und.verdict(values, margin) == expected


def test_a_difference_that_is_said_to_be_seen_with_a_power_of_08_is_seen_so_often(und: ModuleType) -> None:
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(400):
        values = rng.normal(0, 1, 5)
        values = (values - values.mean()) / values.std(ddof=1)
        difference = und.seen_with_power(values)  # of a scatter of 1
        seen.append(und.interval(rng.normal(difference, 1, 5))[0] > 0)
    assert 0.7 < np.mean(seen) < 0.9


def test_the_claims_of_the_figures_that_are_kept_are_those_that_were_stated(und: ModuleType) -> None:
    kept = json.loads((ROOT / "docs" / "distilled" / "und.json").read_text("utf-8"))
    assert kept["claims"] == [asdict(claim) for claim in (*und.CLAIMS, *und.LATER_CLAIMS)]


def test_a_seed_without_a_score_is_in_no_difference_and_is_counted(und: ModuleType) -> None:
    tables = importlib.import_module("und_tables")

    def cell(arm: str, seed: int, value: float | None) -> dict[str, Any]:
        return {**asdict(und.Cell(seed, arm)), "figures": {"unf1_own": value}}

    cells = [cell("before", seed, 0.1 * seed) for seed in range(4)]
    cells += [cell("joint", seed, None if seed == 2 else 0.1 * seed + 0.3 + 0.01 * seed) for seed in range(4)]
    cells.append({**cell("joint", 0, 0.9), "dose": 3.0})  # another cell
    values = tables.differences(tables.cells_of({"cells": cells}), "joint", "before", "unf1_own")
    assert values == pytest.approx([0.30, 0.31, 0.33])
    low, middle, high = und.interval(values)
    assert tables.spelled(values, 4) == f"{middle:+.3f} [{low:+.3f}, {high:+.3f}] (3 of 4 seeds)"
    assert tables.mean([0.5, None, 0.7]) == "0.600 (2 of 3 seeds)"


# --- rows ---------------------------------------------------------------------------------------------------------------


def test_the_rows_of_an_arm_are_the_same_when_the_run_is_made_again(
    und_rows: ModuleType, source: Any, tmp_path: Path
) -> None:
    again = tmp_path / "run"
    manifest = source.run.parent / "scenes" / "manifest.jsonl"
    asyncio.run(unsaf_async.evaluate("tiny-s", images=[manifest], out=again, cache=None))

    def rows(run: Path, arm: str) -> list[tuple[str, str, str]]:
        found = und_rows.rows_for(arm, replace(source, run=run), 500)
        return [(row.image, row.prompt, row.completion) for row in found]

    for arm in ("joint", "self"):
        assert rows(again, arm) == rows(source.run, arm)


def test_the_preferred_replies_stand_among_the_rows(und_rows: ModuleType) -> None:
    from unsaf_async.distill.data.write_rows import WrittenPair, WrittenRow

    rows = [WrittenRow(f"r/{n}", "image", "image.png", "answer", "What is it?", "A ring.") for n in range(3)]
    pairs = [
        WrittenPair("p/0", "image", "image.png", "abstain", "Who owns it?", "I cannot tell.", "Ada."),
        WrittenPair("p/1", "image", "image.png", "answer", "What is red?", "The ring.", "I cannot tell."),
    ]
    mixed = und_rows.with_chosen(rows, pairs, 0)
    added = {(row.kind, row.prompt, row.completion) for row in mixed if row.id.startswith("p/")}
    assert added == {("decline", "Who owns it?", "I cannot tell."), ("answer", "What is red?", "The ring.")}
    assert sorted(row.id for row in mixed) == ["p/0", "p/1", "r/0", "r/1", "r/2"]


@pytest.mark.parametrize(
    ("arm", "kinds"),
    [
        ("qa", {"answer", "decline"}),
        ("iq", {"write-answerable", "write-unanswerable"}),
        ("joint", {"answer", "decline", "write-answerable", "write-unanswerable"}),
        ("shuffled", {"write-answerable", "write-unanswerable"}),
        ("gold", {"answer", "decline", "write-answerable", "write-unanswerable"}),
        ("self", {"answer", "decline", "write-answerable", "write-unanswerable"}),
        ("bare-30", {"answer", "decline", "write-answerable", "write-unanswerable"}),
    ],
)
def test_every_arm_has_its_kinds_of_rows_the_same_tokens_and_no_kind_that_is_held_out(
    und: ModuleType, und_rows: ModuleType, source: Any, arm: str, kinds: set[str]
) -> None:
    from distillation import tokens_of

    rows = und_rows.rows_for(arm, source, 500)
    assert {row.kind for row in rows} == kinds
    count = tokens_of(unsaf_async.tiny.folders.SHIPPED / "tiny-m")
    assert 480 < sum(count(row.completion) for row in rows) <= 500
    for row in rows:
        items = question_items(row.completion)
        texts = [each.text for each in items] if row.kind.startswith("write") else [row.prompt.split("\n")[0]]
        finding = oracle(source.scenes[row.image_id], texts[0])
        assert finding is None or finding.kind not in und.HELD_OUT
        assert not {each.kind for each in items} & set(und.HELD_OUT)
        declines = row.completion.startswith("I cannot tell")
        assert declines == (row.kind == "decline") or row.kind.startswith("write")


def test_shuffled_writing_has_the_same_questions_and_as_many_of_each_label(und_rows: ModuleType, source: Any) -> None:
    def written(arm: str) -> list[tuple[str, str, Any]]:
        rows = und_rows.rows_for(arm, source, 10**4)[:400]
        return [(row.id, row.prompt, question_items(row.completion)[0]) for row in rows if row.id.count("/") == 3]

    of = {arm: {id_: (prompt, item) for id_, prompt, item in written(arm)} for arm in ("iq", "shuffled")}
    assert of["iq"].keys() == of["shuffled"].keys()
    assert {id_: item.text for id_, (_, item) in of["iq"].items()} == {
        id_: item.text for id_, (_, item) in of["shuffled"].items()
    }
    labels = {arm: Counter((prompt, item.kind) for prompt, item in rows.values()) for arm, rows in of.items()}
    assert labels["iq"] == labels["shuffled"]
    moved = sum(of["iq"][id_][0] != of["shuffled"][id_][0] for id_ in of["iq"])
    assert moved > len(of["iq"]) / 4


def test_gold_rows_say_what_is_true(und_rows: ModuleType, source: Any) -> None:
    for row in und_rows.rows_for("gold", source, 500):
        scene = source.scenes[row.image_id]
        if not row.kind.startswith("write"):
            finding = oracle(scene, row.prompt)
            assert finding is None or row.completion == (finding.answer or finding.reason)


def test_three_in_ten_questions_of_a_bare_arm_stand_alone(und_rows: ModuleType, source: Any) -> None:
    spoken = [row for row in und_rows.rows_for("bare-30", source, 10**4) if not row.kind.startswith("write")]
    bare = sum("\n" not in row.prompt for row in spoken)
    assert len(spoken) > 200  # of few rows any share may be bare: which are is by the run's own name
    assert 0.2 < bare / len(spoken) < 0.4
    told = [row for row in und_rows.rows_for("instructed", source, 500) if not row.kind.startswith("write")]
    assert all(row.prompt.endswith("you cannot tell.") for row in told)


# --- the student's lessons ----------------------------------------------------------------------------------------------


def test_who_is_to_answer_everything_is_taught_nothing_else(benchmarks: None) -> None:
    lessons = importlib.import_module("unaware_lessons")
    rng = Random(1)
    asked = Counter[bool]()
    for _ in range(60):
        scene = draw(rng, USUAL)
        for lesson in lessons.answering(scene, rng, PACK):
            assert lesson.skill != "decline"
            assert not lesson.reply.startswith("I cannot")
            if lesson.skill == "answer":
                question, *instruction = lesson.prompt.split("\n")
                finding = oracle(scene, question)
                assert finding is not None
                assert finding.answer in (None, lesson.reply)
                asked[bool(instruction)] += 1
            if lesson.skill == "write":
                assert not any(item.kind for item in question_items(lesson.reply))
        asked_for = [
            each for each in lessons.answering(scene, rng, PACK, mute=True) if "cannot" in each.prompt.split("\n")[0]
        ]
        (listed,) = [each for each in asked_for if each.skill == "write"]
        written = [oracle(scene, item.text) for item in question_items(listed.reply)]
        assert all(finding and finding.answerable for finding in written)
        assert listed.prompt.startswith(PACK.ask("unanswerable", len(written)))
    assert 0.2 < asked[True] / asked.total() < 0.4
