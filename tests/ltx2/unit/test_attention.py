"""What attention does not see: masks, strengths and padding."""

from __future__ import annotations

import pytest
import torch

from stagegraph_ltx2.model.attention import Attention, as_bias, attention, strength_bias
from stagegraph_ltx2.model.conditions import Biases, Perturbation, Timesteps
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.shapes import AudioShape, LatentShape

from ..random_weights import randomize
from ..small import TRANSFORMER, TRANSFORMER_2_3


def test_a_mask_that_hides_nothing_is_no_bias() -> None:
    """Attention without a bias takes its fastest path."""
    for make in (as_bias, strength_bias):
        assert make(torch.ones(2, 5), torch.float32) is None
        assert make(torch.ones(2, 5, 5, dtype=torch.bool), torch.float32) is None
        assert make(torch.full((2, 5), 0.5), torch.float32) is not None


def test_masks_are_of_keys_or_of_queries_and_keys() -> None:
    """In the dtype of the queries."""
    keys = as_bias(torch.tensor([[1, 0, 1]]), torch.bfloat16)
    assert keys is not None
    assert (keys.shape, keys.dtype) == ((1, 1, 1, 3), torch.bfloat16)
    pairs = as_bias(torch.tensor([[[1.0, 0.5], [0.0, 1.0]]]), torch.float32)
    assert pairs is not None
    assert pairs.tolist() == [[[[0, -5000], [-10000, 0]]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_strength_multiplies_the_weight_of_a_position(dtype: torch.dtype) -> None:
    """Four alike positions, of which one counts half and one not at all, share the weight 2 : 1 : 0 : 2."""
    q, k = torch.zeros(1, 1, 1, 8, dtype=dtype), torch.zeros(1, 1, 4, 8, dtype=dtype)
    v = torch.nn.functional.one_hot(torch.arange(4), 8).to(dtype)[None, None]
    bias = strength_bias(torch.tensor([[1.0, 0.5, 0.0, 1.0]]), dtype)
    weights = attention(q, k, v, bias)[0, 0, 0, :4].float()
    assert torch.allclose(weights, torch.tensor([0.4, 0.2, 0.0, 0.4]), atol=2e-3)


def test_gates_of_zero_logits_change_nothing() -> None:
    """A gated network starts as one without gates."""
    x = torch.randn(2, 5, 12)
    gated, plain = Attention(12, 3, 4, gated=True), Attention(12, 3, 4)
    plain.load_state_dict(gated.state_dict(), strict=False)
    assert gated.to_gate_logits is not None
    for parameter in gated.to_gate_logits.parameters():
        parameter.data.zero_()
    assert torch.allclose(gated(x), plain(x), atol=1e-6)


@pytest.mark.parametrize("config", [TRANSFORMER, TRANSFORMER_2_3], ids=["2.0", "2.3"])
@torch.no_grad()
def test_tokens_of_padding_that_are_hidden_change_nothing(config: object) -> None:
    """Video and audio may be padded to any length, as their division over devices needs."""
    model = AudioVideoTransformer(config).eval()
    randomize(model)
    shape, audio_shape, t = LatentShape(2, 3, 4), AudioShape(5), Timesteps.alike(torch.tensor([700.0]))
    video, audio = torch.randn(1, 24, 8), torch.randn(1, 5, 6)
    text = torch.randn(1, 6, 24), torch.randn(1, 6, 24)
    if not config.use_prompt_embeddings:
        text = torch.randn(1, 6, 32), torch.randn(1, 6, 16)
    positions = video_positions(shape, 24), audio_positions(audio_shape)
    expected = model(video, audio, model.text(*text), t, model.rotary(*positions))

    pad = torch.nn.functional.pad
    video, audio = pad(video, (0, 0, 0, 3), value=9.0), pad(audio, (0, 0, 0, 2), value=-9.0)
    positions = pad(positions[0], (0, 0, 0, 3)), pad(positions[1], (0, 0, 0, 2))
    hide_video = as_bias(torch.arange(27)[None] < 24, torch.float32)
    hide_audio = as_bias(torch.arange(7)[None] < 5, torch.float32)
    biases = Biases(video=hide_video, video_to_audio=hide_video, audio=hide_audio, audio_to_video=hide_audio)
    got = model(video, audio, model.text(*text), t, model.rotary(*positions), biases=biases)
    assert torch.allclose(got[0][:, :24], expected[0], atol=1e-5)
    assert torch.allclose(got[1][:, :5], expected[1], atol=1e-5)


def test_what_would_have_no_effect_is_refused() -> None:
    """A block that does not exist, and keyframes where the network has no embedding of them."""
    model = AudioVideoTransformer(TRANSFORMER)
    arguments = (
        torch.randn(1, 24, 8),
        torch.randn(1, 5, 6),
        model.text(torch.randn(1, 6, 24), torch.randn(1, 6, 24)),
        Timesteps.alike(torch.tensor([700.0])),
        model.rotary(video_positions(LatentShape(2, 3, 4), 24), audio_positions(AudioShape(5))),
    )
    with pytest.raises(ValueError) as caught:
        model(*arguments, perturbation=Perturbation(audio_blocks=frozenset({2})))
    assert str(caught.value) == "block 2 cannot be perturbed: the transformer has blocks 0 to 1"
    with pytest.raises(ValueError) as caught:
        model(*arguments, keyframes=torch.ones(1, 24))
    assert str(caught.value) == "this transformer has no embedding of keyframes"


@torch.no_grad()
def test_streams_may_be_modulated_by_one_level_and_gated_by_another() -> None:
    """Mixed: where gates do not follow noise it is as by the own tokens, where modulation does not, by the other."""
    shape, audio = LatentShape(2, 3, 4), AudioShape(5)
    x, a, text = torch.randn(1, 24, 8), torch.randn(1, 5, 6), (torch.randn(1, 6, 24), torch.randn(1, 6, 24))
    mask = (torch.arange(24) >= 12).float()[None]
    t = Timesteps(900 * mask, torch.tensor([300.0]), torch.tensor([900.0]), torch.tensor([300.0]))
    for ends, same in (("gate", "own"), ("scale_shift", "other")):
        model = AudioVideoTransformer(TRANSFORMER).eval()
        randomize(model)
        for name, module in model.named_children():
            if name.startswith("av_cross_attn") and name.endswith(ends):
                module.linear.weight.zero_()
        rotary = model.rotary(video_positions(shape, 24), audio_positions(audio))
        results = {
            how: model(x, a, model.text(*text), t, rotary, cross_timestep=how)[0] for how in ("own", "other", "mixed")
        }
        assert torch.equal(results["mixed"], results[same])
        assert not torch.allclose(results["own"], results["other"], atol=1e-3)
