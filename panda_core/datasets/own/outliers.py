"""Images of anything else, without labels: what outlier exposure shows the network as examples of "not normal", and
what normal images are compared with where a scorer has a background.

They come from where the caller says: `imagenet_sample`, a folder of the data root, or any folder of images, whose
subfolders (ImageNet's synset folders, for instance) are searched too. None of them is ever scored.
"""

from __future__ import annotations

import os
from pathlib import Path

from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.listing import image_files
from panda_core.datasets.one_class import Images
from panda_core.datasets.own.folder import PREFIX
from panda_core.errors import DataMissing, UsageError

IMAGENET_SAMPLE = "imagenet_sample"
IMAGENET_SAMPLE_SOURCE = "https://github.com/EliSchwartz/imagenet-sample-images"


def outlier_images(spec: str, root: Path, option: str = "outliers") -> Images:
    """Return all images that `spec`, the value of `option`, means, in the order of their places; none is decoded.

    spec: `imagenet_sample`, which is `ROOT/imagenet_sample`, or the path of a folder, also as `folder:PATH`; a folder
    called `imagenet_sample` elsewhere is `./imagenet_sample`. root: the data root.
    A folder that is not there raises `DataMissing`; a file, or a folder without images, `UsageError`.
    """
    if spec == IMAGENET_SAMPLE:
        folder = root / IMAGENET_SAMPLE
        missing = imagenet_sample_missing(root)
        if missing is not None:
            raise DataMissing(missing)
    else:
        path = spec.removeprefix(PREFIX).strip()
        if not path:
            raise UsageError(f"`{option}` must be `{IMAGENET_SAMPLE}` or the path of a folder of images; got `{spec}`.")
        folder = Path(os.path.expanduser(path))  # noqa: PTH111  pathlib raises for a user it does not know
        if not os.path.exists(folder):  # noqa: PTH110  pathlib raises for names that are too long
            raise DataMissing(
                f"The folder `{folder}` does not exist; `{option}` names it. Give an existing folder of images, or "
                f"`{IMAGENET_SAMPLE}` for the one in `{root}`."
            )
        if not folder.is_dir():
            raise UsageError(f"`{folder}` is a file. Give the folder that the images lie in: `{folder.parent}`.")
    places = image_files(folder)
    if not places:
        raise UsageError(f"`{folder}` holds no images to be used as `{option}`. Give a folder that does.")
    return FileImages.below(folder, places)


def imagenet_sample_missing(root: Path) -> str | None:
    """Return None if the sample of ImageNet is in the data root, else what to get and where to put it."""
    folder = root / IMAGENET_SAMPLE
    if folder.is_dir():
        return None
    return (
        f"The sample of ImageNet is not in `{folder}`: fetch its 1,000 files named like "
        f"`n01440764_tench.JPEG` (about 110 MB) from {IMAGENET_SAMPLE_SOURCE} and put them there, or give the path of "
        "any folder of images."
    )
