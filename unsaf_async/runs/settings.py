"""What a user asks for: every setting of a run with its unit and its default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Settings:
    """What a user asks for. The fields are the options of `unsaf-async run`, with their units and defaults."""

    provider: str
    images: Sequence[str | Path] = ()
    """Folders, files, globs, manifests; none: the shipped ones that the provider's profile names."""
    judge: str | Sequence[str] | None = None
    """"self", "rules", or other providers' names, of which several make a panel; None: as the provider's profile says."""
    audit: Sequence[str] = ()
    """Providers that say of each question whether the image answers it."""
    grounded: bool = False
    """Whether the judge, seeing the image, says if answers are borne out."""
    confidence: bool = False
    """Whether the model is asked how sure it is of each answer."""
    samples: int = 0
    """Further draws of each answer."""
    data: Path | None = None
    """A labelled set, whose questions are asked; None: the model writes them."""
    data_format: str | None = None
    """Of the labelled set; None: recognised."""
    questions_from: Path | None = None
    """A run, whose questions are asked of this model."""
    judge_calibration: Path | None = None
    """What `judge calibrate` wrote of this judge; None: its errors are not corrected for."""
    questions: int = 6
    limit: int | None = None
    seed: int = 0
    max_cost: float | None = None
    """USD; None: no cap."""
    price: str | None = None
    """USD per million tokens, "IN,OUT"."""
    rpm: float | None = None
    tpm: float | None = None
    concurrency: int | None = None
    api_base: str | None = None
    model: str | None = None
    prompts: str | None = None
    """None: the pack that the provider's profile names."""
    out: Path | None = None
    cache: Path | None = Path("cache")
    """None: nothing shared between runs; the run still keeps its own replies, in its folder."""
    until_ci: float | None = None
