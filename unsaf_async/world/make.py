"""Folders of the world: pictures with a manifest that a run reads, labelled questions, yes/no probes, and a card.

The same arguments give the same bytes, whatever else was made before; and a larger folder begins with what a smaller
one of the same seed holds.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from itertools import cycle, islice
from platform import python_version
from random import Random
from typing import TYPE_CHECKING, Any, cast, get_args

import orjson

from unsaf_async.errors import UserError
from unsaf_async.world.grid import IMAGE_PX, G, Grid, SceneSplit
from unsaf_async.world.questions import UNANSWERABLE, Posed
from unsaf_async.world.worlds import SHAPES, WORLDS, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from unsaf_async.records import Kind

MOST_SCENES = 99_999
"""Five digits: the names of the pictures sort as they were made."""
MOST_QUESTIONS = 50
"""Answerable questions about a scene, and as many unanswerable ones: what a scene of two things can bear without repetition."""
PROBES = 3
"""Probes of what is there about a scene, and as many of what is not: as in POPE. Fewer where a scene has fewer."""
MOST_IN_VAIN = 2000
"""Questions in a row that were there before: then a scene is taken to have no others."""

FIELDS = {
    "manifest.jsonl": {
        "image": "The picture's path, from this folder",
        "id": "The picture's name without its suffix",
        "world": "`shapes` or `charts`",
        "scene": "The nine cells, row by row, as `Scene.read` takes them (of `charts`: `Chart.read`)",
        "split": "`train`, `validation` or `test`",
        "seed": "Of the drawing",
    },
    "labelled.jsonl": {
        "image": "The picture's path, from this folder",
        "id": "The question's: the picture's id and a number",
        "question": "The question",
        "answers": "The accepted answers: one, or none if there is no answer",
        "answerable": "Whether the picture answers the question",
        "kind": "Why there is no answer; null if there is one",
        "form": "The question's form",
    },
    "pope.jsonl": {
        "question_id": "A number from 1, over the whole file",
        "image": "The picture's path, from this folder",
        "text": "The question",
        "label": "`yes` or `no`, half each for every picture",
    },
}
"""What the rows of each file hold."""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One picture."""

    image: str
    id: str
    world: str
    scene: str
    split: SceneSplit
    seed: int


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One question about a picture, with what is true of it."""

    image: str
    id: str
    question: str
    answers: tuple[str, ...]
    answerable: bool
    kind: Kind | None
    form: str


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One yes/no probe, in the fields of POPE (Li et al., "Evaluating Object Hallucination in Large Vision-Language Models")."""

    question_id: int
    image: str
    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Made:
    """What a folder holds."""

    manifest: list[ManifestRow]
    labelled: list[LabelledRow]
    probes: list[ProbeRow]

    @property
    def answerable(self) -> int:
        """How many of the labelled questions have an answer."""
        return sum(row.answerable for row in self.labelled)

    @property
    def unanswerable(self) -> int:
        """How many of the labelled questions have none."""
        return len(self.labelled) - self.answerable


def make(
    folder: Path,
    count: int,
    split: SceneSplit = "test",
    seed: int = 0,
    questions: int = 4,
    world: World[Any] = SHAPES,
) -> Made:
    """Writes scenes, with questions and probes about them, into a folder; no scene is there twice.

    The manifest is written last: a folder without one is not whole.

    Args:
        folder: A new or empty folder, which is made.
        count: Scenes, from 1 to `MOST_SCENES`.
        split: The scenes' split.
        seed: Of the drawing, from 0 to 2**31 - 1.
        questions: Answerable questions about each scene, and as many unanswerable ones, of all kinds in turn; from 1 to
            `MOST_QUESTIONS`.
        world: The world.

    Returns:
        What was written.

    Raises:
        UserError: A number is out of range; the folder is not empty or cannot be written.
    """
    _check(count, seed, questions)
    made = Made([], [], [])
    kinds = cycle(UNANSWERABLE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(f"{folder}: is not empty; give another folder", field="out")
        (folder / "images").mkdir()
        for number, (scene, picture) in enumerate(distinct_scenes(split, count, seed, world), 1):
            name = f"{split}-{seed}-{number:05d}"
            image = f"images/{name}.png"
            rng = Random(f"questions {name}")
            _write_png(folder / image, picture)
            made.manifest.append(ManifestRow(image, name, world.name, str(scene), split, seed))
            made.labelled.extend(_labelled(image, name, _posed(world, scene, rng, questions, kinds)))
            made.probes.extend(_probes(world, image, scene, rng, first=len(made.probes) + 1))
        _write_rows(folder / "labelled.jsonl", made.labelled)
        _write_rows(folder / "pope.jsonl", made.probes)
        (folder / "README.md").write_text(_card(made, split, seed, questions, world.name), "utf-8", newline="\n")
        _write_rows(folder / "manifest.jsonl", made.manifest)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); give another folder", field="out") from None
    return made


def distinct_scenes(
    split: SceneSplit, count: int, seed: int, world: World[Any] = SHAPES
) -> Iterator[tuple[Any, NDArray[np.uint8]]]:
    """The first different scenes of those that a world draws, with their pictures.

    Args:
        split: The scenes' split.
        count: How many.
        seed: Of the drawing.
        world: The world.

    Yields:
        (scene, picture [48, 48, 3]).
    """
    return islice(distinct(world.scenes(split, sys.maxsize, seed)), count)


def distinct(drawn: Iterable[tuple[G, NDArray[np.uint8]]]) -> Iterator[tuple[G, NDArray[np.uint8]]]:
    """Scenes without those that were drawn before.

    Args:
        drawn: Scenes with their pictures.

    Yields:
        (scene, picture), each scene once.
    """
    seen: set[G] = set()
    for scene, picture in drawn:
        if scene not in seen:
            seen.add(scene)
            yield scene, picture


