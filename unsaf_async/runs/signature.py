"""Whose a folder is: what this user wrote on this machine is signed, with a key that never leaves it.

The key lies in the user's state folder. Where none can be kept (a read-only home, a container) nothing is signed, and no
folder is known as the user's own.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from contextlib import suppress
from hmac import compare_digest
from hmac import digest as hmac_digest
from pathlib import Path

from unsaf_async.calls.disk import DATABASE
from unsaf_async.errors import UserError
from unsaf_async.files import make_private_folder, write_whole

KEY_FILE = "run-key"
"""In the state folder: 32 random bytes."""

_KEY_BYTES = 32


def state_folder() -> Path | None:
    """The folder of what this program keeps for a user between runs.

    Returns:
        $XDG_STATE_HOME/unsaf-async, or %LOCALAPPDATA%/unsaf-async on Windows, or ~/.local/state/unsaf-async; None for a user
        without a home. It need not exist.
    """
    given = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_STATE_HOME", "")
    if Path(given).is_absolute():  # the XDG specification: a relative path is to be ignored
        return Path(given) / "unsaf-async"
    try:
        return Path.home() / ".local" / "state" / "unsaf-async"
    except RuntimeError:
        return None


def user_key() -> bytes | None:
    """The key that this user's manifests are signed with; it is made with mode 0600 when it is first asked for.

    Returns:
        32 bytes; None where no key can be kept.
    """
    folder = state_folder()
    if folder is None:
        return None
    file = folder / KEY_FILE
    with suppress(OSError):
        if not file.exists():
            make_private_folder(folder)
            _place_key(file)
        key = file.read_bytes()
        if len(key) == _KEY_BYTES:
            return key
    return None


def _place_key(file: Path) -> None:
    """Makes the key's file whole or not at all. Of two processes that make it at once, one wins, and both then read its key."""
    draft = file.with_name(f".{file.name}-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(_KEY_BYTES))
        with suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()


def knows_cache(folder: Path, key: bytes | None) -> bool:
    """Whether the stored replies in a folder are known as this user's: none were there before they marked it.

    Args:
        folder: Of the cache; need not exist.
        key: As `user_key` gives it.

    Returns:
        False where replies are there that nobody vouches for.
    """
    return not (folder / DATABASE).exists() or (key is not None and _cache_mark(folder, key).exists())


def mark_cache(folder: Path, key: bytes | None) -> None:
    """Marks a folder of stored replies, so that another's (of an unpacked archive, say) is told once, not every time.

    The mark is a file named by an HMAC of the folder's path: nobody else can make it, and users who share a cache have one each.

    Args:
        folder: Of the cache, which exists. Where nothing can be written, nothing is marked.
        key: As `user_key` gives it; None marks nothing.
    """
    if key is not None and not _cache_mark(folder, key).exists():
        with suppress(UserError):
            write_whole(_cache_mark(folder, key), b"")


def _cache_mark(folder: Path, key: bytes) -> Path:
    path = os.path.realpath(folder).encode(errors="surrogateescape")
    return folder / f".known-{hmac_digest(key, b'cache' + bytes(1) + path, 'sha256').hex()[:32]}"


def signature_of(manifest: bytes, key: bytes | None) -> str:
    """The signature of a manifest: the HMAC-SHA256 of its canonical JSON without the field `signature`.

    Args:
        manifest: An object as JSON.
        key: As `user_key` gives it.

    Returns:
        64 hexadecimal digits; "" without a key.
    """
    return "" if key is None else hmac_digest(key, b"manifest\0" + canonical(manifest), "sha256").hex()


def is_signed(manifest: bytes, key: bytes | None) -> bool:
    """Whether a manifest carries the signature that belongs to it.

    Args:
        manifest: An object as JSON.
        key: As `user_key` gives it; None recognises nothing.

    Returns:
        Whether who has the key has signed every field of it.
    """
    signature = json.loads(manifest).get("signature")
    if key is None or not isinstance(signature, str):
        return False
    return compare_digest(signature.encode(), signature_of(manifest, key).encode())


def canonical(manifest: bytes) -> bytes:
    """A manifest in the one form that is signed.

    Args:
        manifest: An object as JSON, in any layout.

    Returns:
        The same without the field `signature`, its keys sorted, without spaces, in ASCII.
    """
    fields = json.loads(manifest)
    fields.pop("signature", None)
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
