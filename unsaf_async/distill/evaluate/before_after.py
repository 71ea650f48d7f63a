"""Before and after: two models through the engine, on the same held-out images, and the record of what came out.

Every part is a run like any other in a folder of its own below `Plan.out`. All share one cap; what is finished is not paid
again, so the same plan goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import closing
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from unsaf_async.calls.ledger import read_account
from unsaf_async.compare.pairing import RESAMPLES
from unsaf_async.compare.settings_diff import differences_in_setting
from unsaf_async.distill.evaluate import gates
from unsaf_async.distill.evaluate.gates import PARTS, TITLES, Figure, FigureName, Gate, GateName, Part, Thresholds
from unsaf_async.errors import BudgetExhausted, RunStopped, UserError
from unsaf_async.events import Announce, silent
from unsaf_async.examine.examiner import is_unfinished
from unsaf_async.files import write_whole
from unsaf_async.providers.profile import IN_PROCESS
from unsaf_async.records import Examination, GivenQuestion, Record
from unsaf_async.runs import folder as runs
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.prepare import Prepared, prepare, questions_of
from unsaf_async.runs.runner import Runner, begin
from unsaf_async.runs.settings import Settings
from unsaf_async.score.unf1 import score

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping, Sequence

    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.runs.folder import Manifest

Side = Literal["before", "after"]

SIDES: tuple[Side, Side] = ("before", "after")

FILE = "distill-eval.json"
"""In `Plan.out`."""

FEW_CACHED = 0.05
"""Share of an after-model's replies from the cache above which a served model's weights are asked about."""


# --- what is asked for ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A model, named as `run` names it: --provider, --model, --api-base."""

    provider: str
    model: str | None = None
    api_base: str | None = None


@dataclass(frozen=True)
class Plan:
    """What is to be compared. Images, labelled and POPE sets must be none that the after-model was trained on."""

    before: Model
    after: Model
    out: Path
    """Where the runs and distill-eval.json go."""
    images: Sequence[str | Path] = ()
    """Held out; needed for own questions."""
    own: bool = True
    """Whether the models write questions of their own."""
    bank: bool = True
    """Whether both answer one frozen bank of questions."""
    bank_run: Path | None = None
    """The run whose questions are the bank, on those of its images that are among `images`; None: the before-model's own."""
    labelled: Path | None = None
    labelled_format: str | None = None
    labelled_images: Path | None = None
    """Where the set's images lie; None: where its format has them."""
    pope: Path | None = None
    """A file of POPE, or a folder of some, which are taken together."""
    pope_images: Path | None = None
    judge: str | Sequence[str] | None = None
    """Of both models; None: as their profiles say."""
    prompts: str | None = None
    """Of both models; None: as their profiles say."""
    questions: int = 6
    limit: int | None = None
    """Most images of each part, a random sample by `seed`."""
    seed: int = 0
    max_cost: float | None = None
    """USD, for all runs together; None: no cap."""
    cache: Path | None = Path("cache")
    thresholds: Thresholds = field(default_factory=Thresholds)
    resamples: int = RESAMPLES

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is wanted."""
        wanted = {"own": self.own, "bank": self.bank, "labelled": self.labelled, "pope": self.pope}
        return tuple(part for part in PARTS if wanted[part])


@dataclass(frozen=True)
class Folders:
    """One model's runs, each of which may be missing. bank: None where the own questions are the bank (before-model)."""

    own: Path | None = None
    bank: Path | None = None
    labelled: Path | None = None
    pope: tuple[Path, ...] = ()

    def of(self, part: Part) -> tuple[Path, ...]:
        """The folders of one part."""
        if part == "pope":
            return self.pope
        folder = {"own": self.own, "bank": self.bank, "labelled": self.labelled}[part]
        return () if folder is None else (folder,)


