"""A graph as a text tree: from each output back to what it is made of."""

from __future__ import annotations

from collections.abc import Iterator

from stagegraph.components import component_spec_of
from stagegraph.graph import INPUTS, Graph, Node, Ref
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
    stack: list[tuple[str, bool, str, Ref]] = [("", True, "", ref)]
    while stack:
        indent, last, port, ref = stack.pop()
        known = ref.node in drawn or ref.node == INPUTS
        label = f"{port} <- {ref}" if port else str(ref)
        yield f"{indent}{'└─' if last else '├─'} {label}{_told(graph, ref, known)}"
        if known:
            continue
        drawn.add(ref.node)
        feeds = list(graph.nodes[ref.node].inputs.items())
        inner = indent + ("   " if last else "│  ")
        stack += [(inner, i == len(feeds) - 1, feed, source) for i, (feed, source) in reversed(list(enumerate(feeds)))]


def _told(graph: Graph, ref: Ref, known: bool) -> str:
    if ref.node == INPUTS:
        return ""
    return "  (above)" if known else f"  {describe(graph.nodes[ref.node])}"


def describe(node: Node) -> str:
    """A node in a line: its stage, and what it is lent."""
    lent = ", ".join(str(part) for part in node.lent.values())
    return f"{node.spec}{f'  with {lent}' if lent else ''}"
