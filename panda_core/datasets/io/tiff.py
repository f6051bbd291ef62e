"""TIFF files whose samples Pillow reads wrongly or not at all: deep, signed, real, planar, light on dark.

The tags decide what the samples mean (TIFF 6.0, Adobe 1992, sections 4 to 8, 14 and 18). The strips or tiles are
unpacked by the libtiff in Pillow, whatever their compression: a second list of tags, put behind the file, calls them
those of a grey image with as many pixels a row as a row has bytes. So no second decoder is a way in for hostile files.
"""

from __future__ import annotations

import dataclasses
import io
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, TiffImagePlugin

from panda_core.datasets.io.opening import without_warnings
from panda_core.datasets.io.samples import ROWS, Alpha, Colour, Samples
from panda_core.errors import UnreadableImage

STARTS = (b"II*\0", b"MM\0*", b"II+\0")  # the last is BigTIFF
COMPRESSIONS = {1: "none", 5: "LZW", 8: "Deflate", 32946: "Deflate", 32773: "PackBits"}
_UNSIGNED, _SIGNED, _REAL = 1, 2, 3
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _TRANSPARENCY, _CMYK, _YCBCR = range(7)
_OTHER_COLOURS = {3: "a palette", 6: "subsampled YCbCr", 8: "CIELAB", 9: "ICC LAB", 32803: "a camera's raw data"}
_JPEG = (6, 7)
UNPACKED_CEILING = 178_000_000  # bytes; Pillow refuses a grey image of more pixels


@dataclasses.dataclass(frozen=True)
class Tags:
    """What the first page of a TIFF file says of itself, defaults filled in."""

    width: int
    height: int
    bits: tuple[int, ...]
    kinds: tuple[int, ...]
    photometric: int
    compression: int
    channels: int
    extra: tuple[int, ...]
    planar: bool
    predictor: int
    fill_order: int
    orientation: int
    subsampling: tuple[int, ...]
    frames: int  # 2 stands for any number of further ones
    places: dict[int, tuple[int, ...]]  # where the strips or tiles lie, and their sides

    @property
    def pillow_is_right(self) -> bool:
        """Whether Pillow gives these samples as they are meant; tried for each kind, see the tests."""
        if set(self.kinds) != {_UNSIGNED} or len(set(self.bits)) != 1:
            return False
        bits, colours = self.bits[0], self.channels - len(self.extra)
        if self.compression in _JPEG:
            return bits == 8 and self.photometric in (_BLACK_IS_ZERO, _RGB, _CMYK, _YCBCR)
        if self.photometric == _YCBCR:
            return bits == 8 and not self.planar and self.subsampling == (1, 1)
        if bits in (1, 2, 4):
            return self.channels == 1 and self.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE)
        if self.planar and self.channels > 1:
            return bits == 8 and self.photometric == _RGB and colours == 3 and self.extra in ((), (2,))
        wanted = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4}
        return bits == 8 and wanted.get(self.photometric) == colours and len(self.extra) <= 1


