"""Plain data becomes values strictly, and every problem is told at once."""

from __future__ import annotations

import contextlib
import enum
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph.manifest import Manifest
from stagegraph.rules import param
from stagegraph.serde import StructureError, describe, dotted, structure, unstructure
from stagegraph.yaml import typed

from .fakes import Image, Paint


@attrs.frozen
class Point:
    """A nested value."""

    x: int = 0
    label: str | None = None


@attrs.frozen
class Shape:
    """A value with every kind of field."""

    name: str
    points: list[Point] = attrs.field(factory=list)
    scale: float = 1.0
    mode: Literal["fill", "line"] = "fill"
    tags: dict[str, list[int]] = attrs.field(factory=dict)
    pair: tuple[int, str] = (0, "")
    steps: tuple[int, ...] = ()
    closed: bool = False
    extra: Any = None


class Mode(enum.StrEnum):
    """An enum that is a str."""

    A = "a"


class Level(enum.IntEnum):
    """An enum that is an int."""

    LOW = 1


class Plain:
    """A class that no text can spell."""


Count = NewType("Count", int)


@pytest.mark.parametrize(
    ("data", "type_", "what"),
    [
        ("3", int, '"3" is not an integer'),
        (True, int, "true is not an integer"),
        (3.0, int, "3.0 is not an integer"),
        (None, int, "null is not an integer"),
        ([3], int, "a list is not an integer"),
        ("3", float, '"3" is not a number'),
        (True, float, "true is not a number"),
        (None, float, "null is not a number"),
        (float("nan"), float, "nan is not finite"),
        (float("-inf"), float, "-inf is not finite"),
        (10**400, float, "inf is not finite"),
        (3, str, "3 is not a string"),
        (3.7, str, "3.7 is not a string"),
        (True, str, "true is not a string"),
        (None, str, "null is not a string"),
        (10**300, str, "an integer of more than 75 digits is not a string"),
        ("true", bool, '"true" is not true or false'),
        (1, bool, "1 is not true or false"),
        (0, bool, "0 is not true or false"),
        (None, bool, "null is not true or false"),
        ("ab", list[str], '"ab" is not a list'),
        ({"a": 1}, list[str], "a mapping is not a list"),
        ([1], dict[str, int], "a list is not a mapping"),
        ("ab", tuple[str, ...], '"ab" is not a list'),
        ([1], tuple[int, int], "the list has 1 items"),
        ([1, 2, 3], tuple[int, int], "the list has 3 items"),
        ({1: 2}, dict[str, int], "the key 1 is not a string"),
        ("x", Point, '"x" is not a mapping'),
        (0, type(None), "0 is not null"),
        (3, str | list[int], "3 is not a string or a list"),
        ([1, "a"], str | list[int], '[1]: "a" is not an integer'),
        ({"x": "1"}, Point | int, 'x: "1" is not an integer'),
        ({"q": 1}, Point | int, 'q: there is no key "q" here'),
        (3.5, Optional[int], "3.5 is not an integer"),  # noqa: UP045
        ("fil", Literal["fill", "line"], '"fil" is not allowed'),
        (True, Literal[1], "true is not allowed"),
        (1, Literal[True], "1 is not allowed"),
        ("3", Annotated[int, "meta"], '"3" is not an integer'),
        ("3", Count, '"3" is not an integer'),
        ("a", Mode, '"a" is not of type Mode'),
        (1, Level, "1 is not of type Level"),
        ("x", Path, '"x" is not of type Path'),
        (3, bytes, "3 is not of type bytes"),
        ("x", Plain, '"x" is not of type Plain'),
        ("ab", set[str], '"ab" is not of type set'),
        ("ab", Sequence[str], '"ab" is not of type Sequence'),
    ],
)
def test_nothing_is_coerced(data: Any, type_: Any, what: str) -> None:
    """What is not exactly of the type asked for is refused, with the value as it was."""
    with pytest.raises(StructureError) as caught:
        structure(data, type_)
    assert str(caught.value) == what


