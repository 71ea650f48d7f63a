"""`judge sheet`: responses of a run, drawn at random, for people to label."""

from __future__ import annotations

import json
from bisect import bisect_right
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from unsaf_async.runs.saved import SavedRun


def label_sheet(run: SavedRun, responses: int, seed: int = 0, *, whole_images: bool = False) -> list[str]:
    """Rows of a sheet of responses without labels, in the form that `judge calibrate` reads.

    The draw does not look at the judge's verdicts, and the sheet does not tell them: labels that follow them, or a share of
    abstentions that was chosen by them, would make the judge look better than it is.

    Args:
        run: The run.
        responses: How many at most, >= 1.
        seed: Of the draw and of the rows' order, >= 0.
        whole_images: Whether images are drawn, with all of their responses, and not single responses.

    Returns:
        A JSON object a row: question, text (the response), label (null) and the image's id.

    Raises:
        UserError: `responses` or `seed` is out of its range, no image fits in, or the run holds no whole response.
    """
    if responses < 1:
        raise UserError(f"is {responses}; give 1 or more", "responses")
    if seed < 0:
        raise UserError(f"is {seed}; give 0 or more", "seed")
    rows: list[dict[str, str | None]] = [
        {"question": question.text, "text": question.response, "label": None, "image": examination.image.id}
        for examination in run.kept.in_order(sorted(run.kept))
        for question in examination.questions
        if question.answer.outcome == "ok" and question.response.strip()
    ]
    if not rows:
        raise UserError(f"{run.folder}: holds no whole response; give another run")
    chance = Random(seed)
    if whole_images:
        by_image: dict[str, list[dict[str, str | None]]] = {}
        for row in rows:
            by_image.setdefault(str(row["image"]), []).append(row)
        images = list(by_image.values())
        drawn_images = chance.sample(images, len(images))
        ends = list(accumulate(map(len, drawn_images)))
        whole = bisect_right(
            ends, responses
        )  # part of an image would be its first questions, which are the answerable ones
        if not whole:
            raise UserError(
                f"is {responses}, and images are drawn whole: the first one has {ends[0]} responses; give at least that",
                "responses",
            )
        rows = [row for image in drawn_images[:whole] for row in image]
    drawn = chance.sample(rows, min(responses, len(rows)))
    return [json.dumps(row, ensure_ascii=False) for row in drawn]
