"""Which noise levels a denoising loop passes through: descending sigmas, from 1 (noise) to 0 (clean). Needs no torch.

The base schedule is for models trained without distillation; distilled ones go through a fixed list.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import combinations, pairwise
from typing import Literal

SamplerName = Literal["euler", "euler_ancestral", "res_2s", "gradient_estimation"]
"""The ways from one sigma to the next."""

BASE_TOKENS = 4096
"""Video tokens that the base schedule assumes where the real count is not asked for."""

DISTILLED_SIGMAS = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0)
"""The eight steps of a distilled model."""

REFINE_SIGMAS = (0.909375, 0.725, 0.421875, 0.0)
"""The three steps of the refine pass, which starts from upsampled latents that are noised again to the first sigma."""

TWO_STEP_REFINE_SIGMAS = (0.909375, 0.421875, 0.0)
"""The refine pass in two steps, as FastVideo runs it."""

TERMINAL = 0.1
"""The last sigma above 0 of the base schedule."""

# The shift of a schedule grows linearly with the number of tokens, through these two points.
TOKENS_LOW, SHIFT_LOW = 1024, 0.95
TOKENS_HIGH, SHIFT_HIGH = 4096, 2.05


class ScheduleError(ValueError):
    """Sigmas that no denoising loop can follow.

    Attributes:
        faults: Every fault, one sentence each.
    """

    def __init__(self, faults: tuple[str, ...]) -> None:
        self.faults = faults
        super().__init__("; ".join(faults))


def distilled_sigmas(num_inference_steps: int) -> tuple[float, ...]:
    """The schedule of a distilled model in eight steps, or in fewer of its sigmas.

    The first and the last stay; of all choices between them, that with the smallest largest gap, then the smallest
    last gap, then the smallest sum of squared gaps, as FastVideo chooses.

    Raises:
        ScheduleError: Fewer than one step, or more than eight.
    """
    most = len(DISTILLED_SIGMAS) - 1
    if not 1 <= num_inference_steps <= most:
        raise ScheduleError((f"num_inference_steps={num_inference_steps}: a distilled model has 1 to {most} steps",))

    def gaps(sigmas: tuple[float, ...]) -> tuple[float, float, float]:
        found = [a - b for a, b in pairwise(sigmas)]
        return max(found), found[-1], sum(gap**2 for gap in found)

    first, *between, last = DISTILLED_SIGMAS
    chosen = combinations(between, num_inference_steps - 1)
    return min(((first, *some, last) for some in chosen), key=gaps)


def refine_sigmas(num_inference_steps: int = 3) -> tuple[float, ...]:
    """The schedule of the refine pass: three steps, or two.

    Raises:
        ScheduleError: Another number of steps.
    """
    if num_inference_steps not in (2, 3):
        raise ScheduleError((f"num_inference_steps={num_inference_steps}: the refine pass has 3 steps, or 2",))
    return REFINE_SIGMAS if num_inference_steps == 3 else TWO_STEP_REFINE_SIGMAS


def base_sigmas(
    num_inference_steps: int, tokens: int = BASE_TOKENS, flow_shift: float | None = None
) -> tuple[float, ...]:
    """The schedule of a model that is not distilled.

    Args:
        num_inference_steps: Steps of the loop; one more sigma comes back.
        tokens: t of the video. More tokens stay longer at high noise. Lightricks' pipelines keep 4096 whatever the
            video, diffusers counts.
        flow_shift: by what the odds of noise are multiplied, whatever the number of tokens.

    Raises:
        ScheduleError: Fewer than one step.
    """
    if num_inference_steps < 1:
        raise ScheduleError((f"num_inference_steps={num_inference_steps} must be at least 1",))
    if num_inference_steps == 1:
        return (1.0, 0.0)  # There is no sigma between, which could be the terminal one.
    mu = math.exp(shift(tokens)) if flow_shift is None else flow_shift
    # How clean latents are before each step, 1 - sigma: in these terms nothing cancels near sigma = 1.
    odds = [num_inference_steps / steps_left - 1 for steps_left in range(num_inference_steps, 0, -1)]
    clean = [odd / (mu + odd) for odd in odds]
    return (*(1 - c / clean[-1] * (1 - TERMINAL) for c in clean), 0.0)


def shift(tokens: int) -> float:
    """How far the schedule leans towards noise, as the logarithm of the odds that it multiplies."""
    slope = (SHIFT_HIGH - SHIFT_LOW) / (TOKENS_HIGH - TOKENS_LOW)
    return SHIFT_LOW + slope * (tokens - TOKENS_LOW)


def checked_sigmas(sigmas: Iterable[float]) -> tuple[float, ...]:
    """Sigmas that somebody wrote down, if a loop can follow them.

    Raises:
        ScheduleError: Sigmas that are too few, outside [0, 1], not descending or do not end at 0; all that is wrong.
    """
    sigmas = tuple(float(sigma) for sigma in sigmas)
    faults = []
    if len(sigmas) < 2:
        faults.append(f"sigmas has {len(sigmas)} values and needs at least 2, a start and the final 0")
    outside = [sigma for sigma in sigmas if not 0 <= sigma <= 1]
    if outside:
        faults.append(f"sigmas must be in [0, 1], which {', '.join(map(str, outside))} is not")
    rising = [f"{a} is followed by {b}" for a, b in pairwise(sigmas) if not a > b]
    if rising:
        faults.append(f"sigmas must descend, but {', '.join(rising)}")
    if sigmas and sigmas[-1] != 0:
        faults.append(f"sigmas must end with 0, not {sigmas[-1]}: the last step has to remove all noise")
    if faults:
        raise ScheduleError(tuple(faults))
    return sigmas
