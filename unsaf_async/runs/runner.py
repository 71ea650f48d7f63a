"""The composition: a run's folder worked off, from images to a score. What the parts need is handed to them here."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.calls.backends.open import open_backend, unconnected
from unsaf_async.calls.batches.batches import Waits
from unsaf_async.calls.batches.register import open_batches
from unsaf_async.calls.budget import NANO
from unsaf_async.calls.disk import open_cache
from unsaf_async.calls.ledger import Ledger, read_account
from unsaf_async.calls.session import Session
from unsaf_async.calls.store import received_nano_usd
from unsaf_async.errors import BudgetExhausted, Fatal, RunStopped, UserError, as_option, setting
from unsaf_async.events import Announce, EndpointNotice, Event, ImageKept, KeyHidden, Notice, ParameterRefused, silent
from unsaf_async.inputs.known import KnownPictures
from unsaf_async.inputs.loader import ImageLoader
from unsaf_async.prompts import in_place_of_shipped, lasting_name
from unsaf_async.providers.addresses import called
from unsaf_async.providers.lifetime import check_cap, notices, on_day, today_utc
from unsaf_async.providers.profile import canonical_url
from unsaf_async.runs.authority import authorise
from unsaf_async.runs.basis import Basis, keep_basis, saved_score
from unsaf_async.runs.control_settings import both_kinds
from unsaf_async.runs.folder import create, default_folder, exists, images_sha256, new_manifest, reopen
from unsaf_async.runs.journal import Journal, Kept
from unsaf_async.runs.one_image import NO_OTHERS, ImageExaminer, Others, Skipped
from unsaf_async.runs.prepare import Prepared, check_cache, policy_of
from unsaf_async.runs.rejudger import Rejudger
from unsaf_async.runs.result import RunTally
from unsaf_async.runs.saved import answers_of, pack_of
from unsaf_async.runs.signature import knows_cache, mark_cache, user_key
from unsaf_async.runs.stopping import Rounds
from unsaf_async.runs.trusted_labels import read_labels
from unsaf_async.runs.work import Survey, Work
from unsaf_async.runs.workers import run
from unsaf_async.text import format_usd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from datetime import date

    from unsaf_async.calls.budget import Budget
    from unsaf_async.calls.ledger import Account
    from unsaf_async.calls.session import OpenModel
    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.prompts import Pack
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import Examination
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest, RunFolder
    from unsaf_async.runs.spread import Examines, Spread

MIN_IMAGES_IN_FLIGHT = 4
"""Images examined at once at least: with fewer, one slow call idles the slots."""

BATCHED_IMAGES = 1000
"""Images that are in batches at once: a gigabyte of pictures, about."""

FIRST_BATCHED_IMAGES = 100
"""The same where a rule ends the run, until its images tell how many it takes: what is begun is finished, and paid."""

MOST_OTHERS = 3
"""Images that are tried, one after the other, where one is to be shown in another's place."""

LOST = ("model", "another model")
"""How a model that answered before may be there no longer."""
MISTAKES = ("key", "model", "unreachable", "machine", "refused")
"""What only the user can mend, of the kinds of a `Fatal`."""


def begin(prepared: Prepared) -> RunFolder:
    """The run's folder: a new one, or the one that `out` names, if it holds a run with these very settings.

    Args:
        prepared: The settings, checked, with everything that they name.

    Returns:
        The folder, opened and locked.

    Raises:
        UserError: The cache cannot be used, or --out holds something else.
    """
    settings = prepared.settings
    if settings.cache is not None:
        cache, key = Path(settings.cache), user_key()
        known = knows_cache(cache, key)
        open_cache(cache).close()  # first, so that a damaged one leaves no run's folder behind
        if known:
            mark_cache(cache, key)
    path = Path(settings.out) if settings.out is not None else default_folder(prepared.subject.name)
    manifest = _manifest_of(prepared)
    if not exists(path):
        return create(path, manifest, prepared.images)
    folder = reopen(path)
    manifest = _in_the_order_of(folder.manifest, manifest)
    try:
        if other := first_difference(folder.manifest, manifest):
            raise UserError(f"{path}: holds a run with {other}; give another folder, or resume that run", field="out")
        authorise(folder, trust=settings.trust_folder, now=manifest)
    except BaseException:
        folder.close()
        raise
    folder.keep_manifest(_merged(folder.manifest, manifest, new_price=settings.price is not None))
    return folder


