"""TUBench: questions that their image does not answer, in four parts: code, photos, geometry and tables.

He et al., "TUBench: Benchmarking Large Vision-Language Models on Trustworthiness with Unanswerable Questions" (arXiv 2410.04107);
https://github.com/NLPCode/TUBench. The files are described by its vlms/gpt4.py (`read_input`). A part is a folder of numbered
folders:

    UCR/N/      1.txt, 1_u1.txt, 1_u2.txt, 1_u3.txt (question TAB label), and 1.png and so on
    UVQA/N/     vqa.txt (something TAB question TAB label, TAB strategy), and one .jpg
    UGeoQA/N/   N.json (subject, unanswerable_subject, choices, label), and N.png
    UTabMWP/N/  N.json (question, choices, answer), and N.png and N_u1.png, which does not answer the question

A label is Yes, No or Unanswerable.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from unsaf_async.errors import UserError
from unsaf_async.inputs.datasets.shared import Row, decoded, json_file
from unsaf_async.inputs.lists.entries import Entry
from unsaf_async.records import GivenQuestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARTS = ("UCR", "UVQA", "UGeoQA", "UTabMWP")

_UCR_FILES = ("1", "1_u1", "1_u2", "1_u3")


def subsets(folder: Path) -> dict[str, Path]:
    """The parts of TUBench in a folder.

    Args:
        folder: A folder that holds parts, or a part itself.

    Returns:
        The parts' folders by their names (`PARTS`); {} if the folder is not TUBench at all.

    Raises:
        UserError: The JSON file that would tell which part it is cannot be decoded.
    """
    if not folder.is_dir():
        return {}
    parts = {part: folder / part for part in PARTS if (folder / part).is_dir()}
    if parts:
        return parts
    here = _part_of(folder)
    return {here: folder} if here else {}


def _part_of(folder: Path) -> str | None:
    """Which part `folder` is, by the files of its first numbered folder."""
    first = next(iter(_numbered(folder)), None)
    if first is None:
        return None
    if (first / "vqa.txt").is_file():
        return "UVQA"
    if (first / "1.txt").is_file():
        return "UCR"
    file = first / f"{first.name}.json"
    if not file.is_file():
        return None
    fields = json_file(file)
    return "UGeoQA" if isinstance(fields, dict) and "unanswerable_subject" in fields else "UTabMWP"


def rows(path: Path, images: Path | None) -> Iterator[Row]:
    """The questions of TUBench, part by part.

    Args:
        path: A part, or the folder that holds some.
        images: Must be None: the images are in the folders of the questions.

    Yields:
        The rows, numbered through all parts.

    Raises:
        UserError: `images` is not None, no part is there, or a file is not as the format has it.
    """
    if images is not None:
        raise UserError(f": TUBench has its images next to its questions, in {path}; leave this out", field="images")
    parts = subsets(path)
    if not parts:
        raise UserError(
            f": {path} holds none of {', '.join(PARTS)}; unpack TUBench's datasets/ and give that folder", field="data"
        )
    numbers = count(1)
    for part, folder in parts.items():
        for question_id, image, text, label, answers, category in _ASK[part](folder, part):
            answerable = label != "unanswerable"
            given = GivenQuestion(
                text=text,
                intended="answerable" if answerable else "unanswerable",
                id=question_id,
                answers=answers,
                category=category,
            )
            yield Row(next(numbers), f"{part}/{image.parent.name}/{image.name}", (image,), given)


_Asked = tuple[str, Path, str, str, tuple[str, ...], str]
"""Id, image, text, label ("unanswerable" or another), accepted answers, category."""


def _numbered(folder: Path) -> list[Path]:
    numbered = [each for each in folder.iterdir() if each.name.isdecimal() and each.name.isascii() and each.is_dir()]
    return sorted(numbered, key=lambda each: (int(each.name), each.name))


def _ucr(folder: Path, part: str) -> Iterator[_Asked]:
    for each in _numbered(folder):
        for stem in _UCR_FILES:
            file = each / f"{stem}.txt"
            if not file.is_file():
                continue
            variant = stem.partition("_")[2]
            for line, cells in _lines(file, 2):
                label = _label(f"{file}:{line}", cells[1])
                category = f"{part} {variant}".strip()
                yield f"{part}/{each.name}/{stem}/{line}", file.with_suffix(".png"), cells[0], *label, category


def _uvqa(folder: Path, part: str) -> Iterator[_Asked]:
    for each in _numbered(folder):
        image = min(each.glob("*.jpg"), default=each / "*.jpg")
        for line, cells in _lines(each / "vqa.txt", 3):
            label = _label(f"{each / 'vqa.txt'}:{line}", cells[2])
            category = f"{part} strategy {cells[3].strip()}" if len(cells) > 3 else part
            yield f"{part}/{each.name}/{line}", image, cells[1].strip(), *label, category


def _ugeoqa(folder: Path, part: str) -> Iterator[_Asked]:
    for each in _numbered(folder):
        entry, choices = _choices(each)
        label = entry.fields.get("label")
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(choices):
            raise entry.wrong("label", f"a whole number from 0 to {len(choices) - 1}")
        image, name = each / f"{each.name}.png", f"{part}/{each.name}"
        # Where a blank is to be filled in, the benchmark asks with a question mark.
        solvable, unsolvable = (entry.text(key).replace("()", "?") for key in ("subject", "unanswerable_subject"))
        yield f"{name}/answerable", image, _offered(solvable, choices), "choice", (choices[label],), part
        yield f"{name}/unanswerable", image, _offered(unsolvable, choices), "unanswerable", (), part


def _utabmwp(folder: Path, part: str) -> Iterator[_Asked]:
    for each in _numbered(folder):
        entry, choices = _choices(each)
        answer = entry.text("answer")
        if answer not in choices:
            raise entry.wrong("answer", f"one of the choices ({', '.join(choices)[:100]})")
        text, name = _offered(entry.text("question"), choices), f"{part}/{each.name}"
        yield f"{name}/answerable", each / f"{each.name}.png", text, "choice", (answer,), part
        yield f"{name}/unanswerable", each / f"{each.name}_u1.png", text, "unanswerable", (), part


_ASK: dict[str, Callable[[Path, str], Iterator[_Asked]]] = {
    "UCR": _ucr,
    "UVQA": _uvqa,
    "UGeoQA": _ugeoqa,
    "UTabMWP": _utabmwp,
}


# --- files --------------------------------------------------------------------------------------------------------


def _lines(file: Path, at_least: int) -> Iterator[tuple[int, list[str]]]:
    """The lines of a text file with their numbers, cut at tabs; blank ones are passed over."""
    text = decoded(file.read_bytes().removeprefix(b"\xef\xbb\xbf"), str(file))
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        cells = line.strip().split("\t")
        if len(cells) < at_least or not cells[at_least - 2].strip():
            raise UserError(f"{file}:{number}: {line.strip()[:60]!r} is no question, tab, label; check the download")
        yield number, cells


def _label(where: str, cell: str) -> tuple[str, tuple[str, ...]]:
    """The label, in lower case, and the answers that go with it."""
    label = cell.strip().lower()
    if label not in ("yes", "no", "unanswerable"):
        raise UserError(f"{where}: the label is {cell[:60]!r}; give Yes, No or Unanswerable")
    return label, () if label == "unanswerable" else (label,)


def _choices(folder: Path) -> tuple[Entry, list[str]]:
    file = folder / f"{folder.name}.json"
    fields = json_file(file)
    if not isinstance(fields, dict):
        raise UserError(f"{file}: no JSON object; check the download")
    entry = Entry(str(file), 1, fields)
    choices = fields.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(each, str) for each in choices):
        raise entry.wrong("choices", "a list of texts")
    return entry, [each.strip() for each in choices]


def _offered(question: str, choices: list[str]) -> str:
    """The question with its choices, as the benchmark words it."""
    return f"{question} Answer Choices: {' '.join(f'({chr(97 + i)}) {choice}' for i, choice in enumerate(choices))}"
