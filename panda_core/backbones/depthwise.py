"""Depthwise convolution whose gradient does not wait for a kernel that oneDNN lacks.

oneDNN has none for the gradient of 5 x 5 depthwise weights: a third of a training step of EfficientNet-Lite0.
On small maps, as they are deep in a network, a matrix product for each channel is 2 to 4 times faster.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE_KERNEL = 5  # for 3 x 3 oneDNN has a kernel of its own
FEW_IMAGES = 4  # fewer than these are faster by oneDNN
MANY_PLACES = 100  # of a map: the product grows with their square, and at 14 x 14 nothing is won
BLOCK = 32  # channels at once, so that their products stay in the processor's cache


def depthwise(x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """Return `F.conv2d(x, weight, bias, stride, padding, groups=C)`, the same bits; gradients equal up to rounding.

    x: (B, C, H, W). weight: (C, 1, k, k). bias: (C,).
    """
    images, _, height, width = x.shape
    kernel, places = weight.shape[-1], (height // stride) * (width // stride)
    ours = x.device.type == "cpu" and kernel >= LARGE_KERNEL and images >= FEW_IMAGES and places <= MANY_PLACES
    if not ours or not torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))
    y: Tensor = _Depthwise.apply(x, weight, bias, stride, padding)
    return y


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, channels = [ctx.stride] * 2, [ctx.padding] * 2, len(weight)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x, *_ = torch.ops.aten.convolution_backward(
                slope, x, weight, None, stride, padding, [1, 1], False, [0, 0], channels, [True, False, False]
            )
        if ctx.needs_input_grad[1]:
            of_weight = slope_of_weight(slope, x, weight.shape[-1], ctx.stride, ctx.padding)
        if ctx.needs_input_grad[2]:
            of_bias = slope.sum(dim=(0, 2, 3))
        return of_x, of_weight, of_bias, None, None


def slope_of_weight(slope: Tensor, x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Return the gradient (C, 1, k, k) of the weights: sums over images and places of slope times what the kernel saw.

    slope: (B, C, h, w), the gradient of the output. x: (B, C, H, W), the input. For each channel the products of all
    places of `slope` with all places of the padded `x` are summed over the images; the few that belong together, which
    lie as far apart as a place of the kernel, are picked out of them.
    """
    _, channels, height, width = slope.shape
    padded = F.pad(x, (padding,) * 4)
    wide = padded.shape[-1]
    left = slope.transpose(0, 1).flatten(2).transpose(1, 2)  # (C, h * w, B)
    right = padded.transpose(0, 1).flatten(2)  # (C, B, places of the padded x)
    picked = []
    for first in range(0, channels, BLOCK):
        products = left[first : first + BLOCK] @ right[first : first + BLOCK]
        one, places = products.shape[1:].numel(), products.shape[2]
        shape = (len(products), kernel, kernel, height, width)
        steps = (one, wide, 1, width * places + stride * wide, places + stride)
        picked.append(products.as_strided(shape, steps).sum(dim=(3, 4)))
    return torch.cat(picked)[:, None]
