"""Configurations of the networks, as they are written in diffusers folders."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from typing import Any

import pytest

from stagegraph_ltx2.model.config import (
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

AnyConfig = type[Config]
CONFIGS: tuple[AnyConfig, ...] = (
    TransformerConfig,
    ConnectorsConfig,
    VideoVAEConfig,
    AudioVAEConfig,
    VocoderConfig,
    WidebandVocoderConfig,
    LatentUpsamplerConfig,
)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_survives_json(config: AnyConfig) -> None:
    """Lists of the file are tuples of the value."""
    written = json.dumps(config().to_dict() | {"_class_name": config.diffusers_class, "_diffusers_version": "0.42.1"})
    assert config.from_dict(json.loads(written)) == config()


@pytest.mark.parametrize("config", CONFIGS)
def test_missing_keys_have_the_defaults_of_diffusers(config: AnyConfig) -> None:
    """An empty file is a valid one."""
    assert config.from_dict({}) == config()


def test_whole_numbers_may_be_written_as_floats_and_floats_as_whole_numbers() -> None:
    """JSON has one kind of number."""
    config = TransformerConfig.from_dict({"rope_theta": 5000, "timestep_scale_multiplier": 1000.0})
    assert (config.rope_theta, type(config.rope_theta)) == (5000.0, float)
    assert (config.timestep_scale_multiplier, type(config.timestep_scale_multiplier)) == (1000, int)


def test_one_flag_may_stand_for_all_blocks() -> None:
    """As some folders have it."""
    config = VideoVAEConfig.from_dict({"upsample_residual": False, "spatio_temporal_scaling": True})
    assert config.residual_up_blocks == (False, False, False)


def test_later_releases_say_what_the_text_depends_on() -> None:
    """On the noise level in LTX-2.3, on the prompt alone before it and in its variant without prompt adaLN."""
    assert not TransformerConfig().modulates_text
    assert not TransformerConfig().text_follows_noise
    assert TransformerConfig(cross_attn_mod=True).text_follows_noise
    static = TransformerConfig(audio_cross_attn_mod=True, use_prompt_adaln_single=False)
    assert static.modulates_text
    assert not static.text_follows_noise


def test_a_vocoder_is_read_by_the_name_of_its_class() -> None:
    """The two kinds share most keys."""
    assert read_vocoder({"_class_name": "LTX2Vocoder", "hidden_channels": 64}) == VocoderConfig(hidden_channels=64)
    wide = read_vocoder({"_class_name": "LTX2VocoderWithBWE", "bwe_hidden_channels": 64})
    assert isinstance(wide, WidebandVocoderConfig)
    assert wide.base == VocoderConfig(
        hidden_channels=1536,
        upsample_kernel_sizes=(11, 4, 4, 4, 4, 4),
        upsample_factors=(5, 2, 2, 2, 2, 2),
        act_fn="snakebeta",
        antialias=True,
        final_act_fn=None,
        final_bias=False,
        output_sampling_rate=16000,
    )
    assert wide.extension.hidden_channels == 64
    assert wide.extension.output_sampling_rate == 48000


def test_an_upsampler_is_read_from_an_official_header() -> None:
    """Two keys have other names there, and two others have other defaults."""
    header = {"_class_name": "LatentUpsampler", "in_channels": 128, "spatial_scale": 1.5, "rational_resampler": True}
    config = LatentUpsamplerConfig.from_header(header)
    assert config == LatentUpsamplerConfig(mid_channels=512, rational_spatial_scale=1.5, use_rational_resampler=True)
    assert config.scale == Fraction(3, 2)
    temporal = LatentUpsamplerConfig.from_header({"spatial_upsample": False, "temporal_upsample": True})
    assert (temporal.mid_channels, temporal.use_rational_resampler, temporal.scale) == (512, False, 1)
    with pytest.raises(ConfigError) as caught:
        LatentUpsamplerConfig.from_header({"groups": 32})
    assert caught.value.faults == ("groups is not a key of LatentUpsamplerConfig",)


def test_all_faults_come_together() -> None:
    """Unknown keys, wrong types and values that are not supported, in one error."""
    with pytest.raises(ConfigError) as caught:
        TransformerConfig.from_dict(
            {
                "num_layer": 3,
                "zzz": None,
                "num_layers": "48",
                "in_channels": True,
                "norm_eps": None,
                "audio_out_channels": 1.5,
                "vae_scale_factors": [8, 32],
                "rope_type": "rotated",
                "attention_head_dim": 0,
                "rope_theta": float("nan"),
            }
        )
    assert str(caught.value) == (
        "TransformerConfig cannot be used:\n"
        "  num_layer is not a key of TransformerConfig; is it num_layers?\n"
        "  zzz is not a key of TransformerConfig\n"
        "  num_layers='48' must be a whole number\n"
        "  in_channels=True must be a whole number\n"
        "  norm_eps=None must be a number\n"
        "  audio_out_channels=1.5 must be a whole number or null\n"
        "  vae_scale_factors=[8, 32] must be a list of 3, each a whole number\n"
        "  attention_head_dim=0 must be at least 1\n"
        "  rope_theta=nan must be a finite number above 0\n"
        "  rope_type='rotated' is in no released LTX-2 model; supported: 'interleaved', 'split'"
    )


@pytest.mark.parametrize(
    ("config", "values", "fault"),
    [
        (TransformerConfig, {"num_layers": 10**9}, "num_layers=1000000000 must be at most 1000"),
        (TransformerConfig, {"attention_head_dim": 10**9}, "attention_head_dim=1000000000 must be at most 1000000"),
        (
            ConnectorsConfig,
            {"audio_connector_num_layers": 10**9},
            "audio_connector_num_layers=1000000000 must be at most 1000",
        ),
        (
            VideoVAEConfig,
            {"layers_per_block": [1, 1, 1, 1, 10**9]},
            "layers_per_block=(1, 1, 1, 1, 1000000000) must be at most 1000",
        ),
        (VideoVAEConfig, {"upsample_factor": [2, 2, 0]}, "upsample_factor=(2, 2, 0) must be at least 1"),
        (
            VocoderConfig,
            {"resnet_kernel_sizes": [3] * 65},
            f"resnet_kernel_sizes={[3] * 65} must be a list of at most 64, each a whole number",
        ),
    ],
)
def test_a_few_bytes_cannot_ask_for_a_network_without_end(config: type[Config], values: Any, fault: str) -> None:
    """Sizes, depths and lists have limits, far beyond those of any release."""
    with pytest.raises(ConfigError) as caught:
        config.from_dict(values)
    assert fault in caught.value.faults


@pytest.mark.parametrize(
    ("config", "values", "faults"),
    [
        (
            TransformerConfig,
            {"attention_head_dim": 127, "num_attention_heads": 16},
            (
                "attention_head_dim=127 must be even: RoPE rotates pairs of channels",
                "cross_attention_dim=4096 must be heads x head dim = 2032",
                (
                    "num_attention_heads=16 and audio_num_attention_heads=32 must be equal: "
                    "attention between the streams has one set of heads"
                ),
            ),
        ),
        (
            ConnectorsConfig,
            {"caption_channels": 64},
            (
                (
                    "caption_channels=64 must be video connector heads x head dim = 3840: "
                    "both connectors read the same projection"
                ),
                (
                    "caption_channels=64 must be audio connector heads x head dim = 3840: "
                    "both connectors read the same projection"
                ),
            ),
        ),
        (
            ConnectorsConfig,
            {"per_modality_projections": True, "audio_hidden_dim": 3840},
            ("video_hidden_dim=4096 must be video connector heads x head dim = 3840",),
        ),
        (
            ConnectorsConfig,
            {"video_connector_num_learnable_registers": None, "causal_temporal_positioning": True},
            (
                "video_connector_num_learnable_registers=None must be a whole number",
                "causal_temporal_positioning=True is in no released LTX-2 model; supported: False",
            ),
        ),
        (
            VideoVAEConfig,
            {
                "down_block_types": ["DownBlock"] * 4,
                "decoder_inject_noise": [False, True, False, False],
                "upsample_type": ["spatial", "conv", "spatial"],
                "layers_per_block": [1],
            },
            (
                (
                    "down_block_types=('DownBlock', 'DownBlock', 'DownBlock', 'DownBlock') is in no released LTX-2 "
                    "model; supported: 'LTX2VideoDownBlock3D'"
                ),
                (
                    "decoder_inject_noise=(False, True, False, False) is in no released LTX-2 model; "
                    "supported: False for every block"
                ),
                "upsample_type=('spatial', 'conv', 'spatial') must be made of spatial, temporal, spatiotemporal",
                "layers_per_block has 1 entries and needs 5",
            ),
        ),
        (
            VideoVAEConfig,
            {"block_out_channels": [256, 513, 1024, 2048], "decoder_block_out_channels": [8, 16, 64]},
            (
                "block_out_channels: a temporal downsampling by 2 cannot go from 256 to 513",
                "block_out_channels: a spatiotemporal downsampling by 8 cannot go from 513 to 1024",
                "decoder_block_out_channels: 16 must be 32, which is what upsample_factor leaves of the deeper block",
                "decoder_block_out_channels: 8 must be 16, which is what upsample_factor leaves of the deeper block",
            ),
        ),
        (
            VideoVAEConfig,
            {"upsample_factor": [2, 2, 3]},
            ("upsample_factor: a spatiotemporal upsampling cannot divide 1024 channels by 3",),
        ),
        (
            AudioVAEConfig,
            {"ch_mult": [1, 2], "base_channels": 64, "norm_type": "pixel"},
            (
                "ch_mult=(1, 2) must be 3 counts: two halvings make the compression of 4",
                (
                    "base_channels=64 must be latent_channels x mel_bins / 4 = 128: "
                    "the statistics of packed latents are stored with base_channels entries"
                ),
            ),
        ),
        (
            AudioVAEConfig,
            {"norm_type": "group", "causality_axis": "width", "mel_bins": 62},
            (
                "norm_type='group' is in no released LTX-2 model; supported: 'pixel'",
                "causality_axis='width' is in no released LTX-2 model; supported: 'height'",
            ),
        ),
        (AudioVAEConfig, {"mel_bins": 66}, ("mel_bins=66 must be a multiple of 4",)),
        (
            VocoderConfig,
            {"act_fn": "snake", "antialias_ratio": 4, "final_act_fn": "sine"},
            (
                "act_fn='snake' is in no released LTX-2 model; supported: 'leaky_relu', 'snakebeta'",
                "antialias_ratio=4 is in no released LTX-2 model; supported: 2",
                "final_act_fn='sine' is in no released LTX-2 model; supported: 'tanh', 'clamp', None",
            ),
        ),
        (
            VocoderConfig,
            {"act_fn": "snakebeta"},
            ("antialias=False does not go with act_fn='snakebeta': snakebeta alone is anti-aliased",),
        ),
        (
            WidebandVocoderConfig,
            {"hidden_channels": 100, "bwe_final_act_fn": "sine", "bwe_antialias_kernel_size": 8},
            (
                "hidden_channels=100 must halve 6 times",
                ("with the prefix bwe_: antialias_kernel_size=8 is in no released LTX-2 model; supported: 12"),
                (
                    "with the prefix bwe_: final_act_fn='sine' is in no released LTX-2 model; "
                    "supported: 'tanh', 'clamp', None"
                ),
            ),
        ),
        (
            WidebandVocoderConfig,
            {
                "window_length": 256,
                "output_sampling_rate": 44100,
                "bwe_out_channels": 1,
                "num_mel_channels": 32,
            },
            (
                "filter_length=512 must be even, equal to window_length=256, and at least hop_length=80",
                "output_sampling_rate=44100 must be a multiple of input_sampling_rate=16000",
                "bwe_out_channels=1 must be out_channels=2",
                "bwe_in_channels=128 must be out_channels x num_mel_channels = 64",
            ),
        ),
        (
            WidebandVocoderConfig,
            {"hop_length": 100},
            ("bwe_upsample_factors must multiply to 300: hop_length=100 samples at 3 times the rate",),
        ),
        (
            LatentUpsamplerConfig,
            {"dims": 2, "rational_spatial_scale": 3},
            (
                "dims=2 is in no released LTX-2 model; supported: 3",
                "rational_spatial_scale=3.0 is in no released LTX-2 model; supported: 2.0, 0.75, 1.5, 4.0",
            ),
        ),
        (
            LatentUpsamplerConfig,
            {"spatial_upsample": False, "mid_channels": 100, "rational_spatial_scale": 1.5},
            (
                "mid_channels=100 must be a multiple of 32: its norms have 32 groups",
                "spatial_upsample and temporal_upsample are both False: nothing would be enlarged",
                "rational_spatial_scale=1.5 needs the rational resampler, in space alone",
            ),
        ),
        (
            VocoderConfig,
            {"upsample_kernel_sizes": [16, 14], "hidden_channels": 31, "resnet_kernel_sizes": [3]},
            (
                "upsample_kernel_sizes and upsample_factors must have as many entries",
                "resnet_kernel_sizes and resnet_dilations must have as many entries",
                "upsample kernel 14 must exceed its factor 5 by an even number",
                "hidden_channels=31 must halve 5 times",
            ),
        ),
    ],
)
def test_what_cannot_be_built_is_refused(config: AnyConfig, values: dict[str, object], faults: tuple[str, ...]) -> None:
    """By the whole text of its faults."""
    with pytest.raises(ConfigError) as caught:
        config.from_dict(values)
    assert caught.value.faults == faults


@pytest.mark.parametrize("module", ["shapes", "schedule", "model.config"])
def test_sizes_schedules_and_configs_need_no_torch(module: str) -> None:
    """A graph is checked in milliseconds."""
    code = f"import sys, stagegraph_ltx2.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
