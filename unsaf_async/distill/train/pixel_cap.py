"""The cap on an image's pixels: where a student's image processor keeps it, and setting it there."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

from unsaf_async.errors import UserError, setting

if TYPE_CHECKING:
    from transformers import ProcessorMixin

_LONGEST_EDGE = 10_000
"""No processor lets an edge be longer, in pixels; a larger `longest_edge` is an area."""
_SOFT_TOKENS = (70, 140, 280, 560, 1120)
"""The budgets of an image that Gemma 4's processor takes, and no other
(https://huggingface.co/docs/transformers/model_doc/gemma4)."""


def pixel_cap(processor: ProcessorMixin) -> str | None:
    """Where a processor keeps its cap on an image's pixels, and how high it is.

    Args:
        processor: The student's.

    Returns:
        Such as "size.longest_edge 262,144, an area"; None: it takes no cap.
    """
    images = processor.image_processor
    size = _size(images)
    if _is_area(images, size):
        return f"size.longest_edge {size['longest_edge']:,}, an area"
    if set(size) == {"longest_edge"}:
        tile = _split(images)
        tiles = f", in tiles of {tile} x {tile} pixels" if tile else ""
        return f"size.longest_edge {size['longest_edge']:,}, an edge{tiles}"
    if edge := _soft_edge(images):
        return f"max_soft_tokens {images.max_soft_tokens:,}, tokens of {edge} x {edge} pixels"
    if getattr(images, "max_patches", None) and _tile(size):
        return f"max_patches {images.max_patches}, tiles of {size['height']} x {size['width']} pixels"
    if getattr(images, "max_pixels", None) is not None:
        return f"max_pixels {images.max_pixels:,}"
    return None


def set_pixel_cap(processor: ProcessorMixin, most: int, student: str) -> None:
    """Caps an image's pixels where the processor keeps its cap.

    That is `size.longest_edge`, an area for Qwen-VL and its kin and an edge for Idefics3 and Pixtral, the number of
    tiles for InternVL, or the number of tokens for Gemma 4. An area is kept to by whole patches, and an edge by whole
    tiles where images are cut into them: Idefics3 enlarges what is left over to the next tile. One tile, and Gemma 4's
    least number of tokens, is the least.

    Args:
        processor: The student's; it is changed.
        most: Pixels, > 0.
        student: Its name, for messages.

    Raises:
        UserError: The processor takes no cap.
    """
    images = processor.image_processor
    size = _size(images)
    if _is_area(images, size):
        # below the least area, images would be enlarged again
        least = {"shortest_edge": min(size["shortest_edge"], most)} if "shortest_edge" in size else {}
        images.size = {**size, **least, "longest_edge": most}
    elif set(size) == {"longest_edge"}:
        edge = min(size["longest_edge"], isqrt(most))
        if tile := _split(images):
            edge = max(tile, edge // tile * tile)
        images.size = {"longest_edge": edge}
    elif edge := _soft_edge(images):
        fits = [tokens for tokens in _SOFT_TOKENS if tokens * edge**2 <= most]
        images.max_soft_tokens = min(images.max_soft_tokens, max(fits, default=_SOFT_TOKENS[0]))
    elif getattr(images, "max_patches", None) and _tile(size):
        images.max_patches = min(
            images.max_patches, max(getattr(images, "min_patches", None) or 1, most // _tile(size))
        )
    elif getattr(images, "max_pixels", None) is None:
        raise UserError(
            f"{most}: the processor of {student} ({type(images).__name__}) takes no cap; leave it out, and rows that are "
            f"too long with {setting('drop_too_long')}",
            field="max_pixels",
        )
    if getattr(images, "max_pixels", None) is not None:
        images.max_pixels = most


def _size(images: Any) -> dict[str, int]:
    return _dict(getattr(images, "size", None))


def _dict(size: Any) -> dict[str, int]:
    return {name: value for name, value in dict(size or {}).items() if value is not None}


def _is_area(images: Any, size: dict[str, int]) -> bool:
    """Whether `longest_edge` is an area: the processor once called it max_pixels, or no edge is that long."""
    if "longest_edge" not in size:
        return False
    options = getattr(getattr(images, "valid_kwargs", None), "__annotations__", {})
    return "max_pixels" in options or size["longest_edge"] > _LONGEST_EDGE


def _tile(size: dict[str, int]) -> int:
    """Pixels of a tile; 0: the processor makes none."""
    return size.get("height", 0) * size.get("width", 0)


def _split(images: Any) -> int:
    """The edge of the square tiles into which an image of more than one is cut; 0: it is not cut, or not by its edge."""
    tile = _dict(getattr(images, "max_image_size", None)).get("longest_edge", 0)
    return tile if getattr(images, "do_image_splitting", False) else 0


def _soft_edge(images: Any) -> int:
    """The edge of the square of pixels that makes one token; 0: the processor counts no tokens."""
    return images.pooling_kernel_size * images.patch_size if getattr(images, "max_soft_tokens", None) else 0
