"""What the trainers of both stages share: tokens are counted, and nothing is sent or written that was not asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


class Counting:
    """What both trainers share: tokens are counted, and nothing is sent or written that was not asked for."""

    counted: torch.Tensor
    """Tokens seen, tokens supervised, sequences; of this process."""
    _told: tuple[float, int, int] | None = None
    """When the last line was logged, by `time.monotonic`, and the tokens and sequences until then."""
    _metrics: dict[str, dict[str, list[float]]]
    """TRL's."""
    _total_train_tokens: int
    """TRL's."""

    def batch_of(self, places: Sequence[int]) -> Any:
        """Rows of the training set as a batch, by the trainer's own collator.

        Args:
            places: Of the rows.

        Returns:
            What `compute_loss` takes, on the device.
        """
        rows = [self.train_dataset[place] for place in places]  # type: ignore[attr-defined]
        return self._prepare_inputs(self.data_collator(rows))  # type: ignore[attr-defined]

    def forget(self) -> None:
        """Takes back what batches outside the training have added to any count."""
        if hasattr(self, "counted"):
            del self.counted
        for of_mode in self._metrics.values():
            of_mode.clear()
        self._total_train_tokens = 0

    def begin(self) -> None:
        """Starts the clock of the first line's speed."""
        self._told = time.monotonic(), 0, 0

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """The card is written at the end, once."""

    def _send_telemetry(self) -> None:
        """TRL reports every training to its makers; this program sends nothing unasked."""

    def floating_point_ops(self, _inputs: dict[str, Any]) -> int:
        """Not counted: the library's estimate takes longer than a tiny model's optimizer step, and nobody reads it."""
        return 0

    def count(self, model: torch.nn.Module, seen: torch.Tensor, supervised: torch.Tensor) -> None:
        """Adds to the tokens seen and supervised in training. Stays on the device: nothing waits for it.

        Args:
            model: Only what it reads in training is counted.
            seen: The attention mask, a row a sequence.
            supervised: Which tokens are in the loss.
        """
        if model.training:
            all_of = torch.stack([seen.sum(), supervised.sum(), torch.full_like(seen.sum(), seen.shape[0])])
            self.counted = all_of if not hasattr(self, "counted") else self.counted + all_of

    def totals(self) -> tuple[int, int, int]:
        """(tokens seen, tokens supervised, sequences) of this session, over all processes, which all must ask."""
        if not hasattr(self, "counted"):
            return 0, 0, 0
        tokens, supervised, sequences = self.accelerator.reduce(self.counted).tolist()  # type: ignore[attr-defined]
        return int(tokens), int(supervised), int(sequences)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the speed since the last line to what is logged of training, so that every reporter has it.

        Args:
            logs: The new entry.
            start_time: The trainer's own clock.
        """
        if "loss" in logs:
            now_s, (tokens, _, sequences) = time.monotonic(), self.totals()
            if self._told is not None and now_s > self._told[0]:
                before_s, before_tokens, before = self._told
                logs["tokens_per_s"] = (tokens - before_tokens) / (now_s - before_s)
                logs["samples_per_s"] = (sequences - before) / (now_s - before_s)
            self._told = now_s, tokens, sequences
        super().log(logs, start_time)  # type: ignore[misc]
