"""What vendors, disks and users do to batches: nothing is lost, nothing leaves without money, and what is not told is booked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest
from driving import KEY, PRICE, drive_at

from unsaf_async.calls.backends.error_status import error_of
from unsaf_async.calls.batches import anthropic_batches, batches, openai_batches
from unsaf_async.calls.batches.anthropic_batches import AnthropicBatches
from unsaf_async.calls.batches.api import Result
from unsaf_async.calls.batches.batches import Batches, Waits
from unsaf_async.calls.batches.openai_batches import OpenAIBatches
from unsaf_async.calls.batches.register import Register, Row, open_batches
from unsaf_async.calls.ledger import read_account
from unsaf_async.errors import Transient, UserError
from unsaf_async.runs.folder import reopen
from unsaf_async.runs.runner import Runner
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import BatchRules, Simulation

QUICK = Waits(quiet_s=0.1, first_look_s=0.02, longest_look_s=0.1, again_s=0.03, longest_again_s=0.1)


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in ("OPENAI", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
    monkeypatch.setattr(anthropic_batches, "LOOK_AGAIN_S", 0.05)


def simulation(**rules) -> Simulation:
    return Simulation(price=PRICE, batches=BatchRules(**{"validate_s": 0, "work_s": 0.02, "finalize_s": 0, **rules}))


async def batched(simulator: Simulator, folder, vendor: str = "openai", **options):
    given = {"images": 3, "questions": 1, "waits": QUICK, "batch": True, **options}
    async with asyncio.timeout(60):
        return await drive_at(simulator, vendor, folder, **given)


async def resumed(folder) -> Runner:
    with reopen(folder / "run") as again:
        runner = Runner(again, waits=QUICK)
        async with asyncio.timeout(60):
            await runner.run()
    assert runner.why_stopped is None
    return runner


def spent_usd(folder) -> float:
    return read_account(folder / "run" / "ledger.jsonl").cost_usd


def failing(kind: type, name: str, error: Exception, monkeypatch, times: int = 1) -> None:
    """Have a method raise an error the first times that it is called."""
    method, left = getattr(kind, name), [times]

    def instead(self, *given):
        if left[0]:
            left[0] -= 1
            raise error
        return method(self, *given)

    monkeypatch.setattr(kind, name, instead)


@pytest.mark.parametrize("name", ["taken", "over"])
async def test_a_disk_that_is_full_at_a_line_of_the_register_ends_the_run_in_one_line_and_nothing_is_sent_twice(
    tmp_path, monkeypatch, name
):
    failing(Register, name, UserError("batches.jsonl: cannot be written (no space is left)"), monkeypatch)
    async with Simulator(simulation()) as simulator:
        outcome = await batched(simulator, tmp_path)
        assert "no space is left" in outcome.runner.why_stopped
        assert outcome.runner.unwritable
        assert len(open_batches(tmp_path / "run" / "batches.jsonl")) == 1
        await resumed(tmp_path)
        assert not simulator.ledger.repeated()
        bill = float(simulator.ledger.billed_usd)
    assert read_account(tmp_path / "run" / "ledger.jsonl").unknown == 0
    assert bill <= spent_usd(tmp_path) <= bill * 1.0001 + 1e-7


async def test_a_disk_that_is_full_before_a_batch_is_written_ends_the_run_in_one_line(tmp_path, monkeypatch):
    def no_file(**_: object):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batches, "TemporaryFile", no_file)
    async with Simulator(simulation()) as simulator:
        outcome = await batched(simulator, tmp_path)
        assert "a batch cannot be written" in outcome.runner.why_stopped
        assert not simulator.ledger.batches
        assert spent_usd(tmp_path) == pytest.approx(float(simulator.ledger.billed_usd), abs=1e-7)


async def test_a_lost_creation_counts_as_taken_where_the_list_of_batches_is_refused(tmp_path, monkeypatch):
    refused = error_of(403, '{"error":{"message":"missing scopes: api.batch.read"}}', {})
    failing(OpenAIBatches, "find", refused, monkeypatch)
    async with Simulator(simulation(faults={"lost_reply": 1.0})) as simulator:
        outcome = await batched(simulator, tmp_path)
        assert "missing scopes" in outcome.runner.why_stopped
        assert len(open_batches(tmp_path / "run" / "batches.jsonl")) == 1
        assert spent_usd(tmp_path) > float(simulator.ledger.billed_usd)
        await resumed(tmp_path)
        assert not simulator.ledger.repeated()


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_results_that_are_not_there_yet_are_asked_for_again(tmp_path, vendor):
    async with Simulator(simulation(faults={"results_404": 1.0})) as simulator:
        outcome = await batched(simulator, tmp_path, vendor)
        assert outcome.runner.why_stopped is None
        assert not simulator.ledger.repeated()
        assert read_account(tmp_path / "run" / "ledger.jsonl").unknown == 0


async def test_a_batch_that_the_vendor_has_no_longer_is_booked_at_its_worst_and_its_calls_go_alone(
    tmp_path, monkeypatch
):
    async def lost(self, batch):
        raise error_of(404, '{"error":{"message":"No batch found"}}', {})

    monkeypatch.setattr(OpenAIBatches, "state", lost)
    async with Simulator(simulation()) as simulator:
        outcome = await batched(simulator, tmp_path)
        assert outcome.runner.why_stopped is None
        assert outcome.runner.unfinished is None
        assert spent_usd(tmp_path) >= float(simulator.ledger.billed_usd)
    assert open_batches(tmp_path / "run" / "batches.jsonl") == {}


async def test_a_row_without_a_result_in_a_batch_that_is_done_counts_at_its_worst(tmp_path, monkeypatch):
    read = openai_batches.result_of
    dropped: set[str] = set()

    def without_the_first(line):
        result = read(line)
        dropped.add(result.key) if not dropped else None
        return None if result.key in dropped else result

    monkeypatch.setattr(openai_batches, "result_of", without_the_first)
    async with Simulator(simulation()) as simulator:
        outcome = await batched(simulator, tmp_path)
        assert outcome.runner.why_stopped is None
        assert read_account(tmp_path / "run" / "ledger.jsonl").unknown == 1
        assert spent_usd(tmp_path) >= float(simulator.ledger.billed_usd)


async def test_a_batch_that_is_larger_than_the_vendors_queue_goes_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "LEAST_ROWS", 1)
    async with Simulator(simulation()) as simulator:
        free = await batched(simulator, tmp_path / "free", images=5)
        a_call = free.ledger.input_tokens / free.ledger.requests
        simulator.ledger.reset()
    async with Simulator(simulation(enqueued_tokens=int(4 * a_call))) as simulator:
        outcome = await batched(simulator, tmp_path, images=5)
        assert outcome.runner.why_stopped is None
        assert outcome.runner.unfinished is None
        assert not simulator.ledger.repeated()


@pytest.mark.parametrize("limit", [{"most_rows": 2}, {"most_bytes": 12_000}])
@pytest.mark.parametrize("vendor", ["openai", "gemini"])
async def test_calls_beyond_a_vendors_limit_go_in_several_batches(tmp_path, monkeypatch, vendor, limit):
    from unsaf_async.calls.batches.gemini_batches import GeminiBatches

    for name, value in limit.items():
        for kind in (OpenAIBatches, GeminiBatches):
            monkeypatch.setattr(kind, name, value)
    rules = {"most_rows": "max_rows", "most_bytes": "max_bytes"}
    async with Simulator(simulation(**{rules[name]: value for name, value in limit.items()})) as simulator:
        outcome = await batched(simulator, tmp_path, vendor, images=6)
        assert outcome.runner.why_stopped is None
        assert outcome.runner.unfinished is None
        assert not simulator.ledger.repeated()
        sizes = [len(batch.rows) for batch in simulator.ledger.batches.values()]
    assert (
        len(sizes) > 3
    )  # without the limit there is one for the question lists, one for the answers, one for the judge
    assert max(sizes) <= limit.get("most_rows", max(sizes))


async def test_a_key_in_the_reason_of_a_row_is_hidden(tmp_path, monkeypatch):
    read, state_of = openai_batches.result_of, openai_batches.state_of

    def echoing(line):
        return Result(read(line).key, None, f"{'x' * 280} {KEY} was used")

    monkeypatch.setattr(openai_batches, "result_of", echoing)
    monkeypatch.setattr(openai_batches, "state_of", lambda seen: replace(state_of(seen), whole=False, answered=0))
    events = []
    monkeypatch.setattr(Runner, "_announce", lambda _, event: events.append(repr(event)))
    async with Simulator(simulation()) as simulator:
        await batched(simulator, tmp_path)
    assert any("xxxx" in event for event in events)
    assert not any(KEY[:12] in event for event in events)


async def test_a_call_that_is_given_up_while_its_batch_is_written_does_not_leave(tmp_path, monkeypatch):
    write, hit = Batches._write, []

    def written(self, body, name, calls):
        if not hit:
            hit.append(calls[0].key)
            self_loop.call_soon_threadsafe(calls[0].future.cancel)
        taken = write(self, body, name, calls)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), self_loop).result()
        return taken

    self_loop = asyncio.get_running_loop()
    monkeypatch.setattr(Batches, "_write", written)
    async with Simulator(simulation()) as simulator:
        await batched(simulator, tmp_path)
        rows = [key for batch in simulator.ledger.batches.values() for key in batch.rows]
    assert hit[0] not in rows


async def test_a_stop_does_not_wait_for_a_batch_that_is_sought(tmp_path, monkeypatch):
    sought = asyncio.Event()
    end_of = AnthropicBatches._end_of

    async def told(self, batch):
        sought.set()
        await end_of(self, batch)

    monkeypatch.setattr(AnthropicBatches, "_end_of", told)
    runners = []
    begin = Runner.__init__

    def noted(self, *given, **named):
        runners.append(self)
        begin(self, *given, **named)

    monkeypatch.setattr(Runner, "__init__", noted)
    async with Simulator(simulation(work_s=60, faults={"lost_reply": 1.0})) as simulator:
        task = asyncio.create_task(batched(simulator, tmp_path, "anthropic"))
        await sought.wait()
        runners[0].stop()
        async with asyncio.timeout(5):
            outcome = await task
    assert outcome.runner.why_stopped == "interrupted"
    assert len(open_batches(tmp_path / "run" / "batches.jsonl")) == 1


async def test_a_batch_that_has_ended_before_it_could_be_cancelled_is_read(tmp_path, monkeypatch):
    async def too_late(self, batch):
        raise error_of(400, '{"error":{"message":"cannot be canceled because it has already ended"}}', {})

    monkeypatch.setattr(AnthropicBatches, "cancel", too_late)
    async with Simulator(simulation(work_s=0.4)) as simulator:
        outcome = await batched(simulator, tmp_path, "anthropic", batch_window=0.00001)
        assert outcome.runner.why_stopped is None
        assert not simulator.ledger.repeated()
        assert read_account(tmp_path / "run" / "ledger.jsonl").unknown == 0


async def test_what_a_vendor_does_not_end_is_given_up_at_last(tmp_path):
    impatient = replace(QUICK, overdue_s=0.2)
    async with Simulator(simulation(work_s=60)) as simulator:
        outcome = await batched(simulator, tmp_path, "gemini", batch_window=0.00001, waits=impatient)
        assert outcome.runner.why_stopped is None
        assert outcome.runner.unfinished is None
    assert spent_usd(tmp_path) >= float(outcome.ledger.billed_usd)


@pytest.mark.parametrize("batch", ["../files", "a/b", "x\ny", "..", "", "a" * 400, "batches/../models", 7])
def test_an_id_that_is_none_is_no_line_of_a_register(tmp_path, batch):
    register = Register(tmp_path / "batches.jsonl", None)
    register.handed_in("unsaf-1", "self", [Row("0" * 64, "answer", 1, 10, 5)])
    register._lines.append(b'{"what":"taken","t":1,"name":"unsaf-1","batch":%s}' % _json(batch))
    register.close()
    with pytest.raises(UserError, match="is no line of a list of batches"):
        open_batches(tmp_path / "batches.jsonl")


def _json(value: object) -> bytes:
    import orjson

    return orjson.dumps(value)


@pytest.mark.parametrize("made", ["../files", "a/b", "x\ny", "a" * 400])
def test_an_id_that_is_none_is_not_taken_from_a_vendor(made):
    with pytest.raises(Transient) as error:
        openai_batches._id_of({"id": made})
    assert error.value.fate_unknown


def test_a_row_whose_result_is_of_no_known_kind_may_be_billed():
    assert anthropic_batches.result_of(b'{"custom_id":"k","result":{"type":"new"}}').answer is not None
    assert openai_batches.result_of(b'{"custom_id":"k","response":{"status_code":"200"}}').answer is not None
    assert openai_batches.result_of(b'{"custom_id":"k","error":{"code":"batch_expired"}}').answer is None


SETTINGS = 8
WORST_USD = {"openai": 0.09, "anthropic": 0.32, "gemini": 0.29}
"""What an image of one question costs at worst, online: about so much is free, so that some images wait for others' money."""


