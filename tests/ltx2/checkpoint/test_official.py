"""The configuration in official headers: that of the released files, and back."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from stagegraph_ltx2.checkpoint.configs import identity, parse
from stagegraph_ltx2.checkpoint.families import family_of_header, version_of
from stagegraph_ltx2.checkpoint.official_read import READERS
from stagegraph_ltx2.checkpoint.official_write import official_config
from stagegraph_ltx2.checkpoint.tiny_recipe import EMBEDDED, configurations
from stagegraph_ltx2.model.config import ConfigError, ConnectorsConfig, TransformerConfig, VideoVAEConfig

from ..small import RELEASED

HEADERS = Path(__file__).parent / "headers"
RES = "compress_space_res or compress_time_res or compress_all_res"
UP = RES.replace("_res", "")
NAMES = ("transformer", "connectors", "vae", "audio_vae", "vocoder")
#: What the projection of the text reads: 49 hidden states of 3840.
SHAPES = {"2.0": {"text_proj_in.weight": (3840, 188160)}, "2.3": {"video_text_proj_in.weight": (4096, 188160)}}


@pytest.fixture(params=["2.0", "2.3"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def header(family: str) -> dict[str, Any]:
    """The configuration in the header of the released file."""
    return json.loads((HEADERS / f"{family}.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_released_headers_describe_the_released_networks(family: str, name: str) -> None:
    """In every key that matters."""
    read = parse(name, READERS[name](header(family), SHAPES[family]))
    assert identity(read) == identity(RELEASED[family][name])


def shapes_of(config: ConnectorsConfig) -> dict[str, tuple[int, ...]]:
    side = "video_text_proj_in.weight" if config.per_modality_projections else "text_proj_in.weight"
    return {side: (1, config.caption_channels * config.text_proj_in_factor)}


def test_what_is_written_is_what_the_released_headers_say(family: str) -> None:
    """But for notes, defaults, and flags of blocks that say nothing."""
    configs = {name: {"_class_name": c.diffusers_class, **c.to_dict()} for name, c in RELEASED[family].items()}
    configs.pop("latent_upsampler")
    shapes = {name: shapes_of(RELEASED[family][name]) if name == "connectors" else {} for name in configs}
    written, released = official_config(configs, shapes), header(family)
    notes = {"_diffusers_version", "attention_type", "norm_num_groups", "connector_learnable_registers_std"}
    for section in ("transformer", "vae", "audio_vae", "vocoder"):
        ours, theirs = written[section], released[section]
        if section == "transformer":
            # The width of the audio connector's heads alone differs from the video's.
            notes |= {"audio_in_channels", "audio_connector_num_attention_heads"}
        if section == "audio_vae":
            theirs["model"]["params"].pop("embed_dim", None)
        if section == "vae":
            blocks = [
                [name, {k: v for k, v in p.items() if k != "inject_noise"}] for name, p in theirs["decoder_blocks"]
            ]
            theirs = {**theirs, "decoder_blocks": blocks}
        assert {k: v for k, v in ours.items() if k not in notes} == {k: v for k, v in theirs.items() if k not in notes}


@pytest.mark.parametrize("variant", ["tiny", "tiny-2.3"])
def test_configurations_come_back_from_the_official_form(variant: str) -> None:
    """Those of the tiny checkpoints, whose encoder becomes narrower where the released ones become wider."""
    values = {name: c for name, c in configurations(EMBEDDED[variant]).items() if name != "latent_upsampler"}
    configs = {name: parse(name, value) for name, value in values.items()}
    shapes = {n: shapes_of(c) if isinstance(c, ConnectorsConfig) else {} for n, c in configs.items()}
    made = json.loads(json.dumps(official_config(values, shapes)))
    for name, config in configs.items():
        assert identity(parse(name, READERS[name](made, shapes[name]))) == identity(config)


@pytest.mark.parametrize(
    ("name", "config", "problem"),
    [
        ("transformer", {"gated_attn": True}, "transformer: audio_gated_attn=False has no place in it"),
        ("transformer", {"perturbed_attn": True}, "transformer: perturbed_attn=True has no place in it"),
        ("connectors", {"proj_bias": True}, "connectors: proj_bias=True has no place in it"),
        (
            "vae",
            {"encoder_spatial_padding_mode": "reflect", "decoder_spatial_padding_mode": "zeros"},
            "vae: encoder_spatial_padding_mode='reflect' has no place in it",
        ),
        ("vocoder", {"final_act_fn": "clamp"}, "vocoder: final_act_fn='clamp' has no place in it"),
    ],
)
def test_what_the_official_form_cannot_say_is_an_error(name: str, config: dict[str, Any], problem: str) -> None:
    """Nothing is written that would be read as something else."""
    shapes = {"text_proj_in.weight": (3840, 188160)}
    with pytest.raises(ConfigError) as caught:
        official_config(
            {name: config, "transformer": config if name == "transformer" else {}}, {name: shapes, "transformer": {}}
        )
    assert problem in caught.value.faults


def changed(family: str, path: str, value: Any) -> dict[str, Any]:
    """A header with one value changed, or removed."""
    config = copy.deepcopy(header(family))
    place: Any = config
    *sections, key = [int(word) if word.isdigit() else word for word in path.split("/")]
    for section in sections:
        place = place[section]
    if value is None:
        del place[key]
    else:
        place[key] = value
    return config


@pytest.mark.parametrize(
    ("family", "name", "path", "value", "problem"),
    [
        (
            "2.0",
            "transformer",
            "transformer/new_trick",
            True,
            "new_trick is not a key of transformer that is known here",
        ),
        (
            "2.0",
            "transformer",
            "transformer/share_ff",
            True,
            "share_ff=True is in no released LTX-2 model; supported: False",
        ),
        (
            "2.3",
            "transformer",
            "transformer/caption_proj_input_norm",
            None,
            "caption_proj_input_norm is absent, and must be False where text is projected first",
        ),
        (
            "2.3",
            "connectors",
            "transformer/caption_projection_first_linear",
            True,
            "caption_projection_first_linear is True, and must be False where text is projected first",
        ),
        (
            "2.3",
            "connectors",
            "transformer/num_attention_heads",
            "32",
            "num_attention_heads='32' must be a whole number",
        ),
        (
            "2.0",
            "transformer",
            "transformer/positional_embedding_max_pos",
            [20, 2048],
            "positional_embedding_max_pos=[20, 2048] must be 3 whole numbers",
        ),
        (
            "2.0",
            "vae",
            "vae/_class_name",
            "CausalDiffusionVAE",
            "_class_name='CausalDiffusionVAE' is in no released LTX-2 model; supported: 'CausalVideoAutoencoder'",
        ),
        (
            "2.0",
            "vae",
            "vae/encoder_blocks/1/0",
            "compress_all",
            f"encoder_blocks[1] is ['compress_all', {{'multiplier': 2}}], and must be {RES} with its numbers",
        ),
        (
            "2.0",
            "vae",
            "vae/decoder_blocks/1/1",
            {"multiplier": 1e300},
            f"decoder_blocks[1] is ['compress_all', {{'multiplier': 1e+300}}], and must be {UP} with its numbers",
        ),
        ("2.0", "vae", "vae/encoder_blocks", [], "encoder_blocks must be an odd number of blocks, 3 or more"),
        (
            "2.0",
            "vae",
            "vae/encoder_blocks/1/1",
            {"multiplier": 0.3},
            "the multipliers of its blocks make 38.4 channels",
        ),
        (
            "2.3",
            "vocoder",
            "vocoder/bwe/resblock",
            "2",
            "resblock='2' is in no released LTX-2 model; supported: 'AMP1'",
        ),
        ("2.0", "vocoder", "vocoder", 3, "vocoder is no object"),
        (
            "2.0",
            "audio_vae",
            "audio_vae/model/params/ddconfig/attn",
            1,
            "attn is not a key of audio_vae.model.params.ddconfig that is known here",
        ),
    ],
)
def test_what_is_not_known_is_refused(family: str, name: str, path: str, value: Any, problem: str) -> None:
    """A key that could change the network, a value that no release has, a number that is none."""
    with pytest.raises(ConfigError) as caught:
        READERS[name](changed(family, path, value), SHAPES[family])
    assert problem in caught.value.faults


@pytest.mark.parametrize("shapes", [{}, {"text_proj_in.weight": (3840, 100)}, {"text_proj_in.weight": (3840,)}])
def test_connectors_without_a_sound_projection_are_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    """The number of layers that it reads is told by its shape alone."""
    with pytest.raises(ConfigError, match="the projection of the text is"):
        READERS["connectors"](header("2.0"), shapes)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.3", (2, 3)),
        ("2.3.rc1", (2, 3)),
        ("2.4-rc2", (2, 4)),
        ("2.5.0", (2, 5, 0)),
        ("", ()),
        ("dev", ()),
        ("9" * 99, ()),
    ],
)
def test_versions_are_read_to_their_first_word(text: str, version: tuple[int, ...]) -> None:
    """Pre-releases count as their release."""
    assert version_of(text) == version


@pytest.mark.parametrize(
    ("metadata", "config", "family"),
    [
        ({"model_version": "2.3.0"}, {}, "2.3"),
        ({"model_version": "2.0"}, {}, "2.0"),
        ({}, {}, None),
        ({"model_version": "2.5"}, {}, "2.5"),
        ({"model_version": "2.4-rc2"}, {}, "2.5"),
        ({}, {"vae": {"_class_name": "CausalDiffusionVAE"}}, "2.5"),
        ({}, {"transformer": {"ff_bias": False}}, "2.5"),
        ({"gemma_source_checkpoint": "{}"}, {}, "2.5"),
        ({}, {"vae": 3, "transformer": []}, None),
    ],
)
def test_the_family_of_a_header(metadata: dict[str, str], config: dict[str, Any], family: str | None) -> None:
    """By its version, or by what only later releases have."""
    assert family_of_header(metadata, config) == family


def test_flags_for_all_blocks_and_for_each_are_the_same_network() -> None:
    """As diffusers takes both."""
    one, each = VideoVAEConfig(upsample_residual=True, decoder_inject_noise=False), VideoVAEConfig()
    assert identity(one) == identity(each)
    assert identity(attrs.evolve(one, upsample_residual=False)) != identity(each)


def test_what_a_network_does_not_read_does_not_make_it_another() -> None:
    """Text channels of a transformer that projects no text; and one that does is another."""
    later = TransformerConfig(use_prompt_embeddings=False)
    assert identity(later) == identity(attrs.evolve(later, caption_channels=1))
    assert identity(TransformerConfig()) != identity(TransformerConfig(caption_channels=1))
