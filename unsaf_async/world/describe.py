"""What a scene shows, in words: as sentences that models learn to say, and as the words of each cell.

Every scene is asked for one of three descriptions. Looking things up is learned from them sooner than from questions alone: a
cell from the first, a thing by its shape or color, and that there is none, from the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.world.scene import CELLS, COLORS, SHAPES, SIZES, Scene

if TYPE_CHECKING:
    from collections.abc import Callable

DESCRIBE = "Describe the image."
DESCRIBE_BY_SHAPE = "Describe the image by shape."
DESCRIBE_BY_COLOR = "Describe the image by color."

HIDDEN, NOTHING = "hidden", "nothing"
"""What a covered cell holds, and an empty one."""

WORDS = (*CELLS, HIDDEN, NOTHING, *SIZES, *COLORS, *SHAPES)
"""All words for what is in a cell."""


def patch_words(scene: Scene) -> list[tuple[str, ...]]:
    """The words for what is in each cell, its name first.

    Args:
        scene: The scene.

    Returns:
        `("north", "small", "red", "star")`, `("south", "hidden")`, ...
    """
    return [
        (name, HIDDEN if cell == "covered" else NOTHING)
        if cell is None or cell == "covered"
        else (name, cell.size, cell.color, cell.shape)
        for name, cell in zip(CELLS, scene.cells, strict=True)
    ]


def described(scene: Scene) -> str:
    """What is in each cell: `northwest hidden, north small red star, northeast nothing, ...`.

    Args:
        scene: The scene.

    Returns:
        One sentence.
    """
    cells = zip(CELLS, scene.cells, strict=True)
    parts = (f"{name} {'hidden' if cell == 'covered' else cell or 'nothing'}" for name, cell in cells)
    return f"{', '.join(parts)}."


def described_by_shape(scene: Scene) -> str:
    """Where each shape is, and in which color: `circle nothing, square red north and blue west, ...`.

    Args:
        scene: The scene.

    Returns:
        One sentence.
    """
    parts = []
    for shape in SHAPES:
        places = [f"{thing.color} {CELLS[at]}" for at, thing in scene.things.items() if thing.shape == shape]
        parts.append(f"{shape} {' and '.join(places) or 'nothing'}")
    return f"{', '.join(parts)}."


def described_by_color(scene: Scene) -> str:
    """Where each color is, and in which shape: `red square north, green nothing, ...`.

    Args:
        scene: The scene.

    Returns:
        One sentence.
    """
    parts = []
    for color in COLORS:
        places = [f"{thing.shape} {CELLS[at]}" for at, thing in scene.things.items() if thing.color == color]
        parts.append(f"{color} {' and '.join(places) or 'nothing'}")
    return f"{', '.join(parts)}."


DESCRIPTIONS: tuple[tuple[str, Callable[[Scene], str]], ...] = (
    (DESCRIBE, described),
    (DESCRIBE_BY_SHAPE, described_by_shape),
    (DESCRIBE_BY_COLOR, described_by_color),
)