@pytest.mark.parametrize("seed", range(SETTINGS))
async def test_the_cap_holds_by_the_servers_ledger_whatever_happens_to_batches(tmp_path, seed):
    draw = Random(seed)
    faults = {
        name: draw.choice((0.0, 0.1, 0.4))
        for name in ("row_500", "row_expired", "poll_500", "results_500", "results_404", "create_500", "lost_reply")
    }
    rules = BatchRules(
        validate_s=0, work_s=draw.choice((0.01, 0.1)), finalize_s=0, window_s=draw.choice((0.15, 0.4)), faults=faults
    )
    online = {name: draw.choice((0.0, 0.05)) for name in ("500", "disconnect_after", "length", "safety", "empty")}
    options = {"images": draw.randint(2, 3), "questions": draw.randint(1, 2), "cache": None, "seed": seed}
    vendor = draw.choice(("openai", "anthropic", "gemini"))
    given = Simulation(price=PRICE, batches=rules, faults=online, fault_seed=seed)
    cap = draw.uniform(1.1, 4.0) * WORST_USD[vendor] * options["questions"]
    async with Simulator(given) as simulator:
        outcome = await batched(simulator, tmp_path, vendor, max_cost=cap, **options)
        bill = float(simulator.ledger.billed_usd)
    spent = read_account(outcome.runner.folder.files.ledger).cost_usd
    assert outcome.ledger.batches or outcome.runner.exhausted
    assert bill <= spent + 1e-9
    assert spent <= cap + 1e-9
