"""One model at several endpoints: the least busy is called, and a dead one is left out, said to be, and costs no answer."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from between import between, run_at
from commandline import Ended, command, serving
from doubles import Script
from driving import draw_images

from unsaf_async.calls.backends import open as open_module
from unsaf_async.calls.backends.open import with_model_found
from unsaf_async.calls.ledger import read_account
from unsaf_async.calls.rate_limit import Pace
from unsaf_async.calls.replicas import FEW_CALLS, Replica, Replicas
from unsaf_async.distill.data.terms import is_commercial
from unsaf_async.errors import Fatal, UserError
from unsaf_async.events import CallSettled, Notice, silent
from unsaf_async.examine.examiner import has_failed_calls
from unsaf_async.providers.load_profiles import load_profiles
from unsaf_async.providers.profile import Limits
from unsaf_async.providers.resolve import resolve
from unsaf_async.runs.folder import read_manifest
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.saved import SavedRun
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import ServerLimits, Simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from unsaf_async.calls.ledger import Account
    from unsaf_async.events import Announce, Event
    from unsaf_async.runs.runner import Runner


def closed_port() -> str:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@asynccontextmanager
async def running(*simulations: Simulation) -> AsyncIterator[list[Simulator]]:
    """Simulators of these, side by side."""
    async with AsyncExitStack() as exits:
        yield [await exits.enter_async_context(Simulator(each)) for each in simulations]


async def run_over(
    bases: list[str], folder: Path, announce: Announce = silent, profile: dict[str, Any] | None = None, **options: Any
) -> tuple[Runner, list[str]]:
    """A run at several endpoints, and what was said of those that were left out."""
    left_out: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Notice) and "left out" in event.text:
            left_out.append(event.text)
        announce(event)

    changed = {"replicas": tuple(bases[1:]), **(profile or {})}
    return await run_at(bases[0], folder, announce=listen, profile=changed, **options), left_out


def responses(runner: Runner) -> list[list[tuple[str, str]]]:
    """Every question with its response; a failed call is an error."""
    kept = read_journal(runner.folder.files.journal)
    assert not any(map(has_failed_calls, kept.values()))
    return [[(each.text, each.response) for each in kept[image].questions] for image in sorted(kept)]


def account_of(runner: Runner) -> Account:
    """What a run has sent and spent."""
    return read_account(runner.folder.files.ledger)


async def test_two_servers_share_the_calls_and_answer_as_one(tmp_path: Path) -> None:
    async with running(Simulation(latency=0.02), Simulation(latency=0.02)) as (one, other):
        runner, left_out = await run_over([one.openai_base, other.openai_base], tmp_path / "two", images=12)
        shares = one.ledger.served, other.ledger.served
        alone, _ = await run_over([one.openai_base], tmp_path / "one", images=12)
    assert left_out == []
    assert min(shares) > 0.4 * sum(shares)
    assert sum(shares) == sum(account_of(runner).made.values())
    assert responses(runner) == responses(alone)


async def test_each_server_has_the_limits_of_its_own(tmp_path: Path) -> None:
    async with running(Simulation(latency=0.05), Simulation(latency=0.05)) as (one, other):
        limits = {"limits": Limits(concurrency=3)}
        await run_over([one.openai_base, other.openai_base], tmp_path, images=12, profile=limits)
        assert (one.ledger.peak_in_flight, other.ledger.peak_in_flight) == (3, 3)


@pytest.mark.parametrize("place", [0, 1])
async def test_a_server_that_is_not_there_is_left_out_and_told_once(tmp_path: Path, place: int) -> None:
    async with running(Simulation(latency=0.05)) as (alive,):
        bases = [alive.openai_base]
        bases.insert(place, closed_port())
        runner, left_out = await run_over(bases, tmp_path, images=6)
        account, served = account_of(runner), alive.ledger.served
    assert not account.unknown
    # A slow machine tries the dead one again after its pauses of 1, 2 and 4 s.
    assert (sum(account.made.values()), 0 < account.unsent <= FEW_CALLS + 3) == (served, True), (
        "what never left is no call"
    )
    assert len(responses(runner)) == 6
    (line,) = left_out
    assert line.startswith(f"vllm: {bases[place]} is left out for now (")
    assert line.endswith(f"; whether {alive.openai_base} answers is not known yet")
    told = f"vllm at {bases[place]} was left out: {bases[place][7:-3]}: no connection (connection refused)"
    assert told in SavedRun(runner.folder.path).findings.warnings, "and is known where nobody was told"
    assert runner.why_stopped is None


# aiohttp's server forgets a connection that comes while it closes: it is neither closed nor answered.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_server_that_dies_in_the_middle_costs_no_answer(tmp_path: Path) -> None:
    calls: list[CallSettled] = []
    closing: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as dying, running(Simulation(latency=0.03)) as (alive,):
        other = await dying.enter_async_context(Simulator(Simulation(latency=0.03)))

        def listen(event: Event) -> None:
            if isinstance(event, CallSettled):
                calls.append(event)
                if len(calls) == 15:
                    closing.append(asyncio.get_running_loop().create_task(dying.aclose()))

        bases = [other.openai_base, alive.openai_base]
        runner, left_out = await run_over(bases, tmp_path, listen, {"timeout_s": 5.0}, images=40)
        await closing[0]
    assert len(responses(runner)) == 40
    assert [other.openai_base in line for line in left_out] == [True]


@pytest.mark.parametrize("status", [500, 401, 404])
async def test_a_server_that_answers_with_errors_only_is_left_out(tmp_path: Path, status: int) -> None:
    async with (
        between(Simulation(), lambda _: (status, {"error": "out of order"})) as broken,
        running(Simulation()) as (alive,),
    ):
        runner, left_out = await run_over([broken.base, alive.openai_base], tmp_path, images=12)
    assert len(responses(runner)) == 12
    assert [broken.base in line for line in left_out] == [True]
    assert len(broken.refused) <= 32


@pytest.mark.parametrize(
    "patient",
    [
        Simulation(limits=ServerLimits(requests_per_minute=1, burst=4)),
        Simulation(faults={"429": 1.0}, retry_after_s=90.0),
    ],
    ids=["told by headers", "told by 429"],
)
async def test_what_waits_for_a_server_that_asks_for_patience_goes_to_the_other(
    tmp_path: Path, patient: Simulation
) -> None:
    began = time.monotonic()
    async with running(patient, Simulation()) as (limited, alive):
        limits = {"limits": Limits(concurrency=2)}
        runner, left_out = await run_over([limited.openai_base, alive.openai_base], tmp_path, images=8, profile=limits)
        assert limited.ledger.served < 0.3 * alive.ledger.served
    assert len(responses(runner)) == 8
    assert left_out == []
    assert time.monotonic() - began < 40  # a minute's wait is asked for


async def test_a_server_that_asks_to_wait_for_a_day_is_left_out_and_costs_no_answer(tmp_path: Path) -> None:
    patient = Simulation(faults={"429": 1.0}, fault_seed=1, retry_after_s=86400)
    async with running(Simulation(), patient) as (good, bad):
        ended, left_out = await run_over([good.openai_base, bad.openai_base], tmp_path, images=4)
        assert bad.ledger.faults["429"] > 0
    assert ended.why_stopped is None
    assert ended.unfinished is None
    (told,) = left_out
    assert "it asks to wait until " in told
    assert len(responses(ended)) == 4


async def test_with_no_server_left_the_run_stops_with_the_reason_of_the_last(tmp_path: Path) -> None:
    bases = [closed_port(), closed_port()]
    runner, left_out = await run_over(bases, tmp_path, images=6)
    assert len(left_out) == 1
    assert runner.mistake == "unreachable"
    assert runner.why_stopped is not None
    assert all(f"{base} (" in runner.why_stopped for base in bases)
    assert "no connection (connection refused)" in runner.why_stopped
    assert "on" not in left_out[0].partition(";")[2].split(), "nobody was said to go on"


async def test_a_strict_run_says_at_which_servers_another_model_may_have_answered(tmp_path: Path) -> None:
    async with running(Simulation(), Simulation(substitute={"simulated": "other"})) as (one, other):
        bases = [one.openai_base, other.openai_base]
        runner, _ = await run_over(bases, tmp_path, images=4, strict_model=True)
    assert runner.why_stopped == f"vllm: simulated was asked, and other answered at one of {', '.join(bases)}"


async def test_stopping_stops_the_calls_to_every_server() -> None:
    async with Pace("a", Limits()) as one, Pace("b", Limits()) as other:
        replicas = Replicas("double", [Replica("a", Script(), one), Replica("b", Script(), other)])
        assert replicas.down is None
        replicas.shut(Fatal("interrupted", kind="interrupted"))
        assert str(replicas.down) == "interrupted"
        with pytest.raises(Fatal, match="interrupted"):
            await replicas.enter("ask", 1)


async def test_of_servers_that_name_no_model_all_must_serve_the_same(tmp_path: Path) -> None:
    async with running(*(Simulation(models=(name,)) for name in ("a", "a", "b"))) as (one, same, other):
        alike = resolve("vllm", api_base=[one.openai_base, closed_port(), same.openai_base])
        assert (await with_model_found(alike)).model == "a"
        both = resolve("vllm", api_base=[one.openai_base, other.openai_base])
        text = f"vllm: {one.openai_base} serves a, and {other.openai_base} serves b; give endpoints of one model"
        with pytest.raises(UserError, match=text):
            await with_model_found(both)
    dead = [closed_port(), closed_port()]
    with pytest.raises(UserError, match="connection refused") as told:
        await with_model_found(resolve("vllm", api_base=dead))
    assert all(f"{base}/models: " in str(told.value) for base in dead)


async def test_a_server_that_does_not_say_what_it_serves_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_module, "OTHERS_WAIT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent_one:
        hangs = f"http://127.0.0.1:{silent_one.getsockname()[1]}/v1"
        async with running(Simulation(models=("a",))) as (one,):
            began = time.monotonic()
            assert (await with_model_found(resolve("vllm", api_base=[hangs, one.openai_base]))).model == "a"
    assert time.monotonic() - began < 15  # 30 s otherwise


def test_the_option_is_given_several_times_and_a_run_goes_on_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_images(tmp_path / "images", 6)
    run = str(tmp_path / "run")
    with serving() as one, serving() as other:
        both = ["--api-base", one.openai_base, "--api-base", other.openai_base]
        of_all = [
            "--provider",
            "vllm",
            "--model",
            "simulated",
            "--images",
            str(tmp_path / "images"),
            "--questions",
            "1",
        ]
        planned = command(capsys, "run", *of_all, *both, "--dry-run", "--out", run)
        ended = command(capsys, "run", *of_all, *both, "--limit", "6", "--out", run, "--cache", str(tmp_path / "cache"))
        assert (planned.code, ended.code) == (0, 0), planned.err + ended.err
        assert f"at {one.openai_base}, {other.openai_base}" in planned.out
        assert read_manifest(tmp_path / "run").subject.endpoints == (one.openai_base, other.openai_base)
        before = one.ledger.served, other.ledger.served
        assert min(before) > 0
        more = command(capsys, "resume", run, "--confidence")
        assert more.code == 0, more.err
        assert min(one.ledger.served - before[0], other.ledger.served - before[1]) > 0
        probed = command(capsys, "doctor", "--provider", "vllm", "--model", "simulated", *both)
        assert probed.code == 0, probed.err
        assert one.openai_base in probed.out
        assert other.openai_base in probed.out
        dead = closed_port()
        probed = command(
            capsys,
            "doctor",
            "--provider",
            "vllm",
            "--model",
            "simulated",
            "--api-base",
            dead,
            "--api-base",
            one.openai_base,
        )
        assert probed.code == 2
        assert probed.out.count("Cost: ") == 1
        assert "(1 of 2 endpoints cannot be used)" in probed.err


def test_a_server_that_was_left_out_is_known_afterwards_where_nobody_was_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_images(tmp_path / "images", 2)
    dead, run = closed_port(), str(tmp_path / "run")
    with serving() as alive:
        words = ("--provider", "vllm", "--model", "simulated", "--images", str(tmp_path / "images"), "--questions", "1")
        bases = ("--api-base", dead, "--api-base", alive.openai_base)
        ended = command(capsys, "run", *words, *bases, "--no-cache", "--out", run, "-q", "--report")
        assert ended.code == 0
    told = f"vllm at {dead} was left out: {dead[7:-3]}: no connection (connection refused)"
    shown = command(capsys, "show", run)
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert read_manifest(tmp_path / "run").left_out == {"self": {dead: told.partition(": ")[2]}}
    for text in (ended.out, shown.out, report):
        assert told in " ".join(text.split()), text
    for text in (ended.out, shown.out):
        assert re.search(r"retried; \d attempts? found no connection", " ".join(text.split()))


def test_an_address_given_twice_or_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    same = ["--api-base", "http://localhost:1/v1", "--api-base", "http://localhost:1/v1/"]
    ended = command(capsys, "run", "--provider", "vllm", *same)
    assert (ended.code, ended.err) == (
        2,
        "unsaf-async: --api-base http://localhost:1/v1: is given twice; give each address once\n",
    )
    ended = command(capsys, "run", "--provider", "vllm", *same[:2], "--api-base", "nowhere")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    ended = command(
        capsys, "run", "--provider", "vllm", "--spawn", "a/b", *same[:2], "--api-base", "http://localhost:2/v1"
    )
    assert (ended.code, ended.err) == (
        2,
        "unsaf-async: --api-base: --spawn starts one server, and 2 addresses are given; give one\n",
    )


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("http://h:7101/v1", "HTTP://h:7101/v1"),
        ("http://h:7101/v1", "http://H:7101/v1"),
        ("http://h:7101/v1", "http://h:07101/v1"),
        ("http://h:7101/v1", "http://h:7101//v1"),
        ("http://h:7101/v1", "http://h:7101/v1//"),
        ("http://h/v1", "http://h:80/v1"),
        ("https://h/v1", "https://h.:443/v1/"),
        ("http://[::1]:7101/v1", "http://[0:0:0:0:0:0:0:1]:7101/v1"),
    ],
)
def test_one_server_in_two_spellings_is_given_twice(one: str, same: str) -> None:
    with pytest.raises(
        UserError, match=re.escape(f"api_base {same.rstrip('/')}: is given twice; give each address once")
    ):
        resolve("vllm", api_base=[one, same])


def test_what_is_spelt_alike_but_is_another_address_is_another_server() -> None:
    others = [
        "http://h/v1",
        "https://h/v1",
        "http://h:81/v1",
        "http://h/V1",
        "http://h",
        "http://[::1]/v1",
        "http://i/v1",
    ]
    assert resolve("vllm", api_base=others).endpoints == tuple(others), "and each is called as it was given"


def test_a_run_goes_on_at_its_servers_in_whichever_order_they_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_images(tmp_path / "images", 2)
    run = tmp_path / "run"
    with serving() as one, serving() as other:
        a, b = one.openai_base, other.openai_base
        words = (
            "run",
            "--provider",
            "vllm",
            "--model",
            "simulated",
            "--images",
            str(tmp_path / "images"),
            "--questions",
            "1",
        )
        words = (*words, "--no-cache", "--no-report", "--out", str(run))

        def at(*bases: str) -> Ended:
            return command(capsys, *words, *(word for base in bases for word in ("--api-base", base)))

        assert at(a, b).code == 0
        again = at(b.upper().replace("V1", "v1"), a)
        assert again.code == 0, again.err
        assert "nothing is left to ask" in again.err
        assert read_manifest(run).subject.endpoints == (a, b), "stored replies are known by the first"
        (without,) = at(b).err.splitlines()
        assert (
            f"holds a run with vllm at {a}, {b}; give {a} as well, in any order (it is left out where it is dead)"
            in without
        )
        (elsewhere,) = at("http://h:1/v1").err.splitlines()
        assert f"holds a run with another model, vllm (simulated) at {a}, {b}, not http://h:1/v1" in elsewhere
        assert at(b, "http://h:1/v1", a).code == 0
        assert read_manifest(run).subject.endpoints == (a, b, "http://h:1/v1")


def test_a_provider_file_lists_further_servers(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'backend = "openai"\nendpoint = "http://a/v1"\nreplicas = ["http://b/v1", "http://c/v1"]\n', "utf-8"
    )
    (mine,) = load_profiles([tmp_path])
    assert mine.defaults.endpoints == ("http://a/v1", "http://b/v1", "http://c/v1")
    for wrong, why in {
        'replicas = ["http://b/v1"]': "replicas are given and no endpoint",
        'endpoint = "http://b/v1"\nreplicas = ["http://b/v1"]': "replicas: http://b/v1 is given twice",
        'endpoint = "http://b/v1"\nreplicas = ["http://b/v1/"]': "replicas: http://b/v1/ is given twice",
        'endpoint = "http://b/v1"\nreplicas = ["http://c/v1", "HTTP://B:080//v1"]': "replicas: HTTP://B:080//v1 is given twice",
        'endpoint = "http://b/v1"\nreplicas = ["b"]': "replicas",
        'endpoint = "http://b/v1"\nreplicas = "http://c/v1"': "replicas is",
    }.items():
        file.write_text(f'backend = "openai"\n{wrong}\n', "utf-8")
        with pytest.raises(UserError, match=why) as error:
            load_profiles([tmp_path])
        assert "\n" not in str(error.value)


def test_a_model_counts_as_local_only_where_all_its_servers_are() -> None:
    here = "http://localhost:1/v1"
    assert not is_commercial(resolve("vllm", api_base=[here, "http://127.0.0.1:2/v1"]))
    assert is_commercial(resolve("vllm", api_base=[here, "http://gpu.example.org/v1"]))