def difference(before: Manifest, prepared: Prepared) -> tuple[str | None, Manifest]:
    """In what a run that has begun differs from the one that is asked for, so that its folder cannot go on as that.

    Args:
        before: The manifest of the run that has begun.
        prepared: The settings that are asked for now, checked.

    Returns:
        (the first difference in words, or None; the manifest that a run with these settings would have).
    """
    now = _in_the_order_of(before, _manifest_of(prepared))
    return first_difference(before, now), now


def _manifest_of(prepared: Prepared) -> Manifest:
    settings = prepared.settings
    return new_manifest(
        subject=prepared.subject,
        judges=prepared.judges,
        judge_together=settings.judge_together,
        judge_together_sha256=prepared.pack.together_sha256,
        auditors=prepared.auditors,
        grounded=settings.grounded,
        confidence=settings.confidence,
        samples=settings.samples,
        controls=prepared.controls,
        controls_per_image=settings.controls_per_image,
        others=prepared.others,
        source=prepared.source,
        calibration=prepared.calibration,
        pack=lasting_name(prepared.pack_name),
        pack_version=prepared.pack.version,
        pack_sha256=prepared.pack.sha256,
        questions=settings.questions,
        form=settings.question_form,
        seed=settings.seed,
        max_cost_usd=settings.max_cost,
        prompt_cache=settings.prompt_cache,
        until_ci=settings.until_ci,
        anytime=settings.anytime,
        batch=settings.batch,
        batch_window_h=settings.batch_window,
        pilot=prepared.pilot,
        strict_model=settings.strict_model,
        images=len(prepared.images),
        images_sha256=images_sha256(prepared.images),
        cache=str(Path(settings.cache).absolute()) if settings.cache is not None else "",
    )


def first_difference(before: Manifest, now: Manifest) -> str | None:
    """The first thing in which two runs differ so that their results cannot be one.

    What steers the result may not change between two sessions; what steers speed and money may.

    Args:
        before: The manifest of the run that has begun.
        now: That of the run that is asked for.

    Returns:
        The difference in words; None if there is none.
    """
    if (before.subject.model, before.subject.endpoint) != (now.subject.model, now.subject.endpoint):
        there, here = (", ".join(each.subject.endpoints) or "its vendor's address" for each in (before, now))
        if before.subject.model == now.subject.model and before.subject.places & now.subject.places:
            first = before.subject.endpoint
            return f"{before.subject.name} at {there}; give {first} as well, in any order (it is left out where it is dead)"
        of_one = before.subject.model == now.subject.model
        at = f" at {there}, not {here}" if of_one else f" at {there}" if before.subject.endpoint else ""
        return f"another model, {before.subject.name} ({before.subject.model}){at}"
    if before.subject.extra.get("files_sha256") != now.subject.extra.get("files_sha256"):
        return f"other weights of {before.subject.model}"
    if before.subject.image.max_side_px != now.subject.image.max_side_px:
        return (
            f"images of at most {before.subject.image.max_side_px} pixels a side, not {now.subject.image.max_side_px}"
        )
    if (before.questions, before.seed, before.judges) != (now.questions, now.seed, now.judges):
        return (
            f"{setting('questions')} {before.questions} {setting('seed')} {before.seed} "
            f"{setting('judge')} {before.judge_name}"
        )
    if before.judged_anew != now.judged_anew:
        return "the answers of another run, more or fewer of its answers, or another rubric"
    if before.form != now.form:
        return setting("question_form", before.form)
    if before.judge_together != now.judge_together:
        return f"{setting('judge_together')} {before.judge_together}"
    if (before.pack_sha256, before.judge_together_sha256) != (now.pack_sha256, now.judge_together_sha256):
        return f"other prompts, {before.pack} in version {before.pack_version} as it was then"
    return f"another list of {before.images} images" if before.images_sha256 != now.images_sha256 else None


def called_profiles(manifest: Manifest) -> dict[str, Profile]:
    """The models that a run calls.

    Args:
        manifest: The run's.

    Returns:
        The measured model as "self", if it is called, and those of the others that judge or audit, by their names.
    """
    return {name: manifest.profile(name) for name in manifest.called}


