"""A tiny model whose decision to decline is steered, and nothing else: what it sees, asks and answers stays its own.

By its lessons every response that declines begins with one token ("I", of "I cannot tell"), and none that answers does. So
at a response's first token the model chooses: its margin is the logit of that token less that of the best other. Both ways on
are spoken to their ends; steering moves the margin, and with it which of the two is the reply, and how sure its first token is.
A reply that is begun against the model's own choice may still end up declining, or be one that the rules leave open; that is left
as it is, and counted (docs/validity.md).
"""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from statistics import NormalDist
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from scipy.special import ndtr

from unsaf_async.calls.backends.tiny import TinyBackend
from unsaf_async.tiny.speaker import Job, Speaker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from unsaf_async.records import Reply, Request
    from unsaf_async.tiny.network import Floats

NORMAL = NormalDist()


@dataclass
class Begun(Job):
    """A reply whose first token declines, or does not."""

    declines: bool = False


class BranchSpeaker(Speaker):
    """A speaker that begins replies as it is told to.

    The log-probability that it gives the first token is another one: of declining the log odds against all answers, of an answer
    that among the answers alone. From both follows what it is at any margin.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._decline = self._tokenizer.get_vocab()["I"]

    def _say(self, logits: Floats, first: int) -> None:
        super()._say(logits, first)
        for row, job in enumerate(self._active[first:]):
            if not isinstance(job, Begun) or len(job.ids) != 1:
                continue
            others = logits[row].astype(np.float64)
            others[self._decline] = -np.inf
            among = others - np.logaddexp.reduce(others)
            if job.declines:
                token, sure = self._decline, float(logits[row, self._decline] - np.logaddexp.reduce(others))
            else:
                token = int((among + job.rng.gumbel(size=len(among)) if job.temperature > 0 else among).argmax())
                sure = float(among[token])
            job.ids, job.logprobs, job.finish = [token], [sure], "stop" if token == self._eos else None


class BranchBackend(TinyBackend):
    """The tiny model in a folder; all its replies about questions decline, or none does."""

    def __init__(self, folder: Path, *, declines: bool) -> None:
        super().__init__(folder)
        self.declines = declines

    def _job(self, request: Request) -> Job:
        job = super()._job(request)
        if request.role == "ask":
            return job
        return Begun(**{each.name: getattr(job, each.name) for each in fields(Job)}, declines=self.declines)


class Branches:
    """Both ways on from every question, each spoken once however often it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._answering, self._declining = (BranchBackend(folder, declines=declines) for declines in (False, True))
        self._known: dict[tuple[Any, ...], tuple[Reply, Reply]] = {}
        self.margins: dict[tuple[str, str], float] = {}
        """The model's own, by picture and words."""

    async def asked(self, request: Request) -> Reply:
        """The reply to a request that is no question about an image."""
        return (await self._both(request, (self._answering,)))[0]

    async def both(self, request: Request) -> tuple[Reply, Reply]:
        """(the reply that answers, the one that declines)."""
        return await self._both(request, (self._answering, self._declining))

    async def _both(self, request: Request, ways: Sequence[BranchBackend]) -> tuple[Reply, Reply]:
        sampling = replace(request.sampling, logprobs=True)
        key = (*pictured(request), request.role == "ask", sampling, request.draw)
        if key not in self._known:
            wanted = replace(request, sampling=sampling)
            replies = await asyncio.gather(*(way.complete(wanted) for way in ways))
            self._known[key] = (replies[0], replies[-1])
        return self._known[key]

    async def aclose(self) -> None:
        """Ends both threads."""
        await self._answering.aclose()
        await self._declining.aclose()


def pictured(request: Request) -> tuple[str, str]:
    """The picture and the words of a request."""
    message = request.messages[0]
    return message.image.pixels_sha256 if message.image else "", message.text


def uniform(*words: object) -> float:
    """A number in (0, 1) that depends on the words alone."""
    return (int.from_bytes(sha256(repr(words).encode()).digest()[:6]) + 0.5) / 2**48


@dataclass(frozen=True)
class Steering:
    """The margin m becomes mean + signal (m - mean) + sqrt(1 - signal²) spread z + bias, z standard normal.

    z depends on `key`, the picture and the question. So with the margins' own mean and standard deviation as mean and spread,
    the steered ones have these, too: the model is as sure as it was, and with less signal of the wrong things.
    """

    signal: float = 1.0
    bias: float = 0.0
    mean: float = 0.0
    spread: float = 1.0
    key: str = ""

    def centre(self, margin: Any) -> Any:
        """The steered margin without its noise."""
        return self.mean + self.signal * (margin - self.mean) + self.bias

    @property
    def noise(self) -> float:
        """The standard deviation of its noise."""
        return math.sqrt(1 - self.signal**2) * self.spread

    def margin(self, margin: float, picture: str, words: str) -> float:
        """The steered margin of one question."""
        return float(self.centre(margin) + self.noise * NORMAL.inv_cdf(uniform(self.key, picture, words)))

    def declining(self, margins: NDArray[np.float64]) -> NDArray[np.float64]:
        """The chance that each is declined, over the noise."""
        return np.asarray(ndtr(self.centre(margins) / max(self.noise, 1e-9)))


@dataclass(frozen=True)
class SteeredBackend:
    """The model of some branches, steered."""

    branches: Branches
    steering: Steering

    async def complete(self, request: Request) -> Reply:
        """The reply; a question's is that of one branch."""
        if request.role == "ask":
            return await self.branches.asked(request)
        sampling = request.sampling
        likeliest = replace(request, sampling=replace(sampling, temperature=0.0, seed=None), draw=0)
        answered, declined = await self.branches.both(likeliest)
        best, odds = first_logprob(answered), first_logprob(declined)
        self.branches.margins[pictured(request)] = odds - best
        odds = self.steering.margin(odds - best, *pictured(request)) + best
        drawn = sampling.temperature != 0
        if drawn:
            answered, declined = await self.branches.both(request)
            chance = uniform("draw", self.steering.key, *pictured(request), request.draw)
            declines = math.log(chance / (1 - chance)) < odds
        else:
            declines = odds > best
        reply = declined if declines else answered
        assert reply.logprobs
        first = -softplus(-odds) if declines else first_logprob(answered) - softplus(odds)
        told = (min(first, 0.0), *reply.logprobs[1:]) if sampling.logprobs else None
        return replace(reply, logprobs=told)

    async def aclose(self) -> None:
        """Leaves the branches open, for the next run."""


def first_logprob(reply: Reply) -> float:
    """Of a branch's first token."""
    assert reply.logprobs
    return reply.logprobs[0]


def softplus(x: float) -> float:
    """log(1 + exp(x))."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@contextmanager
def steered(branches: Branches, steering: Steering) -> Iterator[None]:
    """Runs in this process ask the steered model, whatever their provider."""

    async def opened(_: object) -> SteeredBackend:
        return SteeredBackend(branches, steering)

    with (
        patch("unsaf_async.runs.runner.open_backend", opened),
        patch("unsaf_async.calls.backends.tiny.Speaker", BranchSpeaker),
    ):
        yield
