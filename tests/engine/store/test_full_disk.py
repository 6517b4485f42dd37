"""Runs whose store fails: nothing that was recorded is lost, and what has begun ends as if nothing were kept."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .disks import small_disk
from .forks import Server
from .places import Place, go_on

#: Every so many calls of the system one fails; STAGEGRAPH_FAIL_STRIDE=1 takes each.
STRIDE = int(os.environ.get("STAGEGRAPH_FAIL_STRIDE", "70"))


CODES = {"store_full", "store_failed"}


def ended(result: dict[str, Any], wanted: str) -> str:
    """How a run ended whose store failed: with a typed error, else right, whether it was warned or not."""
    if "error" in result:
        assert result["error"] == "StoreError"
        assert result["code"] in CODES
        return "refused"
    assert result["outputs"] == wanted
    assert set(result["warnings"]) <= CODES
    return "warned" if result["warnings"] else "unharmed"


@pytest.mark.slow
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize("fails", [1, 10**6], ids=["once", "for-good"])
def test_a_run_may_lose_its_store_at_any_call(server: Server, folder: Path, fails: int, error: int) -> None:
    """Whichever write, sync, rename or statement fails: a typed error before anything has run, or warnings."""
    whole = server.start("count", **Place(folder / "whole").job).result()
    ends: Counter[str] = Counter()
    for at in range(1, whole["calls"] + 1, STRIDE):
        place = Place(folder / str(at))
        threads = at // STRIDE % 2 == 1
        result = server.start("run", **place.job, fails_at=at, fails=fails, error=error, threads=threads).result()
        ends[ended(result, whole["outputs"])] += 1
        go_on(server, place, whole["outputs"])
    assert ends["warned"] >= 5


def test_a_run_may_come_to_the_largest_file_that_it_is_allowed(server: Server, folder: Path) -> None:
    """The system itself says no, to whatever file is too large: of the index, its log, an object, the events."""
    whole = server.start("run", **Place(folder / "whole").job).result()
    ends = []
    for limit in (9_000, 20_000, 33_000, 50_000, 70_000, 100_000, 300_000, 900_000):
        place = Place(folder / str(limit))
        result = server.start("run", **place.job, largest_file=limit, threads=limit > 60_000).result()
        ends.append(ended(result, whole["outputs"]))
        go_on(server, place, whole["outputs"])
    assert "refused" in ends
    assert "warned" in ends


@pytest.mark.parametrize("threads", [False, True], ids=["serial", "threads"])
def test_a_run_on_a_full_disk_goes_on_when_there_is_space(server: Server, tmp_path: Path, threads: bool) -> None:
    """Store, run folder and events share a disk; whatever is left of it, nothing is lost when the rest is freed.

    A store that was there before has a reserve, which is enough to begin with.
    """
    whole = server.start("run", **Place(tmp_path / "whole").job).result()
    ends: dict[tuple[int, bool], str] = {}
    for free, reserved in itertools.product((0, 30_000, 100_000, 250_000, 500_000, 700_000), (True, False)):
        with small_disk(tmp_path / f"{free}-{reserved}", 8) as disk:
            place = Place(disk, tmp_path / f"{free}-{reserved}.log")
            if reserved:
                server.start("collect", store=place.store, budget=10**6, times=1).result()
            filler = fill(disk, free)
            result = server.start("run", **place.job, threads=threads).result()
            ends[free, reserved] = ended(result, whole["outputs"])
            filler.unlink()
            go_on(server, place, whole["outputs"])
    assert (ends[0, True] != "refused", ends[0, False]) == (True, "refused")
    assert (ends[100_000, True], ends[700_000, False]) == ("warned", "warned")


def fill(disk: Path, free: int) -> Path:
    """Leave so many bytes of a disk; gives the file that has the others."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 65536):
            continue
    os.truncate(filler, filler.stat().st_size - free)
    return filler
