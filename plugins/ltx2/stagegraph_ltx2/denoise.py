"""The denoising loop: from noise to content along a schedule of sigmas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import attrs
import torch
from torch import Tensor

from stagegraph.context import derive_seed
from stagegraph_ltx2.conditioning import blend, noisy
from stagegraph_ltx2.estimate import Estimator, grouped, passes, set_scene
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.noise import seeded
from stagegraph_ltx2.rules import RULES, Rules
from stagegraph_ltx2.samplers import Noise, Pair, Sampler, Step, euler
from stagegraph_ltx2.scales import Guidance
from stagegraph_ltx2.scene import Evaluator, alone
from stagegraph_ltx2.values import DenoisingProgress, LatentState, TextContext, TokenState


@attrs.frozen(eq=False)
class Recipe:
    """How latents are denoised.

    Attributes:
        sigmas: noise levels, descending, ending with 0; n + 1 of them make n steps. The first is the noise scale of the
            latents.
        guidance: what estimates are moved away from.
        sampler: how a step is taken.
        rules: what is followed where references differ.
        together: whether the passes of guidance go through the transformer as one batch, which takes more memory.
    """

    sigmas: Sequence[float]
    guidance: Guidance = attrs.field(factory=Guidance)
    sampler: Sampler = euler
    rules: Rules = RULES["diffusers"]
    together: bool = True


#: Told after each step how far the loop has come, and how many steps there are; what it raises ends the loop.
OnStep = Callable[[DenoisingProgress, int], None]


@torch.inference_mode()
def denoise(
    model: AudioVideoTransformer,
    state: LatentState,
    recipe: Recipe,
    text: TextContext,
    negative: TextContext | None = None,
    on_step: OnStep = lambda progress, total: None,
    start: DenoisingProgress | None = None,
    evaluator: Evaluator = alone,
) -> tuple[Tensor, Tensor]:
    """Go from noise to content.

    Latents stay in fp32 throughout; the model sees them in its own dtype.

    Args:
        model: on the device where everything happens.
        state: what denoising starts from, and what it keeps.
        recipe: how it goes on.
        text: the prompt.
        negative: what to move away from; needed if the guidance is by the prompt.
        on_step: called after each step.
        start: how far an earlier loop came that is to be continued.
        evaluator: evaluates the transformer; by default, in this process.

    Returns:
        Video [b, t, c] without the tokens of keyframes, and audio [b, t, c], fp32, on the model's device.
    """
    device = model.proj_in.weight.device
    streams = (_moved(state.video, device), _moved(state.audio, device))
    groups = grouped(passes(recipe.guidance, text, negative), together=recipe.together)
    scene = set_scene(*streams, groups, recipe.guidance, recipe.rules)

    def restore(x: Pair) -> Pair:
        return Pair(*(blend(part, tokens) for part, tokens in zip(x, streams, strict=True)))

    if start is None:
        x = Pair(*(noisy(tokens, state.noise_scale, recipe.rules) for tokens in streams))
        start = DenoisingProgress(0, *x)
    done, x, memory = start.step, Pair(start.video.to(device), start.audio.to(device)), _memory(start, device)
    with evaluator(model, scene) as velocities:
        estimate = Estimator(velocities, *streams, groups, recipe.guidance, recipe.rules)
        for number, (sigma, following) in enumerate(pairwise(recipe.sigmas[done:]), done + 1):
            step = Step(sigma, following, _noise(state, number, device), restore, memory)
            x, memory = recipe.sampler(x, estimate, step)
            on_step(DenoisingProgress(number, *x, *(memory or ())), len(recipe.sigmas) - 1)
    # Arithmetic may have moved what is kept by a rounding.
    video, audio = (torch.where(tokens.mask == 0, tokens.clean, part) for part, tokens in zip(x, streams, strict=True))
    return video[:, : state.size.latent().tokens], audio


def _moved(tokens: TokenState, device: torch.device) -> TokenState:
    return TokenState(*(getattr(tokens, field.name).to(device) for field in attrs.fields(TokenState)))


def _memory(progress: DenoisingProgress, device: torch.device) -> Pair | None:
    if progress.video_velocity is None or progress.audio_velocity is None:
        return None
    return Pair(progress.video_velocity.to(device), progress.audio_velocity.to(device))


def _noise(state: LatentState, step: int, device: torch.device) -> Noise:
    """Noise of one step: of its own seed, so that a loop that is continued draws what it would have drawn."""

    def draw(purpose: str) -> Pair:
        generator = seeded(derive_seed(state.seed, purpose, str(step)))
        drawn = (torch.randn(tokens.noise.shape, generator=generator) for tokens in (state.video, state.audio))
        return Pair(*(noise.to(device) for noise in drawn))

    return draw
