"""Ranks that a launcher started wait for the teams that rank 0 makes, and for its end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from torch.distributed import HashStore

from stagegraph.errors import ComponentError
from stagegraph.ranks import World, is_first, world
from stagegraph_ltx2.parallel import launched, worker

LAUNCHED = {"RANK": "0", "WORLD_SIZE": "3", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def _launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """As rank 0 of three, which share a store."""
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    board = launched._Board(HashStore())
    monkeypatch.setattr(launched, "_board", lambda: board)


def test_the_launcher_tells_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through four variables; a single process is none of several, and half an environment is none."""
    assert (world(), is_first()) == (World(0, 3), True)
    monkeypatch.setenv("RANK", "2")
    assert (world(), is_first()) == (World(2, 3), False)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert (world(), is_first()) == (None, True)
    monkeypatch.setenv("WORLD_SIZE", "many")
    assert world() is None
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.delenv("MASTER_PORT")
    assert world() is None


def test_other_ranks_take_part_in_each_team_until_rank_0_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if there is none: where every output is kept already, say."""
    joined: list[str] = []
    monkeypatch.setattr(worker, "take_part", lambda folder, rank: joined.append(str(folder)) or True)
    ranks = [threading.Thread(target=launched.serve) for _ in range(2)]
    for rank in ranks:
        rank.start()
    assert launched.announce(Path("/first"), 3)
    assert launched.announce(Path("/second"), 3)
    launched.dismiss()
    for rank in ranks:
        rank.join(5)
        assert not rank.is_alive()
    assert sorted(joined) == ["/first", "/first", "/second", "/second"]


def test_a_team_of_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that another rank than 0 would make."""
    with pytest.raises(ComponentError) as caught:
        launched.announce(Path("/team"), 2)
    assert str(caught.value) == (
        "error[ltx2.contradiction]: nproc is 2, but 3 processes were started together\n"
        "  fix: leave nproc to the launcher, or start without one"
    )
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ComponentError) as caught:
        launched.announce(Path("/team"), 3)
    assert str(caught.value) == "error[ltx2.contradiction]: rank 1 is about to run a graph\n  why: rank 0 does"


def test_without_a_launcher_nothing_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a team starts its processes itself."""
    monkeypatch.delenv("RANK")
    assert not launched.announce(Path("/team"), 2)
    launched.dismiss()
