"""A run read back from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from unsaf_async.calls.batches.register import open_batches
from unsaf_async.calls.budget import NANO
from unsaf_async.calls.ledger import read_account
from unsaf_async.calls.store import received_nano_usd
from unsaf_async.errors import UserError
from unsaf_async.examine.examiner import is_unfinished
from unsaf_async.prompts import load_pack
from unsaf_async.runs.basis import saved_score
from unsaf_async.runs.folder import RunFiles, read_images, read_manifest, read_signed
from unsaf_async.runs.journal import Kept, paid_nano_usd, read_journal
from unsaf_async.runs.listing import exists, newest_first, runs_in
from unsaf_async.runs.result import RunTally
from unsaf_async.runs.signature import user_key
from unsaf_async.runs.trusted_labels import read_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from unsaf_async.calls.ledger import Account
    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.prompts import Pack
    from unsaf_async.records import Examination
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest


@dataclass(frozen=True)
class Held:
    """What is held for calls in batches that are with vendors: at their worst, until their replies are here.

    In the account these are attempts of unknown fate.
    """

    batches: int = 0
    calls: int = 0
    usd: float = 0.0


NOTHING_HELD = Held()


@dataclass(frozen=True)
class SavedRun:
    """The run in `folder`. Each part is read when it is first asked for, and once; a part that is not asked for costs nothing.

    Takes no lock and writes nothing. A folder in which no run has begun yet has no manifest (UserError), no examinations and an
    account of 0.
    """

    folder: Path

    @property
    def files(self) -> RunFiles:
        """The names of its files."""
        return RunFiles(self.folder)

    @cached_property
    def manifest(self) -> Manifest:
        """What was asked for. Raises UserError if the folder holds no run."""
        return read_manifest(self.folder)

    @cached_property
    def own(self) -> bool:
        """Whether its manifest is signed with this user's key. Raises UserError if the folder holds no run."""
        manifest, signed = read_signed(self.folder)
        return signed and manifest == self.manifest

    @cached_property
    def origin(self) -> str:
        """What is said of a run that is not known as the user's own: whose figures they are; "" of the user's own."""
        if self.own or user_key() is None:
            return ""
        return "not known as a run of yours: its figures are as its files have them, and nothing shows who made them"

    @cached_property
    def images(self) -> tuple[ImageSource, ...]:
        """The images that were asked for, in the order of admission. Raises UserError if the list has changed."""
        return tuple(read_images(self.folder, self.manifest))

    @cached_property
    def objects(self) -> frozenset[str]:
        """The addresses in an object store that the user's own list names: what the signed manifest vouches for.

        None of a run that is not known as the user's own. Raises UserError if the list has changed.
        """
        return frozenset(image.address for image in self.images if image.is_object) if self.own else frozenset()

    @cached_property
    def kept(self) -> Kept:
        """The last examination of each image, by its id, failed ones too, in the order of the journal.

        Raises UserError for a line that is no examination, or none of the run's images. Each is read anew when it is asked for: a
        run of any size fits.
        """
        return Kept(self.files.journal, self._known)

    @cached_property
    def examinations(self) -> tuple[Examination, ...]:
        """As `kept`, all in memory (50 kB an image of 14 questions); () if there is none."""
        return tuple(read_journal(self.files.journal, self._known).values())

    def in_order(self) -> Iterator[Examination]:
        """The last examination of each image as `kept` has them, in the order of admission: the same however the run went.

        Yields:
            Each read when its turn comes; in the order of the journal if the list of images is gone or damaged.

        Raises:
            UserError: A line is no examination, or none of the run's images.
        """
        kept = self.kept
        return kept.in_order(kept if self._known is None else (name for name in self._known if name in kept))

    @cached_property
    def _known(self) -> dict[str, None] | None:
        """The images' ids in the order of admission; None if their list is gone or damaged, and says nothing of the journal."""
        try:
            return dict.fromkeys(each.id for each in read_images(self.folder, self.manifest))
        except UserError:
            return None

    @cached_property
    def account(self) -> Account:
        """What its calls have cost so far. Raises UserError for a line that is no ledger's."""
        return read_account(self.files.ledger)

    @cached_property
    def held(self) -> Held:
        """What of its cost is held for calls in batches. Raises UserError for a line that is no list's of batches."""
        batches = open_batches(self.files.batches)
        numbers = {row.number for batch in batches.values() for row in batch.rows} if batches else set()
        worst = [self.account.lost[number] for number in numbers if number in self.account.lost]
        return Held(len(batches), len(worst), sum(worst) / NANO)

    @cached_property
    def spent_usd(self) -> float:
        """What its calls have cost so far in USD: what the replies that are here cost at least, whatever its ledger has lost.

        Reads the journal, too. Raises UserError for a line that is no ledger's, or no examination.
        """
        paid = sum(paid_nano_usd(each) for each in self.kept.in_order(self.kept))
        return max(self.account.spent_nano_usd, paid, received_nano_usd(self.files.received)) / NANO

    @cached_property
    def score(self) -> Findings | None:
        """Its score.json, if it is that of its journal, ledger and manifest, by their digests; None if it is not."""
        kept = saved_score(self.files, self.manifest)
        return kept[0] if kept else None

    @cached_property
    def findings(self) -> Findings:
        """Its score and all else that is measured: `score`, or computed anew (seconds for 1,000 images)."""
        return self.score or RunTally.of(self.manifest, self.kept, read_labels(self.files.labels)).findings(
            self.account
        )

    @cached_property
    def judged(self) -> tuple[SavedRun, ...]:
        """The scores of its answers by other judges, the oldest first; () if nobody else has judged them."""
        return tuple(map(SavedRun, reversed(newest_first(runs_in(self.files.judged)))))

    @cached_property
    def pack(self) -> Pack:
        """Its prompts. Raises UserError if they have changed since."""
        return pack_of(self.folder, self.manifest)

    @cached_property
    def finished(self) -> frozenset[str]:
        """The ids of the images that resuming would leave as they are: examined, and no call of their own failed."""
        loaded = self.__dict__.get("examinations")
        each_one = self.kept.in_order(self.kept) if loaded is None else loaded
        return frozenset(each.image.id for each in each_one if not is_unfinished(each))

    @property
    def unfinished(self) -> int:
        """How many images failed, or hold calls that did: resuming tries them again."""
        return len(self.examinations) - len(self.finished)

    @property
    def pending(self) -> int:
        """How many images have no examination yet, >= 0."""
        return self.manifest.images - len(self.examinations)

    @property
    def incomplete(self) -> bool:
        """Whether images are pending that no narrow interval (`until_ci`) makes superfluous."""
        return self.pending > 0 and self.manifest.until_ci is None

    @property
    def remaining(self) -> tuple[ImageSource, ...]:
        """The images that resuming would examine, in the order of admission."""
        return tuple(each for each in self.images if each.id not in self.finished)


