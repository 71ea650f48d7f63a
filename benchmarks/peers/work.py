"""The work that every peer does, for adapters in environments of their own: the standard library, and nothing else."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

PER_PICTURE = 14
"""An image's calls, as in a run: 2 lists and 12 answers."""
MAX_TOKENS = 300


@dataclass(frozen=True)
class Spec:
    """What an adapter is to do, as the driver writes it.

    calls: how many; with `staged`, `images` of 2 lists, 12 answers and 12 verdicts instead, and with `samples` so many
    answers to each prompt. pictures: files, one for each 14 calls; empty: text alone. limited: the server has a limit,
    which a client may find by itself. rate_per_min: the limit that the client is told; None: it is told none. retries: of
    one call, where a peer has the setting. cache: a folder that lives on between runs; None: no cache. folder: for what
    else it writes. prompts: the method's instructions by role.
    """

    base_url: str
    calls: int
    folder: str
    prompts: dict[str, str]
    pictures: list[str] = field(default_factory=list)
    images: int = 0
    staged: bool = False
    samples: int = 0
    concurrency: int = 64
    limited: bool = False
    rate_per_min: float | None = None
    retries: int = 10
    cache: str | None = None

    @property
    def tasks(self) -> Iterator[tuple[str, str | None]]:
        """Each call's prompt and picture."""
        for number in range(self.calls):
            picture = self.pictures[number // PER_PICTURE] if self.pictures else None
            yield self.answer_prompt(f"What does sign number {number} in picture {number // PER_PICTURE} say?"), picture

    def answer_prompt(self, question: str) -> str:
        return self.prompts["answer"].replace("$question", question)

    def list_prompts(self, image: int) -> list[str]:
        """The two instructions of an image; its number keeps them apart where there is no picture."""
        return [
            self.prompts[f"ask-{kind}"].replace("$count", "6") + f"\nPicture {image}."
            for kind in ("answerable", "unanswerable")
        ]

    def judge_prompt(self, question: str, response: str) -> str:
        return self.prompts["judge"].replace("$data", json.dumps({"question": question, "response": response}))


@dataclass
class Tally:
    """How the calls ended. note: what a reader should know of this peer's way."""

    done: int = 0
    failed: int = 0
    note: str = ""


def questions_of(text: str) -> list[str]:
    """The questions of a list that the model wrote."""
    return [item["question"] for item in json.loads(text)["questions"]]


def read_spec() -> Spec:
    """The spec whose file is the program's only argument."""
    return Spec(**json.loads(Path(sys.argv[1]).read_text("utf-8")))


def tell(tally: Tally) -> None:
    """Prints the result as the last line of stdout."""
    sys.stdout.write("\n" + json.dumps(vars(tally)) + "\n")
    sys.stdout.flush()


def message(text: str, picture: str | None) -> dict[str, Any]:
    """A user's message in OpenAI's form."""
    if picture is None:
        return {"role": "user", "content": text}
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": data_url(picture)}}]
    return {"role": "user", "content": parts}


def data_url(picture: str) -> str:
    """A JPEG within a URL."""
    return "data:image/jpeg;base64," + b64encode(Path(picture).read_bytes()).decode()


def body(text: str, picture: str | None) -> dict[str, Any]:
    """A request in OpenAI's form."""
    return {"model": "bench", "messages": [message(text, picture)], "max_tokens": MAX_TOKENS, "temperature": 0}


async def work(spec: Spec, call: Callable[[str, str | None], Awaitable[str]]) -> Tally:
    """All the work, for a peer that only calls: all calls at once, each image's stages one after another.

    Args:
        spec: What is to be done.
        call: From prompt and picture to the reply's text. It keeps to the concurrency, and raises when it gives up.
    """
    tally = Tally()

    async def counted(text: str, picture: str | None) -> str | None:
        try:
            reply = await call(text, picture)
        except Exception:
            tally.failed += 1
            return None
        tally.done += 1
        return reply

    async def judged(question: str, picture: str | None) -> None:
        response = await counted(spec.answer_prompt(question), picture)
        if response is not None:
            await counted(spec.judge_prompt(question, response), None)

    async def listed(prompt: str, picture: str | None) -> None:
        reply = await counted(prompt, picture)
        if reply is not None:
            await asyncio.gather(*(judged(question, picture) for question in questions_of(reply)))

    if spec.staged:
        prompts = [(prompt, number) for number in range(spec.images) for prompt in spec.list_prompts(number)]
        await asyncio.gather(*(listed(text, spec.pictures[n] if spec.pictures else None) for text, n in prompts))
    else:
        await asyncio.gather(*(counted(text, picture) for text, picture in spec.tasks))
    return tally


async def retried(attempt: Callable[[], Awaitable[tuple[int, str | None, bytes]]], retries: int) -> str:
    """What one writes in an afternoon: Retry-After is waited for, all else by exponential back-off with jitter.

    Args:
        attempt: One request: the status, the header Retry-After, and the body. It raises OSError where the connection broke.
        retries: After the first attempt.
    """
    for number in range(retries + 1):
        try:
            status, after_s, content = await attempt()
        except OSError:
            status, after_s, content = 0, None, b""
        if status == 200:
            text: str = json.loads(content)["choices"][0]["message"]["content"]
            return text
        if number < retries:
            await asyncio.sleep(float(after_s) if after_s else random.uniform(0, 0.5 * 2.0**number))
    raise OSError(f"given up after {retries} retries")