def fields_tables() -> str:
    """The tables of `FIELDS`, in Markdown."""
    parts = []
    for file, fields in FIELDS.items():
        rows = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in fields.items())
        parts.append(f"`{file}`:\n\n| field | meaning |\n| --- | --- |\n{rows}")
    return "\n\n".join(parts)


# --- what is asked for --------------------------------------------------------------------------------------------


def split_named(name: str) -> SceneSplit:
    """The split of a name.

    Args:
        name: What a user gave.

    Returns:
        The split.

    Raises:
        UserError: There is none of this name.
    """
    for split in get_args(SceneSplit):
        if split == name:
            return cast("SceneSplit", split)
    raise UserError(f"is {name!r}; give train, validation or test", field="split")


def world_named(name: str) -> World[Any]:
    """The world of a name.

    Args:
        name: What a user gave.

    Returns:
        The world.

    Raises:
        UserError: There is none of this name.
    """
    if name not in WORLDS:
        raise UserError(f"is {name!r}; give {' or '.join(WORLDS)}", field="world")
    return WORLDS[name]


def _check(count: int, seed: int, questions: int) -> None:
    if not 1 <= count <= MOST_SCENES:
        raise UserError(f"is {count}; give a whole number from 1 to {MOST_SCENES}", field="scenes")
    if not 0 <= seed < 2**31:
        raise UserError(f"is {seed}; give a whole number from 0 to {2**31 - 1}", field="seed")
    if not 1 <= questions <= MOST_QUESTIONS:
        raise UserError(f"is {questions}; give a whole number from 1 to {MOST_QUESTIONS}", field="questions")


# --- rows ---------------------------------------------------------------------------------------------------------


def _posed(world: World[Any], scene: Grid[Any], rng: Random, count: int, kinds: Iterator[Kind]) -> list[Posed]:
    """`count` answerable questions about `scene`, then `count` unanswerable ones, of the next kinds in turn."""
    answered = _different(count, lambda: world.answerable(scene, rng))
    return answered + _different(count, lambda: world.unanswerable(scene, rng, next(kinds)))


def _different(count: int, pose: Callable[[], Posed | None]) -> list[Posed]:
    """`count` questions that `pose` brings, each once; fewer where it brings no others."""
    by_text: dict[str, Posed] = {}
    in_vain = 0
    while len(by_text) < count and in_vain < MOST_IN_VAIN:
        posed = pose()
        in_vain = 0 if posed and posed.text not in by_text else in_vain + 1
        if posed:
            by_text.setdefault(posed.text, posed)
    return list(by_text.values())


def _labelled(image: str, name: str, posed: Iterable[Posed]) -> Iterator[LabelledRow]:
    for number, each in enumerate(posed, 1):
        answers = () if each.kind else (each.reply,)
        yield LabelledRow(image, f"{name}-{number}", each.text, answers, not each.kind, each.kind, each.form)


def _probes(world: World[Any], image: str, scene: Grid[Any], rng: Random, first: int) -> Iterator[ProbeRow]:
    """Probes in turn, yes and no, numbered from `first`."""
    there = _different(PROBES, lambda: world.probe(scene, rng, present=True))
    missing = _different(PROBES, lambda: world.probe(scene, rng, present=False))
    for yes, no in zip(there, missing, strict=False):  # two bars that are alike have two names
        yield ProbeRow(first, image, yes.text, "yes")
        yield ProbeRow(first + 1, image, no.text, "no")
        first += 2


# --- files --------------------------------------------------------------------------------------------------------


def _write_png(file: Path, picture: NDArray[np.uint8]) -> None:
    """Without metadata, and with fixed parameters: equal pixels are equal bytes (for one version of Pillow)."""
    from PIL import Image

    Image.fromarray(picture).save(file, "PNG", compress_level=9)


def _write_rows(file: Path, rows: Iterable[ManifestRow | LabelledRow | ProbeRow]) -> None:
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _card(made: Made, split: SceneSplit, seed: int, questions: int, world: str) -> str:
    named = "" if world == SHAPES.name else f" --world {world}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("unsaf-async", "numpy", "pillow"))
    kinds: Counter[str] = Counter(row.kind for row in made.labelled if row.kind)
    forms = Counter(row.form for row in made.labelled if not row.kind)
    return f"""# {len(made.manifest)} scenes of the drawn world{" `" + world + "`" if named else ""}

Drawn, and asked about, by

```text
unsaf-async world make --scenes {len(made.manifest)} --split {split} --seed {seed} --questions {questions}{named} --out DIR
```

with {versions}, Python {python_version()}. The same versions make the same bytes again. What is true of a picture is known
because the scene came first. No scene of one split occurs in another, whatever the seed.

- `images/`: {len(made.manifest)} pictures of {IMAGE_PX} x {IMAGE_PX} pixels, each of another scene
- `manifest.jsonl`: the pictures, for `unsaf-async run --images manifest.jsonl`
- `labelled.jsonl`: {made.answerable} questions that their picture answers and {made.unanswerable} that it does not
- `pope.jsonl`: {len(made.probes)} yes/no probes, in the fields of POPE (Li et al., 2023)

## Fields

{fields_tables()}

## Counts

{_counts("kind of unanswerable question", kinds)}

{_counts("form of answerable question", forms)}
"""


def _counts(what: str, counts: Counter[str]) -> str:
    rows = "\n".join(f"| {name} | {counts[name]} |" for name in sorted(counts))
    return f"| {what} | questions |\n| --- | --- |\n{rows}"
