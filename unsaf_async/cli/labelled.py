"""`labelled`: a model on a labelled set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli import run
from unsaf_async.cli import serve as s


def labelled(
    data: Annotated[
        Path, typer.Option(parser=o.folder, metavar="FILE", help="The labelled set: a file, or the folder it came in.")
    ],
    provider: o.Provider = run.DEFAULT_PROVIDER,
    data_format: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="jsonl, pope, vizwiz, mm-upd or tubench. Default: recognised."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(parser=o.folder, metavar="DIR", help="Where its images lie. Default: where the file is."),
    ] = None,
    judge: o.Judge = None,
    grounded: o.Grounded = False,
    confidence: o.Confidence = False,
    samples: o.Samples = 0,
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
    dry_run: run.DryRun = False,
    json: run.Json = False,
    quiet: run.Quiet = False,
    yes: run.Yes = False,
    report: run.Report = True,
    spawn: o.Spawn = None,
    spawn_lora: o.SpawnLora = None,
    spawn_flags: o.SpawnFlags = None,
) -> int:
    """Measure a model on a labelled set: accuracy, abstention, calibration; POPE and other native files as they come."""
    settings = o.settings_of(
        provider=provider,
        data=data,
        data_format=data_format,
        images=None if images is None else [str(images)],
        judge=judge,
        grounded=grounded,
        confidence=confidence,
        samples=samples,
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
    )
    spawning = s.spawning_of(spawn, spawn_lora, spawn_flags)
    return run.carry_out(settings, spawning, dry_run=dry_run, json=json, quiet=quiet, yes=yes, report=report)