# --- what is written down ---------------------------------------------------------------------------------------------


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
    """Whose questions the frozen bank is, in words; "" without one."""
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
        """0 every gate that was asked for passes, 1 one does not, 3 stopped early or calls failed."""
        return 3 if self.stopped or self.unfinished else 0 if self.passed else 1

    def figure(self, name: FigureName) -> Figure | None:
        """The figure of this name; None if its part was not wanted."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def gate(self, name: GateName) -> Gate:
        """The gate of this name."""
        return next(gate for gate in self.gates if gate.name == name)


# --- the runs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """One run of the evaluation. prepared: of a bank that is not written yet, with stand-ins for its questions."""

    side: Side
    part: Part
    folder: Path
    prepared: Prepared
    bank_of: Stage | None = None
    """The run whose own questions this one is given; None if they are known, or its model writes them."""
    left_out: int = 0
    """Images of the bank that are not among the held-out ones."""

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.name

    @property
    def spent_usd(self) -> float:
        """What it has cost so far."""
        return read_account(self.folder / "ledger.jsonl").cost_usd

    @property
    def remaining(self) -> Prepared:
        """Its run with the images alone that are still to be examined."""
        kept = read_journal(self.folder / "journal.jsonl").values()
        done = {each.image.id for each in kept if not is_unfinished(each)}
        return replace(self.prepared, images=tuple(each for each in self.prepared.images if each.id not in done))

    def with_bank(self) -> Stage | None:
        """The same with its questions; None if the other model has written none.

        Frozen is frozen: where this run has begun, its questions stay, even if the other run has gained some since.
        """
        if self.bank_of is None:
            return self
        asking = self.bank_of
        try:
            written, source = questions_of(asking.folder)
        except UserError:
            return None
        by_id = {image.id: image for image in written}
        images: Sequence[ImageSource] = [by_id[each.id] for each in asking.prepared.images if each.id in by_id]
        if runs.exists(self.folder):
            with runs.reopen(self.folder) as begun:
                if begun.manifest.source and begun.manifest.source.run_id == source.run_id:
                    images = begun.images
        return replace(self, prepared=replace(self.prepared, source=source, images=tuple(images)), bank_of=None)


async def stages(plan: Plan) -> list[Stage]:
    """The runs of `plan`, in the order in which they are made. Writes nothing. Raises UserError for what is wrong with it."""
    _check(plan)
    found: list[Stage] = []
    own: dict[Side, Stage] = {}
    for side in SIDES:
        if plan.images:
            prepared = await _prepared(plan, side, side, images=tuple(plan.images), limit=plan.limit)
            own[side] = Stage(side, "own", plan.out / side, prepared)
    found += own.values() if plan.own else ()
    if plan.bank and plan.bank_run is not None:
        held = await asyncio.to_thread(_files, own["before"].prepared.images) if own else None
        for side in SIDES:
            name = f"{side}-bank"
            prepared = await _prepared(
                plan, side, name, questions_from=plan.bank_run, limit=None if own else plan.limit
            )
            kept = _held_out(prepared, held, plan.bank_run)
            left_out = len(prepared.images) - len(kept.images)
            found.append(Stage(side, "bank", plan.out / name, kept, left_out=left_out))
    elif plan.bank:
        found.append(_bank_of_own(plan, own))
    if plan.labelled is not None:
        for side in SIDES:
            name = f"{side}-labelled"
            prepared = await _labelled(
                plan, side, name, "--labelled", plan.labelled, plan.labelled_format, plan.labelled_images
            )
            found.append(Stage(side, "labelled", plan.out / name, prepared))
    files = _pope_files(plan.pope) if plan.pope is not None else []
    for file in files:
        for side in SIDES:
            name = f"{side}-pope" + (f"-{file.stem}" if len(files) > 1 else "")
            prepared = await _labelled(plan, side, name, "--pope", file, "pope", plan.pope_images)
            found.append(Stage(side, "pope", plan.out / name, prepared))
    return found


def _check(plan: Plan) -> None:
    if not plan.parts:
        raise UserError("nothing is to be compared; ask for own questions, a bank, --labelled or --pope")
    if plan.own and not plan.images:
        raise UserError("--images: is missing; give the held-out images, which the after-model was not trained on")
    if plan.bank and plan.bank_run is None and not plan.own:
        raise UserError(
            "--bank: is missing; without own questions of the before-model, give the run whose questions to ask"
        )
    if plan.max_cost is not None and not 0 < plan.max_cost < float("inf"):
        raise UserError(f"--max-cost is {plan.max_cost:g}; give an amount in USD above 0")
    if plan.resamples < 1:
        raise UserError(f"resamples is {plan.resamples}; give at least 1")


async def _prepared(
    plan: Plan, side: Side, folder: str, renamed: Mapping[str, str] | None = None, **more: object
) -> Prepared:
    """The settings of one run, checked; an error names the options of this command."""
    model = plan.before if side == "before" else plan.after
    settings = Settings(
        provider=model.provider,
        model=model.model,
        api_base=model.api_base,
        judge=plan.judge,
        prompts=plan.prompts,
        questions=plan.questions,
        seed=plan.seed,
        cache=plan.cache,
        out=plan.out / folder,
        **more,  # type: ignore[arg-type]
    )
    names = {"--provider": f"--{side}", "--model": f"--{side}-model", "--questions-from": "--bank", **(renamed or {})}
    try:
        return await prepare(settings)
    except UserError as error:
        raise UserError(re.sub(r"--[a-z][a-z-]*", lambda found: names.get(found[0], found[0]), str(error))) from None


async def _labelled(
    plan: Plan, side: Side, folder: str, option: str, data: Path, data_format: str | None, images: Path | None
) -> Prepared:
    renamed = {"--data": option, "--images": f"{option}-images", "--format": f"{option}-format"}
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


def _bank_of_own(plan: Plan, own: Mapping[Side, Stage]) -> Stage:
    """The after-model on the before-model's questions, which are not written yet: K of each label, to reckon with."""
    labels = ("answerable", "unanswerable")
    given = tuple(GivenQuestion(text="?", intended=label) for label in labels for _ in range(plan.questions))
    after, folder = own["after"].prepared, plan.out / "after-bank"
    source = runs.Source(
        kind="run", name=own["before"].prepared.subject.name, path=str(own["before"].folder.absolute())
    )
    prepared = replace(
        after,
        source=source,
        images=tuple(replace(image, given=given) for image in own["before"].prepared.images),
        settings=replace(after.settings, images=(), questions_from=own["before"].folder, limit=None, out=folder),
    )
    return Stage("after", "bank", folder, prepared, bank_of=own["before"])


