"""A server that ends half of a perfect model's answers with `abort`: the score is that of the answers that came whole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import ClientSession, web
from driving import ROUTES, draw_images
from serving import serve_requests

from unsaf_async.runs.begin import begin
from unsaf_async.runs.journal import read_journal
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.settings import Settings
from unsaf_async.simulate.model import Awareness
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from pathlib import Path

PERFECT = Awareness(abstain_unanswerable=1, over_refuse=0, false_unanswerable=0, false_answerable=0, hedge=0)


class Interrupting:
    """A server before another: every second answer to a question ends in the middle, with this finish reason."""

    def __init__(self, upstream: str, reason: str, *, for_ever: bool) -> None:
        self._upstream, self._reason, self._for_ever = upstream, reason, for_ever
        self._seen: dict[bytes, int] = {}
        self.interrupted = 0

    def mend(self) -> None:
        """Cut nothing that was seen before."""
        self._for_ever = False

    async def handle(self, asked: web.Request) -> web.Response:
        """Pass a request on, and perhaps cut its reply."""
        content = await asked.read()
        async with ClientSession() as session, session.post(self._upstream + asked.path[3:], data=content) as answer:
            body: dict[str, Any] = await answer.json()
        text = body["choices"][0]["message"]["content"]
        is_answer = b"response_format" not in content
        again = content in self._seen
        number = self._seen.setdefault(content, len(self._seen))
        if is_answer and number % 2 and (self._for_ever or not again):
            self.interrupted += 1
            body["choices"][0] |= {"finish_reason": self._reason, "message": {"role": "assistant", "content": text[:9]}}
        return web.Response(body=orjson.dumps(body), content_type="application/json")


async def interrupted_run(folder: Path, reason: str, *, for_ever: bool, resumed: bool = False) -> tuple[Any, Any, int]:
    """The score and examinations of a run behind such a server, and how many replies were cut.

    resumed: the server cuts every reply again and again; then it is mended, and the run is resumed.
    """
    async with Simulator(Simulation(awareness=PERFECT)) as simulator:
        between = Interrupting(getattr(simulator, ROUTES["vllm"][1]), reason, for_ever=for_ever)
        async with serve_requests(between.handle) as url:
            settings = Settings(
                "vllm", model="simulated", images=draw_images(folder / "images", 4), questions=3, judge="rules",
                out=folder / "run", cache=folder / "cache", api_base=f"{url}/v1",
            )  # fmt: skip
            prepared = await prepare(settings)
            subject = prepared.subject.model_copy(update={"retry_wait_s": 0.01, "attempts": 2})
            prepared = replace(prepared, subject=subject)
            with begin(prepared) as run_folder:
                runs = [Runner(run_folder)]
                score = await runs[0].run()
                if resumed:
                    between.mend()
                    assert runs[0].unfinished is not None
                    assert "images hold replies that the server broke off" in runs[0].unfinished
                    runs.append(Runner(run_folder))
                    score = await runs[1].run()
                assert runs[-1].unfinished is None
                examinations = list(read_journal(run_folder.files.journal).values())
    return score, examinations, between.interrupted


@pytest.mark.parametrize("reason", ["repetition", "a-new-reason"])
async def test_texts_that_were_cut_are_unscored_under_their_own_name(reason: str, tmp_path: Path) -> None:
    score, examinations, cut = await interrupted_run(tmp_path, reason, for_ever=True)
    assert cut > 0
    assert score.unscored["interrupted"] == cut
    assert score.unf1 == 1.0
    for question in (question for each in examinations for question in each.questions):
        if question.answer.outcome == "interrupted":
            assert (question.act, question.unscored, question.answer.finish_reason) == (None, "interrupted", reason)
    assert score.calls.retried == 0


async def test_an_abort_is_asked_for_again_and_every_attempt_is_in_the_account(tmp_path: Path) -> None:
    score, _, cut = await interrupted_run(tmp_path, "abort", for_ever=False)
    assert cut > 0
    assert score.unscored.get("interrupted", 0) == 0
    assert score.unf1 == 1.0
    assert score.calls.retried == cut


async def test_a_run_whose_replies_were_all_aborted_asks_for_them_again_when_it_is_resumed(tmp_path: Path) -> None:
    score, examinations, cut = await interrupted_run(tmp_path, "abort", for_ever=True, resumed=True)
    assert cut > 0
    assert score.unscored.get("interrupted", 0) == 0
    assert score.unf1 == 1.0
    assert all(call.outcome == "ok" for each in examinations for call in each.calls)
