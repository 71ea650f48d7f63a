"""The comparison of finished runs of two models, and the record of it. Reads folders, calls nobody, writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from unsaf_async.compare.pairing import RESAMPLES
from unsaf_async.compare.settings_diff import differences_in_setting
from unsaf_async.distill.evaluate import gates, measures
from unsaf_async.distill.evaluate.declining import decline_figure
from unsaf_async.distill.evaluate.figures import (
    TITLES,
    Figure,
    about_copies,
    about_figures,
    fixed_mix_figure,
    ratio_figures,
    shared_questions,
    unavailable,
    unf1_figure,
)
from unsaf_async.distill.evaluate.gates import PARTS, Gate, GateName, Part, Thresholds
from unsaf_async.distill.evaluate.plan import SIDES, Side
from unsaf_async.errors import UserError, as_option
from unsaf_async.providers.profile import IN_PROCESS
from unsaf_async.records import Examination, Record
from unsaf_async.runs.saved import SavedRun
from unsaf_async.score.run_score import score

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from unsaf_async.distill.evaluate.measures import FigureName
    from unsaf_async.runs.folder import Manifest

FEW_CACHED = 0.05
"""Share of an after-model's replies from the cache above which a served model's weights are asked about."""


@dataclass(frozen=True)
class Folders:
    """One model's runs, each of which may be missing."""

    own: Path | None = None
    bank: Path | None = None
    """None where the own questions are the bank (before-model)."""
    labelled: Path | None = None
    pope: tuple[Path, ...] = ()

    def of(self, part: Part) -> tuple[Path, ...]:
        """The folders of one part.

        Args:
            part: The part.

        Returns:
            () if there is no run of it.
        """
        if part == "pope":
            return self.pope
        folder = {"own": self.own, "bank": self.bank, "labelled": self.labelled}[part]
        return () if folder is None else (folder,)

    @property
    def all(self) -> tuple[Path, ...]:
        """The folders of all parts, in the order of `PARTS`."""
        return tuple(folder for part in PARTS for folder in self.of(part))


# --- the record -------------------------------------------------------------------------------------------------------


class ModelSide(Record):
    """One of the two models."""

    provider: str
    model: str
    files_sha256: str | None
    """Of its weights, where they are files in this process's reach."""
    runs: dict[str, str]
    """Its run folders by part; those of a plan are relative to its `out`."""


class DistillEval(Record):
    """A model before and after training, side by side."""

    format: Literal[1] = 1
    before: ModelSide
    after: ModelSide
    bank: str
    """The source of the frozen bank's questions, in words; "" without a bank."""
    figures: list[Figure]
    gates: list[Gate]
    passed: bool
    """Whether every gate that was asked for passes."""
    stopped: str | None
    """Why not all was examined, in one line; None if it was. Gates whose runs are not complete are n/a."""
    unfinished: list[str]
    """Runs in which calls or images failed, which another go would try again."""
    notes: list[str]
    """How the two were not measured alike, and what else a reader should know."""
    thresholds: Thresholds
    seed: int
    """Of the resampling."""
    resamples: int
    cost_usd: float
    """What all these runs have cost."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Reason for each wanted part without figures, by its name."""

    @property
    def exit_code(self) -> int:
        """0 every gate that was asked for passes, 1 one fails or cannot tell, 3 stopped early or calls failed."""
        return 3 if self.stopped or self.unfinished else 0 if self.passed else 1

    def figure(self, name: FigureName) -> Figure | None:
        """The figure of a name.

        Args:
            name: The figure's name.

        Returns:
            None if its part was not asked for.
        """
        return next((figure for figure in self.figures if figure.name == name), None)

    def gate(self, name: GateName) -> Gate:
        """The gate of a name.

        Args:
            name: The gate's name.

        Returns:
            The gate, whether or not it was asked for.
        """
        return next(gate for gate in self.gates if gate.name == name)


# --- the comparison ---------------------------------------------------------------------------------------------------


