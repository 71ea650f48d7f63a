"""What a user asks for: every setting of a run with its unit and its default. Nothing heavy is imported here.

A field is an option of the command line and a keyword argument of `evaluate`; its `Help` is what users read, and its type
is what a Python caller may give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from unsaf_async.errors import UserError, setting
from unsaf_async.help import JUDGING, MEASURED, MONEY, OUTPUT, SPEED, Help

DEFAULT_CACHE = Path("cache")

# Options that several commands take.
Judge = Annotated[
    str | Sequence[str] | None,
    Help(
        'Who judges what the rules leave open: "self", "rules" (nobody), or a provider; given several times, a panel by '
        "majority. Default: self; rules for tiny.",
        metavar="NAME|self|rules",
        panel=JUDGING,
    ),
]
MOST_TOGETHER = 50
"""Responses that a judge is asked about in one call."""
JudgeTogether = Annotated[
    int,
    Help(
        "Ask a judge about up to N responses of an image in one call: fewer calls, and perhaps other verdicts, which "
        "`judge calibrate` measures.",
        metavar="N",
        panel=JUDGING,
    ),
]
MaxCost = Annotated[float | None, Help("Never spend more than this, in USD.", metavar="USD", panel=MONEY)]
TrustFolder = Annotated[
    bool,
    Help(
        "Where a run's folder is not known as yours: take models, addresses, prompts and images as it names them.",
        panel=OUTPUT,
    ),
]
CACHE = Help(
    "Folder of stored replies. Default: $UNSAF_CACHE or ./cache.",
    metavar="DIR",
    panel=OUTPUT,
    variable="UNSAF_CACHE",
    without=("--no-cache", "Share no replies with other runs."),
)
Cache = Annotated[Path | None, CACHE]
Prompts = Annotated[
    str | None,
    Help(
        "Prompt pack: a shipped one's name (such as unsaf/de) or a folder. Default: unsaf; tiny for tiny.",
        metavar="PACK",
        panel=MEASURED,
    ),
]
Questions = Annotated[
    int,
    Help("Questions per image and instruction (K answerable and K unanswerable).", metavar="K", panel=MEASURED),
]
Seed = Annotated[
    int,
    Help(
        "Of the image order, the models' sampling where they take one, and the intervals.",
        metavar="N",
        panel=MEASURED,
    ),
]
ApiBase = Annotated[
    str | Sequence[str] | None,
    Help(
        "Base URL of the endpoint; given several times, servers of one model, of which the least busy is called.",
        metavar="URL",
        panel=MEASURED,
    ),
]
JudgeApiBase = Annotated[
    str | Sequence[str] | None,
    Help(
        "Base URL for all judges that are named; given several times, servers that all serve them. Default: each one's own.",
        metavar="URL",
        panel=JUDGING,
    ),
]
RunsJudgeApiBase = Annotated[
    str | Sequence[str] | None,
    Help(
        "Base URL for all judges that the runs name; given several times, servers that all serve them. Default: each one's own.",
        metavar="URL",
        panel=JUDGING,
    ),
]
AuditApiBase = Annotated[
    str | Sequence[str] | None,
    Help(
        "Base URL for all auditors that are named; given several times, servers that all serve them. Default: each one's own.",
        metavar="URL",
        panel=JUDGING,
    ),
]
Audit = Annotated[
    Sequence[str],
    Help(
        "A provider that says of each question, blind to its label, if the image answers it. May be given several times.",
        metavar="NAME",
        panel=JUDGING,
    ),
]
Grounded = Annotated[
    bool, Help("Have the (first) judge look at the image and say if answers are borne out by it.", panel=JUDGING)
]
Confidence = Annotated[
    bool, Help("Ask the model how sure it is of each answer: in percent, and as P(True).", panel=MEASURED)
]
Samples = Annotated[
    int,
    Help("Draw each answer K more times, for self-consistency and semantic entropy.", metavar="K", panel=MEASURED),
]
Controls = Annotated[
    str | Sequence[str],
    Help(
        "Ask some answerable questions again without what answers them: with a blank picture (blank), with another image of the "
        "run (other), or blank,other for both.",
        metavar="KINDS",
        panel=MEASURED,
        expects="blank, other or both",
    ),
]
ControlsPerImage = Annotated[
    int,
    Help("With --controls: questions of an image that are asked again with each kind.", metavar="N", panel=MEASURED),
]
Concurrency = Annotated[int | None, Help("Most calls in flight.", metavar="N", panel=SPEED)]
Rpm = Annotated[float | None, Help("Requests per minute.", metavar="N", panel=SPEED)]
Tpm = Annotated[float | None, Help("Tokens per minute.", metavar="N", panel=SPEED)]


TableFormat = Literal["parquet", "csv"]
"""Of a table of a run's questions. parquet: types and texts as they are. csv: for everything else."""


LONGEST_BATCH_WINDOW_H = 48.0

