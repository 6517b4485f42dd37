"""What holds for every network: its size, how it is built without memory, that it compiles, and its dtypes."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import torch
from torch import Tensor, nn

from stagegraph_ltx2.model.adaln import levels, scaled
from stagegraph_ltx2.model.attention import as_bias
from stagegraph_ltx2.model.audio_vae import AudioVAE
from stagegraph_ltx2.model.conditions import Biases, Perturbation, Timesteps
from stagegraph_ltx2.model.config import TransformerConfig
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.model.vocoder import Vocoder
from stagegraph_ltx2.model.wideband_vocoder import WidebandVocoder, build_vocoder
from stagegraph_ltx2.shapes import AudioShape, LatentShape

from .. import small
from ..random_weights import randomize

CLASSES = {
    "transformer": AudioVideoTransformer,
    "connectors": TextConnectors,
    "vae": VideoVAE,
    "audio_vae": AudioVAE,
    "vocoder": build_vocoder,
    "latent_upsampler": LatentUpsampler,
}


@pytest.mark.parametrize(
    ("release", "name", "parameters", "entries"),
    [
        ("2.0", "transformer", 18_876_174_592, 3510),
        ("2.0", "connectors", 1_431_475_200, 59),
        ("2.0", "vae", 1_222_479_601, 184),
        ("2.0", "audio_vae", 53_248_146, 102),
        ("2.0", "vocoder", 55_592_802, 194),
        ("2.0", "latent_upsampler", 497_867_904, 73),
        ("2.3", "transformer", 18_988_838_144, 4186),
        ("2.3", "connectors", 3_172_227_584, 262),
        ("2.3", "vae", 726_105_969, 170),
        ("2.3", "vocoder", 128_537_448, 1227),
        ("2.3", "latent_upsampler", 497_867_904, 72),
        ("2.5", "transformer", 18_987_859_200, 4091),
    ],
)
def test_the_released_models_have_their_published_sizes(release: str, name: str, parameters: int, entries: int) -> None:
    """Counted on the meta device, where nothing is allocated."""
    with torch.device("meta"):
        model = CLASSES[name](small.RELEASED[release][name])
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


Call = Callable[..., Tensor | tuple[Tensor, ...]]
Case = Callable[[torch.dtype], tuple[nn.Module, Call, tuple[object, ...]]]


def seeded(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    randomize(model)
    return model.to(dtype).eval()


def transformer(
    dtype: torch.dtype, config: TransformerConfig = small.TRANSFORMER
) -> tuple[nn.Module, Call, tuple[object, ...]]:
    """Whole samples at a timestep each, and a text that is padded."""
    model = seeded(AudioVideoTransformer(config), dtype)
    shape, audio = LatentShape(2, 3, 4), AudioShape(5)
    rotary = model.rotary(video_positions(shape, 24), audio_positions(audio))
    bias = as_bias(torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 1]]), dtype)
    timesteps = Timesteps.alike(torch.tensor([900.0, 300.0]))

    def call(video: Tensor, audio: Tensor, *text: Tensor) -> tuple[Tensor, Tensor]:
        biases = Biases(video_text=bias, audio_text=bias)
        output: tuple[Tensor, Tensor] = model(video, audio, model.text(*text), timesteps, rotary, biases=biases)
        return output

    return model, call, transformer_inputs(config, dtype)


def transformer_inputs(config: TransformerConfig, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Video and audio of two samples, and a text for each stream."""
    widths = [config.caption_channels] * 2 if config.use_prompt_embeddings else [config.width, config.audio_width]
    shapes = ((24, 8), (5, 6), (6, widths[0]), (6, widths[1]))
    return tuple(torch.randn(2, *shape, dtype=dtype) for shape in shapes)


def transformer_2_3(
    dtype: torch.dtype, config: TransformerConfig = small.TRANSFORMER_2_3
) -> tuple[nn.Module, Call, tuple[object, ...]]:
    """Tokens at few timesteps, one of two samples with a perturbed block, and a last video token that is padding."""
    model = seeded(AudioVideoTransformer(config), dtype)
    rotary = model.rotary(video_positions(LatentShape(2, 3, 4), 24), audio_positions(AudioShape(5)))
    sigma = torch.tensor([900.0, 300.0])
    mask = levels((torch.arange(24) >= 12).float().expand(2, -1))
    timesteps = Timesteps(scaled(mask, sigma[:, None]), sigma, sigma, sigma)
    padding = as_bias((torch.arange(24) < 23).expand(2, -1), dtype)
    keyframes = (torch.arange(24) < 12).expand(2, -1) if config.use_keyframes_abs_pos_embedding else None

    def call(video: Tensor, audio: Tensor, *text: Tensor) -> tuple[Tensor, Tensor]:
        output: tuple[Tensor, Tensor] = model(
            video,
            audio,
            model.text(*text, ahead=True),
            timesteps,
            rotary,
            biases=Biases(video=padding, video_to_audio=padding),
            perturbation=Perturbation(frozenset({0}), frozenset({1}), torch.tensor([1.0, 0.0])),
            cross_timestep="mixed",
            keyframes=keyframes,
        )
        return output

    return model, call, transformer_inputs(config, dtype)


