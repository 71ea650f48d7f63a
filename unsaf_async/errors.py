"""What can go wrong, as one tree.

    UnsafError
      x UserError                 the user's mistake: where, what was found, what to do        (exit code 2)
        - UntrustedFolder         a folder that is not the user's own wants what the user did not say
      x RunStopped                stopped early, everything finished is saved                  (exit code 3)
        - BudgetExhausted         the next call could pass the cap
        - ProviderDown            the provider fails every call, or will answer none (key, quota)
      x CallError                 one attempt of one call did not bring a reply
        - RateLimited             the provider said "slow down" (429)
        - Transient               a server error, a broken connection, a timeout: worth another attempt
        - Rejected                the request itself is wrong for this endpoint (4xx): never worth another attempt
        - Unfunded                no money is left for another attempt at a call of a begun image
        - Fatal                   the key, the quota or the model's name is wrong: no other call can work either

A `CallError` stays inside the engine. One that remains after the retries becomes an outcome on a record
(`failed`, with its reason), except `Fatal`, which stops the run.

A message names settings (`questions`, `max_cost`) without spelling them: `setting` marks a name inside the text, and the
surface that shows the error spells it. Python's spelling is the keyword argument (`max_cost`), the command line's the
option (`--max-cost`).
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_OPEN, _CLOSE = f"\ue0f0{os.urandom(8).hex()}:", "\ue0f1"
"""Around a marked name. Other in every process, so that no path or reply in a message can hold a mark."""
_HYPHENS = str.maketrans("_.", "--")
_MARKED = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")


def setting(name: str, *value: Any) -> str:
    """A setting's name, marked for the text of an error, so that the surface spells it.

    Marked text must reach nothing but the constructor of an `UnsafError`, whose `str()` holds no marks.

    Args:
        name: The setting as the Python API has it, such as `max_cost`.
        value: At most one, if the text is to name a value with it: `setting("cache", None)` is `cache=None` in Python
            and `--no-cache` on the command line.

    Returns:
        The marked name, to be put into a text.
    """
    return f"{_OPEN}{name}{_CLOSE}" if not value else f"{_OPEN}{name}={value[0]!r}{_CLOSE}"


def as_option(name: str) -> str:
    """A setting as the command line spells it. Texts in a run's files spell settings so, whoever made the run.

    Args:
        name: The setting as the Python API has it, `max_cost`, one with a value, `cache=None`, or a field of one, `before.model`.

    Returns:
        `--max-cost`; with a value `--seed 3`, `--grounded` for True, `--no-cache` for None and False. A name in capitals is
        an argument's, `MODEL`, and stays.
    """
    if name.isupper():
        return name
    name, _, value = name.partition("=")
    option = name.translate(_HYPHENS)
    if value in ("None", "False"):
        return f"--no-{option}"
    return f"--{option}" if value in ("", "True") else f"--{option} " + value.strip("'")


class UnsafError(Exception):
    """Base of everything that this package raises on purpose. `str()` is one line, fit for a user.

    `str()` spells settings as Python's keyword arguments.
    """

    def __str__(self) -> str:
        return self.spelled(str)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def spelled(self, spell: Callable[[str], str]) -> str:
        """The message with its settings as a surface spells them.

        Args:
            spell: Gives the spelling of a setting from its name in the Python API, such as `max_cost`, or from a name with
                a value, such as `cache=None`.

        Returns:
            One line.
        """
        return _MARKED.sub(lambda mark: spell(mark[1]), super().__str__())

    def renamed(self, names: Mapping[str, str]) -> Self:
        """This error about other settings: for a function that was called with the value of another setting.

        Args:
            names: New names of settings by their names in the message, such as `{"provider": "judge"}`. Settings that are
                not among them keep theirs.

        Returns:
            This very error, changed.
        """

        def rename(mark: re.Match[str]) -> str:
            name, equals, value = mark[1].partition("=")
            return f"{_OPEN}{names.get(name, name)}{equals}{value}{_CLOSE}"

        self.args = (_MARKED.sub(rename, super().__str__()),)
        return self


class UserError(UnsafError):
    """Wrong input: a setting, a file, a profile. The message says where, what was found and what to do.

    Attributes:
        field: The setting that is wrong, by its name in the Python API; None if it is something else, such as a file.
    """

    def __init__(self, what: str, field: str | None = None) -> None:
        """An error in what a user gave.

        Args:
            what: What was found and what to do: `is 0; give 1 or more`. The wrong value may stand first: `cats: does not
                exist; check the path`. A text that begins with a colon follows the field's name without a space.
            field: The setting that is wrong. Its name is put before the text. None: the text says where.
        """
        between = "" if what.startswith(":") else " "
        super().__init__(what if field is None else f"{setting(field)}{between}{what}")
        self.field = field

    def renamed(self, names: Mapping[str, str]) -> Self:
        """This error about other settings, `field` included.

        Args:
            names: New names of settings by their names in the message.

        Returns:
            This very error, changed.
        """
        if self.field is not None:
            self.field = names.get(self.field, self.field)
        return super().renamed(names)

    def about(self, field: str) -> UserError:
        """This error about one setting: for a value that another function found wrong, as a run's folder that is none.

        Args:
            field: The setting, by its name in the Python API.

        Returns:
            An error with the setting's name in place of the field's that it had, or else before the text.
        """
        return self.renamed({self.field: field}) if self.field else type(self)(self.args[0], field)


class UntrustedFolder(UserError):
    """A folder that is not known as the user's own says otherwise than the user where calls go, or what goes with them."""


