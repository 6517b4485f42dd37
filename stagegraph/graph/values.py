"""What a bound graph consists of: frozen values, nothing left to look up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any, Final

import attrs

from stagegraph.attempts import Retry
from stagegraph.components import Residency, component_spec_of, held_by
from stagegraph.errors import Location
from stagegraph.ports import REQUIRED, list_of
from stagegraph.stages import StageSpec

#: A name as a person writes it; what stands inside a subgraph has the subgraph's name and a slash before it.
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:/[A-Za-z_][A-Za-z0-9_-]*)*")
#: The first word of a reference to a graph input; no node has this name.
INPUTS: Final = "inputs"
#: The first word of a reference to a graph output, in what is carried from one run to the next.
OUTPUTS: Final = "outputs"


def is_name(text: str) -> bool:
    """Whether a name can be used in references."""
    return (text.isascii() and text.isidentifier()) or NAME.fullmatch(text) is not None


@attrs.frozen
class Ref:
    """The producing end of a wire: an output port of a node, or an input of the graph if `node` is `inputs`."""

    node: str
    port: str

    def __str__(self) -> str:
        return f"{self.node}.{self.port}"


def name_of(component: Any, components: Mapping[str, Any]) -> str | None:
    """What a component is called among others."""
    return next((name for name, one in components.items() if one is component or one == component), None)


@attrs.frozen(eq=False)
class Constant:
    """A value that is written in the graph itself."""

    value: Any

    def __str__(self) -> str:
        return f"= {json.dumps(self.value, default=repr, ensure_ascii=False)}"


#: What feeds an input: one producer, or those of a variadic port in their order.
Source = Ref | Constant | tuple[Ref | Constant, ...]


@attrs.frozen
class PartRef:
    """A part of one of the graph's components."""

    component: str
    part: str

    def __str__(self) -> str:
        return f"{self.component}.{self.part}"


@attrs.frozen
class Input:
    """A value that the caller gives; without a default it is required.

    `type_name` is the type's registered name, which manifests use; empty if it has none.
    """

    name: str
    type: Any
    default: Any = REQUIRED
    help: str = ""
    type_name: str = ""

    @property
    def required(self) -> bool:
        """Whether a run needs a value for it."""
        return self.default is REQUIRED


@attrs.frozen(slots=False)  # graphs have many: without slots, one is made in half the time
class Node:
    """A stage with its params, placed in a graph, wired and lent its components.

    Attributes:
        when: decides whether the node runs at all: a bool, or what may be None, for whether it is there.
        map: inputs that take the items of a list, one call an item; every output is then a list.
        timeout: seconds after which a call has failed.
        retry: how often the stage is called when it fails with an error that may pass.
        location: where the node was written, for messages.
        sources: everything that the node reads, the inputs in their order and then the condition, with repetitions.
    """

    name: str
    spec: StageSpec
    stage: Any
    inputs: Mapping[str, Source]
    lent: Mapping[str, PartRef]
    when: Ref | Constant | None = None
    map: tuple[str, ...] = ()
    timeout: float | None = None
    retry: Retry | None = None
    location: Location | None = attrs.field(default=None, eq=False, repr=False)
    sources: tuple[Ref | Constant, ...] = attrs.field(init=False, eq=False, repr=False)

    @sources.default
    def _sources(self) -> tuple[Ref | Constant, ...]:
        sources: list[Ref | Constant] = []
        for source in self.inputs.values():
            if isinstance(source, tuple):
                sources += source
            else:
                sources.append(source)
        if self.when is not None:
            sources.append(self.when)
        return tuple(sources)

    @property
    def lane(self) -> str:
        """Where the node runs: what its stage says, else by the device if it is lent components, by the CPU if not."""
        return self.spec.lane or ("device" if self.lent else "cpu")

    def feeds(self) -> Iterator[tuple[str, Ref | Constant]]:
        """What feeds each input, with the input's name; a variadic input comes once for each producer."""
        for port, source in self.inputs.items():
            if isinstance(source, tuple):
                yield from ((port, part) for part in source)
            else:
                yield port, source

    def refs(self) -> Iterator[Ref]:
        """Every producer that the node waits for."""
        return (source for source in self.sources if isinstance(source, Ref))

    def input_type(self, port: str) -> Any:
        """The type of what feeds an input."""
        type_ = self.spec.inputs[port].type
        return list_of(type_) if port in self.map else type_

    def output_type(self, port: str) -> Any:
        """The type of an output as readers see it."""
        type_ = self.spec.outputs[port].type
        return list_of(type_) if self.map else type_


@attrs.frozen
class Graph:
    """A graph that can run.

    Attributes:
        nodes: in an order in which every node comes after those that feed it.
        residency: component -> where its parts stay between uses, for all of them or by part; not said for the others.
        carry: input -> the output whose value it takes in the next run of a session.
        locations: component -> where its params were written, for messages.
    """

    name: str
    description: str
    inputs: Mapping[str, Input]
    components: Mapping[str, Any]
    nodes: Mapping[str, Node]
    outputs: Mapping[str, Ref]
    residency: Mapping[str, Residency | Mapping[str, Residency]] = attrs.field(factory=dict)
    carry: Mapping[str, str] = attrs.field(factory=dict)
    locations: Mapping[str, Location | None] = attrs.field(factory=dict, eq=False, repr=False)

    def residency_of(self, part: PartRef) -> Residency | None:
        """Where a part stays between uses; None if the graph does not say."""
        said = self.residency.get(part.component)
        return said.get(part.part) if isinstance(said, Mapping) else said

    def root_of(self, part: PartRef) -> PartRef:
        """What is in memory for a part: itself, or the part that it is laid over."""
        component = self.components[part.component]
        over = component_spec_of(component).parts[part.part].over
        if over is None:
            return part
        return PartRef(name_of(getattr(component, over.param), self.components) or part.component, over.part)

    def with_held(self, names: Set[str]) -> set[str]:
        """The names of components, and of those that they hold."""
        found, waiting = set(names), list(names)
        while waiting:
            held = held_by(self.components[waiting.pop()]).values()
            more = {name for one in held if (name := name_of(one, self.components))} - found
            found |= more
            waiting += more
        return found

    def output_type(self, ref: Ref) -> Any:
        """The type of the value that a wire carries."""
        if ref.node == INPUTS:
            return self.inputs[ref.port].type
        return self.nodes[ref.node].output_type(ref.port)
