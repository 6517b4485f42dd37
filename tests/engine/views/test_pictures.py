"""Pages, drawings and notebook output: everything about a graph is there, and nothing in it is obeyed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest

import stagegraph as sg
from stagegraph.cli.app import call
from stagegraph.graph import Graph, build
from stagegraph.manifest import loads
from stagegraph.record import SCHEMA
from stagegraph.views.html import page
from stagegraph.views.runs import duration, view_of
from stagegraph.views.svg import svg
from tests.engine.fakes import REGISTRY, Model, Paint

HOSTILE = "</title></style></script><img src=x onerror=alert(1)>\"'&amp;<svg onload=alert(2)>\u202e\x01"
PNG = b"\x89PNG\r\n\x1a\nnot really"
RECORD: dict[str, Any] = {
    "schema": SCHEMA,
    "id": "ab12cd34",
    "graph": "movie",
    "created": "2026-01-02T03:04:05+00:00",
    "status": "failed",
    "inputs": {"prompt": "a fox"},
    "versions": {"python": "3.13.1"},
    "seconds": {"film": 3.0, "split": 0.012},
}

MOVIE = """\
stagegraph: 1
name: movie
description: A clip, its picture and its text.
inputs:
  prompt: {type: str, help: What to film.}
components:
  model: {kind: fake.model, params: {path: here}}
nodes:
  film: {stage: fake.film, inputs: {prompt: inputs.prompt}}
  split: {stage: fake.split, inputs: {clip: film}}
  paint: {stage: fake.paint, params: {frames: 17, style: ink}, inputs: {prompt: inputs.prompt}}
  encode: {stage: fake.encode, inputs: {text: inputs.prompt}}
  join: {stage: fake.join, inputs: {image: paint, sound: split.sound}}
outputs:
  clip: join
  text: encode
