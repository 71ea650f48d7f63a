"""Before and after: two models through the engine, on the same held-out images, and the record of what came out.

Every part is a run like any other in a folder of its own below `EvalPlan.out`. All share one cap; what is finished is
not paid again, so the same plan goes on where it stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.distill.evaluate.comparison import DistillEval, Folders, compare_folders
from unsaf_async.distill.evaluate.gates import PARTS
from unsaf_async.distill.evaluate.plan import EvalModel, EvalPlan, EvalRun, Side, plan_runs
from unsaf_async.errors import as_option
from unsaf_async.events import Announce, silent
from unsaf_async.files import make_private_folder, write_whole
from unsaf_async.runs.campaign import run_campaign
from unsaf_async.runs.listing import exists

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DistillEval", "EvalModel", "EvalPlan", "Folders", "compare_folders", "evaluate"]

FILE = "distill-eval.json"
"""In `EvalPlan.out`."""


async def evaluate(plan: EvalPlan, announce: Announce = silent) -> DistillEval:
    """Both models on all that a plan asks for, and their comparison, which is written to distill-eval.json, too.

    What is finished already is not made again. Nothing is asked: without a cap there is none.

    Args:
        plan: What is to be compared.
        announce: Hears the events of all runs, one run after the other.

    Returns:
        The comparison. A cap that is reached is no error: see `DistillEval.stopped`.

    Raises:
        UserError: A mistake in the plan, a key or a model's name.
    """
    planned = await plan_runs(plan)
    end = await run_campaign(planned, max_cost_usd=plan.max_cost, announce=announce)
    return write_comparison(plan, planned, end.stopped)


def write_comparison(plan: EvalPlan, planned: Sequence[EvalRun], stopped: str | None = None) -> DistillEval:
    """The comparison of a plan's runs as far as they are, written to distill-eval.json.

    Args:
        plan: What is to be compared.
        planned: Its runs, as `plan_runs` returned them.
        stopped: Why they are not complete, in one line; None if they are, or it is not known.

    Returns:
        What was written.

    Raises:
        UserError: No run has begun.
    """
    result = compare_folders(
        _folders(planned, "before"),
        _folders(planned, "after"),
        wanted=plan.parts,
        thresholds=plan.thresholds,
        resamples=plan.resamples,
        seed=plan.seed,
        stopped=stopped,
        relative_to=plan.out,
    )
    if left_out := max((run.left_out for run in planned), default=0):
        note = f"{left_out} images of {as_option('bank')} are not among the held-out ones, and are left out"
        result = result.model_copy(update={"notes": [note, *result.notes]})
    make_private_folder(plan.out)
    write_whole(plan.out / FILE, result.model_dump_json(indent=2) + "\n")
    return result


def _folders(planned: Sequence[EvalRun], side: Side) -> Folders:
    begun = [run for run in planned if run.side == side and exists(run.folder)]
    by_part = {part: tuple(run.folder for run in begun if run.part == part) for part in PARTS}
    single = {part: by_part[part][0] if by_part[part] else None for part in PARTS}
    return Folders(own=single["own"], bank=single["bank"], labelled=single["labelled"], pope=by_part["pope"])
