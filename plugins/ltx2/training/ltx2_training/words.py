"""The tokenizer of `micro`: of Gemma's kind, with a vocabulary from the sentences that it is trained on."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from . import world
from .recipe import IMAGE_TOKENS, TEXT_LENGTH, VOCABULARY
from .scenes import draw
from .sentences import sentence

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
PAD, BOS = 0, 2

#: Words that sentences of others will have, beside those of our own.
OTHERS = "An image shows the camera as it is moving with sound, music and light. A small big red-orange, 0123456789!?"


@cache
def tokenizer() -> Tokenizer:
    """BPE with a fallback to bytes; BOS is put in front of every text."""
    made = Tokenizer(_model())
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.post_processor = processors.TemplateProcessing("<bos> $A", special_tokens=[("<bos>", BOS)])
    made.add_special_tokens(list(SPECIAL))
    return made


def tokens(texts: list[str], length: int = TEXT_LENGTH) -> NDArray[np.int64]:
    """Ids [n, length]: BOS, the text, padding on the right, where a causal text encoder does not look."""
    ids = np.full((len(texts), length), PAD, np.int64)
    for row, encoded in enumerate(tokenizer().encode_batch(texts, add_special_tokens=False)):
        if len(encoded.ids) >= length:
            raise ValueError(f"{len(encoded.ids) + 1} tokens are more than {length}: {texts[row]}")
        ids[row, : len(encoded.ids) + 1] = [BOS, *encoded.ids]
    return ids


def configuration() -> dict[str, Any]:
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


def _model() -> models.BPE:
    """Merges learned from sentences; ids are in Gemma's order: special tokens, bytes, then characters and merges."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    room = VOCABULARY - len(SPECIAL) - len(BYTES) - len(IMAGE_TOKENS)
    scenes = draw(0, 2000)
    texts = [sentence(scenes, row, 0) for row in range(len(scenes))] + [OTHERS, " ".join(world.NAMES)]
    learner.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=room, show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    words = sorted(learned["vocab"], key=learned["vocab"].get)
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *BYTES, *words))}
    merges = [tuple(merge) for merge in learned["merges"]]
    return models.BPE(vocabulary, merges, unk_token=SPECIAL[3], fuse_unk=True, byte_fallback=True)
