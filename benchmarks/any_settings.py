"""Whether any setting passes its cap, or pays twice, by the simulated providers' own accounts.

    python benchmarks/any_settings.py [--settings 200] [--seed 0] [--only 17]

Settings are drawn at random: model and wire, prompt caching, batches, judge, images, questions, extra measures, limits, faults of
calls and of batches, and the cap. A part of the runs is killed by SIGKILL, once or twice, and goes on, some of them without
batches. After each run: no bill above the cap, no ledger under the bill, and nothing paid twice but what was lost on its way.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_cache import BASES, draw_images, simulation_of

from unsaf_async.calls.batches import anthropic_batches
from unsaf_async.calls.batches.batches import Waits
from unsaf_async.calls.ledger import read_account
from unsaf_async.providers.resolve import resolve
from unsaf_async.runs.begin import begin
from unsaf_async.runs.estimate import estimate
from unsaf_async.runs.prepare import Prepared, prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import BatchRules, Lognormal, ServerLimits

if TYPE_CHECKING:
    from unsaf_async.simulate.ledger import ServerLedger

MODELS = (
    ("gpt-4o-mini", "gpt-5.4-mini", "gpt-5.6-luna"),
    ("claude-sonnet-4-5", "claude-haiku-5-5", "claude-opus-4-5"),
    ("gemini-3-flash", "gemini-3.8-flash"),
)
"""By wire."""
JUDGES = ("gpt-4o-mini", "claude-haiku-5-5", "gemini-3-flash")

LOST = ("disconnect", "disconnect_after", "truncated_body", "garbage")
"""Faults after which a client cannot know whether it was billed."""
FAULTS = ("429", "500", "503", *LOST, "safety", "length", "empty", "refusal")
BATCH_FAULTS = (
    "row_500", "row_400", "row_expired", "failed", "lost_reply", "create_500", "poll_500", "results_404", "results_500",
)  # fmt: skip

WAITS = Waits(quiet_s=0.08, first_look_s=0.02, longest_look_s=0.1, again_s=0.02, longest_again_s=0.1, overdue_s=3.0)
"""Batches of the simulator take no day."""

PATIENCE_S = 60
"""How long a run may take before it counts as hanging."""


@dataclass(frozen=True)
class Drawn:
    """A setting. options: of the run. cap_share: of what an image costs at worst. kills: seconds after which the process dies."""

    model: str
    judge: str
    images: int
    batch: bool
    cache: bool
    options: dict[str, Any]
    attempts: int
    cap_share: float
    kills: tuple[float, ...]
    goes_on_alone: bool
    provider: dict[str, Any]


@dataclass
class Came:
    """What one setting, or several together, came to; amounts in USD."""

    settings: int = 0
    begun: int = 0
    stopped_by_cap: int = 0
    in_batches: int = 0
    read_from_caches: int = 0
    killed: int = 0
    with_faults: int = 0
    requests: int = 0
    rows: int = 0
    billed_usd: float = 0.0
    booked_usd: float = 0.0
    unknown_usd: float = 0.0
    unknown: int = 0
    lost: int = 0
    twice: int = 0
    caps_passed: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Came) -> None:
        """Add another one."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


