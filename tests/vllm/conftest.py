"""Servers, scenes and a profile for the tests against a real vLLM.

`make test-vllm` runs them; the default test run leaves them out (norecursedirs in pyproject.toml).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import orjson
import pytest
from PIL import Image
from real_vllm.adapter import write_adapter
from real_vllm.questions import CONTEXT_TOKENS, PROFILE, QUESTIONS, SCENES, Asked, Shown
from real_vllm.server import VENV, VllmServer

from unsaf_async.calls.backends.http import HttpBackend
from unsaf_async.calls.backends.openai_wire import OpenAIWire
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImagePolicy
from unsaf_async.world.questions import answerable, unanswerable
from unsaf_async.world.scene import scenes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


def pytest_configure() -> None:
    if not (VENV / ".ready").exists():
        pytest.exit("there is no vLLM in .venv-vllm: `make test-vllm` installs it and runs these tests", 2)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> list[Shown]:
    """Scenes that no model was trained on; a manifest `world.jsonl` lies beside the pictures."""
    folder = tmp_path_factory.mktemp("world")
    shown, rows = [], []
    for number, (scene, pixels) in enumerate(scenes("test", SCENES, 0)):
        file = folder / f"{number:02d}.png"
        Image.fromarray(pixels).save(file)
        shown.append(Shown(scene, file, encode(file, ImagePolicy())[0]))
        rows.append({"id": f"scene-{number}", "image": file.name, "scene": str(scene)})
    (folder / "world.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return shown


@pytest.fixture(scope="session")
def manifest(world: list[Shown]) -> Path:
    """The list of `world`'s pictures."""
    return world[0].file.with_name("world.jsonl")


@pytest.fixture(scope="session")
def asked(world: list[Shown]) -> list[Asked]:
    """Questions about every picture of `world`, as many with an answer as without."""
    rng = random.Random(0)
    questions = []
    for shown in world:
        for _ in range(QUESTIONS):
            questions.append(Asked(shown, answerable(shown.scene, rng).text, "answerable"))
            if posed := unanswerable(shown.scene, rng):
                questions.append(Asked(shown, posed.text, "unanswerable"))
    return questions


@pytest.fixture
def profile(tmp_path: Path) -> str:
    """The name of a profile for the tiny model, in the test's own ./providers."""
    folder = tmp_path / "providers"
    folder.mkdir()
    (folder / "local.toml").write_text(PROFILE)
    return "local"


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """The model, and as "student" the model with a LoRA adapter."""
    folder = tmp_path_factory.mktemp("vllm")
    write_adapter(folder / "adapter")
    server = VllmServer(
        folder / "log.txt",
        f'--hf-overrides={{"text_config": {{"max_position_embeddings": {CONTEXT_TOKENS}}}}}',
        "--enable-lora",
        "--max-lora-rank=8",
        f"--lora-modules=student={folder / 'adapter'}",
        '--limit-mm-per-prompt={"image": 1}',
        # Between JSON's tokens any white space is allowed by default, and a model that never learnt JSON writes nothing else.
        '--structured-outputs-config={"backend": "xgrammar", "disable_any_whitespace": true}',
    )
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def backend(vllm: VllmServer) -> AsyncIterator[HttpBackend]:
    """The engine's client for `vllm`."""
    backend = HttpBackend(OpenAIWire(), vllm.url)
    try:
        yield backend
    finally:
        await backend.aclose()
