"""Workers that share a run's books: the score, the payments and the cap are those of one process, whoever is lost."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from cluster.in_process import Workers, at_call, drive

from unsaf_async.calls.books import Coming
from unsaf_async.calls.budget import Budget
from unsaf_async.calls.ledger import Ledger, read_account
from unsaf_async.calls.rate_limit import Pace
from unsaf_async.cluster.counterpart import Counterpart
from unsaf_async.cluster.leased import leased_books
from unsaf_async.cluster.link import Link
from unsaf_async.cluster.on_ray import _RayHandle
from unsaf_async.cluster.pool import Lost
from unsaf_async.events import Paused
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

PAID = Simulation(price=(2.5, 10), latency=0.005)
SAME = ("counts", "unf1", "unf1_ci", "unscored", "by_kind", "images", "questions")


def served_again(ledger) -> int:
    """Whole replies beyond each request's first."""
    counts = [entry["healthy"] for entry in ledger.as_json()["requests"].values()]
    return sum(count - 1 for count in counts if count > 1)


def billed_usd(ledger) -> float:
    return float(ledger.as_json()["totals"]["billed_usd"])


async def test_three_workers_come_to_the_score_and_the_bill_of_one_process(tmp_path):
    async with Simulator(PAID) as simulator:
        alone = await drive(simulator, tmp_path / "alone", None)
        bill = billed_usd(simulator.ledger)
    async with Simulator(PAID) as simulator:
        workers = Workers(3)
        shared = await drive(simulator, tmp_path / "shared", workers)
        assert billed_usd(simulator.ledger) == pytest.approx(bill)
        assert served_again(simulator.ledger) == 0
    assert {name: getattr(shared.score, name) for name in SAME} == {name: getattr(alone.score, name) for name in SAME}
    account = read_account(shared.runner.folder.files.ledger)
    assert (account.cost_usd, account.unknown) == (pytest.approx(bill), 0)
    assert account.made == read_account(alone.runner.folder.files.ledger).made
    assert shared.runner.budget.reserved_nano_usd == 0
    assert not shared.runner.folder.files.received.exists()


async def test_a_lost_workers_images_go_to_others_and_what_was_in_flight_counts_at_its_worst(tmp_path):
    async with Simulator(PAID) as simulator:
        alone = await drive(simulator, tmp_path / "alone", None)
    async with Simulator(PAID) as simulator:
        workers = Workers(2)
        kill = at_call(20, lambda: workers.handles[-1].kill())
        shared = await drive(simulator, tmp_path / "shared", workers, announce=kill)
        account = read_account(shared.runner.folder.files.ledger)
        assert served_again(simulator.ledger) <= account.unknown <= 8
        assert account.spent_nano_usd / 1e9 >= billed_usd(simulator.ledger) - 1e-9
    assert len(workers.handles) == 3
    assert {name: getattr(shared.score, name) for name in SAME} == {name: getattr(alone.score, name) for name in SAME}
    assert shared.runner.budget.reserved_nano_usd == 0
    assert shared.runner.budget.spent_nano_usd == account.spent_nano_usd


async def test_the_cap_holds_over_all_workers(tmp_path):
    async with Simulator(PAID) as simulator:
        ended = await drive(simulator, tmp_path, Workers(3), max_cost=0.18)
        # Of six images, each of which can cost $0.16, one is begun at a time, until what is left covers no other.
        assert 0 < billed_usd(simulator.ledger) <= 0.18
    assert ended.runner.exhausted
    assert "--max-cost 0.18" in ended.runner.why_stopped
    assert 0 < ended.score.images.done < 6


async def test_limits_are_shared_and_a_workers_part_goes_to_the_others_when_it_is_lost(tmp_path):
    parts = []

    def look() -> None:
        for handle in workers.handles:
            (model,) = handle.worker._session.models.values()
            (replica,) = model.replicas._replicas
            parts.append((replica.pace.per_minute["requests"], replica.pace.limits.concurrency))

    async with Simulator(PAID) as simulator:
        workers = Workers(3)
        await drive(simulator, tmp_path, workers, announce=at_call(12, look), rpm=60_000)
    assert [round(rate) for rate, _ in parts] == [20_000] * 3
    assert sorted(slots for _, slots in parts) == [2, 3, 3]


async def test_an_image_that_a_worker_cannot_read_is_sent_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "unsaf_async.cluster.worker.state_of", lambda _: ""
    )  # of workers: the pool has the function itself
    async with Simulator(PAID) as simulator:
        ended = await drive(simulator, tmp_path, Workers(1), images=2)
    assert ended.score.images.done == 2
    assert [each.image.path for each in ended.examinations] == [
        str(tmp_path / "images" / each.image.id) for each in ended.examinations
    ]


async def test_a_key_that_is_wrong_ends_the_run_as_in_one_process(tmp_path):
    async with Simulator(Simulation(api_key="sk-right")) as simulator:
        ended = await drive(simulator, tmp_path, Workers(2), model="simulated")
    assert ended.runner.mistake == "key"


