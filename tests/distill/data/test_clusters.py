"""Which images are one picture, where each goes, and what is too near an evaluation's images."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from unsaf_async.bundled import bundled
from unsaf_async.distill.data.clusters import (
    NEAR,
    ExcludedImage,
    clusters,
    hits,
    perceptual_hash,
    read_excluded,
    read_splits,
    split_of,
)
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("imagehash")


def encoded(image: Image.Image, form: str = "PNG", **options: int) -> bytes:
    stream = BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def photos() -> dict[str, Image.Image]:
    found = {}
    for file in sorted((bundled("images") / "photos").glob("*.*g")):
        with Image.open(file) as image:
            found[file.name] = image.convert("RGB")
    return found


def test_a_photo_that_is_resized_encoded_anew_or_brightened_is_the_same_picture_and_two_photos_are_not() -> None:
    found = {}
    for name, photo in photos().items():
        found[name] = perceptual_hash(encoded(photo))
        small = photo.resize((photo.width // 2, photo.height // 2))
        copies = (
            encoded(small),
            encoded(photo, "JPEG", quality=40),
            encoded(ImageEnhance.Brightness(small).enhance(1.2)),
        )
        for copy in copies:
            assert (found[name] ^ perceptual_hash(copy)).bit_count() <= NEAR, name
    assert len(found) == 10
    for one, other in combinations(found.values(), 2):
        assert (one ^ other).bit_count() > NEAR


def test_the_hash_is_imagehashs_own() -> None:
    import imagehash

    photo = photos()["coffee.jpg"]
    assert perceptual_hash(encoded(photo)) == int(str(imagehash.phash(photo)), 16)


def flipped(draw: st.DrawFn) -> dict[str, int]:
    """Hashes that lie near each other more often than chance has it."""
    made: list[int] = []
    for _ in range(draw(st.integers(0, 25))):
        base = draw(st.sampled_from(made)) if made and draw(st.booleans()) else draw(st.integers(0, 2**64 - 1))
        bits = draw(st.lists(st.integers(0, 63), max_size=8))
        for bit in bits:
            base ^= 1 << bit
        made.append(base)
    return {f"{place:04x}": value for place, value in enumerate(made)}


HASHES = st.composite(flipped)()


def joined(hashes: dict[str, int], distance: int) -> list[set[str]]:
    """The connected components, by brute force."""
    groups: list[set[str]] = []
    for name, value in hashes.items():
        near = [group for group in groups if any((hashes[each] ^ value).bit_count() <= distance for each in group)]
        groups = [group for group in groups if group not in near] + [{name}.union(*near)]
    return groups


@given(HASHES, st.integers(0, 12))
def test_clusters_are_the_connected_components_of_near_hashes_called_by_their_least_picture(
    hashes: dict[str, int], distance: int
) -> None:
    expected = {name: min(group) for group in joined(hashes, distance) for name in group}
    assert clusters(hashes, distance) == expected


@given(HASHES, st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(hashes: dict[str, int], random: object) -> None:
    names = list(hashes)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert clusters({name: hashes[name] for name in names}) == clusters(hashes)


@given(HASHES, st.integers(0, 2**31), st.sampled_from([(90, 5, 5), (34, 33, 33), (0, 50, 50)]))
def test_two_images_that_are_near_each_other_are_never_in_two_splits(
    hashes: dict[str, int], seed: int, percent: tuple[int, int, int]
) -> None:
    found = clusters(hashes)
    for one, other in combinations(hashes, 2):
        if (hashes[one] ^ hashes[other]).bit_count() <= NEAR:
            assert split_of(found[one], seed, percent) == split_of(found[other], seed, percent)


def test_more_pictures_than_a_block_holds_are_compared_across_blocks() -> None:
    hashes = {f"{n:05d}": (n * 0x9E3779B97F4A7C15) % 2**64 for n in range(700)}
    hashes["99999"] = hashes["00003"] ^ 0b111
    hashes["99998"] = hashes["00650"] ^ (1 << 63)
    found = clusters(hashes)
    assert found["99999"] == "00003"
    assert found["99998"] == "00650"
    assert len(set(found.values())) == 700


def test_splits_have_their_shares_and_another_seed_is_another_split() -> None:
    names = [f"picture {n}" for n in range(4_000)]
    of = [split_of(name, 0) for name in names]
    shares = {split: n / 4_000 for split, n in Counter(of).items()}
    assert shares == pytest.approx({"train": 0.90, "validation": 0.05, "test": 0.05}, abs=0.015)
    assert of != [split_of(name, 1) for name in names]
    assert {split_of(name, 0, (100, 0, 0)) for name in names} == {"train"}
    assert {split_of(name, 0, (0, 0, 100)) for name in names} == {"test"}


@pytest.mark.parametrize("text", ["", "90/10", "90/5/6", "a/b/c", "110/-5/-5", "89.5/5.5/5"])
def test_splits_are_three_whole_percentages_that_make_100(text: str) -> None:
    with pytest.raises(UserError, match="splits"):
        read_splits(text)


def test_a_copy_of_an_evaluations_image_is_a_hit_and_says_of_which(tmp_path: Path) -> None:
    folder = tmp_path / "pope" / "val"
    folder.mkdir(parents=True)
    cat, coffee = photos()["cat.png"], photos()["coffee.jpg"]
    (folder / "small cat.jpg").write_bytes(encoded(cat.resize((200, 200)), "JPEG", quality=60))
    (folder / "broken.jpg").write_bytes(b"no image")
    excluded, unread = read_excluded([tmp_path / "pope"])
    assert unread == 1
    hashes = {"a": perceptual_hash(encoded(cat)), "b": perceptual_hash(encoded(coffee))}
    assert hits(hashes, {}, excluded) == {"a": "val/small cat.jpg"}
    assert hits(hashes, {}, []) == {}


def test_an_equal_file_is_a_hit_whatever_its_hash() -> None:
    assert hits({"a": 0}, {"a": "beef"}, [ExcludedImage("x.png", "beef", 2**64 - 1)]) == {"a": "x.png"}


def test_a_folder_without_images_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"exclude_images: .*holds no image"):
        read_excluded([tmp_path])
