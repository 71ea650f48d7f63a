"""Reads providers/*.toml: every file becomes an `Endpoint` with the `Profile`s of its models.

Knows the files and their search path. providers/README.md says how they are written.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from unsaf_async.bundled import bundled
from unsaf_async.errors import UserError
from unsaf_async.providers.gateway import Gateway
from unsaf_async.providers.profile import Profile, as_toml
from unsaf_async.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SEARCH_VARIABLE = "UNSAF_PROVIDERS"
"""Environment variable: further folders with TOML files, separated as in PATH."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One TOML file.

    Attributes:
        name: The file's name without its suffix.
        file: The file.
        vendor: litellm's name of the vendor ("openai"); "" where the file serves none.
        defaults: What its top level says. It is itself the profile where the file lists no models.
        models: Profiles by the models' names.
        aliases: From another name to the model's.
        is_shipped: Whether the file came with this package.
    """

    name: str
    file: Path
    vendor: str
    defaults: Profile
    models: Mapping[str, Profile] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    is_shipped: bool = False

    @property
    def is_host(self) -> bool:
        """Whether it serves many models of which the file lists none, so that one must be named."""
        return bool(self.vendor) and not self.models and not self.defaults.model

    def profiles(self) -> Iterator[Profile]:
        """Its models' profiles, or the endpoint's own if it lists none."""
        yield from self.models.values() if self.models else (self.defaults,)

    def find(self, name: str) -> Profile | None:
        """The profile that a name stands for.

        Args:
            name: A model's name, its alias or its wire id; where the file lists no models, the endpoint's own name.

        Returns:
            The profile; None if the file has none of this name.
        """
        if not self.models:
            return self.defaults if name == self.name else None
        if (profile := self.models.get(self.aliases.get(name, name))) is not None:
            return profile
        return next((profile for profile in self.models.values() if profile.model == name), None)


def load_profiles(folders: Sequence[Path]) -> tuple[Endpoint, ...]:
    """All endpoints in the `*.toml` files of some folders.

    Prices that the files leave out stay None.

    Args:
        folders: Folders with provider files, in the order of the search.

    Returns:
        The endpoints in the folders' order, sorted by file name within a folder: of two with the same name the earlier
        one counts.

    Raises:
        UserError: A folder or file cannot be read, something in it is not as providers/README.md says, or a name stands
            twice within a folder.
    """
    endpoints: list[Endpoint] = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: is no folder with provider files; create it, or leave it out")
        owners: dict[str, Path] = {}
        for file in sorted(folder.glob("*.toml")):
            table = _read(file)
            if "gateway" in table:
                continue
            endpoint = _endpoint(file, table)
            for name in {endpoint.name, *endpoint.models, *endpoint.aliases}:
                if name in owners:
                    raise UserError(f"{_label(file)}: {name} is also in {owners[name].name}; give each name once")
                owners[name] = file
            endpoints.append(endpoint)
    return tuple(endpoints)


def load_gateway(folders: Sequence[Path]) -> tuple[Gateway, str] | None:
    """The gateway that a user's provider files describe.

    Args:
        folders: Folders with provider files, in the order of the search; the shipped one describes none.

    Returns:
        The first gateway, and its file as users know it; None if there is none.

    Raises:
        UserError: A file cannot be read, or its gateway is not as providers/README.md says.
    """
    for file in (file for folder in folders for file in sorted(folder.glob("*.toml")) if not _is_shipped(file)):
        table, label = _read(file), _label(file)
        if "gateway" not in table:
            continue
        if others := sorted(set(table) - {"gateway"}):
            raise UserError(f"{label}: holds a gateway and {others[0]}; give the gateway a file of its own")
        try:
            return Gateway.model_validate(table["gateway"]), label
        except ValidationError as error:
            raise UserError(f"{label}: gateway.{_explained(error, (), Gateway)}") from None
    return None


def search_path(folders: Sequence[Path] | None = None) -> tuple[Path, ...]:
    """Where provider files are looked for.

    Args:
        folders: Folders to search first; None for no others.

    Returns:
        In this order: `folders`, ./providers if it is there, those in $UNSAF_PROVIDERS, the shipped ones.
    """
    shipped = bundled("providers")
    places = list(folders or ())
    if (local := Path("providers")).is_dir() and not local.samefile(shipped):
        places.append(local)
    places += [Path(place) for place in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if place]
    return (*places, shipped)


def _endpoint(file: Path, table: dict[str, Any]) -> Endpoint:
    """The endpoint that `file` describes, of which `table` is all that it says."""
    label = _label(file)
    vendor = table.pop("vendor", "")
    if not isinstance(vendor, str):
        raise UserError(f"{label}: vendor is {as_toml(vendor)}; give litellm's name of it in quotes")
    models = table.pop("models", {})
    if not isinstance(models, dict) or not all(isinstance(model, dict) for model in models.values()):
        raise UserError(f'{label}: models holds no tables; write each as [models."name"]')
    if "name" in table:
        raise UserError(f"{label}: name is no key; the endpoint's name is the file's, so leave it out")
    if "origin" in table or any("origin" in model for model in models.values()):
        raise UserError(f"{label}: origin is no key; the program writes it, so leave it out")
    shipped = _is_shipped(file)
    if not shipped:
        table["origin"] = label
    table["vendor"] = vendor
    defaults = _profile({**table, "name": file.stem}, f"{label}: ", ("models",))

    profiles: dict[str, Profile] = {}
    aliases: dict[str, str] = {}
    for name, model in models.items():
        where = f'{label}: models."{name}".'
        if "name" in model:
            raise UserError(f"{where}name is no key; the model's name is the table's, so leave it out")
        if "vendor" in model:
            raise UserError(f"{where}vendor is no key of a model; give it at the top of the file, for all its models")
        for alias in _strings(model.pop("aliases", []), f"{where}aliases"):
            if alias in models or alias in aliases:
                raise UserError(f"{where}aliases holds {alias}, which is taken; give each name once")
            aliases[alias] = name
        wire_id = f"{vendor}/{name}" if vendor else name
        merged = _merge(table, {"model": wire_id, **model}) | {"name": name}
        profiles[name] = _profile(merged, where, ("aliases",))
    return Endpoint(file.stem, file, vendor, defaults, profiles, aliases, shipped)


def _is_shipped(file: Path) -> bool:
    return file.parent.resolve() == bundled("providers").resolve()


def _read(file: Path) -> dict[str, Any]:
    label = _label(file)
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{label}: cannot be read ({error.strerror}); check the file") from None
    except UnicodeDecodeError:
        raise UserError(f"{label}: is not UTF-8 text; save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{label}: is not valid TOML: {one_line(str(error))}") from None


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below`, with the values of `above` in place of its own, table by table.

    A price, and a way of counting images, are replaced whole: half of one and half of another mean nothing.
    """
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        whole = isinstance(value, dict) and (key in ("price", "next_price") or (key == "image" and "formula" in value))
        merged[key] = (
            _merge(lower, value) if isinstance(lower, dict) and isinstance(value, dict) and not whole else value
        )
    return merged


