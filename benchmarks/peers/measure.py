"""One measurement: the server set, an adapter run in a process tree of its own, what it took and what the server saw."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments import HERE, last_line

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from environments import Peer
    from work import Spec


@dataclass(frozen=True)
class Run:
    """What one run of an adapter took.

    cpu_s: of the whole process tree, user and system. wall_s: from its start to its end. peak_mb: the largest resident size
    of one of its processes. done, failed: calls, by its own count. ledger: the server's. error: why it did not end well.
    """

    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_mb: float = 0.0
    done: int = 0
    failed: int = 0
    ledger: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def makespan_s(self) -> float:
        """From the first request to the last reply, by the server's clock."""
        return float(self.ledger["last_s"] - self.ledger["first_s"])


class Server:
    """The local server in a process of its own. url: where it listens."""

    def __enter__(self) -> Self:
        command = [sys.executable, str(HERE / "local_server.py")]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def configure(self, mode: dict[str, Any]) -> None:
        """Sets the mode and empties the ledger."""
        request = urllib.request.Request(f"{self.url}/configure", json.dumps(mode).encode())
        with urllib.request.urlopen(request):
            pass

    def ledger(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/ledger") as response:
            ledger: dict[str, Any] = json.load(response)
        return ledger


def measure(peer: Peer, spec: Spec, server: Server, mode: dict[str, Any], timeout_s: float) -> Run:
    """Runs a peer's adapter once. A run that takes longer than `timeout_s` is ended, and counts with what it had done."""
    server.configure(mode)
    home = Path(tempfile.mkdtemp(dir=spec.folder))
    spec_file = home / "spec.json"
    spec_file.write_text(json.dumps(asdict(spec)), "utf-8")
    environment = {  # no keys, no settings and no caches of the user's
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "OPENAI_API_KEY": "none",
    }
    with (home / "stdout").open("w+") as out, (home / "stderr").open("w+") as err:
        began_s = time.monotonic()
        process = subprocess.Popen(
            [peer.python, HERE / peer.script, spec_file],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=home, start_new_session=True,
        )  # fmt: skip
        timer = threading.Timer(timeout_s, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C reaches this process alone: the adapter is in a session of its own
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - began_s
        out.seek(0)
        err.seek(0)
        said, complaint = out.read(), err.read()
    ledger = server.ledger()
    took = (used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss / 1024)
    if process.returncode == -signal.SIGKILL:
        done = int(ledger["succeeded"])
        return Run(*took, done, spec.calls - done, ledger, f"ended after {timeout_s:g} s")
    if process.returncode or not said.strip():
        return Run(*took, ledger=ledger, error=last_line(complaint or said))
    tally = json.loads(said.strip().splitlines()[-1])
    return Run(*took, tally["done"], tally["failed"], ledger)
