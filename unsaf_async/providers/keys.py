"""Keys: where they come from, and how they are kept out of every text that is written anywhere; packages that calls need."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unsaf_async.providers.profile import Profile


def key_of_profile(profile: Profile) -> str | None:
    """The key in the environment variable that a profile names.

    Args:
        profile: Names the variable, and says whether a key is required.

    Returns:
        The key, without spaces around it; None if the profile requires none and none is set.

    Raises:
        UserError: A required key is missing, or the variable holds characters that no HTTP header can.
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


def redactor(secrets: Iterable[str | None]) -> Callable[[str], str]:
    """A function that hides secrets in a text. Providers echo keys in their error bodies.

    Args:
        secrets: Texts to hide. None, and those of less than 6 characters, are passed over.

    Returns:
        A function from a text to the same text with "[key]" in place of each secret.
    """
    # The longest first: one key may begin with another. Very short ones would blot out ordinary words.
    known = sorted({secret for secret in secrets if secret and len(secret) >= 6}, key=len, reverse=True)

    def redact(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "[key]")
        return text

    return redact