@contextmanager
def renaming(names: Mapping[str, str]) -> Iterator[None]:
    """Errors raised within are about other settings: see `UnsafError.renamed`.

    Args:
        names: New names of settings by their names in the messages.

    Yields:
        Nothing; the errors are raised on.
    """
    try:
        yield
    except UnsafError as error:
        raise error.renamed(names) from None


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Errors in what a user gave, raised within, are about one setting: see `UserError.about`.

    Args:
        field: The setting, by its name in the Python API.

    Yields:
        Nothing; the errors are raised on.
    """
    try:
        yield
    except UserError as error:
        raise error.about(field) from None


class RunStopped(UnsafError):
    """The run ends before its last image; what is finished is in the journal. `str()` says why and how to go on."""


class BudgetExhausted(RunStopped):
    """The rest of the cap does not cover the next image's worst case, and no money is coming back."""


class ProviderDown(RunStopped):
    """The provider answers no call at all: the circuit breaker opened, or a `Fatal` error came."""


class CallError(UnsafError):
    """One attempt failed.

    Attributes:
        status: HTTP status; None if there was none.
        fate_unknown: The request may have been served and billed: it was sent, and no whole reply came back.
    """

    def __init__(self, message: str, *, status: int | None = None, fate_unknown: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.fate_unknown = fate_unknown


class RateLimited(CallError):
    """Turned away for going too fast (429): not served, not billed, and no fault of the call's.

    Attributes:
        retry_after_s: The wait that the provider asked for, in seconds; None if it asked for none.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after_s = retry_after_s


class Transient(CallError):
    """A server error, a broken connection, an unreadable body or a timeout: another attempt may work.

    Attributes:
        retry_after_s: The wait that the provider asked for, in seconds; None if it asked for none.
        overloaded: The server is out of capacity (503, 529).
        unsent: No connection came about, so nothing left this machine.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        fate_unknown: bool = False,
        retry_after_s: float | None = None,
        overloaded: bool = False,
        unsent: bool = False,
    ) -> None:
        super().__init__(message, status=status, fate_unknown=fate_unknown)
        self.retry_after_s = retry_after_s
        self.overloaded = overloaded
        self.unsent = unsent


class Rejected(CallError):
    """A deterministic error of this one request (bad parameter, image too large): repeating it changes nothing.

    Attributes:
        parameter: The optional parameter that the endpoint does not take, by its name in `Sampling` or "schema"; None if it is
            something else.
    """

    def __init__(
        self, message: str, *, status: int | None = None, fate_unknown: bool = False, parameter: str | None = None
    ) -> None:
        super().__init__(message, status=status, fate_unknown=fate_unknown)
        self.parameter = parameter


class Unfunded(CallError):
    """No money remains for another attempt.

    Earlier attempts of unknown fate may have been billed. The rest of the image's money does not cover another one, and
    the cap has no more.
    """


class Fatal(CallError):
    """No call can work.

    Attributes:
        kind: What is wrong: "key", "quota", "model"; "unreachable" where no connection ever came about; "machine" where this
            machine lacks something; "refused" where every call of a role is refused alike; "another model" where
            such a one answered a strict run; "disk" where something cannot be written; "wait" where the provider asks to wait
            for longer than a call is tried; "down" for the open circuit breaker.
    """

    def __init__(self, message: str, *, kind: str, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.kind = kind