def _profile(table: Mapping[str, Any], where: str, siblings: tuple[str, ...]) -> Profile:
    """`table` as a profile. siblings: keys that the file has besides a profile's own, to suggest for a misspelt one."""
    try:
        return Profile.model_validate(table)
    except ValidationError as error:
        raise UserError(where + _explained(error, siblings)) from None


def _explained(error: ValidationError, siblings: tuple[str, ...], root: type[BaseModel] = Profile) -> str:
    """The first thing that is wrong, in a line: the key, its value, what to do."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path[:2] if path[:1] == ["extra"] else path)  # below extra, pydantic names its own types
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path, siblings, root)
    if kind == "missing":
        return f"{key} is missing; give it"
    if kind == "value_error":
        reason = str(context["error"])
        return f"{key}: {reason}" if key else reason
    if path[-1] == "api_key_env":  # whoever errs here may have written the key itself: it is not repeated
        return f"{key} is not the name of an environment variable; give its name, never the key"
    advice = {
        "greater_than": f"a number above {context.get('gt', 0):g}",
        "greater_than_equal": f"a number of at least {context.get('ge', 0):g}",
        "finite_number": "a finite number",
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text in quotes",
        "string_pattern_mismatch": "letters, digits, dots and dashes",
        "literal_error": str(context.get("expected", "")),
        "dict_type": "a table",
        "tuple_type": "a list of names",
        "model_type": "a table",
        "invalid-json-value": "text, a number, true, false, a list or a table",
    }.get(kind, one_line(first["msg"]))
    if kind == "greater_than" and _is_whole(path):
        advice = f"a whole number above {context.get('gt', 0):g}"
    return f"{key} is {as_toml(first['input'])}; give {advice}{_leave_out(path)}"


def _unknown_key(path: list[str], siblings: tuple[str, ...], root: type[BaseModel]) -> str:
    """Names the nearest key that exists, and not the value, which may be a stray `api_key`."""
    table = _model_at(path[:-1], root)
    known = [name for name in table.model_fields if table is not Profile or name not in ("name", "origin")]
    if len(path) == 1:
        known += siblings
    near = get_close_matches(path[-1], known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
    return f"{'.'.join(path)} is an unknown key; {hint}"


def _model_at(path: list[str], root: type[BaseModel] = Profile) -> type[BaseModel]:
    """The record that holds the keys at `path` of a profile, or of another record."""
    model = root
    for part in path:
        annotation = model.model_fields[part].annotation
        model = next(
            kind
            for kind in (annotation, *get_args(annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        )
    return model


def _is_whole(path: list[str]) -> bool:
    try:
        annotation = _model_at(path[:-1]).model_fields[path[-1]].annotation
    except (KeyError, StopIteration):
        return False
    return annotation is int or int in get_args(annotation)


def _leave_out(path: list[str]) -> str:
    """The advice to leave the key out, where None is one of its values; else an empty text."""
    try:
        annotation = _model_at(path[:-1]).model_fields[path[-1]].annotation
    except (KeyError, StopIteration):
        return ""
    if type(None) not in get_args(annotation):
        return ""
    return ", or leave it out for no limit" if path[0] in ("limits", "image") else ", or leave it out"


def _strings(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise UserError(f'{where} is {as_toml(value)}; give a list of names, such as ["sonnet"]')
    return value


def _label(file: Path) -> str:
    """How a file is named to the user: as seen from here if it lies below, else in full."""
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)
