"""`judge calibrate`: a judge measured on responses that people have labelled. Paid, cached and capped like a run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

from unsaf_async.calls.budget import NANO
from unsaf_async.calls.cost import CostModel, price_or_error
from unsaf_async.calls.request import RequestBuilder
from unsaf_async.calls.session import Session
from unsaf_async.checks.labels import check_labels, entering
from unsaf_async.errors import RunStopped, UserError, as_option, naming, setting
from unsaf_async.events import Announce, silent
from unsaf_async.examine.judge import Judge, Judgement, call_groups, group_sizes, shown
from unsaf_async.examine.unread import UnreadVerdicts
from unsaf_async.prompts import Pack, load_pack
from unsaf_async.providers.lifetime import check_cap, today_utc
from unsaf_async.runs.prepare import check_together, judging_together, named_models
from unsaf_async.runs.signature import knows_cache, mark_cache, user_key
from unsaf_async.runs.workers import run
from unsaf_async.score.calibration import CalibrationFile, Confusions, Judged, LabelCheck, confusions, read_judged
from unsaf_async.score.judged_together import MARGIN, TogetherCheck, together_check

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import JudgedTogether, Schema


@dataclass(frozen=True)
class Bench:
    """A judge and the labelled responses that it is put to.

    judges: profiles by name; {} for the rules alone. together: about how many responses of an image it is asked in one call.
    """

    judges: dict[str, Profile]
    pack: Pack
    rows: tuple[Judged, ...]
    data: Path
    data_sha256: str
    labels: LabelCheck
    together: int = 1

    @property
    def name(self) -> str:
        """The judge's, as a run calls it."""
        return " + ".join(self.judges) or "rules"

    def worst_nano_usd(self, row: Judged) -> int:
        """What judging one response costs at most.

        Args:
            row: The labelled response.

        Returns:
            Nano-dollars, over all judges.
        """
        return self._worst(self.pack.judge(*shown(row.question, row.response)), self.pack.verdict)

    def worst_of_group_nano_usd(self, group: Sequence[int]) -> int:
        """What judging responses of an image in calls about several costs at most, without those that are repeated alone.

        Args:
            group: The responses, by their places among the rows.

        Returns:
            Nano-dollars, over all judges.
        """
        rows = [shown(self.rows[place].question, self.rows[place].response) for place in group]
        total = begin = 0
        for size in group_sizes(len(rows), self.together):
            prompt = self.pack.judge_together(rows[begin : begin + size])
            total += self._worst(prompt, self.pack.verdicts, size)
            begin += size
        return total

    def _worst(self, prompt: str, schema: Schema, verdicts: int = 1) -> int:
        return sum(
            CostModel(profile, price_or_error(profile)).worst_nano_usd(
                RequestBuilder(profile, 1, 0).request("judge", prompt, schema=schema, verdicts=verdicts)
            )
            for profile in self.judges.values()
        )

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The responses that are judged together, by their places: those of an image; () where each is judged alone.

        Rows that name no image stand together as they come, as many as go into a call.
        """
        if self.together == 1:
            return ()
        groups: dict[object, list[int]] = {}
        nameless = 0
        for place, row in enumerate(self.rows):
            groups.setdefault(row.image if row.image is not None else nameless // self.together, []).append(place)
            nameless += row.image is None
        return tuple(map(tuple, groups.values()))

    @property
    def worst_usd(self) -> float:
        """What all of it costs at most."""
        whole = sum(map(self.worst_nano_usd, self.rows)) + sum(map(self.worst_of_group_nano_usd, self.groups))
        return whole / NANO


async def prepare(
    data: Path,
    judges: Sequence[str],
    prompts: str,
    api_base: str | Sequence[str] | None = None,
    together: int = 1,
) -> Bench:
    """A judge and its labelled responses, checked.

    Args:
        data: The file of labelled responses.
        judges: Names; () or ("rules",) for the rules alone.
        prompts: The prompt pack's name or folder.
        api_base: The judges' base URL, or those of several servers; None for each one's own.
        together: About how many responses of an image the judge is to be asked in one call.

    Returns:
        What `calibrate` needs.

    Raises:
        UserError: Something of it cannot be used.
    """
    check_together(together)
    if "self" in judges:
        raise UserError(f"{setting('judge', 'self')}: there is no measured model here; name the judging model")
    if "rules" in judges and len(judges) > 1:
        raise UserError(
            f"{setting('judge', 'rules')}: the rules come before every judge; leave it out where others are named"
        )
    named: dict[str, Profile] = {}
    await named_models([name for name in judges if name != "rules"], "judge", named, api_base=api_base)
    profiles = {profile.name: profile for profile in named.values()}
    with naming("prompts"):
        pack = load_pack(prompts)
    if together > 1:
        pack = judging_together(pack, tuple(profiles))
    return Bench(profiles, pack, *await asyncio.to_thread(_read, data), together)


def _read(data: Path) -> tuple[tuple[Judged, ...], Path, str, LabelCheck]:
    """The labelled responses that enter, their file, its digest, and how far labels fit texts."""
    rows = read_judged(data)
    check = check_labels(rows)
    return entering(rows, check, str(data)), data, sha256(data.read_bytes()).hexdigest(), check


@dataclass(frozen=True)
class Calibrated:
    """What came of it. judged: rows with their judgement; fewer than all if it stopped early, for `why_stopped`."""

    file: CalibrationFile
    judged: int
    cost_usd: float
    calls: int
    why_stopped: str | None


async def calibrate(
    bench: Bench,
    ledger_file: Path,
    cache: Path,
    max_cost: float | None,
    announce: Announce = silent,
    margin: float = MARGIN,
) -> Calibrated:
    """How a judge labels every row, against how people did.

    Args:
        bench: The judge and the labelled responses.
        ledger_file: The account of attempts, over several goes.
        cache: The folder of stored replies: calls that were answered are not made again.
        max_cost: The cap in USD, over all goes; None for none.
        announce: Receives the calls' events.
        margin: The loss of agreement that judging together is not to have.

    Returns:
        The confusions; over the rows judged so far, with `why_stopped`, where the cap or the provider ended it early.

    Raises:
        UserError: A file or a model cannot be opened, or the cap cannot be kept because a price has ended.
    """
    if max_cost is not None:
        check_cap(None, bench.judges.values(), today_utc())
    alone: dict[int, Judgement] = {}
    together: dict[int, Judgement] = {}
    shared: list[JudgedTogether] = []
    run_id = sha256(str(ledger_file).encode()).hexdigest()[:16]
    key = user_key()
    known = knows_cache(cache, key)
    async with Session(
        bench.judges, cache=cache, ledger_file=ledger_file, run_id=run_id, max_cost_usd=max_cost, announce=announce
    ) as session:
        if known:
            mark_cache(cache, key)

        unread = UnreadVerdicts(announce, session.redact)

        async def judge_one(numbered: tuple[int, Judged]) -> tuple[int, Judgement]:
            number, row = numbered
            with session.budget.for_image(bench.worst_nano_usd(row)) as image_budget:
                members = tuple((name, session.client(name, image_budget)) for name in session.models)
                return number, await Judge(bench.pack, members, unread).judge(row.question, row.response, "stop")

        def keep(judged: tuple[int, Judgement]) -> None:
            number, judgement = judged
            alone[number] = judgement

        async def judge_group(group: Sequence[int]) -> tuple[dict[int, Judgement], tuple[JudgedTogether, ...]]:
            """Of those that a rule decides there is a judgement already, and a response that is repeated alone is stored."""
            worst = bench.worst_of_group_nano_usd(group) + sum(bench.worst_nano_usd(bench.rows[n]) for n in group)
            with session.budget.for_image(worst) as image_budget:
                members = tuple((name, session.client(name, image_budget)) for name in session.models)
                judge = Judge(bench.pack, members, unread, bench.together)
                known = {n: judge.without_model(bench.rows[n].question, bench.rows[n].response, "stop") for n in group}
                left = [n for n, judgement in known.items() if judgement is None]
                found, calls = await judge.judge_together(
                    [(bench.rows[n].question, bench.rows[n].response) for n in left]
                )
            return {n: each for n, each in known.items() if each} | dict(zip(left, found, strict=True)), calls

        def keep_group(judged: tuple[dict[int, Judgement], tuple[JudgedTogether, ...]]) -> None:
            together.update(judged[0])
            shared.extend(judged[1])

        why_stopped = None
        width = min(
            len(bench.rows), max((profile.total_limits.concurrency for profile in bench.judges.values()), default=1)
        )
        try:
            await run(enumerate(bench.rows), judge_one, keep, width=width)
            await run(bench.groups, judge_group, keep_group, width=width)
        except RunStopped as error:
            why_stopped = error.spelled(as_option)
        account = session.ledger.account
    judgements = together if bench.groups else alone
    return Calibrated(
        file=CalibrationFile(
            judge=bench.name,
            prompt_sha256=bench.pack.judging_sha256,
            judge_together=bench.together,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            data=bench.data.name,
            data_sha256=bench.data_sha256,
            labels=bench.labels,
            confusions=_confusions(bench, judgements),
            together=_check(bench, alone, together, shared, margin) if bench.groups else None,
        ),
        judged=len(judgements),
        cost_usd=account.cost_usd,
        calls=sum(account.made.values()),
        why_stopped=why_stopped,
    )


def _check(
    bench: Bench,
    alone: dict[int, Judgement],
    together: dict[int, Judgement],
    shared: Sequence[JudgedTogether],
    margin: float,
) -> TogetherCheck:
    """What judging together changes, on the responses that went into calls about several."""
    rows = []
    for image, group in enumerate(bench.groups):
        judged = [n for n in group if n in together and together[n].decided_by != "rule" and n in alone]
        judged = [n for n in judged if together[n].unscored not in ("unreadable", "undecided")]
        texts = [(bench.rows[n].question, bench.rows[n].response) for n in judged]
        for call in call_groups(texts, bench.together) if len(judged) > 1 else ():
            for place, n in enumerate(judged[each] for each in call):
                late = 2 * place >= len(call)
                rows.append((image, bench.rows[n].label, alone[n].act, together[n].act, late))
    asked_alone = sum(call.asked_alone for call in shared)
    return together_check(rows, calls=len(shared), asked_alone=asked_alone, margin=margin)


def _confusions(bench: Bench, judgements: dict[int, Judgement]) -> Confusions:
    numbers = sorted(judgements)
    rows = [bench.rows[number] for number in numbers]
    return confusions(rows, [(judgements[number].act, judgements[number].decided_by) for number in numbers])
