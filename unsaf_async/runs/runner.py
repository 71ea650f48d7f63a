"""The composition: a run's folder worked off, from images to a score. What the parts need is handed to them here."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.calls.budget import NANO, Budget, ImageBudget
from unsaf_async.calls.ledger import Ledger
from unsaf_async.calls.request import ModelClient
from unsaf_async.calls.session import Books, OpenModel, open_model
from unsaf_async.calls.store import ReplyStore, open_cache
from unsaf_async.errors import BudgetExhausted, Fatal, ProviderDown, RunStopped, UserError
from unsaf_async.events import Announce, Event, ImageKept, silent
from unsaf_async.examine.examiner import Examiner, has_failed_calls, is_unfinished
from unsaf_async.examine.extras import Extras
from unsaf_async.examine.judge import Judge
from unsaf_async.inputs.pixels import ImageError, ImageLoader
from unsaf_async.providers.keys import key_of_profile, redactor
from unsaf_async.records import Examination, ImageRecord
from unsaf_async.runs import folder as runs
from unsaf_async.runs.journal import Journal
from unsaf_async.runs.prepare import Prepared, check_cache, policy_of
from unsaf_async.runs.quote import Planner, Priced
from unsaf_async.runs.result import score_run, unfinished_work
from unsaf_async.runs.saved import pack_of
from unsaf_async.runs.stopping import StopWhenNarrow
from unsaf_async.runs.workers import run

if TYPE_CHECKING:
    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.prompts import Pack
    from unsaf_async.runs.findings import Findings

MIN_IMAGES_IN_FLIGHT = 4
"""Images examined at once at least: with fewer, one slow call idles the slots."""


def begin(prepared: Prepared) -> runs.RunFolder:
    """The run's folder: a new one, or, if --out names a run with these very settings, that one, to go on with."""
    settings = prepared.settings
    if settings.cache is not None:
        open_cache(settings.cache).close()  # first, so that a damaged one leaves no run's folder behind
    out = settings.out or runs.default_folder(prepared.subject.name)
    manifest = runs.new_manifest(
        subject=prepared.subject,
        judges=prepared.judges,
        auditors=prepared.auditors,
        grounded=settings.grounded,
        confidence=settings.confidence,
        samples=settings.samples,
        others=prepared.others,
        source=prepared.source,
        calibration=prepared.calibration,
        pack=str(Path(prepared.pack_name).absolute()) if Path(prepared.pack_name).is_dir() else prepared.pack_name,
        pack_version=prepared.pack.version,
        pack_sha256=prepared.pack.sha256,
        questions=settings.questions,
        seed=settings.seed,
        max_cost_usd=settings.max_cost,
        until_ci=settings.until_ci,
        images=len(prepared.images),
        images_sha256=runs.images_sha256(prepared.images),
        cache=str(settings.cache.absolute()) if settings.cache else "",
    )
    if not runs.exists(out):
        return runs.create(out, manifest, prepared.images)
    folder = runs.reopen(out)
    # What steers speed and money may change between two sessions; what steers the result may not.
    before = folder.manifest
    if other := _differing(before, manifest):
        folder.close()
        raise UserError(f"--out {out}: holds a run with {other}; give another folder, or resume that run")
    subject = before.subject.model_copy(
        update={"limits": prepared.subject.limits} | ({"price": prepared.subject.price} if settings.price else {})
    )
    changed = {name: getattr(manifest, name) for name in ("max_cost_usd", "until_ci", "cache")} | {"subject": subject}
    # And more may be asked about the same answers; what was asked before stays.
    more = {
        "auditors": tuple(dict.fromkeys((*before.auditors, *manifest.auditors))),
        "grounded": before.grounded or manifest.grounded,
        "confidence": before.confidence or manifest.confidence,
        "samples": max(before.samples, manifest.samples),
        "others": {**before.others, **manifest.others},
        "calibration": manifest.calibration or before.calibration,
    }
    folder.keep_manifest(before.model_copy(update=changed | more))
    return folder


