"""From the configuration in an official file to those of a diffusers folder. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from operator import mul
from types import MappingProxyType
from typing import Any

from stagegraph_ltx2.checkpoint import official_keys as keys
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConfigError,
    ConnectorsConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
    WidebandVocoderConfig,
)

Shapes = Mapping[str, Sequence[int]]

MISSING = object()


class _Section:
    """A section whose keys are taken one by one; what is wrong or left over is told at the end."""

    def __init__(self, title: str, values: Any) -> None:
        self.title = title
        self.faults: list[str] = []
        if not isinstance(values, Mapping):
            raise ConfigError(title, (f"{title} is no object",))
        self.rest = dict(values)

    def take(self, key: str, default: Any = None) -> Any:
        return self.rest.pop(key, default)

    def same(self, constants: Mapping[str, Any]) -> None:
        for key, value in constants.items():
            found = self.take(key, value)
            if found != value:
                self.faults.append(f"{key}={found!r} is in no released LTX-2 model; supported: {value!r}")

    def renamed(self, table: Mapping[str, str]) -> dict[str, Any]:
        """What is there of a table, under our names."""
        return {ours: self.rest.pop(name) for name, ours in table.items() if name in self.rest}

    def drop(self, names: frozenset[str] | set[str]) -> None:
        for name in names:
            self.rest.pop(name, None)

    def close(self) -> None:
        """Raise if anything was wrong or is left."""
        self.faults += [f"{key} is not a key of {self.title} that is known here" for key in sorted(self.rest)]
        self.check()

    def check(self) -> None:
        """Raise if anything was wrong."""
        if self.faults:
            raise ConfigError(self.title, tuple(self.faults))


def read_transformer(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The configuration of the transformer, from the section of its name."""
    section = _transformer_section(config)
    made = {"_class_name": TransformerConfig.diffusers_class, **section.renamed(keys.TRANSFORMER)}
    time, height, width = _positions(section, "positional_embedding_max_pos", [20, 2048, 2048])
    (audio_time,) = _positions(section, "audio_positional_embedding_max_pos", [20])
    made |= {"pos_embed_max_pos": time, "base_height": height, "base_width": width}
    made |= {"audio_pos_embed_max_pos": audio_time}
    made["rope_double_precision"] = section.take("frequencies_precision") == "float64"
    gated, modulated = section.take("apply_gated_attention", False), section.take("cross_attention_adaln", False)
    made |= {"gated_attn": gated, "audio_gated_attn": gated}
    made |= {"cross_attn_mod": modulated, "audio_cross_attn_mod": modulated}
    first = _projected_first(section)
    # All that were trained for the perturbed pass of guidance project their text first.
    made |= {"use_prompt_embeddings": not first, "perturbed_attn": first}
    section.drop({key for key in section.rest if key.startswith(("connector_", "audio_connector_"))})
    section.close()
    return made


