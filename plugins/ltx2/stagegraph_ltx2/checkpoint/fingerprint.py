"""The identity of a component, without reading all of its weights. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from stagegraph_ltx2.checkpoint.configs import PARSERS, identity, parse
from stagegraph_ltx2.checkpoint.contents import ComponentFiles
from stagegraph_ltx2.checkpoint.gemma import asset_bytes
from stagegraph_ltx2.checkpoint.stored import Stored, tensors_of
from stagegraph_ltx2.errors import unreadable
from stagegraph_ltx2.model.config import ConfigError

SAMPLES = 64
SAMPLE_BYTES = 4096
BLOCK_BYTES = 1 << 24

#: What is read of a tokenizer's configuration.
TOKENS = ("bos_token", "eos_token", "pad_token")


def fingerprint(files: ComponentFiles, *, whole: bool = False) -> str:
    """SHA-256, in hex, over the configuration; the name, number format and shape of every tensor; and 64 samples of
    4 KiB of their bytes, in the order of their names. A tokenizer is read whole.

    Names are those of the network and the configuration is that of a diffusers folder, so that the same weights have
    one identity in every layout, and a copy that of its original. Shapes alone would not do: a model and its fine-tune
    share them. What it does not see is an edit of a few weights between the samples; a digest of 38 GB takes minutes.

    Args:
        files: of the component.
        whole: read every byte of them.

    Raises:
        ComponentError: a file that is absent, unreadable or damaged.
    """
    digest = hashlib.sha256(json.dumps(dict(_config(files)), sort_keys=True, separators=(",", ":")).encode())
    if "tokenizer.json" in files.assets:
        digest.update(asset_bytes(files.assets["tokenizer.json"]))
    tensors = sorted(tensors_of(files).items())
    for name, item in tensors:
        digest.update(f"{name} {item.info.dtype} {list(item.info.shape)}\n".encode())
    for block in sampled([item for _, item in tensors], whole=whole):
        digest.update(block)
    return digest.hexdigest()


def sampled(tensors: Sequence[Stored], *, whole: bool = False) -> Iterator[bytes]:
    """Bytes of tensors at even distances, or all of them.

    Raises:
        ComponentError: a file that cannot be read.
    """
    for item, start, size in _pieces(tensors, whole=whole):
        yield from _read(item, start, size)


def _config(files: ComponentFiles) -> Mapping[str, Any]:
    if files.name == "tokenizer":
        return {key: files.config.get(key) for key in TOKENS}
    if files.name == "text_encoder":
        text = files.config.get("text_config", files.config)
        return dict(text) if isinstance(text, Mapping) else {}
    try:
        return identity(parse(files.name, files.config)) if files.name in PARSERS else files.config
    except ConfigError:  # nothing can be built from it, but it tells it from others
        return files.config


def _pieces(tensors: Sequence[Stored], *, whole: bool) -> Iterator[tuple[Stored, int, int]]:
    """(tensor, first byte in it, how many) of what is read: everything, or samples at even distances of all bytes."""
    ends = list(accumulate(item.info.nbytes for item in tensors))
    total = ends[-1] if ends else 0
    last = max(total - SAMPLE_BYTES, 0)
    size = total if whole else SAMPLE_BYTES
    starts = [0] if whole else dict.fromkeys(last * number // (SAMPLES - 1) for number in range(SAMPLES))
    for start in starts:
        stop = min(start + size, total)
        index = bisect_right(ends, start)
        while start < stop:
            begin = ends[index] - tensors[index].info.nbytes
            count = min(stop, ends[index]) - start
            yield tensors[index], start - begin, count
            start, index = start + count, index + 1


def _read(item: Stored, start: int, size: int) -> Iterator[bytes]:
    path = item.header.path
    try:
        with path.open("rb") as file:
            file.seek(item.info.offset + start)
            while size > 0 and (block := file.read(min(size, BLOCK_BYTES))):
                size -= len(block)
                yield block
    except OSError as error:
        raise unreadable(path, error) from None
