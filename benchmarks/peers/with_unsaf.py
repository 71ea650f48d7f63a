"""unsaf-async: the command `run` as a user calls it, report included. It always sends a picture: for text, of 64 pixels."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from work import PER_PICTURE, Tally, read_spec, tell


def main() -> Tally:
    spec = read_spec()
    images = spec.images or spec.calls // PER_PICTURE
    out = tempfile.mkdtemp(dir=spec.folder)
    command = [
        str(Path(sys.executable).with_name("unsaf-async")), "run", "--provider", "vllm", "--model", "bench",
        "--api-base", f"{spec.base_url}/v1", "--images", str(Path(spec.pictures[0]).parent), "--limit", str(images),
        "--concurrency", str(spec.concurrency), "--cache", spec.cache or f"{out}/cache", "--out", f"{out}/run",
        "--judge", "self" if spec.staged else "rules", "--yes", "--quiet", "--json",
    ]  # fmt: skip
    if spec.rate_per_min is not None:
        command += ["--rpm", f"{spec.rate_per_min:g}"]
    if spec.samples:
        command += ["--samples", str(spec.samples)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    score = json.loads(ended.stdout)
    calls = score["calls"]
    return Tally(calls["made"] + calls["cached"] - calls["retried"], PER_PICTURE * score["images"]["failed"])


tell(main())
