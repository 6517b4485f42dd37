"""Estimates of what noisy latents are without noise: as many passes of the transformer as the guidance needs."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from stagegraph_ltx2.conditioning import blend
from stagegraph_ltx2.guidance import Estimates, guide, velocity_to_x0
from stagegraph_ltx2.model.adaln import Levels, levels, scaled
from stagegraph_ltx2.model.conditions import Perturbation, Text, Timesteps
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.rules import Rules
from stagegraph_ltx2.samplers import Pair
from stagegraph_ltx2.scales import Guidance
from stagegraph_ltx2.values import TextContext, TokenState

TIMESTEPS = 1000
"""The transformer is told a sigma as this many times its value."""


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
        model: the transformer, on the device where everything happens.
        video: the tokens of the video, on the same device.
        audio: those of the sound.
        groups: passes that go through the transformer as one batch, group after group; see `grouped`.
        guidance: how they are combined.
        rules: what is followed where references differ.
    """

    def __init__(
        self,
        model: AudioVideoTransformer,
        video: TokenState,
        audio: TokenState,
        groups: Sequence[Sequence[Pass]],
        guidance: Guidance,
        rules: Rules,
    ) -> None:
        self._model = model
        self._streams = (video, audio)
        self._guidance = guidance
        self._rules = rules
        self._rotary = model.rotary(video.positions, audio.positions)
        self._levels = [_levels(stream) for stream in self._streams]
        self._moving = [float(not stream.frozen) for stream in self._streams]
        batch = len(video.noise)
        texts = _Texts(model)
        self._groups = [_Group(texts, group, guidance, rules, batch) for group in groups]

    def __call__(self, x: Pair, sigma: float) -> Pair:
        """Estimates x0 [b, t, c] of video and audio at a noise level, in fp32."""
        found: list[dict[str, Tensor]] = [{}, {}]
        for group in self._groups:
            velocities = self._velocities(x, sigma, group)
            for kept, stream, tokens, velocity in zip(found, x, self._streams, velocities, strict=True):
                level = sigma * tokens.mask if self._rules.per_token else sigma
                for one, v in zip(group.passes, velocity.chunk(len(group.passes)), strict=True):
                    kept[one.kind] = velocity_to_x0(stream, v, level)
        scales = (self._guidance.video, self._guidance.audio)
        guided = (
            guide(Estimates(**kept), scale, per_sample=self._rules.per_sample)
            for kept, scale in zip(found, scales, strict=True)
        )
        return Pair(*(blend(x0, tokens) for x0, tokens in zip(guided, self._streams, strict=True)))

    def _velocities(self, x: Pair, sigma: float, group: _Group) -> tuple[Tensor, Tensor]:
        count, dtype = len(group.passes), self._model.proj_in.weight.dtype
        level = sigma * TIMESTEPS
        whole = [torch.full((count * len(x.video),), level * moving, device=x.video.device) for moving in self._moving]
        video, audio = (
            scaled(_repeat(levels, count), level) if levels is not None else same
            for levels, same in zip(self._levels, whole, strict=True)
        )
        velocities: tuple[Tensor, Tensor] = self._model(
            x.video.to(dtype).repeat(count, 1, 1),
            x.audio.to(dtype).repeat(count, 1, 1),
            group.text,
            Timesteps(video, audio, *whole),
            self._rotary,
            perturbation=group.perturbation,
            cross_timestep=self._rules.cross_timestep,
        )
        return velocities


class _Texts:
    """What the transformer reads of prompts: gigabytes, so that groups of passes with the same prompts share it."""

    def __init__(self, model: AudioVideoTransformer) -> None:
        self._model = model
        self.weight = model.proj_in.weight
        self._read: dict[tuple[int, ...], Text] = {}

    def of(self, passes: Sequence[Pass]) -> Text:
        """That of a group."""
        key = tuple(id(one.text) for one in passes)
        if key not in self._read:
            contexts = (torch.cat([getattr(one.text, name) for one in passes]) for name in ("video", "audio"))
            self._read[key] = self._model.text(*(context.to(self.weight) for context in contexts), ahead=True)
        return self._read[key]


class _Group:
    """Passes that go through the transformer together."""

    def __init__(self, texts: _Texts, passes: Sequence[Pass], guidance: Guidance, rules: Rules, batch: int) -> None:
        self.passes = passes
        weight = texts.weight
        self.text = texts.of(passes)
        self.perturbation = Perturbation(isolated=passes[0].isolated)
        if any(one.perturbed for one in passes):
            blocks = frozenset(guidance.blocks)
            both = rules.perturbs_both
            kept = torch.tensor([float(not one.perturbed) for one in passes], device=weight.device)
            self.perturbation = Perturbation(
                blocks if both or guidance.video.perturbation else frozenset(),
                blocks if both or guidance.audio.perturbation else frozenset(),
                kept.repeat_interleave(batch) if len(passes) > 1 else None,
                passes[0].isolated,
            )


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


def _repeat(level: Levels, count: int) -> Levels:
    return Levels(level.values.repeat(count, 1), level.which.repeat(count, 1))
