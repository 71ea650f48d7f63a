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


def test_idefics_cap_is_an_edge_of_whole_tiles_for_what_is_left_over_is_enlarged_to_one() -> None:
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    images = Idefics3ImageProcessorPil(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512})
    photo = Image.new("RGB", (1024, 1024))
    for most, edge, tiles in ((1_200_000, 1024, 4), (1_000_000, 512, 0), (100, 512, 0)):
        set_pixel_cap(of(images), most, "student")
        assert pixel_cap(of(images)) == f"size.longest_edge {edge:,}, an edge, in tiles of 512 x 512 pixels"
        made = images(photo, return_tensors="np", return_row_col_info=True)
        assert made["rows"][0][0] * made["cols"][0][0] == tiles


def test_gemmas_cap_is_one_of_its_numbers_of_tokens() -> None:
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

    images = Gemma4ImageProcessorPil(max_soft_tokens=280)
    photo = Image.new("RGB", (1920, 1080))
    for most, tokens in ((10**8, 280), (401_408, 140), (1_000, 70)):
        set_pixel_cap(of(images), most, "student")
        assert pixel_cap(of(images)) == f"max_soft_tokens {tokens}, tokens of 48 x 48 pixels"
        made = images(photo, return_tensors="np")["num_soft_tokens_per_image"][0]
        assert 0.8 * tokens < made <= tokens


@pytest.mark.parametrize("name", ["clip", "llava_onevision"])
def test_a_processor_without_a_cap_is_one_line(name: str) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )

    # LLaVA-OneVision's grids of tiles stand in the model's configuration, too
    images = {"clip": CLIPImageProcessorPil, "llava_onevision": LlavaOnevisionImageProcessorPil}[name]()
    assert pixel_cap(of(images)) is None
    line = r"^max_pixels 1000: the processor of student .* takes no cap; leave it out, and rows that are too long with"
    with pytest.raises(UserError, match=line):
        set_pixel_cap(of(images), 1000, "student")
