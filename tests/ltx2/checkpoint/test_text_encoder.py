"""Gemma 3's hidden states are those that diffusers' pipeline computes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3ForConditionalGeneration, Gemma3TextModel

from stagegraph_ltx2.checkpoint.contents import Checkpoint
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.text_encoder import MAX_TOKENS, GemmaTextEncoder, load_text_encoder

Refusal = Callable[[Callable[[], object]], str]
PROMPTS = ["A red fox walks through fresh snow, the camera follows.", "  wave \n", "Ü 走"]
CPU = torch.device("cpu")


def load(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> GemmaTextEncoder:
    """The text encoder, as its files are now."""
    return load_text_encoder(open_checkpoint(checkpoint.root), device=CPU, dtype=dtype)


@pytest.fixture
def copy(tiny: Checkpoint, tmp_path: Path) -> Checkpoint:
    """The tiny checkpoint, to be changed."""
    shutil.copytree(tiny.root, tmp_path / "model")
    return open_checkpoint(tmp_path / "model")


def reference(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states [b, t, d, layers + 1] and mask [b, t], by the steps of diffusers' `_get_gemma_prompt_embeds`."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.root / "tokenizer")
    tokenizer.padding_side = "left"
    inputs = tokenizer(
        [prompt.strip() for prompt in PROMPTS],
        padding="max_length",
        max_length=1024,
        truncation=True,
        add_special_tokens=True,
        return_tensors="pt",
    )
    model = Gemma3ForConditionalGeneration.from_pretrained(checkpoint.root / "text_encoder", dtype=dtype).eval()
    with torch.no_grad():
        output = model(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, output_hidden_states=True)
    return torch.stack(output.hidden_states, dim=-1), inputs.attention_mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hidden_states_are_those_of_the_whole_model_bit_for_bit(tiny: Checkpoint, dtype: torch.dtype) -> None:
    encoded = load(tiny, dtype).encode(PROMPTS)
    states, mask = reference(tiny, dtype)
    assert encoded.hidden_states.dtype is dtype
    assert encoded.hidden_states.shape == (3, MAX_TOKENS, 32, 4)
    assert torch.equal(encoded.hidden_states, states)
    assert torch.equal(encoded.mask, mask)
    assert encoded.cut == (0, 0, 0)


def test_what_no_file_holds_equals_a_model_built_on_the_cpu(tiny: Checkpoint) -> None:
    loaded = load(tiny).model
    built = Gemma3TextModel(loaded.config)
    stored = loaded.state_dict().keys()
    computed = {name: buffer for name, buffer in built.named_buffers() if name not in stored}
    assert computed
    assert {name for name, _ in loaded.named_buffers()} == computed.keys()
    assert all(torch.equal(loaded.get_buffer(name), buffer) for name, buffer in computed.items())


@pytest.mark.parametrize("form", ["multimodal before transformers 4.52", "text model alone"])
def test_other_forms_of_the_same_weights_load(copy: Checkpoint, form: str) -> None:
    expected = load(copy).model.state_dict()
    folder = copy.root / "text_encoder"
    config = json.loads((folder / "config.json").read_text())
    state = load_file(folder / "model.safetensors")
    text = {n.removeprefix("model.language_model."): t for n, t in state.items() if "language_model" in n}
    if form == "text model alone":
        state = {f"model.{name}": tensor for name, tensor in text.items()}
        config = {**config["text_config"], "architectures": ["Gemma3ForCausalLM"]}
    else:
        others = {n.removeprefix("model."): t for n, t in state.items() if "language_model" not in n}
        state = {f"language_model.model.{name}": tensor for name, tensor in text.items()} | others
        state["language_model.lm_head.weight"] = text["embed_tokens.weight"].clone()
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    got = load(copy).model.state_dict()
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("model", [Gemma3ForConditionalGeneration, Gemma3ForCausalLM])
def test_what_transformers_saves_loads(copy: Checkpoint, model: type[Gemma3ForConditionalGeneration]) -> None:
    folder = copy.root / "text_encoder"
    expected = load(copy).model.state_dict()
    whole = Gemma3ForConditionalGeneration.from_pretrained(folder)
    if model is Gemma3ForCausalLM:
        text = Gemma3ForCausalLM(whole.config.text_config)
        text.model.load_state_dict(whole.model.language_model.state_dict())
        whole = text
    shutil.rmtree(folder)
    whole.save_pretrained(folder, max_shard_size="100kB")
    got = load(copy).model.state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


def test_a_weight_that_no_rule_names_is_refused(copy: Checkpoint, refusal: Refusal) -> None:
    path = copy.root / "text_encoder" / "model.safetensors"
    save_file(load_file(path) | {"model.audio_tower.weight": torch.zeros(1)}, path)
    assert refusal(lambda: load(copy)) == (
        "<tmp>/model/text_encoder: error[ltx2.unexpected_tensor]: 1 tensor unknown: "
        "audio_tower.weight in model.safetensors\n"
        "  why: weights without a place belong to another model, whose results this one would not give\n"
        "  fix: download the component again, or the one that its configuration describes"
    )


def test_keys_that_could_switch_something_on_are_refused_together(copy: Checkpoint, refusal: Refusal) -> None:
    path = copy.root / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    config["text_config"] |= {"auto_map": {"AutoModel": "x.Y"}, "_attn_implementation_internal": "evil/kernel"}
    path.write_text(json.dumps(config))
    why = "  why: what it changes is not known here, and the result must not depend on it\n"
    fix = "if the model works without it, or report it with the name of the checkpoint"
    assert refusal(lambda: load(copy)) == (
        "<tmp>/model/text_encoder/config.json: error[ltx2.bad_config]: "
        'unknown key "_attn_implementation_internal" in text_config\n'
        f'{why}  fix: remove "_attn_implementation_internal" {fix}\n'
        '<tmp>/model/text_encoder/config.json: error[ltx2.bad_config]: unknown key "auto_map" in text_config\n'
        f'{why}  fix: remove "auto_map" {fix}'
    )


@pytest.mark.parametrize("change", [{"hidden_size": "wide"}, {"rope_parameters": 3}, {"num_attention_heads": 0}])
def test_a_configuration_that_transformers_refuses_is_a_component_error(
    copy: Checkpoint, refusal: Refusal, change: dict[str, object]
) -> None:
    path = copy.root / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    config["text_config"] |= change
    path.write_text(json.dumps(config))
    assert refusal(lambda: load(copy)).startswith("<tmp>/model/text_encoder/config.json: error[ltx2.bad_config]: ")


def test_bos_leads_once_and_padding_is_on_the_left(tiny: Checkpoint) -> None:
    tokenizer = load(tiny).tokenizer
    tokens = tokenizer(["a wave", "<bos> a wave", ""], length=8)
    bos, pad = tokenizer.bos, tokenizer.pad
    assert (bos, pad) == (2, 0)
    for ids, mask in zip(tokens.ids.tolist(), tokens.mask.tolist(), strict=True):
        first = mask.index(1)
        assert mask == [0] * first + [1] * (8 - first)
        assert ids[:first] == [pad] * first
        assert ids[first] == bos
        assert ids.count(bos) == 1
    assert tokens.mask[2].sum() == 1


def test_tokens_that_do_not_fit_are_counted(tiny: Checkpoint) -> None:
    encoder = load(tiny)
    long = "a wave " * 1500
    whole = encoder.tokenizer([long], length=10_000)
    encoded = encoder.encode([long, "short"])
    assert encoded.mask[0].all()
    assert encoded.cut == (int(whole.mask.sum()) - MAX_TOKENS, 0)
    assert torch.equal(encoder.tokenizer([long]).ids[0], whole.ids[0][whole.mask[0] == 1][:MAX_TOKENS])


def test_without_a_pad_token_eos_fills(copy: Checkpoint) -> None:
    path = copy.root / "tokenizer" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["pad_token"]
    config["eos_token"] = {"content": "<eos>", "special": True}
    path.write_text(json.dumps(config))
    assert load(copy).tokenizer.pad == 1


def test_a_special_token_outside_the_vocabulary_is_an_error(copy: Checkpoint, refusal: Refusal) -> None:
    path = copy.root / "tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bos_token": "<start>"}))
    assert refusal(lambda: load(copy)) == (
        "<tmp>/model/tokenizer/tokenizer_config.json: error[ltx2.bad_tokenizer]: bos_token is '<start>'\n"
        "  why: it must be a token of the vocabulary in tokenizer.json\n"
        "  fix: download tokenizer/ again"
    )


def test_a_damaged_vocabulary_is_an_error(copy: Checkpoint, refusal: Refusal) -> None:
    (copy.root / "tokenizer" / "tokenizer.json").write_text('{"version": "1.0"')
    text = refusal(lambda: load(copy))
    assert text.startswith("<tmp>/model/tokenizer/tokenizer.json: error[ltx2.bad_tokenizer]: tokenizer.json: ")
    assert "EOF while parsing" in text
    assert text.endswith("  fix: download tokenizer/tokenizer.json again")
