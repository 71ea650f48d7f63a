"""The simulator with a client of each vendor's own Python SDK, which reads what it says strictly."""

from __future__ import annotations

import base64
import io
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from PIL import Image
from pydantic import BaseModel

from unsaf_async.prompts import load_pack
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
genai = pytest.importorskip("google.genai")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GPT, CLAUDE, GEMINI = "gpt-5.4-mini", "claude-haiku-4-5", "gemini-3.5-flash"
QUESTION = load_pack("unsaf").answer("What is on the table?")


def jpeg() -> str:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(stream, "JPEG")
    return base64.b64encode(stream.getvalue()).decode()


DATA = jpeg()


@asynccontextmanager
async def simulated(timeout_s: float = 20, **settings: Any) -> AsyncIterator[Any]:
    """The simulator, and a client of each SDK; without TLS, whose set-up would take most of the time."""
    async with Simulator(Simulation(**settings)) as simulator, AsyncExitStack() as stack:

        async def client(kind: Any, http: Any, **options: Any) -> Any:
            common = {"api_key": "k", "max_retries": 0, "timeout": timeout_s, "http_client": http(verify=False)}
            return await stack.enter_async_context(kind(**common, **options))

        gpt = await client(openai.AsyncOpenAI, openai.DefaultAsyncHttpxClient, base_url=simulator.openai_base)
        azure = await client(
            openai.AsyncAzureOpenAI,
            openai.DefaultAsyncHttpxClient,
            azure_endpoint=simulator.url,
            api_version="2024-10-21",
        )
        claude = await client(
            anthropic.AsyncAnthropic, anthropic.DefaultAsyncHttpxClient, base_url=simulator.anthropic_base
        )
        options = genai.types.HttpOptions(
            base_url=simulator.url,
            timeout=round(timeout_s * 1000),
            client_args={"verify": False},
            async_client_args={"ssl": False},
        )
        gemini = genai.Client(api_key="k", http_options=options).aio
        stack.push_async_callback(gemini.aclose)
        session = await stack.enter_async_context(aiohttp.ClientSession(simulator.url))
        yield SimpleNamespace(simulator=simulator, session=session, gpt=gpt, azure=azure, claude=claude, gemini=gemini)


def of_gpt(text: str = QUESTION, **options: Any) -> dict[str, Any]:
    image = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{DATA}"}}
    content = [image, {"type": "text", "text": text}]
    return {"model": GPT, "messages": [{"role": "user", "content": content}], "max_completion_tokens": 900, **options}


def of_claude(text: str = QUESTION, **options: Any) -> dict[str, Any]:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": DATA}}
    content = [image, {"type": "text", "text": text}]
    return {"model": CLAUDE, "messages": [{"role": "user", "content": content}], "max_tokens": 900, **options}


def of_gemini(text: str = QUESTION, **config: Any) -> dict[str, Any]:
    image = genai.types.Part.from_bytes(data=base64.b64decode(DATA), mime_type="image/jpeg")
    config = {"max_output_tokens": 900, **config}
    return {"model": GEMINI, "contents": [image, genai.types.Part.from_text(text=text)], "config": config}


def leftovers(value: object, at: str = "") -> list[str]:
    """The fields that an SDK's class does not declare, in all of a reply."""
    if isinstance(value, list):
        return [each for place, item in enumerate(value) for each in leftovers(item, f"{at}[{place}]")]
    if not isinstance(value, BaseModel):
        return []
    extra = [f"{at}.{name}" for name in value.model_extra or {}]
    for name in type(value).model_fields:
        extra += leftovers(getattr(value, name, None), f"{at}.{name}")
    return extra


def read_strictly(reply: BaseModel) -> None:
    """The reply is what the SDK's class says, with the values it allows, and nothing else."""
    assert leftovers(reply) == []
    type(reply).model_validate(reply.model_dump(mode="json", by_alias=True, exclude_unset=True))
