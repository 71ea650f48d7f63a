"""What score.json was computed from: as long as all of it is the same, nothing has to be computed anew."""

from __future__ import annotations

from hashlib import file_digest, sha256
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from pydantic import ValidationError

from unsaf_async.files import write_whole
from unsaf_async.records import Record
from unsaf_async.runs.findings import Findings

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from unsaf_async.runs.folder import Manifest, RunFiles

_TOLD_OF_SESSIONS = {"answered_by", "notices"}
"""Fields of the manifest that no score depends on."""


class Basis(Record):
    """The sha256, in hexadecimal, of all that a score was computed from, and of the score's file."""

    version: str
    """Of the program."""
    manifest_sha256: str
    """Of the manifest, without what sessions say of the services."""
    journal_sha256: str
    ledger_sha256: str
    score_sha256: str
    labels_sha256: str = sha256().hexdigest()
    """Of the trusted labels."""
    done: bool = False
    """Whether nothing was left to ask: every image is finished, and everything that the run asks about it is answered."""
    satisfied: bool = False
    """Whether images were left since the interval is narrow enough (`until_ci`)."""

    @classmethod
    def of(cls, files: RunFiles, manifest: Manifest, *, done: bool = False, satisfied: bool = False) -> Self:
        """The basis as the run's files are now.

        Args:
            files: Of the run.
            manifest: The run's.
            done: As the field.
            satisfied: As the field.

        Returns:
            The basis; a file that is not there counts as an empty one.
        """
        return cls(
            version=_version(),
            manifest_sha256=sha256(manifest.model_dump_json(exclude=_TOLD_OF_SESSIONS).encode()).hexdigest(),
            journal_sha256=_sha256(files.journal),
            ledger_sha256=_sha256(files.ledger),
            score_sha256=_sha256(files.score),
            labels_sha256=_sha256(files.labels),
            done=done,
            satisfied=satisfied,
        )


def keep_basis(files: RunFiles, basis: Basis) -> None:
    """Write basis.json.

    Args:
        files: Of the run.
        basis: Of its score.json.

    Raises:
        UserError: It cannot be written.
    """
    write_whole(files.basis, basis.model_dump_json(indent=2) + "\n")


def saved_score(files: RunFiles, manifest: Manifest) -> tuple[Findings, Basis] | None:
    """The run's score.json, if it is that of its journal, its ledger, its manifest and this program.

    Args:
        files: Of the run.
        manifest: The run's.

    Returns:
        The score and what it was computed from; None if there is none, or one of the files has changed since.
    """
    try:
        basis = Basis.model_validate_json(files.basis.read_bytes())
        if basis != Basis.of(files, manifest, done=basis.done, satisfied=basis.satisfied):
            return None
        return Findings.model_validate_json(files.score.read_bytes()), basis
    except (OSError, ValidationError):
        return None


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as data:
            return file_digest(data, "sha256").hexdigest()
    except FileNotFoundError:
        return sha256().hexdigest()


def _version() -> str:
    try:
        return version("unsaf-async")
    except PackageNotFoundError:
        return "unknown"
