"""From a file to the bytes that are sent: upright, opaque sRGB, within a size, encoded once, without metadata.

Knows nothing of providers: their limits come as an `ImagePolicy`.
"""

from __future__ import annotations

import hashlib
import math
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageStat

from unsaf_async.inputs.decoding import TINY_PX, decoded
from unsaf_async.inputs.faults import reason
from unsaf_async.inputs.jpeg import without_metadata
from unsaf_async.inputs.known import Known
from unsaf_async.inputs.opening import read_bytes
from unsaf_async.inputs.png import without_texts
from unsaf_async.inputs.policy import ImageError, ImagePolicy
from unsaf_async.records import EncodedImage

if TYPE_CHECKING:
    from pathlib import Path

    from unsaf_async.inputs.parts import FilePart
    from unsaf_async.records import ImageNote

_HASH_SIDE = 16
_QUALITY_STEPS = (85, 75, 60, 45, 30)


def encode(path: Path | FilePart, policy: ImagePolicy) -> tuple[EncodedImage, str]:
    """The image in a file as it is sent, and the sha256 of the file's bytes. Blocks.

    EXIF orientation is applied, colours are converted to sRGB by the file's profile, transparency put on white, 16-bit and
    float samples scaled to 8 bits, the first frame of an animation taken. An image is only ever made smaller. A JPEG of which
    nothing has to change is sent as it is, without its metadata. Of a file that is cut off, at most a twentieth of the
    picture may be missing. With one version of Pillow the same file and policy give the same bytes.

    Args:
        path: The image's file, or the part of one.
        policy: What the image may be when it is sent.

    Returns:
        (the image, sha256 of the file's bytes in hexadecimal).

    Raises:
        ImageError: The file is no readable image, the model does not take its shape, or no JPEG of it is small enough for
            the policy.
    """
    data = read_bytes(path)
    return encoded(data, policy).image, hashlib.sha256(data).hexdigest()


def encoded(data: bytes, policy: ImagePolicy) -> Known:
    """As `encode`, of bytes that are there already.

    Args:
        data: The file's bytes.
        policy: What the image may be when it is sent.

    Returns:
        The image, and whether its bytes are the file's own.

    Raises:
        ImageError: As `encode` does.
    """
    try:
        picture = decoded(without_texts(data), policy)
    except ImageError:
        raise
    except Exception as error:
        # Decoders raise whatever they stumble over: OSError, ValueError, SyntaxError, struct.error, ZeroDivisionError.
        raise ImageError(reason(data, error)) from error
    sent = unchanged_bytes(data, policy) if picture.unchanged else None
    return Known(_as_sent(picture.pixels, policy, picture.notes, sent), unchanged=sent is not None)


def blank(image: EncodedImage, policy: ImagePolicy) -> EncodedImage:
    """A picture of one colour in an image's place, as it is sent. Blocks.

    It has the image's size, so that a model takes it in as many tokens, and the mean of its colours, so that nothing but the
    image's brightness is left of it; black or white would be a contrast that few images have. The same image and policy give the
    same bytes.

    Args:
        image: With its bytes.
        policy: What the image may be when it is sent.

    Returns:
        The picture.
    """
    with Image.open(BytesIO(image.data), formats=("JPEG", "PNG")) as opened:
        mean = ImageStat.Stat(opened.convert("RGB")).mean
    colour = (round(mean[0]), round(mean[1]), round(mean[2]))
    return _as_sent(Image.new("RGB", (image.width, image.height), colour), policy, ("one-colour",))


def difference_hash(pixels: Image.Image) -> str:
    """How brightness rises and falls over a picture: the same for its copies in other sizes and qualities, but for a few bits.

    The picture is shrunk to 17 by 16 cells; a bit says whether a cell is darker than the next one in its row.

    Source: N. Krawetz, "Kind of like that" (2013), https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html

    Args:
        pixels: The picture.

    Returns:
        256 bits as 64 hexadecimal digits, row by row; 0 where nothing changes.
    """
    width = _HASH_SIDE + 1
    # Sixteen by sixteen pixels of each cell say enough of its brightness, in a twentieth of the time.
    sample = pixels.resize((16 * width, 16 * _HASH_SIDE), Image.Resampling.NEAREST).convert("L")
    grey = sample.resize((width, _HASH_SIDE), Image.Resampling.BOX).tobytes()
    bits = 0
    for row in range(_HASH_SIDE):
        for place in range(row * width, row * width + _HASH_SIDE):
            bits = bits << 1 | (grey[place] < grey[place + 1])
    return f"{bits:0{_HASH_SIDE**2 // 4}x}"


def _as_sent(
    pixels: Image.Image, policy: ImagePolicy, notes: tuple[ImageNote, ...], sent: tuple[bytes, str] | None = None
) -> EncodedImage:
    """sent: the bytes and their media type, if they are there already."""
    raw = pixels.tobytes()
    digest = hashlib.sha256(f"{pixels.width}x{pixels.height}".encode())
    digest.update(raw)
    # A new image, because Pillow's writers pass on comments and profiles that the old one still carries.
    encoded, media_type = sent or _written(Image.frombytes("RGB", pixels.size, raw), policy)
    return EncodedImage(
        data=encoded,
        media_type=media_type,
        width=pixels.width,
        height=pixels.height,
        pixels_sha256=digest.hexdigest(),
        difference_hash=difference_hash(pixels),
        notes=notes,
    )


def unchanged_bytes(data: bytes, policy: ImagePolicy) -> tuple[bytes, str] | None:
    """A JPEG's own bytes without its metadata.

    Args:
        data: The file's bytes.
        policy: What the image may be when it is sent.

    Returns:
        (bytes, media type); None where the image is to be written anew.
    """
    plain = without_metadata(data)
    if plain is None or _base64_bytes(len(plain)) > policy.max_bytes:
        return None
    return plain, "image/jpeg"


def _written(image: Image.Image, policy: ImagePolicy) -> tuple[bytes, str]:
    """The encoded image and its media type."""
    if max(image.size) <= TINY_PX:
        buffer = BytesIO()
        image.save(buffer, "PNG")
        if _base64_bytes(buffer.tell()) <= policy.max_bytes:
            return buffer.getvalue(), "image/png"
    for quality in (policy.jpeg_quality, *(step for step in _QUALITY_STEPS if step < policy.jpeg_quality)):
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=quality, subsampling=0)  # 4:4:4, so that coloured text stays legible
        if _base64_bytes(buffer.tell()) <= policy.max_bytes:
            return buffer.getvalue(), "image/jpeg"
    raise ImageError(
        f"the image takes {_base64_bytes(buffer.tell())} bytes in base64 even as a poor JPEG, "
        f"the limit is {policy.max_bytes}; shrink it first"
    )


def _base64_bytes(size: int) -> int:
    return 4 * math.ceil(size / 3)
