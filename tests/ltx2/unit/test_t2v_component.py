"""`ltx2.t2v`: every field of the configuration acts on what is lent, or is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

import stagegraph as sg
from stagegraph import manifest
from stagegraph.builder import find
from stagegraph.cli.app import call
from stagegraph.context import StageContext
from stagegraph.errors import ComponentError, Fault, InputError
from stagegraph.facts import FactError
from stagegraph.manifest import ComponentDecl
from stagegraph.plugins import default_registry
from stagegraph.serde import StructureError, structure
from stagegraph_ltx2.checkpoint.device import DTYPES
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.component import FORMATTED, LTX2Checkpoint
from stagegraph_ltx2.lending import module_of
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    Config,
    GemmaConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
    WidebandVocoderConfig,
)
from stagegraph_ltx2.model.config.gemma import DEFAULTS as GEMMA_DEFAULTS
from stagegraph_ltx2.pipeline_configs import LTX2T2VConfig
from stagegraph_ltx2.recipes import RequestError, settle
from stagegraph_ltx2.schedule import base_sigmas
from stagegraph_ltx2.stages import LTX2DenoisingStage, LTX2TextEncodingStage, LTX2VideoDecodingStage
from stagegraph_ltx2.t2v_component import LTX2T2V
from stagegraph_ltx2.values import VideoLatent
from stagegraph_media import Frames

PARTS = frozenset(FORMATTED)
LATENTS = {"noise_scale": 1.0, "video_tokens": 6144}
#: Field -> the part whose number format it is.
PRECISIONS = {
    "dit_precision": "transformer",
    "upsampler_precision": "latent_upsampler",
    "vae_precision": "video_vae",
    "audio_decoder_precision": "audio_vae",
    "vocoder_precision": "vocoder",
}


def t2v(path: Path | str, **fields: Any) -> LTX2T2V:
    """On the CPU."""
    return LTX2T2V(model_path=str(path), device="cpu", **fields)


def dtypes(model: Any, part: str) -> set[torch.dtype]:
    """The number formats of the weights that are lent."""
    return {tensor.dtype for tensor in module_of(getattr(model, part)()).state_dict().values()}


def told(faults: Any) -> list[str]:
    """What faults say, without paths of this machine."""
    return [fault.what for fault in faults]


def sigmas(model: LTX2T2V, **params: Any) -> tuple[float, ...]:
    """What a denoising node goes through that is lent the transformer: the same before and after it is loaded."""
    known, loaded = (
        settle(LTX2DenoisingStage(**params), traits, LATENTS).sigmas
        for traits in (model.part_facts("transformer"), model.transformer().traits)
    )
    assert known == loaded
    return known


def refusal(model: LTX2T2V, **params: Any) -> tuple[str, str]:
    """Why a denoising node cannot have its settings, and what to do."""
    with pytest.raises(RequestError) as caught:
        settle(LTX2DenoisingStage(**params), model.part_facts("transformer"), LATENTS)
    return caught.value.what, caught.value.fix


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A distribution with functions over texts, as pip leaves it; called with its version and more entry points."""
    (tmp_path / "acme_texts.py").write_text(
        "def shout(prompt): return prompt.upper()\n"
        "def number(prompt): return 3\n"
        "def halved(encoded): return encoded.hidden_states / 2\n"
        "def short(encoded): return encoded.hidden_states[:, :8]\n"
        "constant = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(version: str = "1.0", name: str = "acme-texts", more: str = "") -> None:
        for old in tmp_path.glob(f"{name.replace('-', '_')}-*.dist-info"):
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(
            "[stagegraph_ltx2.postprocess_text]\nhalved = acme_texts:halved\nshort = acme_texts:short\n"
            "[stagegraph_ltx2.preprocess_text]\nshout = acme_texts:shout\nnumber = acme_texts:number\n"
            "constant = acme_texts:constant\nabsent = acme_texts:absent\n" + more
        )

    install()
    return install


REFUSED: dict[str, tuple[Any, str, str]] = {
    "embedded_cfg_scale": (
        7.5,
        "must be 6.0: the transformer of LTX-2 reads no embedded guidance scale",
        "leave it out, and set guidance_scale of ltx2.denoising",
    ),
    "flow_shift_sr": (
        2.0,
        "must be null: the refine pass goes through fixed noise levels, which no shift makes",
        "leave it out, or set sigmas of the ltx2.denoising node that refines",
    ),
    "is_causal": (
        True,
        "must be false: the transformer of LTX-2 sees all frames at once",
        "leave it out; longer videos are made segment by segment, by stagegraph session",
    ),
    "vae_sp": (True, "must be false: one process decodes; nproc shares the transformer alone", "leave it out"),
    "image_encoder_config": (
        {"hidden_size": 8},
        "must be null: LTX-2 has no image encoder, the video VAE encodes stills",
        "leave it out, and condition on a still by ltx2.image_conditioning",
    ),
    "image_encoder_precision": (
        "bf16",
        "must be fp32: LTX-2 has no image encoder, the video VAE encodes stills",
        "leave it out, and condition on a still by ltx2.image_conditioning",
    ),
    "ti2v_task": (
        True,
        "must be false: every checkpoint of LTX-2 also makes videos from stills, and the graph says whether it does",
        "leave it out, and run ltx2/image-to-video",
    ),
    "boundary_ratio": (0.875, "must be null: LTX-2 has one transformer for all noise levels", "leave it out"),
}


def model_path_opens(tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
    """The checkpoint there; without one there is none."""
    assert t2v(tiny).part_facts("transformer")["distilled"] is True
    assert t2v(tiny_base).part_facts("transformer")["distilled"] is False
    (fault,) = LTX2T2V().check(PARTS)
    assert str(fault) == (
        "error[missing_key]: model_path is not set\n"
        "  why: it says what to open\n"
        '  fix: set it to "micro", or to a checkpoint such as "Lightricks/LTX-2"'
    )


def pipeline_config_path_is_read(tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
    """And read anew by every check."""
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"model_path": str(tiny), "vae_precision": "fp32"}))
    model = LTX2T2V(pipeline_config_path=str(path), device="cpu")
    assert (dtypes(model, "video_vae"), dtypes(model, "transformer")) == ({torch.float32}, {torch.bfloat16})
    path.write_text('{"model_path": "", "vae_precison": "fp32"}')
    assert told(model.check(PARTS)) == ['there is no key "vae_precison" here']


