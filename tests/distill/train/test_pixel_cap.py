"""The cap on pixels, where each family's image processor keeps it; and that it holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from unsaf_async.distill.train.pixel_cap import pixel_cap, set_pixel_cap
from unsaf_async.errors import UserError


def qwen(least: int, patch: int) -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(patch_size=patch, size={"shortest_edge": least, "longest_edge": 16_777_216})


def of(images: Any) -> Any:
    return SimpleNamespace(image_processor=images)


@pytest.mark.parametrize(("least", "patch"), [(56 * 56, 14), (256 * 256, 16)], ids=["Qwen2.5-VL", "Qwen3-VL"])
def test_qwens_cap_is_an_area_that_its_images_keep_to(least: int, patch: int) -> None:
    images = qwen(least, patch)
    photo = Image.new("RGB", (1920, 1080))
    before = images(photo, return_tensors="np")["pixel_values"].shape[0]
    assert pixel_cap(of(images)) == "size.longest_edge 16,777,216, an area"
    for most in (262_144, 50_000):  # the second is below the least area of a Qwen3-VL
        set_pixel_cap(of(images), most, "student")
        after = images(photo, return_tensors="np")["pixel_values"].shape[0] * patch**2
        assert 0.7 * most < after <= most < before * patch**2
        assert pixel_cap(of(images)) == f"size.longest_edge {most:,}, an area"
        assert images.size["shortest_edge"] == min(least, most)


def test_a_cap_that_a_folder_was_saved_with_is_still_an_area() -> None:
    images = qwen(3136, 14)
    set_pixel_cap(of(images), 3136, "student")  # shorter than many an edge
    set_pixel_cap(of(images), 6272, "student")
    assert pixel_cap(of(images)) == "size.longest_edge 6,272, an area"


def test_pixtrals_cap_is_an_edge_and_is_never_raised() -> None:
    from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

    images = PixtralImageProcessorPil(size={"longest_edge": 1024}, patch_size={"height": 16, "width": 16})
    set_pixel_cap(of(images), 10**8, "student")
    assert pixel_cap(of(images)) == "size.longest_edge 1,024, an edge"
    set_pixel_cap(of(images), 512 * 512, "student")
    assert pixel_cap(of(images)) == "size.longest_edge 512, an edge"
    height, width = images(Image.new("RGB", (1920, 1080)), return_tensors="np")["image_sizes"][0]
    assert height * width <= 512 * 512


def test_internvls_cap_is_a_number_of_tiles() -> None:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    images = GotOcr2ImageProcessorPil(size={"height": 448, "width": 448}, crop_to_patches=True)
    photo = Image.new("RGB", (1920, 1080))
    before = images(photo, return_tensors="np")["pixel_values"].shape[0]
    set_pixel_cap(of(images), 4 * 448 * 448, "student")
    assert pixel_cap(of(images)) == "max_patches 4, tiles of 448 x 448 pixels"
    assert images(photo, return_tensors="np")["pixel_values"].shape[0] < before
    set_pixel_cap(of(images), 10, "student")
    assert images.max_patches == 1


def test_a_processor_without_a_cap_is_one_line() -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    images = CLIPImageProcessorPil()
    assert pixel_cap(of(images)) is None
    with pytest.raises(UserError, match=r"^max_pixels 1000: the processor of student .* takes no cap; leave it out$"):
        set_pixel_cap(of(images), 1000, "student")
