"""An examined image about which more is asked keeps its examination where the image cannot be used any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from doubles import IMAGE

from unsaf_async.inputs.policy import ImageError
from unsaf_async.inputs.sources import ImageSource
from unsaf_async.records import Examination, ImageRecord
from unsaf_async.runs.one_image import ImageExaminer, Skipped


class Loader:
    """Loads one image, or fails."""

    def __init__(self, error: ImageError | None = None) -> None:
        self.error = error

    async def load(self, path: Path) -> tuple[Any, str]:
        """The image and the digest of its file."""
        if self.error:
            raise self.error
        return IMAGE, "digest"


@pytest.mark.parametrize(
    ("error", "file_sha256", "pixels_sha256", "reason"),
    [
        (ImageError("cannot be read"), None, IMAGE.pixels_sha256, "cannot be read"),
        (None, "another", IMAGE.pixels_sha256, "the image has changed since its questions were written"),
        (None, "digest", "others", "the image has changed since"),
        (None, None, "others", "the image has changed since"),
    ],
)
async def test_an_image_that_cannot_be_used_any_more_is_skipped(
    error: ImageError | None, file_sha256: str | None, pixels_sha256: str, reason: str
) -> None:
    nothing = cast("Any", None)
    examiner = ImageExaminer(nothing, nothing, cast("Any", Loader(error)), nothing, nothing)
    source = ImageSource("one.png", Path("one.png"), {}, (), file_sha256)
    examination = Examination(image=ImageRecord(id="one.png", path="one.png", pixels_sha256=pixels_sha256))
    with pytest.raises(Skipped) as skipped:
        await examiner.complete(source, examination)
    assert str(skipped.value) == reason
