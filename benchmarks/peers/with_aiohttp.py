"""aiohttp alone: one session without a limit of its own, a semaphore, a retry loop of ten lines."""

from __future__ import annotations

import asyncio

import aiohttp
from work import Tally, body, read_spec, retried, tell, work


async def main() -> Tally:
    spec = read_spec()
    slots = asyncio.Semaphore(spec.concurrency)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call(text: str, picture: str | None) -> str:
            async def attempt() -> tuple[int, str | None, bytes]:
                try:
                    async with session.post(
                        f"{spec.base_url}/v1/chat/completions", json=body(text, picture)
                    ) as response:
                        return response.status, response.headers.get("retry-after"), await response.read()
                except aiohttp.ClientError as error:
                    raise OSError from error

            async with slots:
                return await retried(attempt, spec.retries)

        return await work(spec, call)


tell(asyncio.run(main()))
