"""What each network is built from: the `config.json` of a diffusers folder as a frozen, checked value. Needs no torch.

Keys and defaults are those of diffusers 0.42.1. A released LTX-2.0 model differs from the defaults in two keys only:
`rope_type` is "split" and `decoder_causal` is False.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import pairwise
from math import prod
from types import UnionType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

import attrs

LTX_2_3 = "belongs to LTX-2.3, which is not supported yet"
LTX_2_5 = "belongs to LTX-2.5, which is not supported yet"
NOT_RELEASED = "is in no released LTX-2 model"

STRIDES: Mapping[str, tuple[int, int, int]] = {
    "spatial": (1, 2, 2),
    "temporal": (2, 1, 1),
    "spatiotemporal": (2, 2, 2),
}
"""Frames, height and width that one resampling layer of the video VAE folds into (or unfolds from) channels."""


class ConfigError(ValueError):
    """A configuration that these models cannot be built from.

    Attributes:
        config: Name of the configuration class.
        faults: Every fault, one sentence each.
    """

    def __init__(self, config: str, faults: tuple[str, ...]) -> None:
        self.config = config
        self.faults = faults
        super().__init__("\n  ".join((f"{config} cannot be used:", *faults)))


def only(default: object, *others: object, why: str = NOT_RELEASED) -> Any:
    """A field of which this release implements the given values and no others."""
    return attrs.field(default=default, metadata={"supported": (default, *others), "why": why})


def size(default: int | None, least: int = 1) -> Any:
    """A count, with the smallest value that makes sense."""
    return attrs.field(default=default, metadata={"least": least})


def positive(default: float) -> Any:
    """A finite number above zero."""
    return attrs.field(default=default, metadata={"positive": True})


@attrs.frozen
class _Config:
    diffusers_class: ClassVar[str]

    def __attrs_post_init__(self) -> None:
        faults = tuple(self._faults())
        if faults:
            raise ConfigError(type(self).__name__, faults)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Read the content of a `config.json`; lists become tuples, keys that start with `_` are metadata.

        Raises:
            ConfigError: Unknown keys, values of the wrong type and values that are not supported, all at once.
        """
        kinds = get_type_hints(cls)
        known = [field.name for field in attrs.fields(cls)]
        faults: list[str] = []
        values: dict[str, Any] = {}
        for key, value in data.items():
            if key.startswith("_"):
                continue
            if key not in known:
                close = get_close_matches(key, known, n=1)
                faults.append(f"{key} is not a key of {cls.__name__}" + (f"; is it {close[0]}?" if close else ""))
                continue
            try:
                values[key] = _fit(value, kinds[key])
            except TypeError:
                faults.append(f"{key}={value!r} must be {_spell(kinds[key])}")
        try:
            config = cls(**values)
        except ConfigError as error:
            faults += error.faults
        if faults:
            raise ConfigError(cls.__name__, tuple(faults))
        return config

    def to_dict(self) -> dict[str, object]:
        """The keys and values that `from_dict` reads, ready for JSON: tuples become lists."""
        return {field.name: _plain(getattr(self, field.name)) for field in attrs.fields(type(self))}

    def _faults(self) -> Iterator[str]:
        alone = [fault for field in attrs.fields(type(self)) if (fault := _fault(field, getattr(self, field.name)))]
        yield from alone
        # Rules between fields would only repeat, less clearly, what is wrong with one of them.
        if not alone:
            yield from self._contradictions()

    def _contradictions(self) -> Iterator[str]:
        """Values that are fine alone and impossible together."""
        yield from ()


def _fault(field: attrs.Attribute[Any], value: Any) -> str | None:
    rules = field.metadata
    if "supported" in rules and value not in rules["supported"]:
        return f"{field.name}={value!r} {rules['why']}; supported: {', '.join(map(repr, rules['supported']))}"
    if "least" in rules and value is not None and value < rules["least"]:
        return f"{field.name}={value!r} must be at least {rules['least']}"
    if "positive" in rules and not 0 < value < float("inf"):
        return f"{field.name}={value!r} must be a finite number above 0"
    return None


