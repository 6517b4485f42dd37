"""When one port may feed another, and how their types are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, List, Literal, Optional, TypeVar, Union  # noqa: UP035

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph.ports import REQUIRED, Port, accepts, holds, type_name

from .fakes import Clip, Image, Sound

T = TypeVar("T")


class Box(Generic[T]):
    """A generic class."""

    class Lid:
        """A nested class."""


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        (int, int),
        (float, int),
        (int, bool),
        (Image, Clip),
        (Image | None, Clip),
        (Optional[Image], None),  # noqa: UP045
        (Image | Sound, Clip),
        (Image | Sound | None, Clip | None),
        (float | None, int),
        (float | None, int | None),
        (Any, Image),
        (Image, Any),
        (object, Image),
        (list[Image], list[Clip]),
        (list, list[Clip]),
        (list[int], list[Any]),
        (Sequence[int], list[int]),
        (tuple[int, ...], tuple[int, int]),
        (str, Literal["a"]),
        (Box, Box[int]),
    ],
)
def test_a_port_accepts(wanted: Any, given: Any) -> None:
    """Subclasses, members of unions, generics of them, integers for floats and Any may flow in."""
    assert accepts(wanted, given)


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        (int, float),
        (float, bool),
        (str, int),
        (Clip, Image),
        (Image, Image | None),
        (Image, None),
        (Clip | None, Image | None),
        (float, int | None),
        (list[Clip], list[Image]),
        (list[int], list),
        (list[float], list[int]),
        (Literal["a"], str),
        (Box[int], Box[str]),
    ],
)
def test_a_port_refuses(wanted: Any, given: Any) -> None:
    """What could be a value of another type may not."""
    assert not accepts(wanted, given)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (int, 3),
        (float, 3),
        (float, 3.5),
        (float | None, 3),
        (float | None, None),
        (list[float], [1, 2.5]),
        (list[int], []),
        (list[Image | None], [Clip(), None]),
        (Image, Clip()),
        (Any, object()),
        (None, None),
        (Literal["a"], "a"),
        (dict[str, int], {"a": 1}),
        (Box, Box()),
    ],
)
def test_a_type_holds(type_: Any, value: Any) -> None:
    """A value of the type, or an integer where a float is wanted, also inside unions and lists."""
    assert holds(type_, value)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (int, 3.0),
        (int, "3"),
        (float, True),
        (str, None),
        (float | None, "3"),
        (Clip, Image()),
        (list[int], (1, 2)),
        (list[list[int]], [[1], ["2"]]),
        (Literal["a"], "b"),
        (dict[str, int], {"a": "1"}),
        (Image | None, Sound()),
    ],
)
def test_a_type_does_not_hold(type_: Any, value: Any) -> None:
    """A value of another type."""
    assert not holds(type_, value)


@given(st.integers(0, 999))
def test_one_wrong_item_of_many_is_seen(index: int) -> None:
    """The verdict on a list never depends on which items are looked at."""
    items: list[Any] = [0] * 1000
    items[index] = "0"
    assert not holds(list[int], items)


hints = st.recursive(
    st.sampled_from([int, float, str, bool, Image, Clip, Sound, Any, None]),
    lambda inner: inner.map(lambda t: list[t]) | st.tuples(inner, inner).map(lambda ts: Union[ts]),  # noqa: UP007
    max_leaves=4,
)


@given(hints)
def test_every_type_accepts_itself_and_its_optional(hint: Any) -> None:
    """Wiring equal types always works, and so does wiring into an optional port."""
    assert accepts(hint, hint)
    assert accepts(Optional[hint], hint)  # noqa: UP045
    assert accepts(Any, hint)


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "int"),
        (None, "None"),
        (type(None), "None"),
        (Any, "Any"),
        (Image, "Image"),
        (Box.Lid, "Box.Lid"),
        (list[Image], "list[Image]"),
        (List[Image], "list[Image]"),  # noqa: UP006
        (list[Box.Lid], "list[Box.Lid]"),
        (Optional[int], "int | None"),  # noqa: UP045
        (Optional[list[int]], "list[int] | None"),  # noqa: UP045
        (Union[int, str], "int | str"),  # noqa: UP007
        (Image | None, "Image | None"),
        (list[Image | None], "list[Image | None]"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Sequence[int], "Sequence[int]"),
        (Callable[[int, Image], str], "Callable[[int, Image], str]"),
        (Literal["fake.image", 1], "Literal['fake.image', 1]"),
        (Box[int], "Box[int]"),
        (T, "T"),
        (Annotated[int, "x"], "Annotated[int, x]"),
    ],
)
def test_types_are_written_as_a_person_does(hint: Any, text: str) -> None:
    """Without modules, with unions as bars."""
    assert type_name(hint) == text


def test_a_local_class_is_named_without_its_function() -> None:
    """Where a class was defined is of no interest."""

    class Local:
        pass

    assert type_name(Local) == "Local"
    assert type_name(list[Local]) == "list[Local]"


def test_ports_are_written_with_a_mark_if_optional() -> None:
    """A question mark says that nothing need feed the port."""
    assert str(Port("image", Image)) == "image Image"
    assert str(Port("sound", Sound | None, None)) == "sound Sound | None?"
    assert repr(REQUIRED) == "REQUIRED"
