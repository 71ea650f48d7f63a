"""A finished run's answers judged anew: from what a user asks for to the new score's folder, which lies in the run's own.

That folder holds a run like any other, so that all that reads runs reads it. The run whose answers it judges stays as it is.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.calls.prompt_cache import without_prompt_cache
from unsaf_async.errors import UserError, naming, setting
from unsaf_async.prompts import read_rubric
from unsaf_async.providers.lifetime import check_cap, today_utc
from unsaf_async.runs.authority import authorise, authorised
from unsaf_async.runs.begin import first_difference
from unsaf_async.runs.folder import (
    JudgedAnew,
    Manifest,
    RunFiles,
    create,
    images_sha256,
    judge_named,
    new_manifest,
    reopen,
)
from unsaf_async.runs.listing import exists
from unsaf_async.runs.prepare import (
    calibration_for,
    check_cache,
    check_together,
    judge_names,
    judging_together,
    named_models,
)
from unsaf_async.runs.rejudger import has_whole_answers
from unsaf_async.runs.settings import CACHE, DEFAULT_CACHE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unsaf_async.inputs.sources import ImageSource
    from unsaf_async.runs.folder import RunFolder
    from unsaf_async.runs.saved import SavedRun
    from unsaf_async.runs.settings import Rejudging

_OF_A_SESSION: dict[str, object] = {
    "answered_by": {}, "keys_hidden": {}, "left_out": {}, "notices": (), "until_ci": None, "anytime": False, "batch": False,
    "grounded": False, "stopped": None,
}  # fmt: skip
"""What of a run does not hold where its answers are judged anew."""


@dataclass(frozen=True)
class PlannedJudging:
    """Answers to be judged anew. Nothing is written yet."""

    path: Path
    """The new score's folder."""
    manifest: Manifest
    images: Sequence[ImageSource]
    """Those with whole answers, in the run's order."""
    own: bool
    """Whether the run is known as the user's own."""

    @property
    def files(self) -> RunFiles:
        """The new folder's."""
        return RunFiles(self.path)

    def open(self, *, trust: bool) -> RunFolder:
        """The folder: a new one, or the one that is there, if it judges the same answers by the same judges.

        Args:
            trust: Whether a folder that is not known as the user's own may say who is called.

        Returns:
            The folder, opened and locked.

        Raises:
            UserError: Another judging lies there, or the folder cannot be written.
        """
        if self.path.parent.is_symlink() or self.path.is_symlink():
            raise UserError(
                f"{self.path}: is a link, and nothing is written through links; give another name", field="name"
            )
        if not exists(self.path):
            folder = create(self.path, self.manifest, self.images, own=self.own)
            folder.authorise(self.manifest, own=self.own)  # who is called was found by the user's own profiles
            return folder
        folder = reopen(self.path)
        try:
            if other := first_difference(folder.manifest, self.manifest):
                raise UserError(f"{self.path}: holds {other}; give another name", field="name")
            authorise(folder, trust=trust, now=self.manifest)
        except BaseException:
            folder.close()
            raise
        changed = {name: getattr(self.manifest, name) for name in ("max_cost_usd", "cache", "calibration")}
        folder.keep_manifest(folder.manifest.model_copy(update=changed))
        return folder


