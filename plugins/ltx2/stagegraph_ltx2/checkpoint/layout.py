"""Which components an LTX-2 checkpoint in the diffusers folder layout has, as data. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

#: The two names that weights have; diffusers writes the first, transformers the second.
STEMS = ("diffusion_pytorch_model", "model")

SUPPORTED = "LTX-2 (19B) in the diffusers folder layout, e.g. Lightricks/LTX-2"

#: Prefixes of tensors of a text encoder that are not loaded: Gemma's eyes and its mouth.
TEXT_UNUSED = (
    "vision_tower.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
    "lm_head.",
    "language_model.lm_head.",
)


@attrs.frozen
class Component:
    """One folder of the layout.

    Args:
        classes: the classes that this release opens, as configurations spell them.
        config: the file that says how the component is built.
        stem: the usual name of its weights; None if it has none.
        assets: other files that it needs.
    """

    classes: tuple[str, ...]
    config: str = "config.json"
    stem: str | None = STEMS[0]
    assets: tuple[str, ...] = ()


COMPONENTS: Mapping[str, Component] = MappingProxyType(
    {
        "transformer": Component(("LTX2VideoTransformer3DModel",)),
        "connectors": Component(("LTX2TextConnectors",)),
        "vae": Component(("AutoencoderKLLTX2Video",)),
        "audio_vae": Component(("AutoencoderKLLTX2Audio",)),
        "vocoder": Component(("LTX2Vocoder",)),
        "latent_upsampler": Component(("LTX2LatentUpsamplerModel",)),
        "text_encoder": Component(("Gemma3ForConditionalGeneration", "Gemma3ForCausalLM"), stem=STEMS[1]),
        "tokenizer": Component(
            ("GemmaTokenizer", "GemmaTokenizerFast"),
            "tokenizer_config.json",
            None,
            assets=("tokenizer.json",),
        ),
        "scheduler": Component(("FlowMatchEulerDiscreteScheduler",), "scheduler_config.json", None),
    }
)


def model_version(classes: Mapping[str, str], transformer: Mapping[str, Any]) -> str:
    """Which release a checkpoint is of: "2.0", "2.3" or "2.5".

    Args:
        classes: component -> class, from `model_index.json`.
        transformer: the transformer's configuration; empty if there is none.
    """
    keyframes = transformer.get("use_keyframes_abs_pos_embedding") is True or transformer.get("ff_bias") is False
    if keyframes or classes.get("text_encoder", "").startswith("Gemma4"):
        return "2.5"
    gated = transformer.get("gated_attn") is True or transformer.get("cross_attn_mod") is True
    if gated or classes.get("vocoder") == "LTX2VocoderWithBWE":
        return "2.3"
    return "2.0"
