"""How many bytes of the device a call of each network takes beside its weights, from sizes alone. Needs no torch.

What is counted are the tensors that are alive at once where most of them are, as the networks of `model/` make them;
and, for the video VAE, as much again as a convolution reads and writes, which cuDNN may take to rearrange it.
Allocators round up and kernels take workspace of their own: a tenth of the device should be left free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import attrs

from stagegraph.facts import Facts
from stagegraph_ltx2.model.config import (
    STRIDES,
    AudioVAEConfig,
    Config,
    ConfigError,
    ConnectorsConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
    WidebandVocoderConfig,
    read_vocoder,
)
from stagegraph_ltx2.shapes import SPATIAL, LatentShape, pixel_frames
from stagegraph_ltx2.tiles import Cuts, encoded_frames

TEXT_TOKENS = 1024
"""Of a prompt, however short it is."""

FP32 = 4


C = TypeVar("C", bound=Config)


def network(part: Facts, config: type[C]) -> tuple[C, int] | None:
    """What a part is built from and the bytes of its numbers; None if that is not known."""
    try:
        return config.from_dict(part["config"]), part["itemsize"]
    except (KeyError, ConfigError):  # what is wrong with it is told where it is loaded
        return None


@attrs.frozen
class Level:
    """Residual blocks of one width in the video VAE.

    Attributes:
        frame: bytes of one frame of what they read.
        frames: how many frames the whole video has there.
        blocks: how many blocks.
    """

    frame: int
    frames: int
    blocks: int

    def working(self, frames: int) -> int:
        """Bytes that so many frames take at a time: input, output and two between, and a convolution's workspace; what
        is padded has two frames more."""
        return (7 if self.blocks else 3) * min(frames, self.frames) * self.frame + 4 * self.frame


def video_decoding(config: VideoVAEConfig, cuts: Cuts, itemsize: int) -> int:
    """Of latents to pixels.

    At once: what a residual block takes, or pixels while they are made and while they become bytes. In chunks the same
    of a chunk; what every layer keeps, two frames for each convolution and two for each block; and, between levels, a
    chunk and the frames that come at once when a level ends.

    Args:
        config: of the video VAE.
        cuts: how the video is cut.
        itemsize: bytes of a number.
    """
    shape = cuts.largest
    levels = _decoder(config, shape, itemsize)
    n = cuts.chunk or pixel_frames(shape.frames)
    colours = config.out_channels * shape.tokens_per_frame * SPATIAL**2
    at_the_end = 2 * levels[-1].frame + colours * max((3 if cuts.chunk else 2) * itemsize, itemsize + 5)
    working = max(*(level.working(n) for level in levels), n * at_the_end)
    if cuts.chunk is None:
        return working
    kept = sum(6 * level.blocks * level.frame for level in levels) + sum(3 * level.frame for level in levels[:-1])
    queued = sum(min(n + 2 * level.blocks + 3, level.frames) * level.frame for level in levels[:-1])
    return kept + queued + working


def video_encoding(config: VideoVAEConfig, shape: LatentShape, chunk: int, itemsize: int) -> int:
    """Of pixels to latents, in chunks if there is more than one.

    Args:
        config: of the video VAE.
        shape: of the latents.
        chunk: pixel frames that are encoded at a time.
        itemsize: bytes of a number.
    """
    levels = _encoder(config, shape, itemsize)
    pixels = config.in_channels * shape.tokens_per_frame * SPATIAL**2 * itemsize
    frames = pixel_frames(shape.frames)
    n = min(frames, chunk + 1)
    kept = sum((4 * level.blocks + 2) * level.frame for level in levels) if frames > n else 0
    return kept + max(*(level.working(n) for level in levels), n * levels[0].frame + (2 * n + 2) * pixels)


def encoding(part: Facts, shape: LatentShape | None, frames: int | None) -> int | None:
    """Of so many latent frames of a size, all of them if None; None if too little is known."""
    built = network(part, VideoVAEConfig)
    if shape is None or built is None:
        return None
    shape = attrs.evolve(shape, frames=shape.frames if frames is None else frames)
    chunk = encoded_frames(shape.height * SPATIAL, shape.width * SPATIAL)
    return video_encoding(built[0], shape, chunk, built[1])


def denoising(
    config: TransformerConfig,
    video_tokens: int,
    audio_tokens: int,
    *,
    passes: Sequence[int] = (1,),
    texts: int = 1,
    levels: bool = False,
    itemsize: int,
) -> int:
    """Of a loop of the transformer.

    The widest point of a block is its feed-forward: 11 tensors of the width of the stream, 14 where tokens are at
    several noise levels. Beside it stand what each block reads of the texts, unless that follows the noise level, and
    cos and sin of all positions in fp32.

    Args:
        config: of the transformer.
        video_tokens: with those of keyframes.
        audio_tokens: latent frames of the sound.
        passes: how many evaluations go through it together, for each batch.
        texts: how many prompts it has read.
        levels: whether some tokens are kept.
        itemsize: bytes of a number.
    """
    c = config
    stream = video_tokens * c.width + audio_tokens * c.audio_width
    latents = video_tokens * c.in_channels + audio_tokens * c.audio_in_channels
    cross = (video_tokens + audio_tokens) * c.audio_width
    text = TEXT_TOKENS * (c.width + c.audio_width) * (1 if c.text_follows_noise else 2 * c.num_layers + 1)
    return (
        (14 if levels else 11) * max(passes) * stream * itemsize
        + texts * text * itemsize
        + (stream + cross) * FP32
        + (sum(passes) + 4) * latents * FP32
    )


def text_encoding(connectors: ConnectorsConfig, prompts: int, itemsize: int) -> int:
    """Of prompts to what the transformer reads: the hidden states of all layers as they are and normalised, and a mask.

    Normalised in fp32 where both streams share a projection, which makes five times their size instead of four.
    """
    hidden = connectors.caption_channels * connectors.text_proj_in_factor
    times = 4 if connectors.per_modality_projections else 5
    return prompts * TEXT_TOKENS * (times * hidden * itemsize + TEXT_TOKENS)


def audio_decoding(config: AudioVAEConfig, frames: int, itemsize: int) -> int:
    """Of audio latents to a mel spectrogram: seven tensors at the last resolution."""
    mel_frames = 4 * frames - 3
    return 7 * mel_frames * config.mel_bins * config.base_channels * config.ch_mult[0] * itemsize


def vocoding(config: VocoderConfig | WidebandVocoderConfig, frames: int, itemsize: int) -> int:
    """Of a mel spectrogram to sound: eight tensors of the last step, twelve where activations are anti-aliased."""
    mel_frames = 4 * frames - 3
    if isinstance(config, VocoderConfig):
        return _last_step(config, mel_frames, itemsize)
    base, extension = config.base, config.extension
    again = mel_frames * base.samples_per_mel_frame // config.hop_length
    return max(_last_step(base, mel_frames, itemsize), _last_step(extension, again, itemsize))


def sounding(audio_vae: Facts, vocoder: Facts, frames: int | None) -> int | None:
    """Of audio latents to sound, through both networks; None if too little is known."""
    vae = network(audio_vae, AudioVAEConfig)
    if frames is None or vae is None:
        return None
    try:
        voice = read_vocoder(vocoder["config"]), vocoder["itemsize"]
    except (KeyError, ConfigError):
        return None
    return max(audio_decoding(vae[0], frames, vae[1]), vocoding(voice[0], frames, voice[1]))


def _last_step(config: VocoderConfig, mel_frames: int, itemsize: int) -> int:
    samples, width = mel_frames * config.samples_per_mel_frame, config.hidden_channels >> len(config.upsample_factors)
    return (12 if config.antialias else 8) * samples * width * itemsize


def latent_upsampling(config: LatentUpsamplerConfig, shape: LatentShape, itemsize: int) -> int:
    """Of latents to those of a larger video: five tensors of its size, or three of what a rational scale thins out;
    and latents before and after."""
    c = config
    frames = 2 * shape.frames - 1 if c.temporal_upsample else shape.frames
    made = frames * math.ceil(shape.height * c.scale) * math.ceil(shape.width * c.scale)
    thinned = shape.tokens * c.scale.numerator**2 if c.use_rational_resampler else 0
    return max(5 * made, 3 * thinned) * c.mid_channels * itemsize + 3 * made * c.in_channels * FP32


def _decoder(config: VideoVAEConfig, shape: LatentShape, itemsize: int) -> list[Level]:
    """The levels of the decoder, deep to shallow."""
    width, frames, area = config.decoder_block_out_channels[-1], shape.frames, shape.height * shape.width
    mid, *blocks = reversed(config.decoder_layers_per_block)
    levels = [Level(width * area * itemsize, frames, mid)]
    for count, factor, kind in zip(blocks, reversed(config.upsample_factor), config.upsample_type, strict=True):
        time, rows, columns = STRIDES[kind]
        width, area, frames = width // factor, area * rows * columns, frames * time - (time - 1)
        levels.append(Level(width * area * itemsize, frames, count))
    return levels


def _encoder(config: VideoVAEConfig, shape: LatentShape, itemsize: int) -> list[Level]:
    """The levels of the encoder, shallow to deep."""
    frames, area = pixel_frames(shape.frames), shape.height * shape.width
    for kind in config.downsample_type:
        area *= STRIDES[kind][1] * STRIDES[kind][2]
    levels = []
    widths = (config.latent_channels, *config.block_out_channels)
    strides = [*(STRIDES[kind] for kind in config.downsample_type), (1, 1, 1)]
    for width, count, (time, rows, columns) in zip(widths, config.layers_per_block, strides, strict=True):
        levels.append(Level(width * area * itemsize, frames, count))
        area, frames = area // (rows * columns), (frames + time - 1) // time
    return levels
