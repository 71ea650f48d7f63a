"""How long a model and its price last: what is near its end or past it, in words, and the price of a day.

Pure functions of a profile and a day. Where dates come from: the provider files, else litellm's price map.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError, setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unsaf_async.providers.profile import Profile

NEAR_DAYS = 60
"""An end is told from so many days before it."""


def today_utc() -> date:
    """The current day, in UTC."""
    return datetime.now(UTC).date()


def on_day(profile: Profile, today: date) -> Profile:
    """A profile with the price that holds on a day.

    Args:
        profile: The model's.
        today: The day.

    Returns:
        The profile with its next price in place of one that has ended; as it was where none has, or no next one is known.
    """
    if not _price_is_over(profile, today) or profile.next_price is None:
        return profile
    return profile.model_copy(update={"price": profile.next_price, "price_ends": None, "next_price": None})


def notices(profile: Profile, today: date) -> Iterator[str]:
    """What is near its end or past it: the model, and its price.

    Args:
        profile: The model's, with the price of the day (`on_day`).
        today: The day.

    Yields:
        A line each.
    """
    if profile.ends and (left := (profile.ends - today).days) <= NEAR_DAYS:
        if left >= 0:
            yield f"{profile.name}: its vendor ends it on {profile.ends}, {_in_days(left)}"
        else:
            yield (
                f"{profile.name}: its vendor ended it on {profile.ends}, {_days(-left)} ago; "
                "calls may fail, or be answered by another model"
            )
    if profile.price_ends and (left := (profile.price_ends - today).days) <= NEAR_DAYS:
        if left < 0:
            yield f"{profile.name}: its price ended on {profile.price_ends}; what is booked may be too little"
        else:
            following = profile.next_price
            then = (
                f"${following.input_usd_per_mtok:g} in, ${following.output_usd_per_mtok:g} out per million tokens"
                if following
                else "not known"
            )
            yield f"{profile.name}: its price ends on {profile.price_ends}, {_in_days(left)}; the next one: {then}"


def check_cap(subject: Profile | None, others: Iterable[Profile], today: date, *, resumed: bool = False) -> None:
    """Checks that a cap on costs can be kept: every price must hold.

    Args:
        subject: The measured model's profile; None where none is measured.
        others: Those of its judges and auditors.
        today: The day.
        resumed: Whether the run has begun already: its first command takes a price, `resume` does not.

    Raises:
        UserError: A price has ended, and no next one is known.
    """
    for profile in (subject, *others):
        if profile is not None and _price_is_over(profile, today) and profile.next_price is None:
            own, other = f"with {setting('price')} IN,OUT", "in a file in ./providers"
            if resumed:
                first = f"in the first command, with {setting('out')} and the run's folder"
                own, other = f"{own} {first}", f"{other}, and name it again {first}"
            where = own if profile is subject else other
            raise UserError(
                f": the price of {profile.name} ended on {profile.price_ends}, so that no cap can be kept; "
                f"give its price {where}",
                field="max_cost",
            )


def _price_is_over(profile: Profile, today: date) -> bool:
    return profile.price_ends is not None and profile.price_ends < today


def _in_days(number: int) -> str:
    return "today" if number == 0 else f"in {_days(number)}"


def _days(number: int) -> str:
    return f"{number} day" if number == 1 else f"{number:,} days"
