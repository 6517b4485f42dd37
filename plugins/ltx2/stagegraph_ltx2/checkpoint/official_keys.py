"""The keys of the configuration in the header of an official file, as data. Needs no torch.

The header's `config` is JSON with a section each for `transformer` (which tells of the connectors too), `vae`,
`audio_vae` and `vocoder`; the `scheduler` in it is not what models are run with.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

TRANSFORMER_CLASS = "AVTransformer3DModel"
VIDEO_VAE_CLASS = "CausalVideoAutoencoder"

#: Official key -> ours, of values that both write alike.
TRANSFORMER: Mapping[str, str] = MappingProxyType(
    {
        "in_channels": "in_channels",
        "out_channels": "out_channels",
        "num_attention_heads": "num_attention_heads",
        "attention_head_dim": "attention_head_dim",
        "cross_attention_dim": "cross_attention_dim",
        "audio_in_channels": "audio_in_channels",
        "audio_out_channels": "audio_out_channels",
        "audio_num_attention_heads": "audio_num_attention_heads",
        "audio_attention_head_dim": "audio_attention_head_dim",
        "audio_cross_attention_dim": "audio_cross_attention_dim",
        "num_layers": "num_layers",
        "caption_channels": "caption_channels",
        "activation_fn": "activation_fn",
        "attention_bias": "attention_bias",
        "norm_elementwise_affine": "norm_elementwise_affine",
        "norm_eps": "norm_eps",
        "positional_embedding_theta": "rope_theta",
        "rope_type": "rope_type",
        "timestep_scale_multiplier": "timestep_scale_multiplier",
        "av_ca_timestep_scale_multiplier": "cross_attn_timestep_scale_multiplier",
        "ff_bias": "ff_bias",
        "audio_ff_bias": "audio_ff_bias",
        "use_prompt_adaln_single": "use_prompt_adaln_single",
        "use_keyframes_abs_pos_embedding": "use_keyframes_abs_pos_embedding",
    }
)

#: What the official code takes for keys that are absent, where diffusers takes something else.
TRANSFORMER_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {"rope_type": "split", "av_ca_timestep_scale_multiplier": 1, "frequencies_precision": "float32"}
)

#: Keys that have one value in every release; another one would be another network.
TRANSFORMER_CONSTANTS: Mapping[str, Any] = MappingProxyType(
    {
        "av_cross_ada_norm": True,
        "causal_temporal_positioning": True,
        "connector_norm_output": True,
        "cross_attention_norm": True,
        "double_self_attention": False,
        "dropout": 0.0,
        "num_embeds_ada_norm": 1000,
        "num_vector_embeds": None,
        "only_cross_attention": False,
        "positional_embedding_type": "rope",
        "qk_norm": "rms_norm",
        "share_ff": False,
        "standardization_norm": "rms_norm",
        "upcast_attention": False,
        "use_audio_video_cross_attention": True,
        "use_embeddings_connector": True,
        "use_linear_projection": False,
        "use_middle_indices_grid": True,
    }
)

#: Constants that the released files leave out.
TRANSFORMER_UNWRITTEN: Mapping[str, Any] = MappingProxyType({"connector_ff_bias": True})

#: The text is projected before the connectors, one projection a stream: LTX-2.3. All of them or none are there.
PROJECTED_FIRST: Mapping[str, Any] = MappingProxyType(
    {
        "caption_proj_before_connector": True,
        "caption_proj_input_norm": False,
        "caption_projection_first_linear": False,
        "caption_projection_second_linear": False,
        "text_encoder_norm_type": "per_token_rms",
    }
)

#: Keys that say nothing about the network.
NOTES = frozenset(
    {"_diffusers_version", "_name_or_path", "attention_type", "connector_learnable_registers_std", "norm_num_groups"}
)

VIDEO_VAE_CONSTANTS: Mapping[str, Any] = MappingProxyType(
    {
        "dims": 3,
        "latent_log_var": "uniform",
        "norm_layer": "pixel_norm",
        "normalize_latent_channels": False,
        "use_quant_conv": False,
    }
)

#: Kind of resampling -> its name in an encoder's list of blocks; in a decoder's it is without the end.
RESAMPLINGS: Mapping[str, str] = MappingProxyType(
    {
        "spatial": "compress_space_res",
        "temporal": "compress_time_res",
        "spatiotemporal": "compress_all_res",
    }
)

#: The audio VAE: official key of `model.params.ddconfig` -> ours.
AUDIO_VAE: Mapping[str, str] = MappingProxyType(
    {
        "ch": "base_channels",
        "out_ch": "output_channels",
        "ch_mult": "ch_mult",
        "num_res_blocks": "num_res_blocks",
        "in_channels": "in_channels",
        "resolution": "resolution",
        "z_channels": "latent_channels",
        "norm_type": "norm_type",
        "causality_axis": "causality_axis",
        "dropout": "dropout",
        "mid_block_add_attention": "mid_block_add_attention",
        "mel_bins": "mel_bins",
        "double_z": "double_z",
    }
)
AUDIO_VAE_CONSTANTS: Mapping[str, Any] = MappingProxyType(
    {"attn_resolutions": [], "downsample_time": False, "attn_type": "vanilla", "resamp_with_conv": True}
)

#: How sound becomes the spectrogram that the audio VAE encodes; the same in every release.
PREPROCESSING: Mapping[str, Any] = MappingProxyType(
    {
        "audio": {
            "causal_padding": 3,
            "duration": 5.12,
            "max_wav_value": 32768.0,
            "sampling_rate": 16000,
            "stereo": True,
        },
        "mel": {"mel_fmax": 8000, "mel_fmin": 0, "n_mel_channels": 64},
        "stft": {"causal": True, "filter_length": 1024, "hop_length": 160, "win_length": 1024},
    }
)

#: A vocoder: official key -> ours.
VOCODER: Mapping[str, str] = MappingProxyType(
    {
        "upsample_initial_channel": "hidden_channels",
        "upsample_kernel_sizes": "upsample_kernel_sizes",
        "upsample_rates": "upsample_factors",
        "resblock_kernel_sizes": "resnet_kernel_sizes",
        "resblock_dilation_sizes": "resnet_dilations",
    }
)

#: The half of the wideband vocoder that extends the sound has these too.
EXTENSION: Mapping[str, str] = MappingProxyType(
    {
        "n_fft": "filter_length",
        "win_size": "window_length",
        "hop_length": "hop_length",
        "num_mels": "num_mel_channels",
        "input_sampling_rate": "input_sampling_rate",
        "output_sampling_rate": "output_sampling_rate",
    }
)

SCHEDULER: Mapping[str, Any] = MappingProxyType(
    {
        "_class_name": "RectifiedFlowScheduler",
        "base_resolution": None,
        "num_train_timesteps": 1000,
        "sampler": "LinearQuadratic",
        "shifting": None,
    }
)
