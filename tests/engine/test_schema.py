"""The published JSON Schemas: generated from the code, and agreeing with what the code reads and writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import attrs
import jsonschema
import pytest

from stagegraph import events, manifest, plugins, schema, yaml
from stagegraph.cli import output
from stagegraph.cli.app import call
from stagegraph.cli.schema import Name
from stagegraph.errors import Fault, GraphError, Location, ManifestError
from stagegraph.graph import build
from stagegraph.plan import make
from stagegraph.record import start
from stagegraph.registry import Registry
from stagegraph.rules import param
from stagegraph.stages import stage
from tests.engine.fakes import REGISTRY

ROOT = Path(__file__).parent.parent.parent
MANIFESTS = sorted(p for p in (ROOT / "tests" / "manifests").glob("*/*") if p.suffix in (".yaml", ".json"))
SHIPPED = sorted(plugins.default_registry().manifests.values())


def validator(content: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(content)


def made(name: str) -> dict[str, Any]:
    return schema.SCHEMAS[name][1]()


def data_of(path: Path) -> Any:
    """The plain data of a manifest; a file that is not YAML at all is no case: a schema is never asked."""
    try:
        return yaml.read(path.read_text(encoding="utf-8"), path.name).data
    except ManifestError:
        pytest.skip("not YAML")


def test_committed_schemas_are_what_the_code_generates(tmp_path: Path) -> None:
    """`make schemas` would change nothing."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "schemas").iterdir()}
    assert committed == {path.name: path.read_text(encoding="utf-8") for path in schema.write(tmp_path)}


@pytest.mark.parametrize("name", schema.SCHEMAS)
def test_schemas_are_schemas(name: str) -> None:
    """Each is valid against the dialect that it names."""
    jsonschema.Draft202012Validator.check_schema(made(name))
    jsonschema.Draft202012Validator.check_schema(schema.manifest(REGISTRY))


@pytest.mark.parametrize("path", MANIFESTS + SHIPPED, ids=lambda p: p.name)
def test_schema_accepts_what_the_reader_reads_and_refuses_what_it_refuses(path: Path) -> None:
    """For every manifest of the tests and of the plugins that is YAML at all."""
    data = data_of(path)
    try:
        manifest.loads(path.read_text(encoding="utf-8"), path.name)
        readable = True
    except ManifestError:
        readable = False
    assert validator(made("manifest")).is_valid(data) == readable


def test_limits_defaults_and_help_of_params_are_in_the_schema() -> None:
    """A stage's params as a schema: what an editor can offer and check."""

    @attrs.frozen
    class Point:
        """A place."""

        x: int

    @stage("test.schema", version=1)
    class Example:
        """A stage."""

        size: int = param(default=64, ge=32, le=512, multiple_of=32, help="Pixels.")
        frames: int = param(multiple_of=8, remainder=1)
        mode: str | None = param(default=None, choices=("a", "b"))
        kind: Literal["x", "y"] = param(default="x")
        sigmas: tuple[float, ...] = param(default=(1.0, 0.0))
        pair: tuple[int, str] = param(default=(1, "a"))
        table: dict[str, list[Point]] = param(factory=dict)

        def run(self) -> int:
            return self.size

    written = schema.schema(Example)
    assert written["required"] == ["frames"]
    assert json.loads(json.dumps(written["properties"])) == {
        "size": {
            "type": "integer",
            "minimum": 32,
            "maximum": 512,
            "multipleOf": 32,
            "default": 64,
            "description": "Pixels.",
        },
        "frames": {"type": "integer", "description": "Must be 8k+1."},
        "mode": {"anyOf": [{"type": "string"}, {"type": "null"}], "enum": ["a", "b", None], "default": None},
        "kind": {"enum": ["x", "y"], "default": "x"},
        "sigmas": {"type": "array", "items": {"type": "number"}, "default": [1.0, 0.0]},
        "pair": {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "items": False,
            "minItems": 2,
            "default": [1, "a"],
        },
        "table": {"type": "object", "additionalProperties": {"type": "array", "items": {"$ref": "#/$defs/Point"}}},
    }
    assert written["$defs"]["Point"]["required"] == ["x"]


def test_classes_of_one_name_do_not_take_each_other_s_place() -> None:
    """Two plugins may call two things alike."""

    def named_point(type_: type) -> type:
        return attrs.make_class("Point", {"x": attrs.field(type=type_)}, frozen=True)

    first, second = named_point(int), named_point(str)
    both = attrs.make_class("Both", {"a": attrs.field(type=first), "b": attrs.field(type=second)})
    written = schema.schema(both)
    assert validator(written).is_valid({"a": {"x": 1}, "b": {"x": "1"}})
    assert not validator(written).is_valid({"a": {"x": 1}, "b": {"x": 1}})


