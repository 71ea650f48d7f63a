"""`run`, `resume`, `audit`."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli import serve as s
from unsaf_async.cli import spreading as w
from unsaf_async.cli.descriptors import ALLOW, used_up
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.hints import again
from unsaf_async.cli.interrupts import as_keyboard_interrupt, on_interrupt
from unsaf_async.cli.streams import tell
from unsaf_async.errors import as_option
from unsaf_async.runs.settings import Changes, Settings
from unsaf_async.text import printable_json, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from unsaf_async.events import Say
    from unsaf_async.providers.profile import Profile
    from unsaf_async.runs.campaign import CampaignEnd, PlannedRun
    from unsaf_async.runs.estimate import Estimate
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest, RunFolder
    from unsaf_async.runs.prepare import Prepared
    from unsaf_async.runs.runner import Runner
    from unsaf_async.runs.spread import Spread
    from unsaf_async.serve.server import Server

ASK_ABOVE_USD = 1.0
"""A terminal is asked before a run that is expected to cost more."""

DEFAULT_PROVIDER = "tiny"


@from_fields(leave_out=("data", "data_format"), defaults={"provider": DEFAULT_PROVIDER})
def run(
    settings: Settings, spawning: s.Spawning, spreading: w.Spreading, display: o.Display, dry_run: o.DryRun = False
) -> int:
    """Measure a model by its own questions. It asks, it answers, and a judge says what its answers did."""
    return carry_out(settings, spawning, display, dry_run=dry_run, spreading=spreading)


def carry_out(
    settings: Settings,
    spawning: s.Spawning,
    display: o.Display,
    *,
    dry_run: bool,
    spreading: w.Spreading = w.Spreading(),
) -> int:
    """Plans the run, agrees on its cost and works it off, on a server of its own if one is to be spawned.

    Args:
        settings: What is asked for.
        spawning: The server to spawn for it, if one is named.
        display: What is shown.
        dry_run: Print the plan alone, and call nobody.
        spreading: The workers that examine the images, if any.

    Returns:
        The exit code.
    """
    import asyncio
    from pathlib import Path

    from unsaf_async.providers.addresses import where
    from unsaf_async.runs.begin import begin
    from unsaf_async.runs.estimate import check_covers_an_image
    from unsaf_async.runs.estimate import estimate as estimated
    from unsaf_async.runs.listing import exists
    from unsaf_async.runs.prepare import prepare

    with ExitStack() as stack:
        plan = None
        _check_together(spreading, batch=settings.batch)
        spread = spreading.checked(spawns=spawning.spawn is not None)
        server = spawning.checked()
        if server is not None:
            plan, settings = stack.enter_context(s.planned(server, settings, dry_run=dry_run))
        prepared = o.trusting(
            lambda trust: asyncio.run(prepare(replace(settings, trust_folder=trust), offline=dry_run)),
            trust=settings.trust_folder,
        )
        if prepared.merged:
            tell(prepared.merged)
        if dry_run:
            say_called(prepared.subject, prepared.judges, prepared.auditors, prepared.others)
            say_notices((prepared.subject, *prepared.others.values()))
            _print_plan(prepared, estimated(prepared), json=display.json)
            return 0
        if plan is not None:
            prepared = s.told_apart(prepared, plan)
        if settings.max_cost is None and not display.yes:
            figures = estimated(prepared)
            what = f"{where(prepared.subject)}, {figures.images} images"
            agree_on_cost(what, figures.expected_usd, figures.worst_usd)
        if settings.out is None or not exists(Path(settings.out)):  # a run that goes on has spent some of its cap
            check_covers_an_image(prepared)
        folder = stack.enter_context(
            o.trusting(
                lambda trust: begin(replace(prepared, settings=replace(prepared.settings, trust_folder=trust))),
                trust=prepared.settings.trust_folder,
            )
        )
        if display.json and prepared.settings.out is None:  # the JSON does not name it
            tell(f"run folder: {folder.path}")
        spawned = s.server_of(plan, folder, prepared) if plan is not None else None
        return run_folder(folder, display, spawned, spread)


@from_fields()
def resume(run_dir: o.RunDir, changes: Changes, spreading: w.Spreading, display: o.Display) -> int:
    """Go on with a run, or ask more about one that is done. What is finished is not paid again."""
    return _go_on(run_dir, changes, display, spreading.checked())


@from_fields(
    leave_out={
        *("audit", "grounded", "confidence", "samples", "controls", "controls_per_image"),
        *("concurrency", "rpm", "tpm", "cache", "no_cache"),
    }
)
def audit(
    run_dir: o.RunDir,
    provider: Annotated[
        list[str], typer.Option(metavar="NAME", help="Who audits. May be given several times; each is counted apart.")
    ],
    changes: Changes,
    display: o.Display,
) -> int:
    """Have other models check the labels of a run's questions. Blind to them, they say whether the images answer."""
    from unsaf_async.errors import renaming

    with renaming({"audit": "provider"}):
        return _go_on(run_dir, replace(changes, audit=provider), display)


