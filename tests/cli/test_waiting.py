"""Long waits are told once, on a terminal and off it; a resume with nothing to do is quick, free and takes no time."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from commandline import command
from driving import draw_images
from truths import measure, scripted_model

from unsaf_async.errors import RateLimited
from unsaf_async.events import BatchesMoved, CacheHit, CallSent, ImageKept, Paused
from unsaf_async.progress.watch import Watch
from unsaf_async.report.live_run import Tail
from unsaf_async.runs.begin import begin
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings
from unsaf_async.text import format_headline

if TYPE_CHECKING:
    from pathlib import Path


async def lines_of(tmp_path: Path, *events: Any) -> list[str]:
    """What a watch says to these events of a run of the scripted model."""
    prepared = await prepare(Settings("scripted", images=draw_images(tmp_path / "images", 1), out=tmp_path / "run"))
    said: list[str] = []
    with begin(prepared) as folder:
        watch = Watch(Runner(folder), said.append)
        for event in events:
            watch.hear(event)
    return said


async def test_batches_are_told_from_gathering_to_their_window_and_promise_no_time(tmp_path: Path) -> None:
    settings = Settings("scripted", images=draw_images(tmp_path / "images", 2), out=tmp_path / "run")
    said: list[str] = []
    with begin(await prepare(settings)) as folder:
        folder.keep_manifest(folder.manifest.model_copy(update={"batch": True}))
        watch = Watch(Runner(folder), said.append)
        watch.hear(BatchesMoved("openai", 0, 0, 0, gathered=40))
        assert watch.calls().startswith("gathering for a batch; ")
        assert "40 calls gather for a batch" in watch.line()
        assert "left" not in watch.line() + watch.left()
        watch.hear(BatchesMoved("openai", 1, 40, 3, until_s=time.time() + 3600))
        watch.hear(CallSent("answer", "openai", 0.1, batched=True))
        assert "1 batch with 3 of 40 calls answered" in watch.line()
        assert re.search(r", waited for until \d\d:\d\d(?: tomorrow)? at most", watch.line())
        watch.hear(CacheHit("answer"))
        assert "left" not in watch.left(), "replies come all at once: a pace says nothing"
        watch.hear(BatchesMoved("gemini", 1, 7, 0))
        assert watch.left() == "their vendor takes as long as it takes"
        watch.hear(CacheHit("answer", collected=True))
        assert "1 from batches of an earlier session, 0 from the cache" in watch.calls()


async def test_the_display_counts_what_the_cache_gave_as_the_summary_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = draw_images(tmp_path / "images", 2)
    runs = [await measure("scripted", images, tmp_path / name, cache=tmp_path / "cache") for name in ("cold", "warm")]
    cached = [run.found.calls.cached for run in runs if run.found.calls]
    for run, of_summary in zip(runs, cached, strict=True):
        watch = Watch(run.runner, lambda _: None)
        watch.hear(CacheHit("answer"))  # of a question in both lists: one call for the two, and one of them is dropped
        for examination in run.kept:
            watch.hear(ImageKept(examination))
        assert watch.hits == of_summary
        assert f"{of_summary} from the cache" in watch.calls()
    assert [each > 0 for each in cached] == [False, True]


async def test_a_long_wait_is_told_once_with_its_end_and_who_asked(tmp_path: Path) -> None:
    turned_away = [Paused("openai", 3600.0 + number / 1000, "429 slow down") for number in range(8)]
    (line,) = await lines_of(tmp_path, *turned_away)
    assert re.fullmatch(r"waiting until \d\d:\d\d(?: tomorrow)?: openai asked for 3,600 s", line)


async def test_short_waits_are_not_told_and_our_own_pauses_name_the_reason(tmp_path: Path) -> None:
    short, own = Paused("openai", 2.0, "429 slow down"), Paused("openai", 16.0, "429 slow down", asked=False)
    (line,) = await lines_of(tmp_path, short, own)
    assert re.fullmatch(r"waiting until \d\d:\d\d: openai turns calls away \(429 slow down\)", line)


@pytest.mark.parametrize(("judge", "open_"), [("rules", True), ("self", False)])
async def test_the_last_line_has_the_runs_own_headline(
    judge: str, open_: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scripted_model("hedges", hedge=0.9)
    run = await measure("hedges", draw_images(tmp_path / "images", 3), tmp_path / "run", judge=judge)
    said: list[str] = []
    watch = Watch(run.runner, said.append)
    for examination in run.kept:
        watch.hear(ImageKept(examination))
    assert watch.so_far.between == run.found.unf1_between
    assert (watch.so_far.between is not None) == open_
    assert f"UnF1 {format_headline(run.found.unf1, run.found.unf1_between)}" in watch.line()
    figures = Tail(tmp_path / "run").look()
    assert (figures["unf1"], figures["between"]) == (run.found.unf1, run.found.unf1_between)


async def test_the_pace_says_whether_the_provider_named_the_time() -> None:
    from doubles import Listener

    from unsaf_async.calls.rate_limit import Pace
    from unsaf_async.providers.profile import Limits

    heard = Listener()
    async with Pace("openai", Limits(), heard) as pace:
        pace.failed(RateLimited("slow down"))
        pace.failed(RateLimited("slow down", retry_after_s=60))
    assert [(event.asked, event.seconds) for event in heard.of(Paused)] == [(False, 0.5), (True, 60)]


def test_resuming_a_run_that_is_done_opens_no_model_says_so_and_takes_no_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    images = [str(image) for image in draw_images(tmp_path / "images", 2)]
    given = [part for image in images for part in ("--images", image)]
    assert command(capsys, "run", "--provider", "scripted", *given, "--out", run, "--no-cache", "--no-report").code == 0
    before, ledger = SavedRun(tmp_path / "run").findings, (tmp_path / "run" / "ledger.jsonl").read_bytes()
    again = command(capsys, "resume", run, "--no-report")
    assert again.code == 0
    assert ": nothing is left to ask" in again.err
    after = SavedRun(tmp_path / "run").findings
    assert after.wall_s == before.wall_s
    assert after.unf1 == before.unf1
    assert (tmp_path / "run" / "ledger.jsonl").read_bytes() == ledger


def test_a_cap_below_one_image_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(draw_images(tmp_path / "images", 1)[0])
    ended = command(
        capsys, "run", "--provider", "vllm", "--model", "m", "--api-base", "http://127.0.0.1:9/v1", "--price", "2.5,10",
        "--images", image, "--max-cost", "0.0001", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert ended.code == 2
    assert re.search(r"--max-cost is 0.0001; one image can cost \$\d\.\d{4} at worst", ended.err)
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
    least = re.search(r"\$(\d\.\d{4})", ended.err)
    assert least
    enough = command(
        capsys, "run", "--provider", "vllm", "--model", "m", "--api-base", "http://127.0.0.1:9/v1", "--price", "2.5,10",
        "--images", image, "--max-cost", least[1], "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert "no connection" in enough.err
