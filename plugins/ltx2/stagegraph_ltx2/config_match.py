"""Whether a checkpoint is what the configuration of a pipeline says. Needs no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from stagegraph.errors import Fault
from stagegraph_ltx2.checkpoint.contents import Checkpoint, ComponentFiles
from stagegraph_ltx2.errors import LISTED, fault
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    Config,
    ConfigError,
    GemmaConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    WidebandVocoderConfig,
    read_vocoder,
)
from stagegraph_ltx2.pipeline_configs import LTX2T2VConfig

#: Field of a pipeline's configuration -> the component of a checkpoint that it is about, and how that is read.
ABOUT: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Config | GemmaConfig]]] = MappingProxyType(
    {
        "dit_config": ("transformer", TransformerConfig.from_dict),
        "upsampler_config": ("latent_upsampler", LatentUpsamplerConfig.from_dict),
        "vae_config": ("vae", VideoVAEConfig.from_dict),
        "audio_decoder_config": ("audio_vae", AudioVAEConfig.from_dict),
        "vocoder_config": ("vocoder", read_vocoder),
        "text_encoder_configs": ("text_encoder", GemmaConfig.from_dict),
    }
)

_WHY = "a configuration that is given must be that of the checkpoint"


def config_faults(config: LTX2T2VConfig, checkpoint: Checkpoint) -> Iterator[Fault]:
    """Where the checkpoint is another than the configurations of its parts say; nothing of parts that it lacks."""
    for field, (name, read) in ABOUT.items():
        given = getattr(config, field)
        wanted, path = (given[0], f"{field}[0]") if isinstance(given, tuple) else (given, field)
        if wanted is None or name not in checkpoint.found:
            continue
        files = checkpoint.found[name]
        with contextlib.suppress(ConfigError):  # loading tells what is wrong with it, whatever is asked for
            yield from _differences(path, field, wanted, read(files.config), files)


def _differences(path: str, field: str, wanted: Any, found: Any, files: ComponentFiles) -> Iterator[Fault]:
    fix = f"leave {field} out, or use the checkpoint that it describes"
    if type(wanted) is not type(found):
        what = f"{path} is a {type(wanted).__name__}, but the checkpoint has a {type(found).__name__}"
        yield fault("other_config", what, where=files.config_path, why=_WHY, fix=fix)
        return
    names = [each.name for each in attrs.fields(type(wanted))]
    pairs = [(name, getattr(wanted, name), getattr(found, name)) for name in names]
    # None in the configuration of a text encoder says nothing.
    other = [pair for pair in pairs if pair[1] != pair[2] and (pair[1] is not None or isinstance(wanted, Config))]
    for name, ours, theirs in other[:LISTED]:
        what = f"{path}.{name} is {_plain(ours)}, but {_plain(theirs)} in the checkpoint"
        yield fault("other_config", what, where=files.config_path, why=_WHY, fix=fix)
    if len(other) > LISTED:
        what = f"{path} differs from the checkpoint in {len(other) - LISTED} more keys"
        yield fault("other_config", what, where=files.config_path, why=_WHY, fix=fix)


def vocoder_faults(config: LTX2T2VConfig, checkpoint: Checkpoint) -> Iterator[Fault]:
    """Whether the vocoder may run in the number format that is set."""
    files = checkpoint.found.get("vocoder")
    wideband = files is not None and files.config.get("_class_name") == WidebandVocoderConfig.diffusers_class
    if wideband and config.vocoder_precision != "fp32":
        what = f"vocoder_precision is {config.vocoder_precision}, but the vocoder is that of LTX-{checkpoint.family}"
        why = "it was trained in fp32, and sounds worse in any other number format"
        yield fault("contradiction", what, why=why, fix="set vocoder_precision to fp32")


def _plain(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)
