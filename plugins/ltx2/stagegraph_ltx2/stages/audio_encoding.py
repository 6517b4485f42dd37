"""`ltx2.audio_encoding`: sound to latents."""

from __future__ import annotations

from stagegraph import stage
from stagegraph_ltx2.parts import AudioVAE
from stagegraph_ltx2.values import AudioLatent
from stagegraph_media.values import Waveform


@stage("ltx2.audio_encoding", version=1)
class LTX2AudioEncodingStage:
    """Encode a waveform into audio latents: resampled to 16 kHz, as a mel spectrogram, 25 latent frames a second."""

    def run(self, waveform: Waveform, *, audio_vae: AudioVAE) -> AudioLatent:
        """Encode; the first two channels, or the only one on both sides."""
        import torch

        from stagegraph_ltx2.encode import encode_audio

        samples = torch.from_numpy(waveform.samples[:2].copy())[None]
        return AudioLatent(encode_audio(audio_vae.module, samples, waveform.sample_rate))
