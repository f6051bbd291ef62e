"""Pictures in formats that are not read: each is named, with what to do, instead of vanishing from a data set."""

from __future__ import annotations

from pathlib import Path

from panda_core.datasets.io import tiff

_NEXT = {
    "save it as PNG or JPEG": (
        *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".wdp", ".mpo", ".tga", ".pcx", ".ico", ".cur", ".icns", ".sgi"),
        *(".ras", ".xbm", ".xpm", ".dds", ".dib", ".apng", ".jng", ".mng", ".bpg", ".flif", ".qoi", ".pam", ".jpc"),
    ),
    "export its layers as one PNG": (".psd", ".psb", ".xcf", ".kra", ".ora", ".ai"),
    "draw it as a PNG in the size you need": (".svg", ".svgz", ".eps", ".ps", ".pdf", ".wmf", ".emf"),
    "develop it as PNG or TIFF of 8 or 16 bits": (
        *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef"),
        *(".x3f", ".raw", ".3fr", ".iiq", ".erf", ".mrw", ".dcr", ".kdc"),
    ),
    "save its values as PNG or TIFF of 8 or 16 bits": (
        *(".exr", ".hdr", ".pfm", ".npy", ".npz", ".mat", ".fits", ".fit", ".dcm", ".dicom", ".nii", ".nrrd", ".mha"),
        *(".czi", ".nd2", ".lif", ".svs", ".ndpi", ".h5", ".hdf5"),
    ),
    "save its frames as PNG": (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"),
}
_BY_ENDING = {ending: told for told, endings in _NEXT.items() for ending in endings}
# What the formats that are read begin with; JPEG 2000, AVIF and HEIC have a length first.
_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", *tiff.STARTS)


def told_by_ending(name: str) -> str | None:
    """Return why files that end like `name` are not read, with what to do; None for every other ending."""
    ending = Path(name).suffix.lower()
    return f"`{ending}` files are not read; {_BY_ENDING[ending]}" if ending in _BY_ENDING else None


def why_not_read(path: str) -> str | None:
    """Return why the file at `path` is not read, with what to do; None where it is no picture.

    A file without an ending is looked into: cameras and annotation tools write such.
    """
    if told := told_by_ending(path):
        return told
    if not Path(path).suffix and _begins_like_an_image(path):
        return "its name has no ending; give it one, such as `.png`"
    return None


def _begins_like_an_image(path: str) -> bool:
    try:
        if not Path(path).is_file():  # reading a named pipe would wait for ever
            return False
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return (
        head.startswith(_STARTS) or head[4:8] in (b"ftyp", b"jP  ") or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    )
