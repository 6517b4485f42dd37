"""LoRAs over weights: what they add, that they come off without a trace, and what the component tells."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import stagegraph as sg
from stagegraph import manifest
from stagegraph.errors import ComponentError
from stagegraph.graph import build
from stagegraph.plugins import default_registry
from stagegraph_ltx2.checkpoint.lora.file import Pair, read_lora
from stagegraph_ltx2.checkpoint.lora.lay import Change, lay_over
from stagegraph_ltx2.checkpoint.lora.tiny import write_tiny_lora
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.lending import module_of
from stagegraph_ltx2.lora_component import Adapter, LTX2Lora

TO_Q = "transformer_blocks.0.attn1.to_q"


def two_layers(dtype: torch.dtype, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3)).requires_grad_(False)
    for tensor in module.parameters():
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    module[0].weight[0, 0] = -0.0
    module[1].weight[0, 0] = 1e-30
    return module.to(dtype)


def bits(module: nn.Module) -> dict[str, bytes]:
    """Every bit of the weights."""
    return {name: bytes(tensor.view(torch.uint8).flatten().tolist()) for name, tensor in module.state_dict().items()}


def pairs(path: Path, rank: int, alpha: float | None, seed: int) -> tuple[Mapping[str, Pair], dict[str, Tensor]]:
    """Changes of the two layers, and their tensors."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, (out, width) in {"0": (7, 5), "1": (3, 7)}.items():
        tensors[f"lora_unet_{name}.lora_down.weight"] = torch.randn(rank, width, generator=generator)
        tensors[f"lora_unet_{name}.lora_up.weight"] = torch.randn(out, rank, generator=generator)
        if alpha is not None:
            tensors[f"lora_unet_{name}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path)
    return read_lora(path).pairs, tensors


ADAPTERS = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.none() | st.floats(0.125, 64, width=32),
        st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-2, 2, width=32),
        st.integers(0, 99),
    ),
    min_size=1,
    max_size=3,
)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loras")


def stacked(folder: Path, adapters: list[Any]) -> tuple[dict[str, list[Change]], dict[str, Tensor]]:
    """Changes by layer, and their sum by the formula, in double precision."""
    changes: dict[str, list[Change]] = {"0": [], "1": []}
    sums = {"0": torch.zeros(7, 5, dtype=torch.float64), "1": torch.zeros(3, 7, dtype=torch.float64)}
    for number, (rank, alpha, strength, seed) in enumerate(adapters):
        found, tensors = pairs(folder / f"{number}.safetensors", rank, alpha, seed)
        for name, pair in found.items():
            changes[name].append(Change(pair, strength))
            down, up = (tensors[f"lora_unet_{name}.lora_{half}.weight"].double() for half in ("down", "up"))
            sums[name] += strength * (1.0 if alpha is None else alpha / rank) * (up @ down)
    return changes, sums


@settings(max_examples=60, deadline=None)
@given(adapters=ADAPTERS, dtype=DTYPES, seed=st.integers(0, 99))
def test_layers_get_the_sum_of_all_changes_rounded_once(
    folder: Path, adapters: list[Any], dtype: torch.dtype, seed: int
) -> None:
    """W + sum of strength · alpha / rank · B @ A, against the formula in double precision."""
    module = two_layers(dtype, seed)
    before = {name: tensor.double() for name, tensor in module.state_dict().items()}
    changes, sums = stacked(folder, adapters)
    lay_over(module, changes, keep=False)
    for name, change in sums.items():
        expected = before[f"{name}.weight"] + change
        step = torch.finfo(dtype).eps * expected.abs() / 2  # of one rounding
        size = before[f"{name}.weight"].abs().amax() + change.abs().amax() + 100
        error = (module.state_dict()[f"{name}.weight"].double() - expected).abs()
        assert bool((error <= step * 1.01 + 1e-6 * size).all())
        assert torch.equal(module.state_dict()[f"{name}.bias"].double(), before[f"{name}.bias"])


@settings(max_examples=60, deadline=None)
@given(adapters=ADAPTERS, dtype=DTYPES, seed=st.integers(0, 99))
def test_what_is_taken_off_leaves_no_bit_behind(
    folder: Path, adapters: list[Any], dtype: torch.dtype, seed: int
) -> None:
    """Whatever was laid over it."""
    module = two_layers(dtype, seed)
    before = bits(module)
    originals = lay_over(module, stacked(folder, adapters)[0], keep=True)
    originals.restore(module)
    assert bits(module) == before


@pytest.mark.parametrize(("alpha", "strength"), [(None, 0.0), (0.0, 1.0)])
def test_what_counts_nothing_changes_no_bit(folder: Path, alpha: float | None, strength: float) -> None:
    """Not even the sign of a zero, and nothing is kept of it."""
    module = two_layers(torch.bfloat16, 0)
    before = bits(module)
    originals = lay_over(module, stacked(folder, [(2, alpha, strength, 0)])[0], keep=True)
    assert bits(module) == before
    assert not originals.weights


