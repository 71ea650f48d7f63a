"""JSON schemas: whether a value satisfies one, and the plainest value that does.

The part of JSON Schema that the vendors take for structured replies, and Google's spelling of it (types in capitals,
`nullable`). Not a validator for other uses: keywords that it does not know are taken to hold.
"""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_DEEPEST = 24
"""Levels of nesting that are followed; recursive schemas end here."""
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "uri": "https://example.org/",
}


def satisfies(value: object, schema: object) -> bool:
    """Whether a value satisfies a schema.

    Args:
        value: JSON data.
        schema: The schema; anything but an object is satisfied by every value.

    Returns:
        Whether it does.
    """
    return _fits(value, schema, schema, 0)


def example(schema: object, text: str) -> Any:
    """The plainest value that satisfies a schema: every property, no more items than needed, the first of what is allowed.

    Args:
        schema: The schema.
        text: What its free strings say.

    Returns:
        JSON data.
    """
    return _plainest(schema, schema, text, 0)


def _resolved(schema: object, root: object) -> dict[str, Any]:
    """The schema that a reference names, or itself; {} where there is none."""
    for _ in range(_DEEPEST):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        found: object = root
        for step in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(step) if step and isinstance(found, dict) else found
        schema = found
    return {}


def _types(schema: dict[str, Any]) -> list[str]:
    """The types that a schema allows, in lower case; none: all."""
    stated = schema.get("type")
    names = stated if isinstance(stated, list) else [stated]
    types = [name.lower() for name in names if isinstance(name, str) and name.lower() in _TYPES]
    if types and schema.get("nullable") is True:
        types.append("null")
    if not types and isinstance(schema.get("properties"), dict):
        return ["object"]
    return types


def _is(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, _TYPES[name])


def _branches(schema: dict[str, Any], name: str) -> list[object]:
    found = schema.get(name)
    return found if isinstance(found, list) else []


def _fits(value: object, schema: object, root: object, depth: int) -> bool:
    schema = _resolved(schema, root)
    if depth > _DEEPEST or not schema:
        return True
    types = _types(schema)
    if types and not any(_is(value, name) for name in types):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if value is not None and isinstance(schema.get("enum"), list) and value not in schema["enum"]:
        return False
    for name in ("anyOf", "oneOf"):
        if (branches := _branches(schema, name)) and not any(_fits(value, each, root, depth + 1) for each in branches):
            return False
    if not all(_fits(value, each, root, depth + 1) for each in _branches(schema, "allOf")):
        return False
    if isinstance(value, dict):
        return _fits_object(value, schema, root, depth)
    if isinstance(value, list):
        low, high = schema.get("minItems", 0), schema.get("maxItems", len(value))
        return _within(len(value), low, high) and all(
            _fits(each, schema.get("items"), root, depth + 1) for each in value
        )
    if isinstance(value, str):
        return _within(len(value), schema.get("minLength", 0), schema.get("maxLength", len(value)))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _within(value, schema.get("minimum", value), schema.get("maximum", value))
    return True


def _within(value: float, low: object, high: object) -> bool:
    """Google writes some of its limits as strings."""
    return _number(low, value) <= value <= _number(high, value)


def _number(value: object, otherwise: float) -> float:
    try:
        return float(value) if isinstance(value, int | float | str) else otherwise
    except ValueError:
        return otherwise


def _fits_object(value: dict[str, Any], schema: dict[str, Any], root: object, depth: int) -> bool:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    required = schema.get("required")
    if isinstance(required, list) and any(name not in value for name in required):
        return False
    if schema.get("additionalProperties") is False and not value.keys() <= properties.keys():
        return False
    return all(_fits(value[name], each, root, depth + 1) for name, each in properties.items() if name in value)


def _plainest(schema: object, root: object, text: str, depth: int) -> Any:
    schema = _resolved(schema, root)
    if depth > _DEEPEST:
        return None
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    if all_of := _branches(schema, "allOf"):
        schema = {
            key: each for part in [*all_of, schema] for key, each in _resolved(part, root).items() if key != "allOf"
        }
    if branches := _branches(schema, "anyOf") or _branches(schema, "oneOf"):
        # A recursive schema offers a way out that is shorter: the last branch, deep down.
        return _plainest(branches[0 if depth < 4 else -1], root, text, depth + 1)
    kind = next((name for name in _types(schema) if name != "null"), None)
    match kind:
        case "object":
            properties = schema.get("properties")
            names = properties if isinstance(properties, dict) else {}
            if depth >= 4:
                required = schema.get("required")
                names = {name: each for name, each in names.items() if isinstance(required, list) and name in required}
            return {name: _plainest(each, root, text, depth + 1) for name, each in names.items()}
        case "array":
            most = _number(schema.get("maxItems"), 1)
            count = int(_number(schema.get("minItems"), min(1, most) if depth < 4 else 0))
            return [_plainest(schema.get("items"), root, text, depth + 1) for _ in range(min(count, 100))]
        case "integer" | "number":
            low, high = _number(schema.get("minimum"), 0), _number(schema.get("maximum"), float("inf"))
            number = min(max(0.0, low), high)
            return (ceil(number) if number == low else floor(number)) if kind == "integer" else number
        case "boolean":
            return True
        case "string":
            return _string(schema, text)
        case _:
            return None if _types(schema) == ["null"] else text


def _string(schema: dict[str, Any], text: str) -> str:
    text = _FORMATS.get(str(schema.get("format")), text)
    text = text[: int(_number(schema.get("maxLength"), len(text)))]
    return text.ljust(int(_number(schema.get("minLength"), 0)), ".")


# --- what a vendor asks of a schema --------------------------------------------------------------------------------


def open_object(
    schema: object, *, every_property: bool, path: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], str] | None:
    """The first object in a schema that does not rule out further properties, as strict replies need it.

    Args:
        schema: The schema.
        every_property: Whether each property must be required as well.
        path: Where the schema stands in a larger one.

    Returns:
        (the steps to it, "additionalProperties" or the property that is not required); None: all is well.
    """
    if not isinstance(schema, dict) or len(path) > _DEEPEST:
        return None
    if "object" in _types(schema):
        if schema.get("additionalProperties") is not False:
            return path, "additionalProperties"
        required = schema.get("required")
        properties = schema.get("properties")
        for name in properties if every_property and isinstance(properties, dict) else ():
            if not isinstance(required, list) or name not in required:
                return path, name
    for steps, inner in _parts(schema):
        if found := open_object(inner, every_property=every_property, path=(*path, *steps)):
            return found
    return None


def _parts(schema: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], object]]:
    """The schemas within a schema, each with the steps to it."""
    for name in ("properties", "$defs", "definitions"):
        found = schema.get(name)
        for step, inner in found.items() if isinstance(found, dict) else ():
            yield (name, str(step)), inner
    yield ("items",), schema.get("items")
    for place, inner in enumerate(_branches(schema, "anyOf")):
        yield ("anyOf", str(place)), inner
