"""The configuration of a pipeline as a value: its names and defaults, its JSON, and what it refuses."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stagegraph_ltx2
from stagegraph.errors import ComponentError
from stagegraph.serde import StructureError
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    GemmaConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
    WidebandVocoderConfig,
)
from stagegraph_ltx2.pipeline_configs import LTX2T2VConfig
from stagegraph_ltx2.text_functions import ltx2_postprocess_text, preprocess_text

DEFAULTS = {
    "model_path": "",
    "pipeline_config_path": None,
    "embedded_cfg_scale": 6.0,
    "flow_shift": None,
    "flow_shift_sr": None,
    "disable_autocast": False,
    "is_causal": False,
    "dit_config": None,
    "dit_precision": "bf16",
    "upsampler_config": None,
    "upsampler_precision": "fp32",
    "vae_config": None,
    "vae_precision": "bf16",
    "vae_tiling": True,
    "vae_sp": False,
    "image_encoder_config": None,
    "image_encoder_precision": "fp32",
    "text_encoder_configs": (GemmaConfig(),),
    "text_encoder_precisions": ("bf16",),
    "preprocess_text_funcs": ("preprocess_text",),
    "postprocess_text_funcs": ("ltx2_postprocess_text",),
    "dmd_denoising_steps": None,
    "ti2v_task": False,
    "boundary_ratio": None,
    "audio_decoder_config": None,
    "vocoder_config": None,
    "audio_decoder_precision": "bf16",
    "vocoder_precision": "bf16",
}

PRECISIONS = st.sampled_from(["bf16", "fp16", "fp32"])
SIZES = st.none() | st.integers(1, 10**6)
STEPS = st.sets(st.integers(1, 1000), min_size=1, max_size=12).map(lambda steps: tuple(sorted(steps, reverse=True)))

#: What every field that has more than one value may be.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "model_path": st.text(max_size=20),
    "disable_autocast": st.booleans(),
    "dit_config": st.none() | st.builds(TransformerConfig, num_layers=st.integers(1, 99), gated_attn=st.booleans()),
    "upsampler_config": st.none() | st.builds(LatentUpsamplerConfig, mid_channels=st.sampled_from([32, 1024])),
    "vae_config": st.none() | st.builds(VideoVAEConfig, decoder_causal=st.booleans()),
    "audio_decoder_config": st.none() | st.builds(AudioVAEConfig, num_res_blocks=st.integers(1, 3)),
    "vocoder_config": st.sampled_from([None, VocoderConfig(), VocoderConfig(antialias=True, act_fn="snakebeta")])
    | st.builds(WidebandVocoderConfig, final_bias=st.booleans()),
    "text_encoder_configs": st.tuples(st.builds(GemmaConfig, hidden_size=SIZES, head_dim=SIZES)),
    "text_encoder_precisions": st.tuples(PRECISIONS),
    "preprocess_text_funcs": st.tuples(st.text(max_size=9)),
    "postprocess_text_funcs": st.tuples(st.text(max_size=9)),
    "vae_tiling": st.booleans(),
    **{f"{part}_precision": PRECISIONS for part in ("dit", "upsampler", "vae", "audio_decoder", "vocoder")},
}
SCHEDULES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"flow_shift": st.floats(0.01, 1000)}),
    st.fixed_dictionaries({"dmd_denoising_steps": STEPS}),
)
CONFIGS = st.builds(
    lambda fields, schedule: LTX2T2VConfig(**fields, **schedule), st.fixed_dictionaries({}, optional=VALUES), SCHEDULES
)


def test_names_defaults_and_their_order_are_the_known_ones() -> None:
    """Positions count as well; it is offered by the package itself."""
    signature = inspect.signature(LTX2T2VConfig)
    assert {name: parameter.default for name, parameter in signature.parameters.items()} == DEFAULTS
    assert list(signature.parameters) == list(DEFAULTS)
    assert LTX2T2VConfig("tiny").model_path == "tiny"
    assert stagegraph_ltx2.LTX2T2VConfig is LTX2T2VConfig
    with pytest.raises(AttributeError, match="module 'stagegraph_ltx2' has no attribute 'LTX2I2VConfig'"):
        _ = stagegraph_ltx2.LTX2I2VConfig


@settings(deadline=None)  # the first call makes the converter
@given(CONFIGS)
def test_json_there_and_back(config: LTX2T2VConfig) -> None:
    """Nothing is lost, and what is at its default is not written."""
    text = json.dumps(config.to_dict())
    assert LTX2T2VConfig.from_dict(json.loads(text)) == config
    assert not {name for name in config.to_dict() if getattr(config, name) == DEFAULTS[name]}


def test_every_field_goes_through_a_file(tmp_path: Path) -> None:
    """It reads as if its fields stood here; a field that is here and there alike is fine."""
    config = LTX2T2VConfig(
        "tiny", vae_precision="fp32", dmd_denoising_steps=(1000, 500), vocoder_config=VocoderConfig()
    )
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps(config.to_dict()))
    assert LTX2T2VConfig(pipeline_config_path=str(path)).settled() == config
    assert LTX2T2VConfig("tiny", pipeline_config_path=str(path)).settled() == config
    assert LTX2T2VConfig.from_file(path) == config
    assert config.settled() is config


def test_overrides_of_a_file_win(tmp_path: Path) -> None:
    """Also those that set a field back to its default; unknown ones are errors."""
    path = tmp_path / "pipeline.json"
    path.write_text('{"vae_precision": "fp32", "dit_precision": "fp16"}')
    config = LTX2T2VConfig.from_file(path, {"vae_precision": "bf16", "model_path": "tiny"})
    assert config == LTX2T2VConfig("tiny", dit_precision="fp16")
    with pytest.raises(StructureError) as caught:
        LTX2T2VConfig.from_file(path, {"vae_precison": "bf16"})
    (problem,) = caught.value.problems
    assert (problem.code, problem.what, problem.fix) == (
        "unknown_key",
        'there is no key "vae_precison" here',
        'did you mean "vae_precision"?',
    )


def test_lists_and_registered_functions_become_what_json_says() -> None:
    """In Python they can be written so."""
    config = LTX2T2VConfig(
        dmd_denoising_steps=[1000, 500],
        text_encoder_precisions=["fp32"],
        preprocess_text_funcs=(preprocess_text,),
        postprocess_text_funcs=[ltx2_postprocess_text],
        embedded_cfg_scale=6,
        flow_shift=None,
    )
    assert config == LTX2T2VConfig(dmd_denoising_steps=(1000, 500), text_encoder_precisions=("fp32",))
    assert config.sigmas == (1.0, 0.5, 0.0)
    assert LTX2T2VConfig(flow_shift=3).flow_shift == 3


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"is_causal": True},
            (
                "is_causal is True, it must be false: the transformer of LTX-2 sees all frames at once: leave it out; "
                "longer videos are made segment by segment, by stagegraph session"
            ),
        ),
        (
            {"flow_shift": -1},
            "flow_shift is -1, it must be > 0, <= 1000: leave it out, or set it to some number from 1 to 20",
        ),
        ({"dit_precision": "fp8"}, "dit_precision is 'fp8', it must be one of bf16, fp16, fp32"),
        ({"dit_config": {"num_layers": 2}}, "dit_config is {'num_layers': 2}, which is no TransformerConfig | None"),
        (
            {"vae_tiling": "yes", "model_path": None},
            "model_path is None, which is no str; vae_tiling is 'yes', which is no bool",
        ),
        (
            {"dmd_denoising_steps": [1000, "a"]},
            "dmd_denoising_steps is [1000, 'a'], which is no tuple[int, ...] | None",
        ),
        (
            {"preprocess_text_funcs": [len]},
            (
                "preprocess_text_funcs is [<built-in function len>], which is no tuple[str, ...]; register the "
                "function, and give its name"
            ),
        ),
        (
            {"text_encoder_precisions": ("bf16", "fp32"), "preprocess_text_funcs": ()},
            (
                "text_encoder_precisions has 2 entries: LTX-2 has one text encoder, it must have 1; "
                "preprocess_text_funcs has 0 entries: LTX-2 has one text encoder, it must have 1"
            ),
        ),
        (
            {"dmd_denoising_steps": (500, 1000), "flow_shift": 3.0},
            (
                "dmd_denoising_steps is [500, 1000]: it must descend from at most 1000 and stay above 0; "
                "dmd_denoising_steps and flow_shift are both set: the steps are noise levels, which nothing shifts"
            ),
        ),
        (
            {"dmd_denoising_steps": ()},
            "dmd_denoising_steps is []: it must descend from at most 1000 and stay above 0",
        ),
    ],
)
def test_what_python_gives_is_looked_at(fields: Any, text: str) -> None:
    """With the reason, and what to do."""
    with pytest.raises(ValueError) as caught:
        LTX2T2VConfig(**fields)
    assert str(caught.value) == text


def faults(path: Path, text: str | bytes, config: LTX2T2VConfig | None = None) -> str:
    """What is told of a file, without the folder that it is in."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ComponentError) as caught:
        attrs.evolve(config or LTX2T2VConfig(), pipeline_config_path=str(path)).settled()
    return str(caught.value).replace(f"{path.parent}/", "")


