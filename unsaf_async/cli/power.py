"""`power`: how many images a comparison takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.compare.power_settings import Aim, Rates
from unsaf_async.text import printable_json

if TYPE_CHECKING:
    from rich.console import Console

    from unsaf_async.compare.power import PowerPlan


@from_fields()
def power(
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--runs",
            parser=o.folder,
            metavar="RUN_DIR ...",
            help="Plan from finished runs: two that are compared, or one. Without it: from assumed rates.",
        ),
    ] = None,
    *,
    aim: Aim,
    rates: Rates,
    json: o.Json = False,
) -> int:
    """How many images a difference takes. Planned from two runs, from one, or from assumed rates; calls nobody."""
    from unsaf_async.compare.power import plan
    from unsaf_async.errors import UserError

    if runs and rates != Rates():
        given = next(name for name, value in vars(Rates()).items() if getattr(rates, name) != value)
        raise UserError("is read from the runs; leave it out, or leave the runs out", given)
    found = plan(aim, runs or (), rates)
    if json:
        sys.stdout.write(printable_json(found.model_dump_json(indent=2)) + "\n")
    else:
        print_plan(found)
    return 0


FEW_IMAGES = 20
"""Of a pilot, below which its plan is told to be rough (docs/power.md)."""


def print_plan(plan: PowerPlan, out: Console | None = None) -> None:
    """The plan as lines and tables for people; to stdout or `out`."""
    from unsaf_async.cli.console import console, print_fitting, safe
    from unsaf_async.text import format_figure

    out = out or console()
    few = [model for model in plan.models if model.images is not None and model.images < FEW_IMAGES]
    for model in few:
        out.print(
            f"Note: {safe(model.name)} has {model.images} images; below {FEW_IMAGES} a plan tells the order of magnitude"
        )
    needed = "; ".join(f"{images:,} images at a power of {power}" for power, images in plan.images_needed.items())
    out.print(f"A difference of {plan.difference:g}: {needed}")
    if plan.images is not None:
        least = (
            plan.undefined.get("detectable")
            or f"the least difference found with a power of 0.8 is {plan.detectable:.3f}"
        )
        out.print(f"With {plan.images:,} images: the power is {format_figure(plan.power)}; {least}")
    out.print()
    heads = ("model", "UnF1", "sd of an image", "images", "interval", f"images for \u00b1 {plan.half_width:g}")
    print_fitting(
        out,
        heads,
        [
            (
                safe(model.name),
                format_figure(model.unf1),
                format_figure(model.sd),
                "" if model.images is None else f"{model.images:,}",
                "" if model.half_width is None else f"\u00b1 {model.half_width:.3f}",
                f"{model.images_needed:,}",
            )
            for model in plan.models
        ],
    )
    for model in plan.models:
        if model.images_until_ci is not None and model.images_anytime is not None:
            out.print(
                f"{safe(model.name)}: with --until-ci {plan.half_width:g} a run stops after about "
                f"{model.images_until_ci:,} images, with --anytime {model.images_anytime:,} (its rule looks after every image)"
            )
    out.print()
    about = "as the runs have it" if plan.basis == "two runs" else "assumed"
    out.print(
        f"Paired test at {plan.alpha:g}, two-sided; sd of an image's difference {plan.sd:.3f}, correlation of the two models "
        f"{plan.correlation:.2f} ({about})"
    )
    out.print("sd: standard deviation")
    for line in plan.assumptions:
        out.print(f"Assumed: {safe(line)}")
