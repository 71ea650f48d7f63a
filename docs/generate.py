"""Write the parts of the documentation that the code can tell by itself; with `--check`, only say which are stale.

    docs/cli.md            every command's --help
    docs/schema/*.json     the JSON schemas of what a run writes
    docs/score.md          the table of score.json's fields        (between markers)
    docs/world.md          forms, kinds, fields and lessons        (between markers)
    docs/world.png         some scenes of the drawn world; docs/charts.png some of the second one
    docs/validity.md       what validity.py, ladder.py, awareness.py, controls.py and corrected.py of benchmarks/ found
                           (between markers)
    docs/distilled.md      what und.py and distillation.py of benchmarks/ found  (between markers)
    docs/tiny.md           the tiny models' sizes and marks        (between markers)
    docs/llms.txt          the site's pages for language models: llms.py
    docs/guide.md          an example's output, and what runs cost (between markers)
    CONTRIBUTING.md        the modules, and what each is for       (between markers)

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
from collections import Counter
from contextlib import contextmanager, redirect_stdout
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, get_args, get_origin
from unittest.mock import patch

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import llms

from unsaf_async import Examination, Manifest, Settings
from unsaf_async.cli import app
from unsaf_async.runs.estimate import estimate
from unsaf_async.runs.findings import Findings
from unsaf_async.runs.prepare import prepare
from unsaf_async.score.run_score import Score
from unsaf_async.score.unf1 import Counts
from unsaf_async.tiny.folders import shipped
from unsaf_async.world import describe, language, lessons, questions
from unsaf_async.world.charts import language as chart_language
from unsaf_async.world.make import distinct_scenes, fields_tables
from unsaf_async.world.worlds import CHARTS, SHAPES, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pydantic import BaseModel

    from unsaf_async.records import Kind
    from unsaf_async.world.language import Form
    from unsaf_async.world.questions import Posed

ROOT = Path(__file__).parents[1]

SCHEMAS: dict[str, type[BaseModel]] = {"score": Findings, "examination": Examination, "manifest": Manifest}

PRICED = ("gpt-5.4-mini", "gpt-6-luna", "gpt-6.1-sol", "claude-haiku-5-5", "claude-sonnet-5-5", "gemini-3.5-flash-lite")
"""The models whose cost the guide gives."""

EXAMPLE = ("run", "--provider", "scripted", "--out", "runs/first")
"""The command whose output the guide shows."""

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
    stale = {file: content for file, content in generated().items() if not file.is_file() or differs(file, content)}
    for file, content in stale.items():
        if check:
            sys.stderr.write(f"{file.relative_to(ROOT)} is stale; run `make docs`\n")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
            sys.stdout.write(f"{file.relative_to(ROOT)} written\n")
    return 1 if check and stale else 0


def differs(file: Path, content: str | bytes) -> bool:
    """Whether `file` holds something else. Of pictures the pixels count: how they are packed depends on the machine's zlib."""
    if isinstance(content, str):
        return file.read_text("utf-8") != content
    with Image.open(file) as found, Image.open(io.BytesIO(content)) as wanted:
        return not np.array_equal(np.asarray(found), np.asarray(wanted))


def generated() -> dict[Path, str | bytes]:
    """Every file that is generated, whole or in part, and what it should hold now."""
    files: dict[Path, str | bytes] = {ROOT / "docs" / "cli.md": cli_page()}
    for name, model in SCHEMAS.items():
        files[ROOT / "docs" / "schema" / f"{name}.json"] = json.dumps(schema(model), indent=2) + "\n"
    files[ROOT / "docs" / "score.md"] = filled(ROOT / "docs" / "score.md", {"fields": field_table()})
    files[ROOT / "docs" / "world.md"] = filled(ROOT / "docs" / "world.md", world_parts())
    files[ROOT / "docs" / "world.png"] = world_picture(SHAPES)
    files[ROOT / "docs" / "charts.png"] = world_picture(CHARTS)
    files[ROOT / "docs" / "validity.md"] = filled(ROOT / "docs" / "validity.md", validity_parts())
    files[ROOT / "docs" / "distilled.md"] = filled(ROOT / "docs" / "distilled.md", distilled_parts())
    files[ROOT / "docs" / "tiny.md"] = filled(ROOT / "docs" / "tiny.md", tiny_parts())
    files[ROOT / "docs" / "guide.md"] = filled(
        ROOT / "docs" / "guide.md", {"output": example_output(), "cost": cost_table()}
    )
    files[ROOT / "docs" / "llms.txt"] = llms.text(files)
    files[ROOT / "CONTRIBUTING.md"] = filled(ROOT / "CONTRIBUTING.md", {"tree": file_tree()})
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
    parts = [
        "# The command line\n\nEvery command and option, from the commands' own help. Written by `make docs`; do not edit.\n"
    ]
    for words in commands():
        name = " ".join(["unsaf-async", *words])
        parts.append(f"## `{name}`\n\n```text\n{help_text(words)}\n```\n")
    return "\n".join(parts)


