"""Stored outputs that something changed: seen by their digest, told, dropped, made again; the outputs are right."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagegraph import events
from stagegraph.artifacts import Codecs
from stagegraph.caching import Caching
from stagegraph.errors import StoreError
from stagegraph.executors import serial, threads
from stagegraph.executors.threads import Lanes
from stagegraph.store import Store

from . import crash_graph
from .consistency import breaches

#: What something does to a store, given where it is and a source of chance.
Damage = Callable[[Path, random.Random], None]


def execute(folder: Path, parallel: bool = False) -> tuple[str, list[str], set[str]]:
    """Run the graph on a store: the digest of its outputs, the codes of its warnings, the nodes that were called."""
    told: list[events.Event] = []
    with Store(folder / "store") as store:
        options: dict[str, Any] = {"caching": Caching(store, Codecs()), "directory": folder / "run"}
        if parallel:
            options |= {"lanes": Lanes(cpu=3, io=2)}
        run = (threads if parallel else serial).run
        done = run(crash_graph.plan(everything=True), crash_graph.INPUTS, on_event=told.append, **options)
    codes = [fault.code for event in told if isinstance(event, events.CacheWarning) for fault in event.faults]
    called = {event.node for event in told if isinstance(event, events.NodeStarted)}
    return crash_graph.digest_of(done.outputs.items()), codes, called


OPTED_OUT = {"publish_0", "publish_1", "publish_2"}


def an_object(folder: Path, chance: random.Random) -> Path:
    """A file with an object."""
    return chance.choice(sorted(path for path in (folder / "objects").glob("*/*") if len(path.name) == 64))


def flip(data: bytes, chance: random.Random) -> bytes:
    """The same but for a bit."""
    changed = bytearray(data)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def a_bit_of_a_file(folder: Path, chance: random.Random) -> None:
    path = an_object(folder, chance)
    path.write_bytes(flip(path.read_bytes(), chance))


def the_end_of_a_file(folder: Path, chance: random.Random) -> None:
    path = an_object(folder, chance)
    os.truncate(path, chance.randrange(path.stat().st_size))


def a_longer_file(folder: Path, chance: random.Random) -> None:
    with an_object(folder, chance).open("ab") as file:
        file.write(b"\0")


def a_file_that_is_gone(folder: Path, chance: random.Random) -> None:
    an_object(folder, chance).unlink()


def files_swapped(folder: Path, chance: random.Random) -> None:
    one = an_object(folder, chance)
    other = next(path for path in iter(lambda: an_object(folder, chance), None) if path != one)
    one.rename(folder / "spare")
    other.rename(one)
    (folder / "spare").rename(other)


def a_link_in_place_of_a_file(folder: Path, chance: random.Random) -> None:
    path = an_object(folder, chance)
    path.rename(folder / "elsewhere")
    path.symlink_to(folder / "elsewhere")


def a_row(folder: Path, chance: random.Random, table: str, column: str, where: str = "1") -> None:
    """Flip a bit of a value in the index."""
    connection = sqlite3.connect(folder / "index.sqlite")
    rows = connection.execute(f"SELECT rowid, {column} FROM {table} WHERE {where} ORDER BY rowid").fetchall()
    rowid, value = chance.choice(rows)
    data = flip(value.encode() if isinstance(value, str) else value, chance)
    cast = f"CAST(? AS {'TEXT' if isinstance(value, str) else 'BLOB'})"
    connection.execute(f"UPDATE {table} SET {column} = {cast} WHERE rowid = ?", (data, rowid))
    connection.commit()
    connection.close()


def a_bit_of_a_small_value(folder: Path, chance: random.Random) -> None:
    a_row(folder, chance, "objects", "data", "length(data) > 0 AND digest IN (SELECT digest FROM uses)")


def a_bit_of_a_description(folder: Path, chance: random.Random) -> None:
    a_row(folder, chance, "entries", "trees", "name LIKE 'node/%'")


def a_bit_of_a_seal(folder: Path, chance: random.Random) -> None:
    a_row(folder, chance, "entries", "seal", "name LIKE 'node/%'")


DAMAGES: list[Damage] = [
    a_bit_of_a_file,
    the_end_of_a_file,
    a_longer_file,
    a_file_that_is_gone,
    files_swapped,
    a_link_in_place_of_a_file,
    a_bit_of_a_small_value,
    a_bit_of_a_description,
    a_bit_of_a_seal,
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with the outputs of a run, and their digest."""
    folder = tmp_path_factory.mktemp("whole")
    digest, codes, called = execute(folder)
    assert codes == []
    assert len(called) > 20
    return folder, digest


@pytest.mark.parametrize("parallel", [False, True], ids=["serial", "threads"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_outputs_are_told_and_made_again(
    whole: tuple[Path, str], folder: Path, damage: Damage, parallel: bool
) -> None:
    """Whatever became of them: the run says so, calls what it must, gives the right outputs, and mends the store."""
    original, wanted = whole
    chance = random.Random(damage.__name__)
    for turn in range(4):
        place = folder / str(turn)
        shutil.copytree(original / "store", place / "store")
        damage(place / "store", chance)
        digest, codes, called = execute(place, parallel)
        assert digest == wanted
        if called == OPTED_OUT:  # what was damaged belongs to nothing that this run reads
            assert damage is a_bit_of_a_small_value
            assert codes == []
        else:
            assert set(codes) == {"store_corrupt"}
        assert execute(place) == (wanted, [], OPTED_OUT)
        with Store(place / "store") as store:
            store.gc()
        left = breaches(place / "store", collected=True)
        assert left == [] or damage is a_bit_of_a_small_value


@pytest.mark.parametrize("seed", range(40))
def test_bits_that_flip_in_the_index_never_change_an_output(whole: tuple[Path, str], folder: Path, seed: int) -> None:
    """Anywhere in its file: the outputs are right, or a typed error says that the store is damaged."""
    original, wanted = whole
    shutil.copytree(original / "store", folder / "store")
    index, chance = folder / "store" / "index.sqlite", random.Random(seed)
    data = index.read_bytes()
    for _ in range(chance.choice([1, 8, 64])):
        data = flip(data, chance)
    index.write_bytes(data)
    try:
        found = execute(folder)[0]
    except StoreError as error:
        found = error.code
    assert found in (wanted, "store_corrupt", "store_failed", "unsupported_version")