def check_given_once(runs: Iterable[SavedRun]) -> None:
    """Checks that no run is among some twice, by whatever paths.

    Args:
        runs: The runs that a user named.

    Raises:
        UserError: One is; or a folder holds no run.
    """
    seen: dict[str, Path] = {}
    for run in runs:
        run_id = run.manifest.run_id
        if run_id in seen:
            raise UserError(f"{run.folder}: is the same run as {seen[run_id]}; give each run once")
        seen[run_id] = run.folder


def pack_of(folder: Path, manifest: Manifest) -> Pack:
    """The prompts of the run at `folder`, as the run was begun with them.

    Args:
        folder: The run's folder, for the message.
        manifest: The run's.

    Returns:
        The pack, with the hash that the manifest names.

    Raises:
        UserError: The prompts are gone, or have changed since the run began.
    """
    try:
        pack = load_pack(manifest.pack, manifest.pack_sha256, manifest.form)
        pack = pack.judging_together() if manifest.judge_together > 1 else pack
    except UserError as error:
        raise UserError(f"{folder}: its prompts cannot be used: {error.args[0]}") from None
    if (pack.sha256, pack.together_sha256) != (manifest.pack_sha256, manifest.judge_together_sha256):
        raise UserError(
            f"{folder}: its prompts, {manifest.pack}, have changed since the run began; restore them, or start a new run"
        )
    return pack.judging_by(manifest.judged_anew.rubric) if manifest.judged_anew else pack


def answers_of(folder: Path, manifest: Manifest) -> Kept:
    """The examinations whose answers a run judges anew.

    Args:
        folder: The judging run's folder.
        manifest: The judging run's; its `judged_anew` is there.

    Returns:
        The other run's examinations, by the images' ids.

    Raises:
        UserError: The other run is not where it was: in the folder that holds `judged/`.
    """
    assert manifest.judged_anew is not None
    other = folder.absolute().parent.parent
    if not exists(other) or read_manifest(other).run_id != manifest.judged_anew.run_id:
        raise UserError(
            f"{folder}: judges the answers of a run that is not in {other}; put it back there, or judge them once more"
        )
    return Kept(RunFiles(other).journal)
