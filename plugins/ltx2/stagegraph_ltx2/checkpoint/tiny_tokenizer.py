"""Tokenizers of Gemma's kind with a small vocabulary; that of the tiny checkpoint has it from a few sentences."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from stagegraph_ltx2.checkpoint.tiny_recipe import IMAGE_TOKENS, VOCABULARY

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))

TEXT = """
A red fox walks through fresh snow at dawn, the camera follows it slowly from the side.
A wave breaks on black rocks under a grey sky; gulls cry and the wind blows over the water.
Close view of a potter's hands as they shape wet clay on a turning wheel, warm light from a window.
An old train leaves the station in the rain, steam rises, people wave, the whistle sounds twice.
A woman in a yellow coat looks at the camera and says: "We have never been this far north."
The city at night from above, thousands of lights, slow movement to the left, quiet music.
A small boat drifts on a still lake, mist between the trees, a bird sings far away.
Two children run across a green field with a kite, the sound of laughter, bright summer colours.
A red circle moves to the right on a white ground; then it leaps over a blue square and stops.
Macro shot of rain on a leaf, shallow depth of field, soft focus, natural sound of drops.
"""


def tokenizer_json() -> str:
    """The file `tokenizer.json`."""
    made = learned_from(TEXT.strip().splitlines(), VOCABULARY - len(IMAGE_TOKENS))
    return str(made.to_str(pretty=True)) + "\n"


def learned_from(texts: Iterable[str], size: int) -> Tokenizer:
    """BPE with a fallback to bytes; BOS is put in front of every text.

    Args:
        texts: what merges are learned from.
        size: of the vocabulary.
    """
    tokenizer = Tokenizer(_model(texts, size))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing("<bos> $A", special_tokens=[("<bos>", 2)])
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def tokenizer_config() -> dict[str, Any]:
    """The content of `tokenizer_config.json`."""
    return {
        "tokenizer_class": "GemmaTokenizer",
        "pad_token": "<pad>",
        "eos_token": "<eos>",
        "bos_token": "<bos>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "add_bos_token": True,
        "add_eos_token": False,
        "padding_side": "left",
        "model_max_length": 1024,
    }


def _model(texts: Iterable[str], size: int) -> models.BPE:
    """Merges learned from texts; ids are in Gemma's order: special tokens, bytes, then characters and merges."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    room = size - len(SPECIAL) - len(BYTES)
    learner.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=room, show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    words = sorted(learned["vocab"], key=learned["vocab"].get)
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *BYTES, *words))}
    merges = [tuple(merge) for merge in learned["merges"]]
    return models.BPE(vocabulary, merges, unk_token=SPECIAL[3], fuse_unk=True, byte_fallback=True)
