"""The VAEs and the vocoders, from the configuration in an official file. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

from stagegraph_ltx2.checkpoint import official_keys as keys
from stagegraph_ltx2.checkpoint.official_section import MISSING, Section, Shapes
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConfigError,
    LatentUpsamplerConfig,
    VideoVAEConfig,
    VocoderConfig,
    WidebandVocoderConfig,
)


def read_video_vae(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The configuration of the convolutional video VAE."""
    section = Section("vae", config.get("vae"))
    section.same({"_class_name": keys.VIDEO_VAE_CLASS, **keys.VIDEO_VAE_CONSTANTS})
    section.drop(keys.NOTES)
    latent = section.whole("latent_channels", 128)
    padding = section.take("spatial_padding_mode", MISSING)
    encoder_padding = section.take("encoder_spatial_padding_mode", "zeros")
    decoder_padding = section.take("decoder_spatial_padding_mode", "reflect")
    if padding is not MISSING:
        encoder_padding = decoder_padding = padding
    # The first convolution has the width of the latents, whatever is written here.
    section.take("encoder_base_channels")
    base = section.whole("decoder_base_channels", 128)
    patch = section.whole("patch_size", 4)
    down = _blocks(section, "encoder_blocks", tuple(keys.RESAMPLINGS.values()))
    up = _blocks(section, "decoder_blocks", tuple(name.removesuffix("_res") for name in keys.RESAMPLINGS.values()))
    made = {
        "_class_name": VideoVAEConfig.diffusers_class,
        "latent_channels": latent,
        **{key: section.take(key) for key in ("in_channels", "out_channels") if key in section.rest},
        "patch_size": patch,
        "scaling_factor": section.take("scaling_factor", 1.0),
        "timestep_conditioning": section.take("timestep_conditioning", True),
        "decoder_causal": section.take("causal_decoder", False),
        "encoder_spatial_padding_mode": encoder_padding,
        "decoder_spatial_padding_mode": decoder_padding,
    }
    section.close()
    made |= _encoder(down, latent) | _decoder(up, base)
    strides = [_kind(name) for name, _ in down[1::2]]
    made["spatial_compression_ratio"] = patch * 2 ** sum(kind != "temporal" for kind in strides)
    made["temporal_compression_ratio"] = 2 ** sum(kind != "spatial" for kind in strides)
    return made


Blocks = list[tuple[str, Mapping[str, Any]]]


def _blocks(section: Section, key: str, resamplings: Sequence[str]) -> Blocks:
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
    """Whether the numbers of a block are what they can be."""
    factor = params.get("multiplier", 1)
    return (
        params.keys() <= {"num_layers", "multiplier", "residual", "inject_noise"}
        and type(params.get("num_layers", 1)) is int
        and type(factor) in (int, float)
        and 0 < factor <= 64
        and all(isinstance(params.get(flag, False), bool) for flag in ("residual", "inject_noise"))
    )


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
    whole = Section("audio_vae", config.get("audio_vae"))
    model = Section("audio_vae.model", whole.take("model", {}))
    params = Section("audio_vae.model.params", model.take("params", {}))
    section = Section("audio_vae.model.params.ddconfig", params.take("ddconfig", {}))
    section.same(keys.AUDIO_VAE_CONSTANTS)
    stft = Section("stft", Section("preprocessing", whole.take("preprocessing", {})).take("stft", {}))
    made = {"_class_name": AudioVAEConfig.diffusers_class, **section.renamed(keys.AUDIO_VAE)}
    made["sample_rate"] = params.take("sampling_rate", 16000)
    made["mel_hop_length"] = stft.take("hop_length", 160)
    made["is_causal"] = stft.take("causal", True)
    section.close()
    return made


def read_vocoder(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """The configuration of the vocoder: of the plain one, or of the two halves of the wideband one."""
    section = Section("vocoder", config.get("vocoder"))
    if "bwe" not in section.rest:
        made = _voice(section, resblock="1", activation="leaky_relu")
        return {"_class_name": VocoderConfig.diffusers_class, **made}
    base, extension = (Section(f"vocoder.{half}", section.take(half, {})) for half in ("vocoder", "bwe"))
    section.close()
    front = extension.renamed(keys.EXTENSION)
    front.setdefault("window_length", front.get("filter_length", 512))
    base.take("output_sampling_rate")
    made = _voice(base, resblock="AMP1", activation="snakebeta")
    added = _voice(extension, resblock="AMP1", activation="snakebeta")
    both = {**made, **{f"bwe_{key}": value for key, value in added.items() if key != "output_sampling_rate"}, **front}
    return {"_class_name": WidebandVocoderConfig.diffusers_class, **both}


def _voice(section: Section, *, resblock: str, activation: str) -> dict[str, Any]:
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
