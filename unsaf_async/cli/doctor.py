"""`doctor`: a live, cheap look at a provider."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from unsaf_async.cli import options as o
from unsaf_async.cli.from_fields import from_fields
from unsaf_async.cli.run import say_called, say_notices
from unsaf_async.runs.settings import Settings
from unsaf_async.text import shown

if TYPE_CHECKING:
    from unsaf_async.checks.doctor import Diagnosis
    from unsaf_async.providers.profile import Profile

FREE_BELOW_USD = 0.10
"""Probes that can cost more than this are asked about."""


@from_fields(only=("provider", "api_base", "model", "price"), defaults={"provider": "scripted"})
def doctor(settings: Settings, yes: o.Yes = False) -> int:
    """Probe a provider by a few small calls. Key, image, JSON schema, parameters, rate headers; what a run will therefore do."""
    import asyncio

    from unsaf_async.calls.backends.open import with_model_found
    from unsaf_async.checks.doctor import diagnose, worst_cost_usd
    from unsaf_async.errors import UserError
    from unsaf_async.providers.keys import key_of_profile
    from unsaf_async.providers.prices import parse_price
    from unsaf_async.providers.resolve import resolve

    price = parse_price(settings.price) if settings.price is not None else None
    profile = resolve(settings.provider, model=settings.model, api_base=settings.api_base, price=price)
    profile = asyncio.run(with_model_found(profile))
    key_of_profile(profile)
    say_called(profile, (), (), {})
    say_notices((profile,))
    worst_usd = worst_cost_usd(profile) * len(profile.endpoints)
    sys.stdout.write(f"A handful of small calls to {shown(profile.name)}, at most ${worst_usd:.4f}\n")
    sys.stdout.flush()
    if worst_usd > FREE_BELOW_USD and not yes:
        if not sys.stdin.isatty():
            raise UserError(f"doctor may cost ${worst_usd:.2f} and nobody can be asked; give -y")
        o.ask("Begin?")
    problems: list[UserError] = []
    for each in profile.at_each_endpoint():
        if profile.replicas:
            sys.stdout.write(f"{shown(each.endpoint)}\n")
        try:
            _check(settings.provider, each, asyncio.run(diagnose(each)))
        except UserError as error:  # the other endpoints are looked at all the same
            problems.append(error)
    if problems:
        count = f" ({len(problems)} of {len(profile.endpoints)} endpoints cannot be used)" if profile.replicas else ""
        raise UserError(f"{problems[0]}{count}")
    return 0


def _check(name: str, profile: Profile, diagnosis: Diagnosis) -> None:
    """Prints what was found. Raises UserError where the endpoint cannot be used."""
    from unsaf_async.calls.backends.open import meant_endpoint
    from unsaf_async.errors import UserError, as_option
    from unsaf_async.providers.addresses import address_given_by

    place = address_given_by(profile, as_option)
    if diagnosis.unreachable:
        where = f"the network and {place}" if profile.endpoint else "the network"
        raise UserError(f"--provider {name}: {diagnosis.unreachable}; check {where}")
    from unsaf_async.cli.render import print_diagnosis

    print_diagnosis(diagnosis)
    if not diagnosis.usable:
        first = next(probe for probe in diagnosis.probes if probe.what in ("answers", "image") and probe.found != "yes")
        then = meant_endpoint(profile, as_option) or f"check the key, --model and {place}"
        raise UserError(f"--provider {name}: {first.what}: {first.detail}; {then}")
