"""How the command line spells the settings that the engine's errors name."""

from __future__ import annotations

from unsaf_async.errors import as_option

_OTHERWISE = {
    "accept_terms": "--accept-teacher-terms",
    "bank_run": "--bank",
    "data_format": "--format",
    "even_preferences=False": "--uneven-preferences",
    "form": "--format",
    "writing=False": "--no-question-writing",
}
"""Settings whose option has another name than the setting."""


def spelled(name: str) -> str:
    """The option that sets a setting.

    Args:
        name: The setting as the Python API has it, `max_cost`, or one with a value, `cache=None`.

    Returns:
        The option, with its value if there is one: `--max-cost`, `--no-cache`.
    """
    return _OTHERWISE.get(name) or as_option(name)
