"""Write the parts of the documentation that the code can tell by itself; with `--check`, only say which are stale.

    docs/cli.md            every command's --help
    docs/schema/*.json     the JSON schemas of what a run writes
    docs/score.md          the table of score.json's fields        (between markers)
    README.md              an example's output, and what runs cost (between markers)

The result depends on the versions in constraints.txt: help texts are laid out by typer, prices come with litellm.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import inspect
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from contextlib import contextmanager, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from unsaf_async import Examination, Manifest, Score, Settings
from unsaf_async.cli import app
from unsaf_async.estimate import estimate
from unsaf_async.score import Calls, Counts, ImageCounts, KindScore, QuestionCounts, Tokens
from unsaf_async.settings import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

ROOT = Path(__file__).parents[1]

SCHEMAS: dict[str, type[BaseModel]] = {"score": Score, "examination": Examination, "manifest": Manifest}

PRICED = ("gpt-4o", "gpt-4o-mini", "gpt-5.1", "claude-haiku-4-5", "claude-sonnet-4-5", "gemini-2.5-flash")
"""The models whose cost the README tells."""

EXAMPLE = ("run", "--provider", "scripted", "--out", "runs/first")
"""The command whose output the README shows."""

MEANINGS = {
    "unf1": "The headline, in [0, 1]: 2 TU / (2 TU + FU + FA)",
    "images": "Images by how they ended",
    "questions": "Written items of the examined images, by what became of them",
    "questions.asked": "Put to the model",
    "calls": "Calls of the run, all its sessions together",
    "tokens": "Tokens of the run, as the provider counted them, all its sessions together",
    "tokens.cached_input": "Part of `input` that the provider had cached",
    "tokens.reasoning": "Part of `output` that was thinking",
    "cost_usd": "What the run is booked with; attempts of unknown fate at their worst case",
    "wall_s": "Seconds that the run took, all its sessions together",
    "by_kind.KIND.tu": "Abstained",
    "by_kind.KIND.fa": "Answered",
    "by_kind.KIND.unscored": "In neither of the two",
    "by_kind.KIND.unf1": "UnF1 of this kind: 2 r / (1 + r + FU / (TU + FA)), r being its recall; null if none was scored",
}
"""Meanings of score fields that need more, or other, words than their docstrings have."""


def main(arguments: list[str] | None = None) -> int:
    """0; with --check, 1 if anything is stale."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if anything is stale")
    check: bool = parser.parse_args(arguments).check
    stale = {file: text for file, text in generated().items() if not file.is_file() or file.read_text("utf-8") != text}
    for file, text in stale.items():
        if check:
            sys.stderr.write(f"{file.relative_to(ROOT)} is stale; run `make docs`\n")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
            sys.stdout.write(f"{file.relative_to(ROOT)} written\n")
    return 1 if check and stale else 0


def generated() -> dict[Path, str]:
    """Every file that is generated, whole or in part, and what it should hold now."""
    files = {ROOT / "docs" / "cli.md": cli_page()}
    for name, model in SCHEMAS.items():
        files[ROOT / "docs" / "schema" / f"{name}.json"] = json.dumps(schema(model), indent=2) + "\n"
    files[ROOT / "docs" / "score.md"] = filled(ROOT / "docs" / "score.md", {"fields": field_table()})
    files[ROOT / "README.md"] = filled(ROOT / "README.md", {"output": example_output(), "cost": cost_table()})
    return files


def filled(file: Path, parts: dict[str, str]) -> str:
    """The text of `file` with `parts` between their markers. Raises ValueError if a marker is missing."""
    text = file.read_text("utf-8")
    for name, part in parts.items():
        begin, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
        if begin not in text or end not in text:
            raise ValueError(f"{file}: has no markers for {name!r}")
        head, rest = text.split(begin, 1)
        text = f"{head}{begin}\n{part.strip()}\n\n{end}{rest.split(end, 1)[1]}"
    return text


# --- the command line ---------------------------------------------------------------------------------------------


def commands() -> list[list[str]]:
    """Every command's words, groups included: [], ["run"], ["cache"], ["cache", "info"], ..."""
    from typer.main import get_command

    def walk(words: list[str], command: Any) -> Iterator[list[str]]:
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk([*words, name], inner)

    return list(walk([], get_command(app)))


def help_text(words: list[str]) -> str:
    """What `unsaf-async WORDS --help` prints, 80 columns wide."""
    printed = io.StringIO()
    with patch.dict(os.environ, {"COLUMNS": "82"}), redirect_stdout(printed):
        app([*words, "--help"], standalone_mode=False, prog_name="unsaf-async")
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def cli_page() -> str:
    """docs/cli.md."""
    parts = ["# The command line\n\nWritten by `make docs` from the commands' own help; do not edit.\n"]
    for words in commands():
        name = " ".join(["unsaf-async", *words])
        parts.append(f"## `{name}`\n\n```text\n{help_text(words)}\n```\n")
    return "\n".join(parts)