def compare_folders(
    before: Folders,
    after: Folders,
    *,
    wanted: Collection[Part] | None = None,
    thresholds: Thresholds | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    stopped: str | None = None,
    relative_to: Path | None = None,
) -> DistillEval:
    """The comparison of finished runs.

    Args:
        before: The runs of the model before training.
        after: The runs of the model after training.
        wanted: The parts whose gates are asked for, "n/a" without runs; None: those that the after-model has a run of.
        thresholds: What the gates ask for; None: the defaults.
        resamples: Draws of images for each interval, >= 1.
        seed: Of the draws.
        stopped: Why the runs are not complete, in one line, where that is known.
        relative_to: The folder that the record's paths start from; None: they stay as they are.

    Returns:
        The record.

    Raises:
        UserError: A folder is no run, one run is given for both models, or there is nothing to compare.
        ValueError: resamples < 1.
    """
    limits = thresholds or Thresholds()
    parts = tuple(part for part in PARTS if (after.of(part) if wanted is None else part in wanted))
    if not parts:
        raise UserError("nothing is to be compared; give runs of the after-model")
    both = _BothModels.read(before, after, own_bank="bank" in parts and not before.bank)
    both.check_two_sides()
    if not both.all:
        raise UserError(f"nothing is to be compared: {stopped or 'no run has begun'}")
    compared = [_compare_part(both, part, resamples, seed) for part in parts]
    by_name = {figure.name: figure for each in compared for figure in each.figures}
    figures = [by_name[name] for name in TITLES if name in by_name]
    notes = [*_same_weights(both), *(note for each in compared for note in each.notes)]
    notes += [*about_figures(figures), *_from_the_cache(both)]
    withheld = {each.part: each.withheld for each in compared if each.withheld}
    judged = gates.judge(figures, parts, limits, withheld)
    return DistillEval(
        before=_model_side(both, "before", before, relative_to),
        after=_model_side(both, "after", after, relative_to),
        bank=_bank_source(both) if "bank" in parts else "",
        figures=figures,
        gates=judged,
        passed=gates.all_pass(judged),
        stopped=stopped or both.incomplete,
        unfinished=both.unfinished,
        notes=list(dict.fromkeys(notes)),
        thresholds=limits,
        seed=seed,
        resamples=resamples,
        cost_usd=sum(SavedRun(folder).account.cost_usd for folder in (*before.all, *after.all)),
        undefined={each.part: each.withheld for each in compared if each.missing},
    )


@dataclass(frozen=True)
class _PartRuns:
    """One model's runs of one part, read back."""

    manifests: tuple[Manifest, ...]
    examinations: tuple[Examination, ...]
    """Of several runs, one an image with all their questions."""
    incomplete: str
    """Which of them lack images, in words; "" if none does."""
    unfinished: tuple[str, ...]
    """Those in which images or calls failed, a line each."""

    @classmethod
    def read(cls, folders: Sequence[Path]) -> _PartRuns | None:
        """None of no folder."""
        if not folders:
            return None
        merged: dict[str, Examination] = {}
        manifests, incomplete, unfinished = [], [], []
        for run in map(SavedRun, folders):
            manifests.append(run.manifest)
            done = len(run.examinations)
            if run.incomplete:
                incomplete.append(f"{run.folder.name} holds {done} of {run.manifest.images} images")
            if run.unfinished:
                unfinished.append(
                    f"{run.folder.name}: {run.unfinished} of {done} images failed, or hold calls that did"
                )
            for each in run.examinations:
                earlier = merged.get(each.image.id)
                questions = (*earlier.questions, *each.questions) if earlier else each.questions
                merged[each.image.id] = each.model_copy(update={"questions": questions})
        # By id: a journal has the order in which images happened to finish, and equal runs shall have equal intervals.
        examinations = tuple(merged[name] for name in sorted(merged))
        return cls(tuple(manifests), examinations, "; ".join(incomplete), tuple(unfinished))


