"""A graph as one HTML page: the drawing, and everything about each node. Needs no network, and no script to be read."""

from __future__ import annotations

import base64
import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final
from xml.etree.ElementTree import Element

from stagegraph.components import ComponentSpec, component_spec_of
from stagegraph.graph import INPUTS, Constant, Graph, Node, Ref
from stagegraph.ports import type_name
from stagegraph.record import plain
from stagegraph.rules import help_of, rule_of
from stagegraph.stages import StageSpec
from stagegraph.views.cards import data_url, param_texts, set_params
from stagegraph.views.markup import Content, element, extend, html
from stagegraph.views.runs import RunView, duration, value_text
from stagegraph.views.svg import drawing, style

#: The name of something with facts about it, and what is said of it.
Term = tuple[Sequence[Content], str]

_ZOOM: Final = (("-", "Zoom out"), ("+", "Zoom in"), ("fit", "Show all"), ("1:1", "Real size"))


def page(graph: Graph, run: RunView | None = None) -> str:
    """The page of a graph.

    Args:
        graph: what to show. Its texts may come from anybody: they are shown, never obeyed.
        run: adds what ran, how long it took, what came out and how it looks; see `runs.view_of`.
    """
    rules, script = f"{style()}{_asset('page.css')}", _asset("page.js")
    policy = f"default-src 'none'; img-src data:; style-src {_hash(rules)}; script-src {_hash(script)}; base-uri 'none'"
    buttons = [element("button", text, type="button", title=title, data_zoom=text) for text, title in _ZOOM]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", graph.name),
        element("style", rules),
    )
    figure = element(
        "section",
        element("div", *buttons, class_="tools", hidden=""),
        element("div", drawing(graph, run, linked=True), class_="drawing", tabindex="0", aria_label="drawing"),
        id="graph",
        aria_label="The graph",
    )
    details = element("aside", *_articles(graph, run), aria_label="Details")
    body = element(
        "body", _header(graph, run), element("main", figure, details), element("script", script), class_="stagegraph"
    )
    return f"<!DOCTYPE html>\n{html(element('html', head, body, lang='en'))}"


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _header(graph: Graph, run: RunView | None) -> Element:
    counts = [(len(graph.nodes), "node"), (len(graph.components), "component"), (len(graph.outputs), "output")]
    told = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count)
    made = element("header", element("h1", element("a", graph.name, href="#overview")), element("p", told))
    if run is not None:
        took = duration(sum(run.seconds.values()))
        made.append(element("p", f"run {run.id} ", element("b", run.state), f", {took} in stages, {run.created}"))
    return made


def _articles(graph: Graph, run: RunView | None) -> Iterable[Element]:
    yield _overview(graph, run)
    for node in graph.nodes.values():
        yield _node(graph, node, run)
    for name, input in graph.inputs.items():
        default = "required" if input.required else f"default {value_text(plain(input.default))}"
        given = f"; the run was given {run.inputs[name]}" if run is not None and name in run.inputs else ""
        facts = element("p", _type(input.type), f", {default}{given}")
        readers = element(
            "p", "read by", *(part for reader in _read_by(graph, Ref(INPUTS, name)) for part in (" ", reader))
        )
        yield _article("input", name, "input of the graph", *_prose(input.help), facts, readers)
    for name, ref in graph.outputs.items():
        facts = element("p", "from ", _link(ref), " ", _type(graph.output_type(ref)))
        yield _article("output", name, "output of the graph", facts, *_result(name, run))
    for name, component in graph.components.items():
        yield _component(graph, name, component)


def _overview(graph: Graph, run: RunView | None) -> Element:
    made = element("article", element("h2", "Overview"), *_prose(graph.description), id="overview")
    inputs = [([_a("input", name), _type(i.type)], i.help) for name, i in graph.inputs.items()]
    nodes = [([_a("node", name), _dim(node.spec)], node.spec.summary) for name, node in graph.nodes.items()]
    components = [([_a("component", n), _dim(component_spec_of(c).kind)], "") for n, c in graph.components.items()]
    outputs = [([_a("output", name), _type(graph.output_type(ref))], "") for name, ref in graph.outputs.items()]
    if run is not None:
        times: list[Sequence[Content]] = [[_a("node", name), _bar(run, name), run.told(name)] for name in graph.nodes]
        made.extend(_table("Time", times))
    for title, terms in (("Inputs", inputs), ("Nodes", nodes), ("Components", components), ("Outputs", outputs)):
        made.extend(_terms(title, terms))
    if run is not None:
        made.extend(_table("Versions", [[name, version] for name, version in run.versions.items()]))
    return made


