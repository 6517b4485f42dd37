"""`ltx2.audio_decoding`: latents to sound."""

from __future__ import annotations

from collections.abc import Mapping

from stagegraph import param, stage
from stagegraph.facts import Facts
from stagegraph_ltx2 import memory
from stagegraph_ltx2.parts import AudioVAE, Vocoder
from stagegraph_ltx2.rules import RULES, RulesName
from stagegraph_ltx2.values import AudioLatent
from stagegraph_media.values import Waveform


@stage("ltx2.audio_decoding", version=1, lane="cpu")
class LTX2AudioDecodingStage:
    """Decode audio latents into a stereo waveform."""

    rules: RulesName = param(
        default="diffusers",
        help="What is followed where diffusers and the official code differ: the latter cuts sound of LTX-2.3 off at "
        "full scale before its bandwidth is extended.",
    )

    def memory(self, inputs: Mapping[str, Facts]) -> int | None:
        """Of the decoder or the vocoder, which run one after the other."""
        return memory.sounding(inputs["audio_vae"], inputs["vocoder"], inputs.get("latents", {}).get("audio_frames"))

    def run(self, latents: AudioLatent, *, audio_vae: AudioVAE, vocoder: Vocoder) -> Waveform:
        """Decode through a mel spectrogram; the first of a batch."""
        import torch

        from stagegraph_ltx2.model.audio_vae import unpack
        from stagegraph_ltx2.model.wideband_vocoder import WidebandVocoder

        vae, voice = audio_vae.module, vocoder.module
        with torch.inference_mode():
            tokens = vae.denormalize(latents.latent[:1].to(vae.latents_mean))
            mel = vae.decode(unpack(tokens))
            mel = mel.to(next(voice.parameters()))
            wideband = isinstance(voice, WidebandVocoder)
            samples = voice(mel, clamp_base=RULES[self.rules].clamps_base) if wideband else voice(mel)
            samples = samples[0].float()
            return Waveform(samples.contiguous().cpu().numpy(), voice.config.output_sampling_rate)
