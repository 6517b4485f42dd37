"""The denoising loop: from noise to content along a schedule of sigmas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import attrs
import torch
from torch import Tensor

from stagegraph_ltx2.guidance import euler_step, guide, velocity_to_x0, x0_to_velocity
from stagegraph_ltx2.model.conditions import Rotary, Text, Timesteps
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.values import LatentState, TextContext

TIMESTEPS = 1000
"""The transformer is told a sigma as this many times its value."""


@attrs.frozen
class Guidance:
    """How strongly the result follows the prompt; a scale of 1 is no guidance, and then no negative text is read.

    Attributes:
        video: scale for the video.
        audio: scale for the audio.
        rescale: how much of the contrast that guidance adds is taken back, 0 to 1.
    """

    video: float = 1.0
    audio: float = 1.0
    rescale: float = 0.0

    @property
    def needed(self) -> bool:
        """Whether the negative text has to be evaluated."""
        return self.video != 1 or self.audio != 1


@torch.inference_mode()
def denoise(
    model: AudioVideoTransformer,
    state: LatentState,
    sigmas: Sequence[float],
    text: TextContext,
    negative: TextContext | None = None,
    guidance: Guidance = Guidance(),
    on_step: Callable[[int, int, Tensor, Tensor], None] = lambda done, total, video, audio: None,
    start: int = 0,
) -> tuple[Tensor, Tensor]:
    """Follow the model's velocities through the sigmas with Euler steps.

    Latents stay in fp32 throughout; the model sees them in its own dtype.

    Args:
        model: on the device where everything happens.
        state: as noisy as the sigma at `start` says.
        sigmas: descending, ending with 0; n + 1 of them make n steps.
        text: the prompt.
        negative: what to move away from; needed if `guidance` is.
        guidance: scales.
        on_step: called after each step with (steps done, steps in all, video, audio); what it raises ends the loop.
        start: steps that are done already.

    Returns:
        Video [b, t, c] and audio [b, t, c], fp32, on the model's device.
    """
    device = model.proj_in.weight.device
    video, audio = state.video.to(device), state.audio.to(device)
    rotary = model.rotary(
        video_positions(state.size.latent(), float(state.frame_rate), device),
        audio_positions(state.size.audio(), device),
    )
    texts = [text] if negative is None or not guidance.needed else [text, negative]
    contexts = torch.cat([t.video for t in texts]), torch.cat([t.audio for t in texts])
    prompts = model.text(*(context.to(model.proj_in.weight) for context in contexts), ahead=True)
    for step, (sigma, next_sigma) in enumerate(pairwise(sigmas[start:]), start + 1):
        x0 = _estimate(model, video, audio, prompts, sigma, rotary, guidance)
        video = euler_step(video, x0_to_velocity(video, x0[0], sigma), sigma, next_sigma)
        audio = euler_step(audio, x0_to_velocity(audio, x0[1], sigma), sigma, next_sigma)
        on_step(step, len(sigmas) - 1, video, audio)
    return video, audio


def _estimate(
    model: AudioVideoTransformer,
    video: Tensor,
    audio: Tensor,
    prompts: Text,
    sigma: float,
    rotary: Rotary,
    guidance: Guidance,
) -> tuple[Tensor, Tensor]:
    """The guided estimate of the clean latents. Prompt and negative prompt go through the model as one batch."""
    dtype = model.proj_in.weight.dtype
    passes = len(prompts.video) // len(video)
    timestep = torch.full((len(prompts.video),), sigma * TIMESTEPS, device=video.device)
    velocities = model(
        video.to(dtype).repeat(passes, 1, 1),
        audio.to(dtype).repeat(passes, 1, 1),
        prompts,
        Timesteps.alike(timestep),
        rotary,
    )
    estimates = []
    for x, velocity, scale in zip((video, audio), velocities, (guidance.video, guidance.audio), strict=True):
        cond, *uncond = (velocity_to_x0(x, v, sigma) for v in velocity.chunk(passes))
        estimates.append(guide(cond, uncond[0], scale, guidance.rescale) if uncond else cond)
    return estimates[0], estimates[1]