def _files(images: Sequence[ImageSource]) -> set[str]:
    """What tells these files from others; those that cannot be read are no held-out images."""
    found = set()
    for image in images:
        try:
            found.add(sha256(image.path.read_bytes()).hexdigest())
        except OSError:
            continue
    return found


def _held_out(prepared: Prepared, held: set[str] | None, bank: Path) -> Prepared:
    """`prepared` on the held-out images alone; on all of the bank's where none are given."""
    if held is None:
        return prepared
    images = tuple(image for image in prepared.images if image.file_sha256 in held)
    if not images:
        raise UserError(f"--bank {bank}: has no question about any of --images; give a run about these images")
    return replace(prepared, images=images)


def to_do(planned: Sequence[Stage], max_cost_usd: float | None) -> Generator[tuple[Stage, runs.RunFolder], None, None]:
    """Each run that is not finished, with its folder opened; whoever takes it conducts it before taking the next.

    Runs share the cap: each may spend what the others have left. Finished ones are checked against the plan, and not
    yielded. Raises UserError where a folder holds another run, BudgetExhausted where nothing is left.
    """
    for each in planned:
        stage = each.with_bank()
        if stage is None:  # nobody wrote its questions: its gates say so
            continue
        left, remaining = None, stage.remaining.images
        if max_cost_usd is not None:
            left = max_cost_usd - sum(other.spent_usd for other in planned if other.folder != stage.folder)
            if left <= 0 and remaining:
                raise BudgetExhausted(f"--max-cost {max_cost_usd:g} is spent")
            left = max(0.0, left)
        prepared = replace(stage.prepared, settings=replace(stage.prepared.settings, max_cost=left))
        with begin(prepared) as folder:
            if remaining:
                yield stage, folder


def why_stopped(runner: Runner) -> str | None:
    """Why a conducted run ended early, or None. Raises UserError if that is the user's mistake: a key, a model's name."""
    if runner.mistake:
        advice = {"key": "put the right key into its variable", "model": "check --api-base and the model's name"}
        raise UserError(f"{runner.why_stopped}; {advice[runner.mistake]}")
    return runner.why_stopped


