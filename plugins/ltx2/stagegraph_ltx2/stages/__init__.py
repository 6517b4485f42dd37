"""The stages of LTX-2. Importing them needs no torch."""

from stagegraph_ltx2.stages.audio_decoding import LTX2AudioDecodingStage
from stagegraph_ltx2.stages.denoising import LTX2DenoisingStage
from stagegraph_ltx2.stages.latent_preparation import LTX2LatentPreparationStage
from stagegraph_ltx2.stages.text_encoding import LTX2TextEncodingStage
from stagegraph_ltx2.stages.video_decoding import LTX2VideoDecodingStage

__all__ = [
    "LTX2AudioDecodingStage",
    "LTX2DenoisingStage",
    "LTX2LatentPreparationStage",
    "LTX2TextEncodingStage",
    "LTX2VideoDecodingStage",
]
