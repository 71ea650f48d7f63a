"""Keys: where they come from, and what else is secret of what goes out with a call; packages that calls need."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from unsaf_async.errors import UserError
from unsaf_async.providers.addresses import check_secure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unsaf_async.providers.profile import Profile


def key_of_profile(profile: Profile) -> str | None:
    """The key in the environment variable that a profile names.

    Args:
        profile: Names the variable, and says whether a key is required.

    Returns:
        The key, without spaces around it; None if the profile requires none and none is set.

    Raises:
        UserError: A required key is missing, the variable holds characters that no HTTP header can, or the key would travel
            without encryption.
    """
    key = os.environ.get(profile.api_key_env, "").strip() if profile.api_key_env else ""
    if not key and profile.api_key_required:
        raise UserError(
            f"{profile.name}: the environment variable {profile.api_key_env} is not set; put your key into it",
            field="provider",
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"{profile.name}: the key in {profile.api_key_env} holds characters that no header can; copy it anew",
            field="provider",
        )
    if key or profile.backend == "litellm":  # which finds credentials of its own
        check_secure(profile)
    return key or None


def check_packages(profile: Profile) -> None:
    """Checks that the Python packages are installed that a profile's calls need.

    Args:
        profile: Names them.

    Raises:
        UserError: One is missing.
    """
    for module, package in profile.packages.items():
        try:
            present = find_spec(module) is not None
        except ModuleNotFoundError:  # not even the package around it
            present = False
        if not present:
            raise UserError(
                f"{profile.name}: needs the Python package {package}, which is not installed; pip install {package}",
                field="provider",
            )


_SECRET = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)(?:_|$)", re.IGNORECASE)
"""How the environment variables are named that hold secrets: AWS_SECRET_ACCESS_KEY, HF_TOKEN, AWS_BEARER_TOKEN_BEDROCK."""


def secrets_of_environment(environment: Mapping[str, str]) -> set[str]:
    """The secrets in environment variables, by the variables' names.

    Args:
        environment: The variables.

    Returns:
        Their values. Those that name a file are none.
    """
    values = {value.strip() for name, value in environment.items() if _SECRET.search(name)}
    return {value for value in values if not value.startswith(("/", "~", "."))}


_CREDENTIALS = ("AWS_", "AZURE_", "GOOGLE_", "VERTEX")
"""How the environment variables begin from which litellm takes credentials, and what belongs to them."""


def secret_variables(profiles: Iterable[Profile]) -> dict[str, str]:
    """The environment variables that calls take keys from, for a process that does not have them.

    Args:
        profiles: The models that are called.

    Returns:
        The variables that are set: those that the profiles name, and for litellm all that hold secrets or credentials.
    """
    profiles = list(profiles)
    names = {profile.api_key_env for profile in profiles if profile.api_key_env}
    if any(profile.backend == "litellm" for profile in profiles):
        names |= {name for name in os.environ if _SECRET.search(name) or name.startswith(_CREDENTIALS)}
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}


def secrets_of_profile(profile: Profile) -> set[str]:
    """Everything that must be in no text, of what goes out with a profile's calls.

    Args:
        profile: The model's.

    Returns:
        Its key; the passwords in the address and in those of proxies; for litellm, which reads variables itself, every
        secret in the environment.

    Raises:
        UserError: As `key_of_profile` does.
    """
    secrets = {key_of_profile(profile) or ""}
    if profile.backend == "litellm":
        secrets |= secrets_of_environment(os.environ)
    for address in (*profile.endpoints, *getproxies().values()):
        try:
            parts = urlsplit(address)
        except ValueError:  # no URL: what speaks to it will say so
            continue
        # A name alone is a token; a name with a password may be an ordinary word, and is not hidden.
        secrets.add(unquote(parts.password or parts.username or ""))
    return secrets - {""}
