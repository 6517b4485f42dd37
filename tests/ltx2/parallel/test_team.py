"""Two and three processes denoise as one does, to rounding."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch

from stagegraph.errors import Cancelled, Fault
from stagegraph_ltx2.denoise import Recipe, denoise
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.parallel.team import Team
from stagegraph_ltx2.rules import RULES
from stagegraph_ltx2.samplers import sampler_of
from stagegraph_ltx2.scales import Guidance, Scales
from stagegraph_ltx2.values import DenoisingProgress, LatentState

from ..random_weights import relative_error
from .conftest import others, within
from .scenes import CONFIGS, conditioned, frozen_sound, plain, text, transformer

SIGMAS = (1.0, 0.5, 0.0)
EVERYTHING = Guidance(Scales(3, 1, 3, 0.7), Scales(7, 1, 3, 0.7), (1,))
UNGUIDED = Recipe(SIGMAS)
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def models() -> dict[str, AudioVideoTransformer]:
    """One of each release."""
    return {name: transformer(config) for name, config in CONFIGS.items()}


GUIDED = Recipe(SIGMAS, EVERYTHING, sampler_of("euler_ancestral"))
ONE_BY_ONE = Recipe(SIGMAS, EVERYTHING, rules=RULES["official"], together=False)


@pytest.mark.parametrize(
    ("release", "make", "recipe"),
    [
        ("2.0", plain, UNGUIDED),
        ("2.3", plain, GUIDED),
        ("2.3", conditioned, UNGUIDED),
        ("2.0", conditioned, GUIDED),
        ("2.3", conditioned, ONE_BY_ONE),
        ("2.0", frozen_sound, ONE_BY_ONE),
        ("2.3", frozen_sound, UNGUIDED),
    ],
    ids=lambda value: {id(UNGUIDED): "unguided", id(GUIDED): "guided", id(ONE_BY_ONE): "one by one"}.get(id(value)),
)
def test_several_processes_give_what_one_gives(
    models: dict[str, AudioVideoTransformer],
    team: Team,
    release: str,
    make: Callable[[], LatentState],
    recipe: Recipe,
) -> None:
    """With 45 or 47 video and 18 audio tokens, among them frames that are kept and frames beside the video."""
    model, config, state = models[release], CONFIGS[release], make()
    texts = text(config), text(config, 20)
    expected = denoise(model, state, recipe, *texts)
    result = denoise(model, state, recipe, *texts, evaluator=team.evaluator)
    for ours, alone in zip(result, expected, strict=True):
        assert relative_error(ours, alone) < TOLERANCE


def test_fewer_tokens_than_ranks_are_enough(models: dict[str, AudioVideoTransformer], team: Team) -> None:
    """A rank may have padding alone."""
    state = plain(1, 64, 64, sound=1)
    expected = denoise(models["2.3"], state, UNGUIDED, text(CONFIGS["2.3"]))
    result = denoise(models["2.3"], state, UNGUIDED, text(CONFIGS["2.3"]), evaluator=team.evaluator)
    for ours, alone in zip(result, expected, strict=True):
        assert torch.allclose(ours, alone, atol=1e-5)


def test_a_loop_that_is_continued_gives_the_same_bits(models: dict[str, AudioVideoTransformer], team: Team) -> None:
    """From any step."""
    model, prompt, seen = models["2.0"], text(CONFIGS["2.0"]), list[DenoisingProgress]()
    whole = denoise(
        model, plain(), UNGUIDED, prompt, on_step=lambda progress, _: seen.append(progress), evaluator=team.evaluator
    )
    rest = denoise(model, plain(), UNGUIDED, prompt, start=seen[0], evaluator=team.evaluator)
    assert all(map(torch.equal, whole, rest))


def test_a_loop_that_is_cancelled_leaves_the_processes_to_the_next(
    models: dict[str, AudioVideoTransformer], team: Team
) -> None:
    """Between two steps they wait for what they are told."""

    def cancel(progress: DenoisingProgress, total: int) -> None:
        raise Cancelled(Fault("cancelled", "the run was cancelled"))

    model, prompt = models["2.0"], text(CONFIGS["2.0"])
    expected = denoise(model, plain(), UNGUIDED, prompt, evaluator=team.evaluator)
    before = others()
    with pytest.raises(Cancelled):
        denoise(model, plain(), UNGUIDED, prompt, on_step=cancel, evaluator=team.evaluator)
    assert all(map(torch.equal, denoise(model, plain(), UNGUIDED, prompt, evaluator=team.evaluator), expected))
    assert others() == before


def test_weights_that_were_changed_are_sent_again(team: Team) -> None:
    """In place, as a LoRA is laid over them."""
    model, prompt = transformer(CONFIGS["2.0"]), text(CONFIGS["2.0"])
    before, _ = denoise(model, plain(), UNGUIDED, prompt, evaluator=team.evaluator)
    model.transformer_blocks[1].attn1.to_out[0].weight.mul_(3)
    expected, _ = denoise(model, plain(), UNGUIDED, prompt)
    result, _ = denoise(model, plain(), UNGUIDED, prompt, evaluator=team.evaluator)
    assert relative_error(result, expected) < TOLERANCE
    assert relative_error(result, before) > 1e-3


def test_processes_end_with_the_last_that_holds_their_team() -> None:
    """As when a part is released after its last use; also if they have not begun yet."""
    before = others()
    team = Team(3, torch.device("cpu"))
    assert within(5, lambda: len(others()) == len(before) + 2)
    del team
    gc.collect()
    assert within(5, lambda: others() == before)
