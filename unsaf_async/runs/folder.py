"""A run's folder: what was asked for, what happened, what came out.

Asked for: manifest.json, images.jsonl. Happened: ledger.jsonl, journal.jsonl. Came out: score.json. Everything that a
repetition needs stands in the manifest; no key ever does.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import ELOOP
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import platform, python_version
from stat import S_ISREG
from typing import TYPE_CHECKING, Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from unsaf_async.errors import UserError
from unsaf_async.examine.controls import Wanted
from unsaf_async.examine.extras import ExtraMeasures
from unsaf_async.files import PRIVATE, check_one_name, drafts, make_private_folder, write_whole
from unsaf_async.inputs.sources import ImageSource
from unsaf_async.prompts import short_name
from unsaf_async.providers.profile import Profile
from unsaf_async.records import ControlKind, Form, GivenQuestion, ImagePart, Number, Record, Usd, why_invalid
from unsaf_async.runs.listing import MANIFEST, which_run
from unsaf_async.runs.signature import canonical, is_signed, signature_of, user_key
from unsaf_async.runs.stopped import Stopped
from unsaf_async.score.calibration import CalibrationFile
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from unsaf_async.score.run_score import Score


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of the run at `folder`. Their names are in this class and nowhere else but MANIFEST."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """What was asked for (`Manifest`)."""
        return self.folder / MANIFEST

    @property
    def images(self) -> Path:
        """The list of images, in the order of admission, with their given questions: one line an image."""
        return self.folder / "images.jsonl"

    @property
    def journal(self) -> Path:
        """The results: one line a finished image (`Examination`)."""
        return self.folder / "journal.jsonl"

    @property
    def ledger(self) -> Path:
        """The account: one line before and one after each attempt."""
        return self.folder / "ledger.jsonl"

    @property
    def received(self) -> Path:
        """Replies that are not in the store yet; there while a session is open, or was killed."""
        return self.folder / "received.jsonl"

    @property
    def batches(self) -> Path:
        """Batches that are with a vendor; there once a session had some."""
        return self.folder / "batches.jsonl"

    @property
    def reserve(self) -> Path:
        """Room for what is under way when the disk is full; there while a session is open, or was killed."""
        return self.folder / "reserve"

    @property
    def replies(self) -> Path:
        """The folder of stored replies of a run without a shared cache."""
        return self.folder / "replies"

    @property
    def labels(self) -> Path:
        """Trusted labels of questions, one line each; there once somebody has given some."""
        return self.folder / "labels.jsonl"

    @property
    def score(self) -> Path:
        """What came out (`Findings`)."""
        return self.folder / "score.json"

    @property
    def basis(self) -> Path:
        """What score.json was computed from (`Basis`)."""
        return self.folder / "basis.json"

    @property
    def report(self) -> Path:
        """The report for people."""
        return self.folder / "report.html"

    @property
    def judged(self) -> Path:
        """The folder of the runs that judge this run's answers anew, each by its name."""
        return self.folder / "judged"

    @property
    def lock(self) -> Path:
        """Locked while a process has the run open."""
        return self.folder / "lock"

    @property
    def beginnings(self) -> set[Path]:
        """What a process that was killed while it made the folder may leave there, the lock first of all."""
        return {self.lock, self.images, *drafts(self.images), *drafts(self.manifest)}

    def check_kinds(self) -> None:
        """Checks that what is read from the folder is files, or links to files: a pipe never ends, nor does a device.

        Raises:
            UserError: One of them is something else.
        """
        files = (self.manifest, self.images, self.journal, self.ledger, self.received, self.score, self.basis)
        for file in (*files, self.batches, self.labels):
            with suppress(OSError):
                if not S_ISREG(file.stat().st_mode):
                    raise UserError(f"{file}: is no file; restore it, or start a new run")

    def check_links(self) -> None:
        """Checks that what is written to goes to these very files: no link in the folder leads it elsewhere.

        Raises:
            OSError: One of them is a link, or has other names.
        """
        for file in (self.lock, self.journal, self.ledger, self.received, self.labels):
            check_one_name(file)
        if self.replies.is_symlink():
            raise OSError(ELOOP, "it is a link, and nothing is written through links", str(self.replies))


