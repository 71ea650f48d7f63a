"""unsaf-async: does this multimodal model know what it does not know, and what does it cost to find out?

    score = await unsaf_async.evaluate("gpt-5.4-mini", images=["photos/"], max_cost=5.0)
    manifest, examinations, score = unsaf_async.load("runs/20261123-101500-gpt-5.4-mini")

The names below are loaded on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unsaf_async import plots
    from unsaf_async.api import LoadedRun, evaluate, evaluate_sync, load, rejudge, rejudge_sync
    from unsaf_async.errors import BudgetExhausted, ProviderDown, RunStopped, UnsafError, UserError
    from unsaf_async.records import Examination, Question
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.folder import Manifest
    from unsaf_async.runs.settings import Settings
    from unsaf_async.score.run_score import Score

_HOMES = {
    "BudgetExhausted": "errors",
    "Examination": "records",
    "Findings": "runs.findings",
    "LoadedRun": "api",
    "Manifest": "runs.folder",
    "ProviderDown": "errors",
    "Question": "records",
    "RunStopped": "errors",
    "Score": "score.run_score",
    "Settings": "runs.settings",
    "UnsafError": "errors",
    "UserError": "errors",
    "evaluate": "api",
    "evaluate_sync": "api",
    "load": "api",
    "rejudge": "api",
    "rejudge_sync": "api",
}

__all__ = [
    "BudgetExhausted",
    "Examination",
    "Findings",
    "LoadedRun",
    "Manifest",
    "ProviderDown",
    "Question",
    "RunStopped",
    "Score",
    "Settings",
    "UnsafError",
    "UserError",
    "evaluate",
    "evaluate_sync",
    "load",
    "plots",
    "rejudge",
    "rejudge_sync",
]


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module("unsaf_async.plots")
    if name in _HOMES:
        return getattr(import_module(f"unsaf_async.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
