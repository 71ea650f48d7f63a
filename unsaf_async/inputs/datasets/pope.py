"""POPE: yes/no probes for objects that are in an image or not.

Li et al., "Evaluating Object Hallucination in Large Vision-Language Models", EMNLP 2023 (arXiv 2305.10355);
https://github.com/RUCAIBox/POPE. One JSON object a line: question_id, image, text, label. The images are those of COCO val2014.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.inputs.datasets.shared import Row
from unsaf_async.inputs.lists import read_list
from unsaf_async.records import GivenQuestion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIELDS = frozenset({"question_id", "image", "text", "label"})


def rows(path: Path, images: Path | None) -> Iterator[Row]:
    """The probes in a file of POPE, all of them answerable, by "yes" or "no".

    Args:
        path: The file.
        images: The folder of the images; None for the file's folder and its subfolders val2014 and images.

    Yields:
        The rows, in the file's order.

    Raises:
        UserError: A row is not as the format has it.
    """
    folders = (images,) if images else (path.parent, path.parent / "val2014", path.parent / "images")
    for entry in read_list(path):
        label = entry.text("label").lower()
        if label not in ("yes", "no"):
            raise entry.wrong("label", "yes or no")
        image_id, candidates = entry.image(folders)
        given = GivenQuestion(
            text=entry.text("text"), intended="answerable", id=entry.key("question_id"), answers=(label,)
        )
        yield Row(entry.number, image_id, candidates, given)
