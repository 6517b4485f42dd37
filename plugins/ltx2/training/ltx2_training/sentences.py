"""Scenes as sentences, each of many ways to say it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from . import world
from .scenes import Scenes

#: By motion: what a shape does, as "it ..." and as "... ing".
WAYS: Sequence[Sequence[tuple[str, str]]] = (
    (("moves left", "moving left"), ("moves to the left", "moving to the left"), ("slides left", "sliding left")),
    (("moves right", "moving right"), ("moves to the right", "moving to the right"), ("slides right", "sliding right")),
    (("moves up", "moving up"), ("moves upwards", "moving upwards"), ("rises", "rising")),
    (("moves down", "moving down"), ("moves downwards", "moving downwards"), ("sinks", "sinking")),
    (
        ("bounces up and down", "bouncing up and down"),
        ("bounces", "bouncing"),
        ("jumps up and down", "jumping up and down"),
    ),
    (("grows", "growing"), ("gets bigger", "getting bigger"), ("becomes larger", "becoming larger")),
    (("turns", "turning"), ("spins", "spinning"), ("rotates", "rotating")),
)
PACES: Sequence[Sequence[str]] = (("slowly", "at a slow pace"), ("", "", "steadily"), ("quickly", "fast", "rapidly"))
GROUNDS = (
    "on {a} {ground} background",
    "on {ground}",
    "in front of {a} {ground} background",
    "against {a} {ground} background",
)
SOUNDS = ("a tone sounds", "with a steady tone", "a clear tone is heard")


def sentence(scenes: Scenes, row: int, seed: int) -> str:
    """One sentence that says what a scene shows, from left to right."""
    pick = random.Random(seed * 1_000_003 + row)
    ground = world.NAMES[int(scenes.background[row])]
    a = _article(ground)
    form = pick.randrange(5)
    doing = form in (3, 4)
    shown = sorted((w for w in (0, 1) if scenes.present[row, w]), key=lambda which: float(scenes.x[row, which]))
    things = [_thing(scenes, row, which, pick, doing) for which in shown]
    said = pick.choice((" and ", ", and ", " while ") if len(things) > 1 and not doing else (" and ",)).join(things)
    if form == 0:
        text = f"on {a} {ground} background, {said}"
    elif form == 1:
        text = f"the background is {ground}, {said}"
    else:
        text = f"{said} {pick.choice(GROUNDS).format(a=a, ground=ground)}"
    if form == 4:
        text = f"{pick.choice(('a video of', 'a clip of', 'we see'))} {text}"
    if pick.random() < 0.1:
        text = f"{text}, {pick.choice(SOUNDS)}"
    if pick.random() < 0.4:
        text = text[0].upper() + text[1:]
    return text + ("." if pick.random() < 0.4 else "")


def _thing(scenes: Scenes, row: int, which: int, pick: random.Random, doing: bool) -> str:
    noun = f"{world.NAMES[int(scenes.colour[row, which])]} {world.KINDS[int(scenes.kind[row, which])]}"
    noun = f"{'the' if pick.random() < 0.1 else _article(noun)} {noun}"
    way = pick.choice(WAYS[int(scenes.motion[row, which])])[doing]
    pace = pick.choice(PACES[int(scenes.speed[row, which])])
    return f"{noun} {way} {pace}".strip()


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
