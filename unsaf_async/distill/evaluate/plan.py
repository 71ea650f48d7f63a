"""What an evaluation consists of: a plan, and its runs, each a run like any other in a folder of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from unsaf_async.compare.pairing import RESAMPLES
from unsaf_async.distill.evaluate.gates import PARTS, Part, Thresholds
from unsaf_async.distill.evaluate.settings import EvaluationSettings
from unsaf_async.errors import UntrustedFolder, UserError, renaming, setting
from unsaf_async.inputs.parts import FilePart, PartError
from unsaf_async.inputs.policy import MAX_FILE_BYTES
from unsaf_async.records import GivenQuestion
from unsaf_async.runs.campaign import PlannedRun
from unsaf_async.runs.folder import Source, reopen
from unsaf_async.runs.listing import exists
from unsaf_async.runs.prepare import Prepared, prepare, questions_of
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from unsaf_async.inputs.sources import ImageSource

Side = Literal["before", "after"]

SIDES: tuple[Side, Side] = ("before", "after")


# --- what is asked for ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EvalModel:
    """A model, named as in `Settings`."""

    provider: str
    model: str | None = None
    api_base: str | Sequence[str] | None = None


@dataclass(frozen=True)
class EvalPlan(EvaluationSettings):
    """What is to be compared."""

    before: EvalModel
    after: EvalModel
    own: bool = True
    """Whether the models write questions of their own."""
    bank: bool = True
    """Whether both answer one frozen bank of questions: that of `bank_run` on those of its images that are among `images`."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    resamples: int = RESAMPLES

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that are asked for, in the order of `PARTS`."""
        asked = {"own": self.own, "bank": self.bank, "labelled": self.labelled, "pope": self.pope}
        return tuple(part for part in PARTS if asked[part])

    def model(self, side: Side) -> EvalModel:
        """The model of one side.

        Args:
            side: Before or after training.

        Returns:
            The model as it was given.
        """
        return self.before if side == "before" else self.after


@dataclass(frozen=True)
class EvalRun(PlannedRun):
    """One run of the evaluation. Of a bank that is not written yet, `prepared` has stand-ins for its questions."""

    side: Side
    part: Part
    bank_of: EvalRun | None = None
    """The run that writes the questions of this one; None if they are known, or its own model writes them."""
    left_out: int = 0
    """Images of the bank that are not among the held-out ones."""

    def ready(self) -> EvalRun | None:
        """The same with its questions; None if the other model has written none.

        Frozen is frozen: where this run has begun, its questions stay, even if the other run has gained some since.
        """
        if self.bank_of is None:
            return self
        asking = self.bank_of
        try:
            written, source = questions_of(asking.folder, trust=self.prepared.settings.trust_folder)
        except UntrustedFolder:
            raise
        except UserError:
            return None
        by_id = {image.id: image for image in written}
        images: Sequence[ImageSource] = [by_id[each.id] for each in asking.prepared.images if each.id in by_id]
        if exists(self.folder):
            with reopen(self.folder) as begun:
                if begun.own and begun.manifest.source and begun.manifest.source.run_id == source.run_id:
                    images = begun.images
        return replace(self, prepared=replace(self.prepared, source=source, images=tuple(images)), bank_of=None)


# --- the runs of a plan -----------------------------------------------------------------------------------------------


async def plan_runs(plan: EvalPlan) -> list[EvalRun]:
    """The runs of a plan, in the order in which they are made. Writes nothing.

    Args:
        plan: What is to be compared.

    Returns:
        One run at least.

    Raises:
        UserError: Something is wrong with the plan.
    """
    _check(plan)
    own: dict[Side, EvalRun] = {}
    if plan.images:
        for side in SIDES:
            prepared = await _prepared(plan, side, side, images=tuple(plan.images), limit=plan.limit)
            own[side] = EvalRun(plan.out / side, prepared, side, "own")
    planned = list(own.values()) if plan.own else []
    if plan.bank and plan.bank_run is not None:
        planned += await _bank_of_run(plan, plan.bank_run, own)
    elif plan.bank:
        planned.append(_bank_of_own(plan, own))
    if plan.labelled is not None:
        for side in SIDES:
            name = f"{side}-labelled"
            prepared = await _labelled(
                plan, side, name, "labelled", plan.labelled, plan.labelled_format, plan.labelled_images
            )
            planned.append(EvalRun(plan.out / name, prepared, side, "labelled"))
    files = _pope_files(plan.pope) if plan.pope is not None else []
    for file in files:
        for side in SIDES:
            name = f"{side}-pope" + (f"-{file.stem}" if len(files) > 1 else "")
            prepared = await _labelled(plan, side, name, "pope", file, "pope", plan.pope_images)
            planned.append(EvalRun(plan.out / name, prepared, side, "pope"))
    return planned


def _check(plan: EvalPlan) -> None:
    if exists(plan.out):
        raise UserError(
            f"{plan.out}: is a run's folder, and several runs would come into it; give a folder of their own",
            field="out",
        )
    if not plan.parts:
        raise UserError(
            f"nothing is to be compared; ask for own questions, a bank, {setting('labelled')} or {setting('pope')}"
        )
    if plan.own and not plan.images:
        raise UserError(
            ": is missing; give the held-out images, which the after-model was not trained on", field="images"
        )
    if plan.bank and plan.bank_run is None and not plan.own:
        raise UserError(
            ": is missing; without own questions of the before-model, give the run whose questions to ask",
            field="bank_run",
        )
    if plan.max_cost is not None and not 0 < plan.max_cost < float("inf"):
        raise UserError(f"is {plan.max_cost:g}; give an amount in USD above 0", field="max_cost")
    if plan.resamples < 1:
        raise UserError(f"resamples is {plan.resamples}; give at least 1")


async def _prepared(
    plan: EvalPlan, side: Side, folder: str, renamed: Mapping[str, str] | None = None, **more: object
) -> Prepared:
    """The settings of one run, checked; an error names the fields of the plan."""
    model = plan.model(side)
    settings = Settings(
        provider=model.provider,
        model=model.model,
        api_base=model.api_base,
        judge=plan.judge,
        judge_api_base=plan.judge_api_base,
        prompts=plan.prompts,
        questions=plan.questions,
        seed=plan.seed,
        cache=plan.cache,
        trust_folder=plan.trust_folder,
        out=plan.out / folder,
        **more,  # type: ignore[arg-type]
    )
    names = {"provider": f"{side}.provider", "model": f"{side}.model", "questions_from": "bank_run", **(renamed or {})}
    with renaming(names):
        return await prepare(settings)


async def _labelled(
    plan: EvalPlan, side: Side, folder: str, field: str, data: Path, data_format: str | None, images: Path | None
) -> Prepared:
    renamed = {"data": field, "images": f"{field}_images", "data_format": f"{field}_format"}
    return await _prepared(
        plan,
        side,
        folder,
        renamed,
        data=data,
        data_format=data_format,
        images=() if images is None else (images,),
        limit=plan.limit,
    )


def _pope_files(path: Path) -> list[Path]:
    """The files of POPE at `path`: itself, or what lies in it. POPE has three, about the same images."""
    files = sorted(path.glob("*pope*.json*")) if path.is_dir() else []
    return files if len(files) > 1 else [path]


async def _bank_of_run(plan: EvalPlan, bank: Path, own: Mapping[Side, EvalRun]) -> list[EvalRun]:
    """Both models on another run's questions, on those of its images that are held out."""
    held_out = await asyncio.to_thread(_file_hashes, own["before"].prepared.images) if own else None
    planned = []
    for side in SIDES:
        name = f"{side}-bank"
        prepared = await _prepared(plan, side, name, questions_from=bank, limit=None if own else plan.limit)
        kept = _held_out(prepared, held_out, bank)
        left_out = len(prepared.images) - len(kept.images)
        planned.append(EvalRun(plan.out / name, kept, side, "bank", left_out=left_out))
    return planned


