"""Whether a checkpoint is what the configuration of a pipeline says. Needs no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from stagegraph.errors import Fault
from stagegraph_ltx2.checkpoint.configs import identity, parse
from stagegraph_ltx2.checkpoint.contents import Checkpoint, ComponentFiles
from stagegraph_ltx2.errors import LISTED, fault
from stagegraph_ltx2.model.config import Config, ConfigError, GemmaConfig, WidebandVocoderConfig
from stagegraph_ltx2.pipeline_configs import LTX2T2VConfig

#: Field of a pipeline's configuration -> the network of a checkpoint that it is about.
ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "dit_config": "transformer",
        "upsampler_config": "latent_upsampler",
        "vae_config": "vae",
        "audio_decoder_config": "audio_vae",
        "vocoder_config": "vocoder",
    }
)


def config_faults(config: LTX2T2VConfig, checkpoint: Checkpoint) -> Iterator[Fault]:
    """Where the checkpoint is another than the configurations of its parts say; nothing of parts that it lacks.

    What makes no difference to a network, such as a key that another one settles, is not compared.
    """
    for field, name in ABOUT.items():
        wanted: Config | None = getattr(config, field)
        files = checkpoint.found.get(name)
        if wanted is not None and files is not None:
            with contextlib.suppress(ConfigError):  # loading tells what is wrong with it, whatever is asked for
                yield from _differences(field, identity(wanted), identity(parse(name, files.config)), files)
    files = checkpoint.found.get("text_encoder")
    if files is not None:
        (encoder,) = config.text_encoder_configs
        asked = {key: value for key, value in attrs.asdict(encoder).items() if value is not None}
        yield from _differences(
            "text_encoder_configs", asked, attrs.asdict(GemmaConfig.from_dict(files.config)), files, "[0]"
        )


def _differences(
    field: str, wanted: Mapping[str, Any], found: Mapping[str, Any], files: ComponentFiles, entry: str = ""
) -> Iterator[Fault]:
    why = "a configuration that is given must be that of the checkpoint"
    fix = f"leave {field} out, or use the checkpoint that it describes"
    other = [key for key, value in wanted.items() if value != found.get(key)]
    told = [f"{field}{entry}.{key} is {wanted[key]!r}, but {found.get(key)!r} in the checkpoint" for key in other]
    if "_class_name" in other:
        told = [f"{field} is for {wanted['_class_name']}, but the checkpoint has {found['_class_name']}"]
    if len(told) > LISTED:
        told[LISTED:] = [f"{field} differs from the checkpoint in {len(told) - LISTED} more keys"]
    for what in told:
        yield fault("other_config", what, where=files.config_path, why=why, fix=fix)


def vocoder_faults(config: LTX2T2VConfig, checkpoint: Checkpoint) -> Iterator[Fault]:
    """Whether the vocoder may run in the number format that is set."""
    files = checkpoint.found.get("vocoder")
    wideband = files is not None and files.config.get("_class_name") == WidebandVocoderConfig.diffusers_class
    if wideband and config.vocoder_precision != "fp32":
        what = f"vocoder_precision is {config.vocoder_precision}, but the vocoder is that of LTX-{checkpoint.family}"
        why = "it was trained in fp32, and sounds worse in any other number format"
        yield fault("contradiction", what, why=why, fix="set vocoder_precision to fp32")
