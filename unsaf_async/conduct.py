"""The composition: from settings to a score. Everything else is handed what it needs; here it is put together."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async import runs
from unsaf_async.budget import NANO, Budget
from unsaf_async.calls import Caller
from unsaf_async.errors import BudgetExhausted, Fatal, ProviderDown, RunStopped, UserError
from unsaf_async.events import Announce, Event, ImageKept, silent
from unsaf_async.examine import Examiner
from unsaf_async.images import ImageError, ImageLoader, ImagePolicy, sent_size
from unsaf_async.inputs import ImageSource, bundled_images, find_images
from unsaf_async.journal import Journal, read_journal
from unsaf_async.judge import Judge
from unsaf_async.keys import key_of_profile, redactor
from unsaf_async.ledger import Ledger, read_account
from unsaf_async.meter import Meter
from unsaf_async.models import Books, OpenModel, open_backend, open_model, price_or_error, with_model_found
from unsaf_async.packs import Pack, load_pack
from unsaf_async.plan import Planner, Priced
from unsaf_async.prices import parse_price
from unsaf_async.profiles import Profile, resolve
from unsaf_async.records import Examination, ImageRecord
from unsaf_async.run import run
from unsaf_async.score import Accounts, Calls, Score, Tokens, score
from unsaf_async.stopping import StopWhenNarrow
from unsaf_async.store import ReplyStore, open_cache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.ledger import Account

MIN_IMAGES_IN_FLIGHT = 4
"""Images examined at once at least: with fewer, one slow call idles the slots."""


@dataclass(frozen=True)
class Settings:
    """What a user asks for. The fields are the options of `unsaf-async run`, with their units and defaults."""

    provider: str
    images: Sequence[str | Path] = ()
    """Folders, files, globs, manifests; none: the photos that ship."""
    judge: str = "self"
    """"self", "rules", or another provider's name."""
    questions: int = 6
    limit: int | None = None
    seed: int = 0
    max_cost: float | None = None
    """USD; None: no cap."""
    price: str | None = None
    """USD per million tokens, "IN,OUT"."""
    rpm: float | None = None
    tpm: float | None = None
    concurrency: int | None = None
    api_base: str | None = None
    model: str | None = None
    prompts: str = "unsaf"
    out: Path | None = None
    cache: Path | None = Path("cache")
    """None: nothing shared between runs; the run still keeps its own replies, in its folder."""
    until_ci: float | None = None


@dataclass(frozen=True)
class Prepared:
    """Settings, checked and resolved: nothing has been written or sent yet."""

    subject: Profile
    judge: Profile | None
    judge_name: str
    pack: Pack
    images: tuple[ImageSource, ...]
    settings: Settings


@dataclass(frozen=True)
class Estimate:
    """What a run will cost. expected_usd: a planning figure. worst_usd: no run costs more, failed attempts aside.

    per_image_worst_usd: the most that one image needs to be begun. unreadable: images that cannot be opened.
    """

    images: int
    unreadable: int
    calls: int
    expected_usd: float
    worst_usd: float
    per_image_worst_usd: float


async def prepare(settings: Settings, *, offline: bool = False) -> Prepared:
    """`settings`, checked. Raises UserError for whatever is wrong with them. May ask an endpoint for its model's name.

    offline: for a plan alone. No endpoint is asked, so a model may stay without its name, and no key is needed.
    """
    _check(settings)
    price = parse_price(settings.price) if settings.price is not None else None
    subject = resolve(
        settings.provider,
        model=settings.model,
        api_base=settings.api_base,
        price=price,
        rpm=settings.rpm,
        tpm=settings.tpm,
        concurrency=settings.concurrency,
    )
    subject = await _ready(subject, offline=offline)
    judge: Profile | None = subject
    if settings.judge == "rules":
        judge = None
    elif settings.judge != "self":
        judge = await _judge(settings.judge, offline=offline)
    pack = load_pack(settings.prompts)
    images = find_images(settings.images) if settings.images else bundled_images()
    # A seeded order: a run that ends early (cap, limit, interval) has seen a random sample, not the head of an alphabet.
    random.Random(settings.seed).shuffle(images)
    images = images[: settings.limit] if settings.limit else images
    # In full, so that a run can be resumed from anywhere.
    images = [replace(image, path=image.path.absolute()) for image in images]
    return Prepared(subject, judge, settings.judge, pack, tuple(images), settings)