@dataclass(frozen=True)
class _BothModels:
    """The runs of both models."""

    by_part: Mapping[tuple[Side, Part], _PartRuns | None]
    own_bank: bool
    """Whether the before-model's own questions are the bank."""

    @classmethod
    def read(cls, before: Folders, after: Folders, *, own_bank: bool) -> _BothModels:
        by_part = {
            (side, part): _PartRuns.read(folders.of(part))
            for side, folders in zip(SIDES, (before, after), strict=True)
            for part in PARTS
        }
        if own_bank and (own := by_part["before", "own"]):
            by_part["before", "bank"] = own
        return cls(by_part, own_bank)

    def check_two_sides(self) -> None:
        """Checks that no run is one of both models: it would prove that training changes nothing.

        Raises:
            UserError: One is, or its answers judged anew.
        """
        ids = {
            side: {
                each.answering_run_id: part
                for part in PARTS
                if (of := self.by_part[side, part])
                for each in of.manifests
            }
            for side in SIDES
        }
        for run_id, part in ids["after"].items():
            if run_id in ids["before"]:
                raise UserError(
                    f"the run {run_id} is given for both models ({part}); give one of the model before training and one after"
                )

    @property
    def all(self) -> list[_PartRuns]:
        """All runs that there are."""
        return [runs for runs in self.by_part.values() if runs]

    @property
    def incomplete(self) -> str | None:
        """Which images some run lacks, in one line; None if all are complete."""
        return next((f"not complete: {each.incomplete}" for each in self.all if each.incomplete), None)

    @property
    def unfinished(self) -> list[str]:
        """Runs in which images or calls failed, a line each."""
        return list(dict.fromkeys(line for each in self.all for line in each.unfinished))

    def of(self, side: Side) -> list[_PartRuns]:
        """One model's runs, in the order of `PARTS`."""
        return [runs for part in PARTS if (runs := self.by_part[side, part])]

    def missing(self, part: Part) -> str:
        """Why a part has nothing to compare; "" if it has."""
        own = self.by_part["before", "own"] if part == "bank" and self.own_bank else None
        if own and not own.incomplete and not any(each.questions for each in own.examinations):
            return f"the before-model has written no question; give another run's with {as_option('bank')}"
        pending = [side for side in SIDES if self.by_part[side, part] is None]
        return f"not run yet: {' and '.join(pending)}" if pending else ""


@dataclass(frozen=True)
class _ComparedPart:
    """What came of one part."""

    part: Part
    figures: list[Figure]
    notes: list[str]
    withheld: str
    """Why its figures must not decide; "" if they may."""
    missing: bool = False
    """Whether it has no figures at all."""


_FIGURES: dict[Part, tuple[FigureName, ...]] = {
    "own": ("unf1_own", "unf1_fixed_mix"),
    "bank": ("unf1_bank", "over_refusal_bank"),
    "labelled": (*(measure.name for measure in measures.LABELLED), "decline_auroc"),
    "pope": tuple(measure.name for measure in measures.POPE),
}


def _compare_part(both: _BothModels, part: Part, resamples: int, seed: int) -> _ComparedPart:
    before, after, missing = both.by_part["before", part], both.by_part["after", part], both.missing(part)
    if before is None or after is None or missing:
        return _ComparedPart(part, [unavailable(name, missing) for name in _FIGURES[part]], [], missing, missing=True)
    differences = _differences(before, after, part, own_bank=both.own_bank)
    figures, unshared = _figures(before, after, part, resamples, seed)
    withheld = ""
    if why := before.incomplete or after.incomplete:
        withheld = f"not complete: {why}"
    elif part in ("own", "bank"):
        withheld = _unreliable(before, after, part)
    return _ComparedPart(part, figures, [*differences, *unshared], withheld)


def _figures(
    before: _PartRuns, after: _PartRuns, part: Part, resamples: int, seed: int
) -> tuple[list[Figure], list[str]]:
    """A part's figures, and notes on what they leave out."""
    if part == "own":
        pair = (before.examinations, after.examinations)
        return [
            unf1_figure("unf1_own", *pair, resamples=resamples, seed=seed),
            fixed_mix_figure(*pair, resamples=resamples, seed=seed),
        ], [*about_copies(*pair, "own questions")]
    ours, theirs, unshared = shared_questions(before.examinations, after.examinations)
    what = {"bank": "the frozen bank", "labelled": "the labelled set", "pope": "POPE"}[part]
    notes = [f"{unshared} questions of {what} that only one of the models was asked are left out"] if unshared else []
    notes += about_copies(ours, theirs, what)
    of_part = {"bank": (measures.OVER_REFUSAL_BANK,), "labelled": measures.LABELLED, "pope": measures.POPE}[part]
    figures = ratio_figures(of_part, ours, theirs, resamples=resamples, seed=seed)
    if part == "labelled":
        figures.append(decline_figure(ours, theirs))
    if part == "bank":
        figures.insert(0, unf1_figure("unf1_bank", ours, theirs, resamples=resamples, seed=seed))
    return figures, notes


