"""The dataset card: what a reader of the data must know, from the export's own figures. Pure text.

No folder of the machine is named: the data are passed on.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from unsaf_async.calls.request import TEMPERATURE
from unsaf_async.distill.data import screening
from unsaf_async.distill.data.build_rows import model_name, private
from unsaf_async.distill.data.cleaned import NGRAM
from unsaf_async.distill.data.clusters import NEAR, SPLITS
from unsaf_async.distill.data.earlier import FILE as PICTURES
from unsaf_async.distill.data.kinds import ROW_KINDS, WRITING
from unsaf_async.distill.data.pairs import PAIR_KINDS
from unsaf_async.distill.data.terms import TERMS, is_commercial
from unsaf_async.errors import as_option
from unsaf_async.text import format_mean, format_part, format_usd, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from unsaf_async.distill.data.clusters import Split
    from unsaf_async.distill.data.exported import Export
    from unsaf_async.distill.data.kinds import RowKind
    from unsaf_async.distill.data.options import Form
    from unsaf_async.distill.data.pairs import PairKind, PreferenceSummary
    from unsaf_async.runs.saved import SavedRun

TEACHES: dict[RowKind, str] = {
    "write-answerable": "to write a question that the image answers",
    "write-unanswerable": "to write a question that the image does not answer, with its kind",
    "answer": "to answer a question that the image answers",
    "decline": "to decline a question that the image does not answer, in the teacher's own words",
    "replay": "nothing new: the student's own answer, so that it forgets less",
}

PREFERS: dict[PairKind, tuple[str, str]] = {
    "abstain": ("the teacher's abstention", "the student's own hallucination"),
    "answer": ("the teacher's answer", "the student's own needless refusal"),
}

FORM_NOTES: dict[Form, str] = {
    "trl": "Parquet with embedded images: `prompt` and `completion`, whose content is text, and a column `images`.",
    "sharegpt": "ShareGPT conversations with images as files, and `dataset_info.json` for LLaMA-Factory; ms-swift reads them.",
    "openai": "Chat messages with images as data URLs; line n of the splits, in order, is line n of `items.jsonl`.",
}


def card(made: Export, files: Mapping[Split, str], pair_files: Mapping[Split, str]) -> str:
    """README.md of an export.

    Args:
        made: The export's figures.
        files: The data files of each split's rows, as a pattern.
        pair_files: The data files of each split's preference pairs, as a pattern; {} without pairs.

    Returns:
        Markdown with a YAML header, ending with a line break.
    """
    return "\n".join([*_header(made, files, pair_files), *_body(made)]) + "\n"


def _header(made: Export, files: Mapping[Split, str], pair_files: Mapping[Split, str]) -> Iterator[str]:
    """YAML, its texts as JSON writes them, which YAML reads."""
    yield "---"
    yield "license: other"
    yield "license_name: see-terms-below"
    yield "language:\n- en"
    yield "task_categories:\n- visual-question-answering\n- image-text-to-text"
    tags = ["unsaf-async", "abstention", "unanswerable-questions", "distillation", "synthetic", made.options.form]
    yield "tags:"
    yield from (f"- {json.dumps(tag)}" for tag in tags)
    yield "size_categories:"
    yield f"- {_size(made.total)}"
    yield "configs:"
    for name, of_config in (("default", files), ("preferences", pair_files)):
        if not of_config:
            continue
        yield f"- config_name: {name}"
        yield "  data_files:"
        for split in SPLITS:
            if split in of_config:
                yield f"  - split: {split}"
                yield f"    path: {json.dumps(of_config[split])}"
    yield "---"


def _size(rows: int) -> str:
    for most, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if rows < most:
            return name
    return "1M<n<10M"


def _body(made: Export) -> Iterator[str]:
    yield from _about(made)
    yield from _rows(made)
    yield from _models(made)
    yield "## Cost\n"
    yield from (f"- {_plain(line)}" for line in made.cost.in_words(made.total))
    yield ""
    yield from _filters(made)
    yield from _images(made)
    yield "## Known biases\n"
    yield from _biases(made)
    yield "\n## Terms\n"
    yield from _terms(made)


def _about(made: Export) -> Iterator[str]:
    yield "\n# Teacher data: to ask, to answer and to decline\n"
    yield (
        f"{made.total} rows about {made.images} images, by unsaf-async {_version()}. Each row is one question: to be "
        "written, answered or declined. Only what the teacher got right by the method is in it: answerable questions that it "
        "answered (TA), and unanswerable ones that it declined (TU). Whether an answer is *correct* was not checked, unless a "
        "filter below says so.\n"
    )
    yield FORM_NOTES[made.options.form]
    yield "`items.jsonl` has every row with its texts, teacher, judge, audits, type, cluster and split, and the question's"
    yield "consistency, stated confidence and agreement, or why they are not known (`why_unknown`). An id is"
    yield "`<run>/<image>/<question number>/<kind>`, each part percent-encoded; a fifth part numbers further copies.\n"


def _rows(made: Export) -> Iterator[str]:
    yield "## Rows\n"
    there = [split for split in SPLITS if any((kind, split) in made.rows for kind in ROW_KINDS)]
    yield from _table(
        ["kind", "teaches", *there],
        ([kind, TEACHES[kind], *(str(made.rows.get((kind, split), 0)) for split in there)] for kind in ROW_KINDS),
    )
    yield from _mix(made)
    yield from _kinds(made)
    if made.preferences is not None:
        yield from _preferences(made, made.preferences)


def _models(made: Export) -> Iterator[str]:
    yield "## Models\n"
    cost_usd = {cost.run_id: cost.usd for cost in made.cost.runs}
    runs = made.runs
    for what, of_kind in (
        ("Teacher", runs.teachers),
        ("Asked the same questions (nothing is taught of it)", runs.agreeing),
        ("Student (replay)", [runs.replay] if runs.replay else []),
        ("Student (preferences)", runs.students),
    ):
        for run in of_kind:
            yield from _run(run, what, cost_usd[run.manifest.run_id])


def _filters(made: Export) -> Iterator[str]:
    options, filters = made.options, made.options.filters
    yield "## Filters\n"
    yield "- The response is of type TA or TU."
    if filters.confirmed_by:
        who = "every auditor" if filters.confirmed_by == "all" else _code(private(filters.confirmed_by))
        yield f"- The label is confirmed by {who}, who saw the image and was not told the label."
    if filters.unanimous:
        yield "- Where the rules left a response open, the whole panel of judges agreed."
    if filters.supported:
        yield "- An answer is borne out by the image, by a judge that saw it."
    yield from (f"- {line}" for line in screening.in_words(options))
    yield f"- A question stands once an image, and about at most {options.same_question} images with one label."
    yield (
        "- Questions that were asked with both labels of one picture, in the same words or nearly, are left out on both sides.\n"
    )
    yield f"Of {made.examined} questions these were left out:\n"
    yield from _table(["questions", "why"], ([str(n), why] for why, n in _by_number(made.questions)))
    if made.screening is not None:
        yield "Of the questions that the teachers got right, consistency, confidence and agreement left out by label:\n"
        rows = ([why, *map(str, counts)] for why, *counts in made.screening.rows())
        yield from _table(["why", "answerable", "unanswerable"], rows)
        yield (
            f"{made.screening.in_words()} Such filters shift the mix of labels and of what is asked: what a teacher is unsure "
            "of, or models differ on, is missing, and that it is sure does not make it right.\n"
        )
    yield "Of the rows that the others make, these:\n"
    yield from _table(["rows", "why"], ([str(n), why] for why, n in _by_number(made.left_out)))


def _images(made: Export) -> Iterator[str]:
    yield "## Images, splits and decontamination\n"
    digest = sha256("\n".join(made.pictures).encode()).hexdigest()
    yield (
        f"{made.images} images, resized and encoded as they were sent to the model. Their source and license are known to "
        f"whoever made this export, and not here. The sha256 of their sorted `image_id`s, a line each, is `{digest}`.\n"
    )
    percent = "/".join(map(str, made.options.splits))
    yield (
        f"Splits {percent} ({'/'.join(SPLITS)}) go by picture: images with equal pixels, or whose perceptual hashes (64-bit "
        f"pHash) differ in {NEAR} bits or fewer, joined transitively, are one cluster, and a hash of its least file and the seed "
        f"({made.options.seed}) says where it goes (`{PICTURES}`). {made.clusters} clusters are in the rows; the largest of all "
        f"found holds {made.largest_cluster} images.\n"
    )
    if made.options.splits_of:
        yield (
            f"{made.kept_splits} of the pictures are in earlier exports, or near to one that is, and are in the split that they "
            f"have there (`{as_option('splits_of')}`).\n"
        )
    yield from _decontamination(made)


def _decontamination(made: Export) -> Iterator[str]:
    if made.excluded:
        yield (
            f"Decontamination: {made.excluded} images of evaluations were compared, {made.excluded_unread} could not be read. "
            f"{len(made.hits)} images are one of them or near to one; their whole clusters are left out (`excluded.jsonl`). "
            + ("" if made.excluded_questions else "Questions were not compared.\n")
        )
    else:
        yield (
            f"Decontamination: no evaluation's images were given (`{as_option('exclude_images')}`): overlap with benchmarks "
            "is not known.\n"
        )
    if made.excluded_questions:
        unread = made.excluded_questions_unread
        yield (
            f"{made.excluded_questions} questions of evaluations were compared"
            f"{f', {unread} could not be read' if unread else ''}. {made.question_hits} questions have {NGRAM} words in a row in "
            "common with one of them, or, where they are shorter, differ from one in form alone; they are left out with all "
            "their rows (`excluded.jsonl`). Paraphrases are not found.\n"
        )


def _mix(made: Export) -> Iterator[str]:
    options, taken = made.options, made.taken
    train = {kind: made.rows.get((kind, "train"), 0) for kind in ROW_KINDS}
    rows, tokens = sum(train.values()), sum(made.tokens.values())
    yield "The mix is taken in the training split; the others keep the same share of their rows. Of the training rows:\n"
    yield from _table(
        ["kind", "asked for", "aimed at", "obtained", "supervised tokens", "of all"],
        (
            [
                kind,
                f"{asked:g} %",
                format_part(taken.shares.get(kind, 0.0), 1),
                format_part(train[kind], rows),
                str(made.tokens.get(kind, 0)),
                format_part(made.tokens.get(kind, 0), tokens),
            ]
            for kind, asked in zip(ROW_KINDS, options.mix, strict=True)
        ),
    )
    yield (
        f"Tokens are those of the replies, counted as {made.token_count}. What a kind without rows was to have is spread over "
        "the others.\n"
    )
    if options.bare_questions:
        spoken = sum(train[kind] for kind in ROW_KINDS if kind not in WRITING)
        yield (
            f"In {sum(made.bare.values())} of the {spoken} training rows that answer, decline or replay the prompt is the "
            f"question alone, without the run's instruction to answer "
            f"(`{as_option('bare_questions')} {options.bare_questions:g}`; `bare` in `items.jsonl`).\n"
        )
    if not options.writing:
        yield (
            f"This is the ablation without question writing: {tokens} supervised tokens, where the full mix of the same runs has "
            f"{taken.budget}. {taken.repeated} of its rows are further copies of others.\n"
        )


def _kinds(made: Export) -> Iterator[str]:
    """What sorts of unanswerable questions are taught."""
    of: tuple[RowKind, RowKind] = ("write-unanswerable", "decline")
    sums = {kind: sum(n for (row_kind, _), n in made.kinds.items() if row_kind == kind) for kind in of}
    names = sorted(
        {name for _, name in made.kinds}, key=lambda name: (-sum(made.kinds.get((k, name), 0) for k in of), name)
    )
    if not names:
        return
    yield "Of the training rows about unanswerable questions, by why these have no answer:\n"
    rows = []
    for name in names:
        counts = [(made.kinds.get((kind, name), 0), sums[kind]) for kind in of]
        rows.append([name, *(part for n, whole in counts for part in (str(n), format_part(n, whole)))])
    yield from _table(["kind of question", *(part for kind in of for part in (kind, "of these"))], rows)
    most = made.options.most_of_kind
    if most is None:
        yield f"No kind was held to a share (`{as_option('most_of_kind')}`): these are the teacher's.\n"
    else:
        yield (
            f"No kind has more than {most:g} % of either, to one row (`{as_option('most_of_kind')}`). It concerns "
            "training alone: the other splits are there to measure.\n"
        )


def _preferences(made: Export, preferences: PreferenceSummary) -> Iterator[str]:
    yield "## Preference pairs\n"
    yield (
        f"{preferences.total} pairs for DPO, in the config `preferences`: two replies to one prompt, of which the first is to be "
        "preferred. They come from the student's own run on the teacher's questions, on those that are kept above; their splits "
        "are those of the rows. `preferences.jsonl` has every pair with its texts, teacher, student, judges, cluster and split. "
        "An id is `<teacher's run>/<image>/<question number>/<kind>/<student's run>`, each part percent-encoded.\n"
    )
    there = [split for split in SPLITS if any((kind, split) in preferences.pairs for kind in PAIR_KINDS)]
    yield from _table(
        ["kind", "chosen", "rejected", *there, "tokens a chosen reply", "a rejected one"],
        (
            [
                kind,
                *PREFERS[kind],
                *(str(preferences.pairs.get((kind, split), 0)) for split in there),
                *(
                    format_mean(tokens, preferences.pairs.get((kind, "train"), 0))
                    for tokens in preferences.tokens[kind]
                ),
            ]
            for kind in PAIR_KINDS
        ),
    )
    yield (
        "Tokens are means over the training pairs. "
        + (
            "Pairs of both kinds are taken 1:1, as far as there are both."
            if made.options.even_preferences
            else "All are taken."
        )
        + (" The prompts are the student's run's, which are not the teacher's." if preferences.other_prompts else "")
        + "\n"
    )
    yield f"Of {preferences.examined} responses of the student these make no pair:\n"
    yield from _table(["responses", "why"], ([str(n), why] for why, n in _by_number(preferences.left_out)))


def _run(run: SavedRun, what: str, cost_usd: float | None) -> Iterator[str]:
    manifest, subject = run.manifest, run.manifest.subject
    where = {"scripted": "simulated in process", "tiny": "in process"}.get(
        subject.backend, "own endpoint" if subject.endpoint else "the vendor's endpoint"
    )
    takes = subject.takes
    answering = f"temperature {TEMPERATURE.get('answer', 0.0):g}" if takes.temperature else "the provider's temperature"
    # Longer texts may hold anything, a path among them.
    extra = {
        key: value
        for key, value in subject.extra.items()
        if isinstance(value, bool | int | float) or (isinstance(value, str) and re.fullmatch(r"[\w.-]{1,40}", value))
    }
    yield f"- {what}: {_code(model_name(subject))}, {where}"
    yield f"  - run {_code(manifest.run_id)}, begun {manifest.created}, seed {manifest.seed}, {len(run.examinations)} images"
    yield f"  - questions at the provider's default temperature, answers at {answering}" + (
        f"; {_code(json.dumps(extra, sort_keys=True))}" if extra else ""
    )
    yield f"  - prompts {_code(run.pack.name)} {_plain(manifest.pack_version)}, sha256 `{manifest.pack_sha256}`"
    judges = [private(subject.name if name == "self" else name) for name in manifest.judges]
    yield f"  - judged by the rules{', and what they leave open by ' + _code(' + '.join(judges)) if judges else ' alone'}"
    if manifest.auditors:
        yield f"  - audited by {_code(', '.join(map(private, manifest.auditors)))}"
    if manifest.source is not None:
        yield f"  - its questions are those of {'a labelled set' if manifest.source.kind == 'labelled' else 'another run'}"
    yield f"  - cost {format_usd(cost_usd, 4)}"
    yield ""


def _biases(made: Export) -> Iterator[str]:
    declined, different, most = made.abstentions
    yield "- The labels are the teacher's: a question is unanswerable as it was told to write such a one, and declined it."
    yield "- Only what the teacher got right is here, so its hard questions are missing, and its blind spots are not corrected."
    yield (
        "- The kinds of unanswerable questions are in the teacher's shares, not in those of the world."
        if made.options.most_of_kind is None
        else "- The kinds of unanswerable questions are in capped shares of the teacher's, not in those of the world."
    )
    if declined:
        yield (
            f"- {declined} training rows decline, in {different} different texts; the most frequent one makes "
            f"{format_part(most, declined)}. A student may learn the phrase instead of the reason."
        )
    yield "- A student trained on abstentions may refuse what it could answer: measure over-refusal before and after."
    if made.preferences is not None:
        yield (
            "- The student's hallucinations are held to be such by the teacher's label; where that is wrong, a pair teaches to "
            "decline what has an answer. Chosen and rejected replies differ in length, which DPO is known to pick up."
        )
    yield "- Clusters go by looks: two photos of one scene may be in two splits. What is known of wording is for English."


def _terms(made: Export) -> Iterator[str]:
    commercial = _names(run for run in made.runs.all if is_commercial(run.manifest.subject))
    cleared = _names(run for run in made.runs.all if run.manifest.subject.outputs_may_train)
    if commercial:
        yield (
            f"{', '.join(commercial)} {'is' if len(commercial) == 1 else 'are'} held to be a vendor's: {TERMS}. "
            f"Whoever made this export stated by `{as_option('accept_teacher_terms')}` to have done so."
        )
    elif not cleared:
        yield (
            "Every model ran in process or behind a local address, so no vendor's terms are known to apply; the license of its "
            "weights may still say what its outputs may be used for."
        )
    if cleared:
        yield (
            f"Of {', '.join(cleared)} whoever described the endpoint to unsaf-async stated that its outputs may train other "
            "models (`outputs_may_train`)."
        )
    yield "\nThe images keep the terms of their source."


def _names(runs: Iterable[SavedRun]) -> list[str]:
    return list(dict.fromkeys(_code(model_name(run.manifest.subject)) for run in runs))


# --- Markdown ---------------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    lines = [f"| {' | '.join(map(_plain, row))} |" for row in rows]
    if not lines:
        yield "none\n"
        return
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from lines
    yield ""


def _by_number(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((why, n) for why, n in counts.items() if n), key=lambda each: (-each[1], each[0]))


def _plain(text: str) -> str:
    """`text` on one line, without what Markdown takes for its own."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", one_line(text))


def _code(text: str) -> str:
    """`text` as code, whatever it holds."""
    return f"`{one_line(text).replace('`', chr(39))}`"


def _version() -> str:
    try:
        return version("unsaf-async")
    except PackageNotFoundError:
        return "unknown"
