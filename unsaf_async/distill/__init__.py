"""Teacher data: finished runs of a teacher become fine-tuning data for a small student.

The names below are loaded on first use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unsaf_async.distill.data.export import export
    from unsaf_async.distill.data.exported import Export
    from unsaf_async.distill.data.options import Options

__all__ = ["Export", "Options", "export"]

_HOMES = {"Export": "data.options", "Options": "data.options", "export": "data.export"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"unsaf_async.distill.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
