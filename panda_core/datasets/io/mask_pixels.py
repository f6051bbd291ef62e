"""What a mask file marks: white on black, labels, a coloured defect on nothing, soft or lossy; or why it is unclear.

Masks come from a dozen tools. What is unclear is refused by name, never guessed: a wrong mask gives a wrong measure of
localisation that nobody sees.

- The background is 0, or transparent where transparency varies; a colour counts by its brightest channel.
- Soft edges (anti-aliased, resized, ringing of JPEG) are cut at half of the brightest value.
- Labels (0, 1, 2 or 0, 50, 200) all mark. They are told from soft edges by lying flat or standing alone.
- A mask that marks most of the picture and most of its border is taken for an inverted one.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from panda_core.datasets.io.decoding import ImageSource, name_of, open_stored, upright
from panda_core.datasets.io.samples import Samples, turned
from panda_core.errors import UnreadableImage

LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "JPEG2000")
FAINT = 64  # of 255: in a lossy format, values below may be noise
LABEL = 32  # whole numbers up to this one are labels: no soft mask is as dark
FEW = 32  # different values: of more, the ones between are soft edges unless most of them lie flat
FLAT = 1 / 3  # of the pixels of a label lie among their like; of those of a soft edge hardly any
RINGING = 0.15  # of the brightest value: what JPEG leaves around an edge is weaker, also if it was saved as PNG later
BLACK = 10  # of 255
GROUND = 0.03  # of the brightest value, at most, is the background
SOFT = 0.05  # of a picture in black and white, at most, is the grey of its edges
NEXT = "save it with the defect white and all else black"


def read_mask(source: ImageSource, name: str = "") -> np.ndarray:
    """Return which pixels are marked: bool (H, W), upright by the file's own EXIF turn; all False for a black one.

    `UnreadableImage` says why a file is unclear as a mask of defects, or cannot be read.
    """
    name = name or name_of(source)
    marked = read_marked(source, name)
    _check_share(marked, name)
    return marked


def read_marked(source: ImageSource, name: str, *, black_and_white: bool = False) -> np.ndarray:
    """Return the same of a mask of anything: it may mark most of the picture.

    black_and_white: whether a picture is refused of which more than `SOFT` is grey: a photograph, cut at half, would
    mark whatever is bright in it.
    """
    stored = open_stored(source, name)
    frames = stored.frames if isinstance(stored, Samples) else getattr(stored, "n_frames", 1)
    if frames > 1:
        raise _unclear(name, "it has several frames or pages; save one mask a file")
    lossy = isinstance(stored, Image.Image) and stored.format in LOSSY
    values = _brightness(stored, name)
    if not np.isfinite(values).all() or values.min() < 0:
        raise _unclear(name, f"some of its values are below 0 or no numbers; {NEXT}")
    if black_and_white and values.max() > LABEL:
        grey = np.mean((values > values.max() / 10) & (values < values.max() * 0.9))
        if grey > SOFT:
            raise _unclear(name, f"{100 * grey:.0f} % of it is neither black nor white, as in a photograph")
    return _lossy(values, name) if lossy else _lossless(values)


def _unclear(name: str, reason: str) -> UnreadableImage:
    return UnreadableImage(f"`{name}` is unclear as a mask: {reason}.")


def _brightness(stored: Samples | Image.Image, name: str) -> np.ndarray:
    """Return what counts as brightness, (H, W), 0 for the background."""
    if isinstance(stored, Samples):
        if stored.colour == "cmyk":
            raise _unclear(name, f"its colours are CMYK; {NEXT}")
        values = turned(stored.values, stored.turn)
        if not stored.alpha:
            return values.max(axis=2)
        return _beside_alpha(values[:, :, :-1].max(axis=2), values[:, :, -1], 2**stored.bits - 1, name)
    image = upright(stored)
    if image.has_transparency_data:
        colour = np.asarray(image.convert("RGBA"))
        return _beside_alpha(colour[:, :, :3].max(axis=2), colour[:, :, 3], 255, name)
    if image.mode in ("1", "L"):
        return np.asarray(image).astype(np.uint8) * (255 if image.mode == "1" else 1)
    bright = np.asarray(image.convert("RGB")).max(axis=2)
    if image.mode == "P" and bright.min() == bright.max():  # a palette that shows no difference: labels without colours
        return np.asarray(image)
    return bright


def _beside_alpha(bright: np.ndarray, alpha: np.ndarray, white: int, name: str) -> np.ndarray:
    """Return brightness or, where a part is transparent, opacity: both (H, W)."""
    if alpha.min() == alpha.max() or alpha.min() > 0:
        return bright
    black = bright[alpha > alpha.max() / 2] <= white * BLACK / 255
    if black.any() and not black.all():
        raise _unclear(name, f"its transparency and its colours mark different parts; {NEXT}")
    return alpha


def _lossy(values: np.ndarray, name: str) -> np.ndarray:
    top = int(values.max())
    if 0 < top < FAINT:
        raise _unclear(
            name, f"its brightest value is {top}, which a lossy format may have made of black; {NEXT}, as PNG"
        )
    marked = values > top / 2
    between = (values > RINGING * top) & ~marked
    kernel = np.ones((5, 5), np.uint8)
    flat = between & (cv2.dilate(values, kernel) - cv2.erode(values, kernel) <= BLACK)
    around = cv2.dilate(marked.astype(np.uint8), np.ones((17, 17), np.uint8))  # edges ring within blocks of 8 pixels
    if flat.sum() > FLAT * between.sum() or (between & (around == 0)).any():
        raise _unclear(name, f"it has several shades of grey in a lossy format; {NEXT}, as PNG")
    return marked


def _lossless(values: np.ndarray) -> np.ndarray:
    """Return what is marked: all labels, or what is brighter than half of the brightest."""
    top = values.max()
    if values.dtype.kind in "ui" and top <= LABEL:
        return values > 0
    marked = values > top / 2
    above = values > _ground(values, GROUND * top)
    between = above & ~marked
    different = np.unique(values[between])
    if not len(different):
        return marked
    shades = between & (values > RINGING * top)
    if len(different) > FEW:
        return above if (_inner(values.astype(np.float32)) & shades).sum() > FLAT * shades.sum() else marked
    inner = between & _inner((1 + np.searchsorted(different, values)).astype(np.uint8) * between)
    labels = [values == value for value in different if value > RINGING * top]
    if inner.sum() > FLAT * between.sum() or any((inner & label).sum() > FLAT * label.sum() for label in labels):
        return above
    return marked | _alone(above, marked, shades)


def _ground(values: np.ndarray, most: float) -> float:
    """Return the value of the background: the most common one up to `most`; JPEG may have made 1 or 2 of black."""
    dark, counts = np.unique(values[values <= most], return_counts=True)
    return float(dark[counts.argmax()]) if len(dark) else 0.0


def _inner(values: np.ndarray) -> np.ndarray:
    """Return where a pixel and its eight neighbours are equal."""
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.erode(values, kernel) == cv2.dilate(values, kernel))


def _alone(above: np.ndarray, marked: np.ndarray, shades: np.ndarray) -> np.ndarray:
    """Return the patches above the background that hold a shade and touch nothing marked: thin or small labels."""
    _, patches = cv2.connectedComponents(above.astype(np.uint8))
    return np.asarray(np.isin(patches, np.setdiff1d(patches[shades], patches[marked])))


def _check_share(marked: np.ndarray, name: str) -> None:
    share = marked.mean()
    border = np.concatenate([marked[0], marked[-1], marked[:, 0], marked[:, -1]]).mean()
    if marked.all():
        raise _unclear(name, f"it marks the whole picture; {NEXT}")
    if share > 0.5 and border > 0.5:
        told = f"it marks {100 * share:.0f} % of the picture and most of its border, as an inverted mask does"
        raise _unclear(name, f"{told}; {NEXT}")
