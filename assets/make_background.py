"""Make the background that comes with the program: `PANDA_DATA=DIR python assets/make_background.py`.

It needs the 1,000 photographs of `imagenet_sample` in DIR, and takes some minutes on two cores.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from panda_core.backbones import find_backbone
from panda_core.config import default_data_root
from panda_core.datasets import Images, outlier_images
from panda_core.datasets.io.smaller import SmallerImages
from panda_core.features.background import condensed, far_of
from panda_core.features.background_file import FILE, PARTS, SCALINGS, SIDES, SIZE, packed
from panda_core.features.trunk import compute_trunk
from panda_core.records import write_arrays

AT_ONCE = 4  # images that go through a network together


def features_of(images: Images, network: str) -> torch.Tensor:
    """Return the features (N, D) of images under a network as it is."""
    loaded, device = find_backbone(network).load(find_backbone(network).cut), torch.device("cpu")
    found = []
    for start in range(0, len(images), AT_ONCE):
        batch = [images.load(row) for row in range(start, min(start + AT_ONCE, len(images)))]
        values = compute_trunk(batch, loaded, image_size=SIZE, dtype="float16", device=device)
        with torch.no_grad():
            found.append(loaded.tail(torch.from_numpy(values).float()))
    return torch.cat(found)


def arrays_of(features: dict[str, torch.Tensor], side: int) -> dict[str, np.ndarray]:
    """Return what the file says of the features (N, D) of each of `PARTS`, of photographs of `side` pixels."""
    arrays: dict[str, np.ndarray] = {}
    for part in PARTS:
        arrays |= packed(condensed(features[part]).numpy(), f"{part}/{side}")
        widths = find_backbone(part).load(find_backbone(part).cut).level_widths
        far = [far_of(features[part], scaling, widths) for scaling in SCALINGS]
        arrays[f"{part}/{side}/far"] = np.array(far, np.float32)
    return arrays


def main() -> None:
    photographs = outlier_images("imagenet_sample", Path(default_data_root()))
    arrays: dict[str, np.ndarray] = {}
    for side in SIDES:
        # As a run sees a background: shrunk where the normal images have less detail than the network's input.
        smaller = SmallerImages(photographs, side) if side < SIZE else photographs
        arrays |= arrays_of({part: features_of(smaller, part) for part in PARTS}, side)
    write_arrays(FILE, arrays)


if __name__ == "__main__":
    main()
