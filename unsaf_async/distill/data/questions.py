"""Which questions of the runs may be taught: those that the teacher got right, with their image, and clean."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unsaf_async.distill.data import clusters, screening
from unsaf_async.distill.data.agreement import agreement_of
from unsaf_async.distill.data.build_rows import good_items, replay_items
from unsaf_async.distill.data.cleaned import (
    capped,
    question_hits,
    read_excluded_questions,
    without_contradictions,
    without_duplicates,
)
from unsaf_async.distill.data.earlier import clustered, read_earlier
from unsaf_async.distill.data.pictures import keep_pictures
from unsaf_async.distill.data.teachers import run_notes
from unsaf_async.errors import as_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from unsaf_async.distill.data.agreement import Agreement
    from unsaf_async.distill.data.build_rows import Item
    from unsaf_async.distill.data.cleaned import ExcludedQuestion
    from unsaf_async.distill.data.earlier import Clustered
    from unsaf_async.distill.data.options import Options
    from unsaf_async.distill.data.pictures import Picture
    from unsaf_async.distill.data.screening import Screening
    from unsaf_async.distill.data.teachers import ExportedRuns


@dataclass(frozen=True, slots=True)
class Decontamination:
    """What was compared with evaluations, and which pictures and questions are theirs."""

    images: int = 0
    """Images of evaluations that were compared."""
    images_unread: int = 0
    picture_hits: Mapping[str, str] = field(default_factory=dict)
    """The name of the excluded image that a picture is near to, by the picture's pixels' sha256."""
    questions: int = 0
    """Questions of evaluations that were compared."""
    questions_unread: int = 0
    """Questions that were not compared, since their image is missing."""
    question_hits: Sequence[tuple[Item, ExcludedQuestion]] = ()

    @property
    def notes(self) -> list[str]:
        """What a user should know, a line each."""
        notes = []
        if self.images_unread:
            notes.append(f"{self.images_unread} excluded images cannot be read: what is near to them is not known")
        if self.questions_unread:
            notes.append(
                f"{self.questions_unread} questions of {as_option('exclude_questions')} are not compared: "
                "their image was not found"
            )
        return notes


@dataclass(frozen=True, slots=True)
class TeachableQuestions:
    """The questions that may be taught, and what became of the others."""

    items: list[Item]
    examined: int
    """Questions in the runs."""
    left_out: Counter[str]
    """Questions that may not be taught, by reason."""
    pictures: Mapping[str, Picture]
    """By pixels' sha256; those of left-out questions, too."""
    pictured: list[Item]
    """All questions about these, those that are left out for other reasons, too."""
    clustered: Clustered
    """Which of `pictures` are near copies, and which have a split already."""
    decontamination: Decontamination
    notes: list[str]
    """What a user should know, a line each."""
    screening: Screening | None = None
    """What was left out for want of consistency, confidence or agreement; None: nothing of it was asked for."""
    agreement: Agreement | None = None
    """How other models did on the teachers' questions; None: it does not matter."""

    @property
    def cluster_of(self) -> Mapping[str, str]:
        """The cluster of each of `pictures`."""
        return self.clustered.cluster_of


