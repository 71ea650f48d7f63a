"""httpx alone: one client whose pool holds as many connections as there are slots, a semaphore, a retry loop."""

from __future__ import annotations

import asyncio

import httpx
from work import Tally, body, read_spec, retried, tell, work


async def main() -> Tally:
    spec = read_spec()
    slots = asyncio.Semaphore(spec.concurrency)
    limits = httpx.Limits(max_connections=spec.concurrency, max_keepalive_connections=spec.concurrency)
    async with httpx.AsyncClient(limits=limits, timeout=300) as client:

        async def call(text: str, picture: str | None) -> str:
            async def attempt() -> tuple[int, str | None, bytes]:
                try:
                    response = await client.post(f"{spec.base_url}/v1/chat/completions", json=body(text, picture))
                except httpx.TransportError as error:
                    raise OSError from error
                return response.status_code, response.headers.get("retry-after"), response.content

            async with slots:
                return await retried(attempt, spec.retries)

        return await work(spec, call)


tell(asyncio.run(main()))