# --- what a run writes --------------------------------------------------------------------------------------------


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstring beneath each field of `model`, on one line, where there is one."""
    body = _body(model)
    return {
        field.target.id: _one_line(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _body(model: type) -> list[ast.stmt]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    return definition.body


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of `model` as it is written, each field with its docstring as description."""
    found = model.model_json_schema(mode="serialization")
    classes = {each.__name__: each for each in _models(model)}
    for name, definition in {model.__name__: found, **found.get("$defs", {})}.items():
        for field, text in field_docs(classes[name]).items() if name in classes else ():
            definition["properties"][field].setdefault("description", text)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """`model` and every model in its fields."""
    from typing import get_args

    from pydantic import BaseModel as Base

    found: set[type[BaseModel]] = set()

    def visit(annotation: Any) -> None:
        if inspect.isclass(annotation) and issubclass(annotation, Base):
            if annotation not in found:
                found.add(annotation)
                for field in annotation.model_fields.values():
                    visit(field.annotation)
        else:
            for inner in get_args(annotation):
                visit(inner)

    visit(model)
    return found


def field_table() -> str:
    """The table of score.json's fields, nested ones included."""
    parts: dict[str, tuple[str, type[BaseModel]]] = {
        "counts": ("counts.", Counts),
        "by_kind": ("by_kind.KIND.", KindScore),
        "images": ("images.", ImageCounts),
        "questions": ("questions.", QuestionCounts),
        "calls": ("calls.", Calls),
        "tokens": ("tokens.", Tokens),
    }
    ratios = {
        name: _one_line(value.__doc__ or "") for name, value in vars(Counts).items() if isinstance(value, property)
    }
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]

    def add(prefix: str, model: type[BaseModel]) -> None:
        described = schema(model)
        docs = field_docs(model)
        for name in model.model_fields:
            path = prefix + name
            meaning = MEANINGS.get(path) or (ratios.get(name) if not prefix else None) or docs.get(name)
            if not meaning:
                raise ValueError(f"{model.__name__}.{name}: has no docstring; write one, or add it to MEANINGS")
            meaning = re.sub(r"\bNone\b", "null", meaning).replace("|", "&#124;")
            rows.append(f"| `{path}` | {_type(described['properties'][name])} | {meaning} |")
            if not prefix and name in parts:
                add(*parts[name])

    add("", Score)
    return "\n".join(rows)


def _type(property_schema: dict[str, Any]) -> str:
    if "anyOf" in property_schema:
        return " or ".join(_type(each) for each in property_schema["anyOf"])
    if "enum" in property_schema:
        return " or ".join(f'"{each}"' for each in property_schema["enum"])
    if "prefixItems" in property_schema:
        return f"[{', '.join(_type(each) for each in property_schema['prefixItems'])}]"
    if property_schema.get("type") == "array":
        return f"list of {_type(property_schema['items'])}"
    return str(property_schema.get("type", "object"))


# --- the README ---------------------------------------------------------------------------------------------------


def example_output() -> str:
    """What the example command prints on stdout, with a fixed wall time."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "unsaf_async", *EXAMPLE],
            cwd=folder,
            env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "UNSAF_CACHE": ""},
            capture_output=True,
            text=True,
            check=True,
        )
    text = re.sub(r"tokens; [0-9.]+ s\n", "tokens; 0.4 s\n", done.stdout)
    return "```text\n" + "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n```"


def cost_table() -> str:
    """What the shipped photos cost with some models, as `estimate` says."""
    rows = [
        "| model | USD per million tokens, in / out | calls | expected | at worst |",
        "| --- | --- | --- | --- | --- |",
    ]
    source = ""
    with _some_keys():
        for name in PRICED:
            prepared = asyncio.run(prepare(Settings(name)))
            figures = estimate(prepared)
            price = prepared.subject.price
            assert price is not None
            source = price.source
            rows.append(
                f"| `{name}` | {price.input_usd_per_mtok:g} / {price.output_usd_per_mtok:g} | {figures.calls} "
                f"| ${figures.expected_usd:.2f} | ${figures.worst_usd:.2f} |"
            )
    return "\n".join([*rows, "", f"Prices: {source}."])


@contextmanager
def _some_keys() -> Iterator[None]:
    """Estimating calls nobody, yet wants the keys to be set."""
    keys = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"), "none")
    with patch.dict(os.environ, keys):
        yield


if __name__ == "__main__":
    sys.exit(main())
