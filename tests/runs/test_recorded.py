"""Recorded runs: one archive each, whose bytes depend on the files alone, unpacked once and read as any run folder."""

from __future__ import annotations

import os
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from panda_core.errors import DataMissing, PandaError
from panda_core.runs.folder import RunFolder, list_runs
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.recorded import pack, unpacked

RECORDED = Path(__file__).parents[2] / "assets" / "recorded"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_comes_back_as_it_was(digits_run: Path, tmp_path: Path) -> None:
    """A file that is lost or changed on the way; a run that reads otherwise from an archive."""
    pack(digits_run, tmp_path / "archives" / "run.zip")
    folder = unpacked(tmp_path / "archives", tmp_path / "cache")
    assert len(files_of(digits_run)) > 10
    assert files_of(folder / "run") == files_of(digits_run)
    (found,) = list_runs(folder)
    assert found.run_id == "run" and found.state().state == "finished"
    assert LoadedRun(found).metrics == LoadedRun(type(found)(digits_run)).metrics


def test_the_same_files_make_the_same_bytes(own_run: Path, tmp_path: Path) -> None:
    """A repository that changes with the day or the machine on which runs were packed."""
    pack(own_run, tmp_path / "one.zip")
    for path in reversed(sorted(own_run.rglob("*"))):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    pack(own_run, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    for path in RECORDED.iterdir():
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == sorted(archive.namelist())
            assert {(info.date_time, info.compress_type) for info in archive.infolist()} == {((1980, 1, 1, 0, 0, 0), 0)}


def test_nothing_is_unpacked_twice_and_another_archive_is(tmp_path: Path) -> None:
    """A second of unpacking at every start; a page that shows the runs of the version before."""
    make(tmp_path / "archives" / "a.zip", {"config.json": b"1"})
    first = unpacked(tmp_path / "archives", tmp_path / "cache")
    before = (first / "a" / "config.json").stat().st_mtime_ns
    assert unpacked(tmp_path / "archives", tmp_path / "cache") == first
    assert (first / "a" / "config.json").stat().st_mtime_ns == before
    make(tmp_path / "other" / "a.zip", {"config.json": b"2"})
    second = unpacked(tmp_path / "other", tmp_path / "cache")
    assert second != first and (second / "a" / "config.json").read_bytes() == b"2"
    assert {path.name for path in first.parent.iterdir()} == {first.name, second.name}  # nothing half-filled is left


def test_several_unpack_at_once(tmp_path: Path) -> None:
    """Two visitors of a new server: one sees a traceback, or half a run."""
    for key in "abcdef":
        make(tmp_path / "archives" / f"{key}.zip", {f"arrays/{n}.npz": b"0" * 10_000 for n in range(20)})

    def look(_: int) -> int:
        return len(files_of(unpacked(tmp_path / "archives", tmp_path / "cache")))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(look, range(16))) == {120}


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    """A traceback, or half of a run, where a file of the program was cut off on its way."""
    archive = tmp_path / "archives" / "a.zip"
    make(archive, {"config.json": b"{}" * 500})
    archive.write_bytes(archive.read_bytes()[:300])
    with pytest.raises(PandaError, match=r"a\.zip` is damaged: .+ Get this file of the program again\."):
        unpacked(tmp_path / "archives", tmp_path / "cache")
    assert files_of(tmp_path / "cache") == {}


def test_nothing_lands_outside(tmp_path: Path) -> None:
    """An archive that overwrites files of whoever opens it."""
    make(tmp_path / "archives" / "a.zip", {"../../escaped.txt": b"!", "/absolute.txt": b"!"})
    folder = unpacked(tmp_path / "archives", tmp_path / "cache")
    assert sorted(files_of(tmp_path / "cache")) == [
        f"recorded/{folder.name}/a/absolute.txt",
        f"recorded/{folder.name}/a/escaped.txt",
    ]


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A traceback on the first page that anybody opens."""
    make(tmp_path / "archives" / "a.zip", {"config.json": b"{}"})
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(PandaError, match=r"Cannot write .+PANDA_CACHE_DIR"):
        unpacked(tmp_path / "archives", tmp_path / "cache")


def make(archive: Path, files: dict[str, bytes]) -> None:
    archive.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)


def test_images_of_a_recording_are_looked_for_where_this_machine_has_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "Their pictures are not on this machine" where they are: the folder was that of the machine that recorded."""
    monkeypatch.setenv("PANDA_DATA", str(tmp_path / "mine"))
    run = LoadedRun(RunFolder(unpacked(RECORDED, tmp_path / "cache") / "break-cifar10-ship"))
    with pytest.raises(DataMissing, match=re.escape(str(tmp_path / "mine"))):
        run.images("test")
