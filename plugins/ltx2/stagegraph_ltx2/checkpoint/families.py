"""Which release of LTX-2 something is of, and which releases this one runs. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.official_keys import VIDEO_VAE_CLASS
from stagegraph_ltx2.errors import failure, fault

#: Family -> a checkpoint of it, by the name that `path` takes.
EXAMPLES: Mapping[str, str] = MappingProxyType(
    {"2.0": "Lightricks/LTX-2", "2.3": "Lightricks/LTX-2.3/ltx-2.3-22b-distilled-1.1.safetensors"}
)
FAMILIES = tuple(EXAMPLES)

SUPPORTED = f"this release opens LTX-{' and LTX-'.join(FAMILIES)}"
LACKS = "of LTX-2.5 it lacks the Gemma 4 text encoder, the diffusion decoder and the duration head"

#: Official names of files and folders: ltx-2-19b-dev, ltx-2.3-22b-distilled-1.1, ltx-2.5-22b-dev-transformer-bf16.
OFFICIAL_NAME = re.compile(r"ltx-2(\.\d+)?-\d+b-(?P<kind>dev|distilled)(?![a-z])(?!-lora)")

#: Repositories of FastVideo folders, which have no scheduler: whether they are distilled.
FASTVIDEO_REPOSITORIES: Mapping[str, bool] = MappingProxyType(
    {
        "FastVideo/LTX2-Distilled-Diffusers": True,
        "FastVideo/LTX2.3-Distilled-Diffusers": True,
        "FastVideo/LTX-2.3-Distilled-Diffusers": True,
        "FastVideo/LTX2-base": False,
        "FastVideo/LTX2-Diffusers": False,
        "FastVideo/LTX2.3-base": False,
        "FastVideo/LTX2.3-Diffusers": False,
    }
)


def family_of(name: str, config: Mapping[str, Any]) -> str | None:
    """The release that a component is of; None for one that several releases share.

    Args:
        name: of the component.
        config: in the terms of a diffusers folder.
    """
    if name == "transformer":
        if config.get("use_keyframes_abs_pos_embedding") is True or config.get("ff_bias") is False:
            return "2.5"
        return "2.3" if config.get("gated_attn") is True or config.get("cross_attn_mod") is True else "2.0"
    if name == "connectors":
        return "2.3" if config.get("per_modality_projections") is True else "2.0"
    if name == "vae":
        widths = config.get("decoder_block_out_channels")
        return "2.3" if isinstance(widths, list) and len(widths) == 4 else "2.0"
    if name == "vocoder":
        return "2.3" if config.get("_class_name") == "LTX2VocoderWithBWE" else "2.0"
    if name == "text_encoder" and str(config.get("model_type", "")).startswith("gemma4"):
        return "2.5"
    return None


def version_of(text: str) -> tuple[int, ...]:
    """The numbers that a `model_version` begins with: "2.3.rc1" and "2.3-rc2" are (2, 3)."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(number) for number in found[0].split(".")) if found and len(found[0]) < 20 else ()


def family_of_header(metadata: Mapping[str, str], config: Mapping[str, Any]) -> str | None:
    """The release that the header of an official file says that it is of; None if it does not say."""
    version = version_of(metadata.get("model_version", ""))
    vae, transformer = (part if isinstance(part := config.get(key), Mapping) else {} for key in ("vae", "transformer"))
    diffusion_decoder = vae.get("_class_name", VIDEO_VAE_CLASS) != VIDEO_VAE_CLASS
    later = transformer.get("ff_bias") is False or transformer.get("use_keyframes_abs_pos_embedding") is True
    if version >= (2, 4) or diffusion_decoder or later or "gemma_source_checkpoint" in metadata:
        return "2.5"
    if version >= (2, 3):
        return "2.3"
    return "2.0" if version else None


def unsupported(path: Path, what: str, why: str = SUPPORTED, fix: str = "") -> ComponentError:
    """The error for something that is no checkpoint of a family that this release runs."""
    return failure(
        "unsupported_checkpoint", what, where=path, why=why, fix=fix or f"use {EXAMPLES['2.0']} or {EXAMPLES['2.3']}"
    )


def refused(path: Path, family: str) -> ComponentError:
    """The error for a family that this release does not run."""
    return unsupported(path, f"{path.name} is of LTX-{family}", f"{SUPPORTED}; {LACKS}")


def mixed(path: Path, name: str, family: str, rest: str) -> Fault:
    """The fault of a component that is of another family than the transformer."""
    return fault(
        "mixed_families",
        f"the {COMPONENTS[name].title} is of LTX-{family}, and the rest of LTX-{rest}",
        where=path,
        why="what one release writes into latents or text features, another does not understand",
        fix=f"use the one of LTX-{rest}, e.g. from {EXAMPLES[rest]}",
    )
