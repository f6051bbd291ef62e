"""From a decoded image through the frozen trunk to its activations, and from those to a batch for the tail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from panda_core.backbones import Preprocessing
from panda_core.backbones.network import Network

# Pixels that go through the trunk together on a processor: 4 images of 224 px. The activations of more leave the
# processor's cache, and are so large that the C library asks the system for fresh pages each time: 16 images took 1.6
# times longer each, for the same bits.
PIXELS = 4 * 224 * 224

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def resampling_of(preprocessing: Preprocessing) -> Image.Resampling:
    """Return Pillow's filter by which images become as large as a network sees them."""
    return _RESAMPLING.get(preprocessing.interpolation, Image.Resampling.BICUBIC)


def squared(image: np.ndarray, size: int, preprocessing: Preprocessing) -> np.ndarray:
    """Return the uint8 (size, size, 3) view of an image (H, W, 3) that the network sees.

    With a crop under 1 (the paper, Sec. 1.1 of its supplement: short side to 256, center crop of 224), the short
    side becomes size / crop and the center is cut out, rounded as torchvision rounds. With 1, the image is squeezed
    into the square: nothing of it is lost, at the price of its aspect.
    """
    picture, resampling = Image.fromarray(image), resampling_of(preprocessing)
    if preprocessing.crop >= 1:
        return np.asarray(picture.resize((size, size), resampling))
    short, (width, height) = round(size / preprocessing.crop), picture.size
    wide, high = (max(short, int(short * side / min(width, height))) for side in (width, height))
    left, top = round((wide - size) / 2), round((high - size) / 2)
    # Only the part that stays is computed: a long strip of an image would otherwise grow to gigabytes.
    box = (left * width / wide, top * height / high, (left + size) * width / wide, (top + size) * height / high)
    return np.asarray(picture.resize((size, size), resampling, box=box))


def network_input(images: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    """Return uint8 images (B, S, S, 3) as float32 (B, 3, S, S), channels last in memory, normalised per channel."""
    mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last, copy=True)
    return batch.div_(255).sub_(mean).div_(std)  # in place: three fewer arrays of this size


def compute_trunk(
    images: list[np.ndarray], network: Network, *, image_size: int, dtype: str, device: torch.device
) -> np.ndarray:
    """Return the trunk's activations (B, ...) of decoded images, rounded to `dtype` as the cache rounds them."""
    together = max(1, PIXELS // image_size**2) if device.type == "cpu" else len(images)
    activations = []
    for start in range(0, len(images), together):
        chunk = [squared(image, image_size, network.preprocessing) for image in images[start : start + together]]
        with torch.inference_mode():
            values = network.trunk(network_input(np.stack(chunk), network.preprocessing).to(device))
        activations.append(values.to(torch.float32).cpu().numpy().astype(dtype))
    return np.concatenate(activations)


def activation_batch(values: np.ndarray, rows: Sequence[int] | np.ndarray, device: torch.device) -> Tensor:
    """Return rows of the cached activations (N, ...) as float32 (B, ...), laid out for the tail."""
    return laid_out(torch.from_numpy(np.asarray(values[rows], np.float32)).to(device))


def laid_out(activations: Tensor) -> Tensor:
    """Return activations as they lie fastest in memory: maps (B, C, h, w) channels last, tokens as they are."""
    return activations.contiguous(memory_format=torch.channels_last) if activations.ndim == 4 else activations
