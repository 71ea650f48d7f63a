"""A run in batches that dies by SIGKILL at one of a batch's states: `killed_in_batches.py FOLDER VENDOR BASE DEATH`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

from driving import PRICE, drive_at

from unsaf_async.calls.backends.http import HttpBackend
from unsaf_async.calls.batches.batches import Batches, Waits
from unsaf_async.calls.batches.register import Register
from unsaf_async.simulate.settings import Simulation


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(kind: type, name: str, when=lambda *_: True) -> None:
    """Have a method's call be the process's last, where `when` says so of its arguments."""
    method = getattr(kind, name)

    def instead(self, *given, **named):
        if when(*given):
            die()
        return method(self, *given, **named)

    setattr(kind, name, instead)


async def main(folder: Path, vendor: str, base: str, death: str) -> None:
    rows, looks = iter(range(1000)), iter(range(1000))
    match death:
        case "written down":
            before(Batches, "_take")
        case "uploaded":
            before(HttpBackend, "json", lambda method, path, *_: (method, path) == ("POST", "/batches"))
        case "taken":
            before(Register, "taken")
        case "looked at":
            before(Batches, "_ended")
        case "half done":  # by the vendor: the rows follow each other
            before(Batches, "_moved", lambda *_: next(looks) == 4)
        case "half read":
            before(Batches, "_settle", lambda *_: next(rows) == 2)
        case "read":
            before(Register, "over")
    quick = Waits(quiet_s=0.15, first_look_s=0.03, longest_look_s=0.1, again_s=0.05, longest_again_s=0.2)
    stand_in = SimpleNamespace(simulation=Simulation(price=PRICE), ledger=None, **{f"{vendor}_base": base})
    await drive_at(stand_in, vendor, folder, images=3, questions=2, waits=quick, batch=True)


asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
