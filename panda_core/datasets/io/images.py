"""The kinds of `Images`: arrays in memory, files on disk, several sets as one."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from panda_core.datasets.io.decoding import decode_image
from panda_core.datasets.io.listing import shown_name
from panda_core.datasets.io.samples import Levels
from panda_core.datasets.one_class import Images
from panda_core.errors import PandaError, UnreadableImage

Rows = Sequence[int] | np.ndarray


class ArrayImages:
    """uint8 images in memory: an array (N, H, W) or (N, H, W, 3), or N arrays of sizes of their own."""

    def __init__(self, arrays: Sequence[np.ndarray] | np.ndarray, names: Sequence[str]) -> None:
        _check_names(names, len(arrays))
        self._arrays = [arrays[row] for row in range(len(arrays))]  # views: the pixels are shared
        self.names: Sequence[str] = tuple(names)

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> np.ndarray:
        """Return a copy of the image as uint8 (H, W, 3), RGB; `UnreadableImage` where it has no or too many pixels."""
        return np.array(decode_image(self._arrays[index], self.names[index]))

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the shape and the pixels."""
        array = self._arrays[index]
        return hashlib.sha256(repr(array.shape).encode() + array.tobytes()).digest()

    def subset(self, indices: Rows) -> ArrayImages:
        """Return the images at `indices`, in that order; pixels are shared, not copied."""
        return ArrayImages([self._arrays[row] for row in indices], [self.names[row] for row in indices])


class FileImages:
    """Image files, decoded when asked for. levels: for images of more than 8 bits, see `decode_image`."""

    def __init__(
        self, paths: Sequence[str | os.PathLike[str]], names: Sequence[str], levels: Levels | None = None
    ) -> None:
        _check_names(names, len(paths))
        self.paths: Sequence[str] = tuple(os.fspath(path) for path in paths)
        self.names: Sequence[str] = tuple(names)
        self.levels = levels

    @staticmethod
    def below(folder: Path, places: Sequence[str], levels: Levels | None = None) -> FileImages:
        """Return the images at `places` in `folder`, as `image_files` gives them, shown by these places."""
        paths, names = [f"{folder}/{place}" for place in places], [shown_name(place) for place in places]
        return FileImages(paths, names, levels)

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> np.ndarray:
        """Return the image as uint8 (H, W, 3), RGB; `UnreadableImage` where it cannot be decoded."""
        return decode_image(self.paths[index], self.names[index], self.levels)

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the file, and of the levels if there are any; `UnreadableImage` for an absent file."""
        try:
            with open(self.paths[index], "rb") as file:
                digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise UnreadableImage(f"`{self.names[index]}` cannot be read: {error.strerror}.") from error
        if self.levels is not None:  # other pixels of the same file
            digest.update(f"levels {self.levels}".encode())
        return digest.digest()

    def subset(self, indices: Rows) -> FileImages:
        """Return the images at `indices`, in that order."""
        return FileImages([self.paths[row] for row in indices], [self.names[row] for row in indices], self.levels)


class JoinedImages:
    """Several sets of images as one, in their order; names must be unique among all of them."""

    def __init__(self, sets: Sequence[Images]) -> None:
        self.sets: Sequence[Images] = tuple(sets)
        self.names: Sequence[str] = tuple(name for images in sets for name in images.names)
        _check_names(self.names, len(self.names))
        self._rows = [(images, row) for images in sets for row in range(len(images))]

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, index: int) -> np.ndarray:
        """Return the image as uint8 (H, W, 3), RGB; `UnreadableImage` where it cannot be decoded."""
        images, row = self._rows[index]
        return images.load(row)

    def digest(self, index: int) -> bytes:
        """Return the digest that its own set gives the image."""
        images, row = self._rows[index]
        return images.digest(row)

    def subset(self, indices: Rows) -> JoinedImages:
        """Return the images at `indices`, in that order."""
        chosen = [self._rows[row] for row in indices]
        return JoinedImages([images.subset([row]) for images, row in chosen])


def _check_names(names: Sequence[str], count: int) -> None:
    if len(names) != count:
        raise PandaError(f"{count} images need {count} names; got {len(names)}.")
    if len(set(names)) != count:
        twice = Counter(names).most_common(1)[0][0]
        raise PandaError(f"Image names must be unique; `{twice}` occurs twice.")
