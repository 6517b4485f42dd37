"""Training: every loss falls, pieces go on from each other, and kept content is kept."""

from __future__ import annotations

import copy
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
import torch.fx
from torch import nn

from ltx2_training import enlarging, flow, hearing, networks, reading, recipe, state, video, words, world
from ltx2_training.clips import render
from ltx2_training.compiling import compiled
from ltx2_training.flow import Bucket, Keeps, Trainee
from ltx2_training.loop import Task, train
from ltx2_training.lowpass import COEFFICIENTS, USED, latents, mirrored
from ltx2_training.optim import Optimizer, orthogonal
from ltx2_training.pieces import REGISTERS, _meaningless
from ltx2_training.scenes import draw, poses
from ltx2_training.sides import OneSide
from ltx2_training.words import BOS, tokenizer, tokens
from ltx2_training.world import ASPECT, BOUNCING
from stagegraph_ltx2.checkpoint import tiny_recipe
from stagegraph_ltx2.model.config import TransformerConfig, VideoVAEConfig
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.shapes import PixelShape


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _falls(modules: nn.Module, task: Task, steps: int, lr: float = 3e-3) -> None:
    optimizer = Optimizer([modules], lr, averaging=10, matrices=False, tables=networks.tables(modules))
    batch = [tensor.clone() for tensor in task.batch()]
    report = train(nn.ModuleDict(), [Task("one", lambda: batch, task.loss)], optimizer, 1e9, most=steps, anneal=0.5)
    losses = [entry["one"]["loss"] for entry in report["history"]]
    assert losses[-1] < 0.9 * losses[0], losses


def _tiny_video_vae() -> VideoVAE:
    return VideoVAE(VideoVAEConfig.from_dict(dict(tiny_recipe.VIDEO_VAE)))


def _tiny_trainee() -> Trainee:
    values = {**tiny_recipe.TRANSFORMER, "caption_channels": recipe.TEXT_WIDTH}
    transformer = AudioVideoTransformer(TransformerConfig.from_dict(values))
    return Trainee(networks.gemma(), networks.build("connectors"), transformer)


def test_the_loss_of_the_video_vae_falls() -> None:
    """A few steps on one batch."""
    vae = _tiny_video_vae()
    task = video.tasks(vae, draw(1, 2).on("cpu"), [(9, 64, 2, 1)])[0]
    _falls(nn.ModuleList([vae.encoder, vae.decoder]), task, 20, lr=1e-2)


def test_the_loss_of_the_audio_vae_and_the_vocoder_falls() -> None:
    """A few steps on one batch; the statistics of both VAEs are not weights that learn."""
    ear, vocoder = networks.build("audio_vae"), networks.build("vocoder")
    task = hearing.tasks(ear, vocoder, draw(1, 2).on("cpu"), count=2, latents=3)[0]
    _falls(nn.ModuleList([ear, vocoder]), task, 8)
    assert "latents_mean" not in dict(ear.named_parameters())


def test_the_vocoder_learns_alone() -> None:
    """A few steps leave the audio VAE as it was, and with it what learned from its latents."""
    ear, vocoder = networks.build("audio_vae"), networks.build("vocoder")
    before = {name: tensor.clone() for name, tensor in ear.state_dict().items()}
    task = hearing.tasks(ear, vocoder, draw(1, 2).on("cpu"), count=2, latents=3, vocoder_only=True)[0]
    _falls(vocoder, task, 30, lr=1e-2)
    assert all(p.grad is None for p in ear.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in ear.state_dict().items())