def _bank_of_own(plan: EvalPlan, own: Mapping[Side, EvalRun]) -> EvalRun:
    """The after-model on the before-model's questions, which are not written yet: K of each label, to reckon with."""
    labels = ("answerable", "unanswerable")
    given = tuple(GivenQuestion(text="?", intended=label) for label in labels for _ in range(plan.questions))
    after, folder = own["after"].prepared, plan.out / "after-bank"
    source = Source(kind="run", name=own["before"].prepared.subject.name, path=str(own["before"].folder.absolute()))
    prepared = replace(
        after,
        source=source,
        images=tuple(replace(image, given=given) for image in own["before"].prepared.images),
        settings=replace(after.settings, images=(), questions_from=own["before"].folder, limit=None, out=folder),
    )
    return EvalRun(folder, prepared, "after", "bank", bank_of=own["before"])


def _file_hashes(images: Sequence[ImageSource]) -> set[str]:
    """The sha256 of the images' files; those that cannot be read are no held-out images."""
    hashes = set()
    for image in images:
        try:
            place = image.place
            data = place.read(MAX_FILE_BYTES) if isinstance(place, FilePart) else place.read_bytes()
            hashes.add(sha256(data).hexdigest())
        except (OSError, PartError):
            continue
    return hashes


def _held_out(prepared: Prepared, held_out: set[str] | None, bank: Path) -> Prepared:
    """`prepared` on the held-out images alone; on all of the bank's where none are given."""
    if held_out is None:
        return prepared
    images = tuple(image for image in prepared.images if image.file_sha256 in held_out)
    if not images:
        raise UserError(
            f"{bank}: has no question about any of {setting('images')}; give a run about these images", field="bank_run"
        )
    return replace(prepared, images=images)
