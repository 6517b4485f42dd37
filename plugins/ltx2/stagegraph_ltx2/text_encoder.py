"""The text encoder of LTX-2: Gemma 3's hidden states, of all layers. No logits, no vision."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import tokenizers
import torch
from torch import nn
from transformers import Gemma3TextConfig, Gemma3TextModel

from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2.checkpoint.contents import Checkpoint, ComponentFiles
from stagegraph_ltx2.checkpoint.gemma import asset_bytes
from stagegraph_ltx2.checkpoint.load import load_module
from stagegraph_ltx2.errors import failure, fault, raise_all

#: Tokens. What the connectors were trained with; a multiple of their 128 registers.
MAX_TOKENS = 1024

#: Keys of `text_config` that say how the model is built.
BUILT_FROM = frozenset(
    {
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "hidden_activation",
        "max_position_embeddings",
        "rms_norm_eps",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
        "rope_local_base_freq",
        "attention_bias",
        "query_pre_attn_scalar",
        "sliding_window",
        "sliding_window_pattern",
        "layer_types",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "use_bidirectional_attention",
    }
)

#: Keys that training, generation or bookkeeping read. Keys that are in neither list are refused: a configuration must
#: not switch on what we do not know ("auto_map", "_attn_implementation_internal", …).
UNUSED = frozenset(
    {
        "model_type",
        "architectures",
        "initializer_range",
        "attention_dropout",
        "use_cache",
        "cache_implementation",
        "tie_word_embeddings",
        "torch_dtype",
        "dtype",
        "transformers_version",
        "_name_or_path",
    }
)


@attrs.frozen(eq=False)
class Tokens:
    """Prompts as token ids, padded on the left to one length.

    Args:
        ids: [b, t], int64.
        mask: [b, t], int64: 1 = token, 0 = padding.
        cut: for each prompt, how many of its last tokens did not fit. The picture will not follow those words.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    cut: tuple[int, ...]


@attrs.frozen(eq=False)
class EncodedText:
    """What the text encoder makes of prompts.

    Args:
        hidden_states: [b, t, d, layers + 1]: the embeddings, the output of each layer but the last, the normed output
            of the last.
        mask: [b, t], int64: 1 = token, 0 = padding.
        cut: for each prompt, how many of its last tokens did not fit.
    """

    hidden_states: torch.Tensor
    mask: torch.Tensor
    cut: tuple[int, ...]


@attrs.frozen(eq=False)
class PromptTokenizer:
    """Prompts to token ids, the way LTX-2 was trained: BOS first, no EOS, padding on the left.

    Args:
        tokenizer: without padding and truncation of its own.
        bos: the id that begins a sequence.
        pad: the id that fills it up.
    """

    tokenizer: tokenizers.Tokenizer
    bos: int
    pad: int

    def __call__(self, prompts: Sequence[str], length: int = MAX_TOKENS) -> Tokens:
        """Token ids of stripped prompts, each cut or padded to `length` tokens."""
        rows = [self._ids(prompt) for prompt in prompts]
        kept = [row[:length] for row in rows]
        ids = [[self.pad] * (length - len(row)) + row for row in kept]
        mask = [[0] * (length - len(row)) + [1] * len(row) for row in kept]
        cut = tuple(len(row) - len(short) for row, short in zip(rows, kept, strict=True))
        return Tokens(torch.tensor(ids), torch.tensor(mask), cut)

    def _ids(self, prompt: str) -> list[int]:
        # Not the tokenizer's own post-processing: Gemma 3 files add BOS, others do not, and it must lead exactly once.
        ids: list[int] = self.tokenizer.encode(prompt.strip(), add_special_tokens=False).ids
        while ids[:1] == [self.bos]:
            ids = ids[1:]
        return [self.bos, *ids]


@attrs.frozen(eq=False)
class GemmaTextEncoder:
    """Gemma 3 and its tokenizer."""

    model: Gemma3TextModel
    tokenizer: PromptTokenizer

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str]) -> EncodedText:
        """Hidden states of prompts, in the model's dtype and on its device.

        The result takes 1024 d (layers + 1) numbers for each prompt: in bf16 and with the 3840 x 49 of LTX-2, 385 MB.
        """
        tokens = self.tokenizer(prompts)
        device = self.model.embed_tokens.weight.device
        mask = tokens.mask.to(device)
        output = self.model(
            input_ids=tokens.ids.to(device), attention_mask=mask, output_hidden_states=True, use_cache=False
        )
        return EncodedText(torch.stack(output.hidden_states, dim=-1), mask, tokens.cut)