def _fit(value: object, kind: Any) -> object:
    """`value` as a `kind`: JSON knows neither tuples nor the difference between 8 and 8.0."""
    if isinstance(kind, UnionType):
        return _fit_any(value, get_args(kind))
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        kinds = get_args(kind)
        if kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(value)
        if len(kinds) == len(value):
            return tuple(_fit(item, inner) for item, inner in zip(value, kinds, strict=True))
    elif kind is float and type(value) is int:
        return float(value)
    elif kind is int and type(value) is float and value.is_integer():
        return int(value)
    elif type(value) is kind:
        return value
    raise TypeError


def _fit_any(value: object, kinds: tuple[Any, ...]) -> object:
    for kind in kinds:
        try:
            return _fit(value, kind)
        except TypeError:
            continue
    raise TypeError


def _spell(kind: Any) -> str:
    if isinstance(kind, UnionType):
        return " or ".join(map(_spell, get_args(kind)))
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        length = "" if kinds[-1] is Ellipsis else f" of {len(kinds)}"
        return f"a list{length}, each {_spell(kinds[0])}"
    return _SPELLING[kind]


_SPELLING = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    type(None): "null",
}


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _head_faults(config: _Config, *head_dims: str) -> Iterator[str]:
    for name in head_dims:
        if getattr(config, name) % 2:
            yield f"{name}={getattr(config, name)} must be even: RoPE rotates pairs of channels"


