"""The student's weights on disk: which tensors of its files make which parameter, and where their bytes lie.

transformers renames tensors on reading, and transposes or stacks those of some models. What belongs together, and how it
is put together and taken apart, is found by its own rules.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key
from transformers.utils import cached_file

from unsaf_async.distill.train.early import resolve
from unsaf_async.errors import UserError, setting

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from unsaf_async.distill.train.recipe import Recipe
    from unsaf_async.distill.train.student import Outline

INDEX = "model.safetensors.index.json"
"""Says which tensor is in which file, where there are several."""
_ONE = "model.safetensors"
_PICKLED = "pytorch_model.bin"
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Data types that are merged into, by their names in safetensors."""


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes lie: safetensors has them in one piece (https://github.com/huggingface/safetensors#format)."""

    file: Path
    start: int
    end: int
    kind: str
    """The data type, as safetensors calls it."""
    shape: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype | None:
        """The data type; None: one that is not merged into."""
        return _DTYPES.get(self.kind)

    def read(self) -> torch.Tensor:
        """The tensor, in single precision."""
        with self.file.open("rb") as file:
            file.seek(self.start)
            data = bytearray(file.read(self.end - self.start))
        return torch.frombuffer(data, dtype=_DTYPES[self.kind]).reshape(self.shape).float()

    def write(self, tensor: torch.Tensor, folder: Path) -> None:
        """Puts another tensor in this place, in a copy of the file.

        Args:
            tensor: Of the same shape; it is rounded to the data type.
            folder: Where the copy lies.
        """
        rounded = tensor.to(_DTYPES[self.kind]).contiguous()
        with (folder / self.file.name).open("r+b") as file:
            file.seek(self.start)
            file.write(rounded.view(-1).view(torch.uint8).numpy().data)


@dataclass(frozen=True)
class _Part:
    """A tensor that makes a parameter, alone or with others."""

    key: str
    """Its name in the files."""
    inner: str
    """Once it is renamed, and before it is put together with others."""
    pattern: str | None
    """Of the converter that takes it; None: none does."""


class StudentFiles:
    """A student's files of weights."""

    def __init__(self, recipe: Recipe, outline: Outline, files: list[Path]) -> None:
        """What `student_files` finds.

        Args:
            recipe: Names the student.
            outline: The student without its weights.
            files: Those with weights.
        """
        self.recipe, self.outline, self.files = recipe, outline, files
        self.model: PreTrainedModel = on_meta(outline)

    @cached_property
    def places(self) -> dict[str, Place]:
        """Of all tensors, by their names in the files."""
        return {key: place for file in self.files for key, place in _places(file).items()}

    @cached_property
    def _made_of(self) -> dict[str, tuple[list[_Part], WeightConverter | None]]:
        """By a parameter's name: the tensors that make it, and what puts them together; None: there is one, as it is."""
        transforms = get_model_conversion_mapping(self.model)
        renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
        converters = [each for each in transforms if isinstance(each, WeightConverter)]
        by_pattern = {pattern: each for each in converters for pattern in each.source_patterns}
        prefix, known = self.model.base_model_prefix, self.model.state_dict()
        made: dict[str, tuple[list[_Part], WeightConverter | None]] = {}
        for key in sorted(self.places, key=dot_natural_key):
            name, pattern = rename_source_key(key, renamings, converters, prefix, known)
            inner, _ = rename_source_key(key, renamings, [], prefix, known)
            if name not in known and key in known:
                name, pattern = inner, _ = rename_source_key(key, [], [], prefix, known)
            if name in known:
                converter = None if pattern is None else by_pattern[pattern]
                made.setdefault(name, ([], converter))[0].append(_Part(key, inner, pattern))
        return made

    def dtypes(self) -> dict[str, torch.dtype]:
        """The data type in which each parameter is stored, by its name in the model; of those that can be merged into."""
        found = {name: self.places[parts[0].key].dtype for name, (parts, _) in self._made_of.items()}
        return {name: dtype for name, dtype in found.items() if dtype is not None}

    def check(self) -> None:
        """Checks that every adapted weight is in the files, in a data type that can be written.

        Raises:
            UserError: One is not.
        """
        for name in (*(f"{each}.weight" for each in self.outline.targets), *self.outline.experts):
            places = [self.places[part.key] for part in self._made_of.get(name, ([], None))[0]]
            odd = [place.kind for place in places if place.dtype is None]
            if odd or not places:
                raise self._refusal(name, f"are stored as {odd[0]}" if odd else "are not found in its files")

    def read(self, name: str) -> torch.Tensor:
        """A parameter as the model has it.

        Args:
            name: Its name in the model.

        Returns:
            The parameter, in single precision.
        """
        parts, converter = self._made_of[name]
        if converter is None:
            return self.places[parts[0].key].read()
        together = deepcopy(converter)
        for part in parts:
            together.add_tensor(name, part.key, part.pattern, self.places[part.key].read())
        return _only(together.convert(name, model=self.model, config=self.model.config)[name])

    def write(self, name: str, weight: torch.Tensor, folder: Path) -> None:
        """Puts a parameter where its tensors lie, in a copy of the files.

        Args:
            name: Its name in the model.
            weight: The new one, as the model has it; it is rounded to the data type of the files.
            folder: Where the copy lies.

        Raises:
            UserError: transformers takes the parameter apart into other tensors than those that made it.
        """
        parts, converter = self._made_of[name]
        apart = {part.inner: weight for part in parts}
        if converter is not None:
            back = converter.reverse_transform()
            first, pattern = back.rename_source_key(name)
            back.add_tensor(first, name, pattern, weight)
            made = back.convert(first, model=self.model, config=self.model.config)
            apart = {inner: _only(tensor) for inner, tensor in made.items()}
        for part in parts:
            place = self.places[part.key]
            if part.inner not in apart or tuple(apart[part.inner].shape) != place.shape:
                raise self._refusal(name, "are stored in a form in which they cannot be written back")
            place.write(apart[part.inner], folder)

    def _refusal(self, name: str, why: str) -> UserError:
        return UserError(
            f"{self.recipe.student}: its weights {name} {why}, so that the adapter cannot be merged into them; "
            f"train with {setting('merge', False)}",
            field="student",
        )


def student_files(recipe: Recipe, outline: Outline) -> StudentFiles | None:
    """The student's files of weights, where they are on this machine: in its folder, or in the hub's cache.

    Args:
        recipe: Names the student.
        outline: The student without its weights.

    Returns:
        The files; None: they are not here, which they are once the student was loaded.

    Raises:
        UserError: The student is here, and its weights are not in safetensors' format.
    """
    source = resolve(recipe.student)
    there = {
        "revision": recipe.revision,
        "local_files_only": True,
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_connection_errors": False,
    }
    index = cached_file(source, INDEX, **there)
    if index is not None:
        names = json.loads(Path(index).read_text("utf-8"))["weight_map"].values()
        files = [Path(index).parent / name for name in dict.fromkeys(names)]
    else:
        one = cached_file(source, _ONE, **there)
        files = [] if one is None else [Path(one)]
    if files and all(file.is_file() for file in files):
        return StudentFiles(recipe, outline, files)
    if Path(source).is_dir() or cached_file(source, _PICKLED, **there) is not None:
        raise UserError(
            f"{recipe.student}: has no weights in {_ONE} or in the files of {INDEX}, so an adapter cannot be merged into "
            f"them; train with {setting('merge', False)}, or store the model anew with save_pretrained",
            field="student",
        )
    return None


def on_meta(outline: Outline) -> PreTrainedModel:
    """The student without memory for its weights.

    Args:
        outline: Its configuration.

    Returns:
        The model, in single precision.
    """
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(outline.config, dtype=torch.float32)


def _places(file: Path) -> dict[str, Place]:
    """A file's tensors: its first 8 bytes say how long the JSON is that follows them, and tells where each lies."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header: dict[str, Any] = json.loads(opened.read(length))
    places = {}
    for key, of in header.items():
        if key != "__metadata__":
            start, end = (8 + length + at for at in of["data_offsets"])
            places[key] = Place(file, start, end, of["dtype"], tuple(of["shape"]))
    return places


def _only(tensors: Any) -> torch.Tensor:
    """What transformers hands over alone or as a list of one."""
    tensor: torch.Tensor = tensors[0] if isinstance(tensors, list) else tensors
    return tensor
