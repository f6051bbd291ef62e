"""Archives: what comes out, what is left out, and what refuses the whole archive."""

from __future__ import annotations

import gzip
import io
import resource
import stat
import struct
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from panda_core.datasets.io.archives import Archive, Ceilings
from panda_core.errors import RefusedArchive, UsageError

MEMBERS = {"good/a.png": b"first", "good/deep/b.JPG": b"second" * 50, "c.tif": b""}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of `members`."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar of `members`."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return held.getvalue()


def tar_of(info: tarfile.TarInfo, content: bytes = b"") -> bytes:
    """Return a tar of one member that only `info` describes."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        archive.addfile(info, io.BytesIO(content))
    return held.getvalue()


def refusal(content: bytes, **ceilings: int) -> str:
    """Return the sentence with which an archive is refused."""
    with pytest.raises(RefusedArchive) as caught:
        list(Archive(content, ceilings=Ceilings(**ceilings)))
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 400 and isinstance(caught.value, UsageError)
    return sentence


FORMS = {
    "zip": zipped(MEMBERS),
    "stored": zipped(MEMBERS, zipfile.ZIP_STORED),
    "tar": tarred(MEMBERS),
    "gnu": tarred(MEMBERS, form=tarfile.GNU_FORMAT),
    "tar.gz": tarred(MEMBERS, "w:gz"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images(form: str, tmp_path: Path) -> None:
    """Members that are lost, cut or given another's name; a file that is read otherwise than bytes; a second pass."""
    archive = Archive(FORMS[form])
    assert dict(archive) == dict(archive) == MEMBERS
    path = tmp_path / "named.after.nothing"
    path.write_bytes(FORMS[form])
    with open(path, "rb") as file:
        assert dict(Archive(file)) == MEMBERS


@settings(deadline=None, max_examples=60)
@given(
    some.dictionaries(
        some.text(some.characters(codec="utf-8", exclude_characters='/\\\0:."'), min_size=1, max_size=20),
        some.binary(max_size=3000),
        min_size=1,
        max_size=6,
    ),
    some.sampled_from(["zip", "tar", "tar.gz"]),
)
def test_any_names_and_contents_come_back(members: dict[str, bytes], form: str) -> None:
    """Accents, emoji, line ends or markup in a name, or any content, that does not survive."""
    named = {f"folder/{name}.png": content for name, content in members.items()}
    assume(len({unicodedata.normalize("NFC", name).casefold() for name in named}) == len(named))
    content = zipped(named) if form == "zip" else tarred(named, "w" if form == "tar" else "w:gz")
    assert dict(Archive(content)) == named


def test_other_members_are_left_out_and_listed() -> None:
    """What a file manager adds taken for an image; a reader of archives that hides what it dropped."""
    others = {"__MACOSX/good/._a.png": b"x", ".hidden/a.png": b"x", "notes.txt": b"x", ".DS_Store": b"x"}
    for content in (zipped(MEMBERS | others), tarred(MEMBERS | others)):
        archive = Archive(content)
        assert dict(archive) == MEMBERS
        assert archive.left_out == list(others)


BAD_NAMES = ["../a.png", "a/../../b.png", "/etc/a.png", "..\\a.png", "a\\b.png", "C:/a.png", "c:a.png"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_name_that_leads_out_is_refused(name: str, form: str) -> None:
    """A member that is written, or shown, as if it lay elsewhere."""
    members = {"ok.png": b"x", name: b"x"}
    assert "leads out" in refusal(zipped(members) if form == "zip" else tarred(members))


def test_a_nul_in_a_name_is_refused() -> None:
    """`a.png\\0.exe`, which one reader takes for the one and another for the other."""
    content = zipped({"a.png_.exe": b"x"}).replace(b"a.png_.exe", b"a.png\0.exe")
    assert "NUL" in refusal(content)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind: bytes) -> None:
    """A link to a password file that is read as an image."""
    info = tarfile.TarInfo("a.png")
    info.type, info.linkname = kind, "/etc/passwd"
    assert "link or a device" in refusal(tar_of(info))


def test_links_and_encrypted_members_in_a_zip_are_refused() -> None:
    """The same in a zip; and a password prompt, or noise taken for pixels."""
    info = zipfile.ZipInfo("a.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert "link or a device" in refusal(held.getvalue())
    content = bytearray(zipped({"a.png": b"x"}))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + place] |= 1
    assert "encrypted" in refusal(bytes(content))


