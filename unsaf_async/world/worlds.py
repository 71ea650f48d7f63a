"""The worlds: each one object that says how its scenes are drawn, asked about, described and judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from unsaf_async.world import describe as shapes_describe
from unsaf_async.world import oracle as shapes_oracle
from unsaf_async.world import questions as shapes_questions
from unsaf_async.world import scene as shapes_scene
from unsaf_async.world.charts import describe as charts_describe
from unsaf_async.world.charts import oracle as charts_oracle
from unsaf_async.world.charts import questions as charts_questions
from unsaf_async.world.charts import scene as charts_scene
from unsaf_async.world.grid import G, drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from random import Random

    import numpy as np
    from numpy.typing import NDArray

    from unsaf_async.world.grid import SceneSplit
    from unsaf_async.world.oracle import Finding
    from unsaf_async.world.questions import Posed


@dataclass(frozen=True)
class World(Generic[G]):
    """A world of pictures whose truth is known."""

    name: str
    read: Callable[[str], G]
    """The scene that a text spells."""
    draw: Callable[[Random], G]
    """Draws a scene of any split."""
    render: Callable[[G, Random], NDArray[np.uint8]]
    """Draws a scene's picture."""
    oracle: Callable[[G, str], Finding | None]
    """What a question is about a scene; None if it is not understood."""
    answerable: Callable[[G, Random], Posed]
    """A question that a scene answers."""
    unanswerable: Callable[..., Posed | None]
    """A question that it cannot settle; of a kind, if one is given."""
    probe: Callable[..., Posed]
    """A yes/no question of something that is `present` or is not."""
    descriptions: tuple[tuple[str, Callable[[G], str]], ...]
    """Prompts that ask what a scene shows, and what answers them."""
    patch_words: Callable[[G], list[tuple[str, ...]]]
    """The words for what is in each cell, its name first."""
    words: tuple[str, ...]
    """All words that `patch_words` may bring."""

    def scenes(self, split: SceneSplit, count: int, seed: int) -> Iterator[tuple[G, NDArray[np.uint8]]]:
        """Scenes of a split with their pictures, the same ones for the same seed.

        Args:
            split: The scenes' split.
            count: How many; scenes may come twice.
            seed: Of the drawing.

        Returns:
            Pairs of a scene and its picture [48, 48, 3].
        """
        return drawn(split, count, seed, self.draw, self.render)


SHAPES: World[shapes_scene.Scene] = World(
    name="shapes",
    read=shapes_scene.Scene.read,
    draw=shapes_scene.draw,
    render=shapes_scene.render,
    oracle=shapes_oracle.oracle,
    answerable=shapes_questions.answerable,
    unanswerable=shapes_questions.unanswerable,
    probe=shapes_questions.probe,
    descriptions=shapes_describe.DESCRIPTIONS,
    patch_words=shapes_describe.patch_words,
    words=shapes_describe.WORDS,
)
"""Things of a size, a color and a shape: what the shipped models know."""

CHARTS: World[charts_scene.Chart] = World(
    name="charts",
    read=charts_scene.Chart.read,
    draw=charts_scene.draw,
    render=charts_scene.render,
    oracle=charts_oracle.oracle,
    answerable=charts_questions.answerable,
    unanswerable=charts_questions.unanswerable,
    probe=charts_questions.probe,
    descriptions=charts_describe.DESCRIPTIONS,
    patch_words=charts_describe.patch_words,
    words=charts_describe.WORDS,
)
"""Bar charts of nine months."""

WORLDS: Mapping[str, World[Any]] = {world.name: world for world in (SHAPES, CHARTS)}
"""By name."""