# --- what a run writes --------------------------------------------------------------------------------------------


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstring beneath each field of `model`, inherited ones included, on one line, where there is one."""
    records = [base for base in reversed(model.__mro__) if base.__module__.startswith("unsaf_async")]
    return {
        field.target.id: _one_line(text.value.value)
        for record in records
        for field, text in pairwise(_body(record))
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


PLACEHOLDERS = {"by_kind": "KIND", "kinds": "KIND", "audits": "AUDITOR", "by_label": "LABEL", "deciders": "DECIDER"}
"""What stands for the keys of a field that holds records by name."""


def field_table() -> str:
    """The table of score.json's fields, nested ones included."""
    ratios = {
        name: _one_line(value.__doc__ or "") for name, value in vars(Counts).items() if isinstance(value, property)
    }
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]

    def add(prefix: str, model: type[BaseModel]) -> None:
        described = schema(model)
        docs = field_docs(model)
        for name, field in model.model_fields.items():
            path = prefix + name
            meaning = MEANINGS.get(path) or docs.get(name) or ratios.get(name)
            if not meaning:
                raise ValueError(f"{model.__name__}.{name}: has no docstring; write one, or add it to MEANINGS")
            meaning = re.sub(r"\bNone\b", "null", meaning).replace("|", "&#124;")
            rows.append(f"| `{path}` | {_type(described['properties'][name])} | {meaning} |")
            inner, container = _record_in(field.annotation)
            if inner is not None and inner is not Score:  # whose fields are those of the whole
                step = {dict: f".{PLACEHOLDERS.get(name, 'NAME')}.", list: "[].", tuple: "[]."}.get(container, ".")
                add(path + step, inner)

    add("", Findings)
    return "\n".join(rows)


def _record_in(annotation: Any) -> tuple[type[BaseModel] | None, Any]:
    """The record that a field holds, and the container around it, if any."""
    from pydantic import BaseModel as Base

    if inspect.isclass(annotation) and issubclass(annotation, Base):
        return annotation, None
    for inner in get_args(annotation):
        found, container = _record_in(inner)
        if found is not None:
            origin = get_origin(annotation)
            return found, container or (origin if origin in (dict, list, tuple) else None)
    return None, None


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


# --- the drawn world ----------------------------------------------------------------------------------------------

SHOWN = 5
"""How many scenes of the test split the picture shows. The examples are about the first."""


def world_picture(world: World[Any]) -> bytes:
    """docs/world.png and docs/charts.png: scenes side by side, three times as large, pixel by pixel."""
    gap = np.full((48, 4, 3), 255, np.uint8)
    row = [part for _, picture in distinct_scenes("test", SHOWN, seed=0, world=world) for part in (gap, picture)][1:]
    large = np.concatenate(row, axis=1).repeat(3, axis=0).repeat(3, axis=1)
    file = io.BytesIO()
    Image.fromarray(large).save(file, "PNG", optimize=True)
    return file.getvalue()


def world_parts() -> dict[str, str]:
    """The generated parts of docs/world.md."""
    ((scene, _),) = distinct_scenes("test", 1, seed=0)
    ((chart, _),) = distinct_scenes("test", 1, seed=0, world=CHARTS)
    return {
        "scene": f"```text\n{scene}\n```",
        "forms": form_table(scene),
        "kinds": kind_table(scene),
        "never": never_table(),
        "chart": f"```text\n{chart}\n```",
        "chart-forms": form_table(chart, CHARTS, chart_language.FORMS),
        "chart-never": never_table(chart_language.NEVER),
        "lessons": lesson_table(),
        "fields": fields_tables(),
    }