def test_one_side_serves_both() -> None:
    """A stereo vocoder filled with one makes the same sound, side by side, and gives it back."""
    stereo = networks.build("vocoder")
    side = OneSide(stereo)
    mel = torch.randn(2, 2, 5, 64)
    expected = side(mel)
    assert not torch.equal(expected[:, 0], expected[:, 1])
    side.fill(stereo)
    torch.testing.assert_close(stereo(mel), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(OneSide(stereo)(mel), expected, atol=1e-5, rtol=1e-4)
    louder = mel.clone()
    louder[:, 0] += 1
    torch.testing.assert_close(stereo(louder)[:, 1], expected[:, 1], atol=1e-5, rtol=1e-4)


def test_latents_are_mirrored_as_pictures_are() -> None:
    """Without drawing them again."""
    x = torch.rand(2, 3, 9, 64, 96) * 2 - 1
    z = latents(x)
    for axis in (1, 2):
        torch.testing.assert_close(mirrored(z, axis), latents(x.flip(axis + 2)), atol=1e-5, rtol=1e-5)


def test_clips_to_be_enlarged_follow_from_what_their_shapes_cover() -> None:
    """Ground and shapes in their colours, as they are drawn."""
    scenes = draw(3, 40)
    alone = np.flatnonzero(scenes.present[:, 1] == 0)[:3]
    some = scenes[alone].on("cpu")
    small, large = enlarging.covered(some, 9, 64), enlarging.covered(some, 9, 128)
    for z, height in ((small, 64), (large, 128)):
        palette = torch.from_numpy(world.PALETTE)
        ground = palette[some.background]
        made = enlarging.clips(ground, [palette[some.colour[:, 0]] - ground], [z])
        torch.testing.assert_close(made, latents(render(some, 9, height)), atol=1e-3, rtol=0)


def test_the_loss_of_the_upsampler_falls() -> None:
    """A few steps on one pair of latents."""
    upsampler = networks.build("latent_upsampler")
    task = enlarging.tasks(upsampler, draw(1, 2).on("cpu"), lengths=(9,), height=64, count=1)[0]
    _falls(upsampler, task, 40, lr=1e-2)


@pytest.mark.parametrize("keeps", ["nothing", "frames", "segment"])
def test_the_loss_of_velocities_falls(keeps: Keeps) -> None:
    """A few steps on one batch move text encoder, connectors and transformer."""
    trainee = _tiny_trainee()
    bucket = Bucket("x", PixelShape(17, 64, 96), 20, 8, 4, 2, 1, keeps)
    task = flow.task(trainee, bucket, _meaningless(bucket, "cpu"), REGISTERS)
    before = trainee.text_encoder.embed_tokens.weight.detach().clone()
    _falls(trainee, task, 20, lr=1e-2)
    assert not torch.equal(before, trainee.text_encoder.embed_tokens.weight)


def test_guidance_is_learned_from_a_teacher() -> None:
    """What is learned are its velocities, moved away from those without a prompt; at scale 1 a copy has no error."""
    trainee = _tiny_trainee()
    bucket = Bucket("x", PixelShape(9, 64, 96), 14, 8, 4, 2, 1)
    pool = _meaningless(bucket, "cpu")
    teacher = copy.deepcopy(trainee).requires_grad_(False)
    losses = {}
    for scale in (1.0, 2.0, 3.0):
        guide = flow.Guide(teacher, scale, flow.no_prompt(pool))
        task = flow.task(trainee, bucket, pool, REGISTERS, guide=guide)
        torch.manual_seed(1)
        losses[scale] = task.loss(*task.batch())[0].item()
    assert losses[1.0] < 1e-9
    assert losses[3.0] == pytest.approx(4 * losses[2.0], rel=1e-3)  # an error twice as large
    assert losses[2.0] > 0


@pytest.mark.slow
def test_all_kinds_of_steps_share_two_compiled_blocks() -> None:
    """Noise levels of samples, and of tokens; sizes, lengths of text and blocks need none of their own."""
    made: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        made.append(graph)
        return graph

    trainee = _tiny_trainee()
    tasks = []
    for i, bucket in enumerate(flow.BUCKETS):
        size = PixelShape(9 + 8 * (i % 2), 64 + 32 * bucket.refines, 96)
        small = attrs.evolve(bucket, prompts=2 + i % 2, draws=2, size=size)
        tasks += [flow.task(trainee, small, _meaningless(small, "cpu"), length) for length in (REGISTERS, 256)]
    batches = [task.batch() for task in tasks]
    losses = [_loss(task, batch) for task, batch in zip(tasks, batches, strict=True)]
    with compiled(trainee.transformer, backend=backend):
        for task, batch, loss in zip(tasks, batches, losses, strict=True):
            torch.testing.assert_close(_loss(task, batch), loss, atol=2e-2, rtol=1e-2)
    assert len(made) == 2
    torch.testing.assert_close(_loss(tasks[0], batches[0]), losses[0])
    assert len(made) == 2


def _loss(task: Task, batch: Sequence[torch.Tensor]) -> torch.Tensor:
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        return task.loss(*batch)[0].detach()


def test_what_is_kept_is_the_beginning() -> None:
    """First frames, whole; and sound up to about where new frames begin."""
    bucket = Bucket("x", PixelShape(25, 64, 96), 40, 8, 4, 2, 1, "segment")
    offset = torch.full((200,), 0.6)
    keep, sound = flow._kept(bucket, bucket.size.latent(), 200, offset)
    per_frame = bucket.size.latent().tokens_per_frame
    assert keep[:, : 2 * per_frame].eq(1).all()
    assert keep[:, 2 * per_frame :].eq(0).all()
    count = sound.sum(1)
    assert set(count.tolist()) <= {0.0, *map(float, range(23, 28))}
    assert (sound.cumsum(1).diff(dim=1) <= sound[:, :-1]).all()  # once it ends it does not begin again


def test_padding_on_the_right_reads_as_padding_on_the_left() -> None:
    """Training pads where a causal text encoder does not look, use pads on the left: features are equal."""
    trainee = _tiny_trainee().eval()
    ids = torch.from_numpy(tokens(["a red circle moves left on blue"]))
    count = int((ids != 0).sum())
    video_text, audio_text = trainee.read(ids, REGISTERS)
    left = torch.zeros(1, REGISTERS, dtype=torch.long)
    left[:, -count:] = ids[:, :count]
    mask = (left != 0).long()
    output = trainee.text_encoder(input_ids=left, attention_mask=mask, output_hidden_states=True, use_cache=False)
    expected = trainee.connectors(torch.stack(output.hidden_states, dim=-1), mask)
    torch.testing.assert_close(video_text, expected[0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(audio_text, expected[1], atol=2e-5, rtol=1e-4)


def test_text_that_was_read_once_serves_several_draws() -> None:
    """Each prompt's keys and values are repeated for the samples that follow each other."""
    trainee = _tiny_trainee()
    features = torch.randn(2, 3, recipe.TEXT_WIDTH), torch.randn(2, 3, recipe.TEXT_WIDTH)
    text = trainee.told(features, 2)
    key = text.read[0][0].key
    assert len(key) == 4
    assert torch.equal(key[0], key[1])
    assert not torch.equal(key[1], key[2])


def test_pieces_go_on_from_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is saved in several files comes back whole; names that differ do not mix."""
    monkeypatch.setattr(state, "LARGEST", 1000)
    module = nn.ModuleDict({"a": nn.Linear(16, 16), "b": nn.Linear(16, 4)})
    state.save(tmp_path, "flow", module.state_dict())
    assert len(list(tmp_path.glob("flow-*.safetensors"))) > 1
    other = nn.ModuleDict({"a": nn.Linear(16, 16), "b": nn.Linear(16, 4)})
    assert not state.resume(tmp_path, "video", other)
    assert state.resume(tmp_path, "flow", other)
    assert torch.equal(module["a"].weight, other["a"].weight)


def test_orthogonal_brings_singular_values_near_one() -> None:
    """Of tall and of wide matrices."""
    for shape in ((2, 12, 40), (2, 40, 12)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_matrices_learn_by_muon_and_the_rest_by_adam() -> None:
    """Both reach the answer of a small regression."""
    torch.manual_seed(1)
    module, wanted = nn.Linear(16, 16), torch.randn(16, 16) / 4
    x = torch.randn(64, 16)

    def loss(x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return (module(x) - x @ wanted - 1).square().mean(), {}

    report = train(
        nn.ModuleDict(), [Task("fit", lambda: [x], loss)], Optimizer([module], 0.05), 1e9, most=300, anneal=0.7
    )
    assert report["history"][-1]["fit"]["loss"] < 1e-2


def test_a_deadline_is_shared_with_what_follows() -> None:
    """Twelve seconds for two phases of which the second takes three times as long: the first has a quarter."""
    module = nn.Linear(2, 2)
    clock = _Clock()

    def loss(x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        clock.now += 1.0
        return module(x).square().mean(), {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ltx2_training.loop.time.monotonic", clock)
        tasks = [Task("one", lambda: [torch.ones(1, 2)], loss)]
        report = train(nn.ModuleDict(), tasks, Optimizer([module], 0.1), 100, deadline=clock.now + 12, rest=300)
    assert report["steps"] == 3


class _Clock:
    """Seconds that pass when it is told so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_sentences_are_few_tokens() -> None:
    """A sentence takes about one token a word, and begins with BOS."""
    ids = tokens(["A red circle moves slowly to the left on a blue background."])
    assert ids[0, 0] == BOS
    assert (ids != 0).sum() <= 16
    assert tokenizer().get_vocab_size() <= recipe.VOCABULARY - len(recipe.IMAGE_TOKENS)


@pytest.mark.parametrize("variant", ["2.0", "2.3"])
def test_the_video_vae_computes_the_same_with_and_without_gradients(variant: str) -> None:
    """What is written in place otherwise is not where gradients pass, and these reach every weight and the pixels."""
    values = tiny_recipe.configurations(tiny_recipe.Variant(variant))["vae"]
    vae = VideoVAE(VideoVAEConfig.from_dict(values))
    x = torch.randn(1, 3, 9, 64, 96, requires_grad=True)
    z = vae.encode(x)
    y = vae.decode(z)
    with torch.no_grad():
        expected = vae.encode(x)
        torch.testing.assert_close(z, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(y, vae.decode(expected), atol=1e-5, rtol=1e-4)
    y.square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in vae.parameters())
    assert x.grad is not None


def test_what_is_said_is_learned_by_heart() -> None:
    """A few steps on some sentences: loss falls, and what is read of unseen ones is told as shares."""
    trainee = _tiny_trainee()
    readers = [reading.Reader(), reading.Reader()]
    task = reading.tasks(trainee, readers, draw(1, 8), device="cpu", lengths={REGISTERS: 8})[0]
    text = flow.text_modules(trainee)
    _falls(nn.ModuleList([text, *readers]), task, 30, lr=1e-2)
    shares = reading.evaluate(trainee, readers, device="cpu", length=REGISTERS, count=4)
    assert set(shares) == set(reading.FACTS)
    assert all(0 <= share <= 1 for share in shares.values())


def test_facts_are_those_of_the_scene() -> None:
    """Every shape is told under its colour, the ground too, and who is further left comes first."""
    scenes = draw(5, 40, pairs=0.5)
    told = reading.facts(scenes)
    for row in range(len(scenes)):
        shapes = [which for which in (0, 1) if scenes.present[row, which]]
        assert told["part"][row].eq(1).sum() == len(shapes)
        assert int(told["part"][row].argmax()) == scenes.background[row]
        order = sorted(shapes, key=lambda which: scenes.x[row, which])
        for place, which in enumerate(order):
            colour = scenes.colour[row, which]
            values = [int(told[name][row, colour]) for name in ("kind", "motion", "speed", "place")]
            assert values == [scenes.kind[row, which], scenes.motion[row, which], scenes.speed[row, which], place]


def test_composed_scenes_go_through_the_middle() -> None:
    """Where one would film it: halfway through two seconds a single shape that moves on is near the middle."""
    scenes = draw(5, 200, pairs=0.0, composed=True)
    at = poses(scenes, np.array([1.0], np.float32))
    going = scenes.motion[:, 0] < BOUNCING
    assert np.abs(at.x[going, 0, 0] - ASPECT / 2).max() < 0.1
    assert np.abs(at.y[going, 0, 0] - 0.5).max() < 0.1


def test_latents_are_low_frequencies() -> None:
    """A picture of one colour has its first coefficients alone; what stands still has none of time; means come back."""
    flat = torch.full((1, 3, 9, 64, 96), 0.5)
    flat[:, 1] = -0.25
    z = latents(flat)
    assert z.shape == (1, USED, 2, 2, 3)
    first = z[0, :: len(COEFFICIENTS)]
    assert z.abs().sum().item() == pytest.approx(first.abs().sum().item(), rel=1e-4)
    torch.testing.assert_close(first[1], -0.5 * first[0])
    picture = torch.randn(1, 3, 1, 64, 96).expand(-1, -1, 9, -1, -1)
    still = latents(picture)
    torch.testing.assert_close(still[:, :, 0], still[:, :, 1])
    in_time = [i for i, (t, *_) in enumerate(COEFFICIENTS) if t]
    assert still.unflatten(1, (3, -1))[:, :, in_time].abs().max() < 1e-4


def test_unused_channels_stay_out() -> None:
    """Whatever they hold, networks do the same, and leave nothing in them."""
    transformer, vae, upsampler = (networks.build(name) for name in ("transformer", "vae", "latent_upsampler"))
    z = torch.randn(1, 128, 2, 2, 3)
    other = z.clone()
    other[:, USED:] = torch.randn_like(other[:, USED:])
    assert torch.equal(vae.decode(z), vae.decode(other))
    assert torch.equal(upsampler(z), upsampler(other))
    tokens_of = [x.flatten(2).mT for x in (z, other)]
    torch.testing.assert_close(transformer.proj_in(tokens_of[0]), transformer.proj_in(tokens_of[1]), atol=0, rtol=0)
    assert not vae.encode(torch.randn(1, 3, 9, 64, 96))[:, USED:].any()


@pytest.mark.slow
def test_processes_that_train_together_stay_together(tmp_path: Path) -> None:
    """Each has clips of its own; gradients are shared, so that both end with the same weights."""
    code = """
import torch
from torch import nn
from ltx2_training import ranks
from ltx2_training.loop import Task, train
from ltx2_training.optim import Optimizer
ranks.join("cpu")
torch.manual_seed(0)
model = nn.Linear(8, 8)
torch.manual_seed(ranks.rank())
task = Task("x", lambda: [torch.randn(4, 8)], lambda x: (model(x).square().mean(), {}))
optimizer = Optimizer([model], 1e-2)
train(nn.ModuleDict(), [task], optimizer, 1e9, most=5)
torch.save([optimizer.norm, *model.state_dict().values()], f"OUT/{ranks.rank()}.pt")
ranks.leave()
""".replace("OUT", str(tmp_path))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    script = tmp_path / "together.py"
    script.write_text(code, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, "--master-port", port, str(script)], check=True, env=environment, timeout=120)
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


def test_another_tokenizer_is_noticed(tmp_path: Path) -> None:
    """It follows from the sentences: after these have changed, what was learned has no meaning."""
    words.keep(tmp_path)
    words.check([tmp_path, tmp_path / "absent"])
    path = tmp_path / words.FILE
    path.write_text(path.read_text().replace("red", "rot", 1))
    with pytest.raises(SystemExit, match="train text and flow again"):
        words.check([tmp_path])
