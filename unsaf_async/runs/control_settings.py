"""Which controls a user asks for, and whether they can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.errors import UserError, setting
from unsaf_async.records import CONTROL_KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.records import ControlKind

MOST_CONTROLS = 50
"""Questions of an image that are asked again with one kind of picture."""


def control_kinds(given: str | Sequence[str]) -> tuple[ControlKind, ...]:
    """The kinds of controls that a user names.

    Args:
        given: Names, or several in one text with commas between.

    Returns:
        Each once, in the order of `CONTROL_KINDS`; () for none.

    Raises:
        UserError: There is no such kind.
    """
    texts = (given,) if isinstance(given, str) else given
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in CONTROL_KINDS:
            raise UserError(f"is {name!r}; give {', '.join(CONTROL_KINDS)} or both with a comma", field="controls")
    return tuple(kind for kind in CONTROL_KINDS if kind in names)


def both_kinds(one: Sequence[ControlKind], other: Sequence[ControlKind]) -> tuple[ControlKind, ...]:
    """The kinds of controls that either of two has.

    Args:
        one: Some kinds.
        other: Some more.

    Returns:
        Each once, in the order of `CONTROL_KINDS`.
    """
    return tuple(kind for kind in CONTROL_KINDS if kind in (*one, *other))


def check_controls(kinds: Sequence[ControlKind], per_image: int, *, images: int, labelled: bool) -> None:
    """Checks that controls can be asked.

    Args:
        kinds: Of which there are to be some.
        per_image: How many of each kind an image is to have.
        images: The run's.
        labelled: Whether its questions are a labelled set's.

    Raises:
        UserError: They cannot.
    """
    if not 1 <= per_image <= MOST_CONTROLS:
        raise UserError(f"is {per_image}; give a whole number from 1 to {MOST_CONTROLS}", field="controls_per_image")
    if kinds and labelled:
        raise UserError(
            ": are for questions that a model wrote, and a labelled set has its own without an answer; leave it out",
            field="controls",
        )
    if "other" in kinds and images < 2:
        raise UserError(
            f"{setting('controls', 'other')}: shows another image of the run, which has one; give more images, or "
            f"{setting('controls', 'blank')}"
        )
