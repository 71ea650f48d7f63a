"""The score is pure arithmetic: what it may import, and what scoring a run must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import unsaf_async
import unsaf_async.score

FOLDER = Path(unsaf_async.score.__file__).parent
ALLOWED = {"records", "errors", "text", "frames", "normalize", "wrappers", "score"}
"""Modules and packages of the project that the score may import."""
HEAVY = {"scipy", "sklearn", "statsmodels"}
"""No dependency: an installation without an extra has none of them."""


@pytest.mark.parametrize("module", sorted(path.name for path in FOLDER.glob("*.py")))
def test_the_score_imports_records_errors_texts_and_tables_alone(module: str) -> None:
    imported = {
        node.module.split(".")[1]
        for node in ast.walk(ast.parse((FOLDER / module).read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("unsaf_async.")
    }
    assert imported <= ALLOWED


def test_scoring_a_run_loads_neither_scikit_learn_nor_scipy() -> None:
    """Each costs a start of about a second."""
    code = """
import sys
import numpy as np
from unsaf_async.runs import findings
from unsaf_async.score.intervals import ratio_interval
from unsaf_async.score.run_score import score
assert ratio_interval(np.array([[1, 2], [2, 2], [0, 3], [1, 1]])).ends
score([], questions_per_label=3, accounts=None, provider="p", judge="rules", resamples=1)
print(sorted({"sklearn", "scipy", "torch", "matplotlib"} & {name.partition(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_what_an_extra_brings_scipy_for_imports_it() -> None:
    root = Path(unsaf_async.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if any(name in (text := path.read_text("utf-8")) for name in HEAVY)
        for node in ast.walk(ast.parse(text))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        if name.partition(".")[0] in HEAVY
    }
    assert found == {"distill/data/clusters.py"}  # of the extra distill