@attrs.frozen
class TransformerConfig(_Config):
    """The audio-video transformer, LTX-2.0."""

    diffusers_class = "LTX2VideoTransformer3DModel"

    in_channels: int = size(128)
    out_channels: int | None = size(128)  # None: as many as in_channels
    patch_size: int = only(1)
    patch_size_t: int = only(1)
    num_attention_heads: int = size(32)
    attention_head_dim: int = size(128)
    cross_attention_dim: int = size(4096)
    vae_scale_factors: tuple[int, int, int] = only((8, 32, 32))
    pos_embed_max_pos: int = size(20)  # seconds
    base_height: int = size(2048)  # pixels
    base_width: int = size(2048)
    gated_attn: bool = only(False, why=LTX_2_3)
    cross_attn_mod: bool = only(False, why=LTX_2_3)
    audio_in_channels: int = size(128)
    audio_out_channels: int | None = size(128)
    audio_patch_size: int = only(1)
    audio_patch_size_t: int = only(1)
    audio_num_attention_heads: int = size(32)
    audio_attention_head_dim: int = size(64)
    audio_cross_attention_dim: int = size(2048)
    audio_scale_factor: int = only(4)
    audio_pos_embed_max_pos: int = size(20)  # seconds
    audio_sampling_rate: int = only(16000)
    audio_hop_length: int = only(160)
    audio_gated_attn: bool = only(False, why=LTX_2_3)
    audio_cross_attn_mod: bool = only(False, why=LTX_2_3)
    num_layers: int = size(48)
    activation_fn: str = only("gelu-approximate")
    qk_norm: str = only("rms_norm_across_heads")
    norm_elementwise_affine: bool = only(False)
    norm_eps: float = positive(1e-6)
    caption_channels: int = size(3840)
    attention_bias: bool = True
    attention_out_bias: bool = True
    rope_theta: float = positive(10000.0)
    rope_double_precision: bool = True
    causal_offset: int = only(1)
    timestep_scale_multiplier: int = size(1000)
    cross_attn_timestep_scale_multiplier: int = size(1000)
    rope_type: str = only("interleaved", "split")
    use_prompt_embeddings: bool = only(True, why=LTX_2_3)
    perturbed_attn: bool = False  # says which guidance passes were trained for; the weights are the same
    ff_bias: bool = only(True, why=LTX_2_5)
    audio_ff_bias: bool = only(True)
    use_prompt_adaln_single: bool = True  # read together with cross_attn_mod only
    use_keyframes_abs_pos_embedding: bool = only(False, why=LTX_2_5)

    @property
    def width(self) -> int:
        """d of the video stream."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def audio_width(self) -> int:
        """d of the audio stream, and of the attention between the streams."""
        return self.audio_num_attention_heads * self.audio_attention_head_dim

    def _contradictions(self) -> Iterator[str]:
        yield from _head_faults(self, "attention_head_dim", "audio_attention_head_dim")
        for name, width in (("cross_attention_dim", self.width), ("audio_cross_attention_dim", self.audio_width)):
            if getattr(self, name) != width:
                yield f"{name}={getattr(self, name)} must be heads x head dim = {width}"
        if self.num_attention_heads != self.audio_num_attention_heads:
            yield (
                f"num_attention_heads={self.num_attention_heads} and audio_num_attention_heads="
                f"{self.audio_num_attention_heads} must be equal: attention between the streams has one set of heads"
            )


@attrs.frozen
class ConnectorsConfig(_Config):
    """The text connectors, LTX-2.0: one projection that the video and the audio connector share."""

    diffusers_class = "LTX2TextConnectors"

    caption_channels: int = size(3840)
    text_proj_in_factor: int = size(49)  # hidden states of the text encoder: one per layer and the embeddings
    video_connector_num_attention_heads: int = size(30)
    video_connector_attention_head_dim: int = size(128)
    video_connector_num_layers: int = size(2, least=0)
    video_connector_num_learnable_registers: int = size(128)
    video_gated_attn: bool = only(False, why=LTX_2_3)
    audio_connector_num_attention_heads: int = size(30)
    audio_connector_attention_head_dim: int = size(128)
    audio_connector_num_layers: int = size(2, least=0)
    audio_connector_num_learnable_registers: int = size(128)
    audio_gated_attn: bool = only(False, why=LTX_2_3)
    connector_rope_base_seq_len: int = size(4096)  # tokens
    rope_theta: float = positive(10000.0)
    rope_double_precision: bool = True
    causal_temporal_positioning: bool = only(False)
    rope_type: str = only("interleaved", "split")
    per_modality_projections: bool = only(False, why=LTX_2_3)
    video_hidden_dim: int = size(4096)  # this and the next are read with per_modality_projections only
    audio_hidden_dim: int = size(2048)
    proj_bias: bool = False

    def _contradictions(self) -> Iterator[str]:
        yield from _head_faults(self, "video_connector_attention_head_dim", "audio_connector_attention_head_dim")
        for side in ("video", "audio"):
            heads = getattr(self, f"{side}_connector_num_attention_heads")
            head_dim = getattr(self, f"{side}_connector_attention_head_dim")
            if heads * head_dim != self.caption_channels:
                yield (
                    f"caption_channels={self.caption_channels} must be {side} connector heads x head dim = "
                    f"{heads * head_dim}: both connectors read the same projection"
                )


@attrs.frozen
class VideoVAEConfig(_Config):
    """The convolutional video VAE, LTX-2.0 and LTX-2.3."""

    diffusers_class = "AutoencoderKLLTX2Video"

    in_channels: int = size(3)
    out_channels: int = size(3)
    latent_channels: int = size(128)
    block_out_channels: tuple[int, ...] = (256, 512, 1024, 2048)
    down_block_types: tuple[str, ...] = ("LTX2VideoDownBlock3D",) * 4
    decoder_block_out_channels: tuple[int, ...] = (256, 512, 1024)  # as in the encoder: shallow to deep
    layers_per_block: tuple[int, ...] = (4, 6, 6, 2, 2)  # the last is the mid block
    decoder_layers_per_block: tuple[int, ...] = (5, 5, 5, 5)  # shallow to deep, the last is the mid block
    spatio_temporal_scaling: bool | tuple[bool, ...] = (True,) * 4
    decoder_spatio_temporal_scaling: bool | tuple[bool, ...] = (True,) * 3
    decoder_inject_noise: bool | tuple[bool, ...] = (False,) * 4
    downsample_type: tuple[str, ...] = ("spatial", "temporal", "spatiotemporal", "spatiotemporal")
    upsample_type: tuple[str, ...] = ("spatiotemporal",) * 3  # deep to shallow, unlike its neighbours
    upsample_residual: bool | tuple[bool, ...] = (True,) * 3
    upsample_factor: tuple[int, ...] = (2, 2, 2)
    timestep_conditioning: bool = False
    patch_size: int = size(4)
    patch_size_t: int = only(1)
    resnet_norm_eps: float = positive(1e-6)  # of a norm that only blocks which change their width have
    scaling_factor: float = only(1.0)
    encoder_causal: bool = True
    decoder_causal: bool = True
    encoder_spatial_padding_mode: str = only("zeros", "reflect")
    decoder_spatial_padding_mode: str = only("reflect", "zeros")
    spatial_compression_ratio: int | None = size(None)  # what the strides say already
    temporal_compression_ratio: int | None = size(None)

    @property
    def residual_up_blocks(self) -> tuple[bool, ...]:
        """`upsample_residual` with one entry a block, shallow to deep."""
        flag = self.upsample_residual
        return flag if isinstance(flag, tuple) else (flag,) * len(self.decoder_block_out_channels)

    def _contradictions(self) -> Iterator[str]:
        yield from self._unimplemented()
        lengths = [*self._wrong_lengths()]
        yield from lengths or [*self._encoder_widths(), *self._decoder_widths()]

    def _unimplemented(self) -> Iterator[str]:
        if set(self.down_block_types) != {"LTX2VideoDownBlock3D"}:
            yield f"down_block_types={self.down_block_types} {NOT_RELEASED}; supported: 'LTX2VideoDownBlock3D'"
        for name, supported in (
            ("spatio_temporal_scaling", True),
            ("decoder_spatio_temporal_scaling", True),
            ("decoder_inject_noise", False),
        ):
            value = getattr(self, name)
            if (not supported) in (value if isinstance(value, tuple) else (value,)):
                yield f"{name}={value} {NOT_RELEASED}; supported: {supported} for every block"
        for name in ("downsample_type", "upsample_type"):
            if not set(getattr(self, name)) <= set(STRIDES):
                yield f"{name}={getattr(self, name)} must be made of {', '.join(STRIDES)}"

    def _wrong_lengths(self) -> Iterator[str]:
        down, up = len(self.block_out_channels), len(self.decoder_block_out_channels)
        for name, length in (
            ("down_block_types", down),
            ("downsample_type", down),
            ("layers_per_block", down + 1),
            ("upsample_type", up),
            ("upsample_factor", up),
            ("decoder_layers_per_block", up + 1),
        ):
            if len(getattr(self, name)) != length:
                yield f"{name} has {len(getattr(self, name))} entries and needs {length}"
        if len(self.residual_up_blocks) != up:
            yield f"upsample_residual has {len(self.residual_up_blocks)} entries and needs {up}"

    def _encoder_widths(self) -> Iterator[str]:
        widths = (self.latent_channels, *self.block_out_channels)
        for (width_in, width_out), kind in zip(pairwise(widths), self.downsample_type, strict=True):
            fold = prod(STRIDES.get(kind, (1,)))
            if width_out % fold or width_in * fold % width_out:
                yield f"block_out_channels: a {kind} downsampling by {fold} cannot go from {width_in} to {width_out}"

    def _decoder_widths(self) -> Iterator[str]:
        width = self.decoder_block_out_channels[-1]
        blocks = zip(
            reversed(self.decoder_block_out_channels),
            reversed(self.upsample_factor),
            reversed(self.residual_up_blocks),
            self.upsample_type,
            strict=True,
        )
        for listed, factor, residual, kind in blocks:
            fold = prod(STRIDES.get(kind, (1,)))
            if listed != width:
                yield (
                    f"decoder_block_out_channels: {listed} must be {width}, "
                    "which is what upsample_factor leaves of the deeper block"
                )
            if factor < 1 or width % factor or (residual and (width % fold or fold % factor)):
                yield f"upsample_factor: a {kind} upsampling cannot divide {width} channels by {factor}"
                return
            width = width // factor


@attrs.frozen
class AudioVAEConfig(_Config):
    """The audio VAE over mel spectrograms, the same in every release."""

    diffusers_class = "AutoencoderKLLTX2Audio"

    base_channels: int = size(128)
    output_channels: int = size(2)
    ch_mult: tuple[int, ...] = (1, 2, 4)
    num_res_blocks: int = size(2, least=0)
    attn_resolutions: tuple[int, ...] | None = only(None)
    in_channels: int = size(2)
    resolution: int = size(256)  # read together with attn_resolutions only
    latent_channels: int = size(8)
    norm_type: str = only("pixel")
    causality_axis: str = only("height")  # the time axis
    dropout: float = only(0.0)
    mid_block_add_attention: bool = only(False)
    sample_rate: int = only(16000)
    mel_hop_length: int = only(160)
    is_causal: bool = only(True)
    mel_bins: int = size(64)
    double_z: bool = only(True)

    def _contradictions(self) -> Iterator[str]:
        if len(self.ch_mult) != 3 or min(self.ch_mult) < 1:
            yield f"ch_mult={self.ch_mult} must be 3 counts: two halvings make the compression of 4"
        if self.mel_bins % 4:
            yield f"mel_bins={self.mel_bins} must be a multiple of 4"
        elif self.base_channels != (packed := self.latent_channels * self.mel_bins // 4):
            yield (
                f"base_channels={self.base_channels} must be latent_channels x mel_bins / 4 = {packed}: "
                "the statistics of packed latents are stored with base_channels entries"
            )


@attrs.frozen
class VocoderConfig(_Config):
    """The vocoder, LTX-2.0."""

    diffusers_class = "LTX2Vocoder"

    in_channels: int = size(128)  # audio channels x mel bins
    hidden_channels: int = size(1024)
    out_channels: int = size(2)
    upsample_kernel_sizes: tuple[int, ...] = (16, 15, 8, 4, 4)
    upsample_factors: tuple[int, ...] = (6, 5, 2, 2, 2)
    resnet_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resnet_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    act_fn: str = only("leaky_relu", why=LTX_2_3)
    leaky_relu_negative_slope: float = positive(0.1)
    antialias: bool = only(False, why=LTX_2_3)
    antialias_ratio: int = size(2)  # this and the next are read together with antialias only
    antialias_kernel_size: int = size(12)
    final_act_fn: str | None = only("tanh", why=LTX_2_3)
    final_bias: bool = only(True, why=LTX_2_3)
    output_sampling_rate: int = size(24000)  # Hz

    @property
    def samples_per_mel_frame(self) -> int:
        """How many audio samples one frame of the mel spectrogram becomes."""
        return prod(self.upsample_factors)

    def _contradictions(self) -> Iterator[str]:
        if len(self.upsample_kernel_sizes) != len(self.upsample_factors):
            yield "upsample_kernel_sizes and upsample_factors must have as many entries"
        if len(self.resnet_kernel_sizes) != len(self.resnet_dilations):
            yield "resnet_kernel_sizes and resnet_dilations must have as many entries"
        for kernel, factor in zip(self.upsample_kernel_sizes, self.upsample_factors, strict=False):
            if kernel < factor or (kernel - factor) % 2:
                yield f"upsample kernel {kernel} must exceed its factor {factor} by an even number"
        if self.hidden_channels % 2 ** len(self.upsample_factors):
            yield f"hidden_channels={self.hidden_channels} must halve {len(self.upsample_factors)} times"
