"""What the trainers of both stages share: tokens are counted, and nothing is sent or written that was not asked for."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

_FILE = "counts.json"
"""In each checkpoint, beside the trainer's own files."""


@dataclass(frozen=True)
class Counts:
    """What a stage has seen up to a step that was kept, in all sessions and over all devices, padding not counted."""

    tokens: int = 0
    supervised_tokens: int = 0
    """Those of `tokens` that are in the loss."""
    wall_s: float = 0.0
    """Of the steps, with evaluations and checkpoints."""

    @classmethod
    def read(cls, checkpoint: Path) -> Self | None:
        """The counts up to a checkpoint.

        Args:
            checkpoint: Its folder.

        Returns:
            What `write` wrote; None: an earlier version made the checkpoint, or it was killed just then.
        """
        try:
            told = json.loads((checkpoint / _FILE).read_text("utf-8"))
            return cls(int(told["tokens"]), int(told["supervised_tokens"]), float(told["wall_s"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, checkpoint: Path) -> None:
        """Puts the counts beside what else a checkpoint holds.

        Args:
            checkpoint: Its folder.
        """
        (checkpoint / _FILE).write_text(json.dumps(asdict(self)) + "\n", "utf-8")


class Counting:
    """What both trainers share: tokens are counted, and nothing is sent or written that was not asked for."""

    counted: torch.Tensor
    """Tokens seen, tokens supervised, sequences; of this process."""
    earlier: Counts | None = Counts()
    """Those of the checkpoint that the training goes on from; None: nobody knows them."""
    _began_s: float | None = None
    """When this session's first step began, by `time.monotonic`; None: it takes none."""
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
        """Starts the clock of this session, and of the first line's speed."""
        self._began_s = time.monotonic()
        self._told = self._began_s, 0, 0

    def counts(self) -> Counts | None:
        """The counts of all sessions until now; None: those of an earlier one are not known. All processes must ask."""
        tokens, supervised, _ = self.totals()
        if self.earlier is None:
            return None
        session_s = 0.0 if self._began_s is None else time.monotonic() - self._began_s
        return Counts(
            self.earlier.tokens + tokens,
            self.earlier.supervised_tokens + supervised,
            self.earlier.wall_s + session_s,
        )

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """transformers' own, and the counts beside it. An override, as TRL has one: `on_save` knows no trainer."""
        counts = self.counts()
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        if counts is not None and self.args.should_save:  # type: ignore[attr-defined]
            step = self.state.global_step  # type: ignore[attr-defined]
            counts.write(Path(self.args.output_dir) / f"checkpoint-{step}")  # type: ignore[attr-defined]

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