def transformer_2_5(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    return transformer_2_3(dtype, attrs.evolve(small.TRANSFORMER_2_5, use_prompt_adaln_single=False))


def connectors(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(TextConnectors(small.CONNECTORS), dtype)
    mask = torch.tensor([[1] * 8, [0] * 5 + [1] * 3])
    return model, lambda x: model(x, mask)[:2], (torch.randn(2, 8, 24, 3, dtype=dtype),)


def connectors_2_3(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(TextConnectors(small.CONNECTORS_2_3), dtype)
    mask = torch.tensor([[1] * 8, [0] * 5 + [1] * 3])
    return model, lambda x: model(x, mask)[:2], (torch.randn(2, 8, 24, 3, dtype=dtype),)


def video_encoder(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(VideoVAE(small.VAE), dtype)
    return model, model.encode, (torch.randn(2, 3, 9, 64, 96, dtype=dtype),)


def video_decoder(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(VideoVAE(small.VAE), dtype)
    return model, model.decode, (torch.randn(2, 8, 2, 2, 3, dtype=dtype),)


def video_decoder_2_3(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(VideoVAE(small.VAE_SMALL_2_3), dtype)
    return model, model.decode, (torch.randn(2, 8, 2, 1, 2, dtype=dtype),)


def video_decoder_at_a_timestep(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(VideoVAE(attrs.evolve(small.VAE, timestep_conditioning=True)), dtype)
    return model, model.decode, (torch.randn(2, 8, 2, 2, 3, dtype=dtype), torch.tensor([0.05, 0.1]))


def audio_encoder(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(AudioVAE(small.AUDIO_VAE), dtype)
    return model, model.encode, (torch.randn(2, 2, 9, 16, dtype=dtype),)


def audio_decoder(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(AudioVAE(small.AUDIO_VAE), dtype)
    return model, model.decode, (torch.randn(2, 4, 3, 4, dtype=dtype),)


def vocoder(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(Vocoder(small.VOCODER), dtype)
    return model, model, (torch.randn(2, 2, 5, 16, dtype=dtype),)


def wideband_vocoder(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(WidebandVocoder(small.VOCODER_2_3), dtype)
    return model, model, (torch.randn(2, 2, 5, 16, dtype=dtype),)


def spatial_upsampler(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(LatentUpsampler(small.UPSAMPLERS["rational x1.5"]), dtype)
    return model, model, (torch.randn(2, 8, 3, 4, 5, dtype=dtype),)


def temporal_upsampler(dtype: torch.dtype) -> tuple[nn.Module, Call, tuple[object, ...]]:
    model = seeded(LatentUpsampler(small.UPSAMPLERS["temporal x2"]), dtype)
    return model, model, (torch.randn(2, 8, 3, 4, 5, dtype=dtype),)


CASES = pytest.mark.parametrize(
    "case",
    [
        transformer,
        transformer_2_3,
        transformer_2_5,
        connectors,
        connectors_2_3,
        video_encoder,
        video_decoder,
        video_decoder_2_3,
        video_decoder_at_a_timestep,
        audio_encoder,
        audio_decoder,
        vocoder,
        wideband_vocoder,
        spatial_upsampler,
        temporal_upsampler,
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


@CASES
def test_each_network_can_be_trained(case: Case) -> None:
    """A loss has a finite gradient in every parameter that it could depend on, and in the input."""
    model, call, inputs = case(torch.float32)
    first = inputs[0]
    assert isinstance(first, Tensor)
    first.requires_grad_(True)
    sum(x.square().sum() for x in tensors(call(*inputs))).backward()
    assert first.grad is not None
    idle = {name for name, x in model.named_parameters() if x.grad is None}
    other_half = ("decoder.", "encoder.")  # of a VAE
    assert all(name.startswith(other_half) for name in idle)
    assert all(x.grad.isfinite().all() for x in (first, *model.parameters()) if x.grad is not None)