def form_table(scene: Any, world: World[Any] = SHAPES, forms: Sequence[Form] = language.FORMS) -> str:
    """One question of each form about `scene`."""
    rows = ["| form | example | reply | of 100 answerable ones |", "| --- | --- | --- | --- |"]
    asked = Counter(posed.form for posed in many(world.answerable, world))
    for form in forms:
        posed = example(scene, form, world)
        rows.append(f"| `{form.name}` | {posed.text} | {posed.reply} | {100 * asked[form.name] / asked.total():.0f} |")
    return "\n".join(rows)


def example(scene: Any, form: Form, world: World[Any]) -> Posed:
    """A question of `form` about `scene`, one with an answer if the form has any."""
    for pose in (world.answerable, world.unanswerable):
        for seed in range(10_000):
            posed = pose(scene, Random(seed))
            if posed and posed.form == form.name:
                return posed
    raise ValueError(f"no question of the form {form.name!r} about {scene}")


def kind_table(scene: Any) -> str:
    """One question of each kind about `scene`."""
    rows = ["| kind | example | reply | of 100 unanswerable ones |", "| --- | --- | --- | --- |"]
    asked = Counter(posed.kind for posed in many(questions.unanswerable, SHAPES))
    for kind in questions.UNANSWERABLE:
        posed = questions.unanswerable(scene, Random(0), kind)
        assert posed
        rows.append(f"| `{kind}` | {posed.text} | {posed.reply} | {100 * asked[kind] / asked.total():.0f} |")
    return "\n".join(rows)


def many(pose: Callable[[Any, Random], Posed | None], world: World[Any]) -> list[Posed]:
    """Ten questions about each of 1,000 scenes."""
    rng = Random(0)
    posed = [pose(scene, rng) for scene in [world.draw(rng) for _ in range(1000)] for _ in range(10)]
    return [each for each in posed if each]


def never_table(never: Mapping[Kind, Sequence[Form]] = language.NEVER) -> str:
    """The questions that no scene answers."""
    rows = ["| kind | questions |", "| --- | --- |"]
    for kind, forms in never.items():
        templates = "<br>".join(form.template for form in forms)
        rows.append(f"| `{kind}` | {templates.replace('{', '*').replace('}', '*')} |")
    return "\n".join(rows)


def lesson_table() -> str:
    """What a scene brings in training."""
    again = f"of 100 lists {100 * lessons.AGAIN_SHARE:.0f} are asked for with questions that are not to be repeated"
    others = f'"{describe.DESCRIBE_BY_SHAPE}", "{describe.DESCRIBE_BY_COLOR}": where each is, or nothing'
    rows = [
        ("describe", f'"{describe.DESCRIBE}": what is in each cell; or {others}', 1),
        ("answer", "a question that the picture answers", lessons.ANSWERS),
        ("decline", "a question that it does not answer", lessons.DECLINE_SHARE),
        ("write", f"a list of answerable questions; {again}", lessons.WRITE_SHARE),
        ("write", "a list of unanswerable questions, each with its kind; the same", lessons.WRITE_SHARE),
    ]
    table = [f"| {skill} | {lesson} | {number:g} |" for skill, lesson, number in rows]
    return "\n".join(["| skill | lesson | on average per scene |", "| --- | --- | --- |", *table])


# --- the tiny models ------------------------------------------------------------------------------------------------


def tiny_parts() -> dict[str, str]:
    """The generated parts of docs/tiny.md, from the models' own training records."""
    trained = [json.loads((folder / "training.json").read_text("utf-8")) for folder in shipped()]
    rows = []
    for told in trained:
        rung, last = told["model"], told["log"][-1]
        figures = " | ".join(
            f"{last[name]:.3f}" for name in ("accuracy", "declines_perceptual", "over_refusal", "pope")
        )
        rows.append(
            f"| `{rung['name']}` | {told['parameters']:,} | {rung['hidden']} | {rung['vision_layers']} + {rung['text_layers']} | "
            f"{last['step']:,} | {last['cpu_s']:,.0f} | {figures} |"
        )
    head = "| model | parameters | width | layers (vision + text) | steps | CPU-s | accuracy | declines | over-refusal | probes |"
    ladder = "\n".join([head, "| --- " * 10 + "|", *rows])
    names = [form.name for form in questions.ANSWERABLE]
    forms = ["| form | " + " | ".join(f"`{told['model']['name']}`" for told in trained) + " |"]
    forms += ["| --- " * (1 + len(trained)) + "|"]
    forms += [
        f"| `{name}` | " + " | ".join(f"{told['log'][-1][f'right answer {name}']:.2f}" for told in trained) + " |"
        for name in names
    ]
    return {"ladder": ladder, "forms": "\n".join(forms)}


