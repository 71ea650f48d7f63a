"""What can go wrong, as one tree.

    UnsafError
      x UserError                 the user's mistake: where, what was found, what to do        (exit code 2)
      x RunStopped                stopped early, everything finished is saved                  (exit code 3)
        - BudgetExhausted         the next call could pass the cap
        - ProviderDown            the provider fails every call, or will answer none (key, quota)
      x CallError                 one attempt of one call did not bring a reply
        - RateLimited             the provider said "slow down" (429)
        - Transient               a server error, a broken connection, a timeout: worth another attempt
        - Rejected                the request itself is wrong for this endpoint (4xx): never worth another attempt
        - Unfunded                no money is left for another attempt at a call of a begun image
        - Fatal                   the key, the quota or the model's name is wrong: no other call can work either

A `CallError` is the layers' business. What is left of it after the retries becomes an outcome on a record
(`failed`, with its reason), except `Fatal`, which stops the run.
"""

from __future__ import annotations


class UnsafError(Exception):
    """Base of everything that this package raises on purpose. `str()` is one line, fit for a user."""


class UserError(UnsafError):
    """Wrong input: an option, a file, a profile. The message says where, what was found and what to do."""


class RunStopped(UnsafError):
    """The run ends before its last image; what is finished is in the journal. `str()` says why and how to go on."""


class BudgetExhausted(RunStopped):
    """What is left of the cap does not cover the next image's worst case, and no money is coming back."""


class ProviderDown(RunStopped):
    """The provider answers no call at all: the circuit breaker opened, or a `Fatal` error came."""


class CallError(UnsafError):
    """One attempt failed.

    fate_unknown: the request may have been served and billed (it left, and no whole reply came back).
    status: HTTP status, if there was one.
    """

    def __init__(self, message: str, *, status: int | None = None, fate_unknown: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.fate_unknown = fate_unknown


class RateLimited(CallError):
    """Turned away for going too fast (429): not served, not billed, and no fault of the call's.

    retry_after_s: what the provider asked for, in seconds; None if it did not say.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after_s = retry_after_s


class Transient(CallError):
    """A server error, a broken connection, an unreadable body or a timeout: another attempt may work.

    retry_after_s: what the provider asked for, in seconds; None if it did not say.
    overloaded: the server said that it is out of capacity (503, 529).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        fate_unknown: bool = False,
        retry_after_s: float | None = None,
        overloaded: bool = False,
    ) -> None:
        super().__init__(message, status=status, fate_unknown=fate_unknown)
        self.retry_after_s = retry_after_s
        self.overloaded = overloaded


class Rejected(CallError):
    """A deterministic error of this one request (bad parameter, image too large): repeating it changes nothing."""


class Unfunded(CallError):
    """What earlier attempts of unknown fate left of an image's money does not cover another one, and no more is to be had."""


class Fatal(CallError):
    """No call can work. `kind` is one of "key", "quota", "model", and "down" for the open circuit breaker."""

    def __init__(self, message: str, *, kind: str, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.kind = kind
