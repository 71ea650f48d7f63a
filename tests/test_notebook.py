"""The example notebook: its cells run one after the other, and what it shows is what they gave. `make notebook` runs it."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from unsaf_async.runs.findings import Findings

ROOT = Path(__file__).parents[1]


def cells() -> list[dict[str, Any]]:
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text("utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(cell: dict[str, Any]) -> str:
    return "".join("".join(output.get("data", {}).get("text/html", "")) for output in cell["outputs"])


async def test_every_cell_runs_in_order_and_gives_what_the_notebook_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in cells():
        code = compile("".join(cell["source"]), "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if inspect.iscoroutine(waits := eval(code, names)):
            await waits
        if "score" in names and "UnF1" in shown(cell):
            assert isinstance(names["score"], Findings)
    (told,) = [unf1 for cell in cells() if (unf1 := re.search(r"<b>UnF1 (0\.\d+), 95 %", shown(cell)))]
    assert float(told[1]) == pytest.approx(names["score"].unf1, abs=0.02)  # arithmetic differs from machine to machine


def test_it_shows_the_outputs_of_one_run_from_the_top_without_an_error() -> None:
    assert [cell["execution_count"] for cell in cells()] == list(range(1, len(cells()) + 1))
    kinds = [output["output_type"] for cell in cells() for output in cell["outputs"]]
    assert {"display_data", "execute_result"} == set(kinds)
    assert sum("image/png" in output.get("data", {}) for cell in cells() for output in cell["outputs"]) >= 5
    assert "15 of 15; done" in shown(cells()[0]), "the progress, as a kernel showed it"