def test_weights_are_changed_where_they_are(folder: Path) -> None:
    """The module has the same tensors as before, and they tell that they were written: nothing is held twice."""
    module = two_layers(torch.float32, 0)
    weight = module[0].weight
    place, version = weight.data_ptr(), weight._version
    assert not lay_over(module, stacked(folder, [(2, None, 1.0, 0)])[0], keep=False).weights
    assert module[0].weight is weight
    assert (weight.data_ptr(), weight._version) == (place, version + 1)


def test_a_file_that_was_cut_meanwhile_is_told(folder: Path) -> None:
    """Factors are read when they are laid."""
    changes, _ = stacked(folder, [(2, None, 1.0, 0)])
    file = changes["0"][0].pair.down.header.path
    file.write_bytes(file.read_bytes()[: changes["0"][0].pair.down.info.offset])
    with pytest.raises(ComponentError) as caught:
        lay_over(two_layers(torch.float32, 0), changes, keep=False)
    assert caught.value.code == "ltx2.truncated"


def lora(tmp_path: Path, base: Path, name: str = "lora", **how: Any) -> Path:
    return write_tiny_lora(tmp_path / f"{name}.safetensors", open_checkpoint(base), **how)


def over(base: Path, *adapters: Any, **params: Any) -> LTX2Lora:
    model = LTX2Checkpoint(path=str(base), device="cpu", dtype="bf16")
    made = tuple(Adapter(path=str(path), strength=strength) for path, strength in adapters)
    return LTX2Lora(base=model, adapters=made, **params)


def test_the_transformer_is_changed_for_its_borrower_and_then_as_it_was(tiny: Path, tmp_path: Path) -> None:
    """One module in memory; bit by bit the same again, also where two LoRAs change the same layers."""
    style = over(tiny, (lora(tmp_path, tiny), 1.0), (lora(tmp_path, tiny, "b", form="kohya", seed=1, alpha=2), -0.5))
    pool = sg.Pool()
    plain = pool.claim(style.base, "transformer")
    with plain.borrowed() as transformer:
        before = bits(transformer.module)
    with pool.claim(style, "transformer").borrowed() as changed:
        assert changed.module is transformer.module
        assert dict(changed.traits) == dict(transformer.traits)
        after = bits(changed.module)
    assert sorted(name for name in before if before[name] != after[name]) == sorted(
        name for name in before if name.endswith(("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight"))
    )
    with plain.borrowed() as again:
        assert again.module is transformer.module
        assert bits(again.module) == before


def test_connectors_are_changed_too(tiny: Path, tmp_path: Path) -> None:
    """By official names, by those of diffusers, and by underscores."""
    model = LTX2Checkpoint(path=str(tiny), device="cpu")
    out, width = module_of(model.connectors()).state_dict()["text_proj_in.weight"].shape
    size = {"A": (2, width), "B": (out, 2)}
    digests = set()
    for number, start in enumerate(("text_embedding_projection.aggregate_embed", "connectors.text_proj_in")):
        path = tmp_path / f"{number}.safetensors"
        save_file({f"{start}.lora_{half}.weight": torch.ones(shape) for half, shape in size.items()}, path)
        style = over(tiny, (path, 1.0))
        assert not list(style.check(frozenset({"connectors"})))
        before = style.base.connectors()
        expected = module_of(before).state_dict()["text_proj_in.weight"].float() + 2
        changed = style.connectors(before, keep=False)
        assert torch.equal(module_of(changed).state_dict()["text_proj_in.weight"], expected.bfloat16())
        digests.add(style.fingerprint())
    assert len(digests) == 1


def test_a_lora_that_is_used_in_part_is_refused(tiny: Path, tmp_path: Path) -> None:
    """Its connectors, where only the transformer is lent."""
    path = lora(tmp_path, tiny)
    width = (
        module_of(LTX2Checkpoint(path=str(tiny), device="cpu").connectors()).state_dict()["text_proj_in.weight"].shape
    )
    more = {"A": (2, width[1]), "B": (width[0], 2)}
    both = load_file(path) | {f"connectors.text_proj_in.lora_{h}.weight": torch.ones(s) for h, s in more.items()}
    save_file(both, path)
    style = over(tiny, (path, 1.0))
    assert not list(style.check(frozenset({"transformer", "connectors"})))
    (fault,) = style.check(frozenset({"transformer"}))
    assert str(fault) == (
        f"{path}: error[ltx2.half_used]: lora.safetensors changes the connectors, too, and no node is lent this "
        "component's\n"
        "  why: a LoRA of which a part is left out gives something else than it was trained to\n"
        "  fix: give a node of ltx2.text_encoding components: {connectors: ...} with this component"
    )


