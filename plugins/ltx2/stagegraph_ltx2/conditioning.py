"""What a generation is to keep: each item turns a `LatentState` into one that keeps more of something.

Items are ordinary values. What they keep stands in `clean`, and `mask` says how much of it: 0 keeps a token as it is,
1 generates it. `noisy` then makes what denoising starts from.
"""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from torch import Tensor

from stagegraph_ltx2.model.positions import audio_positions, keyframe_positions, video_positions
from stagegraph_ltx2.noise import draw_noise, seeded
from stagegraph_ltx2.rules import Rules
from stagegraph_ltx2.shapes import AudioShape, LatentShape
from stagegraph_ltx2.values import AudioLatent, LatentState, TokenState, VideoLatent

Stream = Literal["video", "audio"]


@attrs.frozen(eq=False)
class KeepFrames:
    """Keep latent frames in their place.

    Attributes:
        latent: [b, c, f, h, w], normalised, of the size of the video.
        start: the latent frame at which they begin.
        strength: 1 keeps them as they are, 0 not at all.
    """

    latent: Tensor
    start: int = 0
    strength: float = 1.0

    def __call__(self, state: LatentState) -> LatentState:
        """The state with these frames kept."""
        shape = state.size.latent()
        begin = self.start * shape.tokens_per_frame
        return attrs.evolve(state, video=_kept(state.video, _tokens(self.latent), begin, self.strength))


@attrs.frozen(eq=False)
class AppendFrames:
    """Give frames as tokens beside those of the video: it follows them where they are, and need not repeat them.

    Attributes:
        latent: [b, c, f, h, w], normalised, of the size of the video.
        frame: the pixel frame at which they begin.
        pixel_frames: how many pixel frames they encode; one still takes one.
        noise: [b, t, c], standard normal, one token for each of theirs.
        strength: 1 keeps them as they are, 0 not at all.
    """

    latent: Tensor
    frame: int
    pixel_frames: int
    noise: Tensor
    strength: float = 1.0

    def __call__(self, state: LatentState) -> LatentState:
        """The state with tokens appended to those of the video."""
        tokens, video = _tokens(self.latent), state.video
        shape = LatentShape(*self.latent.shape[2:])
        positions = keyframe_positions(shape, self.frame, self.pixel_frames, float(state.frame_rate))
        positions[:, :1] += video.positions[:, :1, :1, :1]  # where the video itself begins
        batch = len(video.noise)
        added = TokenState(
            initial=torch.zeros_like(tokens).expand(batch, -1, -1),
            noise=self.noise,
            clean=tokens.expand(batch, -1, -1),
            mask=torch.full((batch, tokens.shape[1], 1), 1 - self.strength),
            positions=positions,
        )
        joined = (
            torch.cat((getattr(video, name), getattr(added, name)), dim=dim)
            for name, dim in (("initial", 1), ("noise", 1), ("clean", 1), ("mask", 1), ("positions", 2))
        )
        return attrs.evolve(state, video=TokenState(*joined))


@attrs.frozen(eq=False)
class KeepSound:
    """Keep latent frames of the sound in their place.

    Attributes:
        tokens: [b, t, c], normalised.
        start: the latent frame at which they begin.
        strength: 1 keeps them as they are, 0 not at all.
    """

    tokens: Tensor
    start: int = 0
    strength: float = 1.0

    def __call__(self, state: LatentState) -> LatentState:
        """The state with this sound kept."""
        return attrs.evolve(state, audio=_kept(state.audio, self.tokens, self.start, self.strength))


@attrs.frozen
class Regenerate:
    """Generate a stretch of time, whatever other items keep of it.

    Attributes:
        stream: which of the two.
        start: seconds; tokens that cover any time after it are generated.
        end: seconds; None is the end of the video.
    """

    stream: Stream
    start: float = 0.0
    end: float | None = None

    def __call__(self, state: LatentState) -> LatentState:
        """The state with a mask that is 1 within the stretch."""
        tokens: TokenState = getattr(state, self.stream)
        begin, stop = tokens.positions[:, 0].unbind(-1)
        inside = stop > self.start
        if self.end is not None:
            inside &= begin < self.end
        mask = torch.maximum(tokens.mask, inside.to(tokens.mask)[..., None])
        changed = attrs.evolve(tokens, mask=mask)
        return attrs.evolve(state, video=changed) if self.stream == "video" else attrs.evolve(state, audio=changed)


