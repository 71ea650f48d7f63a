"""One image of a run, from its file to its examination: loaded, compared with what is known of it, given its money, examined."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from unsaf_async.errors import CallError, ProviderDown, RunStopped
from unsaf_async.examine.controls import Controls, NoControl, Shown
from unsaf_async.examine.examiner import Examiner, has_failed_calls
from unsaf_async.examine.extras import Extras
from unsaf_async.examine.judge import Judge
from unsaf_async.examine.unread import UnreadVerdicts
from unsaf_async.inputs.policy import ImageError
from unsaf_async.records import Examination, ImageRecord
from unsaf_async.runs.quote import Planner, Priced

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from unsaf_async.calls.budget import ImageBudget
    from unsaf_async.calls.session import Session
    from unsaf_async.inputs.loader import ImageLoader
    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.prompts import Pack
    from unsaf_async.records import ControlKind, EncodedImage, Role
    from unsaf_async.runs.folder import Manifest


async def _here(_: int, source: ImageSource) -> ImageSource:
    return source


@dataclass(frozen=True)
class Others:
    """Images of the run that may be shown in an image's place, the one to be shown first.

    at_hand: gives one by its place among them, where it can be read.
    """

    sources: Sequence[ImageSource] = ()
    at_hand: Callable[[int, ImageSource], Awaitable[ImageSource]] = _here


NO_OTHERS = Others()


class Skipped(Exception):
    """No more can be asked about an examined image. The text says why; its examination stays as it is."""


@dataclass(frozen=True)
class ImageExaminer:
    """Examines the images of a run, each with money of its own."""

    manifest: Manifest
    session: Session
    loader: ImageLoader
    pack: Pack
    planner: Planner
    unread: UnreadVerdicts = field(default_factory=UnreadVerdicts)

    @classmethod
    def of(cls, manifest: Manifest, session: Session, loader: ImageLoader, pack: Pack) -> ImageExaminer:
        """The examiner of a run's images.

        Args:
            manifest: The run's.
            session: The run's models, the measured one under the name "self".
            loader: Reads the images.
            pack: The prompts.

        Returns:
            An examiner whose worst cases are those of the session's cost models.
        """
        planner = _planner(manifest, session, pack)
        return cls(manifest, session, loader, pack, planner, UnreadVerdicts(session.announce, session.redact))

    def repriced(self) -> ImageExaminer:
        """The examiner with worst cases anew: calls go in batches now, and cost less.

        Returns:
            One that shares all else.
        """
        return replace(self, planner=_planner(self.manifest, self.session, self.pack))

    async def examine(self, source: ImageSource, *, suspect: bool = False, others: Others = NO_OTHERS) -> Examination:
        """The examination of an image.

        Args:
            source: The image, with its given questions if it has any.
            suspect: Whether calls about it failed in an earlier session: if they fail again, the image may be at fault.
            others: What may be shown in its place.

        Returns:
            The examination; with `failure` and no questions where the image cannot be used.

        Raises:
            RunStopped: No call may leave any more, or none works.
        """
        record = record_of(source)
        try:
            image, bytes_sha256 = await self.loader.load(source.place)
        except ImageError as error:
            return Examination(image=record, failure=str(error))
        if source.file_sha256 not in (None, bytes_sha256):
            return Examination(image=record, failure=_CHANGED)
        record = record.model_copy(
            update={
                "bytes_sha256": bytes_sha256,
                "pixels_sha256": image.pixels_sha256,
                "difference_hash": image.difference_hash or None,
                "width": image.width,
                "height": image.height,
                "notes": image.notes,
            }
        )
        size = (image.width, image.height)
        quote = self.planner.quote_given(*size, source.given) if source.given else self.planner.quote(*size)
        manifest = self.manifest
        with self.session.budget.for_image(quote.worst_nano_usd) as image_budget:
            calls = manifest.extras.calls(len(source.given) or 2 * manifest.questions, written=not source.given)
            examiner = self._examiner(image_budget, calls, image, others, suspect=suspect)
            if source.given:
                examination = await examiner.examine_given(record, image, source.given)
            else:
                examination = await examiner.examine(record, image)
        return whole(examination, self.session)

    async def complete(
        self, source: ImageSource, examination: Examination, *, others: Others = NO_OTHERS
    ) -> Examination:
        """An examination with everything that the run asks in addition to the answers.

        Args:
            source: The image.
            examination: What is known of it. Nothing of it is asked again, unless it failed.
            others: What may be shown in its place.

        Returns:
            The examination with what was missing.

        Raises:
            Skipped: The image cannot be read, or is not the one that was examined.
            RunStopped: No call may leave any more, or none works.
        """
        try:
            image, bytes_sha256 = await self.loader.load(source.place)
        except ImageError as error:
            raise Skipped(str(error)) from None
        if source.file_sha256 not in (None, bytes_sha256):
            raise Skipped(_CHANGED)
        if examination.image.pixels_sha256 != image.pixels_sha256:
            raise Skipped("the image has changed since")
        quote = self.planner.quote_missing(image.width, image.height, examination)
        with self.session.budget.for_image(quote.worst_nano_usd) as image_budget:
            calls = self.manifest.extras.calls(len(examination.questions), written=False)
            examiner = self._examiner(image_budget, calls, image, others)
            completed = await examiner.complete(examination, image)
        return whole(completed, self.session)

    def _examiner(
        self,
        image_budget: ImageBudget,
        calls: Mapping[Role, int],
        image: EncodedImage,
        others: Others,
        *,
        suspect: bool = False,
    ) -> Examiner:
        """One image's examiner: all of its calls are paid from `image_budget`. calls: about how many, by role."""
        manifest = self.manifest
        clients = {
            name: self.session.client(name, image_budget, calls, suspect=suspect) for name in self.session.models
        }
        judges = tuple((name, clients[name]) for name in manifest.judges)
        extras = Extras(
            manifest.extras,
            self.pack,
            clients["self"],
            {name: clients[name] for name in manifest.auditors},
            judges[0] if manifest.grounded else None,
        )
        judge = Judge(self.pack, judges, self.unread, manifest.judge_together)
        shown = partial(self._shown, image, others)
        controls = Controls(manifest.extras.controls, clients["self"], judge, self.pack, shown)
        return Examiner(clients["self"], judge, self.pack, manifest.questions, extras, controls)

    async def _shown(self, image: EncodedImage, others: Others, kind: ControlKind) -> Shown:
        """What is shown in an image's place. Raises CallError where it cannot be read, and NoControl where there is nothing."""
        if kind == "blank":
            return await self.loader.blank(image), ""
        twins = 0
        for place, other in enumerate(others.sources):
            try:
                source = await others.at_hand(place, other)
                shown, bytes_sha256 = await self.loader.load(source.place)
            except ImageError:
                continue
            if source.file_sha256 not in (None, bytes_sha256):
                continue
            if shown.pixels_sha256 != image.pixels_sha256:
                return shown, other.id
            twins += 1
        if others.sources and twins == len(others.sources):
            raise NoControl("the images that follow in the run are the same picture")
        raise CallError("the images that follow this one in the run cannot be shown, or are the same picture")