async def plan_judging(run: SavedRun, wanted: Rejudging, *, trust: bool) -> PlannedJudging:
    """What judging a run's answers anew takes, checked. May ask an endpoint for its model's name.

    Args:
        run: The run that asked and answered, finished or not.
        wanted: How its answers are judged.
        trust: Whether its folder, if it is not known as the user's own, may say who is called.

    Returns:
        The plan.

    Raises:
        UserError: Something of it cannot be used, or the run holds no whole answers.
        UntrustedFolder: The folder would have to be trusted.
    """
    manifest = run.manifest
    if manifest.judged_anew:
        raise UserError(
            f"{run.folder}: is judged anew itself; give the run that it lies in, {run.folder.parent.parent}"
        )
    if manifest.form == "choice":
        raise UserError(f"{run.folder}: its answers are options, which are read by rules; there is nothing to judge")
    if wanted.judge is None and wanted.rubric is None and wanted.judge_together in (None, manifest.judge_together):
        raise UserError(
            f"the same verdicts would come; give {setting('judge', 'NAME')}, or {setting('rubric', 'FILE')}"
        )
    rubric = ""
    if wanted.rubric is not None:
        with naming("rubric"):
            rubric = read_rubric(wanted.rubric)
    images = [image for image in run.images if image.id in run.kept and has_whole_answers(run.kept[image.id])]
    if not images:
        raise UserError(f"{run.folder}: holds no whole answers about any image; resume it first")
    anew = JudgedAnew(
        run_id=manifest.run_id,
        left_out=manifest.images - len(images),
        stopped_by_rule=manifest.until_ci is not None,
        rubric=rubric,
        rubric_name=str(wanted.rubric or ""),
    )
    others = {name: manifest.others[name] for name in manifest.judges if name in manifest.others}
    judges = manifest.judges
    if wanted.judge is not None:
        others = {}
        judges = await named_models(
            judge_names(wanted.judge, manifest.subject), "judge", others, api_base=wanted.judge_api_base
        )
        if manifest.prompt_cache == "off":
            others = {name: without_prompt_cache(profile) for name, profile in others.items()}
    subject = manifest.subject
    if not run.own:
        theirs = judges if wanted.judge is None else tuple(name for name in judges if name == "self")
        asked = manifest.model_copy(update={"judges": theirs, "judged_anew": JudgedAnew(run_id=manifest.run_id)})
        asked = authorised(run.folder, asked, trust=trust)
        subject, others = asked.subject, {**others, **asked.others}
    if wanted.max_cost is not None:
        check_cap(subject if "self" in judges else None, others.values(), today_utc())
    together = _together(manifest, wanted, judges)
    pack = run.pack.judging_alone() if together == 1 else judging_together(run.pack, judges)
    pack = pack.judging_by(rubric)
    kept = {name: value for name, value in manifest if name not in {"run_id", "created", "versions"}}
    changed = {
        "subject": subject,
        "judges": judges,
        "judge_together": together,
        "judge_together_sha256": pack.together_sha256,
        "others": others,
        "judged_anew": anew,
        "calibration": calibration_for(wanted.judge_calibration, judge_named(subject, judges), pack, together),
        "max_cost_usd": wanted.max_cost,
        "cache": _cache(run, wanted),
        "images": len(images),
        "images_sha256": images_sha256(images),
    }
    name = wanted.name or _name(judge_named(subject, judges), anew)
    if name != Path(name).name or name in (".", "..") or "\0" in name:
        raise UserError(f"{name!r}: is no folder's name; give one without slashes", field="name")
    return PlannedJudging(
        run.files.judged / name, new_manifest(**{**kept, **_OF_A_SESSION, **changed}), images, run.own
    )


def _together(manifest: Manifest, wanted: Rejudging, judges: Sequence[str]) -> int:
    """About how many responses a judge is asked in one call. Raises UserError for several by a rubric, which is for one."""
    if wanted.judge_together is not None:
        check_together(wanted.judge_together)
        if wanted.rubric is not None and wanted.judge_together > 1:
            raise UserError(
                f": {setting('rubric')} is a prompt about one response; leave one of them out", field="judge_together"
            )
        return wanted.judge_together
    return 1 if wanted.rubric is not None or not judges else manifest.judge_together


def _cache(run: SavedRun, wanted: Rejudging) -> str:
    """The folder of stored replies; "": the new folder's own. A run that is not the user's does not say which."""
    if wanted.no_cache or not (wanted.cache or run.manifest.cache):
        return ""
    usual = Path(run.manifest.cache) if run.own else Path(os.environ.get(CACHE.variable or "") or DEFAULT_CACHE)
    cache = (wanted.cache or usual).absolute()
    check_cache(cache)
    return str(cache)


def _name(judge: str, anew: JudgedAnew) -> str:
    """The new folder's name: the judge's, and the rubric's if it has one."""
    rubric = Path(anew.rubric_name)
    name = f"{judge}-{rubric.stem if rubric.suffix else anew.rubric_name}" if anew.rubric else judge
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "judge"
