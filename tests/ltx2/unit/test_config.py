"""Configurations of the networks, as they are written in diffusers folders."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConfigError,
    ConnectorsConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
)

CONFIGS = (TransformerConfig, ConnectorsConfig, VideoVAEConfig, AudioVAEConfig, VocoderConfig)
AnyConfig = type[TransformerConfig | ConnectorsConfig | VideoVAEConfig | AudioVAEConfig | VocoderConfig]


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


LTX_2_3 = {
    "gated_attn": True,
    "cross_attn_mod": True,
    "audio_gated_attn": True,
    "audio_cross_attn_mod": True,
    "use_prompt_embeddings": False,
    "perturbed_attn": True,
    "rope_type": "split",
}


def test_a_transformer_of_ltx_2_3_is_refused_by_name() -> None:
    """Every key that this release cannot build is listed, and no other."""
    with pytest.raises(ConfigError) as caught:
        TransformerConfig.from_dict(LTX_2_3)
    assert str(caught.value) == (
        "TransformerConfig cannot be used:\n"
        "  gated_attn=True belongs to LTX-2.3, which is not supported yet; supported: False\n"
        "  cross_attn_mod=True belongs to LTX-2.3, which is not supported yet; supported: False\n"
        "  audio_gated_attn=True belongs to LTX-2.3, which is not supported yet; supported: False\n"
        "  audio_cross_attn_mod=True belongs to LTX-2.3, which is not supported yet; supported: False\n"
        "  use_prompt_embeddings=False belongs to LTX-2.3, which is not supported yet; supported: True"
    )
    assert caught.value.config == "TransformerConfig"
    assert len(caught.value.faults) == 5


def test_a_transformer_of_ltx_2_5_is_refused_by_name() -> None:
    """Two more keys than LTX-2.3."""
    with pytest.raises(ConfigError) as caught:
        TransformerConfig(ff_bias=False, use_keyframes_abs_pos_embedding=True)
    assert str(caught.value) == (
        "TransformerConfig cannot be used:\n"
        "  ff_bias=False belongs to LTX-2.5, which is not supported yet; supported: True\n"
        "  use_keyframes_abs_pos_embedding=True belongs to LTX-2.5, which is not supported yet; supported: False"
    )


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
            {"per_modality_projections": True, "video_connector_num_learnable_registers": None},
            (
                "video_connector_num_learnable_registers=None must be a whole number",
                "per_modality_projections=True belongs to LTX-2.3, which is not supported yet; supported: False",
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
            {"act_fn": "snakebeta", "antialias": True, "final_act_fn": None, "final_bias": False},
            (
                "act_fn='snakebeta' belongs to LTX-2.3, which is not supported yet; supported: 'leaky_relu'",
                "antialias=True belongs to LTX-2.3, which is not supported yet; supported: False",
                "final_act_fn=None belongs to LTX-2.3, which is not supported yet; supported: 'tanh'",
                "final_bias=False belongs to LTX-2.3, which is not supported yet; supported: True",
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
