"""Sweeps: a graph for several values of its inputs at once, in which what does not depend on them is there once."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from stagegraph.graph import INPUTS, Constant, Graph, Node, Ref, Source

_WORD = re.compile(r"[A-Za-z0-9_-]{1,24}")


def sweep(graph: Graph, values: Mapping[str, Sequence[Any]]) -> Graph:
    """Copy every node for each combination of the swept inputs that it depends on.

    A copy is called `node/input-value`, an output made from it `output/input-value`; values that make no word are
    numbered from 1.

    Args:
        graph: what to sweep.
        values: inputs of the graph and the values that each shall take; every combination is made.
    """
    sweeper = _Sweeper(graph, values)
    nodes = {copy.name: copy for node in graph.nodes.values() for copy in sweeper.copies(node)}
    outputs = {}
    for name, ref in graph.outputs.items():
        for choice in sweeper.choices(sweeper.swept_by(ref)):
            source = sweeper.source(ref, choice)
            if isinstance(source, Ref):
                outputs[sweeper.named(name, choice)] = source
    inputs = {name: input for name, input in graph.inputs.items() if name not in values}
    return attrs.evolve(graph, inputs=inputs, nodes=nodes, outputs=outputs)


#: One value, by its position, for each of some swept inputs.
Choice = dict[str, int]


class _Sweeper:
    def __init__(self, graph: Graph, values: Mapping[str, Sequence[Any]]) -> None:
        self._values = values
        self._constants = {name: [Constant(value) for value in swept] for name, swept in values.items()}
        self._labels = {name: [_label(name, i, value) for i, value in enumerate(v)] for name, v in values.items()}
        self._depends: dict[str, tuple[str, ...]] = {}
        for node in graph.nodes.values():
            found = {name for ref in node.refs() for name in self.swept_by(ref)}
            self._depends[node.name] = tuple(name for name in values if name in found)

    def swept_by(self, ref: Ref) -> tuple[str, ...]:
        """The swept inputs that a value depends on."""
        if ref.node == INPUTS:
            return (ref.port,) if ref.port in self._values else ()
        return self._depends[ref.node]

    def choices(self, names: Sequence[str]) -> Iterator[Choice]:
        """Every combination of values of these inputs."""
        for combination in itertools.product(*(range(len(self._values[name])) for name in names)):
            yield dict(zip(names, combination, strict=True))

    def named(self, name: str, choice: Choice) -> str:
        """The name of a copy."""
        return "/".join([name, *(self._labels[swept][index] for swept, index in choice.items())])

    def copies(self, node: Node) -> Iterator[Node]:
        """The node itself if nothing swept reaches it, else its copies."""
        for choice in self.choices(self._depends[node.name]):
            inputs: dict[str, Source] = {}
            for port, source in node.inputs.items():
                if isinstance(source, tuple):
                    inputs[port] = tuple(self.source(part, choice) for part in source)
                else:
                    inputs[port] = self.source(source, choice)
            when = self.source(node.when, choice) if node.when is not None else None
            yield attrs.evolve(node, name=self.named(node.name, choice), inputs=inputs, when=when)

    def source(self, source: Ref | Constant, choice: Choice) -> Ref | Constant:
        """What stands in for a producer in the copies of one choice."""
        if isinstance(source, Constant):
            return source
        swept = self.swept_by(source)
        if source.node == INPUTS:
            return self._constants[source.port][choice[source.port]] if swept else source
        return Ref(self.named(source.node, {name: choice[name] for name in swept}), source.port)


def _label(name: str, index: int, value: Any) -> str:
    text = str(value)
    return f"{name}-{text if _WORD.fullmatch(text) else index + 1}"
