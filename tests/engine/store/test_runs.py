"""Runs on disk: begun, written down, found, told by the command line."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from stagegraph.artifacts import Codecs
from stagegraph.caching import RunCache
from stagegraph.cli.app import call
from stagegraph.errors import StoreError, UsageError
from stagegraph.store import Store, runs

from .running import Handle, Weights, execute, plan, record_of, run


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of the command line, in a cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TZ", "UTC")
    with Store() as store:
        yield store


def begin(store: Store, folder: Path) -> runs.RunLog:
    record = record_of(plan(), "hello")
    return runs.begin(store, Codecs(), record.as_dict(), {"text": "hello"}, {"text": str}, folder)


def test_events_are_lines_and_a_torn_one_is_left_out(store: Store, tmp_path: Path) -> None:
    """What follows it after the run is taken up stands on a line of its own."""
    log = begin(store, tmp_path / "run")
    log.event({"event": "first", "text": "é\udc80"})
    log.close()
    with (runs.log_folder(store, log.id) / runs.EVENTS).open("ab") as file:
        file.write(b'{"event": "to')
    log = runs.load(store, Codecs(), log.id).take_up()
    log.event({"event": "second"})
    log.close()
    assert [event["event"] for event in runs.events(store, log.id)] == ["first", "second"]


def test_a_run_that_goes_on_is_not_taken_up(store: Store, tmp_path: Path) -> None:
    """Two processes do not work at one run."""
    log = begin(store, tmp_path / "run")
    with pytest.raises(StoreError) as caught:
        runs.load(store, Codecs(), log.id).take_up()
    folder = runs.log_folder(store, log.id)
    assert str(caught.value) == f"{folder}: error[store_busy]: run {log.id} is going on in another process"
    log.close()
    runs.load(store, Codecs(), log.id).take_up().close()


def test_an_event_that_finds_no_space_leaves_the_next_one_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that was written in part is ended before the next."""
    log = begin(store, tmp_path / "run")
    log.event({"event": "first"})
    disk = FullDisk()
    monkeypatch.setattr(runs, "os", disk)
    with pytest.raises(StoreError) as caught:
        log.event({"event": "second"})
    assert caught.value.code == "store_full"
    disk.left = 1000
    log.event({"event": "third"})
    log.close()
    assert [event["event"] for event in runs.events(store, log.id)] == ["first", "third"]


class FullDisk:
    """`os` on a disk with so many bytes left."""

    def __init__(self) -> None:
        self.left = 5

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, data: bytes) -> int:
        """Write what there is space for; nothing is an error."""
        written = os.write(descriptor, data[: self.left])
        self.left -= written
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written


def test_outputs_that_are_evicted_while_a_run_uses_them_do_not_keep_it_from_being_taken_up(
    store: Store, tmp_path: Path
) -> None:
    """They were reused, and are gone before that is recorded; the run can go on, and makes them again."""
    run(store, plan(wanted="joined"), tmp_path)
    made = plan(wanted="joined")
    log = begin(store, tmp_path / "run")
    cache = RunCache(store, Codecs(), made.graph.components, log)
    split, join = made.steps
    key = cache.node_key(split, {"text": '"hello"'})
    assert cache.fetch(split, key) == ("h", 4)
    with Store(store.folder) as other:
        other.gc(0)
    cache.save(join, cache.node_key(join, {"first": '"h"', "second": "4"}), ("joined",))
    log.close()  # as when its process dies
    assert {row.node: (row.entry, row.note) for row in runs.nodes(store, log.id) if row.node == "split"} == {
        "split": (None, "its outputs were removed from the store meanwhile")
    }
    log = runs.load(store, Codecs(), log.id).take_up()
    assert list(execute(made, RunCache(store, Codecs(), made.graph.components, log), "hello")) == ["split", "join"]


