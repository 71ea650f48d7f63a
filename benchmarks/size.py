"""What size costs: commands over run folders of many images, each in a process of its own.

    python benchmarks/size.py [--images 1000,10000] [--folder DIR] [--run N]

A real run of the simulated model over the shipped images (14 questions an image) is written again and again, under new
ids and with other words in its questions, by the program's own writers, until the folder has N images. Then each
command runs on it: CPU seconds, peak memory, and the size of what it wrote. With --run N a real run over N images is
measured, too: the simulated model over N small pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.bundled import bundled
from unsaf_async.calls.ledger import Ledger
from unsaf_async.inputs.sources import ImageSource
from unsaf_async.records import Usage
from unsaf_async.runs.begin import begin
from unsaf_async.runs.folder import RunFiles, create, images_sha256
from unsaf_async.runs.journal import Journal, read_journal
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings

if TYPE_CHECKING:
    from unsaf_async.records import Examination

MB = 1e6
SYLLABLES = ("ba", "do", "fi", "gu", "ke", "lo", "mi", "nu", "pa", "so")


@dataclass(frozen=True)
class Cost:
    """What a command cost. peak: its memory, in bytes."""

    cpu_s: float
    wall_s: float
    peak: int


def measured(*command: str) -> Cost:
    """A command of the program, in a process of its own; exits if it fails."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "unsaf_async", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}: {said}")
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - began, usage.ru_maxrss * 1024)


def model_run(out: Path) -> SavedRun:
    """A real run of the simulated model over the shipped images."""
    settings = Settings("scripted", images=[bundled("images")], questions=7, out=out)

    async def run() -> None:
        with begin(await prepare(settings)) as folder:
            await Runner(folder).run()

    asyncio.run(run())
    return SavedRun(out)


def word(number: int) -> str:
    """A word for a number, which no other number has."""
    return "".join(SYLLABLES[int(digit)] for digit in f"{number:06}")


def renamed(examination: Examination, number: int) -> Examination:
    """The examination as if of another image: its id, and a word of each question, are the number's."""
    questions = tuple(
        each.model_copy(update={"text": f"{each.text.rstrip('?')} near the {word(number)}?"})
        for each in examination.questions
    )
    image = examination.image.model_copy(update={"id": f"{number:06}.jpg"})
    return examination.model_copy(update={"image": image, "questions": questions})


def many(base: SavedRun, out: Path, n: int) -> None:
    """A finished run of n images in the folder `out`, made of `base`'s."""
    before = list(read_journal(base.files.journal).values())
    sources = [ImageSource(f"{number:06}.jpg", Path(before[number % len(before)].image.path)) for number in range(n)]
    manifest = base.manifest.model_copy(update={"images": n, "images_sha256": images_sha256(sources)})
    files = RunFiles(out)
    with create(out, manifest, sources), Journal(files.journal) as journal, Ledger(files.ledger) as ledger:
        for number in range(n):
            examination = renamed(before[number % len(before)], number)
            for call in examination.calls:
                if not call.cached:
                    attempt = ledger.sent(call.role, 0, again=False)
                    ledger.settled(attempt, 0, Usage(input_tokens=call.input_tokens, output_tokens=call.output_tokens))
            journal.keep(examination)


def commands(folder: Path) -> list[tuple[str, tuple[str, ...], Path | None]]:
    """What is measured, in this order: its name, the command, and the file that it writes."""
    run, report = str(folder), folder / "report.html"
    return [
        ("score anew", ("resume", run, "-q", "--no-report"), RunFiles(folder).score),
        ("resume, nothing to do", ("resume", run, "-q", "--no-report"), None),
        ("show", ("show", run), None),
        ("report", ("report", run), report),
    ]


def real_run(folder: Path, n: int) -> Cost:
    """A run of the simulated model over n small pictures."""
    from PIL import Image

    (folder / "images").mkdir()
    for number in range(n):
        pixels = Image.new("RGB", (32, 32), (number % 256, number // 256 % 256, number // 65_536))
        pixels.save(folder / "images" / f"{number:06}.png")
    options = ("--questions", "7", "--out", str(folder / "run"), "-q", "-y", "--no-report")
    return measured("run", "--provider", "scripted", "--images", str(folder / "images"), *options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="1000,10000", help="how many, with commas between")
    parser.add_argument("--folder", type=Path, help="where the folders go, and stay; default: a temporary one")
    parser.add_argument("--run", type=int, default=0, metavar="N", help="a real run over N images, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        base = SavedRun(folder / "base") if (folder / "base").exists() else model_run(folder / "base")
        print("| images | command | CPU-s | wall-s | peak MB | file MB |\n|---|---|---|---|---|---|")
        for n in map(int, filter(None, options.images.split(","))):
            out = folder / f"{n}"
            if not out.exists():
                many(base, out, n)
            RunFiles(out).score.unlink(missing_ok=True)
            for name, command, file in commands(out):
                cost = measured(*command)
                written = f"{file.stat().st_size / MB:.1f}" if file else ""
                print(
                    f"| {n:,} | {name} | {cost.cpu_s:.1f} | {cost.wall_s:.1f} | {cost.peak / MB:.0f} | {written} |",
                    flush=True,
                )
        if options.run:
            place = folder / f"run-{options.run}"
            place.mkdir()
            cost = real_run(place, options.run)
            print(f"| {options.run:,} | run | {cost.cpu_s:.1f} | {cost.wall_s:.1f} | {cost.peak / MB:.0f} | |")


if __name__ == "__main__":
    main()
