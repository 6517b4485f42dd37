"""What can be told of a plugin without running it: what its import costs, and what it leaves unexplained."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from stagegraph.components import ComponentSpec
from stagegraph.registry import Origin, Registry
from stagegraph.rules import help_of
from stagegraph.stages import FunctionStage, StageSpec

#: Libraries that a command which only looks at graphs cannot wait for.
HEAVY: Final = (
    "accelerate",
    "av",
    "cv2",
    "datasets",
    "diffusers",
    "huggingface_hub",
    "imageio",
    "jax",
    "librosa",
    "matplotlib",
    "mlx",
    "numba",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "PIL",
    "polars",
    "ray",
    "requests",
    "safetensors",
    "scipy",
    "sklearn",
    "sympy",
    "tensorflow",
    "tokenizers",
    "torch",
    "torchaudio",
    "torchvision",
    "transformers",
)

#: Run by a fresh interpreter: [sys.path, module] -> its last line of stdout, [seconds, top-level modules].
_PROGRAM = """
import contextlib, importlib, json, sys, time
sys.path[:], name = json.loads(sys.argv[1])
import stagegraph
known = set(sys.modules)
begin = time.perf_counter()
with contextlib.redirect_stdout(sys.stderr):
    importlib.import_module(name)
seconds = time.perf_counter() - begin
print(json.dumps([seconds, sorted({name.partition(".")[0] for name in set(sys.modules) - known})]))
"""
_PATIENCE = 60.0


@attrs.frozen
class ImportCost:
    """What importing a module takes beside the engine: seconds, and the heavy libraries that come along."""

    seconds: float
    heavy: tuple[str, ...]
    error: str = ""


def import_cost(module: str, allowed: Iterable[str] = ()) -> ImportCost:
    """Import a module in a fresh interpreter that has the engine.

    Args:
        module: its dotted name.
        allowed: libraries of `HEAVY` that may come along.
    """
    command = [sys.executable, "-c", _PROGRAM, json.dumps([sys.path, module])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_PATIENCE)
    except subprocess.CalledProcessError as error:
        return ImportCost(0, (), (error.stderr.strip().splitlines() or [f"it ended with {error.returncode}"])[-1])
    except subprocess.TimeoutExpired:
        return ImportCost(_PATIENCE, (), f"it took more than {_PATIENCE:g} s")
    seconds, imported = json.loads(done.stdout.splitlines()[-1])
    return ImportCost(seconds, tuple(sorted({*imported} & {*HEAVY} - {*allowed})))


def undocumented(registry: Registry, origin: Origin) -> list[str]:
    """What a plugin registers without explaining it, one line each."""
    things = [*owned(registry.stages, registry, origin), *owned(registry.components, registry, origin)]
    return [line for thing in things for line in without_docs(thing)]


def owned(table: Mapping[str, Any], registry: Registry, origin: Origin) -> list[Any]:
    """The entries of one of a registry's tables that come from one plugin."""
    return [thing for name, thing in table.items() if registry.origins.get(name) == origin]


def without_docs(spec: StageSpec | ComponentSpec) -> Iterator[str]:
    """What a stage or a component leaves unexplained."""
    name = spec.id if isinstance(spec, StageSpec) else spec.kind
    function = issubclass(spec.factory, FunctionStage)
    if not spec.factory.__doc__:
        yield f"{name}: its {'function' if function else 'class'} has no docstring"
    if isinstance(spec, ComponentSpec):
        yield from (f"{name}: part {part.name} has no docstring" for part in spec.parts.values() if not part.summary)
    elif not function and not spec.factory.__dict__["run"].__doc__:
        yield f"{name}: run has no docstring"
    yield from (f"{name}: param {p.name} has no help" for p in spec.params.values() if not help_of(p))
