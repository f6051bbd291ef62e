"""Photos that people drop: checked, turned upright, and written to a folder of their own under the data root."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from PIL import Image

from panda_core.config import default_data_root
from panda_core.datasets import decode_image
from panda_core.errors import UnreadableImage
from panda_core.records import cannot_write, write_json

MOST = 500  # files at once
LONGEST = 1024  # pixels; networks see no more than that
NAMES = "names.json"


class Dropped(Protocol):
    """A file as the uploader hands it over: its name is the user's text, and only shown."""

    name: str

    def getvalue(self) -> bytes: ...


@dataclasses.dataclass(frozen=True)
class Kept:
    """A folder of photos. count: how many there are; refused: (name, reason) of those that are no readable images."""

    folder: Path
    count: int
    refused: list[tuple[str, str]]


def uploads_folder() -> Path:
    """Return the folder below which all photos lie."""
    return Path(default_data_root()) / "uploads"


def keep(files: Iterable[Dropped], kind: str) -> Kept:
    """Write photos as `<uploads>/<random token>/<kind>/NNNN.png`, and their own names beside them.

    Re-encoded, so that nothing but pixels is left of them: no name, no place, no camera.
    """
    folder = uploads_folder() / secrets.token_hex(8) / kind
    names: dict[str, str] = {}
    refused: list[tuple[str, str]] = []
    try:
        folder.mkdir(parents=True)
        for file in list(files)[:MOST]:
            try:
                picture = Image.fromarray(decode_image(file.getvalue(), file.name))
            except UnreadableImage as error:
                refused.append((file.name, str(error)))
                continue
            picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
            place = f"{len(names):04d}.png"
            picture.save(folder / place, "PNG", compress_level=3)
            names[place] = file.name
        write_json(folder.parent / NAMES, names)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return Kept(folder, len(names), refused)
