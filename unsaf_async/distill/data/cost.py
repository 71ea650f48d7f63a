"""What the data of an export have cost: what its runs paid, what of it is not sure, and what nobody can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.calls.budget import NANO
from unsaf_async.distill.data.build_rows import model_name
from unsaf_async.errors import UserError
from unsaf_async.runs.saved import NOTHING_HELD, Held
from unsaf_async.score.unf1 import latest
from unsaf_async.text import format_count, format_usd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unsaf_async.providers.profile import Profile
    from unsaf_async.runs.saved import SavedRun


@dataclass(frozen=True, slots=True)
class RunCost:
    """What a run has paid."""

    run_id: str
    usd: float | None
    """Attempts of unknown fate at their worst included, and what is held for batches not; None: `is_free`, or see `why_none`."""
    why_none: str = ""
    unknown_usd: float = 0.0
    """Part of `usd`: attempts of which nobody knows whether they were billed, at their worst."""
    unknown: int = 0
    """How many these are."""
    held: Held = NOTHING_HELD
    """Not part of `usd`: what is reserved for calls that are with a vendor."""
    spared_usd: float = 0.0
    """What the replies cost, when they were made, that this run did not pay for: they are from a cache, or another run's."""
    free: tuple[str, ...] = ()
    """Models that it called and whose tokens cost nothing by their price."""
    questions_of_others: bool = False
    """Whether it answered the questions of a run whose cost is not counted."""

    @property
    def is_free(self) -> bool:
        """Whether nothing is known of its cost, since all that it called costs nothing by its price."""
        return self.usd is None and not self.why_none


@dataclass(frozen=True, slots=True)
class DataCost:
    """What all runs of an export have paid, what was left out of it included."""

    runs: tuple[RunCost, ...]

    @property
    def usd(self) -> float | None:
        """The sum over the runs whose cost is known; None if it is known of none."""
        known = [run.usd for run in self.runs if run.usd is not None]
        return sum(known) if known else None

    def usd_a_row(self, rows: int) -> float | None:
        """What a row has cost.

        Args:
            rows: Rows of the export.

        Returns:
            USD; None without rows, or if the cost of no run is known.
        """
        return None if self.usd is None or not rows else self.usd / rows

    def in_words(self, rows: int) -> Iterator[str]:
        """The cost as a reader of the data should know it.

        Args:
            rows: Rows of the export.

        Yields:
            A sentence for the sum and a row's share of it, and one for each thing that it does not say.
        """
        reasons = list(self._reasons())
        if self.usd is None:
            yield f"Cost: n/a: {'; '.join(reasons)}."
        else:
            of = format_count(len(self.runs), "run")
            yield (
                f"Cost: {format_usd(self.usd, 4)} for {of}, what was left out included; "
                f"{format_usd(self.usd_a_row(rows), 6)} a row ({format_count(rows, 'row')})."
            )
            if reasons:
                without = sum(run.usd is None for run in self.runs)
                yield f"{format_count(without, 'run')} of these not counted: {'; '.join(reasons)}."
        if unknown := sum(run.unknown for run in self.runs):
            usd = format_usd(sum(run.unknown_usd for run in self.runs), 4)
            yield f"{usd} of it are for {format_count(unknown, 'attempt')} of unknown fate, booked at their worst."
        if calls := sum(run.held.calls for run in self.runs):
            usd = format_usd(sum(run.held.usd for run in self.runs), 4)
            yield f"Beside it {usd} at most are held for {format_count(calls, 'call')} in batches with a vendor."
        if spared := sum(run.spared_usd for run in self.runs):
            yield (
                f"Replies that cost {format_usd(spared, 4)} when they were made were not paid again: they are from a cache, "
                "or another run's."
            )
        if free := list(dict.fromkeys(name for run in self.runs if run.usd is not None for name in run.free)):
            yield f"Not counted: what it costs to run {', '.join(free)}, whose price is 0."
        if any(run.questions_of_others for run in self.runs):
            yield "Not counted: what it cost to write questions that are another run's, which is not exported here."

    def _reasons(self) -> Iterator[str]:
        """Why the cost of some runs is not known."""
        yield from dict.fromkeys(run.why_none for run in self.runs if run.why_none)
        if free := list(dict.fromkeys(name for run in self.runs if run.is_free for name in run.free)):
            yield f"the price of {', '.join(free)} is 0, and what it costs to run it is not known here"


def cost_of(runs: Iterable[SavedRun]) -> DataCost:
    """What runs have cost, by their own accounts.

    Args:
        runs: All runs of an export.

    Returns:
        The cost, run by run.
    """
    runs = tuple(runs)
    there = {run.manifest.answering_run_id for run in runs} | {run.manifest.run_id for run in runs}
    return DataCost(tuple(_cost(run, there) for run in runs))


def _cost(run: SavedRun, there: set[str]) -> RunCost:
    """there: the ids of all runs of the export."""
    manifest = run.manifest
    # where the rules judge another run's answers anew nobody is called, and only the answers have cost something
    called = [manifest.profile(name) for name in manifest.called] or [manifest.subject]
    source = manifest.source
    others = source is not None and source.kind == "run" and source.run_id not in there
    free = tuple(model_name(profile) for profile in called if _is_free(profile))
    if unpriced := [model_name(profile) for profile in called if profile.price is None]:
        why = f"no price of {', '.join(unpriced)} is known"
        return RunCost(manifest.run_id, None, why, free=free, questions_of_others=others)
    calls = [call for each in latest(run.examinations) for call in each.calls if call.cached]
    spared = sum(call.cost_usd for call in calls)
    if len(free) == len(called):
        return RunCost(manifest.run_id, None, spared_usd=spared, free=free, questions_of_others=others)
    try:
        held, account, spent_usd = run.held, run.account, run.spent_usd
    except UserError:  # the line names the run's folder, which is nobody's business who reads the card
        why = "an account is damaged"
        return RunCost(manifest.run_id, None, why, spared_usd=spared, free=free, questions_of_others=others)
    return RunCost(
        manifest.run_id,
        usd=max(0.0, spent_usd - held.usd),
        unknown_usd=max(0.0, account.unknown_nano_usd / NANO - held.usd),
        unknown=max(0, account.unknown - held.calls),
        held=held,
        spared_usd=spared,
        free=free,
        questions_of_others=others,
    )


def _is_free(profile: Profile) -> bool:
    price = profile.price
    return price is not None and not price.input_usd_per_mtok and not price.output_usd_per_mtok
