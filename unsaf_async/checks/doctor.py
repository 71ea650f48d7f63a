"""A live look at one model: a handful of tiny calls, one per thing that the engine would like to rely on.

Its calls leave through the same layers as a run's: reserved, paced, entered in the ledger. Nothing is cached, since the point
is to see.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from unsaf_async.calls.budget import NANO
from unsaf_async.calls.cost import CostModel, price_or_error
from unsaf_async.calls.rate_headers import learned_limits
from unsaf_async.calls.request import RequestBuilder
from unsaf_async.calls.retried import Retried, RetryPolicy
from unsaf_async.calls.same_model import is_same_model
from unsaf_async.calls.session import Session
from unsaf_async.errors import CallError, Fatal, Rejected, as_option
from unsaf_async.examine.parse import verdict
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImagePolicy
from unsaf_async.prompts import VERDICT, load_pack
from unsaf_async.records import Message, Reply, Request, Sampling
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from unsaf_async.calls.budget import ImageBudget
    from unsaf_async.calls.provider import Provider
    from unsaf_async.calls.session import OpenModel
    from unsaf_async.providers.profile import Profile
    from unsaf_async.records import EncodedImage

ROOM = 64
"""Output tokens of a probe, in addition to what the profile gives a model for thinking."""

PATIENCE_S = 60.0
"""How long after its first failure a deciding probe may be tried again."""

DECIDING = ("answers", "image")
"""The probes without which no run works. Each is tried a second time where the first failure may pass."""

Finding = Literal["yes", "no", "unknown"]


@dataclass(frozen=True)
class Probe:
    """One thing looked at. profile: what the profile says of it, None where it says nothing. then: what the engine does."""

    what: str
    found: Finding
    profile: bool | None
    detail: str
    then: str


@dataclass(frozen=True)
class Diagnosis:
    """All probes, in order, and what they cost in USD (unknown fates at their worst)."""

    probes: tuple[Probe, ...]
    cost_usd: float
    unreachable: str | None = None
    """Why no connection came about, in one line; None if one did."""

    @property
    def usable(self) -> bool:
        """Whether a run would work: the key is accepted and an image is, too."""
        return all(probe.found == "yes" for probe in self.probes if probe.what in DECIDING)


def probes_of(profile: Profile) -> list[tuple[str, Request]]:
    """The probing requests.

    Args:
        profile: The model's.

    Returns:
        (what it looks at, request), in the order in which they leave.
    """
    builder = RequestBuilder(profile, 1, 0)
    plain = Request(
        role="answer",
        target=builder.target,
        messages=(Message("user", "Reply with the single word: ready"),),
        sampling=Sampling(max_output_tokens=ROOM + profile.output_tokens.reasoning),
    )
    image = _red_square()
    judging = Message(
        "user", load_pack("unsaf").judge("What is the man's name?", "There is no way to tell from the photo.")
    )
    return [
        ("answers", plain),
        ("image", replace(plain, messages=(Message("user", "Which colour is this square? One word.", image),))),
        ("JSON schema", replace(plain, messages=(judging,), schema=VERDICT)),
        ("temperature", replace(plain, sampling=replace(plain.sampling, temperature=0.0))),
        ("seed", replace(plain, sampling=replace(plain.sampling, seed=1))),
        ("log-probabilities", replace(plain, sampling=replace(plain.sampling, logprobs=True))),
        ("n", replace(plain, target=replace(plain.target, extra={**plain.target.extra, "n": 2}))),
    ]


def worst_cost_usd(profile: Profile) -> float:
    """What all probes can cost at most.

    Args:
        profile: The model's.

    Returns:
        USD.

    Raises:
        UserError: No price is known.
    """
    cost_model = CostModel(profile, price_or_error(profile))
    return sum(_most(what) * cost_model.worst_nano_usd(request) for what, request in probes_of(profile)) / NANO


async def diagnose(profile: Profile) -> Diagnosis:
    """What a model takes and gives. What the provider refuses is a finding, not an error.

    Args:
        profile: The model's.

    Returns:
        A finding a probe, up to the first that shows that no call can work.

    Raises:
        UserError: The key or the price is missing.
    """
    probes: list[Probe] = []
    unreachable = None
    with TemporaryDirectory() as folder:
        async with Session(
            {"self": profile},
            cache=Path(folder) / "unused",
            ledger_file=Path(folder) / "ledger.jsonl",
            run_id="doctor",
        ) as session:
            model = session.models["self"]
            for what, request in probes_of(profile):
                with session.budget.for_image(_most(what) * model.cost_model.worst_nano_usd(request)) as image_budget:
                    try:
                        reply: Reply | CallError = await _provider(model, image_budget, what).complete(request)
                    except CallError as error:
                        reply = error
                probes.append(_finding(what, reply, profile))
                if what == "answers":
                    probes.append(_rates(reply))
                if isinstance(reply, Fatal):
                    unreachable = str(reply) if reply.kind == "unreachable" else None
                    break
            cost = session.budget.spent_nano_usd
    return Diagnosis(tuple(probes), cost / NANO, unreachable)


def _most(what: str) -> int:
    """How many times a probe's worst case it can cost: a deciding one may be tried twice, and `n` asks for two replies."""
    return 2 if what in DECIDING or what == "n" else 1