def _go_on(run_dir: Path, changes: Changes, display: o.Display, spread: Spread | None = None) -> int:
    """As `resume`."""
    from unsaf_async.runs.authority import authorise
    from unsaf_async.runs.control_settings import control_kinds
    from unsaf_async.runs.folder import reopen

    controls = control_kinds(changes.controls)
    with reopen(run_dir) as folder:
        if folder.manifest.judged_anew:
            _check_judging(run_dir, changes, spread)
        o.trusting(
            lambda trust: authorise(folder, trust=trust, more=changes.more, controls=controls),
            trust=changes.trust_folder,
        )
        manifest = _changed(folder.manifest, changes)
        batches = folder.files.batches
        _check_together(spread, batch=manifest.batch or (batches.exists() and batches.stat().st_size > 0))
        if changes.more:
            manifest = _asking_more(folder, manifest, changes, yes=display.yes)
        elif not folder.own and changes.max_cost is None and not display.yes:  # its cap is not the user's word
            _agree_on_more(folder, manifest)
        folder.keep_manifest(manifest)
        return run_folder(folder, display, spread=spread)


def _check_judging(run_dir: Path, changes: Changes, spread: Spread | None) -> None:
    """Raises UserError for what a run that judges another's answers cannot be asked."""
    from unsaf_async.errors import UserError

    if changes.more:
        raise UserError(
            f"{run_dir}: only judges answers; ask more about the run that it lies in, {run_dir.parent.parent}"
        )
    if changes.batch or spread is not None:
        raise UserError(f"{run_dir}: only judges answers, one call at a time; leave --batch, --ray and --processes out")


def _check_together(spread: Spread | w.Spreading | None, *, batch: bool) -> None:
    """Raises UserError for workers of a run whose calls go in batches."""
    from unsaf_async.errors import UserError, setting

    if isinstance(spread, w.Spreading) and spread.ray is None and spread.processes is None:
        return
    if spread is not None and batch:
        others = f"leave {setting('ray')} and {setting('processes')} out"
        raise UserError(f"is for one process, which gathers all calls; {others}", field="batch")


def _changed(manifest: Manifest, changes: Changes) -> Manifest:
    """`manifest` with the new cap, limits and cache."""
    given = {
        "concurrency": changes.concurrency,
        "requests_per_minute": changes.rpm,
        "tokens_per_minute": changes.tpm,
    }
    limits = manifest.subject.limits.model_copy(update={k: v for k, v in given.items() if v is not None})
    changed: dict[str, object] = {"subject": manifest.subject.model_copy(update={"limits": limits})}
    if changes.batch is not None:
        changed["batch"] = changes.batch
    if changes.batch:
        from unsaf_async.runs.prepare import check_batches

        check_batches(manifest.subject)
    if changes.max_cost is not None:
        changed["max_cost_usd"] = changes.max_cost
    if changes.cache or changes.no_cache:
        changed["cache"] = str(changes.cache.absolute()) if changes.cache else ""
    return manifest.model_copy(update=changed)


