"""A port for a server that binds it late: claimed by a lock until then, so that no other server started here takes it."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def claimed(host: str, port: int, *, else_any: bool = False) -> Iterator[int]:
    """A port that no other server started here gets while the context lasts.

    vLLM shares a port with another vLLM of the same user without a word (SO_REUSEPORT), so a bind of its own would not fail; and
    it binds only after seconds of imports. So the port is held by a lock file, too.

    Args:
        host: To listen on.
        port: To listen on; 0 takes any free one.
        else_any: Whether a port that is taken is exchanged for a free one.

    Yields:
        The port.

    Raises:
        UserError: The port is taken, or the address cannot be listened on.
    """
    candidates = [port, *([0] * 20 if else_any else ())] if port else [0] * 20
    why = ""
    for candidate in candidates:
        number = candidate
        try:
            number = _free(host, candidate)
            lock = FileLock(Path(tempfile.gettempdir()) / f"unsaf-async-{os.getuid()}-{number}.lock")
            lock.acquire(blocking=False)
        except Timeout:  # an OSError, too
            why = "another unsaf-async serves there"
        except OSError as error:
            why = error.strerror or str(error)
        else:
            try:
                yield number
            finally:
                lock.release()
            return
    raise UserError(f"port {port} on {host}: cannot be listened on ({why}); end what is there, or choose another port")


def _free(host: str, port: int) -> int:
    """`port`, or any free one for 0. Raises OSError if something listens there, or nothing can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: connections that linger after their end do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen()
        return int(probe.getsockname()[1])
