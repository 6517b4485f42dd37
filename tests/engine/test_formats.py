"""Manifests of older formats: brought to the newest step by step, as they were written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stagegraph import formats, manifest, yaml
from stagegraph.cli.app import call
from stagegraph.errors import ManifestError


def _wires(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A format that says `wires` where the one before said `inputs`."""
    nodes = {
        name: {"wires" if key == "inputs" else key: value for key, value in node.items()}
        for name, node in data["nodes"].items()
    }
    return {**data, "nodes": nodes}


def _titled(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A format that calls the name a title."""
    return {"title" if key == "name" else key: value for key, value in data.items()}


STEPS = (_wires, _titled)

OLD = """\
# How it began.
stagegraph: 1
name: hello
nodes:
  # says it
  greet:
    stage: words.greet
    inputs: {whom: inputs.whom}   # a name
outputs:
  text: greet  # what it says
"""


def migrated(text: str, steps: Any = STEPS, file: str = "old.yaml") -> formats.Migrated:
    return formats.migrate(yaml.read(text, file), steps)


def test_every_step_is_taken_and_comments_stay() -> None:
    """The data is what the chain of steps makes of it; what is between the lines is as it was."""
    result = migrated(OLD)
    data = yaml.read(OLD, "old.yaml").data
    assert (result.before, result.after) == (1, 3)
    assert yaml.read(result.text, "new.yaml").data == {**_titled(_wires(data)), "stagegraph": 3}
    for kept in ("# How it began.\n", "  # says it\n", "  text: greet  # what it says\n", "    stage: words.greet\n"):
        assert kept in result.text


def test_a_manifest_starts_at_its_own_format() -> None:
    """Steps that it does not need are not taken."""
    result = migrated("{stagegraph: 2, name: a, nodes: {}}")
    assert (result.before, result.after) == (2, 3)
    assert yaml.read(result.text, "new.yaml").data == {"stagegraph": 3, "title": "a", "nodes": {}}


def test_steps_cannot_change_what_they_are_given() -> None:
    """One that does, in spite of being called pure, spoils nothing."""

    def careless(data: Mapping[str, Any]) -> Mapping[str, Any]:
        data["nodes"].clear()
        return data

    document = yaml.read(OLD, "old.yaml")
    formats.migrate(document, (careless,))
    assert document.data["nodes"]


def test_json_stays_json() -> None:
    """YAML would be read, but not by whatever wrote the file."""
    result = migrated('{"stagegraph": 1, "name": "ä", "nodes": {}}', file="old.json")
    assert json.loads(result.text) == {"stagegraph": 3, "title": "ä", "nodes": {}}


def test_the_newest_format_is_the_one_that_manifests_have() -> None:
    """The chain ends where the reader begins."""
    assert 1 + len(formats.STEPS) == manifest.VERSION


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "stagegraph: 4\nname: a\n",
            (
                "old.yaml:1:13: error[unsupported_version]: the manifest has format version 4\n"
                "  why: this release reads versions 1 to 3\n  fix: upgrade stagegraph"
            ),
        ),
        (
            'stagegraph: "1"\n',
            (
                'old.yaml:1:13: error[unsupported_version]: the manifest has format version "1"\n'
                "  why: this release reads versions 1 to 3"
            ),
        ),
        (
            "name: a\n",
            'old.yaml:1:1: error[missing_key]: this is no manifest: it has no "stagegraph"\n  fix: write stagegraph: 3',
        ),
        (
            "[]\n",
            'old.yaml:1:1: error[missing_key]: this is no manifest: it has no "stagegraph"\n  fix: write stagegraph: 3',
        ),
    ],
)
def test_what_is_newer_or_no_manifest_is_refused(text: str, told: str) -> None:
    """With the place, and what to do."""
    with pytest.raises(ManifestError) as caught:
        migrated(text)
    assert str(caught.value) == told


def test_command_prints_or_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Printing changes nothing; writing keeps the rights of the file, and the second time does nothing."""
    monkeypatch.setattr(formats, "STEPS", STEPS)
    monkeypatch.chdir(tmp_path)
    file = Path("old.yaml")
    file.write_text(OLD)
    file.chmod(0o640)
    assert call(["migrate", "old.yaml"]) == 0
    assert capsys.readouterr().out == migrated(OLD).text
    assert file.read_text() == OLD
    assert call(["migrate", "old.yaml", "--write"]) == 0
    assert capsys.readouterr().out == "old.yaml: format 1 became format 3\n"
    assert (file.read_text(), file.stat().st_mode & 0o777) == (migrated(OLD).text, 0o640)
    assert [path.name for path in tmp_path.iterdir()] == ["old.yaml"]
    assert call(["migrate", "old.yaml", "--write", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == {
        "file": "old.yaml",
        "from": 3,
        "to": 3,
        "written": False,
        "text": migrated(OLD).text,
    }


def test_command_says_that_nothing_is_to_be_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Today's formats: there is one."""
    file = tmp_path / "a.yaml"
    file.write_text(OLD)
    assert call(["migrate", str(file), "--write"]) == 0
    assert capsys.readouterr().out == f"{file}: already at format 1\n"
    assert file.read_text() == OLD
    assert call(["migrate", str(tmp_path / "b.yaml")]) == 2
    assert "b.yaml cannot be read: No such file or directory" in capsys.readouterr().err
