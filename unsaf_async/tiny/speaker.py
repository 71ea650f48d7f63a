"""Generation: many sequences at once; each joins and leaves the batch on its own.

A `Speaker` is used by one thread at a time and knows nothing of requests, files or events: jobs go in, finished jobs
come out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from tokenizers import Tokenizer

from unsaf_async.tiny.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unsaf_async.tiny.network import Floats

ROWS = 64
"""Sequences in a batch."""
SEEN = 512
"""Pictures that are remembered by their patches: a picture is asked about a dozen times."""


@dataclass
class Job:
    """One prompt about one picture, and the reply so far."""

    prompt: str
    picture: bytes | None
    """The encoded image; None: there is none."""
    picture_id: str
    most_tokens: int
    temperature: float
    """0 takes the likeliest token; otherwise tokens are drawn, by `rng`."""
    top_p: float
    """Tokens are drawn from the likeliest ones that together have this probability, in (0, 1]."""
    rng: np.random.Generator
    ids: list[int] = field(default_factory=list)
    """The tokens of the reply, the closing one included."""
    logprobs: list[float] = field(default_factory=list)
    """Each one's log-probability (natural, before any temperature)."""
    prompt_tokens: int = 0
    text: str = ""
    finish: Literal["stop", "length"] | None = None
    """"stop" when the model ended by itself, "length" at `most_tokens` or at the context's end; None while it is active."""
    error: str | None = None
    abandoned: bool = False
    """Whether nobody waits for it any more."""


class Speaker:
    """One tiny model, which answers up to `rows` prompts at once."""

    def __init__(self, folder: Path, rows: int = ROWS) -> None:
        self.network = Network(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._cache = self.network.cache(rows)
        self._active: list[Job] = []
        self._patches: dict[str, Floats] = {}
        special = self._tokenizer.get_vocab()
        self._bos, self._eos, self._pad = special["<bos>"], special["<eos>"], special["<pad>"]
        self._image, self._user, self._assistant = special["<image>"], special["<user>"], special["<assistant>"]

    @property
    def room(self) -> int:
        """How many more jobs can join now."""
        return self._cache.rows - len(self._active)

    @property
    def idle(self) -> bool:
        """Whether no job is active."""
        return not self._active

    def speak(self, jobs: Sequence[Job]) -> None:
        """Generates the replies of jobs to their ends, as many at a time as there is room for.

        Args:
            jobs: New jobs, which hold their replies afterwards.
        """
        waiting = list(jobs)
        while waiting or not self.idle:
            new, waiting = waiting[: self.room], waiting[self.room :]
            self.join(new)
            if not self.idle:
                self.step()

    def join(self, jobs: Sequence[Job]) -> list[Job]:
        """Reads the prompts of jobs and generates their first tokens.

        Args:
            jobs: New jobs, at most `room`.

        Returns:
            Those that are finished already.
        """
        fit, done = [], []
        for job in jobs:
            ids = self._ids(job)
            job.prompt_tokens = len(ids)
            if job.prompt_tokens >= self.network.context_tokens:
                job.error = f"the prompt has {len(ids)} tokens; the model reads {self.network.context_tokens - 1}"
                done.append(job)
            else:
                fit.append((job, ids))
        if not fit:
            return done
        self._see([job for job, _ in fit])
        longest = max(len(ids) for _, ids in fit)
        padded = np.full((len(fit), longest), self._pad)
        for row, (_, ids) in enumerate(fit):
            padded[row, : len(ids)] = ids
        embedded = self.network.embed(padded)
        for row, (job, _) in enumerate(fit):
            if job.picture is not None:
                embedded[row, 2 : 2 + self.network.patches] = self._patches[job.picture_id]
        first = len(self._active)
        self._cache.lengths[first : first + len(fit)] = 0
        self._cache.reserve(longest)
        logits = self.network.extend(self._cache, first, embedded, np.array([len(ids) for _, ids in fit]))
        self._active += [job for job, _ in fit]
        self._say(logits, first)
        return done + self._leave()

    def step(self) -> list[Job]:
        """Generates one more token of every active job. Returns those that are finished."""
        count = len(self._active)
        last_ids = np.array([[job.ids[-1]] for job in self._active])
        self._cache.reserve(int(self._cache.lengths[:count].max()) + 1)
        logits = self.network.extend(self._cache, 0, self.network.embed(last_ids), np.ones(count, np.int64))
        self._say(logits, 0)
        return self._leave()

    def _ids(self, job: Job) -> list[int]:
        """The prompt in the chat template's layout: the picture stands before the words."""
        shown = [self._image] * self.network.patches if job.picture is not None else []
        words = self._tokenizer.encode(job.prompt, add_special_tokens=False).ids
        return [self._bos, self._user, *shown, *words, self._assistant]

    def _see(self, jobs: Sequence[Job]) -> None:
        new = {
            job.picture_id: job.picture
            for job in jobs
            if job.picture is not None and job.picture_id not in self._patches
        }
        if not new:
            return
        needed = {job.picture_id for job in jobs}
        for known in [known for known in self._patches if known not in needed][
            : max(0, len(self._patches) + len(new) - SEEN)
        ]:
            del self._patches[known]
        seen = self.network.see(np.stack([self.network.pixels(picture) for picture in new.values()]))
        self._patches |= zip(new, seen, strict=True)

    def _say(self, logits: Floats, first: int) -> None:
        """Chooses the next token of the active jobs from `first` on."""
        logprobs = logits - logits.max(-1, keepdims=True)
        logprobs = logprobs - np.log(np.exp(logprobs).sum(-1, keepdims=True))
        chosen = logits.argmax(-1)
        for row, job in enumerate(self._active[first:]):
            if job.temperature > 0:
                chosen[row] = _draw(logprobs[row] / np.float32(job.temperature), job.top_p, job.rng)
            token = int(chosen[row])
            job.ids.append(token)
            job.logprobs.append(float(logprobs[row, token]))
            if token == self._eos:
                job.finish = "stop"
            elif len(job.ids) >= job.most_tokens or job.prompt_tokens + len(job.ids) >= self.network.context_tokens:
                job.finish = "length"

    def _leave(self) -> list[Job]:
        """Takes finished and abandoned jobs out; the last rows move into their places."""
        done = []
        for row in range(len(self._active) - 1, -1, -1):
            job = self._active[row]
            if job.finish is None and not job.abandoned:
                continue
            job.text = self._tokenizer.decode(job.ids, skip_special_tokens=True).strip()
            done.append(job)
            last = self._active.pop()
            if last is not job:
                self._active[row] = last
                self._cache.move(len(self._active), row)
        return done


def _draw(scores: Floats, top_p: float, rng: np.random.Generator) -> int:
    """A token drawn from the softmax of `scores`, of the likeliest tokens with the joint probability `top_p`."""
    if top_p < 1:
        order = scores.argsort()[::-1]
        shares = np.exp(scores[order] - scores.max())
        before = np.cumsum(shares) - shares
        scores = scores.copy()
        scores[order[before >= top_p * shares.sum()]] = -np.inf
    # Gumbel's trick: the argmax of the scores plus this noise is a draw from their softmax
    return int((scores + rng.gumbel(size=len(scores))).argmax())
