"""Runs: what each was asked, what it has completed, what it said. A run can be told, compared and taken up again.

The index has a row for each run and each of its nodes; that a node is complete is recorded in the transaction that
stores its outputs. The store has a folder `runs/ID` for each, with `events.ndjson`, a line for each event, and
`run.json`, the record. What the stages of a run write themselves goes to a folder of its own, which is made when the
first of them asks for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, cast

import attrs

from stagegraph.artifacts import Codecs
from stagegraph.errors import ArtifactError, Fault, StoreError, UsageError, suggest
from stagegraph.serde import structure
from stagegraph.store.failures import told
from stagegraph.store.index import seal
from stagegraph.store.store import Also, Entry, Store
from stagegraph.tensorfile import Chunk

EVENTS: Final = "events.ndjson"
RECORD: Final = "run.json"

#: Runs that are remembered; when there are a tenth more, the oldest are forgotten.
MOST_RUNS: Final = 1000

#: The note of a node that ran although its outputs were kept.
FRESH: Final = "it was asked to run again"

#: What became of a node: its stage ran, its outputs were taken from the store, or it has stored a checkpoint so far.
Outcome = Literal["ran", "reused", "started"]


_COLUMNS: Final = "(id, graph, status, folder, updated, record, seal)"

_NODE_FIELDS: Final = ("node", "outcome", "key", "entry", "ingredients", "note", "seconds", "peak_bytes")

#: What a node did first in a run that was taken up again stays: that its outputs were found again is no news.
_NODE: Final = """
INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    outcome = excluded.outcome, key = excluded.key, entry = excluded.entry, note = excluded.note,
    seconds = excluded.seconds, peak_bytes = excluded.peak_bytes
