"""A rank that is lost ends the loop within seconds, with an error that says which and how; nobody is left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from stagegraph_ltx2.denoise import Recipe, denoise
from stagegraph_ltx2.errors import RankError
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.parallel import group
from stagegraph_ltx2.parallel import team as team_module
from stagegraph_ltx2.parallel.team import Team

from ..random_weights import relative_error
from .conftest import others, within
from .scenes import SIX_HEADS, plain, text, transformer

RECIPE = Recipe((1.0, 0.5, 0.0))
WHY = "\n  why: the ranks share one computation, so that none can go on without the others"
FIX = "\n  fix: run it again, or with fewer ranks (--nproc)"


@pytest.fixture(scope="module")
def model() -> AudioVideoTransformer:
    """A small transformer."""
    return transformer(SIX_HEADS)


@pytest.fixture
def team(request: pytest.FixtureRequest) -> Iterator[Team]:
    """Three processes, or as many as a test asks for; no other team is alive."""
    assert not others()
    made = Team(getattr(request, "param", 3), torch.device("cpu"))
    yield made
    made.close()


def run(model: AudioVideoTransformer, team: Team) -> torch.Tensor:
    """Two steps."""
    return denoise(model, plain(), RECIPE, text(SIX_HEADS), evaluator=team.evaluator)[0]


@contextmanager
def signalled(model: AudioVideoTransformer, number: signal.Signals, rank: int) -> Iterator[None]:
    """A rank gets a signal when this one is in the middle of a step: in the last block."""

    def send(*_: object) -> None:
        for pid in (pid for pid, other in others().items() if other == rank):
            os.kill(pid, number)

    hook = model.transformer_blocks[-1].register_forward_pre_hook(send)
    try:
        yield
    finally:
        hook.remove()


def test_a_rank_that_is_killed_in_the_middle_of_a_step(model: AudioVideoTransformer, team: Team) -> None:
    """The others are ended; the next loop begins with new processes, and gives what it should."""
    expected = denoise(model, plain(), RECIPE, text(SIX_HEADS))[0]
    run(model, team)
    begin = time.monotonic()
    with pytest.raises(RankError) as caught, signalled(model, signal.SIGKILL, 2):
        run(model, team)
    assert time.monotonic() - begin < 10
    fix = "if nobody killed it, memory ran out (see dmesg): run it again, or with fewer ranks (--nproc)"
    assert str(caught.value) == f"error[ltx2.rank_lost]: rank 2 of 3 was killed by SIGKILL{WHY}\n  fix: {fix}"
    assert caught.value.retryable
    assert not others()
    assert relative_error(run(model, team), expected) < 1e-5


@pytest.mark.parametrize("team", [2], indirect=True)
def test_a_rank_that_was_killed_while_it_had_nothing_to_do_is_replaced(
    model: AudioVideoTransformer, team: Team
) -> None:
    """Nothing was lost with it."""
    before = run(model, team)
    (rank,) = others()
    os.kill(rank, signal.SIGKILL)
    assert within(5, lambda: team._gathering.lost)
    assert torch.equal(run(model, team), before)


@pytest.mark.parametrize("team", [2], indirect=True)
def test_a_rank_that_fails_says_why(model: AudioVideoTransformer, team: Team) -> None:
    """Its exception is told; here, of a scene that only it was told of."""
    noise = plain()

    def confuse(*_: object) -> None:
        team._gathering._workers.tell({"do": "scene", "scene": ["nothing"]})

    run(model, team)
    hook = model.proj_in.register_forward_pre_hook(confuse)
    with pytest.raises(RankError) as caught:
        denoise(model, noise, RECIPE, text(SIX_HEADS), evaluator=team.evaluator)
    hook.remove()
    what = "rank 1 of 2 failed: ValueError: not enough values to unpack (expected 4, got 1)"
    assert str(caught.value) == f"error[ltx2.rank_lost]: {what}{WHY}{FIX}"
    assert not others()


def test_a_rank_that_cannot_begin_is_told_with_its_last_words(
    model: AudioVideoTransformer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where a library is missing."""
    (tmp_path / "stagegraph_ltx2").mkdir()
    (tmp_path / "stagegraph_ltx2" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    team = Team(2, torch.device("cpu"))
    with pytest.raises(RankError) as caught:
        run(model, team)
    what = "rank 1 of 2 ended with exit code 1"
    why = f"{sys.executable}: No module named stagegraph_ltx2.parallel"
    assert str(caught.value) == f"error[ltx2.rank_lost]: {what}\n  why: {why}{FIX}"


def test_a_rank_that_does_not_answer(model: AudioVideoTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for no longer than an exchange may take."""
    monkeypatch.setattr(group, "TIMEOUT", timedelta(seconds=2))
    monkeypatch.setattr(team_module, "PATIENCE", 0.1)
    team = Team(2, torch.device("cpu"))
    with pytest.raises(RankError) as caught, signalled(model, signal.SIGSTOP, 1):
        run(model, team)
    told = str(caught.value)
    assert told.startswith("error[ltx2.rank_lost]: the 2 ranks do not reach each other: ")
    assert "Timed out waiting 2000ms" in told
    assert within(1, lambda: not others())
