"""Colours arrive as sRGB, whatever profile a picture carries; a profile that is no help is told."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from icc import ADOBE_RGB as ADOBE_COLOURS
from icc import DISPLAY_P3, SRGB, adobe_rgb, cmyk_profile, display_p3, grey_profile, rgb_profile, srgb_curve
from PIL import ExifTags, Image, ImageCms

from unsaf_async.inputs.colours import is_srgb
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImagePolicy
from unsaf_async.inputs.primaries import ADOBE_GAMMA, ADOBE_RGB, coded_profile
from unsaf_async.inputs.primaries import rgb_profile as rgb_profile_of

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.records import EncodedImage


def sent(path: Path, image: Image.Image, **options: object) -> EncodedImage:
    image.save(path, **options)
    return encode(path, ImagePolicy())[0]


def colour(image: EncodedImage) -> np.ndarray:
    with Image.open(io.BytesIO(image.data)) as picture:
        return np.asarray(picture.convert("RGB")).reshape(-1, 3)[0].astype(int)


def near(one: object, other: object, steps: int = 1) -> bool:
    return bool(np.abs(np.asarray(one) - np.asarray(other)).max() <= steps)


def in_srgb(primaries: object, sample: tuple[int, int, int]) -> list[int]:
    """A colour with sRGB's curve and other primaries, as sRGB: worked out without LittleCMS."""
    light = np.array([srgb_curve(value / 255) for value in sample])
    return of_xyz(np.array(primaries).T @ light)


def of_lab(lightness: float, a: float, b: float) -> list[int]:
    y = (lightness + 16) / 116
    return of_xyz(np.array([0.9642 * (y + a / 500) ** 3, y**3, 0.8249 * (y - b / 200) ** 3]))


def of_xyz(xyz: np.ndarray) -> list[int]:
    linear = np.linalg.solve(np.array(SRGB).T, xyz).clip(0, 1)
    return [round(255 * (12.92 * each if each <= 0.0031308 else 1.055 * each ** (1 / 2.4) - 0.055)) for each in linear]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif"])
