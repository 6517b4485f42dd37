"""A rank other than 0: it does what rank 0 tells it, until that tells it to end or is gone."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from stagegraph_ltx2.model.config import TransformerConfig
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.parallel.group import Group, GroupError
from stagegraph_ltx2.parallel.lines import Line, Message
from stagegraph_ltx2.parallel.packing import like, unpack
from stagegraph_ltx2.parallel.part import Part
from stagegraph_ltx2.samplers import Pair

FAILED = 1
"""What the process of a rank ends with that could not go on."""


def take_part(folder: Path, rank: int) -> bool:
    """Be a rank of the team that has this folder; gives whether it ended as rank 0 wanted.

    If rank 0 is gone, so is this process, whatever it waits for.
    """
    line = Line.to(folder)
    line.send({"rank": rank})
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(folder, line, inbox), name="stagegraph rank 0", daemon=True).start()
    try:
        _work(folder, rank, inbox.get)
    except GroupError as error:
        _tell(line, {"cut off": str(error)})
    except Exception as error:
        _tell(line, {"error": f"{type(error).__name__}: {error}"})
    else:
        line.close()
        return True
    return False


def _listen(folder: Path, line: Line, inbox: queue.SimpleQueue[Message]) -> None:
    while (message := line.receive()) is not None:
        inbox.put(message)
        if message["do"] == "end":
            return
    shutil.rmtree(folder, ignore_errors=True)  # rank 0 may have been killed
    os._exit(FAILED)


def _tell(line: Line, message: Message) -> None:
    with contextlib.suppress(OSError):  # rank 0 has hung up
        line.send(message)


@torch.inference_mode()
def _work(folder: Path, rank: int, hear: Callable[[], Message]) -> None:
    joining = hear()
    if joining["do"] == "end":
        return
    device = torch.device("cpu")
    if joining["device"] == "cuda":
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    group = Group(folder, rank, joining["ranks"], device)
    model: AudioVideoTransformer | None = None
    part: Part | None = None
    while (message := hear())["do"] != "end":
        if message["do"] == "model":
            part = model = None  # two of them would not fit
        tensors = _received(group, message)
        match message["do"]:
            case "model":
                model = _built(message, tensors)
            case "scene" if model is not None:
                part = Part(group, model, unpack(message["scene"], tensors))
            case "step" if part is not None:
                part(message["batch"], Pair(*tensors), message["sigma"])
            case "rest":
                part = None
        group.wait()


def _received(group: Group, message: Message) -> list[Tensor]:
    """The tensors that follow a message."""
    tensors = like(message.get("tensors", []), group.device)
    for tensor in tensors:
        group.broadcast(tensor)
    return tensors


def _built(message: Message, weights: list[Tensor]) -> AudioVideoTransformer:
    with torch.device("meta"):
        model = AudioVideoTransformer(TransformerConfig.from_dict(message["config"]))
    model.load_state_dict(dict(zip(message["names"], weights, strict=True)), strict=True, assign=True)
    return model.eval().requires_grad_(False)
