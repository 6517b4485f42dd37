"""The engine is light: nothing heavy is imported before a stage runs."""

from __future__ import annotations

import subprocess
import sys
import textwrap

HEAVY = ("torch", "numpy", "safetensors", "transformers", "diffusers", "av", "PIL")


def imported_by(program: str) -> set[str]:
    """The heavy top-level modules that a fresh interpreter has imported after a program."""
    end = "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program) + end], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split()) & {*HEAVY, "stagegraph_ltx2", "stagegraph_media", "networkx", "beartype", "typer"}


def test_importing_the_engine_imports_nothing_heavy() -> None:
    """Nor what only some graphs need, nor any plugin."""
    assert imported_by("import stagegraph") == set()


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
