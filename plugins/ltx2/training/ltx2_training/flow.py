"""Training of the text encoder, the connectors and the transformer together, as a rectified flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import attrs
import torch
from torch import Tensor, nn

from stagegraph_ltx2.model import audio_vae
from stagegraph_ltx2.model.attention import KeyValue
from stagegraph_ltx2.model.conditions import Rotary, Text, Timesteps
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_vae import pack
from stagegraph_ltx2.schedule import DISTILLED_SIGMAS, REFINE_SIGMAS
from stagegraph_ltx2.shapes import AudioShape, LatentShape, PixelShape

from .clips import render
from .hearing import heard
from .loop import Task
from .lowpass import USED, latents, padded
from .scenes import Scenes

FRAME_RATE = 24.0
TIMESTEPS = 1000
DROPPED = 0.1
"""Share of prompts that are not told, so that guidance has something to move away from."""

SOUND_WEIGHT = 0.5
OFF = 0.3, 0.1
"""How far what is kept is off, as an encoder has it: deviations of video and of sound."""

OVERLAP = 9
"""Pixel frames that a segment repeats of the one before."""

Keeps = Literal["nothing", "frames", "segment"]


@attrs.frozen(eq=False)
class Pool:
    """Clips of one size as latents, on the device that trains.

    Attributes:
        video: [n, t, 60], normalised, of the channels that are used.
        audio: [n, t, c], normalised.
        ids: [n, ways, length], prompts.
        offset: [n], seconds by which the picture begins after the sound.
    """

    video: Tensor
    audio: Tensor
    ids: Tensor
    offset: Tensor


@attrs.frozen
class Bucket:
    """Clips of one size and the way they are trained on.

    Attributes:
        name: in reports.
        size: of the pixels.
        audio: latent frames of the sound.
        clips: how many there are.
        prompts: of a batch.
        draws: of noise, for each prompt.
        share: how many steps, to those of the others.
        keeps: what is told beside the prompt.
        refines: whether noise levels are mostly those of the refine pass.
        composed: whether shapes are where one expects them. What is known of a prompt alone is then nearly all there is
            to know; where they are anywhere, it must be found out from noise, which takes a larger network.
    """

    name: str
    size: PixelShape
    audio: int
    clips: int
    prompts: int
    draws: int
    share: int
    keeps: Keeps = "nothing"
    refines: bool = False
    composed: bool = False


LONG, SHORT, LARGE = PixelShape(49, 128, 192), PixelShape(25, 128, 192), PixelShape(49, 256, 384)
BUCKETS = (
    Bucket("text", LONG, 53, 12288, 64, 4, 3, composed=True),
    Bucket("short", SHORT, 28, 0, 64, 4, 1, composed=True),
    Bucket("frames", LONG, 53, 8192, 64, 3, 3, "frames"),
    Bucket("segment", LONG, 96, 8192, 48, 3, 3, "segment"),
    Bucket("large", LARGE, 53, 2048, 16, 3, 1, refines=True, composed=True),
)
"""A bucket without clips shares those of the one before, as far as it is as long."""

SENTENCES = 4
"""Ways in which each scene is said."""


@torch.no_grad()
def fill(bucket: Bucket, scenes: Scenes, ids: Tensor, ear: audio_vae.AudioVAE, *, chunk: int = 32) -> Pool:
    """Encode scenes; in a bucket of segments the picture begins later than the sound.

    Args:
        bucket: of what size.
        scenes: on the device that trains.
        ids: [n, ways, length], what is said of each.
        ear: for the sounds.
        chunk: scenes at once.
    """
    device, n = scenes.seam.device, len(scenes)
    generator = torch.Generator(device).manual_seed(n)
    offset = torch.zeros(n, device=device)
    if bucket.keeps == "segment":
        # On the grid of latent frames less a part of one, as segments have it.
        offset = torch.rand(n, generator=generator, device=device) * 1.65
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    chunk = max(1, chunk * 128 * 25 // (bucket.size.height * bucket.size.frames // 2))
    pictures, sounds = [], []
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        some = scenes[rows]
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            y = ear.encode(heard(some, bucket.audio, offset[rows])).float()
        pictures.append(pack(latents(render(some, bucket.size.frames, bucket.size.height))).to(dtype))
        sounds.append(ear.normalize(audio_vae.pack(y)).to(dtype))
    return Pool(torch.cat(pictures), torch.cat(sounds), ids.to(device), offset)


class Trainee(nn.Module):
    """Everything that learns here."""

    def __init__(self, gemma: Any, connectors: TextConnectors, transformer: AudioVideoTransformer) -> None:
        super().__init__()
        self.text_encoder = gemma
        self.connectors = connectors
        self.transformer = transformer

    def read(self, ids: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Text features [p, length, d] for video and for audio, of prompts [p, t] with padding on the right."""
        mask = (ids != 0).long()
        t = ids.shape[1]
        causal = torch.ones(t, t, dtype=torch.bool, device=ids.device).tril()[None, None]
        output = self.text_encoder(
            input_ids=ids,
            attention_mask={"full_attention": causal, "sliding_attention": causal},
            position_ids=torch.arange(t, device=ids.device)[None],
            output_hidden_states=True,
            use_cache=False,
        )
        states = torch.stack([state.float() for state in output.hidden_states], dim=-1)
        more = length - t
        states = nn.functional.pad(states, (0, 0, 0, 0, 0, more))
        video, sound, _ = self.connectors(states, nn.functional.pad(mask, (0, more)))
        return video, sound

    def told(self, features: tuple[Tensor, Tensor], draws: int) -> Text:
        """The prompts as blocks read them, each for several draws of noise."""
        text = self.transformer.text(*features, ahead=True)
        read = tuple(
            tuple(KeyValue(*(part.repeat_interleave(draws, 0) for part in pair)) for pair in both) for both in text.read
        )
        return text._replace(read=read)  # type: ignore[arg-type]


