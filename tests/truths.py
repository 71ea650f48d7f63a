"""Simulated models whose truth is stated, as profiles in ./providers, and runs of them: what the proofs share."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driving import draw_images

from unsaf_async.runs.begin import begin
from unsaf_async.runs.folder import reopen
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.prepare import asking_more, prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.records import Examination
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import RunFolder


@dataclass(frozen=True)
class Measured:
    """A finished run."""

    found: Findings
    kept: list[Examination]
    runner: Runner


def scripted_model(name: str, *, seed: int = 0, input_usd_per_mtok: float = 0, **awareness: float) -> None:
    """Add a simulated model of this name, in this process, to ./providers; awareness: fields of `scripted.Awareness`."""
    extra = ", ".join(f"{field} = {value}" for field, value in {"seed": seed, **awareness}.items())
    text = f'backend = "scripted"\nmodel = "{name}"\nextra = {{ {extra} }}\n'
    text += f"price = {{ input_usd_per_mtok = {input_usd_per_mtok}, output_usd_per_mtok = 0 }}\n"
    text += 'tokens = { image = { formula = "fixed", constants = { tokens = 258 } } }\n'
    _profile(name, text + "takes = { seed = true, logprobs = true }\n")


def served_model(
    name: str, endpoint: str, price: tuple[float, float], *, attempts: int = 6, concurrency: int = 32
) -> None:
    """Add a model of this name, served at `endpoint` in OpenAI's format, to ./providers. price: USD per million tokens."""
    text = (
        f'backend = "openai"\nmodel = "{name}"\nendpoint = "{endpoint}"\nretry_wait_s = 0.01\nattempts = {attempts}\n'
    )
    text += f"limits = {{ concurrency = {concurrency} }}\n"
    _profile(name, text + f"price = {{ input_usd_per_mtok = {price[0]}, output_usd_per_mtok = {price[1]} }}\n")


def _profile(name: str, text: str) -> None:
    folder = Path("providers")
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text(text)


def measured(provider: str, images: Sequence[Path | str], out: Path, **options: Any) -> Measured:
    """A run of `provider`, whole. options: fields of `Settings`."""
    return asyncio.run(measure(provider, images, out, **options))


def measured_with_header(header: str) -> Path:
    """The folder of a run of a model, "ada", whose requests carry this header."""
    scripted_model("ada")
    file = Path("providers/ada.toml")
    file.write_text(file.read_text() + f'headers = {{ x-team = "{header}" }}\n')
    measured("ada", draw_images(Path("images"), 3), Path("r"), max_cost=1.0)
    return Path("r")


async def measure(provider: str, images: Sequence[Path | str], out: Path, **options: Any) -> Measured:
    """As `measured`."""
    given: dict[str, Any] = {"questions": 3, "cache": None, **options}
    prepared = await prepare(Settings(provider, images=images, out=out, **given))
    with begin(prepared) as folder:
        return await _run_whole(folder)


def resumed(out: Path, **more: Any) -> Measured:
    """The run at `out` gone on with. more: names of `_MORE`, and fields of the manifest to change."""
    return asyncio.run(resume(out, **more))


async def resume(out: Path, **more: Any) -> Measured:
    """As `resumed`."""
    asked = {name: more.pop(name, default) for name, default in _MORE.items()}
    with reopen(out) as folder:
        manifest = await asking_more(folder.manifest, **asked)
        folder.keep_manifest(manifest.model_copy(update=more))
        return await _run_whole(folder)


_MORE: dict[str, Any] = {
    "audit": (), "grounded": False, "confidence": False, "samples": 0, "controls": (), "controls_per_image": 1,
}  # fmt: skip


async def _run_whole(folder: RunFolder) -> Measured:
    runner = Runner(folder)
    found = await runner.run()
    return Measured(found, list(read_journal(folder.files.journal).values()), runner)


def write_lines(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """`rows` as JSON lines."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
