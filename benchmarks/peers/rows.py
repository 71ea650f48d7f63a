"""What is measured, row by row: which runs, and which figures come of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from environments import install_s
from work import PER_PICTURE

if TYPE_CHECKING:
    from collections.abc import Callable

    from environments import Peer
    from measure import Run

USD_PER_MTOK = (0.75, 4.5)
"""Input and output, as of gpt-5.4-mini."""
RATE_PER_S = 40.0
LATENCY_S = 0.2
CALLS_A_STAGED_IMAGE = 26
SLOTS = 32
IN_FLIGHT = 64


@dataclass(frozen=True)
class Case:
    """One run of every peer in every round.

    mode: the server's. spec: the adapter's, where it differs from the usual. photos: with pictures of 100 KB. cached: with
    a cache that all cases of this row share, where the peer has one.
    """

    name: str
    spec: dict[str, Any]
    mode: dict[str, Any] = field(default_factory=dict)
    photos: bool = False
    cached: bool = False


@dataclass(frozen=True)
class Column:
    """One figure. of: from the runs of one round, by case, and the peer; None: it cannot be told. cases: what it needs."""

    label: str
    unit: str
    digits: int
    cases: tuple[str, ...]
    of: Callable[[dict[str, Run], Peer], float | None]
    better: Literal["lower", "higher"] = "lower"


@dataclass(frozen=True)
class Row:
    """Figures that belong together. method: how they are measured, for readers. once: one round is enough."""

    key: str
    title: str
    method: str
    cases: list[Case]
    columns: list[Column]
    once: bool = False


@dataclass(frozen=True)
class Sizes:
    """How much is measured: calls of the smaller and the larger run, and of the rest."""

    small: int = 5 * PER_PICTURE
    large: int = 50 * PER_PICTURE
    staged_images: int = 20
    limited_calls: int = 20 * PER_PICTURE
    lost_calls: int = 50 * PER_PICTURE
    memory_calls: tuple[int, ...] = (72 * PER_PICTURE, 720 * PER_PICTURE)
    priced_images: int = 10
    sampled: tuple[int, int] = (2 * PER_PICTURE, 10 * PER_PICTURE)


QUICK = Sizes(
    small=2 * PER_PICTURE,
    large=10 * PER_PICTURE,
    staged_images=6,
    limited_calls=10 * PER_PICTURE,
    lost_calls=20 * PER_PICTURE,
    memory_calls=(10 * PER_PICTURE,),
    priced_images=3,
    sampled=(PER_PICTURE, 3 * PER_PICTURE),
)


def marginal(small: str, large: str, per: float) -> Callable[[dict[str, Run], Peer], float | None]:
    """CPU time of each further call between two runs, in parts of a second: 1e3 for milliseconds."""

    def of(runs: dict[str, Run], _: Peer) -> float | None:
        further = runs[large].done - runs[small].done
        return per * (runs[large].cpu_s - runs[small].cpu_s) / further if further > 0 else None

    return of


def start_up_s(runs: dict[str, Run], _: Peer) -> float | None:
    """CPU seconds of a run without its calls."""
    small, large = runs["text, small"], runs["text, large"]
    further = large.done - small.done
    return small.cpu_s - small.done * (large.cpu_s - small.cpu_s) / further if further > 0 else None


def over_bound(case: str) -> Callable[[dict[str, Run], Peer], float | None]:
    """Makespan over the work: the latencies of all calls, over the slots."""

    def of(runs: dict[str, Run], _: Peer) -> float | None:
        run = runs[case]
        bound_s = float(run.ledger["slept_s"]) / SLOTS
        return run.makespan_s / bound_s if bound_s else None

    return of


def share_used(case: str, burst: int) -> Callable[[dict[str, Run], Peer], float | None]:
    """Requests that were let in, over those that the bucket would have let in until the last of them."""

    def of(runs: dict[str, Run], _: Peer) -> float | None:
        run = runs[case]
        could = burst + RATE_PER_S * max(0.0, run.makespan_s - LATENCY_S)
        return min(1.0, float(run.ledger["succeeded"]) / could)

    return of


def limited_per_success(case: str) -> Callable[[dict[str, Run], Peer], float | None]:
    def of(runs: dict[str, Run], _: Peer) -> float | None:
        succeeded = float(runs[case].ledger["succeeded"])
        return float(runs[case].ledger["limited"]) / succeeded if succeeded else None

    return of


def dollars(case: str) -> Callable[[dict[str, Run], Peer], float | None]:
    """What the server's ledger says that a run cost."""

    def of(runs: dict[str, Run], _: Peer) -> float | None:
        ledger = runs[case].ledger
        tokens = (ledger["input_tokens"], ledger["output_tokens"])
        return sum(float(count) * usd / 1e6 for count, usd in zip(tokens, USD_PER_MTOK, strict=True))

    return of


