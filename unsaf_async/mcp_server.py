"""A server of the Model Context Protocol: three tools with which an agent estimates, runs and explains measurements.

Who starts the server decides what an agent may do: which models it may call, on which images, and for how much money in all. No
tool takes a path, an address, a key or a cap, and none returns a question or a response: these are texts of models, which an
agent might take for instructions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unsaf_async.api import evaluate, load
from unsaf_async.errors import UnsafError, UserError, as_option
from unsaf_async.events import silent
from unsaf_async.runs.estimate import estimate as estimated
from unsaf_async.runs.folder import default_folder, exists
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings
from unsaf_async.score.unf1 import BOUNDS_ALONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp.server import MCPServer

    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.prepare import Prepared

MOST_IMAGES, MOST_QUESTIONS = 1000, 10
"""Of one run that an agent asks for."""

MEANINGS = {
    "unf1": "F1 of declining what the image does not answer, from 0 to 1; higher is better",
    "over_refusal_rate": "share of the answerable questions that were declined; lower is better",
    "over_answer_rate": "share of the unanswerable questions that were answered; lower is better",
    "precision": "of the questions that were declined, the share that is unanswerable",
    "recall": "of the unanswerable questions, the share that was declined",
}
"""The figures that are explained."""


@dataclass(frozen=True)
class Allowed:
    """What an agent may do.

    providers: the models that it may call, judges included. images: what they are shown; () for the shipped photos, or the drawn
    scenes of the tiny models. max_cost_usd: for all runs of this server together; None: only models that cost nothing. runs: the
    folder in which its runs lie, and from which it may explain. cache: the folder of stored replies; None for none.
    """

    providers: tuple[str, ...]
    images: tuple[Path, ...]
    max_cost_usd: float | None
    runs: Path
    cache: Path | None


class Measurements:
    """What the tools do. One run at a time; the cap holds over all of them."""

    def __init__(self, allowed: Allowed) -> None:
        """No run has been made.

        Args:
            allowed: What an agent may do.
        """
        self._allowed = allowed
        self._spent: dict[Path, float] = {}
        self._running = asyncio.Lock()

    @property
    def left_usd(self) -> float | None:
        """What may be spent yet, >= 0; None without a cap, where nothing may be."""
        cap = self._allowed.max_cost_usd
        return None if cap is None else max(0.0, cap - sum(self._spent.values()))

    async def _prepared(self, provider: str, images: int, questions: int, judge: str | None) -> Prepared:
        """A run that is allowed: its model, and whoever judges, the profile's own choice included."""
        self._check([provider, *([judge] if judge not in (None, "self", "rules") else [])])
        if not 1 <= images <= MOST_IMAGES or not 1 <= questions <= MOST_QUESTIONS:
            raise UserError(f"give 1 to {MOST_IMAGES} images, and 1 to {MOST_QUESTIONS} questions")
        chosen: dict[str, Any] = {"images": [*self._allowed.images]} if self._allowed.images else {}
        settings = Settings(
            provider, limit=images, questions=questions, judge=judge, cache=self._allowed.cache, **chosen
        )
        prepared = await prepare(settings)
        self._check(prepared.others)
        return prepared

    def _check(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._allowed.providers:
                raise UserError(f"{name!r:.80} is not allowed here; allowed: {', '.join(self._allowed.providers)}")

    def _new_folder(self, provider: str) -> Path:
        name = default_folder(provider).name
        names = chain((name,), (f"{name}-{number}" for number in count(2)))
        return next(folder for each in names if not (folder := self._allowed.runs / each).exists())

    async def estimate(self, provider: str, images: int, questions: int, judge: str | None) -> dict[str, Any]:
        """What a run would cost. Calls nobody.

        Args:
            provider: An allowed model's name.
            images: How many at most.
            questions: How many answerable and unanswerable ones an image.
            judge: "self", "rules" or an allowed model; None: as the model's profile says.

        Returns:
            Images, calls, USD expected and at worst, and what is left of the cap.

        Raises:
            UserError: It is not allowed, or a setting is wrong.
        """
        prepared = await self._prepared(provider, images, questions, judge)
        figures = await asyncio.to_thread(estimated, prepared)
        return {
            "images": figures.images,
            "calls": figures.calls,
            "expected_usd": figures.expected_usd,
            "worst_usd": figures.worst_usd,
            "left_usd": self.left_usd,
        }

    async def run(self, provider: str, images: int, questions: int, judge: str | None) -> dict[str, Any]:
        """Measures a model, under what the cap leaves.

        Args:
            provider: An allowed model's name.
            images: How many at most.
            questions: How many answerable and unanswerable ones an image.
            judge: "self", "rules" or an allowed model; None: as the model's profile says.

        Returns:
            As `explain`.

        Raises:
            UserError: It is not allowed, or a setting is wrong.
        """
        async with self._running:
            settings = (await self._prepared(provider, images, questions, judge)).settings
            out, left = self._new_folder(provider), self.left_usd
            if left == 0:
                raise UserError(
                    f"all of the cap, ${self._allowed.max_cost_usd:g}, is spent; whoever starts the server sets it"
                )
            given = {name: getattr(settings, name) for name in ("images", "limit", "questions", "judge", "cache")}
            try:
                await evaluate(provider, **given, out=out, max_cost=left, on_event=silent)
            finally:
                if exists(out):
                    self._spent[out] = SavedRun(out).spent_usd
            return await self.explain(out.name)

    async def explain(self, run: str) -> dict[str, Any]:
        """What a run of the folder says.

        Args:
            run: Its folder's name.

        Returns:
            Figures, counts and costs in words; no question and no response.

        Raises:
            UserError: There is no such run.
        """
        folder = self._allowed.runs / run
        if Path(run).name != run or run in ("", ".", "..") or not exists(folder):
            known = sorted(each.name for each in self._allowed.runs.glob("*") if exists(each))
            raise UserError(f"{run!r:.80} is no run here; runs: {', '.join(known[-20:]) or 'none yet'}")
        manifest, _, found = await asyncio.to_thread(load, folder)
        return {
            "run": run,
            "provider": manifest.subject.name,
            "simulated": manifest.subject.backend == "scripted",
            "judge": manifest.judge_name,
            **_in_words(found),
            "cost_usd": found.cost_usd,
            "left_usd": self.left_usd,
        }


def _in_words(found: Findings) -> dict[str, Any]:
    figures = {
        name: {
            "value": getattr(found, name),
            "ci_95": getattr(found, f"{name}_ci", None) or found.intervals.get(name),
            "means": meaning,
            **({"why_undefined": found.undefined[name]} if name in found.undefined else {}),
        }
        for name, meaning in MEANINGS.items()
    }
    if found.unf1_between:  # an agent would take the figure, too, for the score
        figures["unf1"] = {"value": None, "ci_95": None, "means": MEANINGS["unf1"], "why_undefined": BOUNDS_ALONE}
    return {
        "figures": figures,
        "counts": found.counts.model_dump(),
        "counts_mean": "ta, fu: answerable, answered and declined; tu, fa: unanswerable, declined and answered",
        "unf1_bounds_if_unscored_counted": found.unf1_bounds,
        "images": found.images.model_dump(),
        "unscored": dict(found.unscored),
        "caveat": "labels are what the model was told to write; an interval speaks of the choice of images alone",
    }


def server(allowed: Allowed) -> MCPServer[Any]:
    """The server with its three tools.

    Args:
        allowed: What an agent may do.

    Returns:
        It; `run_stdio_async` serves.
    """
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    measurements = Measurements(allowed)
    cap = "nothing may be spent" if allowed.max_cost_usd is None else f"at most ${allowed.max_cost_usd:g} in all"
    made: MCPServer[Any] = MCPServer(
        "unsaf-async",
        instructions="Measures whether multimodal models know what they do not know (UnSAF, UnF1). "
        f"Allowed models: {', '.join(allowed.providers)}; {cap}. Estimate before you run.",
    )

    async def told(work: Any) -> dict[str, Any]:
        try:
            result: dict[str, Any] = await work
        except UnsafError as error:
            raise ToolError(error.spelled(as_option)) from None
        return result

    @made.tool()  # type: ignore[untyped-decorator]
    async def estimate(provider: str, images: int = 10, questions: int = 6, judge: str | None = None) -> dict[str, Any]:
        """What a run would cost in USD, expected and at worst. Calls nobody. judge: "self", "rules", or an allowed model."""
        return await told(measurements.estimate(provider, images, questions, judge))

    @made.tool()  # type: ignore[untyped-decorator]
    async def run(provider: str, images: int = 10, questions: int = 6, judge: str | None = None) -> dict[str, Any]:
        """Measure a model on the server's images, within the server's cap, and explain the result."""
        return await told(measurements.run(provider, images, questions, judge))

    @made.tool()  # type: ignore[untyped-decorator]
    async def explain(run: str) -> dict[str, Any]:
        """What a run found: figures with 95 % intervals and what they mean, counts, what is unscored, and the cost."""
        return await told(measurements.explain(run))

    return made
