"""One run on several hosts: network namespaces with an address, a Ray node and a /tmp/ray each, joined by a bridge.

`python tests/cluster/hosts.py --images 40` prints a line for each scenario. It needs root on Linux, `ip` of iproute2, and the
extra ray. The driver and Ray's head are on one host without workers, the workers on two others; images are on a path that all
have, and hidden from one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.desk import PRICE, PROFILE, score_of
from cluster.kills import TITLE
from driving import draw_images

from unsaf_async.calls.ledger import read_account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NETWORK = "10.77.0"
SERVER = f"{NETWORK}.1"
HOSTS = {"unsaf-head": f"{NETWORK}.10", "unsaf-one": f"{NETWORK}.11", "unsaf-two": f"{NETWORK}.12"}
HEAD, ONE, TWO = HOSTS
BRIDGE = "unsaf-br"
RAY = f"{HOSTS[HEAD]}:6379"
PATIENCE_S = 300
CLUSTER = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}
"""What the nodes and the drivers have in common: a token of this cluster alone."""


def sh(*command: str) -> None:
    """Run a command that must do."""
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def network() -> Iterator[None]:
    """The bridge and the hosts on it."""
    try:
        sh("ip", "link", "add", BRIDGE, "type", "bridge")
        sh("ip", "address", "add", f"{SERVER}/24", "dev", BRIDGE)
        sh("ip", "link", "set", BRIDGE, "up")
        for number, (host, address) in enumerate(HOSTS.items()):
            sh("ip", "netns", "add", host)
            sh("ip", "link", "add", f"unsaf-v{number}", "type", "veth", "peer", "name", "eth0", "netns", host)
            sh("ip", "link", "set", f"unsaf-v{number}", "master", BRIDGE, "up")
            for command in ("link set lo up", f"address add {address}/24 dev eth0", "link set eth0 up"):
                sh("ip", "-n", host, *command.split())
        yield
    finally:
        for number, host in enumerate(HOSTS):
            for pid in pids(host):
                os.kill(pid, signal.SIGKILL)
            # The cable first: a namespace ends only with the last of its processes.
            subprocess.run(["ip", "link", "delete", f"unsaf-v{number}"], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "delete", host], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)


def pids(host: str) -> list[int]:
    """The processes on a host."""
    said = subprocess.run(["ip", "netns", "pids", host], check=False, capture_output=True, text=True).stdout
    return [int(each) for each in said.split()]


def titled(host: str, title: bytes) -> list[int]:
    """The processes on a host whose command begins so."""
    return [pid for pid in pids(host) if (Path("/proc") / str(pid) / "cmdline").read_bytes().startswith(title)]


def on(host: str, folder: Path, *command: str, hide: Path | None = None, quiet: bool = False) -> subprocess.Popen[str]:
    """A command on a host, with a /tmp/ray of the host's own. hide: a folder that the host does not have."""
    own = folder / f"ray-{host}"
    own.mkdir(exist_ok=True)
    Path("/tmp/ray").mkdir(exist_ok=True)
    mounts = f"mount --bind {own} /tmp/ray"
    if hide is not None:
        mounts += f" && mount -t tmpfs none {hide}"
    return subprocess.Popen(
        ["ip", "netns", "exec", host, "unshare", "-m", "sh", "-c", f'{mounts} && exec "$@"', "sh", *command],
        cwd=folder,
        env={**os.environ, **CLUSTER, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if quiet else subprocess.PIPE,
        text=True,
    )


def node(host: str, folder: Path, images: Path) -> subprocess.Popen[str]:
    """A Ray node on a host. The head has no CPU for workers; the last host does not have the images."""
    what = (
        ["--head", "--num-cpus=0", "--include-dashboard=false"]
        if host == HEAD
        else [f"--address={RAY}", "--num-cpus=1"]
    )
    common = [
        f"--node-ip-address={HOSTS[host]}",
        "--object-store-memory=80000000",
        "--block",
    ]
    ray = str(Path(sys.executable).with_name("ray"))
    return on(host, folder, ray, "start", *what, *common, hide=images if host == TWO else None, quiet=True)


def until_up(*hosts: str) -> None:
    """Wait until Ray's processes are there."""
    began = time.monotonic()
    while not all(titled(host, b"ray::RuntimeEnvAgent") for host in hosts):
        assert time.monotonic() - began < PATIENCE_S, "Ray does not start"
        time.sleep(0.5)


@dataclass(frozen=True)
class Stage:
    """Where the scenarios play: the hosts are up."""

    folder: Path
    images: Path

    @contextmanager
    def server(self, **simulation: Any) -> Iterator[Path]:
        """A simulator on the bridge; where its account will be."""
        account = Path(tempfile.mkdtemp(dir=self.folder)) / "account.json"
        fields = {"price": PRICE, "latency": 0.05, **simulation}
        given = {"port": 8787, "host": SERVER, "account": str(account), "simulation": fields}
        file = Path(__file__).parents[1] / "chaos" / "server.py"
        server = subprocess.Popen([sys.executable, str(file), json.dumps(given)], stdout=subprocess.PIPE, text=True)
        assert server.stdout
        server.stdout.readline()
        try:
            yield account
        finally:
            server.terminate()
            server.communicate()

    def run(self, out: Path, *options: str) -> subprocess.Popen[str]:
        """A run's driver, on the head's host."""
        return on(
            HEAD, self.folder, sys.executable, "-m", "unsaf_async", "run", "--provider", "openai-chaos", "--api-base",
            f"http://{SERVER}:8787/v1", "--images", str(self.images), "--questions", "3", "--out", str(out), "--cache",
            f"{out}-cache", "--quiet", "--no-report", *options,
        )  # fmt: skip


def requests() -> int:
    """How many requests the server has had."""
    with urllib.request.urlopen(f"http://{SERVER}:8787/ledger?requests=0", timeout=30) as answer:
        return int(json.load(answer)["totals"]["requests"])


def figures(account: Path, out: Path) -> str:
    """The server's account beside the run's ledger, in words; what must hold is asserted."""
    bill, ledger = json.loads(account.read_text()), read_account(out / "ledger.jsonl")
    again = sum(max(0, each["healthy"] - 1) for each in bill["requests"].values())
    totals = bill["totals"]
    assert ledger.spent_nano_usd / 1e9 >= totals["billed_usd"] - 1e-6, (ledger.spent_nano_usd, totals)
    assert again <= ledger.unknown, (again, ledger.unknown)
    assert totals["requests"] <= sum(ledger.made.values()), (totals, ledger.made)
    return (
        f"{totals['requests']} requests, {totals['limited']} turned away, {again} paid twice, {ledger.unknown} of unknown fate, "
        f"billed ${totals['billed_usd']:.4f}, booked ${ledger.spent_nano_usd / 1e9:.4f}"
    )


def ended(driver: subprocess.Popen[str], *codes: int) -> str:
    """Wait for a driver's end; what it said."""
    _, said = driver.communicate(timeout=PATIENCE_S)
    assert driver.returncode in (codes or (0,)), (driver.returncode, said)
    return said


def disturbed(stage: Stage, name: str, reference: dict[str, Any], disturb: Callable[[], None], moment: int) -> str:
    """A run in whose middle something happens."""
    out = stage.folder / name
    with stage.server(latency=0.2) as account:
        driver = stage.run(out, "--max-cost", "1000", "--ray", RAY, "--workers", "2")
        while driver.poll() is None and (requests() < moment or not (titled(ONE, TITLE) and titled(TWO, TITLE))):
            time.sleep(0.02)
        spread = [len(titled(host, TITLE)) for host in HOSTS]
        disturb()
        said = ended(driver)
    assert score_of(out) == reference
    return f"workers by host {spread}; {said.count('a worker was lost')} told lost; {figures(account, out)}"


def limited(stage: Stage) -> str:
    """A run at a server with limits that it knows."""
    out = stage.folder / "limits"
    with stage.server(limits={"requests_per_minute": 900, "burst": 10}) as account:
        began = time.monotonic()
        ended(stage.run(out, "--max-cost", "1000", "--rpm", "900", "--ray", RAY, "--workers", "2"))
        took_s = time.monotonic() - began
    return f"900 a minute, burst 10: {figures(account, out)}, {took_s:.0f} s"


def capped(stage: Stage) -> str:
    """A run that its cap ends."""
    out, cap_usd = stage.folder / "cap", 0.2
    with stage.server() as account:
        ended(stage.run(out, "--max-cost", str(cap_usd), "--ray", RAY, "--workers", "2"), 0, 1, 2, 3, 4)
    assert json.loads(account.read_text())["totals"]["billed_usd"] <= cap_usd
    return f"cap ${cap_usd:.2f}: {figures(account, out)}"


def main() -> int:
    """Reads the options, and plays the scenarios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="hosts-")))
        images = folder / "images"
        draw_images(images, given.images)
        (folder / "providers").mkdir()
        (folder / "providers" / "openai-chaos.toml").write_text(PROFILE.replace("BACKEND", "openai"), "utf-8")
        exits.enter_context(network())
        stage = Stage(folder, images)
        for host in HOSTS:
            node(host, folder, images)
            if host == HEAD:
                until_up(host)
        until_up(ONE, TWO)
        with stage.server() as account:
            ended(stage.run(folder / "alone", "--max-cost", "1000"))
        reference = score_of(folder / "alone")
        said = figures(account, folder / "alone")
        print(f"one process: {said}", flush=True)
        many = int(said.split()[0])

        def nothing() -> None:
            pass

        def kill_worker() -> None:
            os.kill((titled(ONE, TITLE) + titled(TWO, TITLE))[0], signal.SIGKILL)

        def lose_node() -> None:
            for pid in pids(TWO):
                os.kill(pid, signal.SIGKILL)

        def cut_node() -> None:
            sh("ip", "link", "set", "unsaf-v1", "down")

        third = many // 3
        plays: dict[str, Callable[[], str]] = {
            "undisturbed": lambda: disturbed(stage, "undisturbed", reference, nothing, third),
            "worker-killed": lambda: disturbed(stage, "worker-killed", reference, kill_worker, third),
            "limits": lambda: limited(stage),
            "cap": lambda: capped(stage),
            "node-lost": lambda: disturbed(stage, "node-lost", reference, lose_node, third),
            "cut": lambda: disturbed(stage, "cut", reference, cut_node, third),
        }
        for name, play in plays.items():
            if given.only and name not in given.only:
                continue
            if not pids(TWO):
                node(TWO, folder, images)
                until_up(TWO)
            print(f"{name}: {play()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
