"""The cap on an image's pixels: where a student's image processor keeps it, and setting it there."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from transformers import ProcessorMixin

_LONGEST_EDGE = 10_000
"""No processor lets an edge be longer, in pixels; a larger `longest_edge` is an area."""


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
        return f"size.longest_edge {size['longest_edge']:,}, an edge"
    if getattr(images, "max_patches", None) and _tile(size):
        return f"max_patches {images.max_patches}, tiles of {size['height']} x {size['width']} pixels"
    if getattr(images, "max_pixels", None) is not None:
        return f"max_pixels {images.max_pixels:,}"
    return None


def set_pixel_cap(processor: ProcessorMixin, most: int, student: str) -> None:
    """Caps an image's pixels where the processor keeps its cap.

    That is `size.longest_edge`, an area for Qwen-VL and its kin (transformers 5.19) and an edge for Idefics3 and
    Pixtral, or the number of tiles for InternVL. An area is kept to by whole patches.

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
        images.size = {"longest_edge": min(size["longest_edge"], isqrt(most))}
    elif getattr(images, "max_patches", None) and _tile(size):
        images.max_patches = min(
            images.max_patches, max(getattr(images, "min_patches", None) or 1, most // _tile(size))
        )
    elif getattr(images, "max_pixels", None) is None:
        raise UserError(
            f"{most}: the processor of {student} ({type(images).__name__}) takes no cap; leave it out",
            field="max_pixels",
        )
    if getattr(images, "max_pixels", None) is not None:
        images.max_pixels = most


def _size(images: Any) -> dict[str, int]:
    return {name: value for name, value in dict(getattr(images, "size", None) or {}).items() if value is not None}


def _is_area(images: Any, size: dict[str, int]) -> bool:
    """Whether `longest_edge` is an area: the processor once called it max_pixels, or no edge is that long."""
    if "longest_edge" not in size:
        return False
    options = getattr(getattr(images, "valid_kwargs", None), "__annotations__", {})
    return "max_pixels" in options or size["longest_edge"] > _LONGEST_EDGE


def _tile(size: dict[str, int]) -> int:
    """Pixels of a tile; 0: the processor makes none."""
    return size.get("height", 0) * size.get("width", 0)
