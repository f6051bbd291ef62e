"""The one place where archives are read: members as bytes in memory, each with a ceiling, nothing written by name.

Rules, so that an archive from a stranger can do no more than hand over images:

- The content decides the format, not the name: zip (stored or deflated), tar and gzipped tar. Others are refused.
- Every member must be a plain file or a folder. Links, devices, encrypted or sparse members, archives within the
  archive, names that lead out of it (`..`, `/`, a drive, a backslash, NUL) and names that occur twice, also if only by
  case or by the way an accent is written, refuse the whole archive: no tool makes those by accident.
- Ceilings on the archive's own size, the number of members, the bytes of one and of all, and their ratio to the
  archive's size. Bytes are counted while they are unpacked; what a header claims is not believed.
- Hidden members (a leading dot, `__MACOSX`) and members that are not named like images are left out and counted,
  without being unpacked.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import re
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any, BinaryIO, cast

from panda_core.datasets.io.decoding import BYTE_CEILING
from panda_core.datasets.io.opening import IMAGE_SUFFIXES
from panda_core.errors import RefusedArchive

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
_NESTED = (*ARCHIVE_SUFFIXES, ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".jar")
_CHUNK = 1 << 16
_LARGEST_LIST = 4 << 20  # bytes of the list at the end of a zip, read in one piece; 10,000 members take 1 MB
_MOST_PAX = 100  # entries that hold for all members of a tar; there are one or two
_REGULAR_ZIP = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclasses.dataclass(frozen=True)
class Ceilings:
    """What an archive may hold. ratio: unpacked bytes for each byte of the archive, once beyond `ratio_from`."""

    archive: int = 500_000_000
    members: int = 10_000
    member: int = BYTE_CEILING
    total: int = 2_000_000_000
    ratio: int = 100  # deflate reaches 1032; photos reach 1.1, drawn masks in uncompressed formats some dozens
    ratio_from: int = 20_000_000


class Archive:
    """The images of an archive: iterating yields (name with forward slashes, content), in the archive's order.

    source: bytes, or an open binary file that can seek. left_out: names, so far, that were passed over. Any fault
    raises `RefusedArchive`, before the first member where the directory shows it, else at the member.
    """

    def __init__(self, source: bytes | BinaryIO, *, ceilings: Ceilings | None = None) -> None:
        self.left_out: list[str] = []
        self._ceilings = ceilings or Ceilings()
        self._file = io.BytesIO(source) if isinstance(source, bytes) else source
        self._size = self._file.seek(0, io.SEEK_END)
        self._unpacked = 0
        self._seen: set[str] = set()

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of each member named like an image."""
        self.left_out, self._unpacked, self._seen = [], 0, set()
        if self._size > self._ceilings.archive:
            raise RefusedArchive(
                f"The archive has more than {_mb(self._ceilings.archive)}. Split it, or drop a folder."
            )
        try:
            yield from self._members()
        except RefusedArchive:
            raise
        except Exception as error:  # zipfile, tarfile, gzip and zlib raise a dozen kinds for damaged content
            raise RefusedArchive(f"The archive is damaged or cut off ({error}). Make it again.") from error

    def _members(self) -> Iterator[tuple[str, bytes]]:
        self._file.seek(0)
        head = self._file.read(tarfile.BLOCKSIZE)
        self._file.seek(0)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            yield from self._of_zip()
        elif head.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=self._file) as unpacked:
                yield from self._of_tar(unpacked)
        elif head[257:262] == b"ustar":
            yield from self._of_tar(self._file)
        else:
            raise RefusedArchive("This is not a zip, tar or tar.gz archive, whatever its name says. Make one of these.")

    # zip

    def _of_zip(self) -> Iterator[tuple[str, bytes]]:
        limited = cast(IO[bytes], _Limited(self._file, self._size, _LARGEST_LIST))
        with zipfile.ZipFile(limited) as archive:
            infos = archive.infolist()
            self._check_count(len(infos))
            self._check_spans(infos, archive.start_dir)
            wanted = [info for info in infos if self._is_image_of_zip(info)]
            for info in wanted:
                with archive.open(info) as member:
                    yield info.filename, self._unpack(member, info.filename)

    def _is_image_of_zip(self, info: zipfile.ZipInfo) -> bool:
        """Return whether a member is to be unpacked; refuse what must not be there."""
        name, mode = info.filename, info.external_attr >> 16
        if "\0" in info.orig_filename:
            raise _refused(name, "its name holds a NUL")
        wanted = self._is_image(name, is_folder=info.is_dir())
        if info.flag_bits & 0x1:
            raise _refused(name, "it is encrypted")
        if stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise _refused(name, "it is a link or a device")
        if wanted and info.compress_type not in _REGULAR_ZIP:
            raise _refused(name, "it is packed in another way than deflate")
        if wanted:
            self._check_member(info.file_size, name)
        return wanted

    def _check_spans(self, infos: list[zipfile.ZipInfo], end: int) -> None:
        """Refuse members that share bytes: a small file would be unpacked many times over."""
        for info in sorted(infos, key=lambda info: -info.header_offset):
            if info.header_offset < 0 or info.header_offset + 30 + info.compress_size > end:
                raise _refused(info.filename, "it shares its bytes with another member")
            end = info.header_offset

    # tar

    def _of_tar(self, unpacked: Any) -> Iterator[tuple[str, bytes]]:
        limited = cast(IO[bytes], _Limited(unpacked, self._allowed(), _CHUNK))
        with tarfile.TarFile(fileobj=limited, mode="r", ignore_zeros=False, errorlevel=2) as archive:
            count = 0
            while (member := archive.next()) is not None:
                name, count = member.name, count + 1
                self._check_count(count)
                wanted = self._is_image(name, is_folder=member.isdir())
                if member.issparse() or not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
                    raise _refused(name, "it is a link or a device")
                self._check_member(member.size, name)
                if wanted:
                    with cast(IO[bytes], archive.extractfile(member)) as content:
                        yield name, self._unpack(content, name)
                cast(Any, archive).members = []  # else every header stays in memory
                if len(archive.pax_headers) > _MOST_PAX:
                    raise _refused(name, "too much is said about all members at once")
            limited.seek(archive.offset)
            if limited.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # the reader takes a bad header for the end
                raise RefusedArchive(f"The archive is damaged or cut off after {count} members. Make it again.")
            while limited.read(_CHUNK):  # to the checksum of gzip, which comes last
                pass

    # both

    def _is_image(self, name: str, *, is_folder: bool) -> bool:
        """Return whether a member is named like an image; refuse a name that leads elsewhere or comes twice."""
        parts, bare = name.split("/"), name.rstrip("/")
        if not bare or name.startswith("/") or ".." in parts or re.search(r"\\|\0|^[A-Za-z]:", name):
            raise _refused(name, "its name leads out of the archive")
        key = unicodedata.normalize("NFC", str(PurePosixPath(bare))).casefold()
        if is_folder:
            return False
        if key in self._seen:
            raise _refused(name, "its name comes twice")
        self._seen.add(key)
        hidden = any((part.startswith(".") and part != ".") or part == "__MACOSX" for part in parts)
        if not hidden and bare.lower().endswith(_NESTED):
            raise _refused(name, "it is an archive within the archive; unpack it first")
        if hidden or not bare.lower().endswith(IMAGE_SUFFIXES):
            self.left_out.append(name)
            return False
        return True

    def _unpack(self, member: IO[bytes], name: str) -> bytes:
        """Return the content of a member, counted chunk by chunk."""
        chunks, size = [], 0
        while chunk := member.read(_CHUNK):
            size += len(chunk)
            self._unpacked += len(chunk)
            self._check_member(size, name)
            if self._unpacked > self._allowed():
                raise _refused(name, self._too_much())
            chunks.append(chunk)
        return b"".join(chunks)

    def _allowed(self) -> int:
        """Return how many bytes may come out of this archive."""
        most = self._ceilings
        return min(most.total, max(most.ratio_from, most.ratio * self._size))

    def _too_much(self) -> str:
        return f"with it the archive unpacks to more than {_mb(self._allowed())}"

    def _check_member(self, size: int, name: str) -> None:
        if not 0 <= size <= self._ceilings.member:
            raise _refused(name, f"it unpacks to more than {_mb(self._ceilings.member)}")

    def _check_count(self, count: int) -> None:
        if count > self._ceilings.members:
            raise RefusedArchive(f"The archive has more than {self._ceilings.members:,} members. Split it.")


class _Limited:
    """A file to read from, that refuses to go beyond a position or to read a large header in one piece.

    The standard readers ask for headers by the size that the archive claims, and skip by unpacking.
    """

    def __init__(self, file: Any, end: int, at_once: int) -> None:
        self._file, self._end, self._at_once = file, end, at_once
        self.name = ""  # tarfile asks for it

    def read(self, size: int = -1) -> bytes:
        content = bytes(self._file.read(self._at_once + 1 if size < 0 else min(size, self._at_once + 1)))
        if len(content) > self._at_once:
            raise RefusedArchive("The archive's list of members is too long, or damaged. Make it again.")
        self._check(self._file.tell())
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            self._check(offset)
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Leave the file open: it belongs to whoever opened it."""

    def _check(self, position: int) -> None:
        if position > self._end:
            raise RefusedArchive(f"The archive unpacks to more than {_mb(self._end)}. Split it, or drop a folder.")


def _refused(name: str, reason: str) -> RefusedArchive:
    shown = "".join(character if character.isprintable() else "?" for character in name[:120])
    return RefusedArchive(f"The archive is refused because of `{shown}`: {reason}. Make it again without that.")


def _mb(size: int) -> str:
    return f"{size // 1_000_000:,} MB"