def noisy(tokens: TokenState, scale: float, rules: Rules) -> Tensor:
    """The tokens [b, t, c] that denoising starts from, in fp32.

    Where nothing is kept that is (1 - scale) initial + scale noise. What is kept with a strength between 0 and 1 is
    noised in proportion: with `rules.noises_kept` what is noised is the kept content, as in diffusers; without, what
    denoising would start from, mixed with the kept content afterwards, as in the official code. The two differ only if
    also `scale` is below 1.
    """
    if rules.noises_kept:
        base = torch.where(tokens.mask < 1, tokens.clean, tokens.initial)
        return torch.lerp(base, tokens.noise, tokens.mask * scale)
    return torch.lerp(tokens.clean, torch.lerp(tokens.initial, tokens.noise, scale), tokens.mask)


def blend(x0: Tensor, tokens: TokenState) -> Tensor:
    """An estimate with what is kept put in its place: x0 m + clean (1 - m); exactly `clean` where m is 0."""
    clean, mask = tokens.clean.to(x0), tokens.mask.to(x0)
    return torch.where(mask == 0, clean, torch.lerp(clean, x0, mask))


def fresh(noise: Tensor, positions: Tensor, initial: Tensor | None = None) -> TokenState:
    """Tokens of which nothing is kept.

    Args:
        noise: [b, t, c].
        positions: [b or 1, axes, t, 2].
        initial: [b, t, c], latents to start from; zeros if None.
    """
    start = torch.zeros_like(noise) if initial is None else initial
    return TokenState(start, noise, start, torch.ones(*noise.shape[:2], 1), positions)


def noise_like(video: VideoLatent, audio: AudioLatent | None, seed: int, scale: float = 1.0) -> LatentState:
    """Noise of the size of latents, from which denoising starts as far as `scale` says; nothing is kept.

    Args:
        video: what denoising starts from, where the scale is below 1.
        audio: likewise; without it, as much sound as the video takes.
        seed: of the noise.
        scale: the noise level that denoising starts at.
    """
    rate, shape = video.frame_rate, LatentShape(*video.latent.shape[2:])
    size = shape.pixel(float(rate))
    sound = size.audio() if audio is None else AudioShape(audio.latent.shape[1])
    noise, audio_noise = draw_noise(seeded(seed), shape, sound, batch=len(video.latent))
    return LatentState(
        fresh(noise, video_positions(shape, float(rate)), _tokens(video.latent).cpu()),
        fresh(audio_noise, audio_positions(sound), None if audio is None else audio.latent.cpu()),
        size,
        rate,
        noise_scale=scale,
        seed=seed,
    )


def without_noise(state: LatentState) -> LatentState:
    """The state with latents in the place of their noise, so that denoising starts from them as they are."""
    video, audio = (attrs.evolve(tokens, noise=tokens.initial) for tokens in (state.video, state.audio))
    return attrs.evolve(state, video=video, audio=audio)


def _kept(tokens: TokenState, kept: Tensor, begin: int, strength: float) -> TokenState:
    end = begin + kept.shape[1]
    if begin < 0 or end > tokens.tokens:
        raise ValueError(f"tokens {begin} to {end} are kept, but there are {tokens.tokens}")
    clean, mask = tokens.clean.clone(), tokens.mask.clone()
    clean[:, begin:end] = kept
    mask[:, begin:end] = 1 - strength
    return attrs.evolve(tokens, clean=clean, mask=mask)


def _tokens(latent: Tensor) -> Tensor:
    return latent.flatten(2).transpose(1, 2)
