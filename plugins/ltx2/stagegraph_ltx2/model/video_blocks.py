"""What the video VAE is built from: causal convolutions, residual blocks and resampling by folding space and time."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adaln import TimestepEmbedder
from .layers import learned_table, rms
from .stream import Stream, beside


def space_to_depth(x: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """[b, c, f, h, w] to [b, c x stride, f / st, h / sh, w / sw], in the same memory format.

    Channels count c, then time, height and width.
    """
    st, sh, sw = stride
    b, c, f, h, w = x.shape
    y = empty(x, (b, c * st * sh * sw, f // st, h // sh, w // sw), memory_format(x))
    torch.unflatten(y, 1, (c, st, sh, sw)).copy_(_apart(x, stride).permute(0, 1, 3, 5, 7, 2, 4, 6))
    return y


def depth_to_space(x: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """The inverse of `space_to_depth`."""
    st, sh, sw = stride
    b, c, f, h, w = x.shape
    y = empty(x, (b, c // (st * sh * sw), f * st, h * sh, w * sw), memory_format(x))
    _apart(y, stride).permute(0, 1, 3, 5, 7, 2, 4, 6).copy_(torch.unflatten(x, 1, (-1, st, sh, sw)))
    return y


def _apart(x: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """A view [b, c, f, st, h, sh, w, sw] of x [b, c, f x st, h x sh, w x sw]."""
    for axis, step in zip((4, 3, 2), reversed(stride), strict=True):
        x = torch.unflatten(x, axis, (x.shape[axis] // step, step))
    return x


def empty(like: Tensor, shape: tuple[int, ...], layout: torch.memory_format) -> Tensor:
    """Memory of this shape, on the device and of the dtype of another tensor."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def memory_format(x: Tensor) -> torch.memory_format:
    """How x [b, c, f, h, w] lies in memory: the channels of each position together, or each channel on its own."""
    together = torch.channels_last_3d
    return together if x.is_contiguous(memory_format=together) and not x.is_contiguous() else torch.contiguous_format


def patchify(x: Tensor, patch: int) -> Tensor:
    """Pixels [b, c, f, h, w] to patches [b, c x patch², f, h / patch, w / patch].

    The offset in width comes before the offset in height, unlike everywhere else, hence the transposes.
    """
    return space_to_depth(x.mT, (1, patch, patch)).mT


def unpatchify(x: Tensor, patch: int) -> Tensor:
    """The inverse of `patchify`."""
    return depth_to_space(x.mT, (1, patch, patch)).mT


class CausalConv3d(nn.Module):
    """A 3 x 3 x 3 convolution that keeps the size.

    In time it is padded by repeating frames: two before the first if it is causal, else one at either end. In height
    and width it is padded with zeros or by reflection.
    """

    def __init__(self, channels_in: int, channels_out: int, *, causal: bool, padding: str) -> None:
        super().__init__()
        self.before, self.after = (2, 0) if causal else (1, 1)
        self.reflect = padding == "reflect"
        self.conv = nn.Conv3d(channels_in, channels_out, 3, padding=0 if self.reflect else (0, 1, 1))

    def forward(self, x: Tensor, *, stream: Stream | None = None) -> Tensor:
        return self._convolve(x, stream, lambda x, out: out.copy_(x))

    def _convolve(self, x: Tensor, stream: Stream | None, fill: Callable[[Tensor, Tensor], object]) -> Tensor:
        """Convolve what `fill` makes of x [b, c, f, h, w]: it writes that where it is to be, within its padding.

        So there is one copy, in the memory format of the weights, and nothing else that is as large as the video.
        """
        if self.reflect and min(x.shape[3:]) < 2:
            raise ValueError(f"{x.shape[3]} x {x.shape[4]} latents are too few to pad by reflection, which takes 2 x 2")
        kept = stream.kept(self) if stream is not None else None
        frames, side = x.shape[2], int(self.reflect)
        before = 2 if kept is not None else self.before if frames else 0
        after = 0 if stream is not None and not stream.ended else self.after
        shape = (*x.shape[:2], before + frames + after, x.shape[3] + 2 * side, x.shape[4] + 2 * side)
        padded = empty(x, shape, memory_format(self.conv.weight))
        if frames:
            middle = padded[:, :, before : before + frames]
            fill(x, middle[..., side : side + x.shape[3], side : side + x.shape[4]])
            if self.reflect:
                middle[:, :, :, 0], middle[:, :, :, -1] = middle[:, :, :, 2], middle[:, :, :, -3]
                middle[..., 0], middle[..., -1] = middle[..., 2], middle[..., -3]
        if before:
            padded[:, :, :before] = kept if kept is not None else padded[:, :, before, None]
        if after:
            padded[:, :, -1] = padded[:, :, -2]
        if stream is not None and before:
            stream.keep(self, padded[:, :, -2:])
        if padded.shape[2] < 3:  # the frames that it takes to give one have not come yet
            return x.new_empty((len(x), self.conv.out_channels, 0, *x.shape[3:]))
        y: Tensor = self.conv(padded)
        return y