def draw(seed: int, number: int) -> Drawn:
    """A setting, always the same for a seed and a number."""
    chance = random.Random(f"{seed} {number}")
    model = chance.choice(chance.choice(MODELS))
    batch, images = chance.random() < 0.7, chance.randint(1, 6)
    tight = chance.random() < 0.5  # an image costs about a fifth of its worst case
    faulty = chance.random() < 0.6
    kills = tuple(chance.uniform(0.05, 1.2) for _ in range(chance.choice((0, 0, 0, 1, 2))))
    of_batches = chance.sample(BATCH_FAULTS, chance.randint(0, 4)) if faulty else []
    rules = BatchRules(
        validate_s=0,
        work_s=chance.choice((0.02, 0.1, 0.3)),
        finalize_s=0,
        window_s=chance.choice((0.3, 0.6) if "row_expired" in of_batches else (None, 0.3, 0.6)),
        enqueued_tokens=chance.choice((None, None, 250_000)),  # a picture is 25,501 tokens to gpt-4o-mini
        faults={name: chance.choice((0.1, 0.3)) for name in of_batches},
    )
    return Drawn(
        model=model,
        judge=chance.choice(("self", "rules", *JUDGES)),
        images=images,
        batch=batch,
        cache=chance.random() < 0.7,
        options={
            "questions": chance.randint(1, 3),
            "samples": chance.choice((0, 0, 1)),
            "confidence": chance.random() < 0.2,
            "grounded": False,
            "prompt_cache": chance.choice(("auto", "auto", "off")),
            "concurrency": chance.randint(1, 40),
            "rpm": chance.choice((1e6, 1e6, 6e3)),
            "tpm": chance.choice((1e9, 1e9, 1e7)),
            "batch_window": chance.choice((24.0, 24.0, 1e-4)),
            "seed": chance.randrange(100),
        },
        attempts=chance.randint(1, 4),
        cap_share=chance.uniform(0.95, 1 + 0.2 * images) if tight else chance.uniform(1.0, 5.0),
        kills=kills,
        goes_on_alone=batch and chance.random() < 0.3,
        provider={
            "seed": chance.randrange(100),
            "fault_seed": chance.randrange(100),
            "latency": chance.choice((0.0, 0.01, Lognormal(0.005, 0.05))),
            "faults": {name: chance.choice((0.02, 0.08)) for name in chance.sample(FAULTS, chance.randint(1, 4))}
            if faulty
            else {},
            "retry_after_s": 0.005,
            "limits": ServerLimits(requests_per_minute=chance.choice((None, None, 12_000)), burst=20),
            "cache_lifetime_s": chance.choice((None, None, 0.05)),
            "batches": rules,
        },
    )


async def prepared_run(
    drawn: Drawn, images: Path, folder: Path, bases: dict[str, str], cap_usd: float | None, *, batch: bool
) -> Prepared:
    """The run of a setting, checked. bases: where the measured model and the judge are called."""
    settings = Settings(
        drawn.model,
        images=images,
        limit=drawn.images,
        out=folder / "run",
        cache=folder / "cache" if drawn.cache else None,
        judge=drawn.judge,
        max_cost=cap_usd,
        batch=batch,
        api_base=bases["subject"],
        judge_api_base=bases.get("judge"),
        **drawn.options,
    )
    prepared = await prepare(settings)
    quick = {"retry_wait_s": 0.01, "attempts": drawn.attempts}
    others = {name: each.model_copy(update=quick) for name, each in prepared.others.items()}
    return replace(prepared, subject=prepared.subject.model_copy(update=quick), others=others)


def work_off(drawn: Drawn, images: Path, folder: Path, bases: dict[str, str], cap_usd: float) -> None:
    """The run in a process of its own, which is killed."""

    async def whole() -> None:
        prepared = await prepared_run(drawn, images, folder, bases, cap_usd, batch=drawn.batch)
        with begin(prepared) as opened:
            await Runner(opened, waits=WAITS).run()

    anthropic_batches.LOOK_AGAIN_S = 0.05
    asyncio.run(whole())


async def killed(seconds: float, *given: Any) -> bool:
    """Have a process work the run off, and kill it after so many seconds; whether it was still at work."""
    process = multiprocessing.get_context("forkserver").Process(target=work_off, args=given)
    process.start()
    await asyncio.to_thread(process.join, seconds)
    died = process.is_alive()
    process.kill()
    await asyncio.to_thread(process.join)
    process.close()
    return died


async def measure(drawn: Drawn, images: Path) -> Came:
    """What a setting comes to."""
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        roles = {"subject": drawn.model} | ({"judge": drawn.judge} if drawn.judge in JUDGES else {})
        bases: dict[str, str] = {}
        ledgers: list[ServerLedger] = []
        for role, model in roles.items():
            profile = resolve(model)
            assert profile.price is not None
            simulator = await exits.enter_async_context(Simulator(simulation_of(profile.price, **drawn.provider)))
            bases[role] = getattr(simulator, BASES[profile.backend])
            ledgers.append(simulator.ledger)
        planned = await prepared_run(drawn, images, folder, bases, None, batch=drawn.batch)
        cap_usd = drawn.cap_share * estimate(planned).per_image_worst_usd
        died = 0
        for seconds in drawn.kills:
            died += await killed(seconds, drawn, images, folder, bases, cap_usd)
        alone = bool(drawn.kills) and drawn.goes_on_alone
        last = await prepared_run(drawn, images, folder, bases, cap_usd, batch=drawn.batch and not alone)
        async with asyncio.timeout(PATIENCE_S):
            with begin(last) as opened:
                runner = Runner(opened, waits=WAITS)
                await runner.run()
                ledger_file = opened.files.ledger
        return judged(drawn, ledgers, ledger_file, cap_usd, exhausted=runner.exhausted, died=died)


