"""stagegraph-ltx2 keeps to what every plugin must: on the embedded checkpoint, with small tensors."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import torch

from stagegraph.testing import Example, conformance
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.continuation import LTX2ContinuationState
from stagegraph_ltx2.parts import Transformer
from stagegraph_ltx2.stages import (
    LTX2AudioConditioningStage,
    LTX2AudioDecodingStage,
    LTX2AudioEncodingStage,
    LTX2ContinuationInputStage,
    LTX2ContinuationOutputStage,
    LTX2DenoisingStage,
    LTX2ImageConditioningStage,
    LTX2LatentPreparationStage,
    LTX2LatentRenoisingStage,
    LTX2LatentUpsamplingStage,
    LTX2RetakeStage,
    LTX2SegmentTrimmingStage,
    LTX2TextEncodingStage,
    LTX2VideoConditioningStage,
    LTX2VideoDecodingStage,
    LTX2VideoEncodingStage,
)
from stagegraph_ltx2.values import AudioLatent, TextContext, VideoLatent
from stagegraph_media import Frames, Image, Waveform

CHECKPOINT = LTX2Checkpoint(path="tiny", device="cpu")
STATE = LTX2ContinuationState(
    video_frames=[np.zeros((64, 64, 3), np.uint8)],
    audio_latents=torch.zeros(1, 8, 4, 16),
    audio_conditioning_num_frames=4,
    video_position_offset_sec=0.1,
)
NOISE = LTX2LatentPreparationStage(height=64, width=64, num_frames=9)


def noise(*shape: int) -> torch.Tensor:
    """The same numbers for the same shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def not_distilled() -> dict[str, Any]:
    """The transformer of the checkpoint, as one that wants guidance."""
    return {"transformer": Transformer(CHECKPOINT.transformer().module, {"distilled": False, "layers": 2})}


def video() -> VideoLatent:
    """Two latent frames of the size of `NOISE`."""
    return VideoLatent(noise(1, 128, 2, 2, 2), Fraction(24))


def sound() -> AudioLatent:
    """As long as these."""
    return AudioLatent(noise(1, 9, 128))


def clip() -> Frames:
    """Ten frames of another size."""
    rng = np.random.default_rng(0)
    return Frames(rng.integers(0, 255, (10, 80, 70, 3), dtype=np.uint8), 24)


def tone() -> Waveform:
    """A third of a second."""
    return Waveform(np.sin(np.arange(8000, dtype=np.float32) / 9)[None], 24000)


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
            LTX2DenoisingStage(num_inference_steps=2, sampler="res_2s"),
            inputs=latents_and_texts,
            lent=not_distilled,
            name="guided",
        ),
        Example(
            LTX2ImageConditioningStage(frame_idx=-1),
            inputs=lambda: {"latents": NOISE.run(seed=1), "image": Image(clip().pixels[0])},
            components=[CHECKPOINT],
        ),
        Example(
            LTX2VideoConditioningStage(strength=0.5),
            inputs=lambda: {"latents": NOISE.run(seed=1), "frames": clip()},
            components=[CHECKPOINT],
        ),
        Example(
            LTX2AudioConditioningStage(start=0.1),
            inputs=lambda: {"latents": NOISE.run(seed=1), "audio": sound()},
        ),
        Example(
            LTX2RetakeStage(start=0.1, end=0.3),
            inputs=lambda: {"video": video(), "seed": 1, "audio": sound()},
        ),
        Example(
            LTX2ContinuationInputStage(),
            inputs=lambda: {"latents": NOISE.run(seed=1), "state": STATE},
            components=[CHECKPOINT],
        ),
        Example(
            LTX2ContinuationOutputStage(video_frames=1, audio_frames=4),
            inputs=lambda: {"audio": sound(), "frames": clip(), "waveform": tone(), "previous": STATE},
        ),
        Example(
            LTX2SegmentTrimmingStage(),
            inputs=lambda: {"frames": Frames(clip().pixels[:5], 24), "waveform": tone(), "previous": STATE},
        ),
        Example(LTX2VideoEncodingStage(), inputs=lambda: {"frames": clip()}, components=[CHECKPOINT]),
        Example(LTX2AudioEncodingStage(), inputs=lambda: {"waveform": tone()}, components=[CHECKPOINT]),
        Example(LTX2LatentUpsamplingStage(), inputs=lambda: {"latents": video()}, components=[CHECKPOINT]),
        Example(LTX2LatentRenoisingStage(), inputs=lambda: {"video": video(), "audio": sound(), "seed": 1}),
        Example(LTX2VideoDecodingStage(), inputs=lambda: {"latents": video()}, components=[CHECKPOINT]),
        Example(LTX2AudioDecodingStage(), inputs=lambda: {"latents": sound()}, components=[CHECKPOINT]),
    ],
)
