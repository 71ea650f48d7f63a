"""The scenarios: each drives the command line through one kind of trouble, checks what must hold, and says its figures."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.desk import TIMEOUT_S, Failed, NotRun
from chaos.invariants import check_money, check_score, check_tidy

from unsaf_async.runs.saved import SavedRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaos.desk import Desk, Reference, Server

STORM = {
    "429": 0.10,
    "500": 0.02,
    "503": 0.015,
    "529": 0.015,
    "truncated_body": 0.01,
    "garbage": 0.01,
    "hang": 0.01,
    "disconnect": 0.005,
    "disconnect_after": 0.005,
}
"""Faults that pass, of 19 % of the requests."""

DISK_BYTES = 40_000_000


def storm(desk: Desk, wire: str) -> str:
    """Every fault that passes, at once."""
    place = desk.place(f"storm-{wire}")
    with desk.serving(place, faults=STORM) as server:
        desk.command(*desk.beginning(wire, server, place / "out")).end()
        return _checked(server, place / "out", desk.reference(wire))


def blocks(desk: Desk, wire: str) -> str:
    """The provider's safety blocks, beside the storm: each is counted and none is scored."""
    place = desk.place(f"blocks-{wire}")
    with desk.serving(place, faults={**STORM, "safety": 0.05}) as server:
        desk.command(*desk.beginning(wire, server, place / "out")).end()
        bill = server.bill()
    figures = check_money(bill, place / "out")
    check_tidy(place / "out")
    examined = SavedRun(place / "out").examinations
    blocked = sum(call.outcome in ("blocked", "refused") for each in examined for call in each.calls)
    if blocked != bill.faults["safety"]:
        raise Failed(f"{blocked} calls are blocked in the journal, {bill.faults['safety']} at the server: {figures}")
    return f"{figures}; {blocked} blocked"


def cap(desk: Desk, wire: str) -> str:
    """A cap in the middle of the storm, then a higher one. It takes 60 images, for one may cost a tenth of that."""
    place, images = desk.place(f"cap-{wire}"), max(60, desk.options.images)
    reference = desk.reference(wire, images)
    cap_usd = 0.6 * reference.billed_usd
    with desk.serving(place, faults=STORM) as server:
        desk.command(*desk.beginning(wire, server, place / "out", images=images, cap_usd=cap_usd)).end(3)
        billed_usd = server.totals()["billed_usd"]
        if billed_usd > cap_usd:
            raise Failed(f"the server billed ${billed_usd:.6f}, and the cap was ${cap_usd:.6f}")
        desk.command("resume", str(place / "out"), "--max-cost", "1000").end()
        figures = _checked(server, place / "out", reference)
    return f"cap ${cap_usd:.4f}, billed ${billed_usd:.4f} under it; {figures}"