KNOWN = ", ".join(DEFAULTS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '{"vae_precison": "bf16", "is_causal": true, "dit_precision": 16, "dit_config": {"num_layers": 1.5}}',
            f"""\
p.json: vae_precison: error[unknown_key]: there is no key "vae_precison" here
  why: known keys: {KNOWN}
  fix: did you mean "vae_precision"?
p.json: is_causal: error[invalid_value]: is_causal is true
  why: must be false: the transformer of LTX-2 sees all frames at once
  fix: leave it out; longer videos are made segment by segment, by stagegraph session
p.json: dit_config.num_layers: error[invalid_type]: 1.5 is not an integer
  why: must be an integer
p.json: dit_precision: error[invalid_value]: 16 is not allowed
  why: must be one of bf16, fp16, fp32""",
        ),
        (
            '{"pipeline_config_path": "q.json"}',
            """\
p.json: error[ltx2.set_twice]: p.json names another file in pipeline_config_path
  why: files do not lead to files
  fix: write its fields here""",
        ),
        (
            "[]",
            """\
p.json: error[ltx2.bad_json]: p.json holds a JSON list
  why: it must be an object with fields of LTX2T2VConfig""",
        ),
        (
            '{"vae_tiling": true, "vae_tiling": false}',
            """\
p.json: error[duplicate_key]: the key "vae_tiling" appears twice
  why: keys appear once""",
        ),
    ],
)
def test_a_file_that_is_wrong_is_told_so(tmp_path: Path, text: str, told: str) -> None:
    """Everything at once, with the place inside."""
    assert faults(tmp_path / "p.json", text) == told