class NormConv3d(CausalConv3d):
    """Pixel norm, scale and shift, SiLU and the convolution, in one module so that no copy is made between them."""

    def forward(
        self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None, *, stream: Stream | None = None
    ) -> Tensor:
        """x [b, c, f, h, w]; scale and shift [b, c, 1, 1, 1], or neither."""

        def fill(x: Tensor, out: Tensor) -> None:
            out.copy_(x).div_(rms(x, eps=1e-8))
            if scale is not None and shift is not None:
                out.mul_(1 + scale).add_(shift)
            F.silu(out, inplace=True)

        return self._convolve(x, stream, fill)


class ResBlock(nn.Module):
    """Two convolutions beside the identity; a timestep, where the VAE takes one, scales and shifts what they read."""

    def __init__(self, channels: int, *, causal: bool, padding: str, timestep: bool = False) -> None:
        super().__init__()
        self.conv1 = NormConv3d(channels, channels, causal=causal, padding=padding)
        self.conv2 = NormConv3d(channels, channels, causal=causal, padding=padding)
        # Rows: shift and scale before the first convolution, shift and scale before the second.
        self.scale_shift_table = learned_table(4, channels) if timestep else None

    def forward(self, x: Tensor, modulation: Tensor | None = None, *, stream: Stream | None = None) -> Tensor:
        """x [b, c, f, h, w]; modulation [b, 4, c]."""
        if self.scale_shift_table is None or modulation is None:
            y: Tensor = self.conv2(self.conv1(x, stream=stream), stream=stream)
        else:
            shift1, scale1, shift2, scale2 = channelwise(self.scale_shift_table + modulation)
            y = self.conv2(self.conv1(x, scale1, shift1, stream=stream), scale2, shift2, stream=stream)
        for at, part in beside(self, x, y.shape[2], stream):
            y[:, :, at : at + part.shape[2]] += part
        return y


def channelwise(modulation: Tensor) -> tuple[Tensor, ...]:
    """Modulation [b, n, c] as n tensors [b, c, 1, 1, 1]."""
    return modulation[..., None, None, None].unbind(1)


class ResBlocks(nn.Module):
    """Residual blocks of one width, with an embedding of the timestep if the VAE takes one."""

    def __init__(self, channels: int, layers: int, *, causal: bool, padding: str, timestep: bool = False) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResBlock(channels, causal=causal, padding=padding, timestep=timestep) for _ in range(layers)
        )
        self.time_embedder = TimestepEmbedder(4 * channels) if timestep else None

    def forward(self, x: Tensor, t: Tensor | None = None, *, stream: Stream | None = None) -> Tensor:
        """x [b, c, f, h, w]; t [b]."""
        modulation = None
        if self.time_embedder is not None and t is not None:
            modulation = torch.unflatten(self.time_embedder(t, x.dtype), 1, (4, -1))
        for block in self.resnets:
            x = block(x, modulation, stream=stream)
        return x


