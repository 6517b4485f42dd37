"""From layout to layout and back, bit by bit; diffusers opens what is written for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import LTX2Pipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

from stagegraph_ltx2.checkpoint.contents import Layout
from stagegraph_ltx2.checkpoint.convert import convert, left_out
from stagegraph_ltx2.checkpoint.header import read_header
from stagegraph_ltx2.checkpoint.opening import Elsewhere, open_checkpoint
from stagegraph_ltx2.checkpoint.stored import Stored
from stagegraph_ltx2.checkpoint.writing import BLOCK_BYTES, TensorFile, write_safetensors

from .conftest import rewrite
from .test_layouts import only, single_file

LaidOut = Callable[[str, Layout], Path]
Refusal = Callable[[Callable[[], object]], str]
ALL: tuple[Layout, ...] = ("diffusers", "single", "split", "fastvideo")


def tensors(folder: Path) -> dict[tuple[str, str], Tensor]:
    """Every tensor of every file: (file, name) -> it."""
    return {
        (str(path.relative_to(folder)), name): tensor
        for path in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def same(one: dict[tuple[str, str], Tensor], other: dict[tuple[str, str], Tensor]) -> bool:
    """Whether all tensors are there, with the same number formats and the same bits."""
    return one.keys() == other.keys() and all(
        tensor.dtype == other[key].dtype and torch.equal(tensor, other[key]) for key, tensor in one.items()
    )


def meaning(path: Path) -> dict[str, object]:
    """The metadata of a file, with the JSON in it read."""
    return {
        key: json.loads(value) if value.startswith("{") else value for key, value in read_header(path).metadata.items()
    }


@pytest.fixture
def official(copied: LaidOut) -> Callable[[str], Path]:
    """A folder with a single file like the official ones: tables in fp32, a licence in its header."""

    def make(name: str) -> Path:
        folder = copied(name, "single")
        path = single_file(folder)
        metadata = dict(read_header(path).metadata) | {"license": "as it was", "model_version": "2.3.1"}
        state = {n: t.float() + 1e-6 if "scale_shift_table" in n else t for n, t in load_file(path).items()}
        save_file(state, path, metadata=metadata)
        return folder

    return make


@pytest.mark.parametrize("layout", ["diffusers", "split", "fastvideo"])
@pytest.mark.parametrize("name", ["tiny-2.3", "tiny-base"])
def test_a_single_file_comes_back_from_every_layout_as_it_was(
    official: Callable[[str], Path], tmp_path: Path, layout: Layout, name: str
) -> None:
    """Every tensor bit by bit in its number format, every configuration, and what else its header said."""
    folder = official(name)
    path = single_file(folder)
    away = convert(open_checkpoint(folder), tmp_path / "away", layout)
    back = convert(open_checkpoint(away), tmp_path / "back", "single", name=path.stem)
    assert same(tensors(back), tensors(folder))
    assert {dtype.dtype for dtype in read_header(path).tensors.values()} == {"BF16", "F32"}
    for file in sorted(folder.glob("*.safetensors")):
        assert meaning(back / file.name) == meaning(file)
    for file in sorted((folder / "gemma").glob("*.json")):
        assert json.loads((back / "gemma" / file.name).read_bytes()) == json.loads(file.read_bytes())


@pytest.mark.parametrize("layout", ["single", "split", "fastvideo"])
@pytest.mark.parametrize("name", ["tiny", "tiny-2.3-base"])
def test_a_folder_comes_back_from_every_layout_as_it_was(
    laid_out: LaidOut, tmp_path: Path, layout: Layout, name: str
) -> None:
    """The same files, and in JSON the same values for all that is read."""
    folder = laid_out(name, "diffusers")
    back = convert(open_checkpoint(laid_out(name, layout)), tmp_path / "back", "diffusers")
    assert same(tensors(back), tensors(folder))
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {str(path.relative_to(back)) for path in back.rglob("*") if path.is_file()} == names
    for path in sorted(folder.rglob("*.json")):
        ours = json.loads((back / path.relative_to(folder)).read_bytes())
        theirs = json.loads(path.read_bytes())
        assert ours == theirs, path.relative_to(folder)


@pytest.mark.parametrize("name", ["tiny", "tiny-2.3"])
def test_diffusers_opens_a_converted_folder(laid_out: LaidOut, tmp_path: Path, name: str) -> None:
    """With the weights of the original, none of them missing or left over."""
    folder = convert(open_checkpoint(laid_out(name, "single")), tmp_path / "folder", "diffusers")
    ours, theirs = (LTX2Pipeline.from_pretrained(path) for path in (folder, laid_out(name, "diffusers")))
    for component in ("transformer", "connectors", "vae", "audio_vae", "vocoder", "text_encoder"):
        got, expected = (getattr(pipe, component).state_dict() for pipe in (ours, theirs))
        assert got.keys() == expected.keys()
        assert all(torch.equal(got[key], tensor) for key, tensor in expected.items())
    assert dict(ours.scheduler.config) == dict(theirs.scheduler.config)


def test_names_and_side_files_go_where_each_layout_has_them(copied: LaidOut, tmp_path: Path) -> None:
    """Files of the tokenizer are packed as bytes, and unpacked again."""
    folder = copied("tiny", "diffusers")
    (folder / "tokenizer" / "chat_template.jinja").write_text("{{ x }}")
    (folder / "text_encoder" / "generation_config.json").write_text('{"top_k": 64}')
    pack = convert(open_checkpoint(folder), tmp_path / "pack", "split")
    assert sorted(str(path.relative_to(pack)) for path in pack.rglob("*.*")) == [
        "diffusion_models/pack-transformer.safetensors",
        "latent_upscale_models/pack-spatial-upscaler.safetensors",
        "text_encoders/pack-gemma-with-proj.safetensors",
        "vae/pack-audio-vae.safetensors",
        "vae/pack-video-vae.safetensors",
    ]
    header = read_header(only(pack, "text_encoders/*"))
    packed = {name for name, info in header.tensors.items() if info.dtype == "U8"}
    assert packed == {
        "tokenizer_json",
        *(f"hf_asset__{name}" for name in ("tokenizer_config.json", "chat_template.jinja", "generation_config.json")),
    }
    assert sum(name.startswith("text_embedding_projection.") for name in header.tensors) == 1
    back = convert(open_checkpoint(pack), tmp_path / "back", "diffusers")
    assert (back / "tokenizer" / "chat_template.jinja").read_text() == "{{ x }}"
    assert (back / "text_encoder" / "generation_config.json").read_text() == '{"top_k": 64}'


def test_a_checkpoint_that_says_nothing_of_its_distillation_must_be_decided(
    copied: LaidOut, tmp_path: Path, refusal: Refusal
) -> None:
    """A diffusers folder needs a scheduler; other layouts go on saying nothing."""
    path = rewrite(single_file(copied("tiny", "single")), {"diffusers_scheduler": None})
    checkpoint = open_checkpoint(path)
    assert refusal(lambda: convert(checkpoint, tmp_path / "out", "diffusers")) == (
        f"<tmp>/model/{path.name}: error[ltx2.undecided]: nothing says whether the checkpoint is distilled\n"
        "  why: a diffusers folder has a scheduler that says so; single files say it by their official name only\n"
        "  fix: add --distilled or --base"
    )
    assert not (tmp_path / "out").exists()
    assert open_checkpoint(convert(checkpoint, tmp_path / "pack", "split")).distilled is None
    for distilled in (True, False):
        made = convert(checkpoint, tmp_path / f"said {distilled}", "diffusers", distilled=distilled)
        assert open_checkpoint(made).distilled is distilled


def test_what_is_said_must_not_contradict_the_checkpoint(laid_out: LaidOut, tmp_path: Path, refusal: Refusal) -> None:
    """A distilled one does not become another by being copied."""
    checkpoint = open_checkpoint(laid_out("tiny", "single"))
    assert refusal(lambda: convert(checkpoint, tmp_path / "out", "split", distilled=False)) == (
        f"{checkpoint.root}: error[ltx2.contradiction]: the checkpoint is distilled\n"
        f"  why: {checkpoint.root.name}: its header keeps a scheduler\n"
        "  fix: leave the option out"
    )


def test_what_is_absent_is_left_out_and_what_is_broken_is_not(
    copied: LaidOut, tmp_path: Path, refusal: Refusal
) -> None:
    """Without a text encoder; with half of one."""
    folder = copied("tiny", "single")
    path = single_file(folder)
    (folder / "gemma" / "tokenizer.json").unlink()
    assert "gemma has no tokenizer.json" in refusal(
        lambda: convert(open_checkpoint(path), tmp_path / "out", "diffusers")
    )
    shutil.rmtree(folder / "gemma")
    checkpoint = open_checkpoint(path)
    assert left_out(checkpoint) == ("text encoder", "tokenizer")
    made = convert(checkpoint, tmp_path / "out", "diffusers")
    index = json.loads((made / "model_index.json").read_text())
    assert index["text_encoder"] == index["tokenizer"] == [None, None]
    assert "text_encoder" not in open_checkpoint(made).names
    pack = convert(checkpoint, tmp_path / "pack", "split")
    assert [path.name for path in pack.glob("text_encoders/*")] == ["tiny-single-text-projection.safetensors"]
    again = open_checkpoint(pack, Elsewhere(text_encoder=None))
    assert "connectors" in again.found
    assert "the checkpoint has no text encoder" in refusal(lambda: convert(again, tmp_path / "fv", "fastvideo"))


def test_a_configuration_that_official_files_cannot_say_is_refused(
    copied: LaidOut, tmp_path: Path, refusal: Refusal
) -> None:
    """Rather than written as something else."""
    folder = copied("tiny", "diffusers")
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"perturbed_attn": True}))
    assert refusal(lambda: convert(open_checkpoint(folder), tmp_path / "out", "single")) == (
        "<tmp>/model: error[ltx2.bad_config]: transformer: perturbed_attn=True has no place in it\n"
        "  why: the single layout has no way to say this\n"
        "  fix: convert it to diffusers"
    )


def test_a_disk_without_room_is_told_before_anything_is_written(
    laid_out: LaidOut, tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how much it takes."""
    usage = namedtuple("usage", ["free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2_000_000))
    checkpoint = open_checkpoint(laid_out("tiny", "single"))
    assert refusal(lambda: convert(checkpoint, tmp_path / "a" / "out", "split")) == (
        "<tmp>: error[ltx2.no_room]: the files take 0.0 GB, and 0.0 GB are free\n"
        "  why: a conversion copies every tensor; the original stays\n"
        "  fix: free some space, or name a folder on another disk"
    )
    assert not list(tmp_path.iterdir())


def test_a_source_that_is_cut_on_the_way_leaves_nothing(copied: LaidOut, tmp_path: Path, refusal: Refusal) -> None:
    """Neither the folder nor a part of it."""
    folder = copied("tiny", "single")
    path = single_file(folder)
    checkpoint = open_checkpoint(path)
    cut: list[int] = []

    def cut_once(file: str, done: int, total: int) -> None:
        if not cut:
            os.truncate(path, path.stat().st_size // 2)
            cut.append(total)

    text = refusal(lambda: convert(checkpoint, tmp_path / "out", "diffusers", on_progress=cut_once))
    assert text == (
        f"<tmp>/model/{path.name}: error[ltx2.truncated]: {path.name} became shorter\n"
        "  why: the file was replaced or cut while it was read\n"
        "  fix: run again once nothing writes there"
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_progress_ends_with_everything(laid_out: LaidOut, tmp_path: Path) -> None:
    """Bytes are counted once, and never go back."""
    told: list[tuple[int, int]] = []
    checkpoint = open_checkpoint(laid_out("tiny", "single"))
    convert(checkpoint, tmp_path / "out", "split", on_progress=lambda file, done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 1_000_000


def test_what_is_written_is_what_the_library_reads(tmp_path: Path) -> None:
    """Every number format, no elements, no dimensions; the metadata; and every tensor aligned."""
    state = {
        "a": torch.arange(3, dtype=torch.uint8),
        "b.ü": torch.randn(2, 3),
        "c": torch.randn(5, dtype=torch.float64).bfloat16(),
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "flag": torch.tensor([True, False]),
    }
    save_file(state, tmp_path / "source.safetensors")
    header = read_header(tmp_path / "source.safetensors")
    sources = {f"new.{name}": Stored(header, name, info) for name, info in header.tensors.items()}
    file = TensorFile({**sources, "file": b"bytes"}, {"config": '{"a": "ü"}'})
    write_safetensors(tmp_path / "made" / "target.safetensors", file)
    written = read_header(tmp_path / "made" / "target.safetensors")
    assert written.metadata == {"config": '{"a": "ü"}'}
    assert written.file_bytes == (tmp_path / "made" / "target.safetensors").stat().st_size
    got = load_file(tmp_path / "made" / "target.safetensors")
    assert bytes(got.pop("file").numpy()) == b"bytes"
    assert got.keys() == sources.keys()
    for name, tensor in state.items():
        assert got[f"new.{name}"].dtype == tensor.dtype
        assert torch.equal(got[f"new.{name}"], tensor)
    wide = [info for info in written.tensors.values() if info.dtype == "F64"]
    assert all(info.offset % 8 == 0 for info in wide)


PEAK = """
import sys
from pathlib import Path
from stagegraph_ltx2.checkpoint.header import read_header
from stagegraph_ltx2.checkpoint.stored import Stored
from stagegraph_ltx2.checkpoint.writing import TensorFile, write_safetensors

def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

def file(path):
    header = read_header(path)
    return TensorFile({name: Stored(header, name, info) for name, info in header.tensors.items()}, {})

source, target = map(Path, sys.argv[1:])
write_safetensors(target.with_name("warm"), file(source.with_name("warm.safetensors")))
before = peak()
write_safetensors(target, file(source))
print(peak() - before, "torch" in sys.modules)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
def test_memory_holds_one_block_of_a_tensor(tmp_path: Path) -> None:
    """Of 130 MB in one tensor; and nothing of torch."""
    save_file({"a": torch.zeros(4)}, tmp_path / "warm.safetensors")
    save_file({"big": torch.randn(32_000_000)}, tmp_path / "source.safetensors")
    command = [sys.executable, "-c", PEAK, str(tmp_path / "source.safetensors"), str(tmp_path / "target.safetensors")]
    grown, torch_there = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(grown) < 3 * BLOCK_BYTES
    assert torch_there == "False"
    assert same(
        {("", n): t for n, t in load_file(tmp_path / "target.safetensors").items()},
        {("", n): t for n, t in load_file(tmp_path / "source.safetensors").items()},
    )
