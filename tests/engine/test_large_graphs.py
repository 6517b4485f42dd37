"""Large graphs: nothing is recursive, and nothing is looked at once for every node that there is."""

from __future__ import annotations

import sys
import threading

import pytest

import stagegraph as sg
from stagegraph import Lanes
from stagegraph.executors import meter
from stagegraph.plan import needed_by


@sg.stage("large.next", version=1)
def following(value: int) -> int:
    """Count on."""
    return value + 1


@sg.stage("large.total", version=1)
def total(*values: int) -> int:
    """Sum numbers."""
    return sum(values)


def chain(length: int) -> sg.Graph:
    """Each node takes the one before."""
    g = sg.Graph("chain")
    wire: sg.Graph | object = g.input("x", int)
    for _ in range(length):
        wire = g.add(following, value=wire)  # type: ignore[arg-type]
    g.output("y", wire)  # type: ignore[arg-type]
    return g


@pytest.mark.parametrize("lanes", [None, Lanes(cpu=2)], ids=["serial", "threads"])
def test_a_long_chain_runs_within_the_recursion_limit(lanes: Lanes | None) -> None:
    """It is built, checked, planned, run and recorded, ten times as deep as Python calls may be nested."""
    length = 10 * sys.getrecursionlimit() if lanes is None else 2 * sys.getrecursionlimit()
    g = chain(length)
    run = g.run(x=0, lanes=lanes)
    assert run["y"] == length
    assert len(run.record.seconds) == len(run.record.as_dict()["manifest"]["nodes"]) == length
    assert len(needed_by(g.bind().nodes, g.bind().outputs.values())) == length
    assert str(g.plan()).count("\n") >= length


def test_a_wide_graph_runs() -> None:
    """A thousand nodes side by side, and one that takes them all."""
    g = sg.Graph("wide")
    x = g.input("x", int)
    g.output("y", g.add(total, values=[g.add(following, value=x) for _ in range(1000)]))
    assert g.run(x=1)["y"] == g.run(x=1, lanes=Lanes(cpu=2))["y"] == 2000


def test_one_thread_looks_at_the_memory_of_every_run() -> None:
    """It is there after the first node that ran, and no second one comes."""
    g = chain(2)
    for _ in range(3):
        g.run(x=0)
    assert [thread.name for thread in threading.enumerate()].count("stagegraph meter") == 1
    assert meter.meter() is meter.meter()
