"""Parts of the networks on their own: masks, RoPE, positions, registers, padding and folding."""

from __future__ import annotations

import pytest
import torch

from stagegraph_ltx2.model import audio_vae, video_vae
from stagegraph_ltx2.model.attention import as_bias, attention
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.positions import audio_positions, middles, video_positions
from stagegraph_ltx2.model.rope import rope, rotate
from stagegraph_ltx2.model.video_blocks import (
    CausalConv3d,
    depth_to_space,
    patchify,
    space_to_depth,
    unpatchify,
)
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.shapes import AudioShape, LatentShape

from ..random_weights import randomize
from ..small import CONNECTORS, VAE


def test_a_mask_that_hides_nothing_becomes_no_bias() -> None:
    """Which lets attention take its fastest path."""
    assert as_bias(torch.ones(2, 5), torch.float32) is None


def test_a_mask_removes_what_it_hides() -> None:
    """As if the hidden keys were not there."""
    q, k, v = torch.randn(3, 2, 4, 5, 8)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0]])
    bias = as_bias(mask, torch.bfloat16)
    assert bias is not None
    assert (bias.dtype, bias.shape) == (torch.bfloat16, (2, 1, 1, 5))
    assert torch.allclose(attention(q, k, v, bias.float()), attention(q, k[:, :, :3], v[:, :, :3]), atol=1e-6)


@pytest.mark.parametrize("layout", ["split", "interleaved"])
def test_rope_keeps_lengths_and_sees_only_distances(layout: str) -> None:
    """Moving queries and keys together changes no score."""
    q, k = torch.randn(2, 1, 2, 6, 20)
    positions = torch.rand(1, 3, 6)
    here, there = (
        rope(positions + offset, [1.0, 1.0, 1.0], 40, 2, theta=20.0, layout=layout) for offset in (0.0, 0.25)
    )
    scores, moved = (rotate(q, at) @ rotate(k, at).mT for at in (here, there))
    assert torch.allclose(scores, moved, atol=1e-4)
    assert not torch.allclose(rotate(q, here), rotate(q, there), atol=1e-1)
    assert torch.allclose(rotate(q, here).norm(dim=-1), q.norm(dim=-1), atol=1e-5)


def test_channel_pairs_that_no_axis_uses_come_first_and_stand_still() -> None:
    """40 channels are 20 pairs: 6 frequencies for each of 3 axes leave 2."""
    angles = rope(torch.rand(1, 3, 6), [1.0, 1.0, 1.0], 40, 2)
    assert torch.equal(angles.cos[0, 0, :, :2], torch.ones(6, 2))
    assert torch.equal(angles.sin[0, 0, :, :2], torch.zeros(6, 2))
    assert (angles.sin[0, 1, :, :2] != 0).all()


def test_video_positions_are_seconds_and_pixels() -> None:
    """The first latent frame covers one pixel frame, each other one eight; tokens run over columns first."""
    bounds = video_positions(LatentShape(3, 2, 2), 10.0)
    assert bounds.shape == (1, 3, 12, 2)
    assert bounds[0, 0, ::4].flatten().tolist() == pytest.approx([0, 0.1, 0.1, 0.9, 0.9, 1.7])
    assert bounds[0, 1, :4].tolist() == [[0, 32], [0, 32], [32, 64], [32, 64]]
    assert bounds[0, 2, :4].tolist() == [[0, 32], [32, 64], [0, 32], [32, 64]]
    assert middles(bounds)[0, 1, :4].tolist() == [16, 16, 48, 48]


def test_audio_positions_are_seconds() -> None:
    """The first latent frame covers a hundredth of a second, each other one four."""
    bounds = audio_positions(AudioShape(3))
    assert bounds.shape == (1, 1, 3, 2)
    assert bounds[0, 0].flatten().tolist() == pytest.approx([0, 0.01, 0.01, 0.05, 0.05, 0.09])


@torch.no_grad()
def test_registers_stand_where_the_padding_was() -> None:
    """Valid text moves to the front in its order; register p mod n follows at position p, wherever the padding was."""
    connector = TextConnectors(CONNECTORS).video_connector
    randomize(connector)
    x = torch.randn(3, 8, 24)
    mask = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0, 0, 0], [1] * 8])
    filled = connector._fill(x, mask)
    registers = connector.learnable_registers.repeat(2, 1)
    assert torch.equal(filled[0], torch.cat((x[0, 5:], registers[3:])))
    assert torch.equal(filled[1], torch.cat((x[1, [0, 2, 4]], registers[3:])))
    assert torch.equal(filled[2], x[2])


