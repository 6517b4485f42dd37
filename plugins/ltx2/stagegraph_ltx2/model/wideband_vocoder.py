"""The vocoder of LTX-2.3: sound at 16 kHz, to which a second vocoder adds the frequencies up to 24 kHz."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .config import VocoderConfig, WidebandVocoderConfig
from .mel import LogMel
from .resample import resample
from .vocoder import Vocoder


class WidebandVocoder(nn.Module):
    """Mel spectrograms to sound at 48 kHz. It was trained in fp32, and in bf16 its sound is audibly worse."""

    def __init__(self, config: WidebandVocoderConfig) -> None:
        super().__init__()
        self.config = c = config
        self.vocoder = Vocoder(c.base)
        self.bwe_generator = Vocoder(c.extension)
        self.mel_stft = LogMel(c.num_mel_channels, c.filter_length, c.hop_length, c.input_sampling_rate)

    def forward(self, mel: Tensor, *, clamp_base: bool = False) -> Tensor:
        """Turn log-mel spectrograms into waveforms.

        Args:
            mel: [b, 2, t, mel bins].
            clamp_base: Keep the sound at 16 kHz within [-1, 1] before it is extended. The official code does and
                diffusers does not; they differ where it is louder than that.

        Returns:
            [b, 2, s] in [-1, 1], s being 480 t.
        """
        c = self.config
        x: Tensor = self.vocoder(mel)
        if clamp_base:
            x = x.clamp(-1, 1)
        samples = x.shape[-1] * c.ratio
        x = F.pad(x, (0, -x.shape[-1] % c.hop_length))
        skip = resample(x, c.input_sampling_rate, c.output_sampling_rate, edge="replicate")
        added: Tensor = self.bwe_generator(self.mel_stft(x))
        return (added + skip).clamp(-1, 1)[..., :samples]


def build_vocoder(config: VocoderConfig | WidebandVocoderConfig) -> Vocoder | WidebandVocoder:
    """The network that a configuration describes."""
    return WidebandVocoder(config) if isinstance(config, WidebandVocoderConfig) else Vocoder(config)