def read_connectors(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The configuration of the connectors, which the transformer's section tells.

    Args:
        config: the whole.
        shapes: of their tensors by our names: that of the projection tells how many layers it reads.
    """
    section = _transformer_section(config)
    first = _projected_first(section)
    channels = section.take("caption_channels", 3840)
    heads, head_dim, layers, registers = (
        section.take(f"connector_{key}", default)
        for key, default in (
            ("num_attention_heads", 30),
            ("attention_head_dim", 128),
            ("num_layers", 2),
            ("num_learnable_registers", 128),
        )
    )
    gated = section.take("connector_apply_gated_attention", False)
    made: dict[str, Any] = {
        "_class_name": ConnectorsConfig.diffusers_class,
        "caption_channels": channels,
        "text_proj_in_factor": _layers_read(shapes, channels),
        "per_modality_projections": first,
        "proj_bias": first,
        "rope_theta": section.take("positional_embedding_theta", 10000.0),
        "rope_type": section.take("rope_type"),
        "rope_double_precision": section.take("frequencies_precision") == "float64",
    }
    (made["connector_rope_base_seq_len"],) = _positions(section, "connector_positional_embedding_max_pos", [1])
    for side, prefix in (("video", ""), ("audio", "audio_")):
        made |= {
            f"{side}_connector_num_attention_heads": section.take(f"{prefix}connector_num_attention_heads", heads),
            f"{side}_connector_attention_head_dim": section.take(f"{prefix}connector_attention_head_dim", head_dim),
            f"{side}_connector_num_layers": section.take(f"{prefix}connector_num_layers", layers),
            f"{side}_connector_num_learnable_registers": registers,
            f"{side}_gated_attn": gated,
        }
    if first:
        made["video_hidden_dim"] = section.take("num_attention_heads", 32) * section.take("attention_head_dim", 128)
        audio = section.take("audio_num_attention_heads", 32) * section.take("audio_attention_head_dim", 64)
        made["audio_hidden_dim"] = audio
    section.check()
    return made


def _transformer_section(config: Mapping[str, Any]) -> _Section:
    values = config.get("transformer")
    section = _Section("transformer", values)
    section.rest = {**keys.TRANSFORMER_DEFAULTS, **section.rest}
    section.same({"_class_name": keys.TRANSFORMER_CLASS, **keys.TRANSFORMER_CONSTANTS})
    section.drop(keys.NOTES)
    return section


def _projected_first(section: _Section) -> bool:
    """Whether the text is projected before the connectors; every key of this must agree."""
    told = {key: section.take(key) for key in keys.PROJECTED_FIRST if key in section.rest}
    norm = told.get("text_encoder_norm_type")
    if isinstance(norm, str):
        told["text_encoder_norm_type"] = norm.lower()
    if not told or told.get("caption_proj_before_connector") is False:
        return False
    for key, value in keys.PROJECTED_FIRST.items():
        if told.get(key, value if key == "text_encoder_norm_type" else MISSING) != value:
            found = f"{told[key]!r}" if key in told else "absent"
            section.faults.append(f"{key} is {found}, and must be {value!r} where text is projected first")
    return True


def _positions(section: _Section, key: str, default: list[int]) -> list[int]:
    found = section.take(key, default)
    if not isinstance(found, list) or len(found) != len(default) or not all(type(one) is int for one in found):
        section.faults.append(f"{key}={found!r} must be {len(default)} whole numbers")
        return default
    return found


def _layers_read(shapes: Shapes, channels: Any) -> int:
    """How many hidden states of the text encoder the projection reads."""
    shape = next(
        (shapes[name] for name in ("text_proj_in.weight", "video_text_proj_in.weight") if name in shapes), None
    )
    if shape is None or len(shape) != 2 or type(channels) is not int or channels < 1 or shape[1] % channels:
        what = "absent" if shape is None else f"of shape {list(shape)}"
        raise ConfigError("connectors", (f"the projection of the text is {what}, for caption_channels={channels!r}",))
    return shape[1] // channels


def read_video_vae(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The configuration of the convolutional video VAE."""
    section = _Section("vae", config.get("vae"))
    section.same({"_class_name": keys.VIDEO_VAE_CLASS, **keys.VIDEO_VAE_CONSTANTS})
    section.drop(keys.NOTES)
    latent = section.take("latent_channels", 128)
    padding = section.take("spatial_padding_mode", MISSING)
    encoder_padding = section.take("encoder_spatial_padding_mode", "zeros")
    decoder_padding = section.take("decoder_spatial_padding_mode", "reflect")
    if padding is not MISSING:
        encoder_padding = decoder_padding = padding
    # The first convolution has the width of the latents, whatever is written here.
    section.take("encoder_base_channels")
    base = section.take("decoder_base_channels", 128)
    down = _blocks(section, "encoder_blocks", tuple(keys.RESAMPLINGS.values()))
    up = _blocks(section, "decoder_blocks", tuple(name.removesuffix("_res") for name in keys.RESAMPLINGS.values()))
    made = {
        "_class_name": VideoVAEConfig.diffusers_class,
        "latent_channels": latent,
        **{key: section.take(key) for key in ("in_channels", "out_channels", "patch_size") if key in section.rest},
        "scaling_factor": section.take("scaling_factor", 1.0),
        "timestep_conditioning": section.take("timestep_conditioning", True),
        "decoder_causal": section.take("causal_decoder", False),
        "encoder_spatial_padding_mode": encoder_padding,
        "decoder_spatial_padding_mode": decoder_padding,
    }
    section.close()
    made |= _encoder(down, latent) | _decoder(up, base)
    strides = [_kind(name) for name, _ in down[1::2]]
    made["spatial_compression_ratio"] = made.get("patch_size", 4) * 2 ** sum(kind != "temporal" for kind in strides)
    made["temporal_compression_ratio"] = 2 ** sum(kind != "spatial" for kind in strides)
    return made


Blocks = list[tuple[str, Mapping[str, Any]]]


def _blocks(section: _Section, key: str, resamplings: Sequence[str]) -> Blocks:
    """[name, params] pairs: residual blocks at even places, resamplings at odd ones."""
    found = section.take(key)
    made: Blocks = []
    for place, entry in enumerate(found if isinstance(found, list) else []):
        name, params = entry if isinstance(entry, list) and len(entry) == 2 else ("", None)
        if isinstance(params, int):
            params = {"num_layers": params}
        allowed = resamplings if place % 2 else ("res_x",)
        if name not in allowed or not isinstance(params, Mapping) or not _sound(params):
            what = f"{key}[{place}] is {entry!r:.80}, and must be {' or '.join(allowed)} with its numbers"
            raise ConfigError(section.title, (*section.faults, what))
        made.append((name, params))
    if len(made) < 3 or len(made) % 2 == 0:
        raise ConfigError(section.title, (*section.faults, f"{key} must be an odd number of blocks, 3 or more"))
    return made


def _sound(params: Mapping[str, Any]) -> bool:
    known = {"num_layers": int, "multiplier": int | float, "residual": bool, "inject_noise": bool}
    return all(key in known and isinstance(value, known[key]) for key, value in params.items())


def _kind(name: str) -> str:
    return next(
        kind for kind, word in keys.RESAMPLINGS.items() if word.removesuffix("_res") == name.removesuffix("_res")
    )


def _encoder(blocks: Blocks, latent: int) -> dict[str, Any]:
    down = blocks[1::2]
    widths = list(accumulate((params.get("multiplier", 2) for _, params in down), mul, initial=latent))[1:]
    return {
        "block_out_channels": [_whole(width) for width in widths],
        "down_block_types": ["LTX2VideoDownBlock3D"] * len(down),
        "downsample_type": [_kind(name) for name, _ in down],
        "layers_per_block": [params.get("num_layers", 1) for _, params in blocks[::2]],
        "spatio_temporal_scaling": [True] * len(down),
    }


def _decoder(blocks: Blocks, base: int) -> dict[str, Any]:
    """The list is in the order of an encoder, and executed from its end."""
    up = blocks[1::2]
    widths = list(accumulate((params.get("multiplier", 1) for _, params in up), mul, initial=base))[1:]
    return {
        "decoder_block_out_channels": [_whole(width) for width in widths],
        "decoder_layers_per_block": [params.get("num_layers", 1) for _, params in blocks[::2]],
        "decoder_inject_noise": [params.get("inject_noise", False) for _, params in blocks[::2]],
        "decoder_spatio_temporal_scaling": [True] * len(up),
        "upsample_type": [_kind(name) for name, _ in reversed(up)],
        "upsample_factor": [params.get("multiplier", 1) for _, params in up],
        "upsample_residual": [params.get("residual", False) for _, params in up],
    }


def _whole(width: float) -> int:
    if width != int(width):
        raise ConfigError("vae", (f"the multipliers of its blocks make {width} channels",))
    return int(width)


def read_audio_vae(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The configuration of the audio VAE."""
    whole = _Section("audio_vae", config.get("audio_vae"))
    model = _Section("audio_vae.model", whole.take("model", {}))
    params = _Section("audio_vae.model.params", model.take("params", {}))
    section = _Section("audio_vae.model.params.ddconfig", params.take("ddconfig", {}))
    section.same(keys.AUDIO_VAE_CONSTANTS)
    prepared = whole.take("preprocessing", {})
    stft = prepared.get("stft", {}) if isinstance(prepared, Mapping) else {}
    made = {"_class_name": AudioVAEConfig.diffusers_class, **section.renamed(keys.AUDIO_VAE)}
    made["sample_rate"] = params.take("sampling_rate", 16000)
    made["mel_hop_length"] = stft.get("hop_length", 160)
    made["is_causal"] = stft.get("causal", True)
    section.close()
    return made


def read_vocoder(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The configuration of the vocoder: of the plain one, or of the two halves of the wideband one."""
    section = _Section("vocoder", config.get("vocoder"))
    if "bwe" not in section.rest:
        made = _voice(section, resblock="1", activation="leaky_relu")
        return {"_class_name": VocoderConfig.diffusers_class, **made}
    base, extension = (_Section(f"vocoder.{half}", section.take(half, {})) for half in ("vocoder", "bwe"))
    section.close()
    front = extension.renamed(keys.EXTENSION)
    front.setdefault("window_length", front.get("filter_length", 512))
    base.take("output_sampling_rate")
    made = _voice(base, resblock="AMP1", activation="snakebeta")
    added = _voice(extension, resblock="AMP1", activation="snakebeta")
    both = {**made, **{f"bwe_{key}": value for key, value in added.items() if key != "output_sampling_rate"}, **front}
    return {"_class_name": WidebandVocoderConfig.diffusers_class, **both}


def _voice(section: _Section, *, resblock: str, activation: str) -> dict[str, Any]:
    amplified = activation == "snakebeta"
    section.same({"resblock": resblock, "stereo": True})
    if amplified:
        section.same({"activation": activation})
    else:
        section.take("activation")
    section.take("apply_final_activation")
    made = section.renamed(keys.VOCODER)
    made |= {"act_fn": activation, "antialias": amplified}
    made["final_act_fn"] = "tanh" if section.take("use_tanh_at_final", True) else None
    made["final_bias"] = section.take("use_bias_at_final", True)
    made |= section.renamed({"output_sampling_rate": "output_sampling_rate"})
    section.close()
    return made


def read_latent_upsampler(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The configuration of a latent upsampler, which is alone in its file."""
    values = {key: value for key, value in config.items() if not key.startswith("_")}
    made = LatentUpsamplerConfig.from_header(values)
    return {"_class_name": LatentUpsamplerConfig.diffusers_class, **made.to_dict()}


#: Component -> what reads its configuration.
READERS: Mapping[str, Callable[[Mapping[str, Any], Shapes], dict[str, Any]]] = MappingProxyType(
    {
        "transformer": read_transformer,
        "connectors": read_connectors,
        "vae": read_video_vae,
        "audio_vae": read_audio_vae,
        "vocoder": read_vocoder,
        "latent_upsampler": read_latent_upsampler,
    }
)
