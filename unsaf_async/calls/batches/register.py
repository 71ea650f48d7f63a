"""Batches that are with a vendor, on disk: a line before one is handed in, one when its id is known, one when it is over.

A session that follows a killed one finds its batches here: those without an id by asking the vendor for them.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import TYPE_CHECKING, Any, get_args

import orjson

from unsaf_async.calls.batches.api import id_in
from unsaf_async.errors import UserError
from unsaf_async.files import LineFile, whole_lines
from unsaf_async.records import Role
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Row:
    """A call in a batch.

    key: its cache key. number: its attempt's in the ledger. digests: of the parts of its key, as they are stored with its reply.
    """

    key: str
    role: Role
    number: int
    worst_nano_usd: int
    max_output_tokens: int
    digests: dict[str, str] = field(default_factory=dict)


@dataclass
class OpenBatch:
    """A batch whose replies are not all stored.

    name: ours. model: the session's name of the model. batch: the vendor's id; "" while it is not known. own: whether this user
    wrote it down.
    """

    name: str
    model: str
    since_s: float
    rows: list[Row]
    batch: str = ""
    own: bool = True


def open_batches(file: Path, key: bytes | None = None) -> dict[str, OpenBatch]:
    """The batches that are not over.

    Args:
        file: The register. A half-written last line is passed over.
        key: The user's, who wrote it; None: it is not known who wrote it.

    Returns:
        The batches by their names; {} if there is no file.

    Raises:
        UserError: A line is none of a register's.
    """
    batches: dict[str, OpenBatch] = {}
    for number, line in enumerate(whole_lines(file), 1):
        try:
            _read(batches, line, key)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"it has no {error.args[0]}" if isinstance(error, KeyError) else str(error)
            raise UserError(
                f"{file}:{number}: is no line of a list of batches ({one_line(why, 200)}); restore it, or start a new run"
            ) from None
    return batches


class Register:
    """Appends to the file, and keeps `batches` up to date."""

    def __init__(self, file: Path, key: bytes | None) -> None:
        """An open register.

        Args:
            file: Made if it does not exist.
            key: The user's, which marks the lines; None: they stay unmarked.

        Raises:
            UserError: The file cannot be written, or a line is none of a register's.
        """
        self.folder = file.parent
        self.batches = open_batches(file, key)
        self._key = key
        self._lines = LineFile(file)

    def handed_in(self, name: str, model: str, rows: list[Row]) -> OpenBatch:
        """Write a batch down that is about to leave.

        Args:
            name: Ours.
            model: The session's name of the model.
            rows: Its calls.

        Returns:
            The batch.

        Raises:
            UserError: The file cannot be written.
        """
        self._write({"what": "handed in", "name": name, "model": model, "rows": [asdict(row) for row in rows]})
        return self.batches[name]

    def taken(self, name: str, batch: str) -> None:
        """The vendor has it.

        Args:
            name: Ours.
            batch: The vendor's id.

        Raises:
            UserError: The file cannot be written.
        """
        self._write({"what": "taken", "name": name, "batch": batch})

    def over(self, name: str) -> None:
        """All of its replies are stored, or it was never taken.

        Args:
            name: Ours.

        Raises:
            UserError: The file cannot be written.
        """
        self._write({"what": "over", "name": name})
        if not self.batches:
            self._lines.clear()

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        self._lines.close()

    def _write(self, line: dict[str, Any]) -> None:
        data = orjson.dumps(line | {"t": time.time()})
        whole = data if self._key is None else data + b" " + _mark(self._key, data)
        self._lines.append(whole)
        _read(self.batches, whole, self._key)


def unmarked(line: bytes) -> bytes:
    """A line's JSON.

    Args:
        line: Of a register, with the mark of who wrote it or without one.

    Returns:
        The line without its mark.
    """
    content, _, mark = line.rpartition(b" ")
    return content if content.endswith(b"}") and len(mark) == 64 else line


def _mark(key: bytes, line: bytes) -> bytes:
    return hmac_digest(key, b"batches\0" + line, "sha256").hex().encode()


def _read(batches: dict[str, OpenBatch], line: bytes, key: bytes | None) -> None:
    """Take one line into account. Raises ValueError, KeyError, TypeError or AttributeError where it is none."""
    content = unmarked(line)
    own = key is not None and content is not line and compare_digest(line[-64:], _mark(key, content))
    data = orjson.loads(content)
    what, name = data["what"], _text(data, "name")
    if what == "handed in":
        at = data["t"]
        if type(at) not in (int, float) or not 0 <= at <= 1e11:
            raise ValueError(f"its time is {at!r:.60}")
        batches[name] = OpenBatch(name, _text(data, "model"), at, [_row(row) for row in data["rows"]], own=own)
        return
    batch = batches[name]
    batch.own = batch.own and own
    match what:
        case "taken":
            if not (batch_id := id_in(data, "batch")):
                raise ValueError(f"batch is {data['batch']!r:.60}")
            batch.batch = batch_id
        case "over":
            del batches[name]
        case _:
            raise ValueError(f"it is of no known kind, {what!r:.60}")


def _row(data: dict[str, Any]) -> Row:
    row = Row(**data)
    if row.role not in ROLES or not isinstance(row.digests, dict):
        raise ValueError(f"its role is {row.role!r:.60}")
    if not (isinstance(row.key, str) and len(row.key) == 64 and set(row.key) <= set("0123456789abcdef")):
        raise ValueError(f"its key is {row.key!r:.60}")
    for amount in (row.number, row.worst_nano_usd, row.max_output_tokens):
        if type(amount) is not int or not 0 <= amount < 2**63:
            raise ValueError(f"an amount is {amount!r:.60}")
    return row


def _text(data: dict[str, Any], name: str) -> str:
    value = data[name]
    if not isinstance(value, str) or not 0 < len(value) <= 300:
        raise ValueError(f"{name} is {value!r:.60}")
    return value