INSTALLED = validator(schema.manifest(REGISTRY))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.name)
def test_schema_of_the_installed_plugins_refuses_no_graph_that_can_be_built(path: Path) -> None:
    """What only a graph knows (who is wired to whom) is left to `validate`; nothing valid is marked in an editor."""
    data = data_of(path)
    try:
        build(manifest.loads(path.read_text(encoding="utf-8"), path.name), REGISTRY)
    except (ManifestError, GraphError):
        return
    assert [error.message for error in INSTALLED.iter_errors(data)] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_every_shipped_manifest_is_valid_against_the_installed_plugins(path: Path) -> None:
    """So an editor marks nothing in what people start from."""
    errors = validator(schema.manifest(plugins.default_registry())).iter_errors(data_of(path))
    assert [error.message for error in errors] == []


def node(text: str) -> dict[str, Any]:
    """A manifest of one node."""
    data = yaml.read(f"{{stagegraph: 1, name: a, nodes: {{n: {text}}}}}", "test").data
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("{stage: fake.pain, inputs: {prompt: a}}", "nodes.n.stage", "'fake.pain' is not valid under any"),
        ("{stage: fake.film@2, inputs: {prompt: a}}", "nodes.n.stage", "'fake.film@2' is not valid under any"),
        ("{stage: fake.paint, params: {frame: 9}, inputs: {prompt: a}}", "nodes.n.params", "'frame' was unexpected"),
        ("{stage: fake.paint@1, params: {frame: 9}, inputs: {prompt: a}}", "nodes.n.params", "'frame' was unexpected"),
        (
            '{stage: fake.paint, params: {frames: "9"}, inputs: {prompt: a}}',
            "nodes.n.params.frames",
            "'9' is not of type 'integer'",
        ),
        (
            "{stage: fake.paint, params: {strength: 2}, inputs: {prompt: a}}",
            "nodes.n.params.strength",
            "2 is greater than the maximum of 1",
        ),
        (
            "{stage: fake.paint, params: {style: chalk}, inputs: {prompt: a}}",
            "nodes.n.params.style",
            "'chalk' is not one of ['oil', 'ink']",
        ),
        ("{stage: fake.scale, inputs: {value: a}}", "nodes.n", "'params' is a required property"),
        ("{stage: fake.scale, params: {}, inputs: {value: a}}", "nodes.n.params", "'factor' is a required property"),
        ("{stage: fake.paint}", "nodes.n", "'inputs' is a required property"),
        ("{stage: fake.join, inputs: {sound: a}}", "nodes.n.inputs", "'image' is a required property"),
        ("{stage: fake.paint, inputs: {promt: a, prompt: a}}", "nodes.n.inputs", "'promt' was unexpected"),
        ("{stage: fake.paint, inputs: {prompt: a red fox}}", "nodes.n.inputs.prompt", "does not match"),
        ("{stage: fake.paint, inputs: {prompt: a}, components: {x: y}}", "nodes.n.components", "'x' was unexpected"),
    ],
)
def test_a_wrong_node_is_marked_where_it_is_wrong(text: str, path: str, message: str) -> None:
    """Stages, params, limits, inputs and components, as far as the installed plugins know them."""
    errors = list(INSTALLED.iter_errors(node(text)))
    found = jsonschema.exceptions.best_match(errors)
    assert (".".join(map(str, found.absolute_path)), message in found.message) == (path, True), found.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("components: {m: {kind: fake.modle}}", "'fake.modle' is not one of ['fake.model', 'fake.other_model']"),
        ("components: {m: {kind: fake.model}}", "'params' is a required property"),
        ("components: {m: {kind: fake.model, params: {path: 3}}}", "3 is not of type 'string'"),
        ("components: {m: {kind: fake.model, params: {path: a, dtype: fp8}}}", "'fp8' is not one of ['bf16', 'fp32']"),
        (
            "components: {3m: {kind: fake.other_model}}",
            "'3m' does not match '^(?:[A-Za-z_][A-Za-z0-9_-]*(?:/[A-Za-z_][A-Za-z0-9_-]*)*)$'",
        ),
        ("inputs: {a: {type: string}}", "'string' is not valid under any"),
    ],
)
def test_wrong_components_and_inputs_are_marked(text: str, message: str) -> None:
    """Kinds, their params, names and the types of inputs."""
    data = yaml.read(f"{{stagegraph: 1, name: a, nodes: {{}}, {text}}}", "test").data
    found = jsonschema.exceptions.best_match(INSTALLED.iter_errors(data))
    assert found is not None
    assert message in found.message


