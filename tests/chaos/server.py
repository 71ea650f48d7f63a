"""The simulator in a process of its own. SIGTERM is a power cut: connections are cut at once, and only its account is kept.

It is started with one argument, a JSON object: `port` (0 picks a free one), `account` (the file that the account goes to), and
`simulation` (the fields of `Simulation` that are not the default); `host`, where it is not 127.0.0.1. It prints its port.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import ServerLimits, Simulation


async def _serve(port: int, account: Path, simulation: dict[str, Any], host: str = "127.0.0.1") -> None:
    async with Simulator(Simulation(**simulation), host, port) as simulator:

        def cut() -> None:
            account.write_text(json.dumps(simulator.ledger.as_json()), "utf-8")
            os._exit(0)

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, cut)
        print(simulator.url.rpartition(":")[2], flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    given["account"] = Path(given["account"])
    if limits := given["simulation"].get("limits"):
        given["simulation"]["limits"] = ServerLimits(**limits)
    asyncio.run(_serve(**given))
