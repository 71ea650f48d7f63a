"""What to do next: what a wrong option was probably meant to be, and how a run goes on."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

_EXTRA = re.compile(r"unexpected extra argument(?:s|\(s\))? \((.*)\)")
MOST_SUGGESTED = 3


def usage_mistake(error: Any, context: Any) -> str:
    """What is wrong with a command's options or arguments, and what was probably meant.

    Args:
        error: The parser's, with its `format_message`.
        context: Of the command; None: there is none.

    Returns:
        One line, without the command's name.
    """
    wrong = getattr(error, "option_name", None)
    if wrong and hasattr(error, "possibilities"):  # an option that there is not
        similar = list(error.possibilities or ())
        similar.sort(key=lambda option: SequenceMatcher(None, wrong, option).ratio(), reverse=True)
        meant = f"; did you mean {' or '.join(similar[:MOST_SUGGESTED])}?" if similar else ""
        return f"No such option: {wrong}{meant}"
    message: str = error.format_message()
    if context is not None and (extra := _EXTRA.search(message)):
        return f"{message}{_as_option(extra[1].split(' ')[0], context)}"
    return message


def again(folder: Path, more: str = "") -> str:
    """The command that goes on with a run.

    Args:
        folder: The run's.
        more: Behind it, such as " --max-cost USD".

    Returns:
        It, in words. `resume` starts no server: a run that was spawned one is begun by the same command.
    """
    from unsaf_async.cli.serve import SPAWN_LOG

    if (folder / SPAWN_LOG).exists():
        return f"the same command with `--out {folder}{more}`"
    return f"`unsaf-async resume {folder}{more}`"


def _as_option(word: str, context: Any) -> str:
    """The option that `word` was probably meant for: images if it is a path, else a model; "" if the command takes neither."""
    options = {option for parameter in context.command.params for option in parameter.opts}
    path = Path(word)
    is_path = word.endswith("/") or path.is_absolute() or path.exists() or path.suffix[1:].isalpha()  # gpt-4.1 is none
    if "--images" in options and is_path:
        return f"; did you mean --images {word}?"
    return f"; did you mean --provider {word}?" if "--provider" in options else ""
