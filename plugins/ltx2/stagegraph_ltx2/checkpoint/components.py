"""The components that LTX-2 checkpoints have, as data. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

#: The two names that weights have in folders; diffusers writes the first, transformers the second.
STEMS = ("diffusion_pytorch_model", "model")

#: Beginnings of tensors of a text encoder that are not loaded: Gemma's eyes and its mouth.
TEXT_UNUSED = (
    "vision_tower.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
    "lm_head.",
    "language_model.lm_head.",
)

#: Where Gemma 3 comes from; its own repository has the tokenizer too.
GEMMA_REPOSITORY = "google/gemma-3-12b-it-qat-q4_0-unquantized"


@attrs.frozen
class Component:
    """One part of a checkpoint; in a diffusers folder, one folder.

    Args:
        title: what it is called in texts.
        classes: the classes that this release opens, as configurations spell them.
        config: the file that says how the component is built.
        stem: the usual name of its weights; None if it has none.
        assets: other files that it needs.
    """

    title: str
    classes: tuple[str, ...]
    config: str = "config.json"
    stem: str | None = STEMS[0]
    assets: tuple[str, ...] = ()


COMPONENTS: Mapping[str, Component] = MappingProxyType(
    {
        "transformer": Component("transformer", ("LTX2VideoTransformer3DModel",)),
        "connectors": Component("text connectors", ("LTX2TextConnectors",)),
        "vae": Component("video VAE", ("AutoencoderKLLTX2Video",)),
        "audio_vae": Component("audio VAE", ("AutoencoderKLLTX2Audio",)),
        "vocoder": Component("vocoder", ("LTX2Vocoder", "LTX2VocoderWithBWE")),
        "latent_upsampler": Component("latent upsampler", ("LTX2LatentUpsamplerModel",)),
        "text_encoder": Component(
            "text encoder", ("Gemma3ForConditionalGeneration", "Gemma3ForCausalLM"), stem=STEMS[1]
        ),
        "tokenizer": Component(
            "tokenizer",
            ("GemmaTokenizer", "GemmaTokenizerFast"),
            "tokenizer_config.json",
            None,
            assets=("tokenizer.json",),
        ),
        "scheduler": Component("scheduler", ("FlowMatchEulerDiscreteScheduler",), "scheduler_config.json", None),
    }
)
