"""Compiled blocks of the transformer, in few variants: each takes a GPU as long as a thousand steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from stagegraph_ltx2.model.transformer import AudioVideoTransformer

Backend = Callable[..., Any]

VARIANTS = 4
"""There are two: noise levels of whole samples, and of tokens. What would need more than these runs as it is."""


@contextmanager
def compiled(transformer: AudioVideoTransformer, *, backend: str | Backend = "inductor") -> Iterator[None]:
    """Compile the blocks as long as this lasts.

    One variant serves all blocks, sizes and lengths of text: sizes are symbols of their own even where they are equal
    at first, and streams have one format. Without gradients blocks run as they are. Inductor keeps what it made in a
    folder of the machine (TORCHINDUCTOR_CACHE_DIR), so that the next piece on it begins sooner.
    """
    from torch._dynamo import config as dynamo
    from torch.fx.experimental import _config as symbols

    # Under autocast a linear layer gives bf16 and what is added to the stream fp32: the first block would differ.
    hooks = [layer.register_forward_hook(_in_fp32) for layer in (transformer.proj_in, transformer.audio_proj_in)]
    blocks: Any = transformer.transformer_blocks
    with (
        symbols.patch(use_duck_shape=False),  # type: ignore[attr-defined]
        dynamo.patch(recompile_limit=VARIANTS),
    ):
        try:
            for block in blocks:
                block.compile(dynamic=True, backend=backend)
            yield
        finally:
            for block in blocks:
                block._compiled_call_impl = None
            for hook in hooks:
                hook.remove()


def _in_fp32(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output.float()
