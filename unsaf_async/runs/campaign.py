"""Several runs in turn under one cap. What is finished is not paid again, so the same campaign goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError, as_option, setting
from unsaf_async.events import Announce, silent
from unsaf_async.providers.addresses import address_given_by
from unsaf_async.runs.begin import begin
from unsaf_async.runs.estimate import check_covers_an_image
from unsaf_async.runs.listing import exists
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path
    from typing import Self

    from unsaf_async.runs.folder import RunFolder
    from unsaf_async.runs.prepare import Prepared


@dataclass(frozen=True)
class PlannedRun:
    """One run of a campaign, which may have begun already."""

    folder: Path
    """Where it lies, or will: that of its settings."""
    prepared: Prepared

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.folder.name

    @property
    def saved(self) -> SavedRun:
        """What is there of it by now."""
        return SavedRun(self.folder)

    @property
    def spent_usd(self) -> float:
        """What it has cost so far, in USD."""
        return self.saved.account.cost_usd

    @property
    def remaining(self) -> Prepared:
        """Its run with the images alone that are still to be examined."""
        finished = self.saved.finished
        return replace(self.prepared, images=tuple(each for each in self.prepared.images if each.id not in finished))

    def ready(self) -> Self | None:
        """The same with what the runs before it had to bring; None if they brought nothing to examine. Asked for at its turn."""
        return self

    def begin(self, max_cost_usd: float | None) -> RunFolder:
        """Its folder, opened and locked: a new one, or that of the run begun earlier.

        Args:
            max_cost_usd: Its own cap, which counts what it has spent already; None: no cap.

        Returns:
            The folder, to be closed by the caller.

        Raises:
            UserError: Its folder holds another run, or its cache cannot be used.
        """
        return begin(replace(self.prepared, settings=replace(self.prepared.settings, max_cost=max_cost_usd)))


@dataclass(frozen=True)
class CampaignEnd:
    """How a campaign ended."""

    reason: str | None = None
    """Why it stopped before its last run was complete, in one line; None if it did not."""
    stopped_in: str = ""
    """The name of the run in which it stopped; "" if between two."""
    capped: bool = False
    """Whether that is the cap, so that a higher one goes on; whoever gave it names where."""
    unfinished: dict[str, str] = field(default_factory=dict)
    """What failed and would be tried again by another go, in words, by the run's name."""
    only_files: bool = False
    """Whether all of that lies in the images' files, and is to be mended before."""
    only_replies: bool = False
    """Whether all of that lies in what the models replied, so that another go changes nothing."""

    @property
    def tried_again(self) -> str:
        """How what is unfinished is tried again, in words; or that it would be in vain."""
        if self.only_replies:
            return "their replies are kept, and going on would bring the same"
        then = "mend these files, then the same command" if self.only_files else "the same command"
        return f"{then} tries them again"

    @property
    def failed(self) -> str:
        """What is unfinished, each with its run's name; "" if nothing is."""
        return "; ".join(_of(name, what) for name, what in self.unfinished.items())

    @property
    def stopped(self) -> str | None:
        """The reason with the run's name; None if the campaign did not stop."""
        return _of(self.stopped_in, self.reason) if self.reason and self.stopped_in else self.reason


def _of(run: str, what: str) -> str:
    """What befell a run, with its name: that is often its model's, with which errors begin."""
    return what if what.startswith(f"{run}: ") else f"{run}: {what}"