WHERE excluded.outcome = 'ran' OR nodes.outcome = 'started'
"""


@attrs.frozen
class NodeRow:
    """What is recorded of a node of a run.

    `entry` is the name of its outputs (or its checkpoint) in the store, None if they are not there; `note` says why,
    or why the node has no key.
    """

    node: str
    outcome: Outcome
    key: str | None
    entry: str | None
    ingredients: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    note: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0


@attrs.frozen
class RunRow:
    """A run as the index has it.

    `status` is "running", "finished", "failed", "cancelled", "interrupted", or "damaged": then there is no record.
    `folder` is where its stages write, if they do.
    """

    id: str
    graph: str
    status: str
    folder: Path | None
    updated: float
    record: Mapping[str, Any] = attrs.field(repr=False)


class RunLog:
    """Writes down one run while it goes. Threads may share it; `begin` and `take_up` make one."""

    def __init__(self, store: Store, id: str) -> None:
        self.id = id
        self.folder = folder = log_folder(store, id)
        self._store = store
        self._reused: list[NodeRow] = []
        self._recorded = 0  # of those reused
        self._torn = False  # the last line of the events may not be whole
        self._lock = threading.Lock()
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._events = _append_to(folder / EVENTS)
        if not _lock(self._events):
            os.close(self._events)
            raise StoreError(Fault("store_busy", f"run {id} is going on in another process", where=str(folder)))

    def event(self, event: Mapping[str, Any]) -> None:
        """Append an event, as plain JSON."""
        line = json.dumps(event, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace") + b"\n"
        with self._lock, told(self.folder):
            line, self._torn = (b"\n" + line if self._torn else line), True
            while line:
                line = line[os.write(self._events, line) :]
            self._torn = False

    def completed(self, row: NodeRow) -> Also:
        """What records a node; for the transaction that stores its outputs."""

        def write(connection: sqlite3.Connection) -> None:
            with self._lock:
                rows, self._recorded = self._reused[self._recorded :], len(self._reused)
            self._write(connection, [*rows, row])

        return write

    def record(self, row: NodeRow) -> None:
        """Record a node whose outputs are not stored."""
        with self._store.index.writing() as connection:
            self.completed(row)(connection)

    def reused(self, row: NodeRow) -> None:
        """Record, with the next node that ran or at the end, a node whose outputs were in the store."""
        with self._lock:
            self._reused.append(row)

    def finish(self, record: Mapping[str, Any]) -> None:
        """Record how the run ended (`record["status"]`)."""
        status = str(record["status"])
        try:
            with self._store.index.writing() as connection:
                self._write(connection, self._reused)  # all: a put may have failed, with those that it was to record
                text = json.dumps(record)
                row = (status, time.time(), text, seal(self.id, text), self.id)
                connection.execute("UPDATE runs SET status = ?, updated = ?, record = ?, seal = ? WHERE id = ?", row)
                if status == "finished":
                    connection.execute("DELETE FROM holds WHERE run = ?", (self.id,))
        finally:
            with told(self.folder):
                _replace(self.folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False))

    def close(self) -> None:
        """Let go of the run as it is: if it has not finished, it can be taken up again."""
        if self._events >= 0:
            os.close(self._events)
            self._events = -1

    def _write(self, connection: sqlite3.Connection, rows: list[NodeRow]) -> None:
        for row in rows:
            if row.entry is not None and not _is_there(connection, row.entry):
                # evicted between its use and now: recorded as there, it would keep the run from being taken up
                row = attrs.evolve(row, entry=None, note="its outputs were removed from the store meanwhile")
            if row.key is not None:
                ingredients = json.dumps(dict(row.ingredients))
                connection.execute("INSERT INTO keys VALUES (?, ?) ON CONFLICT DO NOTHING", (row.key, ingredients))
            known = (self.id, row.node, row.outcome, row.key, row.entry, row.note, row.seconds, row.peak_bytes)
            connection.execute(_NODE, known)
            if row.entry is not None:
                connection.execute("INSERT OR IGNORE INTO holds VALUES (?, ?)", (self.id, row.entry))
        connection.execute("UPDATE runs SET updated = ? WHERE id = ?", (time.time(), self.id))


def begin(
    store: Store,
    codecs: Codecs,
    record: Mapping[str, Any],
    inputs: Mapping[str, Any],
    types: Mapping[str, Any],
    folder: Path,
) -> RunLog:
    """Record a run that begins now; it exists, whatever happens, once this returns.

    Args:
        store: where its row and its inputs go.
        codecs: write the inputs. One that none writes must be given again when the run is taken up.
        record: `RunRecord.as_dict()`.
        inputs: the values of the graph's inputs.
        types: the type of each.
        folder: where its stages write, if they do; it is not made here.
    """
    log = RunLog(store, str(record["id"]))
    text = json.dumps(record)
    row = (log.id, record["graph"], "running", str(folder.absolute()), time.time(), text, seal(log.id, text))
    entry = _inputs_entry(log.id)

    def also(connection: sqlite3.Connection) -> None:
        connection.execute(f"INSERT INTO runs {_COLUMNS} VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO holds VALUES (?, ?)", (log.id, entry))

    trees: list[Any] = []
    objects: dict[str, Sequence[Chunk]] = {}
    for name, value in inputs.items():
        try:
            bundle = codecs.bundle([value], [types[name]])
        except ArtifactError:
            continue
        trees.append([name, *bundle.trees])
        objects |= bundle.objects
    try:
        store.put(entry, trees, objects, also)
        _forget_oldest(store)
    except BaseException:
        log.close()
        raise
    return log


def _forget_oldest(store: Store) -> None:
    """Keep the records from growing for ever; outputs go by the budget of the store."""
    with store.index.reading() as connection:
        if connection.execute("SELECT count(*) FROM runs").fetchone()[0] <= MOST_RUNS * 1.1:
            return
    with store.index.writing() as connection:
        where = "status != 'running' ORDER BY number DESC LIMIT -1 OFFSET ?"
        ids = [row[0] for row in connection.execute(f"SELECT id FROM runs WHERE {where}", (MOST_RUNS,))]
        connection.executemany("DELETE FROM runs WHERE id = ?", [(id,) for id in ids])
        connection.execute("DELETE FROM keys WHERE digest NOT IN (SELECT key FROM nodes WHERE key IS NOT NULL)")
    for id in ids:
        shutil.rmtree(log_folder(store, id), ignore_errors=True)


@attrs.frozen
class StoredRun:
    """A run to be taken up or made again.

    `complete` has the nodes that need not run again; their outputs are found by the keys that they had.
    """

    row: RunRow
    complete: Mapping[str, NodeRow]
    _store: Store = attrs.field(repr=False)
    _codecs: Codecs = attrs.field(repr=False)

    @property
    def manifest(self) -> Mapping[str, Any] | None:
        """The graph with all its params, as plain data; None if its inputs are of types that have no name."""
        return cast("Mapping[str, Any] | None", self.row.record["manifest"])

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that were asked for."""
        return tuple(self.row.record["outputs"])

    def inputs(self, types: Mapping[str, Any]) -> dict[str, Any]:
        """The values that it was given; without those that no codec could write.

        Raises:
            StoreError: they were evicted or damaged.
        """
        entry = self._store.get(_inputs_entry(self.row.id))
        if not isinstance(entry, Entry):
            how = f": {entry.what}" if entry is not None else ""
            raise _gone(self._store.folder, f"the inputs of run {self.row.id} are gone{how}")
        known = {name: tree for name, tree in entry.trees if name in types}
        values = self._codecs.unbundle(list(known.values()), entry.objects, [types[name] for name in known])
        return dict(zip(known, values, strict=True))

    def take_up(self) -> RunLog:
        """Go on with it under its own id.

        Raises:
            StoreError: another process is at it; or outputs that it has completed are gone, so that going on would
                run stages again.
        """
        gone = [row.node for row in self.complete.values() if row.entry and not self._store.has(row.entry)]
        if gone and self.row.status != "finished":
            what = f"run {self.row.id} has completed {', '.join(gone)}, but the outputs are gone"
            raise _gone(self._store.folder, what)
        log = RunLog(self._store, self.row.id)
        with self._store.index.writing() as connection:
            connection.execute("UPDATE runs SET status = 'running', updated = ? WHERE id = ?", (time.time(), log.id))
        return log


