"""JPEGs as they are sent without a second encoding: the picture to the last bit, and nothing else of the file."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import pytest
from icc import adobe_rgb, display_p3
from PIL import Image, ImageCms

from unsaf_async.inputs.jpeg import coefficient_bytes, has_every_scan, without_metadata
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImagePolicy

if TYPE_CHECKING:
    from pathlib import Path

POLICY = ImagePolicy(max_side_px=400)


def photo(width: int = 300, height: int = 200, mode: str = "RGB") -> Image.Image:
    grains = Image.frombytes("RGB", (30, 20), random.Random(0).randbytes(1800))
    return grains.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or photo()).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


def laden(**options: object) -> bytes:
    """A JPEG with all that cameras and programs leave in files, and a file behind its end."""
    exif = Image.Exif()
    exif[0x010E] = "SECRET-EXIF"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 30.0), 29: "SECRET-GPS"})
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = jpeg(exif=exif, comment="SECRET-COMMENT", xmp=b"<x>SECRET-XMP</x>", icc_profile=srgb, **options)
    more = b"".join(
        bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2) + body
        for marker, body in ((0xED, b"Photoshop 3.0\0SECRET-IPTC"), (0xE0, b"JFXX\0\x10SECRET-THUMBNAIL"))
    )
    return data[:20] + more + data[20:] + b"SECRET-TRAILER" + jpeg()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_a_jpeg_that_fits_is_sent_as_it_is_without_its_metadata(tmp_path: Path, options: dict[str, object]) -> None:
    data = laden(**options)
    (tmp_path / "a.jpg").write_bytes(data)
    image, _ = encode(tmp_path / "a.jpg", POLICY)
    assert data.count(b"SECRET") == 7
    assert b"SECRET" not in image.data
    assert image.data.count(b"\xff\xd8\xff") == 1
    assert image.data.endswith(b"\xff\xd9")
    assert pixels(image.data) == pixels(data)
    with Image.open(io.BytesIO(image.data)) as sent:
        assert not sent.getexif()
        assert sent.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "progressive", "progression"}
    assert image.data == encode(tmp_path / "a.jpg", POLICY)[0].data


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_and_jpegs_of_plain_rgb_keep_their_colours(tmp_path: Path, mode: str) -> None:
    data = jpeg(photo(mode=mode), keep_rgb=True)
    (tmp_path / "a.jpg").write_bytes(data)
    image, _ = encode(tmp_path / "a.jpg", POLICY)
    assert pixels(image.data) == pixels(data)
    assert len(image.data) <= len(data)


def test_a_jpeg_that_has_to_change_is_written_anew(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    cases = {
        "turned": jpeg(exif=turned),
        "large": jpeg(photo(900, 600)),
        "Adobe RGB": jpeg(icc_profile=adobe_rgb()),
        "Display P3": jpeg(icc_profile=display_p3()),
        "CMYK": jpeg(photo(mode="CMYK")),
        "cut off": jpeg()[:-2],
    }
    for name, data in cases.items():
        (tmp_path / "a.jpg").write_bytes(data)
        image, _ = encode(tmp_path / "a.jpg", POLICY)
        with Image.open(io.BytesIO(image.data)) as sent:
            assert (sent.mode, max(sent.size) <= 400, not sent.getexif()) == ("RGB", True, True), name
            assert [layer[1:3] for layer in sent.layer] == [(1, 1)] * 3, name  # type: ignore[attr-defined]
    heavy = jpeg(photo(), quality=100)
    (tmp_path / "a.jpg").write_bytes(heavy)
    assert len(encode(tmp_path / "a.jpg", ImagePolicy(max_bytes=len(heavy)))[0].data_url) < len(heavy) + 30


def test_what_is_not_known_to_be_safe_is_not_passed_on() -> None:
    data = jpeg()
    assert without_metadata(data)
    assert without_metadata(data[:-2]) is None  # no end
    odd = data[:2] + b"\xff\xdc\x00\x06\x04SEC" + data[2:]  # a number of lines, where none may stand
    assert without_metadata(odd) is None
    assert without_metadata(data[:2] + b"\xff\xf3\x00\x05odd" + data[2:]) is None
    assert without_metadata(b"\xff\xd8") is None
    for cut in range(2, len(data) - 2, 97):
        assert without_metadata(data[:cut]) is None


def test_damaged_bytes_never_break_the_walk_through_the_segments() -> None:
    chance = random.Random(1)
    data = laden(progressive=True)
    for _ in range(80):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(2, 900)] = chance.choice((0, 0xFF, 0xC2, 0xDA, chance.randrange(256)))
        for walk in (without_metadata, has_every_scan, lambda each: coefficient_bytes(io.BytesIO(each))):
            walk(bytes(damaged))


def test_only_a_jpeg_of_several_scans_is_held_in_memory_whole() -> None:
    assert coefficient_bytes(io.BytesIO(jpeg())) == 0
    assert coefficient_bytes(io.BytesIO(jpeg(progressive=True))) == 2 * 300 * 200 * 1.5
    assert coefficient_bytes(io.BytesIO(jpeg(progressive=True, subsampling=0))) == 2 * 300 * 200 * 3
    assert coefficient_bytes(io.BytesIO(jpeg(photo(mode="L")))) == 0
    whole = jpeg()
    one_component = whole.replace(b"\xff\xda\x00\x0c\x03\x01", b"\xff\xda\x00\x08\x01\x01")  # a scan of its own
    assert coefficient_bytes(io.BytesIO(one_component)) > 0
