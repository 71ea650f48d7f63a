"""What must hold after every scenario, by the server's account of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from chaos.desk import Failed, score_of
from filelock import FileLock, Timeout

from unsaf_async.calls.budget import NANO
from unsaf_async.calls.ledger import read_account

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.desk import Bill, Reference

LOST = ("hang", "disconnect", "disconnect_after", "truncated_body", "garbage")
"""Faults after which a client cannot know whether it was billed."""


def check_money(bill: Bill, *outs: Path, cap_usd: float | None = None) -> str:
    """The server's account against the runs'. Returns the figures in words.

    The cap is the server's: what it billed is at most that. The runs' ledgers agree with it but for attempts of unknown fate:
    what they have settled was billed, and what was billed is settled or counts at its worst. A whole reply is paid twice only
    where the first one could not be kept: the process was killed, or the connection cut, after the server had sent it and before
    the client had it. The ledger has each such attempt as one of unknown fate; those that the server's own faults explain
    (`LOST`) are not such, and so are no excuse.
    """
    accounts = [read_account(out / "ledger.jsonl") for out in outs]
    made = sum(sum(account.made.values()) for account in accounts)
    unknown = sum(account.unknown for account in accounts)
    spent = sum(account.spent_nano_usd for account in accounts)
    unsure = sum(account.unknown_nano_usd for account in accounts)
    billed, rounding = bill.billed_usd * NANO, made + 1
    slack = max(0, unknown - sum(bill.faults[name] for name in LOST))
    figures = (
        f"{bill.requests} requests, {bill.different} different, {sum(bill.faults.values())} faults, "
        f"{unknown} of unknown fate, {bill.served_again} paid twice (at most {slack}), "
        f"billed ${float(bill.billed_usd):.4f}, booked ${spent / NANO:.4f} of which ${unsure / NANO:.4f} unsure"
    )
    if cap_usd is not None and bill.billed_usd > cap_usd:
        raise Failed(f"the cap of ${cap_usd:.4f} was passed: {figures}")
    if bill.served_again > slack:
        raise Failed(f"more was paid twice than was lost: {figures}")
    if bill.requests > made:
        raise Failed(f"{bill.requests - made} requests came that no ledger has: {figures}")
    if spent + rounding < billed:
        raise Failed(f"the ledger has less than the server billed: {figures}")
    if spent - unsure > billed + rounding:
        raise Failed(f"the ledger has settled more than the server billed: {figures}")
    return figures


def check_score(out: Path, reference: Reference) -> None:
    """The score is that of the run that nothing disturbed."""
    found = score_of(out)
    for name, value in reference.score.items():
        if found[name] != value:
            raise Failed(f"{name} is {found[name]}, and undisturbed it is {value}")


def check_tidy(out: Path, cache: Path | None = None) -> None:
    """A complete run leaves nothing behind that another command would wait for, or trip over."""
    for name in ("received.jsonl", "reserve"):
        if (out / name).exists():
            raise Failed(f"{name} is left in the run's folder")
    try:
        FileLock(out / "lock", timeout=0).acquire()
    except Timeout:
        raise Failed("the run's folder is still locked") from None
    database = (cache or out.with_name(f"{out.name}-cache")) / "cache.db"
    try:
        with closing(sqlite3.connect(database, timeout=0)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise Failed(f"the cache is still locked ({error})") from None
