"""The simulated provider on a socket: one model, one account, three wire formats.

    body ─► key ─► format ─► ceiling ─► limits ─► fault? ─► bill ─► latency ─► reply, or what a fault makes of it

From the bill on, the request has been processed and paid for, whatever becomes of its answer.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import orjson
from aiohttp import web

from unsaf_async.errors import UserError
from unsaf_async.simulate import faults
from unsaf_async.simulate import model as scripted
from unsaf_async.simulate.anthropic import Anthropic
from unsaf_async.simulate.gemini import Gemini
from unsaf_async.simulate.ledger import RequestEntry, ServerLedger
from unsaf_async.simulate.limits import RateLimiter
from unsaf_async.simulate.openai import OpenAI
from unsaf_async.simulate.pictures import Pictures
from unsaf_async.simulate.settings import Lognormal, Simulation, exact
from unsaf_async.simulate.wire import REFUSAL, Answer, Call, Choice, Draft, RequestError, Trouble, Wire, retry_headers

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a request body; a larger one gets the provider's 413."""

LEDGER: web.AppKey[ServerLedger] = web.AppKey("ledger", ServerLedger)
"""Where an application keeps its account."""


def application(simulation: Simulation) -> web.Application:
    """The simulated provider as an aiohttp application, with a fresh account in `app[LEDGER]`.

    Run it with `handler_cancellation=True`, as `Simulator` does: the fault "hang" ends when its client leaves.

    Args:
        simulation: What is simulated.

    Returns:
        The application.
    """
    return _Provider(simulation).application()