def _differing(one: runs.Manifest, other: runs.Manifest) -> str | None:
    """The first thing in which two runs differ so that their results cannot be one, in words; None if there is none."""
    if (one.subject.model, one.subject.endpoint) != (other.subject.model, other.subject.endpoint):
        return f"another model, {one.subject.name} ({one.subject.model})"
    if one.subject.extra.get("files_sha256") != other.subject.extra.get("files_sha256"):
        return f"other weights of {one.subject.model}"
    if (one.questions, one.seed, one.judges) != (other.questions, other.seed, other.judges):
        return f"--questions {one.questions} --seed {one.seed} --judge {one.judge_name}"
    if one.pack_sha256 != other.pack_sha256:
        return f"other prompts, {one.pack} in version {one.pack_version} as it was then"
    return f"another list of {one.images} images" if one.images_sha256 != other.images_sha256 else None


class Runner:
    """Works one run's folder off. `stop` may be called from a signal handler on the loop's thread."""

    def __init__(self, folder: runs.RunFolder, announce: Announce = silent) -> None:
        self.folder = folder
        self.budget: Budget | None = None
        self.models: list[OpenModel] = []
        """The measured model first."""
        self.earlier = 0
        """Images that earlier sessions finished."""
        self.why_stopped: str | None = None
        """Why the run ended before its last image, in one line; None if it did not."""
        self.exhausted = False
        """Whether it ended because the cap leaves too little for another image."""
        self.satisfied = False
        """Whether it ended because the interval is narrow enough."""
        self.mistake: str | None = None
        """What is wrong, "key" or "model", if the run ended by that before any call was answered."""
        self.left: dict[str, str] = {}
        """Why no more could be asked about an image that had been examined, by its id."""
        self.unfinished: str | None = None
        """What failed and would be tried again by resuming, in words; None if nothing did."""
        self._listeners = [announce]
        self._interrupted = False

    def listen(self, announce: Announce) -> None:
        """Let `announce` hear the run's events, too."""
        self._listeners.append(announce)

    def _announce(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)

    def stop(self) -> None:
        """Let no further call leave. Those under way finish, are paid and stored; then `run` returns."""
        self._interrupted = True
        for model in self.models:
            model.pace.failed(Fatal("interrupted", kind="interrupted"))

    async def run(self) -> Findings:
        """Examine every image that is not done yet, and score all. Stopping early is no error: see `why_stopped`."""
        manifest = self.folder.manifest
        pack = pack_of(self.folder.path, manifest)
        if manifest.cache:
            check_cache(Path(manifest.cache))
        cache = Path(manifest.cache) if manifest.cache else self.folder.files.replies
        store = ReplyStore(cache, self.folder.files.received)
        async with AsyncExitStack() as stack:
            stack.callback(store.close)
            ledger = stack.enter_context(Ledger(self.folder.files.ledger))
            journal = stack.enter_context(Journal(self.folder.files.journal))
            loader = ImageLoader(policy_of(manifest.subject))
            stack.callback(loader.close)
            profiles = [manifest.subject, *manifest.others.values()]
            books = Books(
                ledger=ledger,
                store=store,
                in_flight={},
                run_id=manifest.run_id,
                redact=redactor(key_of_profile(profile) for profile in profiles),
                announce=self._announce,
            )
            called = {"self", *manifest.judges, *manifest.auditors}
            wanted = {"self": manifest.subject, **manifest.others}
            models = {
                name: await stack.enter_async_context(
                    open_model(profile, books, questions=manifest.questions, seed=manifest.seed)
                )
                for name, profile in wanted.items()
                if name in called
            }
            self.models = list(models.values())
            cap = None if manifest.max_cost_usd is None else int(manifest.max_cost_usd * NANO)
            self.budget = Budget(cap, ledger.account.spent_nano_usd)
            await self._examine_all(journal, loader, models, pack)
            self.unfinished = unfinished_work(list(journal.kept.values()), self.left)
            account = ledger.account
            nothing_served = not account.usage.input_tokens and not account.usage.output_tokens
            kinds = [model.pace.down.kind for model in self.models if model.pace.down]
            if nothing_served:
                self.mistake = next((kind for kind in kinds if kind in ("key", "model")), None)
            result = score_run(manifest, list(journal.kept.values()), account, ledger.wall_s)
        self.folder.keep_score(result)
        return result

    async def _examine_all(
        self, journal: Journal, loader: ImageLoader, models: dict[str, OpenModel], pack: Pack
    ) -> None:
        manifest = self.folder.manifest
        wanted = manifest.wanted
        planner = Planner.of(
            lambda name: Priced(models[name].builder, models[name].cost_model),
            manifest.judges,
            pack,
            manifest.questions,
            wanted,
        )
        rule = StopWhenNarrow(manifest.until_ci, rule="fixed-width") if manifest.until_ci else None
        budget = self.budget
        assert budget is not None

        async def examine_one(source: ImageSource) -> Examination:
            record = ImageRecord(id=source.id, path=_printable(source.path), metadata=dict(source.metadata))
            self._check_interrupted()
            before = journal.kept[source.id] if source.id in examined else None
            try:
                image, digest = await loader.load(source.path)
            except ImageError as error:
                if before:
                    self.left[source.id] = str(error)
                    return before
                return Examination(image=record, failure=str(error))
            if source.file_sha256 not in (None, digest):
                return Examination(image=record, failure="the image has changed since its questions were written")
            if before and before.image.pixels_sha256 != image.pixels_sha256:
                self.left[source.id] = "the image has changed since"
                return before
            record = record.model_copy(
                update={
                    "bytes_sha256": digest,
                    "pixels_sha256": image.pixels_sha256,
                    "width": image.width,
                    "height": image.height,
                }
            )
            size = (image.width, image.height)
            if before:
                quote = planner.quote_missing(*size, before.questions)
            elif source.given:
                quote = planner.quote_given(*size, source.given)
            else:
                quote = planner.quote(*size)
            hold = budget.hold(quote.worst_nano_usd)
            examiner = _examiner(manifest, models, pack, hold)
            try:
                if before:
                    examination = await examiner.complete(before, image)
                elif source.given:
                    examination = await examiner.examine_given(record, image, source.given)
                else:
                    examination = await examiner.examine(record, image)
            finally:
                hold.close()
            if has_failed_calls(examination):
                # What failed because nothing could leave any more is not finished: it is not kept.
                for model in self.models:
                    if model.pace.down:
                        raise ProviderDown(f"{model.profile.name}: {model.pace.down}")
            return examination

        examined = {name for name, examination in journal.kept.items() if not is_unfinished(examination)}
        lacking = {
            name for name in examined if any(map(wanted.missing, journal.kept[name].questions))
        }  # examined, and to be asked more

        def keep(examination: Examination) -> None:
            new = examination.image.id not in examined
            journal.keep(examination)
            if rule and new:
                rule.add(examination)
            self._announce(ImageKept(examination))

        self.earlier = len(examined - lacking)
        for name in examined:
            if rule:
                rule.add(journal.kept[name])
            if name not in lacking:
                self._announce(ImageKept(journal.kept[name]))
        more = [source for source in self.folder.images if source.id in lacking]
        waiting = [source for source in self.folder.images if source.id not in examined]
        most = max(MIN_IMAGES_IN_FLIGHT, manifest.subject.limits.concurrency)
        try:
            await run(more, examine_one, keep, width=min(len(more), most))
            enough = lambda: rule is not None and rule.satisfied  # noqa: E731
            await run(waiting, examine_one, keep, width=min(len(waiting), most), enough=enough)
        except RunStopped as error:
            self.why_stopped = "interrupted" if self._interrupted else str(error)
            self.exhausted = isinstance(error, BudgetExhausted)
        self.satisfied = rule is not None and rule.satisfied

    def _check_interrupted(self) -> None:
        if self._interrupted:
            raise RunStopped("interrupted")


def _examiner(manifest: runs.Manifest, models: dict[str, OpenModel], pack: Pack, hold: ImageBudget) -> Examiner:
    """One image's examiner: all of its calls are paid from `hold`."""
    clients = {name: ModelClient(model.builder, model.provider(hold)) for name, model in models.items()}
    judges = tuple((name, clients[name]) for name in manifest.judges)
    follow_ups = Extras(
        manifest.wanted,
        pack,
        clients["self"],
        {name: clients[name] for name in manifest.auditors},
        judges[0] if manifest.grounded else None,
    )
    return Examiner(clients["self"], Judge(pack, judges), pack, manifest.questions, follow_ups)


def _printable(path: Path) -> str:
    """`path` as text that JSON can hold: a name that is no valid UTF-8 gets question marks."""
    return str(path).encode("utf-8", "replace").decode()
