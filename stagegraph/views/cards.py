"""The boxes of a drawing: what stands in each, how large it is, and where its ports are. Lengths are CSS pixels."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from xml.etree.ElementTree import Element

import attrs

from stagegraph.components import component_spec_of, spec_in
from stagegraph.graph import Graph, Input, Node
from stagegraph.graph.values import name_of
from stagegraph.ports import type_name
from stagegraph.record import plain
from stagegraph.serde import unstructure
from stagegraph.views.markup import element
from stagegraph.views.runs import RunView, value_text

#: Of a character, in widths of the font size; all text is in a monospaced font so that boxes can be measured here.
ADVANCE: Final = 0.605
NORMAL, SMALL, TITLE = 12, 10.5, 14
SIZES: Final = {"title": TITLE, "small": SMALL}
PADDING: Final = 10
COLUMNS: Final = 34
PICTURE: Final = (160, 100)


@attrs.frozen
class Row:
    """A line of text in a card; `right` is written at the right edge."""

    text: str
    style: str = "normal"
    right: str = ""
    height: float = 18

    @property
    def size(self) -> float:
        """Of the font."""
        return SIZES.get(self.style, NORMAL)

    @property
    def width(self) -> float:
        """The least width of a card that holds it."""
        gap = 2 if self.right else 0
        return (columns(self.text) + gap + columns(self.right)) * self.size * ADVANCE + 2 * PADDING

    def draw(self, y: float, width: float) -> list[Element]:
        """At a height, in a card of a width."""
        base = y + self.height / 2 + self.size * 0.35
        drawn = [element("text", self.text, x=PADDING, y=base, class_=self.style)]
        if self.right:
            drawn.append(element("text", self.right, x=width - PADDING, y=base, class_=f"{self.style} right"))
        return drawn


@attrs.frozen
class Ports:
    """Ports side by side: (name, type, class of its colour, whether it is in use)."""

    ports: tuple[tuple[str, str, str, bool], ...]
    height: float = 36

    @property
    def width(self) -> float:
        """The least width of a card that holds them."""
        return sum(self._widths)

    @property
    def _widths(self) -> list[float]:
        return [
            max(columns(name) * NORMAL, columns(type_) * SMALL) * ADVANCE + 2 * PADDING
            for name, type_, _, _ in self.ports
        ]

    def centres(self, width: float) -> dict[str, float]:
        """Where wires meet each port, in a card of a width."""
        spare = (width - self.width) / max(len(self.ports), 1)
        centres, left = {}, 0.0
        for (name, *_), own in zip(self.ports, self._widths, strict=True):
            centres[name] = left + (own + spare) / 2
            left += own + spare
        return centres

    def draw(self, y: float, width: float) -> list[Element]:
        """At a height, in a card of a width."""
        drawn = []
        for (name, type_, colour, used), x in zip(self.ports, self.centres(width).values(), strict=True):
            style = "port" if used else "port unused"
            drawn.append(element("text", name, x=x, y=y + 16, class_=style))
            drawn.append(element("text", type_, x=x, y=y + 29, class_=f"type {colour} {style}"))
        return drawn


@attrs.frozen
class Bar:
    """A time beside the longest of all."""

    share: float
    style: str
    height: float = 8
    width: float = 0

    def draw(self, y: float, width: float) -> list[Element]:
        """At a height, in a card of a width."""
        long = width - 2 * PADDING
        return [
            element("rect", x=PADDING, y=y + 1, width=long, height=4, rx=2, class_="track"),
            element("rect", x=PADDING, y=y + 1, width=long * self.share, height=4, rx=2, class_=self.style),
        ]


@attrs.frozen
class Picture:
    """A preview."""

    png: bytes
    height: float = PICTURE[1] + 12
    width: float = PICTURE[0] + 2 * PADDING

    def draw(self, y: float, width: float) -> list[Element]:
        """At a height, in a card of a width."""
        across, high = PICTURE
        return [element("image", href=data_url(self.png), x=(width - across) / 2, y=y + 4, width=across, height=high)]


@attrs.frozen
class Rule:
    """A line between what flows in, what the node is, and what flows out."""

    height: float = 1
    width: float = 0

    def draw(self, y: float, width: float) -> list[Element]:
        """At a height, in a card of a width."""
        return [element("line", x1=0, y1=y, x2=width, y2=y, class_="rule")]


Part = Row | Ports | Bar | Picture | Rule


@attrs.frozen
class Card:
    """A box: its parts from top to bottom, and what it is called."""

    id: str
    label: str
    style: str
    parts: tuple[Part, ...]
    inputs: Ports = Ports(())
    outputs: Ports = Ports(())

    @property
    def width(self) -> float:
        """Of the widest part."""
        return max(part.width for part in self.parts)

    @property
    def height(self) -> float:
        """Of all parts."""
        return sum(part.height for part in self.parts)

    def draw(self, x: float, y: float, *, linked: bool) -> Element:
        """At a place; linked, it leads to the element of its id."""
        width, top = self.width, 0.0
        tag, link = ("a", {"href": f"#{self.id}", "aria_label": self.label}) if linked else ("g", {})
        made = element(tag, transform=f"translate({x:.1f} {y:.1f})", class_=f"card {self.style}", **link)
        made.append(element("title", self.label))
        made.append(element("rect", width=width, height=self.height, rx=8, class_="box"))
        for part in self.parts:
            made.extend(part.draw(top, width))
            top += part.height
        return made


class Colours:
    """A class of CSS for each type of a graph, in the order in which types are asked for; `X | None` is as X."""

    def __init__(self, count: int = 8) -> None:
        self._count = count
        self._known: dict[str, int] = {}

    def of(self, type_: Any) -> str:
        """The class; types share one if there are many."""
        name = type_name(type_).removesuffix(" | None")
        return f"t{self._known.setdefault(name, len(self._known)) % self._count}"


def node_card(graph: Graph, node: Node, colours: Colours, run: RunView | None) -> Card:
    """A stage in its place: ports, params, what it is lent, and how it ran."""
    inputs = Ports(
        tuple(
            (name, clipped(type_name(port.type)), colours.of(port.type), name in node.inputs)
            for name, port in node.spec.inputs.items()
        )
    )
    read = {ref for other in graph.nodes.values() for ref in other.refs()} | set(graph.outputs.values())
    used = {ref.port for ref in read if ref.node == node.name}
    outputs = Ports(
        tuple(
            (name, clipped(type_name(port.type)), colours.of(port.type), name in used)
            for name, port in node.spec.outputs.items()
        )
    )
    parts: list[Part] = [inputs, Rule()] if inputs.ports else []
    told = run.told(node.name) if run is not None else ""
    parts.append(Row(node.name, "title", told, height=26))
    parts.append(Row(str(node.spec), "dim", height=16))
    if run is not None:
        parts.append(Bar(run.seconds.get(node.name, 0) / (run.longest or 1), f"bar {run.status[node.name]}"))
    params = _params(node.stage)
    parts += [Row("", height=4), *params] if params else []
    parts += [Row(f"◆ {lent}", "dim", clipped(str(part))) for lent, part in node.lent.items()]
    parts += [Row("when", "dim", clipped(str(node.when)))] if node.when is not None else []
    parts += [Row("for each", "dim", clipped(", ".join(node.map)))] if node.map else []
    parts += [Picture(run.previews[node.name])] if run is not None and node.name in run.previews else []
    parts.append(Row("", height=6))
    parts += [Rule(), outputs] if outputs.ports else []
    state = f", {told}" if told else ""
    return Card(f"node-{node.name}", f"{node.name}: {node.spec}{state}", "node", tuple(parts), inputs, outputs)


def input_card(input: Input, colours: Colours, run: RunView | None) -> Card:
    """A value that the caller gives."""
    port = Ports(((input.name, clipped(type_name(input.type)), colours.of(input.type), True),))
    value = None if input.required else f"= {value_text(plain(input.default))}"
    if run is not None and input.name in run.inputs:
        value = f"= {run.inputs[input.name]}"
    parts = (port,) if value is None else (Row(clipped(value, 24), "small"), port)
    return Card(f"input-{input.name}", f"input {input.name}: {type_name(input.type)}", "end", parts, outputs=port)


def output_card(graph: Graph, name: str, colours: Colours, run: RunView | None) -> Card:
    """A result of the graph."""
    type_ = graph.output_type(graph.outputs[name])
    port = Ports(((name, clipped(type_name(type_)), colours.of(type_), True),))
    parts: list[Part] = [port]
    if run is not None and name in run.outputs:
        parts.append(Row(clipped(run.outputs[name], 28), "small"))
    if run is not None and name in run.previews:
        parts.append(Picture(run.previews[name]))
    return Card(f"output-{name}", f"output {name}: {type_name(type_)}", "end", tuple(parts), inputs=port)


def component_card(name: str, component: Any, components: Mapping[str, Any] = MappingProxyType({})) -> Card:
    """What the graph lends to its stages; `components` are all that it has, by name."""
    kind = component_spec_of(component).kind
    parts = (Row(f"◆ {name}", "title", height=26), Row(kind, "dim", height=16), Row("", height=4))
    return Card(
        f"component-{name}",
        f"component {name}: {kind}",
        "component",
        (*parts, *_params(component, components), Row("", height=6)),
    )


def _params(thing: Any, components: Mapping[str, Any] = MappingProxyType({})) -> list[Part]:
    given = set_params(thing)
    return [
        Row(name, "param" if name in given else "param default", clipped(value, 24))
        for name, value in param_texts(thing, components).items()
    ]


def set_params(thing: Any) -> Mapping[str, Any]:
    """The params of a stage or component that are not at their default."""
    plain: Mapping[str, Any] = unstructure(thing)
    return plain


def param_texts(thing: Any, components: Mapping[str, Any] = MappingProxyType({})) -> dict[str, str]:
    """Every param of a stage or component, as it would be typed; one that holds a component by the name of that."""
    values = {f.name: getattr(thing, f.name) for f in attrs.fields(type(thing)) if f.init}
    return {
        name: (name_of(value, components) or spec.kind) if (spec := spec_in(value)) else value_text(unstructure(value))
        for name, value in values.items()
    }


def clipped(text: str, limit: int = COLUMNS) -> str:
    """One line of at most so many columns."""
    line = " ".join(text.split())
    if columns(line) <= limit:
        return line
    kept, used = "", 1
    for character in line:
        used += columns(character)
        if used > limit:
            break
        kept += character
    return f"{kept}…"


def columns(text: str) -> int:
    """The width of a text in characters; those of East Asian scripts are two wide."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def data_url(png: bytes) -> str:
    """A PNG file as the address of itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