def teachable_questions(runs: ExportedRuns, options: Options, folder: Path) -> TeachableQuestions:
    """The questions of the runs that may be taught; their images lie in `folder` afterwards.

    Args:
        runs: The teachers' runs, and the student's own with the answers to keep.
        options: The filters, and the evaluations that nothing may be taken of.
        folder: Where the images go: an existing folder.

    Returns:
        The questions, in the order of runs and journals.

    Raises:
        UserError: What is excluded cannot be read, imagehash is not installed, or the runs are not of so many models on the
            same questions as are to agree.
    """
    good: list[Item] = []
    wrong: Counter[str] = Counter()
    notes: list[str] = []
    for run in runs.teachers:
        of_run, reasons = good_items(run, options.filters)
        good += of_run
        wrong += reasons
        notes += [*run_notes(run, "teacher"), *screening.notes(run, options.filters)]
    agreement = _agreement(runs, options)
    for run in runs.agreeing:
        notes += run_notes(run, "agreeing")
    if agreement is not None:
        notes += agreement.notes(runs.teachers)
    good, unsure, found_unsure = screening.screened(good, options.filters, agreement)
    wrong += unsure
    if runs.replay is not None:
        of_run, reasons = replay_items(runs.replay)
        good += of_run
        wrong += reasons
        notes += run_notes(runs.replay, "replay")
    pictured = keep_pictures(good, folder)
    if pictured.missing:
        notes.append(f"{pictured.missing} images are gone, or are no longer what the model saw: they are left out")
    found = clustered(pictured.pictures, pictured.items, read_earlier(options.splits_of))
    cluster_of = found.cluster_of
    items, torn = _with_one_split(pictured.items, found)
    items, theirs, decontamination = _decontaminated(items, pictured.pictures, cluster_of, options)
    items, unclean = _clean(items, cluster_of, options)
    return TeachableQuestions(
        items=items,
        examined=len(good) + wrong.total(),
        left_out=wrong + pictured.left_out + torn + theirs + unclean,
        pictures=pictured.pictures,
        clustered=found,
        pictured=pictured.items,
        decontamination=decontamination,
        notes=[*notes, *decontamination.notes],
        screening=found_unsure,
        agreement=agreement,
    )


def _agreement(runs: ExportedRuns, options: Options) -> Agreement | None:
    """How the models of an export's runs did on the teachers' questions; None if it does not matter."""
    if not options.agreed_by and options.filters.agree is None:
        return None
    return agreement_of(runs.teachers, runs.agreeing, options.filters.agree)


def _with_one_split(items: list[Item], found: Clustered) -> tuple[list[Item], Counter[str]]:
    """The items whose picture can be in one split, and how many others there are, by reason."""
    kept = [item for item in items if item.pixels not in found.torn]
    why = f"the picture is near pictures of two splits of {as_option('splits_of')}"
    return kept, Counter({why: len(items) - len(kept)})


def _decontaminated(
    items: list[Item], pictures: Mapping[str, Picture], cluster_of: Mapping[str, str], options: Options
) -> tuple[list[Item], Counter[str], Decontamination]:
    """The items that are no evaluation's, how many others there are by reason, and what was compared."""
    left_out: Counter[str] = Counter()
    images, images_unread = 0, 0
    picture_hits: dict[str, str] = {}
    if options.exclude_images:
        excluded, images_unread = clusters.read_excluded(options.exclude_images)
        images = len(excluded)
        hashes = {pixels: picture.phash for pixels, picture in pictures.items()}
        files = {pixels: picture.file_sha256 for pixels, picture in pictures.items()}
        picture_hits = clusters.hits(hashes, files, excluded)
        hit_clusters = {cluster_of[pixels] for pixels in picture_hits}
        clean = [item for item in items if cluster_of[item.pixels] not in hit_clusters]
        left_out[f"the picture is near one of {as_option('exclude_images')}"] = len(items) - len(clean)
        items = clean
    questions, questions_unread = 0, 0
    asked: list[tuple[Item, ExcludedQuestion]] = []
    if options.exclude_questions:
        excluded_questions, questions_unread = read_excluded_questions(options.exclude_questions)
        questions = len(excluded_questions)
        asked = question_hits(items, excluded_questions)
        hit_items = {id(item) for item, _ in asked}
        items = [item for item in items if id(item) not in hit_items]
        left_out[f"it is one of {as_option('exclude_questions')}, or has words in common with one"] = len(hit_items)
    return items, left_out, Decontamination(images, images_unread, picture_hits, questions, questions_unread, asked)


def _clean(items: list[Item], cluster_of: Mapping[str, str], options: Options) -> tuple[list[Item], Counter[str]]:
    """The items that do not teach twice or against each other, and how many others there are, by reason."""
    left_out: Counter[str] = Counter()
    items, dropped = without_contradictions(items, cluster_of)
    left_out["asked of the same picture with the other label, too"] = dropped
    items, dropped = without_duplicates(items)
    left_out["asked of the same image before"] = dropped
    items, dropped = capped(items, options.same_question, options.seed)
    left_out[f"the same question is asked of more than {options.same_question} images"] = dropped
    return items, left_out
