"""Cross-examination, the engine's part: which models are to answer whose questions, as runs that can be begun and resumed.

A cell off the diagonal is a run like any other, whose questions are given; the diagonal is the models' own runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unsaf_async.compare.comparison import run_names
from unsaf_async.compare.pairing import examined
from unsaf_async.errors import UserError, renaming
from unsaf_async.files import write_whole
from unsaf_async.providers.resolve import called_at
from unsaf_async.runs.authority import authorised
from unsaf_async.runs.campaign import PlannedRun
from unsaf_async.runs.listing import runs_in
from unsaf_async.runs.prepare import Prepared, questions_of
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import Examination
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.saved import SavedRun


CROSS_FILE = "cross.json"
"""The matrix, in the folder of the cells."""

CELLS = "cells"
"""The folder of the cells' runs, in the same folder."""

DIFFICULTIES_FILE = "difficulties.csv"
"""Each question's difficulty, in the same folder."""


@dataclass(frozen=True)
class Crossing(PlannedRun):
    """One cell to be examined."""

    asker: str
    """The name of the run whose questions it is given."""
    answerer: str
    """The name of the run whose model answers."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.answerer} on the questions of {self.asker}"


def crossings(
    loaded: Sequence[SavedRun],
    out: Path,
    cache: Path | None,
    *,
    judge_api_base: str | Sequence[str] | None = None,
    trust_folder: bool = False,
) -> list[Crossing]:
    """The cells off the diagonal: every model on every other model's questions, about the images that all runs share.

    Models, judges, prompts and parameters are as they were in the answerer's run.

    Args:
        loaded: The models' own runs, two or more.
        out: The folder that the cells' runs go below.
        cache: The folder of stored replies; None: each cell has its own.
        judge_api_base: The base URL for all judges that the runs name, or those of several servers; None for each one's own.
        trust_folder: Whether a folder that is not known as the user's own may say who is called and which images are sent.

    Returns:
        The cells, asker by asker. No folder is made yet.

    Raises:
        UserError: The runs share no image, a prompt pack has changed, or nobody can be called at `judge_api_base`.
        UntrustedFolder: One of the folders would have to be trusted.
    """
    shared = set.intersection(*({_file(each) for each in examined(run.examinations)} for run in loaded))
    if not shared:
        raise UserError("the runs share no image; cross-examination needs runs over the same ones")
    names = run_names(loaded)
    manifests = [
        run.manifest if run.own else authorised(run.folder, run.manifest, trust=trust_folder) for run in loaded
    ]
    judges = [_judges(manifest, judge_api_base) for manifest in manifests]
    if judge_api_base is not None and not any(judges):
        raise UserError(": is nobody's address; no run names a model as its judge", field="judge_api_base")
    cells = []
    for asked, (asker, asking) in enumerate(zip(names, loaded, strict=True), 1):
        images, source = questions_of(asking.folder, trust=trust_folder)
        files = {each.image.id: _file(each) for each in asking.examinations}
        images = [image for image in images if files[image.id] in shared]
        answerers = zip(names, loaded, manifests, judges, strict=True)
        for answered, (answerer, answering, manifest, others) in enumerate(answerers, 1):
            if answerer == asker:
                continue
            folder = out / CELLS / _folder_name(f"{asked}-{answered}-{asker}--{answerer}")
            settings = Settings(
                manifest.subject.name,
                questions=manifest.questions,
                question_form=manifest.form,
                seed=manifest.seed,
                out=folder,
                cache=cache,
                trust_folder=trust_folder,
            )
            prepared = Prepared(
                subject=manifest.subject,
                judges=manifest.judges,
                auditors=(),
                others=others,
                source=source,
                calibration=None,
                pack=answering.pack,
                pack_name=manifest.pack,
                images=tuple(images),
                settings=settings,
            )
            cells.append(Crossing(folder, prepared, asker, answerer))
    return cells


def cells_in(out: Path) -> list[Path]:
    """The runs of a cross-examination's cells.

    Args:
        out: The folder that they go below; need not exist.

    Returns:
        Their folders, of cells that have begun; [] if there is none.
    """
    return runs_in(out / CELLS)


def _judges(manifest: Manifest, api_base: str | Sequence[str] | None) -> dict[str, Profile]:
    """The profiles of the judges that a run names, by name, at other addresses if any are given."""
    named = {name: manifest.others[name] for name in manifest.judges if name != "self"}
    if api_base is None:
        return named
    with renaming({"api_base": "judge_api_base", "provider": "judge"}):
        return {name: called_at(each.model_copy(update={"origin": ""}), api_base) for name, each in named.items()}


def keep(out: Path, text: str, difficulties: str) -> tuple[Path, Path]:
    """The files to which the matrix and the questions' difficulties were written: cross.json and difficulties.csv in `out`.

    Args:
        out: The folder that the cells' runs lie below.
        text: The matrix as JSON.
        difficulties: The questions as CSV.

    Returns:
        The files' paths.
    """
    files = (out / CROSS_FILE, out / DIFFICULTIES_FILE)
    for file, content in zip(files, (text, difficulties), strict=True):
        write_whole(file, content)
    return files


def _file(examination: Examination) -> str:
    """What identifies an image, at whatever size a model was sent it."""
    return examination.image.bytes_sha256 or examination.image.id


def _folder_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:100]