def _unreliable(before: _PartRuns, after: _PartRuns, part: Literal["own", "bank"]) -> str:
    """Why a part's UnF1 must not decide, such as a model that writes no questions, or few decided responses; "" if it may."""
    for side, runs in zip(SIDES, (before, after), strict=True):
        reasons = score(
            runs.examinations,
            questions_per_label=runs.manifests[0].questions if part == "own" else None,
            accounts=None,
            provider="",
            judge="",
            resamples=1,
        ).unreliable
        if reasons:
            what = "own score" if part == "own" else "score on the bank"
            return f"the {side}-model's {what} is unreliable: {reasons[0]}"
    return ""


# --- what a reader should know ----------------------------------------------------------------------------------------


def _differences(before: _PartRuns, after: _PartRuns, part: Part, *, own_bank: bool) -> Iterator[str]:
    """How the two were not measured alike in one part."""
    for ours, theirs in zip(before.manifests, after.manifests, strict=False):
        mine = ours.model_copy(update={"source": theirs.source}) if part == "bank" and own_bank else ours
        yield from differences_in_setting({"before": mine, "after": theirs})
    if len(before.manifests) != len(after.manifests):
        yield f"{part}: there are {len(before.manifests)} runs of before and {len(after.manifests)} of after"


def _same_weights(both: _BothModels) -> Iterator[str]:
    """A note if both are one model."""
    if not both.of("before") or not both.of("after"):
        return
    before, after = (both.of(side)[0].manifests[0].subject for side in SIDES)
    weights = [each.extra.get("files_sha256") for each in (before, after)]
    if all(weights):
        same = weights[0] == weights[1]
    else:
        same = (before.model, before.endpoint, before.extra) == (after.model, after.endpoint, after.extra)
    if same:
        yield "before and after are the same model: every difference is chance, or none"


def _from_the_cache(both: _BothModels) -> Iterator[str]:
    """A note if replies of a served after-model are from the cache: it knows a model's name, and not its weights."""
    subjects = [(runs, runs.manifests[0].subject) for runs in both.of("after")]
    # A server that a run started itself is known by its weights, in the cache as well.
    served = [runs for runs, of in subjects if of.backend not in IN_PROCESS and "files_sha256" not in of.extra]
    calls = [call for runs in served for each in runs.examinations for call in each.calls]
    cached = sum(call.cached for call in calls)
    if cached > FEW_CACHED * len(calls):
        yield (
            f"{cached} of the after-model's {len(calls)} replies are from the cache, which knows a served model by its name "
            f"alone: if other weights had that name before, give a new name, or {as_option('cache=None')} and another folder"
        )


def _model_side(both: _BothModels, side: Side, folders: Folders, relative_to: Path | None) -> ModelSide:
    names: dict[str, str] = {}
    for part in PARTS:
        for folder in folders.of(part):
            path = folder.relative_to(relative_to) if relative_to and folder.is_relative_to(relative_to) else folder
            names[part if len(folders.of(part)) == 1 else f"{part} {path.name}"] = str(path)
    subject = both.of(side)[0].manifests[0].subject if both.of(side) else None
    return ModelSide(
        provider=subject.name if subject else "",
        model=subject.model if subject else "",
        files_sha256=str(subject.extra["files_sha256"]) if subject and "files_sha256" in subject.extra else None,
        runs=names,
    )


def _bank_source(both: _BothModels) -> str:
    """The source of the frozen bank's questions, in words."""
    if both.own_bank:
        return "the before-model's own questions"
    runs = both.by_part["after", "bank"] or both.by_part["before", "bank"]
    source = runs.manifests[0].source if runs else None
    return f"the questions of the run {Path(source.path).name}, of {source.name}" if source else ""
