"""Text to video as a graph in Python: the same graph as the shipped manifest `ltx2/text-to-video`, but shorter.

python examples/text_to_video.py "a red circle moves right on a white background" out.mp4 [CHECKPOINT]
"""

from __future__ import annotations

import sys

import stagegraph as sg
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.stages import (
    LTX2AudioDecodingStage,
    LTX2DenoisingStage,
    LTX2LatentPreparationStage,
    LTX2TextEncodingStage,
    LTX2VideoDecodingStage,
)
from stagegraph_media.stages import WriteVideo


def text_to_video(path: str, checkpoint: str = "micro") -> sg.Graph:
    """The graph that writes a video to `path`; its inputs are prompt and seed."""
    g = sg.Graph("text-to-video", "A prompt becomes a video with sound.")
    g.component("model", LTX2Checkpoint(path=checkpoint))
    text = g.add(LTX2TextEncodingStage(), prompt=g.input("prompt", str))
    size = LTX2LatentPreparationStage(height=128, width=192, num_frames=25, frame_rate=24.0)
    latents = g.add(size, seed=g.input("seed", int, 42))
    denoised = g.add(LTX2DenoisingStage(), latents=latents, text=text.positive)
    frames = g.add(LTX2VideoDecodingStage(), latents=denoised.video)
    sound = g.add(LTX2AudioDecodingStage(), latents=denoised.audio)
    g.output("video", g.add(WriteVideo(path=path), frames=frames, waveform=sound))
    return g


if __name__ == "__main__":
    prompt, path, *checkpoint = sys.argv[1:]
    run = text_to_video(path, *checkpoint).run(prompt=prompt)
    sys.stdout.write(f"{run['video']}\n")
