"""`simulate`: the scripted model on a socket, in the vendors' own wire formats."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from unsaf_async.cli import options as o
from unsaf_async.cli.signals import cancel_on

if TYPE_CHECKING:
    from unsaf_async.simulate.server import Simulator
    from unsaf_async.simulate.settings import Simulation


def simulate(
    port: Annotated[
        int, typer.Option(parser=o.whole, metavar="N", help="Port to listen on; 0 picks a free one.")
    ] = 8787,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Of the model's choices.")] = 0,
    latency: Annotated[
        str,
        typer.Option(
            metavar="S|P50,P99", help="Seconds a reply takes: a constant, or P50,P99 of a lognormal distribution."
        ),
    ] = "0.2",
    rpm: Annotated[float | None, typer.Option(parser=o.number, metavar="N", help="Requests per minute let in.")] = None,
    burst: Annotated[
        float | None,
        typer.Option(parser=o.number, metavar="N", help="Requests let in at once. Default: a minute's worth."),
    ] = None,
    tpm: Annotated[
        float | None, typer.Option(parser=o.number, metavar="N", help="Input tokens per minute let in.")
    ] = None,
    max_concurrency: Annotated[
        int | None, typer.Option(parser=o.whole, metavar="N", help="Calls processed at once; one more is overload.")
    ] = None,
    price: Annotated[str, typer.Option(metavar="IN,OUT", help="USD per million tokens.")] = "0,0",
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=P", help="A fault and its probability, such as 500=0.05; may be repeated."),
    ] = None,
    fault_seed: Annotated[int, typer.Option(parser=o.whole, metavar="N", help="Of the faults.")] = 0,
    awareness: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=P",
            help="A probability of the simulated model, such as abstain_unanswerable=0.6; may be repeated.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Model id that /v1/models lists; may be repeated.")
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE", help="Environment variable with the only key that is let in. Default: everybody is."
        ),
    ] = None,
) -> int:
    """Serve the simulated model as OpenAI, Anthropic and Gemini would, with limits, faults and a bill. For rehearsals."""
    import asyncio

    from unsaf_async.errors import UserError
    from unsaf_async.simulate.faults import FAULTS
    from unsaf_async.simulate.model import Awareness
    from unsaf_async.simulate.settings import Lognormal, ServerLimits, Simulation

    if not 0 <= port <= 65535:
        raise UserError(f"--port is {port}; give a port from 1 to 65535, or 0 for any free one")
    for option, value in (("--rpm", rpm), ("--burst", burst), ("--tpm", tpm), ("--max-concurrency", max_concurrency)):
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"{option} is {value:g}; give a number above 0, or leave it out for no limit")
    if "" in (model or ()):
        raise UserError("--model is empty; give a model's id, or leave it out")
    seconds = _numbers("--latency", latency, (1, 2))
    rates = _numbers("--price", price, (2,))
    simulation = Simulation(
        awareness=Awareness(**_pairs("--awareness", awareness, _fields(Awareness))),
        seed=seed,
        latency=Lognormal(*seconds) if len(seconds) == 2 else seconds[0],
        limits=ServerLimits(requests_per_minute=rpm, burst=burst, input_tokens_per_minute=tpm),
        max_concurrency=max_concurrency,
        faults=_pairs("--fault", fault, list(FAULTS)),
        fault_seed=fault_seed,
        price=(rates[0], rates[1]),
        api_key=_key(key_env),
        models=tuple(model) if model else ("simulated",),
    )
    asyncio.run(_serve(simulation, host, port))
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


def _numbers(option: str, text: str, counts: tuple[int, ...]) -> list[float]:
    from unsaf_async.errors import UserError

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts or not all(0 <= number < float("inf") for number in numbers):
        wanted = " or ".join(str(count) for count in counts)
        raise UserError(f"{option} is {text!r}; give {wanted} number(s) of 0 or more, separated by a comma")
    return numbers


def _pairs(option: str, texts: list[str] | None, known: list[str]) -> dict[str, float]:
    from unsaf_async.errors import UserError

    pairs: dict[str, float] = {}
    for text in texts or ():
        name, _, value = text.partition("=")
        if name not in known:
            raise UserError(f"{option} names {name!r}; choose from {', '.join(known)}")
        try:
            pairs[name] = float(value)
        except ValueError:
            pairs[name] = -1.0
        if not 0 <= pairs[name] <= 1:
            raise UserError(f"{option} is {text!r}; give a probability between 0 and 1, such as {name}=0.05")
    return pairs


def _fields(awareness: type) -> list[str]:
    from dataclasses import fields

    return [field.name for field in fields(awareness)]


def _key(variable: str | None) -> str | None:
    from unsaf_async.errors import UserError

    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise UserError(f"--key-env {variable}: the variable is not set; put a key into it")
    return key
