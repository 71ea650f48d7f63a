"""The plainest value of a schema satisfies it, and what does not satisfy it is seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsaf_async.prompts import QUESTIONS
from unsaf_async.simulate.schemas import example, open_object, satisfies

TREE = {
    "type": "object",
    "properties": {
        "value": {"type": "integer", "minimum": 2, "maximum": 9},
        "left": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
    "required": ["value", "left"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "hello"),
        ({"type": "string", "enum": ["a", "b"]}, "a"),
        ({"const": 3}, 3),
        ({"type": "string", "maxLength": 3}, "hel"),
        ({"type": "string", "minLength": 7}, "hello.."),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "integer", "minimum": 2.5}, 3),
        ({"type": "number", "maximum": -1}, -1),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "string"]}, "hello"),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2}, [0, 0]),
        ({"type": "array", "items": {"type": "number"}, "maxItems": 0}, []),
        ({"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "2"}, ["hello", "hello"]),
        ({"type": "OBJECT", "properties": {"a": {"type": "BOOLEAN", "nullable": True}}}, {"a": True}),
        ({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}]}, {"a": 0}),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 0),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "boolean"}}}, True),
        ({"$ref": "#/$defs/missing"}, "hello"),
    ],
)
def test_an_example_is_the_plainest_value_that_satisfies_the_schema(schema, value):
    assert example(schema, "hello") == value
    assert satisfies(value, schema)


@pytest.mark.parametrize("schema", [TREE, *(each.schema for each in QUESTIONS.values())])
def test_an_example_satisfies_recursive_and_our_own_schemas(schema):
    assert satisfies(example(schema, "Why?"), schema)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (1, {"type": "string"}),
        (True, {"type": "integer"}),
        (1.5, {"type": "integer"}),
        ("c", {"enum": ["a", "b"]}),
        (4, {"const": 3}),
        ({}, {"type": "object", "required": ["a"]}),
        ({"b": 1}, {"type": "object", "properties": {"a": {}}, "additionalProperties": False}),
        ({"a": 1}, {"type": "object", "properties": {"a": {"type": "string"}}}),
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}),
        ([], {"type": "array", "minItems": 1}),
        ("abc", {"maxLength": 2}),
        (10, {"maximum": 9}),
        (None, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"value": 2, "left": {"value": 1, "left": None}}, TREE),
    ],
)
def test_what_does_not_satisfy_a_schema_is_seen(value, schema):
    assert not satisfies(value, schema)


LEAVES = st.sampled_from(["string", "integer", "number", "boolean", "null"]).map(lambda name: {"type": name})


def objects(inner: st.SearchStrategy) -> st.SearchStrategy:
    properties = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    return properties.map(
        lambda found: {
            "type": "object",
            "properties": found,
            "required": list(found),
            "additionalProperties": False,
        }
    )


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        objects(inner)
        | st.builds(lambda item, low: {"type": "array", "items": item, "minItems": low}, inner, st.integers(0, 3))
        | st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})
    ),
    max_leaves=8,
)


@given(schema=SCHEMAS)
def test_every_example_satisfies_its_schema(schema):
    assert satisfies(example(schema, "text"), schema)
    assert open_object(schema, every_property=True) is None


@given(schema=st.dictionaries(st.sampled_from(["type", "properties", "items", "anyOf", "$ref", "enum", "minItems"]),
                              st.none() | st.integers() | st.text(max_size=3) | st.lists(st.none(), max_size=2)))  # fmt: skip
def test_no_schema_is_so_odd_that_it_cannot_be_read(schema):
    satisfies(example(schema, "text"), schema)
    open_object(schema, every_property=True)


def test_the_first_object_that_is_open_is_named_by_its_path():
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    inner = {"type": "array", "items": {"type": "object", "properties": {"x": {}}}}
    outer = {**closed, "properties": {"list": inner}}
    assert open_object(outer, every_property=False) == (("properties", "list", "items"), "additionalProperties")
    assert open_object(closed, every_property=True) is None
    assert open_object({**closed, "properties": {"x": {}}}, every_property=True) == ((), "x")
    assert open_object({"anyOf": [closed, {"type": "object"}]}, every_property=False) == (
        ("anyOf", "1"),
        "additionalProperties",
    )
