"""A graph as Mermaid and as DOT text; neither needs a library or a service."""

from __future__ import annotations

import json
from collections.abc import Iterator

from stagegraph.graph import INPUTS, Graph, Ref
from stagegraph.ports import type_name


def mermaid(graph: Graph) -> str:
    """A Mermaid flowchart; wires carry the names of their types."""
    ids = {name: f"n{number}" for number, name in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    lines += [f"    i{n}([{_quoted(name)}])" for n, name in enumerate(graph.inputs)]
    lines += [f"    {ids[name]}[{_quoted(f'{name}<br/>{node.spec}')}]" for name, node in graph.nodes.items()]
    lines += [f"    o{n}([{_quoted(name)}])" for n, name in enumerate(graph.outputs)]
    inputs = {name: f"i{n}" for n, name in enumerate(graph.inputs)}
    outputs = {name: f"o{n}" for n, name in enumerate(graph.outputs)}
    for source, port, label, target in _edges(graph):
        start = inputs[port] if source == INPUTS else ids[source]
        end = outputs[target[1:]] if target.startswith(">") else ids[target]
        lines.append(f"    {start} -->|{_quoted(label)}| {end}")
    return "\n".join(lines)


def dot(graph: Graph) -> str:
    """A Graphviz digraph; wires carry the names of their types."""
    lines = [f"digraph {json.dumps(graph.name)} {{", "    rankdir=LR;", "    node [shape=box];"]
    lines += [f"    {json.dumps(f'inputs.{name}')} [shape=oval];" for name in graph.inputs]
    for name, node in graph.nodes.items():
        label = json.dumps(f"{name}\n{node.spec}")
        lines.append(f"    {json.dumps(name)} [label={label}];")
    lines += [f"    {json.dumps(f'>{name}')} [label={json.dumps(name)} shape=oval];" for name in graph.outputs]
    for source, port, label, target in _edges(graph):
        start = f"inputs.{port}" if source == INPUTS else source
        lines.append(f"    {json.dumps(start)} -> {json.dumps(target)} [label={json.dumps(label)}];")
    return "\n".join([*lines, "}"])


def _edges(graph: Graph) -> Iterator[tuple[str, str, str, str]]:
    """(producing node, its port, label, consuming node or ">" and an output's name) of every wire."""
    for name, node in graph.nodes.items():
        wires = [(port, source) for port, source in node.feeds() if isinstance(source, Ref)]
        for port, ref in [*wires, *([("when", node.when)] if isinstance(node.when, Ref) else [])]:
            yield ref.node, ref.port, f"{port}: {type_name(graph.output_type(ref))}", name
    for name, ref in graph.outputs.items():
        yield ref.node, ref.port, type_name(graph.output_type(ref)), f">{name}"


def _quoted(text: str) -> str:
    return '"' + text.replace("&", "#amp;").replace('"', "#quot;") + '"'