@torch.no_grad()
def test_what_is_under_padding_does_not_matter() -> None:
    """Text features are the same whatever the text encoder made of padding."""
    model = TextConnectors(CONNECTORS)
    randomize(model)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    x = torch.randn(1, 8, 24, 3)
    other = torch.where(mask[:, :, None, None] == 0, 100.0, x)
    for features, same in zip(model(x, mask), model(other, mask), strict=True):
        assert torch.equal(features, same)


def test_text_that_registers_do_not_tile_is_refused() -> None:
    """Four registers cannot fill six positions by repetition."""
    with pytest.raises(
        ValueError, match=r"^the text has 6 positions, which must be a multiple of the 4 learned registers$"
    ):
        TextConnectors(CONNECTORS)(torch.randn(1, 6, 24, 3), torch.ones(1, 6))


@pytest.mark.parametrize("stride", [(1, 2, 2), (2, 1, 1), (2, 2, 2)])
def test_folding_is_undone_by_unfolding(stride: tuple[int, int, int]) -> None:
    """Channels count the old channel, then time, height and width."""
    x = torch.randn(2, 3, 4, 6, 8)
    folded = space_to_depth(x, stride)
    assert torch.equal(depth_to_space(folded, stride), x)
    st, sh, sw = stride
    assert torch.equal(folded[:, -1], x[:, -1, st - 1 :: st, sh - 1 :: sh, sw - 1 :: sw])


def test_a_patch_counts_width_before_height() -> None:
    """And is undone exactly."""
    x = torch.randn(2, 3, 2, 8, 12)
    patches = patchify(x, 4)
    assert patches.shape == (2, 48, 2, 2, 3)
    assert torch.equal(patches[:, 16 + 4 * 3 + 1], x[:, 1, :, 1::4, 3::4])
    assert torch.equal(unpatchify(patches, 4), x)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@torch.no_grad()
def test_padding_repeats_frames_in_time(causal: bool, padding: str) -> None:
    """And keeps the size, with zeros or a reflection around each frame."""
    conv = CausalConv3d(2, 3, causal=causal, padding=padding)
    x = torch.randn(2, 2, 4, 2, 3)
    before, after = (2, 0) if causal else (1, 1)
    repeated = torch.cat((x[:, :, :1].repeat(1, 1, before, 1, 1), x, x[:, :, -1:].repeat(1, 1, after, 1, 1)), dim=2)
    mode = "constant" if padding == "zeros" else "reflect"
    padded = torch.nn.functional.pad(repeated, (1, 1, 1, 1, 0, 0), mode=mode)
    expected = torch.nn.functional.conv3d(padded, conv.conv.weight, conv.conv.bias)
    assert torch.allclose(conv(x), expected, atol=1e-5)
    assert conv(x).shape == (2, 3, 4, 2, 3)


def test_frames_that_are_too_small_to_reflect_are_refused() -> None:
    """A single column has nothing to reflect."""
    with pytest.raises(ValueError, match=r"^2 x 1 latents are too few to pad by reflection, which takes 2 x 2$"):
        VideoVAE(VAE).decode(torch.randn(1, 8, 1, 2, 1))


def test_a_timestep_that_the_video_vae_does_not_take_is_refused() -> None:
    """Rather than ignored."""
    with pytest.raises(ValueError, match=r"^this video VAE decodes with no timestep$"):
        VideoVAE(VAE).decode(torch.randn(1, 8, 1, 2, 2), torch.tensor([0.05]))


@torch.no_grad()
def test_the_encoder_sees_no_future_frame() -> None:
    """Latents of a longer video begin with those of the shorter one."""
    vae = VideoVAE(VAE)
    randomize(vae)
    x = torch.randn(1, 3, 17, 64, 64)
    assert torch.allclose(vae.encode(x)[:, :, :2], vae.encode(x[:, :, :9]), atol=1e-5)


def test_packing_is_undone_exactly() -> None:
    """For video and for audio."""
    z = torch.randn(2, 8, 3, 4, 5)
    assert video_vae.pack(z).shape == (2, 60, 8)
    assert torch.equal(video_vae.unpack(video_vae.pack(z), LatentShape(3, 4, 5)), z)
    z = torch.randn(2, 8, 7, 16)
    assert audio_vae.pack(z).shape == (2, 7, 128)
    assert torch.equal(audio_vae.unpack(audio_vae.pack(z)), z)
