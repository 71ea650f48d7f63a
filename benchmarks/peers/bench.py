"""unsaf-async beside what users would pick instead: the same work against one local server, in one run.

    python benchmarks/peers/bench.py [--quick] [--only a,d] [--peers httpx,aiohttp] [--rounds 3] [--add] [--large-memory]

Installs each peer in an environment of its own under .venv-peers/, starts the server, lets the peers take turns in every
round, prints one table, and writes benchmarks/RESULTS.md unless it was --quick. The runs are kept in
.venv-peers/runs.json after every row: rows that are not measured again stay as they are, and --add adds rounds to a row.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import platform
import signal
import tempfile
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from environments import ENVIRONMENTS, OURS, ROOT, Peer, install, read_peers, version
from measure import Run, Server, measure
from PIL import Image
from results import Results, behind, kept, markdown, missing, recall, spread, table
from rows import IN_FLIGHT, QUICK, Case, Row, Sizes, rows_of
from work import PER_PICTURE, Spec

if TYPE_CHECKING:
    from collections.abc import Iterable

RESULTS = ROOT / "benchmarks" / "RESULTS.md"
RUNS = ENVIRONMENTS / "runs.json"
PROMPTS = ("answer", "ask-answerable", "ask-unanswerable", "judge")


class Pictures:
    """Files of pictures: JPEGs of 100 KB, and such of a few hundred bytes; all of them differ."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._random = np.random.default_rng(0)

    def files(self, kind: str, count: int) -> list[str]:
        """The first `count` files of a kind, "photos" or "dots"; those that are missing are made."""
        folder = self._folder / kind
        folder.mkdir(exist_ok=True)
        files = [folder / f"{number:05}.jpg" for number in range(count)]
        for file in files:
            if not file.exists():
                file.write_bytes(self._jpeg(310 if kind == "photos" else 8))
        return [str(file) for file in files]

    def _jpeg(self, side: int) -> bytes:
        file = io.BytesIO()
        noise = self._random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "JPEG", quality=85)
        return file.getvalue()


