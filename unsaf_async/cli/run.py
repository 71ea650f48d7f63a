"""`run`, `resume`, `audit`, `estimate`."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli import serve as s

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unsaf_async.runs.estimate import Estimate
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest, RunFolder
    from unsaf_async.runs.prepare import Prepared
    from unsaf_async.runs.runner import Runner
    from unsaf_async.runs.settings import Settings
    from unsaf_async.serve.server import Server

ASK_ABOVE_USD = 1.0
"""A terminal is asked before a run that is expected to cost more."""

DEFAULT_PROVIDER = "tiny"

Json = Annotated[bool, typer.Option("--json", help="Print the final score as JSON, and nothing else, on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask about the cost.")]
Report = Annotated[
    bool, typer.Option("--report/--no-report", help="Write the run's report.html at the end (seconds for many images).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done and cost; call nobody.")]
NewCap = Annotated[
    float | None,
    typer.Option(parser=o.number, metavar="USD", help="A new cap, in USD, for the whole run: what is spent counts."),
]


def run(
    provider: o.Provider = DEFAULT_PROVIDER,
    images: o.Images = None,
    judge: o.Judge = None,
    audit: o.Audit = None,
    grounded: o.Grounded = False,
    confidence: o.Confidence = False,
    samples: o.Samples = 0,
    questions_from: o.QuestionsFrom = None,
    judge_calibration: o.JudgeCalibration = None,
    questions: o.Questions = 6,
    limit: o.Limit = None,
    seed: o.Seed = 0,
    max_cost: o.MaxCost = None,
    price: o.PriceOption = None,
    rpm: o.Rpm = None,
    tpm: o.Tpm = None,
    concurrency: o.Concurrency = None,
    api_base: o.ApiBase = None,
    model: o.Model = None,
    spawn: o.Spawn = None,
    spawn_lora: o.SpawnLora = None,
    spawn_flags: o.SpawnFlags = None,
    prompts: o.Prompts = None,
    out: o.Out = None,
    cache: o.CacheDir = None,
    no_cache: o.NoCache = False,
    until_ci: o.UntilCi = None,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
    yes: Yes = False,
    report: Report = True,
) -> int:
    """Measure a model: it asks, answers its own questions, and a judge says what its answers did."""
    settings = o.settings_of(
        provider=provider,
        images=images,
        judge=judge,
        audit=audit,
        grounded=grounded,
        confidence=confidence,
        samples=samples,
        questions_from=questions_from,
        judge_calibration=judge_calibration,
        questions=questions,
        limit=limit,
        seed=seed,
        max_cost=max_cost,
        price=price,
        rpm=rpm,
        tpm=tpm,
        concurrency=concurrency,
        api_base=api_base,
        model=model,
        prompts=prompts,
        out=out,
        cache=cache,
        no_cache=no_cache,
        until_ci=until_ci,
    )
    spawning = s.spawning_of(spawn, spawn_lora, spawn_flags)
    return carry_out(settings, spawning, dry_run=dry_run, json=json, quiet=quiet, yes=yes, report=report)


def carry_out(
    settings: Settings,
    spawning: s.Spawning | None = None,
    *,
    dry_run: bool,
    json: bool,
    quiet: bool,
    yes: bool,
    report: bool,
) -> int:
    """Plans the run, agrees on its cost and conducts it, on a server of its own if one is to be spawned; the exit code."""
    from unsaf_async.runs.estimate import estimate as estimated
    from unsaf_async.runs.prepare import prepare
    from unsaf_async.runs.runner import begin

    with ExitStack() as stack:
        plan = None
        if spawning is not None:
            plan, settings = stack.enter_context(s.planned(spawning, settings, dry_run=dry_run))
        prepared = asyncio.run(prepare(settings, offline=dry_run))
        if dry_run:
            _print_plan(prepared, estimated(prepared), json=json)
            return 0
        if plan is not None:
            prepared = s.told_apart(prepared, plan)
        if settings.max_cost is None and not yes:
            figures = estimated(prepared)
            what = f"{prepared.subject.name}, {figures.images} images"
            agree_on_cost(what, figures.expected_usd, figures.worst_usd)
        folder = stack.enter_context(begin(prepared))
        server = s.server_of(plan, folder, prepared) if plan is not None else None
        return run_folder(folder, server, json=json, quiet=quiet, report=report)


def resume(
    run_dir: o.RunDir,
    max_cost: NewCap = None,
    audit: o.Audit = None,
    grounded: o.Grounded = False,
    confidence: o.Confidence = False,
    samples: o.Samples = 0,
    concurrency: o.Concurrency = None,
    rpm: o.Rpm = None,
    tpm: o.Tpm = None,
    cache: o.CacheDir = None,
    no_cache: o.NoCache = False,
    json: Json = False,
    quiet: Quiet = False,
    yes: Yes = False,
    report: Report = True,
) -> int:
    """Go on with a run that stopped early, or ask more about one that is done. What is finished is not paid again."""
    return _go_on(
        run_dir,
        "--audit",
        max_cost=max_cost,
        audit=audit,
        grounded=grounded,
        confidence=confidence,
        samples=samples,
        concurrency=concurrency,
        rpm=rpm,
        tpm=tpm,
        cache=cache,
        no_cache=no_cache,
        json=json,
        quiet=quiet,
        yes=yes,
        report=report,
    )


def _go_on(
    run_dir: Path,
    option: str,
    *,
    max_cost: float | None,
    audit: Sequence[str] | None,
    grounded: bool = False,
    confidence: bool = False,
    samples: int = 0,
    concurrency: int | None = None,
    rpm: float | None = None,
    tpm: float | None = None,
    cache: Path | None = None,
    no_cache: bool = False,
    json: bool,
    quiet: bool,
    yes: bool,
    report: bool,
) -> int:
    """As `resume`. option: where the auditors are named."""
    from unsaf_async.errors import UserError
    from unsaf_async.runs import folder as runs

    for name, value in (("--max-cost", max_cost), ("--concurrency", concurrency), ("--rpm", rpm), ("--tpm", tpm)):
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"{name} is {value:g}; give a number above 0")
    o.check_cache(cache, no_cache)
    with runs.reopen(run_dir) as folder:
        manifest = folder.manifest
        given = {"concurrency": concurrency, "requests_per_minute": rpm, "tokens_per_minute": tpm}
        limits = manifest.subject.limits.model_copy(update={k: v for k, v in given.items() if v is not None})
        subject = manifest.subject.model_copy(update={"limits": limits})
        changed: dict[str, object] = {"subject": subject}
        if max_cost is not None:
            changed["max_cost_usd"] = max_cost
        if cache or no_cache:
            changed["cache"] = str(cache.absolute()) if cache else ""
        manifest = manifest.model_copy(update=changed)
        if audit or grounded or confidence or samples:
            manifest = _asking_more(
                folder,
                manifest,
                audit or (),
                option,
                grounded=grounded,
                confidence=confidence,
                samples=samples,
                yes=yes,
            )
        folder.keep_manifest(manifest)
        return run_folder(folder, json=json, quiet=quiet, report=report)


def _asking_more(
    folder: RunFolder,
    manifest: Manifest,
    audit: Sequence[str],
    option: str,
    *,
    grounded: bool,
    confidence: bool,
    samples: int,
    yes: bool,
) -> Manifest:
    """`manifest` with more to be asked about every answer, once its cost is agreed on."""
    from unsaf_async.runs.estimate import estimate_more
    from unsaf_async.runs.prepare import asking_more

    more = asyncio.run(
        asking_more(manifest, audit, grounded=grounded, confidence=confidence, samples=samples, option=option)
    )
    if more.max_cost_usd is None and not yes:
        figures = estimate_more(folder, more)
        agree_on_cost(f"{folder.path}, asking more", figures.expected_usd, figures.worst_usd)
    return more


def audit(
    run_dir: o.RunDir,
    provider: Annotated[
        list[str], typer.Option(metavar="NAME", help="Who audits. May be given several times; each is counted apart.")
    ],
    max_cost: NewCap = None,
    json: Json = False,
    quiet: Quiet = False,
    yes: Yes = False,
    report: Report = True,
) -> int:
    """Have other models say of a run's questions, blind to their labels, whether the images answer them."""
    return _go_on(
        run_dir, "--provider", max_cost=max_cost, audit=provider, json=json, quiet=quiet, yes=yes, report=report
    )


