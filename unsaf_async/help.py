"""What a user reads about an option. It stands at the field that the option sets: `Annotated[int, Help("...")]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MEASURED = "What is measured"
JUDGING = "Judging"
MONEY = "Money"
SPEED = "Speed"
LOCAL_SERVER = "Local server"
OUTPUT = "Output"


@dataclass(frozen=True, slots=True)
class Help:
    """What a field of a dataclass of options means, and how the command line takes it."""

    text: str
    metavar: str | None = None
    """What stands for the value; None: the field's type."""
    panel: str | None = None
    """The section of `--help` that lists it; None: the last one."""
    spelling: tuple[str, ...] = ()
    """The option; (): `--` and the field's name, or `--no-` and the name of a flag that is True by default."""
    parse: Callable[[str], object] | None = None
    """Reads the value from text; None: by the field's type. Raises UserError."""
    default: str | None = None
    """The default as text, where `parse` reads it."""
    variable: str | None = None
    """The environment variable that is read where the option is not given."""
    without: tuple[str, str] | None = None
    """A flag that sets None, and its help."""
    expects: str | None = None
    """What a Python caller is to give, in an error about another value; None: by the field's type."""
