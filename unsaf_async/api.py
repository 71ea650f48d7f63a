"""The Python API: the same as the command line, from within a program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.events import Announce, silent
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner, begin
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.records import Examination
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest


async def evaluate(
    provider: str,
    *,
    images: str | Path | Sequence[str | Path] = (),
    judge: str | Sequence[str] | None = None,
    audit: Sequence[str] = (),
    grounded: bool = False,
    confidence: bool = False,
    samples: int = 0,
    data: str | Path | None = None,
    data_format: str | None = None,
    questions_from: str | Path | None = None,
    judge_calibration: str | Path | None = None,
    questions: int = 6,
    limit: int | None = None,
    seed: int = 0,
    max_cost: float | None = None,
    price: str | None = None,
    rpm: float | None = None,
    tpm: float | None = None,
    concurrency: int | None = None,
    api_base: str | None = None,
    model: str | None = None,
    prompts: str | None = None,
    out: str | Path | None = None,
    cache: str | Path | None = "cache",
    until_ci: float | None = None,
    on_event: Announce = silent,
) -> Findings:
    """The score of `provider` on `images`: the same as `unsaf-async run`, for use from Python.

    The options are those of `unsaf-async run`, with the same defaults; `Settings` says what each means. on_event hears
    the run's events. Nothing is asked: without `max_cost` there is no cap. A run that stops early still returns the score of
    what is done; its folder, which can be resumed, is `out` or lies in runs/. Raises UserError for wrong settings.
    """
    settings = Settings(
        provider=provider,
        images=(images,) if isinstance(images, str | Path) else images,
        judge=judge,
        audit=audit,
        grounded=grounded,
        confidence=confidence,
        samples=samples,
        data=_path(data),
        data_format=data_format,
        questions_from=_path(questions_from),
        judge_calibration=_path(judge_calibration),
        questions=questions,
        limit=limit,
        seed=seed,
        max_cost=max_cost,
        price=price,
        rpm=rpm,
        tpm=tpm,
        concurrency=concurrency,
        api_base=api_base,
        model=model,
        prompts=prompts,
        out=_path(out),
        cache=_path(cache),
        until_ci=until_ci,
    )
    _check_types(settings)
    prepared = await prepare(settings)
    with begin(prepared) as folder:
        return await Runner(folder, on_event).run()


def _path(given: str | Path | None) -> Path | None:
    return Path(given) if isinstance(given, str) else given


_TEXT, _NUMBER, _WHOLE, _PATH, _FLAG = (str,), (int, float), (int,), (Path,), (bool,)
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "provider": (_TEXT, "text"),
    **dict.fromkeys(("api_base", "model", "prompts", "data_format"), ((*_TEXT, type(None)), "text, or None")),
    "judge": ((*_TEXT, list, tuple, type(None)), "a name, or a list of names, or None"),
    "audit": ((list, tuple), "a list of names"),
    **dict.fromkeys(("grounded", "confidence"), (_FLAG, "True or False")),
    "price": ((*_TEXT, type(None)), 'text such as "2.5,10" (USD per million tokens, in and out), or None'),
    **dict.fromkeys(("questions", "seed", "samples"), (_WHOLE, "a whole number")),
    **dict.fromkeys(("limit", "concurrency"), ((*_WHOLE, type(None)), "a whole number, or None")),
    **dict.fromkeys(("max_cost", "rpm", "tpm", "until_ci"), ((*_NUMBER, type(None)), "a number, or None")),
    **dict.fromkeys(
        ("out", "cache", "data", "questions_from", "judge_calibration"), ((*_PATH, type(None)), "a path, or None")
    ),
}
"""What each field of `Settings` may hold, and how to say so; `images` apart."""


def _check_types(settings: Settings) -> None:
    """Raises UserError for a value of the wrong type. The command line brings none; a Python caller may."""
    for name, (types, wanted) in _TYPES.items():
        value = getattr(settings, name)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise UserError(f"{name} is {value!r}; give {wanted}")
        if isinstance(value, list | tuple) and not all(isinstance(each, str) for each in value):
            raise UserError(f"{name} is {value!r}; give {wanted}")
    images = settings.images
    if not isinstance(images, list | tuple) or not all(isinstance(each, str | Path) for each in images):
        raise UserError(f"images is {images!r}; give a path, or a list of paths")


def load(run_dir: str | Path) -> tuple[Manifest, list[Examination], Findings]:
    """A run read back: its manifest, the examinations in the order they were kept, and its score, computed anew."""
    run = SavedRun(Path(run_dir))
    return run.manifest, list(run.examinations), run.findings