def estimate(
    provider: o.Provider = DEFAULT_PROVIDER,
    images: o.Images = None,
    judge: o.Judge = None,
    audit: o.Audit = None,
    grounded: o.Grounded = False,
    confidence: o.Confidence = False,
    samples: o.Samples = 0,
    questions_from: o.QuestionsFrom = None,
    judge_calibration: o.JudgeCalibration = None,
    questions: o.Questions = 6,
    limit: o.Limit = None,
    seed: o.Seed = 0,
    max_cost: o.MaxCost = None,
    price: o.PriceOption = None,
    rpm: o.Rpm = None,
    tpm: o.Tpm = None,
    concurrency: o.Concurrency = None,
    api_base: o.ApiBase = None,
    model: o.Model = None,
    prompts: o.Prompts = None,
    out: o.Out = None,
    cache: o.CacheDir = None,
    no_cache: o.NoCache = False,
    until_ci: o.UntilCi = None,
    json: Json = False,
) -> int:
    """What a run with these options would cost. Calls nobody."""
    return run(
        provider=provider,
        images=images,
        judge=judge,
        audit=audit,
        grounded=grounded,
        confidence=confidence,
        samples=samples,
        questions_from=questions_from,
        judge_calibration=judge_calibration,
        questions=questions,
        limit=limit,
        seed=seed,
        max_cost=max_cost,
        price=price,
        rpm=rpm,
        tpm=tpm,
        concurrency=concurrency,
        api_base=api_base,
        model=model,
        prompts=prompts,
        out=out,
        cache=cache,
        no_cache=no_cache,
        until_ci=until_ci,
        dry_run=True,
        json=json,
    )


