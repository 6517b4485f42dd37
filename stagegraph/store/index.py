"""The index of the store: one SQLite database in write-ahead mode, whose every change is one transaction."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stagegraph.errors import Fault, StoreError
from stagegraph.store.failures import told

#: The layout of the index that this release reads and writes.
VERSION: Final = 2
#: Seconds to wait for another process that is writing.
PATIENCE: Final = 30.0

_SCHEMA: Final = """
CREATE TABLE objects (digest TEXT PRIMARY KEY, size INTEGER NOT NULL, data BLOB);
CREATE TABLE entries (name TEXT PRIMARY KEY, trees TEXT NOT NULL, seal BLOB NOT NULL, used REAL NOT NULL);
CREATE INDEX entries_by_use ON entries (used);
CREATE TABLE uses (
    entry TEXT NOT NULL REFERENCES entries ON DELETE CASCADE,
    digest TEXT NOT NULL REFERENCES objects,
    PRIMARY KEY (entry, digest)
) WITHOUT ROWID;
CREATE INDEX uses_by_digest ON uses (digest);

CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    graph TEXT NOT NULL,
    status TEXT NOT NULL,
    folder TEXT,
    updated REAL NOT NULL,
    record TEXT NOT NULL,
    seal BLOB NOT NULL
);
CREATE TABLE keys (digest TEXT PRIMARY KEY, ingredients TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE nodes (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    node TEXT NOT NULL,
    outcome TEXT NOT NULL,
    key TEXT,
    entry TEXT,
    note TEXT NOT NULL,
    seconds REAL NOT NULL,
    peak_bytes INTEGER NOT NULL,
    PRIMARY KEY (run, node)
);
CREATE INDEX nodes_by_name ON nodes (node);
CREATE INDEX nodes_by_key ON nodes (key);
CREATE TABLE holds (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    entry TEXT NOT NULL,
    PRIMARY KEY (run, entry)
) WITHOUT ROWID;
CREATE INDEX holds_by_entry ON holds (entry);

CREATE TABLE total (bytes INTEGER NOT NULL);
INSERT INTO total VALUES (0);
CREATE TRIGGER grown AFTER INSERT ON objects BEGIN UPDATE total SET bytes = bytes + new.size; END;
CREATE TRIGGER shrunk AFTER DELETE ON objects BEGIN UPDATE total SET bytes = bytes - old.size; END;
"""


class Index:
    """The database of a store. Threads share its one connection, one at a time; processes share the file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = _connect(folder / "index.sqlite")
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries."""
        with self._lock, told(self._folder):
            yield self._connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection in a transaction that no other process writes beside; all of it happens, or nothing."""
        with self._lock, told(self._folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # some failures have ended the transaction already
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _prepare(self) -> None:
        if self._version() == 0:
            with self.writing() as connection:
                if self._version() == 0:  # no other process was faster
                    for statement in _statements():
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {VERSION}")
        version = self._version()
        if version != VERSION:
            what = f"the store has layout version {version}"
            fix = "upgrade stagegraph" if version > VERSION else f'remove it: rm -r "{self._folder}"'
            why = f"this release reads version {VERSION}"
            raise StoreError(Fault("unsupported_version", what, where=str(self._folder), why=why, fix=fix))

    def _version(self) -> int:
        with self.reading() as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])


def seal(name: str, text: str) -> bytes:
    """Ties a name to what was written down of it: the database does not check its own pages."""
    return hashlib.sha256(f"{name}\0{text}".encode("utf-8", "surrogatepass")).digest()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        # a flipped bit must end in a seal that does not fit, not in an error of the decoder
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL")  # what is recorded as done stays done when the power goes
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch a new database to its mode, which two processes cannot do at once and SQLite does not wait for."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def _statements() -> Iterator[str]:
    """The statements of the schema; `executescript` would end the transaction."""
    statement = ""
    for line in _SCHEMA.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
