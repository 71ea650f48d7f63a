"""The ladder: the sizes of the tiny models. Everything but the size is the same for all of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rung:
    """One size. Attention heads are 32 wide, the least that vLLM's CPU attention takes."""

    name: str
    hidden: int
    """Width of vision tower and language model."""
    text_layers: int
    """The language model's depth."""
    vision_layers: int
    """The vision tower's depth."""
    learning_rate: float
    """The peak of AdamW's; wider models want a lower one."""

    @property
    def heads(self) -> int:
        """Attention heads, in both towers."""
        return self.hidden // 32


LADDER = (
    Rung("tiny-xs", 32, 2, 1, 4e-3),
    Rung("tiny-s", 64, 2, 1, 3e-3),
    Rung("tiny-m", 128, 4, 2, 1.5e-3),
    Rung("tiny-l", 192, 4, 2, 1e-3),
)
"""From the smallest to the largest."""