def _node(graph: Graph, node: Node, run: RunView | None) -> Element:
    spec = node.spec
    inputs: list[Sequence[Content]] = []
    for name, port in spec.inputs.items():
        default = "not wired" if port.required or port.variadic else f"not wired: {value_text(plain(port.default))}"
        fed = [_feed(source) for feed, source in node.feeds() if feed == name]
        inputs.append([name, _type(port.type), *(fed or [default])])
    if node.when is not None:
        known = _type(graph.output_type(node.when)) if isinstance(node.when, Ref) else _type(bool)
        inputs.append(["when", known, _feed(node.when)])
    outputs = [[name, _type(port.type), *_read_by(graph, Ref(node.name, name))] for name, port in spec.outputs.items()]
    lent: list[Sequence[Content]] = [
        [argument, _type(spec.lent[argument].type), _a("component", part.component, str(part))]
        for argument, part in node.lent.items()
    ]
    made = _article("node", node.name, str(spec), *_prose(inspect.getdoc(spec.factory) or ""))
    if run is not None:
        made.append(element("p", element("b", run.told(node.name))))
        made.extend(_picture(node.name, run))
    made.extend(_terms("Inputs", [(words, "") for words in inputs]))
    made.extend(_terms("Params", _params(spec, node.stage)))
    made.extend(_terms("Lent", [(words, "") for words in lent]))
    made.extend(_terms("Outputs", [(words, "") for words in outputs]))
    return made


def _component(graph: Graph, name: str, component: Any) -> Element:
    spec = component_spec_of(component)
    borrowers: dict[str, list[Content]] = {part: [] for part in spec.parts}
    for node in graph.nodes.values():
        for ref in node.lent.values():
            if ref.component == name:
                borrowers[ref.part].append(_a("node", node.name))
    parts: list[Term] = []
    for part in spec.parts.values():
        parts.append(([part.name, _type(part.type), *(borrowers[part.name] or ["not lent"])], part.summary))
    docs = _prose(inspect.getdoc(spec.factory) or "")
    made = _article("component", name, f"{spec.kind}, version {spec.version}", *docs)
    made.extend(_terms("Params", _params(spec, component, graph.components)))
    made.extend(_terms("Parts", parts))
    return made


def _params(
    spec: StageSpec | ComponentSpec, thing: Any, components: Mapping[str, Any] = MappingProxyType({})
) -> list[Term]:
    given = set_params(thing)
    terms: list[Term] = []
    for name, text in param_texts(thing, components).items():
        field = spec.params[name]
        limits = rule_of(field).text
        value = element("code", text, class_="value" if name in given else "value default")
        note = " ".join(filter(None, [help_of(field), f"({limits})" if limits else ""]))
        terms.append(([name, _type(field.type), value], note))
    return terms


def _article(kind: str, name: str, subtitle: str, *content: Content) -> Element:
    back = element("a", "overview", href="#overview", class_="back")
    return element(
        "article", back, element("h2", name), element("p", subtitle, class_="dim"), *content, id=f"{kind}-{name}"
    )


def _prose(text: str) -> list[Element]:
    return [element("p", paragraph) for paragraph in inspect.cleandoc(text).split("\n\n") if paragraph.strip()]


def _terms(title: str, terms: Iterable[Term]) -> list[Element]:
    """A titled list: the name and the facts beside it, and below what is said of it."""
    made = element("dl")
    for (name, *facts), said in terms:
        line = element("dt", element("b", name))
        extend(line, (part for fact in facts if fact is not None for part in (" ", fact)))
        made.append(line)
        if said:
            made.append(element("dd", said))
    return [element("h3", title), made] if len(made) else []


def _table(title: str, rows: Iterable[Sequence[Content]]) -> list[Element]:
    lines = []
    for first, *rest in rows:
        lines.append(element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest)))
    return [element("h3", title), element("table", *lines)] if lines else []


def _type(type_: Any) -> Element:
    return element("code", type_name(type_), class_="dim")


def _dim(text: object) -> Element:
    return element("code", str(text), class_="dim")


def _a(kind: str, name: str, text: str | None = None) -> Element:
    return element("a", text or name, href=f"#{kind}-{name}")


def _link(ref: Ref) -> Element:
    return _a("input", ref.port, str(ref)) if ref.node == INPUTS else _a("node", ref.node, str(ref))


def _feed(source: Ref | Constant) -> Content:
    return _link(source) if isinstance(source, Ref) else str(source)


def _read_by(graph: Graph, ref: Ref) -> list[Content]:
    """Links to what reads a value."""
    readers = [_a("node", name) for name, node in graph.nodes.items() if ref in node.refs()]
    readers += [_a("output", name, f"output {name}") for name, source in graph.outputs.items() if source == ref]
    return [*readers] or ["not read"]


def _bar(run: RunView, node: str) -> Element:
    share = run.seconds.get(node, 0) / (run.longest or 1)
    box = {"viewBox": "0 0 100 8", "preserveAspectRatio": "none", "class": "time", "aria-hidden": "true"}
    bar = Element("svg", box)
    bar.append(element("rect", width=100, height=8, class_="track"))
    bar.append(element("rect", width=100 * share, height=8, class_=f"bar {run.status[node]}"))
    return bar


def _result(name: str, run: RunView | None) -> list[Element]:
    if run is None:
        return []
    value = [element("p", element("code", run.outputs[name]))] if name in run.outputs else []
    return value + _picture(name, run)


def _picture(name: str, run: RunView) -> list[Element]:
    png = run.previews.get(name)
    return [element("img", src=data_url(png), alt=f"preview of {name}")] if png is not None else []