@attrs.frozen(eq=False)
class Guide:
    """What is learned instead of clips: where guidance leads, so that it is not needed afterwards.

    Attributes:
        teacher: as the trainee was; it does not learn.
        scale: how closely it follows prompts.
        empty: [t], ids of no prompt.
    """

    teacher: Trainee
    scale: float
    empty: Tensor

    @torch.no_grad()
    def velocities(self, ids: Tensor, length: int, draws: int, *rest: Any) -> tuple[Tensor, Tensor]:
        """Of video and of sound; `rest` is what the transformer is given before and after the text."""
        video, sound, *others = rest
        texts = (self.teacher.told(self.teacher.read(i, length), draws) for i in (ids, self.empty.expand_as(ids)))
        told, plain = (self.teacher.transformer(video, sound, text, *others) for text in texts)
        one, other = (
            without.float() + self.scale * (own.float() - without.float())
            for own, without in zip(told, plain, strict=True)
        )
        return one[..., :USED], other


def loss(
    trainee: Trainee, bucket: Bucket, length: int, guide: Guide | None = None, *, own: bool = False
) -> Callable[..., tuple[Tensor, Mapping[str, Tensor]]]:
    """The loss of velocities, of what is not kept."""

    def of(
        video: Tensor,
        sound: Tensor,
        ids: Tensor,
        sigma: Tensor,
        earlier: Tensor,
        keep: Tensor,
        keep_sound: Tensor,
        *rotary: Tensor,
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        draws = bucket.draws
        clean = [x.float().repeat_interleave(draws, 0) for x in (video, sound)]
        moving = [1 - keep, 1 - keep_sound]  # [b, t]
        text = trainee.told(trainee.read(ids, length), draws)
        angles = _rotary(rotary)

        def velocities(level: Tensor) -> tuple[Tensor, Tensor]:
            v, w = trainee.transformer(padded(x, 2), a, text, at(level), angles)
            return v[..., :USED], w

        def at(level: Tensor) -> Timesteps:
            t = level * TIMESTEPS
            own, own_sound = (t if bucket.keeps == "nothing" else m * t[:, None] for m in moving)
            return Timesteps(own, own_sound, t, t)

        start = earlier if own else sigma
        given = [
            c + (off * (1 - m))[..., None] * torch.randn_like(c) for c, m, off in zip(clean, moving, OFF, strict=True)
        ]
        x, a = (
            torch.lerp(c, torch.randn_like(c), (m * start[:, None])[..., None])
            for c, m in zip(given, moving, strict=True)
        )
        if own:
            step = sigma - earlier
            made = velocities(earlier)
            x, a = (
                noisy + (m * step[:, None])[..., None] * v.detach().float()
                for noisy, v, m in zip((x, a), made, moving, strict=True)
            )
        if guide is None:
            # From where it is straight to the clip: without own steps, noise less clip.
            wanted = [(noisy - c) / sigma[:, None, None] for noisy, c in zip((x, a), clean, strict=True)]
        else:
            wanted = list(guide.velocities(ids, length, draws, padded(x, 2), a, at(sigma), angles))
        made = velocities(sigma)
        errors = (
            ((v.float() - w).square().mean(2) * m).sum() / m.sum().clamp(min=1)
            for v, w, m in zip(made, wanted, moving, strict=True)
        )
        seen, sounded = errors
        return seen + SOUND_WEIGHT * sounded, {"video": seen, "audio": sounded}

    return of


def tensors_of(rotary: Rotary) -> list[Tensor]:
    """The angles as tensors: cosine and sine of each of the four."""
    return [part for rope in rotary for part in (rope.cos, rope.sin)]


def _rotary(tensors: Sequence[Tensor]) -> Rotary:
    from stagegraph_ltx2.model.rope import Rope

    return Rotary(*(Rope(tensors[i], tensors[i + 1], "split") for i in range(0, 8, 2)))


def task(
    trainee: Trainee,
    bucket: Bucket,
    pool: Pool,
    length: int,
    *,
    listed: float = 0.5,
    guide: Guide | None = None,
    own: bool = False,
    dropped: float = DROPPED,
) -> Task:
    """Steps over one pool.

    Args:
        trainee: learns.
        bucket: says how.
        pool: its clips.
        length: positions of the text, a multiple of the registers.
        listed: share of noise levels that are those of the distilled schedules; others are any between 0 and 1.
        guide: says what is learned, if not the clips themselves.
        own: whether noisy clips of listed levels come by a step of the trainee's own from the level before, with the
            errors that it makes.
        dropped: share of prompts that are not told.
    """
    device = pool.video.device
    count = bucket.prompts * bucket.draws
    base = video_positions(bucket.size.latent(), FRAME_RATE, device)
    places = audio_positions(AudioShape(bucket.audio), device)
    empty = no_prompt(pool)
    shape = bucket.size.latent()
    video, sound = pool.video[:, : shape.tokens], pool.audio[:, : bucket.audio]  # both are causal
    levels = torch.tensor(REFINE_SIGMAS[:-1] if bucket.refines else DISTILLED_SIGMAS[:-1], device=device)

    def batch() -> Sequence[Tensor]:
        rows = torch.randint(len(pool.video), (bucket.prompts,), device=device)
        way = torch.randint(pool.ids.shape[1], (bucket.prompts,), device=device)
        ids = torch.where(torch.rand(bucket.prompts, 1, device=device) < dropped, empty, pool.ids[rows, way])
        offset = pool.offset[rows].repeat_interleave(bucket.draws)
        keep, keep_sound = _kept(bucket, shape, count, offset)
        # What keeps something has positions of each sample, moved or not: one compiled block serves both.
        positions = base.expand(1 if bucket.keeps == "nothing" else count, -1, -1, -1).clone()
        if bucket.keeps == "segment":
            positions[:, 0] += offset[:, None, None]
        rotary = trainee.transformer.rotary(positions, places)
        sigma, earlier = _sigmas(levels, count, listed, refines=bucket.refines)
        return [video[rows], sound[rows], ids, sigma, earlier, keep, keep_sound, *tensors_of(rotary)]

    return Task(bucket.name, batch, loss(trainee, bucket, length, guide, own=own), bucket.share)


def no_prompt(pool: Pool) -> Tensor:
    """Ids [t] of an empty text."""
    empty = torch.zeros(pool.ids.shape[2], dtype=torch.long, device=pool.ids.device)
    empty[0] = pool.ids[0, 0, 0]
    return empty


def _sigmas(levels: Tensor, count: int, listed: float, *, refines: bool) -> tuple[Tensor, Tensor]:
    """Noise levels [b], and those before them in the schedule; the first, and any not listed, have themselves there."""
    device = levels.device
    # Stratified, and leaning towards noise as the schedules do.
    u = (torch.randperm(count, device=device) + torch.rand(count, device=device)) / count
    free = (0.93 * u if refines else 3 * u / (1 + 2 * u)).clamp(0.002, 1.0)
    chosen = torch.randint(len(levels), (count,), device=device)
    is_listed = torch.rand(count, device=device) < listed
    return (
        torch.where(is_listed, levels[chosen], free),
        torch.where(is_listed, levels[(chosen - 1).clamp(min=0)], free),
    )


def _kept(bucket: Bucket, shape: LatentShape, count: int, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens are kept: [b, t] of video and of sound, 1 for those that are clean."""
    device, per_frame = offset.device, shape.tokens_per_frame
    of_frame = torch.arange(shape.tokens, device=device) // per_frame
    of_sound = torch.arange(bucket.audio, device=device)
    if bucket.keeps == "nothing":
        return torch.zeros(count, shape.tokens, device=device), torch.zeros(count, bucket.audio, device=device)
    if bucket.keeps == "frames":
        # The first frame alone, or the first nine; of these, some with the sound that goes with them.
        two = torch.rand(count, device=device) < 0.4
        sound = (torch.rand(count, device=device) * 12) * (two & (torch.rand(count, device=device) < 0.5))
    else:
        two = torch.ones(count, device=device) > 0
        # What was heard up to where new frames begin, or a little less or more; sessions keep two latents more.
        until = (offset + OVERLAP / FRAME_RATE) * 25
        more = torch.rand(count, device=device) * 4 - 1
        sound = (until + more).clamp(min=0) * (torch.rand(count, device=device) < 0.9)
    keep = (of_frame[None] < (1 + two.long())[:, None]).float()
    return keep, (of_sound[None] < sound.floor()[:, None]).float()


@torch.no_grad()
def sample(
    trainee: Trainee,
    ids: Tensor,
    size: PixelShape,
    sound_frames: int,
    *,
    seed: int = 0,
    length: int = 1024,
    sigmas: Sequence[float] = DISTILLED_SIGMAS,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Tokens of videos and sounds that prompts [p, t] become, from noise by Euler's steps."""
    device = ids.device
    shape = size.latent()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(ids), shape.tokens, 128, generator=generator).to(device)
    a = torch.randn(len(ids), sound_frames, 128, generator=generator).to(device)
    model = trainee.transformer
    rotary = model.rotary(video_positions(shape, FRAME_RATE, device), audio_positions(AudioShape(sound_frames), device))
    empty = torch.zeros_like(ids)
    empty[:, 0] = ids[:, 0]
    texts = [model.text(*trainee.read(one, length)) for one in ((ids,) if scale == 1 else (ids, empty))]
    for sigma, following in pairwise(sigmas):
        t = torch.full((len(ids),), sigma * TIMESTEPS, device=device)
        made = [model(x, a, text, Timesteps.alike(t), rotary) for text in texts]
        v, w = (
            (own if len(made) == 1 else made[1][i] + scale * (own - made[1][i])).float()
            for i, own in enumerate(made[0])
        )
        x, a = x + (following - sigma) * v, a + (following - sigma) * w
    return x, a


def modules(trainee: Trainee) -> nn.ModuleDict:
    """As they are kept in a state."""
    return nn.ModuleDict({**text_modules(trainee), "transformer": trainee.transformer})


def text_modules(trainee: Trainee) -> nn.ModuleDict:
    """What reads the text, as it is kept before the transformer has learned anything."""
    return nn.ModuleDict({"text_encoder": trainee.text_encoder, "connectors": trainee.connectors})