async def evaluate(plan: Plan, announce: Announce = silent) -> DistillEval:
    """Both models on all that `plan` wants, and their comparison, which is written to distill-eval.json, too.

    What is finished already is not made again. A cap that is reached is no error: see `DistillEval.stopped`. announce hears the
    events of all runs, one run after the other. Nothing is asked: without a cap there is none. Raises UserError for a mistake.
    """
    planned = await stages(plan)
    stopped = None
    with closing(to_do(planned, plan.max_cost)) as work:
        try:
            for stage, folder in work:
                runner = Runner(folder, announce)
                await runner.run()
                if why := why_stopped(runner):
                    stopped = f"{stage.name}: {why}"
                    break
        except RunStopped as error:
            stopped = str(error)
    return keep(plan, planned, stopped)


def keep(plan: Plan, planned: Sequence[Stage], stopped: str | None = None) -> DistillEval:
    """The comparison of `plan`'s runs as far as they are, written to distill-eval.json."""
    found = {side: _folders(planned, side) for side in SIDES}
    result = compare_folders(
        found["before"],
        found["after"],
        wanted=plan.parts,
        thresholds=plan.thresholds,
        resamples=plan.resamples,
        seed=plan.seed,
        stopped=stopped,
        relative_to=plan.out,
    )
    if left_out := max((stage.left_out for stage in planned), default=0):
        note = f"{left_out} images of --bank are not among the held-out ones, and are left out"
        result = result.model_copy(update={"notes": [note, *result.notes]})
    plan.out.mkdir(parents=True, exist_ok=True)
    write_whole(plan.out / FILE, result.model_dump_json(indent=2) + "\n")
    return result


def _folders(planned: Sequence[Stage], side: Side) -> Folders:
    begun = [stage for stage in planned if stage.side == side and runs.exists(stage.folder)]
    by_part = {part: tuple(stage.folder for stage in begun if stage.part == part) for part in PARTS}
    single = {part: by_part[part][0] if by_part[part] else None for part in PARTS}
    return Folders(own=single["own"], bank=single["bank"], labelled=single["labelled"], pope=by_part["pope"])


