"""What the vocoders are built from. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import attrs

from .base import Config, ConfigError, only, positive, size

Lists = tuple[tuple[int, ...], ...]


@attrs.frozen
class VocoderConfig(Config):
    """A vocoder: that of LTX-2.0, or either half of a later one."""

    diffusers_class = "LTX2Vocoder"

    in_channels: int = size(128)  # audio channels x mel bins
    hidden_channels: int = size(1024)
    out_channels: int = size(2)
    upsample_kernel_sizes: tuple[int, ...] = size((16, 15, 8, 4, 4))
    upsample_factors: tuple[int, ...] = size((6, 5, 2, 2, 2))
    resnet_kernel_sizes: tuple[int, ...] = size((3, 7, 11))
    resnet_dilations: Lists = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    act_fn: str = only("leaky_relu", "snakebeta")
    leaky_relu_negative_slope: float = positive(0.1)
    antialias: bool = False
    antialias_ratio: int = only(2)
    antialias_kernel_size: int = only(12)
    final_act_fn: str | None = only("tanh", "clamp", None)
    final_bias: bool = True
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
        if self.antialias != (self.act_fn == "snakebeta"):
            yield f"antialias={self.antialias} does not go with act_fn={self.act_fn!r}: snakebeta alone is anti-aliased"


@attrs.frozen
class WidebandVocoderConfig(Config):
    """The vocoder of LTX-2.3: one at 16 kHz, and a second one (`bwe`) that extends its sound to 48 kHz."""

    diffusers_class = "LTX2VocoderWithBWE"

    in_channels: int = 128
    hidden_channels: int = 1536
    out_channels: int = 2
    upsample_kernel_sizes: tuple[int, ...] = (11, 4, 4, 4, 4, 4)
    upsample_factors: tuple[int, ...] = (5, 2, 2, 2, 2, 2)
    resnet_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resnet_dilations: Lists = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    act_fn: str = "snakebeta"
    leaky_relu_negative_slope: float = 0.1
    antialias: bool = True
    antialias_ratio: int = 2
    antialias_kernel_size: int = 12
    final_act_fn: str | None = None
    final_bias: bool = False
    bwe_in_channels: int = 128
    bwe_hidden_channels: int = 512
    bwe_out_channels: int = 2
    bwe_upsample_kernel_sizes: tuple[int, ...] = (12, 11, 4, 4, 4)
    bwe_upsample_factors: tuple[int, ...] = (6, 5, 2, 2, 2)
    bwe_resnet_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    bwe_resnet_dilations: Lists = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    bwe_act_fn: str = "snakebeta"
    bwe_leaky_relu_negative_slope: float = 0.1
    bwe_antialias: bool = True
    bwe_antialias_ratio: int = 2
    bwe_antialias_kernel_size: int = 12
    bwe_final_act_fn: str | None = None
    bwe_final_bias: bool = False
    filter_length: int = size(512, least=2)  # samples of one analysis window
    hop_length: int = size(80)  # samples from one window to the next
    window_length: int = size(512)
    num_mel_channels: int = size(64)
    input_sampling_rate: int = size(16000)  # Hz
    output_sampling_rate: int = size(48000)

    @property
    def base(self) -> VocoderConfig:
        """The vocoder that reads the mel spectrogram."""
        return self._half("", self.input_sampling_rate)

    @property
    def extension(self) -> VocoderConfig:
        """The one that makes what the base vocoder's rate cannot hold."""
        return self._half("bwe_", self.output_sampling_rate)

    @property
    def ratio(self) -> int:
        """Output samples to one of the base vocoder."""
        return self.output_sampling_rate // self.input_sampling_rate

    @property
    def samples_per_mel_frame(self) -> int:
        """How many audio samples one frame of the mel spectrogram becomes."""
        return self.base.samples_per_mel_frame * self.ratio

    def _half(self, prefix: str, rate: int) -> VocoderConfig:
        names = {field.name for field in attrs.fields(VocoderConfig)} - {"output_sampling_rate"}
        return VocoderConfig(**{name: getattr(self, prefix + name) for name in names}, output_sampling_rate=rate)

    def _contradictions(self) -> Iterator[str]:
        halves = []
        for prefix, rate in (("", self.input_sampling_rate), ("bwe_", self.output_sampling_rate)):
            try:
                halves.append(self._half(prefix, rate))
            except ConfigError as error:
                yield from (f"with the prefix bwe_: {fault}" if prefix else fault for fault in error.faults)
        if len(halves) == 2:
            yield from self._misfits(*halves)

    def _misfits(self, base: VocoderConfig, extension: VocoderConfig) -> Iterator[str]:
        if self.window_length != self.filter_length or self.filter_length % 2 or self.filter_length < self.hop_length:
            yield (
                f"filter_length={self.filter_length} must be even, equal to window_length={self.window_length}, "
                f"and at least hop_length={self.hop_length}"
            )
        if self.output_sampling_rate % self.input_sampling_rate:
            yield (
                f"output_sampling_rate={self.output_sampling_rate} must be a multiple of "
                f"input_sampling_rate={self.input_sampling_rate}"
            )
        elif extension.samples_per_mel_frame != self.hop_length * self.ratio:
            yield (
                f"bwe_upsample_factors must multiply to {self.hop_length * self.ratio}: hop_length={self.hop_length} "
                f"samples at {self.ratio} times the rate"
            )
        if extension.out_channels != base.out_channels:
            yield f"bwe_out_channels={extension.out_channels} must be out_channels={base.out_channels}"
        if extension.in_channels != base.out_channels * self.num_mel_channels:
            yield (
                f"bwe_in_channels={extension.in_channels} must be out_channels x num_mel_channels = "
                f"{base.out_channels * self.num_mel_channels}"
            )


def read_vocoder(data: Mapping[str, object]) -> VocoderConfig | WidebandVocoderConfig:
    """Read the `config.json` of either vocoder, which one its `_class_name` says.

    Raises:
        ConfigError: as `from_dict`.
    """
    wideband = data.get("_class_name") == WidebandVocoderConfig.diffusers_class
    return (WidebandVocoderConfig if wideband else VocoderConfig).from_dict(data)