class Source(Record):
    """Where questions are from that the model did not write."""

    kind: Literal["labelled", "run"]
    """A labelled set, or another run's questions."""
    name: str
    """The file's or folder's, or the provider of the other run."""
    path: str
    format: str = ""
    """The labelled set's."""
    yes_no: bool = False
    """Whether all of its questions are answered by yes or no."""
    skipped: dict[str, int] = Field(default_factory=dict)
    """How many of its rows are skipped, by reason."""
    run_id: str = ""
    """The other run's."""


class JudgedAnew(Record):
    """Whose answers a run judges that asks and answers nothing itself. That run's folder is the one that holds `judged/`."""

    run_id: str
    """The other run's."""
    left_out: Number = 0
    """How many of its images have no whole answers, and are not among this run's."""
    stopped_by_rule: bool = False
    """Whether a rule that looked at UnF1 ended it (`until_ci`)."""
    rubric: str = ""
    """The judging prompt, where it is not that of the run's prompts."""
    rubric_name: str = ""
    """What the user calls that."""


def judge_named(subject: Profile, judges: Sequence[str]) -> str:
    """The name of a run's judge where it stands alone.

    Args:
        subject: The measured model, for which "self" stands.
        judges: The judges' names; (): the rules alone.

    Returns:
        The names, joined by " + "; "rules" where only the rules judge.
    """
    return " + ".join(subject.name if name == "self" else name for name in judges) or "rules"


