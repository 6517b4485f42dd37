"""The tokenizer of `micro`: of Gemma's kind, with a vocabulary from the sentences that it is trained on."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

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


FILE = "tokenizer.json"
"""Beside the state of a text encoder, so that another tokenizer is noticed: it follows from the sentences."""


def keep(folder: Path) -> None:
    """Write the tokenizer into the folder of a state."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(_written(), encoding="utf-8")


def check(folders: Iterable[Path]) -> None:
    """Whether text encoders in these folders have learned from sentences as they are now.

    Raises:
        SystemExit: one has not.
    """
    for path in (folder / FILE for folder in folders):
        if path.is_file() and path.read_text(encoding="utf-8") != _written():
            raise SystemExit(f"{path} is not the tokenizer that sentences give now: train text and flow again")


def _written() -> str:
    return str(tokenizer().to_str(pretty=True)) + "\n"


def tokens(texts: list[str], length: int = TEXT_LENGTH) -> NDArray[np.int64]:
    """Ids [n, length]: BOS, the text, padding on the right, where a causal text encoder does not look."""
    ids = np.full((len(texts), length), PAD, np.int64)
    for row, encoded in enumerate(tokenizer().encode_batch(texts, add_special_tokens=False)):
        if len(encoded.ids) >= length:
            raise ValueError(f"{len(encoded.ids) + 1} tokens are more than {length}: {texts[row]}")
        ids[row, : len(encoded.ids) + 1] = [BOS, *encoded.ids]
    return ids