def whole(examination: Examination, session: Session) -> Examination:
    """An examination as it may be written down.

    Args:
        examination: As it came from the calls.
        session: That made the calls.

    Returns:
        The examination without keys: parts of one may have come together here, and old stored replies may hold one.

    Raises:
        RunStopped: It is not finished because nothing could leave any more.
    """
    if has_failed_calls(examination):
        for model in session.models.values():
            down = model.replicas.down
            if down and down.kind == "disk":
                raise RunStopped(down.args[0])
            if down:
                raise ProviderDown(f"{model.profile.name}: {down.args[0]}")
    text = examination.model_dump_json()
    if session.redact(text) is text:
        return examination
    return Examination.model_validate(session.redact.within(examination.model_dump(mode="json")))


def _planner(manifest: Manifest, session: Session, pack: Pack) -> Planner:
    """By the worst cases of the session's cost models, as they are now."""

    def priced(name: str) -> Priced:
        model = session.models[name]
        return Priced(model.builder, model.planned_cost)

    return Planner.of(
        priced, manifest.judges, pack, manifest.questions, manifest.extras, together=manifest.judge_together
    )


_CHANGED = "the image has changed since its questions were written"


def record_of(source: ImageSource) -> ImageRecord:
    """What is recorded of an image before it is read.

    Args:
        source: The image.

    Returns:
        The record, as JSON can hold it: in a name that is no valid UTF-8 stand question marks.
    """
    path = source.address.encode("utf-8", "replace").decode()
    return ImageRecord(id=source.id, path=path, part=source.part, metadata=dict(source.metadata))
