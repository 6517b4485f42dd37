"""The tokenizer of `micro`: of Gemma's kind, with a vocabulary from the sentences that it is trained on."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from stagegraph_ltx2.checkpoint.tiny_tokenizer import learned_from

from . import world
from .recipe import IMAGE_TOKENS, TEXT_LENGTH, VOCABULARY
from .scenes import draw
from .sentences import sentence

PAD, BOS = 0, 2

#: Words that sentences of others will have, beside those of our own.
OTHERS = "An image shows the camera as it is moving with sound, music and light. A small big red-orange, 0123456789!?"


@cache
def tokenizer() -> Tokenizer:
    """BPE with a fallback to bytes; BOS is put in front of every text."""
    scenes = draw(0, 2000)
    texts = [sentence(scenes, row, 0) for row in range(len(scenes))] + [OTHERS, " ".join(world.NAMES)]
    return learned_from(texts, VOCABULARY - len(IMAGE_TOKENS))


def tokens(texts: list[str], length: int = TEXT_LENGTH) -> NDArray[np.int64]:
    """Ids [n, length]: BOS, the text, padding on the right, where a causal text encoder does not look."""
    ids = np.full((len(texts), length), PAD, np.int64)
    for row, encoded in enumerate(tokenizer().encode_batch(texts, add_special_tokens=False)):
        if len(encoded.ids) >= length:
            raise ValueError(f"{len(encoded.ids) + 1} tokens are more than {length}: {texts[row]}")
        ids[row, : len(encoded.ids) + 1] = [BOS, *encoded.ids]
    return ids