class Manifest(Record):
    """What a run is: enough to repeat it."""

    format: Literal[2] = 2
    """Of this folder's files."""
    run_id: str
    created: str
    """ISO 8601, UTC."""
    versions: dict[str, str]
    """unsaf-async, python, litellm, platform."""
    subject: Profile
    """The measured model: limits, parameters and prices frozen as they were."""
    judges: tuple[str, ...]
    """Who judges what the rules leave open, by name; "self": the measured model. () where only the rules judge."""
    judge_together: Annotated[int, Field(ge=1, le=1000)] = 1
    """About how many responses of an image a judge is asked in one call, at most."""
    judge_together_sha256: str = ""
    """Of the prompt for that; "" where each response is judged alone."""
    auditors: tuple[str, ...] = ()
    """Who says whether the images answer the questions, by name."""
    grounded: bool = False
    """Whether the first judge, seeing the image, says if answers are borne out."""
    confidence: bool = False
    """Whether the model is asked how sure it is of each answer."""
    samples: Number = 0
    """How many further draws of each answer there are."""
    controls: tuple[ControlKind, ...] = ()
    """What is shown in an image's place where questions are asked again as controls; () without controls."""
    controls_per_image: Annotated[int, Field(ge=1, le=50)] = 1
    """How many questions of an image are asked again with each of these."""
    others: dict[str, Profile] = Field(default_factory=dict)
    """The other models among judges and auditors, by name, frozen like the subject."""
    source: Source | None = None
    """Where the questions are from; None: the model writes them."""
    calibration: CalibrationFile | None = None
    """What is known of the judge's errors."""
    judged_anew: JudgedAnew | None = None
    """Whose answers are judged; None: the run asks and answers itself."""
    pack: str
    """The prompt pack's name or folder."""
    pack_version: str
    pack_sha256: str
    """Of its templates."""
    questions: Annotated[int, Field(ge=1, le=1000)]
    """K: per instruction."""
    form: Form = "open"
    """How questions are put."""
    seed: Number
    max_cost_usd: Usd | None
    strict_model: bool = False
    """Whether the run stops when another model answers than the one asked."""
    answered_by: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Which models answered, as in the score; {} before the run's first session has ended."""
    adapted: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Which parameters the models turned out not to take, by the name of whom was asked ("self": the measured model): the
    endpoint's words by the parameter. Their requests went without; `max_tokens` went under its other name."""
    keys_hidden: dict[str, Number] = Field(default_factory=dict)
    """How many replies held a key that their server was sent, by who was asked; a mark stands in the keys' place."""
    left_out: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Which endpoints were left out, be it for a while, by the name of whom was asked ("self": the measured model): why, by the
    endpoint's address."""
    until_ci: Annotated[float, Field(gt=0, lt=1)] | None
    """The half-width at which no more images are admitted; None: all images."""
    prompt_cache: Literal["auto", "off"] = "auto"
    """Whether calls are sent so that the providers' caches of prompts make them cheaper; the models' profiles say how."""
    anytime: bool = False
    """Whether by the rule whose interval holds at any number of images, and not only where the rule stops."""
    batch: bool = False
    """Whether calls go in batches, to models whose vendors have some."""
    batch_window_h: Annotated[float, Field(gt=0, le=48, allow_inf_nan=False)] = 24.0
    """How many hours a batch is waited for."""
    pilot: bool = False
    """Whether it examines the first images of a run only to quote what the others will cost."""
    images: Number
    images_sha256: str
    """Of images.jsonl: the ids, paths and given questions in the order of admission."""
    cache: str
    """The folder of stored replies."""
    notices: tuple[str, ...] = ()
    """What the user was told of the models before the last session: what is near its end or past it."""
    stopped: Stopped | None = None
    """Why the last session ended before the last image; None if it did not, while one goes on, and after one that was killed."""
    signature: str = ""
    """Of all other fields, by whoever began the run or trusted its folder, with a key of their own; "": by nobody."""

    @property
    def answering_run_id(self) -> str:
        """The run that obtained the answers: this one, or that whose answers it judges anew."""
        return self.judged_anew.run_id if self.judged_anew else self.run_id

    @property
    def judge_name(self) -> str:
        """Who judges, in one word or several."""
        return " + ".join(self.judges) or "rules"

    @property
    def judge_words(self) -> str:
        """Who judges, the measured model by its name, and by which rubric where it has one of its own."""
        rubric = self.judged_anew.rubric_name if self.judged_anew else ""
        judge = judge_named(self.subject, self.judges)
        return f"{judge} by {short_name(rubric)}" if rubric else judge

    @property
    def called(self) -> tuple[str, ...]:
        """Whom the run's calls go to, by name: "self" first, if it is called."""
        whom = self.judges if self.judged_anew else ("self", *self.judges, *self.auditors)
        return tuple(sorted(dict.fromkeys(whom), key=lambda name: name != "self"))

    def profile(self, name: str) -> Profile:
        """The profile of a judge or auditor.

        Args:
            name: One of `judges` and `auditors`.

        Returns:
            The profile; of "self", the measured model's.

        Raises:
            KeyError: The run has no such judge or auditor.
        """
        return self.subject if name == "self" else self.others[name]

    @property
    def gives_logprobs(self) -> bool:
        """Whether the measured model is asked for log-probabilities: its profile says so, and it has not refused."""
        return self.subject.takes.logprobs and "logprobs" not in self.adapted.get("self", {})

    @property
    def extras(self) -> ExtraMeasures:
        """The extra measures that the run takes: where it judges another's answers, only verdicts on the controls they bring."""
        if self.judged_anew:
            return ExtraMeasures(verdicts=bool(self.controls))
        return ExtraMeasures(
            auditors=self.auditors,
            grounded=self.grounded,
            stated=self.confidence,
            p_true=self.confidence and self.gives_logprobs,
            samples=self.samples,
            controls=Wanted(self.controls, self.controls_per_image, self.seed),
            form=self.form,
        )


