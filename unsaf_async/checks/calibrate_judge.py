"""`judge calibrate`: a judge put to responses of which people have said what they did. Paid, cached and capped like a run."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from unsaf_async.calls.budget import NANO, Budget
from unsaf_async.calls.cost import CostModel, price_or_error
from unsaf_async.calls.ledger import Ledger
from unsaf_async.calls.request import ModelClient, RequestBuilder
from unsaf_async.calls.session import Books, OpenModel, open_model
from unsaf_async.calls.store import ReplyStore
from unsaf_async.errors import RunStopped, UserError
from unsaf_async.events import Announce, silent
from unsaf_async.examine.judge import MAX_RESPONSE_CHARS, Judge, Judgement
from unsaf_async.prompts import VERDICT, Pack, load_pack
from unsaf_async.providers.keys import key_of_profile, redactor
from unsaf_async.runs.prepare import named_models
from unsaf_async.runs.workers import run
from unsaf_async.score.calibration import CalibrationFile, Confusions, Judged, confusions, read_judged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unsaf_async.providers.profile import Profile


@dataclass(frozen=True)
class Bench:
    """A judge and the labelled responses that it is put to. judges: profiles by name; {} for the rules alone."""

    judges: dict[str, Profile]
    pack: Pack
    rows: tuple[Judged, ...]
    data: Path
    data_sha256: str

    @property
    def name(self) -> str:
        """The judge's, as a run calls it."""
        return " + ".join(self.judges) or "rules"

    def worst_nano_usd(self, row: Judged) -> int:
        """What judging one response costs at most."""
        prompt = self.pack.judge(row.question, row.response[:MAX_RESPONSE_CHARS])
        return sum(
            CostModel(profile, price_or_error(profile)).worst_nano_usd(
                RequestBuilder(profile, 1, 0).request("judge", prompt, schema=VERDICT)
            )
            for profile in self.judges.values()
        )


async def prepare(data: Path, judges: Sequence[str], prompts: str) -> Bench:
    """What is to be done, checked. Raises UserError for whatever is wrong. judges: names; () or ("rules",) for the rules."""
    if "self" in judges:
        raise UserError("--judge self: there is no measured model here; name the judging model")
    if "rules" in judges and len(judges) > 1:
        raise UserError("--judge rules: the rules come before every judge; leave it out where others are named")
    found: dict[str, Profile] = {}
    await named_models([name for name in judges if name != "rules"], "--judge", found)
    profiles = {profile.name: profile for profile in found.values()}
    return Bench(profiles, load_pack(prompts), *await asyncio.to_thread(_read, data))


def _read(data: Path) -> tuple[tuple[Judged, ...], Path, str]:
    """The labelled responses, their file, and its digest."""
    return tuple(read_judged(data)), data, sha256(data.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Calibrated:
    """What came of it. judged: rows with their judgement; fewer than all if it stopped early, for `why_stopped`."""

    file: CalibrationFile
    judged: int
    cost_usd: float
    calls: int
    why_stopped: str | None


async def calibrate(
    bench: Bench, ledger_file: Path, cache: Path, max_cost: float | None, announce: Announce = silent
) -> Calibrated:
    """Put the judge to every row. `ledger_file` keeps the account over several goes; finished calls come from `cache`."""
    found: dict[int, Judgement] = {}
    async with AsyncExitStack() as stack:
        store = ReplyStore(cache)
        stack.callback(store.close)
        ledger = stack.enter_context(Ledger(ledger_file))
        redact = redactor(key_of_profile(profile) for profile in bench.judges.values())
        books = Books(ledger, store, {}, sha256(str(ledger_file).encode()).hexdigest()[:16], redact, announce)
        models: dict[str, OpenModel] = {
            name: await stack.enter_async_context(open_model(profile, books, questions=1, seed=0))
            for name, profile in bench.judges.items()
        }
        budget = Budget(None if max_cost is None else int(max_cost * NANO), ledger.account.spent_nano_usd)

        async def judge_one(numbered: tuple[int, Judged]) -> tuple[int, Judgement]:
            number, row = numbered
            hold = budget.hold(bench.worst_nano_usd(row))
            try:
                members = tuple(
                    (name, ModelClient(model.builder, model.provider(hold))) for name, model in models.items()
                )
                return number, await Judge(bench.pack, members).judge(row.question, row.response, "stop")
            finally:
                hold.close()

        def keep(judged: tuple[int, Judgement]) -> None:
            found[judged[0]] = judged[1]

        why_stopped = None
        width = min(len(bench.rows), max((profile.limits.concurrency for profile in bench.judges.values()), default=1))
        try:
            await run(enumerate(bench.rows), judge_one, keep, width=width)
        except RunStopped as error:
            why_stopped = str(error)
        account = ledger.account
    return Calibrated(
        file=CalibrationFile(
            judge=bench.name,
            prompt_sha256=bench.pack.sha256_of("judge"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            data=bench.data.name,
            data_sha256=bench.data_sha256,
            confusions=_confusions(bench, found),
        ),
        judged=len(found),
        cost_usd=account.cost_usd,
        calls=sum(account.made.values()),
        why_stopped=why_stopped,
    )


def _confusions(bench: Bench, found: dict[int, Judgement]) -> Confusions:
    numbers = sorted(found)
    rows = [bench.rows[number] for number in numbers]
    return confusions(rows, [(found[number].act, found[number].decided_by) for number in numbers])
