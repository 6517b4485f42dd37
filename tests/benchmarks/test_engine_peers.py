"""The benchmark of the engine measures what it says, on sizes that take no time."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
TINY = {"chain": 3, "fan": 3, "dag": 20, "build": 3, "grow": 3, "warm": 3, "payload": 2, "overlap": 2, "barrier": 1}


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an interpreter finds that runs the scripts."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.syspath_prepend(str(FOLDER / "peers"))


def script(path: Path, text: str) -> Path:
    """Something that can be run in place of an interpreter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("case", TINY)
@pytest.mark.parametrize("adapter", ["with_stagegraph", "with_stagegraph_bare", "with_loop", "with_networkx"])
def test_every_case_is_measured(adapter: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result of a run is checked before it is timed; what an engine does not have is told."""
    worker: Any = importlib.import_module("worker")
    monkeypatch.setattr(worker, "ARRAY_BYTES", 64)
    module = importlib.import_module(adapter)
    lacks = {"warm"} if adapter == "with_loop" else {"warm", "overlap", "barrier"} if "networkx" in adapter else ()
    if case in lacks:
        with pytest.raises(worker.Unsupported):
            worker.CASES[case](module, TINY[case], 1)
        return
    (sample,) = worker.CASES[case](module, TINY[case], 1)
    assert sample["cpu"] > 0
    assert sample["wall"] >= {"overlap": 0.05, "barrier": 0.005}.get(case, 0)


def test_an_engine_that_computes_something_else_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure stands for work that was done."""
    worker: Any = importlib.import_module("worker")
    adapter: Any = importlib.import_module("with_loop")
    monkeypatch.setattr(adapter, "run", lambda graph, x: 2)
    with pytest.raises(AssertionError, match=r"^it gave 2, not 4$"):
        worker.CASES["chain"](adapter, 3, 1)


def test_the_report_has_samples_versions_and_what_failed(tmp_path: Path) -> None:
    """One command measures in the environments that are there, and records those that are not."""
    engine_peers: Any = importlib.import_module("engine_peers")
    for name in ("stagegraph", "loop"):
        script(tmp_path / name / "bin" / "python", f'exec {sys.executable} "$@"')
    script(tmp_path / "networkx" / "bin" / "python", 'case "$1" in -c) echo "{}";; esac')
    options = ["--peers", "stagegraph,loop,networkx,hamilton", "--cases", "chain-100,warm-100,import", "--rounds", "1"]
    options += ["--repeats", "1", "--cache", str(tmp_path), "--no-install", "--json", str(tmp_path / "r.json")]
    assert engine_peers.main([*options, "--markdown", str(tmp_path / "r.md")]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    results = report["results"]
    assert len(results["stagegraph"]["chain-100"]["samples"]) == len(results["loop"]["import"]["samples"]) == 1
    assert results["loop"]["warm-100"]["error"] == "none"
    assert report["peers"]["stagegraph"]["versions"].keys() == {"stagegraph", "numpy"}
    assert report["peers"]["hamilton"]["absent"] == "not installed: ['apache-hamilton', 'numpy']"
    assert report["peers"]["networkx"]["absent"] == "not installed: ['networkx', 'numpy']"
    table = (tmp_path / "r.md").read_text()
    assert table.splitlines()[2] == "|  | stagegraph | loop |"
    assert "| hamilton |  | not installed: ['apache-hamilton', 'numpy'] |" in table
    (row,) = (line for line in table.splitlines() if line.startswith("| run a chain of 100 again"))
    assert row.endswith("| – |")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("kill -SEGV $$", "died: SIGSEGV"),
        ("exec sleep 60", "over 0.2 s"),
        ("echo broken >&2; exit 3", "broken"),
        (f'exec {sys.executable} "$@"', "ModuleNotFoundError: No module named 'with_nothing'"),
    ],
)
def test_what_fails_is_a_result(text: str, error: str, tmp_path: Path) -> None:
    """A peer that dies, hangs or raises does not end the benchmark."""
    engine_peers: Any = importlib.import_module("engine_peers")
    peer = engine_peers.Peer("nothing", "with_nothing", script(tmp_path / "python", text), {}, {})
    limit = 0.2 if "sleep" in text else 60
    assert engine_peers.measure(peer, engine_peers.CASES["chain-100"], 1, limit)["error"] == error


def test_every_peer_says_how_it_is_used() -> None:
    """What to install, what to import, and which options are its best."""
    engine_peers: Any = importlib.import_module("engine_peers")
    for name in engine_peers.PEERS:
        facts = engine_peers.facts_of(FOLDER / "peers" / f"with_{name}.py")
        assert facts.keys() == {"requirements", "import", "setting"}, name
