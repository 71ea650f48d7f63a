"""What PNG files say of themselves in chunks: texts of any size, transparent samples, colours without an ICC profile."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from unsaf_async.inputs.opening import sent_size
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.png import SIGNATURE, without_texts
from unsaf_async.inputs.policy import ImageError, ImagePolicy

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.records import EncodedImage

ROWS = {  # of 16 pixels, by depth and colour type
    (2, 0): b"\x55" * 4,
    (4, 0): b"\x99" * 8,
    (16, 0): b"\x03\xe8" * 16,
    (8, 2): bytes((200, 30, 30)) * 16,
    (16, 2): bytes((200, 7, 30, 7, 30, 7)) * 16,
}


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(depth: int = 8, kind: int = 2, *before: bytes, after: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 8, depth, kind, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + ROWS[depth, kind]) * 8))
    return SIGNATURE + head + b"".join(before) + pixels + after + chunk(b"IEND", b"")


def sent(folder: Path, data: bytes) -> EncodedImage:
    (folder / "a.png").write_bytes(data)
    return encode(folder / "a.png", ImagePolicy())[0]


def colour(image: EncodedImage) -> object:
    return Image.open(io.BytesIO(image.data)).convert("RGB").getpixel((3, 3))


LONG = zlib.compress(b"A" * 2_000_000)


@pytest.mark.parametrize(
    "texts",
    [
        [chunk(b"zTXt", b"workflow\0\0" + LONG)],
        [chunk(b"iTXt", b"workflow\0\1\0\0\0" + LONG)],
    ],
)
def test_a_png_is_read_however_long_its_texts_are(tmp_path: Path, texts: list[bytes]) -> None:
    for data in (png(8, 2, *texts), png(after=b"".join(texts))):
        assert colour(sent(tmp_path, data)) == (200, 30, 30)
        assert sent_size(tmp_path / "a.png", ImagePolicy()) == (16, 8)
        assert without_texts(data) == png()


def test_a_png_without_its_last_bytes_is_cut_off_whatever_texts_it_has(tmp_path: Path) -> None:
    data = png(8, 2, chunk(b"zTXt", b"workflow\0\0" + LONG))
    with pytest.raises(ImageError, match="cut off"):
        sent(tmp_path, data[:-30])


@pytest.mark.parametrize(
    ("depth", "kind", "declared"),
    [(2, 0, (1,)), (4, 0, (9,)), (16, 0, (1000,)), (8, 2, (200, 30, 30)), (16, 2, (51207, 7687, 7687))],
)
def test_a_sample_declared_transparent_is_white_in_every_depth(
    tmp_path: Path, depth: int, kind: int, declared: tuple[int, ...]
) -> None:
    alone = colour(sent(tmp_path, png(depth, kind)))
    for samples, expected in ((declared, (255, 255, 255)), (tuple(each - 1 for each in declared), alone)):
        if depth == 16 and kind == 2 and expected == alone:
            continue  # told apart by 8 bits alone
        data = png(depth, kind, chunk(b"tRNS", struct.pack(f">{len(samples)}H", *samples)))
        assert colour(sent(tmp_path, data)) == expected


def test_a_colour_profile_that_unpacks_to_too_much_is_a_note(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(3_000_000), 9)
    image = sent(tmp_path, png(8, 2, chunk(b"iCCP", b"a\0\0" + packed)))
    assert colour(image) == (200, 30, 30)
    assert "colour-profile" in image.notes


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


SRGB_PRIMARIES = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
WIDE_PRIMARIES = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
PLAIN = (200, 30, 30)
P3 = (218, 0, 6)
"""The same samples in Display P3, as sRGB: by the matrices of SMPTE EG 432-1 and IEC 61966-2-1, cut off at 0."""


@pytest.mark.parametrize(
    ("chunks", "expected", "noted"),
    [
        ([gamma(1.0)], (229, 96, 96), False),  # 255 * srgb(200 / 255): linear light
        ([gamma(0.45455), SRGB_PRIMARIES], PLAIN, False),
        ([chunk(b"sRGB", b"\0"), gamma(1.0)], PLAIN, False),  # sRGB goes before gAMA
        ([gamma(0.45455), WIDE_PRIMARIES], P3, False),
        ([gamma(0.45455), chunk(b"cHRM", bytes(32))], PLAIN, True),
        ([gamma(50.0)], PLAIN, True),
        ([chunk(b"cICP", bytes((12, 13, 0, 1)))], P3, False),  # Display P3
        ([chunk(b"cICP", bytes((12, 13, 1, 1)))], PLAIN, True),  # not in red, green and blue
        ([chunk(b"cICP", bytes((9, 16, 0, 1)))], PLAIN, True),  # BT.2100 PQ
        ([chunk(b"cICP", bytes((1, 13, 0, 1))), gamma(1.0)], PLAIN, False),  # sRGB, and cICP goes before all
    ],
)
def test_what_a_png_says_of_its_colours_is_converted_or_noted(
    tmp_path: Path, chunks: list[bytes], expected: tuple[int, ...], noted: bool
) -> None:
    image = sent(tmp_path, png(8, 2, *chunks))
    assert colour(image) == expected
    assert ("colour-profile" in image.notes) is noted


def test_gamma_leaves_transparency_as_it_is(tmp_path: Path) -> None:
    data = png(8, 2, gamma(1.0), chunk(b"tRNS", struct.pack(">HHH", 200, 30, 30)))
    assert colour(sent(tmp_path, data)) == (255, 255, 255)
