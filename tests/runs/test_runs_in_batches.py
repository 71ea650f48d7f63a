"""Runs whose calls go in batches, against the simulator's sockets: money, order, disturbances, and what a killed run leaves."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from driving import KEY, PRICE, ROUTES, draw_images, drive_at

from unsaf_async.calls import cached
from unsaf_async.calls.backends.error_status import error_of
from unsaf_async.calls.backends.open import open_backend
from unsaf_async.calls.batches import anthropic_batches
from unsaf_async.calls.batches.batches import Batches, Waits
from unsaf_async.calls.batches.open import api_of
from unsaf_async.calls.batches.openai_batches import OpenAIBatches
from unsaf_async.calls.batches.register import Register, Row, open_batches
from unsaf_async.calls.ledger import read_account
from unsaf_async.calls.request import RequestBuilder
from unsaf_async.cli.show import show
from unsaf_async.errors import UserError, as_option
from unsaf_async.events import CacheHit
from unsaf_async.providers.resolve import resolve
from unsaf_async.report.data import load_run
from unsaf_async.report.live_run import Tail
from unsaf_async.report.page import render
from unsaf_async.report.timeline import timeline
from unsaf_async.runs import runner
from unsaf_async.runs.folder import reopen
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.signature import user_key
from unsaf_async.runs.stopping import rule_of
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import BatchRules, Simulation

QUICK = Waits(quiet_s=0.15, first_look_s=0.03, longest_look_s=0.1, again_s=0.05, longest_again_s=0.2)
VENDORS = ("openai", "anthropic", "gemini")


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in ("OPENAI", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
    monkeypatch.setattr(anthropic_batches, "LOOK_AGAIN_S", 0.05)


def simulation(**rules) -> Simulation:
    """A provider whose batches take no time. rules: others of `BatchRules`."""
    return Simulation(price=PRICE, batches=BatchRules(**{"validate_s": 0, "work_s": 0.02, "finalize_s": 0, **rules}))


async def batched(simulator: Simulator, folder: Path, vendor: str = "openai", **options):
    given = {"images": 3, "questions": 2, "waits": QUICK, "batch": True, **options}
    return await drive_at(simulator, vendor, folder, **given)


def answers(outcome) -> list[list[tuple[str, str]]]:
    images = sorted(outcome.examinations, key=lambda each: each.image.id)
    return [[(question.text, question.response) for question in each.questions] for each in images]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_run_in_batches_has_the_score_of_one_online_for_half_the_price_but_the_first_image(tmp_path, vendor):
    async with Simulator(simulation()) as simulator:
        alone = await batched(simulator, tmp_path / "alone", vendor, batch=False)
        full = float(simulator.ledger.billed_usd)
        simulator.ledger.reset()
        together = await batched(simulator, tmp_path / "together", vendor)
        ledger = simulator.ledger
    assert together.runner.why_stopped is None
    assert together.runner.unfinished is None
    assert answers(together) == answers(alone)
    assert together.score.unf1 == alone.score.unf1
    rows = sum(len(batch.rows) for batch in ledger.batches.values())
    assert 0 < rows < ledger.requests  # the first image's calls go alone
    assert not ledger.repeated()
    bill = float(ledger.billed_usd)
    assert full / 2 < bill < full * 0.75
    spent = read_account(together.runner.folder.files.ledger).cost_usd
    assert bill <= spent <= bill * 1.0001 + 1e-7
    assert open_batches(together.runner.folder.files.batches) == {}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_the_first_calls_go_alone_so_that_a_wrong_key_is_known_at_once(tmp_path, vendor, monkeypatch):
    async with Simulator(Simulation(api_key="another")) as simulator:
        outcome = await batched(simulator, tmp_path, vendor)
    assert outcome.runner.mistake == "key"
    assert not simulator.ledger.batches


@pytest.mark.parametrize("vendor", VENDORS)
async def test_rows_that_fail_or_expire_are_asked_again_and_the_bill_is_never_above_what_is_booked(tmp_path, vendor):
    faults = {"row_500": 0.15, "row_expired": 0.15, "poll_500": 0.2, "results_500": 0.5, "create_500": 0.2}
    async with Simulator(simulation(faults=faults, window_s=0.6)) as simulator:
        outcome = await batched(simulator, tmp_path, vendor)
    assert outcome.runner.why_stopped is None
    assert outcome.runner.unfinished is None
    if vendor != "gemini":  # whose batches give nothing back when they expire
        assert not outcome.ledger.repeated()
    spent = read_account(outcome.runner.folder.files.ledger).cost_usd
    assert spent >= float(outcome.ledger.billed_usd)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_batch_whose_creation_was_not_heard_of_is_found_and_not_sent_twice(tmp_path, vendor):
    async with Simulator(simulation(faults={"lost_reply": 1.0})) as simulator:
        outcome = await batched(simulator, tmp_path, vendor)
    assert outcome.runner.why_stopped is None
    assert not outcome.ledger.repeated()
    assert outcome.ledger.batches


async def test_a_batch_that_is_refused_as_a_whole_ends_the_run_in_one_line(tmp_path):
    async with Simulator(simulation(faults={"failed": 1.0})) as simulator:
        outcome = await batched(simulator, tmp_path)
    assert "a batch was not worked off" in outcome.runner.why_stopped
    assert "; with --no-batch all calls go alone" in outcome.runner.why_stopped
    assert "\n" not in outcome.runner.why_stopped
    assert read_account(outcome.runner.folder.files.ledger).unknown == 0
    assert len(outcome.ledger.batches) == 1


async def test_a_full_queue_is_waited_for(tmp_path):
    async with Simulator(simulation(enqueued_tokens=60_000)) as simulator:
        outcome = await batched(simulator, tmp_path, images=4)
    assert outcome.runner.why_stopped is None
    assert outcome.runner.unfinished is None
    assert not outcome.ledger.repeated()


@pytest.mark.parametrize("vendor", VENDORS)
async def test_no_cap_is_passed_in_batches(tmp_path, vendor):
    async with Simulator(simulation()) as simulator:
        free = await batched(simulator, tmp_path / "free", vendor, questions=1)
        for number, share in enumerate((0.3, 0.6, 0.9)):
            simulator.ledger.reset()
            cap = max(share * float(free.runner.budget.spent_nano_usd) / 1e9, free.image_worst_usd)
            outcome = await batched(
                simulator, tmp_path / str(number), vendor, questions=1, max_cost=cap, cache=None, seed=number
            )
            assert float(outcome.ledger.billed_usd) <= outcome.runner.budget.spent_nano_usd / 1e9 <= cap


async def test_an_interrupted_run_leaves_its_batches_with_the_vendor_and_resume_collects_them(tmp_path, capsys):
    async with Simulator(simulation(work_s=1.5)) as simulator:
        task = asyncio.create_task(batched(simulator, tmp_path))
        while not any(len(batch.rows) > 2 for batch in simulator.ledger.batches.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        folder = tmp_path / "run"
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left = open_batches(folder / "batches.jsonl")
        assert len(left) == 1
        assert show(folder) == 0
        said = capsys.readouterr().out
        assert "With the vendor since " in said
        booked = read_account(folder / "ledger.jsonl")
        assert booked.unknown == sum(len(batch.rows) for batch in left.values())
        assert f"; and held for {booked.unknown} calls in 1 batch with the vendor: " in said
        assert "unknown fate" not in said, "it will be known"
        held = SavedRun(folder).held
        assert (held.batches, held.calls) == (1, booked.unknown)
        assert f"Cost: ${booked.cost_usd - held.usd:.4f} for " in said
        look = Tail(folder).look()
        assert look["cost_usd"] + look["held_usd"] == pytest.approx(booked.cost_usd)
        assert look["cost_usd"] == pytest.approx(booked.cost_usd - held.usd)
        assert "their worst case, until their replies are here" in render([load_run(folder)])
        hits: list[CacheHit] = []
        with reopen(folder) as again:
            runner = Runner(
                again, lambda event: hits.append(event) if isinstance(event, CacheHit) else None, waits=QUICK
            )
            score = await runner.run()
            assert runner.why_stopped is None
        assert not simulator.ledger.repeated()
        assert sum(hit.collected for hit in hits) == booked.unknown, "they were paid for in this run"
        assert score.calls.cached == sum(not hit.collected for hit in hits) < booked.unknown
        assert timeline(folder / "ledger.jsonl").lost == 0
        account = read_account(folder / "ledger.jsonl")
        bill = float(simulator.ledger.billed_usd)
    assert account.unknown == 0
    assert bill <= account.cost_usd <= bill * 1.0001 + 1e-7


async def test_of_two_runs_in_batches_on_one_cache_the_second_waits_for_the_firsts_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(cached, "CLAIM_PATIENCE_S", 0.6)  # of what is not in a batch yet
    monkeypatch.setattr(cached, "CLAIM_WAIT_S", 0.05)
    monkeypatch.setattr(cached, "BATCH_WAIT_S", 0.1)
    said: list[str] = []
    elsewhere = Batches.elsewhere

    def noted(self: Batches) -> bool:
        said.extend([self._title] * (found := elsewhere(self)))
        return found

    monkeypatch.setattr(Batches, "elsewhere", noted)
    async with Simulator(simulation(work_s=1.2)) as simulator:
        first = asyncio.create_task(batched(simulator, tmp_path / "first", cache=tmp_path / "cache"))
        while not any(len(batch.rows) > 2 for batch in simulator.ledger.batches.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        second = await batched(simulator, tmp_path / "second", cache=tmp_path / "cache")
        one = await first
        assert not simulator.ledger.repeated()
        bill = float(simulator.ledger.billed_usd)
    assert said, "the second run met calls of the first one's batch"
    assert second.score.unf1 == one.score.unf1
    booked = [read_account(each.runner.folder.files.ledger).cost_usd for each in (one, second)]
    assert bill <= sum(booked) <= bill * 1.0001 + 1e-7


DEATHS = ("written down", "uploaded", "taken", "looked at", "half done", "half read", "read")


async def killed(simulator: Simulator, folder: Path, vendor: str, death: str) -> Path:
    """The folder of a run that died by SIGKILL at a state of its first batch."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parent / "killed_in_batches.py"),
        *(str(folder), vendor, getattr(simulator, f"{vendor}_base"), death),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert await process.wait() == -signal.SIGKILL
    assert len(open_batches(folder / "run" / "batches.jsonl")) == 1
    return folder / "run"


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_run_that_is_killed_and_finds_its_batch_expired_keeps_what_was_answered(tmp_path, vendor):
    async with Simulator(simulation(work_s=0.4)) as simulator:
        whole = await batched(simulator, tmp_path / "whole", vendor)
    async with Simulator(simulation(work_s=0.6, window_s=0.4)) as simulator:
        folder = await killed(simulator, tmp_path / "killed", vendor, "half done")
        (left,) = simulator.ledger.batches.values()
        async with asyncio.timeout(10):
            while any(row.state == "open" for row in left.rows.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        states = {row.state for row in left.rows.values()}
        assert "expired" in states
        answered = sum(row.state == "succeeded" for row in left.rows.values())
        with reopen(folder) as again:
            runner = Runner(again, waits=QUICK)
            score = await runner.run()
            assert runner.why_stopped is None
        ledger = simulator.ledger
    assert score.unf1 == whole.score.unf1
    account, bill = read_account(folder / "ledger.jsonl"), float(ledger.billed_usd)
    if vendor == "gemini":  # which gives nothing back of a batch that has expired: booked at its worst, and asked again
        assert bill <= account.cost_usd
        assert account.unknown > 0
        return
    assert answered > 0
    assert not ledger.repeated()
    assert account.unknown == 0
    assert bill <= account.cost_usd <= bill * 1.0001 + 1e-7


@pytest.mark.parametrize(
    ("vendor", "death"),
    [
        *(("openai", death) for death in DEATHS),
        *((vendor, death) for vendor in ("anthropic", "gemini") for death in ("taken", "half done", "half read")),
    ],
)
async def test_a_run_that_is_killed_at_any_state_of_a_batch_sends_and_pays_nothing_twice(tmp_path, vendor, death):
    async with Simulator(simulation(work_s=0.4 if death == "half done" else 0.1)) as simulator:
        whole = await batched(simulator, tmp_path / "whole", vendor)
        simulator.ledger.reset()
        folder = await killed(simulator, tmp_path / "killed", vendor, death)
        with reopen(folder) as again:
            runner = Runner(again, waits=QUICK)
            score = await runner.run()
            assert runner.why_stopped is None
        ledger = simulator.ledger
    assert score.unf1 == whole.score.unf1
    assert not ledger.repeated()
    account = read_account(folder / "ledger.jsonl")
    assert account.unknown == 0
    bill = float(ledger.billed_usd)
    assert bill <= account.cost_usd <= bill * 1.0001 + 1e-7


async def test_batches_of_a_folder_that_is_not_the_users_own_are_believed_for_that_run_alone(tmp_path):
    file = tmp_path / "batches.jsonl"
    register = Register(file, b"k" * 32)
    register.handed_in("unsaf-1", "self", [Row("0" * 64, "answer", 1, 10, 5)])
    register.taken("unsaf-1", "batch_1")
    register.close()
    assert open_batches(file, b"k" * 32)["unsaf-1"].own
    assert not open_batches(file, b"x" * 32)["unsaf-1"].own
    assert not open_batches(file, None)["unsaf-1"].own
    file.write_bytes(file.read_bytes().replace(b"batch_1", b"batch_2"))
    assert not open_batches(file, b"k" * 32)["unsaf-1"].own


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b'{"what":"taken","name":"x","batch":"y"}',
        b'{"what":"handed in","name":"a","model":"self","t":1,"rows":[{}]}',
        b"\xff",
    ],
)
def test_a_line_that_is_none_of_a_register_is_one_clear_error(tmp_path, line):
    file = tmp_path / "batches.jsonl"
    file.write_bytes(line + b"\n")
    with pytest.raises(UserError, match=r"batches\.jsonl:1: is no line of a list of batches"):
        open_batches(file)