# --- the comparison ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    """One model's runs of one part, read back. examinations: of several runs, one an image with all their questions."""

    manifests: tuple[Manifest, ...]
    examinations: tuple[Examination, ...]
    incomplete: str
    """Which of them lack images, in words; "" if none does."""
    unfinished: tuple[str, ...]

    @classmethod
    def of(cls, folders: Sequence[Path]) -> _Read | None:
        """None of no folder."""
        if not folders:
            return None
        merged: dict[str, Examination] = {}
        manifests, incomplete, unfinished = [], [], []
        for folder in folders:
            manifest = runs.read_manifest(folder)
            kept = read_journal(folder / "journal.jsonl")
            manifests.append(manifest)
            if len(kept) < manifest.images and manifest.until_ci is None:
                incomplete.append(f"{folder.name} holds {len(kept)} of {manifest.images} images")
            if failed := sum(map(is_unfinished, kept.values())):
                unfinished.append(f"{folder.name}: {failed} of {len(kept)} images failed, or hold calls that did")
            for name, each in kept.items():
                earlier = merged.get(name)
                questions = (*earlier.questions, *each.questions) if earlier else each.questions
                merged[name] = each.model_copy(update={"questions": questions})
        # By id: a journal has the order in which images happened to finish, and equal runs shall have equal intervals.
        examinations = tuple(merged[name] for name in sorted(merged))
        return cls(tuple(manifests), examinations, "; ".join(incomplete), tuple(unfinished))


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
    """The comparison of finished runs. Reads their folders and nothing else, calls nobody, writes nothing.

    wanted: the parts whose gates are asked for; None: those that the after-model has a run of. A wanted part without its runs
    has "n/a" for a verdict. stopped: why the runs are not complete, where that is known. relative_to: what the folders are told
    from. Raises UserError for a folder that is no run, or if there is nothing to compare; ValueError for resamples < 1.
    """
    limits = thresholds or Thresholds()
    asked = tuple(part for part in PARTS if part in (PARTS if wanted is None else wanted))
    if wanted is None:
        asked = tuple(part for part in asked if after.of(part))
    if not asked:
        raise UserError("nothing is to be compared; give runs of the after-model")
    own_bank = "bank" in asked and not before.bank
    read: dict[tuple[Side, Part], _Read | None] = {
        (side, part): _Read.of(folders.of(part))
        for side, folders in zip(SIDES, (before, after), strict=True)
        for part in PARTS
    }
    if own_bank and (mine := read["before", "own"]):
        read["before", "bank"] = mine
    known = [found for found in read.values() if found]
    if not known:
        raise UserError(f"nothing is to be compared: {stopped or 'no run has begun'}")
    missing = {part: why for part in asked if (why := _missing(read, part, own_bank=own_bank))}
    figures: list[Figure] = []
    notes = list(_same_weights(read))
    withheld: dict[Part, str] = dict(missing)
    for part in asked:
        ours, theirs = read["before", part], read["after", part]
        if ours is None or theirs is None or part in missing:
            figures += [gates.unavailable(name, missing[part]) for name in _FIGURES[part]]
            continue
        notes += _differences(ours, theirs, part, own_bank=own_bank)
        found, more = _figures(ours, theirs, part, resamples, seed)
        figures += found
        notes += more
        if why := ours.incomplete or theirs.incomplete:
            withheld[part] = f"not complete: {why}"
        elif part == "own" and (why := _unreliable(ours, theirs)):
            withheld[part] = why
    order = list(TITLES)
    figures.sort(key=lambda figure: order.index(figure.name))
    notes += gates.about_figures(figures)
    notes += _from_the_cache(read)
    judged = gates.judge(figures, asked, limits, withheld)
    unfinished = {line: None for found in known for line in found.unfinished}
    return DistillEval(
        before=_side(read, "before", before, relative_to),
        after=_side(read, "after", after, relative_to),
        bank=_whose(read, own_bank=own_bank) if "bank" in asked else "",
        figures=figures,
        gates=judged,
        passed=gates.all_pass(judged),
        stopped=stopped or next((f"not complete: {each.incomplete}" for each in known if each.incomplete), None),
        unfinished=list(unfinished),
        notes=list(dict.fromkeys(notes)),
        thresholds=limits,
        seed=seed,
        resamples=resamples,
        cost_usd=sum(
            read_account(folder / "ledger.jsonl").cost_usd
            for folders in (before, after)
            for part in PARTS
            for folder in folders.of(part)
        ),
        undefined={str(part): why for part, why in missing.items()},
    )


_FIGURES: dict[Part, tuple[FigureName, ...]] = {
    "own": ("unf1_own", "unf1_fixed_mix"),
    "bank": ("unf1_bank", "over_refusal_bank"),
    "labelled": tuple(measure.name for measure in gates.LABELLED),
    "pope": tuple(measure.name for measure in gates.POPE),
}


def _missing(read: Mapping[tuple[Side, Part], _Read | None], part: Part, *, own_bank: bool) -> str:
    """Why a wanted part has nothing to compare; "" if it has."""
    mine = read["before", "own"] if part == "bank" and own_bank else None
    if mine and not mine.incomplete and not any(each.questions for each in mine.examinations):
        return "the before-model has written no question; give another run's with --bank"
    lacking = [side for side in SIDES if read[side, part] is None]
    return f"not run yet: {' and '.join(lacking)}" if lacking else ""


def _figures(before: _Read, after: _Read, part: Part, resamples: int, seed: int) -> tuple[list[Figure], list[str]]:
    """A part's figures, and notes on what they leave out."""
    if part == "own":
        pair = (before.examinations, after.examinations)
        return [
            gates.unf1_figure("unf1_own", *pair, resamples=resamples, seed=seed),
            gates.fixed_mix_figure(*pair, resamples=resamples, seed=seed),
        ], []
    ours, theirs, left_out = gates.shared_questions(before.examinations, after.examinations)
    what = {"bank": "the frozen bank", "labelled": "the labelled set", "pope": "POPE"}[part]
    notes = [f"{left_out} questions of {what} that only one of the models was asked are left out"] if left_out else []
    measures = {"bank": (gates.OVER_REFUSAL_BANK,), "labelled": gates.LABELLED, "pope": gates.POPE}[part]
    figures = gates.ratio_figures(measures, ours, theirs, resamples=resamples, seed=seed)
    if part == "bank":
        figures.insert(0, gates.unf1_figure("unf1_bank", ours, theirs, resamples=resamples, seed=seed))
    return figures, notes


