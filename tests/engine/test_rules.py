"""Params have limits, told in words, with the nearest valid value."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph import param
from stagegraph.rules import Rule, Violation, help_of, rule_of

from .fakes import Paint


@pytest.mark.parametrize(
    ("rule", "value", "violation"),
    [
        (Rule(), 3, None),
        (Rule(ge=0, le=1), None, None),
        (Rule(ge=0, le=1), 0, None),
        (Rule(ge=0, le=1), 1, None),
        (Rule(ge=0, le=1), -1, Violation("must be >= 0, <= 1", "use 0")),
        (Rule(ge=0, le=1), 1.5, Violation("must be >= 0, <= 1", "use 1")),
        (Rule(gt=0), 0, Violation("must be > 0")),
        (Rule(lt=1), 1, Violation("must be < 1")),
        (Rule(gt=0, le=2.5), 3, Violation("must be > 0, <= 2.5", "use 2.5")),
        (Rule(ge=0, le=1), float("nan"), Violation("must be >= 0, <= 1", "use 1")),
        (Rule(le=1_048_576), 1_048_577, Violation("must be <= 1048576", "use 1048576")),
        (Rule(ge=10_000_000), 3, Violation("must be >= 10000000", "use 10000000")),
        (Rule(multiple_of=32), 300, Violation("must be a multiple of 32", "use 288 or 320")),
        (Rule(multiple_of=32), 310, Violation("must be a multiple of 32", "use 320 or 288")),
        (Rule(multiple_of=8, remainder=1), 49, None),
        (Rule(multiple_of=8, remainder=1), 48, Violation("must be 8k+1", "use 49 or 41")),
        (Rule(ge=9, multiple_of=8, remainder=1), 5, Violation("must be >= 9, 8k+1", "use 9 or 17")),
        (
            Rule(ge=1, le=257, multiple_of=8, remainder=1),
            999,
            Violation("must be >= 1, <= 257, 8k+1", "use 257"),
        ),
        (Rule(gt=0, multiple_of=8), -100, Violation("must be > 0, a multiple of 8")),
        (Rule(choices=("a", "b")), "a", None),
        (Rule(choices=("a", "b")), "c", Violation("must be one of a, b")),
        (Rule(choices=(False,), why="nothing else works"), True, Violation("must be false: nothing else works")),
        (
            Rule(choices=(), why="there is none", fix="leave it out"),
            3,
            Violation("must be null: there is none", "leave it out"),
        ),
        (Rule(choices=(), why="there is none"), None, None),
        (Rule(le=1, fix="use 0.5"), 2, Violation("must be <= 1", "use 0.5")),
    ],
)
def test_a_violation_says_the_rule_and_what_to_use(rule: Rule, value: Any, violation: Violation | None) -> None:
    """What is outside names the limits and the nearest values inside; None, where it is allowed, has no limits."""
    assert rule.violation(value) == violation


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule(), ""),
        (Rule(ge=0, lt=1), ">= 0, < 1"),
        (Rule(gt=0.1, le=100_000_000), "> 0.1, <= 100000000"),
        (Rule(ge=1, multiple_of=8, remainder=1), ">= 1, 8k+1"),
        (Rule(multiple_of=32), "a multiple of 32"),
        (Rule(choices=(1, 2)), "one of 1, 2"),
        (Rule(choices=(True,)), "true"),
        (Rule(choices=()), "null"),
    ],
)
def test_a_rule_is_told_in_words(rule: Rule, text: str) -> None:
    """The text names every limit that is set, with all its digits."""
    assert rule.text == text


@given(
    st.integers(-1000, 1000),
    st.integers(1, 64),
    st.integers(0, 63),
    st.none() | st.integers(-100, 100),
    st.none() | st.integers(101, 300),
)
def test_the_values_to_use_are_valid(value: int, step: int, remainder: int, low: int | None, high: int | None) -> None:
    """Whatever a violation offers obeys the rule, and nothing valid is nearer."""
    rule = Rule(ge=low, le=high, multiple_of=step, remainder=remainder % step)
    violation = rule.violation(value)
    if violation is None:
        return
    offered = [int(word) for word in violation.fix.removeprefix("use ").split(" or ")] if violation.fix else []
    valid = [v for v in range(-1100, 1100) if rule.violation(v) is None]
    assert all(rule.violation(candidate) is None for candidate in offered)
    assert not valid or min(abs(v - value) for v in valid) == abs(offered[0] - value)


def test_the_limits_hold_in_python() -> None:
    """An object made by hand is checked like one from a manifest."""
    with pytest.raises(ValueError, match="it must be") as caught:
        Paint(frames=48)
    assert str(caught.value) == "frames is 48, it must be 8k+1: use 49 or 41"
    with pytest.raises(ValueError, match="it must be") as caught:
        Paint(style="wax")
    assert str(caught.value) == "style is 'wax', it must be one of oil, ink"


def test_a_param_without_a_default_is_required() -> None:
    """Leaving it out is Python's own error."""

    @attrs.frozen
    class Thing:
        size: int = param()

    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'size'"):
        Thing()  # type: ignore[call-arg]


def test_fields_carry_their_rule_and_help() -> None:
    """What documentation and forms show can be read from the class."""
    field = attrs.fields_dict(Paint)["frames"]
    assert rule_of(field) == Rule(ge=1, multiple_of=8, remainder=1)
    assert help_of(field) == "How many, 8k+1"


def test_a_plain_field_has_no_limits() -> None:
    """Fields that `param` did not make have neither rule nor help."""

    @attrs.frozen
    class Thing:
        size: int = 1

    field = attrs.fields_dict(Thing)["size"]
    assert rule_of(field) == Rule()
    assert help_of(field) == ""


def test_a_factory_makes_each_default() -> None:
    """Mutable defaults are not shared."""
    assert Paint().sizes == []
    assert Paint().sizes is not Paint().sizes


def test_a_param_can_be_converted_and_given_by_position() -> None:
    """What is given in Python is converted first, then looked at."""

    @attrs.frozen
    class Thing:
        sizes: tuple[int, ...] = param((1,), converter=tuple, kw_only=False)

    assert Thing([2, 3]).sizes == (2, 3)
    assert Thing().sizes == (1,)
