"""TIFF files of any kind of sample, and deep PNGs, byte by byte: an independent twin of what reads them."""

from __future__ import annotations

import struct
import zlib

import numpy as np

NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773
UNSIGNED, SIGNED, FLOAT = 1, 2, 3


def write_tiff(
    samples: np.ndarray,
    bits: int,
    *,
    kind: int = UNSIGNED,
    order: str = "<",
    compression: int = NONE,
    planar: bool = False,
    photometric: int | None = None,
    extra: tuple[int, ...] = (),
    rows: int | None = None,
    predictor: int = 1,
    tiles: tuple[int, int, int] | None = None,
    tags: tuple[tuple[int, int, tuple[int, ...]], ...] = (),
) -> bytes:
    """Return the TIFF file of samples (H, W) or (H, W, C). rows: of a strip, all by default.

    tiles: (width, height, tile width) of an image whose tiles are the strips. tags: (tag, type, values) of others.
    """
    whole = samples[:, :, None] if samples.ndim == 2 else samples
    height, width, channels = whole.shape
    rows = rows or height
    parts = [whole[:, :, [c]] for c in range(channels)] if planar else [whole]
    strips = []
    for part in parts:
        for top in range(0, height, rows):
            lines = part[top : top + rows]
            if predictor == 2:
                lines = np.concatenate([lines[:, :1], np.diff(lines.astype(np.int64), axis=1)], axis=1)
            data = b"".join(_packed(line.reshape(-1), bits, kind, order) for line in lines)
            strips.append(_COMPRESS[compression](data))
    if photometric is None:
        photometric = 2 if channels - len(extra) >= 3 else 1
    shape, places = (
        (width, height),
        [(278, 4, (rows,)), (279, 4, tuple(map(len, strips))), (273, 4, (0,) * len(strips))],
    )
    if tiles:
        shape = tiles[:2]
        places = [(322, 4, (tiles[2],)), (323, 4, (rows,)), (325, 4, places[1][2]), (324, 4, places[2][2])]
    entries = [
        (256, 4, shape[:1]),
        (257, 4, shape[1:]),
        *places,
        (258, 3, (bits,) * channels),
        (259, 3, (compression,)),
        (262, 3, (photometric,)),
        (277, 3, (channels,)),
        (284, 3, (2 if planar else 1,)),
        *([(317, 3, (predictor,))] if predictor != 1 else []),
        *([(338, 3, extra)] if extra else []),
        (339, 3, (kind,) * channels),
        *tags,
    ]
    return _assembled(entries, strips, order)


def _assembled(entries: list[tuple[int, int, tuple[int, ...]]], strips: list[bytes], order: str) -> bytes:
    entries = sorted(entries)
    letters = {3: "H", 4: "I"}
    after = 8 + 2 + 12 * len(entries) + 4
    sizes = {tag: struct.calcsize(f"{order}{len(values)}{letters[code]}") for tag, code, values in entries}
    begin = after + sum(size + size % 2 for size in sizes.values() if size > 4)
    offsets = []
    for strip in strips:
        offsets.append(begin)
        begin += len(strip) + len(strip) % 2
    head, tail = b"", b""
    for tag, code, values in entries:
        values = tuple(offsets) if tag in (273, 324) else values
        packed = struct.pack(f"{order}{len(values)}{letters[code]}", *values)
        head += struct.pack(f"{order}HHI", tag, code, len(values))
        if len(packed) <= 4:
            head += packed.ljust(4, b"\0")
        else:
            head += struct.pack(f"{order}I", after + len(tail))
            tail += packed + b"\0" * (len(packed) % 2)
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8)
    body = b"".join(strip + b"\0" * (len(strip) % 2) for strip in strips)
    return start + struct.pack(f"{order}H", len(entries)) + head + bytes(4) + tail + body


def _packed(line: np.ndarray, bits: int, kind: int, order: str) -> bytes:
    if kind == FLOAT:
        return line.astype(f"{order}f{bits // 8}").tobytes()
    if bits in (8, 16, 32):
        return (line.astype(np.int64) & (2**bits - 1)).astype(f"{order}u{bits // 8}").tobytes()
    number = 0
    for value in line.tolist():
        number = number << bits | (int(value) & (2**bits - 1))
    spare = -len(line) * bits % 8
    return (number << spare).to_bytes((len(line) * bits + spare) // 8, "big")


def _packbits(data: bytes) -> bytes:
    return b"".join(bytes([len(data[at : at + 128]) - 1]) + data[at : at + 128] for at in range(0, len(data), 128))


def _lzw(data: bytes) -> bytes:
    number, length = 0, 0

    def put(code: int, width: int) -> None:
        nonlocal number, length
        number, length = number << width | code, length + width

    table = {bytes([value]): value for value in range(256)}
    put(256, 9)
    known, free, width = b"", 258, 9
    for value in data:
        longer = known + bytes([value])
        if longer in table:
            known = longer
            continue
        put(table[known], width)
        table[longer], free = free, free + 1
        width = 9 if free < 512 else 10 if free < 1024 else 11 if free < 2048 else 12
        if free == 4094:
            put(256, width)
            table, free, width = {bytes([one]): one for one in range(256)}, 258, 9
        known = bytes([value])
    if known:
        put(table[known], width)
        free += 1
        width = 9 if free < 512 else 10 if free < 1024 else 11 if free < 2048 else 12
    put(257, width)
    spare = -length % 8
    return (number << spare).to_bytes((length + spare) // 8, "big")


_COMPRESS = {NONE: bytes, LZW: _lzw, DEFLATE: zlib.compress, PACKBITS: _packbits}


def sixteen_bit_png(values: np.ndarray) -> bytes:
    """Return a PNG of 16 bits a channel, by hand: Pillow writes none in colour."""
    height, width, channels = values.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )
