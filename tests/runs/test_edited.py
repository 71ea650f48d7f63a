"""Files of a run that somebody edited, or a disk damaged: one line with the file, the line, what was found and what to do."""

from __future__ import annotations

import json
from shutil import copy, copytree
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from commandline import command
from doubles import Listener
from driving import draw_images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unsaf_async.calls.budget import NANO
from unsaf_async.calls.ledger import Ledger, read_account
from unsaf_async.errors import UserError
from unsaf_async.events import Notice
from unsaf_async.runs.begin import begin
from unsaf_async.runs.folder import RunFiles, read_manifest, reopen
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the scripted model, at a price, of three images."""
    import asyncio

    folder = tmp_path_factory.mktemp("whole")

    async def run() -> None:
        given = Settings(
            "scripted", images=draw_images(folder / "images", 3), questions=2, out=folder / "run", cache=None,
            price="2.5,10", max_cost=5.0,
        )  # fmt: skip
        prepared = await prepare(given)
        with begin(prepared) as opened:
            await Runner(opened).run()

    asyncio.run(run())
    return folder / "run"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def edited(file: Path, edit: Callable[[Lines], Any]) -> None:
    """The file with its lines, as objects, edited in place, or replaced by what `edit` returns."""
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    lines = edit(lines) or lines
    file.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def calls_of(line: dict[str, Any]) -> dict[str, Any]:
    """The first answer's call in a journal's line."""
    call: dict[str, Any] = line["questions"][0]["answer"]
    return call


JOURNAL = {
    "a negative cost": (lambda lines: calls_of(lines[1]).update(cost_usd=-3.75), 2, "cost_usd: .* and is -3.75"),
    "a cost that is NaN": (lambda lines: calls_of(lines[1]).update(cost_usd=float("nan")), 2, "cost_usd: .* finite"),
    "an infinite cost": (lambda lines: calls_of(lines[1]).update(cost_usd=float("inf")), 2, "cost_usd: "),
    "a cost in words": (lambda lines: calls_of(lines[1]).update(cost_usd="free"), 2, "cost_usd: .* and is 'free'"),
    "negative tokens": (lambda lines: calls_of(lines[0]).update(input_tokens=-1), 1, "input_tokens: .* and is -1"),
    "tokens beyond 64 bits": (lambda lines: calls_of(lines[0]).update(output_tokens=2**70), 1, "output_tokens: "),
    "half a token": (lambda lines: calls_of(lines[0]).update(output_tokens=0.5), 1, "output_tokens: "),
    "a negative latency": (lambda lines: calls_of(lines[0]).update(latency_s=-1), 1, "latency_s: "),
    "a negative number of missing questions": (lambda lines: lines[2].update(missing=-4), 3, "missing: .* and is -4"),
    "no width": (lambda lines: lines[2]["image"].update(width=0), 3, "image.width: .* and is 0"),
    "an act that is none": (lambda lines: lines[0]["questions"][0].update(act="guessed"), 1, "act: .* and is 'guessed'"),
    "a log-probability above 0": (
        lambda lines: lines[0]["questions"][0].update(
            token_confidence={"mean_logprob": 3.0, "min_logprob": -1.0, "tokens": 4}
        ), 1, "mean_logprob: .* and is 3.0",
    ),
    "an image that is none of the run's": (
        lambda lines: lines[1]["image"].update(id="elsewhere.png"), 2, "is about 'elsewhere.png', which is none of the run's",
    ),
    "a journal of another run": (
        lambda lines: [{**line, "image": {**line["image"], "id": f"other/{n}"}} for n, line in enumerate(lines)], 1,
        "is about 'other/0'",
    ),
    "a list": (lambda lines: [*lines[:2], [1, 2]], 3, "is no examination"),
    "a line without an image": (lambda lines: [{"questions": []}, *lines], 1, "image: Field required"),
}  # fmt: skip
LEDGER = {
    "a negative cost": (lambda lines: settled(lines).update(cost=-3_750_000_000), "cost is -3750000000"),
    "a cost beyond 64 bits": (lambda lines: settled(lines).update(cost=2**63), "cost is "),
    "a fractional cost": (lambda lines: settled(lines).update(cost=0.5), "cost is 0.5"),
    "negative tokens": (lambda lines: settled(lines).update(tokens=[-1, 0, 0, 1, 0]), "a count of tokens is -1"),
    "four counts of tokens": (lambda lines: settled(lines).update(tokens=[1, 0, 0, 1]), "tokens is "),
    "tokens in words": (lambda lines: settled(lines).update(tokens="many"), "tokens is 'many'"),
    "a time in words": (lambda lines: settled(lines).update(t="now"), "its time is 'now'"),
    "a time that no clock shows": (lambda lines: settled(lines).update(t=1e300), r"its time is 1e\+300"),
    "a kind that is none": (lambda lines: settled(lines).update(what="paid"), "of no known kind, 'paid'"),
    "a number in words": (lambda lines: settled(lines).update(n="one"), "n is 'one'"),
    "no number": (lambda lines: settled(lines).pop("n") and None, "it has no n"),
    "a line twice": (lambda lines: lines.insert(3, sent(lines)), r"it begins attempt \d+ after attempt \d+"),
    "an end before its beginning": (lambda lines: lines.reverse(), r"it ends attempt \d+, which is not under way"),
    "a worst case below 0": (lambda lines: sent(lines).update(worst=-5), "worst is -5"),
    "a repetition of 10^9": (lambda lines: sent(lines).update(again=10**9), "again is 1000000000"),
}


def settled(lines: Lines) -> dict[str, Any]:
    """The first line of a reply that came."""
    return next(line for line in lines if line["what"] == "settled")


def sent(lines: Lines) -> dict[str, Any]:
    """The first line of an attempt that left."""
    return next(line for line in lines if line["what"] == "sent")


@pytest.mark.parametrize("case", JOURNAL)
def test_a_journal_with_an_impossible_line_is_one_line_and_nothing_is_touched(
    case: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, number, says = JOURNAL[case]
    edited(run / "journal.jsonl", edit)
    refused_alike(run, rf"journal\.jsonl:{number}: .*{says}", capsys)


@pytest.mark.parametrize("case", LEDGER)
def test_a_ledger_with_an_impossible_line_is_one_line_and_nothing_is_touched(
    case: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, says = LEDGER[case]
    edited(run / "ledger.jsonl", edit)
    refused_alike(run, rf"ledger\.jsonl:\d+: is no line of a ledger \(.*{says}.*\); restore it", capsys)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1), ("seed", 2**70), ("seed", "one"), ("questions", 0), ("questions", 10**9), ("images", -1),
        ("max_cost_usd", -1), ("max_cost_usd", 1e300), ("until_ci", 7), ("until_ci", 0), ("samples", -3),
    ],
)  # fmt: skip
def test_a_manifest_with_an_impossible_figure_is_one_line_and_nothing_is_touched(
    field: str, value: Any, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = orjson.loads((run / "manifest.json").read_bytes())
    (run / "manifest.json").write_text(json.dumps(manifest | {field: value}), "utf-8")
    refused_alike(run, rf"manifest\.json: is no manifest \({field}: .*\); restore it, or start a new run", capsys)


def refused_alike(run: Path, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`resume` ends with exit code 2 and one line, and leaves every file as it was."""
    import re

    before = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    ended = command(capsys, "resume", str(run), "--quiet", "--no-report")
    assert ended.code == 2
    assert ended.err.count("\n") == 1, ended.err
    assert re.search(says, ended.err), ended.err
    after = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    assert after | {"lock": b""} == before | {"lock": b""}


