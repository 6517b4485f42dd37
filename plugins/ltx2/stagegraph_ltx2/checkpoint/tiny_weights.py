"""Random weights that make a lively picture and sound: bounded, smooth, different for each prompt and seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import attrs
import torch
from torch import Tensor

from stagegraph_ltx2.model.config import STRIDES, Config, VideoVAEConfig

#: Of an upsampling that adds a residual, whose channels lie side by side as pixels: a grid that the convolution must
#: outweigh.
RESIDUAL_GAIN = 4.0

#: Of queries and keys. At 1, attention to 1024 positions is nearly even, and the few that a prompt fills have no say.
ATTENTION_GAIN = 3.0

#: Of what is added alike everywhere: more of it and every frame has one colour.
CONSTANT_GAIN = 0.3

#: Logarithm of what divides the periodic activations of the wideband vocoder; the less they add, the less of the sound
#: is a constant.
CALM = 1.5

#: Upsamplings of the wideband vocoder that make the timbre; the first alone, to 500 Hz, would be a hum.
TIMBRE = tuple(f"vocoder.upsamplers.{level}.weight" for level in range(4))

#: Last layer of a vocoder -> gain that keeps the waveform away from where it is flattened or cut off. What the wideband
#: vocoder's periodic activations add grows from layer to layer, and nothing flattens its end.
LOUDNESS = {"conv_out.weight": 0.3, "vocoder.conv_out.weight": 0.004, "bwe_generator.conv_out.weight": 0.002}


#: What networks compute themselves and yet store.
CONSTANTS = (".filter", ".kernel", "mel_basis", "forward_basis", "inverse_basis")


def is_constant(name: str) -> bool:
    """Whether a tensor is a filter or a basis, which nothing was trained for."""
    return name.endswith(CONSTANTS)


@attrs.frozen
class Unfolding:
    """A convolution whose channels become pixels that lie side by side.

    Args:
        copies: how many consecutive ones do.
        gain: of its weights.
    """

    copies: int = 1
    gain: float = 1.0


PLAIN = Unfolding()


def unfoldings(config: Config | None) -> Mapping[str, Unfolding]:
    """The convolutions of a network that unfold channels, by the names of their weights."""
    if not isinstance(config, VideoVAEConfig):
        return MappingProxyType({})
    found = {"decoder.conv_out.conv.weight": Unfolding(config.patch_size**2)}
    for level, (kind, residual) in enumerate(
        zip(config.upsample_type, reversed(config.residual_up_blocks), strict=True)
    ):
        name = f"decoder.up_blocks.{level}.upsamplers.0.conv.conv.weight"
        found[name] = Unfolding(math.prod(STRIDES[kind]), RESIDUAL_GAIN if residual else 1.0)
    return MappingProxyType(found)


def draw(name: str, like: Tensor, generator: torch.Generator, unfolding: Unfolding = PLAIN) -> Tensor:
    """Weights for the tensor `name`, of the shape of `like`; most keep the variance of what passes through them."""
    noise = torch.randn(like.shape, generator=generator)
    if like.ndim <= 1:
        return _vector(name, noise)
    if like.ndim == 2:
        return _matrix(name, noise)
    return _sound(name, noise) if like.ndim == 3 else _smooth(name, noise, generator, unfolding)


def _keep(terms: int) -> float:
    """The size of weights at which a sum of so many terms is as large as each of them."""
    return 1 / math.sqrt(terms)


def _vector(name: str, noise: Tensor) -> Tensor:
    if name.endswith("act.beta"):
        return CALM + 0.1 * noise
    if name.endswith(("norm_q.weight", "norm_k.weight")):
        return ATTENTION_GAIN * (1 + 0.1 * noise)
    # Gemma stores the difference of its norms from 1.
    around_one = name.endswith("weight") and "norm" in name and "language_model" not in name
    if around_one or name.endswith("latents_std"):
        return 1 + 0.1 * noise
    # Small next to a blurred signal: constants would colour every picture alike.
    return 0.02 * noise


def _matrix(name: str, noise: Tensor) -> Tensor:
    if name.endswith("registers"):
        # Nearly the same: what fills the rest of 1024 positions must not drown the words.
        return noise[:1] + 0.1 * noise
    if name.endswith("table"):
        return CONSTANT_GAIN * noise
    return noise * _keep(noise.shape[1]) * (CONSTANT_GAIN if name.endswith("timestep_embedder.linear_2.weight") else 1)


def _sound(name: str, noise: Tensor) -> Tensor:
    """A convolution of the vocoder: the early ones make the timbre, the late ones fill in samples without a hiss."""
    first, second, kernel = noise.shape
    if "upsamplers" not in name:
        return noise * _keep(second * kernel) * LOUDNESS.get(name, 1.0)
    # Transposed, stored as [in, out, kernel]: about two taps meet in a sample.
    if kernel <= 8 and name not in TIMBRE:
        noise = noise[..., :1] * _blur([kernel]) * kernel * _keep(2)
    return noise * _keep(2 * first)


def _smooth(name: str, noise: Tensor, generator: torch.Generator, unfolding: Unfolding) -> Tensor:
    """A convolution over pictures: noise over channels times a blur over time and space, and a little texture.

    Channels that become neighbouring pixels get the same weights, as the pixels of an enlarged picture have.
    """
    out, into, *kernel = noise.shape
    mix = torch.randn(out // unfolding.copies, into, generator=generator).repeat_interleave(unfolding.copies, dim=0)
    # The activation before is mostly positive; what is common to all channels would be one more constant.
    mix = mix - mix.mean(dim=1, keepdim=True)
    texture = noise * _keep(math.prod(kernel))
    # Latents are independent of their neighbours: a blur of them would leave little.
    shape = _point(kernel) if name.endswith("conv_in.conv.weight") else _blur(kernel)
    return (mix.reshape(out, into, *[1] * len(kernel)) * shape + 0.02 * texture) * unfolding.gain * _keep(into)


def _point(kernel: list[int]) -> Tensor:
    """1 in the middle, 0 elsewhere."""
    point = torch.zeros(kernel)
    point[tuple(size // 2 for size in kernel)] = 1
    return point


def _blur(kernel: list[int]) -> Tensor:
    """A bell of the kernel's size that sums to 1."""
    bell = torch.ones(1)
    for size in kernel:
        axis = torch.tensor([math.comb(size - 1, place) for place in range(size)], dtype=torch.float32)
        bell = torch.outer(bell, axis / axis.sum()).flatten()
    return bell.reshape(kernel)
