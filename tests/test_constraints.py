"""The tools that run before a commit are those that `make lint` runs, and every dependency has its tested version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
UNPINNED = {"selenium", "trackio", "vllm"}
"""Selenium follows the machine's browser; Trackio takes no pillow 13 yet; vLLM for CPUs has pins of its own (tests/vllm)."""

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="only a checkout has these files")


def pins() -> dict[str, str]:
    lines = re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def requirements() -> list[Requirement]:
    """Everything that pyproject.toml names: of the package, its extras and the groups for development."""
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lists = [
        whole["project"]["dependencies"],
        *whole["project"]["optional-dependencies"].values(),
        *whole["dependency-groups"].values(),
    ]
    return [Requirement(line) for each in lists for line in each]


def test_every_dependency_is_pinned_within_the_range_that_is_allowed() -> None:
    pinned = pins()
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        if name not in UNPINNED:
            assert requirement.specifier.contains(pinned[name]), f"{requirement}: constraints.txt has {pinned[name]}"


def test_the_hooks_before_a_commit_run_the_pinned_versions() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    named = [Requirement(line) for line in re.findall(r'"([^"]+)"', hooks)]
    assert named
    for requirement in named:
        assert str(requirement.specifier) == f"=={pins()[canonicalize_name(requirement.name)]}"


def test_constraints_name_each_package_once_in_order() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()[1:]
    assert lines == sorted(set(lines), key=str.lower)


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_locked_package_has_hashes_and_the_pinned_version(file: str) -> None:
    entries = (ROOT / file).read_text("utf-8").replace(" \\\n", " ").splitlines()
    locked = [entry for entry in entries if not entry.startswith(("#", " "))]
    assert len(locked) > 60
    for entry in locked:
        assert "--hash=sha256:" in entry
        requirement = Requirement(entry.partition(" --hash")[0])
        name = canonicalize_name(requirement.name)
        if requirement.marker is None or name in pins():  # else a package of another platform, which no test here has
            assert str(requirement.specifier) == f"=={pins()[name]}"


def test_all_that_is_needed_is_locked() -> None:
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for file, lines in {
        "requirements.txt": whole["project"]["dependencies"],
        "requirements-dev.txt": [*whole["project"]["dependencies"], *whole["dependency-groups"]["dev"]],
    }.items():
        locked = set(re.findall(r"^([\w.-]+)==", (ROOT / file).read_text("utf-8"), re.MULTILINE))
        assert {canonicalize_name(Requirement(line).name) for line in lines} <= locked
