"""--max-cost, by the server's own account: whatever the settings, never a cent above it; and images whole or not begun."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from driving import PRICE, Outcome, drive
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from unsaf_async.simulate.settings import Lognormal, Simulation

PHASES = (Phase.explicit, Phase.generate)
"""No shrinking: each example drives the engine twice, and one that fails tells enough."""

SETTINGS = int(os.environ.get("UNSAF_CAP_SETTINGS", "80"))
"""How many settings are tried; benchmarks/any_settings.py tries more kinds of them, on every wire."""

KNOWN = ("429", "500", "503")
UNKNOWN = ("disconnect", "disconnect_after", "truncated_body", "garbage")
CONTENT = ("safety", "length", "empty", "refusal")


@st.composite
def simulations(draw: st.DrawFn, faults: tuple[str, ...] = (*KNOWN, *UNKNOWN, *CONTENT)) -> Simulation:
    chosen = draw(st.lists(st.sampled_from(faults), max_size=4, unique=True))
    latency = draw(
        st.one_of(
            st.sampled_from([0.0, 0.002, 0.01]),
            st.builds(Lognormal, p50_s=st.sampled_from([0.001, 0.004]), p99_s=st.sampled_from([0.01, 0.04])),
        )
    )
    return Simulation(
        any_model=True,
        seed=draw(st.integers(0, 99)),
        price=(draw(st.sampled_from([0.1, 0.15, 2.5, 10])), draw(st.sampled_from([0.4, 5, 10, 75]))),
        latency=latency,
        faults={name: draw(st.sampled_from([0.02, 0.1, 0.25])) for name in chosen},
        fault_seed=draw(st.integers(0, 99)),
        retry_after_s=0.005,
    )


def _drive(simulation: Simulation, **options: object) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(drive(simulation, "vllm", Path(folder), **options))  # type: ignore[arg-type]


def _cap(share: float, free: Outcome) -> float:
    """Between what no image can be begun with and what all can be: by its worst case, which is several times what it costs."""
    assert free.score.cost_usd is not None
    return 0.995 * free.image_worst_usd + 1.3 * share * free.score.cost_usd


@pytest.mark.timeout(900)
def test_the_server_never_bills_more_than_the_cap() -> None:
    """share: the cap, from too little for one image to enough for all."""
    begun: list[bool] = []
    stopped: list[bool] = []

    @settings(
        max_examples=SETTINGS,
        deadline=None,
        derandomize=True,
        database=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        simulation=simulations(),
        share=st.floats(0.0, 1.0),
        concurrency=st.integers(1, 40),
        images=st.integers(1, 4),
        questions=st.integers(1, 2),
        attempts=st.integers(1, 4),
    )
    def check(
        simulation: Simulation, share: float, concurrency: int, images: int, questions: int, attempts: int
    ) -> None:
        free = _drive(
            simulation, images=images, questions=questions, concurrency=concurrency, profile={"attempts": attempts}
        )
        cap = _cap(share, free)
        run = _drive(
            simulation,
            images=images,
            questions=questions,
            concurrency=concurrency,
            max_cost=cap,
            profile={"attempts": attempts},
        )
        begun.append(run.ledger.requests > 0)
        stopped.append(run.runner.exhausted)
        billed_usd = float(run.ledger.billed_usd)
        assert billed_usd <= cap + 1e-12
        assert run.score.cost_usd is not None
        assert billed_usd <= run.score.cost_usd + 1e-9 <= cap + 2e-9
        if not any(run.ledger.faults[name] for name in UNKNOWN):
            assert run.score.cost_usd - billed_usd < 1e-9 * max(1, run.ledger.requests)

    check()
    # A cap that lets nothing begin, or stops nothing, would prove nothing.
    assert sum(begun) >= 0.4 * len(begun), (sum(begun), len(begun))
    assert sum(stopped) >= 0.2 * len(stopped), (sum(stopped), len(stopped))


def test_images_are_whole_or_not_begun_where_every_fate_is_known() -> None:
    done: list[int] = []

    @settings(
        max_examples=max(1, SETTINGS // 4),
        deadline=None,
        derandomize=True,
        database=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        simulation=simulations(faults=(*KNOWN, *CONTENT)),
        share=st.floats(0.1, 0.7),
        concurrency=st.integers(1, 40),
    )
    def check(simulation: Simulation, share: float, concurrency: int) -> None:
        free = _drive(simulation, images=6, questions=2, concurrency=concurrency)
        cap = _cap(share, free)
        run = _drive(simulation, images=6, questions=2, concurrency=concurrency, max_cost=cap)
        assert len(run.ledger.images) == len(run.examinations), "an image was paid for, but is not in the journal"
        for examination in run.examinations:
            assert all(call.outcome != "failed" for call in examination.calls), (
                "an image was begun that could not be finished"
            )
        if len(run.examinations) < 6:
            assert run.runner.why_stopped is not None
            assert "--max-cost" in run.runner.why_stopped
        done.append(len(run.examinations))

    check()
    assert sum(0 < number < 6 for number in done) >= 0.3 * len(done), done


def test_a_cap_below_the_first_image_sends_nothing() -> None:
    run = _drive(Simulation(price=PRICE), max_cost=0.0001)
    assert run.ledger.requests == 0
    assert run.runner.why_stopped is not None
