"""A worker: examines images with the engine that a run in one process has, on books that are the driver's."""

from __future__ import annotations

import asyncio
import os
import traceback
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from unsaf_async.calls.session import Session
from unsaf_async.cluster.leased import counts_of, leased_books
from unsaf_async.cluster.link import Answer, Failure, Link, ModelState, Pause
from unsaf_async.errors import CallError, Fatal, RunStopped, UserError
from unsaf_async.events import CallRetried, CallSent, CallSettled, Event
from unsaf_async.inputs.loader import ImageLoader
from unsaf_async.inputs.parts import file_state
from unsaf_async.records import Examination
from unsaf_async.runs.folder import Manifest
from unsaf_async.runs.one_image import ImageExaminer, Others, Skipped, record_of
from unsaf_async.runs.prepare import policy_of
from unsaf_async.runs.runner import called_profiles
from unsaf_async.runs.workers import first_stop
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from unsaf_async.cluster.link import Said
    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.prompts import Pack
    from unsaf_async.records import Role


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know of the run. Its keys come apart from it.

    manifest: as JSON. adapted: as `Session` takes it. served: roles in which the run had replies before. version: the driver's,
    of this package.
    """

    manifest: str
    pack: Pack
    adapted: Mapping[str, Mapping[str, str]]
    served: tuple[Role, ...]
    version: str


@dataclass(frozen=True)
class Task:
    """One image to examine.

    Attributes:
        number: Under which its outcome comes back.
        source: The image.
        suspect: See `ImageExaminer.examine`.
        state: See `parts.file_state`; "": the file cannot be read at the driver either.
        examination: What is known of it, as JSON, if it is to be completed.
        others: What may be shown in its place, and each one's state.
    """

    number: int
    source: ImageSource
    suspect: bool
    state: str
    examination: bytes | None = None
    others: tuple[tuple[ImageSource, str], ...] = ()


Item = Answer | Task | Pause
"""What the driver says to a worker."""


@dataclass(frozen=True)
class Outcome:
    """How an image ended: exactly one of these is there."""

    examination: bytes | None = None
    """As JSON."""
    stopped: Failure | None = None
    """A `RunStopped`."""
    skipped: str | None = None
    """Why no more can be asked about it."""
    crashed: str | None = None
    """The traceback of a mistake of the program's."""


