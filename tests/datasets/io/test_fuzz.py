"""Ten thousand damaged images and archives: each is decoded or refused in one sentence, in little time and memory.

Each half runs in a process of its own: a crash of a decoder is seen as its exit code, memory is its high-water mark
above what it needed for whole files, and an input that takes two seconds of its processor's time counts as a hang.
"""

from __future__ import annotations

import io
import json
import re
import resource
import signal
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panda_core.datasets.io.archives import Archive
from panda_core.datasets.io.decoding import decode_image
from panda_core.errors import RefusedArchive, UnreadableImage

ROOT = Path(__file__).resolve().parents[3]
INPUTS = {"images": 7000, "archives": 3000}
LONGEST = 2.0  # seconds of processor time an input
MOST_MEMORY = 300_000  # KiB above that of whole files
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class Hang(BaseException):
    """An input took too long."""


def whole_images() -> list[bytes]:
    """Return a small file of every format and kind of pixels that decoding knows."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    grey16 = Image.fromarray(rng.integers(0, 65536, (16, 16), dtype=np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (colour, "PNG", {}),
        (colour.convert("RGBA"), "PNG", {"exif": turned}),
        (colour.convert("P"), "PNG", {"transparency": 3}),
        (grey16, "PNG", {}),
        (colour, "PNG", {"save_all": True, "append_images": [colour.transpose(Image.Transpose.ROTATE_180)]}),
        (colour, "JPEG", {"exif": turned}),
        (colour, "JPEG", {"progressive": True}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "WEBP", {}),
        (colour.convert("RGBA"), "WEBP", {"lossless": True}),
        (colour, "WEBP", {"save_all": True, "append_images": [colour.transpose(Image.Transpose.ROTATE_180)]}),
        (colour, "BMP", {}),
        (colour.convert("P"), "BMP", {}),
        (colour, "TIFF", {}),
        (colour, "TIFF", {"compression": "tiff_lzw"}),
        (colour, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (colour, "TIFF", {"compression": "jpeg"}),
        (grey16, "TIFF", {"compression": "packbits"}),
        (colour.convert("1"), "TIFF", {"compression": "group4"}),
    ]
    return [encoded(image, form, options) for image, form, options in kinds]


def encoded(image: Image.Image, form: str, options: dict[str, object]) -> bytes:
    held = io.BytesIO()
    image.save(held, form, **options)
    return held.getvalue()


def whole_archives() -> list[bytes]:
    """Return a small archive of every format."""
    import tarfile
    import zipfile

    members = {"good/a.png": whole_images()[0], "good/long/" + "b" * 120 + ".jpg": b"x" * 700, "notes.txt": b"hello"}
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", method) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        found.append(held.getvalue())
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w", format=form) as archive:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        found += [held.getvalue().rstrip(b"\0") + bytes(1536), held.getvalue()]
    return found


def damaged(whole: list[bytes], rng: np.random.Generator) -> bytes:
    """Return one of the files with one to six changes: bytes, numbers, pieces cut out, doubled, or taken elsewhere."""
    content = bytearray(whole[rng.integers(len(whole))])
    for _ in range(rng.integers(1, 7)):
        if not content:
            break
        at, kind = int(rng.integers(len(content))), rng.integers(7)
        end = at + int(rng.integers(1, 40))
        if kind == 0:
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            content[at] = int(rng.integers(256))
        elif kind == 2:
            value, form = INTERESTING[rng.integers(len(INTERESTING))], "<>"[rng.integers(2)] + "HI"[rng.integers(2)]
            number = struct.pack(form, value & (0xFFFF if form[1] == "H" else 0xFFFFFFFF))
            content[at : at + len(number)] = number
        elif kind == 3:
            del content[at:end]
        elif kind == 4:
            content[at:at] = content[at:end] * int(rng.integers(1, 5))
        elif kind == 5:
            other = whole[rng.integers(len(whole))]
            content[at:end] = other[at % len(other) : at % len(other) + 40]
        elif rng.random() < 0.3:
            del content[at:]
    return bytes(content)


def repaired(content: bytes) -> bytes:
    """Return a PNG whose checksums are right again, so that damage reaches what lies behind them."""
    place, fixed = 8, bytearray(content)
    while content.startswith(b"\x89PNG") and place + 12 <= len(fixed):
        length = int.from_bytes(fixed[place : place + 4], "big")
        end = place + 8 + length
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


def try_image(content: bytes) -> bool:
    """Return whether an input was decoded; anything but an image or a refusal raises."""
    try:
        image = decode_image(content, "a.png")
    except UnreadableImage as error:
        assert re.fullmatch(r"`a\.png` cannot be read: [^\n]{3,300}\.", str(error)), str(error)
        return False
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    return True


def try_archive(content: bytes) -> bool:
    """Return whether an input was read to its end; anything but members or a refusal raises."""
    try:
        for name, member in Archive(content):
            assert ".." not in name.split("/") and not name.startswith("/") and isinstance(member, bytes)
    except RefusedArchive as error:
        assert str(error).endswith(".") and "\n" not in str(error), str(error)
        return False
    return True


def fuzz(kind: str) -> dict[str, object]:
    """Try the inputs of one half; return how many passed, and what went wrong."""
    attempt: Callable[[bytes], bool] = try_image if kind == "images" else try_archive
    whole = whole_images() if kind == "images" else whole_archives()
    rng, faults, passed = np.random.default_rng(1), [], 0
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, ring)
    whole_ones = sum(attempt(content) for content in whole)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(INPUTS[kind]):
        content = damaged(whole, rng)
        if kind == "images" and number % 2:
            content = repaired(content)
        signal.setitimer(signal.ITIMER_PROF, LONGEST)
        try:
            passed += attempt(content)
        except BaseException as error:  # a hang as well
            faults.append(f"input {number}: {type(error).__name__}: {error}"[:300])
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"whole": whole_ones, "of": len(whole), "passed": passed, "faults": faults, "grown": grown}


def ring(*_: object) -> None:
    raise Hang


@pytest.mark.parametrize("kind", INPUTS)
def test_no_damage_crashes_hangs_or_eats_memory(kind: str) -> None:
    """A decoder's exception that ends a run, a crash that ends the server, a file that stops or fills the machine."""
    command = [
        sys.executable,
        "-c",
        f"import sys; from {__name__.split('.')[-1]} import fuzz, json; print(json.dumps(fuzz({kind!r})))",
    ]
    paths = f"{ROOT}:{Path(__file__).parent}"
    ended = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": paths, "PATH": ""}, capture_output=True, text=True, timeout=150
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = json.loads(ended.stdout)
    assert told["faults"] == []
    assert told["grown"] < MOST_MEMORY, told["grown"]
    assert told["whole"] == told["of"], "the undamaged files must pass, or nothing behind the first check is reached"
    assert 0.02 * INPUTS[kind] < told["passed"] < 0.98 * INPUTS[kind], "damage that hits nothing, or always the start"