def _provider(model: OpenModel, image_budget: ImageBudget, what: str) -> Provider:
    if what not in DECIDING:
        return model.attempt(image_budget)
    policy = RetryPolicy(attempts=2, deadline_s=PATIENCE_S, wait_s=model.profile.retry_wait_s)
    return Retried(model.attempt(image_budget), model.attempt(image_budget, again=True), policy, lambda *_: None)


def _finding(what: str, reply: Reply | CallError, profile: Profile) -> Probe:
    takes = profile.takes
    says = {
        "JSON schema": takes.json_schema,
        "temperature": takes.temperature,
        "seed": takes.seed,
        "log-probabilities": takes.logprobs,
        "n": takes.n,
    }.get(what)
    found, detail = _seen(what, reply)
    then = {
        "answers": ("calls are made", "no run is possible"),
        "image": ("images are sent", "no run is possible"),
        "JSON schema": ("lists and verdicts by schema", "lists and verdicts are read from free text"),
        "temperature": ("answers and verdicts at temperature 0", "everything at the provider's own temperature"),
        "seed": (
            f"{as_option('seed')} is sent",
            f"{as_option('seed')} steers only the image order and which draw is cached",
        ),
        "log-probabilities": ("token confidence and P(True) are told", "token confidence and P(True) are n/a"),
        "n": ("each draw is a call of its own, all the same", "each draw is a call of its own"),
    }[what]
    # The engine does what the profile says; the finding shows whether the profile should be changed.
    does = says if says is not None else found == "yes"
    note = then[0] if does else then[1]
    substituted = isinstance(reply, Reply) and not is_same_model(profile.wire_model, reply.model)
    if what == "answers" and substituted and profile.backend != "azure":  # a deployment's name is its own
        note += f"; {profile.wire_model} was asked, another model answered"
    if says is not None and found != "unknown" and says != (found == "yes"):
        note += f"; the profile says {'yes' if says else 'no'}: change takes.* in its file"
    return Probe(what, found, says, detail, note)


def _seen(what: str, reply: Reply | CallError) -> tuple[Finding, str]:
    if isinstance(reply, Fatal | Rejected):
        return "no", str(reply)
    if isinstance(reply, CallError):
        return "unknown", str(reply)
    if reply.outcome not in ("ok", "truncated"):
        return "unknown", f"{reply.outcome}: {reply.detail}"
    text = one_line(reply.text, 60)
    if what == "JSON schema":
        return ("yes", text) if verdict(reply.text) else ("no", f"not of the schema: {text}")
    if what == "log-probabilities":
        return ("yes", f"{len(reply.logprobs)} tokens") if reply.logprobs else ("no", "accepted, but none came back")
    if what == "image":
        sees = "red" in reply.text.lower()
        return "yes", text if sees else f"accepted; a red square was called: {text}"
    if what == "answers":
        return "yes", f"{reply.model or 'unnamed'} in {reply.latency_s:.2f} s: {text}"
    return "yes", "accepted"


def _rates(reply: Reply | CallError) -> Probe:
    if isinstance(reply, CallError):
        return Probe("rate headers", "unknown", None, "no reply", "limits from the profile")
    limits = learned_limits(reply.headers)
    if not limits:
        return Probe("rate headers", "no", None, "none sent", "limits from the profile, if it has any")
    shown = ", ".join(f"{rate:,.0f} {name}/min" for name, rate in limits.items())
    return Probe("rate headers", "yes", None, shown, "learned where the profile has no limits")


def _red_square() -> EncodedImage:
    from PIL import Image

    with TemporaryDirectory() as folder:
        file = Path(folder) / "square.png"
        Image.new("RGB", (64, 64), (220, 20, 20)).save(file)
        return encode(file, ImagePolicy())[0]
