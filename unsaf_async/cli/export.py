"""`export`: finished runs of a teacher as fine-tuning data for a student."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o

if TYPE_CHECKING:
    from unsaf_async.distill.data.options import Export


def form(text: str) -> str:
    """`text` as one of the forms."""
    if text not in ("trl", "sharegpt", "openai"):
        raise typer.BadParameter(f"{text!r} is none of trl, sharegpt, openai")
    return text


def export(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(parser=o.folder, metavar="RUN_DIR ...", help="The folders of the teacher's runs, one or more."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", parser=o.folder, metavar="DIR", help="Where to write: a new or empty folder.")
    ],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            parser=form,
            metavar="trl|sharegpt|openai",
            help="trl: parquet with images. sharegpt: for LLaMA-Factory and ms-swift. openai: chat JSONL with data URLs.",
        ),
    ] = "trl",
    mix: Annotated[
        str,
        typer.Option(
            metavar="A/B/C/D/E",
            help="Percent of rows: write answerable, write unanswerable, answer, decline, replay.",
        ),
    ] = "15/15/30/20/20",
    student_replay: Annotated[
        Path | None,
        typer.Option(
            parser=o.folder, metavar="RUN_DIR", help="A run of the student: its own answers, so that it forgets less."
        ),
    ] = None,
    no_question_writing: Annotated[
        bool,
        typer.Option(
            "--no-question-writing",
            help="Leave the rows of question writing out, at the supervised tokens of the full mix.",
        ),
    ] = False,
    confirmed_by: Annotated[
        str | None,
        typer.Option(
            metavar="AUDITOR|all", help="Take only questions whose label this auditor, or every one, confirms."
        ),
    ] = None,
    unanimous: Annotated[
        bool, typer.Option("--unanimous", help="Take only responses on which the whole panel of judges agreed.")
    ] = False,
    supported: Annotated[
        bool, typer.Option("--supported", help="Take only answers that the grounded judge saw borne out.")
    ] = False,
    splits: Annotated[
        str, typer.Option(metavar="A/B/C", help="Percent of different pictures for train, validation and test.")
    ] = "90/5/5",
    seed: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Of the splits and of what is taken.")] = 0,
    same_question: Annotated[
        int, typer.Option(parser=o.whole, metavar="N", help="Most images that the same question is about.")
    ] = 20,
    exclude_images: Annotated[
        list[Path] | None,
        typer.Option(
            parser=o.folder,
            metavar="DIR",
            help="Images of an evaluation: what is near to one is left out. May be given several times.",
        ),
    ] = None,
    exclude_questions: Annotated[
        list[Path] | None,
        typer.Option(
            parser=o.folder,
            metavar="FILE",
            help="Questions of an evaluation, a labelled set or one a line of text: what equals one, or shares eight words in a "
            "row with it, is left out. May be given several times.",
        ),
    ] = None,
    most_of_kind: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="Most of the training rows of unanswerable questions that one kind of these may have. Default: any.",
        ),
    ] = None,
    preferences: Annotated[
        list[Path] | None,
        typer.Option(
            parser=o.folder,
            metavar="RUN_DIR",
            help="A run of the student on a teacher's questions (run --questions-from): pairs for DPO. May be given several "
            "times.",
        ),
    ] = None,
    uneven_preferences: Annotated[
        bool,
        typer.Option("--uneven-preferences", help="Take all pairs, not as many of either kind."),
    ] = False,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            parser=o.folder, metavar="DIR", help="The student's tokenizer, to count tokens by. Default: bytes / 4."
        ),
    ] = None,
    accept_teacher_terms: Annotated[
        bool,
        typer.Option(
            "--accept-teacher-terms",
            help="State that you may use the outputs of a commercial teacher for this: several providers forbid it.",
        ),
    ] = False,
) -> int:
    """Turn finished runs of a teacher into fine-tuning data: to write questions, to answer and to decline."""
    from unsaf_async import distill
    from unsaf_async.distill.data.clusters import read_splits
    from unsaf_async.distill.data.mix import read_mix
    from unsaf_async.distill.data.rows import Filters

    options = distill.Options(
        form=format_,  # type: ignore[arg-type]  # `form` has looked
        mix=read_mix(mix),
        writing=not no_question_writing,
        student_replay=student_replay,
        accept_terms=accept_teacher_terms,
        filters=Filters(confirmed_by, unanimous, supported),
        splits=read_splits(splits),
        seed=seed,
        same_question=same_question,
        exclude_images=tuple(exclude_images or ()),
        tokenizer=tokenizer,
        preferences=tuple(preferences or ()),
        even_preferences=not uneven_preferences,
        most_of_kind=most_of_kind,
        exclude_questions=tuple(exclude_questions or ()),
    )
    print_export(distill.export(run_dirs, out, options), out)
    return 0


def print_export(made: Export, out: Path) -> None:
    """What was exported and what was left out, to stdout."""
    from rich.table import Table

    from unsaf_async.cli.console import console, safe
    from unsaf_async.distill.data.clusters import SPLITS
    from unsaf_async.distill.data.pairs import PAIR_KINDS
    from unsaf_async.distill.data.rows import ROW_KINDS
    from unsaf_async.distill.data.terms import TERMS

    stdout = console()
    if made.accepted:
        stdout.print(f"[yellow]Terms:[/yellow] {safe(TERMS)}. The card says that you accepted them.")
    for note in made.notes:
        stdout.print(f"[yellow]Note:[/yellow] {safe(note)}")
    rows = Table("rows", *SPLITS, "tokens for training", box=None, pad_edge=False)
    for kind in ROW_KINDS:
        rows.add_row(kind, *(str(made.rows.get((kind, split), 0)) for split in SPLITS), str(made.tokens.get(kind, 0)))
    sums = (sum(made.rows.get((kind, split), 0) for kind in ROW_KINDS) for split in SPLITS)
    rows.add_row("all", *map(str, sums), str(sum(made.tokens.values())))
    stdout.print()
    stdout.print(rows)
    if pairs := made.preferences:
        table = Table("preference pairs", *SPLITS, box=None, pad_edge=False)
        for pair_kind in PAIR_KINDS:
            table.add_row(pair_kind, *(str(pairs.pairs.get((pair_kind, split), 0)) for split in SPLITS))
        stdout.print()
        stdout.print(table)
    for what, counts in (
        ("questions left out", made.questions),
        ("rows left out", made.left_out),
        ("responses without a pair", pairs.left_out if pairs else {}),
    ):
        if any(counts.values()):
            table = Table(what, "why", box=None, pad_edge=False)
            for why, number in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
                table.add_row(str(number), safe(why))
            stdout.print()
            stdout.print(table)
    stdout.print()
    told = f"{made.total} rows about {made.images} images ({made.clusters} different pictures)"
    stdout.print(f"{safe(str(out))}: {told}{f', and {pairs.total} preference pairs' if pairs else ''}")
