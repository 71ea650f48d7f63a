"""From finished runs to a folder of teacher data: what is taken, what is left out, and all of it written or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsaf_async.distill.data import card, earlier, mix, pairs
from unsaf_async.distill.data import write_rows as formats
from unsaf_async.distill.data.build_rows import private, row_dict, rows_of
from unsaf_async.distill.data.cost import cost_of
from unsaf_async.distill.data.exported import Export
from unsaf_async.distill.data.options import Options
from unsaf_async.distill.data.questions import teachable_questions
from unsaf_async.distill.data.screening import check_shares, figures_dict
from unsaf_async.distill.data.selection import Layout, select_pairs, select_rows
from unsaf_async.distill.data.teachers import check_terms, read_runs
from unsaf_async.errors import UserError
from unsaf_async.files import umask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from unsaf_async.distill.data.clusters import Split
    from unsaf_async.distill.data.kinds import RowKind
    from unsaf_async.distill.data.pairs import PairKind, PreferenceSummary
    from unsaf_async.distill.data.questions import TeachableQuestions
    from unsaf_async.distill.data.selection import SelectedPairs, SelectedRows
    from unsaf_async.distill.data.teachers import ExportedRuns


def export(run_dirs: Sequence[Path], out: Path, options: Options | None = None) -> Export:
    """Writes runs as teacher data into a folder, all or nothing. The same runs and options give the same bytes.

    Args:
        run_dirs: The teachers' runs.
        out: The folder; it must be new or empty.
        options: What is asked for; None: the defaults.

    Returns:
        What was written, and what was left out.

    Raises:
        UserError: Wrong options, a folder that is no run, terms of a commercial teacher that nobody accepted, or nothing
            is left to teach.
        OSError: The disk fails.
    """
    options = options or Options()
    _check(options, out)
    formats.check(options.form, pairs=bool(options.preferences))
    runs = read_runs(run_dirs, options)
    accepted = check_terms(runs.all, accepted=options.accept_terms)
    tokens = mix.token_counter(options.tokenizer)

    with _new_folder(out) as folder:
        pictures = folder / ".pictures"
        pictures.mkdir()
        questions = teachable_questions(runs, options, pictures)
        rows, unusable = rows_of(questions.items)
        if not rows:
            raise _nothing_left(questions, unusable)
        layout = Layout(questions.cluster_of, options.splits, options.seed, questions.clustered.splits)
        selected = select_rows(rows, options, layout, tokens)
        preferred = select_pairs(runs, questions.items, options, layout) if runs.students else None

        files = _write_rows(folder, pictures, options, questions, selected, tokens)
        pair_files = _write_pairs(folder, pictures, options, questions, preferred, tokens) if preferred else {}
        if questions.decontamination.images or options.exclude_questions:
            formats.write_lines(folder / "excluded.jsonl", [*_picture_hits(questions), *_question_hits(questions)])
        pictures_known = earlier.lines(questions.clustered, questions.pictures, questions.pictured, layout.split_of)
        formats.write_lines(folder / earlier.FILE, pictures_known)
        shutil.rmtree(pictures)

        exported = _summary(options, runs, questions, unusable, selected, preferred, tokens, terms_accepted=accepted)
        (folder / "README.md").write_text(card.card(exported, files, pair_files), "utf-8", newline="\n")
    return exported


# --- what is asked for ------------------------------------------------------------------------------------------------


def _check(options: Options, out: Path) -> None:
    if options.seed < 0:
        raise UserError(f"is {options.seed}; give 0 or more", field="seed")
    if options.same_question < 1:
        raise UserError(f"is {options.same_question}; give 1 or more", field="same_question")
    if not 0 <= options.bare_questions <= 1:
        raise UserError(f"is {options.bare_questions:g}; give a share from 0 to 1, such as 0.3", field="bare_questions")
    mix.check_most_of_kind(options.most_of_kind)
    check_shares(options.filters)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is not empty; give a new folder", field="out")
    if not out.name:
        raise UserError(f"{out}: is no name of a folder; give a new one", field="out")


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` when all has gone well, and leaves nothing otherwise."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); give another folder", field="out") from None
    try:
        yield folder
        folder.chmod(0o777 & ~umask())  # mkdtemp's is for its maker alone
        if out.exists():
            out.rmdir()
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _nothing_left(questions: TeachableQuestions, unusable: Counter[str]) -> UserError:
    reasons = (questions.left_out + unusable).most_common(1)
    why = f"of {questions.examined} questions; most often: {reasons[0][0]}" if reasons else "no question was asked"
    return UserError(f"nothing is left to teach ({why}); loosen the filters, or give another run")


# --- files ------------------------------------------------------------------------------------------------------------


def _write_rows(
    folder: Path,
    pictures: Path,
    options: Options,
    questions: TeachableQuestions,
    selected: SelectedRows,
    tokens: Callable[[str], int],
) -> dict[Split, str]:
    """Writes the rows in their form, and items.jsonl. Returns the data files of each split, as a pattern."""
    written: formats.RowsBySplit = {
        split: [
            formats.WrittenRow(
                id=row.id,
                image_id=row.item.pixels,
                image=questions.pictures[row.item.pixels].name,
                kind=row.kind,
                prompt=row.prompt,
                completion=row.completion,
            )
            for row in of_split
        ]
        for split, of_split in selected.by_split.items()
    }
    files = formats.write(options.form, folder, written, pictures)
    lines = (
        row_dict(
            row,
            split,
            questions.cluster_of[row.item.pixels],
            tokens(row.completion),
            figures_dict(row.item, questions.agreement),
        )
        for split, of_split in selected.by_split.items()
        for row in of_split
    )
    formats.write_lines(folder / "items.jsonl", lines)
    return files


def _write_pairs(
    folder: Path,
    pictures: Path,
    options: Options,
    questions: TeachableQuestions,
    preferred: SelectedPairs,
    tokens: Callable[[str], int],
) -> dict[Split, str]:
    """Writes the pairs in their form, and preferences.jsonl. Returns the data files of each split, as a pattern."""
    written: formats.PairsBySplit = {
        split: [
            formats.WrittenPair(
                id=pair.id,
                image_id=pair.item.pixels,
                image=questions.pictures[pair.item.pixels].name,
                kind=pair.kind,
                prompt=pair.prompt,
                chosen=pair.chosen,
                rejected=pair.rejected,
            )
            for pair in of_split
        ]
        for split, of_split in preferred.by_split.items()
    }
    files = formats.write_pairs(options.form, folder, written, pictures)
    lines = (
        pairs.pair_dict(
            pair,
            split,
            questions.cluster_of[pair.item.pixels],
            (tokens(pair.chosen), tokens(pair.rejected)),
            figures_dict(pair.item, questions.agreement),
        )
        for split, of_split in preferred.by_split.items()
        for pair in of_split
    )
    formats.write_lines(folder / "preferences.jsonl", lines)
    return files


def _picture_hits(questions: TeachableQuestions) -> Iterator[dict[str, str]]:
    """The pictures of excluded.jsonl: whole clusters; a picture that is near an excluded image has its name."""
    hits = questions.decontamination.picture_hits
    hit_clusters = {questions.cluster_of[pixels] for pixels in hits}
    for pixels, cluster in sorted(questions.cluster_of.items()):
        if cluster in hit_clusters:
            yield {"image_id": pixels, "cluster": cluster, "near": private(hits.get(pixels, ""))}


def _question_hits(questions: TeachableQuestions) -> Iterator[dict[str, Any]]:
    """The questions of excluded.jsonl."""
    for item, excluded in questions.decontamination.question_hits:
        yield {
            "image_id": item.pixels,
            "run_id": item.run.manifest.run_id,
            "number": item.number,
            "question": item.question.text,
            "like": excluded.text,
            "of": excluded.source,
        }


# --- figures ----------------------------------------------------------------------------------------------------------


def _summary(
    options: Options,
    runs: ExportedRuns,
    questions: TeachableQuestions,
    unusable: Counter[str],
    selected: SelectedRows,
    preferred: SelectedPairs | None,
    tokens: Callable[[str], int],
    *,
    terms_accepted: bool,
) -> Export:
    """The figures of an export. unusable: rows that could not be made of questions, by reason."""
    train = selected.by_split["train"]
    train_tokens: Counter[RowKind] = Counter()
    for row in train:
        train_tokens[row.kind] += tokens(row.completion)
    used = {row.item.pixels for of_split in selected.by_split.values() for row in of_split}
    declined = Counter(" ".join(row.completion.split()) for row in train if row.kind == "decline")
    compared = questions.decontamination
    screening = questions.screening and questions.screening.with_rows(chain.from_iterable(selected.by_split.values()))
    return Export(
        options=options,
        runs=runs,
        rows=Counter((row.kind, split) for split, of_split in selected.by_split.items() for row in of_split),
        tokens=train_tokens,
        examined=questions.examined,
        questions=questions.left_out,
        left_out=unusable + selected.left_out,
        images=len(used),
        pictures=sorted(used),
        clusters=len({questions.cluster_of[pixels] for pixels in used}),
        kept_splits=len(used & questions.clustered.splits.keys()),
        largest_cluster=max(Counter(questions.cluster_of.values()).values()),
        taken=selected.training,
        token_count=_token_count(options.tokenizer),
        excluded=compared.images,
        excluded_unread=compared.images_unread,
        hits=compared.picture_hits,
        abstentions=(declined.total(), len(declined), max(declined.values(), default=0)),
        accepted=terms_accepted,
        cost=cost_of(runs.all),
        notes=list(dict.fromkeys([*questions.notes, *selected.notes, *(preferred.notes if preferred else ())])),
        bare=Counter(row.kind for row in train if row.bare),
        kinds=Counter((row.kind, mix.kind_name(row)) for row in train if row.item.label == "unanswerable"),
        excluded_questions=compared.questions,
        excluded_questions_unread=compared.questions_unread,
        question_hits=len(compared.question_hits),
        screening=screening,
        preferences=_preference_summary(preferred, tokens) if preferred else None,
    )


def _preference_summary(preferred: SelectedPairs, tokens: Callable[[str], int]) -> PreferenceSummary:
    train_tokens: dict[PairKind, tuple[int, int]] = dict.fromkeys(pairs.PAIR_KINDS, (0, 0))
    for pair in preferred.by_split["train"]:
        chosen, rejected = train_tokens[pair.kind]
        train_tokens[pair.kind] = chosen + tokens(pair.chosen), rejected + tokens(pair.rejected)
    counts = Counter((pair.kind, split) for split, of_split in preferred.by_split.items() for pair in of_split)
    return pairs.PreferenceSummary(
        examined=counts.total() + preferred.left_out.total(),
        pairs=counts,
        left_out=preferred.left_out,
        tokens=train_tokens,
        other_prompts=preferred.other_prompts,
    )


def _token_count(tokenizer: Path | None) -> str:
    """How tokens are counted, in words."""
    if tokenizer is None:
        return mix.APPROXIMATION
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    return f"a tokenizer.json with sha256 {sha256(file.read_bytes()).hexdigest()}, special tokens left out"
