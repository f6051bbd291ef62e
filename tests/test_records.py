"""Files that survive a kill, a full disk and a read-only folder."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panda_core.errors import PandaError
from panda_core.records import (
    append_line,
    plain,
    read_arrays,
    read_json,
    read_lines,
    write_arrays,
    write_atomically,
    write_json,
)


def test_json_and_arrays_come_back(tmp_path: Path) -> None:
    """Text mangled by the platform's encoding; parents not made; a mode that only the owner can read."""
    path = tmp_path / "a" / "b.json"
    write_json(path, {"name": "Grüße ☃", "shape": (2, 3), "n": np.int64(4), "nan": float("nan"), "x": np.float32(0.5)})
    assert read_json(path) == {"name": "Grüße ☃", "shape": [2, 3], "n": 4, "nan": None, "x": 0.5}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    arrays = {"scores": np.arange(3, dtype=np.float32), "spread": np.array(1.5)}
    write_arrays(tmp_path / "a.npz", arrays)
    back = read_arrays(tmp_path / "a.npz")
    assert set(back) == set(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(back[name], value)
        assert back[name].dtype == value.dtype


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
@settings(max_examples=30)
def test_plain_values_are_always_json(value: object) -> None:
    """NaN or Infinity in a log, which no other JSON reader accepts."""
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == plain(value)


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    """A half-written file in place of a good one, or its remains beside it."""
    path = tmp_path / "state.json"
    write_json(path, "old")

    def fail(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_atomically(path, fail)
    assert read_json(path) == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    """A run folder broken by a power cut: the process is really killed between two halves of a file."""
    path = tmp_path / "state.json"
    write_json(path, "old")
    program = (
        "import os, signal, sys; from pathlib import Path; from panda_core.records import write_atomically\n"
        "def half(file):\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomically(Path(sys.argv[1]), half)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert read_json(path) == "old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A traceback, a lost old file or remains on a disk that was full to begin with."""
    path = tmp_path / "state.json"
    write_json(path, "old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(PandaError, match=r"Cannot write .*No space left.*--runs-dir"):
        write_json(path, "new")
    assert read_json(path) == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_a_file_size_limit_is_one_sentence(tmp_path: Path) -> None:
    """The system's own refusal in the middle of a write: the same as a full disk or a quota."""
    program = (
        "import resource, signal, sys; from pathlib import Path; import numpy as np\n"
        "from panda_core.errors import PandaError; from panda_core.records import write_arrays\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: write_arrays(Path(sys.argv[1]) / 'a.npz', {'x': np.random.default_rng(0).random(100_000)})\n"
        "except PandaError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "Cannot write" in done.stdout and "File too large" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_the_log_is_one_sentence() -> None:
    """A traceback from the log; `/dev/full` is a disk that is always full."""
    with pytest.raises(PandaError, match="No space left"):
        append_line(Path("/dev/full"), {"a": 1})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_sentence(tmp_path: Path) -> None:
    """A traceback where the user may not write."""
    tmp_path.chmod(0o555)
    with pytest.raises(PandaError, match="Permission denied"):
        write_json(tmp_path / "state.json", 1)


def test_a_file_where_a_folder_should_be_is_one_sentence(tmp_path: Path) -> None:
    """A traceback where `--runs-dir` names a file."""
    (tmp_path / "runs").touch()
    for write in (write_json, append_line):
        with pytest.raises(PandaError, match="Cannot write"):
            write(tmp_path / "runs" / "state.json", 1)


def test_two_writers_and_a_reader(tmp_path: Path) -> None:
    """A reader that meets a mixture of two writers, or nothing at all."""
    path = tmp_path / "state.json"
    write_json(path, "a" * 5000)
    stop = threading.Event()

    def write(letter: str) -> None:
        while not stop.is_set():
            write_json(path, letter * 5000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "bc"]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            assert len(set(read_json(path))) == 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_lines_are_read_from_any_offset(tmp_path: Path) -> None:
    """A tail that repeats or loses lines between two looks."""
    path = tmp_path / "events.jsonl"
    assert list(read_lines(path)) == []
    offset = 0
    for number in range(3):
        append_line(path, {"n": number, "text": "ü\nü"})
        ((record, offset),) = read_lines(path, offset)
        assert record == {"n": number, "text": "ü\nü"}
    assert list(read_lines(path, offset)) == []
    assert [record["n"] for record, _ in read_lines(path)] == [0, 1, 2]


def test_a_torn_last_line_is_not_there_yet(tmp_path: Path) -> None:
    """Half a line read as a record, or as damage; once it is whole it is read."""
    path = tmp_path / "events.jsonl"
    append_line(path, {"n": 0})
    whole = path.read_bytes()
    line = b'{"n": 1}\n'
    for cut in range(len(line)):
        path.write_bytes(whole + line[:cut])
        assert [record for record, _ in read_lines(path)] == [{"n": 0}]
    path.write_bytes(whole + line)
    assert [record for record, _ in read_lines(path)] == [{"n": 0}, {"n": 1}]


def test_appending_after_a_torn_line_drops_the_torn_part(tmp_path: Path) -> None:
    """A line glued to the remains of one that a crash tore: the log could then never be read again."""
    path = tmp_path / "events.jsonl"
    append_line(path, {"n": 0})
    with open(path, "ab") as file:
        file.write(b'{"n": 1, "torn')
    append_line(path, {"n": 2})
    assert [record for record, _ in read_lines(path)] == [{"n": 0}, {"n": 2}]
    path.write_bytes(b'{"only')
    append_line(path, {"n": 3})
    assert [record for record, _ in read_lines(path)] == [{"n": 3}]


@pytest.mark.parametrize("line", [b"no json\n", b"\xff\xfe\n", b'{"n": 1}{"n": 2}\n'])
def test_damage_in_the_middle_is_said(tmp_path: Path, line: bytes) -> None:
    """A damaged log taken for the end of the log."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"n": 0}\n' + line + b'{"n": 2}\n')
    with pytest.raises(PandaError, match="not JSON"):
        list(read_lines(path))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"{'a': 1}"])
def test_damaged_json_is_named(tmp_path: Path, content: bytes) -> None:
    """A traceback of the JSON parser that names no file."""
    path = tmp_path / "config.json"
    with pytest.raises(PandaError, match=r"config\.json.*does not exist"):
        read_json(path)
    path.write_bytes(content)
    with pytest.raises(PandaError, match=r"config\.json.*cannot be read"):
        read_json(path)


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    """A traceback of zip, zlib or NumPy for an archive cut or flipped anywhere; the values of a flipped one."""
    path = tmp_path / "000000.npz"
    with pytest.raises(PandaError, match="does not exist"):
        read_arrays(path)
    write_arrays(path, {"scores": np.random.default_rng(0).random(50)})
    whole = path.read_bytes()
    for cut in range(0, len(whole), 37):
        path.write_bytes(whole[:cut])
        with pytest.raises(PandaError, match=r"000000\.npz.*cannot be read"):
            read_arrays(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(PandaError, match="cannot be read"):
        read_arrays(path)


class _Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_in_an_archive_is_never_run(tmp_path: Path) -> None:
    """Code run by opening a run folder that came from somebody else."""
    canary = tmp_path / "canary"
    np.savez(tmp_path / "objects.npz", scores=np.array([_Canary(canary)], dtype=object))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(_Canary(canary)))
    for name in ("objects.npz", "pickle.npz"):
        with pytest.raises(PandaError, match="cannot be read"):
            read_arrays(tmp_path / name)
    assert not canary.exists()
