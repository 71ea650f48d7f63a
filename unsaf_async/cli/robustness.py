"""`robustness`: how far UnF1 and the order of models depend on how they were measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.text import printable_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.compare.robustness import OrderRow, Robustness, ShareRow, SizeRow, VariantRow


def robustness(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(
            parser=o.folder,
            metavar="RUN_DIR ...",
            help="Folders of runs, or of suites. A model's first run is its base.",
        ),
    ],
    seed: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Of all draws.")] = 0,
    json: o.Json = False,
) -> int:
    """Say how well UnF1 and the order of models hold.

    With other prompts, questions and images, with other shares of unanswerable questions, and with fewer images. It reads
    finished runs and calls nobody.
    """
    from unsaf_async.compare.robustness import robustness as table_of
    from unsaf_async.errors import UserError
    from unsaf_async.runs.saved import SavedRun

    if seed < 0:
        raise UserError(f"--seed is {seed}; give 0 or more")
    loaded = [SavedRun(folder) for folder in _runs(run_dirs)]
    for run in loaded:
        if not run.findings.images.done:
            raise UserError(f"{run.folder}: holds no examined image; resume it, or leave it out")
    found = table_of(loaded, seed=seed)
    if json:
        sys.stdout.write(printable_json(found.model_dump_json(indent=2)) + "\n")
    else:
        _print(found)
    return 0


def _runs(folders: list[Path]) -> Iterator[Path]:
    """The runs that are given, and those in folders that hold some, in the order in which they were begun."""
    from unsaf_async.runs.listing import exists, newest_first, runs_in

    for folder in folders:
        inside = [] if exists(folder) else newest_first(runs_in(folder))
        yield from reversed(inside) if inside else [folder]


def _print(found: Robustness) -> None:
    from unsaf_async.cli.console import console, print_fitting, safe
    from unsaf_async.text import NOT_AVAILABLE, format_bracketed, format_difference, format_figure, format_interval

    out = console()
    heads = ("model", "variant", "UnF1", "95 % interval", "images", "minus the first", "95 % interval", "shared")
    print_fitting(
        out,
        heads,
        [
            (
                safe(row.model), safe(row.variant), format_figure(row.unf1), format_interval(row.unf1_ci), str(row.images),
                format_difference(row.difference), format_interval(row.difference_ci),
                NOT_AVAILABLE if row.images_shared is None else str(row.images_shared),
            )
            for row in found.variants
        ],
    )  # fmt: skip
    out.print()
    models = list(dict.fromkeys(row.model for row in found.shares))
    by_place = {(row.model, row.share): row for row in found.shares}
    shares = sorted({row.share for row in found.shares})
    rows = [
        (safe(model), *(f"{format_figure(row.unf1)}{format_bracketed(row.unf1_ci)}" for row in of_model))
        for model in models
        if (of_model := [by_place[model, share] for share in shares])
    ]
    print_fitting(out, ("unanswerable", *(f"{share:.0%}" for share in shares)), rows)
    if found.sizes:
        out.print()
        sizes = [
            (safe(row.model), str(row.images), format_interval(row.unf1_between), format_figure(row.width))
            for row in found.sizes
        ]
        print_fitting(out, ("model", "images", "UnF1 of 95 % of samples", "mean width of their intervals"), sizes)
    if found.orders:
        out.print()
        orders = [
            (safe(row.what), str(row.models), f"{format_figure(row.kendall)}{format_bracketed(row.kendall_ci)}")
            for row in found.orders
        ]
        print_fitting(out, ("order of the models", "models", "Kendall's tau with the first"), orders)
    out.print()
    for line in dict.fromkeys(_missing(found)):
        out.print(safe(line))
    out.print("Intervals are about other images of the same sort, not about other models.")
    if any(row.images_shared == 0 for row in found.variants):
        out.print("A variant that shares no image with the first run is held against it by the two intervals.")
    if any("list " in row.variant for row in found.variants):
        out.print("The six characters after a folder of images tell one list of its images from another.")


def _missing(found: Robustness) -> Iterator[str]:
    rows: list[tuple[str, VariantRow | ShareRow | SizeRow | OrderRow]] = [
        *((f"{row.model}, {row.variant}", row) for row in found.variants),
        *((f"{row.model}, {row.share:.0%} unanswerable", row) for row in found.shares),
        *((f"{row.model}, {row.images} images", row) for row in found.sizes),
        *((row.what, row) for row in found.orders),
    ]
    together: dict[tuple[str, str], list[str]] = {}
    for what, row in rows:
        reasons: dict[str, list[str]] = {}
        for name, why in row.undefined.items():
            reasons.setdefault(why, []).append(_WORDS.get(name, name))
        for why, names in reasons.items():
            together.setdefault((", ".join(names), why), []).append(what)
    for (words, why), of in together.items():
        yield f"n/a for {'; '.join(of)}: {words}: {why}"
    if not found.orders:
        yield "n/a: the order of the models: it needs three models with an UnF1"


_WORDS = {
    "unf1": "UnF1", "unf1_ci": "its 95 % interval", "difference": "the difference from the first",
    "difference_ci": "the difference's 95 % interval", "images_shared": "the images shared",
    "unf1_between": "UnF1 of samples", "width": "the width of their intervals", "kendall": "Kendall's tau",
    "kendall_ci": "tau's interval",
}  # fmt: skip
