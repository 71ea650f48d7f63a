"""A tiny model as a provider in this process: no key, no network, no cost. It knows only its own drawn world.

Calls are collected into batches by one thread: whoever calls while others are being answered joins their batch at the next
token. The event loop never computes, and nothing polls: the thread sleeps in its queue while nobody calls.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from threadpoolctl import threadpool_limits

from unsaf_async.errors import Fatal, Rejected
from unsaf_async.records import Reply, Usage
from unsaf_async.tiny.speaker import Job, Speaker

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.records import EncodedImage, Request


@dataclass
class _Call:
    """A job and who waits for it."""

    job: Job
    loop: asyncio.AbstractEventLoop
    answered: asyncio.Future[None]


class TinyBackend:
    """The model in `folder` (as Hugging Face's `save_pretrained` wrote it), loaded with the first call.

    Sampling at a temperature above 0 is drawn from the request's seed, its draw and its words: the same request gets the same
    reply, whatever else is in the batch. Without a stated temperature it is 1.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._ended: Exception | None = None
        """Why the thread takes no more calls."""
        self._image_ids: WeakKeyDictionary[EncodedImage, str] = WeakKeyDictionary()

    async def complete(self, request: Request) -> Reply:
        """The model's reply.

        Args:
            request: The call.

        Returns:
            The reply; `truncated` where the output limit or the context's end cut it.

        Raises:
            Rejected: The model cannot read it: a conversation of several turns, a prompt that is too long.
            Fatal: The model cannot be loaded, or was closed.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        call = _Call(self._job(request), loop, loop.create_future())
        if self._thread is None:
            self._thread = Thread(target=self._speak, name=f"tiny {self.folder.name}", daemon=True)
            self._thread.start()
        self._calls.put(call)
        if self._ended:  # in this order: either the thread still finds the call, or this is seen
            call.answered.cancel()
            raise self._ended
        try:
            await call.answered
        except asyncio.CancelledError:
            call.job.abandoned = True  # the thread drops it at its next token
            raise
        job = call.job
        if job.error:
            raise Rejected(job.error, status=400)
        cut = job.finish == "length"
        return Reply(
            outcome="truncated" if cut else "ok",
            text=job.text,
            finish_reason=job.finish,
            detail=f"stopped after {len(job.ids)} tokens" if cut else "",
            usage=Usage(input_tokens=job.prompt_tokens, output_tokens=len(job.ids)),
            model=request.target.model,
            logprobs=tuple(job.logprobs) if request.sampling.logprobs else None,
            latency_s=loop.time() - began_s,
        )

    async def aclose(self) -> None:
        """Ends the thread, and with it the calls that still wait."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._calls.put(None)
            await asyncio.to_thread(thread.join)
            self._ended = None

    def _job(self, request: Request) -> Job:
        if len(request.messages) != 1 or request.messages[0].role != "user":
            raise Rejected("the tiny models take one user message: no system prompt, no conversation", status=400)
        (message,) = request.messages
        sampling, image = request.sampling, message.image
        picture_id = self._image_id(image) if image is not None else ""
        drawn = f"{sampling.seed} {request.draw} {picture_id} {message.text}"
        return Job(
            prompt=message.text,
            picture=image.data if image is not None else None,
            picture_id=picture_id,
            most_tokens=sampling.max_output_tokens,
            temperature=1.0 if sampling.temperature is None else sampling.temperature,
            top_p=1.0 if sampling.top_p is None else sampling.top_p,
            rng=np.random.default_rng(int.from_bytes(sha256(drawn.encode()).digest()[:8])),
        )

    def _image_id(self, image: EncodedImage) -> str:
        image_id = self._image_ids.get(image)
        if image_id is None:
            image_id = self._image_ids[image] = sha256(image.data).hexdigest()
        return image_id

    def _speak(self) -> None:
        """The thread: takes calls in as there is room, says a token of each, hands the finished ones back."""
        waiting: list[_Call] = []
        spoken: dict[int, _Call] = {}
        # products so small cost threads more to share than to compute
        limited = threadpool_limits(1, user_api="blas")
        try:
            speaker = Speaker(self.folder)
            while True:
                ended = self._take(waiting, block=speaker.idle and not waiting)
                if ended:
                    error: Exception = Fatal("the model was closed", kind="model")
                    break
                done: list[Job] = []
                if waiting and speaker.room:
                    new, waiting = waiting[: speaker.room], waiting[speaker.room :]
                    new = [call for call in new if not call.job.abandoned]
                    spoken |= {id(call.job): call for call in new}
                    done += speaker.join([call.job for call in new])
                if not speaker.idle:
                    done += speaker.step()
                for job in done:
                    _hand_back(spoken.pop(id(job)))
        except Exception as problem:  # whoever waits must hear of it: a thread's traceback is heard by nobody
            error = Fatal(f"{self.folder.name}: {type(problem).__name__}: {problem}", kind="model")
        limited.restore_original_limits()
        self._ended = error
        self._take(waiting, block=False)
        for call in (*spoken.values(), *waiting):
            _hand_back(call, error)

    def _take(self, waiting: list[_Call], *, block: bool) -> bool:
        """Moves new calls to `waiting`; with `block`, waits for one. Returns whether the backend was closed."""
        while True:
            try:
                call = self._calls.get(block=block)
            except Empty:
                return False
            if call is None:
                return True
            waiting.append(call)
            block = False


def _hand_back(call: _Call, error: Exception | None = None) -> None:
    def settle() -> None:
        if not call.answered.done():
            call.answered.set_exception(error) if error else call.answered.set_result(None)

    with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
        call.loop.call_soon_threadsafe(settle)
