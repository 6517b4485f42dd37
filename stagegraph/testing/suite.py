"""`conformance`: the claims about a plugin as one parametrised test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from stagegraph.plugins import default_plugins, default_registry
from stagegraph.testing.claims import Claim, claims
from stagegraph.testing.examples import Example


def conformance(
    plugin: str, examples: Iterable[Example] = (), *, allow_imports: Iterable[str] = ()
) -> Callable[..., None]:
    """A test that pytest runs once for each thing that a plugin must keep to.

    Assign it to a name that begins with `test_`. Each claim is a test of its own, run in an empty folder: the plugin
    loads and requires the engine; what it registers bears its name; importing it imports no heavy library; shipped
    manifests are valid; stages, components and params are explained. And for each example: params survive writing and
    reading, limits hold, the stage can be sent to another process, returns what it declares and what it has foretold,
    leaves its inputs alone, gives the same again, gives the same in a graph, and stops when it is cancelled.

    Args:
        plugin: the name of its entry point; the distribution must be installed.
        examples: at least one for each of its stages.
        allow_imports: heavy libraries that importing the plugin may import nevertheless.
    """
    import pytest

    found = claims(plugin, default_plugins(), default_registry(), examples, tuple(allow_imports))

    @pytest.mark.parametrize("claim", [pytest.param(claim, id=claim.id) for claim in found])
    def test_conformance(claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        breaches = list(claim.breaches())
        if breaches:
            pytest.fail("\n".join(breaches), pytrace=False)

    return test_conformance
