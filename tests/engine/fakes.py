"""Small stages, components and types: everything a graph can be made of, and nothing heavy."""

from __future__ import annotations

import attrs

from stagegraph import Registry, StageContext, component, outputs, param, part, stage
from stagegraph.registry import BASIC_TYPES


@attrs.frozen
class Image:
    """A picture that is only a name."""

    name: str = ""


@attrs.frozen
class Clip(Image):
    """A picture that moves: an image too."""


@attrs.frozen
class Sound:
    """What a clip may have."""

    name: str = ""


@attrs.frozen
class Encoder:
    """What `Model` and `OtherModel` lend."""

    path: str


@attrs.frozen
class Decoder:
    """What only `Model` lends."""

    path: str


@outputs
class Parts:
    """A clip taken apart."""

    image: Image
    sound: Sound


@component("fake.model", version=1)
class Model:
    """Two parts by name."""

    path: str = param(help="Where it is")
    dtype: str = param("bf16", choices=("bf16", "fp32"))

    @part
    def encoder(self) -> Encoder:
        """Text to features."""
        return Encoder(self.path)

    @part
    def decoder(self) -> Decoder:
        """Features to pictures."""
        return Decoder(self.path)


@component("fake.other_model", version=2)
class OtherModel:
    """Another encoder."""

    @part
    def encoder(self) -> Encoder:
        """Text to features."""
        return Encoder("other")


@stage("fake.paint", version=1)
class Paint:
    """Paint a picture."""

    frames: int = param(9, ge=1, multiple_of=8, remainder=1, help="How many, 8k+1")
    strength: float = param(1.0, ge=0, le=1)
    style: str = param("oil", choices=("oil", "ink"))
    sizes: list[int] = param(factory=list)

    def run(self, prompt: str) -> Image:
        """A picture named after the prompt."""
        return Image(prompt)


@stage("fake.film", version=3)
class Film:
    """Film a clip."""

    def run(self, prompt: str, seed: int = 0) -> Clip:
        """A clip named after the prompt."""
        return Clip(f"{prompt}/{seed}")


@stage("fake.split", version=1)
class Split:
    """Take a clip apart."""

    def run(self, clip: Clip) -> Parts:
        """Its picture and its sound."""
        return Parts(Image(clip.name), Sound(clip.name))


@stage("fake.join", version=1)
class Join:
    """Put a picture and perhaps a sound together."""

    def run(self, image: Image, sound: Sound | None = None) -> Clip:
        """A clip named after both."""
        return Clip(f"{image.name}+{sound.name if sound else 'silence'}")


@stage("fake.album", version=1)
class Album:
    """Count pictures."""

    def run(self, images: list[Image]) -> int:
        """How many there are."""
        return len(images)


@stage("fake.collage", version=1)
def collage(*images: Image) -> Image:
    """One picture of many."""
    return Image("+".join(image.name for image in images))


@stage("fake.is_long", version=1)
def is_long(text: str) -> bool:
    """Whether a text has more than ten letters."""
    return len(text) > 10


@stage("fake.scale", version=1)
class Scale:
    """Multiply a number."""

    factor: float = param()

    def run(self, value: float) -> float:
        """The product."""
        return value * self.factor


@stage("fake.encode", version=1)
class Encode:
    """Encode a text with what a component lends."""

    def run(self, text: str, *, encoder: Encoder, context: StageContext) -> str:
        """The text and where the encoder came from."""
        context.progress(1, 1, "encoded")
        return f"{text}@{encoder.path}"


@stage("fake.show", version=1)
def show(image: Image) -> None:
    """Look at a picture; gives nothing."""


@stage("fake.add", version=1)
def add(a: int, b: int = 0, *, plus: int = param(0)) -> int:
    """Add numbers."""
    return a + b + plus


TYPES = {**BASIC_TYPES, "fake.image": Image, "fake.clip": Clip, "fake.sound": Sound}

REGISTRY = attrs.evolve(
    Registry.of(Model, OtherModel, Paint, Film, Split, Join, Album, Scale, Encode, collage, is_long, show, add),
    types=TYPES,
)
