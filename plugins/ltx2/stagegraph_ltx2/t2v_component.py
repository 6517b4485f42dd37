"""`ltx2.t2v`: an LTX-2 checkpoint by its pipeline configuration. Needs no torch until a part is loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs

from stagegraph import component, part
from stagegraph.components import component_spec_of
from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2 import parts, text_functions
from stagegraph_ltx2.checkpoint.contents import Checkpoint
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.config_match import config_faults, vocoder_faults
from stagegraph_ltx2.errors import fault, raise_all
from stagegraph_ltx2.pipeline_configs import LTX2T2VConfig


def _shared(name: str) -> Any:
    """The param of this name of `ltx2.checkpoint`."""
    field = component_spec_of(LTX2Checkpoint).params[name]
    return attrs.field(default=field.default, validator=field.validator, metadata=field.metadata, kw_only=True)


@component("ltx2.t2v", version=1)
class LTX2T2V(LTX2T2VConfig):
    """An LTX-2 checkpoint by the fields of `LTX2T2VConfig`, with a number format for each part."""

    revision: str | None = _shared("revision")
    text_encoder_path: str | None = _shared("text_encoder_path")
    video_vae_path: str | None = _shared("video_vae_path")
    audio_vae_path: str | None = _shared("audio_vae_path")
    upsampler_path: str | None = _shared("upsampler_path")
    device: str = _shared("device")
    nproc: int = _shared("nproc")
    identity: Literal["samples", "contents"] = _shared("identity")

    _known: list[tuple[LTX2T2VConfig, LTX2Checkpoint]] = attrs.field(init=False, factory=list, eq=False, repr=False)
    """The configuration with its file read, and what it opens; every check reads the file again."""

    @classmethod
    def of(cls, config: LTX2T2VConfig, **others: Any) -> LTX2T2V:
        """The component of a configuration.

        Args:
            config: the fields of this class that it has.
            others: those that it has not, such as `device`.
        """
        own = {field.name: getattr(config, field.name) for field in attrs.fields(LTX2T2VConfig)}
        return cls(**own, **others)

    @property
    def config(self) -> LTX2T2VConfig:
        """The configuration, with what its file says.

        Raises:
            ComponentError: as `LTX2T2VConfig.settled`; or `model_path` is set nowhere.
        """
        return self._opened()[0]

    @property
    def model(self) -> LTX2Checkpoint:
        """The checkpoint, with the number formats of its parts.

        Raises:
            ComponentError: as `config`.
        """
        return self._opened()[1]

    def _opened(self) -> tuple[LTX2T2VConfig, LTX2Checkpoint]:
        if not self._known:
            config = self.settled()
            if not config.model_path:
                fix = 'set it to "micro", or to a checkpoint such as "Lightricks/LTX-2"'
                raise ComponentError(Fault("missing_key", "model_path is not set", why="it says what to open", fix=fix))
            self._known.append((config, self._checkpoint(config)))
        return self._known[0]

    def _checkpoint(self, config: LTX2T2VConfig) -> LTX2Checkpoint:
        (text,) = config.text_encoder_precisions
        return LTX2Checkpoint(
            path=config.model_path,
            revision=self.revision,
            text_encoder_path=self.text_encoder_path,
            video_vae_path=self.video_vae_path,
            audio_vae_path=self.audio_vae_path,
            upsampler_path=self.upsampler_path,
            device=self.device,
            nproc=self.nproc,
            identity=self.identity,
            dtype=config.dit_precision,
            dtypes={
                "text_encoder": text,
                "connectors": text,
                "video_vae": config.vae_precision,
                "audio_vae": config.audio_decoder_precision,
                "vocoder": config.vocoder_precision,
                "latent_upsampler": config.upsampler_precision,
            },
        )

    def check(self, parts: frozenset[str]) -> Iterable[Fault]:
        """Whether all that the parts are made of is there, can be read, and is what the configuration says."""
        self._known.clear()
        try:
            functions = [
                each for when, (name,) in self._functions() for each in text_functions.faults_in_name(name, when)
            ]
            faults = [*self._autocast(), *functions, *self.model.check(parts)]
        except ComponentError as error:
            return error.faults
        try:
            checkpoint = self.model.present()
            if checkpoint is not None:
                faults += self._faults_of(checkpoint, parts)
        except ComponentError as error:  # which the checkpoint's own check has told
            faults += (each for each in error.faults if each not in faults)
        return faults

    def _autocast(self) -> Iterator[Fault]:
        """Number formats that the caller changes."""
        torch = sys.modules.get("torch")
        if self.config.disable_autocast and torch is not None:
            for device in ("cuda", "cpu"):
                if torch.is_autocast_enabled(device):
                    what = f"autocast is switched on for {device}, but disable_autocast is set"
                    fix = "leave the block with torch.autocast first, or leave disable_autocast out"
                    yield fault("autocast", what, why="it would compute in other number formats than are set", fix=fix)

    def _faults_of(self, checkpoint: Checkpoint, parts: Iterable[str]) -> Iterator[Fault]:
        yield from config_faults(self.config, checkpoint)
        if "vocoder" in parts:
            yield from vocoder_faults(self.config, checkpoint)

    def _functions(self) -> tuple[tuple[text_functions.When, tuple[str, ...]], ...]:
        return ("preprocess", self.config.preprocess_text_funcs), ("postprocess", self.config.postprocess_text_funcs)

    def _ready(self, part: str) -> LTX2Checkpoint:
        """The checkpoint to load a part of, if it is what the configuration says."""
        model = self.model
        raise_all([*self._autocast(), *self._faults_of(model.checkpoint, {part})])
        return model

    def fingerprint(self) -> str:
        """The identity of the weights, as of `ltx2.checkpoint`."""
        return self.model.fingerprint()

    def placement(self) -> Mapping[str, str]:
        """The devices and number formats, exactly, and what loaded parts tell of the configuration."""
        return {**self.model.placement(), **self._said()}

    def cache_facts(self) -> Mapping[str, str]:
        """What changes results beside the weights: where they run, the number format of each part, the settings."""
        return {**self.model.cache_facts(), **self._said()}

    def _said(self) -> Mapping[str, str]:
        """What the configuration says beside number formats, as far as it is not the default."""
        functions = (
            (f"{when}_text", text_functions.identity(name, when))
            for when, (name,) in self._functions()
            if name != text_functions.OWN[when].__name__
        )
        whole = {} if self.config.vae_tiling else {"vae_tiling": "false"}
        return {**{name: str(value) for name, value in self._traits().items()}, **dict(functions), **whole}

    def _traits(self) -> Mapping[str, Any]:
        """What the configuration says to denoising."""
        said = {"sigmas": self.config.sigmas, "flow_shift": self.config.flow_shift}
        return {name: value for name, value in said.items() if value is not None}

    def part_facts(self, part: str) -> Mapping[str, Any]:
        """As of `ltx2.checkpoint`, and what the configuration says to stages; nothing if it is not on this machine."""
        facts = self.model.part_facts(part)
        said = {"transformer": self._traits(), "video_vae": {"tiling": self.config.vae_tiling}}
        return {**facts, **said.get(part, {})} if facts else facts

    def lighter(self) -> Iterable[tuple[Mapping[str, Any], str]]:
        """Videos piece by piece, then half the bytes a number."""
        if not self.config.vae_tiling:
            yield {"vae_tiling": True}, "the same result"
        wide = [name for name in ("dit_precision", "vae_precision") if getattr(self.config, name) == "fp32"]
        if wide:
            yield dict.fromkeys(wide, "bf16"), "another format: the result changes"

    def free_memory(self) -> int | None:
        """Free bytes of the device."""
        return self.model.free_memory()

    def peak_memory(self) -> int:
        """The most bytes of the device that torch had in use since the last call; 0 on the CPU."""
        return self.model.peak_memory()

    def offload(self, part: str, value: Any) -> Any:
        """A part moved to the memory of the CPU."""
        return self.model.offload(part, value)

    def restore(self, part: str, kept: Any) -> Any:
        """It moved back."""
        return self.model.restore(part, kept)

    def serve(self) -> None:
        """Be another rank than 0 of processes that were started together."""
        self.model.serve()

    def dismiss(self) -> None:
        """Let the other ranks end; for rank 0."""
        self.model.dismiss()

    @part
    def text_encoder(self) -> parts.TextEncoder:
        """Prompts to hidden states."""
        before, after = (text_functions.function_of(name, when) for when, (name,) in self._functions())
        loaded: parts.TextEncoder = self._ready("text_encoder").text_encoder()
        return attrs.evolve(loaded, preprocess=before, postprocess=after)

    @part
    def connectors(self) -> parts.Connectors:
        """Hidden states to what the transformer reads."""
        return self._ready("connectors").connectors()

    @part
    def transformer(self) -> parts.Transformer:
        """The denoiser."""
        loaded = self._ready("transformer").transformer()
        return attrs.evolve(loaded, traits={**loaded.traits, **self._traits()})

    @part
    def video_vae(self) -> parts.VideoVAE:
        """Video latents to pixels."""
        return attrs.evolve(self._ready("video_vae").video_vae(), tiling=self.config.vae_tiling)

    @part
    def video_statistics(self) -> parts.VideoStatistics:
        """What video latents are normalised by."""
        return self._ready("video_statistics").video_statistics()

    @part
    def latent_upsampler(self) -> parts.LatentUpsampler:
        """Video latents to those of a larger video."""
        return self._ready("latent_upsampler").latent_upsampler()

    @part
    def audio_vae(self) -> parts.AudioVAE:
        """Audio latents to mel spectrograms."""
        return self._ready("audio_vae").audio_vae()

    @part
    def vocoder(self) -> parts.Vocoder:
        """Mel spectrograms to sound."""
        return self._ready("vocoder").vocoder()
