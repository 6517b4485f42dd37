"""`Example`: a stage with inputs, small enough to be run many times in a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from stagegraph.facts import Facts
from stagegraph.pool import Pool
from stagegraph.stages import StageSpec, spec_of
from stagegraph.testing.calling import lent_to
from stagegraph.testing.digest import digest


def same(one: Any, other: Any) -> bool:
    """Whether two values have the same content, bit for bit."""
    return digest(one) == digest(other)


@attrs.frozen(kw_only=True)
class Example:
    """A stage that can be run, and how its results are compared.

    Attributes:
        stage: an instance, or a function that is a stage.
        inputs: port -> value, a list of values for a variadic input; or a function that makes them, called for each
            run, in an empty current folder.
        lent: argument -> what it is lent; or a function that gives that.
        components: where the parts are loaded from that `lent` does not have.
        equal: whether two results are equal; by default every bit counts, in arrays and tensors too.
        facts: port -> what tells the facts of a value, where its class has no property `facts`.
        quick: the stage is done within a second, so it need not look whether the run was cancelled.
        name: told in the test's id, where a stage has several examples.
    """

    stage: Any = attrs.field(kw_only=False)
    inputs: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = attrs.field(factory=dict)
    lent: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = attrs.field(factory=dict)
    components: Iterable[Any] = ()
    equal: Callable[[Any, Any], bool] = same
    facts: Mapping[str, Callable[[Any], Facts]] = attrs.field(factory=dict)
    quick: bool = False
    name: str = ""

    @property
    def spec(self) -> StageSpec:
        """What the stage declares."""
        return spec_of(self.stage)

    def made(self, pool: Pool) -> tuple[dict[str, Any], dict[str, Any]]:
        """Inputs, and what is lent; parts of components are loaded once a pool."""
        inputs = self.inputs() if callable(self.inputs) else self.inputs
        lent = self.lent() if callable(self.lent) else self.lent
        return dict(inputs), lent_to(self.stage, lent, self.components, pool)

    def __str__(self) -> str:
        return f"{self.spec.id}-{self.name}" if self.name else self.spec.id
