"""A graph as SVG: typed wires from top to bottom, params in the nodes; after a run, what it took."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Final
from xml.etree.ElementTree import Element

from stagegraph.graph import INPUTS, Graph, Ref
from stagegraph.ports import type_name
from stagegraph.views.cards import Card, Colours, component_card, input_card, node_card, output_card
from stagegraph.views.layout import BOX_GAP, Box, Link, arrange
from stagegraph.views.markup import element, xml
from stagegraph.views.runs import RunView

MARGIN: Final = 16.0


def svg(graph: Graph, run: RunView | None = None) -> str:
    """A drawing that is a file of its own."""
    drawn = drawing(graph, run)
    drawn.set("xmlns", "http://www.w3.org/2000/svg")
    drawn.insert(0, element("style", style()))
    return xml(drawn)


def drawing(graph: Graph, run: RunView | None = None, *, linked: bool = False) -> Element:
    """The `svg` element, to be shown with the rules of `style()`.

    Args:
        graph: what to draw.
        run: what to tell of a run of it.
        linked: make each box a link to the element whose id is "node-", "input-", "output-" or "component-" and its
            name.
    """
    colours = Colours()
    cards = {Ref(INPUTS, name): input_card(input, colours, run) for name, input in graph.inputs.items()}
    cards |= {Ref(name, ""): node_card(graph, node, colours, run) for name, node in graph.nodes.items()}
    cards |= {Ref("", name): output_card(graph, name, colours, run) for name in graph.outputs}
    wires = list(_wires(graph))
    layout = arrange(
        {card.id: Box(card.width, card.height) for card in cards.values()},
        [_link(cards, source, target) for source, target in wires],
    )
    components = [component_card(name, component, graph.components) for name, component in graph.components.items()]
    shelf, shelf_width, shelf_height = _shelf(components, max(layout.width, 480))
    width = max(layout.width, shelf_width) + 2 * MARGIN
    left = (width - layout.width) / 2
    top = MARGIN + shelf_height
    below = element("g", transform=f"translate({left:.1f} {top:.1f})")
    for (source, target), route in zip(wires, layout.routes, strict=True):
        below.append(_drawn_wire(graph, cards, source, target, route.path(), colours))
    below.extend(card.draw(*layout.places[card.id], linked=linked) for card in cards.values())
    edge = (width - shelf_width) / 2
    lent = [card.draw(edge + x, MARGIN + y, linked=linked) for card, (x, y) in zip(components, shelf, strict=True)]
    height = top + layout.height + MARGIN
    return element(
        "svg",
        *lent,
        below,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="group",
        aria_label=f"graph {graph.name}",
        class_="stagegraph",
    )


def style() -> str:
    """The rules of a drawing; all of them concern what is inside `.stagegraph`."""
    return files(__package__).joinpath("drawing.css").read_text(encoding="utf-8")


def _wires(graph: Graph) -> Iterable[tuple[Ref, Ref]]:
    """(producing port, consuming port); an output of the graph is a port of the node ""."""
    for name, node in graph.nodes.items():
        yield from ((source, Ref(name, port)) for port, source in node.feeds() if isinstance(source, Ref))
    for name, ref in graph.outputs.items():
        yield ref, Ref("", name)


def _card(cards: dict[Ref, Card], ref: Ref) -> Card:
    return cards[ref if ref.node in ("", INPUTS) else Ref(ref.node, "")]


def _link(cards: dict[Ref, Card], source: Ref, target: Ref) -> Link:
    upper, lower = _card(cards, source), _card(cards, target)
    leave = upper.outputs.centres(upper.width)[source.port]
    return Link(upper.id, leave, lower.id, lower.inputs.centres(lower.width)[target.port])


def _drawn_wire(graph: Graph, cards: dict[Ref, Card], source: Ref, target: Ref, path: str, colours: Colours) -> Element:
    type_ = graph.output_type(source)
    told = element("title", f"{source} → {target if target.node else target.port}: {type_name(type_)}")
    ends = {"data_from": _card(cards, source).id, "data_to": _card(cards, target).id}
    return element("path", told, d=path, class_=f"wire {colours.of(type_)}", **ends)


def _shelf(cards: list[Card], width: float) -> tuple[list[tuple[float, float]], float, float]:
    """Places for cards in rows of a width; the width and height that they take."""
    places, x, y, high, wide = [], 0.0, 0.0, 0.0, 0.0
    for card in cards:
        if x and x + card.width > width:
            x, y, high = 0.0, y + high + BOX_GAP, 0.0
        places.append((x, y))
        x += card.width + BOX_GAP
        wide, high = max(wide, x - BOX_GAP), max(high, card.height)
    return places, wide, y + high + BOX_GAP if cards else 0.0
