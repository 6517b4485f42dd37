"""What holds for every network: its size, how it is built without memory, that it compiles, and its dtypes."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import torch
from torch import Tensor, nn

from stagegraph_ltx2.model.attention import as_bias
from stagegraph_ltx2.model.audio_vae import AudioVAE
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.model.vocoder import Vocoder
from stagegraph_ltx2.shapes import AudioShape, LatentShape

from ..random_weights import randomize
from ..small import AUDIO_VAE, CONNECTORS, RELEASED, TRANSFORMER, VAE, VOCODER

CLASSES = {
    "transformer": AudioVideoTransformer,
    "connectors": TextConnectors,
    "vae": VideoVAE,
    "audio_vae": AudioVAE,
    "vocoder": Vocoder,
}


@pytest.mark.parametrize(
    ("name", "parameters", "entries"),
    [
        ("transformer", 18_876_174_592, 3510),
        ("connectors", 1_431_475_200, 59),
        ("vae", 1_222_479_601, 184),
        ("audio_vae", 53_248_146, 102),
        ("vocoder", 55_592_802, 194),
    ],
)
def test_the_released_models_have_their_published_sizes(name: str, parameters: int, entries: int) -> None:
    """Counted on the meta device, where nothing is allocated."""
    with torch.device("meta"):
        model = CLASSES[name](RELEASED[name])
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


Call = Callable[..., Tensor | tuple[Tensor, ...]]
Case = Callable[[torch.dtype], tuple[nn.Module, Call, tuple[object, ...]]]


def seeded(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    randomize(model)
    return model.to(dtype).eval()


def transformer(dtype: torch.dtype, *, per_token: bool = False) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(AudioVideoTransformer(TRANSFORMER), dtype)
    shape, audio = LatentShape(2, 3, 4), AudioShape(5)
    rotary = model.rotary(video_positions(shape, 24), audio_positions(audio))
    mask = torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 1]])
    sigma = torch.tensor([900.0, 300.0])
    t = sigma[:, None] * torch.linspace(0, 1, shape.tokens) if per_token else sigma
    inputs = (
        torch.randn(2, shape.tokens, 8, dtype=dtype),
        torch.randn(2, audio.tokens, 6, dtype=dtype),
        torch.randn(2, 6, 24, dtype=dtype),
        torch.randn(2, 6, 24, dtype=dtype),
    )
    bias = as_bias(mask, dtype)
    options = {"video_context_bias": bias, "audio_context_bias": bias}
    if per_token:
        options |= {"video_cross_timestep": sigma, "audio_cross_timestep": sigma}
    return model, lambda *x: model(*x, t, sigma, rotary, **options), inputs


def transformer_per_token(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    return transformer(dtype, per_token=True)


def connectors(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(TextConnectors(CONNECTORS), dtype)
    mask = torch.tensor([[1] * 8, [0] * 5 + [1] * 3])
    return model, lambda x: model(x, mask)[:2], (torch.randn(2, 8, 24, 3, dtype=dtype),)


def video_encoder(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(VideoVAE(VAE), dtype)
    return model, model.encode, (torch.randn(2, 3, 9, 64, 96, dtype=dtype),)


def video_decoder(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(VideoVAE(VAE), dtype)
    return model, model.decode, (torch.randn(2, 8, 2, 2, 3, dtype=dtype),)


def video_decoder_at_a_timestep(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(VideoVAE(attrs.evolve(VAE, timestep_conditioning=True)), dtype)
    return model, model.decode, (torch.randn(2, 8, 2, 2, 3, dtype=dtype), torch.tensor([0.05, 0.1]))


def audio_encoder(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(AudioVAE(AUDIO_VAE), dtype)
    return model, model.encode, (torch.randn(2, 2, 9, 16, dtype=dtype),)


def audio_decoder(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(AudioVAE(AUDIO_VAE), dtype)
    return model, model.decode, (torch.randn(2, 4, 3, 4, dtype=dtype),)


def vocoder(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(Vocoder(VOCODER), dtype)
    return model, model, (torch.randn(2, 2, 5, 16, dtype=dtype),)


CASES = pytest.mark.parametrize(
    "case",
    [
        transformer,
        transformer_per_token,
        connectors,
        video_encoder,
        video_decoder,
        video_decoder_at_a_timestep,
        audio_encoder,
        audio_decoder,
        vocoder,
    ],
)


def tensors(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)


@CASES
@torch.no_grad()
def test_each_network_is_one_graph(case: Case) -> None:
    """Nothing in a forward pass reads a tensor's values, so compilation never breaks the graph."""
    _, call, inputs = case(torch.float32)
    torch.compiler.reset()
    compiled = torch.compile(call, backend="eager", fullgraph=True)
    for got, expected in zip(tensors(compiled(*inputs)), tensors(call(*inputs)), strict=True):
        assert torch.allclose(got, expected, atol=1e-5)


@CASES
@torch.no_grad()
def test_each_network_runs_in_bf16_close_to_fp32(case: Case) -> None:
    """In and out in the dtype of its weights, with the same inputs."""
    _, precise, inputs = case(torch.float32)
    _, coarse, _ = case(torch.bfloat16)
    rounded = [x.bfloat16() if isinstance(x, Tensor) and x.ndim > 1 else x for x in inputs]
    for got, expected in zip(tensors(coarse(*rounded)), tensors(precise(*inputs)), strict=True):
        assert got.dtype == torch.bfloat16
        assert (got.float() - expected).square().mean() < 0.1**2 * expected.square().mean()


@CASES
@torch.no_grad()
def test_each_network_can_be_built_without_memory_and_filled(case: Case) -> None:
    """A network on the meta device owns nothing but its state dict, so assigning that is enough to run it."""
    model, call, inputs = case(torch.float32)
    expected = tensors(call(*inputs))
    state = model.state_dict()
    model.to("meta")
    model.load_state_dict(state, strict=True, assign=True)
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    for got, before in zip(tensors(call(*inputs)), expected, strict=True):
        assert torch.equal(got, before)
