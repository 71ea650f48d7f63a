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
from unsaf_async.calls.ledger import Ledger, read_account
from unsaf_async.calls.session import Session
from unsaf_async.calls.store import received_nano_usd
from unsaf_async.errors import BudgetExhausted, Fatal, RunStopped, UserError, as_option
from unsaf_async.events import Announce, EndpointNotice, Event, ImageKept, KeyHidden, Notice, ParameterRefused, silent
from unsaf_async.inputs.known import KnownPictures
from unsaf_async.inputs.loader import ImageLoader
from unsaf_async.prompts import in_place_of_shipped
from unsaf_async.providers.addresses import called
from unsaf_async.providers.lifetime import check_cap, notices, on_day, today_utc
from unsaf_async.runs.authority import authorise
from unsaf_async.runs.basis import Basis, keep_basis, saved_score
from unsaf_async.runs.journal import Journal, Kept
from unsaf_async.runs.one_image import NO_OTHERS, ImageExaminer, Others, Skipped
from unsaf_async.runs.prepare import check_cache, policy_of
from unsaf_async.runs.rejudger import Rejudger
from unsaf_async.runs.result import RunTally
from unsaf_async.runs.saved import answers_of, pack_of
from unsaf_async.runs.signature import knows_cache, mark_cache, user_key
from unsaf_async.runs.stopped import STOP_MEANINGS, StopKind, Stopped
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


def called_profiles(manifest: Manifest) -> dict[str, Profile]:
    """The models that a run calls.

    Args:
        manifest: The run's.

    Returns:
        The measured model as "self", if it is called, and those of the others that judge or audit, by their names.
    """
    return {name: manifest.profile(name) for name in manifest.called}


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
                self._keep_stopped(None)  # of a session that is killed nobody knows
                self._say_who_is_called(manifest)
                async with self._new_session() as session:
                    self.models, self.budget = list(session.models.values()), session.budget
                    self._session, self._opened = session, session.models
                    async with self._examiner(session, manifest, pack) as images:
                        await self._examine_all(work, journal, images, session)
                account = session.ledger.account  # of the closed ledger: as it will be read back
            self._keep_keys_hidden()
            self.satisfied = work.enough
            self._keep_stopped(self._stopped(all_done=len(journal.kept) >= manifest.images))
            tally = work.tally or RunTally.of(self.folder.manifest, journal.kept, labels)
            result = self._score(tally, account)
        self._keep_result(result)
        return result

    def ended_by(self, result: Findings, kind: StopKind, why: str) -> Findings:
        """The findings of the run, which has ended, once another reason for that is known than the run itself could see.

        Args:
            result: As `run` returned them.
            kind: The reason.
            why: The same in one line.

        Returns:
            The findings with it; the run's folder has it, too.
        """
        self.why_stopped = why
        self._keep_stopped(Stopped(kind=kind, why=why))
        result = result.model_copy(update={"stopped": self.folder.manifest.stopped})
        self._keep_result(result)
        return result

    def _stopped(self, *, all_done: bool) -> Stopped | None:
        """Why the session ended before the last image, if it did."""
        if self.why_stopped is None:
            if not self.satisfied or all_done:
                return None
            return Stopped(kind="until_ci", why=STOP_MEANINGS["until_ci"])
        downs = [down for model in self.models if (down := model.replicas.down)]
        kind: str = "other"
        if self._interrupted:
            kind = "interrupted"
        elif self.exhausted:
            kind = "cap"
        elif self.unwritable:
            kind = "disk"
        elif downs:
            kind = downs[0].kind
        return Stopped(kind=kind if kind in STOP_MEANINGS else "other", why=self.why_stopped)

    def _keep_stopped(self, stopped: Stopped | None) -> None:
        if self.folder.manifest.stopped != stopped:
            self._keep_in_manifest(stopped=stopped)

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
        self._announce(Notice(f"{self.folder.path}: nothing is left to ask"))

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
        tally.manifest = self.folder.manifest  # as it is now
        return tally.findings(account)
