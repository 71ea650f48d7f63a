"""Why a request hits or misses the cache: its key's parts, compared with those of the nearest stored reply."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.calls.disk import entries
from unsaf_async.calls.request import RequestBuilder
from unsaf_async.calls.stored_reply import digests_of, key_of, key_parts
from unsaf_async.errors import as_option
from unsaf_async.examine.examiner import LABELS
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImageError
from unsaf_async.runs.prepare import check_settings, policy_of, prepare

if TYPE_CHECKING:
    from unsaf_async.records import Request
    from unsaf_async.runs.settings import Settings

NAMES = {"pixels": "the image as sent", "text": "the prompt's wording", "extra": "the profile's extra fields"}
"""How a part of the key is called, where its own name does not say it."""


async def explain(settings: Settings) -> list[str]:
    """Whether each image's question-writing calls are in the cache, and why not. Calls nobody.

    Reads the whole cache: some seconds for a million replies.

    Args:
        settings: Of the run that would make the calls.

    Returns:
        A line a call: hit, or miss and why; at last how many of the images were looked at, if not all.

    Raises:
        UserError: As `prepare` does.
    """
    check_settings(settings)
    prepared = await prepare(replace(settings, limit=None))
    assert settings.cache is not None
    stored = {key: stored_object["parts"] for key, stored_object in entries(Path(settings.cache))}
    builder = RequestBuilder(prepared.subject, settings.questions, settings.seed)
    lines = []
    looked_at = prepared.images[: settings.limit]
    for source in looked_at:
        try:
            image, _ = encode(source.place, policy_of(prepared.subject))
        except ImageError as error:
            lines.append(f"{source.id}: cannot be read ({error})")
            continue
        for label in LABELS:
            prompt = prepared.pack.ask(label, settings.questions)
            request = builder.request("ask", prompt, image=image, schema=prepared.pack.schema(label))
            lines.append(f"{source.id}: ask {label}: {_verdict(request, stored)}")
    if len(looked_at) < len(prepared.images):
        lines.append(f"{len(looked_at)} of {len(prepared.images)} images; {as_option('limit')} N looks at more")
    return lines


def _verdict(request: Request, stored: dict[str, dict[str, str]]) -> str:
    parts = key_parts(request)
    key = key_of(parts)
    if key in stored:
        return f"hit ({key[:12]})"
    mine = digests_of(parts)
    if not stored:
        return "miss: nothing is stored"

    # The nearest: the fewest differing parts; of those, one of the same model, about the same image and in the same words.
    def distance(key: str) -> tuple[int, bool, bool, bool]:
        theirs = stored[key]
        differing = [name for name in mine if theirs.get(name) != mine[name]]
        return len(differing), "model" in differing, "pixels" in differing, "text" in differing

    nearest = min(stored, key=distance)
    differing = [NAMES.get(name, name) for name in mine if stored[nearest].get(name) != mine[name]]
    if not differing:
        return (
            f"miss: the nearest stored reply ({nearest[:12]}) was cut off, refused or blocked, and belongs to its run"
        )
    return f"miss: the nearest stored reply ({nearest[:12]}) differs in {', '.join(differing)}"
