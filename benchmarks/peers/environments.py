"""The peers' environments: one each, with pinned versions, installed one after another and once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".venv-peers"
OURS = "unsaf-async"


@dataclass(frozen=True)
class Peer:
    """One contestant, as peers.toml names it.

    script: its adapter. packages: what pip installs. settings: how it is set, for readers. cannot: why it takes no part, by
    row or by row and column.
    """

    name: str
    script: str
    packages: list[str]
    settings: str
    cannot: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return ENVIRONMENTS / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def main_package(self) -> str:
        """The package that its version is told of."""
        return re.split(r"[\[=]", self.packages[0])[0] if self.packages else OURS

    def why_not(self, row: str, column: str) -> str | None:
        """Why there is no figure in a column; None: there is one."""
        return self.cannot.get(row) or self.cannot.get(f"{row}.{column}")


def read_peers() -> tuple[list[Peer], dict[str, str]]:
    """The peers in their order, and by column why we are behind where we are."""
    said = tomllib.loads((HERE / "peers.toml").read_text("utf-8"))
    behind: dict[str, str] = said.pop("behind")
    return [Peer(name, **each) for name, each in said.items()], behind


def install(peer: Peer) -> str | None:
    """Installs a peer unless it is there in these versions; says why where that fails.

    Writes down how many seconds that took, from no environment to one that is complete.
    """
    wanted = [*peer.packages] or [f"--constraint={ROOT}/constraints.txt", f"--editable={ROOT}"]
    mark = peer.folder / "installed.json"
    if mark.exists() and json.loads(mark.read_text("utf-8"))["packages"] == peer.packages:
        return None
    shutil.rmtree(peer.folder, ignore_errors=True)
    began_s = time.monotonic()
    made = subprocess.run([sys.executable, "-m", "venv", peer.folder], capture_output=True, text=True, check=False)
    if made.returncode:
        return last_line(made.stdout + made.stderr)
    pip = [str(peer.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        return last_line(done.stderr)
    mark.write_text(json.dumps({"packages": peer.packages, "install_s": time.monotonic() - began_s}), "utf-8")
    return None


def install_s(peer: Peer) -> float | None:
    """How long it took to install a peer; None where nobody measured it."""
    seconds: float | None = json.loads((peer.folder / "installed.json").read_text("utf-8"))["install_s"]
    return seconds


def version(peer: Peer) -> str:
    """The version that is installed."""
    code = f"import importlib.metadata as m; print(m.version({peer.main_package!r}))"
    return subprocess.run([peer.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def last_line(text: str) -> str:
    """The last line that says something, of what a program wrote."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"