def judged(
    drawn: Drawn, ledgers: list[ServerLedger], ledger_file: Path, cap_usd: float, *, exhausted: bool, died: int
) -> Came:
    """The providers' accounts held against the run's."""
    account = read_account(ledger_file)
    most = 1 + drawn.options["samples"]  # a further draw may be the same request
    # So is a list that is written anew where the first writing failed; a killed run that goes on tries the first one again.
    failed = sum(
        sum(each.faults.values())
        + sum(row.state != "succeeded" for batch in each.batches.values() for row in batch.rows.values())
        for each in ledgers
    )
    made = sum(account.made.values())
    came = Came(
        settings=1,
        begun=any(each.requests or each.batches for each in ledgers),
        stopped_by_cap=exhausted,
        in_batches=any(each.batches for each in ledgers),
        read_from_caches=any(each.cached_tokens for each in ledgers),
        killed=died,
        with_faults=bool(drawn.provider["faults"] or drawn.provider["batches"].faults),
        requests=sum(each.requests for each in ledgers),
        rows=sum(len(batch.rows) for each in ledgers for batch in each.batches.values()),
        billed_usd=sum(float(each.billed_usd) for each in ledgers),
        booked_usd=account.cost_usd,
        unknown_usd=account.unknown_nano_usd / 1e9,
        unknown=account.unknown,
        lost=sum(each.faults[name] for each in ledgers for name in LOST),
        twice=sum(max(0, entry.healthy - most) for each in ledgers for entry in each.entries.values()),
    )
    rounding = 1e-9 * (made + 1)
    came.caps_passed = came.billed_usd > cap_usd + 1e-12
    if came.caps_passed:
        came.wrong.append(f"billed ${came.billed_usd:.6f} above the cap of ${cap_usd:.6f}")
    if came.booked_usd > cap_usd + rounding:
        came.wrong.append(f"booked ${came.booked_usd:.6f} above the cap of ${cap_usd:.6f}")
    if came.billed_usd > came.booked_usd + rounding:
        came.wrong.append(f"billed ${came.billed_usd:.6f}, and booked ${came.booked_usd:.6f}")
    if came.booked_usd - came.unknown_usd > came.billed_usd + rounding:
        came.wrong.append(f"settled ${came.booked_usd - came.unknown_usd:.6f}, and billed ${came.billed_usd:.6f}")
    if came.twice > came.unknown + (failed if died else 0):
        came.wrong.append(f"{came.twice} replies paid twice, and {came.unknown} attempts of unknown fate")
    return came


def ready() -> None:
    """What every process of this script needs."""
    for vendor in ("OPENAI", "ANTHROPIC", "GEMINI"):  # the simulator takes any key
        os.environ.setdefault(f"{vendor}_API_KEY", "simulated")
    anthropic_batches.LOOK_AGAIN_S = 0.05
    multiprocessing.get_context("forkserver").set_forkserver_preload(["any_settings"])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, action="append", help="the number of a setting; may be repeated")
    given = parser.parse_args()
    ready()
    total, kinds, began_s = Came(), Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        images = draw_images(Path(folder) / "images", 6)
        for number in given.only or range(given.settings):
            drawn = draw(given.seed, number)
            try:
                came = asyncio.run(measure(drawn, images))
            except Exception as error:
                came = Came(settings=1, wrong=[repr(error)])
            for problem in came.wrong:
                print(f"setting {number}: {problem}; {drawn}", flush=True)
            came.wrong = came.wrong and [str(number)]
            total.add(came)
            kinds[resolve(drawn.model).backend] += 1
    wires = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    print(f"{total.settings} settings ({wires}), seed {given.seed}:")
    print(
        f"  {total.begun} began an image, {total.stopped_by_cap} were stopped by the cap, {total.in_batches} had batches, "
        f"{total.read_from_caches} read from the providers' caches, {total.with_faults} had faults; {total.killed} kills"
    )
    print(
        f"  {total.requests:,} requests and rows, {total.rows:,} of them rows; billed ${total.billed_usd:.4f}, booked "
        f"${total.booked_usd:.4f}, ${total.unknown_usd:.4f} of it for {total.unknown} attempts of unknown fate"
    )
    print(
        f"  the cap was passed in {total.caps_passed}; {total.twice} replies were paid twice, {total.lost} were lost by the "
        f"server; wrong: {', '.join(total.wrong) or 'none'}; {time.monotonic() - began_s:.0f} s"
    )
    return 1 if total.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
