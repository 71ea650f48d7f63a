"""How a student is trained: every setting of `train`, checked. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from unsaf_async.errors import UserError, setting
from unsaf_async.help import OUTPUT, SPEED, Help

Schedule = Literal["cosine", "linear", "constant"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
Device = Literal["auto", "cpu"]
DEVICES: tuple[Device, ...] = get_args(Device)
Attention = Literal["eager", "sdpa", "flash_attention_2", "flex_attention"]
ATTENTIONS: tuple[Attention, ...] = get_args(Attention)
Reporter = Literal["tensorboard", "wandb", "mlflow", "trackio"]
REPORTERS: tuple[Reporter, ...] = get_args(Reporter)


TRAINED = "What is trained"
OPTIMIZATION = "Optimization"
ADAPTER = "Adapter"
CHECKPOINTS = "Checkpoints"
PREFERENCES = "Preferences"


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and how. Rates are per optimizer step; a row is one question about one image.

    Raises UserError for a value that makes no sense.
    """

    data: Annotated[Path, Help("What `unsaf-async export --format trl` wrote.", metavar="DIR", panel=TRAINED)]
    student: Annotated[
        str,
        Help("A folder of a model, a shipped tiny one's name, or a Hugging Face id.", metavar="MODEL", panel=TRAINED),
    ]
    out: Annotated[
        Path, Help("Where to write: a new or empty folder.", metavar="DIR", panel=OUTPUT, spelling=("--out", "-o"))
    ]
    """With `resume`, the folder to go on in."""
    revision: Annotated[
        str | None,
        Help("Of a Hugging Face id: commit, tag or branch. Default: the newest.", metavar="REVISION", panel=TRAINED),
    ] = None
    """None: the newest, whose commit is recorded."""
    epochs: Annotated[float, Help("How often each row is seen.", metavar="N", panel=OPTIMIZATION)] = 1.0
    max_steps: Annotated[int | None, Help("Optimizer steps, instead of --epochs.", metavar="N", panel=OPTIMIZATION)] = (
        None
    )
    batch: Annotated[int, Help("Rows per device and forward pass.", metavar="N", panel=OPTIMIZATION)] = 8
    accumulate: Annotated[int, Help("Forward passes per optimizer step.", metavar="N", panel=OPTIMIZATION)] = 1
    learning_rate: Annotated[float, Help("At its highest.", metavar="X", panel=OPTIMIZATION)] = 1e-4
    warmup: Annotated[
        float, Help("Share of the steps in which the rate rises.", metavar="SHARE", panel=OPTIMIZATION)
    ] = 0.05
    schedule: Annotated[Schedule, Help("How the rate falls.", metavar="cosine|linear|constant", panel=OPTIMIZATION)] = (
        "cosine"
    )
    weight_decay: Annotated[float, Help("AdamW's.", metavar="X", panel=OPTIMIZATION)] = 0.0
    lora_r: Annotated[int, Help("The adapter's rank.", metavar="N", panel=ADAPTER)] = 16
    """vLLM takes up to 16 unless it is told otherwise (`--max-lora-rank`)."""
    lora_alpha: Annotated[int, Help("Its scale is this by the rank.", metavar="N", panel=ADAPTER)] = 32
    lora_dropout: Annotated[float, Help("In the adapter.", metavar="SHARE", panel=ADAPTER)] = 0.05
    lora_targets: Annotated[
        tuple[str, ...],
        Help("Layers to adapt, such as q_proj; several times. Default: all.", metavar="NAME", panel=ADAPTER),
    ] = ()
    """Names of the language model's linear layers, or the ends of names; (): all of them."""
    lora_rank_of: Annotated[
        tuple[str, ...],
        Help("Another rank of the layers NAME; several times.", metavar="NAME=N", panel=ADAPTER),
    ] = ()
    """PEFT's `rank_pattern`."""
    lora_alpha_of: Annotated[
        tuple[str, ...],
        Help("Another alpha of the layers NAME; several times.", metavar="NAME=N", panel=ADAPTER),
    ] = ()
    """PEFT's `alpha_pattern`."""
    lora_experts: Annotated[
        bool, Help("Adapt the fused experts of a mixture, too; needs --lora-dropout 0.", panel=ADAPTER)
    ] = False
    """PEFT's `target_parameters`, which take no dropout."""
    rslora: Annotated[bool, Help("Scale by the square root of the rank.", panel=ADAPTER)] = False
    """Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA" (2023)."""
    dora: Annotated[bool, Help("Learn magnitudes and directions apart; slower.", panel=ADAPTER)] = False
    """Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation" (2024)."""
    qlora: Annotated[bool, Help("Hold the language model in 4 bits; needs bitsandbytes.", panel=ADAPTER)] = False
    """The language model's frozen weights are in NF4."""
    seed: Annotated[int, Help("Of the adapter, the order and the dropout.", metavar="N", panel=OPTIMIZATION)] = 0
    eval_every: Annotated[
        int | None, Help("Steps between evaluations. Default: an epoch.", metavar="N", panel=CHECKPOINTS)
    ] = None
    save_every: Annotated[
        int | None, Help("Steps between checkpoints. Default: an epoch.", metavar="N", panel=CHECKPOINTS)
    ] = None
    patience: Annotated[
        int | None,
        Help(
            "Stop after N evaluations without a lower validation loss, and keep the best. Default: never.",
            metavar="N",
            panel=CHECKPOINTS,
        ),
    ] = None
    max_pixels: Annotated[
        int | None, Help("Most pixels of an image, for processors that take a cap.", metavar="N", panel=SPEED)
    ] = None
    """None: the processor's own."""
    bf16: Annotated[bool | None, Help("Train in bfloat16. Default: on a GPU that can.", panel=SPEED)] = None
    """None: where the GPU computes in it; never on a CPU."""
    device: Annotated[Device, Help("auto: a GPU if there is one.", metavar="auto|cpu", panel=SPEED)] = "auto"
    threads: Annotated[int | None, Help("Of the CPU; 1 is best for tiny models.", metavar="N", panel=SPEED)] = None
    """None: torch's own choice. Models below some million parameters are fastest on 1."""
    attention: Annotated[
        Attention | None,
        Help("How attention is computed. Default: transformers' choice.", metavar="NAME", panel=SPEED),
    ] = None
    """None: the library's own choice for the model."""
    group_by_length: Annotated[bool, Help("Rows of like length share a batch: less padding.", panel=SPEED)] = False
    """The order is less random for it."""
    checkpointing: Annotated[
        bool | None,
        Help("Compute activations twice, for less memory. Default: where memory seems too small.", panel=SPEED),
    ] = None
    """A third more time. None: where memory seems too small."""
    workers: Annotated[int, Help("Processes that prepare batches; 0: none.", metavar="N", panel=SPEED)] = 0
    """0: the training process itself prepares them."""
    resume: Annotated[bool, Help("Go on from the last checkpoint in --out.", panel=CHECKPOINTS)] = False
    dpo: Annotated[bool, Help("A second stage on the preference pairs in DATA/preferences.", panel=PREFERENCES)] = False
    dpo_beta: Annotated[float, Help("How much DPO holds on to stage 1.", metavar="X", panel=PREFERENCES)] = 0.1
    dpo_learning_rate: Annotated[float, Help("Of stage 2.", metavar="X", panel=PREFERENCES)] = 5e-6
    dpo_epochs: Annotated[float, Help("Of stage 2.", metavar="N", panel=PREFERENCES)] = 1.0
    dpo_max_steps: Annotated[
        int | None, Help("Of stage 2, instead of --dpo-epochs.", metavar="N", panel=PREFERENCES)
    ] = None
    merge: Annotated[bool, Help("Write the adapter alone.", panel=OUTPUT)] = True
    """Whether the merged model is written, too, and checked against the adapter."""
    allow_near_copies: Annotated[
        bool, Help("Train although training images have near copies in validation.", panel=TRAINED)
    ] = False
    drop_too_long: Annotated[bool, Help("Leave out rows longer than the student takes.", panel=TRAINED)] = False
    """They are counted. Otherwise one such row ends the command."""
    report_to: Annotated[
        tuple[Reporter, ...],
        Help(
            "Send the losses there, too. May be given several times.",
            metavar="tensorboard|wandb|mlflow|trackio",
            panel=OUTPUT,
        ),
    ] = ()
    push_to_hub: Annotated[
        str | None,
        Help("Push the student there, on the Hugging Face Hub; private.", metavar="OWNER/NAME", panel=OUTPUT),
    ] = None
    """Adapter, card and record. Needs a token, of `HF_TOKEN` or `hf auth login`."""
    push_merged: Annotated[bool, Help("Push the merged model, too.", panel=OUTPUT)] = False
    public: Annotated[bool, Help("Let anybody read what is pushed.", panel=OUTPUT)] = False

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0.0), ("learning_rate", 0.0), ("dpo_learning_rate", 0.0), ("dpo_epochs", 0.0)):
            if not getattr(self, name) > least or getattr(self, name) == float("inf"):
                raise UserError(f"{getattr(self, name):g}: is not above 0; give a positive number", field=name)
        if not 0 < self.dpo_beta < float("inf"):
            raise UserError(f"{self.dpo_beta:g}: is not above 0; give a positive number", field="dpo_beta")
        for name in ("batch", "accumulate", "lora_r", "lora_alpha"):
            self._at_least(name, 1)
        for name in ("max_steps", "dpo_max_steps", "eval_every", "save_every", "patience", "threads", "max_pixels"):
            self._at_least(name, 1)
        for name in ("seed", "workers"):
            self._at_least(name, 0)
        for name in ("warmup", "lora_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{getattr(self, name):g}: is no share; give a number from 0 to below 1", field=name)
        if not 0 <= self.weight_decay < float("inf"):
            raise UserError(f"{self.weight_decay:g}: is below 0; give 0 or more", field="weight_decay")
        for name, known in (("schedule", SCHEDULES), ("device", DEVICES)):
            if getattr(self, name) not in known:
                raise UserError(f"{getattr(self, name)}: is not known; give one of {', '.join(known)}", field=name)
        for each in self.report_to:
            if each not in REPORTERS:
                raise UserError(f"{each}: is not known; give one of {', '.join(REPORTERS)}", field="report_to")
        if self.attention is not None and self.attention not in ATTENTIONS:
            raise UserError(f"{self.attention}: is not known; give one of {', '.join(ATTENTIONS)}", field="attention")
        self._check_adapter()
        for name in ("push_merged", "public"):
            if getattr(self, name) and self.push_to_hub is None:
                raise UserError(f": goes with {setting('push_to_hub')}", field=name)
        if self.push_merged and not self.merge:
            raise UserError(f": there is no merged model with {setting('merge', False)}", field="push_merged")
        if not str(self.student).strip():
            raise UserError(": is empty; give a folder, a tiny model's name or a hub id", field="student")
        if self.bf16 and self.device == "cpu":
            raise UserError(
                f"{setting('bf16')} and {setting('device', 'cpu')}: training on a CPU is in single precision; "
                "leave one of them out"
            )
        if self.patience is not None and self.save_every is not None and self.save_every != self.eval_every:
            raise UserError(
                f": the best checkpoint is kept, so each evaluation needs one; "
                f"leave {setting('save_every')} {self.save_every} out, or make it {setting('eval_every')}",
                field="patience",
            )

    def _check_adapter(self) -> None:
        """Raises UserError for an adapter that PEFT cannot make, before it is imported."""
        _ = self.ranks, self.alphas
        if self.lora_experts and self.lora_dropout:
            raise UserError(
                f": experts take no dropout; give {setting('lora_dropout')} 0, or leave it out", field="lora_experts"
            )
        if self.lora_experts and self.dora:
            raise UserError(
                f"{setting('lora_experts')} and {setting('dora')}: PEFT has no DoRA of experts; leave one out"
            )

    @property
    def ranks(self) -> tuple[tuple[str, int], ...]:
        """`lora_rank_of`, read: (layer, rank)."""
        return _pairs(self.lora_rank_of, "lora_rank_of")

    @property
    def alphas(self) -> tuple[tuple[str, int], ...]:
        """`lora_alpha_of`, read: (layer, alpha)."""
        return _pairs(self.lora_alpha_of, "lora_alpha_of")

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if value is not None and value < least:
            raise UserError(f"{value}: is below {least}; give {least} or more", field=name)

    def to_dict(self) -> dict[str, Any]:
        """The recipe for JSON; of folders only the last part, since records are passed on with the model."""
        from unsaf_async.distill.data.build_rows import private

        return asdict(self) | {"data": self.data.name, "out": self.out.name, "student": private(self.student)}


def _pairs(texts: tuple[str, ...], field: str) -> tuple[tuple[str, int], ...]:
    pairs = []
    for text in texts:
        name, equals, number = text.partition("=")
        if not name or not equals or not number.isdecimal() or int(number) < 1:
            raise UserError(f"{text}: is no layer with its number; give NAME=N, such as down_proj=32", field=field)
        pairs.append((name, int(number)))
    return tuple(pairs)
