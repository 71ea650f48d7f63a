"""A run, or several, as one HTML file that a person enjoys; and a viewer that serves such reports from a folder of runs."""

from __future__ import annotations

from unsaf_async.report.data import ReportRun
from unsaf_async.report.page import keep_report, render, write_report

__all__ = ["ReportRun", "keep_report", "render", "write_report"]
