"""VAEs, vocoders and upsamplers give the outputs that diffusers 0.42.1 gave for the same weights and inputs."""

from __future__ import annotations

import pytest
import torch

from stagegraph_ltx2.model.audio_vae import AudioVAE
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    LatentUpsamplerConfig,
    VideoVAEConfig,
    VocoderConfig,
    WidebandVocoderConfig,
)
from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler
from stagegraph_ltx2.model.mel import log_mel
from stagegraph_ltx2.model.resample import resample
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.model.vocoder import Vocoder
from stagegraph_ltx2.model.wideband_vocoder import WidebandVocoder

from ..golden import assert_golden, fill, hashed
from ..small import VAE_2_3


def video_vae(**changes: object) -> VideoVAE:
    small: dict[str, object] = {
        "latent_channels": 8,
        "block_out_channels": (8, 8, 8, 8),
        "decoder_block_out_channels": (16, 32, 64),
        "layers_per_block": (1, 1, 1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1, 1),
        "patch_size": 2,
        "decoder_causal": False,
    }
    model = VideoVAE(VideoVAEConfig.from_dict(small | changes))
    fill(model)
    return model


@torch.no_grad()
def test_video_vae_gives_the_recorded_latents_and_pixels() -> None:
    """The 2.0 structure: three residual upsamplings and reflection in the decoder."""
    vae = video_vae()
    assert_golden(
        vae.encode(hashed((1, 3, 9, 64, 64), 10020)),
        [1, 8, 2, 4, 4],
        *(71.687, 0.637203, 0.445167, 0.0836931, 0.384544, 0.00449309, 0.593873, 0.96373),
    )
    assert_golden(
        vae.decode(hashed((1, 8, 2, 3, 4), 10021)),
        [1, 3, 9, 48, 64],
        *(-1051.35, 0.489709, 0.327315, -0.0142999, -0.26168, -1.12749, 0.40027, 0.266291),
    )


@torch.no_grad()
def test_video_vae_of_ltx_2_3_gives_the_recorded_latents_and_pixels() -> None:
    """Four upsamplings of three kinds, not residual, and zeros around the decoder's convolutions."""
    vae = video_vae(
        block_out_channels=(8, 8, 16, 16),
        decoder_block_out_channels=(16, 32, 32, 64),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        **VAE_2_3,
    )
    assert_golden(
        vae.encode(hashed((1, 3, 9, 64, 64), 10020)),
        [1, 8, 2, 4, 4],
        *(-11.1448, 0.426891, 0.142338, 0.274947, -0.0534001, 0.134449, 0.903778, 0.584162),
    )
    assert_golden(
        vae.decode(hashed((1, 8, 2, 3, 4), 10021)),
        [1, 3, 9, 48, 64],
        *(-4738.2, 0.408527, -0.816354, 0.553979, -0.471523, -0.173, -0.315747, -0.154812),
    )


@torch.no_grad()
def test_video_vae_that_takes_a_timestep_gives_the_recorded_pixels() -> None:
    """The noise level scales and shifts every residual block and the last norm."""
    vae = video_vae(timestep_conditioning=True)
    assert_golden(
        vae.decode(hashed((1, 8, 2, 3, 4), 10021), torch.tensor([0.05])),
        [1, 3, 9, 48, 64],
        *(20355.1, 0.684449, 1.01413, -0.226606, -0.226243, 0.669384, 0.679711, 0.144583),
    )


@torch.no_grad()
def test_audio_vae_gives_the_recorded_latents_and_spectrograms() -> None:
    """Nine mel frames make three latent frames and come back as nine."""
    vae = AudioVAE(AudioVAEConfig(base_channels=16, latent_channels=4, resolution=16, mel_bins=16))
    fill(vae)
    assert_golden(
        vae.encode(hashed((2, 2, 9, 16), 10030)),
        [2, 4, 3, 4],
        *(8.30714, 0.274489, 0.22385, 0.141745, 0.439386, 0.253036, -0.0372286, -0.0316675),
    )
    assert_golden(
        vae.decode(hashed((2, 4, 3, 4), 10031)),
        [2, 2, 9, 16],
        *(-112.192, 0.372486, 0.317522, 0.419759, -1.04405, 0.236127, -0.201221, -0.012462),
    )


@torch.no_grad()
def test_vocoder_gives_the_recorded_waveform() -> None:
    """Six mel frames, each upsampled four times."""
    vocoder = Vocoder(
        VocoderConfig(
            in_channels=16,
            hidden_channels=32,
            upsample_kernel_sizes=(4, 4),
            upsample_factors=(2, 2),
            resnet_kernel_sizes=(3,),
            resnet_dilations=((1, 3, 5),),
        )
    )
    fill(vocoder)
    assert_golden(
        vocoder(hashed((1, 2, 6, 8), 10040)),
        [1, 2, 24],
        *(0.726539, 0.169885, 0.11525, -0.0698374, 0.11873, -0.105048, -0.217064, 0.213265),
    )