def outage(desk: Desk, wire: str) -> str:
    """The server goes in the middle of the storm, and comes back at the same port."""
    place, reference = desk.place(f"outage-{wire}"), desk.reference(wire)
    with desk.serving(place, faults=STORM) as server:
        command = desk.command(*desk.beginning(wire, server, place / "out"))
        server.wait_for(reference.requests // 3, command)
        server.cut()
        time.sleep(desk.options.outage_s)
        server.start()
        resumed = 0
        while command.end(0, 3).code == 3:
            resumed += 1
            if resumed > 5:
                raise Failed("the server is back, and five times resuming has not finished the run")
            command = desk.command("resume", str(place / "out"))
        figures = _checked(server, place / "out", desk.reference(wire))
    return f"away for {desk.options.outage_s:g} s, resumed {resumed} times; {figures}"


def kills(desk: Desk, wire: str) -> str:
    """SIGKILL at random moments of a run in the storm, and at last its end."""
    place = desk.place(f"kills-{wire}")
    with desk.serving(place, faults=STORM) as server:
        killed = _killed(desk, server, desk.beginning(wire, server, place / "out"), place)
        desk.command("resume", str(place / "out")).end()
        return f"{killed} kills; {_checked(server, place / 'out', desk.reference(wire))}"


def signals(desk: Desk, wire: str) -> str:
    """SIGTERM, SIGINT and SIGHUP: no reply is lost. SIGSTOP for longer than an attempt may take: nor then."""
    place, reference = desk.place(f"signals-{wire}"), desk.reference(wire)
    out = place / "out"
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with desk.serving(place, latency=0.2) as server:
        arguments = desk.beginning(wire, server, out)
        for nth, number in enumerate(numbers, 1):
            command = desk.command(*arguments)
            server.wait_for(nth * reference.requests // 5, command)
            command.send(number)
            command.end(130)
            arguments = ["resume", str(out)]
        command = desk.command(*arguments)
        server.wait_for(4 * reference.requests // 5, command)
        command.send(signal.SIGSTOP)
        time.sleep(TIMEOUT_S + 1.0)
        command.send(signal.SIGCONT)
        command.end()
        figures = _checked(server, out, desk.reference(wire))
        if (bill := server.bill()).served_again:
            raise Failed(f"{bill.served_again} replies were paid twice, and no process was killed: {figures}")
    return figures


def full_disk(desk: Desk, wire: str) -> str:
    """The disk of run and cache fills in the middle of a run; with room, it goes on."""
    place, reference = desk.place(f"full-disk-{wire}"), desk.reference(wire)
    with _disk(place / "disk") as disk, desk.serving(place) as server:
        command = desk.command(*desk.beginning(wire, server, disk / "out"))
        server.wait_for(reference.requests // 3, command)
        _fill(disk)
        said = command.end(3).said
        (disk / "filler").unlink()
        desk.command("resume", str(disk / "out")).end()
        figures = _checked(server, disk / "out", desk.reference(wire))
        if (bill := server.bill()).served_again:
            raise Failed(f"{bill.served_again} replies were paid twice, and no process was killed: {figures}")
    return f"{figures}; said {len(said)} characters"


def read_only_disk(desk: Desk, wire: str) -> str:
    """A run's disk that can only be read: nothing is asked, one line says so, and once it can be written the run goes on."""
    place, reference = desk.place(f"read-only-disk-{wire}"), desk.reference(wire)
    with _disk(place / "disk") as disk, desk.serving(place) as server:
        command = desk.command(*desk.beginning(wire, server, disk / "out"))
        server.wait_for(reference.requests // 3, command)
        command.send(signal.SIGTERM)
        command.end(130)
        before = server.totals()["requests"]
        _remount(disk, "ro")
        desk.command("resume", str(disk / "out")).end(2)
        desk.command(*desk.beginning(wire, server, disk / "another", cache=place / "cache")).end(2)
        if server.totals()["requests"] != before:
            raise Failed("requests were made for a run that cannot be written")
        _remount(disk, "rw")
        desk.command("resume", str(disk / "out")).end()
        return _checked(server, disk / "out", desk.reference(wire))


def clock(desk: Desk, wire: str) -> str:
    """The clock is set back by a day, and forward by two, in the middle of a run in the storm."""
    known = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
    library = os.environ.get("LIBFAKETIME") or (str(known[0]) if known else None)
    if library is None:
        raise NotRun("libfaketime is not installed (LIBFAKETIME names it where it lies elsewhere)")
    place, reference = desk.place(f"clock-{wire}"), desk.reference(wire)
    file = place / "clock"
    file.write_text("+0", "utf-8")
    fake = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with desk.serving(place, faults=STORM) as server:
        command = desk.command(*desk.beginning(wire, server, place / "out"), **fake)
        for nth, jump in enumerate(("-1d", "+1d"), 1):
            server.wait_for(nth * reference.requests // 3, command)
            file.write_text(jump, "utf-8")
        command.end()
        return _checked(server, place / "out", desk.reference(wire))


def one_cache(desk: Desk, wire: str) -> str:
    """Two runs that begin together on one cache pay for each call once."""
    place = desk.place(f"one-cache-{wire}")
    outs, cache = (place / "one", place / "two"), place / "cache"
    with desk.serving(place) as server:
        for command in [desk.command(*desk.beginning(wire, server, out, cache=cache)) for out in outs]:
            command.end()
        bill = server.bill()
    figures = check_money(bill, *outs)
    if bill.served_again:
        raise Failed(f"{bill.served_again} calls were paid for twice: {figures}")
    for out in outs:
        check_score(out, desk.reference(wire))
        check_tidy(out, cache)
    return figures


def one_folder(desk: Desk, wire: str) -> str:
    """A second process on a run's folder is turned away in one line, and the first one ends as if alone."""
    place = desk.place(f"one-folder-{wire}")
    with desk.serving(place, latency=0.5) as server:
        first = desk.command(*desk.beginning(wire, server, place / "out"))
        server.wait_for(1, first)
        said = desk.command("resume", str(place / "out")).end(2).said
        first.end()
        if (bill := server.bill()).served_again:
            raise Failed(f"{bill.served_again} calls were paid for twice")
        return f"{_checked(server, place / 'out', desk.reference(wire))}; the second one said: {said.strip()[:80]}"


def size(desk: Desk, wire: str) -> str:
    """Ten times as many images, in the storm, with kills and an outage."""
    place, images = desk.place(f"size-{wire}"), 10 * desk.options.images
    reference = desk.reference(wire, images)
    with desk.serving(place, faults=STORM) as server:
        killed = _killed(desk, server, desk.beginning(wire, server, place / "out", images=images), place)
        command = desk.command("resume", str(place / "out"))
        server.wait_for(reference.requests // 2, command)
        server.cut()
        time.sleep(desk.options.outage_s)
        server.start()
        while command.end(0, 3).code == 3:
            command = desk.command("resume", str(place / "out"))
        figures = _checked(server, place / "out", reference)
    return f"{images} images, {killed} kills, away for {desk.options.outage_s:g} s; {figures}"


SCENARIOS: dict[str, Callable[[Desk, str], str]] = {
    "storm": storm,
    "blocks": blocks,
    "cap": cap,
    "outage": outage,
    "kills": kills,
    "signals": signals,
    "full-disk": full_disk,
    "read-only-disk": read_only_disk,
    "clock": clock,
    "one-cache": one_cache,
    "one-folder": one_folder,
    "size": size,
}
"""By name; each is run for every wire."""


def _checked(server: Server, out: Path, reference: Reference) -> str:
    """The figures of a run that is complete, once all that must hold holds. The server is stopped."""
    figures = check_money(server.bill(), out)
    check_score(out, reference)
    check_tidy(out)
    return figures


def _killed(desk: Desk, server: Server, beginning: list[str], place: Path) -> int:
    """Begin a run and kill it as often as the options say, or as it lets itself be. Returns how often that was."""
    chance, killed = desk.chance(place.name), 0
    for _ in range(desk.options.kills):
        command = desk.command(
            *(["resume", str(place / "out")] if (place / "out" / "manifest.json").exists() else beginning)
        )
        server.wait_for(server.totals()["requests"] + 1, command)
        time.sleep(chance.uniform(0, 0.5))
        if not command.runs:
            command.end()
            break
        command.send(signal.SIGKILL)
        command.end(-signal.SIGKILL)
        server.wait_until_idle()
        killed += 1
    return killed


@contextmanager
def _disk(place: Path) -> Iterator[Path]:
    """A file system of its own."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        raise NotRun("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True, capture_output=True)


def _fill(disk: Path) -> None:
    """Take all the room."""
    try:
        with (disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
    except OSError:
        pass