async def test_an_entry_that_nobody_waits_for_any_more_costs_nothing(tmp_path):
    """A sibling of the call failed while the driver wrote the line: nothing left."""
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        budget = Budget()
        session = SimpleNamespace(ledger=ledger, budget=budget)
        async with asyncio.TaskGroup() as group:
            link = Link()
            driver = Counterpart(session, {}, link.answer, group.create_task, {})
            books = leased_books(link, ())
            image = books.budget.for_image(1000)
            reserving = group.create_task(image.reserve(400))
            await driver.hear(await link.said())
            entering = group.create_task(books.ledger.enter("answer", await reserving, again=False))
            said = await link.said()
            entering.cancel()  # the answer is on its way
            await driver.hear(said)
            assert len(ledger.account.open) == 1
            await asyncio.gather(entering, return_exceptions=True)
            await driver.hear(await link.said())
            assert ledger.account.open == {}
            await driver.lose()
        assert (ledger.account.spent_nano_usd, ledger.account.unknown) == (0, 0)
        assert (budget.reserved_nano_usd, budget.spent_nano_usd) == (0, 0)


class _Empty:
    """A store in which nothing is stored."""

    async def look(self, key: str, own: str) -> tuple[bool, None]:
        return True, None

    def release(self, key: str) -> None:
        pass


async def test_a_call_that_can_leave_is_entered_on_the_trip_that_looks_for_its_reply(tmp_path):
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        budget = Budget()
        session = SimpleNamespace(ledger=ledger, budget=budget, store=_Empty(), models={})
        async with asyncio.TaskGroup() as group:
            link = Link()
            driver = Counterpart(session, {}, link.answer, group.create_task, {})
            books = leased_books(link, ())
            image = books.budget.for_image(2000)
            beginning = group.create_task(image.reserve(400))
            await driver.hear(await link.said())
            (await beginning).refund()  # begun: it has the money for its other calls

            async def look(key: str) -> None:
                looking = group.create_task(books.store.look(key, "own", Coming("answer", 400, image, 2)))
                await asyncio.sleep(0)
                await driver.hear(await link.said())
                await looking

            for key in ("leaves", "does not leave", "would have to wait"):
                await look(key)
            assert list(ledger.account.open.values()) == [400, 400]
            number = await books.ledger.enter("answer", await image.reserve(400), again=False)  # nobody is asked
            for key in ("leaves", "does not leave", "would have to wait"):
                books.store.release(key)
            await driver.hear(await link.said())
            assert list(ledger.account.open) == [number]
            await driver.lose()
        assert (ledger.account.spent_nano_usd, ledger.account.unknown, ledger.account.unsent) == (400, 1, 1)
        assert (budget.reserved_nano_usd, budget.spent_nano_usd) == (0, 400)


async def test_a_wait_that_is_asked_of_one_worker_is_the_others_too(tmp_path, monkeypatch):
    paused = []
    monkeypatch.setattr(Pace, "pause", lambda pace, seconds: paused.append((pace.name, seconds)))

    def ask() -> None:
        assert workers.pool is not None
        workers.pool._event(workers.pool._places[0], Paused("vllm", 0.5, "429"))
        workers.pool._event(workers.pool._places[0], Paused("vllm", 0.7, "429", asked=False))

    async with Simulator(PAID) as simulator:
        workers = Workers(3)
        await drive(simulator, tmp_path, workers, announce=at_call(4, ask), images=3)
    assert paused == [("vllm", 0.5)] * 2


async def test_the_calls_of_workers_are_counted_among_those_under_way(tmp_path):
    seen = []

    def look() -> None:
        assert workers.pool is not None
        (model,) = workers.pool._session.models.values()
        seen.append((model.replicas.in_flight, model.replicas.slots))

    async with Simulator(PAID) as simulator:
        workers = Workers(2)
        ended = await drive(simulator, tmp_path, workers, announce=at_call(4, look), images=3)
    ((under_way, slots),) = seen
    assert 0 < under_way <= slots == 8
    assert [model.replicas.in_flight for model in ended.runner.models] == [0]


async def test_a_worker_without_room_for_an_image_ends_the_run_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("unsaf_async.cluster.worker.state_of", lambda _: "")
    monkeypatch.setattr(
        "unsaf_async.cluster.worker.TemporaryDirectory", lambda prefix: nullcontext(str(tmp_path / "not" / "there"))
    )
    async with Simulator(PAID) as simulator:
        ended = await drive(simulator, tmp_path, Workers(1), images=2)
    assert ended.runner.why_stopped.startswith("a worker cannot keep an image: ")
    assert "\n" not in ended.runner.why_stopped
    assert served_again(simulator.ledger) == 0


@pytest.mark.parametrize("name", ["RayActorError", "OutOfMemoryError", "NodeDiedError", "RaySystemError"])
async def test_whatever_ray_says_of_an_actor_that_is_gone_it_is_a_lost_worker(name):
    class RayError(Exception):
        pass

    class RayTaskError(RayError):
        pass

    async def gone(*_: object) -> None:
        raise type(name, (RayError,), {})("gone")

    async def stumbled(*_: object) -> None:
        raise RayTaskError("a bug")

    ray = SimpleNamespace(exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError))
    actor = SimpleNamespace(exchange=SimpleNamespace(remote=gone), end=SimpleNamespace(remote=stumbled))
    handle = _RayHandle(ray, actor)
    with pytest.raises(Lost, match="gone"):
        await handle.exchange([])
    with pytest.raises(RayTaskError, match="a bug"):
        await handle.end()