"""


def movie() -> Graph:
    return build(loads(MOVIE), REGISTRY)


def hostile() -> Graph:
    """A graph whose every free text is an attack."""
    g = sg.Graph(HOSTILE, HOSTILE, registry=REGISTRY)
    g.component("model", Model(path=HOSTILE))
    prompt = g.input("prompt", str, HOSTILE, help=HOSTILE)
    g.output("text", g.add("fake.encode", text=prompt))
    return g.bind()


@attrs.define
class Page:
    """What a browser makes of a page."""

    elements: list[tuple[str, dict[str, str]]] = attrs.field(factory=list)
    texts: dict[str, list[str]] = attrs.field(factory=dict)

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def links(self) -> set[str]:
        return {a["href"] for tag, a in self.elements if tag == "a"}

    def text(self) -> str:
        return " ".join(text for tag, texts in self.texts.items() if tag not in ("script", "style") for text in texts)


def parsed(text: str) -> Page:
    found = Page()

    class Parser(HTMLParser):
        within = ""

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            self.within = tag
            found.elements.append((tag, {name: value or "" for name, value in attributes}))

        def handle_data(self, data: str) -> None:
            found.texts.setdefault(self.within, []).append(data)

    parser = Parser()
    parser.feed(text)
    parser.close()
    return found


def test_page_tells_everything_about_every_part() -> None:
    """Each part has an article that links lead to: ports, types, params with limits and help, what is lent to whom."""
    read = parsed(page(movie()))
    names = ["node-film", "node-split", "node-paint", "node-encode", "node-join"]
    parts = [*names, "input-prompt", "output-clip", "output-text", "component-model"]
    assert sorted(read.ids()) == sorted([*parts, "overview", "graph"])
    assert read.links() == {f"#{part}" for part in [*parts, "overview"]}
    told = re.sub(r"\s+", " ", read.text())
    for fact in (
        "A clip, its picture and its text.",
        "What to film.",
        "Sound | None",
        "How many, 8k+1 (>= 1, 8k+1)",
        "fake.model, version 1",
        "model.encoder",
        "not lent",
        "not wired: 0",
        "Take a clip apart.",
        "5 nodes, 1 component, 2 outputs",
    ):
        assert fact in told, fact


def test_params_at_their_default_are_dimmed() -> None:
    """Those that were set are not."""
    read = parsed(page(movie()))
    dimmed = [a["class"] for tag, a in read.elements if tag == "code" and a.get("class", "").startswith("value")]
    # film and split have none; paint: frames, strength, style, sizes; the component: path, dtype
    assert dimmed == ["value", "value default", "value", "value default", "value", "value default"]


def test_page_is_complete_in_itself() -> None:
    """No address of anything outside; the policy lets in only the style and the script that the page holds."""
    text = page(movie(), view_of(RECORD, movie().nodes, previews={"clip": PNG}))
    read = parsed(text)
    for _, attributes in read.elements:
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert "@import" not in text
    assert "url(" not in text
    (policy,) = [a["content"] for tag, a in read.elements if a.get("http-equiv") == "Content-Security-Policy"]
    for tag in ("style", "script"):
        (content,) = ["".join(read.texts[tag])]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("run", [False, True], ids=["graph", "run"])
def test_hostile_texts_are_shown_and_not_obeyed(run: bool) -> None:
    """Names, descriptions, defaults, params, and every text of a run record: none of them becomes an element."""
    graph = hostile()
    record = {
        **dict.fromkeys(("id", "status", "created"), HOSTILE),
        "inputs": {"prompt": HOSTILE},
        "versions": {HOSTILE: HOSTILE},
        "seconds": {"encode": 1.0, HOSTILE: 2.0},
    }
    view = view_of(record, graph.nodes, {"text": HOSTILE}) if run else None
    tame = sg.Graph("tame", "tame", registry=REGISTRY)
    tame.component("model", Model(path="tame"))
    tame.output("text", tame.add("fake.encode", text=tame.input("prompt", str, "tame", help="tame")))
    harmless = {**record, "versions": {"a": "b"}, "inputs": {"prompt": "a"}}
    expected = parsed(page(tame.bind(), view_of(harmless, graph.nodes, {"text": "a"}) if run else None))
    read = parsed(page(graph, view))
    assert [tag for tag, _ in read.elements] == [tag for tag, _ in expected.elements]
    assert [sorted(a) for _, a in read.elements] == [sorted(a) for _, a in expected.elements]
    assert read.texts["script"] == expected.texts["script"]
    assert "<img src=x onerror=alert(1)>\"'&amp;<svg onload=alert(2)>" in read.text()
    assert "\x01" not in read.text()
    ElementTree.fromstring(svg(graph, view))


def test_a_record_that_is_not_what_it_should_be_shows_less() -> None:
    """A file that anybody wrote: wrong types and unknown nodes are left out."""
    nodes = movie().nodes
    view = view_of({"seconds": {"film": "3", "split": True, "paint": -1, "other": 1.0}, "inputs": 3}, nodes)
    assert (dict(view.seconds), dict(view.inputs), view.longest) == ({}, {}, 0)
    assert page(movie(), view)


def test_page_of_a_run_tells_times_results_and_what_did_not_run() -> None:
    """Bars beside the slowest node."""
    view = view_of(RECORD, movie().nodes, {"clip": "a clip of 3 s"}, {"clip": PNG, "film": PNG})
    read = parsed(page(movie(), view))
    told = re.sub(r"\s+", " ", read.text())
    for fact in (
        "run ab12cd34",
        "failed",
        "3.0 s in stages",
        "ran, 12 ms",
        "not run",
        "a clip of 3 s",
        "3.13.1",
        "= a fox",
    ):
        assert fact in told, fact
    pictures = [a["src"] for tag, a in read.elements if tag == "img"]
    assert pictures == [f"data:image/png;base64,{base64.b64encode(PNG).decode()}"] * 2
    bars = [a["width"] for tag, a in read.elements if "bar " in a.get("class", "") and a["height"] == "8"]
    assert bars == ["100", "0.4", "0", "0", "0"]


def test_outcomes_that_are_known_are_told() -> None:
    """A store knows more than a record: what was reused, and what failed."""
    known = {"film": "reused", "paint": "failed", "other": "ran"}
    view = view_of(RECORD, movie().nodes, outcomes=known)
    assert view.status == {
        "film": "reused",
        "split": "ran",
        "paint": "failed",
        "encode": "not run",
        "join": "not run",
    }
    drawn = ElementTree.fromstring(svg(movie(), view))
    labels = [title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert "film: fake.film@3, reused, 3.0 s" in labels
    assert "paint: fake.paint@1, failed" in labels


def test_svg_is_a_file_of_its_own_with_a_title_on_each_wire() -> None:
    """Well-formed XML, with its style; wires say from where to where, and what flows."""
    root = ElementTree.fromstring(svg(movie()))
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    assert root.find(f"{space}style") is not None
    wires = [path.findtext(f"{space}title") for path in root.iter(f"{space}path")]
    assert wires == [
        "inputs.prompt → film.prompt: str",
        "film.output → split.clip: Clip",
        "inputs.prompt → paint.prompt: str",
        "inputs.prompt → encode.text: str",
        "paint.output → join.image: Image",
        "split.sound → join.sound: Sound",
        "join.output → clip: Clip",
        "encode.output → text: str",
    ]


def test_equal_graphs_give_equal_pages() -> None:
    """So a page can be compared and committed."""
    assert page(movie()) == page(movie())


def test_texts_in_a_card_fit_into_it() -> None:
    """Long and wide texts are cut; every character of the font has a width of 0.605 of its size."""
    g = sg.Graph("wide", registry=REGISTRY)
    g.component("model", Model(path="絵" * 100))
    g.output("text", g.add("fake.encode", text=g.input("prompt", str, "m" * 500)))
    root = ElementTree.fromstring(svg(g.bind()))
    width = float(root.attrib["width"])
    assert width < 800


@pytest.mark.parametrize(("seconds", "text"), [(0.0004, "0 ms"), (0.25, "250 ms"), (3.25, "3.2 s"), (125, "2 min 5 s")])
def test_durations_are_for_people(seconds: float, text: str) -> None:
    """Not more digits than matter."""
    assert duration(seconds) == text


def test_notebook_shows_a_graph_as_tree_and_drawing() -> None:
    """No script is needed; what the style says concerns the drawing alone."""
    g = sg.Graph("hello", registry=REGISTRY)
    g.output("image", g.add(Paint(frames=17), prompt=g.input("prompt", str)))
    bundle = g._repr_mimebundle_()
    assert bundle["text/plain"].startswith("hello\n  inputs.prompt  str")
    read = parsed(bundle["text/html"])
    assert {"svg", "style"} <= {tag for tag, _ in read.elements}
    assert not {"script", "a", "link"} & {tag for tag, _ in read.elements}
    rules = re.findall(r"([^{}]+)\{[^{}]*\}", "".join(read.texts["style"]))
    assert all(part.strip().startswith(".stagegraph") for rule in rules for part in rule.split(","))


def test_notebook_tells_what_an_unfinished_graph_lacks() -> None:
    """A cell that shows it does not fail."""
    g = sg.Graph("hello", registry=REGISTRY)
    g.add("fake.split", name="split")
    assert g._repr_mimebundle_() == {
        "text/plain": "<graph hello: 1 nodes>\n"
        "nodes.split: error[missing_input]: split (fake.split): nothing feeds the input clip Clip\n"
        "  why: it has no default\n"
        "  fix: add a stage or an input that gives Clip"
    }


def test_notebook_shows_the_outputs_of_a_run() -> None:
    """Name, type and a few words, escaped."""
    g = sg.Graph("hello", registry=REGISTRY)
    g.output("image", g.add("fake.paint", prompt=g.input("prompt", str)))
    run = g.run(prompt="<b>")
    bundle = run._repr_mimebundle_()
    assert bundle["text/plain"].splitlines()[1:] == ["  image  Image(name='<b>')"]
    assert "<td>image</td><td>Image</td><td>Image(name='&lt;b&gt;')</td>" in bundle["text/html"]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run of the manifest `ltx2/text-to-video`."""
    monkeypatch.chdir(tmp_path)
    record = {**RECORD, "graph": "ltx2/text-to-video", "seconds": {"denoise": 3.0}}
    Path("run.json").write_text(json.dumps(record))
    Path("frames.png").write_bytes(PNG)
    Path("other.png").write_bytes(PNG)
    return tmp_path