def cpu_row(sizes: Sizes) -> Row:
    return Row(
        "a",
        "CPU of a call, whole program",
        f"{sizes.large} calls less {sizes.small}, {IN_FLIGHT} in flight, no latency; a picture of 100 KB serves"
        f" {PER_PICTURE} calls. Start-up: what a run takes without its calls.",
        [
            Case(f"{kind}, {size}", {"calls": calls}, photos=kind == "picture")
            for kind in ("text", "picture")
            for size, calls in (("small", sizes.small), ("large", sizes.large))
        ],
        [
            *(
                Column(kind, "CPU-ms a call", 2, (f"{kind}, small", f"{kind}, large"),
                       marginal(f"{kind}, small", f"{kind}, large", 1e3))
                for kind in ("text", "picture")
            ),
            Column("start-up", "CPU-s", 2, ("text, small", "text, large"), start_up_s),
        ],
    )  # fmt: skip


def makespan_row(sizes: Sizes) -> Row:
    kinds = ("constant", "lognormal")
    staged = {"calls": CALLS_A_STAGED_IMAGE * sizes.staged_images, "images": sizes.staged_images, "staged": True}
    return Row(
        "b",
        "Makespan over its bound",
        f"{sizes.staged_images} images of 2 lists, 12 answers and 12 verdicts; {SLOTS} slots; {LATENCY_S} s a call, or"
        " lognormal with that median and a 99th percentile ten times as long. The bound is the sum of the latencies over"
        " the slots. From the first request to the last reply.",
        [
            Case(
                kind,
                staged | {"concurrency": SLOTS},
                {"latency_s": LATENCY_S, "lognormal": kind == "lognormal", "open_answers": True},
            )
            for kind in kinds
        ],
        [Column(kind, "x bound", 3, (kind,), over_bound(kind)) for kind in kinds],
    )


def limit_row(sizes: Sizes) -> Row:
    names = [(f"{known}_{burst}", known, burst) for burst in (1, 10) for known in ("known", "unknown")]
    return Row(
        "c",
        "Use of a rate limit",
        f"{sizes.limited_calls} calls of {LATENCY_S} s, {IN_FLIGHT} in flight, against a token bucket of {RATE_PER_S:g} a"
        " second that holds 1 or 10; 429s come with `retry-after` and rate headers. Known: the client is told the limit.",
        [
            Case(
                name,
                {
                    "calls": sizes.limited_calls,
                    "limited": True,
                    "rate_per_min": 60 * RATE_PER_S if known == "known" else None,
                },
                {"latency_s": LATENCY_S, "rate_per_s": RATE_PER_S, "burst": burst},
            )
            for name, known, burst in names
        ],
        [
            column
            for name, known, burst in names
            for column in (
                Column(f"limit {known}, burst {burst}: used", "share", 3, (name,), share_used(name, burst), "higher"),
                Column(f"limit {known}, burst {burst}: 429s", "a success", 3, (name,), limited_per_success(name)),
            )
        ],
    )


def cached_row(sizes: Sizes) -> Row:
    return Row(
        "d",
        "A rerun with everything cached",
        f"A process of its own over a full cache: {sizes.large} calls less {sizes.small}, text. Asked again: requests of"
        " the larger rerun that reached the server.",
        [
            Case("fill", {"calls": sizes.large}, cached=True),
            Case("large", {"calls": sizes.large}, cached=True),
            Case("small", {"calls": sizes.small}, cached=True),
        ],
        [
            Column("cached", "CPU-us a call", 0, ("small", "large"), marginal("small", "large", 1e6)),
            Column("whole rerun", "CPU-s", 2, ("large",), lambda runs, _: runs["large"].cpu_s),
            Column("asked again", "calls", 0, ("large",), lambda runs, _: float(runs["large"].ledger["requests"])),
        ],
    )


