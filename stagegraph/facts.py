"""Facts: what is known of a value before it exists, such as its size; and what stages say about them.

A stage may have five more methods, none of which loads anything::

    def check(self) -> Iterable[Fault]: ...            # what is wrong with its settings on this machine
    def writes(self) -> Iterable[str]: ...             # the files that it will write, besides its own folder
    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]: ...
    def memory(self, inputs: Mapping[str, Facts]) -> int | tuple[int, int] | None: ...
    def lighter(self) -> Iterable[tuple[Mapping[str, Any], str]]: ...

`facts` gets what is known of each argument of `run`: of what flows in, and of the parts of components that are lent
(their `part_facts`); the values of a variadic input are told apart by `facts_of_each`. It gives what follows for each
output, and raises `FactError` for what the stage cannot take. So "this edge carries frames of 250 x 400 and the encoder
wants even sizes" is found before anything heavy loads. `memory` gives the bytes of the device that a call takes beside
what it is lent: those that it needs, or those and the most that it takes where there are more; None if it cannot tell.
`lighter` gives settings with which it takes less, the cheapest first, each with a few words on what they change.

A value that is there tells its own facts, if its class has a property `facts`, by the same names::

    @property
    def facts(self) -> Facts:
        return {"height": self.height, "width": self.width}

A number, a text or a truth value that a run is given, or that is a constant, is its own fact, `value`: a stage that
reads the file at a path can look at it before the run, and raise its own error.

So the conformance suite (`stagegraph.testing`) can hold what a stage foretells against what it makes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from stagegraph.errors import Fault

#: What is known of a value: names that its type explains -> plain values. Nothing is known of what is not there.
Facts = Mapping[str, Any]


#: The name of the fact that a plain value is.
VALUE = "value"


class FactError(ValueError):
    """A stage cannot take a value of which this much is known.

    Args:
        what: what is wrong, with the value.
        port: the argument that carries it.
        why: the rule.
        fix: what to do.
    """

    def __init__(self, what: str, *, port: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.port = port
        self.why = why
        self.fix = fix


def facts_of(stage: Any, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
    """What a stage knows of its outputs.

    Raises:
        FactError: it cannot take the inputs.
    """
    method = getattr(stage, "facts", None)
    known: Mapping[str, Facts] = method(inputs) if method is not None else {}
    return known


def facts_of_each(inputs: Mapping[str, Facts], argument: str) -> list[Facts]:
    """What is known of each value of a variadic input, in the order of its wires.

    Nothing, {}, is known of a value that may be left out because what makes it may be skipped.

    Args:
        inputs: what a stage's `facts` is given; the values come by names such as `frames[0]`, which `FactError` takes
            for its port too.
        argument: the name of the input.
    """
    names = (f"{argument}[{number}]" for number in itertools.count())
    return [inputs[name] for name in itertools.takewhile(inputs.__contains__, names)]


def facts_of_value(value: Any) -> Facts | None:
    """What a value that is there tells of itself; None if its class has no `facts`."""
    told: Facts | None = getattr(value, "facts", None) if hasattr(type(value), "facts") else None
    return told


def facts_of_given(value: Any) -> Facts:
    """What is known of a value that is there before the run."""
    if value is None or isinstance(value, str | int | float):
        return {VALUE: value}
    return facts_of_value(value) or {}


def memory_of(stage: Any, inputs: Mapping[str, Facts]) -> tuple[int, int] | None:
    """The bytes that a call of a stage takes beside what it is lent, at least and at most; None if it does not say."""
    method = getattr(stage, "memory", None)
    told = method(inputs) if method is not None else None
    return (told, told) if isinstance(told, int) else told


def lighter_of(thing: Any) -> Iterable[tuple[Mapping[str, Any], str]]:
    """Settings with which a stage or a component takes less memory, the cheapest first, and what they change."""
    method = getattr(thing, "lighter", None)
    return method() if method is not None else ()


def faults_of_stage(stage: Any) -> list[Fault]:
    """What is wrong with a stage's settings on this machine."""
    method = getattr(stage, "check", None)
    return list(method()) if method is not None else []


def files_of(stage: Any) -> Iterable[str]:
    """The files that a stage will write."""
    method = getattr(stage, "writes", None)
    return list(method()) if method is not None else []