def _in_the_order_of(before: Manifest, now: Manifest) -> Manifest:
    """`now` with its models' endpoints in the order that they have in `before`: replies are known by the first one."""

    def ordered(there: Profile | None, here: Profile) -> Profile:
        if there is None or canonical_url(there.endpoint) not in here.places:
            return here
        known = {canonical_url(url): url for url in there.endpoints}
        kept = [url for form, url in known.items() if form in here.places]
        first, *others = [*kept, *(url for url in here.endpoints if canonical_url(url) not in known)]
        return here.model_copy(update={"endpoint": first, "replicas": tuple(others)})

    others = {name: ordered(before.others.get(name), profile) for name, profile in now.others.items()}
    return now.model_copy(update={"subject": ordered(before.subject, now.subject), "others": others})


def _merged(before: Manifest, now: Manifest, *, new_price: bool) -> Manifest:
    """The manifest of a run that goes on. new_price: whether the user gave one."""
    subject: dict[str, object] = {name: getattr(now.subject, name) for name in ("limits", "replicas", "prompt_cache")}
    if new_price:
        subject |= {"price": now.subject.price, "price_ends": None, "next_price": None}
    replaced = {
        "max_cost_usd": now.max_cost_usd,
        "prompt_cache": now.prompt_cache,
        "until_ci": now.until_ci,
        "anytime": now.anytime,
        "batch": now.batch,
        "batch_window_h": now.batch_window_h,
        "pilot": now.pilot,
        "strict_model": now.strict_model,
        "cache": now.cache,
        "subject": before.subject.model_copy(update=subject),
    }
    # More may be asked about the same answers; what was asked before stays.
    added = {
        "auditors": tuple(dict.fromkeys((*before.auditors, *now.auditors))),
        "grounded": before.grounded or now.grounded,
        "confidence": before.confidence or now.confidence,
        "samples": max(before.samples, now.samples),
        "controls": both_kinds(before.controls, now.controls),
        "controls_per_image": max(before.controls_per_image, now.controls_per_image),
        "others": {**before.others, **now.others},
        "calibration": now.calibration or before.calibration,
    }
    return before.model_copy(update=replaced | added)


