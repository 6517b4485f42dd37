"""Estimates of what noisy latents are without noise: as many passes of the transformer as the guidance needs."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from stagegraph_ltx2.conditioning import blend
from stagegraph_ltx2.guidance import Estimates, guide, velocity_to_x0
from stagegraph_ltx2.model.adaln import Levels, levels
from stagegraph_ltx2.model.conditions import Perturbation
from stagegraph_ltx2.rules import Rules
from stagegraph_ltx2.samplers import Pair
from stagegraph_ltx2.scales import Guidance
from stagegraph_ltx2.scene import Batch, Scene, Side, Velocities
from stagegraph_ltx2.values import TextContext, TokenState


@attrs.frozen(eq=False)
class Pass:
    """One evaluation of the transformer.

    Attributes:
        kind: the estimate that it gives, a field of `Estimates`.
        text: the prompt that it reads.
        perturbed: whether self-attention is perturbed.
        isolated: whether the streams do not see each other.
    """

    kind: str
    text: TextContext
    perturbed: bool = False
    isolated: bool = False


def passes(guidance: Guidance, text: TextContext, negative: TextContext | None) -> list[Pass]:
    """The evaluations that an estimate takes: that with the prompt, and those that guidance moves away from."""
    made = [Pass("full", text)]
    if guidance.needs_negative:
        if negative is None:
            raise ValueError("guidance needs a negative text")
        made.append(Pass("negative", negative))
    if guidance.needs_perturbed:
        made.append(Pass("perturbed", text, perturbed=True))
    if guidance.needs_isolated:
        made.append(Pass("isolated", text, isolated=True))
    return made


class Estimator:
    """The guided estimate of latents, with what is to be kept put in its place.

    Args:
        velocities: what the transformer gives in the scene that `set_scene` made of the same groups.
        video: the tokens of the video, on the device where everything happens.
        audio: those of the sound.
        groups: passes that go through the transformer as one batch, group after group; see `grouped`.
        guidance: how they are combined.
        rules: what is followed where references differ.
    """

    def __init__(
        self,
        velocities: Velocities,
        video: TokenState,
        audio: TokenState,
        groups: Sequence[Sequence[Pass]],
        guidance: Guidance,
        rules: Rules,
    ) -> None:
        self._velocities = velocities
        self._streams = (video, audio)
        self._groups = groups
        self._guidance = guidance
        self._rules = rules

    def __call__(self, x: Pair, sigma: float) -> Pair:
        """Estimates x0 [b, t, c] of video and audio at a noise level, in fp32."""
        found: list[dict[str, Tensor]] = [{}, {}]
        for number, group in enumerate(self._groups):
            velocities = self._velocities(number, x, sigma)
            for kept, stream, tokens, velocity in zip(found, x, self._streams, velocities, strict=True):
                level = sigma * tokens.mask if self._rules.per_token else sigma
                for one, v in zip(group, velocity.chunk(len(group)), strict=True):
                    kept[one.kind] = velocity_to_x0(stream, v, level)
        scales = (self._guidance.video, self._guidance.audio)
        guided = (
            guide(Estimates(**kept), scale, per_sample=self._rules.per_sample)
            for kept, scale in zip(found, scales, strict=True)
        )
        return Pair(*(blend(x0, tokens) for x0, tokens in zip(guided, self._streams, strict=True)))


def set_scene(
    video: TokenState, audio: TokenState, groups: Sequence[Sequence[Pass]], guidance: Guidance, rules: Rules
) -> Scene:
    """What the transformer is told of a loop; the arguments are those of `Estimator`."""
    samples = len(video.noise)
    texts: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}  # groups with the same prompts share what is made of them
    batches = []
    for group in groups:
        prompts = tuple(id(one.text) for one in group)
        if prompts not in texts:
            videos, audios = ([getattr(one.text, name) for one in group] for name in ("video", "audio"))
            texts[prompts] = torch.cat(videos), torch.cat(audios)
        batches.append(Batch(len(group), *texts[prompts], _perturbation(group, guidance, rules, samples)))
    return Scene(_side(video), _side(audio), tuple(batches), rules.cross_timestep)


def _perturbation(group: Sequence[Pass], guidance: Guidance, rules: Rules, samples: int) -> Perturbation:
    perturbation = Perturbation(isolated=group[0].isolated)
    if any(one.perturbed for one in group):
        blocks = frozenset(guidance.blocks)
        kept = torch.tensor([float(not one.perturbed) for one in group])
        perturbation = perturbation._replace(
            video_blocks=blocks if rules.perturbs_both or guidance.video.perturbation else frozenset(),
            audio_blocks=blocks if rules.perturbs_both or guidance.audio.perturbation else frozenset(),
            kept=kept.repeat_interleave(samples) if len(group) > 1 else None,
        )
    return perturbation


def _side(tokens: TokenState) -> Side:
    return Side(tokens.positions, _levels(tokens), not tokens.frozen)


def grouped(made: Sequence[Pass], *, together: bool) -> list[list[Pass]]:
    """Passes by the batches in which they go through the transformer.

    Args:
        made: all of them.
        together: as few batches as can be; otherwise a batch for each. Those that isolate the streams, for all samples
            of a batch at once, always have one of their own.
    """
    if not together:
        return [[one] for one in made]
    joined = [one for one in made if not one.isolated]
    return [joined, *([one] for one in made if one.isolated)]


def _levels(tokens: TokenState) -> Levels | None:
    """What multiplies the timestep of each token; None if all are generated, or none is."""
    mask = tokens.mask[..., 0]
    return None if tokens.frozen or bool((mask == 1).all()) else levels(mask)