def load(store: Store, codecs: Codecs, id: str) -> StoredRun:
    """A run by its id, or by how its id begins.

    Raises:
        UsageError: there is none, or several.
    """
    row = find(store, id)
    return StoredRun(row, {n.node: n for n in nodes(store, row.id) if n.outcome != "started"}, store, codecs)


def recent(store: Store, limit: int = 20) -> list[RunRow]:
    """The latest runs, latest first."""
    return _rows(store, "ORDER BY number DESC LIMIT ?", limit)


def find(store: Store, id: str) -> RunRow:
    """The run whose id begins so; "last" is the latest.

    Raises:
        UsageError: there is none, or several.
        StoreError: what was recorded of it is damaged.
    """
    found = recent(store, 1) if id == "last" else _rows(store, "WHERE id = ?", id)
    found = found or _rows(store, "WHERE substr(id, 1, length(?1)) = ?1 AND ?1 != '' ORDER BY number", id)
    if len(found) == 1:
        if found[0].status == "damaged":
            raise _gone(store.folder, f"what was recorded of run {found[0].id} is damaged")
        return found[0]
    if found:
        names = ", ".join(row.id for row in found[:10])
        raise UsageError(Fault("ambiguous_run", f'several runs begin with "{id}"', fix=f"use one of: {names}"))
    known = [row.id for row in recent(store, 10)]
    raise UsageError(Fault("unknown_run", f'there is no run "{id}"', fix=suggest(id, known) or "run a graph first"))