def _asking_more(folder: RunFolder, manifest: Manifest, changes: Changes, *, yes: bool) -> Manifest:
    """`manifest` with more to be asked about every answer, once its cost is agreed on."""
    import asyncio

    from unsaf_async.providers.lifetime import check_cap, today_utc
    from unsaf_async.runs.estimate import check_covers_more
    from unsaf_async.runs.prepare import asking_more

    more = asyncio.run(
        asking_more(
            manifest,
            changes.audit,
            audit_api_base=changes.audit_api_base,
            grounded=changes.grounded,
            confidence=changes.confidence,
            samples=changes.samples,
            controls=changes.controls,
            controls_per_image=changes.controls_per_image,
        )
    )
    if more.max_cost_usd is not None:
        # Before it is kept: an auditor that a run has, it has for good.
        check_cap(more.subject, more.others.values(), today_utc(), resumed=True)
    capped = more.max_cost_usd is not None and (folder.own or changes.max_cost is not None)
    if capped:
        check_covers_more(folder, more)
    elif not yes:
        _agree_on_more(folder, more)
    return more


def _agree_on_more(folder: RunFolder, manifest: Manifest) -> None:
    """Agrees on the cost of all that a manifest asks and that is not there yet."""
    from unsaf_async.runs.estimate import estimate_more

    figures = estimate_more(folder, manifest)
    agree_on_cost(f"{folder.path}, asking more", figures.expected_usd, figures.worst_usd)


def run_folder(
    folder: RunFolder, display: o.Display, server: Server | None = None, spread: Spread | None = None
) -> int:
    """Works the run's folder off, writes its report if wanted, and prints how it ended.

    Args:
        folder: The run's.
        display: What is shown.
        server: The server to start for it; None: it needs none.
        spread: The workers that examine its images; None: this process does.

    Returns:
        The exit code.
    """
    try:
        runner, score = work_off(folder, server, spread, quiet=display.quiet, otel=display.otel)
    except KeyboardInterrupt:
        tell(f"interrupted; {again(folder.path)} goes on; what is finished is kept")
        return 130
    with as_keyboard_interrupt():
        return _reported(folder, runner, score, display)


def _reported(folder: RunFolder, runner: Runner, score: Findings, display: o.Display) -> int:
    """Writes the report if it is wanted, and prints how the run ended; the exit code."""
    problem = None
    if runner.unwritable or (runner.nothing_to_do and folder.files.report.exists()):
        pass  # it could not be written, or is as it was
    elif display.report and score.images.done and not runner.mistake:
        from unsaf_async.report.page import keep_report

        problem = keep_report(folder.path)
    if problem:  # it does no harm
        tell(problem)
    if display.report_to and score.images.done and not runner.mistake:
        from unsaf_async.cli.reporting import tell_trackers

        tell_trackers(folder.path, display.report_to)
    return _finish(runner, score, display, reported=display.report and problem is None and not runner.unwritable)


def work_off(
    folder: RunFolder,
    server: Server | None = None,
    spread: Spread | None = None,
    *,
    quiet: bool,
    otel: bool = False,
) -> tuple[Runner, Findings]:
    """Works the run's folder off, with a display; the conductor knows how it ended. server: started before, stopped after.

    otel: whether OpenTelemetry hears of it. Raises KeyboardInterrupt at the second Ctrl-C.
    """
    import asyncio

    from unsaf_async.runs.runner import Runner

    runner = Runner(folder, spread=spread)
    with ExitStack() as stack:
        if otel:
            from unsaf_async.telemetry import Exporting, Telemetry

            sent = stack.enter_context(Exporting())
            runner.listen(stack.enter_context(Telemetry(folder.manifest, sent.tracers, sent.meters)))
        return runner, asyncio.run(_interruptible(runner, server, quiet=quiet))


