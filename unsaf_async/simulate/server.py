"""The simulated provider on a socket: one model, one account, three wire formats.

    body ─► key ─► format ─► model ─► ceiling ─► limits ─► fault? ─► bill ─► latency ─► reply, or what a fault makes of it

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
from unsaf_async.simulate import faults, schemas
from unsaf_async.simulate import model as scripted
from unsaf_async.simulate.admission import OWN, Admission
from unsaf_async.simulate.anthropic import Anthropic
from unsaf_async.simulate.batches import routes_of
from unsaf_async.simulate.batches.jobs import Batches, Row
from unsaf_async.simulate.gemini import Gemini
from unsaf_async.simulate.ledger import RequestEntry, ServerLedger
from unsaf_async.simulate.limits import RateLimiter
from unsaf_async.simulate.listening import listening
from unsaf_async.simulate.openai import Azure, OpenAI
from unsaf_async.simulate.pictures import Pictures
from unsaf_async.simulate.prompt_cache import PromptCaches, Use
from unsaf_async.simulate.settings import Lognormal, Simulation, exact
from unsaf_async.simulate.wire import (
    REFUSAL,
    Answer,
    Call,
    Choice,
    Draft,
    Finish,
    RequestError,
    Trouble,
    Wire,
    retry_headers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from fractions import Fraction
    from types import TracebackType

LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a request body; a larger one gets the provider's 413."""

THOUGHTS = "The question is about the image. I compare what it asks with what the image shows, and then I reply."
"""What the model thinks, where it is to think."""