@pytest.mark.parametrize(
    ("data", "type_", "value"),
    [
        (3, float, 3.0),
        (3, int | None, 3),
        (None, int | None, None),
        ("a", int | str, "a"),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([1, "a"], tuple[int, str], (1, "a")),
        ({"a": [1]}, dict[str, list[int]], {"a": [1]}),
        ("line", Literal["fill", "line"], "line"),
        ({"x": 3}, Point | None, Point(3)),
        ({"anything": [1, None]}, Any, {"anything": [1, None]}),
        ([1, "a"], list, [1, "a"]),
        (3, Count, 3),
    ],
)
def test_what_fits_is_taken(data: Any, type_: Any, value: Any) -> None:
    """Values of the type asked for pass; an integer may stand for a float."""
    made = structure(data, type_)
    assert made == value
    assert type(made) is type(value)


def test_all_problems_come_at_once_with_their_paths() -> None:
    """One error holds every problem, each with the path to the value."""
    data = {"points": [{"x": 1}, {"x": "2"}, {"y": 0}], "scale": "big", "tags": {"a": [1, None]}, "clsed": 1}
    with pytest.raises(StructureError) as caught:
        structure(data, Shape, ("shapes", 4))
    assert [(dotted(p.path), p.code, p.what, p.why, p.fix) for p in caught.value.problems] == [
        (
            "shapes[4].clsed",
            "unknown_key",
            'there is no key "clsed" here',
            "known keys: name, points, scale, mode, tags, pair, steps, closed, extra",
            'did you mean "closed"?',
        ),
        ("shapes[4]", "missing_key", '"name" is not set', "it is required", "add name: ..."),
        ("shapes[4].points[1].x", "invalid_type", '"2" is not an integer', "must be an integer", ""),
        (
            "shapes[4].points[2].y",
            "unknown_key",
            'there is no key "y" here',
            "known keys: x, label",
            "use one of: label, x",
        ),
        ("shapes[4].scale", "invalid_type", '"big" is not a number', "must be a number", ""),
        ("shapes[4].tags.a[1]", "invalid_type", "null is not an integer", "must be an integer", ""),
    ]


def test_an_unknown_key_is_a_problem_at_the_key() -> None:
    """The place of an unknown key is the key itself; that of a wrong value is the value."""
    with pytest.raises(StructureError) as caught:
        structure({"y": 0, "x": "0"}, Point)
    assert [(p.path, p.at_key) for p in caught.value.problems] == [(("y",), True), (("x",), False)]


def test_the_limits_of_params_hold() -> None:
    """A param outside its range is a problem with the rule and the nearest valid values."""
    with pytest.raises(StructureError) as caught:
        structure({"frames": 50, "strength": 1.5, "style": "wax"}, Paint)
    assert [(p.path, p.what, p.why, p.fix) for p in caught.value.problems] == [
        (("frames",), "frames is 50", "must be 8k+1", "use 49 or 57"),
        (("strength",), "strength is 1.5", "must be >= 0, <= 1", "use 1"),
        (("style",), 'style is "wax"', "must be one of oil, ink", ""),
    ]


@pytest.mark.parametrize("error", [ValueError, TypeError])
def test_a_check_of_the_class_is_a_problem(error: type[Exception]) -> None:
    """What the class itself objects to, over several fields, is told like any other problem."""

    @attrs.frozen
    class Range:
        low: int
        high: int

        def __attrs_post_init__(self) -> None:
            if self.low > self.high:
                raise error("low is above high")

    with pytest.raises(StructureError) as caught:
        structure({"range": {"low": 2, "high": 1}}, dict[str, Range])
    assert str(caught.value) == "range: low is above high"


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("3", str, "3"),
        ("3", int, 3),
        ("3", float, 3.0),
        ("1e3", float, 1000.0),
        ("true", bool, True),
        ("null", int | None, None),
        ("null", str | None, "null"),
        ("3", int | str, "3"),
        ("[1, 2]", list[int], [1, 2]),
        ("{x: 3}", Point, Point(3)),
        ("line", Literal["fill", "line"], "line"),
        ("16:9", Any, "16:9"),
        ("a: b: c", str, "a: b: c"),
    ],
)
def test_a_text_from_a_command_line_is_read_as_what_is_wanted(text: str, type_: Any, value: Any) -> None:
    """A text is itself where a string is wanted, and a YAML value elsewhere."""
    made = structure(typed(text), type_)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("text", "type_", "what"),
    [
        ("three", int, '"three" is not an integer'),
        ("3.5", int, "3.5 is not an integer"),
        ("yes", bool, '"yes" is not true or false'),
        ("[1, 2", list[int], '"[1, 2" is not a list'),
        ("a.png", Image, '"a.png" is not a mapping'),
        ("a.png", Plain, '"a.png" is not of type Plain'),
        ("\udc80", int, '"\udc80" is not an integer'),
    ],
)
def test_a_text_that_does_not_read_as_what_is_wanted_is_refused(text: str, type_: Any, what: str) -> None:
    """Strictness holds for texts too, also for those that are no UTF-8."""
    with pytest.raises(StructureError) as caught:
        structure(typed(text), type_)
    assert str(caught.value) == what


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (None, "null"),
        (True, "true"),
        ("a", '"a"'),
        ("ü", '"ü"'),
        ("x" * 61, '"' + "x" * 57 + '..."'),
        ([1], "a list"),
        ({}, "a mapping"),
        (-(10**400), "an integer of more than 75 digits"),
    ],
)
def test_values_are_described_in_few_words(value: Any, text: str) -> None:
    """Messages show a value as it would be written, never at length."""
    assert describe(value) == text


