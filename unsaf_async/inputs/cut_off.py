"""An image whose file may lack its last bytes: decoded as far as it goes, if enough of it is there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from unsaf_async.inputs.jpeg import has_every_scan
from unsaf_async.inputs.opening import JPEG, Opened, lacking_bytes, open_image
from unsaf_async.inputs.policy import ImageError, ImagePolicy
from unsaf_async.inputs.webp import missing_share

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MOST_MISSING = 0.05
"""The share of a picture that may be missing at its end, where the file is cut off."""

_FILLS = (b"\0", b"\1", b"\x10", b"\x5a")
"""Some are no codes of a picture."""


def loaded(data: bytes, policy: ImagePolicy) -> tuple[Opened, bool]:
    """The image in a file, decoded as far as it goes.

    Args:
        data: The file's bytes.
        policy: What the image may be when it is sent.

    Returns:
        (the image, whether its file lacks its last bytes).

    Raises:
        ImageError: Too much of it is missing, or its header is refused.
        Exception: As `open_image` does.
    """
    opened = open_image(BytesIO(data), policy)
    if lacking := lacking_bytes(BytesIO(data)):
        return replace(opened, image=_webp_cut_off(data, lacking, policy)), True
    try:
        opened.image.load()
    except OSError as error:
        if "truncated" not in str(error):
            raise
        opened.image.close()  # it may be large
        return replace(opened, image=_cut_off(data, policy)), True
    return opened, False


def _cut_off(data: bytes, policy: ImagePolicy) -> ImageFile:
    """The image in a file without its last bytes, loaded. Raises ImageError if too much of it is missing."""
    if data.startswith(JPEG):
        if not has_every_scan(data):
            raise ImageError("the image is cut off: only a coarse version of it is there; fetch the file again")
        image = open_image(BytesIO(data + b"\xff\xd9"), policy).image
        image.load()
        missing = _missing_of_jpeg(image, data, policy)
    else:
        image, missing = _missing_of_rows(data, policy)
    if missing > MOST_MISSING:
        raise ImageError(f"the image is cut off: about {missing:.0%} of it is missing; fetch the file again")
    return image


def _webp_cut_off(data: bytes, lacking: int, policy: ImagePolicy) -> ImageFile:
    """The image in a WebP without its last bytes, loaded: what is missing of it is made up from bytes of one value."""
    missing = missing_share(data)
    if missing > MOST_MISSING / 2:  # its last bytes hold more of the picture than the others
        raise ImageError(f"the image is cut off: about {missing:.0%} of it is missing; fetch the file again")
    for fill in _FILLS:
        with suppress(OSError):
            image = open_image(BytesIO(data + fill * lacking), policy).image
            image.load()
            return image
    raise ImageError("the image is cut off, and its decoder cannot do without the rest; fetch the file again")


def _missing_of_jpeg(image: Image.Image, data: bytes, policy: ImagePolicy) -> float:
    """The share of a JPEG that its decoder made up, which it does in the middle grey of every component."""
    raw = image.tobytes()
    made_up = len(raw) - len(raw.rstrip(b"\x7f" if image.mode == "CMYK" else b"\x80"))
    line = len(raw) // image.height
    lines, rest = divmod(made_up, line)
    block = 16 / open_image(BytesIO(data), policy).height  # what is decoded together: 16 lines of the file at most
    return min(1.0, lines / image.height + rest / line * block)


def _missing_of_rows(data: bytes, policy: ImagePolicy) -> tuple[ImageFile, float]:
    """The image as far as it goes, and the share of its lines that the file holds not, or not whole.

    It is decoded onto black and onto white: what differs was never written.
    """
    image, other = (_onto(open_image(BytesIO(data), policy).image, fill) for fill in (0, 255))
    if image.format == "GIF" and "transparency" in image.info:  # it is decoded onto that colour, whatever was there
        raise ImageError("the image is cut off, and nobody can tell how much of it is missing; fetch the file again")
    lines = ((0, top, image.width, top + 1) for top in range(image.height))
    return image, sum(image.crop(line).tobytes() != other.crop(line).tobytes() for line in lines) / image.height


def _onto(image: ImageFile, fill: int) -> ImageFile:
    """The image as far as it can be decoded, loaded, where all samples were `fill` before."""
    channels = len(image.getbands())
    image.im = Image.new(image.mode, image.size, fill if channels == 1 else (fill,) * channels).im
    with suppress(OSError):
        image.load()
    image.tile = []  # so that nothing more is decoded
    return image
