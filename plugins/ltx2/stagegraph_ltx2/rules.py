"""Where diffusers and the official code differ: which of them a generation follows. Needs no torch.

The two agree wherever a video is made from text alone and every scale of guidance is that of the official recipes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import attrs

RulesName = Literal["diffusers", "official"]


@attrs.frozen
class Rules:
    """One way to decide what the references disagree on.

    Attributes:
        counts_tokens: the base schedule leans the further towards noise the more tokens a video has (those of keyframes
            too); otherwise as if it had 4096.
        cross_timestep: by which noise level video and audio are modulated and gated where they meet.
        noises_kept: what is kept with a strength between 0 and 1 is noised itself when denoising starts below noise 1.
        per_token: a token that is partly kept is taken to be less noisy when its velocity becomes an estimate.
        per_sample: guidance takes back contrast for each sample on its own, not for the batch as a whole.
        perturbs_both: guidance by perturbation perturbs both streams, also if only one of them is guided so.
        clamps_base: the vocoder of LTX-2.3 cuts sound off at full scale before it extends its bandwidth.
    """

    counts_tokens: bool
    cross_timestep: Literal["other", "own", "mixed"]
    noises_kept: bool
    per_token: bool
    per_sample: bool
    perturbs_both: bool
    clamps_base: bool


RULES: Mapping[RulesName, Rules] = MappingProxyType(
    {
        "diffusers": Rules(
            counts_tokens=True,
            cross_timestep="other",
            noises_kept=True,
            per_token=False,
            per_sample=True,
            perturbs_both=True,
            clamps_base=False,
        ),
        "official": Rules(
            counts_tokens=False,
            cross_timestep="mixed",
            noises_kept=False,
            per_token=True,
            per_sample=False,
            perturbs_both=False,
            clamps_base=True,
        ),
    }
)
