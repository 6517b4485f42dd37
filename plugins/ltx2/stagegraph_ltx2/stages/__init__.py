"""The stages of LTX-2. Importing them needs no torch."""

from stagegraph_ltx2.stages.audio_conditioning import LTX2AudioConditioningStage
from stagegraph_ltx2.stages.audio_decoding import LTX2AudioDecodingStage
from stagegraph_ltx2.stages.audio_encoding import LTX2AudioEncodingStage
from stagegraph_ltx2.stages.continuation_input import LTX2ContinuationInputStage
from stagegraph_ltx2.stages.continuation_output import LTX2ContinuationOutputStage
from stagegraph_ltx2.stages.denoising import LTX2DenoisingStage
from stagegraph_ltx2.stages.image_conditioning import LTX2ImageConditioningStage
from stagegraph_ltx2.stages.latent_preparation import LTX2LatentPreparationStage
from stagegraph_ltx2.stages.latent_renoising import LTX2LatentRenoisingStage
from stagegraph_ltx2.stages.latent_upsampling import LTX2LatentUpsamplingStage
from stagegraph_ltx2.stages.retake import LTX2RetakeStage
from stagegraph_ltx2.stages.segment_trimming import LTX2SegmentTrimmingStage
from stagegraph_ltx2.stages.text_encoding import LTX2TextEncodingStage
from stagegraph_ltx2.stages.video_conditioning import LTX2VideoConditioningStage
from stagegraph_ltx2.stages.video_decoding import LTX2VideoDecodingStage
from stagegraph_ltx2.stages.video_encoding import LTX2VideoEncodingStage

__all__ = [
    "LTX2AudioConditioningStage",
    "LTX2AudioDecodingStage",
    "LTX2AudioEncodingStage",
    "LTX2ContinuationInputStage",
    "LTX2ContinuationOutputStage",
    "LTX2DenoisingStage",
    "LTX2ImageConditioningStage",
    "LTX2LatentPreparationStage",
    "LTX2LatentRenoisingStage",
    "LTX2LatentUpsamplingStage",
    "LTX2RetakeStage",
    "LTX2SegmentTrimmingStage",
    "LTX2TextEncodingStage",
    "LTX2VideoConditioningStage",
    "LTX2VideoDecodingStage",
    "LTX2VideoEncodingStage",
]