def load_text_encoder(checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> GemmaTextEncoder:
    """The text encoder of a checkpoint and its tokenizer.

    Raises:
        ComponentError: absent or damaged files, a configuration with keys that are not known, weights that do not fit.
    """
    weights, vocabulary = checkpoint.components(["text_encoder", "tokenizer"])
    config = _text_config(weights)
    model = load_module(lambda: hollow_gemma(config), weights, device=device, dtype=dtype)
    return GemmaTextEncoder(model, load_tokenizer(vocabulary))


def _text_config(files: ComponentFiles) -> Gemma3TextConfig:
    """The configuration of the text model, of known keys only: none of them is a flag of a loader."""
    stored = files.config.get("text_config", files.config)
    if not isinstance(stored, dict) and stored is not files.config:
        raise failure("bad_config", "text_config is not an object", where=files.config_path)
    # transformers writes the pattern that it has read a second time, with an underscore.
    keys = {("sliding_window_pattern" if key == "_sliding_window_pattern" else key): key for key in stored}
    unknown = sorted(keys.keys() - BUILT_FROM - UNUSED)
    raise_all(_unknown_key(files, key) for key in unknown)
    try:
        # A copy: transformers fills the nested values up in place.
        return Gemma3TextConfig(
            **{ours: copy.deepcopy(stored[key]) for ours, key in keys.items() if ours in BUILT_FROM}
        )
    except Exception as error:  # transformers validates with exceptions of several unrelated types
        raise failure(
            "bad_config",
            f"{type(error).__name__}: {error}",
            where=files.config_path,
            why="transformers does not accept this as the configuration of a Gemma 3 text model",
            fix=f"download {files.config_path.name} again",
        ) from error


def _unknown_key(files: ComponentFiles, key: str) -> Fault:
    return fault(
        "bad_config",
        f'unknown key "{key}" in text_config',
        where=files.config_path,
        why="what it changes is not known here, and the result must not depend on it",
        fix=f'remove "{key}" if the model works without it, or report it with the name of the checkpoint',
    )


def hollow_gemma(config: Gemma3TextConfig) -> Gemma3TextModel:
    """The text model without weights, and with what no file holds: rotary frequencies and the scale of the embeddings.

    Called under the meta device; those few numbers are computed on the CPU, as a model that is built there has them.
    """
    model = Gemma3TextModel(config)
    with torch.device("cpu"):
        model.rotary_emb = type(model.rotary_emb)(config)
        model.embed_tokens.embed_scale = nn.Buffer(
            torch.tensor(model.embed_tokens.scalar_embed_scale), persistent=False
        )
    return model


def load_tokenizer(files: ComponentFiles) -> PromptTokenizer:
    """The tokenizer of a checkpoint. The class that its configuration names is not looked up.

    Raises:
        ComponentError: a damaged vocabulary, or one without the special tokens that the configuration names.
    """
    asset = files.assets["tokenizer.json"]
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(asset_bytes(asset))
    except ComponentError:
        raise
    except Exception as error:  # the library raises bare exceptions
        raise failure(
            "bad_tokenizer",
            f"tokenizer.json: {error}",
            where=asset.path,
            why="it is not a file of the tokenizers library",
            fix=f"download {asset.path.parent.name}/{asset.path.name} again",
        ) from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    bos = _token_id(files, tokenizer, "bos_token")
    pad = _token_id(files, tokenizer, "pad_token" if files.config.get("pad_token") is not None else "eos_token")
    return PromptTokenizer(tokenizer, bos, pad)


def _token_id(files: ComponentFiles, tokenizer: tokenizers.Tokenizer, role: str) -> int:
    token = files.config.get(role)
    if isinstance(token, Mapping):  # an added token with its flags
        token = token.get("content")
    number: Any = tokenizer.token_to_id(token) if isinstance(token, str) else None
    if number is None:
        raise failure(
            "bad_tokenizer",
            f"{role} is {token!r:.80}",
            where=files.config_path,
            why="it must be a token of the vocabulary in tokenizer.json",
            fix=f"download {files.place.name}{'/' * files.place.is_dir()} again",
        )
    return int(number)
