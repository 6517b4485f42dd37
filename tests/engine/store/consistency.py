"""What a store says of itself, checked without the engine: SQLite and hashlib look at every row and every file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Bytes up to which an object stands in the index.
INLINE = 4096


def breaches(folder: Path, *, collected: bool = False) -> list[str]:
    """A line for each thing that does not fit together.

    Args:
        folder: of the store; nobody has it open.
        collected: the remains of crashes have been collected, so that nothing may be left over.
    """
    with _opened(folder) as index:
        return [
            *_index(index),
            *_objects(index, folder),
            *_entries(index),
            *_runs(index),
            *_files(index, folder, collected),
        ]


def complete(folder: Path, run: str) -> set[str]:
    """The nodes of which a run has recorded that they are complete and that their outputs are there."""
    with _opened(folder) as index:
        rows = index.execute(
            "SELECT node FROM nodes WHERE run = ? AND outcome != 'started' AND entry IS NOT NULL", (run,)
        )
        return {node for (node,) in rows}


def outcomes(folder: Path) -> dict[str, dict[str, str]]:
    """What became of each node, by run."""
    with _opened(folder) as index:
        found: dict[str, dict[str, str]] = {id: {} for (id,) in index.execute("SELECT id FROM runs ORDER BY number")}
        for run, node, outcome in index.execute("SELECT run, node, outcome FROM nodes"):
            found[run][node] = outcome
        return found


def statuses(folder: Path) -> list[tuple[str, str]]:
    """The runs, (id, status), as the index has them."""
    if not (folder / "index.sqlite").exists():
        return []
    with _opened(folder) as index:
        tables = {name for (name,) in index.execute("SELECT name FROM sqlite_master")}
        return list(index.execute("SELECT id, status FROM runs ORDER BY number")) if "runs" in tables else []


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(folder / "index.sqlite", timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def _index(index: sqlite3.Connection) -> Iterator[str]:
    yield from (f"index: {line}" for (line,) in index.execute("PRAGMA integrity_check") if line != "ok")
    yield from (f"index: a row of {row[0]} refers to nothing" for row in index.execute("PRAGMA foreign_key_check"))
    (total,) = index.execute("SELECT bytes FROM total").fetchone()
    (size,) = index.execute("SELECT coalesce(sum(size), 0) FROM objects").fetchone()
    if total != size:
        yield f"index: says that it has {total} bytes of objects, and has {size}"


def _objects(index: sqlite3.Connection, folder: Path) -> Iterator[str]:
    for digest, size, data in index.execute("SELECT digest, size, data FROM objects").fetchall():
        if (data is None) != (size > INLINE):
            yield f"object {digest[:12]}: its {size} bytes are in the wrong place"
        path = folder / "objects" / digest[:2] / digest
        if data is None:
            if path.is_symlink() or not path.is_file():
                yield f"object {digest[:12]}: has no file"
                continue
            data = path.read_bytes()
        if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
            yield f"object {digest[:12]}: is not what its name says"
        if not index.execute("SELECT 1 FROM uses WHERE digest = ?", (digest,)).fetchone():
            yield f"object {digest[:12]}: no entry uses it"


def _entries(index: sqlite3.Connection) -> Iterator[str]:
    for name, trees, seal in index.execute("SELECT name, trees, seal FROM entries").fetchall():
        if hashlib.sha256(f"{name}\0{trees}".encode()).digest() != seal:
            yield f"entry {name}: its seal is broken"
        used = {digest for (digest,) in index.execute("SELECT digest FROM uses WHERE entry = ?", (name,))}
        if used != set(_digests(json.loads(trees))):
            yield f"entry {name}: uses other objects than it mentions"


def _runs(index: sqlite3.Connection) -> Iterator[str]:
    for id, status, record, seal in index.execute("SELECT id, status, record, seal FROM runs").fetchall():
        if hashlib.sha256(f"{id}\0{record}".encode()).digest() != seal:
            yield f"run {id}: its seal is broken"
        if json.loads(record)["id"] != id:
            yield f"run {id}: has the record of another"
        if status == "finished" and index.execute("SELECT 1 FROM holds WHERE run = ?", (id,)).fetchone():
            yield f"run {id}: is finished and holds entries"
    gone = """SELECT run, node, outcome FROM nodes JOIN runs ON runs.id = run WHERE status != 'finished'
        AND entry IS NOT NULL AND entry NOT IN (SELECT name FROM entries)"""
    yield from (f"run {r}: {n} {o}, but its outputs are gone" for r, n, o in index.execute(gone))
    unheld = """SELECT nodes.run, node FROM nodes JOIN runs ON runs.id = nodes.run
        LEFT JOIN holds ON holds.run = nodes.run AND holds.entry = nodes.entry
        WHERE status != 'finished' AND outcome != 'started' AND nodes.entry IS NOT NULL AND holds.run IS NULL"""
    yield from (f"run {r}: does not hold the outputs of {n}" for r, n in index.execute(unheld))
    keyless = "SELECT run, node FROM nodes WHERE key IS NOT NULL AND key NOT IN (SELECT digest FROM keys)"
    yield from (f"run {r}: the key of {n} has no ingredients" for r, n in index.execute(keyless))
    for digest, ingredients in index.execute("SELECT digest, ingredients FROM keys").fetchall():
        if not json.loads(ingredients):
            yield f"key {digest[:12]}: has no ingredients"
    unowned = """SELECT name FROM entries WHERE name LIKE 'node/%'
        AND substr(name, 6) NOT IN (SELECT key FROM nodes WHERE key IS NOT NULL)"""
    yield from (f"entry {name}: no run has made it" for (name,) in index.execute(unowned))


def _files(index: sqlite3.Connection, folder: Path, collected: bool) -> Iterator[str]:
    known = {digest for (digest,) in index.execute("SELECT digest FROM objects WHERE data IS NULL")}
    for path in (folder / "objects").glob("*/*"):
        if path.name not in known and (collected or not (path.suffix == ".draft" or len(path.name) == 64)):
            yield f"file {path.name}: nothing refers to it"
    if collected:
        yield from (f"quarantine: {path.name} is left" for path in (folder / "quarantine").glob("*"))


def _digests(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        yield tree["digest"]
    elif isinstance(tree, list):
        for item in tree:
            yield from _digests(item)
