"""What all worlds share: a grid of three by three cells, its drawing, its picture, and the split that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

SceneSplit = Literal["train", "validation", "test"]

SIDE = 3
"""Cells per row and per column."""
CELL_PX = 16
IMAGE_PX = SIDE * CELL_PX
"""The picture's width and height."""

COVERED_SHARE = 0.13
EMPTY_SHARE = 0.34
LEAST_THINGS = 2
GROUND = (238, 255)
"""The darkest and the lightest ground."""


@dataclass(frozen=True)
class Grid(Generic[T]):
    """Nine cells, row by row: each holds a thing in full view, a cover with nobody knows what below it, or nothing."""

    cells: tuple[T | Literal["covered"] | None, ...]

    @cached_property
    def things(self) -> dict[int, T]:
        """What can be seen, by cell."""
        return {index: cast("T", cell) for index, cell in enumerate(self.cells) if cell not in ("covered", None)}

    @cached_property
    def covered(self) -> tuple[int, ...]:
        """The cells under a cover."""
        return tuple(index for index, cell in enumerate(self.cells) if cell == "covered")

    @cached_property
    def empty(self) -> tuple[int, ...]:
        """The cells with nothing in them."""
        return tuple(index for index, cell in enumerate(self.cells) if cell is None)

    def __str__(self) -> str:
        """`small red star | covered | nothing | ...`: what identifies the scene."""
        return " | ".join(str(cell or "nothing") for cell in self.cells)

    @classmethod
    def read(cls, text: str) -> Self:
        """The scene that a text spells.

        Args:
            text: Nine cells exactly as `str` writes them.

        Returns:
            The scene.

        Raises:
            ValueError: It is any other text.
        """
        cells, wanted = text.split(" | "), SIDE * SIDE
        if len(cells) != wanted:
            raise ValueError(f"a scene has {wanted} cells, separated by ' | '; found {len(cells)} in {text[:60]!r}")
        return cls(tuple(map(cls._read_cell, cells)))

    @classmethod
    def _read_cell(cls, text: str) -> T | Literal["covered"] | None:
        if text == "covered":
            return "covered"
        return None if text == "nothing" else cast("T", cls._read_thing(text))

    @staticmethod
    def _read_thing(text: str) -> Any:
        raise NotImplementedError

    @cached_property
    def split(self) -> SceneSplit:
        """The split that this scene belongs to, by its content: of 100 scenes 80 train, 10 validate and 10 test."""
        share = int.from_bytes(sha256(str(self).encode()).digest()[:4]) % 100
        return "test" if share < 10 else "validation" if share < 20 else "train"


G = TypeVar("G", bound=Grid[Any])


def draw_cells(
    rng: Random, thing: Callable[[Random], T], covered: float = COVERED_SHARE, empty: float = EMPTY_SHARE
) -> tuple[T | Literal["covered"] | None, ...]:
    """Nine cells at random, with at least `LEAST_THINGS` things to be seen.

    Args:
        rng: It is advanced.
        thing: Draws one.
        covered: The share of covered cells.
        empty: The share of empty ones.

    Returns:
        The cells.
    """

    def cell() -> T | Literal["covered"] | None:
        share = rng.random()
        if share < covered:
            return "covered"
        return None if share < covered + empty else thing(rng)

    while True:
        cells = tuple(cell() for _ in range(SIDE * SIDE))
        if sum(each not in ("covered", None) for each in cells) >= LEAST_THINGS:
            return cells


def drawn(
    split: SceneSplit,
    count: int,
    seed: int,
    draw: Callable[[Random], G],
    render: Callable[[G, Random], NDArray[np.uint8]],
) -> Iterator[tuple[G, NDArray[np.uint8]]]:
    """Scenes of a split with their pictures, the same ones for the same seed.

    Args:
        split: The scenes' split.
        count: How many; scenes may come twice.
        seed: Of the drawing.
        draw: Draws a scene of any split.
        render: Draws a scene's picture.

    Yields:
        (scene, picture [48, 48, 3]).
    """
    rng = Random(f"{split} {seed}")
    for _ in range(count):
        scene = draw(rng)
        while scene.split != split:
            scene = draw(rng)
        yield scene, render(scene, rng)


def paint(
    scene: Grid[T],
    rng: Random,
    paint_thing: Callable[[NDArray[np.float32], T, Random], None],
    paint_ground: Callable[[NDArray[np.float32]], None] = lambda _: None,
    shades: tuple[int, int] = GROUND,
) -> NDArray[np.uint8]:
    """A scene's picture: a ground that varies, covers, things, and a little noise.

    Args:
        scene: The scene.
        rng: Decides what varies; it is advanced.
        paint_thing: Paints a thing into its cell, [16, 16, 3].
        paint_ground: Paints what every cell has.
        shades: The darkest and the lightest ground.

    Returns:
        Bytes, [48, 48, 3].
    """
    import numpy as np

    picture = np.full((IMAGE_PX, IMAGE_PX, 3), rng.randint(*shades), np.float32)
    for index, cell in enumerate(scene.cells):
        row, column = divmod(index, SIDE)
        at = picture[row * CELL_PX : (row + 1) * CELL_PX, column * CELL_PX : (column + 1) * CELL_PX]
        paint_ground(at)
        if cell == "covered":
            at[1:15, 1:15] = 128
            at[1:15:4, 1:15] = 96
        elif cell is not None:
            paint_thing(at, cell, rng)
    noise = np.random.default_rng(rng.getrandbits(64)).normal(0, 3, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)