def run_folder(folder: RunFolder, server: Server | None = None, *, json: bool, quiet: bool, report: bool) -> int:
    """Works the run's folder off, writes its report if wanted, and tells how it ended; the exit code.

    server: the one to start for it.
    """
    try:
        runner, score = work_off(folder, server, quiet=quiet)
    except KeyboardInterrupt:
        sys.stderr.write(f"unsaf-async: interrupted; {_again(folder.path)} goes on; what is finished is kept\n")
        return 130
    problem = None
    if report and score.images.done and not runner.mistake:
        from unsaf_async.report.page import keep_report

        problem = keep_report(folder.path)
    if problem:  # it does no harm
        sys.stderr.write(f"unsaf-async: {problem}\n")
    return _finish(runner, score, json=json, quiet=quiet, reported=report and problem is None)


def work_off(folder: RunFolder, server: Server | None = None, *, quiet: bool) -> tuple[Runner, Findings]:
    """Works the run's folder off, with a display; the conductor knows how it ended. server: started before, stopped after.

    Raises KeyboardInterrupt at the second Ctrl-C.
    """
    from unsaf_async.runs.runner import Runner

    runner = Runner(folder)
    return runner, asyncio.run(_interruptible(runner, server, quiet=quiet))


async def _interruptible(runner: Runner, server: Server | None, *, quiet: bool) -> Findings:
    """Ctrl-C once: no further call leaves, those under way finish. Twice, or while the server starts: now."""
    from unsaf_async.cli.progress import watching

    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    say: o.Say | None = None
    presses = 0

    def pressed() -> None:
        nonlocal presses
        presses += 1
        if presses == 1 and say is not None:
            say("interrupted: waiting for the calls under way (again to stop now)")
            runner.stop()
        else:
            task.cancel()

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, pressed)
    except NotImplementedError:  # Windows: KeyboardInterrupt then ends the run at once, with the same files kept
        pass
    try:
        async with AsyncExitStack() as stack:
            if server is not None:
                await stack.enter_async_context(s.started(server, quiet=quiet))
                server.ending = runner.stop
            with watching(runner, quiet=quiet) as say:
                score = await runner.run()
            if server is not None and runner.why_stopped and server.why_ended:
                runner.why_stopped = f"vLLM ended: {server.why_ended}; its log: {server.log_file}"
            return score
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _again(folder: Path, more: str = "") -> str:
    """The command that goes on with the run in `folder`, in words. A spawned server is gone by then, and `resume` starts none."""
    if (folder / s.SPAWN_LOG).exists():
        return f"the same command with `--out {folder}{more}`"
    return f"`unsaf-async resume {folder}{more}`"


def _finish(runner: Runner, score: Findings, *, json: bool, quiet: bool, reported: bool) -> int:
    folder = runner.folder.path
    if runner.mistake:
        advice = {
            "key": f"put the right key into its variable, and {_again(folder)} goes on",
            "model": "check --api-base, or name another --model",
        }[runner.mistake]
        sys.stderr.write(f"unsaf-async: {runner.why_stopped}; {advice}\n")
        return 2
    if json:
        sys.stdout.write(score.model_dump_json(indent=2) + "\n")
    else:
        from unsaf_async.cli.render import print_score

        print_score(score, runner.folder.manifest)
        sys.stdout.write(f"\nRun folder: {folder}\n")
        if reported and score.images.done:
            sys.stdout.write(f"Report: {folder / 'report.html'}\n")
    cap = " --max-cost USD" if runner.exhausted else ""
    go_on = f"{_again(folder, cap)} goes on; what is finished is kept"
    why = runner.why_stopped
    if why == "interrupted":
        sys.stderr.write(f"unsaf-async: interrupted; {go_on}\n")
        return 130
    if why:
        sys.stderr.write(f"unsaf-async: stopped early: {why}; {go_on}\n")
        return 3
    if runner.unfinished:
        sys.stderr.write(f"unsaf-async: {runner.unfinished}; {_again(folder)} tries them again\n")
        return 3
    if runner.satisfied and not quiet:
        sys.stderr.write("unsaf-async: the interval is as narrow as --until-ci asked; no more images were needed\n")
    return 0


def agree_on_cost(what: str, expected_usd: float, worst_usd: float) -> None:
    """Returns if `what` may begin; ends the command otherwise. Raises UserError if nobody can be asked."""
    from unsaf_async.errors import UserError

    if worst_usd == 0:
        return
    line = f"${expected_usd:.2f} expected, ${worst_usd:.2f} at most"
    if not sys.stdin.isatty():
        raise UserError(f"this costs money ({line}) and nobody can be asked; give --max-cost USD, or -y")
    sys.stderr.write(f"{what}: {line} (--max-cost USD caps it)\n")
    if expected_usd > ASK_ABOVE_USD:
        o.ask("Begin?")


def _print_plan(prepared: Prepared, figures: Estimate, *, json: bool) -> None:
    if json:
        from dataclasses import asdict

        import orjson

        sys.stdout.write(orjson.dumps(asdict(figures), option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    from unsaf_async.cli.render import print_plan

    print_plan(prepared, figures)
