"""Changing the sampling rate of sound, by a sinc that a raised cosine ends after six zero crossings."""

from __future__ import annotations

from math import ceil, gcd

import torch
import torch.nn.functional as F
from torch import Tensor

CROSSINGS = 6
"""Zero crossings on either side of the sinc."""

ROLLOFF = 0.99
"""Where it cuts, as a fraction of the highest frequency that both rates can hold."""


def resample(x: Tensor, rate: int, new_rate: int, *, edge: str = "constant") -> Tensor:
    """Interpolate sound at other times, without frequencies that the new rate cannot hold.

    Args:
        x: [b, c, s].
        rate: Of x, in Hz.
        new_rate: Of the result, in Hz.
        edge: What is beyond the ends of x: "constant" is silence, "replicate" the first and the last sample.

    Returns:
        [b, c, ceil(s x new_rate / rate)].
    """
    if rate == new_rate:
        return x
    # Sample n of the result lies at n x step / phases, counted in samples of x.
    step, phases = rate // gcd(rate, new_rate), new_rate // gcd(rate, new_rate)
    cutoff = ROLLOFF * min(1, phases / step)
    reach = ceil(CROSSINGS / cutoff)
    count = torch.arange(-(-x.shape[-1] * phases // step), device=x.device)
    whole, part = count * step // phases, count * step % phases
    # The parts repeat, and with them the weights, every so many phases.
    taps = torch.arange(-reach, reach + 1, dtype=torch.float64, device=x.device)
    weights = (_sinc((taps - part[:phases, None].double() / phases) * cutoff) * cutoff).to(x.dtype)
    windows = F.pad(x, (reach, reach), mode=edge).unfold(-1, len(taps), 1)
    return (windows[..., whole, :] * weights[count % phases]).sum(-1)


def _sinc(t: Tensor) -> Tensor:
    """Of times in zero crossings."""
    return torch.sinc(t) * (t.clamp(-CROSSINGS, CROSSINGS) * torch.pi / CROSSINGS / 2).cos().square()
