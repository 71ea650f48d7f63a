"""What a training tells while it goes on: a line an entry of the trainer's log, and a progress bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from transformers import TrainerCallback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transformers import TrainerControl, TrainerState, TrainingArguments


@dataclass(frozen=True)
class LogLine:
    """What the trainer logged of the steps since its last line. None: it did not say."""

    step: int
    loss: float
    learning_rate: float | None
    """At the last of these steps."""
    grad_norm: float | None
    """The norm of the adapter's gradient at the last of these steps, before it is clipped to 1."""
    tokens_per_s: float | None
    """Over all devices, padding not counted, with evaluations and checkpoints that fell into these steps."""
    samples_per_s: float | None
    """Sequences a second: of preferences two a pair."""

    @classmethod
    def of(cls, step: int, logs: Mapping[str, float]) -> Self:
        """An entry of the trainer's log as a line.

        Args:
            step: The optimizer steps so far.
            logs: The entry; it has a loss.

        Returns:
            The line.
        """
        rest = ("learning_rate", "grad_norm", "tokens_per_s", "samples_per_s")
        return cls(step, float(logs["loss"]), *(None if logs.get(name) is None else float(logs[name]) for name in rest))

    def text(self) -> str:
        """In words: what is known of it."""
        parts = [f"loss {self.loss:.4f}"]
        if self.learning_rate is not None:
            parts.append(f"rate {self.learning_rate:.1e}")
        if self.grad_norm is not None:
            parts.append(f"gradient {self.grad_norm:.2g}")
        if self.tokens_per_s is not None and self.samples_per_s is not None:
            parts.append(f"{self.tokens_per_s:,.0f} tokens/s, {self.samples_per_s:,.1f} samples/s")
        return ", ".join(parts)


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Reports progress: a line an entry of the trainer's log, and a progress bar where one is wanted."""

    def __init__(self, what: str, say: Callable[[str], None], bar: bool) -> None:
        self._what, self._say, self._bar = what, say, bar
        self._progress: Any = None
        self._task: Any = None

    def on_train_begin(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        """Shows the bar.

        Args:
            state: The trainer's.
        """
        if self._bar and state.is_world_process_zero:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = [
                TextColumn(self._what),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[loss]}"),
            ]
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task("", total=state.max_steps, completed=state.global_step, loss="")
            self._progress.start()

    def on_step_end(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        """Moves the bar.

        Args:
            state: The trainer's.
        """
        if self._progress is not None:
            self._progress.update(self._task, completed=state.global_step)

    def on_log(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        """Announces a loss.

        Args:
            state: The trainer's.
            logs: The new entry of the trainer's log.
        """
        at = f"step {state.global_step} of {state.max_steps}"
        if "loss" in logs:
            if self._progress is not None:
                self._progress.update(self._task, loss=f"loss {float(logs['loss']):.4f}")
            self._say(f"{at}: {LogLine.of(state.global_step, logs).text()}")
        if "eval_loss" in logs:
            self._say(f"{at}: validation loss {float(logs['eval_loss']):.4f}")

    def close(self) -> None:
        """Takes the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