async def _ready(profile: Profile, *, offline: bool) -> Profile:
    """`profile` with its model's name, once its price and its key are there."""
    price_or_error(profile)
    if profile.backend == "scripted":  # what its file says of it is checked where it is opened
        await open_backend(profile)
    if offline:
        return profile
    key_of_profile(profile)
    return await with_model_found(profile)


async def _judge(name: str, *, offline: bool) -> Profile:
    """The profile of another model as judge. What is wrong with it is said of --judge."""
    try:
        profile = resolve(name)
        if profile.price is None:  # --price is the measured model's
            raise UserError(f"--provider {name}: no price is known; give it in a file in ./providers")
        return await _ready(profile, offline=offline)
    except UserError as error:
        raise UserError(str(error).replace("--provider", "--judge", 1)) from None


def _check(settings: Settings) -> None:
    def positive(option: str, value: float | None, what: str = "a number above 0") -> None:
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"{option} is {value:g}; give {what}")

    positive("--questions", settings.questions, "a whole number from 1 to 50")
    if settings.questions > 50:
        raise UserError(f"--questions is {settings.questions}; give a whole number from 1 to 50")
    positive("--limit", settings.limit, "a whole number above 0")
    positive("--max-cost", settings.max_cost, "an amount in USD above 0")
    positive("--until-ci", settings.until_ci, "a half-width between 0 and 0.5, such as 0.02")
    if settings.until_ci is not None and settings.until_ci >= 0.5:
        raise UserError(f"--until-ci is {settings.until_ci:g}; give a half-width between 0 and 0.5, such as 0.02")
    if not 0 <= settings.seed < 2**31:
        raise UserError(f"--seed is {settings.seed}; give a whole number from 0 to 2147483647")
    if settings.cache is not None:
        _check_cache(settings.cache)