def earlier(store: Store, run: str, node: str) -> RunRow | None:
    """The latest run before this one of the same graph in which a node of this name has a key."""
    where = """WHERE number < (SELECT number FROM runs WHERE id = ?1)
        AND graph = (SELECT graph FROM runs WHERE id = ?1)
        AND EXISTS (SELECT 1 FROM nodes WHERE run = id AND node = ?2 AND key IS NOT NULL)
        ORDER BY number DESC LIMIT 1"""
    return next(iter(_rows(store, where, run, node)), None)


def maker(store: Store, key: str) -> str | None:
    """The run in which the node with this key ran last."""
    with store.index.reading() as connection:
        query = "SELECT id FROM runs JOIN nodes ON run = id WHERE key = ? AND outcome = 'ran' ORDER BY number DESC"
        row = connection.execute(f"{query} LIMIT 1", (key,)).fetchone()
    return row[0] if row else None


def nodes(store: Store, run: str) -> list[NodeRow]:
    """The nodes of a run that completed or stored a checkpoint, in the order in which they did."""
    query = """SELECT node, outcome, key, entry, ingredients, note, seconds, peak_bytes
        FROM nodes LEFT JOIN keys ON keys.digest = nodes.key WHERE run = ? ORDER BY nodes.rowid"""
    with store.index.reading() as connection:
        rows = connection.execute(query, (run,)).fetchall()
    return [_node(store, run, row) for row in rows]


def log_folder(store: Store, id: str) -> Path:
    """Where the events and the record of a run are."""
    return store.folder / "runs" / id


def events(store: Store, id: str) -> Iterator[dict[str, Any]]:
    """The events of a run; a line that a crash cut short is left out."""
    path = log_folder(store, id) / EVENTS
    with told(path.parent):
        lines = path.read_bytes().splitlines() if path.exists() else []
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _node(store: Store, run: str, row: Sequence[Any]) -> NodeRow:
    node, outcome, key, entry, ingredients, *rest = row
    try:
        data = [node, outcome, key, entry, json.loads(ingredients or "{}"), *rest]
        return cast(NodeRow, structure(dict(zip(_NODE_FIELDS, data, strict=True)), NodeRow))
    except ValueError:  # of JSON, or a StructureError
        raise _gone(store.folder, f"what was recorded of {node} in run {run} is damaged") from None


def _rows(store: Store, where: str, *values: Any) -> list[RunRow]:
    with store.index.reading() as connection:
        rows = connection.execute(f"SELECT {_COLUMNS[1:-1]} FROM runs {where}", values)
        return [_row(store, *row) for row in rows.fetchall()]


def _row(
    store: Store, id: str, graph: str, status: str, folder: str | None, updated: float, record: str, sealed: bytes
) -> RunRow:
    path = Path(str(folder)) if folder is not None else None
    if sealed != seal(id, record):
        return RunRow(id, graph, "damaged", path, updated, {})
    if status == "running" and not _is_going_on(log_folder(store, id)):
        status = "interrupted"
    return RunRow(id, graph, status, path, updated, json.loads(record))


def _is_there(connection: sqlite3.Connection, entry: str) -> bool:
    return connection.execute("SELECT 1 FROM entries WHERE name = ?", (entry,)).fetchone() is not None


def _gone(folder: Path, what: str) -> StoreError:
    why = "a disk, or somebody, changed or removed it; what was completed is not done again in silence"
    fix = "run the graph anew: what is left of it is used"
    return StoreError(Fault("store_corrupt", what, str(folder), why, fix))


def _inputs_entry(run: str) -> str:
    return f"run/{run}/inputs"


def _append_to(path: Path) -> int:
    """The file, open for appending; a last line that a crash cut short is ended."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")
    return descriptor


def _lock(descriptor: int) -> bool:
    """Whether nobody else writes to the file; the system takes the lock away from a process that ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_going_on(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / EVENTS, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8", errors="backslashreplace")
    draft.replace(path)
