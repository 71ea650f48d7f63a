"""Scenes that are drawn in other ways than those that the models were trained on."""

from __future__ import annotations

import numpy as np

from unsaf_async.world.scene import UNUSUAL, USUAL, Drawing, scenes


def test_unusual_scenes_are_fuller_and_darker_and_their_things_stand_further_off() -> None:
    def of(drawing: Drawing) -> tuple[float, float, float]:
        drawn = list(scenes("test", 200, 1, drawing))
        things = np.mean([len(scene.things) for scene, _ in drawn])
        covered = np.mean([len(scene.covered) for scene, _ in drawn])
        ground = np.median([np.median(picture.max(-1)) for _, picture in drawn])
        return float(things), float(covered), float(ground)

    usual, unusual = of(USUAL), of(UNUSUAL)
    assert unusual[0] > usual[0] + 0.5
    assert unusual[1] > usual[1] + 0.3
    assert unusual[2] < usual[2] - 15
    assert all(scene.split == "test" for scene, _ in scenes("test", 20, 1, UNUSUAL))


def test_every_bound_of_a_drawing_counts() -> None:
    def pictures(drawing: Drawing) -> np.ndarray:
        return np.stack([picture for _, picture in scenes("train", 20, 2, drawing)]).astype(int)

    usual = pictures(USUAL)
    for other in (Drawing(shift_px=(3, 1)), Drawing(shift_px=(2, 0)), Drawing(shade=25), Drawing(ground=(200, 210))):
        assert not np.array_equal(pictures(other), usual)
    assert np.array_equal(pictures(Drawing()), usual)
