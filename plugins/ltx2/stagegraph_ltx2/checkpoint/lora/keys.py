"""How trainers call the tensors of a LoRA, as data. Needs no torch.

A key is a beginning that tells the trainer, the path of a layer, and an end that tells the factor::

    diffusion_model.transformer_blocks.0.attn1.to_q.lora_A.weight       official
    transformer.transformer_blocks.0.attn1.to_q.lora_A.weight           diffusers
    base_model.model.transformer_blocks.0.attn1.to_q.lora_A.weight      PEFT
    lora_unet_transformer_blocks_0_attn1_to_q.lora_down.weight          kohya, with ..._to_q.alpha beside it

Paths are official ones or those of diffusers, whatever the beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Literal

import attrs

Half = Literal["down", "up", "alpha"]

#: End of a key -> what it holds: A [rank, in], B [out, rank], or the number that their product is scaled by.
ENDS: Mapping[str, Half] = MappingProxyType(
    {
        ".lora_A.weight": "down",
        ".lora_B.weight": "up",
        ".lora_A.default.weight": "down",
        ".lora_B.default.weight": "up",
        ".lora_down.weight": "down",
        ".lora_up.weight": "up",
        ".lora.down.weight": "down",
        ".lora.up.weight": "up",
        ".alpha": "alpha",
    }
)

#: Parts of keys of adapters that are none of a product of two factors -> what they are called.
OTHERS: Mapping[str, str] = MappingProxyType(
    {
        ".dora_scale": "DoRA",
        ".lora_magnitude_vector": "DoRA",
        ".hada_w": "LoHa",
        ".lokr_w": "LoKr",
        ".lora_mid.": "a LoRA of convolutions (LoCon)",
        ".oft_": "OFT",
    }
)

#: Beginning of a key -> (form, what the path begins with in its place). The first that fits is taken.
BEGINNINGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "model.diffusion_model.": ("official", ""),
        "diffusion_model.": ("official", ""),
        "text_embedding_projection.": ("official", "text_embedding_projection."),
        "transformer.": ("diffusers", ""),
        "connectors.": ("diffusers", ""),
        "lora_unet_": ("kohya", ""),
        "lora_transformer_": ("kohya", ""),
    }
)

#: PEFT writes its own before that of the model that it trained, if this had one.
PEFT = "base_model.model."

#: What the form of keys without any beginning is called.
BARE = "bare"


@attrs.frozen
class Key:
    """A key of a LoRA, taken apart.

    Args:
        layer: path of the layer: official or of diffusers; with underscores for dots if the form is kohya's.
        half: what the tensor is.
        form: "official", "diffusers", "PEFT", "kohya" or "bare".
        component: of the layer, as far as the beginning tells.
    """

    layer: str
    half: Half
    form: str
    component: str = "transformer"


def read_key(name: str) -> Key | None:
    """A key, taken apart; None if it is none of a LoRA."""
    for end, half in ENDS.items():
        if name.endswith(end):
            path = name.removesuffix(end)
            form, layer = _beginning(path)
            component = "connectors" if path.removeprefix(PEFT).startswith("connectors.") else "transformer"
            return Key(layer, half, form, component) if layer else None
    return None


def _beginning(path: str) -> tuple[str, str]:
    """The form of a path, and what it is without its beginning."""
    if path.startswith(PEFT):
        return "PEFT", _beginning(path.removeprefix(PEFT))[1]
    for start, (form, instead) in BEGINNINGS.items():
        if path.startswith(start):
            return form, instead + path.removeprefix(start)
    return BARE, path


def other_kinds(names: Collection[str]) -> list[str]:
    """What adapters there are among the keys that are no LoRAs."""
    return list(dict.fromkeys(kind for part, kind in OTHERS.items() if any(part in name for name in names)))
