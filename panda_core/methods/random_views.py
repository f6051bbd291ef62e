"""Random views of an image for contrastive learning, each a function of a seed alone.

The augmentation of MSC's released code: a crop of 20 to 100 % of the area resized to the input side, colour jitter
(0.4, 0.4, 0.4, 0.1) with probability 0.8, grey with 0.2, Gaussian blur with 0.5 and a mirror image with 0.5. The random
numbers are drawn here, not by torchvision's transform classes, which take them from one generator of the whole process:
views made in another thread would depend on what this one does.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from panda_core.torchvision_operators import declare_operators

declare_operators()  # before the first import of torchvision

from torchvision.transforms.v2 import functional as V  # noqa: E402

# All values are those of the released code; what it leaves to torchvision are torchvision's defaults.
SCALE = (0.2, 1.0)  # share of the image's area
ASPECT = (3 / 4, 4 / 3)  # width over height of the crop
JITTERED, GREY, BLURRED, MIRRORED = 0.8, 0.2, 0.5, 0.5  # share of the views
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
SIGMA = (0.1, 2.0)  # of the blur, in pixels
TRIES = 10  # crops that do not fit before the whole image is taken


def random_view(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return one view, uint8 (size, size, 3), of an image uint8 (H, W, 3)."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    top, left, height, width = _crop(image.shape[0], image.shape[1], rng)
    view = V.resized_crop(pixels, top, left, height, width, [size, size], antialias=True)
    if rng.random() < JITTERED:
        view = _jittered(view, rng)
    if rng.random() < GREY:
        view = V.rgb_to_grayscale(view, num_output_channels=3)
    if rng.random() < BLURRED:
        sigma = float(rng.uniform(*SIGMA))
        side = 2 * max(1, round(size / 20)) + 1  # a tenth of the image, as in SimCLR, and odd
        view = V.gaussian_blur(view, [side, side], [sigma, sigma])
    if rng.random() < MIRRORED:
        view = V.horizontal_flip(view)
    return view.permute(1, 2, 0).contiguous().numpy()


def _crop(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a random crop of an image of `height` x `width`."""
    for _ in range(TRIES):
        area = height * width * rng.uniform(*SCALE)
        aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < high <= height:
            top, left = int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1))
            return top, left, high, wide
    return 0, 0, height, width


def _jittered(view: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the view with its colours changed, in a random order of the four changes."""
    factors = {name: float(rng.uniform(1 - JITTER[name], 1 + JITTER[name])) for name in JITTER if name != "hue"}
    turn = float(rng.uniform(-JITTER["hue"], JITTER["hue"]))
    for name in rng.permutation(list(JITTER)):
        if name == "brightness":
            view = V.adjust_brightness(view, factors["brightness"])
        elif name == "contrast":
            view = V.adjust_contrast(view, factors["contrast"])
        elif name == "saturation":
            view = V.adjust_saturation(view, factors["saturation"])
        else:
            view = V.adjust_hue(view, turn)
    return view