def _unreliable(before: _Read, after: _Read) -> str:
    """Why UnF1 with own questions must not decide: a model that writes no questions has no score; "" if it may."""
    for side, found in zip(SIDES, (before, after), strict=True):
        reasons = score(
            found.examinations,
            questions_per_label=found.manifests[0].questions,
            accounts=None,
            provider="",
            judge="",
            resamples=1,
        ).unreliable
        if reasons:
            return f"the {side}-model's own score is unreliable: {reasons[0]}"
    return ""


def _differences(before: _Read, after: _Read, part: Part, *, own_bank: bool) -> Iterator[str]:
    """How the two were not measured alike in one part."""
    for ours, theirs in zip(before.manifests, after.manifests, strict=False):
        mine = ours.model_copy(update={"source": theirs.source}) if part == "bank" and own_bank else ours
        yield from differences_in_setting({"before": mine, "after": theirs})
    if len(before.manifests) != len(after.manifests):
        yield f"{part}: there are {len(before.manifests)} runs of before and {len(after.manifests)} of after"


def _first(read: Mapping[tuple[Side, Part], _Read | None], side: Side) -> Manifest | None:
    return next((found.manifests[0] for part in PARTS if (found := read[side, part])), None)


def _same_weights(read: Mapping[tuple[Side, Part], _Read | None]) -> Iterator[str]:
    """A note if both are one model."""
    manifests = [_first(read, side) for side in SIDES]
    before, after = (manifest.subject if manifest else None for manifest in manifests)
    if before is None or after is None:
        return
    weights = [each.extra.get("files_sha256") for each in (before, after)]
    if all(weights):
        same = weights[0] == weights[1]
    else:
        same = (before.model, before.endpoint, before.extra) == (after.model, after.endpoint, after.extra)
    if same:
        yield "before and after are the same model: every difference is chance, or none"


def _from_the_cache(read: Mapping[tuple[Side, Part], _Read | None]) -> Iterator[str]:
    """A note if replies of a served after-model are from the cache: it knows a model's name, and not its weights."""
    every = [found for part in PARTS if (found := read["after", part])]
    subjects = [(found, found.manifests[0].subject) for found in every]
    # A server that a run started itself is known by its weights, in the cache as well.
    served = [found for found, of in subjects if of.backend not in IN_PROCESS and "files_sha256" not in of.extra]
    calls = [call for found in served for each in found.examinations for call in each.calls]
    cached = sum(call.cached for call in calls)
    if cached > FEW_CACHED * len(calls):
        yield (
            f"{cached} of the after-model's {len(calls)} replies are from the cache, which knows a served model by its name "
            "alone: if other weights had that name before, give a new name, or --no-cache and another folder"
        )


def _side(
    read: Mapping[tuple[Side, Part], _Read | None], side: Side, folders: Folders, relative_to: Path | None
) -> ModelSide:
    manifest = _first(read, side)
    names: dict[str, str] = {}
    for part in PARTS:
        for folder in folders.of(part):
            told = folder.relative_to(relative_to) if relative_to and folder.is_relative_to(relative_to) else folder
            names[part if len(folders.of(part)) == 1 else f"{part} {told.name}"] = str(told)
    subject = manifest.subject if manifest else None
    return ModelSide(
        provider=subject.name if subject else "",
        model=subject.model if subject else "",
        files_sha256=str(subject.extra["files_sha256"]) if subject and "files_sha256" in subject.extra else None,
        runs=names,
    )


def _whose(read: Mapping[tuple[Side, Part], _Read | None], *, own_bank: bool) -> str:
    found = read["after", "bank"] or read["before", "bank"]
    source = found.manifests[0].source if found else None
    if own_bank:
        return "the before-model's own questions"
    return f"the questions of the run {Path(source.path).name}, of {source.name}" if source else ""