class Worker:
    """Examines images at the driver's word. `link` is how it speaks to the driver."""

    def __init__(self) -> None:
        self.link = Link()
        self._exits = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, setup: Setup, secrets: Mapping[str, str]) -> Failure | None:
        """Open the run's models.

        Args:
            setup: The run's.
            secrets: Environment variables with keys, which go no further than this process.

        Returns:
            What the user has to mend, if the worker cannot begin.
        """
        os.environ.update(secrets)
        try:
            if setup.version != (here := own_version()):
                raise UserError(f"a worker has unsaf-async {here}, not {setup.version}; install the same everywhere")
            await self._open(setup)
        except UserError as error:
            return Failure.of(error)
        except OSError as error:
            return Failure.of(UserError(f"a worker cannot begin: {one_line(str(error), 200)}"))
        return None

    async def _open(self, setup: Setup) -> None:
        manifest = Manifest.model_validate_json(setup.manifest)
        async with AsyncExitStack() as exits:
            self._folder = Path(exits.enter_context(TemporaryDirectory(prefix="unsaf-images-")))
            loader = exits.enter_context(closing(ImageLoader(policy_of(manifest.subject))))
            self._session = await exits.enter_async_context(
                Session(
                    called_profiles(manifest),
                    books=leased_books(self.link, setup.served),
                    run_id=manifest.run_id,
                    questions=manifest.questions,
                    seed=manifest.seed,
                    strict_model=manifest.strict_model,
                    adapted=setup.adapted,
                    announce=self._announce,
                )
            )
            self._images = ImageExaminer.of(manifest, self._session, loader, setup.pack)
            self._exits = exits.pop_all()

    def hear(self, items: Sequence[Item]) -> None:
        """Take answers, begin with images, whose outcomes are said under "outcome", and pause.

        Args:
            items: What the driver says.
        """
        for item in items:
            if isinstance(item, Task):
                self._give(item)
            elif isinstance(item, Pause):
                for model in self._session.models.values():
                    model.replicas.pause(item.name, item.seconds)
            else:
                self.link.answer(item)

    async def exchange(self, items: Sequence[Item]) -> list[Said]:
        """Hear what the driver says, and say what has gathered: see `Link.said`.

        Args:
            items: What the driver says.

        Returns:
            What is said.
        """
        self.hear(items)
        return await self.link.said()

    def take_part(self, index: int, count: int) -> None:
        """See `Replicas.take_part`; of all models.

        Args:
            index: As there.
            count: As there.
        """
        for model in self._session.models.values():
            model.replicas.take_part(index, count)

    def stop(self, reason: Failure) -> None:
        """See `Session.stop`.

        Args:
            reason: A `Fatal`.
        """
        if isinstance(error := reason.error, Fatal):
            self._session.stop(error)

    async def end(self) -> None:
        """Close the models, and the line once all is said. What is under way is cancelled."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._exits.aclose()
        self.link.close()

    # ----------------------------------------------------------------------------------------------------------------

    def _give(self, task: Task) -> None:
        work = asyncio.get_running_loop().create_task(self._work(task))
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)

    async def _work(self, task: Task) -> None:
        try:
            outcome = await self._outcome(task)
        except asyncio.CancelledError:
            raise
        except BaseException:  # a bug: whoever waits for the outcome must hear of it
            outcome = Outcome(crashed=traceback.format_exc())
        self._say_states()
        self.link.tell("outcome", task.number, outcome)

    async def _outcome(self, task: Task) -> Outcome:
        outcome = Outcome()
        try:
            outcome = await self._examined(task)
        except* RunStopped as group:  # bare, or once for each of the image's calls that met it
            outcome = Outcome(stopped=Failure.of(first_stop(group)))
        return outcome

    async def _examined(self, task: Task) -> Outcome:
        source = task.source
        fetched: list[ImageSource] = []

        async def other(place: int, source: ImageSource) -> ImageSource:
            at_hand = await self._at_hand(task, source, task.others[place][1], 1 + place)
            fetched.extend([at_hand] if at_hand is not source else [])
            return at_hand

        others = Others([each for each, _ in task.others], other)
        try:
            source = await self._at_hand(task, source, task.state, 0)
            fetched.extend([source] if source is not task.source else [])
            if task.examination is None:
                examination = await self._images.examine(source, suspect=task.suspect, others=others)
            else:
                known = Examination.model_validate_json(task.examination)
                examination = await self._images.complete(source, known, others=others)
            if source is not task.source:  # its bytes came from the driver: the record is of the driver's file
                image = examination.image.model_copy(
                    update={"path": record_of(task.source).path, "part": task.source.part}
                )
                examination = examination.model_copy(update={"image": image})
            return Outcome(examination=examination.model_dump_json().encode())
        except Skipped as reason:
            return Outcome(skipped=str(reason))
        finally:
            for each in fetched:
                each.path.unlink(missing_ok=True)

    async def _at_hand(self, task: Task, source: ImageSource, state: str, place: int) -> ImageSource:
        """An image where this machine can read it: its own file if that is the driver's, else one with the driver's bytes.

        place: 0 for the task's image, from 1 on for those that may be shown in its place.
        """
        if not state or await asyncio.to_thread(state_of, source.path) == state:
            return source
        data: bytes | None = await self.link.ask("bytes_of", task.number, place)
        if data is None:
            return source
        file = self._folder / f"{task.number}-{place}{source.path.suffix}"
        try:
            await asyncio.to_thread(file.write_bytes, data)
        except OSError as error:
            raise RunStopped(f"a worker cannot keep an image: {one_line(str(error), 200)}") from None
        return replace(source, path=file, part=None)

    def _say_states(self) -> None:
        for name, model in self._session.models.items():
            served, refused = model.refusals.seen
            down = model.replicas.down
            self.link.tell(
                "state",
                name,
                ModelState(
                    dict(model.adapted.refused),
                    dict(model.replicas.left_out),
                    served,
                    refused,
                    Failure.of(down) if down else None,
                ),
            )

    def _announce(self, event: Event) -> None:
        """Pass an event on, without what nobody over there needs: the driver's display counts calls, tokens and dollars."""
        if isinstance(event, CallSent):
            self.link.tell("left", event.role, event.provider, event.held_usd)
            return
        if isinstance(event, CallSettled):
            reply = event.reply
            short = None if reply is None else (reply.outcome, counts_of(reply.usage), reply.latency_s)
            self.link.tell("over", event.role, event.provider, event.cost_usd, short)
            return
        if isinstance(event, CallRetried):
            event = replace(event, error=CallError(str(event.error)))
        else:
            self._say_states()  # what is learned is known before it is told
        self.link.tell("event", event)


def own_version() -> str:
    """The version of this package.

    Returns:
        The version; "unknown" where it is not installed.
    """
    try:
        return version("unsaf-async")
    except PackageNotFoundError:
        return "unknown"


def state_of(path: Path) -> str:
    """See `parts.file_state`. Blocks.

    Args:
        path: A file.

    Returns:
        The state; "" if it cannot be read.
    """
    try:
        return file_state(path)
    except OSError:
        return ""
