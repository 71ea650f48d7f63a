"""The simulated model as a provider in this process: no socket, no money, no waiting unless it is asked for."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from unsaf_async.records import Reply, Usage
from unsaf_async.simulate import model as scripted

if TYPE_CHECKING:
    from unsaf_async.records import EncodedImage, Request

IMAGE_TOKENS = 258
"""What an image counts as, whatever its size."""


class ScriptedBackend:
    """Replies with what `scripted.respond` says. Costs nothing and never fails.

    latency_s: how long every call takes. Input tokens are a quarter of the text's bytes, plus `IMAGE_TOKENS` an image.
    """

    def __init__(self, awareness: scripted.Awareness | None = None, seed: int = 0, latency_s: float = 0.0) -> None:
        self.awareness = awareness or scripted.Awareness()
        self.seed = seed
        self.latency_s = latency_s
        self._image_ids: WeakKeyDictionary[EncodedImage, str] = WeakKeyDictionary()

    async def complete(self, request: Request) -> Reply:
        """The reply that the simulated model gives.

        Args:
            request: The call.

        Returns:
            The reply; `truncated` where the output limit cut it.
        """
        began = asyncio.get_running_loop().time()
        if self.latency_s > 0:
            await asyncio.sleep(self.latency_s)
        images = [message.image for message in request.messages if message.image is not None]
        texts = [message.text for message in request.messages]
        sampling = request.sampling
        answer = scripted.respond(
            self.awareness,
            self.seed,
            texts=texts,
            image_id=self._image_id(images[-1]) if images else None,
            schema_name=request.schema.name if request.schema else None,
            temperature=sampling.temperature,
            request_seed=sampling.seed,
            draw=request.draw,
        )
        text, cut = scripted.within(answer.text, sampling.max_output_tokens)
        output_tokens = scripted.count_tokens(text)
        return Reply(
            outcome="truncated" if cut else "ok",
            text=text,
            finish_reason="length" if cut else "stop",
            detail=f"stopped at the output limit of {sampling.max_output_tokens} tokens" if cut else "",
            usage=Usage(
                input_tokens=scripted.count_tokens("\n".join(texts)) + IMAGE_TOKENS * len(images),
                output_tokens=output_tokens,
            ),
            model=request.target.model,
            logprobs=scripted.token_logprobs(answer, self.seed, output_tokens) if sampling.logprobs else None,
            latency_s=asyncio.get_running_loop().time() - began,
        )

    async def aclose(self) -> None:
        """Nothing is open."""

    def _image_id(self, image: EncodedImage) -> str:
        image_id = self._image_ids.get(image)
        if image_id is None:
            image_id = self._image_ids[image] = sha256(image.data).hexdigest()
        return image_id