SMALLEST_SIDE_PX, LARGEST_SIDE_PX = 16, 8192
"""What the longer side of an image may be limited to."""

BatchWindow = Annotated[
    float,
    Help(
        "With --batch: hours to wait for a batch; what it left open then is asked at full price.",
        metavar="HOURS",
        panel=MONEY,
    ),
]


@dataclass(frozen=True)
class Settings:
    """What a user asks for. The fields are the options of `unsaf-async run`, with their units and defaults."""

    provider: Annotated[
        str,
        Help("Model to measure: a profile's name or alias, or any litellm id.", metavar="NAME", panel=MEASURED),
    ]
    _: KW_ONLY
    images: Annotated[
        str | Path | Sequence[str | Path],
        Help(
            "Folders, files, globs, lists (CSV, JSON, Parquet, tar) or s3://BUCKET/FOLDER. Default: the shipped photos; drawn "
            "scenes for tiny.",
            metavar="PATH ...",
            panel=MEASURED,
        ),
    ] = ()
    """(): the shipped images that the provider's profile names."""
    judge: Judge = None
    """None: as the provider's profile says."""
    judge_api_base: JudgeApiBase = None
    judge_together: JudgeTogether = 1
    audit: Audit = ()
    audit_api_base: AuditApiBase = None
    grounded: Grounded = False
    confidence: Confidence = False
    samples: Samples = 0
    controls: Controls = ()
    controls_per_image: ControlsPerImage = 1
    data: Annotated[
        Path | str | None,
        Help("The labelled set: a file, or the folder it came in.", metavar="FILE", panel=MEASURED),
    ] = None
    """The labelled set whose questions are asked; None: the model writes them."""
    data_format: Annotated[
        str | None,
        Help(
            "jsonl, pope, vizwiz, mm-upd or tubench. Default: recognised.",
            metavar="NAME",
            panel=MEASURED,
            spelling=("--format",),
        ),
    ] = None
    questions_from: Annotated[
        Path | str | None,
        Help(
            "Ask the questions of that run, about its images, instead of own ones.", metavar="RUN_DIR", panel=MEASURED
        ),
    ] = None
    judge_calibration: Annotated[
        Path | str | None,
        Help(
            "What `judge calibrate` wrote of this judge: adds UnF1 corrected for its errors.",
            metavar="FILE",
            panel=JUDGING,
        ),
    ] = None
    questions: Questions = 6
    question_form: Annotated[
        Literal["open", "choice", "both"],
        Help(
            "How questions are put: for an answer in free words; with options, of which the model writes all but "
            '"cannot be determined", and which no judge reads; or both, each with its score.',
            metavar="open|choice|both",
            panel=MEASURED,
            spelling=("--form",),
        ),
    ] = "open"
    limit: Annotated[
        int | None, Help("Examine at most so many images, a random sample by --seed.", metavar="N", panel=MEASURED)
    ] = None
    seed: Seed = 0
    max_side: Annotated[
        int | None,
        Help(
            "Send images with at most so many pixels on the longer side. Fewer cost less with most models. Default: the "
            "profile's, 1024.",
            metavar="PX",
            panel=MONEY,
        ),
    ] = None
    """None: as the provider's profile says."""
    max_cost: MaxCost = None
    price: Annotated[
        str | None,
        Help(
            "USD per million tokens, where no price is known or another holds.",
            metavar="IN,OUT",
            panel=MONEY,
            expects='text such as "2.5,10" (USD per million tokens, in and out)',
        ),
    ] = None
    prompt_cache: Annotated[
        Literal["auto", "off"],
        Help(
            "Whether calls about an image are sent so that the provider's cache of prompts makes them cheaper.",
            metavar="auto|off",
            panel=MONEY,
        ),
    ] = "auto"
    rpm: Rpm = None
    tpm: Tpm = None
    concurrency: Concurrency = None
    api_base: ApiBase = None
    model: Annotated[
        str | None,
        Help("Model id at the endpoint, where the profile names none or another.", metavar="ID", panel=MEASURED),
    ] = None
    prompts: Prompts = None
    """None: the pack that the provider's profile names."""
    out: Annotated[
        Path | str | None, Help("The run's folder. Default: runs/<time>-<model>.", metavar="DIR", panel=OUTPUT)
    ] = None
    cache: Annotated[Path | str | None, CACHE] = DEFAULT_CACHE
    """None: no replies are shared with other runs; a run still keeps its own, in its folder."""
    trust_folder: TrustFolder = False
    """Whether `out` and `questions_from` may say where calls go and which images are sent, if they are no runs of the user's."""
    strict_model: Annotated[
        bool, Help("Stop when another model answers than the one asked, or its dated snapshot.", panel=MEASURED)
    ] = False
    until_ci: Annotated[
        float | None,
        Help(
            "Stop when UnF1 is known to ± W (e.g. 0.02) by a rule that looks after every image: its interval is wider than "
            "that of a run of fixed size.",
            metavar="W",
            panel=MONEY,
        ),
    ] = None
    anytime: Annotated[
        bool,
        Help(
            "With --until-ci: an interval that holds at every number of images, for 1.6 to 2.5 times as many.",
            panel=MONEY,
        ),
    ] = False

    batch: Annotated[
        bool,
        Help(
            "Have OpenAI, Anthropic or Gemini answer in batches, at half the price, within a day.",
            panel=MONEY,
        ),
    ] = False
    batch_window: BatchWindow = 24.0

    @property
    def image_paths(self) -> tuple[str | Path, ...]:
        """The images as given, one or several; (): the shipped ones."""
        return (self.images,) if isinstance(self.images, str | Path) else tuple(self.images)