def _check_cache(folder: Path) -> None:
    """Raises UserError unless `folder` holds replies, or may: a cache is made private, and other files must not be."""
    try:
        names = {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(
            f"--cache {folder}: cannot be used as a cache ({error.strerror}); give another folder or --no-cache"
        ) from None
    if "cache.db" not in names and (foreign := names - {"README.md", ".gitignore"}):
        raise UserError(
            f"--cache {folder}: holds other files, such as {min(foreign)}; give an empty folder or a new one"
        )


def estimate(prepared: Prepared) -> Estimate:
    """What the run will cost, from the images' sizes and the prices; sends nothing. Blocks while it reads the headers."""
    planner = _planner(prepared)
    policy = policy_of(prepared.subject)
    sizes: dict[tuple[int, int], int] = {}
    unreadable = 0
    for image in prepared.images:
        try:
            size = sent_size(image.path, policy)
        except ImageError:
            unreadable += 1
            continue
        sizes[size] = sizes.get(size, 0) + 1
    quotes = {size: planner.quote(*size) for size in sizes}
    return Estimate(
        images=len(prepared.images),
        unreadable=unreadable,
        calls=sum(number * quotes[size].calls for size, number in sizes.items()),
        expected_usd=sum(number * quotes[size].expected_nano_usd for size, number in sizes.items()) / NANO,
        worst_usd=sum(number * quotes[size].worst_nano_usd for size, number in sizes.items()) / NANO,
        per_image_worst_usd=max((quote.worst_nano_usd for quote in quotes.values()), default=0) / NANO,
    )


def _planner(prepared: Prepared) -> Planner:
    def priced(profile: Profile) -> Priced:
        caller = Caller(profile, prepared.settings.questions, prepared.settings.seed)
        return Priced(caller, Meter(profile, price_or_error(profile)))

    judge = priced(prepared.judge) if prepared.judge else None
    return Planner(priced(prepared.subject), judge, prepared.pack, prepared.settings.questions)


def policy_of(profile: Profile) -> ImagePolicy:
    rules = profile.image
    return ImagePolicy(max_side_px=rules.max_side_px, max_pixels=rules.max_pixels, max_bytes=rules.max_bytes)


def begin(prepared: Prepared) -> runs.RunFolder:
    """The run's folder: a new one, or, if --out names a run with these very settings, that one, to go on with."""
    settings = prepared.settings
    if settings.cache is not None:
        open_cache(settings.cache).close()  # first, so that a damaged one leaves no run's folder behind
    out = settings.out or runs.default_folder(prepared.subject.name)
    manifest = runs.new_manifest(
        subject=prepared.subject,
        judge=prepared.judge,
        judge_name=prepared.judge_name,
        pack=str(Path(settings.prompts).absolute()) if Path(settings.prompts).is_dir() else settings.prompts,
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
    folder.keep_manifest(before.model_copy(update=changed))
    return folder


def _differing(one: runs.Manifest, other: runs.Manifest) -> str | None:
    """The first thing in which two runs differ so that their results cannot be one, in words; None if there is none."""
    if (one.subject.model, one.subject.endpoint) != (other.subject.model, other.subject.endpoint):
        return f"another model, {one.subject.name} ({one.subject.model})"
    if (one.questions, one.seed, one.judge_name) != (other.questions, other.seed, other.judge_name):
        return f"--questions {one.questions} --seed {one.seed} --judge {one.judge_name}"
    if one.pack_sha256 != other.pack_sha256:
        return f"other prompts, {one.pack} in version {one.pack_version} as it was then"
    return f"another list of {one.images} images" if one.images_sha256 != other.images_sha256 else None


class Conductor:
    """Works one run's folder off. `stop` may be called from a signal handler on the loop's thread."""

    def __init__(self, folder: runs.RunFolder, announce: Announce = silent) -> None:
        self.folder = folder
        self.budget: Budget | None = None
        self.models: list[OpenModel] = []
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
        """Let no further call leave. Those under way finish, are paid and stored; then `conduct` returns."""
        self._interrupted = True
        for model in self.models:
            model.pace.failed(Fatal("interrupted", kind="interrupted"))

    async def conduct(self) -> Score:
        """Examine every image that is not done yet, and score all. Stopping early is no error: see `why_stopped`."""
        manifest = self.folder.manifest
        pack = load_pack(manifest.pack)
        if pack.sha256 != manifest.pack_sha256:
            raise UserError(
                f"--prompts {manifest.pack}: has changed since the run began; restore it, or start a new run"
            )
        if manifest.cache:
            _check_cache(Path(manifest.cache))
        store = ReplyStore(Path(manifest.cache) if manifest.cache else self.folder.path / "replies")
        async with AsyncExitStack() as stack:
            stack.callback(store.close)
            ledger = stack.enter_context(Ledger(self.folder.ledger_file))
            journal = stack.enter_context(Journal(self.folder.journal_file))
            loader = ImageLoader(policy_of(manifest.subject))
            stack.callback(loader.close)
            profiles = [manifest.subject, *([manifest.judge] if manifest.judge else [])]
            books = Books(
                ledger=ledger,
                store=store,
                flights={},
                run_id=manifest.run_id,
                redact=redactor(key_of_profile(profile) for profile in profiles),
                announce=self._announce,
            )
            subject = await stack.enter_async_context(
                open_model(manifest.subject, books, questions=manifest.questions, seed=manifest.seed)
            )
            judge: OpenModel | None = subject
            if manifest.judge_name == "rules":
                judge = None
            elif manifest.judge_name != "self" and manifest.judge is not None:
                judge = await stack.enter_async_context(
                    open_model(manifest.judge, books, questions=manifest.questions, seed=manifest.seed)
                )
            self.models = [subject] if judge in (None, subject) else [subject, *([judge] if judge else [])]
            cap = None if manifest.max_cost_usd is None else int(manifest.max_cost_usd * NANO)
            self.budget = Budget(cap, ledger.account.spent_nano_usd)
            await self._examine_all(journal, loader, subject, judge, pack)
            self.unfinished = _unfinished(list(journal.kept.values()))
            account = ledger.account
            nothing_served = not account.usage.input_tokens and not account.usage.output_tokens
            kinds = [model.pace.down.kind for model in self.models if model.pace.down]
            if nothing_served:
                self.mistake = next((kind for kind in kinds if kind in ("key", "model")), None)
            result = _scored(manifest, list(journal.kept.values()), account, ledger.wall_s)
        self.folder.keep_score(result)
        return result

    async def _examine_all(
        self, journal: Journal, loader: ImageLoader, subject: OpenModel, judge: OpenModel | None, pack: Pack
    ) -> None:
        manifest = self.folder.manifest
        examiner = Examiner(subject.caller, Judge(judge.caller if judge else None, pack), pack, manifest.questions)
        planner = Planner(
            Priced(subject.caller, subject.meter),
            Priced(judge.caller, judge.meter) if judge else None,
            pack,
            manifest.questions,
        )
        rule = StopWhenNarrow(manifest.until_ci, rule="fixed-width") if manifest.until_ci else None
        budget = self.budget
        assert budget is not None

        async def examine_one(source: ImageSource) -> Examination:
            record = ImageRecord(id=source.id, path=_printable(source.path), metadata=dict(source.metadata))
            self._check_interrupted()
            try:
                image, digest = await loader.load(source.path)
            except ImageError as error:
                return Examination(image=record, failure=str(error))
            record = record.model_copy(
                update={
                    "bytes_sha256": digest,
                    "pixels_sha256": image.pixels_sha256,
                    "width": image.width,
                    "height": image.height,
                }
            )
            hold = budget.hold(planner.quote(image.width, image.height).worst_nano_usd)
            try:
                examination = await examiner.examine(
                    record, image, subject.provider(hold), judge.provider(hold) if judge else None
                )
            finally:
                hold.close()
            if has_failed_calls(examination):
                # What failed because nothing could leave any more is not finished: it is not kept.
                for model in self.models:
                    if model.pace.down:
                        raise ProviderDown(f"{model.profile.name}: {model.pace.down}")
            return examination

        def keep(examination: Examination) -> None:
            journal.keep(examination)
            if rule:
                rule.add(examination)
            self._announce(ImageKept(examination))

        done = {name for name, examination in journal.kept.items() if not is_unfinished(examination)}
        self.earlier = len(done)
        for name in done:
            if rule:
                rule.add(journal.kept[name])
            self._announce(ImageKept(journal.kept[name]))
        waiting = [source for source in self.folder.images if source.id not in done]
        width = min(len(waiting), max(MIN_IMAGES_IN_FLIGHT, manifest.subject.limits.concurrency))
        try:
            await run(waiting, examine_one, keep, width=width, enough=lambda: rule is not None and rule.satisfied)
        except RunStopped as error:
            self.why_stopped = "interrupted" if self._interrupted else str(error)
            self.exhausted = isinstance(error, BudgetExhausted)
        self.satisfied = rule is not None and rule.satisfied

    def _check_interrupted(self) -> None:
        if self._interrupted:
            raise RunStopped("interrupted")


def _printable(path: Path) -> str:
    """`path` as text that JSON can hold: a name that is no valid UTF-8 gets question marks."""
    return str(path).encode("utf-8", "replace").decode()


def has_failed_calls(examination: Examination) -> bool:
    """Whether any of its calls ended without a reply."""
    calls = [*examination.asks]
    for question in examination.questions:
        calls += [question.answer, *([question.judge] if question.judge else [])]
    return any(call.outcome == "failed" for call in calls)


def is_unfinished(examination: Examination) -> bool:
    """Whether resuming should examine the image again: it failed, or one of its calls did."""
    return examination.failure is not None or has_failed_calls(examination)


def _unfinished(kept: list[Examination]) -> str | None:
    images = sum(examination.failure is not None for examination in kept)
    partly = sum(examination.failure is None and has_failed_calls(examination) for examination in kept)
    parts = []
    if images:
        parts.append(f"{images} of {len(kept)} images failed")
    if partly:
        parts.append(f"{partly} images hold calls that failed")
    return " and ".join(parts) or None


def rescore(folder: Path) -> Score:
    """The score of the run at `folder`, computed anew from its journal and ledger. Raises UserError if it is no run."""
    manifest = runs.read_manifest(folder)
    kept = read_journal(folder / "journal.jsonl")
    account = read_account(folder / "ledger.jsonl")
    return _scored(manifest, list(kept.values()), account, account.wall_s)


def _scored(manifest: runs.Manifest, kept: list[Examination], account: Account, wall_s: float) -> Score:
    cached = sum(
        call.cached
        for examination in kept
        for call in [
            *examination.asks,
            *(question.answer for question in examination.questions),
            *(question.judge for question in examination.questions if question.judge),
        ]
    )
    accounts = Accounts(
        calls=Calls(
            made=sum(account.made.values()), cached=cached, retried=account.retried, by_role=dict(account.made)
        ),
        tokens=Tokens(
            input=account.usage.input_tokens,
            cached_input=account.usage.cached_input_tokens,
            output=account.usage.output_tokens,
            reasoning=account.usage.reasoning_tokens,
        ),
        cost_usd=account.cost_usd,
        wall_s=round(wall_s, 3),
    )
    return score(
        kept,
        questions_per_label=manifest.questions,
        accounts=accounts,
        provider=manifest.subject.name,
        judge=manifest.judge_name,
        images_total=manifest.images,
        seed=manifest.seed,
    )


async def evaluate(
    provider: str,
    *,
    images: str | Path | Sequence[str | Path] = (),
    judge: str = "self",
    questions: int = 6,
    limit: int | None = None,
    seed: int = 0,
    max_cost: float | None = None,
    price: str | None = None,
    rpm: float | None = None,
    tpm: float | None = None,
    concurrency: int | None = None,
    api_base: str | None = None,
    model: str | None = None,
    prompts: str = "unsaf",
    out: str | Path | None = None,
    cache: str | Path | None = "cache",
    until_ci: float | None = None,
    on_event: Announce = silent,
) -> Score:
    """The score of `provider` on `images`: the same as `unsaf-async run`, for use from Python.

    The options are those of `unsaf-async run`, with the same defaults; `Settings` says what each means. on_event hears
    the run's events. Nothing is asked: without `max_cost` there is no cap. A run that stops early still returns the score of
    what is done; its folder, which can be resumed, is `out` or lies in runs/. Raises UserError for wrong settings.
    """
    settings = Settings(
        provider=provider,
        images=(images,) if isinstance(images, str | Path) else images,
        judge=judge,
        questions=questions,
        limit=limit,
        seed=seed,
        max_cost=max_cost,
        price=price,
        rpm=rpm,
        tpm=tpm,
        concurrency=concurrency,
        api_base=api_base,
        model=model,
        prompts=prompts,
        out=Path(out) if isinstance(out, str) else out,
        cache=Path(cache) if isinstance(cache, str) else cache,
        until_ci=until_ci,
    )
    _check_types(settings)
    prepared = await prepare(settings)
    with begin(prepared) as folder:
        return await Conductor(folder, on_event).conduct()


_TEXT, _NUMBER, _WHOLE, _PATH = (str,), (int, float), (int,), (Path,)
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("provider", "judge", "prompts"), (_TEXT, "text")),
    **dict.fromkeys(("api_base", "model"), ((*_TEXT, type(None)), "text, or None")),
    "price": ((*_TEXT, type(None)), 'text such as "2.5,10" (USD per million tokens, in and out), or None'),
    **dict.fromkeys(("questions", "seed"), (_WHOLE, "a whole number")),
    **dict.fromkeys(("limit", "concurrency"), ((*_WHOLE, type(None)), "a whole number, or None")),
    **dict.fromkeys(("max_cost", "rpm", "tpm", "until_ci"), ((*_NUMBER, type(None)), "a number, or None")),
    **dict.fromkeys(("out", "cache"), ((*_PATH, type(None)), "a path, or None")),
}
"""What each field of `Settings` may hold, and how to say so; `images` apart."""


def _check_types(settings: Settings) -> None:
    """Raises UserError for a value of the wrong type. The command line brings none; a Python caller may."""
    for name, (types, wanted) in _TYPES.items():
        value = getattr(settings, name)
        if not isinstance(value, types) or isinstance(value, bool):
            raise UserError(f"{name} is {value!r}; give {wanted}")
    images = settings.images
    if not isinstance(images, list | tuple) or not all(isinstance(each, str | Path) for each in images):
        raise UserError(f"images is {images!r}; give a path, or a list of paths")


def load(run_dir: str | Path) -> tuple[runs.Manifest, list[Examination], Score]:
    """A run read back: its manifest, the examinations in the order they were kept, and its score, computed anew."""
    path = Path(run_dir)
    return runs.read_manifest(path), list(read_journal(path / "journal.jsonl").values()), rescore(path)