class Bench:
    """The server, the pictures, and a folder for everything that is written."""

    def __init__(self, server: Server, folder: Path, timeout_s: float) -> None:
        self._server = server
        self._folder = folder
        self._pictures = Pictures(folder)
        self._timeout_s = timeout_s
        self._prompts = {name: (ROOT / "prompts" / "unsaf" / f"{name}.md").read_text("utf-8") for name in PROMPTS}

    def run(self, peer: Peer, case: Case, cache: str) -> Run:
        """One run of one peer. cache: the name of its cache, where the case has one."""
        said = {"concurrency": IN_FLIGHT} | case.spec
        images = said.get("images") or -(-said["calls"] // PER_PICTURE)
        kind = "photos" if case.photos else "dots" if peer.name == OURS else ""
        kept = case.cached and peer.why_not("d", "") is None
        spec = Spec(
            base_url=self._server.url,
            folder=tempfile.mkdtemp(dir=self._folder),
            prompts=self._prompts,
            pictures=self._pictures.files(kind, images) if kind else [],
            cache=str(self._folder / cache) if kept else None,
            **said,
        )
        return measure(peer, spec, self._server, case.mode, self._timeout_s)

    def row(self, row: Row, peers: list[Peer], rounds: int) -> Results:
        """All runs of a row: the peers take turns in each case of each round."""
        results = Results(row)
        for number in range(1 if row.once else rounds):
            by_peer: dict[str, dict[str, Run]] = {peer.name: {} for peer in peers}
            results.rounds.append(by_peer)
            for case in row.cases:
                for peer in peers:
                    if peer.why_not(row.key, case.name) is None:
                        run = self.run(peer, case, f"cache-{row.key}-{peer.name}-{number}")
                        by_peer[peer.name][case.name] = run
                        tell(f"  {row.key} {number + 1} {case.name:18} {peer.name:16} {spoken(run)}")
        return results


def spoken(run: Run) -> str:
    """A run in one line."""
    figures = (
        f"{run.cpu_s:7.2f} CPU-s {run.wall_s:7.1f} s {run.peak_mb:6.0f} MB {run.done:6} done {run.failed:4} failed"
    )
    return f"{figures} {run.error}"


def tell(line: str) -> None:
    print(line, flush=True)


def ready(peers: list[Peer], bench: Bench) -> tuple[list[Peer], list[str]]:
    """Those peers that are installed and do a first small job, and what is wrong with the others."""
    good, wrong = [], []
    for peer in peers:
        tell(f"{peer.name}: installing where it is not yet")
        error = install(peer)
        if error is None:
            run = bench.run(peer, Case("first", {"calls": PER_PICTURE}), "")
            error = run.error or (f"{run.failed} of {PER_PICTURE} calls failed" if run.failed else None)
        if error is None:
            good.append(peer)
        else:
            wrong.append(f"{peer.name} takes no part: {error}.")
            tell(wrong[-1])
    return good, wrong


def page(everything: list[Results], peers: list[Peer], wrong: list[str], reasons: dict[str, str]) -> str:
    """benchmarks/RESULTS.md."""
    load, cores = os.getloadavg()[2], os.cpu_count() or 1
    rounds = ", ".join(f"{each.row.key} {len(each.rounds)}" for each in everything)
    busy = f" The machine did other work, too: {load:.0f} processes on average." if load > 1.5 * cores else ""
    behind_lines = [
        f"**{where}**: {mine}, against {', '.join(ahead)}. {reasons.get(where, '')}".rstrip()
        for where, mine, ahead in behind(everything, peers)
    ]
    gaps = [*wrong, *missing(everything, peers)]
    parts = [
        "# Side by side",
        wrapped(
            f"Written by `make bench` on {datetime.now(UTC):%d %B %Y}. {cores} cores, {platform.machine()},"
            f" {platform.system()}, Python {platform.python_version()}.{busy} CPU time and ratios hold on such a machine;"
            " times by the clock (b, c, g, h) are worse than alone, and those of one round say little."
        ),
        wrapped(
            "One server (`benchmarks/peers/local_server.py`) is asked by all, in turn, with the same prompts and pictures."
            " Figures are medians over rounds; in brackets the ratio to unsaf-async, the median of the ratios within a"
            f" round. Rounds of ours, of which a peer may have fewer: {rounds}."
        ),
        markdown(table(everything, peers)),
        "## Rows",
        bullets([f"**{each.row.key}. {each.row.title}.** {each.row.method}" for each in everything]),
        "## From round to round",
        wrapped("Least and greatest figure, and in brackets the rounds. Who is not named was measured once."),
        bullets(spread(everything, peers)),
        "## Where unsaf-async is behind",
        bullets(behind_lines) if behind_lines else "Nowhere, in these figures.",
        "## Peers and their settings",
        wrapped("N: the calls in flight that the row names."),
        bullets([f"**{peer.name}** {version(peer)}: {peer.settings}." for peer in peers]),
    ]
    if gaps:
        parts += ["## What is missing, and what failed", bullets(gaps)]
    return "\n\n".join(parts) + "\n"


def wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def bullets(lines: list[str]) -> str:
    return "\n".join(wrapped(f"- {line}", "  ") for line in lines)


def chosen(names: str | None, known: Iterable[str], what: str) -> set[str]:
    """What a list with commas names; all where there is none."""
    known = list(known)
    named = set(known) if names is None else {name.strip() for name in names.split(",")}
    if unknown := named - set(known):
        raise SystemExit(f"{what}: {', '.join(sorted(unknown))} unknown; there are {', '.join(known)}")
    return named


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, nothing written: does it run?")
    parser.add_argument("--only", help="rows, such as a,d")
    parser.add_argument("--peers", help="peers beside ours, such as httpx,aiohttp")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--add", action="store_true", help="add rounds to those that are kept of a row")
    parser.add_argument(
        "--page", action="store_true", help="measure nothing, write RESULTS.md from the runs that are kept"
    )
    parser.add_argument("--large-memory", action="store_true", help="row e with 100,000 calls, too; takes hours")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds after which a run is ended")
    return parser.parse_args()


def compare(
    options: argparse.Namespace, rows: list[Row], peers: list[Peer], kept_before: dict[str, Results]
) -> list[str]:
    """Measures rows one after another, and keeps each in `kept_before` and on disk; says which peers took no part."""
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        bench = Bench(server, Path(folder), options.timeout)
        good, wrong = ready(peers, bench)
        for row in rows:
            results = bench.row(row, good, 1 if options.quick else options.rounds)
            if options.add and row.key in kept_before:
                results.rounds[:0] = kept_before[row.key].rounds
            kept_before[row.key] = results
            if not options.quick:
                RUNS.write_text(json.dumps(kept(list(kept_before.values()))), "utf-8")
    return wrong


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` ends server and adapter, as Ctrl-C does
    options = read_options()
    sizes = QUICK if options.quick else Sizes()
    if options.large_memory:
        sizes = dataclasses.replace(sizes, memory_calls=(*sizes.memory_calls, 7200 * PER_PICTURE))
    rows = rows_of(sizes)
    peers, reasons = read_peers()
    keys = chosen(options.only, [row.key for row in rows], "--only")
    names = chosen(options.peers, [peer.name for peer in peers], "--peers") | {OURS}
    known = not options.quick and RUNS.exists()
    found = recall(json.loads(RUNS.read_text("utf-8")), rows) if known else []
    by_key = {results.row.key: results for results in found}
    wrong = []
    if not options.page:
        wrong = compare(
            options, [row for row in rows if row.key in keys], [peer for peer in peers if peer.name in names], by_key
        )
    found = [by_key[row.key] for row in rows if row.key in by_key]
    shown = [peer for peer in peers if any(peer.name in each for results in found for each in results.rounds)]
    tell("\n" + markdown(table(found, shown)))
    tell("\n".join(["", *wrong, *missing(found, shown)]))
    if not options.quick:
        RESULTS.write_text(page(found, shown, wrong, reasons), "utf-8")
        tell(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
