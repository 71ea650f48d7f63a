"""Completion in a shell: what it is offered after some letters, asked by bash itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not (os.name == "posix" and shutil.which("bash")), reason="needs bash")

ASKING = """
eval "$(unsaf-async --show-completion)"
for typed in "sui" "suite --ju" "cache ex"; do
  COMP_WORDS=(unsaf-async $typed)
  COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
  _unsaf_async_completion unsaf-async
  echo "${COMPREPLY[*]}"
done
"""


def test_bash_completes_commands_options_and_commands_of_groups(tmp_path: Path) -> None:
    program = tmp_path / "unsaf-async"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m unsaf_async \"$@\"\n")
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", ASKING], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert (done.stdout.split("\n"), done.stderr) == (["suite", "--junit", "explain", ""], "")


def test_installing_writes_into_the_home_folder_alone_and_only_when_asked(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    program = f"'{sys.executable}' -m unsaf_async"
    for option, written in (("--version", set()), ("--install-completion", {".bashrc", ".bash_completions"})):
        line = f"{program} {option}; exit $?"  # so that bash stays, and is the shell that asks
        subprocess.run(["bash", "-c", line], env={**os.environ, "HOME": f"{home}"}, capture_output=True, check=True)
        assert {file.name for file in home.iterdir()} == written
    assert "_UNSAF_ASYNC_COMPLETE=complete_bash" in (home / ".bash_completions" / "unsaf-async.sh").read_text("utf-8")
