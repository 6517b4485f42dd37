"""Official names and ours: one to one over all names of the released models, and those that diffusers gives."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_ltx2_audio_vae_to_diffusers,
    convert_ltx2_transformer_to_diffusers,
    convert_ltx2_vae_to_diffusers,
)

from stagegraph_ltx2.checkpoint.identify import identify, official_names
from stagegraph_ltx2.checkpoint.keymaps import CONNECTORS, OFFICIAL, TRANSFORMER, VIDEO_VAE, VOCODER, KeyMap
from stagegraph_ltx2.checkpoint.names import Names
from stagegraph_ltx2.checkpoint.tiny import NETWORKS

from ..small import RELEASED

RELEASES = [(family, name) for family in ("2.0", "2.3") for name in RELEASED[family]]
IN_ONE_FILE = ("transformer", "connectors", "vae", "audio_vae", "vocoder")


@cache
def names_of(family: str, component: str) -> tuple[str, ...]:
    """Our names of all tensors of a released network."""
    with torch.device("meta"):
        return tuple(NETWORKS[component](RELEASED[family][component]).state_dict())


@cache
def official_file(family: str) -> tuple[str, ...]:
    """The names of all tensors in an official single file."""
    return tuple(official_names(name).stored(ours) for name in IN_ONE_FILE for ours in names_of(family, name))


@pytest.mark.parametrize(("family", "component"), RELEASES)
def test_names_are_one_to_one(family: str, component: str) -> None:
    """There and back, for every tensor of the released networks."""
    names, keys = names_of(family, component), OFFICIAL[component]
    official = [keys.official(name) for name in names]
    assert len(set(official)) == len(names)
    assert [keys.ours(name) for name in official] == list(names)


@pytest.mark.parametrize(("family", "component"), RELEASES)
def test_paths_of_modules_are_renamed_like_their_tensors(family: str, component: str) -> None:
    """As the keys of a LoRA need it: without the name of the parameter at the end."""
    keys = OFFICIAL[component]
    for name in names_of(family, component):
        path, _, leaf = name.rpartition(".")
        if leaf in ("weight", "bias"):
            assert f"{keys.official(path)}.{leaf}" == keys.official(name)
            assert keys.ours(keys.official(path)) == path


@pytest.mark.parametrize(
    ("keys", "official", "ours"),
    [
        (TRANSFORMER, "adaln_single.linear.weight", "time_embed.linear.weight"),
        (
            TRANSFORMER,
            "audio_adaln_single.emb.timestep_embedder.linear_1",
            "audio_time_embed.emb.timestep_embedder.linear_1",
        ),
        (TRANSFORMER, "av_ca_a2v_gate_adaln_single.linear.bias", "av_cross_attn_video_a2v_gate.linear.bias"),
        (TRANSFORMER, "av_ca_v2a_gate_adaln_single.linear.bias", "av_cross_attn_audio_v2a_gate.linear.bias"),
        (TRANSFORMER, "prompt_adaln_single.linear", "prompt_adaln.linear"),
        (TRANSFORMER, "audio_prompt_adaln_single.linear", "audio_prompt_adaln.linear"),
        (
            TRANSFORMER,
            "transformer_blocks.7.scale_shift_table_a2v_ca_audio",
            "transformer_blocks.7.audio_a2v_cross_attn_scale_shift_table",
        ),
        (TRANSFORMER, "transformer_blocks.7.prompt_scale_shift_table", "transformer_blocks.7.prompt_scale_shift_table"),
        (TRANSFORMER, "audio_patchify_proj.weight", "audio_proj_in.weight"),
        (
            CONNECTORS,
            "audio_embeddings_connector.transformer_1d_blocks.0.attn1.k_norm.weight",
            "audio_connector.transformer_blocks.0.attn1.norm_k.weight",
        ),
        (CONNECTORS, "text_embedding_projection.audio_aggregate_embed.bias", "audio_text_proj_in.bias"),
        (
            VIDEO_VAE,
            "encoder.down_blocks.8.res_blocks.1.conv1.conv.weight",
            "encoder.mid_block.resnets.1.conv1.conv.weight",
        ),
        (VIDEO_VAE, "encoder.down_blocks.7.conv.conv.bias", "encoder.down_blocks.3.downsamplers.0.conv.conv.bias"),
        (VIDEO_VAE, "decoder.up_blocks.0.res_blocks.1", "decoder.mid_block.resnets.1"),
        (VIDEO_VAE, "decoder.up_blocks.7.conv.conv.bias", "decoder.up_blocks.3.upsamplers.0.conv.conv.bias"),
        (VIDEO_VAE, "decoder.up_blocks.8.res_blocks.0", "decoder.up_blocks.3.resnets.0"),
        (VIDEO_VAE, "decoder.last_scale_shift_table", "decoder.scale_shift_table"),
        (VIDEO_VAE, "per_channel_statistics.std-of-means", "latents_std"),
        (VOCODER, "ups.4.weight", "upsamplers.4.weight"),
        (
            VOCODER,
            "bwe_generator.resblocks.3.acts1.0.downsample.lowpass.filter",
            "bwe_generator.resnets.3.acts1.0.downsample.filter",
        ),
        (VOCODER, "vocoder.act_post.upsample.filter", "vocoder.act_out.upsample.filter"),
        (VOCODER, "mel_stft.stft_fn.forward_basis", "mel_stft.stft_fn.forward_basis"),
    ],
)
def test_names_by_hand(keys: KeyMap, official: str, ours: str) -> None:
    """Those that a plain replacement of words would get wrong, among others."""
    assert keys.ours(official) == ours
    assert keys.official(ours) == official


@pytest.mark.parametrize(
    ("component", "convert"),
    [
        ("transformer", convert_ltx2_transformer_to_diffusers),
        ("vae", convert_ltx2_vae_to_diffusers),
        ("audio_vae", convert_ltx2_audio_vae_to_diffusers),
    ],
)
def test_official_names_are_those_that_diffusers_reads(component: str, convert: object) -> None:
    """Of LTX-2.0, which it can open."""
    names = names_of("2.0", component)
    official = {official_names(component).stored(name): name for name in names}
    assert convert(dict(official)) == {name: name for name in names}  # type: ignore[operator]


def test_an_official_file_has_as_many_tensors_as_the_released_one() -> None:
    """LTX-2.3, by the first piece of their names."""
    names = official_file("2.3")
    counts = Counter(name.partition(".")[0] for name in names)
    assert counts == {
        "model": 4444,
        "vocoder": 1227,
        "vae": 170,
        "audio_vae": 102,
        "text_embedding_projection": 4,
    }
    assert sum("embeddings_connector" in name for name in names) == 258


@pytest.mark.parametrize("family", ["2.0", "2.3"])
@pytest.mark.parametrize("diffusion", ["model.diffusion_model.", "diffusion_model.", ""])
def test_every_tensor_of_a_file_is_given_to_its_component(family: str, diffusion: str) -> None:
    """Whatever stands before the names of the transformer; nothing is left over, and nothing is given twice."""
    moved = {name.replace("model.diffusion_model.", diffusion, 1): name for name in official_file(family)}
    held = identify(moved)
    assert set(held.components) == set(IN_ONE_FILE)
    assert not held.rest
    taken = {
        name: [ours for n in moved if (ours := names.ours(n)) is not None] for name, names in held.components.items()
    }
    assert {name: sorted(ours) for name, ours in taken.items()} == {
        name: sorted(names_of(family, name)) for name in IN_ONE_FILE
    }


@pytest.mark.parametrize("family", ["2.0", "2.3"])
@pytest.mark.parametrize("component", ["vae", "audio_vae", "latent_upsampler"])
def test_a_file_of_one_component_needs_no_prefix(family: str, component: str) -> None:
    """As packs have them."""
    names = names_of(family, component)
    held = identify([OFFICIAL[component].official(name) for name in names])
    (found,) = held.components.items()
    assert found[0] == component
    assert sorted(found[1].ours(OFFICIAL[component].official(name)) or "" for name in names) == sorted(names)


def test_statistics_that_nothing_reads_are_left_out_and_told() -> None:
    """Of both VAEs."""
    extra = ["vae.per_channel_statistics.channel", "audio_vae.per_channel_statistics.mean-of-stds"]
    held = identify([*official_file("2.0"), *extra])
    assert list(held.rest) == extra
    assert all(names.ours(name) is None for names in held.components.values() for name in extra)


@pytest.mark.parametrize(
    "name",
    [
        "diffusion_model.transformer_blocks.0.attn1.to_q.lora_A.weight",
        "x.lora_down.weight",
        "transformer.y.lora_B.weight",
    ],
)
def test_a_lora_is_no_checkpoint(name: str) -> None:
    """Its names would otherwise look like those of a transformer."""
    assert identify([name]).lora
    assert not identify([name]).components


def test_a_name_without_a_place_is_a_mistake() -> None:
    """When files are written."""
    with pytest.raises(ValueError, match=r"^elsewhere\.weight$"):
        Names((("a.", "b."),)).stored("elsewhere.weight")
