"""The video VAE in chunks gives what it gives at once, computes every frame once, and takes bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stagegraph_ltx2.model.config import VideoVAEConfig
from stagegraph_ltx2.model.stream import regrouped
from stagegraph_ltx2.model.video_vae import VideoVAE

from ..live_memory import peak_bytes
from ..random_weights import randomize
from ..small import VAE, VAE_SMALL_2_3

#: Nothing like these was released: a decoder that sees no later frame, an encoder that does, other strides, a timestep.
CAUSAL = attrs.evolve(VAE, decoder_causal=True, encoder_causal=False, encoder_spatial_padding_mode="reflect")
CONDITIONED = attrs.evolve(VAE, timestep_conditioning=True, decoder_layers_per_block=(2, 1, 1, 2))
CONFIGS = {"2.0": VAE, "2.3": VAE_SMALL_2_3, "causal": CAUSAL, "conditioned": CONDITIONED}
EXACT = 1e-10
"""Of values around 1, in fp64: the same sums in another order."""


def build(config: VideoVAEConfig, dtype: torch.dtype = torch.float64) -> VideoVAE:
    vae = VideoVAE(config)
    randomize(vae)
    return vae.to(dtype).eval().requires_grad_(False)


#: Random sizes, the same in every run.
SOME = settings(max_examples=20, deadline=None, derandomize=True)
VAES = {name: build(config) for name, config in CONFIGS.items()}
NAMES = st.sampled_from(list(VAES))
SIDES = st.integers(2, 4)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def timestep(vae: VideoVAE) -> Tensor | None:
    return torch.tensor([0.3], dtype=torch.float64) if vae.config.timestep_conditioning else None


@SOME
@given(name=NAMES, frames=st.integers(1, 9), height=SIDES, width=SIDES, chunk=st.integers(1, 40))
def test_decoding_in_chunks_gives_the_pixels_of_decoding_at_once(
    name: str, frames: int, height: int, width: int, chunk: int
) -> None:
    """Of any size and in any chunks; no chunk has more frames than are asked for, or none."""
    vae = VAES[name]
    z, t = noise(1, 8, frames, height, width), timestep(vae)
    chunks = list(vae.decode_chunks(z, t, frames=chunk))
    assert all(0 < piece.shape[2] <= chunk for piece in chunks)
    whole = vae.decode(z, t)
    assert torch.cat(chunks, dim=2).shape == whole.shape
    assert (torch.cat(chunks, dim=2) - whole).abs().max() < EXACT


@SOME
@given(name=NAMES, latents=st.integers(1, 4), width=SIDES, cuts=st.lists(st.integers(1, 15), max_size=6))
def test_encoding_in_chunks_gives_the_latents_of_encoding_at_once(
    name: str, latents: int, width: int, cuts: list[int]
) -> None:
    """However the frames are cut into pieces."""
    vae = VAES[name]
    x = noise(1, 3, 8 * latents - 7, 64, 32 * width).clamp(-1, 1)
    pieces, rest = [], x
    for cut in cuts:
        pieces.append(rest[:, :, :cut])
        rest = rest[:, :, cut:]
    made = torch.cat(list(vae.encode_chunks([piece for piece in (*pieces, rest) if piece.shape[2]])), dim=2)
    assert made.shape == vae.encode(x).shape
    assert (made - vae.encode(x)).abs().max() < EXACT


SINGLE = {name: build(CONFIGS[name], torch.float32) for name in ("2.0", "2.3")}


def as_bytes(pixels: Tensor) -> Tensor:
    return pixels.add(1).mul(127.5).round().clamp(0, 255)


@SOME
@given(
    name=st.sampled_from(list(SINGLE)),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last_3d]),
    frames=st.integers(1, 9),
    height=SIDES,
    width=SIDES,
    chunk=st.integers(1, 40),
)
def test_in_single_precision_less_than_one_byte_in_a_thousand_changes(
    name: str, layout: torch.memory_format, frames: int, height: int, width: int, chunk: int
) -> None:
    """And by one; of any size, in any chunks, and in either layout of memory."""
    vae = SINGLE[name].to(memory_format=torch.contiguous_format)
    z = noise(1, 8, frames, height, width).float()
    whole = as_bytes(vae.decode(z))
    vae.to(memory_format=layout)
    difference = (as_bytes(torch.cat(list(vae.decode_chunks(z, frames=chunk)), dim=2)) - whole).abs()
    assert difference.max() <= 1
    assert difference.mean() < 1e-3


def frames_convolved(vae: VideoVAE, work: Iterator[Tensor]) -> Iterator[int]:
    """After each piece, how many frames all convolutions together have made."""
    count = 0

    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal count
        count += output.shape[2]

    handles = [m.register_forward_hook(hook) for m in vae.modules() if isinstance(m, nn.Conv3d)]
    for _ in work:
        yield count
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("name", ["2.0", "2.3"])
def test_no_frame_is_computed_twice_and_the_first_ones_come_early(name: str) -> None:
    """All convolutions together make as many frames as at once; the first chunk takes less than a third of them."""
    vae = VAES[name]
    z = noise(1, 8, 25, 2, 2)
    (whole,) = frames_convolved(vae, map(vae.decode, [z]))
    made = list(frames_convolved(vae, vae.decode_chunks(z, frames=8)))
    assert made[-1] == whole
    assert made[0] < whole / 3
    x = noise(1, 3, 25, 64, 64)
    (whole,) = frames_convolved(vae, map(vae.encode, [x]))
    assert list(frames_convolved(vae, vae.encode_chunks([x[:, :, :9], *x[:, :, 9:].split(8, dim=2)])))[-1] == whole


@pytest.mark.parametrize("name", ["2.0", "2.3"])
def test_memory_does_not_grow_with_the_length_of_the_video(name: str) -> None:
    """Four times as many frames, and in chunks at most a tenth more; at once four times as much."""
    vae = build(CONFIGS[name], torch.float32)

    def drain(pieces: Iterator[Tensor]) -> None:
        for _ in pieces:
            pass

    short, long = (noise(1, 8, frames, 2, 2).float() for frames in (12, 48))
    chunked = [peak_bytes(lambda z=z: drain(vae.decode_chunks(z, frames=8))) for z in (short, long)]
    whole = [peak_bytes(lambda z=z: vae.decode(z)) for z in (short, long)]
    assert chunked[1] < 1.1 * chunked[0]
    assert whole[1] > 3.5 * whole[0]
    assert chunked[1] < whole[1] / 8


@given(lengths=st.lists(st.integers(1, 9), max_size=8), frames=st.integers(1, 7))
def test_regrouping_keeps_every_frame_in_its_place(lengths: list[int], frames: int) -> None:
    """Pieces of one length, but for the last."""
    x = torch.arange(sum(lengths), dtype=torch.float64)[None, None, :, None, None]
    pieces = list(regrouped(x.split(lengths, dim=2), frames)) if lengths else []
    assert [piece.shape[2] for piece in pieces[:-1]] == [frames] * (len(pieces) - 1)
    assert all(0 < piece.shape[2] <= frames for piece in pieces[-1:])
    assert torch.equal(torch.cat([*pieces, x[:, :, :0]], dim=2), x)


@torch.no_grad()
def test_a_stream_that_is_left_does_not_disturb_the_next_one() -> None:
    """What layers keep belongs to one video."""
    vae = VAES["2.0"]
    first, second = noise(1, 8, 5, 2, 3), noise(1, 8, 5, 3, 2)
    left = vae.decode_chunks(first, frames=2)
    next(left)
    between = torch.cat(list(vae.decode_chunks(second, frames=3)), dim=2)
    assert (between - vae.decode(second)).abs().max() < EXACT
    next(left)
