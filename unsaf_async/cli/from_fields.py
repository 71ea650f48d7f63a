"""Options made from dataclasses: a field with `Help` is an option, and the command gets the dataclass, filled in."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from unsaf_async.cli.options import file, folder, number, one_of, whole
from unsaf_async.errors import UserError, setting
from unsaf_async.help import Help

_CONTEXT = "typer_context"
"""The parameter by which typer tells a command which options were typed."""

PARSERS: dict[Any, Callable[[str], object]] = {int: whole, float: number, Path: folder}


def from_fields(
    *,
    only: Collection[str] = (),
    leave_out: Collection[str] = (),
    required: Collection[str] = (),
    defaults: Mapping[str, object] | None = None,
    file: tuple[str, Callable[[Path], Mapping[str, object]]] | None = None,
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A decorator for a command: its parameters with `Help`, and the fields of those that are dataclasses, become options.

    Args:
        only: The fields that become options; (): all. Every other field keeps its default.
        leave_out: The fields that become no options.
        required: The fields that must be given, whatever default the dataclass has.
        defaults: Defaults, by field, that differ from the dataclass's.
        file: The parameter that names a file, which the function does not get, and what reads the fields' values in it. They
            stand for options that are not given: then no option is required, and a field that nobody gives is an error.

    Returns:
        The decorator. The command that it returns takes the options by keyword.
    """

    def is_taken(parameter: Parameter) -> bool:
        return parameter.name not in leave_out and (not only or parameter.name in only)

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        hints = get_type_hints(function, include_extras=True)
        options: dict[str, _Option | _Fields] = {}
        parameters: list[Parameter] = []
        for parameter in signature(function).parameters.values():
            default = MISSING if parameter.default is Parameter.empty else parameter.default
            option = _of(
                parameter.name, hints[parameter.name], default, {**(defaults or {}), **dict.fromkeys(required, MISSING)}
            )
            if option is None:
                parameters.append(parameter.replace(annotation=hints[parameter.name], kind=Parameter.KEYWORD_ONLY))
            else:
                options[parameter.name] = option
                parameters += filter(is_taken, option.parameters())
        if file is not None:
            context = Parameter(_CONTEXT, Parameter.KEYWORD_ONLY, annotation=typer.Context)
            parameters = [context, *map(_not_required, parameters)]

        @wraps(function)
        def command(**given: Any) -> int:
            if file is not None:
                read = file[1](path) if (path := given.pop(file[0], None)) else {}
                typed = given.pop(_CONTEXT).get_parameter_source
                given = {name: value for name, value in given.items() if typed(name).name == "COMMANDLINE"}
                values = {name: option.value(given, read) for name, option in options.items() if name != file[0]}
            else:
                values = {name: option.value(given) for name, option in options.items()}
            own = {name: value for name, value in given.items() if name in hints and name not in values}
            return function(**own, **{name: value for name, value in values.items() if value is not MISSING})

        command.__signature__ = Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate


def _not_required(parameter: Parameter) -> Parameter:
    if parameter.default is not Parameter.empty:
        return parameter
    kind, *notes = get_args(parameter.annotation)
    return parameter.replace(default=None, annotation=Annotated[(kind | None, *notes)])


