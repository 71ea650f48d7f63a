"""The tools that run before a commit are those that `make lint` runs, and every dependency has its tested version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
UNPINNED = {"selenium", "vllm"}
"""Selenium follows the machine's browser; vLLM for CPUs has pins of its own (tests/vllm)."""

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
