"""What Ray's workers cost: CPU time a call of one process and of a run by workers, by kind of process, and calls a second.

The model is simulated in the process that calls it, so that no server takes part; pictures are small. With `--large` pictures
are JPEGs of 6 megapixels and 1 MB, and a server in a process of its own, which is not counted, answers at once: that is the work
of which workers take a share. Each figure is the difference of two runs of different size, so that starting Ray and importing
the package cancel out; `--rounds` interleaves runs and takes medians. Needs the extra ray.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

PROFILE = """
backend = "{backend}"
model = "{model}"
[price]
input_usd_per_mtok = 0
output_usd_per_mtok = 0
[limits]
concurrency = {concurrency}
"""


@dataclass(frozen=True)
class Used:
    """CPU seconds of a run, by kind of process, and its wall time from the first call to the last."""

    driver_s: float
    workers_s: float
    ray_s: float
    calls: int
    wall_s: float


class Meter(threading.Thread):
    """CPU time of a process and of all that descend from it, read while they live."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root = root
        self.seconds: dict[int, tuple[str, float]] = {}
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.look()

    def look(self) -> None:
        parents: dict[int, int] = {}
        seen: dict[int, tuple[str, float]] = {}
        for place in Path("/proc").iterdir():
            if not place.name.isdigit():
                continue
            try:
                values = (place / "stat").read_text().rpartition(")")[2].split()
                title = (place / "cmdline").read_bytes()
            except OSError:
                continue
            pid = int(place.name)
            parents[pid] = int(values[1])
            was_worker = self.seconds.get(pid, ("", 0.0))[0] == "worker"  # one that is ending has no title any more
            kind = "worker" if was_worker or title.startswith(b"ray::_RayWorker") else "ray"
            seen[pid] = (kind, (int(values[11]) + int(values[12])) / TICKS)
        for pid, (kind, seconds) in seen.items():
            above = pid
            while above > 1 and above != self.root:
                above = parents.get(above, 0)
            if above == self.root:
                self.seconds[pid] = ("driver" if pid == self.root else kind, seconds)

    def total(self, kind: str) -> float:
        return sum(seconds for each, seconds in self.seconds.values() if each == kind)


def draw(pictures: Path, images: int, *, large: bool) -> None:
    """So many pictures, all different."""
    pictures.mkdir()
    for number in range(images):
        if large:
            noise = Image.frombytes("RGB", (300, 200), random.Random(number).randbytes(300 * 200 * 3))
            noise.resize((3000, 2000), Image.Resampling.BICUBIC).save(pictures / f"{number:05d}.jpg", quality=75)
        else:
            Image.new("RGB", (40, 30), (number % 256, number // 256, 90)).save(pictures / f"{number:05d}.png")


def measured(folder: Path, images: int, *options: str, large: bool) -> Used:
    """One run of so many pictures, with an empty cache."""
    pictures = folder / f"images-{images}"
    if not pictures.exists():
        draw(pictures, images, large=large)
    out = Path(tempfile.mkdtemp(dir=folder))
    command = [
        sys.executable, "-m", "unsaf_async", "run", "--provider", "inside", "--images", str(pictures), "--no-report",
        "--quiet", "--json", "--out", str(out / "run"), "--cache", str(out / "cache"), *options,
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    meter = Meter(process.pid)
    meter.start()
    process.communicate()
    meter.over.set()
    times, calls = [], 0
    for line in (out / "run" / "ledger.jsonl").read_text().splitlines():
        entry = json.loads(line)
        calls += entry["what"] == "settled"
        if entry["what"] in ("sent", "settled"):
            times.append(entry["t"])
    return Used(meter.total("driver"), meter.total("worker"), meter.total("ray"), calls, max(times) - min(times))


@contextmanager
def serving(folder: Path, *, large: bool) -> Iterator[str]:
    """The address of a simulator in a process of its own; "": the model is simulated where it is called."""
    if not large:
        yield ""
        return
    command = [sys.executable, "-m", "unsaf_async", "simulate", "--port", "0", "--latency", "0"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.stdout is not None
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://[0-9.]+:[0-9]+", line)))
        threading.Thread(target=server.stdout.read, daemon=True).start()
        yield f"{address}/v1"
    finally:
        server.terminate()
        server.wait()


def marginal(folder: Path, images: int, workers: int, *, large: bool) -> list[float]:
    """CPU milliseconds a call of the driver, the workers and Ray, and calls a second."""
    options = ("--ray", "local", "--workers", str(workers)) if workers else ()
    small, more = (measured(folder, many, *options, large=large) for many in (images // 5, images))
    calls = more.calls - small.calls
    parts = ("driver_s", "workers_s", "ray_s")
    used = [1000 * (getattr(more, part) - getattr(small, part)) / calls for part in parts]
    return [*used, calls / (more.wall_s - small.wall_s)]


def main() -> None:
    """Prints a line for one process, and for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--large", action="store_true")
    given = parser.parse_args()
    print(f"{'':12} {'driver':>9} {'workers':>9} {'Ray':>9} {'all':>9}   calls/s   (CPU ms a call)")
    with tempfile.TemporaryDirectory(prefix="workers-") as name, serving(Path(name), large=given.large) as base:
        folder = Path(name)
        (folder / "providers").mkdir()
        which = (
            {"backend": "openai", "model": "simulated"} if given.large else {"backend": "scripted", "model": "scripted"}
        )
        profile = PROFILE.format(concurrency=given.concurrency, **which)
        profile = f'endpoint = "{base}"\n{profile}' if base else profile
        (folder / "providers" / "inside.toml").write_text(profile, "utf-8")
        seen: dict[int, list[list[float]]] = {}
        for _ in range(given.rounds):
            for workers in (0, *given.workers):
                seen.setdefault(workers, []).append(marginal(folder, given.images, workers, large=given.large))
        for workers, rounds in seen.items():
            *parts, rate = (median(values) for values in zip(*rounds, strict=True))
            columns = " ".join(f"{part:9.2f}" for part in (*parts, sum(parts)))
            print(f"{f'{workers} workers' if workers else 'one process':12} {columns} {rate:9.0f}", flush=True)


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s")