def test_a_record_that_something_changed_is_not_believed(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run is not taken up with other params than it had; the others are still listed."""
    first, _ = run(store, plan(), tmp_path)
    second, _ = run(store, plan(), tmp_path)
    with store.index.writing() as connection:
        connection.execute("UPDATE runs SET record = replace(record, 'hello', 'hellp') WHERE id = ?", (second,))
    assert [row.status for row in runs.recent(store)] == ["damaged", "finished"]
    assert told(capsys, "runs").splitlines()[0].split()[:3] == [second, "unknown", "damaged"]
    assert told(capsys, "show", first).startswith(first)
    with pytest.raises(StoreError) as caught:
        runs.load(store, Codecs(), "last")
    assert str(caught.value) == (
        f"{store.folder}: error[store_corrupt]: what was recorded of run {second} is damaged\n"
        "  why: a disk, or somebody, changed or removed it; what was completed is not done again in silence\n"
        "  fix: run the graph anew: what is left of it is used"
    )


def test_completed_work_that_is_gone_stops_a_run_from_being_taken_up(store: Store, tmp_path: Path) -> None:
    """It is not run again in silence."""
    id, _ = run(store, plan(), tmp_path)
    with store.index.writing() as connection:
        connection.execute("UPDATE runs SET status = 'failed'")
    loaded = runs.load(store, Codecs(), id)
    store.remove(loaded.complete["split"].entry or "")
    with pytest.raises(StoreError, match=f"run {id} has completed split, but the outputs are gone"):
        loaded.take_up()


def test_inputs_that_no_codec_writes_are_left_out(store: Store, tmp_path: Path) -> None:
    """The caller gives them again."""
    record = record_of(plan(), "hello")
    inputs, types = {"text": "hello", "handle": Handle()}, {"text": str, "handle": Handle}
    runs.begin(store, Codecs(), record.as_dict(), inputs, types, tmp_path / "run").close()
    assert runs.load(store, Codecs(), record.id).inputs(types) == {"text": "hello"}


def test_a_run_is_found_by_how_its_id_begins(store: Store, tmp_path: Path) -> None:
    """An id that is whole wins; what is unclear is told."""
    for id in ("aa11", "aa22", "aa"):
        record = attrs.evolve(record_of(plan(), "x"), id=id)
        runs.begin(store, Codecs(), record.as_dict(), {}, {}, tmp_path / id).close()
    assert [runs.find(store, name).id for name in ("aa", "aa1", "last")] == ["aa", "aa11", "aa"]
    assert [row.id for row in runs.recent(store, 2)] == ["aa", "aa22"]
    with pytest.raises(UsageError) as caught:
        runs.find(store, "a")
    assert str(caught.value) == ('error[ambiguous_run]: several runs begin with "a"\n  fix: use one of: aa11, aa22, aa')
    with pytest.raises(UsageError) as caught:
        runs.find(store, "zz")
    assert str(caught.value) == 'error[unknown_run]: there is no run "zz"\n  fix: use one of: aa, aa11, aa22'


def test_a_finished_run_leaves_its_record(store: Store, tmp_path: Path) -> None:
    """Beside its events, in the store, and lets go of its entries; the folder for its stages is theirs to make."""
    id, _ = run(store, plan(), tmp_path)
    assert not (tmp_path / id).exists()
    record = json.loads((runs.log_folder(store, id) / runs.RECORD).read_text())
    assert (record["id"], record["status"], record["inputs"]) == (id, "finished", {"text": "hello"})
    assert runs.find(store, id).record == record
    store.gc(0)
    assert store.size() == 0


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert call(words) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_the_command_line_tells_runs(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`runs`, `show`, `explain`, `diff`, for people."""
    assert told(capsys, "runs") == "no runs are recorded\n"
    first, _ = run(store, plan(), tmp_path)
    second, _ = run(store, plan(at=2, weights=Weights(print="beef")), tmp_path)
    (tmp_path / second).mkdir()
    listed = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "WHEN", told(capsys, "runs"))
    assert listed == (
        f"{second}  WHEN  finished  3 ran, 1 reused  test  {tmp_path / second}\n"
        f"{first}  WHEN  finished  4 ran, 0 reused  test\n"
    )
    shown = told(capsys, "show", second).splitlines()
    assert shown[2] == "    text: hello"
    assert [line.split()[:2] for line in shown[3:]] == [
        ["ran", "split"],
        ["ran", "join"],
        ["ran", "grab"],
        ["reused", "use"],
    ]
    assert told(capsys, "explain", second, "join") == (
        f"join ran: its key changed (run {first})\n"
        "    join: components.model.fingerprint: f00d -> beef\n"
        "    split: params.at: 1 -> 2\n"
    )
    assert (
        told(capsys, "explain", "last", "use") == f"use was reused: its key is the same as when it ran (run {first})\n"
    )
    assert told(capsys, "diff", first, second) == (
        "    split: params.at: 1 -> 2\n    join: components.model.fingerprint: f00d -> beef\n"
    )
    assert told(capsys, "diff", first, first) == "they have the same nodes, with the same keys\n"
    assert told(capsys, "explain", "last", "joyn", code=2) == (
        f'error[unknown_node]: run {second} has completed no node "joyn"\n  fix: did you mean "join"?\n'
    )


def test_the_command_line_tells_runs_to_programs(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same as JSON."""
    first, _ = run(store, plan(), tmp_path)
    second, _ = run(store, plan(at=2), tmp_path)
    listed = json.loads(told(capsys, "runs", "--json"))["data"]["runs"]
    assert [(row["id"], row["ran"], row["reused"]) for row in listed] == [(second, 3, 1), (first, 4, 0)]
    shown = json.loads(told(capsys, "show", first, "--json"))["data"]
    assert shown["nodes"][0]["ingredients"]["params.at"] == "1"
    cause = {"change": {"name": "params.at", "old": "1", "new": "2"}, "nodes": ["split"]}
    explained = json.loads(told(capsys, "explain", second, "split", "--json"))["data"]
    assert (explained["against"], explained["causes"]) == (first, [cause])
    assert json.loads(told(capsys, "diff", first, second, "--json"))["data"]["causes"] == [cause]


def test_show_tells_what_a_failed_run_ended_with(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From its events."""
    log = begin(store, tmp_path / "run")
    log.event({"event": "run_failed", "faults": [{"code": "stage_failed", "what": "it broke"}]})
    log.finish(attrs.evolve(record_of(plan(), "x"), status="failed").as_dict())
    assert told(capsys, "show").endswith("error[stage_failed]: it broke\n")


def test_gc_keeps_to_a_budget(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With units; something that is no size is refused."""
    run(store, plan(), tmp_path)
    size = store.size()
    assert told(capsys, "gc") == f"removed 0 entries, 0 B; {size} B are left\n"
    assert told(capsys, "gc", "--budget", "0.5GiB").startswith("removed 0")
    assert json.loads(told(capsys, "gc", "--budget", "0", "--json"))["data"]["left"] == 0
    assert told(capsys, "gc", "--budget", "lots", code=2) == (
        'error[usage]: --budget "lots" is no size\n  fix: write a number and a unit, as in 20GiB\n'
    )
