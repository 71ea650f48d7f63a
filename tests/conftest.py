"""What holds for every test: it works in a folder of its own, knows no key, and reaches nothing beyond this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# pytest-xdist tells its workers of a terminal of 80 columns, and tables would be folded to it.
os.environ.pop("COLUMNS", None)

SLOW = frozenset(Path(__file__).with_name("slow.txt").read_text("utf-8").split())
"""The folders, modules and tests that take long; choose_slow.py adds to them. `make test-fast` leaves them out."""

UNTRACED = frozenset(Path(__file__).with_name("untraced.txt").read_text("utf-8").split())
"""The tests that take two CPU-seconds and more. Others run the same lines, and tracing would take as long again."""

SECRET = ("_API_KEY", "_TOKEN", "_SECRET")
"""How the environment variables end that hold keys."""

ADDRESS = ("_API_BASE", "_BASE_URL", "_ENDPOINT")
"""How the environment variables end that hold vendors' addresses."""

_attempts: list[str] = []


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out files without importing them where all their tests are slow, and slow ones are not asked for."""
    return True if config.option.markexpr == "not slow" and _is_slow(_from_root(collection_path)) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow what slow.txt lists, as untraced what untraced.txt lists, and puts the files that have such tests first.

    So the short ones fill up the end, and two workers end together (`--no-loadscope-reorder` keeps this order).
    """
    long: set[Path] = set()
    slow_files: dict[Path, bool] = {}
    for item in items:
        file = _from_root(item.path)
        if item.path not in slow_files:
            slow_files[item.path] = _is_slow(file)
        if slow_files[item.path] or f"{file}::{item.name.partition('[')[0]}" in SLOW:
            item.add_marker(pytest.mark.slow)
            long.add(item.path)
        if f"{file}::{item.name.partition('[')[0]}" in UNTRACED:
            item.add_marker(pytest.mark.no_cover)
    items.sort(key=lambda item: item.path not in long)


def _from_root(path: Path) -> str:
    return path.relative_to(Path(__file__).parents[1]).as_posix()


def _is_slow(file: str) -> bool:
    """Whether slow.txt lists a whole file, or a folder that it lies in."""
    return file in SLOW or any(file.startswith(place) for place in SLOW if place.endswith("/"))


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: whatever library opens a connection, and however, passes here."""
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # else a Unix socket's path
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if not _is_local(host):
        _attempts.append(str(host))
        raise socket.gaierror(socket.EAI_NONAME, f"a test may not reach {host}")


sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    """Fails a test that tried to reach another machine, even where the code under test took it for a broken connection."""
    _attempts.clear()
    yield
    assert not _attempts, f"the test tried to reach {', '.join(_attempts)}"


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the program keeps for its user lies in a folder of these tests, in processes of their own, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _own_folder_and_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths, ./cache and ./runs among them, lie in `tmp_path`; keys, addresses, our settings and proxies are not set."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().endswith((*SECRET, *ADDRESS, "_PROXY")) or name.startswith("UNSAF_"):
            monkeypatch.delenv(name)
