"""Manifests in files: what builds, and the whole error text of what does not.

Each file in `invalid` stands beside a .txt with what is told about it, word for word.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stagegraph import manifest as manifests
from stagegraph import plan as plans
from stagegraph.builder import Graph
from stagegraph.errors import UsageError
from stagegraph.graph import build

from ..engine.fakes import REGISTRY

HERE = Path(__file__).parent


def files(folder: str) -> list[str]:
    """The manifests of a folder."""
    return sorted(path.name for path in (HERE / folder).iterdir() if path.suffix in (".yaml", ".json"))


def error_of(file: Path) -> str:
    """The whole text of the error that loading and building a file gives, with its name in place of its path."""
    with pytest.raises(UsageError) as caught:
        build(manifests.load(file), REGISTRY)
    return f"{caught.value}\n".replace(f"{file.parent}/", "")


@pytest.mark.parametrize("name", files("invalid"))
def test_an_invalid_manifest_is_told_in_these_words(name: str) -> None:
    """All faults, in the order of reading, each with its place, the reason and what to type."""
    file = HERE / "invalid" / name
    assert error_of(file) == file.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_text_belongs_to_a_manifest() -> None:
    """No expected text is left over."""
    texts = {path.stem for path in (HERE / "invalid").glob("*.txt")}
    assert texts == {Path(name).stem for name in files("invalid")}
    assert len(texts) >= 25


@pytest.mark.parametrize("name", files("valid"))
def test_a_valid_manifest_builds_and_is_written_as_it_was_read(name: str) -> None:
    """It gives a graph; read and written it is the same text; as a Python graph it gives the same plan."""
    file = HERE / "valid" / name
    manifest = manifests.load(file)
    graph = build(manifest, REGISTRY)
    assert manifests.dumps(manifest) == file.read_text(encoding="utf-8")
    assert manifests.loads(json.dumps(manifests.as_dict(manifest))) == manifest
    grown = Graph.from_manifest(manifest, REGISTRY)
    again = build(manifests.loads(grown.dumps()), REGISTRY)
    if graph.outputs:
        assert plans.make(again).as_dict() == plans.make(graph).as_dict() == grown.plan().as_dict()


@pytest.mark.parametrize("name", files("valid"))
def test_a_valid_manifest_stays_valid_when_it_is_written_anew(name: str) -> None:
    """Also without the text that it came from."""
    manifest = manifests.load(HERE / "valid" / name)
    assert manifests.loads(manifests.dumps(Graph.from_manifest(manifest, REGISTRY).to_manifest())).name == manifest.name