class RunFolder:
    """An opened run folder, locked against a second process. Close it, or use it as a context manager."""

    def __init__(
        self, path: Path, manifest: Manifest, images: Sequence[ImageSource], lock: FileLock, *, own: bool
    ) -> None:
        """A folder that was made or opened.

        Args:
            path: Where it lies.
            manifest: The run's.
            images: In the order of admission.
            lock: Held.
            own: Whether it is known as this user's own: its manifest is signed by its user whenever it is kept.
        """
        self.path = path
        self.manifest = manifest
        self.images = images
        self.own = own
        self.authorised = own
        """Whether its manifest may say who is called; see `runs.authority`."""
        self._lock = lock

    @property
    def files(self) -> RunFiles:
        """Its files."""
        return RunFiles(self.path)

    def keep_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest, in memory and on disk.

        Args:
            manifest: The same run's with other settings, as a resumed run may get another cap.
        """
        self.manifest = manifest
        write_whole(self.files.manifest, _manifest_text(manifest, own=self.own))

    def authorise(self, manifest: Manifest, *, own: bool) -> None:
        """Let the run call who a manifest names. Nothing is written.

        Args:
            manifest: The same run's, whose models, images and cache are the user's, or were trusted.
            own: Whether the folder counts as the user's own from now on.
        """
        self.manifest = manifest
        self.own = own
        self.authorised = True

    def keep_score(self, score: Score) -> None:
        """Write score.json.

        Args:
            score: The run's findings, or its score alone.
        """
        write_whole(self.files.score, score.model_dump_json(indent=2) + "\n")

    def close(self) -> None:
        """Give up the lock."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def new_manifest(**fields: Any) -> Manifest:
    """A manifest with a fresh run id, the time and the versions filled in.

    Args:
        **fields: The other fields of `Manifest`.

    Returns:
        The manifest of a new run.
    """
    return Manifest(
        run_id=secrets.token_hex(8),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "unsaf-async": _version("unsaf-async"),
            "python": python_version(),
            "litellm": _version("litellm"),
            "platform": platform(terse=True),
        },
        **fields,
    )


def images_sha256(images: Sequence[ImageSource]) -> str:
    """The hash of an image list.

    Args:
        images: In the order of admission.

    Returns:
        The sha256 of images.jsonl, in hexadecimal: of the ids, paths and given questions in order.
    """
    return sha256(_image_lines(images)).hexdigest()


def create(path: Path, manifest: Manifest, images: Sequence[ImageSource], *, own: bool = True) -> RunFolder:
    """A new run's folder.

    Args:
        path: Where it goes; folders above it are made. It must be empty, or hold only what a killed process left of `create`.
        manifest: The run's.
        images: In the order of admission.
        own: Whether the user vouches for all that it says, so that it is signed.

    Returns:
        The folder, locked.

    Raises:
        UserError: Something is there already, or nothing can be written.
    """
    files = RunFiles(path)
    try:
        make_private_folder(path)
        found = set(path.iterdir())
        if found and not (files.lock in found and found <= files.beginnings):
            raise UserError(f"{path}: is not empty and holds no such run; give another folder", field="out")
        lock = _lock(path)
        write_whole(files.images, _image_lines(images).decode())
        write_whole(files.manifest, _manifest_text(manifest, own=own))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); give another folder", field="out") from None
    return RunFolder(path, manifest, images, lock, own=own)


def _manifest_text(manifest: Manifest, *, own: bool) -> str:
    """The manifest's file. own: whether it is signed."""
    plain = manifest.model_dump_json()
    signature = signature_of(plain.encode(), user_key()) if own else ""
    return manifest.model_copy(update={"signature": signature}).model_dump_json(indent=2) + "\n"


def read_manifest(path: Path) -> Manifest:
    """The manifest of the run at `path`.

    Args:
        path: The run's folder.

    Returns:
        The manifest.

    Raises:
        UserError: There is none, or it is no manifest.
    """
    return read_signed(path)[0]


def read_signed(path: Path) -> tuple[Manifest, bool]:
    """The manifest of the run at `path`, and whose it is.

    Args:
        path: The run's folder.

    Returns:
        (manifest, whether this user's key has signed it).

    Raises:
        UserError: There is none, or it is no manifest.
    """
    RunFiles(path).check_kinds()
    file = RunFiles(path).manifest
    try:
        data = file.read_bytes()
        manifest = _without_signature(data)
        # What is signed is the canonical form; where a key stands twice, it and the file may say different things.
        signed = is_signed(data, user_key()) and manifest == _without_signature(canonical(data))
        return manifest, signed
    except OSError:
        raise UserError(f"{path}: is no run's folder (it has no manifest.json); {which_run(path)}") from None
    except ValidationError as error:
        raise UserError(f"{file}: is no manifest ({why_invalid(error)}); restore it, or start a new run") from None


def _without_signature(data: bytes) -> Manifest:
    """A manifest as it is worked with: its signature is its file's, and written anew with it."""
    return Manifest.model_validate_json(data).model_copy(update={"signature": ""})


