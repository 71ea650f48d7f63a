"""`--report-to`: a run's result told to trackers of experiments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unsaf_async.cli.streams import tell
from unsaf_async.text import error_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from unsaf_async.trackers import Tracker

_USER = re.compile(r"//[^/@\s]*@")
"""A name and a password in an address."""


def tell_trackers(folder: Path, trackers: Sequence[Tracker]) -> None:
    """Tells trackers of a run. One that cannot be told costs a line, and nothing else: the run is whole.

    Args:
        folder: The run's.
        trackers: Their names.
    """
    from unsaf_async.runs.saved import SavedRun
    from unsaf_async.trackers import report

    run = SavedRun(folder)
    for tracker in dict.fromkeys(trackers):
        try:
            report(run, tracker)
        except Exception as error:  # whatever a library of somebody else's may raise, sign-in and network included
            why = _USER.sub("//", error_line(error, 200))
            tell(f"{tracker} was not told: {why}; `unsaf-async resume {folder} --report-to {tracker}` tries it again")
