"""What a safetensors file holds, from the names of its tensors. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

import attrs

from stagegraph_ltx2.checkpoint.components import TEXT_UNUSED
from stagegraph_ltx2.checkpoint.keymaps import OFFICIAL, SAME
from stagegraph_ltx2.checkpoint.names import Names

#: Tensors of a text encoder's file that hold the files of a tokenizer, as bytes.
TOKENIZER, ASSET = "tokenizer_json", "hf_asset__"

#: The tokenizer that other tools pack, which the tokenizers library does not read.
SENTENCEPIECE = "spiece_model"

#: Before the names of the transformer; files of it alone may have none.
DIFFUSION = ("model.diffusion_model.", "diffusion_model.", "")

#: Component -> (in the file, official) beginnings of names; {0} is one of `DIFFUSION`. The first of each is written.
PREFIXES: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "connectors": (
            ("{0}video_embeddings_connector.", "video_embeddings_connector."),
            ("{0}audio_embeddings_connector.", "audio_embeddings_connector."),
            ("text_embedding_projection.", "text_embedding_projection."),
            ("{0}text_embedding_projection.", "text_embedding_projection."),
            ("model.text_embedding_projection.", "text_embedding_projection."),
        ),
        "vae": (("vae.", ""),),
        "audio_vae": (("audio_vae.", ""),),
        "vocoder": (("vocoder.", ""),),
        "transformer": (("{0}", ""),),
    }
)

#: Gemma 3 is stored in two forms of `Gemma3ForConditionalGeneration` and in that of `Gemma3ForCausalLM`. The head is
#: tied to the embeddings, so that a stored head adds nothing; images are never encoded.
GEMMA = Names(
    prefixes=(("model.language_model.", ""), ("language_model.model.", ""), ("model.", ""), ("", "")),
    ignore=(*TEXT_UNUSED, TOKENIZER, ASSET, SENTENCEPIECE, "text_embedding_projection."),
)

#: What only Gemma's names begin with, in any form.
GEMMA_STARTS = (
    "model.language_model.",
    "language_model.model.",
    "model.layers.",
    "model.embed_tokens.",
    "model.norm.",
    "vision_model.",
    "audio_projector.",
    *TEXT_UNUSED,
    TOKENIZER,
    ASSET,
    SENTENCEPIECE,
)

#: Component -> the beginning of a name that shows it, in a file of it alone whose names have no prefix.
BARE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "vae": ("encoder.down_blocks.", "decoder.up_blocks."),
        "audio_vae": ("encoder.down.", "decoder.up."),
        "vocoder": ("conv_pre.", "bwe_generator."),
        "latent_upsampler": ("initial_conv.",),
    }
)

#: Parts of LTX-2.5 that this release does not know.
LATER = ("duration_head.",)

#: What names of tensors of a LoRA contain.
LORA = (".lora_A.", ".lora_B.", ".lora_down.", ".lora_up.", ".lora.down.", ".lora.up.")

#: Statistics that some files have and no network reads.
UNREAD = tuple(
    f"{prefix}per_channel_statistics.{name}"
    for prefix in ("", "vae.", "audio_vae.")
    for name in ("channel", "mean-of-stds", "mean-of-stds_over_std-of-means")
)


@attrs.frozen
class Holds:
    """What a file holds.

    Args:
        components: name -> the names that its tensors have there.
        lora: whether it is a LoRA, which holds differences from a model and no model.
        rest: names of tensors that belong to nothing known.
    """

    components: Mapping[str, Names]
    lora: bool = False
    rest: tuple[str, ...] = ()


def identify(names: Collection[str]) -> Holds:
    """What a file with these tensors holds, if its names are official ones."""
    if any(part in name for name in names for part in LORA):
        return Holds({}, lora=True)
    table = _table(names)
    found: set[str] = set()
    rest: list[str] = []
    for name in names:
        owner = _owner(name, table)
        if owner is None:
            rest.append(name)
        else:
            found.add(owner)
    return Holds({name: _names(name, table) for name in OFFICIAL_ORDER if name in found}, rest=tuple(rest))


OFFICIAL_ORDER = ("transformer", "connectors", "vae", "audio_vae", "vocoder", "latent_upsampler", "text_encoder")

Table = Mapping[str, tuple[tuple[str, str], ...]]


def official_names(component: str) -> Names:
    """The names that a component has in an official file with several components."""
    return _names(component, _prefixes(DIFFUSION[0]))


def _prefixes(diffusion: str) -> Table:
    return {
        component: tuple((stored.format(diffusion), official) for stored, official in pairs)
        for component, pairs in PREFIXES.items()
    }


def _table(names: Collection[str]) -> Table:
    """Component -> prefixes, in a file with these names."""
    if _any_starts(names, GEMMA_STARTS):
        text = tuple((start, start) for start in GEMMA_STARTS)
        return {"text_encoder": text, "connectors": _prefixes(DIFFUSION[0])["connectors"]}
    for component, starts in BARE.items():
        if _any_starts(names, starts):
            return {component: (("", ""),)}
    for diffusion in DIFFUSION:
        if _any_starts(names, [diffusion + start for start in ("transformer_blocks.", "video_embeddings_connector.")]):
            return _prefixes(diffusion)
    return {component: pairs for component, pairs in _prefixes(DIFFUSION[0]).items() if component != "transformer"}


def _any_starts(names: Iterable[str], starts: Collection[str]) -> bool:
    return any(name.startswith(tuple(starts)) for name in names)


def _owner(name: str, table: Table) -> str | None:
    """The component whose prefix fits best."""
    if name in UNREAD or name.startswith(LATER):
        return None
    fitting = [(len(start), owner) for owner, pairs in table.items() for start, _ in pairs if name.startswith(start)]
    return max(fitting)[1] if fitting else None


def _names(component: str, table: Table) -> Names:
    if component == "text_encoder":
        return GEMMA
    own = table[component]
    # The transformer's prefix may be empty, and then everything begins with it.
    others = tuple(start for name, pairs in table.items() if name != component for start, _ in pairs)
    longer = tuple(start for start in others if any(start.startswith(prefix) for prefix, _ in own))
    return Names(own, OFFICIAL.get(component, SAME), (*longer, *LATER), UNREAD)
