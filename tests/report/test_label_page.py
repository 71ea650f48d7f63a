"""The page for labels by hand takes them from itself alone. (tests/browser has it in a real browser.)"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import aiohttp
from driving import draw_images
from truths import measure, measured, scripted_model

from unsaf_async.checks.trusted import Labelling
from unsaf_async.report.label_page import MARK, LabelPage
from unsaf_async.runs.folder import reopen
from unsaf_async.runs.trusted_labels import read_labels


async def test_nothing_is_told_or_taken_without_the_token_the_header_and_this_host(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scripted_model("ada")
    await measure("ada", draw_images(Path("images"), 1), Path("run"), questions=3)
    with reopen(Path("run")) as folder, Labelling(folder) as labelling:
        await ask_without(labelling)


async def ask_without(labelling: Labelling) -> None:
    """Requests that lack something, and one that lacks nothing."""
    key = labelling.next().key
    sent = json.dumps({"key": key, "label": "answerable"})
    mine = {MARK: "label", "Content-Type": "application/json"}
    labels = Path("run/labels.jsonl")
    async with LabelPage(labelling, 4) as served, aiohttp.ClientSession() as session:
        port = served.url.split("/")[2]

        async def post(url: str, data: str, headers: dict[str, str]) -> int:
            async with session.post(url, data=data, headers=headers) as reply:
                return reply.status

        async with session.get(f"http://{port}/") as reply:
            assert reply.status == 404
        async with session.get(f"{served.url}next", headers={"Host": "evil.example"}) as reply:
            assert (reply.status, "question" in await reply.text()) == (403, False)
        assert await post(f"http://{port}/label", sent, mine) == 404
        assert await post(f"{served.url}label", sent, {"Content-Type": "application/json"}) == 403
        assert await post(f"{served.url}label", sent, mine | {"Content-Type": "text/plain"}) == 403
        assert await post(f"{served.url}label", sent, mine | {"Host": "evil.example"}) == 403
        for odd in ("", "[]", "{}", json.dumps({"key": key, "label": "yes"}), json.dumps({"key": key, "label": []})):
            assert await post(f"{served.url}label", odd, mine) == 400
        assert await post(f"{served.url}label", json.dumps({"key": "0" * 32, "label": "answerable"}), mine) == 422
        assert read_labels(labels) == {}
        assert await post(f"{served.url}label", sent, mine) == 200
        assert {each.label for each in read_labels(labels).values()} == {"answerable"}


def test_the_command_serves_the_page_until_it_is_interrupted_and_then_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scripted_model("ada")
    measured("ada", draw_images(Path("images"), 6), Path("run"), questions=6)
    started = [sys.executable, "-m", "unsaf_async", "label", "run", "--labeller", "Ann"]
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True) as ended:
        url = ended.stdout.readline().split()[2]
        with urlopen(f"{url}next") as reply:
            waiting = json.loads(reply.read())
        for number in range(50):
            label = "unanswerable" if number % 2 else "answerable"
            sent = json.dumps({"key": waiting["key"], "label": label}).encode()
            headers = {MARK: "label", "Content-Type": "application/json"}
            with urlopen(Request(f"{url}label", sent, headers)) as reply:
                waiting = json.loads(reply.read())
        assert len(read_labels(Path("run/labels.jsonl"))) == 50
        ended.send_signal(signal.SIGINT)
        out, _ = ended.communicate(timeout=30)
    assert ended.returncode == 0
    assert out.startswith("ended\nUnF1 corrected for false labels: 0.")
    assert "50 trusted labels" in out
    assert json.loads(Path("run/score.json").read_bytes())["label_corrected"]["sources"] == {"Ann": 50}
