"""Figures that are null without a word why: what no record of results may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PARTS = {
    "quality",
    "panel",
    "corrected",
    "label_corrected",
    "judged_together",
    "forms",
    "grounded",
    "labelled",
    "pope",
    "pope_official",
    "common",
    "template",
}
"""Records of what may not have been measured at all."""

SETTINGS = {"questions_per_label", "unf1_between", "total", "stopped"}
"""What is null where it does not apply, by the field's own words."""


def without_reason(record: Mapping[str, Any], path: str = "", known: frozenset[str] = frozenset()) -> Iterator[str]:
    """The figures that are null without a reason.

    Args:
        record: As it stands in a file.
        path: Where the record stands, with a point behind; "" for the whole.
        known: The paths of which a record around it gives the reasons.

    Yields:
        Their paths.
    """
    reasons = [why for why in (record.get("undefined"), record.get("why_undefined")) if isinstance(why, dict)]
    known |= {f"{path}{name}" for each in reasons for name, why in each.items() if why}
    for_all = isinstance(record.get("why_undefined"), str) and record["why_undefined"]
    for name, value in record.items():
        here = f"{path}{name}"
        if value is None and name not in PARTS | SETTINGS:
            no_interval = name.endswith("_ci") and record.get("why_no_interval")
            if not (for_all or no_interval or record.get("why")) and here not in known:
                yield here
        elif isinstance(value, dict) and name not in ("undefined", "why_undefined"):
            yield from without_reason(value, f"{here}.", known)
        elif isinstance(value, list):
            for number, each in enumerate(value):
                if isinstance(each, dict):
                    yield from without_reason(each, f"{here}.{number}.", known)
