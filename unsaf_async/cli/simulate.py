"""`simulate`: the scripted model on a socket, in the vendors' own wire formats."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from unsaf_async.simulate import Simulation, Simulator


def simulate(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.")] = 8787,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="Of the model's choices.")] = 0,
    latency: Annotated[
        str, typer.Option(help="Seconds a reply takes: a constant, or P50,P99 of a lognormal distribution.")
    ] = "0.2",
    rpm: Annotated[float | None, typer.Option(help="Requests per minute let in.")] = None,
    burst: Annotated[float | None, typer.Option(help="Requests let in at once. Default: a minute's worth.")] = None,
    tpm: Annotated[float | None, typer.Option(help="Input tokens per minute let in.")] = None,
    max_concurrency: Annotated[int | None, typer.Option(help="Calls processed at once; one more is overload.")] = None,
    price: Annotated[str, typer.Option(help='USD per million tokens, "IN,OUT".')] = "0,0",
    fault: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PROBABILITY, e.g. 500=0.05 or disconnect_after=0.02; may be repeated."),
    ] = None,
    fault_seed: Annotated[int, typer.Option(help="Of the faults.")] = 0,
    awareness: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PROBABILITY of the simulated model, e.g. abstain_unanswerable=0.6; may be repeated."),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Model id that /v1/models lists; may be repeated.")] = None,
    key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable with the only key that is let in. Default: everybody is."),
    ] = None,
) -> int:
    """Serve the simulated model as OpenAI, Anthropic and Gemini would, with limits, faults and a bill. For rehearsals."""
    from unsaf_async.scripted import Awareness
    from unsaf_async.simulate import Limits, Simulation
    from unsaf_async.simulate.settings import Lognormal

    seconds = _numbers("--latency", latency, (1, 2))
    rates = _numbers("--price", price, (2,))
    simulation = Simulation(
        awareness=Awareness(**_pairs("--awareness", awareness, _fields(Awareness))),
        seed=seed,
        latency=Lognormal(*seconds) if len(seconds) == 2 else seconds[0],
        limits=Limits(requests_per_minute=rpm, burst=burst, input_tokens_per_minute=tpm),
        max_concurrency=max_concurrency,
        faults=_pairs("--fault", fault, None),
        fault_seed=fault_seed,
        price=(rates[0], rates[1]),
        api_key=_key(key_env),
        models=tuple(model) if model else ("simulated",),
    )
    asyncio.run(_serve(simulation, host, port))
    return 0


async def _serve(simulation: Simulation, host: str, port: int) -> None:
    from unsaf_async.simulate import serve

    def ready(simulator: Simulator) -> None:
        sys.stdout.write(
            f"listening on {simulator.url} (a simulated model; Ctrl-C ends it)\n"
            f"  OpenAI, vLLM  --api-base {simulator.openai_base}\n"
            f"  Claude        --api-base {simulator.anthropic_base}\n"
            f"  Gemini        --api-base {simulator.gemini_base}\n"
            f"  its account   {simulator.url}/ledger\n"
        )
        sys.stdout.flush()

    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        except NotImplementedError:  # Windows: KeyboardInterrupt ends it
            break
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


def _pairs(option: str, texts: list[str] | None, known: list[str] | None) -> dict[str, float]:
    from unsaf_async.errors import UserError

    pairs: dict[str, float] = {}
    for text in texts or ():
        name, _, value = text.partition("=")
        try:
            pairs[name] = float(value)
        except ValueError:
            raise UserError(f"{option} is {text!r}; give NAME=PROBABILITY, such as 500=0.05") from None
        if known is not None and name not in known:
            raise UserError(f"{option} names {name!r}; choose from {', '.join(known)}")
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
