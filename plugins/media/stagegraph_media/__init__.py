"""Frames, sound and images: the port types that model plugins share, and reading and writing them.

`values` has the types, `reading` and `writing` the functions (PyAV is imported only there), `stages` their stages.
"""

from __future__ import annotations

from stagegraph_media.errors import MediaError
from stagegraph_media.values import Frames, Image, Waveform

__all__ = ["Frames", "Image", "MediaError", "Waveform"]