def test_command_draws_into_files(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every format; what is written is what would be printed."""
    for format in ("text", "mermaid", "dot", "svg", "html", "yaml", "json"):
        assert call(["graph", "ltx2/text-to-video", "-f", format]) == 0
        printed = capsys.readouterr().out
        assert call(["graph", "ltx2/text-to-video", "-f", format, "-o", f"graph.{format}"]) == 0
        assert capsys.readouterr().out == ""
        assert Path(f"graph.{format}").read_text(encoding="utf-8") == printed
    assert call(["graph", "ltx2/text-to-video", "-f", "svg", "-o", "a.svg", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == {"file": "a.svg"}


def test_command_shows_a_run_with_its_previews(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of a run or its record; pictures count that are named like a node or an output."""
    for path in (".", "run.json"):
        assert call(["graph", "ltx2/text-to-video", "-f", "html", "--run", path]) == 0
        read = parsed(capsys.readouterr().out)
        assert "run ab12cd34" in read.text()
        assert len([tag for tag, _ in read.elements if tag == "img"]) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--run", "."], "error[usage]: --run cannot be shown as text\n  fix: add -f html or -f svg\n"),
        (["-f", "html", "--run", "none.json"], "error[usage]: none.json cannot be read: No such file or directory\n"),
        (["-o", "no/such.txt"], "error[usage]: no/such.txt cannot be written: No such file or directory\n"),
        (
            ["-f", "svg", "--run", "other.json"],
            'error[usage]: other.json is a run of "movie", not of ltx2/text-to-video\n  fix: name the graph that ran\n',
        ),
        (
            ["-f", "svg", "--run", "empty.json"],
            (
                "error[unsupported_version]: empty.json is no run record\n"
                '  why: its "schema" would be "stagegraph.run/1"\n'
            ),
        ),
    ],
)
def test_command_refuses_what_it_cannot_show(
    words: list[str], told: str, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason, and nothing written."""
    Path("other.json").write_text(json.dumps(RECORD))
    Path("empty.json").write_text("{}")
    assert call(["graph", "ltx2/text-to-video", *words]) == 2
    assert capsys.readouterr() == ("", told)
