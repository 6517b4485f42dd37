"""The state that a segment leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from stagegraph.errors import InputError
from stagegraph_ltx2.continuation import LTX2ContinuationState
from stagegraph_ltx2.errors import fault
from stagegraph_ltx2.model.audio_vae import unpack
from stagegraph_ltx2.segments import Cut, Overlap, Tail, Timeline
from stagegraph_ltx2.shapes import latent_frames, pixel_frames
from stagegraph_ltx2.values import AudioLatent, VideoLatent
from stagegraph_media.values import Frames

if TYPE_CHECKING:
    from stagegraph_ltx2.stages.continuation_output import LTX2ContinuationOutputStage


def left(
    settings: LTX2ContinuationOutputStage,
    audio: AudioLatent,
    frames: Frames | None,
    video: VideoLatent | None,
    sample_rate: int | None,
    previous: LTX2ContinuationState | None,
) -> LTX2ContinuationState:
    """See `LTX2ContinuationOutputStage.run`."""
    by_frames = settings.hand_off == "frames"
    source = frames if by_frames else video
    if source is None:
        what = f"hand_off is {settings.hand_off}, but nothing feeds {'frames' if by_frames else 'video'}"
        raise InputError(fault("contradiction", what, fix="wire it, or set hand_off to the other"))
    count = len(source.pixels) if isinstance(source, Frames) else pixel_frames(source.latent.shape[2])
    rate, kept = source.frame_rate, settings.video_frames
    overlap, before = Overlap.of(previous), Timeline.of(previous)
    try:
        cut = Cut.make(before, overlap, count, rate)
        if kept >= count:
            raise ValueError(f"the segment has {count} frames, of which the next is to repeat {kept}")
    except ValueError as error:
        raise InputError(fault("contradiction", str(error), fix="make longer segments, or repeat less")) from None
    audio_frames = settings.audio_frames
    tail = Tail.make(count, rate, audio.latent.shape[1], overlap.offset, kept, max(audio_frames, 1))
    sound = unpack(audio.latent[:1, audio.latent.shape[1] - tail.latents :]).cpu()
    return LTX2ContinuationState(
        segment_index=previous.segment_index + 1 if previous is not None else 0,
        video_frames=list(source.pixels[-kept:].copy()) if isinstance(source, Frames) else None,
        video_conditioning_strength=settings.video_strength,
        audio_latents=sound.contiguous() if audio_frames else None,
        audio_sample_rate=sample_rate,
        audio_conditioning_num_frames=tail.num_frames if audio_frames else 0,
        audio_conditioning_strength=settings.audio_strength,
        video_position_offset_sec=tail.offset if audio_frames else 0.0,
        metadata={**(previous.metadata if previous is not None else {}), **cut.timeline.as_metadata(sample_rate)},
        video_latents=_latents(source, kept) if isinstance(source, VideoLatent) else None,
    )


def _latents(video: VideoLatent, frames: int) -> torch.Tensor:
    """The last latent frames, in bf16; the first of them will stand for one frame, the others for eight each."""
    return video.latent[:1, :, -latent_frames(frames) :].cpu().to(torch.bfloat16).contiguous()
