"""`param`: a setting of a stage or component, with its default, its limits and its help text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

_METADATA_KEY = "stagegraph.rule"


@attrs.frozen
class Violation:
    """Why a value is outside its rule, and what to type instead."""

    why: str
    fix: str = ""


@attrs.frozen
class Rule:
    """The limits of one param; every limit that is set must hold. `why` and `fix` are told where one does not."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    multiple_of: int | None = None
    remainder: int = 0
    choices: tuple[Any, ...] | None = None
    why: str = ""
    fix: str = ""

    def violation(self, value: Any) -> Violation | None:
        """What is wrong with a value of the right type; None if nothing is."""
        found = None if value is None else self._violation(value)
        if found is None or not (self.why or self.fix):
            return found
        return Violation(": ".join(filter(None, [found.why, self.why])), self.fix or found.fix)

    def _violation(self, value: Any) -> Violation | None:
        if self.choices is not None:
            return None if value in self.choices else Violation(f"must be {self.text}")
        if not self._in_range(value):
            return Violation(f"must be {self.text}", self._nearest(value))
        if self.multiple_of is not None and (value - self.remainder) % self.multiple_of:
            return Violation(f"must be {self._grid}", self._nearest(value))
        return None

    @property
    def text(self) -> str:
        """The limits in words: `>= 0, <= 1`; empty if there are none."""
        if self.choices is not None:
            return ("one of " if len(self.choices) > 1 else "") + _listed(self.choices)
        bounds = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        parts = [f"{sign} {bound:.15g}" for sign, bound in bounds if bound is not None]
        return ", ".join(parts + ([self._grid] if self.multiple_of is not None else []))

    @property
    def _grid(self) -> str:
        return f"{self.multiple_of}k+{self.remainder}" if self.remainder else f"a multiple of {self.multiple_of}"

    def _in_range(self, value: Any) -> bool:
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def _nearest(self, value: Any) -> str:
        """The nearest valid values below and above, nearest first."""
        if self.multiple_of is None:
            bound = self.ge if self.ge is not None and value < self.ge else self.le
            return f"use {bound:.15g}" if bound is not None and self._in_range(bound) else ""
        step = self.multiple_of
        start = value
        if self.ge is not None:
            start = max(start, self.ge)
        if self.le is not None:
            start = min(start, self.le)
        below = int((start - self.remainder) // step) * step + self.remainder
        near = sorted((c for c in (below, below + step) if self._in_range(c)), key=lambda c: (abs(c - value), c))
        return f"use {' or '.join(str(candidate) for candidate in near)}" if near else ""


def param(
    default: Any = attrs.NOTHING,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    multiple_of: int | None = None,
    remainder: int = 0,
    choices: tuple[Any, ...] | None = None,
    why: str = "",
    fix: str = "",
    factory: Callable[[], Any] | None = None,
    converter: Callable[[Any], Any] | None = None,
    kw_only: bool = True,
    help: str = "",
) -> Any:
    """A param of a stage or component: an attrs field with limits.

    Args:
        default: the value if none is given; without one the param is required. Written by keyword, type checkers see
            it too.
        ge, gt, le, lt: bounds of a number.
        multiple_of, remainder: the value must be `k * multiple_of + remainder`.
        choices: the allowed values; none at all where only None is.
        why: the reason for the limits, where they do not speak for themselves.
        fix: what to type instead; by default the nearest value inside.
        factory: makes a mutable default.
        converter: what a value that is given in Python becomes before it is looked at.
        kw_only: whether it can be given by name alone.
        help: what it does, its unit, and what its extremes mean.

    The limits hold wherever the object is made: in Python, from a manifest, from the command line.
    """
    rule = Rule(ge, gt, le, lt, multiple_of, remainder, choices, why, fix)

    def validate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        violation = rule.violation(value)
        if violation is not None:
            fix = f": {violation.fix}" if violation.fix else ""
            raise ValueError(f"{attribute.name} is {value!r}, it {violation.why}{fix}")

    start = attrs.Factory(factory) if factory is not None else default
    metadata = {_METADATA_KEY: rule, "help": help}
    return attrs.field(default=start, validator=validate, metadata=metadata, converter=converter, kw_only=kw_only)


def rule_of(attribute: attrs.Attribute[Any]) -> Rule:
    """The limits of a field; no limits for a field that `param` did not make."""
    rule: Rule = attribute.metadata.get(_METADATA_KEY, Rule())
    return rule


def help_of(attribute: attrs.Attribute[Any]) -> str:
    """The help text of a field."""
    return str(attribute.metadata.get("help", ""))


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in values) or "null"