UNSURE = "[THINK]I cannot tell.[/THINK]"
"""What the fault "think" puts before a reply."""

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
        self._listening: AbstractAsyncContextManager[int] | None = None

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
        self._listening = listening(self._app, self._host, self._port)
        try:
            self._port = await self._listening.__aenter__()
        except OSError as error:
            raise UserError(
                f"port {self._port} on {self._host}: cannot listen there ({error.strerror}); "
                "choose another, or 0 for any free one"
            ) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listening is not None:
            await self._listening.__aexit__(None, None, None)
            self._listening = None


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
        self.admission = Admission(simulation)
        self.caches = PromptCaches(simulation.cache_price, exact(simulation.price[0]), simulation.cache_lifetime_s)
        self.credit_usd = None if simulation.credit_usd is None else exact(simulation.credit_usd)
        self.closing = asyncio.Event()
        self.batches = Batches(simulation.batches, simulation.fault_seed, self.ledger, self.process)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=LARGEST_BODY)
        app[LEDGER] = self.ledger
        openai, azure, anthropic, gemini = OpenAI(), Azure(), Anthropic(), Gemini()
        router = app.router
        router.add_post("/v1/chat/completions", partial(self.call, wire=openai))
        router.add_post("/openai/v1/chat/completions", partial(self.call, wire=azure))
        router.add_post("/openai/deployments/{model:[^/]+}/chat/completions", partial(self.call, wire=azure))
        router.add_post("/v1/messages", partial(self.call, wire=anthropic))
        for version in ("v1beta", "v1"):  # Google's SDK calls v1 from its version 3 on
            for method in ("generateContent", "streamGenerateContent"):
                path = f"/{version}/models/{{model:[^/:]+}}:{{method:{method}}}"
                router.add_post(path, partial(self.call, wire=gemini))
        router.add_routes(routes_of(self))
        for path in ("/v1/models", "/v1beta/models", "/openai/v1/models"):
            router.add_get(path, self.models)
            router.add_get(f"{path}/{{model:.+}}", self.models)
        app.router.add_get("/ledger", self.show_ledger)
        app.router.add_post("/ledger/reset", self.reset_ledger)
        app.router.add_get("/health", self.health)
        app.on_shutdown.append(self.shut_down)
        return app

    async def call(self, request: web.Request, wire: Wire) -> web.StreamResponse:
        """Answer one call of the model."""
        ledger, simulation = self.ledger, self.simulation
        ledger.requests += 1
        stamp = self.stamp()
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self.turn_away(wire, Trouble("large"), stamp)
        if (kept_out := self.kept_out(request, wire)) is not None:
            return self.turn_away(wire, kept_out, stamp)
        try:
            body = orjson.loads(raw)
            if not isinstance(body, dict):
                raise RequestError("We could not parse the JSON body of your request: it is no object.")
            call = wire.read(body, request.match_info.get("model", ""), request.headers, self.pictures)
            if request.match_info.get("method") == "streamGenerateContent":
                call = replace(call, stream=True)
        except orjson.JSONDecodeError:
            return self.turn_away(wire, Trouble("bad", "We could not parse the JSON body of your request."), stamp)
        except RequestError as error:
            return self.turn_away(wire, Trouble("bad", str(error), error.parameter), stamp)
        if (refused := self.admission.trouble(wire.vendor, call)) is not None:
            return self.turn_away(wire, refused, stamp)

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
        visit = self.caches.visit(wire.vendor, call, asyncio.get_running_loop().time())
        draft = _with_use(_with_fault(draft, fault), visit.use)
        saved_usd = self.caches.saved_usd(visit.use)
        cost_usd = ledger.cost_usd(draft.input_tokens, draft.output_tokens) - saved_usd
        if self.credit_usd is not None and ledger.billed_usd + cost_usd > self.credit_usd:
            return self.turn_away(wire, Trouble("quota", model=call.model), stamp)
        ledger.bill(entry, draft.input_tokens, draft.output_tokens)
        ledger.take_off(entry, draft.cached_tokens, draft.written_tokens + draft.written_1h_tokens, saved_usd)
        ledger.enter()
        try:
            if (latency_s := self.latency_s(call.digest, entry.seen)) > 0:
                await asyncio.sleep(latency_s)
            self.caches.keep(visit, asyncio.get_running_loop().time())
            return await self.deliver(request, wire, call, draft, fault, entry, cost_usd)
        except asyncio.CancelledError:
            ledger.by_status["left"] += 1
            raise
        except ConnectionError:
            ledger.by_status["left"] += 1
            return web.Response()  # goes nowhere
        finally:
            ledger.leave()

    def process(self, wire: Wire, row: Row) -> None:
        """Answer and bill one row of a batch, as the same request online would be."""
        call, batches, simulation = row.asks, self.batches, self.simulation
        assert isinstance(call, Call)
        assert row.request is not None
        trouble = self.admission.trouble(wire.vendor, call)
        if batches.struck("row_500", row.stamp):
            trouble = Trouble("500", model=call.model)
        elif batches.struck("row_400", row.stamp):
            trouble = Trouble("bad", "The request could not be processed.")
        fault = faults.draw(simulation.faults, simulation.fault_seed, call.digest, row.seen)
        match fault:
            case "429":
                trouble = trouble or Trouble("rate", model=call.model)
            case "quota" | "policy" | "500" | "503" | "529":
                trouble = trouble or Trouble(fault, model=call.model)
        draft = _with_fault(self.draft(call, row.stamp), fault)
        share = exact(simulation.batches.price_share)
        cost_usd = self.ledger.cost_usd(draft.input_tokens, draft.output_tokens) * share
        if trouble is None and self.credit_usd is not None and self.ledger.billed_usd + cost_usd > self.credit_usd:
            trouble = Trouble("quota", model=call.model)
        if trouble is not None:
            row.answer = wire.error(trouble, row.stamp)
            row.state = "errored" if row.answer.status >= 400 else "succeeded"
            return
        row.answer, row.state = Answer(200, wire.reply(call, draft)), "succeeded"
        row.entry.input_tokens, row.entry.output_tokens = draft.input_tokens, draft.output_tokens
        row.entry.billed_usd = self.ledger.bill(row.request, draft.input_tokens, draft.output_tokens, share)
        self.ledger.serve(row.request, row.entry.billed_usd, healthy=fault not in faults.WHOLE)

    def stamp(self) -> str:
        """Hexadecimal digits for the ids of an answer."""
        return f"{int(2**128 * faults.uniform('stamp', self.simulation.seed, self.ledger.requests)):032x}"

    def kept_out(self, request: web.Request, wire: Wire) -> Trouble | None:
        """Why a request is let in at no account; None if it is."""
        deployment = request.path.startswith("/openai/deployments/")
        if deployment and "api-version" not in request.query:
            return Trouble("version")
        key = wire.key(request.headers, request.query)
        if self.simulation.api_key is None or key == self.simulation.api_key:
            return None
        if wire.name == "azure" and "api-key" not in request.headers and key is not None:
            return Trouble("token")
        return Trouble("key", key=key)

    def draft(self, call: Call, stamp: str) -> Draft:
        """What the model says, within the call's output limit."""
        choices = []
        thoughts, room = (THOUGHTS if call.thinks else ""), call.max_output_tokens
        if thoughts and room is not None:
            thoughts, _ = scripted.within(thoughts, room)
            room -= scripted.count_tokens(thoughts)
        output_tokens = thought_tokens = scripted.count_tokens(thoughts)
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
            if call.schema is not None:
                reply = replace(reply, text=_as_json(reply.text, call.schema))
            text, cut = scripted.within(reply.text, room)
            count = scripted.count_tokens(text)
            output_tokens += count
            choice = Choice(text, "length" if cut else "stop")
            if call.logprobs:
                logprobs = scripted.token_logprobs(reply, self.simulation.seed, count)
                choice = replace(choice, tokens=tuple(scripted.tokens(text)), logprobs=logprobs)
            choices.append(choice)
        model = self.simulation.substitute.get(call.model, call.model)
        return Draft(
            tuple(choices),
            call.input_tokens,
            output_tokens,
            stamp,
            created=int(time.time()),
            model=model,
            thoughts=thoughts,
            thought_tokens=thought_tokens,
        )

    def limited(self, wire: Wire, call: Call, draft: Draft) -> Trouble | None:
        """What the limits have against the call; None if they let it in."""
        now = asyncio.get_running_loop().time()
        # OpenAI counts input and output against its one limit for tokens.
        counted = draft.input_tokens + (draft.output_tokens if wire.vendor == "openai" else 0)
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
            case "quota" | "policy" | "500" | "503" | "529":
                return self.turn_away(wire, Trouble(fault, model=call.model), stamp)
            case _:
                raise AssertionError(fault)

    async def deliver(
        self,
        request: web.Request,
        wire: Wire,
        call: Call,
        draft: Draft,
        fault: str | None,
        entry: RequestEntry,
        cost_usd: Fraction,
    ) -> web.StreamResponse:
        """Send the draft, which costs so much, or what the fault makes of it."""
        if fault == "hang":
            await self.closing.wait()
        if fault in ("hang", "disconnect_after"):
            return self.cut(request)
        streamed = call.stream or fault == "sse"
        body = wire.events(call, draft) if streamed else orjson.dumps(wire.reply(call, draft))
        content_type = "text/event-stream" if streamed else "application/json"
        headers = self.headers(wire, draft.stamp)
        if fault == "truncated_body":
            half = web.StreamResponse(headers=headers)
            half.content_type = content_type
            half.content_length = len(body)
            await half.prepare(request)
            await half.write(body[: len(body) // 2])
            self.cut(request)
            return half
        if fault == "garbage":
            body = b'{"id": "' + draft.stamp.encode() + b'", <html><body>upstream connect error</body></html>'
        response = web.Response(body=body, headers=headers, content_type=content_type)
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the client left")
        await response.prepare(request)
        await response.write_eof()  # here rather than by aiohttp, to count only what has left
        self.ledger.by_status["200"] += 1
        if fault is None or fault in faults.WHOLE:
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
        """An error in the provider's words, as the answer to a call."""
        response = self.told(wire, trouble, stamp)
        self.ledger.by_status[str(response.status)] += 1
        return response

    def told(self, wire: Wire, trouble: Trouble, stamp: str) -> web.Response:
        """An error in the provider's words."""
        answer: Answer = wire.error(trouble, stamp)
        headers = {**self.headers(wire, stamp), **answer.headers}
        if trouble.kind == "rate" and trouble.retry_after_s is not None and wire.name != "gemini":
            headers |= retry_headers(self.simulation.retry_after, trouble.retry_after_s, time.time())
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
        """The list of models, or the one that is asked for. On /v1 the vendor is told by its headers."""
        wire: Wire
        if request.path.startswith("/openai/"):
            wire = Azure()
        elif request.path.startswith("/v1beta/") or "x-goog-api-key" in request.headers:
            wire = Gemini()
        else:
            wire = Anthropic() if "anthropic-version" in request.headers else OpenAI()
        stamp = self.stamp()
        if (kept_out := self.kept_out(request, wire)) is not None:
            return self.told(wire, kept_out, stamp)
        names = self.admission.names(wire.vendor)
        model = request.match_info.get("model")
        if model is None:
            return _json(wire.listing(names, request.query), self.headers(wire, stamp))
        if model not in names:
            return self.told(wire, Trouble("listed", model=model), stamp)
        return _json(wire.card(model), self.headers(wire, stamp))

    async def show_ledger(self, request: web.Request) -> web.Response:
        """The account; `?requests=0` leaves out the single requests."""
        return _json(
            {"totals": self.ledger.totals()} if request.query.get("requests") == "0" else self.ledger.as_json()
        )

    async def reset_ledger(self, request: web.Request) -> web.Response:  # noqa: ARG002
        self.ledger.reset()
        return _json({"totals": self.ledger.totals()})

    async def health(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return _json({"status": "ok", "simulated": True, "models": list(self.simulation.models or (OWN,))})

    async def shut_down(self, app: web.Application) -> None:  # noqa: ARG002
        self.closing.set()
        await self.batches.close()


def _with_use(draft: Draft, use: Use) -> Draft:
    """The draft with what its request read from a cache of prompts and wrote into it."""
    return replace(draft, cached_tokens=use.read, written_tokens=use.written, written_1h_tokens=use.written_1h)


def _with_fault(draft: Draft, fault: str | None) -> Draft:
    """The draft with a fault of content: what it says and what it costs change."""
    match fault:
        case "safety" | "empty":
            return replace(draft, choices=(Choice("", fault),), output_tokens=0, thoughts="", thought_tokens=0)
        case "refusal":
            said = Choice(REFUSAL, "refusal")
            count = scripted.count_tokens(REFUSAL)
            return replace(draft, choices=(said,), output_tokens=count, thoughts="", thought_tokens=0)
        case "think":
            return _with_choices(draft, [_unsure(choice) for choice in draft.choices])
        case "length" | "abort" | "error" | "repetition" | "sensitive":
            return _with_choices(draft, [_halved(choice, fault) for choice in draft.choices])
        case _:
            return draft


def _with_choices(draft: Draft, choices: list[Choice]) -> Draft:
    total = sum(scripted.count_tokens(choice.text) for choice in choices)
    return replace(draft, choices=tuple(choices), output_tokens=draft.thought_tokens + total)


def _halved(choice: Choice, finish: Finish) -> Choice:
    half = max(1, scripted.count_tokens(choice.text) // 2)
    text, _ = scripted.within(choice.text, half)
    tokens = tuple(scripted.tokens(text)) if choice.tokens else ()
    return Choice(text, finish, tokens, choice.logprobs[: len(tokens)])


def _unsure(choice: Choice) -> Choice:
    """The choice with an abstention in tags before it."""
    before = tuple(scripted.tokens(UNSURE)) if choice.tokens else ()
    text, tokens, logprobs = UNSURE + choice.text, before + choice.tokens, (-0.01,) * len(before) + choice.logprobs
    return replace(choice, text=text, tokens=tokens, logprobs=logprobs)


def _as_json(text: str, schema: object) -> str:
    """A reply's text as JSON that satisfies a schema: as it is, if it does."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    if isinstance(value, dict | list) and schemas.satisfies(value, schema):
        return text
    return orjson.dumps(schemas.example(schema, text) if schema else {"response": text}).decode()


def _json(body: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), headers=headers, content_type="application/json")
