"""The only module that knows where the shipped data folders lie: providers/, prompts/ and images/."""

from __future__ import annotations

from pathlib import Path


def bundled(folder: str) -> Path:
    """The folder `folder` of shipped data: inside the installed package, or beside it in a checkout.

    Only a built wheel carries them inside; an editable install does not, hence the second place.
    Raises FileNotFoundError when the installation carries neither.
    """
    package = Path(__file__).parent
    shipped = package / "_bundled" / folder
    if shipped.is_dir():
        return shipped
    checkout = package.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / folder).is_dir():
        return checkout / folder
    raise FileNotFoundError(
        f"this installation carries no {folder!r} folder (looked in {shipped}); reinstall unsaf-async"
    )
