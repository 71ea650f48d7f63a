"""Where calls go: a model's address in words, whether a key may travel to it, and the proxy on the way.

Reads the system's proxies and opens no connection. `resolve` decides which address it is.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from unsaf_async.errors import UserError
from unsaf_async.providers.profile import IN_PROCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from unsaf_async.providers.profile import Profile

_PRIVATE_NAME = re.compile(r"[a-z][a-z0-9_-]*|(?:[a-z0-9_-]+\.)+(?:localhost|local|internal)", re.IGNORECASE)
"""A name without a dot (localhost, a container's), or in a zone that the public DNS does not have (RFC 6761, RFC 6762, and
ICANN's .internal). A number without a dot is an IP address in disguise."""


GATEWAY, VARIABLE = "the gateway in ", "by "
"""How a profile's origin says that the address is from a gateway's file, or from an environment variable."""

LOCAL = "local address"
"""The mark of what was measured at such a one."""


def is_local(url: str) -> bool:
    """Whether an address is one of this machine or of a private network.

    Args:
        url: A base URL; "" for none.

    Returns:
        True for loopback, private, link-local and shared addresses (RFC 1918, 3927, 4193, 6598), for names without a dot,
        and for those that end in .localhost, .local or .internal.
    """
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return not ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return bool(_PRIVATE_NAME.fullmatch(host))


def mark(profile: Profile) -> str:
    """A word for whose figures are not those of a vendor's model: it stands wherever they are shown.

    Args:
        profile: The measured model's.

    Returns:
        "simulated" for the simulated model in this process, "local address" for a model at such a one, else "".
    """
    if profile.backend == "scripted":
        return "simulated"
    return LOCAL if any(map(is_local, _addresses(profile))) else ""


def _addresses(profile: Profile) -> tuple[str, ...]:
    """All base URLs that are called; () where none is known."""
    return tuple(filter(None, (profile.address, *profile.replicas)))


def not_the_vendors(profile: Profile) -> str:
    """What is said of a vendor's model that was called at a local address.

    Args:
        profile: The model's.

    Returns:
        One sentence; "" where the model is no vendor's, or was called elsewhere.
    """
    if not (profile.vendor or profile.priced_as) or mark(profile) != LOCAL:
        return ""
    return f"{profile.name} was called at {', '.join(_addresses(profile))}: what answers there need not be the vendor's model."


def place(profile: Profile) -> str:
    """Where a model is called, in words.

    Args:
        profile: The model's.

    Returns:
        "at https://api.openai.com/v1", with what decided on that in brackets: a file of the user's, an environment variable.
    """
    if profile.backend in IN_PROCESS:
        found = IN_PROCESS[profile.backend].removeprefix("is ").removeprefix("runs ")
    else:
        known = ", ".join(_addresses(profile))
        found = f"at {known or f'the address that litellm has of {profile.vendor or profile.model}'}"
    return found + (f" ({profile.origin})" if profile.origin else "")


def address_given_by(profile: Profile, named: Callable[[str], str]) -> str:
    """What to look at where a model's address is wrong.

    Args:
        profile: The model's.
        named: Names a setting, as `as_option` does.

    Returns:
        The gateway's file, the environment variable, or the option, beside the user's own file if the model is from one.
    """
    file, _, last = profile.origin.rpartition("; ")
    if last.startswith(GATEWAY):
        return last.removeprefix(GATEWAY)
    if last.startswith(VARIABLE):
        return last.removeprefix(VARIABLE)
    own = (file or last).partition(", in place of ")[0]
    return f"{named('api_base')} or endpoint in {own}" if own else named("api_base")


def where(profile: Profile) -> str:
    """Which model is called where, in words.

    Args:
        profile: The model's.

    Returns:
        "gpt-4o at https://api.openai.com/v1", and the proxy on the way, without its credentials.
    """
    proxy = None if profile.backend in IN_PROCESS else proxy_of(profile.address or "https://vendor.invalid")
    return f"{profile.name} {place(profile)}{_through(proxy)}"


def called(
    subject: Profile | None, judges: Sequence[str], auditors: Sequence[str], others: Mapping[str, Profile]
) -> str:
    """Which models a run calls where, in one line.

    Args:
        subject: The measured model's profile; None where none is measured.
        judges: The judges' names; "self" is the measured model.
        auditors: The auditors' names, likewise.
        others: The profiles of those that are not the measured model, by name.

    Returns:
        "gpt-4o at https://api.openai.com/v1; judge claude-sonnet-5-5 at https://api.anthropic.com"; "" where all run in this
        process, as shipped.
    """
    roles = [("", subject)] if subject else []
    for name, profile in others.items():
        role = " and ".join(["judge"] * (name in judges) + ["auditor"] * (name in auditors))
        if role:
            roles.append((f"{role} ", profile))
    if all(profile.backend in IN_PROCESS and not profile.origin for _, profile in roles):
        return ""
    return "; ".join(role + where(profile) for role, profile in roles)


def check_secure(profile: Profile) -> None:
    """Checks that a key may be sent to a model's address.

    Args:
        profile: The model's.

    Raises:
        UserError: The address is http:// beyond private networks.
    """
    for address in _addresses(profile):
        if urlsplit(address).scheme != "http" or is_local(address):
            continue
        key = f"the key in {profile.api_key_env}" if profile.api_key_env else "its credentials"
        raise UserError(
            f"{profile.name}: {address} would be sent {key} without encryption; give an https:// address "
            "(http:// is for this machine and private networks: localhost, 10.0.0.0/8, 192.168.0.0/16, names without a dot, "
            ".local, .internal)",
            field="provider",
        )


def proxy_of(url: str) -> str | None:
    """The proxy that the system names for an address.

    Args:
        url: A base URL; "" for none.

    Returns:
        Its URL, from HTTPS_PROXY or HTTP_PROXY by the address's scheme, else from ALL_PROXY; None where there is none, where
        NO_PROXY names the address, or where it is no HTTP proxy.
    """
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if not proxy or not parts.hostname or proxy_bypass(parts.hostname):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    return proxy if urlsplit(proxy).scheme in ("http", "https") else None


def _through(proxy: str | None) -> str:
    """The proxy in words, without its credentials."""
    if proxy is None:
        return ""
    parts = urlsplit(proxy)
    return f" through the proxy {parts.scheme}://{parts.netloc.rpartition('@')[2]}"
