"""On two CUDA devices: what two processes give over NCCL, and what becomes of a rank that is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
import torch

from stagegraph_ltx2.denoise import Recipe, denoise
from stagegraph_ltx2.errors import RankError
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.parallel.team import Team

from ..parallel.conftest import others
from ..parallel.scenes import SIX_HEADS_2_3, conditioned, text, transformer
from ..random_weights import relative_error

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")

RECIPE = Recipe((1.0, 0.5, 0.0))
DEVICE = torch.device("cuda:0")


@pytest.fixture(scope="module")
def model() -> AudioVideoTransformer:
    """A small transformer."""
    return transformer(SIX_HEADS_2_3).to(DEVICE)


@pytest.fixture
def team() -> Iterator[Team]:
    """Two processes."""
    made = Team(2, DEVICE)
    yield made
    made.close()


def run(model: AudioVideoTransformer, team: Team) -> torch.Tensor:
    """Two steps."""
    return denoise(model, conditioned(), RECIPE, text(SIX_HEADS_2_3), evaluator=team.evaluator)[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 5e-2)])
def test_two_gpus_give_what_one_gives(team: Team, dtype: torch.dtype, tolerance: float) -> None:
    """In either number format, as far as it goes."""
    model = transformer(SIX_HEADS_2_3).to(DEVICE, dtype)
    expected = denoise(model, conditioned(), RECIPE, text(SIX_HEADS_2_3))[0]
    assert relative_error(run(model, team), expected) < tolerance


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_rank_that_is_killed_ends_the_step_within_seconds(
    model: AudioVideoTransformer, team: Team, number: signal.Signals
) -> None:
    """Also where the device waits for it; the next loop begins with new processes."""
    expected = run(model, team)
    (rank,) = others()
    hook = model.transformer_blocks[0].register_forward_pre_hook(lambda *_: os.kill(rank, number))
    begin = time.monotonic()
    with pytest.raises(RankError) as caught:
        run(model, team)
    hook.remove()
    assert time.monotonic() - begin < 20
    assert caught.value.faults[0].what == f"rank 1 of 2 was killed by {number.name}"
    assert relative_error(run(model, team), expected) < 1e-4


def test_a_rank_that_stops_is_given_up(
    model: AudioVideoTransformer, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After as long as a step may take."""
    from stagegraph_ltx2.parallel import team as team_module

    run(model, team)
    monkeypatch.setattr(team_module, "LATE", 3.0)
    (rank,) = others()
    os.kill(rank, signal.SIGSTOP)
    with pytest.raises(RankError) as caught:
        run(model, team)
    assert caught.value.faults[0].what == "the 2 ranks do not reach each other: nothing came of it in 3 s"
