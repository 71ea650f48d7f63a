"""Teacher data: finished runs of a teacher become fine-tuning data for a small student."""

from __future__ import annotations

from unsaf_async.distill.data.export import export
from unsaf_async.distill.data.options import Export, Options

__all__ = ["Export", "Options", "export"]
