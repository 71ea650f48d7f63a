"""Where a chaos scenario works: a folder with pictures and profiles, a simulator in a process of its own, and commands."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driving import draw_images

if TYPE_CHECKING:
    from collections.abc import Iterator

PRICE = (2.5, 10)
"""USD per million tokens, in the profiles and at the server."""

CONCURRENCY = 6
TIMEOUT_S = 4
"""Of an attempt."""

PROFILE = f"""
backend = "BACKEND"
model = "simulated"
timeout_s = {TIMEOUT_S}
deadline_s = 600
attempts = 15
retry_wait_s = 0.05
[price]
input_usd_per_mtok = {PRICE[0]}
output_usd_per_mtok = {PRICE[1]}
[limits]
concurrency = {CONCURRENCY}
[tokens.image]
formula = "fixed"
constants = {{ tokens = 300 }}
[output_tokens]
ask = 100
ask_per_question = 60
answer = 100
judge = 60
"""

WIRES = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
"""What each wire's base address ends with."""

ENOUGH_USD = 1000.0
"""A cap that no run here comes near."""

_PLAIN = {
    name: value
    for name, value in os.environ.items()
    if not name.upper().endswith(("_PROXY", "_API_KEY")) and not name.startswith("UNSAF_")
}
"""This process's variables, without what would change a run."""

PATIENCE_S = 1800
"""How long a command may take before it counts as hanging."""


class Failed(Exception):
    """A scenario's check did not hold. Its text is one line."""


class NotRun(Exception):
    """A scenario needs what this machine does not have. Its text says what."""


@dataclass(frozen=True)
class Options:
    """What every scenario is asked for.

    images: pictures of a run; the scenario "size" takes ten times as many. kills: how often a run is killed. seed: of the faults
    and of the moments at which something happens. outage_s: how long the server is away, in seconds.
    """

    images: int = 100
    kills: int = 20
    seed: int = 0
    outage_s: float = 60.0


@dataclass(frozen=True)
class Bill:
    """What a server's account says, over all its starts.

    requests: how many came; different: of which so many are not equal to another. served_again: whole replies without a fault,
    beyond each request's first; where the provider's filter blocked the writing of questions it is rightly asked for again.
    faults: how often each was given.
    """

    requests: int
    different: int
    served_again: int
    billed_usd: Fraction
    faults: Counter[str]


