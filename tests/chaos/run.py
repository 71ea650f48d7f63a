"""`make chaos`: the command line against a simulated provider that does everything wrong, checked by the server's own account.

One line a scenario and wire, with its figures; exit code 1 if any of them fails. What a machine does not have (a file system to
mount, libfaketime) is said.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.desk import WIRES, Desk, Failed, NotRun, Options
from chaos.scenarios import SCENARIOS


def main() -> int:
    """Reads the options, and runs what they choose."""
    parser = argparse.ArgumentParser(description="Scenarios: " + ", ".join(SCENARIOS))
    parser.add_argument("--images", type=int, default=100, help="pictures of a run; `size` takes ten times as many")
    parser.add_argument("--kills", type=int, default=20, help="how often a run is killed")
    parser.add_argument("--seed", type=int, default=0, help="of the faults, and of the moments at which things happen")
    parser.add_argument("--outage", type=float, default=60.0, help="how long the server is away, in seconds")
    parser.add_argument("--only", action="append", metavar="NAME", help="a scenario, a wire, or both: kills-gemini")
    given = parser.parse_args()
    chosen = [
        (name, wire)
        for name in SCENARIOS
        for wire in WIRES
        if given.only is None or {name, wire, f"{name}-{wire}"} & set(given.only)
    ]
    if not chosen:
        parser.error(f"no scenario is chosen; there are {', '.join(SCENARIOS)}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        desk = Desk(Path(folder), Options(given.images, given.kills, given.seed, given.outage))
        for name, wire in chosen:
            began = time.monotonic()
            try:
                how, said = "ok", SCENARIOS[name](desk, wire)
            except NotRun as why:
                how, said = "not run", str(why)
            except Failed as why:
                how, said = "FAILED", str(why)
                failed += 1
            print(f"{how:7} {name + '-' + wire:25} {time.monotonic() - began:6.1f} s  {said}", flush=True)
    print(f"{len(chosen)} scenarios, {failed} failed; seed {given.seed}, {given.images} images")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
