"""Tokens are divided, exchanged and put together again, and nothing changes: here among threads of one process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stagegraph_ltx2.model.adaln import levels
from stagegraph_ltx2.model.attention import attention, strength_bias
from stagegraph_ltx2.model.conditions import Biases, Perturbation
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.parallel.cuts import Cut, own_biases
from stagegraph_ltx2.parallel.exchange import ByHeads, Gathered
from stagegraph_ltx2.parallel.packing import described, like, pack, unpack
from stagegraph_ltx2.parallel.part import Part
from stagegraph_ltx2.samplers import Pair
from stagegraph_ltx2.scene import Batch, Network, Scene, Side

from ..random_weights import relative_error
from .scenes import CONFIGS, plain, randn, text, transformer

HEADS = 6
counts = st.integers(1, 20)
rank_counts = st.sampled_from([1, 2, 3, 6])


class Threads:
    """Ranks that are threads of this process."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self._barrier = threading.Barrier(ranks)
        self._given: list[Tensor] = [torch.empty(0)] * ranks

    def run(self, work: Callable[[Any], Any]) -> list[Any]:
        """What each rank makes of its group, at the same time."""

        def one(rank: int) -> Any:
            try:
                with torch.inference_mode():
                    return work(Member(self, rank))
            except BaseException:
                self._barrier.abort()
                raise

        with ThreadPoolExecutor(self.ranks) as pool:
            return list(pool.map(one, range(self.ranks)))

    def exchange(self, rank: int, x: Tensor) -> list[Tensor]:
        """The x of every rank."""
        self._given[rank] = x
        self._barrier.wait(60)
        everything = list(self._given)
        self._barrier.wait(60)
        return everything


@attrs.frozen
class Member:
    """A rank, with the methods of `Group`."""

    threads: Threads
    rank: int

    @property
    def ranks(self) -> int:
        return self.threads.ranks

    def all_to_all(self, x: Tensor) -> Tensor:
        return torch.stack([other[self.rank] for other in self.threads.exchange(self.rank, x)])

    def all_gather(self, x: Tensor) -> Tensor:
        return torch.stack(self.threads.exchange(self.rank, x))


@given(counts, rank_counts, st.integers(0, 2))
def test_every_token_has_one_rank(tokens: int, ranks: int, dim: int) -> None:
    """In their order; what is missing at the end is 0."""
    cut = Cut(tokens, ranks)
    x = randn(*(tokens if d == dim else 2 for d in range(3)))
    joined = torch.cat([cut.own(x, rank, dim) for rank in range(ranks)], dim)
    assert joined.shape[dim] == tokens + cut.padding == ranks * cut.share
    assert torch.equal(joined.narrow(dim, 0, tokens), x)
    assert not joined.narrow(dim, tokens, cut.padding).any()
    assert cut.padding < ranks * cut.share


def divided_attention(make: Any, ranks: int, biased: str, queries: int, keys: int) -> float:
    """How far the attention of several ranks is from that of one."""
    q, k, v = (randn(2, HEADS, n, 4, seed=i) for i, n in enumerate((queries, keys, keys)))
    bias = {"": None, "keys": randn(2, 1, 1, keys), "heads": randn(1, HEADS, queries, keys)}[biased]
    cuts = Cut(queries, ranks), Cut(keys, ranks)

    def work(group: Any) -> Tensor:
        attend, side = make(group, *cuts)
        own = own_biases(Biases(**{side: bias}), *cuts, group.rank)
        parts = (cut.own(x, group.rank, 2) for cut, x in zip((cuts[0], cuts[1], cuts[1]), (q, k, v), strict=True))
        return attend(*parts, getattr(own, side))

    result = torch.cat(Threads(ranks).run(work), 2)
    assert result.isfinite().all()
    return relative_error(result[:, :, :queries], attention(q, k, v, bias))


@settings(max_examples=40)
@given(rank_counts, st.sampled_from(["", "keys", "heads"]), counts, counts)
def test_attention_by_heads_is_attention(ranks: int, biased: str, queries: int, keys: int) -> None:
    """With biases of keys, and of every head, query and key."""
    make = lambda group, queries, keys: (ByHeads(group, queries, keys), "video_to_audio")  # noqa: E731
    assert divided_attention(make, ranks, biased, queries, keys) < 1e-6


