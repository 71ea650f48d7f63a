"""Pictures as people have them: large, cut off, of odd shapes, blank, or in a phone's own format."""

from __future__ import annotations

import io
import random
import struct
import sys
import zlib
from typing import TYPE_CHECKING

import pytest
from icc import display_p3
from PIL import Image, ImageFile

from unsaf_async.inputs.opening import sent_size
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import MAX_JPEG_PIXELS, ImageError, ImagePolicy

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.records import EncodedImage

DEFAULT = ImagePolicy()


def photo(width: int = 300, height: int = 200) -> Image.Image:
    grains = Image.frombytes("RGB", (30, 20), random.Random(0).randbytes(1800))
    return grains.resize((width, height), Image.Resampling.BICUBIC)


def written(format_: str, image: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (image or photo()).save(buffer, format_, **options)
    return buffer.getvalue()


def sent(folder: Path, data: bytes, policy: ImagePolicy = DEFAULT) -> EncodedImage:
    (folder / "picture").write_bytes(data)
    return encode(folder / "picture", policy)[0]


def refusal(folder: Path, data: bytes, policy: ImagePolicy = DEFAULT, *, header: bool = False) -> str:
    """Why a file is refused. header: for what its header says, so that its size is not told either."""
    (folder / "picture").write_bytes(data)
    if header:
        with pytest.raises(ImageError):
            sent_size(folder / "picture", policy)
    else:
        sent_size(folder / "picture", policy)
    with pytest.raises(ImageError) as caught:
        encode(folder / "picture", policy)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- cut off --------------------------------------------------------------------------------------------------------

CUT: dict[str, tuple[str, dict[str, object]]] = {
    "JPEG": ("JPEG", {}),
    "progressive JPEG": ("JPEG", {"progressive": True}),
    "JPEG in full colour": ("JPEG", {"subsampling": 0}),
    "PNG": ("PNG", {}),
    "BMP": ("BMP", {}),
    "TIFF": ("TIFF", {}),
    "GIF": ("GIF", {}),
    "PPM": ("PPM", {}),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_file_without_its_last_bytes_is_read_with_a_note(tmp_path: Path, kind: str) -> None:
    format_, options = CUT[kind]
    whole = written(format_, **options)
    encoded = sent(tmp_path, whole[: -len(whole) // 50])
    assert encoded.notes == ("cut-off",)
    original = sent(tmp_path, whole)
    assert original.notes == ()
    assert (encoded.width, encoded.height) == (original.width, original.height)
    with Image.open(io.BytesIO(encoded.data)) as one, Image.open(io.BytesIO(original.data)) as other:
        there = (0, 20, 300, 200) if format_ == "BMP" else (0, 0, 300, 180)  # a BMP's last row comes first
        differences = zip(one.convert("L").crop(there).tobytes(), other.convert("L").crop(there).tobytes(), strict=True)
        assert max(abs(first - second) for first, second in differences) <= 24  # both were encoded, with losses


@pytest.mark.parametrize("kind", CUT)
def test_a_file_of_which_half_is_missing_fails_with_its_reason(tmp_path: Path, kind: str) -> None:
    format_, options = CUT[kind]
    whole = written(format_, **options)
    assert "the image is cut off" in refusal(tmp_path, whole[: len(whole) // 2])


def test_however_its_pixels_are_stored_a_picture_of_which_half_is_missing_fails(tmp_path: Path) -> None:
    two_colours = photo().convert("1")
    clear = two_colours.convert("P")
    cases = {
        "a palette of two": written("PNG", photo().quantize(2)),
        "one bit": written("BMP", two_colours),
        "transparency": written("PNG", photo().convert("RGBA")),
        "a transparent GIF": written("GIF", clear, transparency=0),
        "16 bit": written("TIFF", Image.frombytes("I;16", (300, 200), photo(300, 400).convert("L").tobytes())),
        "a grey JPEG": written("JPEG", photo().convert("L")),
        "a JPEG of plain RGB": written("JPEG", photo(), keep_rgb=True),
        "a CMYK JPEG": written("JPEG", photo().convert("CMYK")),
    }
    for name, data in cases.items():
        assert "cut off" in refusal(tmp_path, data[: len(data) // 2]), name


def test_a_jpeg_of_which_a_third_is_missing_fails_and_says_how_much(tmp_path: Path) -> None:
    whole = written("JPEG")
    reason = refusal(tmp_path, whole[: len(whole) * 2 // 3])
    assert int(reason.split("about ")[1].split("%")[0]) in range(25, 42)


def test_a_progressive_jpeg_is_cut_off_wherever_it_ends(tmp_path: Path) -> None:
    whole = written("JPEG", progressive=True)
    scans = [place for place in range(len(whole)) if whole.startswith(b"\xff\xda", place)]
    for place in (scans[3], scans[3] + 5, scans[4] + 2, len(whole) // 2):  # within a scan's header, too
        assert "cut off" in refusal(tmp_path, whole[:place])


@pytest.mark.parametrize("options", [{"quality": 80}, {"lossless": True}])
def test_a_webp_without_its_last_bytes_is_read_with_a_note(tmp_path: Path, options: dict[str, object]) -> None:
    data = written("WEBP", **options)
    image = sent(tmp_path, data[: -len(data) // 100])
    assert (image.width, image.height, image.notes) == (300, 200, ("cut-off",))
    assert sent_size(tmp_path / "picture", DEFAULT) == (300, 200)
    assert "the image is cut off: about 50% of it is missing" in refusal(tmp_path, data[: len(data) // 2])
    assert "the image is cut off" in refusal(tmp_path, data[:20], header=True)
    animated = written("WEBP", save_all=True, append_images=[photo().rotate(180)], **options)
    assert sent(tmp_path, animated[:-50]).pixels_sha256 == sent(tmp_path, animated).pixels_sha256


def test_a_raw_photo_and_what_else_is_no_photo_is_told(tmp_path: Path) -> None:
    for tags in ({50706: b"\1\4\0\0"}, {254: 1, 330: 8}):
        assert "a camera's raw photo" in refusal(tmp_path, written("TIFF", tiffinfo=tags), header=True)
    for data, what in (
        (b"\0\0\0\x18ftypcrx " + bytes(90), "raw photo"),
        (bytes(128) + b"DICM", "DICOM"),
        (written("TIFF", Image.new("F", (9, 9))).replace(b"\x20\0\0\0", b"\x40\0\0\0"), "TIFF whose samples"),
    ):
        assert what in refusal(tmp_path, data, header=True)


def test_grey_of_16_bits_may_have_white_at_zero(tmp_path: Path) -> None:
    data = written("TIFF", Image.new("I;16", (64, 64), 51400), tiffinfo={262: 0})
    with Image.open(io.BytesIO(sent(tmp_path, data).data)) as image:
        assert image.convert("L").getpixel((5, 5)) == 55


def test_libtiff_writes_nothing_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = bytearray(written("TIFF", compression="tiff_adobe_deflate"))
    whole[8:800] = b"\xaa" * 792
    assert "damaged" in refusal(tmp_path, bytes(whole))
    assert capfd.readouterr().err == ""


def test_a_jpeg_without_its_end_marker_alone_is_whole(tmp_path: Path) -> None:
    for mode in ("RGB", "L", "CMYK"):
        whole = written("JPEG", photo().convert(mode), quality=95)
        encoded = sent(tmp_path, whole[:-2])
        assert encoded.notes == ("cut-off",)
        assert encoded.pixels_sha256 == sent(tmp_path, whole).pixels_sha256


def test_a_black_picture_without_its_last_row_is_not_taken_for_one_that_was_never_there(tmp_path: Path) -> None:
    whole = written("BMP", Image.new("RGB", (300, 200), "black"))
    assert set(sent(tmp_path, whole[:-900]).notes) == {"cut-off", "one-colour"}


def test_what_is_damaged_and_not_cut_off_is_refused_all_the_same(tmp_path: Path) -> None:
    whole = bytearray(written("PNG"))
    whole[-4000:-3900] = bytes(100)
    assert "damaged" in refusal(tmp_path, bytes(whole))


def test_pillow_is_left_as_it_was(tmp_path: Path) -> None:
    before = (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, list(Image.OPEN))
    sent(tmp_path, written("PNG")[:-3000])
    sent(tmp_path, grey_jpeg(12_000, 9_000))
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, list(Image.OPEN)) == before == (False, *before[1:])


# --- large ----------------------------------------------------------------------------------------------------------


def grey_jpeg(width: int, height: int) -> bytes:
    """A grey JPEG of this size in a hundredth of the bytes: each of its blocks of 8 by 8 takes six bits, 001010."""
    small = written("JPEG", Image.new("L", (8, 8), 128))
    frame = small.index(b"\xff\xc0") + 5
    scan = small.index(b"\xff\xda") + 10
    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    head = small[:frame] + struct.pack(">HH", height, width) + small[frame + 4 : scan]
    return head + b"\x28\xa2\x8a" * (blocks // 4 + 1) + b"\xff\xd9"


def progressive_jpeg(width: int, height: int) -> bytes:
    data = written("JPEG", photo(16, 16), progressive=True)
    frame = data.index(b"\xff\xc2") + 5
    return data[:frame] + struct.pack(">HH", height, width) + data[frame + 4 :]


def png_claiming(width: int, height: int) -> bytes:
    """A PNG with a good header and no pixels to speak of."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(12_000, 9_000), (16_320, 12_240)])
def test_a_large_jpeg_is_decoded_small_and_not_refused(tmp_path: Path, width: int, height: int) -> None:
    encoded = sent(tmp_path, grey_jpeg(width, height))
    assert (encoded.width, encoded.height) == (1568, 1568 * height // width) == sent_size(tmp_path / "picture", DEFAULT)
    assert "shrunk" in encoded.notes or width < 8 * 1568


def test_what_takes_too_much_memory_or_time_is_refused_by_its_header(tmp_path: Path) -> None:
    claims = grey_jpeg(40, 40)
    frame = claims.index(b"\xff\xc0") + 5
    vast = claims[:frame] + struct.pack(">HH", 60_000, 60_000) + claims[frame + 4 :]
    assert f"the limit is {MAX_JPEG_PIXELS // 1_000_000} megapixels" in refusal(tmp_path, vast, header=True)
    assert "progressive JPEG of 19000 x 19000" in refusal(tmp_path, progressive_jpeg(19_000, 19_000), header=True)
    assert "the limit is 64 megapixels" in refusal(tmp_path, png_claiming(8001, 8000), header=True)
    as_it_is = ImagePolicy(max_side_px=20_000)
    assert "the limit is 64 megapixels" in refusal(tmp_path, grey_jpeg(9_000, 9_000), as_it_is, header=True)


def test_a_size_is_told_without_decoding_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_claiming(8000, 7999))
    assert sent_size(tmp_path / "a.png", DEFAULT) == (1568, 1567)


def test_what_is_no_photo_has_no_size_either(tmp_path: Path) -> None:
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n%%EndComments\n"
    assert "PostScript" in refusal(tmp_path, drawing, header=True)
    assert "text" in refusal(tmp_path, b"a list of names\n", header=True)
    assert "empty" in refusal(tmp_path, b"", header=True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_size_that_is_told_is_the_size_that_is_sent(tmp_path: Path, format_: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    encoded = sent(tmp_path, written(format_, photo(60, 40), exif=exif))
    assert sent_size(tmp_path / "picture", DEFAULT) == (encoded.width, encoded.height)
    assert (encoded.width, encoded.height) == ((60, 40) if orientation < 5 else (40, 60))


# --- odd, and told --------------------------------------------------------------------------------------------------


def test_odd_pictures_are_sent_with_a_note(tmp_path: Path) -> None:
    small = ImagePolicy(max_side_px=100)
    blank = Image.new("RGBA", (60, 60), (255, 255, 255, 0))
    blank.paste((255, 255, 255, 255), (10, 10, 20, 20))  # white on nothing
    animation = io.BytesIO()
    Image.new("RGB", (60, 60), "black").save(animation, "GIF", save_all=True, append_images=[photo(60, 60)])
    expected: dict[str, tuple[bytes, tuple[str, ...]]] = {
        "an ordinary photo": (written("PNG", photo(500, 400)), ()),
        "exactly eight times": (written("PNG", photo(800, 500)), ()),
        "more than eight times": (written("PNG", photo(801, 500)), ("shrunk",)),
        "a side of 27 px": (written("PNG", photo(90, 27)), ("narrow",)),
        "a side of 28 px": (written("PNG", photo(90, 28)), ()),
        "a side that shrinking makes thin": (written("PNG", photo(400, 100)), ("narrow",)),
        "white on white": (written("PNG", blank), ("one-colour",)),
        "a blank first frame": (animation.getvalue(), ("one-colour",)),
    }
    for name, (data, notes) in expected.items():
        assert sent(tmp_path, data, small).notes == notes, name
    assert sent(tmp_path, written("PNG", photo(1005, 5))).notes == ("narrow", "long")
    assert sent(tmp_path, written("PNG", photo(1000, 5))).notes == ("narrow",)


def test_what_the_model_refuses_fails_before_it_is_sent(tmp_path: Path) -> None:
    qwen = ImagePolicy(max_side_px=1024, min_side_px=28, max_aspect=200)
    assert "20 x 60 px as sent, and the model takes no side under 28 px" in refusal(
        tmp_path, written("PNG", photo(20, 60)), qwen, header=True
    )
    assert "no side under 28 px" in refusal(tmp_path, written("PNG", photo(4000, 60)), qwen, header=True)
    only_shape = ImagePolicy(max_aspect=200)
    assert "more than 200 times as long as wide" in refusal(
        tmp_path, written("PNG", photo(603, 3)), only_shape, header=True
    )
    assert sent(tmp_path, written("PNG", photo(600, 3)), only_shape).width == 600
    assert sent(tmp_path, written("PNG", photo(28, 28)), qwen).notes == ()


# --- HEIC -----------------------------------------------------------------------------------------------------------


def heic(image: Image.Image | None = None, **options: object) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image or photo()).save(buffer, quality=-1, **options)
    return buffer.getvalue()


def test_a_heic_photo_is_read_with_its_colours(tmp_path: Path) -> None:
    encoded = sent(tmp_path, heic(Image.new("RGB", (64, 48), (200, 100, 50)), icc_profile=display_p3()))
    with Image.open(io.BytesIO(encoded.data)) as opened:
        assert max(abs(a - b) for a, b in zip(opened.getpixel((9, 9)), (213, 95, 35), strict=True)) <= 4
    assert sent_size(tmp_path / "picture", DEFAULT) == (64, 48)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_heic_photo_is_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    encoded = sent(tmp_path, heic(photo(64, 48), exif=exif.tobytes()))
    assert (encoded.width, encoded.height) == ((64, 48) if orientation < 5 else (48, 64))
    assert sent_size(tmp_path / "picture", DEFAULT) == (encoded.width, encoded.height)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (written("JPEG").replace(b"\xff\xc0\x00\x11", b"\xff\xc0\x00\x04"), "its header makes no sense"),
        (b"P6\n6g 4\n255\n" + bytes(99), "its header makes no sense"),
    ],
    ids=["JPEG", "PPM"],
)
def test_a_damaged_header_is_told_without_a_decoder_s_own_words(data: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(data)
    for read in (encode, sent_size):
        with pytest.raises(ImageError) as caught:
            read(tmp_path / "picture", DEFAULT)
        assert str(caught.value) == f"the image is damaged: {why}"


def test_a_cut_or_damaged_heic_photo_fails_in_one_line(tmp_path: Path) -> None:
    whole = heic()
    for data in (whole[:-300], whole[: len(whole) // 2], whole[:200]):
        (tmp_path / "a.heic").write_bytes(data)
        with pytest.raises(ImageError) as caught:
            encode(tmp_path / "a.heic", DEFAULT)
        assert "\n" not in str(caught.value)


def test_without_the_extra_a_heic_photo_fails_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    reason = refusal(tmp_path, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400), header=True)
    assert "HEIC" in reason
    assert "pip install '.[heic]'" in reason
