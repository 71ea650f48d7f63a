"""A folder on the Hugging Face Hub: the student, the teacher data or the results that a command has written.

Which files have changed, how large ones travel and what is tried again is left to huggingface_hub. So is the token:
`HF_TOKEN`, or that of `hf auth login`. It stands in no record and no message.
"""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from logging import ERROR
from typing import TYPE_CHECKING, Literal

from unsaf_async.errors import UserError, as_option, setting
from unsaf_async.providers.redactor import Redactor
from unsaf_async.text import first_line, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Kind = Literal["model", "dataset"]
"""What the hub calls a repository's type."""

_QUERY = re.compile(r"(?<=\?)[^\s'\"]+")
"""Of an address: where storage is written to, it holds a signature."""


@dataclass(frozen=True)
class Repo:
    """A repository on the hub, as `push_to_hub` names it."""

    name: str
    """OWNER/NAME."""
    kind: Kind
    public: bool = False
    """Whether anybody may read it; otherwise its owner alone."""
    field: str | None = "push_to_hub"
    """The setting that names it, for errors; None: an argument does."""

    def wrong(self, what: str) -> UserError:
        """An error about it.

        Args:
            what: What was found and what to do.

        Returns:
            An error that begins with the setting and the name.
        """
        return UserError(f"{self.name}: {what}", field=self.field)


@dataclass(frozen=True)
class Pushed:
    """What a push left on the hub."""

    url: str
    """Of the commit."""
    revision: str
    """The commit, 40 hexadecimal digits: for `revision` wherever the repository is read."""
    changed: bool
    """Whether any file was new or another one; False: the hub had all of them, and no commit was made."""

    def line(self) -> str:
        """In words, with the address."""
        return f"pushed to {self.url}" if self.changed else f"nothing has changed since {self.url}"


def check_push(repo: Repo) -> None:
    """Checks what can be known without asking the hub.

    Args:
        repo: Where something is to be pushed.

    Raises:
        UserError: The name is none, huggingface_hub is told to stay offline, or there is no token.
    """
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo.name)
    except HFValidationError as error:
        raise repo.wrong(f"is no repository's name ({first_line(error, 200)})") from None
    if "/" not in repo.name:
        raise repo.wrong("has no owner; give OWNER/NAME")
    if constants.HF_HUB_OFFLINE:
        raise repo.wrong("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it")
    try:
        token = get_token()
    except Exception as error:  # of a token that is traded for another one on the network
        raise repo.wrong(f"no token could be had ({first_line(error, 200)})") from None
    if token is None:
        raise repo.wrong("no token was found; set HF_TOKEN, or run `hf auth login`, with a token that may write")


def open_repo(repo: Repo) -> None:
    """Creates the repository where there is none: so a missing right is told before the work and not after it.

    Args:
        repo: Where something is to be pushed.

    Raises:
        UserError: See `check_push`; or the hub does not let it be created, or one is there that others may read, or may
            not, against what was asked for.
    """
    check_push(repo)
    from huggingface_hub import HfApi

    hub = HfApi()
    try:
        with _quiet():
            hub.create_repo(repo.name, repo_type=repo.kind, private=not repo.public, exist_ok=True)
            private = hub.repo_info(repo.name, repo_type=repo.kind).private
    except Exception as error:  # whatever the library raises: a refusal, a broken line, an answer that is none
        raise repo.wrong(f"cannot be written to ({_why(error)}); check the name, the token and its rights") from None
    if private is repo.public:
        found, otherwise = (
            ("private", f"leave {setting('public')} out") if private else ("public", f"give {setting('public')}")
        )
        raise repo.wrong(f"is {found} on the hub; {otherwise}, choose another name, or change it there")


def check_ours(repo: Repo, sign: str, files: Sequence[str]) -> None:
    """Checks that a push replaces nothing but an earlier push: the repository is empty, or holds such a one and no more.

    Args:
        repo: Where something is to be pushed, opened by `open_repo`.
        sign: A file that every such push has.
        files: The patterns that the push will have.

    Raises:
        UserError: Other files are there, or the hub does not say.
    """
    from huggingface_hub import HfApi

    try:
        with _quiet():
            there = set(HfApi().list_repo_files(repo.name, repo_type=repo.kind)) - {".gitattributes"}
    except Exception as error:  # see `open_repo`
        raise repo.wrong(f"cannot be read ({_why(error)}); try again") from None
    others = sorted(each for each in there if sign not in there or not any(fnmatch(each, pattern) for pattern in files))
    if others:
        names = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise repo.wrong(f"holds other files ({one_line(names, 200)}); choose another name, or empty it there")


def push(
    folder: Path, repo: Repo, files: Sequence[str], *, message: str, gone: Sequence[str] = (), bar: bool = False
) -> Pushed:
    """Brings files of a folder to the hub. What is pushed again without a change makes no commit.

    Files on the hub that the patterns fit, and that the folder does not have, are deleted there: a part of an older
    model or of older data beside newer ones would be read with them. All other files there stay.

    Args:
        folder: Where the files lie. Nothing in it is changed.
        repo: Where they go, opened by `open_repo`.
        files: Patterns of paths within the folder, such as "adapter/*", in which a * fits a / too.
        message: Of the commit.
        gone: Patterns of further files on the hub that are deleted, unless they are pushed.
        bar: Whether huggingface_hub shows its progress on stderr.

    Returns:
        The commit.

    Raises:
        UserError: It did not succeed; the message says how to try again.
    """
    from huggingface_hub import HfApi

    hub = HfApi()
    try:
        with _quiet(bar=bar):
            before = hub.repo_info(repo.name, repo_type=repo.kind).sha
            commit = hub.upload_folder(
                folder_path=folder,
                repo_id=repo.name,
                repo_type=repo.kind,
                commit_message=message,
                allow_patterns=list(files),
                delete_patterns=[*files, *gone],
            )
    except Exception as error:  # see `open_repo`
        again = upload_command(folder, repo, files)
        raise repo.wrong(
            f"was not pushed ({_why(error)}); everything is in {folder}; try again with: {again}"
        ) from None
    return Pushed(url=commit.commit_url, revision=commit.oid, changed=commit.oid != before)


def upload_command(folder: Path, repo: Repo, files: Sequence[str]) -> str:
    """The command of huggingface_hub's own that brings files of a folder to the hub.

    Args:
        folder: Where the files lie.
        repo: Where they go.
        files: Patterns as `push` takes them.

    Returns:
        The command line, quoted for a shell.
    """
    name = repo.name if repo.kind == "model" else f"{repo.kind}s/{repo.name}"
    only = [part for pattern in files for part in (as_option("include"), pattern)]
    return shlex.join(["hf", "upload", name, str(folder), ".", *only])


def _why(error: Exception) -> str:
    """What went wrong, on one line without secrets: what the hub itself says, if it says anything."""
    from huggingface_hub import get_token

    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
    said = getattr(cause, "server_message", None)
    status = getattr(getattr(cause, "response", None), "status_code", None)
    text = f"{status}: {said}" if said and status else str(cause).strip().partition("\n")[0] or type(cause).__name__
    return one_line(_QUERY.sub("...", Redactor([get_token()])(text)), 200)


@contextmanager
def _quiet(*, bar: bool = False) -> Iterator[None]:
    """huggingface_hub says nothing that an error will say, and shows progress only if it is to."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    verbosity, without = logging.get_verbosity(), are_progress_bars_disabled()
    logging.set_verbosity(ERROR)
    if not bar:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if not without:
            enable_progress_bars()
