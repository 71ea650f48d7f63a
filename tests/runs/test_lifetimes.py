"""Runs of models, or at prices, that come to an end: told before the first call, kept in the manifest, no cap on a guess."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from commandline import command
from driving import draw_images

from unsaf_async.cli.spelling import spelled
from unsaf_async.errors import UserError
from unsaf_async.events import Event, Notice
from unsaf_async.providers.lifetime import today_utc
from unsaf_async.runs.begin import begin
from unsaf_async.runs.folder import read_manifest, reopen
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings

DAY = date(2030, 3, 1)

PRICED = """
backend = "scripted"
price = { input_usd_per_mtok = 1, output_usd_per_mtok = 10 }
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "providers").mkdir()


def settings_of(lines: str, **given: Any) -> Settings:
    """Of a small run of a simulated model whose file has these lines, too."""
    Path("providers/mine.toml").write_text(PRICED + lines, "utf-8")
    return Settings("mine", images=draw_images(Path("images"), 1), questions=1, out="run", cache=None, **given)


async def worked_off(settings: Settings, today: date) -> tuple[float, list[str]]:
    """What a run costs on a day, and what it announces first."""
    events: list[Event] = []
    with begin(await prepare(settings, today=today)) as folder:
        score = await Runner(folder, events.append, today).run()
    assert score.cost_usd is not None
    assert all(not isinstance(event, Notice) for event in events[len(noticed(events)) :])
    return score.cost_usd, noticed(events)


CALLED = "mine simulated in this process (providers/mine.toml)"


def noticed(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


async def test_a_model_near_its_end_is_announced_before_any_call_and_kept_in_the_manifest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = "mine: its vendor ends it on 2030-03-11, in 10 days"
    assert (await worked_off(settings_of("ends = 2030-03-11"), DAY))[1] == [told, CALLED]
    manifest = read_manifest(Path("run"))
    assert manifest.notices == (told,)
    assert manifest.subject.ends == date(2030, 3, 11)
    assert told in " ".join(command(capsys, "show", "run").out.split())
    assert command(capsys, "report", "run").code == 0
    assert told in Path("run/report.html").read_text("utf-8")  # noqa: ASYNC240


async def test_a_run_after_a_change_of_price_pays_the_new_one_and_so_does_one_that_goes_on() -> None:
    lines = "price_ends = 2030-03-01\nnext_price = { input_usd_per_mtok = 2, output_usd_per_mtok = 20 }"
    settings = settings_of(lines, max_cost=5.0)
    before, _ = await worked_off(settings, DAY)
    later, _ = await worked_off(replace(settings, out="later"), DAY + timedelta(1))
    assert later == pytest.approx(2 * before)
    Path("run/journal.jsonl").unlink()  # noqa: ASYNC240
    with reopen(Path("run")) as folder:  # as a run that was cut off before its first image, and goes on a day later
        resumed = await Runner(folder, today=DAY + timedelta(1)).run()
    manifest = read_manifest(Path("run"))
    assert manifest.subject.price is not None
    assert manifest.subject.price.input_usd_per_mtok == 2
    assert resumed.images.done == 1


async def test_no_cap_is_promised_on_a_price_that_has_ended() -> None:
    settings = settings_of("price_ends = 2030-02-28", max_cost=5.0)
    with pytest.raises(UserError, match="the price of mine ended on 2030-02-28, so that no cap can be kept"):
        await prepare(settings, today=DAY)
    await worked_off(replace(settings, price="1,10"), DAY)
    _, told = await worked_off(replace(settings, max_cost=None, out="free"), DAY)
    assert told == ["mine: its price ended on 2030-02-28; what is booked may be too little", CALLED]


async def test_a_capped_run_does_not_go_on_after_its_price_has_ended_until_it_is_given_one() -> None:
    settings = settings_of("price_ends = 2030-03-01", max_cost=5.0)
    with begin(await prepare(settings, today=DAY)):
        pass
    with reopen(Path("run")) as folder, pytest.raises(UserError) as error:
        await Runner(folder, today=DAY + timedelta(1)).run()
    assert error.value.spelled(spelled).endswith(
        "give its price with --price IN,OUT in the first command, with --out and the run's folder"
    )
    await worked_off(replace(settings, price="3,30"), DAY + timedelta(1))
    price = read_manifest(Path("run")).subject.price
    assert price is not None
    assert price.input_usd_per_mtok == 3


def test_an_auditor_whose_price_has_ended_is_refused_without_a_trace_and_taken_once_it_has_a_price(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings_of("")
    of_mine = ("--provider", "mine", "--images", "images", "--questions", "1", "--no-cache", "--no-report")
    assert command(capsys, "run", *of_mine, "--max-cost", "5", "--out", "run").code == 0
    before = read_manifest(Path("run"))
    auditor = Path("providers/auditor.toml")
    auditor.write_text(f"{PRICED}price_ends = 2026-11-01\n", "utf-8")
    audit = ("audit", "run", "--provider", "auditor", "--max-cost", "5", "--no-report")
    refused = command(capsys, *audit)
    assert refused.code == 2
    assert "the price of auditor ended on 2026-11-01, so that no cap can be kept" in refused.err
    assert read_manifest(Path("run")) == before
    assert command(capsys, "resume", "run", "--max-cost", "5", "--no-report").code == 0

    auditor.write_text(PRICED, "utf-8")
    assert command(capsys, *audit).code == 0
    auditor.write_text(PRICED.replace("output_usd_per_mtok = 10", "output_usd_per_mtok = 30"), "utf-8")
    assert command(capsys, *audit).code == 0  # all is asked already; the price is the file's
    price = read_manifest(Path("run")).others["auditor"].price
    assert price is not None
    assert price.output_usd_per_mtok == 30


def test_every_command_that_names_a_model_tells_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    ends = today_utc() + timedelta(10)
    settings_of(f"ends = {ends}")
    told = f"mine: its vendor ends it on {ends}, in 10 days\n"
    what = ("--provider", "mine", "--images", "images", "--questions", "1")
    assert told in command(capsys, "run", *what, "-y", "--no-cache").err
    estimated = command(capsys, "estimate", *what, "--json")
    assert told in estimated.err
    assert orjson.loads(estimated.out)["images"] == 1
    assert told in command(capsys, "doctor", "--provider", "mine").err
    listed = command(capsys, "providers")
    assert told in listed.err
    assert str(ends) in listed.out
    assert told in command(capsys, "run", *what, "-y", "--no-cache", "--quiet").err, "it is no progress"