async def run_campaign(
    planned: Sequence[PlannedRun],
    *,
    max_cost_usd: float | None = None,
    announce: Announce = silent,
    run_one: Callable[[PlannedRun, RunFolder], Awaitable[Runner]] | None = None,
    keep_going: bool = False,
) -> CampaignEnd:
    """How several runs ended that were made in turn under one cap.

    Finished runs are compared with their settings and not run again. A run that stops early ends the campaign; calls that
    failed do not. The same call goes on where an earlier one stopped.

    Args:
        planned: The runs, in their order.
        max_cost_usd: For all of them together, earlier goes included, in USD; None: no cap. Each may spend what the others have
            not.
        announce: Hears the events of all runs, one run after the other.
        run_one: Works off a run in its opened folder and returns its runner; None: `Runner.run`, with `announce`.
        keep_going: Whether a run that stops because of its own model or judge lets the others begin: it is unfinished then. The
            cap, an interrupt and a disk that cannot be written end the campaign all the same.

    Returns:
        The reason if the campaign stopped early, and what failed. A cap that is reached is no error.

    Raises:
        UserError: A folder holds another run, the key or the model's name is wrong, or the cap lets no image begin.
    """

    async def with_runner(_: PlannedRun, folder: RunFolder) -> Runner:
        runner = Runner(folder, announce)
        await runner.run()
        return runner

    _check_cap(planned, max_cost_usd)
    work_off = run_one or with_runner
    # What earlier goes have paid, whatever a ledger has lost since; its run's runner mends it when its turn comes.
    capped = planned if max_cost_usd is not None else ()
    paid_usd = {each.folder: each.saved.spent_usd for each in capped if exists(each.folder)}
    unfinished: dict[str, str] = {}
    only_files = only_replies = True
    for each in planned:
        run = each.ready()
        if run is None:
            continue
        budget_usd, pending = None, bool(run.remaining.images)
        if max_cost_usd is not None:
            others = (other for other in planned if other.folder != run.folder)
            budget_usd = max_cost_usd - sum(max(other.spent_usd, paid_usd.get(other.folder, 0.0)) for other in others)
            if budget_usd <= 0 and pending:
                return CampaignEnd(
                    f"{as_option('max_cost')} {max_cost_usd:g} is spent", capped=True, unfinished=unfinished
                )
        if not pending and exists(run.folder):
            with run.begin(run.saved.manifest.max_cost_usd):  # its settings are compared; its own cap stays
                continue
        with run.begin(budget_usd) as folder:
            runner = await work_off(run, folder)
        of_all = runner.exhausted or runner.unwritable or runner.why_stopped == "interrupted"
        if keep_going and runner.why_stopped and not of_all:
            unfinished[run.name] = runner.why_stopped
            only_files = only_replies = False
            continue
        _check_mistake(runner)
        if runner.why_stopped:
            why = runner.why_stopped.removesuffix(f"; raise {as_option('max_cost')} to go on")
            return CampaignEnd(why, run.name, runner.exhausted, unfinished)
        if runner.unfinished:
            unfinished[run.name] = runner.unfinished
            only_files &= runner.only_files
            only_replies &= runner.only_replies
    failed = bool(unfinished)
    return CampaignEnd(unfinished=unfinished, only_files=failed and only_files, only_replies=failed and only_replies)


def _check_cap(planned: Sequence[PlannedRun], max_cost_usd: float | None) -> None:
    """Raises UserError if the cap lets no image of the first run begin. Of runs that go on it has been spent in part."""
    if max_cost_usd is None or any(exists(each.folder) for each in planned):
        return
    first = next((run for each in planned if (run := each.ready()) is not None), None)
    if first is not None:
        settings = replace(first.prepared.settings, max_cost=max_cost_usd)
        check_covers_an_image(replace(first.prepared, settings=settings))


def _check_mistake(runner: Runner) -> None:
    """Raises UserError if the run ended by what only the user can mend: the next run would, too."""
    if runner.mistake:
        subject = runner.folder.manifest.subject
        place = address_given_by(subject, setting) if runner.mistaken == subject else "its address"
        advice = {
            "key": "put the right key into its variable",
            "model": f"check {place}, and the model's name",
            "unreachable": f"check the server, {place} and the network",
            "machine": "install it",
            "refused": "its profile says what it is sent",
        }
        raise UserError(f"{runner.why_stopped}; {advice[runner.mistake]}")
