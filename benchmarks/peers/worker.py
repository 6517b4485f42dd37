"""Measure one case of one engine, in the interpreter that the engine is installed in, and print JSON.

    python worker.py MODULE CASE SIZE REPEATS

Every case is run once before it is timed. CPU time is that of all threads of the process.
"""

from __future__ import annotations

import gc
import importlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import cases

#: Seconds after which a case is not repeated any more.
BUDGET = 3.0
ARRAY_BYTES = 64 * 2**20

Sample = dict[str, float]


class Unsupported(Exception):
    """The engine does not have this."""


def timed(call: Callable[[], Any], repeats: int) -> list[Sample]:
    """CPU and wall seconds of each of some calls."""
    samples: list[Sample] = []
    begin = time.perf_counter()
    while len(samples) < repeats and (not samples or time.perf_counter() - begin < BUDGET):
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        call()
        samples.append({"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall})
    return samples


def building(adapter: Any, size: int, repeats: int) -> list[Sample]:
    nodes = _prepared(adapter, cases.chain(size))
    adapter.build(nodes)
    return timed(lambda: adapter.build(nodes), repeats)


def growing(adapter: Any, size: int, repeats: int) -> list[Sample]:
    grow = _offered(adapter, "grow")
    graph = adapter.build(_prepared(adapter, cases.chain(size)))
    extra: Iterator[cases.Node] = (cases.Node(f"extra{i}", (f"n{size - 1}",)) for i in range(repeats + 1))
    grow(graph, next(extra))
    return timed(lambda: grow(graph, next(extra)), repeats)


def running(adapter: Any, nodes: list[cases.Node], repeats: int) -> list[Sample]:
    graph = adapter.build(_prepared(adapter, nodes))
    _expect(adapter.run(graph, 1), cases.expected(nodes, 1))
    return timed(lambda: adapter.run(graph, 1), repeats)


def parallel(adapter: Any, nodes: list[cases.Node], repeats: int) -> list[Sample]:
    run = _offered(adapter, "parallel")(nodes)
    _expect(run(1), cases.expected(nodes, 1))
    return timed(lambda: run(1), repeats)


def payload(adapter: Any, size: int, repeats: int) -> list[Sample]:
    import numpy

    array = numpy.ones(ARRAY_BYTES // 8)
    run = _offered(adapter, "payload")(size, array)
    _expect(run().shape, array.shape)
    return timed(run, repeats)


def warm(adapter: Any, size: int, repeats: int) -> list[Sample]:
    nodes = cases.chain(size)
    with tempfile.TemporaryDirectory() as folder:
        run = _offered(adapter, "cached")(nodes, folder)
        for _ in range(2):
            _expect(run(1), cases.expected(nodes, 1))
        before = cases.Counter.calls
        samples = timed(lambda: _expect(run(1), cases.expected(nodes, 1)), repeats)
        _expect(cases.Counter.calls, before)
    return samples


CASES: dict[str, Callable[[Any, int, int], list[Sample]]] = {
    "build": building,
    "grow": growing,
    "chain": lambda adapter, size, repeats: running(adapter, cases.chain(size), repeats),
    "fan": lambda adapter, size, repeats: running(adapter, cases.fan(size), repeats),
    "dag": lambda adapter, size, repeats: running(adapter, cases.random_dag(size), repeats),
    "overlap": lambda adapter, size, repeats: parallel(adapter, cases.sleepers(size, 0.05), repeats),
    "barrier": lambda adapter, size, repeats: parallel(adapter, cases.barrier(size / 1000), repeats),
    "payload": payload,
    "warm": warm,
}


def main() -> None:
    """Measure what the command line names."""
    module, case, size, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with _stdout_kept() as out:
        try:
            adapter: Any = importlib.import_module(module)
            result: dict[str, Any] = {"samples": CASES[case](adapter, size, repeats)}
        except Unsupported:
            result = {"error": "none"}
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]}
        result["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(result), file=out)


def versions(requirements: list[str]) -> dict[str, str]:
    """The installed versions of distributions; those that are not installed are left out."""
    found = {}
    for name in requirements:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@contextmanager
def _stdout_kept() -> Iterator[Any]:
    """Standard output for the result alone: what an engine prints goes to standard error."""
    out, sys.stdout = sys.stdout, sys.stderr
    try:
        yield out
    finally:
        sys.stdout = out


def _prepared(adapter: Any, nodes: list[cases.Node]) -> Any:
    prepare = getattr(adapter, "prepare", None)
    return nodes if prepare is None else prepare(nodes)


def _offered(adapter: Any, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] | None = getattr(adapter, name, None)
    if function is None:
        raise Unsupported
    return function


def _expect(value: Any, wanted: Any) -> None:
    if value != wanted:
        raise AssertionError(f"it gave {value!r}, not {wanted!r}")


if __name__ == "__main__":
    main()
