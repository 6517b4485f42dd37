"""A graph as a text tree: from each output back to what it is made of."""

from __future__ import annotations

from collections.abc import Iterator

from stagegraph.components import component_spec_of
from stagegraph.graph import INPUTS, Constant, Graph, Node, Ref
from stagegraph.ports import type_name
from stagegraph.record import summary


def tree(graph: Graph) -> str:
    """Each node is drawn once, where the tree first meets it; further readers point back to it."""
    lines = [graph.name, *(f"  {line}" for line in graph.description.strip().splitlines())]
    for input in graph.inputs.values():
        default = "" if input.required else f" = {summary(input.default)}"
        lines.append(f"  inputs.{input.name}  {type_name(input.type)}{default}  {input.help}".rstrip())
    for name, component in graph.components.items():
        lines.append(f"  components.{name}  {component_spec_of(component).kind}")
    drawn: set[str] = set()
    for name, ref in graph.outputs.items():
        lines += [f"{name}", *_branches(graph, ref, drawn)]
    left = [name for name in graph.nodes if name not in drawn]
    return "\n".join(lines + ([f"needed by no output: {', '.join(left)}"] if left else []))


def _branches(graph: Graph, ref: Ref, drawn: set[str]) -> Iterator[str]:
    # A stack, not recursion: chains may be longer than Python's stack is deep.
    stack: list[tuple[str, bool, str, Ref | Constant]] = [("", True, "", ref)]
    while stack:
        indent, last, port, source = stack.pop()
        label = f"{port} {source}" if isinstance(source, Constant) else f"{port} <- {source}" if port else str(source)
        told = _told(graph, source, drawn)
        yield f"{indent}{'└─' if last else '├─'} {label}{told}"
        if isinstance(source, Constant) or source.node in drawn or source.node == INPUTS:
            continue
        drawn.add(source.node)
        node = graph.nodes[source.node]
        feeds = [*node.feeds(), *([("when", node.when)] if node.when is not None else [])]
        inner = indent + ("   " if last else "│  ")
        stack += [(inner, i == len(feeds) - 1, feed, source) for i, (feed, source) in reversed(list(enumerate(feeds)))]


def _told(graph: Graph, source: Ref | Constant, drawn: set[str]) -> str:
    if isinstance(source, Constant) or source.node == INPUTS:
        return ""
    return "  (above)" if source.node in drawn else f"  {describe(graph.nodes[source.node])}"


def describe(node: Node) -> str:
    """A node in a line: its stage, and what it is lent."""
    lent = ", ".join(str(part) for part in node.lent.values())
    each = f"  for each {', '.join(node.map)}" if node.map else ""
    return f"{node.spec}{f'  with {lent}' if lent else ''}{each}"