@pytest.mark.parametrize(
    ("provider", "base", "why"),
    [
        ("tiny", None, "tiny runs in this process"),
        ("vllm", "http://127.0.0.1:9/v1", "vllm is on a server of yours, which takes no less for a batch"),
        (
            "azure/gpt-5.4-mini",
            "https://me.openai.azure.com",
            "is called by way of Azure, whose batches are not spoken",
        ),
        ("vertex_ai/gemini-2.5-flash", None, "of another vendor or a gateway, whose batches are not spoken"),
        ("openrouter/openai/gpt-4o", None, "of another vendor or a gateway, whose batches are not spoken"),
        ("ollama/llava", None, "of another vendor or a gateway, whose batches are not spoken"),
        ("gpt-5.4-mini", ["https://one.example/v1", "https://two.example/v1"], "is called at several addresses"),
    ],
)
async def test_a_model_without_batches_is_refused_before_anything_is_sent_and_told_what_works(
    tmp_path, monkeypatch, provider, base, why
):
    from unsaf_async.runs.prepare import prepare
    from unsaf_async.runs.settings import Settings

    settings = Settings(provider, images=draw_images(tmp_path, 1), batch=True, api_base=base, price="1,1")
    with pytest.raises(UserError) as error:
        await prepare(settings)
    said = error.value.spelled(as_option)
    assert said.startswith("--batch cannot be: ")
    assert why in said
    assert "it works with OpenAI, Anthropic and Gemini, each at its own address; leave it out" in said


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_address_that_takes_no_batches_ends_the_run_in_one_line(tmp_path, monkeypatch, status):
    async def no_such_path(*_: object) -> str:
        raise error_of(status, "{}", {})

    monkeypatch.setattr(OpenAIBatches, "create", no_such_path)
    async with Simulator(simulation()) as simulator:
        outcome = await batched(simulator, tmp_path)
    assert "takes no batches at this address (" in outcome.runner.why_stopped
    assert outcome.runner.why_stopped.endswith("; with --no-batch all calls go alone")
    assert read_account(outcome.runner.folder.files.ledger).unknown == 0
    assert open_batches(outcome.runner.folder.files.batches) == {}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_batch_is_found_behind_newer_ones(vendor, monkeypatch):
    monkeypatch.setattr(f"unsaf_async.calls.batches.{vendor}_batches.LISTED", 1)
    async with Simulator(simulation()) as simulator:
        provider, base = ROUTES[vendor]
        subject = resolve(provider, api_base=getattr(simulator, base))
        backend = await open_backend(subject)
        api, asked = api_of(vendor, backend), RequestBuilder(subject, 2, 0)
        made = {}
        for number in range(3):
            key, name = f"{number:064x}", f"unsaf-{number}"
            row = api.row(key, asked.request("answer", f"What is this? {number}"))
            body = io.BytesIO(api.head(subject.wire_model, name) + row + api.tail())
            made[name, key] = await api.create(subject.wire_model, name, body)
        for (name, key), batch in made.items():
            assert await api.find(name, [key], time.time()) == batch
        assert await api.find("unsaf-x", ["f" * 64], time.time()) is None
        await backend.aclose()