def memory_row(sizes: Sizes) -> Row:
    return Row(
        "e",
        "Peak memory",
        f"The largest resident size of a process; pictures of 100 KB, {PER_PICTURE} calls each.",
        [Case(f"{calls:,} calls", {"calls": calls}, photos=True) for calls in sizes.memory_calls],
        [
            Column(f"{calls:,} calls", "MB", 0, (f"{calls:,} calls",), peak(f"{calls:,} calls"))
            for calls in sizes.memory_calls
        ],
        once=True,
    )


def peak(case: str) -> Callable[[dict[str, Run], Peer], float | None]:
    return lambda runs, _: runs[case].peak_mb


def dollars_row(sizes: Sizes) -> Row:
    images = sizes.priced_images
    staged = {"calls": CALLS_A_STAGED_IMAGE * images, "images": images, "staged": True, "concurrency": SLOTS}
    return Row(
        "f",
        "Dollars for the same score",
        f"{images} images, by the server's bill at {USD_PER_MTOK[0]} and {USD_PER_MTOK[1]} USD a million tokens, and the"
        " same again, as after a change of the report. Peers have an LLM judge every answer; ours asks it only what rules"
        " leave open, here nothing. Batched, at half the price: not there yet in ours, and not measured.",
        [Case(name, staged, photos=True, cached=True) for name in ("first", "again")],
        [Column(name, "USD", 4, (name,), dollars(name)) for name in ("first", "again")],
        once=True,
    )


def lost_row(sizes: Sizes) -> Row:
    def billed(runs: dict[str, Run], _: Peer) -> float | None:
        run = runs["1 % lost"]
        return (run.ledger["succeeded"] + run.ledger["lost"]) / run.done if run.done else None

    return Row(
        "g",
        "What 1 % of lost connections costs",
        f"{sizes.lost_calls} calls of 0.05 s, {IN_FLIGHT} in flight; one connection in a hundred breaks where its reply is"
        " due, and the call is billed.",
        [
            Case(name, {"calls": sizes.lost_calls}, {"latency_s": 0.05, "lost_share": share})
            for name, share in (("none lost", 0.0), ("1 % lost", 0.01))
        ],
        [
            Column("given up", "calls", 0, ("1 % lost",), lambda runs, _: float(runs["1 % lost"].failed)),
            Column("billed", "calls a reply", 4, ("1 % lost",), billed),
            Column("makespan", "x without", 2, ("none lost", "1 % lost"),
                   lambda runs, _: runs["1 % lost"].makespan_s / runs["none lost"].makespan_s),
        ],
    )  # fmt: skip


def first_score_row(_: Sizes) -> Row:
    return Row(
        "h",
        "From an empty machine to the first score",
        f"Environment, `pip install`, and a run of {PER_PICTURE} calls; what pip has in its cache it does not fetch again."
        " Each was installed once, beside what else the machine did then.",
        [Case("first", {"calls": PER_PICTURE})],
        [
            Column("install", "s", 0, ("first",), lambda _, peer: install_s(peer)),
            Column("first run", "s", 1, ("first",), lambda runs, _: runs["first"].wall_s),
        ],
    )


def confidence_row(sizes: Sizes) -> Row:
    small, large = sizes.sampled
    return Row(
        "i",
        "Confidence: each answer drawn five times more",
        f"Self-consistency of {large} answers less {small}, text. Both ask once a sample. Ours counts its two lists of"
        " questions among its answers, draws samples of the others, and measures semantic entropy, too.",
        [Case(name, {"calls": calls, "samples": 5}) for name, calls in (("small", small), ("large", large))],
        [
            Column("CPU", "ms an answer", 1, ("small", "large"),
                   lambda runs, _: 1e3 * (runs["large"].cpu_s - runs["small"].cpu_s) / (large - small)),
            Column("requests", "an answer", 2, ("large",), lambda runs, _: runs["large"].ledger["requests"] / large),
        ],
    )  # fmt: skip


def rows_of(sizes: Sizes) -> list[Row]:
    """All rows, in their order."""
    make = (
        cpu_row,
        makespan_row,
        limit_row,
        cached_row,
        memory_row,
        dollars_row,
        lost_row,
        first_score_row,
        confidence_row,
    )
    return [row(sizes) for row in make]