CUT = {"emptied": lambda lines: lines[:0], "cut": lambda lines: lines[: len(lines) // 3], "gone": None}


@pytest.mark.parametrize("how", CUT)
async def test_a_ledger_that_lost_lines_is_told_and_what_the_replies_have_cost_counts(how: str, run: Path) -> None:
    whole_usd = read_account(run / "ledger.jsonl").cost_usd
    examinations = SavedRun(run).examinations
    paid_usd = sum(call.cost_usd for each in examinations for call in each.calls if not call.cached)
    assert 0 < paid_usd <= whole_usd + 1e-9
    file, cut = run / "ledger.jsonl", CUT[how]
    if cut is None:
        file.unlink()
    else:
        file.write_bytes(b"\n".join([*cut(file.read_bytes().splitlines()), b""]))
    heard = Listener()
    with reopen(run) as folder:
        runner = Runner(folder, heard)
        score = await runner.run()
    (told,) = (notice.text for notice in heard.of(Notice) if "ledger.jsonl" in notice.text)
    assert "lacks lines: it comes to $" in told
    assert score.cost_usd == pytest.approx(paid_usd, abs=1e-8)
    assert read_account(file).cost_usd == pytest.approx(paid_usd, abs=1e-8)
    with reopen(run) as folder:
        await Runner(folder, heard).run()
    assert len([notice for notice in heard.of(Notice) if "lacks lines" in notice.text]) == 1


def test_a_score_made_anew_beside_a_ledger_that_lost_its_lines_counts_what_the_replies_cost(run: Path) -> None:
    paid_usd = sum(call.cost_usd for each in SavedRun(run).examinations for call in each.calls if not call.cached)
    (run / "ledger.jsonl").write_bytes(b"")
    score = SavedRun(run).findings
    assert score.cost_usd == pytest.approx(paid_usd, abs=1e-8)
    assert any("the ledger lacks lines: it comes to $0" in warning for warning in score.warnings)


async def test_what_was_received_and_never_stored_counts_as_spent_too(run: Path) -> None:
    from doubles import reply, request

    from unsaf_async.calls.stored_reply import key_parts, packed

    parts = key_parts(request())
    received = b"".join(b"key%d " % n + packed(parts, reply(cost_usd=1.25)) + b"\n" for n in range(2))
    (run / "received.jsonl").write_bytes(received + b"no reply\n")
    with reopen(run) as folder:
        await Runner(folder).run()
    assert read_account(run / "ledger.jsonl").spent_nano_usd == int(2.5 * NANO)


async def test_a_run_with_a_journal_of_another_run_on_the_same_images_says_that_its_ledger_does_not_cover_it(
    run: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    copytree(run, other)
    (other / "journal.jsonl").unlink()
    (other / "ledger.jsonl").unlink()
    copy(run / "journal.jsonl", other / "journal.jsonl")
    heard = Listener()
    with reopen(other) as folder:
        await Runner(folder, heard).run()
    assert any("lacks lines" in notice.text for notice in heard.of(Notice))


def test_a_name_that_is_no_line_is_told_in_one(run: Path) -> None:
    file = RunFiles(run).manifest
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "others": {"a\n\x1b[2J\x1eb": None}}), "utf-8")
    with pytest.raises(UserError) as error:
        read_manifest(run)
    assert "others.a" in str(error.value)
    assert str(error.value).isprintable()


