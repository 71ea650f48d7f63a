"""Why a run's last session ended before its last image, as its folder keeps it."""

from __future__ import annotations

from typing import Literal

from unsaf_async.records import Record

StopKind = Literal[
    "cap", "interrupted", "until_ci", "key", "quota", "model", "another model", "refused", "unreachable", "wait", "down",
    "machine", "disk", "server", "other",
]  # fmt: skip

STOP_MEANINGS: dict[StopKind, str] = {
    "cap": "the cap leaves too little for another image",
    "interrupted": "somebody stopped it",
    "until_ci": "UnF1 is known as narrowly as was asked",
    "key": "the key is wrong",
    "quota": "the account's money or quota is used up",
    "model": "there is no such model",
    "another model": "another model answered than the one that was asked",
    "refused": "every call of a role was refused",
    "unreachable": "no connection came about",
    "wait": "the provider asks to wait for longer than a call is tried",
    "down": "the provider answered no call for a while",
    "machine": "this machine lacks something that calls need",
    "disk": "something cannot be written",
    "server": "the server that was started for it ended",
    "other": "its words say why",
}
"""What each kind says, in words that are this program's alone."""


class Stopped(Record):
    """Why a run's last session ended before its last image. What is finished is kept, and `resume` goes on."""

    kind: StopKind
    """`until_ci` is no failure: no more images were needed. `STOP_MEANINGS` has the others in words."""
    why: str
    """In one line, as whoever ran it was told; the provider's own words may be in it."""

    @property
    def early(self) -> bool:
        """Whether images are missing that were wanted."""
        return self.kind != "until_ci"
