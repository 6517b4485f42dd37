"""What diffusers writes into a folder beside the components, as data. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: The release of diffusers whose classes the configurations describe.
DIFFUSERS_VERSION = "0.42.1"

#: Of a distilled checkpoint.
SCHEDULER: Mapping[str, Any] = MappingProxyType(
    {
        "num_train_timesteps": 1000,
        "shift": 1.0,
        "use_dynamic_shifting": False,
        "base_shift": 0.95,
        "max_shift": 2.05,
        "base_image_seq_len": 1024,
        "max_image_seq_len": 4096,
        "invert_sigmas": False,
        "shift_terminal": None,
        "use_karras_sigmas": False,
        "use_exponential_sigmas": False,
        "use_beta_sigmas": False,
        "time_shift_type": "exponential",
        "stochastic_sampling": False,
    }
)

#: Of a checkpoint that is not distilled.
BASE_SCHEDULER: Mapping[str, Any] = MappingProxyType({**SCHEDULER, "use_dynamic_shifting": True, "shift_terminal": 0.1})

#: Component -> [library, class], as diffusers' `LTX2Pipeline` saves them.
_MODEL_INDEX: Mapping[str, Any] = MappingProxyType(
    {
        "_class_name": "LTX2Pipeline",
        "_diffusers_version": DIFFUSERS_VERSION,
        "audio_vae": ["diffusers", "AutoencoderKLLTX2Audio"],
        "connectors": ["ltx2", "LTX2TextConnectors"],
        "duration_head": [None, None],
        "processor": [None, None],
        "prompt_enhancer": [None, None],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Gemma3ForConditionalGeneration"],
        "tokenizer": ["transformers", "GemmaTokenizer"],
        "transformer": ["diffusers", "LTX2VideoTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLLTX2Video"],
        "vocoder": ["ltx2", "LTX2Vocoder"],
    }
)


def labelled(class_name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as diffusers saves it."""
    return {"_class_name": class_name, "_diffusers_version": DIFFUSERS_VERSION, **values}


def scheduler_config(*, distilled: bool) -> dict[str, Any]:
    """The content of `scheduler_config.json`."""
    return labelled("FlowMatchEulerDiscreteScheduler", SCHEDULER if distilled else BASE_SCHEDULER)


def model_index(family: str) -> dict[str, Any]:
    """The content of `model_index.json` of a whole checkpoint."""
    vocoder = "LTX2Vocoder" if family == "2.0" else "LTX2VocoderWithBWE"
    return {**_MODEL_INDEX, "vocoder": ["ltx2", vocoder]}
