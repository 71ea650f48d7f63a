"""`simulate`: the scripted model on a socket, in the vendors' own wire formats."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.interrupts import cancel_on
from unsaf_async.cli.options import check_port
from unsaf_async.errors import UserError
from unsaf_async.help import Help

if TYPE_CHECKING:
    from unsaf_async.simulate.server import Simulator
    from unsaf_async.simulate.settings import BatchRules, Simulation

ADDRESS = "Address"
MODEL = "What is simulated"
LIMITS = "Limits"
FAULTS = "Faults"
BATCHES = "Batches"


@dataclass(frozen=True)
class SimulationOptions:
    """What is simulated, as a user writes it."""

    seed: Annotated[int, Help("Of the model's choices.", metavar="N", panel=MODEL)] = 0
    latency: Annotated[
        str,
        Help(
            "Seconds a reply takes: a constant, or P50,P99 of a lognormal distribution.",
            metavar="S|P50,P99",
            panel=MODEL,
        ),
    ] = "0.2"
    rpm: Annotated[float | None, Help("Requests per minute let in.", metavar="N", panel=LIMITS)] = None
    burst: Annotated[
        float | None, Help("Requests let in at once. Default: a minute's worth.", metavar="N", panel=LIMITS)
    ] = None
    tpm: Annotated[float | None, Help("Input tokens per minute let in.", metavar="N", panel=LIMITS)] = None
    max_concurrency: Annotated[
        int | None, Help("Calls processed at once; one more is overload.", metavar="N", panel=LIMITS)
    ] = None
    price: Annotated[str, Help("USD per million tokens.", metavar="IN,OUT", panel=MODEL)] = "0,0"
    cache_price: Annotated[
        str | None,
        Help(
            "USD per million tokens that the cache of prompts is read, written, and written for an hour. Default: no cache.",
            metavar="READ,WRITE,HOUR",
            panel=MODEL,
        ),
    ] = None
    fault: Annotated[
        tuple[str, ...],
        Help("A fault and its probability, such as 500=0.05; may be repeated.", metavar="NAME=P", panel=FAULTS),
    ] = ()
    fault_seed: Annotated[int, Help("Of the faults.", metavar="N", panel=FAULTS)] = 0
    awareness: Annotated[
        tuple[str, ...],
        Help(
            "A probability of the simulated model, such as abstain_unanswerable=0.6; may be repeated.",
            metavar="NAME=P",
            panel=MODEL,
        ),
    ] = ()
    model: Annotated[
        tuple[str, ...],
        Help(
            'A model that there is; others are unknown. May be repeated. Default: "simulated", and the vendors\' known models.',
            metavar="ID",
            panel=MODEL,
        ),
    ] = ()
    any_model: Annotated[bool, Help("Answer to every model's name, known or not.", panel=MODEL)] = False
    refuse: Annotated[
        tuple[str, ...],
        Help("A parameter that every model refuses, such as seed; may be repeated.", metavar="NAME", panel=FAULTS),
    ] = ()
    substitute: Annotated[
        tuple[str, ...],
        Help("Model B answers for A, and the reply says so; may be repeated.", metavar="A=B", panel=FAULTS),
    ] = ()
    expire: Annotated[
        tuple[str, ...],
        Help(
            "A model is retired: at once, after N requests, or from a moment on (ISO 8601 with its zone); may be repeated.",
            metavar="ID[=N|=TIME]",
            panel=FAULTS,
        ),
    ] = ()
    stream_only: Annotated[bool, Help("Refuse OpenAI requests that ask for no stream.", panel=FAULTS)] = False
    key_env: Annotated[
        str | None,
        Help(
            "Environment variable with the only key that is let in. Default: everybody is.",
            metavar="VARIABLE",
            panel=LIMITS,
        ),
    ] = None
    batch_delay: Annotated[
        str,
        Help(
            "Seconds from a batch's first row to its last, or those of its three steps.",
            metavar="S|VALIDATE,WORK,FINALIZE",
            panel=BATCHES,
        ),
    ] = "2"
    batch_window: Annotated[
        float | None,
        Help("Seconds after which a batch expires. Default: the vendor's 24 or 48 hours.", metavar="S", panel=BATCHES),
    ] = None
    batch_limit: Annotated[
        tuple[str, ...],
        Help(
            "A limit of batches: enqueued_tokens, enqueued_requests, open_batches, max_rows or max_bytes; may be repeated.",
            metavar="NAME=N",
            panel=BATCHES,
        ),
    ] = ()
    batch_fault: Annotated[
        tuple[str, ...],
        Help(
            "A fault of batches and its probability, such as row_expired=0.1; may be repeated.",
            metavar="NAME=P",
            panel=BATCHES,
        ),
    ] = ()

    def simulation(self) -> Simulation:
        """What is simulated. Raises UserError for a value that makes no sense."""
        from unsaf_async.simulate import faults
        from unsaf_async.simulate.model import Awareness
        from unsaf_async.simulate.settings import CachePrice, Lognormal, ServerLimits, Simulation

        for name in ("rpm", "burst", "tpm", "max_concurrency"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"is {value:g}; give a number above 0, or leave it out for no limit", name)
        if "" in self.model:
            raise UserError("is empty; give a model's id, or leave it out", "model")
        seconds = _numbers("latency", self.latency, (1, 2))
        rates = _numbers("price", self.price, (2,))
        return Simulation(
            awareness=Awareness(**_pairs("awareness", self.awareness, [each.name for each in fields(Awareness)])),
            seed=self.seed,
            latency=Lognormal(*seconds) if len(seconds) == 2 else seconds[0],
            limits=ServerLimits(requests_per_minute=self.rpm, burst=self.burst, input_tokens_per_minute=self.tpm),
            max_concurrency=self.max_concurrency,
            faults=_pairs("fault", self.fault, list(faults.FAULTS)),
            fault_seed=self.fault_seed,
            price=(rates[0], rates[1]),
            cache_price=CachePrice(*_numbers("cache_price", self.cache_price, (3,))) if self.cache_price else None,
            api_key=_key(self.key_env),
            models=self.model or None,
            any_model=self.any_model,
            refuse=self.refuse,
            substitute=_substitutes(self.substitute),
            expire=dict(_expiry(text) for text in self.expire),
            stream_only=self.stream_only,
            batches=self._batches(),
        )

    def _batches(self) -> BatchRules:
        from unsaf_async.simulate import faults
        from unsaf_async.simulate.settings import BatchRules

        if self.batch_window is not None and not 0 < self.batch_window < float("inf"):
            raise UserError(f"is {self.batch_window:g}; give seconds above 0, or leave it out", "batch_window")
        limits = _limits(self.batch_limit)
        seconds = _numbers("batch_delay", self.batch_delay, (1, 3))
        validate_s, work_s, finalize_s = seconds if len(seconds) == 3 else (0.1, *seconds, 0.1)
        return BatchRules(
            validate_s=validate_s,
            work_s=work_s,
            finalize_s=finalize_s,
            window_s=self.batch_window,
            faults=_pairs("batch_fault", self.batch_fault, list(faults.BATCH_FAULTS)),
            enqueued_tokens=limits.get("enqueued_tokens"),
            enqueued_requests=limits.get("enqueued_requests"),
            open_batches=limits.get("open_batches"),
            max_rows=limits.get("max_rows"),
            max_bytes=limits.get("max_bytes"),
        )


@from_fields()
def simulate(
    options: SimulationOptions,
    port: Annotated[int, Help("Port to listen on; 0 picks a free one.", metavar="N", panel=ADDRESS)] = 8787,
    host: Annotated[str, Help("Address to listen on.", metavar="ADDRESS", panel=ADDRESS)] = "127.0.0.1",
) -> int:
    """Serve the simulated model, to rehearse paid runs. As OpenAI, Anthropic and Gemini would, with limits, faults and a bill."""
    import asyncio

    check_port(port)
    asyncio.run(_serve(options.simulation(), host, port))
    return 0


async def _serve(simulation: Simulation, host: str, port: int) -> None:
    import asyncio

    from unsaf_async.simulate.server import serve

    def ready(simulator: Simulator) -> None:
        sys.stdout.write(
            f"listening on {simulator.url} (a simulated model; Ctrl-C ends it)\n"
            f"  OpenAI, vLLM  --api-base {simulator.openai_base}\n"
            f"  Claude        --api-base {simulator.anthropic_base}\n"
            f"  Gemini        --api-base {simulator.gemini_base}\n"
            f"  its account   {simulator.url}/ledger\n"
        )
        sys.stdout.flush()

    cancel_on()
    try:
        await serve(simulation, host, port, ready)
    except asyncio.CancelledError:
        sys.stdout.write("ended\n")


def _numbers(field: str, text: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts or not all(0 <= number < float("inf") for number in numbers):
        expected = " or ".join(str(count) for count in counts)
        raise UserError(f"is {text!r}; give {expected} number(s) of 0 or more, separated by a comma", field)
    return numbers


def _pairs(field: str, texts: Sequence[str], known: list[str]) -> dict[str, float]:
    pairs: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            raise UserError(f"names {name!r}; choose from {', '.join(known)}", field)
        try:
            pairs[name] = float(value)
        except ValueError:
            pairs[name] = -1.0
        if not 0 <= pairs[name] <= 1:
            raise UserError(f"is {text!r}; give a probability between 0 and 1, such as {name}=0.05", field)
    return pairs


def _limits(texts: Sequence[str]) -> dict[str, int]:
    known = ("enqueued_tokens", "enqueued_requests", "open_batches", "max_rows", "max_bytes")
    limits: dict[str, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            raise UserError(f"names {name!r}; choose from {', '.join(known)}", "batch_limit")
        if not value.isdecimal() or int(value) == 0:
            raise UserError(f"is {text!r}; give a whole number above 0, such as {name}=100", "batch_limit")
        limits[name] = int(value)
    return limits


def _substitutes(texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        model, _, other = text.partition("=")
        if not model or not other:
            raise UserError(
                f"is {text!r}; give two models' ids, such as gemini-2.5-flash=gemini-3.5-flash", "substitute"
            )
        pairs[model] = other
    return pairs


def _expiry(text: str) -> tuple[str, int | datetime]:
    """The model and its end. Raises UserError."""
    model, _, end = text.partition("=")
    try:
        until = int(end or 0) if not end or end.isdecimal() else datetime.fromisoformat(end)
    except ValueError:
        until = -1
    if not model or until == -1 or (isinstance(until, datetime) and until.tzinfo is None):
        raise UserError(
            f"is {text!r}; give a model's id, and a number of requests or a moment with its zone, such as "
            "gpt-4o=100 or gpt-4o=2027-01-14T00:00:00Z",
            "expire",
        )
    return model, until


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise UserError(f"{variable}: the variable is not set; put a key into it", "key_env")
    return key
