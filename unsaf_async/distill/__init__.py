"""Teacher data: finished runs of a teacher become fine-tuning data for a small student."""

from __future__ import annotations

from unsaf_async.distill.export import Export, Options, export

__all__ = ["Export", "Options", "export"]
