"""Scenes: a three by three grid of things, empty cells and covered cells; and their pictures.

A scene is drawn from a seeded generator and belongs to one split by its content, so that no scene of the training split
can turn up in the test split, whatever the seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from unsaf_async.world.grid import (
    CELL_PX,
    COVERED_SHARE,
    EMPTY_SHARE,
    GROUND,
    SIDE,
    Grid,
    SceneSplit,
    draw_cells,
    drawn,
    paint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    import numpy as np
    from numpy.typing import NDArray

SIZES = ("small", "large")
COLORS = {
    "red": (214, 40, 40),
    "green": (40, 158, 62),
    "blue": (50, 84, 222),
    "yellow": (236, 206, 40),
    "purple": (142, 52, 172),
    "orange": (242, 132, 28),
    "pink": (246, 146, 190),
    "black": (34, 34, 38),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "diamond", "ring", "heart")
CELLS = ("northwest", "north", "northeast", "west", "middle", "east", "southwest", "south", "southeast")
"""The grid's cells, row by row. One word each: a name of two words is one more thing to learn."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How scenes are drawn. The tiny models have seen the defaults alone."""

    covered: float = COVERED_SHARE
    """The share of covered cells."""
    empty: float = EMPTY_SHARE
    """The share of empty cells."""
    shift_px: tuple[int, int] = (2, 1)
    """The most that a thing stands off its cell's center, of small ones and of large ones."""
    shade: int = 10
    """The most that each channel of a color is off."""
    ground: tuple[int, int] = GROUND
    """The darkest and the lightest ground."""


USUAL = Drawing()
UNUSUAL = Drawing(covered=0.2, empty=0.15, shift_px=(3, 1), shade=25, ground=(205, 232))
"""Fuller scenes with larger shifts, other shades and a darker ground: what nothing was trained on."""


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """What stands in a cell."""

    size: str
    color: str
    shape: str

    def __str__(self) -> str:
        return f"{self.size} {self.color} {self.shape}"


@dataclass(frozen=True)
class Scene(Grid[Thing]):
    """Nine cells, row by row, in the order of `CELLS`."""

    @staticmethod
    def _read_thing(text: str) -> Thing:
        match text.split(" "):
            case [size, color, shape] if size in SIZES and color in COLORS and shape in SHAPES:
                return Thing(size, color, shape)
        raise ValueError(f"{text[:60]!r} is no cell; write 'nothing', 'covered', or a thing such as 'small red star'")


def neighbor(index: int, direction: str) -> int | None:
    """The cell next to another one.

    Args:
        index: A cell, from 0 to 8.
        direction: "left of", "right of", "above" or "below" it.

    Returns:
        The neighbor's index; None off the grid.
    """
    row, column = divmod(index, SIDE)
    down, right = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}[direction]
    row, column = row + down, column + right
    return row * SIDE + column if 0 <= row < SIDE and 0 <= column < SIDE else None


def draw(rng: Random, drawing: Drawing = USUAL) -> Scene:
    """One scene at random, with at least two things to be seen.

    Args:
        rng: It is advanced.
        drawing: How often cells are covered or empty.

    Returns:
        The scene, of any split.
    """
    return Scene(draw_cells(rng, _draw_thing, drawing.covered, drawing.empty))


def _draw_thing(rng: Random) -> Thing:
    return Thing(rng.choice(SIZES), rng.choice(tuple(COLORS)), rng.choice(SHAPES))


def scenes(
    split: SceneSplit, count: int, seed: int, drawing: Drawing = USUAL
) -> Iterator[tuple[Scene, NDArray[np.uint8]]]:
    """Scenes of a split with their pictures, the same ones for the same seed.

    Args:
        split: The scenes' split.
        count: How many; scenes may come twice.
        seed: Of the drawing.
        drawing: How they are drawn.

    Returns:
        Pairs of a scene and its picture [48, 48, 3].
    """
    return drawn(split, count, seed, partial(draw, drawing=drawing), partial(render, drawing=drawing))


def render(scene: Scene, rng: Random, drawing: Drawing = USUAL) -> NDArray[np.uint8]:
    """A scene's picture: things shifted by a pixel or two, shades and the ground varied, a little noise.

    Args:
        scene: The scene.
        rng: Decides shifts, shades and noise; it is advanced.
        drawing: The bounds of these.

    Returns:
        Bytes, [48, 48, 3].
    """
    import numpy as np

    def paint_thing(at: NDArray[np.float32], thing: Thing, rng: Random) -> None:
        most = drawing.shift_px[SIZES.index(thing.size)]
        shift = rng.randint(-most, most), rng.randint(-most, most)
        mask = np.roll(_mask(thing.shape, thing.size), shift, (0, 1))[..., None]
        shade = [value + rng.randint(-drawing.shade, drawing.shade) for value in COLORS[thing.color]]
        at[:] = at * (1 - mask) + np.array(shade, np.float32) * mask

    return paint(scene, rng, paint_thing, shades=drawing.ground)


@cache
def _mask(shape: str, size: str) -> NDArray[np.float32]:
    """How much of each of the 16 x 16 pixels the shape covers, 0 to 1."""
    import numpy as np
    from PIL import Image, ImageDraw

    fine = 8  # drawn larger and averaged down: soft edges
    side = CELL_PX * fine
    mask = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(mask)
    mid, reach = side / 2, (3.6 if size == "small" else 6.2) * fine

    def box(width: float, height: float) -> tuple[float, float, float, float]:
        return mid - width, mid - height, mid + width, mid + height

    match shape:
        case "circle":
            pen.ellipse(box(reach, reach), fill=255)
        case "square":
            pen.rectangle(box(reach * 0.88, reach * 0.88), fill=255)
        case "triangle":
            foot = mid + reach * 0.85
            pen.polygon([(mid, mid - reach), (mid + reach, foot), (mid - reach, foot)], fill=255)
        case "star":
            turns = [(-np.pi / 2 + point * np.pi / 5, reach * (1.1 if point % 2 == 0 else 0.45)) for point in range(10)]
            pen.polygon([(mid + far * np.cos(turn), mid + far * np.sin(turn)) for turn, far in turns], fill=255)
        case "cross":
            pen.rectangle(box(reach * 0.34, reach), fill=255)
            pen.rectangle(box(reach, reach * 0.34), fill=255)
        case "diamond":
            tall, wide = reach * 1.1, reach * 0.8
            pen.polygon([(mid, mid - tall), (mid + wide, mid), (mid, mid + tall), (mid - wide, mid)], fill=255)
        case "ring":
            pen.ellipse(box(reach, reach), fill=255)
            pen.ellipse(box(reach * 0.55, reach * 0.55), fill=0)
        case "heart":
            lobe = reach * 0.52
            for side_of in (-1, 1):
                at = mid + side_of * lobe * 0.92
                pen.ellipse((at - lobe, mid - reach * 0.8, at + lobe, mid - reach * 0.8 + 2 * lobe), fill=255)
            wide, brow = reach * 0.97, mid - reach * 0.1
            pen.polygon([(mid - wide, brow), (mid + wide, brow), (mid, mid + reach)], fill=255)
    return np.asarray(mask.resize((CELL_PX, CELL_PX), Image.Resampling.BOX), np.float32) / np.float32(255)
