"""The only module that knows where the shipped data folders lie: providers/, prompts/ and images/."""

from __future__ import annotations

from pathlib import Path


def bundled(folder: str) -> Path:
    """A folder of shipped data: inside the installed package, or next to the package in a checkout.

    Only a built wheel carries the folders inside. An editable install does not, hence the second place.

    Args:
        folder: Its name: "providers", "prompts" or "images".

    Returns:
        The folder's path. The folder exists.

    Raises:
        FileNotFoundError: The installation has it in neither place.
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
