"""The configuration of an LTX-2 pipeline, by the names that users of other LTX-2 pipelines know. Needs no torch.

::

    config = LTX2T2VConfig(model_path="Lightricks/LTX-2", vae_precision="fp32")
    config.to_dict()  # {"model_path": "Lightricks/LTX-2", "vae_precision": "fp32"}

The component `ltx2.t2v` takes the same fields as params, and acts on them. What has no meaning in LTX-2 has one value;
another is refused with the reason.
"""

# ruff: noqa: RUF009  the calls make fields

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Self, get_args, get_origin

import attrs

from stagegraph import param
from stagegraph.errors import Fault
from stagegraph.ports import type_name
from stagegraph.serde import StructureError, structure, unstructure
from stagegraph_ltx2.config_file import read_fields, unfit
from stagegraph_ltx2.errors import failure, fault, raise_all
from stagegraph_ltx2.lending import FORMATS
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    GemmaConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
    WidebandVocoderConfig,
)
from stagegraph_ltx2.text_functions import When, ltx2_postprocess_text, name_of, preprocess_text

Precision = Literal["bf16", "fp16", "fp32"]

#: The fields that have an entry for each text encoder.
FOR_EACH_ENCODER = (
    "text_encoder_configs",
    "text_encoder_precisions",
    "preprocess_text_funcs",
    "postprocess_text_funcs",
)

_NO_IMAGE_ENCODER = "LTX-2 has no image encoder, the video VAE encodes stills"
_IMAGES = "leave it out, and condition on a still by ltx2.image_conditioning"
_CHECKED = "What the checkpoint must say of its {}; left out, whatever it says."


def _setting(default: Any, **rule: Any) -> Any:
    return param(default, kw_only=False, **rule)


def _precision(default: Precision, of: str) -> Any:
    return _setting(default, choices=FORMATS, help=f"Number format of {of}.")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _named(when: When) -> Any:
    def names(value: Any) -> Any:
        value = _tuple(value)
        return (
            tuple(name_of(each, when) if callable(each) else each for each in value) if type(value) is tuple else value
        )

    return names


