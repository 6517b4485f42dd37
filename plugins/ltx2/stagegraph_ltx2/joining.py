"""A `LatentState` that goes on from the segment before: kept frames, kept sound, and where both are in time."""

from __future__ import annotations

import attrs
import numpy as np
import torch
from torch import Tensor

from stagegraph.context import derive_seed
from stagegraph.errors import InputError
from stagegraph_ltx2.conditioning import KeepFrames, KeepSound
from stagegraph_ltx2.continuation import LTX2ContinuationState
from stagegraph_ltx2.errors import fault
from stagegraph_ltx2.keep import keep_frames
from stagegraph_ltx2.model.audio_vae import pack
from stagegraph_ltx2.model.positions import audio_positions
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.noise import draw_noise, seeded
from stagegraph_ltx2.pixels import Fit
from stagegraph_ltx2.segments import Cut, Overlap, Timeline, carried_latents, sound_latents, unresolved
from stagegraph_ltx2.shapes import AUDIO_CHANNELS, AUDIO_COMPRESSION, MEL_BINS, AudioShape
from stagegraph_ltx2.values import LatentState, TokenState


def begun(latents: LatentState) -> LatentState:
    """The first segment: sound that reaches beyond the end of the video."""
    missing = _missing_sound(latents)
    if not missing:
        return latents
    generator = seeded(derive_seed(latents.seed, "sound"))
    noise = torch.randn(len(latents.audio.noise), missing, latents.audio.noise.shape[2], generator=generator)
    return attrs.evolve(latents, audio=_longer(latents.audio, torch.cat((latents.audio.noise, noise), dim=1)))


def continued(latents: LatentState, state: LTX2ContinuationState, vae: VideoVAE, fit: Fit) -> LatentState:
    """A segment that goes on from a state.

    Raises:
        InputError: what the state holds does not fit.
        ContinuationError: it does not hold what it says.
    """
    overlap, before = Overlap.of(state), Timeline.of(state)
    if state.audio_latents_blob_id is not None:
        raise unresolved("audio")
    try:
        Cut.make(before, overlap, latents.size.frames, latents.frame_rate)
    except ValueError as error:
        fix = "make segments alike, and longer than what they repeat"
        raise InputError(fault("contradiction", str(error), fix=fix)) from None
    kept = _with_frames(_afresh(_moved(latents, overlap.offset), state.segment_index + 1), state, vae, fit)
    return _with_sound(kept, state)


def _moved(latents: LatentState, offset: float) -> LatentState:
    """The video at so many seconds."""
    positions = latents.video.positions.clone()
    positions[:, 0] += offset - float(positions[0, 0, 0, 0])
    return attrs.evolve(latents, video=attrs.evolve(latents.video, positions=positions))


def _afresh(latents: LatentState, index: int) -> LatentState:
    """Noise of its own for a segment, and sound that reaches beyond the end of the video."""
    seed = derive_seed(latents.seed, "segment", str(index))
    shape = latents.size.latent()
    sound = AudioShape(latents.audio.tokens + _missing_sound(latents))
    drawn, audio_noise = draw_noise(seeded(seed), shape, sound, batch=len(latents.video.noise))
    noise = latents.video.noise.clone()
    noise[:, : shape.tokens] = drawn  # after them come those of keyframes
    video = attrs.evolve(latents.video, noise=noise)
    return attrs.evolve(latents, video=video, audio=_longer(latents.audio, audio_noise), seed=seed)


def _missing_sound(latents: LatentState) -> int:
    """How many latent frames the sound lacks to reach beyond the end of the video."""
    end = float(latents.video.positions[0, 0, 0, 0]) + latents.size.frames / float(latents.frame_rate)
    return max(0, sound_latents(end) - latents.audio.tokens)


def _longer(audio: TokenState, noise: Tensor) -> TokenState:
    """The sound with other noise, and as many tokens as that has."""
    more = noise.shape[1] - audio.tokens

    def padded(tokens: Tensor, value: float = 0.0) -> Tensor:
        return torch.nn.functional.pad(tokens, (0, 0, 0, more), value=value)

    positions = audio_positions(AudioShape(noise.shape[1])) if more else audio.positions
    return TokenState(padded(audio.initial), noise, padded(audio.clean), padded(audio.mask, 1.0), positions)


def _with_frames(latents: LatentState, state: LTX2ContinuationState, vae: VideoVAE, fit: Fit) -> LatentState:
    strength, at = state.video_conditioning_strength, state.video_conditioning_frame_idx
    if state.video_latents is not None:
        kept, shape = state.video_latents.float(), latents.size.latent()
        if tuple(kept.shape[:2]) != (1, latents.video.noise.shape[2]) or tuple(kept.shape[3:]) != (
            shape.height,
            shape.width,
        ):
            what = f"the latents of the segment before are {list(kept.shape)}, those of this one {_described(latents)}"
            fix = "make segments of one size, or hand over frames"
            raise InputError(fault("contradiction", what, fix=fix))
        return KeepFrames(kept, at, strength)(latents)
    if state.video_frames is None:
        return latents
    pixels = np.stack(state.video_frames)
    if len(pixels) % 8 != 1:
        what = f"the segment before left {len(pixels)} frames"
        raise InputError(fault("no_such_frame", what, why="latents hold 8k + 1 frames", fix="leave 9, or 17"))
    return keep_frames(latents, pixels, vae, at, strength, "auto", fit)


def _with_sound(latents: LatentState, state: LTX2ContinuationState) -> LatentState:
    count = carried_latents(state, latents.frame_rate)
    if state.audio_latents is None or not count:
        return latents
    shape = tuple(state.audio_latents.shape)
    expected = (1, AUDIO_CHANNELS, shape[2], MEL_BINS // AUDIO_COMPRESSION)
    if shape != expected:
        what = f"the latents of the sound of the segment before are {list(shape)}, not {list(expected)}"
        raise InputError(fault("contradiction", what, fix="go on from a state of an LTX-2 model"))
    if count >= latents.audio.tokens:
        what = f"{count} latent frames of sound are carried over into a segment of {latents.audio.tokens}"
        raise InputError(fault("contradiction", what, fix="carry over less, or make a longer segment"))
    return KeepSound(pack(state.audio_latents[:, :, -count:].float()), 0, state.audio_conditioning_strength)(latents)


def _described(latents: LatentState) -> str:
    shape = latents.size.latent()
    return f"[1, {latents.video.noise.shape[2]}, ..., {shape.height}, {shape.width}]"