async def test_a_run_that_is_done_collects_the_batch_that_it_left(tmp_path):
    async with Simulator(simulation()) as simulator:
        outcome = await batched(simulator, tmp_path)
        folder = tmp_path / "run"
        register = Register(folder / "batches.jsonl", user_key())
        register.handed_in("unsaf-gone", "self", [Row("0" * 64, "answer", 10**6, 10, 5)])
        register.close()
        with reopen(folder) as again:
            runner = Runner(again, waits=QUICK)
            score = await runner.run()
        assert score.unf1 == outcome.score.unf1
        assert open_batches(folder / "batches.jsonl") == {}


async def test_a_rule_that_ends_the_run_begins_no_more_images_than_it_is_expected_to_take(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "FIRST_BATCHED_IMAGES", 40)
    async with Simulator(simulation()) as simulator:
        outcome = await batched(simulator, tmp_path, images=70, until_ci=0.15, judge="rules")
    rule = rule_of(0.15, anytime=False)
    for image in outcome.examinations:
        rule.add(image)
    assert outcome.runner.satisfied
    assert rule.images_needed < 40
    assert len(outcome.examinations) == 40, "one round"


async def test_controls_go_in_batches_behind_the_answers_and_are_those_of_a_run_online(tmp_path):
    async with Simulator(simulation()) as simulator:
        alone = await batched(simulator, tmp_path / "alone", batch=False, controls="other")
        simulator.ledger.reset()
        together = await batched(simulator, tmp_path / "together", controls="other")
        billed_usd = float(simulator.ledger.billed_usd)
    controls = [
        sorted(
            (q.text, q.control.image, q.control.response)
            for each in run.examinations
            for q in each.questions
            if q.control
        )
        for run in (alone, together)
    ]
    assert len(controls[0]) == 3
    assert controls[0] == controls[1]
    assert together.score.controls == alone.score.controls
    assert together.score.cost_usd == pytest.approx(billed_usd)
    assert billed_usd < alone.score.cost_usd
