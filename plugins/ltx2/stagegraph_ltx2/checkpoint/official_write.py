"""From the configurations of a diffusers folder to that of an official file. Needs no torch.

What is written is read again: a configuration that does not come back as it was cannot be written in this form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from stagegraph_ltx2.checkpoint import official_keys as keys
from stagegraph_ltx2.checkpoint.configs import identity, parse
from stagegraph_ltx2.checkpoint.official_read import READERS
from stagegraph_ltx2.checkpoint.official_section import Shapes
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConfigError,
    ConnectorsConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
    WidebandVocoderConfig,
)

Section = dict[str, Any]


def official_config(components: Mapping[str, Mapping[str, Any]], shapes: Mapping[str, Shapes]) -> dict[str, Any]:
    """The `config` of a header that describes these components.

    Args:
        components: name -> configuration, as in a diffusers folder.
        shapes: name -> the shapes of its tensors, by our names.

    Raises:
        ConfigError: one cannot be built, or cannot be said in the official form; all of them at once.
    """
    configs = {name: parse(name, values) for name, values in components.items()}
    made: dict[str, Any] = {}
    for name, config in configs.items():
        for section, values in WRITERS[name](config).items():
            made[section] = {**made.get(section, {}), **values}
    faults: list[str] = []
    for name, config in configs.items():
        before, after = identity(config), identity(parse(name, READERS[name](made, shapes[name])))
        faults += [f"{name}: {key}={before[key]!r} has no place in it" for key in before if before[key] != after[key]]
    if faults:
        raise ConfigError("the header of an official file", tuple(faults))
    return {**made, "scheduler": dict(keys.SCHEDULER)} if "transformer" in made else made


def _transformer(c: TransformerConfig) -> dict[str, Section]:
    made = {official: getattr(c, ours) for official, ours in keys.TRANSFORMER.items()}
    # Those that older releases do not have are left out where they say nothing.
    for key, default in (("ff_bias", True), ("audio_ff_bias", True), ("use_prompt_adaln_single", True)):
        if made[key] == default:
            del made[key]
    if not made["use_keyframes_abs_pos_embedding"]:
        del made["use_keyframes_abs_pos_embedding"]
    made |= {
        "_class_name": keys.TRANSFORMER_CLASS,
        **keys.TRANSFORMER_CONSTANTS,
        "positional_embedding_max_pos": [c.pos_embed_max_pos, c.base_height, c.base_width],
        "audio_positional_embedding_max_pos": [c.audio_pos_embed_max_pos],
        "frequencies_precision": "float64" if c.rope_double_precision else "float32",
    }
    if c.gated_attn:
        made["apply_gated_attention"] = True
    if c.cross_attn_mod:
        made["cross_attention_adaln"] = True
    if not c.use_prompt_embeddings:
        made |= keys.PROJECTED_FIRST
    return {"transformer": made}


def _connectors(c: ConnectorsConfig) -> dict[str, Section]:
    made: Section = {
        "connector_num_attention_heads": c.video_connector_num_attention_heads,
        "connector_attention_head_dim": c.video_connector_attention_head_dim,
        "connector_num_layers": c.video_connector_num_layers,
        "connector_num_learnable_registers": c.video_connector_num_learnable_registers,
        "connector_positional_embedding_max_pos": [c.connector_rope_base_seq_len],
    }
    for key in ("num_attention_heads", "attention_head_dim", "num_layers"):
        audio = getattr(c, f"audio_connector_{key}")
        if audio != made[f"connector_{key}"]:
            made[f"audio_connector_{key}"] = audio
    if c.video_gated_attn:
        made["connector_apply_gated_attention"] = True
    return {"transformer": made}


def _video_vae(c: VideoVAEConfig) -> dict[str, Section]:
    made: Section = {
        "_class_name": keys.VIDEO_VAE_CLASS,
        **keys.VIDEO_VAE_CONSTANTS,
        "in_channels": c.in_channels,
        "out_channels": c.out_channels,
        "latent_channels": c.latent_channels,
        "patch_size": c.patch_size,
        "scaling_factor": c.scaling_factor,
        "timestep_conditioning": c.timestep_conditioning,
        "causal_decoder": c.decoder_causal,
        "encoder_base_channels": c.latent_channels,
        "decoder_base_channels": c.decoder_block_out_channels[0] // c.upsample_factor[0],
        "encoder_blocks": _encoder_blocks(c),
        "decoder_blocks": _decoder_blocks(c),
    }
    if c.encoder_spatial_padding_mode == c.decoder_spatial_padding_mode:
        made["spatial_padding_mode"] = c.encoder_spatial_padding_mode
    return {"vae": made}


def _encoder_blocks(c: VideoVAEConfig) -> list[Any]:
    widths = (c.latent_channels, *c.block_out_channels)
    blocks: list[Any] = []
    for i, kind in enumerate(c.downsample_type):
        multiplier = widths[i + 1] / widths[i]
        whole = int(multiplier) if multiplier.is_integer() else multiplier
        blocks += [
            ["res_x", {"num_layers": c.layers_per_block[i]}],
            [keys.RESAMPLINGS[kind], {"multiplier": whole}],
        ]
    return [*blocks, ["res_x", {"num_layers": c.layers_per_block[-1]}]]


def _decoder_blocks(c: VideoVAEConfig) -> list[Any]:
    blocks: list[Any] = []
    resamplings = zip(reversed(c.upsample_type), c.upsample_factor, c.residual_up_blocks, strict=True)
    for layers, (kind, factor, residual) in zip(c.decoder_layers_per_block[:-1], resamplings, strict=True):
        name = keys.RESAMPLINGS[kind].removesuffix("_res")
        params = {"multiplier": factor, **({"residual": True} if residual else {})}
        blocks += [["res_x", {"num_layers": layers}], [name, params]]
    return [*blocks, ["res_x", {"num_layers": c.decoder_layers_per_block[-1]}]]


def _audio_vae(c: AudioVAEConfig) -> dict[str, Section]:
    ddconfig = {official: _json(getattr(c, ours)) for official, ours in keys.AUDIO_VAE.items()}
    constants = {key: keys.AUDIO_VAE_CONSTANTS[key] for key in ("attn_resolutions", "downsample_time")}
    model = {"params": {"ddconfig": {**ddconfig, **constants}, "sampling_rate": c.sample_rate}}
    return {"audio_vae": {"model": model, "preprocessing": dict(keys.PREPROCESSING)}}


def _vocoder(c: VocoderConfig | WidebandVocoderConfig) -> dict[str, Section]:
    if isinstance(c, VocoderConfig):
        made = _voice(c, {"resblock": "1"})
        # Of the older releases, none says what is true of all of them.
        defaults = {"use_tanh_at_final": True, "use_bias_at_final": True, "output_sampling_rate": 24000}
        return {"vocoder": {key: value for key, value in made.items() if defaults.get(key) != value}}
    voice = {"resblock": "AMP1", "activation": "snakebeta"}
    base = _voice(c.base, voice)
    del base["output_sampling_rate"]  # it is the input's of the other half
    front = {official: getattr(c, ours) for official, ours in keys.EXTENSION.items()}
    return {"vocoder": {"vocoder": base, "bwe": _voice(c.extension, voice) | front | {"apply_final_activation": False}}}


def _voice(c: VocoderConfig, kind: Mapping[str, str]) -> Section:
    return {
        **kind,
        "stereo": True,
        **{official: _json(getattr(c, ours)) for official, ours in keys.VOCODER.items()},
        "use_tanh_at_final": c.final_act_fn == "tanh",
        "use_bias_at_final": c.final_bias,
        "output_sampling_rate": c.output_sampling_rate,
    }


def _json(value: Any) -> Any:
    return [_json(item) for item in value] if isinstance(value, tuple) else value


WRITERS: Mapping[str, Callable[[Any], dict[str, Section]]] = MappingProxyType(
    {
        "transformer": _transformer,
        "connectors": _connectors,
        "vae": _video_vae,
        "audio_vae": _audio_vae,
        "vocoder": _vocoder,
    }
)
