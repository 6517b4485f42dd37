"""What clips are made of: shapes, colours, motions and their sizes. Lengths are in heights of the picture."""

from __future__ import annotations

import numpy as np

KINDS = ("circle", "square", "triangle", "star")
MOTIONS = ("left", "right", "up", "down", "bouncing", "growing", "turning")
SPEEDS = ("slowly", "steadily", "quickly")
LEFT, RIGHT, UP, DOWN, BOUNCING, GROWING, TURNING = range(len(MOTIONS))

#: Colour -> red, green and blue, and the pitch in Hz of the shapes that have it. Pitches are multiples of 100: a
#: spectrogram of 100 frames a second tells loudness, not phase, and of a steady tone a vocoder without memory repeats
#: what it made of one frame. All neighbours are more than a semitone apart.
COLOURS = {
    "red": ((214, 39, 40), 300),
    "orange": ((255, 132, 16), 400),
    "yellow": ((250, 228, 60), 500),
    "green": ((40, 160, 60), 600),
    "cyan": ((50, 210, 225), 700),
    "blue": ((40, 70, 220), 800),
    "purple": ((150, 40, 170), 900),
    "pink": ((255, 135, 195), 1000),
    "white": ((245, 245, 245), 1200),
    "black": ((18, 18, 22), 1400),
}
NAMES = tuple(COLOURS)
RGB = np.array([rgb for rgb, _ in COLOURS.values()], np.float32)
PALETTE = RGB / 127.5 - 1
"""The colours in [-1, 1], as pictures have them."""

PITCHES = np.array([hertz for _, hertz in COLOURS.values()], np.int64)

ASPECT = 1.5
"""Width of a picture to its height."""

#: By motion and speed: heights a second, of growing the radius; turning in radians a second.
RATES = np.array(
    [[0.11, 0.22, 0.42]] * 4 + [[0.30, 0.55, 0.95], [0.05, 0.09, 0.15], [0.8, 1.6, 3.2]],
    np.float32,
)
RADII = (0.13, 0.20)
COMPOSED_RADII = (0.155, 0.17)
GROWING_RADII = (0.10, 0.14)
LARGEST = 0.36

#: By kind: corners, and how much further out these are than the radius says, so that areas are alike.
CORNERS = np.array([0, 4, 3, 5], np.float32)
REACH = np.array([1.0, 1.22, 1.4, 1.42], np.float32)
STAR_WAIST = 0.48
"""Distance of a star's inner corners from its centre, of the outer ones' distance."""

#: By kind: loudness of the second and the third partial.
PARTIALS = np.array([[0.0, 0.0], [0.0, 0.4], [0.4, 0.0], [0.25, 0.25]], np.float32)
LOUDNESS = 0.22
CLICK_LOUDNESS, CLICK_HERTZ, CLICK_SECONDS = 0.4, 2400.0, 0.012
