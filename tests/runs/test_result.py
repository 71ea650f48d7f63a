"""Equal examinations give equal findings, whatever order they finished in."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

from driving import draw_images

from unsaf_async.runs.begin import begin
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_journal_in_another_order_gives_the_same_score(tmp_path: Path) -> None:
    """Byte for byte, but for the times: with every figure that is resampled, or is a mean of floats."""
    settings = Settings(
        "scripted",
        images=draw_images(tmp_path / "images", 12),
        out=tmp_path / "run",
        cache=None,
        questions=3,
        judge=("self",),
        grounded=True,
        confidence=True,
        samples=2,
    )
    with begin(await prepare(settings)) as folder:
        await Runner(folder).run()
    files = SavedRun(tmp_path / "run").files
    written = files.score.read_text("utf-8")
    wall_s = json.loads(written)["wall_s"]
    lines = files.journal.read_bytes().splitlines(keepends=True)
    random = Random(0)
    for _ in range(3):
        random.shuffle(lines)
        files.journal.write_bytes(b"".join(lines))
        findings = SavedRun(tmp_path / "run").findings
        assert findings.grounded is not None
        assert findings.grounded.accuracy_ci is not None
        assert findings.model_copy(update={"wall_s": wall_s}).model_dump_json(indent=2) + "\n" == written