def test_the_lines_of_a_ledger_that_were_lost_count_once_for_all_sessions(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        ledger.missing(7)
        assert ledger.account.spent_nano_usd == 7
    assert read_account(tmp_path / "ledger.jsonl").spent_nano_usd == 7
    assert read_account(tmp_path / "ledger.jsonl").wall_s == 0


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from([2**70, 10**400, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("name", ["journal", "ledger", "images", "manifest"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_any_field_of_any_file_is_read_or_refused_in_one_line(
    name: str, data: st.DataObject, run: Path
) -> None:
    file: Path = getattr(RunFiles(run), name)
    before = file.read_bytes()
    lines = before.splitlines() if name != "manifest" else [before]
    index = data.draw(st.integers(0, len(lines) - 1))
    line = orjson.loads(lines[index])
    inner, step = line, data.draw(st.sampled_from(sorted(line)))
    while isinstance(inner[step], dict | list) and inner[step] and data.draw(st.booleans()):
        inner = inner[step]
        step = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
    inner[step] = data.draw(JSON)
    lines[index] = json.dumps(line).encode()
    try:
        file.write_bytes(b"\n".join(lines) + b"\n")
        complaint = read_all(run, most=3)
        assert "\n" not in complaint
        assert not complaint or str(run) in complaint
    finally:
        file.write_bytes(before)


def read_all(run: Path, most: int) -> str:
    """What is wrong with a run's files; "" if all of them can be read, with at most so many images."""
    try:
        saved = SavedRun(run)
        cost_usd = saved.findings.cost_usd
        assert cost_usd is not None
        assert 0 <= cost_usd < 1e12
        assert len(saved.examinations) <= most
        reopen(run).close()
    except UserError as error:
        return str(error)
    return ""