def read_tags(file: BinaryIO) -> Tags:
    """Return the tags of the first page; whatever Pillow's reader or a nonsensical value raises is passed on."""
    head = file.read(16)
    directory = TiffImagePlugin.ImageFileDirectory_v2(head if head[2] == 43 else head[:8])
    file.seek(directory.next)
    with without_warnings():
        directory.load(file)

    def numbers(tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
        found: Any = directory.get(tag, default)
        return tuple(int(value) for value in (found if isinstance(found, tuple) else (found,)))

    channels, photometric = numbers(277, (1,))[0], numbers(262, (_WHITE_IS_ZERO,))[0]
    bits, kinds, turn = numbers(258, (1,)), numbers(339, (_UNSIGNED,)), numbers(274, (1,))[0]
    return Tags(
        width=numbers(256, ())[0],
        height=numbers(257, ())[0],
        bits=bits if len(bits) == channels else bits[:1] * channels,
        kinds=kinds if len(kinds) == channels else kinds[:1] * channels,
        photometric=photometric,
        compression=numbers(259, (1,))[0],
        channels=channels,
        extra=numbers(338, (2,) if photometric == _RGB and channels == 4 else ()),  # many tools leave the tag out
        planar=numbers(284, (1,))[0] == 2,
        predictor=numbers(317, (1,))[0],
        fill_order=numbers(266, (1,))[0],
        orientation=turn if turn in range(1, 9) else 1,
        subsampling=numbers(530, (2, 2)),
        frames=2 if directory.next else 1,
        places={tag: numbers(tag, ()) for tag in (273, 278, 279, 322, 323, 324, 325) if tag in directory},
    )


def read_samples(content: bytes, tags: Tags, refuse: Callable[[str], UnreadableImage]) -> Samples:
    """Return the samples of a file that Pillow does not read right; a kind that is not read here raises `refuse(why)`.

    The number of pixels has been checked. Damage raises whatever the decoder stumbles over.
    """
    colour, alpha, shown = _meaning(tags, refuse)
    bits, kind = tags.bits[0], tags.kinds[0]
    if tags.width * tags.height * tags.channels * bits > 8 * UNPACKED_CEILING:
        raise refuse(f"its samples take more than {UNPACKED_CEILING // 1_000_000} MB; save it smaller")
    order = "<" if content[:2] == b"II" else ">"
    planes = tags.channels if tags.planar else 1
    together = tags.channels // planes
    parts = [_numbers(_unpacked(content, tags, plane, together), tags, together, order) for plane in range(planes)]
    values = np.concatenate(parts, axis=2) if planes > 1 else parts[0]  # (H, W, C)
    values = values[:, :, : shown + bool(alpha)]
    white = 2**bits - 1 if kind == _UNSIGNED and bits <= 16 else None
    if tags.photometric == _WHITE_IS_ZERO:
        top = values.dtype.type(white)
        values = np.concatenate([top - values[:, :, :1], values[:, :, 1:]], axis=2)
    return Samples(values, colour, alpha, bits, white, tags.orientation, tags.frames)


def _meaning(tags: Tags, refuse: Callable[[str], UnreadableImage]) -> tuple[Colour, Alpha, int]:
    """Return the kind of colour, of alpha, and the number of colour samples; refuse what is not read."""
    if len(set(tags.bits)) != 1 or len(set(tags.kinds)) != 1:
        raise refuse("its channels differ in depth; save it with 8 or 16 bits a channel")
    bits, kind = tags.bits[0], tags.kinds[0]
    names = {_WHITE_IS_ZERO: "grey", _BLACK_IS_ZERO: "grey", _RGB: "rgb", _CMYK: "cmyk"}
    if tags.photometric not in names:
        told = _OTHER_COLOURS.get(tags.photometric, f"of kind {tags.photometric}")
        raise refuse(f"its colours are {told}; save it as RGB or grey")
    if tags.compression not in COMPRESSIONS:
        raise refuse(f"its compression is number {tags.compression}; save it with LZW, Deflate, PackBits or none")
    read = {_UNSIGNED: (*range(8, 17), 32), _SIGNED: (8, 16, 32), _REAL: (16, 32, 64)}
    if bits not in read.get(kind, ()):
        raise refuse(f"its samples have {bits} bits; save it with 8 or 16 bits a channel")
    if tags.fill_order != 1:
        raise refuse("its bits run backwards (FillOrder 2); save it anew")
    if tags.predictor not in (1, 2) or (tags.predictor == 2 and (bits not in (8, 16, 32) or kind == _REAL)):
        raise refuse(f"its predictor is number {tags.predictor}; save it without")
    if tags.photometric == _WHITE_IS_ZERO and (kind != _UNSIGNED or bits > 16):
        raise refuse("its white is 0 and its samples have no known black; save it with 8 or 16 bits a channel")
    shown = {"grey": 1, "rgb": 3, "cmyk": 4}[names[tags.photometric]]
    if not shown <= tags.channels <= shown + 4 or tags.channels - len(tags.extra) > max(shown, 1):
        raise refuse(f"it has {tags.channels} channels where {shown} would be colours; save it as RGB or grey")
    alpha = cast(Alpha, {1: "premultiplied", 2: "straight"}.get(tags.extra[0] if tags.extra else 0, ""))
    return cast(Colour, names[tags.photometric]), "" if shown == 4 else alpha, shown


def _unpacked(content: bytes, tags: Tags, plane: int, together: int) -> np.ndarray:
    """Return the bytes of one plane as they are stored, (H, bytes a row): uint8."""
    step = together * tags.bits[0]
    wide = -(-tags.width * step // 8)
    plain = {258: 8, 259: tags.compression, 262: _BLACK_IS_ZERO, 277: 1}
    entries: dict[int, tuple[int, ...]] = {
        tag: (value,) for tag, value in {256: wide, 257: tags.height, **plain}.items()
    }
    tiled = 324 in tags.places
    offsets, counts = (tags.places[tag] for tag in ((324, 325) if tiled else (273, 279)))
    each = len(offsets) // (tags.channels // together)
    mine = slice(plane * each, (plane + 1) * each)
    if tiled:
        entries |= {322: (tags.places[322][0] * step // 8,), 323: tags.places[323][:1]}
    else:
        entries[278] = (min(tags.places.get(278, (tags.height,))[0], tags.height),)
    entries |= {324 if tiled else 273: offsets[mine], 325 if tiled else 279: counts[mine]}
    with without_warnings():
        image = Image.open(io.BytesIO(_with_tags(content, entries)), formats=("TIFF",))
    with image:
        return np.asarray(image)


def _with_tags(content: bytes, entries: dict[int, tuple[int, ...]]) -> bytes:
    """Return the file with another list of tags behind it, to which its head points; all values are 32 bits wide."""
    order = "<" if content[:2] == b"II" else ">"
    content += b"\0" * (len(content) % 2)
    start = len(content)
    after = start + 2 + 12 * len(entries) + 4
    head, tail = struct.pack(f"{order}H", len(entries)), b""
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) == 1:
            head += struct.pack(f"{order}HHI", tag, 4, 1) + packed
        else:
            head += struct.pack(f"{order}HHII", tag, 4, len(values), after + len(tail))
            tail += packed
    begin = content[:2] + struct.pack(f"{order}HI", 42, start)
    return begin + content[8:] + head + bytes(4) + tail


def _numbers(stored: np.ndarray, tags: Tags, together: int, order: str) -> np.ndarray:
    """Return the numbers (H, W, C) in stored bytes (H, bytes a row)."""
    bits, kind = tags.bits[0], tags.kinds[0]
    if bits % 8 == 0 or kind == _REAL:
        letter = {_UNSIGNED: "u", _SIGNED: "i", _REAL: "f"}[kind]
        numbers = np.ascontiguousarray(stored).view(f"{order}{letter}{bits // 8}")
        numbers = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
    else:
        numbers = _from_bits(stored, bits, tags.width * together)
    numbers = numbers.reshape(tags.height, tags.width, together)
    if tags.predictor == 2:  # each number is the difference to its left neighbour, anew in each tile
        across = tags.places[322][0] if 324 in tags.places else tags.width
        pieces = [
            np.cumsum(numbers[:, left : left + across], axis=1, dtype=numbers.dtype)
            for left in range(0, tags.width, across)
        ]
        numbers = np.concatenate(pieces, axis=1)
    return numbers


def _from_bits(stored: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Return `count` numbers of 9 to 15 bits a row, the highest bit first: (H, count) uint16."""
    numbers = np.empty((len(stored), count), np.uint16)
    for top in range(0, len(stored), ROWS):
        single = np.unpackbits(stored[top : top + ROWS], axis=1)[:, : count * bits]
        single = single.reshape(len(single), count, bits)
        wide = np.pad(single, ((0, 0), (0, 0), (16 - bits, 0)))
        numbers[top : top + ROWS] = np.packbits(wide, axis=2).view(">u2")[:, :, 0]
    return numbers