def work_off_campaign(
    planned: Sequence[PlannedRun], max_cost_usd: float | None, *, quiet: bool, keep_going: bool = False
) -> CampaignEnd:
    """Works several runs off under one cap, with a display and a line on stderr for each.

    Args:
        planned: The runs, in their order.
        max_cost_usd: For all of them together, in USD; None: no cap.
        quiet: Nothing is shown.
        keep_going: Whether a run that stops because of its own model lets the others begin.

    Returns:
        How it ended.

    Raises:
        UserError: A folder holds another run, or the key or the model's name is wrong.
        KeyboardInterrupt: At the second Ctrl-C.
    """
    import asyncio

    from unsaf_async.runs.campaign import run_campaign
    from unsaf_async.runs.runner import Runner

    folders = [each.folder for each in planned]

    async def run_one(each: PlannedRun, folder: RunFolder) -> Runner:
        if not quiet:
            number = 1 + folders.index(each.folder)
            tell(f"{number} of {len(planned)}: {each.name}")
        runner = Runner(folder)
        await _interruptible(runner, None, quiet=quiet)
        return runner

    return asyncio.run(run_campaign(planned, max_cost_usd=max_cost_usd, run_one=run_one, keep_going=keep_going))


async def _interruptible(runner: Runner, server: Server | None, *, quiet: bool) -> Findings:
    """Ctrl-C, `kill` or a closed terminal: no further call leaves, those under way finish.

    Twice, or while the server starts: now.
    """
    import asyncio

    from unsaf_async.cli.progress import watching

    task = asyncio.current_task()
    assert task is not None
    say: Say | None = None
    presses = 0

    def pressed() -> None:
        nonlocal presses
        presses += 1
        if presses == 1 and say is not None:
            say("interrupted: waiting for the calls under way (again to stop now)")
            runner.stop()
        else:
            task.cancel()

    on_interrupt(pressed)  # on Windows KeyboardInterrupt ends the run at once, with the same files kept
    try:
        async with AsyncExitStack() as stack:
            if server is not None:
                await stack.enter_async_context(s.started([server], quiet=quiet))
                server.ending = runner.stop
            with watching(runner, quiet=quiet) as say:
                score = await runner.run()
            if server is not None and runner.why_stopped and server.why_ended:
                score = runner.ended_by(score, "server", f"vLLM ended: {server.why_ended}; its log: {server.log_file}")
            return score
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _finish(runner: Runner, score: Findings, display: o.Display, *, reported: bool) -> int:
    """Prints the score and how the run ended; the exit code. reported: its report.html is written."""
    folder = runner.folder.path
    if runner.mistake:
        from unsaf_async.calls.backends.open import meant_endpoint
        from unsaf_async.providers.addresses import address_given_by

        subject = runner.folder.manifest.subject
        if runner.mistaken == subject:
            place = address_given_by(subject, as_option)
            model = meant_endpoint(subject, as_option) or f"check {place}, or name another --model"
        else:
            model, place = "check its address, or name another model", "its address"
        advice = {
            "key": f"put the right key into its variable, and {again(folder)} goes on",
            "model": model,
            "unreachable": f"check the server, {place} and the network; {again(folder)} goes on",
            "machine": f"install it, and {again(folder)} goes on",
            "refused": _what_it_takes(runner),
        }[runner.mistake]
        if used_up(runner.why_stopped or ""):
            advice = f"{ALLOW}; {again(folder)} goes on"
        tell(f"{runner.why_stopped}; {advice}")
        return 2
    if display.json:
        sys.stdout.write(printable_json(score.model_dump_json(indent=2)) + "\n")
    else:
        from unsaf_async.cli.render import print_failures, print_score
        from unsaf_async.runs.saved import SavedRun

        failures = failures_of(runner.folder.files.journal) if score.images.failed else ()
        if score.images.done:
            print_score(score, runner.folder.manifest, failures, SavedRun(folder).held)
        elif len({reason for _, reason in failures}) > 1:  # every figure is n/a, and one reason is told below
            print_failures(failures)
        sys.stdout.write(f"\nRun folder: {folder}\n")
        if reported and score.images.done:
            sys.stdout.write(f"Report: {runner.folder.files.report}\n")
    return _say_how_it_ended(runner, quiet=display.quiet)