@dataclass(frozen=True, kw_only=True)
class Rejudging:
    """How the answers of a finished run are judged anew."""

    judge: Annotated[
        str | Sequence[str] | None,
        Help(
            'Who judges what the rules leave open: "self" (the measured model), "rules" (nobody), or a provider; given several '
            "times, a panel by majority. Default, with --rubric: as in the run.",
            metavar="NAME|self|rules",
            panel=JUDGING,
        ),
    ] = None
    """None: as the run's."""
    judge_api_base: JudgeApiBase = None
    rubric: Annotated[
        str | None,
        Help(
            "Judge by another prompt: a file like a prompt pack's judge.md, or a pack whose judge.md it is. Default: the run's.",
            metavar="FILE|PACK",
            panel=JUDGING,
        ),
    ] = None
    judge_together: Annotated[
        int | None,
        Help(
            "Ask a judge about up to N responses of an image in one call. Default: as the run; 1 with --rubric.",
            metavar="N",
            panel=JUDGING,
        ),
    ] = None
    judge_calibration: Annotated[
        Path | str | None,
        Help("What `judge calibrate` wrote of this judge.", metavar="FILE", panel=JUDGING),
    ] = None
    name: Annotated[
        str | None,
        Help(
            "Of the new score's folder, RUN_DIR/judged/NAME. Default: the judge's name.", metavar="NAME", panel=OUTPUT
        ),
    ] = None
    max_cost: MaxCost = None
    cache: Annotated[
        Path | None,
        Help("Folder of stored replies. Default: the run's.", metavar="DIR", panel=OUTPUT),
    ] = None
    no_cache: Annotated[bool, Help("Share no replies with other runs.", panel=OUTPUT)] = False
    trust_folder: TrustFolder = False

    def __post_init__(self) -> None:
        if self.cache and self.no_cache:
            raise UserError(f"{setting('cache')} and {setting('cache', None)} contradict each other; give one of them")
        # Of another type, `check_types` says so.
        if isinstance(self.max_cost, int | float) and not 0 < self.max_cost < float("inf"):
            raise UserError(f"is {self.max_cost:g}; give an amount in USD above 0", "max_cost")


@dataclass(frozen=True)
class Changes:
    """What differs where a run is gone on with. What is not given stays as it was."""

    max_cost: Annotated[
        float | None,
        Help("A new cap, in USD, for the whole run: what is spent counts.", metavar="USD", panel=MONEY),
    ] = None
    audit: Audit = ()
    """Further auditors."""
    audit_api_base: AuditApiBase = None
    grounded: Grounded = False
    confidence: Confidence = False
    samples: Samples = 0
    controls: Controls = ()
    controls_per_image: ControlsPerImage = 1
    concurrency: Concurrency = None
    rpm: Rpm = None
    tpm: Tpm = None
    cache: Annotated[
        Path | None,
        Help("Folder of stored replies. Default: the run's.", metavar="DIR", panel=OUTPUT),
    ] = None
    no_cache: Annotated[bool, Help("Share no replies with other runs.", panel=OUTPUT)] = False
    trust_folder: TrustFolder = False
    batch: Annotated[
        bool | None,
        Help("Have what is left answered in batches, or no longer. Default: as the run began.", panel=MONEY),
    ] = None

    def __post_init__(self) -> None:
        if self.cache and self.no_cache:
            raise UserError(f"{setting('cache')} and {setting('cache', None)} contradict each other; give one of them")
        for name in ("max_cost", "concurrency", "rpm", "tpm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"is {value:g}; give a number above 0", name)

    @property
    def more(self) -> bool:
        """Whether more is to be asked about every answer."""
        beside = self.audit or self.grounded or self.confidence or self.samples or self.controls
        return bool(beside) or self.controls_per_image > 1


def check_max_side(pixels: int | None, field: str) -> None:
    """Checks a limit of the sides of the images that are sent.

    Args:
        pixels: The limit; None: there is none.
        field: The setting's name, for an error.

    Raises:
        UserError: No picture is worth sending at that size, or none is so large.
    """
    if pixels is not None and not SMALLEST_SIDE_PX <= pixels <= LARGEST_SIDE_PX:
        raise UserError(f"is {pixels}; give {SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX} pixels", field)