def test_fields_at_their_default_are_left_out() -> None:
    """What was not set is not written."""
    assert unstructure(Shape("a", points=[Point(), Point(1)])) == {"name": "a", "points": [{}, {"x": 1}]}


points = st.builds(Point, x=st.integers(), label=st.none() | st.text())
shapes = st.builds(
    Shape,
    name=st.text(),
    points=st.lists(points, max_size=3),
    scale=st.floats(allow_nan=False, allow_infinity=False),
    mode=st.sampled_from(["fill", "line"]),
    tags=st.dictionaries(st.text(), st.lists(st.integers()), max_size=3),
    pair=st.tuples(st.integers(), st.text()),
    steps=st.lists(st.integers()).map(tuple),
    closed=st.booleans(),
)
json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
manifest_keys = st.sampled_from(["stagegraph", "name", "inputs", "components", "nodes", "outputs", "stage", "type"])
manifest_trees = st.dictionaries(
    manifest_keys, json_trees | st.dictionaries(st.text(), st.dictionaries(manifest_keys, json_trees))
)


@given(shapes)
def test_values_come_back_from_plain_data(shape: Shape) -> None:
    """structure(unstructure(x)) is x, also by way of JSON text."""
    plain = unstructure(shape)
    assert structure(plain, Shape) == shape
    assert structure(json.loads(json.dumps(plain)), Shape) == shape


@given(json_trees | manifest_trees)
def test_any_tree_is_a_manifest_or_a_structure_error(tree: Any) -> None:
    """No data makes the reader of manifests fail in another way than by its own error."""
    with contextlib.suppress(StructureError):
        assert isinstance(structure(tree, Manifest), Manifest)


@given(json_trees)
def test_the_same_data_gives_the_same_verdict_for_a_stage(tree: Any) -> None:
    """Params are structured or refused, whatever they are."""
    with contextlib.suppress(StructureError):
        assert isinstance(structure(tree, Paint), Paint)


def test_params_of_nested_values_are_structured() -> None:
    """A param may be an attrs value; its problems have a path into it."""

    @attrs.frozen
    class Holder:
        point: Point = param(factory=Point)  # noqa: RUF009

    with pytest.raises(StructureError) as caught:
        structure({"point": {"x": 1.5}}, Holder)
    assert str(caught.value) == "point.x: 1.5 is not an integer"


def test_an_integer_too_long_to_print_is_described() -> None:
    """Python refuses to print integers of thousands of digits; a message about one must not fail."""
    with pytest.raises(StructureError) as caught:
        structure([10**5000], list[str])
    assert str(caught.value) == "[0]: an integer of more than 75 digits is not a string"


@attrs.frozen
class Round:
    """One of two."""

    radius: float = 1.0


@attrs.frozen
class Square:
    """The other, which has what the first has."""

    radius: float = 1.0
    width: float = 2.0


@attrs.frozen
class Shapes:
    """One that may be either."""

    one: Round | Square | None = None
    more: tuple[Round | Square, ...] = ()


@pytest.mark.parametrize(
    "shapes",
    [Shapes(), Shapes(Round()), Shapes(Square()), Shapes(Square(width=3.0)), Shapes(None, (Square(), Round(2.0)))],
)
def test_which_of_several_classes_it_was_is_not_lost(shapes: Shapes) -> None:
    """Also where every field is at its default."""
    assert structure(json.loads(json.dumps(unstructure(shapes))), Shapes) == shapes
