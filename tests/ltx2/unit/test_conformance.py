"""stagegraph-ltx2 keeps to what every plugin must: on the embedded checkpoint, with small tensors."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch

from stagegraph.testing import Example, conformance
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.stages import (
    LTX2AudioDecodingStage,
    LTX2DenoisingStage,
    LTX2LatentPreparationStage,
    LTX2TextEncodingStage,
    LTX2VideoDecodingStage,
)
from stagegraph_ltx2.values import AudioLatent, TextContext, VideoLatent

CHECKPOINT = LTX2Checkpoint(path="tiny", device="cpu")
NOISE = LTX2LatentPreparationStage(height=64, width=64, num_frames=9)


def noise(*shape: int) -> torch.Tensor:
    """The same numbers for the same shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def latents_and_texts() -> dict[str, Any]:
    """What denoising takes."""
    width = CHECKPOINT.transformer().module.config.caption_channels
    text = TextContext(noise(1, 8, width), noise(1, 8, width))
    return {"latents": NOISE.run(seed=1), "text": text, "negative_text": text}


test_conformance = conformance(
    "ltx2",
    examples=[
        Example(LTX2TextEncodingStage(), inputs={"prompt": "a red circle"}, components=[CHECKPOINT]),
        Example(NOISE, inputs={"seed": 7}),
        Example(
            LTX2DenoisingStage(sigmas=(1.0, 0.5, 0.0)), inputs=latents_and_texts, components=[CHECKPOINT], name="plain"
        ),
        Example(
            LTX2DenoisingStage(schedule="base", num_inference_steps=2, guidance_scale=3.0, guidance_rescale=0.5),
            inputs=latents_and_texts,
            components=[CHECKPOINT],
            name="guided",
        ),
        Example(
            LTX2VideoDecodingStage(),
            inputs=lambda: {"latents": VideoLatent(noise(1, 128, 2, 2, 2), Fraction(24))},
            components=[CHECKPOINT],
        ),
        Example(
            LTX2AudioDecodingStage(), inputs=lambda: {"latents": AudioLatent(noise(1, 9, 128))}, components=[CHECKPOINT]
        ),
    ],
)
