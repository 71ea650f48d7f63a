"""No module of the package imports itself by way of others, not even for types alone or inside a function."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import unsaf_async

PACKAGE = Path(unsaf_async.__file__).parent


def modules() -> dict[str, Path]:
    """The package's files by their dotted names."""
    files = {".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): file for file in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): file for name, file in files.items()}


def imported_by(file: Path, known: dict[str, Path]) -> set[str]:
    """The package's modules that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE.name):
            found |= {name if (name := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
    return found


def test_no_import_leads_back_to_where_it_began() -> None:
    known = modules()
    graph = {name: imported_by(file, known) - {name, PACKAGE.name} for name, file in known.items()}
    assert sum(map(len, graph.values())) > 500, "the imports were not read"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None