class Downsampler(nn.Module):
    """Fold space and time into channels, of a convolution and, as a mean over channel groups, of the input itself."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: tuple[int, int, int], *, causal: bool, padding: str
    ) -> None:
        super().__init__()
        self.stride = stride
        self.channels_out = channels_out
        folded = stride[0] * stride[1] * stride[2]
        self.conv = CausalConv3d(channels_in, channels_out // folded, causal=causal, padding=padding)

    def forward(self, x: Tensor, *, stream: Stream | None = None) -> Tensor:
        if self.stride[0] == 2 and x.shape[2] and (stream is None or stream.begins(self)):
            # 8k + 1 frames become even in number: the first frame stays alone with its copy.
            x = torch.cat((x[:, :, :1], x), dim=2)
        y = self.conv(x, stream=stream)
        if stream is not None:
            y = stream.grouped(self.conv, y, self.stride[0])
            x = torch.cat(stream.late(self, x, y.shape[2]) or [x[:, :, :0]], dim=2)
        y = space_to_depth(y, self.stride)
        return y + torch.unflatten(space_to_depth(x, self.stride), 1, (self.channels_out, -1)).mean(2)


class Upsampler(nn.Module):
    """Unfold channels into space and time, after a convolution; the residual unfolds the input itself, repeated."""

    def __init__(
        self, channels: int, factor: int, stride: tuple[int, int, int], *, residual: bool, causal: bool, padding: str
    ) -> None:
        super().__init__()
        self.stride = stride
        self.residual = residual
        self.repeats = stride[0] * stride[1] * stride[2] // factor
        self.conv = CausalConv3d(channels, channels * self.repeats, causal=causal, padding=padding)

    def forward(self, x: Tensor, *, stream: Stream | None = None) -> Tensor:
        y = depth_to_space(self.conv(x, stream=stream), self.stride)
        if self.residual:
            time = self.stride[0]
            for at, part in beside(self, x, y.shape[2] // time, stream):
                # Added in place and by broadcast: the decoder's largest tensors are here, and a copy takes gigabytes.
                frames = y[:, :, time * at : time * (at + part.shape[2])]
                torch.unflatten(frames, 1, (self.repeats, -1)).add_(depth_to_space(part, self.stride)[:, None])
        # The first latent frame stands for one frame: of the two that it unfolds to, the copy goes.
        first = y.shape[2] > 0 and (stream is None or stream.begins(self))
        return y[:, :, self.stride[0] - 1 :] if first else y


class DownBlock(nn.Module):
    """Residual blocks at the input's width, then a downsampler."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        layers: int,
        stride: tuple[int, int, int],
        *,
        causal: bool,
        padding: str,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResBlock(channels_in, causal=causal, padding=padding) for _ in range(layers))
        self.downsamplers = nn.ModuleList(
            [Downsampler(channels_in, channels_out, stride, causal=causal, padding=padding)]
        )

    def forward(self, x: Tensor, *, stream: Stream | None = None) -> Tensor:
        for layer in (*self.resnets, *self.downsamplers):
            x = layer(x, stream=stream)
        return x


class UpBlock(ResBlocks):
    """An upsampler, then residual blocks at the output's width."""

    def __init__(
        self,
        channels_in: int,
        factor: int,
        layers: int,
        stride: tuple[int, int, int],
        *,
        residual: bool,
        causal: bool,
        padding: str,
        timestep: bool,
    ) -> None:
        super().__init__(channels_in // factor, layers, causal=causal, padding=padding, timestep=timestep)
        self.stride = stride
        self.upsamplers = nn.ModuleList(
            [Upsampler(channels_in, factor, stride, residual=residual, causal=causal, padding=padding)]
        )

    def forward(self, x: Tensor, t: Tensor | None = None, *, stream: Stream | None = None) -> Tensor:
        (upsampler,) = self.upsamplers
        return super().forward(upsampler(x, stream=stream), t, stream=stream)
