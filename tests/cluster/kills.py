"""`run --ray local` in a storm of faults, with workers and drivers killed at random, checked by the server's own account.

`python tests/cluster/kills.py --images 100 --kills 20` prints a line for each scenario. Needs the extra ray.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.desk import Desk, Failed, Options
from chaos.invariants import check_money, check_score, check_tidy
from chaos.scenarios import STORM

if TYPE_CHECKING:
    import random

    from chaos.desk import Command, Server

TITLE = b"ray::_RayWorker"
"""How Ray calls the process of an actor of ours."""


def workers_of(driver: int) -> list[int]:
    """The processes of a driver's workers."""
    parents: dict[int, int] = {}
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                if (place / "cmdline").read_bytes().startswith(TITLE):
                    found.append(int(place.name))
            except OSError:  # it has ended meanwhile
                continue

    def is_below(pid: int) -> bool:
        while pid > 1:
            if pid == driver:
                return True
            pid = parents.get(pid, 0)
        return False

    return [pid for pid in found if is_below(pid)]


def spread(workers: int) -> tuple[str, ...]:
    """The options for so many workers."""
    return ("--ray", "local", "--workers", str(workers))


def kill_workers(
    desk: Desk, server: Server, command: Command, *, kills: int, requests: int, chance: random.Random
) -> int:
    """Kill a worker at random moments, evenly over so many requests; how many were killed."""
    killed = 0
    for kill in range(kills):
        server.wait_for((kill + 1) * requests // (kills + 1), command)
        time.sleep(chance.uniform(0, 0.2))
        if command.runs and (pids := workers_of(command._process.pid)):
            os.kill(chance.choice(pids), signal.SIGKILL)
            killed += 1
    return killed


def lost_workers(
    desk: Desk, wire: str, *, workers: int, storm: bool = True, environment: dict[str, str] | None = None
) -> str:
    """Workers are killed, the run goes on."""
    place, reference = desk.place(f"workers-{wire}"), desk.reference(wire)
    with desk.serving(place, faults=STORM if storm else {}) as server:
        command = desk.command(*desk.beginning(wire, server, place / "out"), *spread(workers), **(environment or {}))
        killed = kill_workers(
            desk, server, command, kills=desk.options.kills, requests=reference.requests, chance=desk.chance("workers")
        )
        ended = _end(command)
        figures = check_money(server.bill(), place / "out")
    check_score(place / "out", reference)
    check_tidy(place / "out")
    if not killed:
        raise Failed(f"no worker could be killed: {figures}")
    return f"{killed} workers killed, {ended.count('a worker was lost')} told; {figures}"


def lost_drivers(desk: Desk, wire: str, *, workers: int) -> str:
    """The driver is killed, another one goes on with its folder."""
    place, reference = desk.place(f"drivers-{wire}"), desk.reference(wire)
    chance, killed = desk.chance("drivers"), 0
    with desk.serving(place, faults=STORM) as server:
        arguments = desk.beginning(wire, server, place / "out")
        for _ in range(desk.options.kills):
            before = server.totals()["requests"]
            command = desk.command(*arguments, *spread(workers))
            server.wait_for(
                before + 1 + chance.randrange(max(1, reference.requests // (desk.options.kills + 1))), command
            )
            if command.runs:
                command.send(signal.SIGKILL)
                command._process.wait()
                killed += 1
            server.wait_until_idle()
            arguments = ["resume", str(place / "out")]
        _end(desk.command(*arguments, *spread(workers)))
        figures = check_money(server.bill(), place / "out")
    check_score(place / "out", reference)
    check_tidy(place / "out")
    return f"{killed} drivers killed; {figures}"


def _end(command: Command) -> str:
    """Wait for its end, which must be good; what it said."""
    _, said = command._process.communicate(timeout=600)
    if "Traceback" in said or command._process.returncode != 0:
        raise Failed(f"it ended with code {command._process.returncode}: {said!r}")
    return said


def main() -> int:
    """Reads the options, and runs both scenarios on three wires."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wire", action="append", choices=("openai", "anthropic", "gemini"))
    given = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="ray-kills-") as folder:
        desk = Desk(Path(folder), Options(given.images, given.kills, given.seed))
        for wire in given.wire or ("openai",):
            for scenario in (lost_workers, lost_drivers):
                began = time.monotonic()
                try:
                    how, said = "ok", scenario(desk, wire, workers=given.workers)
                except Failed as why:
                    how, said = "FAILED", str(why)
                    failed += 1
                print(f"{how:7} {scenario.__name__} {wire} {time.monotonic() - began:6.1f} s  {said}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