class Runner:
    """Works one run's folder off. `stop` may be called from a signal handler on the loop's thread."""

    def __init__(
        self,
        folder: RunFolder,
        announce: Announce = silent,
        today: date | None = None,
        spread: Spread | None = None,
        waits: Waits | None = None,
    ) -> None:
        """A runner that has not begun.

        Args:
            folder: The run's, opened.
            announce: Receives the run's events.
            today: The day whose prices count; None for the current one.
            spread: Has the images examined by workers; None: this process examines them.
            waits: How long is waited for what of a batch; the manifest says for how long for the whole. None: the defaults.
        """
        self._spread = spread
        self._waits = waits or Waits()
        self._session: Session | None = None
        self._today = today or today_utc()
        self.folder = folder
        self.budget: Budget | None = None
        """None before the models are open."""
        self.models: list[OpenModel] = []
        """The measured model first."""
        self.done_before = 0
        """Images that earlier sessions finished."""
        self.nothing_to_do = False
        """Whether no model was opened, since nothing was left to ask."""
        self.why_stopped: str | None = None
        """Why the run ended before its last image, in one line; None if it did not."""
        self.exhausted = False
        """Whether it ended because the cap leaves too little for another image."""
        self.satisfied = False
        """Whether it ended because the interval is narrow enough."""
        self.lost: str | None = None
        """Which of `LOST` ended the run: going on with it would end in the same way."""
        self.mistake: str | None = None
        """What is wrong, one of `MISTAKES`, if the run ended by that before the model, or a judge, ever answered."""
        self.mistaken: Profile | None = None
        """The model, a judge perhaps, of which that is wrong."""
        self.refuses: str | None = None
        """The name of a model that refused every call of a role, so that resuming changes nothing; None if none did."""
        self.refusal: str | None = None
        """What it refused, and in which words."""
        self.skipped: dict[str, str] = {}
        """Why no more could be asked about an image that had been examined, by its id."""
        self.unfinished: str | None = None
        """What failed and would be tried again by resuming, in words; None if nothing did."""
        self.only_files = False
        """Whether all of that lies in the images' files, and is to be mended before."""
        self.only_replies = False
        """Whether all of that lies in what the models replied, so that resuming changes nothing."""
        self.unwritable = False
        """Whether it ended because something cannot be written."""
        self._opened: Mapping[str, OpenModel] = {}
        self._listeners = [announce]
        self._keys_hidden = Counter(folder.manifest.keys_hidden)
        self._interrupted = False

    def listen(self, announce: Announce) -> None:
        """Send the run's events to one more listener.

        Args:
            announce: The listener.
        """
        self._listeners.append(announce)

    def _announce(self, event: Event) -> None:
        if isinstance(event, ParameterRefused):
            self._keep_adapted()
        if isinstance(event, EndpointNotice):
            self._keep_left_out()
        if isinstance(event, KeyHidden):
            self._keys_hidden[event.provider] += 1
            if self._keys_hidden[event.provider] == 1:  # known even if this session is killed
                self._keep_keys_hidden()
        for listener in self._listeners:
            listener(event)

    def _keep_adapted(self) -> None:
        """The manifest says at once what the models do not take: a session that follows a killed one begins with it."""
        manifest = self.folder.manifest
        refused = {name: dict(model.adapted.refused) for name, model in self._opened.items() if model.adapted.refused}
        self._keep_in_manifest(adapted=manifest.adapted | refused)

    def _keep_left_out(self) -> None:
        """The manifest says at once which endpoints are left out, so that it is known where nobody was told, too."""
        known = self.folder.manifest.left_out
        now = {name: model.replicas.left_out for name, model in self._opened.items() if model.replicas.left_out}
        self._keep_in_manifest(left_out={**known, **{name: {**known.get(name, {}), **now[name]} for name in now}})

    def _keep_keys_hidden(self) -> None:
        if self._keys_hidden != self.folder.manifest.keys_hidden:
            self._keep_in_manifest(keys_hidden=dict(self._keys_hidden))

    def _keep_in_manifest(self, **fields: object) -> None:
        self._keep(lambda: self.folder.keep_manifest(self.folder.manifest.model_copy(update=fields)))

    def stop(self) -> None:
        """Let no further call leave. Those under way finish, are paid and stored; then `run` returns."""
        self._interrupted = True
        self._let_none_leave(Fatal("interrupted", kind="interrupted"))

    def _let_none_leave(self, reason: Fatal) -> None:
        if self._session is not None:
            self._session.stop(reason)

    def _keep(self, write: Callable[[], None]) -> UserError | None:
        """Write to the run's folder; the error if that is not possible. No further call leaves then.

        It is not raised: calls under way would be cancelled, which are paid for.
        """
        try:
            write()
        except UserError as error:
            self.unwritable = True
            self._let_none_leave(Fatal(error.args[0], kind="disk"))
            return error
        return None

    async def run(self) -> Findings:
        """Examine every image that is not done yet, and score all. Stopping early is no error: see `why_stopped`.

        Raises UserError if the prompts have changed, a file of the run or a model cannot be opened, or a cap cannot be kept
        because a price has ended.
        """
        authorise(self.folder, trust=False)
        manifest = self._manifest_of_the_day()
        pack = pack_of(self.folder.path, manifest)
        if manifest.cache:
            check_cache(Path(manifest.cache))
        if (before := self._kept_score(manifest)) is not None:
            return before
        account = read_account(self.folder.files.ledger)  # before a word is said: it may be damaged
        kept = Kept(self.folder.files.journal, {source.id for source in self.folder.images})
        labels = read_labels(self.folder.files.labels)
        survey = Survey(manifest, kept, self._announce, labels)
        with Journal(kept, survey.add) as journal:
            account = self._checked(account, journal)
            work = survey.work(self.folder.images)
            self.done_before = len(work.done) - len(work.to_complete)
            if work.is_done and not self._left_behind():
                self._announce_done()
            else:
                self._say_who_is_called(manifest)
                async with self._new_session() as session:
                    self.models, self.budget = list(session.models.values()), session.budget
                    self._session, self._opened = session, session.models
                    async with self._examiner(session, manifest, pack) as images:
                        await self._examine_all(work, journal, images, session)
                account = session.ledger.account  # of the closed ledger: as it will be read back
            self._keep_keys_hidden()
            self.satisfied = work.enough
            tally = work.tally or RunTally.of(self.folder.manifest, journal.kept, labels)
            result = self._score(tally, account)
        self._keep_result(result)
        return result

    def _keep_result(self, result: Findings) -> None:
        def write() -> None:
            self.folder.keep_score(result)
            self.folder.keep_manifest(self.folder.manifest.model_copy(update={"answered_by": result.answered_by}))
            done = self.why_stopped is None and self.unfinished is None
            files = self.folder.files
            keep_basis(files, Basis.of(files, self.folder.manifest, done=done, satisfied=self.satisfied))

        if error := self._keep(write):
            self.why_stopped = self.why_stopped or error.spelled(as_option)

    def _kept_score(self, manifest: Manifest) -> Findings | None:
        """The score as it was kept, if nothing has changed since and nothing was left to ask; of a run of any size at once."""
        kept = saved_score(self.folder.files, manifest)
        if kept is None or not kept[1].done or self._left_behind():
            return None
        result, basis = kept
        self._announce_done()
        self.done_before, self.satisfied = result.images.done, basis.satisfied
        return result

    def _left_behind(self) -> bool:
        """Whether an earlier session received replies that are not stored, or left batches with a vendor."""
        files = self.folder.files
        return files.received.exists() or bool(open_batches(files.batches))

    def _announce_done(self) -> None:
        self.nothing_to_do = True
        self._announce(Notice("nothing is left to ask"))

    def _manifest_of_the_day(self) -> Manifest:
        """The manifest with the prices of the day, once it is kept; what is near its end, or past it, is announced."""
        before, today = self.folder.manifest, self._today
        subject = on_day(before.subject, today)
        others = {name: on_day(profile, today) for name, profile in before.others.items()}
        measured = subject if "self" in before.called else None
        if before.max_cost_usd is not None:
            check_cap(measured, others.values(), today, resumed=True)
        told = tuple(text for profile in (measured, *others.values()) if profile for text in notices(profile, today))
        manifest = before.model_copy(update={"subject": subject, "others": others, "notices": told})
        if manifest != before:
            self.folder.keep_manifest(manifest)
        for text in told:
            self._announce(Notice(text))
        return manifest

    def _checked(self, account: Account, journal: Journal) -> Account:
        """The account so far. What the replies that are here have cost was spent, whatever the ledger has lost: that is told."""
        files = self.folder.files
        known = max(journal.paid_nano_usd, received_nano_usd(files.received))
        if known <= account.spent_nano_usd:
            return account
        with Ledger(files.ledger) as ledger:
            ledger.missing(known - account.spent_nano_usd)
        spent, cost = (format_usd(amount / NANO, 4) for amount in (account.spent_nano_usd, known))
        lacks = f"lacks lines: it comes to {spent}, and the replies that are here cost {cost}"
        self._announce(Notice(f"{files.ledger}: {lacks}; {cost} count as spent"))
        return read_account(files.ledger)

    def _say_who_is_called(self, manifest: Manifest) -> None:
        measured = manifest.subject if "self" in manifest.called else None
        if line := called(measured, manifest.judges, manifest.auditors, manifest.others):
            self._announce(Notice(line))
        if (pack := in_place_of_shipped(manifest.pack)) is not None:
            self._announce(Notice(f"prompts of {manifest.pack}, in place of the shipped {pack}"))
        if manifest.cache and not knows_cache(Path(manifest.cache), key := user_key()):
            mark_cache(Path(manifest.cache), key)
            taken = "is not known as a cache of yours; its replies are taken for what the models said"
            self._announce(Notice(f"{manifest.cache}: {taken} ({as_option('cache=None')} for none)"))

    @asynccontextmanager
    async def _examiner(self, session: Session, manifest: Manifest, pack: Pack) -> AsyncIterator[Examines]:
        """Who examines the images: this process, or its workers."""
        if self._spread is not None:
            async with self._spread.open(session, manifest, pack) as images:
                yield images
            return
        if manifest.judged_anew:
            yield Rejudger.of(manifest, session, pack, answers_of(self.folder.path, manifest))
            return
        with ExitStack() as exits:
            key = user_key()
            known = exits.enter_context(KnownPictures(session.store.folder, key)) if key else None
            loader = exits.enter_context(closing(ImageLoader(policy_of(manifest.subject), known=known)))
            yield ImageExaminer.of(manifest, session, loader, pack)

    def _new_session(self) -> Session:
        manifest, files = self.folder.manifest, self.folder.files
        return Session(
            called_profiles(manifest),
            cache=Path(manifest.cache) if manifest.cache else files.replies,
            ledger_file=files.ledger,
            received_file=files.received,
            reserve_file=files.reserve,
            received_key=user_key(),
            run_id=manifest.run_id,
            max_cost_usd=manifest.max_cost_usd,
            questions=manifest.questions,
            seed=manifest.seed,
            strict_model=manifest.strict_model,
            adapted=manifest.adapted,
            batches_file=files.batches if self._spread is None else None,
            waits=replace(self._waits, window_s=3600 * manifest.batch_window_h),
            batch=manifest.batch,
            announce=self._announce,
            open_backend=open_backend if self._spread is None else unconnected,
        )

    async def _examine_all(self, work: Work, journal: Journal, images: Examines, session: Session) -> None:
        """Complete the examined images, then examine the others, in the run's order."""
        done, rule = work.done, work.rule

        async def complete(source: ImageSource) -> Examination:
            self._check_interrupted()
            examined = journal.kept[source.id]
            try:
                return await images.complete(source, examined, others=self._others(source))
            except Skipped as reason:
                self.skipped[source.id] = str(reason)
                return examined

        async def examine(source: ImageSource) -> Examination:
            self._check_interrupted()
            others = self._others(source)
            return await images.examine(source, suspect=source.id in work.failed_before, others=others)

        def keep(examination: Examination) -> None:
            if error := self._keep(lambda: journal.keep(examination)):
                raise RunStopped(error.args[0])  # its replies are stored: resuming makes it again, and pays nothing
            if rule and examination.image.id not in done:
                rule.add(examination)
            self._announce(ImageKept(examination))

        pending = work.pending
        try:
            if self.folder.files.batches.exists():
                await session.collect_batches()
            while self.folder.manifest.batch and pending and not session.ledger.account.served and not work.enough:
                # The first images' calls go alone: what is wrong with the key or the model shows now, and not tomorrow.
                await run(pending[:1], examine, keep, width=1)
                pending = pending[1:]
            if self.folder.manifest.batch:
                session.begin_batches()
                assert isinstance(images, ImageExaminer)
                images = images.repriced()
            width = self._width(rule=rule is not None)
            # Batches come back all at once, after hours: no more are begun than the rule is expected to take.
            rounds = Rounds(rule, FIRST_BATCHED_IMAGES) if rule and self.folder.manifest.batch else None
            wanted = (lambda: rounds.wanted) if rounds else None
            await run(work.to_complete, complete, keep, width=width)
            await run(pending, examine, keep, width=width, wanted=wanted, enough=lambda: work.enough)
        except RunStopped as error:
            self.why_stopped = "interrupted" if self._interrupted else error.spelled(as_option)
            self.exhausted = isinstance(error, BudgetExhausted)
        full = next((down for each in self.models if (down := each.replicas.down) and down.kind == "disk"), None)
        if full is not None:
            self.unwritable = True
            self.why_stopped = self.why_stopped or full.spelled(as_option)

    def _others(self, source: ImageSource) -> Others:
        """The images that may be shown in an image's place: those that follow it in the run's order, which the seed has drawn.

        So each is shown in one other's place, whatever is examined already, in which session, and by whom.
        """
        if "other" not in self.folder.manifest.controls:
            return NO_OTHERS
        images = self.folder.images
        place = self._places[source.id]
        following = range(place + 1, place + min(len(images), 1 + MOST_OTHERS))
        return Others([images[number % len(images)] for number in following])

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where each image stands in the run's order, by its id."""
        return {source.id: place for place, source in enumerate(self.folder.images)}

    def _width(self, *, rule: bool) -> int:
        """How many images are examined at once. rule: whether a rule may end the run."""
        manifest = self.folder.manifest
        if manifest.batch:
            return BATCHED_IMAGES
        if manifest.judged_anew:
            return max(manifest.profile(name).total_limits.concurrency for name in manifest.judges or ("self",))
        wanted = manifest.subject.total_limits.concurrency
        if rule:  # what is begun is finished, and paid: no more images than keep the slots busy with their answers
            wanted //= 2 * manifest.questions
        workers = 1 if self._spread is None else self._spread.workers
        return max(MIN_IMAGES_IN_FLIGHT * workers, wanted)

    def _check_interrupted(self) -> None:
        if self._interrupted:
            raise RunStopped("interrupted")

    def _score(self, tally: RunTally, account: Account) -> Findings:
        """The findings from all that is known; notes what is unfinished, and what is wrong if nothing was answered."""
        self.unfinished = tally.unfinished.in_words(self.skipped)
        self.only_files = tally.unfinished.only_files(self.skipped)
        self.only_replies = tally.unfinished.only_replies(self.skipped)
        for model in self.models:
            if self.refusal is None and (refusal := model.refusals.hopeless):
                self.refuses, self.refusal = model.profile.name, refusal
        for name, model in self._opened.items():
            down, answered = model.replicas.down, model.refusals.answered or name in self.folder.manifest.answered_by
            if self.mistake is None and down and down.kind in MISTAKES and not answered:
                self.mistake, self.mistaken = down.kind, model.profile
            elif self.lost is None and down and down.kind in LOST:
                self.lost = down.kind
        return tally.findings(account)