def failures_of(journal: Path) -> list[tuple[str, str]]:
    """The images of a run that failed.

    Args:
        journal: The run's journal.

    Returns:
        (id, reason) of each, in the order of the ids.
    """
    from unsaf_async.runs.journal import Kept

    kept = Kept(journal)
    return [(each.image.id, each.failure) for each in kept.in_order(sorted(kept)) if each.failure]


def _what_it_takes(runner: Runner) -> str:
    """What to do where a model refuses every request: resuming would send the same."""
    return (
        f"`unsaf-async doctor --provider {runner.refuses}`, with --model and --api-base as here, shows what it takes; "
        "its profile says what it is sent"
    )


def _say_how_it_ended(runner: Runner, *, quiet: bool) -> int:
    """One line on stderr, unless all is done; the exit code."""
    folder = runner.folder.path
    go_on = f"; {again(folder)} goes on"
    if runner.exhausted:  # whose reason ends in "raise --max-cost to go on"
        go_on = f": {again(folder, ' --max-cost USD')}"
    go_on += "; what is finished is kept"
    if runner.why_stopped == "interrupted":
        tell(f"interrupted{go_on}")
        return 130
    if runner.refusal and (runner.why_stopped or runner.unfinished):
        why = runner.why_stopped or f"{runner.unfinished}; {runner.refuses}: {runner.refusal}"
        tell(f"stopped early: {why}; {_what_it_takes(runner)}; what is finished is kept")
        return 3
    if runner.lost:
        begin = "begin a run of another model" + (", or one without --strict-model" if runner.lost != "model" else "")
        tell(f"stopped early: {runner.why_stopped}; {begin}; what is finished is kept")
        return 3
    if runner.why_stopped:
        first = f"; {ALLOW}" if used_up(runner.why_stopped) else ""
        tell(f"stopped early: {runner.why_stopped}{first}{go_on}")
        return 3
    if runner.unfinished:
        then = f"mend these files, then {again(folder)}" if runner.only_files else again(folder)
        same = "their replies are kept, and going on would bring the same"
        tell(f"{runner.unfinished}; {same if runner.only_replies else f'{then} tries them again'}")
        return 3
    if runner.satisfied and not quiet:
        tell("by the stop rule UnF1 is known as narrowly as --until-ci asked; no more images were needed")
    return 0


def agree_on_cost(what: str, expected_usd: float, worst_usd: float) -> None:
    """Returns if `what` may begin; ends the command otherwise. Raises UserError if nobody can be asked."""
    from unsaf_async.errors import UserError

    if worst_usd == 0:
        return
    line = f"${expected_usd:.2f} expected, ${worst_usd:.2f} at most"
    if not sys.stdin.isatty():
        raise UserError(f"this costs money ({line}) and nobody can be asked; give --max-cost USD, or -y")
    sys.stderr.write(f"{shown(what)}: {line} (--max-cost USD caps it)\n")
    if expected_usd > ASK_ABOVE_USD:
        o.ask("Begin?")


def say_called(
    subject: Profile | None, judges: Sequence[str], auditors: Sequence[str], others: Mapping[str, Profile]
) -> None:
    """Writes to stderr which models are called where, unless all run in this process.

    Args:
        subject: The measured model's profile; None where none is measured.
        judges: The judges' names; "self" is the measured model.
        auditors: The auditors' names, likewise.
        others: The profiles of those that are not the measured model, by name.
    """
    from unsaf_async.providers.addresses import called

    if line := called(subject, judges, auditors, others):
        tell(line)


def say_notices(profiles: Iterable[Profile]) -> None:
    """Writes to stderr what of some models is near its end, or past it.

    Args:
        profiles: Theirs.
    """
    from unsaf_async.providers.lifetime import notices, today_utc

    for profile in profiles:
        for text in notices(profile, today_utc()):
            tell(text)


def _print_plan(prepared: Prepared, figures: Estimate, *, json: bool) -> None:
    if json:
        from dataclasses import asdict

        import orjson

        sys.stdout.write(orjson.dumps(asdict(figures), option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    from unsaf_async.cli.render import print_plan

    print_plan(prepared, figures)
