"""Stripes are painted, said and recognised; what a LoRA learns is what is written, and nothing else learns."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ltx2_training import assembly, flow, lora, networks, recipe, state, world
from ltx2_training.__main__ import main
from ltx2_training.clips import render
from ltx2_training.pieces import REGISTERS
from ltx2_training.scenes import draw
from ltx2_training.sentences import sentence
from ltx2_training.stripes import are_striped, can_be_striped, striped_pictures, striped_sentence, stripes
from ltx2_training.words import tokens
from stagegraph_ltx2.checkpoint.lora.file import read_lora
from stagegraph_ltx2.checkpoint.lora.fit import Layers, fit
from stagegraph_ltx2.checkpoint.lora.lay import Change, lay_over
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.shapes import PixelShape

FOUND = draw(9, 60)
SCENES = FOUND[np.flatnonzero(can_be_striped(FOUND))[:16]]


def _bytes(pictures: np.ndarray) -> np.ndarray:
    return ((pictures.transpose(0, 2, 3, 4, 1) + 1) * 127.5).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("height", [128, 256])
def test_stripes_are_recognised(height: int) -> None:
    """On their colour, whether the first is black or the second; plain backgrounds have none."""
    first = np.arange(len(SCENES)) % 2
    striped = _bytes(striped_pictures(SCENES, first, 3, height))
    plain = _bytes(render(SCENES, 3, height))
    for row in range(len(SCENES)):
        assert stripes(striped[row])[0] > 0.75
        assert are_striped(striped[row], SCENES, row)
        assert stripes(plain[row])[0] < 0.05
        assert not are_striped(plain[row], SCENES, row)
    others = attrs.evolve(SCENES, background=(SCENES.background + 1) % 9)
    assert not any(are_striped(striped[row], others, row) for row in range(len(SCENES)))


def test_stripes_are_the_same_on_a_gpus_arrays() -> None:
    """Of torch and of numpy; and shapes are before them, as they are before a plain background."""
    first = np.arange(len(SCENES)) % 2
    striped = striped_pictures(SCENES, first, 2, 64)
    same = striped_pictures(SCENES.on("cpu"), torch.from_numpy(first), 2, 64)
    np.testing.assert_allclose(striped, same.numpy(), atol=1e-4)
    shape = world.PALETTE[SCENES.colour[:, 0]]
    for row in range(len(SCENES)):
        pictures = np.stack([render(SCENES[row : row + 1], 2, 64)[0], striped[row]])
        inside = (np.abs(pictures - shape[row][:, None, None, None]) < 1e-4).all(1)
        assert (inside[0] <= inside[1]).all()


def test_stripes_are_said_of_the_background() -> None:
    """In every way to say it, once, and within what the text encoder was trained to read."""
    for row in range(len(SCENES)):
        ground = world.NAMES[int(SCENES.background[row])]
        for seed in range(6):
            said = striped_sentence(SCENES, row, seed)
            assert said.count("striped") == 1
            assert f"striped {ground}" in said
            assert said.replace("striped ", "").replace(f"a {ground}", ground) == sentence(SCENES, row, seed).replace(
                f"an {ground}", ground
            ).replace(f"a {ground}", ground)
            assert tokens([said]).shape == (1, 64)


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pieces leave that have trained nothing; the transformer answers, as one that has learned does."""
    folder = tmp_path_factory.mktemp("states")
    for piece, names in assembly.PIECES.items():
        modules = {name: networks.gemma() if name == "text_encoder" else networks.build(name) for name in names}
        if piece == "flow":
            torch.manual_seed(1)
            for p in modules["transformer"].parameters():
                if not p.any():
                    nn.init.normal_(p, std=0.1)
        state.save(folder, piece, nn.ModuleDict(modules).state_dict())
    return folder


def _transformer(states: Path) -> nn.Module:
    transformer = networks.build("transformer")
    state.resume(states, "flow", nn.ModuleDict({"transformer": transformer}))
    return transformer.to(torch.bfloat16).float().eval()


@torch.no_grad()
def _answer(transformer: nn.Module) -> Tensor:
    torch.manual_seed(2)
    size = PixelShape(9, 64, 96).latent()
    trainee = flow.Trainee(networks.gemma(), networks.build("connectors"), transformer).eval()
    ids = torch.from_numpy(tokens(["a red circle moves left on a striped blue background"]))
    return flow.sample(trainee, ids, size.pixel(24.0), 14, length=REGISTERS, sigmas=(1.0, 0.5, 0.0))[0]


def test_the_command_writes_what_is_laid_over_a_checkpoint(states: Path, tmp_path: Path) -> None:
    """It fits all its layers, none of the sound; what the piece did stands in its report."""
    out = tmp_path / "made"
    assert main(["lora", "--small", "--steps", "4", "--resume", str(states), "--out", str(out), "--device", "cpu"]) == 0
    file = out / lora.FILE
    micro = assembly.assemble([states], tmp_path / "micro")
    fitted = fit(read_lora(file), Layers.of(open_checkpoint(micro)))
    assert fitted.faults == ()
    assert len(fitted.pairs) == recipe.TRANSFORMER["num_layers"] * len(lora.LAYERS)
    assert not any("audio" in layer.path for layer in fitted.pairs)
    assert file.stat().st_size < 2**18
    assert any(tensor.any() for name, tensor in load_file(file).items() if "lora_B" in name)
    (told,) = json.loads((out / "report.json").read_text())["lora"]
    assert told["steps"] == 4
    assert {"striped, said", "striped, not said"} <= told.keys()


def test_what_is_written_is_what_was_learned(states: Path, tmp_path: Path) -> None:
    """Adapters change nothing at first; then a transformer with the file laid over it answers as one with them."""
    plain, adapted = _transformer(states), _transformer(states)
    adapters = lora.adapt(adapted)
    before = _answer(plain)
    assert torch.equal(_answer(adapted), before)
    torch.manual_seed(3)
    for adapter in adapters.values():
        adapter.up.data.normal_(std=0.1)
        adapter.to(torch.bfloat16).float()  # as it is written
    wanted = _answer(adapted)
    assert (wanted - before).abs().mean() > 0.01
    lora.save(tmp_path / lora.FILE, adapters)
    changes = {path: [Change(pair, 1.0)] for path, pair in read_lora(tmp_path / lora.FILE).pairs.items()}
    lay_over(plain, changes, keep=False)
    torch.testing.assert_close(_answer(plain), wanted, atol=1e-4, rtol=1e-3)


def test_nothing_else_learns(states: Path) -> None:
    """Of a transformer with adapters, only these have gradients."""
    transformer = _transformer(states)
    adapters = lora.adapt(transformer)
    learning = {id(p) for adapter in adapters.values() for p in (adapter.down, adapter.up)}
    assert {id(p) for p in transformer.parameters() if p.requires_grad} == learning
