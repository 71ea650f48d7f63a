"""A server of the Model Context Protocol: three tools with which an agent estimates, runs and explains measurements.

Who starts the server decides what an agent may do: which models it may call, on which images, and for how much money in all. No
tool takes a path, an address, a key or a cap, and none returns a question or a response: these are texts of models, which an
agent might take for instructions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mcp.server import MCPServer
from mcp.server.mcpserver import Context  # noqa: TC002 - the SDK reads annotations
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import ValidationError
from typing_extensions import override

from unsaf_async.api import load
from unsaf_async.errors import UnsafError, UserError, as_option
from unsaf_async.events import ImageKept
from unsaf_async.providers.keys import check_packages, key_of_profile
from unsaf_async.runs.begin import begin, default_folder
from unsaf_async.runs.estimate import check_covers_an_image
from unsaf_async.runs.estimate import estimate as estimated
from unsaf_async.runs.listing import exists
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.runner import Runner
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.settings import Settings
from unsaf_async.runs.stopped import STOP_MEANINGS
from unsaf_async.score.unf1 import BOUNDS_ALONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp_types import Tool

    from unsaf_async.events import Event
    from unsaf_async.runs.findings import Findings
    from unsaf_async.runs.prepare import Prepared

MOST_IMAGES, MOST_QUESTIONS = 1000, 10
"""Of one run that an agent asks for."""

MOST_NAMED = 5
"""Arguments that are wrong, in one message."""

Tell = Callable[[float, float], Awaitable[None]]

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


@dataclass
class Asked:
    """A run that an agent has asked for.

    provider, images, questions, judge: what of. runner: works it off; None before its turn. given_up: whether nobody wants it any
    more. kept: how many of its images are kept.
    """

    provider: str
    images: int
    questions: int
    judge: str | None
    runner: Runner | None = field(default=None, init=False)
    given_up: bool = field(default=False, init=False)
    kept: int = field(default=0, init=False)
    _more: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def hear(self, event: Event) -> None:
        """Counts the images that are kept.

        Args:
            event: Of the run.
        """
        if isinstance(event, ImageKept):
            self.kept += 1
            self._more.set()

    async def report(self, tell: Tell) -> None:
        """Tells how many images are kept, after each, or as often as it is taken. Ends by being cancelled.

        Args:
            tell: Receives that number, and how many images there are at most.
        """
        while True:
            await self._more.wait()
            self._more.clear()
            await tell(self.kept, self.images)

    def stop(self) -> None:
        """No further call leaves; those under way finish, are paid and kept."""
        self.given_up = True
        if self.runner is not None:
            self.runner.stop()


class Measurements:
    """What the tools do. One run at a time; the cap holds over all of them.

    A context: when it is left, no further call leaves, and the run under way has ended. So nothing that is paid for is lost with
    the client that asked for it.
    """

    def __init__(self, allowed: Allowed) -> None:
        """No run has been made.

        Args:
            allowed: What an agent may do.
        """
        self.allowed = allowed
        """What an agent may do."""
        self._names = set(allowed.providers)
        self._spent: dict[Path, float] = {}
        self._turn = asyncio.Lock()
        self._asked: list[Asked] = []
        self._tasks = asyncio.TaskGroup()
        self.ending = False
        """Whether no run may begin any more."""

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        await self._tasks.__aexit__(None, None, None)  # without the error, at which it would cancel what is under way

    async def check(self) -> None:
        """Checks that what the server's starter names is there. Calls nobody.

        Raises:
            UserError: A model is unknown or has no key, the images or the cache cannot be used, or runs cannot be kept.
        """
        if self.allowed.runs.exists() and not self.allowed.runs.is_dir():
            raise UserError(f"{self.allowed.runs}: is no folder; give another", field="runs")
        for name in self.allowed.providers:
            subject = (await prepare(self._settings(name, limit=1), offline=True)).subject
            check_packages(subject)
            key_of_profile(subject)
            self._names.add(subject.name)

    @property
    def left_usd(self) -> float | None:
        """What may be spent yet, >= 0; None without a cap, where nothing may be."""
        cap = self.allowed.max_cost_usd
        return None if cap is None else max(0.0, cap - sum(self._spent.values()))

    def stop(self) -> None:
        """Let no further call leave, and no run begin. `ended` waits for what is under way."""
        self.ending = True
        for asked in self._asked:
            asked.stop()

    async def ended(self) -> None:
        """Waits until the run under way has ended."""
        async with self._turn:
            pass

    def _settings(self, provider: str, **chosen: Any) -> Settings:
        images: dict[str, Any] = {"images": [*self.allowed.images]} if self.allowed.images else {}
        return Settings(provider, cache=self.allowed.cache, **images, **chosen)

    async def _prepared(self, asked: Asked, **more: Any) -> Prepared:
        """A run that is allowed: its model, and whoever judges, the profile's own choice included. more: further settings."""
        self._check([asked.provider, *([asked.judge] if asked.judge not in (None, "self", "rules") else [])])
        if not 1 <= asked.images <= MOST_IMAGES or not 1 <= asked.questions <= MOST_QUESTIONS:
            raise UserError(f"give 1 to {MOST_IMAGES} images, and 1 to {MOST_QUESTIONS} questions")
        settings = self._settings(
            asked.provider, limit=asked.images, questions=asked.questions, judge=asked.judge, **more
        )
        prepared = await prepare(settings)
        self._check(prepared.others)
        return prepared

    def _check(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._names:
                raise UserError(f"{name!r:.80} is not allowed here; allowed: {', '.join(self.allowed.providers)}")

    def _new_folder(self, provider: str) -> Path:
        name = default_folder(provider).name
        names = chain((name,), (f"{name}-{number}" for number in count(2)))
        return next(folder for each in names if not (folder := self.allowed.runs / each).exists())

    async def estimate(self, asked: Asked) -> dict[str, Any]:
        """What a run would cost. Calls nobody.

        Args:
            asked: The run.

        Returns:
            Images, calls, USD expected and at worst, and what is left of the cap.

        Raises:
            UserError: It is not allowed, or a setting is wrong.
        """
        prepared = await self._prepared(asked)
        figures = await asyncio.to_thread(estimated, prepared)
        return {
            "images": figures.images,
            "calls": figures.calls,
            "expected_usd": figures.expected_usd,
            "worst_usd": figures.worst_usd,
            "left_usd": self.left_usd,
        }

    async def run(self, asked: Asked, tell: Tell) -> dict[str, Any]:
        """Measures a model, under what the cap leaves, once the runs that were asked for before have ended.

        Where the caller is cancelled, as that of a client that is gone, no further call leaves. Those under way finish, are paid
        and kept, within the context of these measurements.

        Args:
            asked: The run.
            tell: Receives how many of its images are kept, and how many there are at most.

        Returns:
            As `explain`.

        Raises:
            UserError: It is not allowed, or a setting is wrong.
        """
        task = self._tasks.create_task(self._whole(asked))
        try:
            async with asyncio.TaskGroup() as group:
                reports = group.create_task(asked.report(tell))
                ended = await asyncio.shield(task)
                reports.cancel()
        except asyncio.CancelledError:
            asked.stop()
            raise
        if isinstance(ended, Exception):
            raise ended
        return ended

    async def _whole(self, asked: Asked) -> dict[str, Any] | Exception:
        """As `run`; an error is returned, so that it ends no other run."""
        self._asked.append(asked)
        try:
            async with self._turn:
                return await self.explain((await self._worked_off(asked)).name)
        except Exception as error:  # whoever waits for it raises it
            return error
        finally:
            self._asked.remove(asked)

    async def _worked_off(self, asked: Asked) -> Path:
        """The folder of the run, which has ended."""
        if asked.given_up or self.ending:
            raise UserError("the run was given up before its turn came")
        left = self.left_usd
        if left == 0:
            raise UserError(
                f"all of the cap, ${self.allowed.max_cost_usd:g}, is spent; whoever starts the server sets it"
            )
        out = self._new_folder(asked.provider)
        prepared = await self._prepared(asked, out=out, max_cost=left)
        if left is None:
            await asyncio.to_thread(_check_free, prepared)
        await asyncio.to_thread(check_covers_an_image, prepared)
        with begin(prepared) as folder:
            try:
                asked.runner = Runner(folder, asked.hear)
                if asked.given_up:  # while it was prepared
                    asked.runner.stop()
                await asked.runner.run()
            finally:
                self._spent[out] = SavedRun(out).spent_usd
        return out

    async def explain(self, run: str) -> dict[str, Any]:
        """What a run of the folder says.

        Args:
            run: Its folder's name.

        Returns:
            Figures, counts and costs in words; no question and no response.

        Raises:
            UserError: There is no such run.
        """
        folder = self.allowed.runs / run
        if Path(run).name != run or run in ("", ".", "..") or not exists(folder):
            known = sorted(each.name for each in self.allowed.runs.glob("*") if exists(each))
            raise UserError(f"{run!r:.80} is no run here; runs: {', '.join(known[-20:]) or 'none yet'}")
        manifest, _, found = await asyncio.to_thread(load, folder)
        return {
            "run": run,
            "provider": manifest.subject.name,
            "simulated": manifest.subject.backend == "scripted",
            "judge": manifest.judge_name,
            "stopped_early": _why_stopped(found),
            **_in_words(found),
            "cost_usd": found.cost_usd,
            "left_usd": self.left_usd,
        }


def _check_free(prepared: Prepared) -> None:
    """Checks that a run costs nothing, where nothing may be spent. Raises UserError."""
    if worst_usd := estimated(prepared).worst_usd:
        raise UserError(
            f"this costs money (${worst_usd:.2f} at most), and no cap is set; whoever starts the server sets one"
        )


def _why_stopped(found: Findings) -> str | None:
    """In our own words: a provider's might be taken for instructions."""
    if found.stopped is None:
        return None
    return f"{found.stopped.kind}: {STOP_MEANINGS[found.stopped.kind]}"


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


class _Exact(MCPServer[Any]):  # type: ignore[misc]
    """A server whose tools take what they name and nothing else.

    The SDK's own passes over what it does not know: a run of 10 images would be paid for where `limit` 5 was asked for.
    """

    @override
    async def list_tools(self) -> list[Tool]:
        """The tools, whose schemas say so.

        Returns:
            Them.
        """
        tools: list[Tool] = await super().list_tools()
        for tool in tools:
            tool.input_schema = {**tool.input_schema, "additionalProperties": False}
        return tools

    @override
    async def call_tool(self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None) -> Any:
        """What a tool returns.

        Args:
            name: The tool's.
            arguments: By their names.
            context: The call's.

        Returns:
            Its result.

        Raises:
            ToolError: An argument is unknown, missing or of another sort, there is no such tool, or it fails.
        """
        schemas = {each.name: each.input_schema for each in await self.list_tools()}
        if (schema := schemas.get(name)) is not None:
            taken = schema["properties"]
            wrong = [f"{each!r:.80} is no argument of {name}" for each in arguments if each not in taken]
            wrong += [f"{each!r} is missing" for each in schema.get("required", ()) if each not in arguments]
            if wrong:
                raise ToolError(f"{'; '.join(wrong[:MOST_NAMED])}; give {', '.join(taken)}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                faults = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.__cause__.errors())
                raise ToolError(f"{name}: {'; '.join(faults)}") from None
            raise


def server(measurements: Measurements) -> MCPServer[Any]:
    """The server with its three tools.

    Args:
        measurements: What the tools do, within their context.

    Returns:
        It; `run_stdio_async` serves.
    """
    allowed = measurements.allowed
    cap = "nothing may be spent" if allowed.max_cost_usd is None else f"at most ${allowed.max_cost_usd:g} in all"
    made: MCPServer[Any] = _Exact(
        "unsaf-async",
        version=version("unsaf-async"),
        instructions="Measures whether multimodal models know what they do not know (UnSAF, UnF1). "
        f"Allowed models: {', '.join(allowed.providers)}; {cap}. Estimate before you run.",
    )

    async def told(work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await work
        except UnsafError as error:
            raise ToolError(error.spelled(as_option)) from None

    @made.tool()  # type: ignore[untyped-decorator]
    async def estimate(provider: str, images: int = 10, questions: int = 6, judge: str | None = None) -> dict[str, Any]:
        """What a run would cost in USD, expected and at worst. Calls nobody. judge: "self", "rules", or an allowed model."""
        return await told(measurements.estimate(Asked(provider, images, questions, judge)))

    @made.tool()  # type: ignore[untyped-decorator]
    async def run(
        client: Context[Any, Any], provider: str, images: int = 10, questions: int = 6, judge: str | None = None
    ) -> dict[str, Any]:
        """Measure a model on the server's images, within the server's cap, and explain the result."""
        return await told(measurements.run(Asked(provider, images, questions, judge), client.report_progress))

    @made.tool()  # type: ignore[untyped-decorator]
    async def explain(run: str) -> dict[str, Any]:
        """What a run found: figures with 95 % intervals and what they mean, counts, what is unscored, and the cost."""
        return await told(measurements.explain(run))

    return made
