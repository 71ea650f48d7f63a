"""Samples of any depth as 8-bit channels, and transparency put on white."""

from __future__ import annotations

import math

from PIL import Image, ImageCms, ImageMath
from PIL.TiffImagePlugin import TiffImageFile

from unsaf_async.inputs.policy import ImageError

_PHOTOMETRIC = 262


def eight_bit(image: Image.Image, *, keep_cmyk: bool) -> Image.Image:
    """An image in a mode with 8-bit channels that can be resized.

    Args:
        image: In any mode, decoded.
        keep_cmyk: Whether CMYK stays as it is, since a profile will convert it.

    Returns:
        An image of mode L, LA, RGB or RGBA; or CMYK.

    Raises:
        ImageError: It holds samples that are no numbers.
        ValueError: Its colours cannot be converted.
    """
    if keep_cmyk and image.mode == "CMYK":
        return image
    if image.mode.startswith("I;16"):
        return _scaled_grey(image)
    if image.mode in ("I", "F"):
        return _scaled(image, *_sample_range(image))
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
        if converted is None:
            raise ValueError("the LAB colours cannot be converted")
        return converted
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def opaque(image: Image.Image) -> Image.Image:
    """An image in mode RGB, on white where it is transparent.

    Args:
        image: With 8-bit channels.

    Returns:
        `image` itself where it is in mode RGB.
    """
    if image.mode in ("LA", "RGBA"):
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def _scaled_grey(image: Image.Image) -> Image.Image:
    """Grey of 16 bits in mode L; in mode LA if the file declares a shade transparent."""
    grey = image.convert("I")
    is_negative = (
        isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0
    )  # Pillow inverts 8 bits alone
    scaled = _scaled(grey, *((65535, 0) if is_negative else (0, 65535)))
    shade = image.info.get("transparency")
    if not isinstance(shade, int):
        return scaled
    opaque = ImageMath.lambda_eval(lambda args: args["convert"]((args["grey"] != shade) * 255, "L"), grey=grey)
    return Image.merge("LA", (scaled, opaque))


def _sample_range(image: Image.Image) -> tuple[float, float]:
    """What means black and white in samples of 32 bits, which no header says."""
    low, high = (float(bound) for bound in image.getextrema())  # type: ignore[arg-type]
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError("the image holds samples that are no numbers")
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return 0, 65535
    for white in (1, 255, 65535) if image.mode == "F" else (255, 65535):
        if low >= 0 and high <= white:
            return 0, white
    return low, max(high, low + 1)


def _scaled(image: Image.Image, black: float, white: float) -> Image.Image:
    factor = 255 / (white - black)
    offset = -black * factor + 0.5  # the conversion to L cuts off
    return image.point(lambda sample: sample * factor + offset).convert("L")
