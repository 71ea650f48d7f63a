"""Controls: a model's own answerable questions once more, without what answers them. There declining is right.

A question that a model wrote as answerable may have no answer in its image, and UnF1 charges the model with it. Of a picture
that shows nothing, or something else, that cannot be said. Each question is asked again at most once, in a fresh conversation,
with the words and the parameters of the answer stage, and the response is judged as the answers are.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from unsaf_async.calls.backends.outcome import is_open
from unsaf_async.calls.request import ModelClient, failed, record_of
from unsaf_async.errors import CallError
from unsaf_async.records import CONTROL_KINDS, Control

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from unsaf_async.examine.judge import Judge
    from unsaf_async.prompts import Pack
    from unsaf_async.records import ControlKind, EncodedImage, Examination, Question

Shown = tuple["EncodedImage", str]
"""A picture, and the id of the image that it is; "" of a blank one."""


class NoControl(Exception):
    """An image cannot have a control of a kind, whenever it is tried. The text says why."""


@dataclass(frozen=True)
class Wanted:
    """Which controls of an image are wanted.

    kinds: of which each image gets some. per_image: how many of each kind. seed: of the choice of questions.
    """

    kinds: tuple[ControlKind, ...] = ()
    per_image: int = 1
    seed: int = 0

    def number(self, answerable: int) -> int:
        """How many controls an image has at most.

        Args:
            answerable: Its questions that were intended answerable.

        Returns:
            No more than these: each is asked again once.
        """
        return min(answerable, len(self.kinds) * self.per_image)

    def due(self, examination: Examination) -> dict[int, ControlKind]:
        """The questions that are to be asked again, and how, by their places among the image's.

        They are drawn by the seed from those that were intended answerable and whose response is scored, whatever it did. What
        was asked again stays, so that more may be wanted later; a call of it that failed is made again. A picture of one colour
        is blank as it is.

        Args:
            examination: Of the image, with its answers.

        Returns:
            {} where nothing is wanted or left.
        """
        if not self.kinds:
            return {}
        questions = examination.questions
        there = {place: each.control for place, each in enumerate(questions) if each.control is not None}
        never = self.impossible(examination)
        due = {
            place: control.kind
            for place, control in there.items()
            if control.kind not in never and any(map(is_open, control.calls))
        }
        free = [place for place, each in enumerate(questions) if place not in there and _is_scored(each)]
        free.sort(key=lambda place: self._draw(examination.image.id, questions[place].text), reverse=True)
        for kind in CONTROL_KINDS:
            if kind not in self.kinds or kind in never:
                continue
            for _ in range(self.per_image - sum(control.kind == kind for control in there.values())):
                if free:
                    due[free.pop()] = kind
        return due

    def impossible(self, examination: Examination) -> dict[ControlKind, str]:
        """The kinds that are wanted and that an image cannot have.

        Args:
            examination: Of the image.

        Returns:
            The reasons, by kind: what was found when they were tried, and what its picture says.
        """
        found = dict(examination.uncontrolled)
        if "blank" in self.kinds and "one-colour" in examination.image.notes:
            found["blank"] = "the image is of one colour as it is"
        return found

    def _draw(self, image: str, question: str) -> bytes:
        return sha256(f"{self.seed}\x1f{image}\x1f{question}".encode("utf-8", "surrogatepass")).digest()


NONE = Wanted()


@dataclass(frozen=True)
class Controls:
    """Asks one image's questions again.

    subject: the model that answered. picture: gives what is shown in the image's place; it raises CallError where that cannot be
    read, and NoControl where there is nothing to show.
    """

    wanted: Wanted
    subject: ModelClient
    judge: Judge
    pack: Pack
    picture: Callable[[ControlKind], Awaitable[Shown]]

    async def take(self, examination: Examination) -> Examination:
        """An examination with all wanted controls. Those that are there stay; all calls go out at once.

        Args:
            examination: Of the image, with its answers.

        Returns:
            The examination; a control whose call failed is recorded as failed, and a kind that the image cannot have with its
            reason.

        Raises:
            RunStopped: When no call may leave or none works.
        """
        due = self.wanted.due(examination)
        pictures, never = await self._pictures(set(due.values()))
        never = self.wanted.impossible(examination) | never
        if never != examination.uncontrolled:
            examination = examination.model_copy(update={"uncontrolled": never})
        if not due:
            return examination
        questions = list(examination.questions)
        for place, kind in list(due.items()):
            if kind in never:
                questions[place] = questions[place].model_copy(update={"control": None})
                del due[place]
        async with asyncio.TaskGroup() as group:
            tasks = {
                place: group.create_task(self._ask(questions[place], kind, pictures[kind]))
                for place, kind in due.items()
            }
        for place, task in tasks.items():
            questions[place] = questions[place].model_copy(update={"control": task.result()})
        return examination.model_copy(update={"questions": tuple(questions)})

    async def _pictures(
        self, kinds: Collection[ControlKind]
    ) -> tuple[dict[ControlKind, Shown | CallError], dict[ControlKind, str]]:
        """(what is shown, by kind, or why it cannot be read; why there can be none, by kind)."""
        pictures: dict[ControlKind, Shown | CallError] = {}
        never: dict[ControlKind, str] = {}
        for kind in kinds:
            try:
                pictures[kind] = await self.picture(kind)
            except CallError as error:
                pictures[kind] = error
            except NoControl as error:
                never[kind] = str(error)
        return pictures, never

    async def _ask(self, question: Question, kind: ControlKind, shown: Shown | CallError) -> Control:
        if isinstance(shown, CallError):
            return Control(kind=kind, call=failed("control", shown), unscored="failed")
        picture, name = shown
        try:
            reply = await self.subject.ask("control", self.pack.answer(question.text), image=picture)
        except CallError as error:
            return Control(kind=kind, image=name, call=failed("control", error), unscored="failed")
        control = Control(kind=kind, image=name, response=reply.text, call=record_of("control", reply))
        if reply.outcome != "ok":
            return control.model_copy(update={"unscored": reply.outcome})
        judgement = await self.judge.judge(question.text, reply.text, reply.finish_reason)
        return control.model_copy(update=judgement.on_question)


def _is_scored(question: Question) -> bool:
    """Whether a question was intended answerable, and its response is in the table of four."""
    return question.intended == "answerable" and question.unscored is None and question.act in ("answered", "abstained")