def called_by_model(subject: Profile) -> str:
    """A model's name where several are compared: two models of one profile have two names.

    Args:
        subject: The measured model.

    Returns:
        "gpt-4o", or "vllm/Qwen2.5-VL-7B" where the model's id says more than the profile's name.
    """
    name, model = subject.name, subject.model
    return name if not model or model == name or model.endswith(f"/{name}") else f"{name}/{model}"


def called_by_folder(folder: Path, manifest: Manifest) -> str:
    """What tells a run from others of its model: its folder's name; of a judging, its run's and who judges.

    Args:
        folder: The run's.
        manifest: The run's.

    Returns:
        "mine", or "mine, judged by claude-sonnet-5-5".
    """
    if manifest.judged_anew is None:
        return folder.name or folder.absolute().name
    return f"{folder.absolute().parent.parent.name}, judged by {manifest.judge_words}"


def reopen(path: Path) -> RunFolder:
    """The run at `path`, to go on with.

    Args:
        path: The run's folder.

    Returns:
        The folder, locked.

    Raises:
        UserError: It is no run, its image list has changed, or another process has it open.
    """
    read_manifest(path)  # before the lock, which makes a file
    lock = _lock(path)
    try:
        manifest, own = read_signed(path)
        images = read_images(path, manifest)
    except BaseException:
        lock.release()
        raise
    return RunFolder(path, manifest, images, lock, own=own)


def read_images(path: Path, manifest: Manifest) -> list[ImageSource]:
    """The image list of the run at `path`, in the order of admission.

    Args:
        path: The run's folder.
        manifest: The run's, with the list's hash.

    Returns:
        The images with their given questions.

    Raises:
        UserError: The list cannot be read, or is not the one that the run began with.
    """
    file = RunFiles(path).images
    images = _parsed_images(file)
    if images_sha256(images) != manifest.images_sha256:
        raise UserError(f"{file}: is not the list that the run began with; start a new run")
    return images


def _parsed_images(file: Path) -> list[ImageSource]:
    images: list[ImageSource] = []
    try:
        for line in file.read_bytes().splitlines():
            # Not orjson: names may hold lone surrogates.
            images.append(_image_of(json.loads(line)))  # noqa: PERF401 - their number names a broken line
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error}); start a new run") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"line {len(images) + 1} cannot be read ({one_line(str(error), 200)})"
        raise UserError(f"{file}: {why}; restore it, or start a new run") from None
    return images


def _image_of(line: Any) -> ImageSource:
    """The image of a line. Raises ValueError, KeyError or TypeError where it is none."""
    metadata, given, digest = line["metadata"], line.get("given", []), line.get("file_sha256")
    if not isinstance(line["id"], str) or not isinstance(metadata, dict) or not isinstance(given, list):
        raise ValueError("its id, its metadata or its questions are of another type")
    if not isinstance(digest, str | None):
        raise ValueError(f"file_sha256 is {digest!r:.60}")
    questions = tuple(GivenQuestion.model_validate(each) for each in given)
    part = ImagePart.model_validate(line["part"]) if "part" in line else None
    return ImageSource(line["id"], Path(line["path"]), metadata, questions, digest, part)


def _image_lines(images: Sequence[ImageSource]) -> bytes:
    def line(image: ImageSource) -> str:
        fields: dict[str, object] = {"id": image.id, "path": str(image.path), "metadata": dict(image.metadata)}
        if image.given:
            fields["given"] = [each.model_dump(mode="json", exclude_defaults=True) for each in image.given]
        if image.file_sha256:
            fields["file_sha256"] = image.file_sha256
        if image.part is not None:
            fields["part"] = image.part.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(fields, sort_keys=True) + "\n"

    return "".join(map(line, images)).encode()


def _lock(path: Path) -> FileLock:
    files = RunFiles(path)
    lock = FileLock(files.lock, mode=PRIVATE)
    try:
        files.check_links()
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(f"{path}: another process is working on this run; wait for it, or stop it") from None
    except OSError as error:
        where = error.filename or path
        raise UserError(f"{where}: cannot be written ({error.strerror}); check its permissions") from None
    with suppress(OSError):
        for left in (*drafts(files.images), *drafts(files.manifest), *drafts(files.score)):
            left.unlink(missing_ok=True)
    return lock


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