@attrs.frozen
class LTX2T2VConfig:
    """An LTX-2 checkpoint, a number format for each of its parts, and how it is used.

    A configuration of a part, such as `dit_config`, is what the checkpoint must say of it; another is an error that
    names the field. Functions are registered by name (`stagegraph_ltx2.text_functions`); one that is given in Python
    becomes its name.
    """

    model_path: str = _setting(
        "", help='What `path` of ltx2.checkpoint takes: a folder, a file, "Lightricks/LTX-2", "micro".'
    )
    pipeline_config_path: str | None = _setting(
        None, help="A JSON file with more of these fields. Each is set in one place, unless both say the same."
    )
    embedded_cfg_scale: float = _setting(
        6.0,
        choices=(6.0,),
        why="the transformer of LTX-2 reads no embedded guidance scale",
        fix="leave it out, and set guidance_scale of ltx2.denoising",
        help="Without effect in LTX-2.",
    )
    flow_shift: float | None = _setting(
        None,
        gt=0,
        le=1000,
        fix="leave it out, or set it to some number from 1 to 20",
        help="How far the base schedule leans towards noise, in place of what follows from the number of tokens: "
        "7.77 is that of 4096. For checkpoints that are not distilled.",
    )
    flow_shift_sr: float | None = _setting(
        None,
        choices=(),
        why="the refine pass goes through fixed noise levels, which no shift makes",
        fix="leave it out, or set sigmas of the ltx2.denoising node that refines",
        help="Without meaning in LTX-2.",
    )
    disable_autocast: bool = _setting(
        False,
        help="Nothing here changes number formats by autocast; true refuses to run where the caller switched it on.",
    )
    is_causal: bool = _setting(
        False,
        choices=(False,),
        why="the transformer of LTX-2 sees all frames at once",
        fix="leave it out; longer videos are made segment by segment, by stagegraph session",
        help="Without meaning in LTX-2.",
    )
    dit_config: TransformerConfig | None = _setting(None, help=_CHECKED.format("transformer"))
    dit_precision: Precision = _precision("bf16", "the transformer")
    upsampler_config: LatentUpsamplerConfig | None = _setting(None, help=_CHECKED.format("latent upsampler"))
    upsampler_precision: Precision = _precision("fp32", "the latent upsampler")
    vae_config: VideoVAEConfig | None = _setting(None, help=_CHECKED.format("video VAE"))
    vae_precision: Precision = _precision("bf16", "the video VAE")
    vae_tiling: bool = _setting(
        True,
        help="Whether videos may be decoded piece by piece, in the way that ltx2.video_decoding says; false decodes "
        "them all at once.",
    )
    vae_sp: bool = _setting(
        False,
        choices=(False,),
        why="one process decodes; nproc shares the transformer alone",
        fix="leave it out",
        help="Without meaning here.",
    )
    image_encoder_config: object | None = _setting(
        None, choices=(), why=_NO_IMAGE_ENCODER, fix=_IMAGES, help="Without meaning in LTX-2."
    )
    image_encoder_precision: Precision = _setting(
        "fp32", choices=("fp32",), why=_NO_IMAGE_ENCODER, fix=_IMAGES, help="Without effect in LTX-2."
    )
    text_encoder_configs: tuple[GemmaConfig, ...] = _setting(
        (GemmaConfig(),), converter=_tuple, help=_CHECKED.format("text encoder, the only one, key by key")
    )
    text_encoder_precisions: tuple[Precision, ...] = _setting(
        ("bf16",), converter=_tuple, help="Number format of the text encoder, the only one, and of the connectors."
    )
    preprocess_text_funcs: tuple[str, ...] = _setting(
        (preprocess_text.__name__,), converter=_named("preprocess"), help="What is done to prompts, by registered name."
    )
    postprocess_text_funcs: tuple[str, ...] = _setting(
        (ltx2_postprocess_text.__name__,),
        converter=_named("postprocess"),
        help="What is done to the hidden states of the text encoder, by registered name.",
    )
    dmd_denoising_steps: tuple[int, ...] | None = _setting(
        None,
        converter=_tuple,
        help="Noise levels of denoising in thousandths, descending, without the final 0: [1000, 909, 725, 421]. For "
        "nodes that set none themselves, except refine passes.",
    )
    ti2v_task: bool = _setting(
        False,
        choices=(False,),
        why="every checkpoint of LTX-2 also makes videos from stills, and the graph says whether it does",
        fix="leave it out, and run ltx2/image-to-video",
        help="Without meaning in LTX-2.",
    )
    boundary_ratio: float | None = _setting(
        None,
        choices=(),
        why="LTX-2 has one transformer for all noise levels",
        fix="leave it out",
        help="Without meaning in LTX-2.",
    )
    audio_decoder_config: AudioVAEConfig | None = _setting(None, help=_CHECKED.format("audio VAE"))
    vocoder_config: VocoderConfig | WidebandVocoderConfig | None = _setting(None, help=_CHECKED.format("vocoder"))
    audio_decoder_precision: Precision = _precision("bf16", "the audio VAE")
    vocoder_precision: Precision = _precision("bf16", "the vocoder; that of LTX-2.3 runs in fp32 alone")

    def __attrs_post_init__(self) -> None:
        faults = [*self._misfits()] or [*self._contradictions()]
        if faults:
            raise ValueError("; ".join(faults))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read plain data.

        Raises:
            StructureError: unknown keys, values of the wrong type, values without meaning in LTX-2; all at once.
        """
        config: Self = structure(data, cls)
        return config

    def to_dict(self) -> dict[str, Any]:
        """The fields that are not at their default, ready for JSON."""
        plain: dict[str, Any] = unstructure(self)
        return plain

    @classmethod
    def from_file(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> Self:
        """Read a JSON file.

        Args:
            path: of an object with some of the fields.
            overrides: plain data that wins over it.

        Raises:
            ComponentError: the file is absent, too large, or no JSON object of these fields.
            StructureError: the overrides are not such fields.
        """
        path = Path(path).expanduser()
        said, wins = _structured(read_fields(path), path), cls.from_dict(overrides or {})
        return cls(**{**said, **{name: getattr(wins, name) for name in overrides or {}}})

    def settled(self) -> Self:
        """This configuration with what its file says; itself if it has none.

        Raises:
            ComponentError: the file is absent, too large, or no JSON object of these fields; a field is set here and
                there to different values. All that is wrong.
        """
        if self.pipeline_config_path is None:
            return self
        path = Path(self.pipeline_config_path).expanduser()
        said = _structured(read_fields(path), path)
        raise_all(self._set_twice(said, path))
        try:
            return attrs.evolve(self, pipeline_config_path=None, **said)
        except ValueError as error:
            raise failure("set_twice", str(error), where=path, fix="set only one of them, here or there") from None

    @property
    def sigmas(self) -> tuple[float, ...] | None:
        """`dmd_denoising_steps` as denoising stages write them."""
        steps = self.dmd_denoising_steps
        return None if steps is None else (*(step / 1000 for step in steps), 0.0)

    def _set_twice(self, said: Mapping[str, Any], path: Path) -> Iterator[Fault]:
        for field in attrs.fields(LTX2T2VConfig):
            ours, theirs = getattr(self, field.name), said.get(field.name, field.default)
            if field.name in said and ours not in (field.default, theirs):
                what = f"{field.name} is {_short(ours)}, but {_short(theirs)} in {path.name}"
                fix = f"take it out of {path.name}, or leave it out here"
                yield fault("set_twice", what, where=path, why="a field is set in one place", fix=fix)

    def _misfits(self) -> Iterator[str]:
        """Values of another type, which can only come from Python."""
        for field in attrs.fields(LTX2T2VConfig):
            value = getattr(self, field.name)
            if not _fits(value, field.type):
                fix = "; register the function, and give its name" if field.name.endswith("_funcs") else ""
                yield f"{field.name} is {_short(value)}, which is no {type_name(field.type)}{fix}"

    def _contradictions(self) -> Iterator[str]:
        """Values that are fine alone and impossible together, or in a list."""
        for name in FOR_EACH_ENCODER:
            count = len(getattr(self, name))
            if count != 1:
                yield f"{name} has {count} entries: LTX-2 has one text encoder, it must have 1"
        steps = self.dmd_denoising_steps
        if steps is None:
            return
        if not steps or not all(0 < step <= 1000 for step in steps) or any(a <= b for a, b in pairwise(steps)):
            yield f"dmd_denoising_steps is {_short(list(steps))}: it must descend from at most 1000 and stay above 0"
        if self.flow_shift is not None:
            yield "dmd_denoising_steps and flow_shift are both set: the steps are noise levels, which nothing shifts"


attrs.resolve_types(LTX2T2VConfig)


def _fits(value: Any, type_: Any) -> bool:
    """Whether a value is of a type, all entries of a tuple included; type checkers let an integer be a float, too."""
    from beartype.door import is_bearable

    kinds = get_args(type_) if isinstance(type_, UnionType) else (type_,)
    for entry in (get_args(kind)[0] for kind in kinds if get_origin(kind) is tuple):
        # One by one: of a container, beartype looks at one entry, by chance.
        listed = type(value) is tuple and all(is_bearable(each, entry) for each in value)
        return listed or (value is None and NoneType in kinds)
    return is_bearable(value, type_) or (type(value) is int and is_bearable(float(value), type_))


def _structured(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The fields of some data, by name."""
    if data.get("pipeline_config_path") is not None:
        what = f"{path.name} names another file in pipeline_config_path"
        raise failure("set_twice", what, where=path, why="files do not lead to files", fix="write its fields here")
    try:
        config: LTX2T2VConfig = structure(data, LTX2T2VConfig)
    except StructureError as error:
        raise unfit(error, path) from None
    return {name: getattr(config, name) for name in data}


def _short(value: object) -> str:
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 80 else text[:79] + "…"