def test_names_that_come_twice_are_refused() -> None:
    """One image that hides another, also where a file system takes two names for one."""
    for first, second in (("a.png", "A.PNG"), ("\u00e9.png", "e\u0301.png"), ("a.png", "./a.png")):
        for content in (zipped({first: b"x", second: b"y"}), tarred({first: b"x", second: b"y"})):
            assert "comes twice" in refusal(content)


@pytest.mark.parametrize("name", ["inner.zip", "inner.tar.gz", "x/inner.TGZ", "a.7z"])
def test_an_archive_in_an_archive_is_refused(name: str) -> None:
    """Bombs that unpack into bombs."""
    assert "archive within" in refusal(zipped({"a.png": b"x", name: zipped({"b.png": b"x"})}))


def test_other_ways_of_packing_are_refused() -> None:
    """Decoders of a kind that a photo never needs, some with gigabytes of memory."""
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert "than deflate" in refusal(zipped({"a.png": b"x" * 100}, method))
    for content in (b"BZh9", b"\xfd7zXZ\0", b"Rar!\x1a\x07", b"\x89PNG\r\n\x1a\n", b"", b"plain text"):
        assert "not a zip, tar or tar.gz" in refusal(content)


def test_ceilings_on_members_and_bytes() -> None:
    """A ceiling that is not checked in one of the formats, or one too strict by one."""
    for form, content in FORMS.items():
        assert dict(Archive(content, ceilings=Ceilings(members=3, member=300, archive=len(content)))) == MEMBERS, form
        assert "more than 2 members" in refusal(content, members=2)
        assert "unpacks to more" in refusal(content, member=299)
        assert "has more than" in refusal(content, archive=len(content) - 1)
        assert "unpacks to more" in refusal(content, total=300)


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_a_bomb_by_ratio_is_stopped_early(form: str) -> None:
    """Ten megabytes that unpack into ten gigabytes, in memory."""
    members = {f"{place}.bmp": bytes(8_000_000) for place in range(10)}
    content = zipped(members) if form == "zip" else tarred(members, "w:gz")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = 0
    with pytest.raises(RefusedArchive, match="unpack"):
        for _, image in Archive(content):
            taken += len(image)
    assert taken <= Ceilings().ratio_from
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_header_that_lies_about_its_size_changes_nothing() -> None:
    """A member that unpacks to more than its header says; a list of members that claims gigabytes."""
    content = bytearray(zipped({"a.bmp": bytes(5_000_000)}))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + place, 10)
    assert "damaged" in refusal(bytes(content))
    content = bytearray(zipped({"a.bmp": b"x"}))
    struct.pack_into("<I", content, content.rindex(b"PK\x05\x06") + 12, 0xFFFFFF00)
    assert "damaged" in refusal(bytes(content))


def test_members_that_share_bytes_are_refused() -> None:
    """A small file unpacked ten thousand times, without any ratio that looks odd for one member."""
    content = zipped({"a.png": b"x" * 1000, "b.png": b"x" * 1000})
    start = content.index(b"PK\x01\x02")
    entry = content[start : content.index(b"PK\x01\x02", start + 4)]
    twice = entry.replace(b"a.png", b"c.png")
    end = bytearray(content[content.rindex(b"PK\x05\x06") :])
    struct.pack_into("<HHI", end, 8, 3, 3, len(content) - start - len(end) + len(twice))
    told = content[: content.rindex(b"PK\x05\x06")] + twice + bytes(end)
    assert len(zipfile.ZipFile(io.BytesIO(told)).infolist()) == 3
    assert "shares its bytes" in refusal(told)


def test_a_list_of_a_million_members_is_not_read() -> None:
    """Gigabytes of memory for the names alone, before any of them is looked at."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0) + b"a.png"
    listed = entry * 100_000
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(listed), 30, 0)
    head = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert "list of members is too long" in refusal(head + listed + end)


def test_a_huge_header_of_a_tar_is_not_read() -> None:
    """A gigabyte of a member's name, that is held before the member is looked at."""
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        content = tarred({f"{'x' * 5_000_000}/a.png": b"x"}, form=form)
        assert "too long" in refusal(content)
        assert "too long" in refusal(gzip.compress(content))


@pytest.mark.parametrize("form", FORMS)
def test_every_cut_is_refused(form: str) -> None:
    """Half an archive taken for the whole: the missing normals would never be noticed."""
    content = FORMS[form]
    whole = len(content) if form not in ("tar", "gnu") else content.rstrip(b"\0").rindex(b"ustar") + 600
    for length in range(0, whole - 1, max(1, whole // 97)):
        refusal(content[:length])
