"""The engine is light: nothing heavy is imported before a stage runs."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import stagegraph

HEAVY = ("torch", "numpy", "safetensors", "transformers", "diffusers", "av", "PIL")
#: What only some graphs and commands need.
LATE = (
    "networkx",
    "beartype",
    "typer",
    "rich",
    "cattrs",
    "ruamel",
    "pluggy",
    "email",
    "asyncio",
    "concurrent",
    "sqlite3",
)


def imported_by(program: str) -> set[str]:
    """The top-level modules, of those that are heavy or late, that a fresh interpreter has imported after a program."""
    end = "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program) + end], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split()) & {*HEAVY, *LATE, "stagegraph_ltx2", "stagegraph_media"}


@pytest.mark.parametrize("program", ["import stagegraph", "from stagegraph import Graph, constant, param, stage"])
def test_importing_the_engine_imports_nothing_heavy(program: str) -> None:
    """Nor what only some graphs need, nor any plugin."""
    assert imported_by(program) == set()


def test_every_public_name_is_there_when_it_is_asked_for() -> None:
    """It is what type checkers are told; another name is an ordinary error."""
    source = Path(stagegraph.__file__).read_text(encoding="utf-8")
    told = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.level == 0]
    homes = {name.name: node.module for node in told if node.module != "typing" for name in node.names}
    assert sorted(homes.keys() - {"import_module"}) == stagegraph.__all__
    for name in stagegraph.__all__:
        assert getattr(stagegraph, name) is getattr(importlib.import_module(homes[name] or ""), name)
        assert name in dir(stagegraph)
    with pytest.raises(AttributeError, match=r"^module 'stagegraph' has no attribute 'grahp'$"):
        _ = stagegraph.grahp


def test_checking_a_graph_imports_nothing_heavy() -> None:
    """Neither reading and building a manifest, nor its faults; with no plugin but those given."""
    program = """
        from stagegraph import Registry, stage
        from stagegraph import manifest
        from stagegraph.errors import GraphError
        from stagegraph.graph import build

        class Base: pass
        class Sub(Base): pass

        @stage("t.make", version=1)
        def make() -> Sub: return Sub()

        @stage("t.use", version=1)
        def use(x: Base, y: Base | None = None) -> list[Base]: return [x]

        text = "{stagegraph: 1, name: a, nodes: {u: {stage: t.use, inputs: {x: m}}, m: {stage: t.make}}}"
        build(manifest.loads(text), Registry.of(make, use))
        try:
            build(manifest.loads(text.replace("x: m", "x: u")), Registry.of(make, use))
        except GraphError:
            pass
    """
    assert imported_by(program) & set(HEAVY) == set()
