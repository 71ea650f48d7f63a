"""litellm's Router with one deployment: `rpm` and usage-based routing where the limit is known."""

from __future__ import annotations

import asyncio
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch its prices over the network first

import litellm
from work import MAX_TOKENS, Tally, message, read_spec, tell, work


async def main() -> Tally:
    spec = read_spec()
    deployment = {
        "model": "openai/bench",
        "api_base": f"{spec.base_url}/v1",
        "api_key": "none",
        "max_parallel_requests": spec.concurrency,
    }
    known = spec.rate_per_min is not None
    if spec.rate_per_min is not None:
        deployment["rpm"] = int(spec.rate_per_min)
    router = litellm.Router(
        model_list=[{"model_name": "bench", "litellm_params": deployment}],
        routing_strategy="usage-based-routing-v2" if known else "simple-shuffle",
        num_retries=spec.retries,
        disable_cooldowns=True,  # its only deployment would be taken out of service by the first 429
    )

    async def call(text: str, picture: str | None) -> str:
        reply = await router.acompletion("bench", [message(text, picture)], max_tokens=MAX_TOKENS, temperature=0)
        content: str = reply.choices[0].message.content
        return content

    return await work(spec, call)


tell(asyncio.run(main()))
