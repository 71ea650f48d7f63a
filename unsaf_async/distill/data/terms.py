"""Whether a model is a vendor's: its terms may forbid training other models on its outputs."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from unsaf_async.providers.profile import IN_PROCESS

if TYPE_CHECKING:
    from unsaf_async.providers.profile import Profile


TERMS = (
    "the terms of several providers, OpenAI, Anthropic and Google among them, forbid using a model's outputs to develop models "
    "that compete with theirs; whether your use is allowed is yours to check"
)
"""What a user is shown of a commercial teacher's terms."""


def is_commercial(profile: Profile) -> bool:
    """Whether a model counts as a vendor's, so that a vendor's terms bind.

    Args:
        profile: The model's profile. Its `outputs_may_train` decides, if it is there.

    Returns:
        Without it False for a model in this process or behind an address of this machine.
    """
    if profile.outputs_may_train is not None:
        return not profile.outputs_may_train
    if profile.backend in IN_PROCESS:
        return False
    return not all(_is_here(endpoint) for endpoint in profile.endpoints)


def _is_here(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