def flow_shift_shifts(tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
    """The base schedule, by the odds of noise; elsewhere it is refused."""
    shifted = sigmas(t2v(tiny_base, flow_shift=5.0), num_inference_steps=4)
    plain = [1.0, 0.75, 0.5, 0.25]
    bent = [1 - 5 * s / (1 + 4 * s) for s in plain]  # 1 - sigma, before it is stretched so that 0.1 is the last
    assert shifted == pytest.approx([*(1 - b / bent[-1] * 0.9 for b in bent), 0.0])
    assert sigmas(t2v(tiny_base, flow_shift=math.exp(2.05)), num_inference_steps=9) == pytest.approx(base_sigmas(9))
    assert sigmas(t2v(tiny_base)) == base_sigmas(40, 6144)
    fix = "leave flow_shift out, or use a checkpoint that is not distilled, without sigmas"
    assert refusal(t2v(tiny, flow_shift=5.0)) == ("flow_shift is 5, but the schedule is distilled", fix)
    custom = refusal(t2v(tiny_base, flow_shift=5.0), sigmas=(1.0, 0.0))
    assert custom == ("flow_shift is 5, but the schedule is custom", fix)


def disable_autocast_refuses_it(tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
    """Where the caller switched it on; before a run and where a part is loaded."""
    model = t2v(tiny, disable_autocast=True)
    assert not list(model.check(PARTS))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (fault,) = model.check(PARTS)
        assert not list(t2v(tiny).check(PARTS))
        with pytest.raises(ComponentError) as caught:
            model.connectors()
    assert caught.value.faults == (fault,)
    assert str(fault) == (
        "error[ltx2.autocast]: autocast is switched on for cpu, but disable_autocast is set\n"
        "  why: it would compute in other number formats than are set\n"
        "  fix: leave the block with torch.autocast first, or leave disable_autocast out"
    )


def dmd_denoising_steps_are_sigmas(tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
    """Of nodes that say nothing else, and of no refine pass."""
    for path in (tiny, tiny_base):
        model = t2v(path, dmd_denoising_steps=(1000, 725, 421))
        for params in ({}, {"num_inference_steps": 3}, {"sigmas": (1.0, 0.725, 0.421, 0.0)}):
            assert sigmas(model, **params) == (1.0, 0.725, 0.421, 0.0)
    model = t2v(tiny, dmd_denoising_steps=(1000, 725, 421))
    for levels in ({"schedule": "refine"}, {"sigmas": (0.909375, 0.725, 0.421875, 0.0)}):
        refine = settle(LTX2DenoisingStage(**levels), model.transformer().traits, {"noise_scale": 0.909375})  # type: ignore[arg-type]
        assert refine.sigmas == (0.909375, 0.725, 0.421875, 0.0)
    makes, fix = (
        "dmd_denoising_steps makes the sigmas 1, 0.725, 0.421, 0",
        "leave it out of this node, or leave dmd_denoising_steps out",
    )
    assert refusal(model, sigmas=(1.0, 0.5, 0.0)) == (f"sigmas is set, but {makes}", fix)
    assert refusal(model, schedule="distilled") == (f"schedule is distilled, but {makes}", fix)
    assert refusal(model, num_inference_steps=4) == (f"num_inference_steps is 4, but {makes}", fix)


def text_encoder_precision_acts(tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
    """On the text encoder and the connectors, and on nothing else."""
    model = t2v(tiny, text_encoder_precisions=("fp32",))
    found = {part: dtypes(model, part) for part in ("text_encoder", "connectors", "transformer")}
    assert found == {"text_encoder": {torch.float32}, "connectors": {torch.float32}, "transformer": {torch.bfloat16}}


def functions_act(tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
    """Before: the prompt is another; after: the hidden states are."""

    def states(prompt: str, **fields: Any) -> torch.Tensor:
        return t2v(tiny, **fields).text_encoder().encode([prompt]).hidden_states

    plain = states("a fox")
    assert torch.equal(states("a fox", preprocess_text_funcs=("shout",)), states("A FOX"))
    assert not torch.equal(plain, states("A FOX"))
    assert torch.equal(states("a fox", postprocess_text_funcs=("halved",)), plain / 2)


def vae_tiling_says_whether_videos_are_cut(tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
    """All at once takes more memory and gives the same frames; a node that wants pieces contradicts."""
    noise = torch.randn((1, 128, 3, 2, 2), generator=torch.Generator().manual_seed(0))
    latents, stage = VideoLatent(noise, Fraction(24)), LTX2VideoDecodingStage()
    pieces, whole = t2v(tiny, vae_precision="fp32"), t2v(tiny, vae_precision="fp32", vae_tiling=False)

    def decoded(model: LTX2T2V, stage: LTX2VideoDecodingStage) -> tuple[Frames, int]:
        steps: list[Any] = []
        context = StageContext(on_progress=lambda *told: steps.append(told))
        return stage.run(latents, video_vae=model.video_vae(), context=context), len(steps)

    cut, several = decoded(pieces, LTX2VideoDecodingStage(chunk_frames=4))
    uncut, one = decoded(whole, stage)
    assert several > one == 1
    assert np.abs(cut.pixels.astype(int) - uncut.pixels).max() <= 1

    known = {"latent_frames": 99, "latent_height": 64, "latent_width": 64, "frame_rate": Fraction(24)}
    less, more = (
        stage.memory({"latents": known, "video_vae": model.part_facts("video_vae")}) for model in (pieces, whole)
    )
    assert isinstance(less, int)
    assert isinstance(more, int)
    assert less < more
    assert next(iter(whole.lighter())) == ({"vae_tiling": True}, "the same result")
    assert list(pieces.lighter()) == [({"vae_precision": "bf16"}, "another format: the result changes")]
    assert not list(t2v(tiny).lighter())
    assert whole.cache_facts() == {**pieces.cache_facts(), "vae_tiling": "false"}

    for params, asked in (({"tiling": "spatial"}, "tiling is spatial"), ({"chunk_frames": 8}, "chunk_frames is 8")):
        wanting = LTX2VideoDecodingStage(**params)  # type: ignore[arg-type]
        what = f"{asked}, but vae_tiling of the component is false"
        with pytest.raises(FactError) as foretold:
            wanting.facts({"video_vae": whole.part_facts("video_vae")})
        assert (foretold.value.what, foretold.value.port) == (what, "video_vae")
        with pytest.raises(InputError) as caught:
            wanting.run(latents, video_vae=whole.video_vae(), context=StageContext())
        assert str(caught.value) == (
            f"error[ltx2.contradiction]: {what}\n"
            "  why: it decodes videos all at once\n"
            "  fix: leave the setting out, or set vae_tiling to true"
        )
        assert wanting.facts({"video_vae": pieces.part_facts("video_vae")}) == {}


def config_is_compared(field: str, name: str, other: Config, key: str) -> Callable[..., None]:
    """That of the checkpoint passes, another is told by field and both values."""

    def compare(tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
        own = type(other).from_dict(open_checkpoint(tiny).component(name).config)
        assert not list(t2v(tiny, **{field: own}).check(PARTS))
        changed = attrs.evolve(own, **{key: getattr(other, key)})
        model = t2v(tiny, **{field: changed})
        faults = list(model.check(PARTS))
        values = other.to_dict()[key], own.to_dict()[key]
        what = f"{field}.{key} is {values[0]!r}, but {values[1]!r} in the checkpoint"
        why = "a configuration that is given must be that of the checkpoint"
        fix = f"leave {field} out, or use the checkpoint that it describes"
        assert faults == [Fault("ltx2.other_config", what, str(tiny / name / "config.json"), why, fix)]
        with pytest.raises(ComponentError) as caught:
            model.transformer()
        assert list(caught.value.faults) == faults

    return compare


def text_encoder_configs_are_compared(tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
    """Key by key; what is not said is what transformers takes for it."""
    own = GemmaConfig(hidden_size=32, num_hidden_layers=3, vocab_size=512, rms_norm_eps=1e-6)
    assert not list(t2v(tiny, text_encoder_configs=(own,)).check(PARTS))
    other = attrs.evolve(own, num_hidden_layers=48, rms_norm_eps=1e-5)
    assert told(t2v(tiny, text_encoder_configs=(other,)).check(PARTS)) == [
        "text_encoder_configs[0].num_hidden_layers is 48, but 3 in the checkpoint",
        "text_encoder_configs[0].rms_norm_eps is 1e-05, but 1e-06 in the checkpoint",
    ]


def precision_acts(field: str) -> Callable[..., None]:
    """On its part alone: weights, the size that is told, and the identity of what is kept."""

    def act(tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
        part = PRECISIONS[field]
        plain = t2v(tiny)
        for precision in ("bf16", "fp16", "fp32"):
            model = t2v(tiny, **{field: precision})
            assert dtypes(model, part) == {DTYPES[precision]}
            loaded = sum(tensor.nbytes for tensor in module_of(getattr(model, part)()).state_dict().values())
            assert model.part_facts(part)["bytes"] == loaded
            other = next(each for each in PARTS if each != part)
            assert dtypes(model, other) == dtypes(plain, other)
            same = precision == getattr(plain, field)
            assert (model.cache_facts() == plain.cache_facts()) is (model.placement() == plain.placement()) is same

    return act


ACTS: dict[str, Callable[[Path, Path, Path], None]] = {
    "model_path": model_path_opens,
    "pipeline_config_path": pipeline_config_path_is_read,
    "flow_shift": flow_shift_shifts,
    "disable_autocast": disable_autocast_refuses_it,
    "dit_config": config_is_compared("dit_config", "transformer", TransformerConfig(), "num_layers"),
    "upsampler_config": config_is_compared(
        "upsampler_config", "latent_upsampler", LatentUpsamplerConfig(), "num_blocks_per_stage"
    ),
    "vae_config": config_is_compared(
        "vae_config", "vae", VideoVAEConfig(timestep_conditioning=True), "layers_per_block"
    ),
    "audio_decoder_config": config_is_compared(
        "audio_decoder_config", "audio_vae", AudioVAEConfig(num_res_blocks=5), "num_res_blocks"
    ),
    "vocoder_config": config_is_compared(
        "vocoder_config", "vocoder", VocoderConfig(output_sampling_rate=48_000), "output_sampling_rate"
    ),
    "vae_tiling": vae_tiling_says_whether_videos_are_cut,
    "text_encoder_configs": text_encoder_configs_are_compared,
    "text_encoder_precisions": text_encoder_precision_acts,
    "preprocess_text_funcs": functions_act,
    "postprocess_text_funcs": functions_act,
    "dmd_denoising_steps": dmd_denoising_steps_are_sigmas,
    **{field: precision_acts(field) for field in PRECISIONS},
}


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("field", [field.name for field in attrs.fields(LTX2T2VConfig)])
def test_every_field_acts_or_is_refused(field: str, tiny: Path, tiny_base: Path, tmp_path: Path) -> None:
    """None is passed over in silence; a new one fails here until it is in one of the tables."""
    if field not in REFUSED:
        ACTS[field](tiny, tiny_base, tmp_path)
        return
    value, why, fix = REFUSED[field]
    for type_ in (LTX2T2VConfig, LTX2T2V):
        with pytest.raises(StructureError) as caught:
            structure({field: value}, type_)
        (problem,) = caught.value.problems
        assert (problem.path, problem.code, problem.why, problem.fix) == ((field,), "invalid_value", why, fix)
        with pytest.raises(ValueError) as python:
            type_(**{field: value})
        assert str(python.value) == f"{field} is {value!r}, it {why}: {fix}"


def test_a_vocoder_of_another_kind_is_told_so(tiny: Path, tiny_2_3: Path) -> None:
    """Not by dozens of keys."""
    model = t2v(tiny, vocoder_config=WidebandVocoderConfig())
    assert told(model.check(PARTS)) == ["vocoder_config is for LTX2VocoderWithBWE, but the checkpoint has LTX2Vocoder"]
    own = WidebandVocoderConfig.from_dict(open_checkpoint(tiny_2_3).component("vocoder").config)
    assert not list(t2v(tiny_2_3, vocoder_config=own, vocoder_precision="fp32").check(PARTS))


def test_the_vocoder_of_ltx_2_3_wants_fp32(tiny_2_3: Path) -> None:
    """The default is not changed in silence; it is told only where the vocoder is used."""
    model = t2v(tiny_2_3)
    assert not list(model.check(PARTS - {"vocoder"}))
    (fault,) = model.check(PARTS)
    assert str(fault) == (
        "error[ltx2.contradiction]: vocoder_precision is bf16, but the vocoder is that of LTX-2.3\n"
        "  why: it was trained in fp32, and sounds worse in any other number format\n"
        "  fix: set vocoder_precision to fp32"
    )
    with pytest.raises(ComponentError, match="vocoder_precision is bf16"):
        model.vocoder()
    assert dtypes(t2v(tiny_2_3, vocoder_precision="fp32"), "vocoder") == {torch.float32}


def test_all_that_is_wrong_with_a_manifest_comes_at_once(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is refused stands at its line; then what the checkpoint is not."""
    text = """\
stagegraph: 1
name: mine
inputs: {{prompt: {{type: str}}}}
components:
  model:
    kind: ltx2.t2v
    params:
      model_path: {path}
      {one}
      {two}
nodes:
  text: {{stage: ltx2.text_encoding, inputs: {{prompt: inputs.prompt}}}}
outputs: {{text: text.positive}}
"""
    path = tmp_path / "mine.yaml"
    path.write_text(text.format(path=tiny, one="is_causal: true", two="vae_precison: fp8"))
    assert call(["validate", str(path)]) == 2
    assert capsys.readouterr().err.replace(f"{tmp_path}/", "") == (
        """\
mine.yaml:9:18: error[invalid_value]: component model (ltx2.t2v): is_causal is true
  why: must be false: the transformer of LTX-2 sees all frames at once
  fix: leave it out; longer videos are made segment by segment, by stagegraph session
mine.yaml:10:7: error[unknown_param]: component model (ltx2.t2v) has no param "vae_precison"
  fix: did you mean "vae_precision"?
2 errors
"""
    )
    one, two = "text_encoder_configs: [{head_dim: 128}]", "preprocess_text_funcs: [preproces_text]"
    path.write_text(text.format(path=tiny, one=one, two=two))
    assert call(["validate", str(path)]) == 3
    assert capsys.readouterr().err.replace(f"{tmp_path}/", "").replace(f"{tiny}/", "") == (
        """\
mine.yaml:8:7: error[ltx2.text_function]: no function is registered as "preproces_text" in \
stagegraph_ltx2.preprocess_text
  why: functions over prompts before they are encoded are named, so that what they change has an identity
  fix: did you mean "preprocess_text"?
mine.yaml:8:7: error[ltx2.other_config]: text_encoder/config.json: text_encoder_configs[0].head_dim is 128, but 16 in \
the checkpoint
  why: a configuration that is given must be that of the checkpoint
  fix: leave text_encoder_configs out, or use the checkpoint that it describes
2 errors
"""
    )


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        (
            {"preprocess_text_funcs": ("shout_",)},
            'no function is registered as "shout_" in stagegraph_ltx2.preprocess_text',
        ),
        (
            {"postprocess_text_funcs": ("shout",)},
            'no function is registered as "shout" in stagegraph_ltx2.postprocess_text',
        ),
    ],
)
def test_functions_that_are_not_registered_are_told_before_anything_loads(
    acme: Callable[..., None], tiny: Path, fields: Any, what: str
) -> None:
    """Before and after are two registries."""
    model = t2v(tiny, **fields)
    assert told(model.check(PARTS)) == [what]
    with pytest.raises(ComponentError):
        model.text_encoder()


def test_a_name_that_two_distributions_register_is_refused(acme: Callable[..., None], tiny: Path) -> None:
    """Which of them is meant is not guessed; nor does one take the place of ours."""
    acme("2.0", name="other-texts", more="preprocess_text = acme_texts:shout\n")
    faults = list(t2v(tiny, preprocess_text_funcs=("shout",)).check(PARTS))
    assert str(faults[0]).replace("acme-texts 1.0 and other-texts 2.0", "both").replace(
        "other-texts 2.0 and acme-texts 1.0", "both"
    ) == (
        'error[ltx2.text_function]: "shout" is registered by both\n'
        "  why: functions over prompts before they are encoded are named, so that what they change has an identity\n"
        "  fix: uninstall all of these but one"
    )
    assert told(t2v(tiny).check(PARTS)) == ['"preprocess_text" is registered by stagegraph-ltx2 and other-texts 2.0']


def test_functions_that_do_something_else_are_errors(acme: Callable[..., None], tiny: Path) -> None:
    """Where they are loaded, or where they are called."""

    def fails(kind: type[Exception], **fields: Any) -> str:
        with pytest.raises(kind) as caught:
            t2v(tiny, **fields).text_encoder().encode(["a fox"])
        return str(caught.value).partition("\n")[0]

    assert fails(ComponentError, preprocess_text_funcs=("constant",)) == (
        'error[ltx2.text_function]: "constant" of acme-texts 1.0 (acme_texts:constant) is a int, which cannot be called'
    )
    assert fails(ComponentError, preprocess_text_funcs=("absent",)) == (
        'error[ltx2.text_function]: "absent" of acme-texts 1.0 (acme_texts:absent) cannot be imported: AttributeError: '
        "module 'acme_texts' has no attribute 'absent'"
    )
    assert fails(TypeError, preprocess_text_funcs=("number",)) == "number made a int of a prompt, not a str"
    assert fails(TypeError, postprocess_text_funcs=("short",)) == (
        "short gave a tensor [1, 8, 32, 4] in place of hidden states [1, 1024, 32, 4]"
    )


def test_a_function_has_the_identity_of_its_release(acme: Callable[..., None], tiny: Path) -> None:
    """What was kept with another one is not used; one that is given in Python is told by its place."""
    import acme_texts

    config = LTX2T2VConfig(str(tiny), preprocess_text_funcs=[acme_texts.shout])
    assert config.preprocess_text_funcs == ("shout",)
    model = LTX2T2V.of(config, device="cpu")
    plain = t2v(tiny).cache_facts()
    assert model.cache_facts() == {**plain, "preprocess_text": "shout of acme-texts 1.0"}
    acme("1.1")
    assert model.cache_facts() == {**plain, "preprocess_text": "shout of acme-texts 1.1"}


def test_the_identity_is_that_of_the_weights_the_formats_and_the_settings(tiny: Path, tiny_base: Path) -> None:
    """Weights are told as by `ltx2.checkpoint`."""
    model = t2v(tiny, dmd_denoising_steps=(1000, 500))
    assert model.fingerprint() == LTX2Checkpoint(path=str(tiny)).fingerprint()
    assert model.cache_facts() == {
        "device": "cpu",
        "dtype": "bfloat16",
        "dtype.audio_vae": "bfloat16",
        "dtype.connectors": "bfloat16",
        "dtype.latent_upsampler": "float32",
        "dtype.text_encoder": "bfloat16",
        "dtype.video_vae": "bfloat16",
        "dtype.vocoder": "bfloat16",
        "distilled": "true",
        "sigmas": "(1.0, 0.5, 0.0)",
    }
    assert {**model.cache_facts(), "nproc": "1"} == model.placement()
    assert t2v(tiny_base, flow_shift=3.0).cache_facts()["flow_shift"] == "3.0"


def test_what_would_have_to_be_downloaded_is_fine(tmp_path: Path) -> None:
    """Nothing is told of it, and nothing is asked of the network."""
    model = t2v("Nobody/Nothing", dit_config=TransformerConfig())
    assert not list(model.check(PARTS))
    assert model.part_facts("transformer") == {}


def test_the_defaults_of_gemma_are_those_of_transformers() -> None:
    """Which fills up what a configuration does not say."""
    from transformers import Gemma3TextConfig

    assert {name: getattr(Gemma3TextConfig(), name) for name in GEMMA_DEFAULTS} == GEMMA_DEFAULTS


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_results_are_those_of_the_plain_component_in_the_same_formats(tiny: Path, precision: str) -> None:
    """The shipped graph, bit by bit: latents, frames and samples; the pool lends what it was asked for."""
    other = "fp32" if precision == "bf16" else "bf16"
    fields = {
        **dict.fromkeys(("dit_precision", "audio_decoder_precision", "vocoder_precision"), precision),
        **dict.fromkeys(("vae_precision", "upsampler_precision"), other),
        "text_encoder_precisions": [precision],
    }
    formats = {"video_vae": other, "latent_upsampler": other}
    ours = _values(ComponentDecl("ltx2.t2v", {"model_path": str(tiny), "device": "cpu", **fields}))
    plain = {"path": str(tiny), "device": "cpu", "dtype": precision, "dtypes": formats}
    theirs = _values(ComponentDecl("ltx2.checkpoint", plain))
    for one, same in zip(ours, theirs, strict=True):
        assert np.array_equal(one, same)
    elsewhere = _values(ComponentDecl("ltx2.checkpoint", {**plain, "dtype": other}))
    assert not np.array_equal(ours[0], elsewhere[0])


def _values(component: ComponentDecl) -> list[np.ndarray]:
    """What the shipped graph makes of a component."""
    registry = default_registry()
    shipped = find("ltx2/text-to-video", registry)
    small = {"latents.height": 64, "latents.width": 96, "latents.num_frames": 9}
    written = attrs.evolve(manifest.override(shipped, small), components={"model": component})
    g = sg.Graph.from_manifest(written)
    for name, node in (("video", "denoise"), ("frames", "frames"), ("sound", "sound")):
        g.output(f"the {name}", getattr(g.node(node), name if node == "denoise" else "output"))
    wanted = ["the video", "the frames", "the sound"]
    run = g.run(outputs=wanted, prompt="a red circle", seed=1)
    video, frames, sound = (run[name] for name in wanted)
    return [video.latent.float().numpy(), frames.pixels, sound.samples]


def test_a_graph_with_a_configuration_in_python_is_a_manifest(tiny: Path) -> None:
    """There and back."""
    config = LTX2T2VConfig(
        str(tiny), vae_precision="fp32", dmd_denoising_steps=(1000, 500), vocoder_config=VocoderConfig()
    )
    g = sg.Graph("mine")
    g.component("model", LTX2T2V.of(config, device="cpu"))
    text = g.add(LTX2TextEncodingStage(), name="text", prompt=g.input("prompt", str))
    g.output("text", text.positive)
    written = g.to_manifest().components["model"]
    assert written.params["dmd_denoising_steps"] in ([1000, 500], (1000, 500))
    again = sg.Graph.from_manifest(manifest.loads(manifest.dumps(g.to_manifest())))
    assert again.to_manifest().components["model"] == written


def test_settings_of_parts_that_are_not_there_are_refused() -> None:
    """Of the plain component as well."""
    with pytest.raises(ValueError) as caught:
        LTX2Checkpoint(dtypes={"vae": "fp32", "vocoder": "fp8"})
    assert str(caught.value) == (
        'dtypes: there is no part "vae" with a number format, use one of: audio_vae, connectors, latent_upsampler, '
        "text_encoder, transformer, video_vae, vocoder; vocoder is 'fp8', use one of: auto, bf16, fp16, fp32"
    )


def test_a_format_that_is_set_for_a_part_is_the_one_that_is_told(tiny_2_3: Path) -> None:
    """Also of the vocoder of LTX-2.3, which is loaded in fp32 unless it is named."""
    for dtypes_, format in (({"vocoder": "bf16"}, torch.bfloat16), ({}, torch.float32)):
        model = LTX2Checkpoint(path=str(tiny_2_3), device="cpu", dtype="bf16", dtypes=dtypes_)
        assert dtypes(model, "vocoder") == {format}
        loaded = sum(tensor.nbytes for tensor in model.vocoder().module.state_dict().values())
        assert model.part_facts("vocoder")["bytes"] == loaded
        assert model.placement().get("dtype.vocoder") == ("bfloat16" if dtypes_ else None)