@pytest.mark.parametrize("type_", ["str", "fake.image", "list[fake.image]", "fake.sound | None"])
def test_types_of_inputs_may_be_compound(type_: str) -> None:
    """As the registry reads them."""
    data = {"stagegraph": 1, "name": "a", "nodes": {}, "inputs": {"a": {"type": type_}}}
    assert INSTALLED.is_valid(data)


def test_an_editor_can_show_what_a_stage_is_for() -> None:
    """Names come with their documentation, wires with their types."""
    definitions = schema.manifest(REGISTRY)["$defs"]
    listed = definitions["NodeDecl"]["properties"]["stage"]["anyOf"][0]
    told = dict(zip(listed["enum"], listed["enumDescriptions"], strict=True))
    assert told["fake.paint"] == "Paint a picture."
    (film,) = [c["then"] for c in definitions["NodeDecl"]["allOf"] if "fake.film" in str(c["if"])]
    assert film["properties"]["inputs"]["properties"]["seed"]["description"].startswith("int, by default 0.")


def test_nothing_installed_makes_a_schema_too() -> None:
    """An engine alone."""
    content = schema.manifest(Registry())
    jsonschema.Draft202012Validator.check_schema(content)
    assert validator(content).is_valid({"stagegraph": 1, "name": "a", "nodes": {}})


def test_run_records_are_valid() -> None:
    """As they begin; a field that is missing or of a wrong type is refused."""
    text = "{stagegraph: 1, name: a, nodes: {n: {stage: fake.film, inputs: {prompt: inputs.p}}}, "
    graph = build(manifest.loads(text + "inputs: {p: {type: str}}, outputs: {o: n}}"), REGISTRY)
    record = json.loads(json.dumps(start("ab12cd34", make(graph), {"p": "a fox"}).record().as_dict()))
    check = validator(made("run"))
    assert [error.message for error in check.iter_errors(record)] == []
    assert not check.is_valid({**record, "schema": "stagegraph.run/2"})
    assert not check.is_valid({**record, "outputs": "o"})
    assert not check.is_valid({name: value for name, value in record.items() if name != "seconds"})


def _sample(type_: Any) -> Any:
    fault = Fault("stage_failed", "it broke", fix="mend it", location=Location("a.yaml", 3, 4))
    samples: dict[Any, Any] = {str: "a", int: 1, float: 0.5, bool: True, tuple[Fault, ...]: (fault,)}
    return samples.get(type_)


# Not `__subclasses__`: that has each class a second time until the garbage is collected, without its slots.
KINDS = [
    k for k in vars(events).values() if isinstance(k, type) and issubclass(k, events.Event) and k is not events.Event
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_events_are_valid_and_told_apart(kind: type[events.Event]) -> None:
    """Each is one of the kinds of the schema, and only one."""
    attrs.resolve_types(kind)
    event = kind(**{field.name: _sample(field.type) for field in attrs.fields(kind)})
    data = json.loads(json.dumps(events.as_dict(event)))
    assert [error.message for error in validator(made("events")).iter_errors(data)] == []
    assert not validator(made("events")).is_valid({**data, "event": "something_else"})


def test_envelopes_are_valid(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of commands that did their work and of commands that did not; the catalogue too."""
    (tmp_path / "a.yaml").write_text("stagegraph: 1\nname: a\nnods: {}\n")
    lines = []
    for words in (["stages"], ["validate", str(tmp_path / "a.yaml")], ["validate"], ["run", "nothing/here"]):
        call([*words, "--json"])
        lines.append(json.loads(capsys.readouterr().out))
    assert [line["ok"] for line in lines] == [True, False, False, False]
    for line in lines:
        assert [error.message for error in validator(made("envelope")).iter_errors(line)] == []
    assert [error.message for error in validator(made("catalogue")).iter_errors(lines[0]["data"])] == []
    assert lines[0]["schema"] == output.ENVELOPE
    assert not validator(made("envelope")).is_valid({**lines[0], "ok": False})


def test_command_prints_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    """The manifest's knows the installed plugins unless told otherwise."""
    assert {name.value for name in Name} == set(schema.SCHEMAS)

    def printed(*words: str) -> Any:
        assert call(["schema", *words]) == 0
        return json.loads(capsys.readouterr().out)

    assert printed() == printed("manifest") == schema.manifest(plugins.default_registry())
    assert printed("manifest", "--engine") == made("manifest")
    assert printed("events") == made("events")
    assert printed("run", "--json")["data"] == made("run")