def test_files_are_bounded(tmp_path: Path) -> None:
    """In bytes, before they are parsed, and in depth."""
    told = [faults(tmp_path / "p.json", text) for text in (b" " * 2**20 + b"{}", b"[" * 9 + b"]" * 9)]
    assert told == [
        "p.json: error[too_large]: the document has 1048577 bytes\n  why: must have at most 1048576",
        "p.json: error[too_large]: it is nested too deep at byte 8\n  why: must be nested at most 8 deep",
    ]


def test_what_is_set_here_and_there_differently_is_refused(tmp_path: Path) -> None:
    """Field by field; which of them was meant is not guessed."""
    config = LTX2T2VConfig(vae_precision="fp32", dmd_denoising_steps=(1000, 500), dit_precision="fp16")
    text = '{"vae_precision": "fp16", "dmd_denoising_steps": [1000], "dit_precision": "fp16", "vae_tiling": false}'
    assert faults(tmp_path / "p.json", text, config) == (
        """\
p.json: error[ltx2.set_twice]: vae_precision is 'fp32', but 'fp16' in p.json
  why: a field is set in one place
  fix: take it out of p.json, or leave it out here
p.json: error[ltx2.set_twice]: dmd_denoising_steps is [1000, 500], but [1000] in p.json
  why: a field is set in one place
  fix: take it out of p.json, or leave it out here"""
    )
    assert faults(tmp_path / "p.json", '{"flow_shift": 3}', LTX2T2VConfig(dmd_denoising_steps=(1000,))) == (
        """\
p.json: error[ltx2.set_twice]: dmd_denoising_steps and flow_shift are both set: the steps are noise levels, which \
nothing shifts
  fix: set only one of them, here or there"""
    )


def test_a_file_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    """With where it was looked for; a folder is none."""
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(ComponentError) as caught:
            LTX2T2VConfig(pipeline_config_path=str(path)).settled()
        assert str(caught.value) == (
            f"{path}: error[ltx2.missing_file]: there is no file {path}\n"
            "  why: pipeline_config_path names a JSON file with fields of LTX2T2VConfig\n"
            f"  fix: ls {path.parent}"
        )