@settings(max_examples=40)
@given(rank_counts, st.sampled_from(["", "keys", "heads"]), counts, counts)
def test_attention_to_gathered_keys_is_attention(ranks: int, biased: str, queries: int, keys: int) -> None:
    """Likewise."""
    make = lambda group, queries, keys: (Gathered(group, keys), "audio_to_video")  # noqa: E731
    assert divided_attention(make, ranks, biased, queries, keys) < 1e-6


@pytest.fixture(scope="module")
def models() -> dict[str, AudioVideoTransformer]:
    """One of each release."""
    return {name: transformer(config) for name, config in CONFIGS.items()}


@st.composite
def biases(draw: st.DrawFn, video: int, audio: int) -> Biases:
    """Strengths with which tokens are seen, of some attentions."""
    sizes = {
        "video": (video, video),
        "audio": (audio, audio),
        "video_text": (video, 7),
        "audio_text": (audio, 7),
        "audio_to_video": (video, audio),
        "video_to_audio": (audio, video),
    }
    made = {}
    for name in draw(st.sets(st.sampled_from(sorted(sizes)))):
        strength = torch.rand(1, *sizes[name], generator=torch.Generator().manual_seed(len(name))) + 0.01
        made[name] = strength_bias(strength, torch.float32)
    return Biases(**made)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[str, Scene, Pair]:
    """Anything that a loop may tell a transformer, and latents."""
    name = draw(st.sampled_from(sorted(CONFIGS)))
    config = CONFIGS[name]
    state = plain(1 + 8 * draw(st.integers(0, 2)), 64, 32 * draw(st.integers(2, 4)), draw(st.integers(1, 9)))
    video, audio = state.video, state.audio
    masks = [
        levels(torch.rand(1, part.tokens, generator=torch.Generator().manual_seed(3)).round(decimals=1))
        if draw(st.booleans())
        else None
        for part in (video, audio)
    ]
    prompts = [text(config, seed) for seed in (0, 10)]
    joined = [torch.cat([getattr(prompt, side) for prompt in prompts]) for side in ("video", "audio")]
    perturbed = Perturbation(frozenset({1}), frozenset({0, 1}), torch.tensor([1.0, 0.0]))
    batches = (
        Batch(2, *joined, draw(st.sampled_from([Perturbation(), perturbed]))),
        Batch(1, prompts[0].video, prompts[0].audio, Perturbation(isolated=draw(st.booleans()))),
    )
    scene = Scene(
        Side(video.positions, masks[0], draw(st.booleans())),
        Side(audio.positions, masks[1], True),
        batches,
        draw(st.sampled_from(["other", "own", "mixed"])),
        draw(biases(video.tokens, audio.tokens)),
    )
    return name, scene, Pair(video.noise, audio.noise)


@settings(max_examples=40, deadline=None)
@given(scenes(), rank_counts)
def test_a_divided_transformer_gives_what_a_whole_one_gives(
    models: dict[str, AudioVideoTransformer], made: tuple[str, Scene, Pair], ranks: int
) -> None:
    """Whatever the number of tokens, their noise levels, what is hidden and what is left out."""
    name, scene, x = made
    model = models[name]
    with torch.inference_mode():
        expected = [Network(model, scene)(number, x, 0.7) for number in (0, 1)]

    def work(group: Any) -> list[Pair]:
        part = Part(group, model, scene)
        return [part(number, x, 0.7) for number in (0, 1)]

    for got in Threads(ranks).run(work):
        for pair, whole in zip(got, expected, strict=True):
            for ours, theirs in zip(pair, whole, strict=True):
                assert relative_error(ours, theirs) < 1e-5


@settings(max_examples=20)
@given(scenes())
def test_a_scene_comes_out_of_a_message_as_it_went_in(made: tuple[str, Scene, Pair]) -> None:
    """In every field; the tensors travel beside it."""
    _, scene, _ = made
    plain_scene, tensors = pack(scene)
    copies = like(json.loads(json.dumps(described(tensors))), torch.device("cpu"))
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.copy_(tensor)
    again = unpack(json.loads(json.dumps(plain_scene)), copies)
    assert same(again, scene)


def same(a: Any, b: Any) -> bool:
    """Equal in type and content, through and through."""
    if isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if attrs.has(type(b)):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in attrs.fields(type(b)))
    if isinstance(b, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b
