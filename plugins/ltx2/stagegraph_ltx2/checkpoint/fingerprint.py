"""The identity of a component's files, without reading all of them. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from stagegraph_ltx2.checkpoint.header import read_header
from stagegraph_ltx2.errors import unreadable

SAMPLES = 64
SAMPLE_BYTES = 4096


def fingerprint_files(config: Path, files: Iterable[Path], *, whole: bool = False) -> str:
    """SHA-256, in hex, over the configuration, and over the name, header, size and 64 samples of 4 KiB of each file.

    Files without a safetensors header (a tokenizer's vocabulary) are read whole. Modification times are left out, so
    that a copy has the identity of its original. Headers and sizes alone would not do: a model and its fine-tune share
    both. What it does not see is an edit of a few weights between the samples; a digest of 38 GB takes minutes.

    Args:
        config: the configuration.
        files: of the component.
        whole: read every byte of them.

    Raises:
        ComponentError: a file that is absent, unreadable or damaged.
    """
    digest = hashlib.sha256(_whole(config))
    for path in files:
        digest.update(path.name.encode() + b"\0")
        digest.update(_sampled(path) if path.suffix == ".safetensors" and not whole else _whole(path))
    return digest.hexdigest()


def _whole(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise unreadable(path, error) from None


def _sampled(path: Path) -> bytes:
    header = read_header(path)
    digest = hashlib.sha256(f"{header.digest} {header.file_bytes}".encode())
    last = max(header.file_bytes - SAMPLE_BYTES, 0)
    try:
        with path.open("rb") as file:
            for number in range(SAMPLES):
                file.seek(last * number // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    except OSError as error:
        raise unreadable(path, error) from None
    return digest.digest()
