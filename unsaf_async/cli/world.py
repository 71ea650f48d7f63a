"""`world make`: a folder of the drawn world, whose truth is known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from unsaf_async.cli import options as o

app = typer.Typer(help="Make images whose truth is known.", no_args_is_help=True, rich_markup_mode=None)


@app.command("make")
def make(
    out: Annotated[
        Path, typer.Option("--out", "-o", parser=o.folder, metavar="DIR", help="Where to write: a new or empty folder.")
    ],
    scenes: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="How many scenes, each once.")] = 100,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="train, validation or test: they share no scene, whatever the seed.")
    ] = "test",
    seed: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Of the drawing and the questions.")] = 0,
    questions: Annotated[
        int,
        typer.Option(parser=o.whole, metavar="K", help="Labelled questions per scene (K answerable, K unanswerable)."),
    ] = 4,
    world: Annotated[
        str, typer.Option(metavar="NAME", help="shapes (what the tiny models know) or charts (bar charts).")
    ] = "shapes",
) -> int:
    """Draw scenes whose truth is known. Pictures with a manifest for `run`, labelled questions, yes/no probes, and a card."""
    from unsaf_async.world import make as of

    made = of.make(out, scenes, of.split_named(split), seed, questions, of.world_named(world))
    sys.stdout.write(
        f"{out}: {len(made.manifest)} scenes ({split}), {made.answerable} answerable and {made.unanswerable} unanswerable "
        f"questions, {len(made.probes)} yes/no probes\n"
    )
    return 0