def _of(name: str, annotation: Any, default: Any, defaults: Mapping[str, Any]) -> _Option | _Fields | None:
    """The options of a field or a parameter; None if it is none."""
    if is_dataclass(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        inner = (_of(each.name, hints[each.name], each.default, defaults) for each in fields(annotation))
        return _Fields(annotation, tuple(option for option in inner if option is not None), name)
    if get_origin(annotation) is not Annotated:
        return None
    kind, *notes = get_args(annotation)
    helps = [note for note in notes if isinstance(note, Help)]
    return _Option(name, kind, helps[0], defaults.get(name, default)) if helps else None


@dataclass(frozen=True)
class _Fields:
    """The options of a dataclass."""

    kind: Any
    options: tuple[_Option | _Fields, ...]
    name: str

    def parameters(self) -> Iterator[Parameter]:
        """The parameters from which typer makes the options."""
        for option in self.options:
            yield from option.parameters()

    def value(self, given: Mapping[str, Any], read: Mapping[str, object] | None = None) -> Any:
        """The dataclass with the options' values, or those of a file. Raises UserError where they contradict each other."""
        values = {option.name: option.value(given) for option in self.options}
        values = {**(read or {}), **{name: value for name, value in values.items() if value is not MISSING}}
        for each in fields(self.kind):
            if read is not None and each.name not in values and each.default is MISSING:
                raise UserError(": is missing; give it, or a file that has it", field=each.name)
        return self.kind(**values)


@dataclass(frozen=True)
class _Option:
    """One field as an option. default: MISSING if it must be given."""

    name: str
    kind: Any
    help: Help
    default: Any

    def parameters(self) -> Iterator[Parameter]:
        """The option, and the flag that sets None if it has one."""
        default, spelling = self.default, self.help.spelling
        parser: Callable[[str], object] | None = None
        metavar = self.help.metavar
        element, many, optional = _element(self.kind)
        dashed = self.name.replace("_", "-")
        if self.help.parse is not None:
            element, many, default = str, False, self.help.default
        elif element is bool:
            spelling = spelling or (
                (f"--{dashed}/--no-{dashed}",) if optional else (f"--no-{dashed}",) if default else ()
            )
            spelling = spelling or (f"--{dashed}",)
            default = False if self._turned else default
        elif get_origin(element) is Literal:
            metavar = metavar or "|".join(get_args(element))
            element, parser = str, one_of(get_args(element))
        else:
            parser = file if element is Path and (metavar or "").startswith("FILE") else PARSERS.get(element)
        if default is not MISSING and (many or self.help.without):
            default, optional = None, True
        kind: Any = GenericAlias(list, element) if many else element
        yield self._parameter(
            self.name,
            kind | None if optional or default is None else kind,
            default,
            spelling,
            self.help.text,
            parser,
            metavar,
        )
        if self.help.without:
            flag, text = self.help.without
            yield self._parameter(f"no_{self.name}", bool, False, (flag,), text)

    def _parameter(
        self,
        name: str,
        kind: Any,
        default: Any,
        spelling: tuple[str, ...],
        text: str,
        parser: Callable[[str], object] | None = None,
        metavar: str | None = None,
    ) -> Parameter:
        option = typer.Option(*spelling, parser=parser, metavar=metavar, help=text, rich_help_panel=self.help.panel)
        default = Parameter.empty if default is MISSING else default
        return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])

    @property
    def _turned(self) -> bool:
        """Whether it is a flag that sets False."""
        return self.default is True and not any("/" in each for each in self.help.spelling)

    def value(self, given: Mapping[str, Any], _: Mapping[str, object] | None = None) -> Any:
        """The field's value; MISSING: its default."""
        value = given.get(self.name)
        if self.help.without and given.get(f"no_{self.name}"):
            if value is not None:
                both = f"{setting(self.name)} and {self.help.without[0]}"
                raise UserError(f"{both} contradict each other; give one of them")
            return None
        if value is None and self.help.variable and os.environ.get(self.help.variable):
            try:
                value = (PARSERS.get(_element(self.kind)[0]) or str)(os.environ[self.help.variable])
            except typer.BadParameter as error:
                raise UserError(f"{self.help.variable}: {error.message}") from None
        if value is None or value == []:
            return MISSING
        if self.help.parse is not None:
            return self.help.parse(value)
        return not value if self._turned else tuple(value) if isinstance(value, list) else value


def _element(kind: Any) -> tuple[Any, bool, bool]:
    """What `kind` holds, as (type of one value, whether several are taken, whether None is allowed)."""
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    several = [each for each in choices if get_origin(each) not in (None, Literal)]
    first = get_args(several[0])[0] if several else next(each for each in choices if each is not NoneType)
    return get_args(first)[0] if get_origin(first) in (Union, UnionType) else first, bool(several), NoneType in choices