class Simulator:
    """A simulated provider that listens while the context is open.

        async with Simulator(Simulation(), port=0) as simulator:
            simulator.url, simulator.ledger.billed_usd

    Args:
        simulation: What is simulated. None: the default.
        host: To listen on.
        port: To listen on; 0 picks a free one.

    Raises:
        UserError: The address cannot be listened on.
    """

    def __init__(self, simulation: Simulation | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.simulation = simulation or Simulation()
        self._host, self._port = host, port
        self._app = application(self.simulation)
        self._runner: web.AppRunner | None = None

    @property
    def ledger(self) -> ServerLedger:
        """The account, live."""
        return self._app[LEDGER]

    @property
    def url(self) -> str:
        """Where it listens: "http://127.0.0.1:40123"."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def openai_base(self) -> str:
        """The base URL for clients of OpenAI's format; vLLM's is the same."""
        return f"{self.url}/v1"

    @property
    def anthropic_base(self) -> str:
        """The base URL for clients of Anthropic's format, which add /v1/messages."""
        return self.url

    @property
    def gemini_base(self) -> str:
        """The base URL for clients of Gemini's format, which add /models/..."""
        return f"{self.url}/v1beta"

    async def __aenter__(self) -> Self:
        # The account is read in process or over HTTP; an access log would cost more than the request.
        runner = web.AppRunner(self._app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=2048).start()
        except OSError as error:
            await runner.cleanup()
            raise UserError(
                f"port {self._port} on {self._host}: cannot listen there ({error.strerror}); "
                "choose another, or 0 for any free one"
            ) from None
        self._port = runner.addresses[0][1]
        self._runner = runner
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


async def serve(
    simulation: Simulation,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Callable[[Simulator], None] | None = None,
) -> None:
    """Listen until cancelled.

    Args:
        simulation: What is simulated.
        host: To listen on.
        port: To listen on; 0 picks a free one.
        ready: Called once, when it listens.

    Raises:
        UserError: The address cannot be listened on.
    """
    async with Simulator(simulation, host, port) as simulator:
        if ready is not None:
            ready(simulator)
        await asyncio.get_running_loop().create_future()


class _Provider:
    """The state behind the routes."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.ledger = ServerLedger(simulation.price)
        self.gate = RateLimiter(simulation.limits)
        self.pictures = Pictures()
        self.credit_usd = None if simulation.credit_usd is None else exact(simulation.credit_usd)
        self.closing = asyncio.Event()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=LARGEST_BODY)
        app[LEDGER] = self.ledger
        app.router.add_post("/v1/chat/completions", partial(self.call, wire=OpenAI()))
        app.router.add_post("/v1/messages", partial(self.call, wire=Anthropic()))
        app.router.add_post("/v1beta/models/{model:[^/:]+}:generateContent", partial(self.call, wire=Gemini()))
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1beta/models", self.gemini_models)
        app.router.add_get("/ledger", self.show_ledger)
        app.router.add_post("/ledger/reset", self.reset_ledger)
        app.router.add_get("/health", self.health)
        app.on_shutdown.append(self.shut_down)
        return app

    async def call(self, request: web.Request, wire: Wire) -> web.StreamResponse:
        """Answer one call of the model."""
        ledger, simulation = self.ledger, self.simulation
        ledger.requests += 1
        stamp = f"{int(2**128 * faults.uniform('stamp', simulation.seed, ledger.requests)):032x}"
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self.turn_away(wire, Trouble("large"), stamp)
        key = wire.key(request.headers, request.query)
        if simulation.api_key is not None and key != simulation.api_key:
            return self.turn_away(wire, Trouble("key", key=key), stamp)
        try:
            body = orjson.loads(raw)
            if not isinstance(body, dict):
                raise RequestError("We could not parse the JSON body of your request: it is no object.")
            call = wire.read(body, request.match_info.get("model", ""), request.headers, self.pictures)
        except orjson.JSONDecodeError:
            return self.turn_away(wire, Trouble("bad", "We could not parse the JSON body of your request."), stamp)
        except RequestError as error:
            return self.turn_away(wire, Trouble("bad", str(error), error.parameter), stamp)
        if not simulation.any_model and call.model not in simulation.models:
            return self.turn_away(wire, Trouble("model", model=call.model), stamp)

        entry = ledger.see(call.digest)
        ledger.images.update(picture.id for picture in call.pictures)
        if simulation.max_concurrency is not None and ledger.in_flight >= simulation.max_concurrency:
            ledger.overloaded += 1
            return self.turn_away(wire, Trouble("overloaded", model=call.model), stamp)
        draft = self.draft(call, stamp)
        if (turned_away := self.limited(wire, call, draft)) is not None:
            return self.turn_away(wire, turned_away, stamp)
        fault = faults.draw(simulation.faults, simulation.fault_seed, call.digest, entry.seen)
        if fault is not None:
            ledger.fault(entry, fault)
        if fault in faults.UNBILLED:
            return self.fail(request, wire, call, fault, stamp)
        draft = _with_fault(draft, fault)
        cost_usd = ledger.cost_usd(draft.input_tokens, draft.output_tokens)
        if self.credit_usd is not None and ledger.billed_usd + cost_usd > self.credit_usd:
            return self.turn_away(wire, Trouble("quota", model=call.model), stamp)
        ledger.bill(entry, draft.input_tokens, draft.output_tokens)
        ledger.enter()
        try:
            if (latency_s := self.latency_s(call.digest, entry.seen)) > 0:
                await asyncio.sleep(latency_s)
            return await self.deliver(request, wire, call, draft, fault, entry)
        except asyncio.CancelledError:
            ledger.by_status["left"] += 1
            raise
        except ConnectionError:
            ledger.by_status["left"] += 1
            return web.Response()  # goes nowhere
        finally:
            ledger.leave()

    def draft(self, call: Call, stamp: str) -> Draft:
        """What the model says, within the call's output limit."""
        choices = []
        output_tokens = 0
        for place in range(call.choices):
            reply = scripted.respond(
                self.simulation.awareness,
                self.simulation.seed,
                texts=call.texts,
                image_id=call.pictures[-1].id if call.pictures else None,
                schema_name=call.schema_name,
                temperature=call.temperature,
                request_seed=call.seed,
                draw=place,
            )
            text, cut = scripted.within(reply.text, call.max_output_tokens)
            count = scripted.count_tokens(text)
            output_tokens += count
            choice = Choice(text, "length" if cut else "stop")
            if call.logprobs:
                logprobs = scripted.token_logprobs(reply, self.simulation.seed, count)
                choice = replace(choice, tokens=tuple(scripted.tokens(text)), logprobs=logprobs)
            choices.append(choice)
        return Draft(tuple(choices), call.input_tokens, output_tokens, stamp, int(time.time()))

    def limited(self, wire: Wire, call: Call, draft: Draft) -> Trouble | None:
        """What the limits have against the call; None if they let it in."""
        now = asyncio.get_running_loop().time()
        # OpenAI counts input and output against its one limit for tokens.
        counted = draft.input_tokens + (draft.output_tokens if wire.name == "openai" else 0)
        denied = self.gate.admit(now, counted, draft.output_tokens)
        if denied is None:
            return None
        self.ledger.limited += 1
        standing = self.gate.standings(now)[denied.limited]
        return Trouble("rate", model=call.model, retry_after_s=denied.retry_after_s, denied=denied, standing=standing)

    def fail(self, request: web.Request, wire: Wire, call: Call, fault: str | None, stamp: str) -> web.StreamResponse:
        """A fault before any processing."""
        match fault:
            case "disconnect":
                return self.cut(request)
            case "429":
                wait_s = self.simulation.retry_after_s
                return self.turn_away(wire, Trouble("rate", model=call.model, retry_after_s=wait_s), stamp)
            case "quota" | "500" | "503" | "529":
                return self.turn_away(wire, Trouble(fault, model=call.model), stamp)
            case _:
                raise AssertionError(fault)

    async def deliver(
        self, request: web.Request, wire: Wire, call: Call, draft: Draft, fault: str | None, entry: RequestEntry
    ) -> web.StreamResponse:
        """Send the draft, or what the fault makes of it."""
        if fault == "hang":
            await self.closing.wait()
        if fault in ("hang", "disconnect_after"):
            return self.cut(request)
        body = orjson.dumps(wire.reply(call, draft))
        headers = self.headers(wire, draft.stamp)
        if fault == "truncated_body":
            half = web.StreamResponse(headers=headers)
            half.content_type = "application/json"
            half.content_length = len(body)
            await half.prepare(request)
            await half.write(body[: len(body) // 2])
            self.cut(request)
            return half
        if fault == "garbage":
            body = b'{"id": "' + draft.stamp.encode() + b'", <html><body>upstream connect error</body></html>'
        response = web.Response(body=body, headers=headers, content_type="application/json")
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the client left")
        await response.prepare(request)
        await response.write_eof()  # here rather than by aiohttp, to count only what has left
        self.ledger.by_status["200"] += 1
        if fault is None or fault in faults.WHOLE:
            cost_usd = self.ledger.cost_usd(draft.input_tokens, draft.output_tokens)
            self.ledger.serve(entry, cost_usd, healthy=fault is None)
        return response

    def latency_s(self, digest: str, seen: int) -> float:
        """How long the `seen`-th arrival of a request takes."""
        latency = self.simulation.latency
        if isinstance(latency, Lognormal):
            return latency.quantile(faults.uniform("latency", self.simulation.seed, digest, seen))
        return latency

    def headers(self, wire: Wire, stamp: str) -> dict[str, str]:
        """The provider's headers: an id, and how the limits stand."""
        standings = self.gate.standings(asyncio.get_running_loop().time())
        return wire.headers(standings, time.time(), stamp)

    def turn_away(self, wire: Wire, trouble: Trouble, stamp: str) -> web.Response:
        """An error in the provider's words."""
        answer: Answer = wire.error(trouble, stamp)
        headers = {**self.headers(wire, stamp), **answer.headers}
        if trouble.kind == "rate" and trouble.retry_after_s is not None and wire.name != "gemini":
            headers |= retry_headers(self.simulation.retry_after, trouble.retry_after_s, time.time())
        self.ledger.by_status[str(answer.status)] += 1
        return web.Response(
            status=answer.status, body=orjson.dumps(answer.body), headers=headers, content_type="application/json"
        )

    def cut(self, request: web.Request) -> web.Response:
        """Close the connection; the response that comes back goes nowhere."""
        self.ledger.by_status["cut"] += 1
        if request.transport is not None:
            request.transport.close()
        return web.Response()

    async def models(self, request: web.Request) -> web.Response:
        """The model list: Anthropic's for a client that sends its version header, else OpenAI's."""
        names = self.simulation.models
        if "anthropic-version" in request.headers:
            listed = [
                {"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"}
                for name in names
            ]
            return _json({"data": listed, "has_more": False, "first_id": names[0], "last_id": names[-1]})
        data = [{"id": name, "object": "model", "created": 1735689600, "owned_by": "simulated"} for name in names]
        return _json({"object": "list", "data": data})

    async def gemini_models(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler's signature
        """Google's model list."""
        methods = ["generateContent"]
        names = self.simulation.models
        return _json({"models": [{"name": f"models/{name}", "supportedGenerationMethods": methods} for name in names]})

    async def show_ledger(self, request: web.Request) -> web.Response:
        """The account; `?requests=0` leaves out the single requests."""
        return _json(
            {"totals": self.ledger.totals()} if request.query.get("requests") == "0" else self.ledger.as_json()
        )

    async def reset_ledger(self, request: web.Request) -> web.Response:  # noqa: ARG002
        self.ledger.reset()
        return _json({"totals": self.ledger.totals()})

    async def health(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return _json({"status": "ok", "simulated": True, "models": list(self.simulation.models)})

    async def shut_down(self, app: web.Application) -> None:  # noqa: ARG002
        self.closing.set()


def _with_fault(draft: Draft, fault: str | None) -> Draft:
    """The draft with a fault of content: what it says and what it costs change."""
    match fault:
        case "safety":
            return replace(draft, choices=(Choice("", "safety"),), output_tokens=0)
        case "empty":
            return replace(draft, choices=(Choice("", "empty"),), output_tokens=0)
        case "refusal":
            return replace(draft, choices=(Choice(REFUSAL, "refusal"),), output_tokens=scripted.count_tokens(REFUSAL))
        case "length":
            choices = []
            for choice in draft.choices:
                half = max(1, scripted.count_tokens(choice.text) // 2)
                text, _ = scripted.within(choice.text, half)
                tokens = tuple(scripted.tokens(text)) if choice.tokens else ()
                choices.append(Choice(text, "length", tokens, choice.logprobs[: len(tokens)]))
            total = sum(scripted.count_tokens(choice.text) for choice in choices)
            return replace(draft, choices=tuple(choices), output_tokens=total)
        case _:
            return draft


def _json(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
