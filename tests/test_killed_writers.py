"""What killed writers leave behind is removed by the next, and never what a living one is filling."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from panda_core import records
from panda_core.records import ABANDONED_AFTER, PART, new_file, new_folder, write_json

PROGRAM = """
import sys, time
from pathlib import Path
from panda_core.records import new_file, new_folder
target = Path(sys.argv[1])
with new_file(target) as file, new_folder(target.with_name("entry")) as folder:
    file.write(b"half"); file.flush()
    (folder / "activations.npy").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def writing(target: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that is filling a file and a folder; it is killed at the end."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(target)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "writing\n"
            yield process
        finally:
            process.kill()


def parts(folder: Path) -> list[str]:
    """Return the beginnings of the names of the parts in a folder."""
    return sorted(path.name.split(".")[1] for path in folder.glob(f".*{PART}"))


def start_anew() -> None:
    """Let this process be as one that has just started."""
    records._swept.clear()


def test_parts_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    """A disk that fills with the remains of killed processes; or a file that vanishes while it is being written."""
    with writing(tmp_path / "state.json"):
        start_anew()
        write_json(tmp_path / "other.json", 1)
        assert parts(tmp_path) == ["entry", "state"]
    start_anew()
    with new_file(tmp_path / "mine.json") as file, new_folder(tmp_path / "mine"):
        assert parts(tmp_path) == ["mine", "mine"]
        start_anew()
        write_json(tmp_path / "third.json", 3)
        file.write(b"2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json", "other.json", "third.json"]
    assert (tmp_path / "mine.json").read_bytes() == b"2"


def test_a_killed_writer_at_any_moment_leaves_nothing_for_ever(tmp_path: Path) -> None:
    """A moment between making a part and locking it at which it is taken for a living writer's, or never found."""
    program = (
        "import sys, itertools; from pathlib import Path; from panda_core.records import write_json\n"
        "print(1, flush=True)\n"
        "for number in itertools.count(): write_json(Path(sys.argv[1]) / f'{number % 7}.json', [number] * 1000)"
    )
    for number in range(12):
        command = [sys.executable, "-c", program, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.003 * number)
            process.send_signal(signal.SIGKILL)
        start_anew()
        write_json(tmp_path / "mine.json", 1)
        assert parts(tmp_path) == []


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    """Files of other programs, or what a link leads to."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "kept").write_text("kept")
    for name in (".film.part", f"seen{PART}", ".hidden", f"x.json{PART}.bak"):
        (tmp_path / name).write_text("kept")
    (tmp_path / f".link{PART}").symlink_to(tmp_path / "kept")
    (tmp_path / f".links{PART}").symlink_to(tmp_path / "folder")
    before = sorted(tmp_path.iterdir())
    write_json(tmp_path / "state.json", 1)
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "state.json"])


def test_where_nothing_can_be_locked_parts_of_the_last_day_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network drive without locks, on which one machine removes what another is writing."""

    def refused(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(records.fcntl, "flock", refused)
    for name, age in (("old", 2 * ABANDONED_AFTER), ("new", 60)):
        (tmp_path / f".{name}.json.x{PART}").write_text("half")
        os.utime(tmp_path / f".{name}.json.x{PART}", (time.time() - age,) * 2)
    write_json(tmp_path / "state.json", 1)
    assert parts(tmp_path) == ["new"]


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    """A name that the system takes, and the name of its part no longer."""
    write_json(tmp_path / ("\N{SNOWMAN}" * 80 + ".json"), 1)
    assert len(list(tmp_path.iterdir())) == 1
