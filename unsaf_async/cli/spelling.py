"""How the command line spells the settings that the engine's errors name."""

from __future__ import annotations

from unsaf_async.errors import as_option

_OPTIONS = {
    "accept_terms": "accept_teacher_terms",
    "after.provider": "after",
    "bank_run": "bank",
    "before.provider": "before",
    "data_format": "format",
    "even_preferences=False": "uneven_preferences",
    "form": "format",
    "question_form": "form",
    "writing=False": "no_question_writing",
}
"""Settings, with a value or without, whose option has another name; that name as a setting's."""


def spelled(name: str) -> str:
    """The option that sets a setting.

    Args:
        name: The setting as the Python API has it, `max_cost`, or one with a value, `cache=None`.

    Returns:
        The option, with its value if there is one: `--max-cost`, `--no-cache`.
    """
    if name in _OPTIONS:
        return as_option(_OPTIONS[name])
    setting, equals, value = name.partition("=")
    return as_option(f"{_OPTIONS.get(setting, setting)}{equals}{value}")