@torch.no_grad()
def test_wideband_vocoder_gives_the_recorded_waveforms() -> None:
    """Six mel frames, each upsampled ten times, and three times more by the extension."""
    half = {"resnet_kernel_sizes": (3,), "resnet_dilations": ((1, 3, 5),), "in_channels": 16, "hidden_channels": 32}
    vocoder = WidebandVocoder(
        WidebandVocoderConfig(
            **half,
            **{f"bwe_{name}": value for name, value in half.items()},
            upsample_kernel_sizes=(11, 4),
            upsample_factors=(5, 2),
            bwe_upsample_kernel_sizes=(12, 11),
            bwe_upsample_factors=(6, 5),
            filter_length=32,
            window_length=32,
            hop_length=10,
            num_mel_channels=8,
        )
    )
    fill(vocoder)
    mel = hashed((1, 2, 6, 8), 10041)
    assert_golden(
        vocoder.vocoder(mel),
        [1, 2, 60],
        *(-174.451, 3.11964, 0.219225, -1.91783, -7.08897, -0.252119, -2.85222, -0.400815),
    )
    assert_golden(vocoder(mel), [1, 2, 180], *(-120.868, 0.909088, 0.257222, 0.593234, -1, 0.249557, -1, -0.785964))


UPSAMPLINGS = {
    "rational x2": (
        {},
        [1, 8, 3, 8, 8],
        (-234.266, 0.531227, -0.013445, 0.527917, 0.14896, -0.0400917, -0.28329, 0.702374),
    ),
    "rational x1.5": (
        {"rational_spatial_scale": 1.5},
        [1, 8, 3, 6, 6],
        (-81.0476, 0.403021, -0.0142085, 0.135254, -0.23995, -0.667743, 0.248698, 0.160122),
    ),
    "pixel shuffle x2": (
        {"use_rational_resampler": False},
        [1, 8, 3, 8, 8],
        (-174.799, 0.550804, 0.0875867, 0.559912, 0.179539, 0.102479, 0.0319423, 0.335124),
    ),
    "temporal x2": (
        {"spatial_upsample": False, "temporal_upsample": True},
        [1, 8, 5, 4, 4],
        (-73.1758, 0.523159, 0.290408, -0.222687, -1.08156, -0.21993, 0.405841, 0.269023),
    ),
}


@pytest.mark.parametrize(("changes", "shape", "record"), UPSAMPLINGS.values(), ids=UPSAMPLINGS.keys())
@torch.no_grad()
def test_latent_upsamplers_give_the_recorded_latents(
    changes: dict[str, object], shape: list[int], record: tuple[float, ...]
) -> None:
    """Three latent frames."""
    small = {"in_channels": 8, "mid_channels": 32, "num_blocks_per_stage": 1}
    model = LatentUpsampler(LatentUpsamplerConfig.from_dict(small | changes))
    fill(model)
    assert_golden(model(hashed((1, 8, 3, 4, 4), 10050)), shape, *record)


RESAMPLINGS = [
    (44100, 16000, 700, 254, (8.06297, 0.278569, 0.729968, 0.35825, -0.795625, -0.513036, 0.223389, -0.0452961)),
    (48000, 16000, 600, 200, (6.72642, 0.274858, 0.753863, 0.161577, 0.428402, -0.0592146, -0.0852747, -0.433584)),
    (24000, 16000, 601, 401, (12.7781, 0.391953, 0.732004, 0.893833, 0.49266, 0.224362, -0.495867, -0.27194)),
    (16000, 48000, 200, 600, (39.4343, 0.461771, 0.951801, 1.06015, 0.328022, -0.830039, 0.378729, 0.155995)),
    (22050, 16000, 500, 363, (14.2379, 0.402911, 0.795192, 0.827039, -0.0947934, 0.114308, -0.536036, -0.0760093)),
    (8000, 44100, 99, 546, (79.5676, 0.462824, 0.951801, 1.03642, 0.213309, 0.674131, 0.208492, 0.0790106)),
]


@pytest.mark.parametrize(("rate", "new_rate", "samples", "new_samples", "record"), RESAMPLINGS)
def test_resampling_gives_the_recorded_sound(
    rate: int, new_rate: int, samples: int, new_samples: int, record: tuple[float, ...]
) -> None:
    """Recorded from torchaudio 2.11.0 in fp64."""
    assert_golden(resample(hashed((1, 2, samples), 10070), rate, new_rate), [1, 2, new_samples], *record)


def test_log_mel_gives_the_recorded_spectrogram() -> None:
    """Recorded from MelSpectrogram of torchaudio 2.11.0 in fp32."""
    assert_golden(
        log_mel(hashed((1, 2, 1700), 10071)),
        [1, 2, 11, 64],
        *(-681.731, 0.490279, -0.883881, -0.78057, -0.877083, -0.774697, -0.459078, -0.425201),
    )
