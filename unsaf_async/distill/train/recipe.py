"""How a student is trained: every setting of `train`, checked. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

Schedule = Literal["cosine", "linear", "constant"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
Device = Literal["auto", "cpu"]
DEVICES: tuple[Device, ...] = get_args(Device)
Reporter = Literal["tensorboard", "wandb"]
REPORTERS: tuple[Reporter, ...] = get_args(Reporter)


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and how. Rates are per optimizer step; a row is one question about one image.

    Raises UserError for a value that makes no sense.
    """

    data: Path
    """What `unsaf-async export --format trl` wrote."""
    student: str
    """A folder that `save_pretrained` wrote, the name of a shipped tiny model, or a model's id on the Hugging Face hub."""
    out: Path
    """A new or empty folder; with `resume`, the one to go on in."""

    epochs: float = 1.0
    max_steps: int | None = None
    """Optimizer steps; overrides `epochs`."""
    batch: int = 8
    """Rows per device and forward pass."""
    accumulate: int = 1
    """Forward passes per optimizer step."""
    learning_rate: float = 1e-4
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises."""
    schedule: Schedule = "cosine"
    weight_decay: float = 0.0
    lora_r: int = 16
    """Rank. vLLM takes up to 16 unless it is told otherwise (`--max-lora-rank`)."""
    lora_alpha: int = 32
    lora_dropout: float = 0.05
    qlora: bool = False
    """The language model's frozen weights in 4 bits (NF4); needs bitsandbytes."""
    seed: int = 0

    eval_every: int | None = None
    """Steps between two evaluations on the validation split; None: once an epoch."""
    save_every: int | None = None
    """Steps between two checkpoints; None: once an epoch."""
    patience: int | None = None
    """Stop after so many evaluations without a lower validation loss, and keep the best; None: never."""

    max_pixels: int | None = None
    """The most pixels of an image, for processors that take such a cap; None: the processor's own."""
    bf16: bool | None = None
    """None: where the GPU computes in it; never on a CPU."""
    device: Device = "auto"
    threads: int | None = None
    """Of torch, on a CPU; None: torch's own choice. Models below some million parameters are fastest on 1."""
    checkpointing: bool | None = None
    """Recompute activations in the backward pass: less memory, a third more time. None: where memory seems too small."""
    workers: int = 0
    """Processes that prepare batches; 0: the training process itself."""
    resume: bool = False

    dpo: bool = False
    """A second stage on preference pairs, DATA/preferences."""
    dpo_beta: float = 0.1
    dpo_learning_rate: float = 5e-6
    dpo_epochs: float = 1.0
    dpo_max_steps: int | None = None

    merge: bool = True
    """Write the merged model, too, and check it against the adapter."""
    allow_near_copies: bool = False
    """Train although near copies of training images are in the validation split."""
    report_to: tuple[Reporter, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0.0), ("learning_rate", 0.0), ("dpo_learning_rate", 0.0), ("dpo_epochs", 0.0)):
            if not getattr(self, name) > least or getattr(self, name) == float("inf"):
                raise UserError(f"{_option(name)} {getattr(self, name):g}: is not above 0; give a positive number")
        if not 0 < self.dpo_beta < float("inf"):
            raise UserError(f"--dpo-beta {self.dpo_beta:g}: is not above 0; give a positive number")
        for name in ("batch", "accumulate", "lora_r", "lora_alpha"):
            self._at_least(name, 1)
        for name in ("max_steps", "dpo_max_steps", "eval_every", "save_every", "patience", "threads", "max_pixels"):
            self._at_least(name, 1)
        for name in ("seed", "workers"):
            self._at_least(name, 0)
        for name in ("warmup", "lora_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"{_option(name)} {getattr(self, name):g}: is no share; give a number from 0 to below 1"
                )
        if not 0 <= self.weight_decay < float("inf"):
            raise UserError(f"--weight-decay {self.weight_decay:g}: is below 0; give 0 or more")
        for name, known in (("schedule", SCHEDULES), ("device", DEVICES)):
            if getattr(self, name) not in known:
                raise UserError(f"{_option(name)} {getattr(self, name)}: is not known; give one of {', '.join(known)}")
        for each in self.report_to:
            if each not in REPORTERS:
                raise UserError(f"--report-to {each}: is not known; give {' or '.join(REPORTERS)}")
        if not str(self.student).strip():
            raise UserError("--student: is empty; give a folder, a tiny model's name or a hub id")
        if self.bf16 and self.device == "cpu":
            raise UserError("--bf16 and --device cpu: training on a CPU is in single precision; leave one of them out")
        if self.patience is not None and self.save_every is not None and self.save_every != self.eval_every:
            raise UserError(
                f"--patience: the best checkpoint is kept, so each evaluation needs one; "
                f"leave --save-every {self.save_every} out, or make it --eval-every"
            )

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if value is not None and value < least:
            raise UserError(f"{_option(name)} {value}: is below {least}; give {least} or more")

    def to_dict(self) -> dict[str, Any]:
        """The recipe for JSON; of folders only the last part, since records are passed on with the model."""
        from unsaf_async.distill.data.rows import private

        return asdict(self) | {"data": self.data.name, "out": self.out.name, "student": private(self.student)}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
