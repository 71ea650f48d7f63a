"""Public functions say what comes back, and document every argument in Google style.

A method marked `@override` of a documented class or protocol has its docstring there.
`python tests/test_docstrings.py unsaf_async/score` lists what is missing below a folder.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "unsaf_async"

Function = ast.FunctionDef | ast.AsyncFunctionDef

COMMAND_LINE = "cli"
"""The commands' docstrings are their help texts, and their options carry their own."""


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """The public functions of a module, and the public methods of its public classes, each with its dotted name."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, Function) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def arguments_of(function: Function) -> list[str]:
    """The names of the arguments, without `self` and `cls`."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    return [each.arg for each in named if each.arg not in ("self", "cls") and not each.arg.startswith("_")]


def sections_of(docstring: str) -> dict[str, str]:
    """The texts of the Google-style sections, by their names."""
    parts = re.split(
        r"^(Args|Returns|Yields|Raises|Example|Examples|Note|Source):[ \t]*$", docstring, flags=re.MULTILINE
    )
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def complaints(function: Function) -> Iterator[str]:
    """What the docstring of a public function lacks, a phrase each."""
    docstring = ast.get_docstring(function)
    decorators = {ast.unparse(each) for each in function.decorator_list}
    if not docstring and "override" in decorators:
        return
    if not docstring:
        yield "no docstring"
        return
    if decorators & {"property", "cached_property", "overload", "functools.cached_property"}:
        return
    arguments, sections = arguments_of(function), sections_of(docstring)
    if not arguments:
        return
    documented = re.findall(r"^    \*{0,2}(\w+)(?: \([^)\n]*\))?:", sections.get("Args", ""), flags=re.MULTILINE)
    if missing := [name for name in arguments if name not in documented]:
        yield f"Args: lacks {', '.join(missing)}"
    if unknown := [name for name in documented if name not in arguments]:
        yield f"Args: knows no {', '.join(unknown)}"
    returned = ast.unparse(function.returns) if function.returns else "None"
    if returned not in ("None", "Never", "NoReturn") and not {"Returns", "Yields"} & sections.keys():
        yield "Returns: is missing"


def found_in(file: Path) -> list[str]:
    """`file:line name: complaint` for every public function of a module."""
    where = file.relative_to(ROOT)
    return [
        f"{where}:{function.lineno} {name}: {complaint}"
        for name, function in public_functions(ast.parse(file.read_text("utf-8")))
        for complaint in complaints(function)
    ]


def files_below(place: Path) -> list[Path]:
    """The modules at or below `place` that are held to the rule."""
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    return [each for each in files if each.relative_to(PACKAGE).parts[0] != COMMAND_LINE]


@pytest.mark.parametrize("place", sorted(path.name for path in PACKAGE.iterdir()))
def test_public_functions_document_their_arguments(place: str) -> None:
    found = [line for file in files_below(PACKAGE / place) if file.suffix == ".py" for line in found_in(file)]
    assert not found, "\n".join(found)


def test_an_override_has_its_docstring_where_it_is_first_defined() -> None:
    bare, marked = ast.parse("def f(self, a): ...\n\n@override\ndef f(self, a): ...").body
    assert isinstance(bare, Function)
    assert isinstance(marked, Function)
    assert list(complaints(bare)) == ["no docstring"]
    assert not list(complaints(marked))


if __name__ == "__main__":
    lines = [line for each in sys.argv[1:] for file in files_below(Path(each).resolve()) for line in found_in(file)]
    sys.stdout.write("".join(f"{line}\n" for line in lines) + f"{len(lines)} complaints\n")