class Server:
    """The simulator in a process of its own; what it is asked is counted over all its starts.

    Args:
        folder: For its accounts.
        seed: Of its faults; after each start they are others.
        simulation: Fields of `Simulation`.
    """

    def __init__(self, folder: Path, seed: int, **simulation: Any) -> None:
        self._folder, self._seed, self._simulation = folder, seed, {"price": PRICE, **simulation}
        self._accounts: list[Path] = []
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self) -> None:
        """Listen, at the same port as before."""
        account = self._folder / f"account-{len(self._accounts)}.json"
        seed = self._seed * 1000 + len(self._accounts)
        given = {
            "port": self.port,
            "account": str(account),
            "simulation": {**self._simulation, "fault_seed": seed, "retry_after_s": 0.05},
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py")), json.dumps(given)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self._accounts.append(account)

    def cut(self) -> None:
        """Stop at once, in the middle of whatever it does. Cutting what does not listen does nothing."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None

    def totals(self) -> dict[str, Any]:
        """The account's sums since the last start, live."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ledger?requests=0", timeout=30) as answer:
            totals: dict[str, Any] = json.load(answer)["totals"]
        return totals

    def wait_for(self, requests: int, command: Command) -> None:
        """Until so many requests have come since the last start, or the command is over."""
        while command.runs and self.totals()["requests"] < requests:
            time.sleep(0.02)

    def wait_until_idle(self) -> None:
        """Until no request is being processed: it notices by itself that its clients are gone."""
        while self.totals()["in_flight"]:
            time.sleep(0.02)

    def bill(self) -> Bill:
        """What it did, over all its starts. It is stopped."""
        self.cut()
        accounts = [json.loads(file.read_text("utf-8")) for file in self._accounts]
        served: Counter[str] = Counter()
        faults: Counter[str] = Counter()
        for account in accounts:
            faults.update(account["totals"]["faults"])
            for digest, entry in account["requests"].items():
                served[digest] += entry["healthy"]
        return Bill(
            requests=sum(account["totals"]["requests"] for account in accounts),
            different=len(served),
            served_again=sum(count - 1 for count in served.values() if count > 1),
            billed_usd=sum((Fraction(account["totals"]["billed_usd_exact"]) for account in accounts), Fraction(0)),
            faults=faults,
        )


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    said: str


class Command:
    """`unsaf-async` in a process of its own, without a terminal.

    Args:
        folder: Its working directory.
        arguments: Its command line.
        environment: Variables beside this process's.
    """

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self._what = " ".join(arguments[:1])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "unsaf_async", *arguments],
            cwd=folder,
            env={**_PLAIN, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def runs(self) -> bool:
        """Whether it is not over yet."""
        return self._process.poll() is None

    def send(self, number: int) -> None:
        """Send it a signal, unless it is over."""
        self._process.send_signal(number)

    def end(self, *codes: int) -> Ended:
        """Wait for its end, which must have one of these codes (0 if none is given), without a traceback and in one line."""
        try:
            _, said = self._process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise Failed(f"{self._what} hung for {PATIENCE_S} s") from None
        code = self._process.returncode
        if "Traceback" in said:
            raise Failed(f"{self._what} ended in a traceback: {said!r}")
        if code not in (codes or (0,)):
            raise Failed(f"{self._what} ended with code {code}: {said!r}")
        if len([line for line in said.splitlines() if " at http://" not in line]) > (code != 0):
            raise Failed(f"{self._what}, code {code}, said more than {int(code != 0)} line(s): {said!r}")
        return Ended(code, said)


@dataclass(frozen=True)
class Reference:
    """What a run comes to that nothing disturbs."""

    score: dict[str, Any]
    billed_usd: float
    requests: int


@dataclass
class Desk:
    """The folder of all scenarios.

    folder: An empty one. options: What is asked for.
    """

    folder: Path
    options: Options
    _references: dict[tuple[str, int], Reference] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "providers").mkdir()
        for wire in WIRES:
            (self.folder / "providers" / f"{wire}-chaos.toml").write_text(PROFILE.replace("BACKEND", wire), "utf-8")

    def chance(self, name: str) -> random.Random:
        """A generator that depends on the seed and the scenario alone."""
        return random.Random(f"{self.options.seed} {name}")

    def place(self, name: str) -> Path:
        """A new folder for one scenario."""
        place = self.folder / name
        place.mkdir()
        return place

    @contextmanager
    def serving(self, place: Path, **simulation: Any) -> Iterator[Server]:
        """A server that listens, and is stopped at the end."""
        server = Server(place, self.options.seed, **{"latency": 0.05, **simulation})
        server.start()
        try:
            yield server
        finally:
            server.cut()

    def command(self, *arguments: str, **environment: str) -> Command:
        """`run` or `resume`, begun."""
        return Command(self.folder, *arguments, "--quiet", "--no-report", **environment)

    def beginning(
        self,
        wire: str,
        server: Server,
        out: Path,
        *,
        images: int = 0,
        cache: Path | None = None,
        cap_usd: float = ENOUGH_USD,
    ) -> list[str]:
        """The arguments of `run`. images: 0 for as many as the options say. cache: None for one of its own beside `out`."""
        count = images or self.options.images
        pictures = self.folder / f"images-{count}"
        if not pictures.exists():
            draw_images(pictures, count)
        address = f"http://127.0.0.1:{server.port}{WIRES[wire]}"
        return [
            "run", "--provider", f"{wire}-chaos", "--api-base", address, "--images", str(pictures), "--questions", "3",
            "--max-cost", str(cap_usd), "--out", str(out), "--cache", str(cache or out.with_name(f"{out.name}-cache")),
        ]  # fmt: skip

    def reference(self, wire: str, images: int = 0) -> Reference:
        """The run that nothing disturbs, made once for each wire and number of images."""
        count = images or self.options.images
        if (wire, count) not in self._references:
            place = self.place(f"reference-{wire}-{count}")
            with self.serving(place) as server:
                self.command(*self.beginning(wire, server, place / "out", images=count)).end()
                bill = server.bill()
            self._references[wire, count] = Reference(score_of(place / "out"), float(bill.billed_usd), bill.requests)
        return self._references[wire, count]


SCORE = ("counts", "unf1", "unf1_ci", "unf1_bounds", "unscored", "by_kind", "images", "questions")
"""What of a score must not depend on how the run went."""


def score_of(out: Path) -> dict[str, Any]:
    """What a run's score.json says that must not depend on how it went."""
    score = json.loads((out / "score.json").read_text("utf-8"))
    return {name: score[name] for name in SCORE}
