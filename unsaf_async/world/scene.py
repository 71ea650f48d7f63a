"""Scenes: a three by three grid of things, empty cells and covered cells; and their pictures.

A scene is drawn from a seeded generator and belongs to one split by its content, so that no scene of the training split
can turn up in the test split, whatever the seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

SceneSplit = Literal["train", "validation", "test"]

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

SIDE = 3
"""Cells per row and per column."""
CELL_PX = 16
IMAGE_PX = SIDE * CELL_PX
"""The picture's width and height."""

LEAST_THINGS = 2


@dataclass(frozen=True, slots=True)
class Drawing:
    """How scenes are drawn. The tiny models have seen the defaults alone."""

    covered: float = 0.13
    """The share of covered cells."""
    empty: float = 0.34
    """The share of empty cells."""
    shift_px: tuple[int, int] = (2, 1)
    """The most that a thing stands off its cell's center, of small ones and of large ones."""
    shade: int = 10
    """The most that each channel of a color is off."""
    ground: tuple[int, int] = (238, 255)
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


Cell = Thing | Literal["covered"] | None
"""A thing in full view, a striped cover with nobody knows what below it, or nothing."""


@dataclass(frozen=True)
class Scene:
    """Nine cells, row by row, in the order of `CELLS`."""

    cells: tuple[Cell, ...]

    @cached_property
    def things(self) -> dict[int, Thing]:
        """What can be seen, by cell."""
        return {index: cell for index, cell in enumerate(self.cells) if isinstance(cell, Thing)}

    @cached_property
    def covered(self) -> tuple[int, ...]:
        """The cells under a cover."""
        return tuple(index for index, cell in enumerate(self.cells) if cell == "covered")

    def __str__(self) -> str:
        """`small red star | covered | nothing | ...`: what identifies the scene."""
        return " | ".join(str(cell or "nothing") for cell in self.cells)

    @staticmethod
    def read(text: str) -> Scene:
        """The scene that a text spells.

        Args:
            text: Nine cells exactly as `str` writes them.

        Returns:
            The scene.

        Raises:
            ValueError: It is any other text.
        """
        cells = text.split(" | ")
        if len(cells) != len(CELLS):
            raise ValueError(f"a scene has {len(CELLS)} cells, separated by ' | '; found {len(cells)} in {text[:60]!r}")
        return Scene(tuple(map(_read_cell, cells)))

    @cached_property
    def split(self) -> SceneSplit:
        """The split that this scene belongs to, by its content: of 100 scenes 80 train, 10 validate and 10 test."""
        share = int.from_bytes(sha256(str(self).encode()).digest()[:4]) % 100
        return "test" if share < 10 else "validation" if share < 20 else "train"


def _read_cell(text: str) -> Cell:
    match text.split(" "):
        case ["covered"]:
            return "covered"
        case ["nothing"]:
            return None
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
    """One scene at random, with at least `LEAST_THINGS` things to be seen.

    Args:
        rng: It is advanced.
        drawing: How often cells are covered or empty.

    Returns:
        The scene, of any split.
    """
    while True:
        scene = Scene(tuple(_draw_cell(rng, drawing) for _ in CELLS))
        if len(scene.things) >= LEAST_THINGS:
            return scene


def _draw_cell(rng: Random, drawing: Drawing) -> Cell:
    share = rng.random()
    if share < drawing.covered:
        return "covered"
    if share < drawing.covered + drawing.empty:
        return None
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

    Yields:
        (scene, picture [48, 48, 3]).
    """
    rng = Random(f"{split} {seed}")
    for _ in range(count):
        scene = draw(rng, drawing)
        while scene.split != split:
            scene = draw(rng, drawing)
        yield scene, render(scene, rng, drawing)


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

    picture = np.full((IMAGE_PX, IMAGE_PX, 3), rng.randint(*drawing.ground), np.float32)
    for index, cell in enumerate(scene.cells):
        row, column = divmod(index, SIDE)
        at = picture[row * CELL_PX : (row + 1) * CELL_PX, column * CELL_PX : (column + 1) * CELL_PX]
        if cell == "covered":
            at[1:15, 1:15] = 128
            at[1:15:4, 1:15] = 96
        elif isinstance(cell, Thing):
            most = drawing.shift_px[SIZES.index(cell.size)]
            shift = rng.randint(-most, most), rng.randint(-most, most)
            mask = np.roll(_mask(cell.shape, cell.size), shift, (0, 1))[..., None]
            shade = np.array(
                [value + rng.randint(-drawing.shade, drawing.shade) for value in COLORS[cell.color]], np.float32
            )
            at[:] = at * (1 - mask) + shade * mask
    noise = np.random.default_rng(rng.getrandbits(64)).normal(0, 3, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


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
