"""The noise levels of a denoising loop."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph_ltx2.schedule import (
    DISTILLED_SIGMAS,
    REFINE_SIGMAS,
    TWO_STEP_REFINE_SIGMAS,
    ScheduleError,
    base_sigmas,
    checked_sigmas,
    shift,
)


@pytest.mark.parametrize(
    ("steps", "tokens", "first", "last"),
    [
        (30, 4096, (1, 0.994957, 0.989603, 0.983908), (0.480164, 0.387541, 0.26612, 0.1, 0)),
        (40, 4096, (1, 0.996449, 0.992737, 0.988851), (0.420719, 0.337809, 0.233936, 0.1, 0)),
        (30, 6144, (1, 0.997017, 0.993836, 0.990434), (0.598089, 0.498776, 0.34952, 0.1, 0)),
        (15, 8160, (1, 0.993491, 0.986015, 0.97734), (0.768028, 0.673897, 0.503378, 0.1, 0)),
        (8, 4096, (1, 0.965712, 0.921875, 0.863856), (0.783445, 0.664579, 0.471003, 0.1, 0)),
    ],
)
def test_the_base_schedule_has_its_published_values(
    steps: int, tokens: int, first: tuple[float, ...], last: tuple[float, ...]
) -> None:
    """To six digits, at both ends."""
    sigmas = base_sigmas(steps, tokens)
    assert len(sigmas) == steps + 1
    assert sigmas[:4] == pytest.approx(first, abs=1.1e-6)
    assert sigmas[-5:] == pytest.approx(last, abs=1.1e-6)


@given(st.integers(1, 200), st.integers(1, 200_000))
def test_every_base_schedule_can_be_followed(steps: int, tokens: int) -> None:
    """From 1 down to 0, through 0.1 if there is any sigma between."""
    sigmas = base_sigmas(steps, tokens)
    assert checked_sigmas(sigmas) == sigmas
    assert sigmas[0] == 1
    if steps > 1:
        assert sigmas[-2] == pytest.approx(0.1)


@given(st.integers(2, 60), st.integers(64, 50_000))
def test_more_tokens_stay_longer_at_high_noise(steps: int, tokens: int) -> None:
    """Every sigma but the ends is higher."""
    fewer, more = base_sigmas(steps, tokens), base_sigmas(steps, 2 * tokens)
    assert all(a <= b for a, b in zip(fewer, more, strict=True))


def test_the_shift_passes_through_its_two_points() -> None:
    """0.95 at 1024 tokens and 2.05 at 4096."""
    assert shift(1024) == 0.95
    assert shift(4096) == pytest.approx(2.05)


def test_fixed_lists_can_be_followed_and_share_their_tail() -> None:
    """The refine pass joins the distilled list at 0.909375."""
    for sigmas in (DISTILLED_SIGMAS, REFINE_SIGMAS, TWO_STEP_REFINE_SIGMAS):
        assert checked_sigmas(sigmas) == sigmas
    assert DISTILLED_SIGMAS[-4:] == REFINE_SIGMAS
    assert set(TWO_STEP_REFINE_SIGMAS) < set(REFINE_SIGMAS)
    assert len(DISTILLED_SIGMAS) == 9


@given(st.lists(st.floats(0, 1, exclude_min=True), min_size=1, unique=True))
def test_sigmas_that_descend_to_zero_are_taken_as_they_are(sigmas: list[float]) -> None:
    """As a tuple of floats."""
    descending = (*sorted(sigmas, reverse=True), 0.0)
    assert checked_sigmas(list(descending)) == descending
    assert all(a > b for a, b in pairwise(descending))


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([], "sigmas has 0 values and needs at least 2, a start and the final 0"),
        ([0], "sigmas has 1 values and needs at least 2, a start and the final 0"),
        ([1, 0.5, 0.5, 0], "sigmas must descend, but 0.5 is followed by 0.5"),
        (
            [1000, 500, float("nan"), 725],
            (
                "sigmas must be in [0, 1], which 1000.0, 500.0, nan, 725.0 is not; "
                "sigmas must descend, but 500.0 is followed by nan, nan is followed by 725.0; "
                "sigmas must end with 0, not 725.0: the last step has to remove all noise"
            ),
        ),
    ],
)
def test_sigmas_that_cannot_be_followed_are_refused(sigmas: list[float], message: str) -> None:
    """With all their faults at once."""
    with pytest.raises(ScheduleError) as caught:
        checked_sigmas(sigmas)
    assert str(caught.value) == message


def test_a_schedule_without_steps_is_refused() -> None:
    """One step is the least."""
    with pytest.raises(ScheduleError, match=r"^num_inference_steps=0 must be at least 1$"):
        base_sigmas(0)
