"""Colours as sRGB: what a picture's colour profile (ICC) or gamma says they are; profiles are converted by LittleCMS."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageCms

_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""What a profile is of, and the mode of the pictures that it fits."""

_PROBE_STEPS = (0, 51, 102, 153, 204, 255)
_NEAR = 2


class ProfileError(Exception):
    """A profile that is broken, or does not fit its picture."""


@lru_cache(maxsize=32)  # a folder of photos has but a few, and making a transform takes milliseconds
def is_srgb(profile: bytes) -> bool:
    """Whether a profile's colours are sRGB's, so that nothing has to be converted.

    Args:
        profile: An ICC profile.

    Returns:
        Whether no colour of a coarse grid moves by more than two steps of 255; False for a profile that is broken or is of
        another space.
    """
    steps = range(len(_PROBE_STEPS) ** 3)
    side = len(_PROBE_STEPS)
    grid = bytes(_PROBE_STEPS[place] for step in steps for place in (step // side**2, step // side % side, step % side))
    probe = Image.frombytes("RGB", (len(steps), 1), grid)
    try:
        converted = _converted(probe, profile, "RGB ").tobytes()
    except ProfileError:
        return False
    return all(abs(one - other) <= _NEAR for one, other in zip(grid, converted, strict=True))


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A picture in sRGB, by its profile; transparency stays as it is.

    Args:
        image: Its mode is L, LA, RGB, RGBA or CMYK.
        profile: Its ICC profile.

    Returns:
        A picture of mode RGB or RGBA; `image` itself where the profile is sRGB's.

    Raises:
        ProfileError: The profile is broken, or is none of such a picture.
    """
    space = _space(profile)
    if space == "RGB " and image.mode != "CMYK" and is_srgb(profile):
        return image
    colours = image
    if image.mode in ("LA", "RGBA"):
        colours = image.convert(image.mode[:-1])
    if space == "RGB " and colours.mode == "L":  # grey, with the profile of what it was made from
        colours = colours.convert("RGB")
    converted = _converted(colours, profile, space)
    if colours is not image and image.mode in ("LA", "RGBA"):
        converted.putalpha(image.getchannel("A"))
    return converted


def from_gamma(image: Image.Image, gamma: float) -> Image.Image:
    """A picture in sRGB whose samples are light to some power; transparency stays as it is.

    Args:
        image: Its mode is L, LA, RGB or RGBA.
        gamma: The power, as in a PNG's gAMA: 1.0 for samples that grow with the light.

    Returns:
        A picture of the same mode.
    """
    table = [round(255 * _srgb_sample((sample / 255) ** (1 / gamma))) for sample in range(256)]
    bands = image.getbands()
    return image.point([entry for band in bands for entry in (range(256) if band == "A" else table)])


def _srgb_sample(light: float) -> float:
    """The sample of some light, both from 0 to 1 (IEC 61966-2-1)."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def srgb_light(sample: float) -> float:
    """The light of a sample by sRGB's curve (IEC 61966-2-1).

    Args:
        sample: From 0 to 1.

    Returns:
        The light, from 0 to 1.
    """
    return sample / 12.92 if sample <= 0.04045 else ((sample + 0.055) / 1.055) ** 2.4


def _space(profile: bytes) -> str:
    try:
        return ImageCms.ImageCmsProfile(BytesIO(profile)).profile.xcolor_space
    except (OSError, ImageCms.PyCMSError, ValueError) as error:
        raise ProfileError("is broken") from error


def _converted(image: Image.Image, profile: bytes, space: str) -> Image.Image:
    """`image` in sRGB, mode RGB."""
    if _SPACES.get(space) != image.mode:
        raise ProfileError("is of another sort of picture")
    try:
        source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        converted = ImageCms.applyTransform(image, ImageCms.buildTransform(source, target, image.mode, "RGB"))
    except (OSError, ImageCms.PyCMSError, ValueError) as error:
        raise ProfileError("is broken") from error
    if converted is None:
        raise ProfileError("is broken")
    return converted
