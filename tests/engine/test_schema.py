"""The published JSON Schemas: generated from the code, and agreeing with what the code reads."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from stagegraph import plugins
from stagegraph.errors import ManifestError
from stagegraph.manifest import loads
from stagegraph.rules import param
from stagegraph.schema import render, schema, schemas
from stagegraph.stages import stage
from stagegraph.yaml import read

ROOT = Path(__file__).parent.parent.parent
MANIFESTS = sorted((ROOT / "tests" / "manifests").glob("*/*"))
SHIPPED = sorted(plugins.default_registry().manifests.values())


def test_committed_schemas_are_what_the_code_generates() -> None:
    """`make schemas` would change nothing."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "schemas").iterdir()}
    assert committed == {name: render(content) for name, content in schemas().items()}


def test_schemas_are_schemas() -> None:
    """Each is valid against the dialect that it names."""
    for content in schemas().values():
        jsonschema.Draft202012Validator.check_schema(content)


@pytest.mark.parametrize(
    "path", [p for p in MANIFESTS + SHIPPED if p.suffix in (".yaml", ".json")], ids=lambda p: p.name
)
def test_schema_accepts_what_the_reader_reads_and_refuses_what_it_refuses(path: Path) -> None:
    """For every manifest of the tests and of the plugins that is YAML at all."""
    text = path.read_text(encoding="utf-8")
    try:
        data = read(text, path.name).data
    except ManifestError:
        pytest.skip("not YAML: a schema is never asked")
    try:
        loads(text, path.name)
    except ManifestError:
        readable = False
    else:
        readable = True
    validator = jsonschema.Draft202012Validator(schemas()["manifest.v1.schema.json"])
    assert validator.is_valid(data) == readable, list(validator.iter_errors(data))


def test_limits_defaults_and_help_of_params_are_in_the_schema() -> None:
    """A stage's params as a schema: what an editor can offer and check."""

    @stage("test.schema", version=1)
    class Example:
        """A stage."""

        size: int = param(default=64, ge=32, le=512, multiple_of=32, help="Pixels.")
        frames: int = param(multiple_of=8, remainder=1)
        mode: str | None = param(default=None, choices=("a", "b"))
        sigmas: tuple[float, ...] = param(default=(1.0, 0.0))

        def run(self) -> int:
            return self.size

    made = schema(Example)
    assert made["required"] == ["frames"]
    assert json.loads(json.dumps(made["properties"])) == {
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
        "sigmas": {"type": "array", "items": {"type": "number"}, "default": [1.0, 0.0]},
    }