def test_the_identity_follows_checkpoint_loras_and_strengths(tiny: Path, tiny_2_3: Path, tmp_path: Path) -> None:
    """Not the path and not the form; what was changed is told by name."""
    one, two = lora(tmp_path, tiny), lora(tmp_path, tiny, "two", seed=1)
    copy = Path(shutil.copy(one, tmp_path / "copy.safetensors"))
    kohya = lora(tmp_path, tiny, "kohya", form="kohya", alpha=4, rank=4)
    first = over(tiny, (one, 1.0))
    same = [over(tiny, (copy, 1.0)), over(tiny, (kohya, 1.0))]
    others = [
        over(tiny, (one, 0.5)),
        over(tiny, (two, 1.0)),
        over(tiny, (one, 1.0), (two, 1.0)),
        over(tiny_2_3, (one, 1.0)),
    ]
    assert {style.fingerprint() for style in same} == {first.fingerprint()}
    assert len({style.fingerprint() for style in [first, *others]}) == 5
    assert first.fingerprint() != first.base.fingerprint()
    digest = first.cache_facts()["adapters"].removesuffix(" x 1")
    assert others[0].cache_facts() == {**first.cache_facts(), "adapters": f"{digest} x 0.5"}
    assert first.placement() == first.base.placement()


def test_a_lora_takes_no_memory_of_its_own(tiny: Path, tmp_path: Path) -> None:
    """What is known of a part is what the checkpoint knows of it."""
    style = over(tiny, (lora(tmp_path, tiny), 1.0))
    assert style.part_facts("transformer") == style.base.part_facts("transformer")
    assert style.peak_memory() == 0
    assert style.free_memory() == pytest.approx(style.base.free_memory(), rel=0.2)  # others use it too


DISTILLED = "ltx-2-19b-distilled-lora-384"


@pytest.mark.parametrize(
    ("name", "strength", "params", "distilled"),
    [
        ("style", 1.0, {}, False),
        ("style", 1.0, {"distilled": True}, True),
        (DISTILLED, 1.0, {}, True),
        (DISTILLED, 0.25, {}, None),
        (DISTILLED, 0.0, {}, False),
        (DISTILLED, 1.0, {"distilled": False}, False),
    ],
)
def test_a_distilled_lora_distils_what_is_beneath(
    tiny_base: Path, tmp_path: Path, name: str, strength: float, params: dict[str, Any], distilled: bool | None
) -> None:
    """By its official name or by a param; at another strength than 1 nothing says so."""
    style = over(tiny_base, (lora(tmp_path, tiny_base, name), strength), **params)
    assert style.part_facts("transformer")["distilled"] is distilled
    assert style.cache_facts()["distilled"] == str(distilled).lower()
    transformer = style.transformer(style.base.transformer(), keep=False)
    assert transformer.traits["distilled"] is distilled


def test_what_is_wrong_is_told_before_weights_are_read(tiny: Path, tmp_path: Path) -> None:
    """Of all LoRAs at once; what would have to be downloaded is fine."""
    absent, cut = tmp_path / "absent.safetensors", lora(tmp_path, tiny, "cut")
    cut.write_bytes(cut.read_bytes()[:-1])
    wrong = tmp_path / "wrong.safetensors"
    save_file({"a.lora_A.weight": torch.ones(1, 4), "a.lora_B.weight": torch.ones(4, 1)}, wrong)
    style = over(tiny, (absent, 1.0), (cut, 1.0), (wrong, 1.0), ("Nobody/Nothing", 1.0))
    codes = [fault.code for fault in style.check(frozenset({"transformer"}))]
    assert codes == ["ltx2.no_such_checkpoint", "ltx2.truncated", "ltx2.unknown_layer"]
    assert not list(over(tmp_path / "no", (lora(tmp_path, tiny, "fine"), 1.0)).check(frozenset({"transformer"})))


def bound(params: Mapping[str, Any]) -> object:
    components = {
        "model": {"kind": "ltx2.checkpoint"},
        "style": {"kind": "ltx2.lora", "params": {"base": "model", **params}},
    }
    data = {"stagegraph": 1, "name": "x", "components": components, "nodes": {}}
    return build(manifest.from_data(data), default_registry())


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"adapters": []}, "error[invalid_value]: component style (ltx2.lora): adapters is empty: name a LoRA"),
        ({"adapters": [{"path": "x", "strength": 11}]}, "strength is 11.0"),
        ({"adapters": [{"strength": 1}]}, '"path" is not set'),
        ({"adapters": "x"}, "is not a list"),
    ],
)
def test_settings_that_make_no_sense_are_refused(params: Mapping[str, Any], text: str) -> None:
    """With what is allowed."""
    with pytest.raises(sg.StagegraphError) as caught:
        bound(params)
    assert text in str(caught.value)
