"""From a decoded image through the frozen trunk to its activations, and from those to a batch for the tail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from panda_core.backbones import Preprocessing
from panda_core.backbones.network import Network
from panda_core.errors import PandaError
from panda_core.region import PAINT

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
# How far, in pixels of the result, Pillow's filters reach where an image becomes smaller.
_REACH = {Image.Resampling.NEAREST: 0.0, Image.Resampling.BILINEAR: 1.0, Image.Resampling.LANCZOS: 3.0}


def resampling_of(preprocessing: Preprocessing) -> Image.Resampling:
    """Return Pillow's filter by which images become as large as a network sees them."""
    return _RESAMPLING.get(preprocessing.interpolation, Image.Resampling.BICUBIC)


def squared(image: np.ndarray, size: int, preprocessing: Preprocessing) -> np.ndarray:
    """Return the uint8 (size, size, 3) view of an image (H, W, 3) that the network sees.

    With a crop under 1 (the paper, Sec. 1.1 of its supplement: short side to 256, center crop of 224), the short
    side becomes size / crop and the center is cut out, rounded as torchvision rounds. With 1, the image is squeezed
    into the square: nothing of it is lost, at the price of its aspect. What `counted` says does not count is painted
    over.
    """
    picture, counts = Image.fromarray(image), counted(size, preprocessing)
    box = _kept_part(size, preprocessing, picture.size)
    seen = np.asarray(picture.resize((size, size), resampling_of(preprocessing), box=box))
    return seen if counts is None else np.where(counts[:, :, None], seen, np.array(PAINT, np.uint8))


def counted(size: int, preprocessing: Preprocessing) -> np.ndarray | None:
    """Return which pixels (size, size) of the view are made of pixels of the region alone; None without a region."""
    region = preprocessing.region
    if region is None:
        return None
    high, wide = region.shape
    left, top, right, bottom = _kept_part(size, preprocessing, (wide, high))
    box = (left / wide, top / high, right / wide, bottom / high)
    return region.whole(size, _REACH.get(resampling_of(preprocessing), 2.0), box)


def _kept_part(size: int, preprocessing: Preprocessing, shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return which part (left, top, right, bottom) of an image of `shape` (width, height) becomes the view."""
    width, height = shape
    if preprocessing.crop >= 1:
        return 0.0, 0.0, float(width), float(height)
    short = round(size / preprocessing.crop)
    wide, high = (max(short, int(short * side / min(width, height))) for side in (width, height))
    left, top = round((wide - size) / 2), round((high - size) / 2)
    # Only the part that stays is computed: a long strip of an image would otherwise grow to gigabytes.
    return left * width / wide, top * height / high, (left + size) * width / wide, (top + size) * height / high


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
    seen = np.stack([squared(image, image_size, network.preprocessing) for image in images])
    return trunk_of(seen, network, dtype=dtype, device=device)


def trunk_of(seen: np.ndarray, network: Network, *, dtype: str, device: torch.device) -> np.ndarray:
    """Return the same of images (B, S, S, 3) as the network sees them.

    `PandaError` where a number is none, or too large for `dtype`: scores of it would be none either, and no score is
    higher than a threshold then.
    """
    activations = _rounded(seen, network, dtype, device)
    if not torch.isfinite(activations).all():
        advice = "Set `--set cache_dtype=float32`." if dtype == "float16" else "Check the images and the weights."
        raise PandaError(f"The frozen part of the network gives numbers that {dtype} does not hold. {advice}")
    return activations.cpu().numpy()


@torch.no_grad()
def _rounded(seen: np.ndarray, network: Network, dtype: str, device: torch.device) -> Tensor:
    """Return the same as a tensor, on the device."""
    together = max(1, PIXELS // seen.shape[1] ** 2) if device.type == "cpu" else len(seen)
    activations = []
    for start in range(0, len(seen), together):
        images = network_input(seen[start : start + together], network.preprocessing)
        activations.append(network.trunk(_on(device, images)).to(getattr(torch, dtype)))
    return torch.cat(activations)


def _on(device: torch.device, batch: Tensor) -> Tensor:
    """Return a batch on the device. To a GPU it goes from pinned memory, so that nothing waits for the copy."""
    return batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch.to(device)


class KeptImages:
    """The activations (N, ...) of images (N, S, S, 3), read by rows as an array is, and computed when they are read.

    For networks whose activations are too large to be kept. Of an image of 224 px a ResNet-152 makes 803 kB, in
    float16; the image, as the network sees it, has 151 kB. Its trunk has 2.7 of 11.5 billion multiplications, so that a
    step of training, forward and backward through the rest, takes about a tenth longer.
    """

    def __init__(self, images: np.ndarray, network: Network, *, dtype: str, device: torch.device) -> None:
        self.images, self.network, self.dtype, self.device = images, network, np.dtype(dtype), device

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the activations (B, ...) of some rows."""
        seen = np.asarray(self.images[rows])
        if not len(seen):
            return np.empty((0, *self.shape[1:]), self.dtype)
        return trunk_of(seen, self.network, dtype=str(self.dtype), device=self.device)

    def batch(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        """Return the same on the device, where they are computed."""
        return _rounded(np.asarray(self.images[rows]), self.network, str(self.dtype), self.device)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all of it."""
        return len(self), *self[[0]].shape[1:]


Activations = np.ndarray | KeptImages  # (N, ...): read from the cache, or computed from images that are kept there


def activation_batch(values: Activations, rows: Sequence[int] | np.ndarray, device: torch.device) -> Tensor:
    """Return rows of the cached activations (N, ...) as float32 (B, ...), laid out for the tail."""
    if isinstance(values, KeptImages):
        batch = values.batch(rows).to(device, torch.float32)
    elif device.type == "cuda":  # float32 is made there: half as many bytes are copied
        batch = _on(device, torch.from_numpy(np.ascontiguousarray(values[rows]))).float()
    else:
        batch = torch.from_numpy(np.asarray(values[rows], np.float32)).to(device)
    return laid_out(batch)


def laid_out(activations: Tensor) -> Tensor:
    """Return activations as they lie fastest in memory: maps (B, C, h, w) channels last, tokens as they are."""
    return activations.contiguous(memory_format=torch.channels_last) if activations.ndim == 4 else activations