def test_adobe_rgb_is_converted(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {} if suffix in ("png", "tif") else {"quality": 100}
    red = Image.new("RGB", (64, 48), (200, 30, 30))
    image = sent(tmp_path / f"a.{suffix}", red, icc_profile=adobe_rgb(), **options)
    assert near(colour(image), (233, 24, 24), 1 if suffix in ("png", "tif", "webp") else 4)
    assert image.notes == ("one-colour",)


def cameras_exif(space: int, index: str = "") -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = space
    if index:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {1: index}
    return exif


@pytest.mark.parametrize(("space", "index"), [(2, ""), (65535, "R03"), (1, "R98"), (65535, "")])
def test_adobe_rgb_is_told_by_a_cameras_exif(tmp_path: Path, space: int, index: str) -> None:
    red = Image.new("RGB", (200, 150), (200, 30, 30))
    expected = (233, 24, 24) if space == 2 or index == "R03" else (200, 30, 30)
    image = sent(tmp_path / "a.jpg", red, exif=cameras_exif(space, index), quality=100, subsampling=0)
    assert near(colour(image), expected, 2)
    linear = rgb_profile(SRGB, lambda value: value)  # a profile goes before what EXIF says
    image = sent(tmp_path / "b.jpg", red, exif=cameras_exif(2), icc_profile=linear, quality=100, subsampling=0)
    assert near(colour(image), (229, 96, 96), 2)


@pytest.mark.parametrize(("codes", "noted"), [((12, 13), False), ((1, 13), False), ((2, 2), False), ((9, 16), True)])
def test_colours_are_told_by_an_avifs_codes(tmp_path: Path, codes: tuple[int, int], noted: bool) -> None:
    sample = (200, 100, 50)
    Image.new("RGB", (200, 152), sample).save(tmp_path / "a.avif", quality=100)
    head, nclx, rest = (tmp_path / "a.avif").read_bytes().partition(b"colrnclx")
    assert nclx
    (tmp_path / "a.avif").write_bytes(head + nclx + struct.pack(">HH", *codes) + rest[4:])
    image, _ = encode(tmp_path / "a.avif", ImagePolicy())
    assert near(colour(image), in_srgb(DISPLAY_P3, sample) if codes == (12, 13) else sample, 4)
    assert ("colour-profile" in image.notes) is noted


def test_profiles_made_of_primaries_have_the_colours_that_are_published() -> None:
    p3 = coded_profile(12, 13)
    assert p3 is not None
    for profile, colours in ((rgb_profile_of(ADOBE_RGB, ADOBE_GAMMA), ADOBE_COLOURS), (p3, DISPLAY_P3)):
        made = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
        for one, other in zip((made.red_colorant, made.green_colorant, made.blue_colorant), colours, strict=True):
            assert one is not None
            assert np.abs(np.array(one[0]) - np.array(other)).max() < 0.0005
    assert coded_profile(1, 13) == coded_profile(2, 2) == b""
    assert coded_profile(9, 18) is None


@pytest.mark.parametrize("sample", [(200, 100, 50), (20, 160, 90), (128, 128, 128), (255, 255, 255)])
def test_display_p3_is_converted(tmp_path: Path, sample: tuple[int, int, int]) -> None:
    image = sent(tmp_path / "a.png", Image.new("RGB", (64, 48), sample), icc_profile=display_p3())
    assert near(colour(image), in_srgb(DISPLAY_P3, sample))


def test_a_large_photo_in_adobe_rgb_is_converted_too(tmp_path: Path) -> None:
    photo = Image.new("RGB", (800, 600), (200, 30, 30))
    photo.save(tmp_path / "a.jpg", icc_profile=adobe_rgb(), quality=100, subsampling=0)
    image, _ = encode(tmp_path / "a.jpg", ImagePolicy(max_side_px=160))
    assert image.width == 160
    assert near(colour(image), (233, 24, 24), 4)


def test_transparency_and_palettes_keep_theirs_beside_converted_colours(tmp_path: Path) -> None:
    half = Image.new("RGBA", (64, 48), (200, 30, 30, 255))
    half.paste((0, 0, 0, 0), (32, 0, 64, 48))
    for name, picture in (("a.png", half), ("b.png", half.quantize(4))):
        picture.save(tmp_path / name, icc_profile=adobe_rgb())
        image, _ = encode(tmp_path / name, ImagePolicy())
        with Image.open(io.BytesIO(image.data)) as opened:
            assert near(opened.getpixel((5, 5)), (233, 24, 24), 2)
            assert opened.getpixel((60, 5)) == (255, 255, 255)
        assert image.notes == ()


def test_grey_by_its_profile_and_grey_with_the_profile_of_a_colour_picture(tmp_path: Path) -> None:
    linear = grey_profile(lambda value: value)
    expected = round(255 * (1.055 * (128 / 255) ** (1 / 2.4) - 0.055))
    assert near(colour(sent(tmp_path / "a.png", Image.new("L", (64, 48), 128), icc_profile=linear)), [expected] * 3)
    fade = Image.new("LA", (64, 48), (128, 255))
    assert near(colour(sent(tmp_path / "b.png", fade, icc_profile=linear)), [expected] * 3)
    deep = Image.new("I;16", (64, 48), 128 * 257)
    assert near(colour(sent(tmp_path / "c.png", deep, icc_profile=linear)), [expected] * 3)
    of_colours = sent(tmp_path / "d.png", Image.new("L", (64, 48), 128), icc_profile=adobe_rgb())
    assert near(colour(of_colours), [128] * 3, 2)
    assert of_colours.notes == ("one-colour",)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_is_converted_by_its_profile_and_plainly_without_one(tmp_path: Path, suffix: str) -> None:
    cyan = Image.new("CMYK", (64, 48), (255, 0, 0, 0))
    greenish = (150, 88, 168)  # Lab of what this printer calls cyan
    by_profile = sent(tmp_path / f"a.{suffix}", cyan, icc_profile=cmyk_profile(greenish))
    assert near(colour(by_profile), of_lab(150 / 2.55, 88 - 128, 168 - 128), 3)
    assert by_profile.notes == ("one-colour",)
    plain = sent(tmp_path / f"b.{suffix}", cyan)
    assert near(colour(plain), (0, 255, 255), 3)


@pytest.mark.parametrize("profile", [b"no profile at all", adobe_rgb()[:200], adobe_rgb()[:132] + bytes(400)])
def test_a_broken_profile_is_a_note_and_the_picture_is_taken_as_srgb(tmp_path: Path, profile: bytes) -> None:
    for name in ("a.png", "a.jpg"):
        image = sent(tmp_path / name, Image.new("RGB", (64, 48), (200, 30, 30)), icc_profile=profile)
        assert near(colour(image), (200, 30, 30), 2)
        assert "colour-profile" in image.notes


def test_a_profile_of_another_sort_of_picture_is_a_note(tmp_path: Path) -> None:
    for profile in (grey_profile(srgb_curve), cmyk_profile((150, 88, 168))):
        image = sent(tmp_path / "a.png", Image.new("RGB", (64, 48), (200, 30, 30)), icc_profile=profile)
        assert near(colour(image), (200, 30, 30))
        assert "colour-profile" in image.notes


def test_srgb_is_known_by_its_colours_and_not_by_its_name() -> None:
    assert is_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert is_srgb(rgb_profile(SRGB, srgb_curve))
    assert not is_srgb(rgb_profile(SRGB, lambda value: value**1.8))
    assert not any(map(is_srgb, (adobe_rgb(), display_p3(), grey_profile(srgb_curve), b"")))