# --- validity -----------------------------------------------------------------------------------------------------------


def validity_parts() -> dict[str, str]:
    """The generated parts of docs/validity.md, from what benchmarks/validity.py and benchmarks/corrected.py found."""
    found, corrected = (
        json.loads((ROOT / "docs" / "validity" / f"{name}.json").read_text("utf-8"))
        for name in ("results", "corrected")
    )
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from corrected import table as corrected_table
    from validity import form_table, gate_table, kind_table, table

    studies = found["studies"]
    return {
        "figures": table(studies),
        "corrected": corrected_table(corrected),
        "kinds": kind_table(studies),
        "forms": form_table(studies),
        "gates": gate_table(found["planted"]),
        **ladder_parts(),
        **control_parts(),
        **awareness_parts(),
    }


def ladder_parts() -> dict[str, str]:
    """The generated parts of docs/validity.md about the ladders of sizes, from what benchmarks/ladder.py found."""
    found, charts = (
        json.loads((ROOT / "docs" / "validity" / f"{name}.json").read_text("utf-8")) for name in ("ladder", "charts")
    )
    from ladder import error_table, ladder_table, size_table
    from validity import table

    return {
        "ladder": ladder_table(found),
        "sizes": size_table(found["sizes"], found["parameters"]),
        "sizes-errors": error_table(found["without_effect"]),
        "charts-figures": table(charts["studies"]),
        "charts-sizes": size_table(found["charts"], found["charts_parameters"]),
    }


def control_parts() -> dict[str, str]:
    """The generated parts of docs/validity.md about controls, from what benchmarks/controls.py found."""
    found = json.loads((ROOT / "docs" / "validity" / "controls.json").read_text("utf-8"))
    from controls import control_table, difference_table, planted_table, truth_table

    return {
        "controls": control_table(found["own"]),
        "controls-truth": truth_table(found["own"]),
        "controls-differences": difference_table(found["own"]),
        "controls-bank": control_table(found["bank"]),
        "controls-bank-differences": difference_table(found["bank"]),
        "controls-planted": planted_table(found),
    }


def awareness_parts() -> dict[str, str]:
    """The generated parts of docs/validity.md about planted awareness, from what benchmarks/awareness.py found."""
    found = json.loads((ROOT / "docs" / "validity" / "awareness.json").read_text("utf-8"))
    from awareness import error_table, ladder_table, slope_table

    return {
        "awareness-slopes": slope_table(found["slopes"]),
        "awareness-levels": ladder_table(found["rows"]["awareness"], "awareness"),
        "awareness-criterion": ladder_table(found["rows"]["criterion"], "to decline"),
        "awareness-half": ladder_table(found["rows"]["criterion at half"], "to decline"),
        "awareness-errors": error_table(found["without_effect"]),
    }


# --- distillation -------------------------------------------------------------------------------------------------------


def distilled_parts() -> dict[str, str]:
    """The generated parts of docs/distilled.md, from what benchmarks/und.py and benchmarks/distillation.py found."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from distillation import change_table
    from und_tables import TABLES

    found = json.loads((ROOT / "docs" / "distilled" / "und.json").read_text("utf-8"))
    shipped = json.loads((ROOT / "docs" / "distilled" / "shipped.json").read_text("utf-8"))
    return {name: table(found) for name, table in TABLES.items()} | {"shipped-change": change_table(shipped)}


# --- the guide ----------------------------------------------------------------------------------------------------


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


def file_tree() -> str:
    """The package's modules as a tree, each with the first sentence of its docstring."""
    package = ROOT / "unsaf_async"
    lines = []
    for file in sorted(
        package.rglob("*.py"), key=lambda file: (file.parent.parts, file.name != "__init__.py", file.name)
    ):
        text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        (sentence, *_) = re.split(r"(?<=[^.][.?!])\s|: *\n|\n\n", text, maxsplit=1)
        depth = len(file.parent.relative_to(package).parts)
        if file.name == "__init__.py":
            name = f"{'  ' * depth}{file.parent.name}/"
        elif file.name == "__main__.py":
            continue
        else:
            name = f"{'  ' * (depth + 1)}{file.name}"
        lines.append(f"{name:<26} {textwrap.shorten(_one_line(sentence), 93, placeholder=' ...')}".rstrip())
    return "```text\n" + "\n".join(lines) + "\n```"


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
