"""Several vLLM servers of one model: which GPUs each gets, and how they are started and stopped together."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import takewhile
from math import prod
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.serve.plan import GPUS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from unsaf_async.serve.plan import ServePlan
    from unsaf_async.serve.server import Server

_PARALLEL = re.compile(r"--(?:tensor|pipeline|data)-parallel-size|-tp|-pp|-dp")
"""vLLM's flags that make a server take several GPUs; it takes their product."""


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that a server started here could use: those that $CUDA_VISIBLE_DEVICES names, else those that nvidia-smi lists.

    Returns:
        What CUDA_VISIBLE_DEVICES calls them, in order; () where there are none, or nobody tells.
    """
    named = os.environ.get(GPUS)
    if named is not None:
        words = [word.strip() for word in named.split(",") if word.strip()]
        return tuple(dict.fromkeys(takewhile(lambda word: word != "-1", words)))  # CUDA's list ends at -1
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    with suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
        return tuple(re.findall(r"^GPU (\d+):", listed, re.MULTILINE))
    return ()


def replicas(made: ServePlan, count: int, gpus: Sequence[str]) -> list[ServePlan]:
    """The plans of several servers of one model, each with GPUs of its own; their ports are still to be set.

    Args:
        made: The plan of one server.
        count: How many servers, >= 1.
        gpus: What CUDA_VISIBLE_DEVICES calls the GPUs that there are. (): none; the servers share what they find.

    Returns:
        `count` plans. Of one server alone the plan as it is: it may use every GPU.

    Raises:
        UserError: `count` is below 1, or there are too few GPUs.
    """
    if count < 1:
        raise UserError(f"is {count}; give a whole number above 0", field="replicas")
    if count == 1 or not gpus:
        return [made] * count
    each = _gpus_of(made.flags)
    if count * each > len(gpus):
        raise UserError(
            f"is {count}: at {each} GPUs each they need {count * each}, and there are {len(gpus)} ({', '.join(gpus)}); "
            f"give fewer, or name the GPUs in {GPUS}",
            field="replicas",
        )
    return [replace(made, gpus=tuple(gpus[each * place : each * (place + 1)])) for place in range(count)]


@asynccontextmanager
async def together(servers: Sequence[Server]) -> AsyncIterator[None]:
    """All servers serve while the context lasts; they are started, and stopped, at the same time.

    If one does not come up, all are stopped. Cancelling while they are being stopped kills them at once.

    Args:
        servers: The servers.

    Yields:
        Nothing.

    Raises:
        UserError: On entering: one does not serve.
    """
    entering = [asyncio.ensure_future(server.__aenter__()) for server in servers]
    try:
        try:
            await asyncio.gather(*entering)
        except BaseException:
            for task in entering:
                task.cancel()
            await asyncio.gather(*entering, return_exceptions=True)
            raise
        yield
    finally:
        await asyncio.gather(*(server.__aexit__() for server in servers if server.serves))


def _gpus_of(flags: Sequence[str]) -> int:
    """GPUs that one server with these flags takes. What is no number is vLLM's to complain about."""
    sizes = {}
    for place, word in enumerate(flags):
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if _PARALLEL.fullmatch(name):
            value = value if equals else "".join(flags[place + 1 : place + 2])
            sizes[name.lstrip("-")[0]] = int(value) if value.isdecimal() and int(value) else 1
    return prod(sizes.values())
